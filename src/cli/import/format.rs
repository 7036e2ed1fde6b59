//! .NET's formats of times as strftime formats: "Custom date and time format strings" and "Standard date and time
//! format strings" of the .NET documentation, for times of whole seconds. Data Factory writes in English (en-US), as
//! the examples of its page "Expression functions" show.

use super::parse::beginning;

/// What becomes of a time's offset when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    /// It is UTC.
    Utc,
    /// It is a local time, which has none.
    None,
    /// Microsoft's pages do not say.
    Unsaid,
}

/// The strftime format that writes the same.
///
/// # Errors
/// In words, when there is none.
pub(super) fn strftime(format: &str, offset: Offset) -> Result<String, String> {
    let mark = || match offset {
        Offset::Utc => Ok("Z"),
        Offset::None => Ok(""),
        Offset::Unsaid => Err(unsaid(format)),
    };
    match format {
        "" | "o" | "O" => return Ok(format!("%Y-%m-%dT%H:%M:%S.0000000{}", mark()?)),
        "s" => return Ok("%Y-%m-%dT%H:%M:%S".to_owned()),
        "u" => return Ok("%Y-%m-%d %H:%M:%SZ".to_owned()),
        "r" | "R" => return Ok("%a, %d %b %Y %H:%M:%S GMT".to_owned()),
        // "Monday, January 1, 2018" on that page.
        "D" => return Ok("%A, %B %-d, %Y".to_owned()),
        one if one.chars().count() == 1 => return Err(unknown(format)),
        _ => {}
    }
    let mut said = String::new();
    let letters: Vec<char> = format.chars().collect();
    let mut at = 0;
    while let Some(letter) = letters.get(at).copied() {
        let same = letters[at..].iter().take_while(|other| **other == letter).count();
        at += match letter {
            '\'' | '"' => quoted(&letters[at..], &mut said).ok_or_else(|| unknown(format))?,
            '\\' => {
                push(&mut said, *letters.get(at + 1).ok_or_else(|| unknown(format))?);
                2
            }
            // One letter that stands alone.
            '%' => {
                let next =
                    *letters.get(at + 1).filter(|next| **next != '%').ok_or_else(|| unknown(format))?;
                specifier(next, 1, offset, format, &mut said)?;
                2
            }
            _ => {
                specifier(letter, same, offset, format, &mut said)?;
                same
            }
        };
    }
    Ok(said)
}

fn unknown(format: &str) -> String {
    let format = beginning(format);
    format!("the format '{format}' has no equal here")
}

fn unsaid(format: &str) -> String {
    let format = beginning(format);
    format!(
        "the format '{format}' writes the offset of a local time, and Microsoft's pages do not say which; give a format \
         without it, such as 'yyyy-MM-ddTHH:mm:ss'"
    )
}

/// A part in quotes; how long it is.
fn quoted(letters: &[char], said: &mut String) -> Option<usize> {
    let mut at = 1;
    loop {
        let letter = *letters.get(at)?;
        at += 1;
        if letter == letters[0] {
            return Some(at);
        }
        if letter == '\\' {
            push(said, *letters.get(at)?);
            at += 1;
        } else {
            push(said, letter);
        }
    }
}

fn push(said: &mut String, literal: char) {
    said.push(literal);
    if literal == '%' {
        said.push('%');
    }
}

/// So many of one letter. Letters that mean nothing stand for themselves.
fn specifier(
    letter: char,
    count: usize,
    offset: Offset,
    format: &str,
    said: &mut String,
) -> Result<(), String> {
    let two = |one: &'static str, more: &'static str| if count == 1 { one } else { more };
    said.push_str(match letter {
        'y' => match count {
            2 => "%y",
            3 | 4 => "%Y",
            _ => return Err(unknown(format)),
        },
        'M' if count < 3 => two("%-m", "%m"),
        'M' => {
            if count == 3 {
                "%b"
            } else {
                "%B"
            }
        }
        'd' if count < 3 => two("%-d", "%d"),
        'd' => {
            if count == 3 {
                "%a"
            } else {
                "%A"
            }
        }
        'H' => two("%-H", "%H"),
        'h' => two("%-I", "%I"),
        'm' => two("%-M", "%M"),
        's' => two("%-S", "%S"),
        't' if count > 1 => "%p",
        'K' | 'z' => {
            said.push_str(&mark(letter, count, offset).ok_or_else(|| unsaid(format))?);
            return Ok(());
        }
        // Nominal times are whole seconds.
        'f' if count <= 7 => {
            said.push_str(&"0".repeat(count));
            return Ok(());
        }
        // Zeros that are left out, and the point before them.
        'F' if count <= 7 => {
            if said.ends_with('.') {
                said.pop();
            }
            return Ok(());
        }
        't' | 'f' | 'F' | 'g' => return Err(unknown(format)),
        literal => {
            (0..count).for_each(|_| push(said, literal));
            return Ok(());
        }
    });
    Ok(())
}

/// The offset of a time, as far as it is documented.
fn mark(letter: char, count: usize, offset: Offset) -> Option<String> {
    match (letter, offset) {
        ('K', Offset::Utc) => Some("Z".repeat(count)),
        ('K', Offset::None) => Some(String::new()),
        (_, Offset::Utc) => Some(["+0", "+00", "+00:00"][count.clamp(1, 3) - 1].to_owned()),
        _ => None,
    }
}

/// A format whose text names a time again: what of it is the time of day, and whether it says that it is UTC. The
/// format that is returned writes the same time in RFC 3339, as though its local time were UTC.
pub(super) fn read_back(strftime: &str) -> Option<(String, bool)> {
    let (date, rest) = strftime.split_at_checked(strftime.find(['T', ' ']).unwrap_or(strftime.len()))?;
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return None };
    let is = |part: &str, wanted: &str, most: u8| {
        part == wanted
            || (part.len() == 2 && part.parse().is_ok_and(|number: u8| (1..=most).contains(&number)))
    };
    // The 28th is the last day that each month has.
    if *year != "%Y" || !is(month, "%m", 12) || !is(day, "%d", 28) {
        return None;
    }
    let (rest, utc) = match rest.strip_suffix('Z') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let clock = match rest.split_once('.') {
        Some((clock, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => clock,
        Some(_) => return None,
        None => rest,
    };
    let mut all = ["00", "00", "00"];
    if !clock.is_empty() {
        let parts: Vec<&str> = clock[1..].split(':').collect();
        let named = ["%H", "%M", "%S"];
        let digits =
            |part: &str, most: u8| part.len() == 2 && part.parse().is_ok_and(|number: u8| number <= most);
        let known = parts.iter().enumerate().all(|(at, part)| {
            named.get(at).is_some_and(|name| part == name || digits(part, if at == 0 { 23 } else { 59 }))
        });
        if !known || parts.len() < 2 {
            return None;
        }
        all.iter_mut().zip(parts).for_each(|(place, part)| *place = part);
    } else if utc {
        return None;
    }
    Some((format!("{date}T{}:{}:{}Z", all[0], all[1], all[2]), utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_dotnet_are_said_in_strftime() {
        for (dotnet, said) in [
            ("yyyy-MM-dd", "%Y-%m-%d"),
            ("yyyy/MM/dd/HH", "%Y/%m/%d/%H"),
            ("yyyyMMddHHmmss", "%Y%m%d%H%M%S"),
            ("yyyy-MM-ddTHH:mm:ss.fffZ", "%Y-%m-%dT%H:%M:%S.000Z"),
            ("yyyy-MM-ddTHH:mm:ss.FFFK", "%Y-%m-%dT%H:%M:%SZ"),
            ("d MMM yy", "%-d %b %y"),
            ("dddd, hh:mm tt", "%A, %I:%M %p"),
            ("'day' dd \\d 100\"%\" 'it\\'s'", "day %d d 100%% it's"),
            ("%d", "%-d"),
            ("%HHh", "%-H%-H%-I"),
            ("o", "%Y-%m-%dT%H:%M:%S.0000000Z"),
            ("s", "%Y-%m-%dT%H:%M:%S"),
            ("R", "%a, %d %b %Y %H:%M:%S GMT"),
            ("yyyy-MM-ddTHH:mm:sszzz", "%Y-%m-%dT%H:%M:%S+00:00"),
            ("xWeek", "xWeek"),
        ] {
            assert_eq!(strftime(dotnet, Offset::Utc).unwrap(), said, "{dotnet}");
        }
        for unknown in ["d", "G", "yyyyy", "y M", "gg", "'open", "x FFFFFFFF", "%%", "t x"] {
            assert!(strftime(unknown, Offset::Utc).unwrap_err().contains(unknown), "{unknown}");
        }
        assert_eq!(strftime("HH:mmK", Offset::None).unwrap(), "%H:%M");
        for (dotnet, offset) in [("zzz.", Offset::None), ("HHK", Offset::Unsaid), ("o", Offset::Unsaid)] {
            assert!(strftime(dotnet, offset).unwrap_err().contains("do not say"), "{dotnet}");
        }
    }

    #[test]
    fn a_text_that_names_a_time_again_is_known_by_its_format() {
        let read = |format: &str| read_back(format);
        let known = |format: &str, utc| Some((format.to_owned(), utc));
        assert_eq!(read("%Y-%m-%d"), known("%Y-%m-%dT00:00:00Z", false));
        assert_eq!(read("%Y-%m-01"), known("%Y-%m-01T00:00:00Z", false));
        assert_eq!(read("%Y-%m-%d %H:%M"), known("%Y-%m-%dT%H:%M:00Z", false));
        assert_eq!(read("%Y-%m-%dT%H:%M:%S.0000000Z"), known("%Y-%m-%dT%H:%M:%SZ", true));
        for none in [
            "%Y%m%d",
            "%d/%m/%Y",
            "%Y-%m",
            "%Y-%m-31",
            "%Y-%m-%dZ",
            "%Y-%m-%dT%H",
            "%Y-%m-%dT%H:60",
            "%Y-%m-%d.",
            "",
            "T",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
