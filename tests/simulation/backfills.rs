//! Backfills: what the ledger in memory keeps of them, how people ask for them, and what must hold of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use adf_cron::clock::Now;
use adf_cron::config::Entry;
use adf_cron::ids::{EntryName, Kind, Nominal};
use adf_cron::ledger::{Asks, Backfill, Intent, State, Wanted};

use crate::checker::{Checker, is_own};
use crate::memory::{MemoryLedger, Row, kept};
use crate::sabotage::Sabotage;
use crate::service::Service;
use crate::world::World;

/// Whether a firing keeps a backfill from starting its nominal time.
fn stands_in_the_way(row: &Row, again: bool) -> bool {
    match row.state {
        State::Planned | State::Waiting | State::Unknown | State::Held => true,
        State::Accepted => !again || row.following,
        _ => false,
    }
}

impl MemoryLedger {
    pub(crate) fn backfill(&mut self, backfill: &Backfill) {
        let backfill = Backfill {
            begun_at: kept(backfill.begun_at),
            ended_at: backfill.ended_at.map(kept),
            ..backfill.clone()
        };
        self.backfills.insert(Arc::clone(&backfill.id), backfill);
    }

    /// Whether this is a firing of a backfill whose nominal time needs no start.
    pub(crate) fn is_taken(&self, intent: &Intent) -> bool {
        if intent.kind != Kind::Backfill {
            return false;
        }
        let backfill = intent.backfill.as_ref().and_then(|id| self.backfills.get(id));
        let again = backfill.is_some_and(|backfill| backfill.again);
        self.rows.values().any(|row| {
            row.intent.entry == intent.entry
                && row.intent.nominal == intent.nominal
                && row.intent.firing_id != intent.firing_id
                && stands_in_the_way(row, again)
        })
    }

    /// The nominal times that have had a run, unless that does not matter.
    fn taken(&self, entry: &EntryName, (first, last): (Nominal, Nominal), again: bool) -> Vec<Nominal> {
        let rows =
            self.rows.values().filter(|row| row.intent.entry == *entry && row.state == State::Accepted);
        let taken = rows.filter(|_| !again).map(|row| row.intent.nominal);
        let mut taken: Vec<Nominal> = taken.filter(|nominal| (first..=last).contains(nominal)).collect();
        taken.sort_unstable();
        taken.dedup();
        taken
    }

    pub(crate) fn taken_of(&self, asks: &Asks) -> Vec<Nominal> {
        match asks {
            Asks::Backfill(wanted) => self.taken(&wanted.entry, (wanted.from, wanted.until), wanted.again),
            _ => Vec::new(),
        }
    }

    pub(crate) fn open_backfills(&self) -> Vec<(Backfill, Vec<Nominal>)> {
        let open = self.backfills.values().filter(|backfill| backfill.ended_at.is_none());
        let mut open: Vec<Backfill> = open.cloned().collect();
        open.sort_by_key(|backfill| (backfill.begun_at, Arc::clone(&backfill.id)));
        let with_taken = |backfill: Backfill| {
            let range = (backfill.mark, backfill.last);
            let taken = self.taken(&backfill.entry, range, backfill.again);
            (backfill, taken)
        };
        open.into_iter().map(with_taken).collect()
    }
}

impl World {
    /// Somebody wants nominal times of the past started.
    pub(crate) fn fills_in(&mut self) -> Asks {
        let longest = *self.dice.pick(&[60, 600, 7_200, 86_400]);
        let ago = self.dice.up_to(Duration::from_secs(longest));
        let lasts = self.dice.up_to(ago);
        let from = self.now().wall - ago;
        Asks::Backfill(Wanted {
            entry: self.some_entry(),
            from: Nominal::at_or_before(from),
            until: Nominal::at_or_before(from + lasts),
            max_active: *self.dice.pick(&[None, None, Some(1), Some(3), Some(20)]),
            // Begun anew it shows soonest where nothing guards what has had a run.
            again: self.dice.one_in(4) || self.setup.sabotage == Some(Sabotage::FillsAnew),
        })
    }

    pub(crate) fn ends_a_backfill(&mut self) -> Asks {
        let open = self.books.memory.open_backfills();
        let entry = match open.first() {
            Some((backfill, _)) => backfill.entry.clone(),
            None => self.some_entry(),
        };
        Asks::StopBackfill { entry }
    }
}

impl Checker {
    /// A firing of a backfill is one that somebody wants, and is not sent beside more of it than may run at once.
    pub(crate) fn fills(&mut self, intent: &Intent, ledger: &MemoryLedger, service: &Service, now: Now) {
        let Some(row) = ledger.rows.get(&intent.firing_id).filter(|_| intent.kind == Kind::Backfill) else {
            return;
        };
        let Intent { entry, nominal, .. } = intent;
        let backfill = intent.backfill.as_ref().and_then(|id| ledger.backfills.get(id));
        let Some(backfill) = backfill else {
            // It may have been pruned by a clock that is years ahead.
            return;
        };
        let Backfill { first, last, max_active, .. } = backfill;
        if backfill.entry != *entry || !(first..=last).contains(&nominal) {
            self.fail(format!("{entry} at {nominal} is none of its backfill, {first} to {last}"));
        }
        // Where runs have ids of their own, one may have been taken for that of another firing.
        if row.reopened_at.is_some() || row.attempts > 0 || is_own(row) {
            return;
        }
        let others = ledger.rows.values().filter(|other| {
            other.intent.backfill == intent.backfill
                && other.intent.firing_id != intent.firing_id
                && other.state != State::Held
                && other.reopened_at.is_none()
        });
        let active = service.active(others.map(|other| other.intent.firing_id), now);
        if active.len() >= usize::try_from(*max_active).unwrap() {
            self.fail(format!("{entry} at {nominal} was filled in beside {active:?}, at most {max_active}"));
        }
    }

    /// Every nominal time of a backfill that went to its end was started by it once, or had another firing.
    pub(crate) fn backfills(&mut self, ledger: &MemoryLedger) {
        let rows =
            || ledger.rows.values().chain(&ledger.pruned).filter(|row| row.intent.kind == Kind::Backfill);
        for backfill in ledger.backfills.values() {
            let Backfill { entry: name, first, last, count, passed, .. } = backfill;
            if backfill.ended_at.is_none() {
                self.fail(format!("the backfill of {name} from {first} to {last} never ended"));
            }
            let mut own = HashSet::new();
            for row in rows().filter(|row| row.intent.backfill.as_ref() == Some(&backfill.id)) {
                if !own.insert(row.intent.nominal) {
                    self.fail(format!("{name} at {} was filled in twice", row.intent.nominal));
                }
            }
            if backfill.reason.is_some() {
                continue;
            }
            let entry =
                self.versions.values().flat_map(|version| &version.entries).find(|entry| {
                    entry.name == *name && entry.calendar.fingerprint() == backfill.fingerprint
                });
            let times = entry.map(|entry| times(entry, *first, *last)).unwrap_or_default();
            if times.len() as u64 != *count || passed != count {
                let named = times.len();
                self.fail(format!(
                    "the backfill of {name} counts {count}, {passed} gone through, not {named}"
                ));
            }
            let left = times
                .iter()
                .find(|at| !own.contains(at) && !self.had_a_firing.contains(&(name.clone(), **at)));
            if let Some(left) = left {
                self.fail(format!("the backfill of {name} is over, and {left} never had a firing"));
            }
        }
    }
}

fn times(entry: &Entry, first: Nominal, last: Nominal) -> Vec<Nominal> {
    let before = Nominal::from_second(first.as_second() - 1).unwrap();
    entry.calendar.due_between(before, last).collect()
}
