//! The recorder with a ledger that keeps its commits, and an output that may not be read.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::clock::ManualClock;
use crate::ledger::{Facts, Request, Snapshot};
use crate::telemetry::tests::{Reader, numbers};

/// The batches of a commit, and how many records each had.
type Commit = Vec<(u64, usize)>;

/// A ledger that keeps its commits and facts.
#[derive(Default, Clone)]
struct Notebook {
    commits: Arc<Mutex<Vec<Commit>>>,
    facts: Arc<Mutex<BTreeMap<u64, Vec<Event>>>>,
    broken: Arc<AtomicBool>,
    /// How often facts were read before the first commit.
    reads: Arc<AtomicUsize>,
}

impl Ledger for Notebook {
    async fn write(
        &mut self,
        batches: &[Batch],
        announced: Option<RangeInclusive<u64>>,
    ) -> Result<Written, LedgerError> {
        let commit = batches.iter().map(|batch| (batch.id, batch.records.len())).collect();
        self.commits.lock().unwrap().push(commit);
        if self.broken.load(Ordering::Relaxed) {
            return Err(LedgerError::Unreadable { what: "disk", detail: "it is full".to_owned() });
        }
        let mut facts = self.facts.lock().unwrap();
        facts.retain(|batch, _| !announced.as_ref().is_some_and(|announced| announced.contains(batch)));
        for batch in batches {
            let kept = batch.events.iter().filter(|event| event.is_kept()).cloned();
            facts.insert(batch.id, kept.collect());
        }
        facts.retain(|_, events| !events.is_empty());
        Ok(Written::default())
    }

    async fn load(&mut self) -> Result<Snapshot, LedgerError> {
        Ok(Snapshot::default())
    }

    async fn owners(&mut self, _: &[RunId], _: FiringId) -> Result<HashMap<RunId, FiringId>, LedgerError> {
        Ok(HashMap::new())
    }

    async fn unannounced(&mut self, first: u64, most: u32) -> Result<Vec<Facts>, LedgerError> {
        let facts = self.facts.lock().unwrap();
        self.reads.fetch_add(usize::from(self.commits.lock().unwrap().is_empty()), Ordering::Relaxed);
        Ok(facts.range(first..).take(most as usize).map(|(batch, facts)| (*batch, facts.clone())).collect())
    }

    async fn requests(&mut self) -> Result<Vec<Request>, LedgerError> {
        Ok(Vec::new())
    }

    async fn prune(&mut self, _: Timestamp) -> Result<u64, LedgerError> {
        Ok(0)
    }

    async fn close(self) {}
}

fn sign() -> Job {
    let at = Timestamp::UNIX_EPOCH;
    let text = format!(
        "{{\"pid\": 1, \"program_version\": \"0\", \"started_at\": \"{at}\", \"heartbeat_at\": \"{at}\", \
         \"heartbeat\": {{\"secs\": 5, \"nanos\": 0}}, \"next\": null}}"
    );
    Job::Sign(serde_json::from_str(&text).unwrap())
}

/// A recorder, and what the engine hears of it.
struct Bench {
    recorder: Recorder,
    inputs: mpsc::UnboundedReceiver<Input>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(ledger: &Notebook, output: &Output, at: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::at(at));
        let (told, inputs) = mpsc::unbounded_channel();
        let (ledger, output) = (ledger.clone(), output.clone());
        let recorder = Recorder::start(ledger, clock, output, Arc::default(), told, Arc::new(|| ()), 0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { recorder: recorder.unwrap(), inputs, runtime }
    }

    fn finish(self) {
        assert!(self.runtime.block_on(self.recorder.finish(None, Duration::from_secs(10))));
    }
}

/// Has these jobs done, and returns the commits and how many events were said.
fn done(ledger: &Notebook, jobs: Vec<Job>) -> (Vec<Commit>, usize) {
    let reader = Reader::default();
    let bench = Bench::new(ledger, &reader.output(Level::Debug), Timestamp::UNIX_EPOCH);
    jobs.into_iter().for_each(|job| bench.recorder.ask(job));
    bench.finish();
    let commits = ledger.commits.lock().unwrap().clone();
    (commits, reader.events().len())
}

fn batch(id: u64) -> Job {
    Job::Write(Batch { id, records: vec![Record::CleanStop(false)], events: Vec::new() })
}

#[test]
fn a_sign_of_life_shares_the_next_commit_and_the_newest_is_left_at_the_end() {
    let (commits, _) = done(&Notebook::default(), vec![sign(), batch(7), sign(), sign()]);
    assert_eq!(commits[0], [(7, 2)], "the record and the sign, in one commit");
    assert_eq!(commits.last().unwrap(), &[(0, 1)], "the last one alone");
}

#[test]
fn a_sign_of_life_that_cannot_be_left_is_not_tried_again_and_makes_no_noise() {
    let ledger = Notebook::default();
    ledger.broken.store(true, Ordering::Relaxed);
    let (commits, said) = done(&ledger, vec![sign()]);
    assert_eq!((commits.len(), said), (1, 0));
}

/// So large that the output has room for a few of them.
fn large(id: u64) -> Job {
    let fields = Fields { attempt: Some(id), ..Fields::default() };
    let fact = Event::new(Level::Info, Name::RunCreated, "x".repeat(1 << 20), fields.clone());
    let step = Event::new(Level::Debug, Name::FiringPlanned, "planned", Fields::default());
    Job::Write(Batch { id, records: Vec::new(), events: vec![fact, step] })
}

/// Commits a dozen large batches while nobody reads, and waits until the engine has heard of all, and the output.
fn unread(ledger: &Notebook, reader: &Reader, output: &Output) -> Bench {
    reader.stops();
    let mut bench = Bench::new(ledger, output, Timestamp::UNIX_EPOCH);
    (0..12).for_each(|id| bench.recorder.ask(large(id)));
    for id in 0..12 {
        let told = bench.runtime.block_on(bench.inputs.recv());
        assert!(matches!(told, Some(Input::Committed(batch, _)) if batch == id), "{told:?}");
    }
    // The engine hears first. The next job is done once the output has heard too.
    bench.recorder.ask(Job::FindOwners(FiringId::from_random([0; 16]), Vec::new()));
    let told = bench.runtime.block_on(bench.inputs.recv());
    assert!(matches!(told, Some(Input::Owned(..))), "{told:?}");
    bench
}

#[test]
fn nobody_waits_for_facts_that_are_not_read_and_all_of_them_are_read_later_in_order() {
    let (ledger, reader) = (Notebook::default(), Reader::default());
    let output = reader.output(Level::Debug);
    let bench = unread(&ledger, &reader, &output);
    assert_eq!(ledger.facts.lock().unwrap().len(), 12, "none is forgotten before it is written");
    reader.goes_on();
    bench.runtime.block_on(async {
        while output.announced() < Some(11) {
            bench.recorder.ask(Job::Turn);
            output.flushed().await;
        }
    });
    bench.finish();
    assert!(ledger.facts.lock().unwrap().is_empty(), "what was written is forgotten");
    let events = reader.events();
    assert_eq!(numbers(&events), (0..12).collect::<Vec<_>>(), "each once");
    let steps = events.iter().filter(|event| event["event"] == "firing.planned").count() as u64;
    let missing = events.iter().filter_map(|event| event["count"].as_u64()).sum::<u64>();
    assert!(missing > 0 && steps + missing == 12, "{steps} steps were said and {missing} counted");
}

#[test]
fn what_was_not_written_at_the_end_is_announced_by_the_next_process_with_how_many_are_missing() {
    let (ledger, reader) = (Notebook::default(), Reader::default());
    let bench = unread(&ledger, &reader, &reader.output(Level::Debug));
    bench.finish();
    assert_eq!(reader.events().len(), 0, "nobody has read anything");
    let reader = Reader::default();
    Bench::new(&ledger, &reader.output(Level::Info), "2026-11-24T04:00:00Z".parse().unwrap()).finish();
    let events = reader.events();
    assert_eq!(numbers(&events), (0..12).collect::<Vec<_>>());
    assert_eq!(events[0]["timestamp"], "1970-01-01T00:00:00.000Z", "the time at which it came to be");
    let missing = events.iter().find(|event| event["event"] == "output.dropped").unwrap();
    assert_eq!(missing["count"], 12, "the steps");
    assert!(ledger.facts.lock().unwrap().is_empty());
}

#[test]
fn what_the_last_process_left_keeps_nothing_new_waiting_however_much_it_is() {
    let (ledger, reader) = (Notebook::default(), Reader::default());
    let fact = |id: u64| {
        let fields = Fields { attempt: Some(id), ..Fields::default() };
        vec![Event::new(Level::Info, Name::RunCreated, "", fields)]
    };
    let output = reader.output(Level::Info);
    // Nothing is read before the job is asked for.
    let mut facts = ledger.facts.lock().unwrap();
    facts.extend((0..5_000).map(|id| (id, fact(id))));
    let mut bench = Bench::new(&ledger, &output, Timestamp::UNIX_EPOCH);
    bench.recorder.ask(Job::Write(Batch { id: 5_000, records: Vec::new(), events: fact(5_000) }));
    drop(facts);
    let told = bench.runtime.block_on(bench.inputs.recv());
    assert!(matches!(told, Some(Input::Committed(5_000, _))), "{told:?}");
    assert_eq!(ledger.reads.load(Ordering::Relaxed), 1, "a slice of it");
    while output.announced() < Some(5_000) {
        std::thread::yield_now();
    }
    bench.finish();
    assert_eq!(numbers(&reader.events()), (0..=5_000).collect::<Vec<_>>(), "each once, in order");
}

#[test]
fn facts_that_nobody_reads_are_given_up_when_they_are_as_old_as_what_is_removed() {
    let (ledger, reader) = (Notebook::default(), Reader::default());
    let output = reader.output(Level::Info);
    let bench = unread(&ledger, &reader, &output);
    bench.recorder.ask(Job::Prune("1970-01-01T00:00:01Z".parse().unwrap()));
    // It comes to that when there is nothing else to do.
    while ledger.facts.lock().unwrap().len() == 12 {
        std::thread::yield_now();
    }
    reader.goes_on();
    bench.finish();
    let events = reader.events();
    let (said, missing) =
        (numbers(&events).len() as u64, events.iter().filter_map(|it| it["count"].as_u64()));
    assert!((4..=6).contains(&said), "what the output had is written");
    assert_eq!(said + missing.sum::<u64>(), 12);
}
