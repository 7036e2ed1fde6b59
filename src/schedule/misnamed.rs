//! What to write instead of a name that no time zone has. A guess is made only where it is near: a zone that is far
//! off fires at the wrong hour for months.

use super::windows;

/// How alike two of Windows' names must be for one to be suggested for the other.
const ALIKE: f64 = 0.8;
/// The longest name that is compared with those that are known, in bytes.
const MOST: usize = 64;

/// What to do about a name that is not one of the known ones; it follows the name.
pub(super) fn advice(name: &str, known: impl Iterator<Item = String>) -> String {
    let wanted = name.trim().to_lowercase();
    // No name is so long, and each is compared with all of it.
    if wanted.len() > MOST {
        return String::new();
    }
    let known: Vec<String> = known.collect();
    if known.is_empty() {
        return ": this system has no time zone database; install tzdata".to_owned();
    }
    if wanted.ends_with("daylight time") {
        return "; Windows names its zones by their standard time, all year".to_owned();
    }
    if wanted.starts_with('(') {
        return "; that is how Windows shows a zone: write its name, such as W. Europe Standard Time, or a city, such \
                as Europe/Berlin"
            .to_owned();
    }
    if let Some((minutes, whole)) = offset(&wanted) {
        return format!("; {}", of_offset(minutes, whole));
    }
    let guess = if wanted.ends_with("time") || wanted.contains("standard") {
        of_windows(&wanted)
    } else {
        of_a_city(&wanted, &known)
    };
    match guess {
        Some(known) => format!("; did you mean '{known}'?"),
        None => {
            "; zones are named by large cities, such as Europe/Berlin; `timedatectl list-timezones` shows all"
                .to_owned()
        }
    }
}

/// The minutes from UTC of `UTC+2`, `GMT-05:30` or `+0200`, and whether they are whole hours.
fn offset(wanted: &str) -> Option<(i32, bool)> {
    let rest = wanted.strip_prefix("etc/").unwrap_or(wanted);
    let rest = ["utc", "gmt", "ut", "z"].iter().find_map(|prefix| rest.strip_prefix(prefix)).unwrap_or(rest);
    let rest = rest.trim_start();
    let sign = match rest.chars().next()? {
        '+' => 1,
        '-' | '\u{2212}' => -1,
        _ => return None,
    };
    let digits: String = rest.chars().skip(1).filter(|c| *c != ':' && *c != ' ').collect();
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(if digits.len() <= 2 { digits.len() } else { digits.len() - 2 });
    let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<i32>().ok()? };
    Some((sign * (hours.parse::<i32>().ok()? * 60 + minutes), minutes == 0))
}

/// What is written for an offset. The names of the fixed ones have the sign of POSIX, which is the other one.
fn of_offset(minutes: i32, whole: bool) -> String {
    let hours = minutes / 60;
    match hours {
        0 if whole => "write UTC".to_owned(),
        -12..=14 if whole => format!(
            "a clock that is always {} h {} UTC is 'Etc/GMT{:+}', whose sign is the other way round; one that \
             changes in summer has the name of a city, such as Europe/Berlin",
            hours.abs(),
            if hours > 0 { "ahead of" } else { "behind" },
            -hours
        ),
        _ => "an offset is no zone; a zone has the name of a city, such as Asia/Kolkata".to_owned(),
    }
}

fn of_windows(wanted: &str) -> Option<String> {
    windows::names()
        .map(|known| (strsim::jaro_winkler(wanted, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_owned())
}

/// A zone whose name is that of the city alone, or differs in few letters.
fn of_a_city(wanted: &str, known: &[String]) -> Option<String> {
    let letters =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    // Some systems have their own copy of a zone beside the database.
    let zones = || known.iter().filter(|known| known.contains('/'));
    let city = |name: &str| name.rsplit('/').next().map(letters).unwrap_or_default();
    let region = |name: &str| name.rsplit_once('/').map(|(region, _)| letters(region)).unwrap_or_default();
    let alone = letters(wanted);
    let same = |known: &&String| letters(known) == alone || city(known) == alone;
    if let Some(known) = zones().find(same) {
        return Some(known.clone());
    }
    let near = |known: &String| {
        let wrong = strsim::damerau_levenshtein(&city(known), &city(wanted));
        let elsewhere = strsim::damerau_levenshtein(&region(known), &region(wanted));
        let most = city(wanted).chars().count() / 4;
        (wrong <= most && elsewhere <= 1).then_some(wrong + elsewhere)
    };
    zones()
        .filter_map(|known| Some((near(known)?, known)))
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, k)| k.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Zone;

    fn said(name: &str) -> String {
        Zone::parse(name).unwrap_err().to_string()
    }

    #[test]
    fn a_name_that_is_none_is_told_what_may_be_meant() {
        for (name, meant) in [
            ("W. Europa Standard Time", "W. Europe Standard Time"),
            ("GMT Standard Tim", "GMT Standard Time"),
            ("Eastern Standart Time", "Eastern Standard Time"),
            ("Central European Time", "Central European Standard Time"),
            ("Europe/Berln", "Europe/Berlin"),
            ("Europe Berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("New York", "America/New_York"),
            ("Amerika/New_York", "America/New_York"),
            ("America/Sao Paulo", "America/Sao_Paulo"),
            ("America/Los_Angelos", "America/Los_Angeles"),
            ("Asia/Calcuta", "Asia/Calcutta"),
        ] {
            assert_eq!(said(name), format!("unknown time zone '{name}'; did you mean '{meant}'?"));
        }
        assert!(said("Eastern Daylight Time").contains("by their standard time"));
        assert!(said("(UTC+01:00) Amsterdam, Berlin").contains("write its name"));
    }

    #[test]
    fn a_zone_that_is_far_off_is_not_suggested() {
        for name in [
            "Mars/Olympus",
            "Europe/Munich",
            "Europe/Hamburg",
            "Europe/Frankfurt",
            "America/Boston",
            "America/Washington",
            "Asia/Delhi",
            "Asia/Beijing",
            "India",
            "CEST",
            "EDT",
            "BST",
            "local",
        ] {
            assert_eq!(
                said(name),
                format!(
                    "unknown time zone '{name}'; zones are named by large cities, such as Europe/Berlin; \
                     `timedatectl list-timezones` shows all"
                )
            );
        }
    }

    #[test]
    fn an_offset_is_told_the_zone_whose_clock_has_it() {
        for (name, meant) in [
            ("UTC+2", "always 2 h ahead of UTC is 'Etc/GMT-2'"),
            ("utc +2", "'Etc/GMT-2'"),
            ("UTC+02:00", "'Etc/GMT-2'"),
            ("+0200", "'Etc/GMT-2'"),
            ("GMT+2", "'Etc/GMT-2'"),
            ("Etc/UTC+2", "'Etc/GMT-2'"),
            ("UTC-5", "always 5 h behind UTC is 'Etc/GMT+5'"),
            ("UTC+14", "'Etc/GMT-14'"),
            ("UTC-0", "write UTC"),
            ("UTC+5:30", "an offset is no zone"),
            ("Etc/GMT+20", "an offset is no zone"),
        ] {
            assert!(said(name).contains(meant), "{}", said(name));
        }
        // Each that is suggested is what it is said to be.
        for hours in (-12..=14).filter(|hours| *hours != 0) {
            let advice = said(&format!("UTC{hours:+}:00"));
            let name = advice.split('\'').nth(3).unwrap_or_else(|| panic!("{advice}"));
            let offset = Zone::parse(name).unwrap().rules().to_offset(jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(offset.seconds(), hours * 3_600, "{advice}");
        }
    }

    #[test]
    fn a_host_without_tzdata_is_told_to_install_it() {
        let said = advice("Europe/Berlin", std::iter::empty());
        assert!(said.contains("install tzdata"), "{said}");
    }
}
