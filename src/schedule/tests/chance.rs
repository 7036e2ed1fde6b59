//! Chance that can be replayed, and windows of time around changes of the clock in which every minute is judged.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::*;

/// Where a failing test is replayed: the seed that it printed.
const SEED: &str = "ADF_CRON_TEST_SEED";

/// Numbers that one seed gives (SplitMix64; Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
#[derive(Debug)]
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// Chance of the seed in the environment, else of the time; it is printed either way.
    pub(crate) fn new(test: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a seed is to be another each time")]
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
        let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a seed is a number"));
        let seed = given.unwrap_or_else(|| u64::try_from(now()).unwrap());
        println!("{test}: {SEED}={seed}");
        Self { seed, state: seed }
    }

    /// A number from 0 to below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % end as u64).unwrap()
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub(super) fn policy(&mut self) -> (DstGap, DstOverlap) {
        ([RunAfter, Skip][self.below(2)], [First, Second, Both][self.below(3)])
    }
}

/// How the case is replayed.
impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replay with {SEED}={}", self.seed)
    }
}

/// Shifts of half an hour, gaps and overlaps at midnight, negative summer time, a day that was skipped, and others.
pub(super) const ZONES: [&str; 12] = [
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "Africa/Cairo",
    "America/Santiago",
    "Pacific/Apia",
    "Europe/Dublin",
    "Europe/Berlin",
    "America/New_York",
    "Africa/Casablanca",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Kolkata",
];

/// Every zone of this system.
static ALL_ZONES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let names = jiff::tz::db().available().map(|name| name.to_string());
    names.filter(|name| Zone::parse(name).is_ok()).collect()
});

/// Half a day before a change of the clock to half a day after it.
pub(super) struct Window {
    pub(super) zone: String,
    pub(super) change: Timestamp,
    /// Every minute, the one before the window first.
    minutes: Vec<Judged>,
}

/// A minute, before it is judged.
struct Judged {
    instant: Timestamp,
    local: DateTime,
    offset: Offset,
    /// Whether its local time does not come again, or has not come before.
    first: bool,
    last: bool,
}

const DAY: usize = 1_440;

impl Window {
    /// A window around a random change of the clock: half of them in one of the zones above, half in any zone.
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let zone = match chance.below(2) {
            0 => chance.one_of(&ZONES).to_owned(),
            _ => ALL_ZONES[chance.below(ALL_ZONES.len())].clone(),
        };
        let rules = Zone::parse(&zone).unwrap().rules().clone();
        let (begin, end): (Timestamp, Timestamp) =
            ("1995-01-01T00:00:00Z".parse().unwrap(), "2040-01-01T00:00:00Z".parse().unwrap());
        // The files of some zones end with a change that is none, at an odd second.
        let changes = rules.following(begin).map(|change| change.timestamp()).take_while(|at| *at < end);
        let changes: Vec<Timestamp> = changes.filter(|at| at.as_second() % 60 == 0).collect();
        let mut change = match changes.len() {
            0 => begin + SignedDuration::from_hours(24 * chance.below(10_000) as i64),
            some => changes[chance.below(some)],
        };
        // The day that Apia did not have.
        if zone == "Pacific/Apia" && chance.below(2) == 0 {
            change = "2011-12-30T10:00:00Z".parse().unwrap();
        }
        // A local time comes again within a day, if it does.
        let begin = change - SignedDuration::from_mins(2 * DAY as i64);
        let all: Vec<Timestamp> =
            (0..4 * DAY as i64).map(|minute| begin + SignedDuration::from_mins(minute)).collect();
        let mut seen = HashSet::new();
        let mut minutes: Vec<Judged> = all
            .into_iter()
            .map(|instant| {
                let (local, offset) = (rules.to_datetime(instant), rules.to_offset(instant));
                Judged { instant, local, offset, first: seen.insert(local), last: false }
            })
            .collect();
        seen.clear();
        minutes.iter_mut().rev().for_each(|minute| minute.last = seen.insert(minute.local));
        minutes.truncate(5 * DAY / 2);
        minutes.drain(..3 * DAY / 2);
        Self { zone, change, minutes }
    }

    /// The minutes that fire, by the words of the policy. `meant` judges a local time and its instant; skipped local
    /// times have the instant that they would have had if the clock had not changed.
    pub(super) fn expected(
        &self,
        (gap, overlap): (DstGap, DstOverlap),
        real: bool,
        meant: impl Fn(Timestamp, DateTime) -> bool,
    ) -> Vec<Nominal> {
        let fires = |before: &Judged, minute: &Judged| {
            if meant(minute.instant, minute.local)
                && (real
                    || match overlap {
                        Both => true,
                        First => minute.first,
                        Second => minute.last,
                    })
            {
                return true;
            }
            let mut skipped = before.local + SignedDuration::from_mins(1);
            while !real && gap == RunAfter && skipped < minute.local {
                if meant(before.offset.to_timestamp(skipped).unwrap(), skipped) {
                    return true;
                }
                skipped += SignedDuration::from_mins(1);
            }
            false
        };
        let pairs = self.minutes.windows(2).filter(|pair| fires(&pair[0], &pair[1]));
        pairs.map(|pair| Nominal::at_or_before(pair[1].instant)).collect()
    }

    /// A random second of it.
    pub(super) fn start(&self, chance: &mut Chance) -> Nominal {
        let begin = Nominal::at_or_before(self.minutes[0].instant).as_second();
        Nominal::from_second(begin + chance.below((self.minutes.len() - 1) * 60) as i64).unwrap()
    }

    /// Its last minute.
    pub(super) fn end(&self) -> Nominal {
        Nominal::at_or_before(self.minutes.last().unwrap().instant)
    }

    /// The minutes at which the calendar fires.
    pub(super) fn found(&self, calendar: &Calendar) -> Vec<Nominal> {
        let at = |minute: &Judged| Nominal::at_or_before(minute.instant);
        calendar.due_between(at(&self.minutes[0]), self.end()).collect()
    }
}
