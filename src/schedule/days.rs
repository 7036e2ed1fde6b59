//! Days of a month as bit sets: which days of a given month are meant, whether they are said by number, from the
//! end, by weekday, by the n-th weekday, or as the working day next to one.

use jiff::civil::Date;

use super::times::{at_least, each};

/// Days by their number. Bit n is day n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OfMonth {
    /// Counted from the first day.
    pub(crate) days: u32,
    /// Counted from the last day, which is 1.
    pub(crate) from_end: u32,
    /// The working day (Monday to Friday) next to each of these, in the same month.
    pub(crate) near: u32,
    /// The last working day.
    pub(crate) last_working: bool,
}

/// Days by their weekday. Bit 0 is Sunday.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OfWeek {
    /// In each week.
    pub(crate) every: u8,
    /// In the first, second … fifth occurrence in the month.
    pub(crate) nth: [u8; 5],
    /// The same counted from the last.
    pub(crate) nth_from_end: [u8; 5],
}

/// Which of the two count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Neither: every day.
    All,
    OfMonth,
    OfWeek,
    /// A day of either.
    Either,
    /// Only a day of both.
    Both,
}

/// Days of months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days {
    pub(crate) of_month: OfMonth,
    pub(crate) of_week: OfWeek,
    pub(crate) count: Count,
}

/// What a month looks like.
#[derive(Clone, Copy)]
struct Month {
    length: u8,
    /// The weekday of its first day; Sunday is 0.
    first: u8,
}

impl Month {
    fn of(date: Date) -> Self {
        let first = date.first_of_month().weekday().to_sunday_zero_offset();
        Self { length: date.days_in_month().unsigned_abs(), first: first.unsigned_abs() }
    }

    fn all(self) -> u32 {
        ((1_u64 << (self.length + 1)) - 2).try_into().unwrap_or(0)
    }

    fn weekday(self, day: u8) -> u8 {
        (self.first + day - 1) % 7
    }

    /// The day of the n-th of a weekday, n from 0; it may lie beyond the month.
    fn nth(self, weekday: u8, n: u8) -> u8 {
        1 + (7 + weekday - self.first) % 7 + 7 * n
    }

    /// The working day next to a day that the month has.
    fn near(self, day: u8) -> u8 {
        match self.weekday(day) {
            0 if day == self.length => day - 2,
            0 => day + 1,
            6 if day == 1 => 3,
            6 => day - 1,
            _ => day,
        }
    }
}

impl OfMonth {
    fn is_all(&self) -> bool {
        self.days == u32::MAX - 1
    }

    fn within(&self, month: Month) -> u32 {
        let mut days = self.days;
        days |= each(self.from_end.into())
            .filter(|back| *back <= month.length)
            .fold(0, |all, back| all | 1 << (month.length + 1 - back));
        days |= each(self.near.into())
            .filter(|day| *day <= month.length)
            .fold(0, |all, day| all | 1 << month.near(day));
        if self.last_working {
            days |= 1 << month.near(month.length);
        }
        days & month.all()
    }
}

impl OfWeek {
    fn is_all(&self) -> bool {
        self.every == 0x7f
    }

    fn within(&self, month: Month) -> u32 {
        let day = |weekday: u8, n: u8| 1_u64 << month.nth(weekday, n);
        let mut days = 0_u64;
        for weekday in 0..7 {
            let bit = 1_u8 << weekday;
            if self.every & bit != 0 {
                days |= (0..5).fold(0, |all, n| all | day(weekday, n));
                continue;
            }
            let occurrences = if month.nth(weekday, 4) <= month.length { 5 } else { 4 };
            for n in (0..occurrences).filter(|n| self.nth[usize::from(*n)] & bit != 0) {
                days |= day(weekday, n);
            }
            for n in (0..occurrences).filter(|n| self.nth_from_end[usize::from(*n)] & bit != 0) {
                days |= day(weekday, occurrences - 1 - n);
            }
        }
        super::times::low(days) & month.all()
    }
}

impl Days {
    /// Every day.
    pub(super) const ALL: Self = Self {
        of_month: OfMonth { days: 0, from_end: 0, near: 0, last_working: false },
        of_week: OfWeek { every: 0, nth: [0; 5], nth_from_end: [0; 5] },
        count: Count::All,
    };

    /// The days of these two, where a field that names all of its days says nothing beside the other.
    pub(super) fn of(of_month: OfMonth, of_week: OfWeek, count: Count) -> Self {
        let (month, week) = (of_month.is_all(), of_week.is_all());
        let count = match count {
            Count::OfMonth | Count::Both | Count::Either if month && week => Count::All,
            Count::Either if month || week => Count::All,
            Count::Both if month => Count::OfWeek,
            Count::Both if week => Count::OfMonth,
            Count::OfMonth if month => Count::All,
            Count::OfWeek if week => Count::All,
            count => count,
        };
        Self { of_month, of_week, count }
    }

    /// Whether the numbers are those of every day, and whether the weekdays are.
    pub(super) fn are_all(&self) -> (bool, bool) {
        (self.of_month.is_all(), self.of_week.is_all())
    }

    /// Whether the other ones are the same in each of these months of every year. Bit n is month n.
    pub(super) fn same_as(&self, other: &Self, months: u16) -> bool {
        const LENGTHS: [(u8, u16); 4] =
            [(28, 1 << 2), (29, 1 << 2), (30, 0b1010_0101_0000), (31, 0b1_0101_1010_1010)];
        let lengths = LENGTHS.iter().filter(|(_, of)| of & months != 0);
        let mut shapes = lengths.flat_map(|(length, _)| (0..7).map(|first| Month { length: *length, first }));
        shapes.all(|month| self.of_shape(month) == other.of_shape(month))
    }

    /// The days that are meant in the month of a date: bit n is day n.
    pub(super) fn within(&self, month_of: Date) -> u32 {
        self.of_shape(Month::of(month_of))
    }

    fn of_shape(&self, month: Month) -> u32 {
        match self.count {
            Count::All => month.all(),
            Count::OfMonth => self.of_month.within(month),
            Count::OfWeek => self.of_week.within(month),
            Count::Either => self.of_month.within(month) | self.of_week.within(month),
            Count::Both => self.of_month.within(month) & self.of_week.within(month),
        }
    }

    /// The first such day of the date's month at or after the date.
    pub(super) fn at_or_after(&self, date: Date) -> Option<Date> {
        if self.count == Count::All {
            return Some(date);
        }
        let day = at_least(u64::from(self.within(date)), date.day().unsigned_abs())?;
        Date::new(date.year(), date.month(), day.cast_signed()).ok()
    }
}
