//! Times of day as bit sets: the first one at or after a time takes a few shifts, however many there are.

use jiff::civil::{Date, DateTime, Time};

/// All times whose hour, minute and second are each in their set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) seconds: u64,
    pub(crate) minutes: u64,
    pub(crate) hours: u32,
}

/// All hours of a day.
pub(super) const ALL_HOURS: u32 = (1 << 24) - 1;
/// All minutes of an hour, or seconds of a minute.
pub(super) const ALL_SIXTY: u64 = (1 << 60) - 1;

/// A set of these values; those beyond 63 are in none.
pub(super) fn bits(values: impl IntoIterator<Item = u16>) -> u64 {
    values.into_iter().filter(|value| *value < 64).fold(0, |all, value| all | 1 << value)
}

/// The lower half of a set.
pub(super) fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0)
}

/// The lowest value of a set that is at least `from`.
pub(super) fn at_least(bits: u64, from: u8) -> Option<u8> {
    let rest = bits.checked_shr(u32::from(from))?;
    if rest == 0 { None } else { u8::try_from(rest.trailing_zeros() + u32::from(from)).ok() }
}

/// The values of a set, in order.
pub(crate) fn each(mut bits: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let lowest = at_least(bits, 0)?;
        bits &= bits - 1;
        Some(lowest)
    })
}

impl Times {
    /// The first of them at or after `from`.
    pub(super) fn at_or_after(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) =
            (from.hour().unsigned_abs(), from.minute().unsigned_abs(), from.second().unsigned_abs());
        let hours = u64::from(self.hours);
        let time = |hour: u8, minute: u8, second: u8| {
            Time::new(hour.cast_signed(), minute.cast_signed(), second.cast_signed(), 0).ok()
        };
        let (any_minute, any_second) = (at_least(self.minutes, 0)?, at_least(self.seconds, 0)?);
        if hours & 1 << hour != 0 {
            if self.minutes & 1 << minute != 0
                && let Some(second) = at_least(self.seconds, second)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = at_least(self.minutes, minute + 1) {
                return time(hour, minute, any_second);
            }
        }
        time(at_least(hours, hour + 1)?, any_minute, any_second)
    }

    /// The first of them at or after `from` on the dates that `next_date` gives, each at or after what it is given.
    pub(super) fn next_on(
        &self,
        from: DateTime,
        next_date: impl Fn(Date) -> Option<Date>,
    ) -> Option<DateTime> {
        let date = next_date(from.date())?;
        if date == from.date()
            && let Some(time) = self.at_or_after(from.time())
        {
            return Some(date.to_datetime(time));
        }
        let date = if date == from.date() { next_date(date.tomorrow().ok()?)? } else { date };
        Some(date.to_datetime(self.first()?))
    }

    /// The first of the day.
    pub(super) fn first(&self) -> Option<Time> {
        self.at_or_after(Time::midnight())
    }
}
