//! From local time to instants: the one place that knows gaps and overlaps. The policy is on the page
//! of the module above.
//!
//! The time line of a zone is a row of stretches with one offset each. Within a stretch local time and
//! instants correspond one to one, so matches are found in local time and kept if they lie in the
//! stretch; what is special about gaps and overlaps happens where two stretches meet.

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::{DstGap, DstOverlap, ScheduleError, windows};
use crate::ids::Nominal;

/// Fifty years.
pub(super) const LOOK_AHEAD: SignedDuration = SignedDuration::from_hours(50 * 366 * 24);

/// A time zone, with the name by which the user knows it.
#[derive(Debug, Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    /// The zone of this IANA name, from the system's database, or the one that Windows knows by this name. Its own
    /// name is that of IANA either way.
    ///
    /// # Errors
    /// [`ScheduleError::Zone`] when there is none, with what to do about it.
    pub fn parse(name: &str) -> Result<Self, ScheduleError> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self::utc());
        }
        let iana = windows::iana(name.trim()).unwrap_or(name);
        match TimeZone::get(iana) {
            Ok(rules) => Ok(Self { name: rules.iana_name().unwrap_or(iana).into(), rules }),
            Err(_) => {
                let database = jiff::tz::db();
                let advice = advice(name, database.available().map(|known| known.to_string()));
                Err(ScheduleError::Zone { name: name.to_owned(), advice })
            }
        }
    }

    /// Whether there is a zone of this name.
    #[must_use]
    pub fn is_known(name: &str) -> bool {
        let iana = windows::iana(name.trim()).unwrap_or(name);
        name.eq_ignore_ascii_case("UTC") || TimeZone::get(iana).is_ok()
    }

    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// A zone of one offset, whose clock never changes: what would be without a change.
    #[must_use]
    pub fn unchanging(offset: Offset) -> Self {
        Self { name: offset.to_string().into(), rules: TimeZone::fixed(offset) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// The instants of one fixed local time: none where the policy skips it, two where it fires at both.
    #[must_use]
    pub fn fixed(&self, local: DateTime, gap: DstGap, overlap: DstOverlap) -> Vec<Timestamp> {
        let at = |offset: Offset| offset.to_timestamp(local).ok();
        let (first, second) = match self.rules.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => (at(offset), None),
            AmbiguousOffset::Fold { before, after } => match overlap {
                DstOverlap::First => (at(before), None),
                DstOverlap::Second => (None, at(after)),
                DstOverlap::Both => (at(before), at(after)),
            },
            // By the offset from after the change the time lies before it.
            AmbiguousOffset::Gap { after, .. } if gap == DstGap::RunAfter => {
                let change = at(after).and_then(|before| self.rules.following(before).next());
                (change.map(|change| change.timestamp()), None)
            }
            AmbiguousOffset::Gap { .. } => (None, None),
        };
        [first, second].into_iter().flatten().collect()
    }
}

/// What to do about a name that is not one of the known ones.
fn advice(name: &str, known: impl Iterator<Item = String>) -> String {
    let wanted = name.trim().to_lowercase();
    // No name is so long, and each is compared with all of it.
    if wanted.len() > 64 {
        return String::new();
    }
    let mut known = known.peekable();
    if known.peek().is_none() {
        return ": this system has no time zone database; install tzdata".to_owned();
    }
    if wanted.ends_with("daylight time") {
        return "; Windows names its zones by their standard time, all year".to_owned();
    }
    known
        .chain(windows::names().map(str::to_owned))
        .map(|known| (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!("; did you mean '{known}'?"))
        .unwrap_or_default()
}

/// Local times that match.
pub(super) trait Pattern {
    /// The first that matches at or after a whole second, where `offset` holds. It may give up after fifty years.
    fn next(&self, from: DateTime, offset: Offset) -> Option<DateTime>;

    /// Whether each instant whose local time matches is one of its times, or each local time once.
    fn follows_real_time(&self) -> bool;
}

/// The first instant after `after` at which the pattern fires in this zone.
pub(super) fn next_after(
    pattern: &impl Pattern,
    zone: &Zone,
    gap: DstGap,
    overlap: DstOverlap,
    after: Nominal,
) -> Option<Nominal> {
    let zone = &zone.rules;
    let mut from = Nominal::from_second(after.as_second().checked_add(1)?)?.timestamp();
    // The first stretch is that of `after`: a change of the clock may stand exactly at `from`.
    let mut stretch = after.timestamp();
    // An expression that only ever falls into gaps must not keep us here to the end of time.
    let limit = from.checked_add(LOOK_AHEAD).unwrap_or(Timestamp::MAX);
    while from <= limit {
        let offset = zone.to_offset(stretch);
        let end = zone.following(stretch).next().map(|transition| transition.timestamp());
        let kept = next_in_stretch(pattern, zone, overlap, from, end, offset);
        if let Some(found) = kept {
            return Some(Nominal::at_or_before(found));
        }
        // Nothing more before the next change of the clock, or, without one, nothing at all.
        let change = end?;
        if !pattern.follows_real_time()
            && gap == DstGap::RunAfter
            && gap_holds_match(pattern, offset, zone.to_offset(change), change)
        {
            return Some(Nominal::at_or_before(change));
        }
        from = change;
        stretch = change;
    }
    None
}

/// The first match in `[from, end)`, where `offset` holds, that the overlap policy keeps.
fn next_in_stretch(
    pattern: &impl Pattern,
    zone: &TimeZone,
    overlap: DstOverlap,
    from: Timestamp,
    end: Option<Timestamp>,
    offset: Offset,
) -> Option<Timestamp> {
    let mut local = offset.to_datetime(from);
    loop {
        let candidate = pattern.next(local, offset)?;
        let instant = offset.to_timestamp(candidate).ok()?;
        if end.is_some_and(|end| instant >= end) {
            return None;
        }
        let keep = pattern.follows_real_time()
            || match zone.to_ambiguous_timestamp(candidate).offset() {
                AmbiguousOffset::Fold { before, after } => match overlap {
                    DstOverlap::Both => true,
                    DstOverlap::First => offset == before,
                    DstOverlap::Second => offset == after,
                },
                AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => true,
            };
        if keep {
            return Some(instant);
        }
        local = candidate.checked_add(SignedDuration::from_secs(1)).ok()?;
    }
}

/// Whether the local times that a change of the clock skips hold a match.
fn gap_holds_match(pattern: &impl Pattern, before: Offset, after: Offset, change: Timestamp) -> bool {
    let (first, end) = (before.to_datetime(change), after.to_datetime(change));
    first < end && pattern.next(first, before).is_some_and(|candidate| candidate < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_name_is_the_zone_that_it_means() {
        let name = |name: &str| Zone::parse(name).unwrap().name().to_owned();
        assert_eq!(name("W. Europe Standard Time"), "Europe/Berlin");
        assert_eq!(name("india standard time"), "Asia/Kolkata");
        assert_eq!(name("UTC"), "UTC");
        assert_eq!(name("Dateline Standard Time"), "Etc/GMT+12");
    }

    #[test]
    fn a_name_that_is_none_is_told_what_may_be_meant() {
        let said = |name: &str| Zone::parse(name).unwrap_err().to_string();
        assert_eq!(
            said("W. Europa Standard Time"),
            "unknown time zone 'W. Europa Standard Time'; did you mean 'W. Europe Standard Time'?"
        );
        assert!(said("Eastern Daylight Time").contains("by their standard time"));
        assert_eq!(said("Europe/Berln"), "unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?");
        assert_eq!(said("Mars/Olympus"), "unknown time zone 'Mars/Olympus'");
    }

    #[test]
    fn a_host_without_tzdata_is_told_to_install_it() {
        let said = advice("Europe/Berlin", std::iter::empty());
        assert!(said.contains("install tzdata"), "{said}");
    }
}
