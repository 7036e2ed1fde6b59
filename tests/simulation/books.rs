//! The ledger of a scenario: in memory, or on SQLite with the one in memory beside it. Where there are two
//! they must agree in every answer, over whatever history the scenario makes.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use adf_cron::ids::{FiringId, Nominal, RunId};
use adf_cron::ledger::{
    Asks, Batch, Facts, FollowedRun, HistoryFilter, Intent, Known, Ledger, Lock, Request, Skips, Snapshot,
    SqliteLedger, Written,
};
use futures_util::FutureExt as _;
use jiff::Timestamp;

use crate::memory::{MemoryLedger, Row};

/// The file and what is needed to use it.
struct OnDisk {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    ledger: Option<SqliteLedger>,
}

/// The ledger, or the two.
pub(crate) struct Books {
    pub(crate) memory: MemoryLedger,
    disk: Option<OnDisk>,
}

/// A future of the ledger in memory never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

impl OnDisk {
    fn new() -> Self {
        // What is proved here is not that disks keep what they are given.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut disk = Self { folder, runtime, ledger: None };
        disk.open();
        disk
    }

    fn open(&mut self) {
        let path = self.folder.path().join("ledger.db");
        // The last process is dead: its connection goes as it stands.
        self.ledger = None;
        let lock = Lock::take(&path).unwrap();
        self.ledger = Some(self.runtime.block_on(SqliteLedger::open(&lock)).unwrap());
    }

    fn with<T>(&mut self, work: impl AsyncFnOnce(&mut SqliteLedger) -> T) -> T {
        self.runtime.block_on(work(self.ledger.as_mut().unwrap()))
    }
}

/// The rows that were left out, as what identifies them.
fn rows(written: &Written) -> BTreeMap<u64, Vec<(FiringId, Nominal, u64)>> {
    let row = |skips: &Skips| (skips.intent.firing_id, skips.last, skips.count);
    written.left_out.iter().map(|(batch, rows)| (*batch, rows.iter().map(row).collect())).collect()
}

impl Books {
    pub(crate) fn in_memory() -> Self {
        Self { memory: MemoryLedger::default(), disk: None }
    }

    pub(crate) fn on_disk() -> Self {
        Self { memory: MemoryLedger::default(), disk: Some(OnDisk::new()) }
    }

    pub(crate) fn write(&mut self, batches: &[Batch], announced: Option<RangeInclusive<u64>>) -> Written {
        let written = now(self.memory.write(batches, announced.clone())).unwrap();
        if let Some(disk) = &mut self.disk {
            let there = disk.with(async |ledger| ledger.write(batches, announced).await.unwrap());
            assert_eq!(there.refused, written.refused, "the ledgers refuse different firings");
            assert_eq!(rows(&there), rows(&written), "the ledgers leave out different rows");
        }
        written
    }

    /// What a starting daemon reads, after the end of the last one.
    pub(crate) fn load(&mut self) -> Snapshot {
        let snapshot = now(self.memory.load()).unwrap();
        let Some(disk) = &mut self.disk else { return snapshot };
        disk.open();
        let there = disk.with(async |ledger| ledger.load().await.unwrap());
        same_snapshots(&there, &snapshot);
        there
    }

    pub(crate) fn unannounced(&mut self, first: u64, most: u32) -> Vec<Facts> {
        let facts = now(self.memory.unannounced(first, most)).unwrap();
        if let Some(disk) = &mut self.disk {
            let there = disk.with(async |ledger| ledger.unannounced(first, most).await.unwrap());
            assert_eq!(there, facts, "the ledgers have different news");
        }
        facts
    }

    pub(crate) fn owners(&mut self, runs: &[RunId], but: FiringId) -> HashMap<RunId, FiringId> {
        let owners = now(self.memory.owners(runs, but)).unwrap();
        if let Some(disk) = &mut self.disk {
            let there = disk.with(async |ledger| ledger.owners(runs, but).await.unwrap());
            assert_eq!(there, owners, "the ledgers know different owners");
        }
        owners
    }

    pub(crate) fn requests(&mut self) -> Vec<Request> {
        let waiting = now(self.memory.requests()).unwrap();
        if let Some(disk) = &mut self.disk {
            let there = disk.with(async |ledger| ledger.requests().await.unwrap());
            assert_eq!(requests(&there), requests(&waiting), "the ledgers know different requests");
        }
        waiting
    }

    pub(crate) fn ask(&mut self, request: &Request, at: Timestamp) {
        self.memory.ask(request, at);
        if let Some(disk) = &mut self.disk {
            disk.with(async |ledger| ledger.ask(request, at).await.unwrap());
        }
    }

    pub(crate) fn prune(&mut self, before: Timestamp) {
        now(self.memory.prune(before)).unwrap();
        if let Some(disk) = &mut self.disk {
            while disk.with(async |ledger| ledger.prune(before).await.unwrap()) > 0 {}
        }
    }

    /// At the end of a scenario both ledgers hold the same history.
    pub(crate) fn compare(&mut self) -> Result<(), String> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let filter = HistoryFilter { limit: u32::MAX, ..HistoryFilter::default() };
        let history = disk.with(async |ledger| ledger.history(&filter).await.unwrap());
        if history.len() != self.memory.rows.len() {
            return Err(format!("{} rows on disk, {} in memory", history.len(), self.memory.rows.len()));
        }
        for there in &history {
            let firing = FiringId::parse(&there.firing_id).unwrap();
            let here = self.memory.rows.get(&firing).ok_or(format!("{firing} is on disk only"))?;
            let run = (there.run_id.clone(), there.run_status.clone());
            let (there, here) =
                ((there.state.as_str(), there.reason.as_deref(), there.attempts, run), shown(here));
            if there != here {
                return Err(format!("{firing} is {there:?} on disk and {here:?} in memory"));
            }
        }
        Ok(())
    }
}

type Shown = (&'static str, Option<&'static str>, u64, (Option<String>, Option<String>));

fn shown(row: &Row) -> Shown {
    let reason = row.reason.map(|reason| reason.as_str());
    let run = (row.run_id.map(|run| run.to_string()), row.run_status.clone());
    (row.state.as_str(), reason, u64::from(row.attempts), run)
}

/// The parts of two snapshots that must be the same; equal due times leave the order of firings open.
pub(crate) fn same_snapshots(there: &Snapshot, here: &Snapshot) {
    assert_eq!(known(&there.open), known(&here.open), "the ledgers know different open firings");
    assert_eq!(known(&there.held), known(&here.held), "the ledgers know different held firings");
    assert_eq!(followed(&there.followed), followed(&here.followed), "the ledgers follow different runs");
    assert_eq!(there.pauses, here.pauses, "the ledgers know different pauses");
    assert_eq!(there.failures, here.failures, "the ledgers count failures differently");
    assert_eq!(there.backfills, here.backfills, "the ledgers know different backfills");
    assert_eq!(there.marks, here.marks, "the ledgers know different marks");
    assert_eq!(there.learned, here.learned, "the ledgers have learned differently");
    assert_eq!(there.schedule, here.schedule, "the ledgers know different schedules");
    assert_eq!(there.clean_stop, here.clean_stop, "the ledgers know different stops");
    assert_eq!(there.reached, here.reached, "the ledgers know different ends");
    assert_eq!(there.next_batch, here.next_batch, "the ledgers count batches differently");
}

/// Firings in one order, as they are kept: times to the millisecond.
fn known(firings: &[Known]) -> Vec<Known> {
    let kept = |known: &Known| {
        let at = |at: Timestamp| Timestamp::from_millisecond(at.as_millisecond()).unwrap();
        let Intent { planned_at, due, .. } = *known.intent;
        let intent = Intent { planned_at: at(planned_at), due: at(due), ..(*known.intent).clone() };
        Known { intent: Arc::new(intent), ..known.clone() }
    };
    let mut firings: Vec<Known> = firings.iter().map(kept).collect();
    firings.sort_by_key(|known| known.intent.firing_id);
    firings
}

type Followed<'a> = (FiringId, RunId, Option<&'a str>, Timestamp, bool);

fn followed(runs: &[FollowedRun]) -> Vec<Followed<'_>> {
    let shown = |run: &FollowedRun| (run.intent.firing_id, run.run_id, run.accepted_at, run.overdue);
    let mut all: Vec<Followed<'_>> = runs
        .iter()
        .map(|run| (shown(run), run.status.as_deref()))
        .map(|((firing, id, at, overdue), status)| (firing, id, status, at, overdue))
        .collect();
    all.sort();
    all
}

type Asked = (String, Asks, Vec<Known>, Option<FiringId>, Vec<Nominal>);

fn requests(requests: &[Request]) -> Vec<Asked> {
    let read = |it: &Request| {
        let about = it.about.as_deref();
        let firing = about.map(|about| about.firing.clone());
        (
            it.request_id.clone(),
            it.asks.clone(),
            known(firing.as_slice()),
            about.and_then(|about| about.owner),
            it.taken.clone(),
        )
    };
    requests.iter().map(read).collect()
}
