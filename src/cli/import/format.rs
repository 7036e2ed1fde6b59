//! .NET's formats of times as strftime formats: "Custom date and time format strings" of the .NET documentation,
//! for times of whole seconds.

/// What functions of times yield without a format: .NET's round-trip form, in UTC.
pub(super) const ROUND_TRIP: &str = "%Y-%m-%dT%H:%M:%S.0000000Z";

/// The strftime format that writes the same.
///
/// # Errors
/// In words, when there is none.
pub(super) fn strftime(format: &str) -> Result<String, String> {
    let unknown = || format!("the format '{format}' has no equal here");
    match format {
        "" | "o" | "O" => return Ok(ROUND_TRIP.to_owned()),
        "s" => return Ok("%Y-%m-%dT%H:%M:%S".to_owned()),
        "u" => return Ok("%Y-%m-%d %H:%M:%SZ".to_owned()),
        one if one.chars().count() == 1 => return Err(unknown()),
        _ => {}
    }
    let mut said = String::new();
    let letters: Vec<char> = format.chars().collect();
    let mut at = 0;
    while let Some(letter) = letters.get(at).copied() {
        let same = letters[at..].iter().take_while(|other| **other == letter).count();
        at += match letter {
            '\'' | '"' => {
                let end = letters[at + 1..].iter().position(|other| *other == letter).ok_or_else(unknown)?;
                letters[at + 1..][..end].iter().for_each(|literal| push(&mut said, *literal));
                end + 2
            }
            '\\' => {
                push(&mut said, *letters.get(at + 1).ok_or_else(unknown)?);
                2
            }
            letter if letter.is_ascii_alphabetic() && letter != 'T' && letter != 'Z' => {
                said.push_str(&specifier(letter, same).ok_or_else(unknown)?);
                same
            }
            '%' => return Err(unknown()),
            literal => {
                push(&mut said, literal);
                1
            }
        };
    }
    Ok(said)
}

fn push(said: &mut String, literal: char) {
    said.push(literal);
    if literal == '%' {
        said.push('%');
    }
}

fn specifier(letter: char, count: usize) -> Option<String> {
    let said = match (letter, count) {
        ('y', 4) => "%Y",
        ('y', 2) => "%y",
        ('M', 1) => "%-m",
        ('M', 2) => "%m",
        ('M', 3) => "%b",
        ('M', 4) => "%B",
        ('d', 1) => "%-d",
        ('d', 2) => "%d",
        ('d', 3) => "%a",
        ('d', 4) => "%A",
        ('H', 1) => "%-H",
        ('H', 2) => "%H",
        ('h', 1) => "%-I",
        ('h', 2) => "%I",
        ('m', 1) => "%-M",
        ('m', 2) => "%M",
        ('s', 1) => "%-S",
        ('s', 2) => "%S",
        ('t', 2) => "%p",
        ('K', 1) => "Z",
        ('z', 3) => "+00:00",
        // Nominal times are whole seconds.
        ('f', 1..=7) => return Some("0".repeat(count)),
        _ => return None,
    };
    Some(said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn formats_of_dotnet_are_said_in_strftime() {
        for (dotnet, said) in [
            ("yyyy-MM-dd", "%Y-%m-%d"),
            ("yyyy/MM/dd/HH", "%Y/%m/%d/%H"),
            ("yyyyMMddHHmmss", "%Y%m%d%H%M%S"),
            ("yyyy-MM-ddTHH:mm:ss.fffZ", "%Y-%m-%dT%H:%M:%S.000Z"),
            ("d MMM yy", "%-d %b %y"),
            ("dddd, hh:mm tt", "%A, %I:%M %p"),
            ("'day' dd \\d 100\"%\"", "day %d d 100%%"),
            ("o", "%Y-%m-%dT%H:%M:%S.0000000Z"),
            ("s", "%Y-%m-%dT%H:%M:%S"),
        ] {
            assert_eq!(strftime(dotnet).unwrap(), said, "{dotnet}");
        }
        for unknown in ["d", "G", "yyy", "gg", "'open", "FF", "%d"] {
            assert!(strftime(unknown).unwrap_err().contains(unknown), "{unknown}");
        }
    }
}
