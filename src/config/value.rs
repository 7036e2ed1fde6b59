//! How single values are written: durations and times.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::schedule::Zone;

/// A time as a person wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// With `Z` or an offset.
    Instant(Timestamp),
    /// A local time, in a zone that is known later.
    Local(DateTime),
}

impl Moment {
    /// Reads an RFC 3339 time, or a local date or date-time.
    ///
    /// # Errors
    /// In words, when it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Ok(instant) = text.parse() {
            return Ok(Self::Instant(instant));
        }
        // A zone in brackets would be a second way to give the zone.
        if !text.contains('[')
            && let Ok(local) = text.parse()
        {
            return Ok(Self::Local(local));
        }
        Err(format!(
            "'{text}' is not a time; write 2026-11-23T01:30:00Z, 2026-11-23T02:30:00+01:00, or local: \
             2026-11-23 02:30 or 2026-11-23"
        ))
    }

    /// The instant, for a local time by the rules of `zone`. A local time that the clock skips means the
    /// same time counted from before the change; one that the clock repeats means its first occurrence.
    ///
    /// # Errors
    /// In words, outside the years that can be represented.
    pub fn instant(self, zone: &Zone) -> Result<Timestamp, String> {
        match self {
            Self::Instant(instant) => Ok(instant),
            Self::Local(local) => zone
                .rules()
                .to_ambiguous_timestamp(local)
                .compatible()
                .map_err(|error| format!("'{local}' is not a time that can be used: {error}")),
        }
    }
}

/// Reads a duration: `200ms`, `90s`, `15m`, `24h`, `45d`, `1h30m`.
///
/// # Errors
/// In words, when it is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration; write 200ms, 90s, 15m, 24h, 45d or 1h30m");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(milliseconds)
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= 36_500 * 86_400_000)
            .ok_or_else(|| format!("'{text}' is longer than a century"))?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Reads a duration within bounds, both included.
pub(super) fn duration_within(text: &str, least: &str, most: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    if value < duration(least)? || value > duration(most)? {
        return Err(format!("must be between {least} and {most}"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_with_their_units() {
        assert_eq!(duration("200ms").unwrap(), Duration::from_millis(200));
        assert_eq!(duration("1h30m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(duration("45d").unwrap(), Duration::from_secs(45 * 86_400));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        for wrong in ["", "5", "s", "5x", "-5s", "1.5h", "５s", "99999999999999999999s", "40000d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration_within("2m", "1s", "1m").unwrap_err().contains("between 1s and 1m"));
    }

    #[test]
    fn a_time_is_an_instant_or_local_to_the_zone() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let at = |text| Moment::parse(text).unwrap().instant(&berlin).unwrap().to_string();
        assert_eq!(at("2026-11-23T02:30:00+01:00"), "2026-11-23T01:30:00Z");
        assert_eq!(at("2026-11-23 02:30"), "2026-11-23T01:30:00Z");
        assert_eq!(at("2026-11-23"), "2026-11-22T23:00:00Z");
        for wrong in ["tomorrow", "2026-13-01", "02:30", "2026-11-23T02:30[Asia/Tokyo]", "5"] {
            assert!(Moment::parse(wrong).is_err(), "{wrong}");
        }
    }
}
