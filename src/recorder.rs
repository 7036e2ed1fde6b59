//! Makes the engine's batches durable and then announces them, on a thread of its own: no firing waits
//! for the disk. It does not wait for whoever reads the log either: facts for which the output has no room stay in the
//! ledger until it has.
//!
//! Batches are committed in order, as many at a time as there are (group commit). A ledger that cannot
//! be written is tried again for as long as it takes; nothing planned meanwhile is armed, since only a
//! commit arms it.

mod backlog;

use std::borrow::Cow;
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
use crate::telemetry::Output;

pub use backlog::Backlog;

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
    /// Everything before this job is done. Say this last word, and that it is said.
    Finish(Option<Box<Event>>, oneshot::Sender<()>),
}

/// The sending end of the recorder.
#[derive(Debug)]
pub struct Recorder {
    jobs: mpsc::UnboundedSender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the recorder's thread. `in_flight` counts the calls under way; results go to `inputs`. Facts of batches
    /// from `first` on are announced, those included that wait in the ledger, and then forgotten.
    ///
    /// # Errors
    /// When the system gives no thread or no event loop for it.
    pub fn start<L: Ledger + 'static>(
        ledger: L,
        clock: Arc<dyn Clock>,
        output: Output,
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
            output,
            in_flight,
            inputs,
            turned,
            queue,
            backlog: Backlog::new(first),
            stuck: false,
            newest: None,
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

    /// Waits until everything asked for is done and the last word is said, at most `limit`; returns whether it was.
    pub async fn finish(mut self, last_word: Option<Event>, limit: Duration) -> bool {
        let (done, finished) = oneshot::channel();
        self.ask(Job::Finish(last_word.map(Box::new), done));
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
    output: Output,
    in_flight: Arc<AtomicUsize>,
    inputs: mpsc::UnboundedSender<Input>,
    turned: Turned,
    queue: mpsc::UnboundedReceiver<Job>,
    backlog: Backlog,
    /// The facts that wait could not be read; they are read again with the next requests.
    stuck: bool,
    /// The last batch that was written.
    newest: Option<u64>,
    /// How often in a row requests could not be read.
    unread: u32,
    /// A sign of life that is not left yet.
    sign: Option<Box<SignOfLife>>,
    pruning: Option<Pruning>,
}

impl<L: Ledger> Writer<L> {
    async fn work(mut self) {
        let mut next = None;
        // What the last process left comes before what this one says, but not before what this one does: if it is much,
        // it is read on while there is nothing else to do.
        while self.has_to_announce() && self.output.has_room() {
            self.announce_waiting().await;
            if !self.queue.is_empty() {
                break;
            }
        }
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
                Job::Finish(last_word, done) => {
                    self.end(last_word.as_deref()).await;
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
        while self.has_to_announce() {
            tokio::select! {
                biased;
                job = self.queue.recv() => return job,
                () = self.output.room() => {}
            }
            self.announce_waiting().await;
            (self.turned)();
        }
        self.queue.recv().await
    }

    fn has_to_announce(&self) -> bool {
        self.backlog.waits().is_some() && !self.stuck
    }

    /// Offers the next facts that wait in the ledger to the output.
    async fn announce_waiting(&mut self) {
        let Some(first) = self.backlog.waits() else { return };
        match self.ledger.unannounced(first, Backlog::SLICE).await {
            Ok(facts) => self
                .backlog
                .read(&facts, |batch, events| self.output.announce(batch, events.iter().map(Cow::Borrowed))),
            Err(error) => {
                self.stuck = true;
                self.say(&error, 0, "events that wait to be announced cannot be read; it is tried again");
            }
        }
    }

    /// Says the last word, and waits for the output where that still takes something. What it has not taken by then is
    /// left for the next start, or at least its number.
    async fn end(&mut self, last_word: Option<&Event>) {
        if let Some(event) = last_word {
            self.output.say(event);
        }
        if !self.output.flushed().await
            && let (Some(newest), Some(event)) = (self.newest, self.output.unsaid())
        {
            let left = Batch { id: newest + 1, records: Vec::new(), events: vec![event] };
            self.write(vec![left]).await;
        }
        self.write(Vec::new()).await;
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
        let to_forget = |writer: &Self| writer.backlog.to_forget(writer.output.announced());
        if group.is_empty() && to_forget(self).is_none() {
            return;
        }
        let now = self.clock.now().wall;
        for event in group.iter_mut().flat_map(|batch| &mut batch.events) {
            event.at.get_or_insert(now);
        }
        // A sign of life that waits shares the commit: a burst leaves no time for one of its own.
        if let Some(batch) = group.last_mut() {
            batch.records.extend(self.sign.take().map(Record::Sign));
        }
        let mut tries = 0_u32;
        let written = loop {
            let announced = to_forget(self);
            match self.ledger.write(&group, announced.clone()).await {
                Ok(written) => {
                    self.backlog.forgot(announced);
                    break written;
                }
                Err(error) => self.failed(&error, tries).await,
            }
            tries = tries.saturating_add(1);
        };
        if tries > 0 {
            let message = format!("the ledger can be written again, after {tries} failed tries");
            self.output.say(&Event::new(Level::Info, Name::LedgerRecovered, message, Fields::default()));
        }
        self.report(&group, &written);
    }

    fn report(&mut self, group: &[Batch], written: &Written) {
        // Arming comes before talking.
        for batch in group {
            let _ = self.inputs.send(Input::Committed(batch.id, written.refused.clone()));
        }
        for batch in group {
            let facts = || batch.announced(written);
            if !self.backlog.committed(batch.id, || self.output.announce(batch.id, facts())) {
                // The others wait in the ledger.
                facts().filter(|event| !event.is_kept()).for_each(|event| self.output.say(&event));
            }
            self.newest = Some(batch.id);
        }
    }

    /// Says that something could not be done, if that is not said already.
    fn say(&self, error: &LedgerError, tries: u32, message: &str) {
        if tries.is_multiple_of(REPEAT) {
            let fields = Fields { error_message: Some(chain(error)), ..Fields::default() };
            self.output.say(&Event::new(Level::Error, Name::LedgerFailed, message, fields));
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
        self.stuck = false;
    }

    /// Removes a slice of old firings; returns what is left to do.
    async fn prune(&mut self, pruning: Pruning) -> Option<Pruning> {
        let Pruning { before, began, removed } = pruning;
        match self.ledger.prune(before).await {
            Ok(0) if self.give_up_old(before).await => Some(pruning),
            Ok(0) if removed == 0 => None,
            Ok(0) => {
                let fields = Fields {
                    count: Some(removed),
                    duration_ms: u64::try_from((self.clock.now().boot - began).as_millis()).ok(),
                    ..Fields::default()
                };
                let message = format!("removed {removed} firings that were older than the retention");
                self.output.say(&Event::new(Level::Info, Name::LedgerPruned, message, fields));
                None
            }
            Ok(more) => Some(Pruning { before, began, removed: removed + more }),
            Err(error) => {
                self.say(&error, 0, "old firings could not be removed; it is tried again in an hour");
                None
            }
        }
    }

    /// Gives up facts that were not announced although they are as old as what is removed; the log tells how many.
    /// Returns whether there may be more.
    async fn give_up_old(&mut self, before: Timestamp) -> bool {
        let Some(first) = self.backlog.waits() else { return false };
        // What fails here is tried again with the next removal.
        let Ok(facts) = self.ledger.unannounced(first, Backlog::SLICE).await else { return false };
        let is_old = |event: &Event| event.at.is_some_and(|at| at < before);
        let Some((old, batches)) = self.backlog.too_old(&facts, is_old) else { return false };
        if self.ledger.write(&[], Some(batches)).await.is_err() {
            return false;
        }
        self.output.miss(old.iter().flat_map(|(_, events)| events));
        true
    }
}

/// The removal of old firings, under way.
#[derive(Clone, Copy)]
struct Pruning {
    before: Timestamp,
    began: Duration,
    removed: u64,
}

#[cfg(test)]
mod tests;
