//! Which calendar an entry had when: the versions that were in force, one after the other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::ids::{EntryName, Nominal};
use crate::ledger::{Evidence, InForce, Kept};
use crate::schedule::{Calendar, CronRules, Fingerprint};

/// Why nothing can be said of some nominal times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// No schedule was in force, as far as the ledger knows.
    NoSchedule,
    /// Records that were older were removed.
    Pruned,
    /// The version that was in force is not kept, or cannot be read any more: why.
    Unreadable(String),
    /// The version that was in force was read by rules that this version of the program does not know.
    RulesChanged,
}

/// Nominal times of which nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncovered {
    /// After this; `None` means from the beginning of time.
    pub after: Option<Nominal>,
    /// Up to and including this.
    pub until: Nominal,
    /// Why.
    pub why: Gone,
    /// The version that was in force, if that is why.
    pub version: Option<Arc<str>>,
}

/// A version was in force for these nominal times.
#[derive(Debug)]
struct Period {
    /// When the version came.
    since: Timestamp,
    after: Nominal,
    until: Nominal,
    version: Arc<str>,
    /// By which rules it was read, if they are known.
    rules: Option<CronRules>,
    gone: Option<Gone>,
}

/// An entry had this calendar for these nominal times.
#[derive(Debug, Clone)]
struct Span {
    after: Nominal,
    until: Nominal,
    calendar: Arc<Calendar>,
}

/// The calendars of a version's enabled entries, or why it cannot be read.
pub type Calendars = Result<Vec<(EntryName, Arc<Calendar>)>, String>;

/// All that was in force, from the oldest covered nominal time on.
#[derive(Debug)]
pub struct Timeline {
    /// Nothing is known up to and including this.
    begin: Nominal,
    why: Gone,
    /// By time; they do not overlap, and leave no room between them.
    periods: Vec<Period>,
    spans: BTreeMap<EntryName, Vec<Span>>,
    /// Every calendar once, whatever the number of versions that have it.
    known: HashMap<(EntryName, Fingerprint), Arc<Calendar>>,
}

impl Timeline {
    /// The timeline of the versions that were in force, none of which is known yet.
    #[must_use]
    pub fn new(evidence: &Evidence) -> Self {
        let first = evidence.in_force.iter().map(|in_force| in_force.at).min().unwrap_or(Timestamp::MAX);
        let first = Nominal::at_or_before(first);
        let kept = evidence.kept_from.and_then(|kept| Nominal::from_second(kept.as_second() - 1));
        let pruned = kept.is_some_and(|kept| kept >= first);
        let begin = kept.map_or(first, |kept| kept.max(first));
        Self {
            begin,
            why: if pruned { Gone::Pruned } else { Gone::NoSchedule },
            periods: periods(&evidence.in_force, begin),
            spans: BTreeMap::new(),
            known: HashMap::new(),
        }
    }

    /// The versions that matter, each once with each of the rules by which it was read.
    #[must_use]
    pub fn versions(&self) -> HashSet<(Arc<str>, CronRules)> {
        self.periods.iter().filter_map(|period| Some((Arc::clone(&period.version), period.rules?))).collect()
    }

    /// Takes in what a version says, read by these rules.
    pub fn take_in(&mut self, version: &str, rules: CronRules, calendars: Calendars) {
        let is_mine = |period: &&mut Period| &*period.version == version && period.rules == Some(rules);
        let mine = self.periods.iter_mut().filter(is_mine);
        let calendars = match calendars {
            Ok(calendars) => calendars,
            Err(why) => return mine.for_each(|period| period.gone = Some(Gone::Unreadable(why.clone()))),
        };
        let bounds: Vec<(Nominal, Nominal)> = mine.map(|period| (period.after, period.until)).collect();
        for (entry, calendar) in calendars {
            // Most entries are the same in all versions.
            let key = (entry.clone(), calendar.fingerprint());
            let calendar = self.known.entry(key).or_insert(calendar);
            let spans = self.spans.entry(entry).or_default();
            spans.extend(bounds.iter().map(|(after, until)| Span {
                after: *after,
                until: *until,
                calendar: Arc::clone(calendar),
            }));
            join(spans);
        }
    }

    /// The oldest nominal time of which something can be said.
    #[must_use]
    pub fn begin(&self) -> Nominal {
        super::after(self.begin)
    }

    /// All entries that were in force at some time.
    pub fn entries(&self) -> impl Iterator<Item = &EntryName> {
        self.spans.keys()
    }

    /// The calendar that an entry had last.
    #[must_use]
    pub fn last_calendar(&self, entry: &EntryName) -> Option<&Calendar> {
        self.spans.get(entry)?.last().map(|span| &*span.calendar)
    }

    /// What cannot be said anything of, by time.
    #[must_use]
    pub fn uncovered(&self) -> Vec<Uncovered> {
        let before = Uncovered { after: None, until: self.begin, why: self.why.clone(), version: None };
        let gone = self.periods.iter().filter_map(|period| {
            Some(Uncovered {
                after: Some(period.after),
                until: period.until,
                why: period.gone.clone()?,
                version: Some(Arc::clone(&period.version)),
            })
        });
        std::iter::once(before).chain(gone).collect()
    }

    /// The version in force for a nominal time.
    pub(super) fn version_at(&self, nominal: Nominal) -> Option<Arc<str>> {
        self.period_of(nominal).map(|period| Arc::clone(&period.version))
    }

    fn period_of(&self, nominal: Nominal) -> Option<&Period> {
        let at = self.periods.partition_point(|period| period.until < nominal);
        self.periods.get(at).filter(|period| period.after < nominal)
    }

    /// Whether it is known what was in force all the time between two nominal times.
    pub(super) fn covers(&self, first: Nominal, last: Nominal) -> bool {
        let unknown = |period: &Period| period.gone.is_some() && period.after < last && first <= period.until;
        first > self.begin && !self.periods.iter().any(unknown)
    }

    /// Whether the entry had one calendar all the time that the record stands for.
    pub(super) fn rules_all_of(&self, entry: &EntryName, record: &Kept) -> bool {
        let spans = self.spans.get(entry).map(Vec::as_slice).unwrap_or_default();
        spans.iter().any(|span| span.after < record.first && record.last <= span.until)
    }

    /// Whether a record was planned when the version that rules its time had already come, and by another: the
    /// clock was set back since.
    pub(super) fn is_of_a_clock_before(&self, record: &Kept) -> bool {
        let rules = self.period_of(record.first);
        rules.is_some_and(|rules| rules.version != record.version && rules.since < record.planned_at)
    }

    /// A walk along an entry's calendar, from a nominal time on.
    pub(super) fn walk(&self, entry: &EntryName, from: Nominal) -> Walk<'_> {
        let spans = self.spans.get(entry).map(Vec::as_slice).unwrap_or_default();
        let before = Nominal::from_second(from.as_second() - 1).unwrap_or(from);
        let mut walk = Walk { spans, next: None };
        walk.next = walk.find(before);
        walk
    }
}

/// Puts spans in order, and makes one of those that follow each other with the same calendar.
fn join(spans: &mut Vec<Span>) {
    spans.sort_by_key(|span| span.after);
    let mut joined: Vec<Span> = Vec::new();
    for span in spans.drain(..) {
        match joined.last_mut() {
            Some(last) if last.until == span.after && last.calendar.same_as(&span.calendar) => {
                last.until = span.until;
            }
            _ => joined.push(span),
        }
    }
    *spans = joined;
}

/// When each version was in force, in order of time.
fn periods(in_force: &[InForce], begin: Nominal) -> Vec<Period> {
    let mut end = Nominal::at_or_before(Timestamp::MAX);
    let mut periods: Vec<Period> = Vec::new();
    // From the last one on: a later version rules from its own coming on, whatever came before.
    for InForce { at, version, rules } in in_force.iter().rev() {
        let after = Nominal::at_or_before(*at).max(begin);
        if after < end {
            let version = Arc::clone(version);
            let gone = rules.is_none().then_some(Gone::RulesChanged);
            periods.push(Period { since: *at, after, until: end, version, rules: *rules, gone });
            end = after;
        }
    }
    periods.reverse();
    periods
}

/// The nominal times of an entry, across its calendars.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    spans: &'a [Span],
    next: Option<Nominal>,
}

impl Walk<'_> {
    /// Where it stands.
    pub(super) fn peek(&self) -> Option<Nominal> {
        self.next
    }

    /// Goes on.
    pub(super) fn step(&mut self) {
        self.next = self.next.and_then(|here| self.find(here));
    }

    /// The first nominal time after this one.
    fn find(&mut self, after: Nominal) -> Option<Nominal> {
        while let Some((span, rest)) = self.spans.split_first() {
            let next = span.calendar.next_after(after.max(span.after));
            if let Some(next) = next.filter(|next| *next <= span.until) {
                return Some(next);
            }
            self.spans = rest;
        }
        None
    }
}
