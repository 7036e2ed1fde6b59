//! Makes the engine's batches durable and then announces them, on a thread of its own: no firing waits
//! for the disk or for whoever reads the log.
//!
//! Batches are committed in order, as many at a time as there are (group commit). A ledger that cannot
//! be written is tried again for as long as it takes; nothing planned meanwhile is armed, since only a
//! commit arms it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::engine::Input;
use crate::event::{Event, Fields, Level, Name, chain};
use crate::ids::{FiringId, RunId};
use crate::ledger::{Batch, Ledger, LedgerError, Record, SignOfLife, Written};

/// Writes an event where people read it.
pub type Announce = Arc<dyn Fn(&Event) + Send + Sync>;

/// Hears that the recorder does its work, or says why it cannot.
pub type Turned = Arc<dyn Fn() + Send + Sync>;

/// While calls are under way the commit of their ends waits this long for more to share it: the answers of a
/// burst come in faster than a disk syncs, and the burst needs the processor more. What arms firings never waits.
const LINGER: Duration = Duration::from_millis(500);
/// Between two tries of a ledger that cannot be written.
const RETRY: Duration = Duration::from_secs(1);
/// Tries between two `ledger.failed` events.
const REPEAT: u32 = 60;
/// A sign of life waits for the end of a burst, in which it would be in the way.
const QUIET: Duration = Duration::from_millis(50);
/// Batches of one transaction.
const GROUP: usize = 20_000;

/// What the recorder is asked to do.
#[derive(Debug)]
pub enum Job {
    /// Make this durable.
    Write(Batch),
    /// Find out whose runs these are.
    FindOwners(FiringId, Vec<RunId>),
    /// Read what people asked for.
    ReadRequests,
    /// Remove what was over before this.
    Prune(Timestamp),
    /// Leave this sign of life when there is time for it. The next one takes the place of one that still waits.
    Sign(Box<SignOfLife>),
    /// Only show that jobs are still done.
    Turn,
    /// Everything before this job is done; say so.
    Finish(oneshot::Sender<()>),
}

/// The sending end of the recorder.
#[derive(Debug)]
pub struct Recorder {
    jobs: mpsc::UnboundedSender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the recorder's thread. `in_flight` counts the calls under way; results go to `inputs`. Events of
    /// batches from `first` on are forgotten once they are announced.
    ///
    /// # Errors
    /// When the system gives no thread or no event loop for it.
    pub fn start<L: Ledger + 'static>(
        ledger: L,
        clock: Arc<dyn Clock>,
        announce: Announce,
        in_flight: Arc<AtomicUsize>,
        inputs: mpsc::UnboundedSender<Input>,
        turned: Turned,
        first: u64,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let writer = Writer {
            ledger,
            clock,
            announce,
            in_flight,
            inputs,
            turned,
            queue,
            first,
            announced: None,
            unread: 0,
            sign: None,
            pruning: None,
        };
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || runtime.block_on(writer.work()))?;
        Ok(Self { jobs, thread: Some(thread) })
    }

    /// Asks for something. Jobs are done in order.
    pub fn ask(&self, job: Job) {
        // The recorder ends only after `finish`; a job after that has no one left to tell.
        let _ = self.jobs.send(job);
    }

    /// Waits for the recorder's thread to end, which it only does before [`Recorder::finish`] if it has a defect.
    pub async fn ended(&self) {
        self.jobs.closed().await;
    }

    /// Waits until everything asked for is done, at most `limit`; returns whether it was.
    pub async fn finish(mut self, limit: Duration) -> bool {
        let (done, finished) = oneshot::channel();
        self.ask(Job::Finish(done));
        let in_time = matches!(tokio::time::timeout(limit, finished).await, Ok(Ok(())));
        if in_time && let Some(thread) = self.thread.take() {
            // It has said its last word, so this does not block.
            let _ = thread.join();
        }
        in_time
    }
}

struct Writer<L> {
    ledger: L,
    clock: Arc<dyn Clock>,
    announce: Announce,
    in_flight: Arc<AtomicUsize>,
    inputs: mpsc::UnboundedSender<Input>,
    turned: Turned,
    queue: mpsc::UnboundedReceiver<Job>,
    /// The first batch whose events are ours to forget.
    first: u64,
    /// How often in a row requests could not be read.
    unread: u32,
    /// A sign of life that is not left yet.
    sign: Option<Box<SignOfLife>>,
    pruning: Option<Pruning>,
    /// Announced, but not yet forgotten by the ledger: that shares the next commit.
    announced: Option<u64>,
}

impl<L: Ledger> Writer<L> {
    async fn work(mut self) {
        let mut next = None;
        loop {
            let job = match next.take() {
                Some(job) => job,
                None => match self.next_job().await {
                    Some(job) => job,
                    None => return,
                },
            };
            match job {
                Job::Write(batch) => {
                    let (group, other) = self.gather(batch).await;
                    self.write(group).await;
                    next = other;
                }
                Job::FindOwners(firing, runs) => self.find_owners(firing, &runs).await,
                Job::ReadRequests => self.read_requests().await,
                Job::Prune(before) => {
                    self.pruning = Some(Pruning { before, began: self.clock.now().boot, removed: 0 });
                }
                Job::Sign(sign) => self.sign = Some(sign),
                Job::Turn => {}
                Job::Finish(done) => {
                    self.write(Vec::new()).await;
                    self.leave_sign().await;
                    // A process that ended meanwhile would leave the last changes beside the ledger's file, where
                    // who may only read cannot see them.
                    self.ledger.close().await;
                    let _ = done.send(());
                    return;
                }
            }
            (self.turned)();
        }
    }

    /// Waits for a job. While there is nothing else to do a sign of life is left, and old firings are removed, a
    /// slice at a time.
    async fn next_job(&mut self) -> Option<Job> {
        if self.sign.is_some() {
            match tokio::time::timeout(QUIET, self.queue.recv()).await {
                Ok(job) => return job,
                Err(_) => self.leave_sign().await,
            }
            (self.turned)();
        }
        while let Some(pruning) = self.pruning.take() {
            if let Ok(job) = self.queue.try_recv() {
                self.pruning = Some(pruning);
                return Some(job);
            }
            self.pruning = self.prune(pruning).await;
            (self.turned)();
        }
        self.queue.recv().await
    }

    /// Leaves a sign of life in a commit of its own. Where that fails, that it goes stale is sign enough.
    async fn leave_sign(&mut self) {
        if let Some(sign) = self.sign.take() {
            let batch = Batch { id: 0, records: vec![Record::Sign(sign)], events: Vec::new() };
            let _ = self.ledger.write(&[batch], None).await;
        }
    }

    /// Takes what else waits to be written, up to the first other job.
    async fn gather(&mut self, first: Batch) -> (Vec<Batch>, Option<Job>) {
        let mut urgent = first.arms();
        let mut group = vec![first];
        let linger = tokio::time::sleep(LINGER);
        tokio::pin!(linger);
        while group.len() < GROUP {
            let job = if urgent || self.in_flight.load(Ordering::Relaxed) == 0 {
                self.queue.try_recv().ok()
            } else {
                tokio::select! {
                    biased;
                    job = self.queue.recv() => job,
                    () = &mut linger => None,
                }
            };
            match job {
                Some(Job::Write(batch)) => {
                    urgent |= batch.arms();
                    group.push(batch);
                }
                other => return (group, other),
            }
        }
        (group, None)
    }

    /// Writes until it is written, then announces and reports it.
    async fn write(&mut self, mut group: Vec<Batch>) {
        if group.is_empty() && self.announced.is_none() {
            return;
        }
        // A sign of life that waits shares the commit: a burst leaves no time for one of its own.
        if let Some(batch) = group.last_mut() {
            batch.records.extend(self.sign.take().map(Record::Sign));
        }
        let mut tries = 0_u32;
        let written = loop {
            let announced = self.announced.map(|last| self.first..=last);
            match self.ledger.write(&group, announced).await {
                Ok(written) => break written,
                Err(error) => self.failed(&error, tries).await,
            }
            tries = tries.saturating_add(1);
        };
        if tries > 0 {
            let message = format!("the ledger can be written again, after {tries} failed tries");
            (self.announce)(&Event::new(Level::Info, Name::LedgerRecovered, message, Fields::default()));
        }
        self.announced = None;
        self.report(group, &written);
    }

    fn report(&mut self, group: Vec<Batch>, written: &Written) {
        for batch in group {
            // Arming comes before talking: a slow log must not make a firing late.
            let _ = self.inputs.send(Input::Committed(batch.id, written.refused.clone()));
            for event in batch.announced(written) {
                (self.announce)(&event);
            }
            self.announced = Some(batch.id);
        }
    }

    /// Says that something could not be done, if that is not said already.
    fn say(&self, error: &LedgerError, tries: u32, message: &str) {
        if tries.is_multiple_of(REPEAT) {
            let fields = Fields { error_message: Some(chain(error)), ..Fields::default() };
            (self.announce)(&Event::new(Level::Error, Name::LedgerFailed, message, fields));
        }
    }

    /// Waits until what must be done may be tried again.
    async fn failed(&self, error: &LedgerError, tries: u32) {
        self.say(error, tries, "the ledger cannot be written; nothing new is started until it can");
        // A failure that is said is a turn: restarting the daemon would not mend the disk.
        (self.turned)();
        tokio::time::sleep(RETRY).await;
    }

    async fn find_owners(&mut self, firing: FiringId, runs: &[RunId]) {
        let mut tries = 0;
        loop {
            match self.ledger.owners(runs, firing).await {
                Ok(owners) => {
                    let _ = self.inputs.send(Input::Owned(firing, owners));
                    return;
                }
                Err(error) => self.failed(&error, tries).await,
            }
            tries += 1;
        }
    }

    async fn read_requests(&mut self) {
        match self.ledger.requests().await {
            Ok(requests) => {
                self.unread = 0;
                if !requests.is_empty() {
                    let _ = self.inputs.send(Input::Asked(requests));
                }
            }
            Err(error) => {
                self.say(&error, self.unread, "what people asked for cannot be read; it is tried again");
                self.unread = self.unread.saturating_add(1);
            }
        }
        // An idle daemon forgets here what it has announced.
        self.write(Vec::new()).await;
    }

    /// Removes a slice of old firings; returns what is left to do.
    async fn prune(&mut self, pruning: Pruning) -> Option<Pruning> {
        let Pruning { before, began, removed } = pruning;
        match self.ledger.prune(before).await {
            Ok(0) if removed == 0 => None,
            Ok(0) => {
                let fields = Fields {
                    count: Some(removed),
                    duration_ms: u64::try_from((self.clock.now().boot - began).as_millis()).ok(),
                    ..Fields::default()
                };
                let message = format!("removed {removed} firings that were older than the retention");
                (self.announce)(&Event::new(Level::Info, Name::LedgerPruned, message, fields));
                None
            }
            Ok(more) => Some(Pruning { before, began, removed: removed + more }),
            Err(error) => {
                self.say(&error, 0, "old firings could not be removed; it is tried again in an hour");
                None
            }
        }
    }
}

/// The removal of old firings, under way.
struct Pruning {
    before: Timestamp,
    began: Duration,
    removed: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ops::RangeInclusive;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::clock::ManualClock;
    use crate::ledger::{Request, Snapshot};

    /// The batches of a commit, and how many records each had.
    type Commit = Vec<(u64, usize)>;

    /// A ledger that keeps its commits.
    #[derive(Default, Clone)]
    struct Notebook {
        commits: Arc<Mutex<Vec<Commit>>>,
        broken: Arc<AtomicBool>,
    }

    impl Ledger for Notebook {
        async fn write(
            &mut self,
            batches: &[Batch],
            _: Option<RangeInclusive<u64>>,
        ) -> Result<Written, LedgerError> {
            let commit = batches.iter().map(|batch| (batch.id, batch.records.len())).collect();
            self.commits.lock().unwrap().push(commit);
            if self.broken.load(Ordering::Relaxed) {
                return Err(LedgerError::Unreadable { what: "disk", detail: "it is full".to_owned() });
            }
            Ok(Written::default())
        }

        async fn load(&mut self) -> Result<Snapshot, LedgerError> {
            Ok(Snapshot::default())
        }

        async fn owners(
            &mut self,
            _: &[RunId],
            _: FiringId,
        ) -> Result<HashMap<RunId, FiringId>, LedgerError> {
            Ok(HashMap::new())
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

    /// Has these jobs done, and returns the commits and what was said.
    fn done(ledger: &Notebook, jobs: Vec<Job>) -> (Vec<Commit>, usize) {
        let said: Arc<Mutex<usize>> = Arc::default();
        let hears = Arc::clone(&said);
        let announce: Announce = Arc::new(move |_| *hears.lock().unwrap() += 1);
        let clock = Arc::new(ManualClock::at(Timestamp::UNIX_EPOCH));
        let (inputs, _received) = mpsc::unbounded_channel();
        let started =
            Recorder::start(ledger.clone(), clock, announce, Arc::default(), inputs, Arc::new(|| ()), 0);
        let recorder = started.unwrap();
        jobs.into_iter().for_each(|job| recorder.ask(job));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert!(runtime.block_on(recorder.finish(Duration::from_secs(10))));
        let commits = ledger.commits.lock().unwrap().clone();
        (commits, *said.lock().unwrap())
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
}
