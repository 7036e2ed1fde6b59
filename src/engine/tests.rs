//! The engine in virtual time: the test owns the clock, and commits what it is given at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::azure::look::{FoundRun, Look, Searched};
use crate::azure::outcome::{Outcome, Refusal};
use crate::clock::{Clock as _, ManualClock};
use crate::config::tests::AZURE;
use crate::event::Name;
use crate::ids::Kind;
use crate::ids::Nominal;
use crate::ledger::{FollowedRun, Known, Reason, Snapshot, State};

mod attempts;
mod backfill;
mod beside;
mod clock;
mod drain;
mod follow;
mod lanes;
mod outage;
mod overlap;
mod people;
mod query;
mod recovery;
mod rules;
mod set_back;

/// The engine with a clock of its own, and all that it wanted done.
struct Bench {
    engine: Engine,
    clock: ManualClock,
    sent: Vec<Arc<Intent>>,
    looks: Vec<FiringId>,
    searches: Vec<FiringId>,
    owners_asked: Vec<(FiringId, Vec<RunId>)>,
    passes: Vec<Pass>,
    cancels: Vec<(FiringId, RunId)>,
    tokens_rejected: usize,
    /// Batches that are not durable yet, while the disk is slow.
    waiting: Option<Vec<(u64, HashSet<FiringId>)>>,
    /// The scheduled firings that the ledger has, and which of them were left out as missed.
    known: HashMap<FiringId, (Nominal, bool)>,
    records: Vec<Record>,
    events: Vec<Event>,
}

fn schedule(pipelines: &str) -> Schedule {
    let text = format!("{AZURE}pipelines:\n{pipelines}\n");
    let settings =
        crate::config::load_accepted(text.as_bytes(), "s.yaml", &|_| None, CronRules::CURRENT).unwrap();
    Schedule {
        version: "v".into(),
        text: text.into(),
        rules: CronRules::CURRENT,
        daemon: settings.daemon,
        studio: settings.azure.studio,
        entries: settings.entries,
    }
}

impl Bench {
    fn new(at: &str, pipelines: &str) -> Self {
        Self::after(at, pipelines, Snapshot::default())
    }

    /// Starts with what the ledger remembers, on a disk that is slow for as long as the test says.
    fn slow(at: &str, pipelines: &str, snapshot: Snapshot) -> Self {
        let clock = ManualClock::at(at.parse().unwrap());
        let now = clock.now();
        let mut drawn = 6;
        let random: Random = Box::new(move || {
            drawn += 1;
            drawn
        });
        let open = snapshot.open.iter().map(|open| (open.intent.firing_id, (open.intent.nominal, false)));
        let known = open.collect();
        let (engine, actions) = Engine::start(&schedule(pipelines), &[], snapshot, random, now, now);
        let mut bench = Self {
            engine,
            clock,
            sent: Vec::new(),
            looks: Vec::new(),
            searches: Vec::new(),
            owners_asked: Vec::new(),
            passes: Vec::new(),
            cancels: Vec::new(),
            tokens_rejected: 0,
            waiting: Some(Vec::new()),
            known,
            records: Vec::new(),
            events: Vec::new(),
        };
        bench.take(actions);
        bench
    }

    fn after(at: &str, pipelines: &str, snapshot: Snapshot) -> Self {
        let mut bench = Self::slow(at, pipelines, snapshot);
        bench.disk_catches_up();
        bench
    }

    fn disk_catches_up(&mut self) {
        for (batch, refused) in self.waiting.take().unwrap_or_default() {
            self.tell(Input::Committed(batch, refused));
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Commit(batch) => {
                    let refused = self.guard(&batch.records);
                    let left_out = batch.records.iter().filter_map(|record| match record {
                        Record::Skipped(skips) => Some(skips.event()),
                        _ => None,
                    });
                    self.events.extend(left_out);
                    self.records.extend(batch.records);
                    self.events.extend(batch.events);
                    match &mut self.waiting {
                        Some(waiting) => waiting.push((batch.id, refused)),
                        None => self.tell(Input::Committed(batch.id, refused)),
                    }
                }
                Action::Send(intent) => self.sent.push(intent),
                Action::Look(intent) => self.looks.push(intent.firing_id),
                Action::Search(intent, _) => self.searches.push(intent.firing_id),
                Action::FindOwners(firing, runs) => self.owners_asked.push((firing, runs)),
                Action::Follow(pass) => self.passes.push(*pass),
                Action::Cancel(intent, run) => self.cancels.push((intent.firing_id, run)),
                Action::RejectToken(_) => self.tokens_rejected += 1,
                _ => {}
            }
        }
    }

    /// The ledger's guard: a scheduled firing that it has is refused.
    fn guard(&mut self, records: &[Record]) -> HashSet<FiringId> {
        let mut refused = HashSet::new();
        for record in records {
            match record {
                Record::Planned(intent) if self.known.contains_key(&intent.firing_id) => {
                    refused.insert(intent.firing_id);
                }
                Record::Planned(intent) => {
                    self.known.insert(intent.firing_id, (intent.nominal, false));
                }
                Record::Progress(progress) if progress.reason == Some(Reason::Missed) => {
                    self.known.entry(progress.firing_id).and_modify(|(_, missed)| *missed = true);
                }
                Record::SetBack { to, .. } => {
                    self.known.retain(|_, (nominal, missed)| !*missed || *nominal <= *to)
                }
                Record::Withdrawn(firing) => {
                    self.known.remove(firing);
                }
                _ => {}
            }
        }
        refused
    }

    fn tell(&mut self, input: Input) {
        let actions = self.engine.handle(input, self.clock.now());
        self.take(actions);
    }

    /// Lets time pass, a heartbeat and a look at the alarm each second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.tell(Input::Heartbeat);
            self.tell(Input::Wake);
        }
    }

    fn set_clock(&mut self, by: SignedDuration) {
        self.clock.step_wall(self.clock.now().wall + by);
        self.tell(Input::Heartbeat);
    }

    /// Ends the attempt that was sent last, this long after it was sent.
    fn answer_after(&mut self, seconds: u64, outcome: Outcome) {
        let sent_at = self.clock.now();
        self.clock.advance(Duration::from_secs(seconds));
        let answered_at = self.clock.now();
        let attempted = Attempted { sent_at, answered_at, outcome, token_generation: 1 };
        let firing = self.sent.last().unwrap().firing_id;
        self.tell(Input::Answered(firing, Box::new(attempted)));
    }

    fn answer(&mut self, outcome: Outcome) {
        self.answer_after(0, outcome);
    }

    fn accept(&mut self) {
        let run_id = RunId::from(self.sent.last().unwrap().firing_id);
        self.answer(Outcome::Accepted { run_id });
    }

    /// Ends the look that began last; a search that follows shows nothing either.
    fn look_finds_nothing(&mut self) {
        let firing = *self.looks.last().unwrap();
        let searches = self.searches.len();
        self.tell(Input::Looked(firing, Box::new(Look::Absent)));
        if self.searches.len() > searches {
            self.search_shows(Vec::new());
        }
    }

    /// Ends the search that began last.
    fn search_shows(&mut self, runs: Vec<FoundRun>) {
        let firing = *self.searches.last().unwrap();
        self.tell(Input::Searched(firing, Box::new(Searched::Runs(runs))));
    }

    /// Says whose the runs are that were asked about last.
    fn owned_by(&mut self, owners: &[(RunId, FiringId)]) {
        let (firing, _) = self.owners_asked.pop().unwrap();
        self.tell(Input::Owned(firing, owners.iter().copied().collect()));
    }

    /// The last state that the ledger was told of a firing.
    fn state(&self, firing: FiringId) -> Option<(State, Option<Reason>)> {
        self.records.iter().rev().find_map(|record| match record {
            Record::Progress(progress) if progress.firing_id == firing => {
                Some((progress.state, progress.reason))
            }
            _ => None,
        })
    }

    /// The nominal times that were sent, as times of day.
    fn sent(&self) -> Vec<String> {
        self.sent.iter().map(|intent| intent.nominal.to_string()[11..19].to_owned()).collect()
    }

    fn events(&self, name: Name) -> Vec<&Event> {
        self.events.iter().filter(|event| event.name == name).collect()
    }
}
