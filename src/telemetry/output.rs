//! The writer of events: a thread that alone touches the output, behind a queue that is bounded. Whoever has
//! something to say never waits for those who read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::render::Renderer;
use crate::clock::Clock;
use crate::event::{Event, Fields, Level, Name};

/// Bytes that may wait to be written: some thousands of events. The facts of one batch are taken or refused
/// together, so what waits may be more by one batch.
const ROOM: usize = 4 * 1_024 * 1_024;
/// Between two tries of an output that fails.
const RETRY: Duration = Duration::from_secs(1);
/// An output that takes no event for so many of these steps is not waited for at the end of the process.
const STEP: Duration = Duration::from_millis(50);
const STEPS: u32 = 20;
/// How long the end of the process waits at the most, however steadily the output takes events.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Takes some bytes of an event, and returns how many; it may block for as long as it likes.
pub(crate) type Sink = Box<dyn FnMut(&[u8]) -> io::Result<usize> + Send>;

/// Where events go. All clones lead to one writer.
#[derive(Clone)]
pub struct Output {
    queue: Arc<Queue>,
    /// Changes with each event that is written.
    announced: watch::Receiver<Option<u64>>,
    least: Level,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

impl Output {
    /// Starts the writer: events of this level or a higher one are rendered so and go to this sink.
    ///
    /// # Errors
    /// When the system gives no thread for it.
    pub(crate) fn start(
        renderer: Renderer,
        sink: Sink,
        least: Level,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            renderer,
            clock,
            waiting: Mutex::default(),
            more: Condvar::new(),
            hurried: AtomicBool::new(false),
        });
        let (told, announced) = watch::channel(None);
        let writer = Writer { queue: Arc::clone(&queue), sink, told, failure: None };
        std::thread::Builder::new().name("output".to_owned()).spawn(move || writer.work())?;
        Ok(Self { queue, announced, least })
    }

    /// Says something that is kept nowhere else. Where there is no room for it, it is counted.
    pub fn say(&self, event: &Event) {
        if event.level < self.least {
            return;
        }
        let now = self.queue.now();
        let line = self.queue.renderer.render(event, now);
        let mut waiting = self.queue.lock();
        if waiting.is_full() {
            waiting.miss(1, now);
        } else {
            waiting.push(Item::Line { line, stands_for: 1 });
        }
        self.queue.more.notify_one();
    }

    /// Takes the facts of a batch, which the ledger keeps until [`Output::announced`] has come to it. Returns
    /// whether there was room; if not, none of them is taken.
    pub fn announce<'a>(&self, batch: u64, facts: impl Iterator<Item = Cow<'a, Event>>) -> bool {
        if self.queue.lock().is_full() {
            return false;
        }
        let now = self.queue.now();
        let told = facts.filter(|fact| fact.level >= self.least);
        let line = |fact: Cow<'_, Event>| Item::Line {
            line: self.queue.renderer.render(&fact, now),
            stands_for: u64::from(!fact.is_kept()),
        };
        let lines: Vec<Item> = told.map(line).collect();
        let mut waiting = self.queue.lock();
        lines.into_iter().for_each(|line| waiting.push(line));
        waiting.end_batch(batch);
        self.queue.more.notify_one();
        true
    }

    /// Counts events that nobody will read.
    pub fn miss<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        let count = events.filter(|event| event.level >= self.least).count() as u64;
        if count == 0 {
            return;
        }
        self.queue.lock().miss(count, self.queue.now());
        self.queue.more.notify_one();
    }

    /// The last batch whose facts, and those of all before it, are written.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        *self.announced.borrow()
    }

    /// Whether there is room for many events.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.lock().has_room()
    }

    /// Waits for that.
    pub async fn room(&self) {
        let mut announced = self.announced.clone();
        while !self.has_room() {
            if announced.changed().await.is_err() {
                // The writer is gone, by a defect: there will never be room.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until everything is written, but not for an output that takes nothing. Returns whether it is.
    pub async fn flushed(&self) -> bool {
        let flushed = tokio::time::timeout(LAST_WORDS, self.flush()).await.unwrap_or(false);
        if !flushed {
            // It is not waited for a second time.
            self.hurry();
        }
        flushed
    }

    async fn flush(&self) -> bool {
        let mut announced = self.announced.clone();
        let mut silent = 0;
        loop {
            announced.mark_unchanged();
            if self.queue.lock().is_empty() {
                return true;
            }
            let most = if self.queue.hurried.load(Ordering::Relaxed) { 1 } else { STEPS };
            if silent >= most {
                return false;
            }
            match tokio::time::timeout(STEP, announced.changed()).await {
                Ok(Ok(())) => silent = 0,
                // The writer is gone, by a defect.
                Ok(Err(_)) => return false,
                Err(_) => silent += 1,
            }
        }
    }

    /// Has [`Output::flushed`] wait no longer than it must.
    pub fn hurry(&self) {
        self.queue.hurried.store(true, Ordering::Relaxed);
    }

    /// Tells how many events are lost if the process ends now; `None` if none is.
    #[must_use]
    pub fn unsaid(&self) -> Option<Event> {
        let waiting = self.queue.lock();
        let queued = waiting.items.iter().map(Item::stands_for).sum::<u64>();
        let missed = waiting.missed.as_ref();
        let count = missed.map_or(0, |missed| missed.count) + waiting.in_hand.unwrap_or_default() + queued;
        let since = missed.map_or(self.queue.now(), |missed| missed.since);
        (count > 0).then(|| dropped(&Missed { count, since }, None))
    }
}

/// What waits to be written, and how it is written.
struct Queue {
    renderer: Renderer,
    clock: Arc<dyn Clock>,
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// Whether the end of the process is wanted at once.
    hurried: AtomicBool,
}

impl Queue {
    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// Of all lines, the one that is being written included.
    bytes: usize,
    /// What is being done: how many events the line that is written stands for.
    in_hand: Option<u64>,
    missed: Option<Missed>,
}

enum Item {
    /// An event, and how many are lost if it is not written: none if the ledger has it too.
    Line { line: Vec<u8>, stands_for: u64 },
    /// The facts of this batch end here.
    Announced(u64),
}

impl Item {
    fn stands_for(&self) -> u64 {
        if let Self::Line { stands_for, .. } = self { *stands_for } else { 0 }
    }
}

/// Events that are not in the log.
struct Missed {
    count: u64,
    since: Timestamp,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.bytes >= ROOM
    }

    /// Whether there is so much room that it is worth the while to fill it.
    fn has_room(&self) -> bool {
        self.bytes <= ROOM / 2
    }

    fn is_empty(&self) -> bool {
        self.in_hand.is_none() && self.items.is_empty() && self.missed.is_none()
    }

    fn push(&mut self, item: Item) {
        if let Item::Line { line, .. } = &item {
            self.bytes += line.len();
        }
        self.items.push_back(item);
    }

    /// Many batches in a row may have nothing that is logged: they take the room of one.
    fn end_batch(&mut self, batch: u64) {
        match self.items.back_mut() {
            Some(Item::Announced(last)) => *last = batch,
            _ => self.items.push_back(Item::Announced(batch)),
        }
    }

    /// Takes out what is written next: how much is missing, as soon as there is room for more, or what came first.
    fn next(&mut self, tell: impl FnOnce(&Missed) -> Vec<u8>) -> Option<Item> {
        let item = if self.has_room()
            && let Some(missed) = self.missed.take()
        {
            let line = tell(&missed);
            self.bytes += line.len();
            Item::Line { line, stands_for: missed.count }
        } else {
            self.items.pop_front()?
        };
        self.in_hand = Some(item.stands_for());
        Some(item)
    }

    /// What was taken out last is done, a line of so many bytes or the end of a batch.
    fn done(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.in_hand = None;
    }

    fn miss(&mut self, more: u64, now: Timestamp) {
        let missed = self.missed.get_or_insert(Missed { count: 0, since: now });
        missed.count += more;
    }
}

/// Tells that events are missing.
fn dropped(missed: &Missed, failure: Option<String>) -> Event {
    let Missed { count, since } = missed;
    let why = match &failure {
        Some(_) => "the log could not be written",
        None => "the log was not read",
    };
    let message = format!(
        "{count} events are missing: since {since:.3} {why}; 'adf-cron history' and 'adf-cron status' show what \
         became of firings"
    );
    let since = Some(format!("{since:.3}"));
    let fields = Fields { count: Some(*count), since, error_message: failure, ..Fields::default() };
    Event::new(Level::Warn, Name::OutputDropped, message, fields)
}

/// The only one that touches the output.
struct Writer {
    queue: Arc<Queue>,
    sink: Sink,
    told: watch::Sender<Option<u64>>,
    /// Why the output failed, since events were last found missing.
    failure: Option<String>,
}

impl Writer {
    /// Never ends by itself: the process may end while the output blocks.
    fn work(mut self) {
        loop {
            match self.next() {
                Item::Line { line, .. } => {
                    self.write(&line);
                    self.queue.lock().done(line.len());
                    self.told.send_modify(|_| ());
                }
                Item::Announced(batch) => {
                    self.told.send_replace(Some(batch));
                    self.queue.lock().done(0);
                }
            }
        }
    }

    /// Waits for something to write.
    fn next(&mut self) -> Item {
        let (queue, failure) = (&self.queue, &mut self.failure);
        let mut waiting = queue.lock();
        loop {
            let tell = |missed: &Missed| queue.renderer.render(&dropped(missed, failure.take()), queue.now());
            if let Some(item) = waiting.next(tell) {
                return item;
            }
            waiting = queue.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes until it is written. An output that fails may work again: a disk has room again, a pipe a reader.
    fn write(&mut self, line: &[u8]) {
        let mut rest = line;
        while !rest.is_empty() {
            match (self.sink)(rest) {
                Ok(taken) if taken > 0 => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => {
                    let nothing = || "it takes nothing".to_owned();
                    self.failure = Some(failed.err().map_or_else(nothing, |error| error.to_string()));
                    std::thread::sleep(RETRY);
                }
            }
        }
    }
}
