//! Which facts the output has taken, which wait for it in the ledger, and which the ledger may forget. Pure: the
//! recorder and the simulation go by it.

use std::ops::RangeInclusive;

use crate::event::Event;
use crate::ledger::Facts;

/// The facts that are to be announced, by the numbers of their batches.
#[derive(Debug)]
pub struct Backlog {
    /// The first batch whose facts are ours to announce.
    first: u64,
    /// Facts of the batches from here on wait in the ledger.
    waits: Option<u64>,
    /// The ledger has forgotten the facts up to this batch.
    forgotten: Option<u64>,
}

impl Backlog {
    /// How many batches are read from the ledger at a time.
    pub const SLICE: u32 = 100;

    /// The facts of the batches from `first` on are ours; some may wait already.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self { first, waits: Some(first), forgotten: None }
    }

    /// From which batch on facts wait in the ledger, if any do.
    #[must_use]
    pub fn waits(&self) -> Option<u64> {
        self.waits
    }

    /// A batch was committed. Its facts are offered to the output, unless earlier ones wait; returns whether that took
    /// them.
    pub fn committed(&mut self, batch: u64, offer: impl FnOnce() -> bool) -> bool {
        let taken = self.waits.is_none() && offer();
        if !taken {
            self.waits.get_or_insert(batch);
        }
        taken
    }

    /// These are the next facts that wait, read from the ledger. They are offered in order; what the output does not
    /// take waits on.
    pub fn read(&mut self, facts: &[Facts], mut offer: impl FnMut(u64, &[Event]) -> bool) {
        for (batch, events) in facts {
            self.waits = Some(*batch);
            if !offer(*batch, events) {
                return;
            }
            self.waits = Some(batch + 1);
        }
        if facts.len() < Self::SLICE as usize {
            self.waits = None;
        }
    }

    /// Of these facts that wait, the first are too old to be announced. Returns those, and the batches that the ledger
    /// is to forget.
    pub fn too_old<'a>(
        &self,
        facts: &'a [Facts],
        is_old: impl Fn(&Event) -> bool,
    ) -> Option<(&'a [Facts], RangeInclusive<u64>)> {
        let young = facts.iter().position(|(_, events)| !events.iter().all(&is_old));
        let old = facts.get(..young.unwrap_or(facts.len()))?;
        Some((old, self.waits?..=old.last()?.0))
    }

    /// The batches whose facts the ledger may forget, once those up to `announced` are written.
    #[must_use]
    pub fn to_forget(&self, announced: Option<u64>) -> Option<RangeInclusive<u64>> {
        let last = announced.filter(|last| self.forgotten.is_none_or(|forgotten| forgotten < *last))?;
        Some(self.first..=last)
    }

    /// The ledger has forgotten these.
    pub fn forgot(&mut self, batches: Option<RangeInclusive<u64>>) {
        self.forgotten = batches.map(|batches| *batches.end()).or(self.forgotten);
    }
}
