//! A host with one daemon: the engine, stepped, between the happenings of the world and what it wants done.
//! It dies between any two steps, and starts again from the ledger.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use adf_cron::clock::Now;
use adf_cron::engine::{Action, Engine, Input};
use adf_cron::ledger::{Batch, Record, SignOfLife, Snapshot, TokenSign};
use adf_cron::recorder::Backlog;
use jiff::Timestamp;

use crate::dice::Dice;
use crate::network::{Network, Way};
use crate::sabotage::Sabotage;
use crate::scribe::{Job, RETRY, Work};
use crate::trace;
use crate::world::{Happening, Step, World};

/// How long in-flight calls may take to end after a stop.
const GRACE: Duration = Duration::from_secs(30);
/// How long the ledger may still take after the last call ended.
const FINISH_LIMIT: Duration = Duration::from_secs(10);
/// Between two prunings.
const HOUR: Duration = Duration::from_secs(3_600);
/// Wakes at one instant, above which the engine turns in a circle.
const MOST_RINGS: u32 = 2_000;

enum Daemon {
    Down,
    /// It has the lock, taken at this time, and has read the ledger.
    Starting(Now, Box<Snapshot>),
    Up(Box<Engine>),
}

/// The host.
pub(crate) struct Host {
    dice: Dice,
    life: u64,
    daemon: Daemon,
    stopping: bool,
    /// The engine has said its last word; the recorder may still be at work.
    stopped: bool,
    period: Duration,
    retention: Duration,
    last_hourly: Duration,
    rings: (Duration, u32),
}

impl Host {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            dice,
            life: 0,
            daemon: Daemon::Down,
            stopping: false,
            stopped: false,
            period: Duration::from_secs(5),
            retention: Duration::from_secs(45 * 86_400),
            last_hourly: Duration::ZERO,
            rings: (Duration::ZERO, 0),
        }
    }

    pub(crate) fn life(&self) -> Option<u64> {
        (!self.is_down()).then_some(self.life)
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(self.daemon, Daemon::Down)
    }

    fn engine(&self) -> Option<&Engine> {
        match &self.daemon {
            Daemon::Up(engine) if !self.stopped => Some(engine),
            _ => None,
        }
    }

    pub(crate) fn alarm(&self) -> Option<Timestamp> {
        self.engine()?.alarm()
    }

    pub(crate) fn open(&self) -> usize {
        self.engine().map_or(0, Engine::open_firings)
    }

    /// Whether the daemon runs and has nothing left to do.
    pub(crate) fn is_settled(&self) -> bool {
        !self.stopping
            && self.engine().is_some_and(|engine| engine.open_firings() == 0 && engine.followed_runs() == 0)
    }
}

impl World {
    /// A new process takes the lock and reads the ledger.
    pub(crate) fn starts(&mut self) {
        if !self.host.is_down() {
            return;
        }
        self.host.life += 1;
        self.checker.counts.starts += 1;
        let mut snapshot = self.books.load();
        self.puts_clock_right(&snapshot);
        let known = snapshot.schedule.as_ref().map(|last| &*last.version);
        self.checker.loads(known);
        Sabotage::misread(self.setup.sabotage, &mut snapshot);
        self.note(|| format!("a process starts; {} firings are open", snapshot.open.len()));
        self.host.daemon = Daemon::Starting(self.now(), Box::new(snapshot));
        self.host.stopping = false;
        self.host.stopped = false;
        self.scribe.backlog = Backlog::new(0);
        self.output.begins();
        let takes = self.dice.up_to(Duration::from_millis(500));
        self.process_gets(takes, Step::Begins);
    }

    fn process_gets(&mut self, wait: Duration, step: Step) {
        self.happens_in(wait, Happening::Process(self.host.life, step));
    }

    /// One step of a process, if it still lives.
    pub(crate) fn step(&mut self, life: u64, step: Step) {
        if self.host.life() != Some(life) {
            return;
        }
        match step {
            Step::Begins => self.begins(),
            Step::Beat => {
                self.pass();
                // A beat may be late, and a busy host loses some.
                let late = if self.dice.one_in(30) {
                    self.dice.up_to(Duration::from_secs(8))
                } else {
                    Duration::ZERO
                };
                self.process_gets(self.host.period + late, Step::Beat);
            }
            Step::Told(input) => self.feed(input),
            Step::CallEnds(call) => {
                let now = self.now();
                if let Some(input) = self.network.ends(call, now, &self.books.memory) {
                    if Network::is_unauthorized(&input) {
                        self.reject_token(self.network.generation());
                    }
                    self.feed(input);
                }
            }
            Step::ScribeIsDone => self.scribe_is_done(),
            Step::ClockSet => self.pass(),
            Step::Reload => self.reload(),
            Step::Stop => self.stop(),
            Step::GraceOver if self.host.stopped => {
                self.note(|| "the ledger takes too long; the process ends".to_owned());
                self.ends_here();
            }
            Step::GraceOver => {
                self.cut_calls_off();
                self.feed(Input::GraceOver);
            }
        }
    }

    fn begins(&mut self) {
        let Daemon::Starting(lock, snapshot) = std::mem::replace(&mut self.host.daemon, Daemon::Down) else {
            return;
        };
        let now = self.now();
        let passed = now.boot - lock.boot;
        let lock = Now { wall: now.wall - passed, boot: lock.boot };
        // What the last process left comes before what this one does.
        self.announces();
        if self.dies_here("while it announces what is known") {
            return;
        }
        let before = match &snapshot.schedule {
            Some(last) => Some(self.checker.knew(&last.version, &last.text)),
            None => None,
        };
        // A file that is wrong leaves the last good one in force.
        let schedule = match &before {
            Some(before) if !self.calm && self.dice.one_in(10) => before.clone(),
            _ => (*self.file).clone(),
        };
        let before = before.filter(|before| before.version != schedule.version);
        let before = before.map(|before| before.entries).unwrap_or_default();
        let mut random = self.dice.apart();
        self.checker.sees(now);
        let (engine, actions) =
            Engine::start(&schedule, &before, *snapshot, Box::new(move || random.next()), lock, now);
        self.host.daemon = Daemon::Up(Box::new(engine));
        self.host.period = schedule.daemon.heartbeat;
        self.host.retention = schedule.daemon.retention;
        self.note(|| format!("it begins, with schedule {}", schedule.version));
        self.process_gets(self.host.period, Step::Beat);
        self.perform(actions);
        self.prune();
    }

    fn pass(&mut self) {
        self.announces();
        self.feed(Input::Heartbeat);
        self.feed(Input::Wake);
        self.leave_sign();
        self.ask(Job::ReadRequests);
        if self.time.saturating_sub(self.host.last_hourly) >= HOUR {
            self.prune();
        }
    }

    /// Now and then there is time for a sign of life, which is not tried again.
    fn leave_sign(&mut self) {
        if !self.host.is_down() && !self.disk_fails && self.scribe.is_idle() && self.dice.one_in(3) {
            let now = self.now().wall;
            let sign = SignOfLife {
                pid: 1,
                program_version: String::new(),
                started_at: now,
                heartbeat_at: now,
                heartbeat: self.host.period,
                next: None,
                token: TokenSign::default(),
                rejected: None,
                clock_held: false,
                stopped: None,
            };
            let batch = Batch { id: 0, records: vec![Record::Sign(Box::new(sign))], events: Vec::new() };
            self.books.write(&[batch], None);
        }
    }

    fn prune(&mut self) {
        self.host.last_hourly = self.time;
        // By a clock that is years ahead everything would be old.
        let boot = self.now().boot;
        if !self.host.engine().is_some_and(|engine| engine.may_prune(boot)) {
            return;
        }
        let before = self.now().wall - self.host.retention;
        self.ask(Job::Prune(before));
    }

    /// The kernel timer rings.
    pub(crate) fn rings(&mut self) {
        let (at, times) = self.host.rings;
        self.host.rings = if at == self.time { (at, times + 1) } else { (self.time, 0) };
        if times > MOST_RINGS {
            self.checker.fail("the engine wants to be woken again and again");
        }
        self.feed(Input::Wake);
    }

    /// Tells the engine something, and does what it wants.
    pub(crate) fn feed(&mut self, input: Input) {
        let now = self.now();
        let Daemon::Up(engine) = &mut self.host.daemon else { return };
        if self.host.stopped {
            return;
        }
        if self.setup.traced && !matches!(input, Input::Wake | Input::Heartbeat) {
            self.trace.push(format!("{} <- {}", now.wall, trace::input(&input)));
        }
        self.checker.sees(now);
        let actions = engine.handle(input, now);
        self.perform(actions);
    }

    pub(crate) fn perform(&mut self, mut actions: Vec<Action>) {
        in_one_order(&mut actions);
        for action in actions {
            if self.dies_here("between two actions") {
                return;
            }
            let now = self.now();
            self.note(|| format!("-> {}", trace::action(&action)));
            match action {
                Action::Commit(batch) => {
                    self.checker.decides(&batch, now);
                    self.acknowledge_early(&batch);
                    self.ask(Job::Write(batch));
                }
                Action::Send(intent) => {
                    if self.host.stopping {
                        let (entry, nominal) = (&intent.entry, intent.nominal);
                        self.checker.fail(format!("{entry} {nominal} is sent after the stop was asked for"));
                    }
                    self.checker.sends(&intent, &self.books.memory);
                    self.sent.insert(intent.firing_id, now.wall);
                    self.checker.recovers(&intent, &self.books.memory, &self.network.service, now);
                    let there = self.service_now();
                    self.checker.overlaps(&intent, &self.books.memory, &self.network.service, there);
                    self.checker.fills(&intent, &self.books.memory, &self.network.service, there);
                    let way = self.network.post(intent, now);
                    self.goes(way);
                }
                Action::Look(intent) => {
                    let way = self.network.look(intent, now);
                    self.goes(way);
                }
                Action::Search(intent, since) => {
                    let way = self.network.search(intent, since, now);
                    self.goes(way);
                }
                Action::Follow(pass) => {
                    let way = self.network.follow(*pass, now);
                    self.goes(way);
                }
                Action::Cancel(intent, run) => {
                    if self.host.stopping {
                        self.checker.fail(format!("run {run} is cancelled after the stop was asked for"));
                    }
                    self.checker.cancels(&intent, run, &self.network.service);
                    let way = self.network.cancel(intent.firing_id, run, now);
                    self.goes(way);
                }
                Action::FindOwners(firing, runs) => self.ask(Job::FindOwners(firing, runs)),
                Action::RejectToken(generation) => self.reject_token(generation),
                Action::Reloaded => {}
                Action::Stopped(_) => {
                    self.host.stopped = true;
                    self.process_gets(FINISH_LIMIT, Step::GraceOver);
                    self.ends_if_done();
                }
            }
        }
    }

    fn goes(&mut self, way: Way) {
        if let Some(at) = way.arrives {
            self.happens_at(at, Happening::Arrives(way.call));
        }
        self.happens_at(way.ends, Happening::Process(self.host.life, Step::CallEnds(way.call)));
    }

    /// A call reaches the service.
    pub(crate) fn arrives(&mut self, call: u64) {
        let now = self.service_now();
        if self.network.left_late(call) {
            self.checker.fail("a call left after the stop was asked for");
        }
        if let Some(intent) = self.network.arrives(call, now) {
            self.note(|| format!("a run of {} {} starts", intent.entry, intent.nominal));
            self.checker.runs(&intent, &self.network.service);
        }
    }

    fn reject_token(&mut self, generation: u64) {
        if self.network.reject(generation) {
            let takes = self.dice.up_to(Duration::from_secs(4));
            self.happens_in(takes, Happening::TokenComes(generation));
        }
    }

    /// There is a usable token again.
    pub(crate) fn token_comes(&mut self) {
        if let Some(life) = self.host.life() {
            self.happens_in(
                Duration::from_millis(1),
                Happening::Process(life, Step::Told(Input::TokenUsable)),
            );
        }
    }

    /// A person, or the service manager, wants the new file to be used.
    fn reload(&mut self) {
        if !self.host.stopping {
            self.host.period = self.file.daemon.heartbeat;
            self.feed(Input::Reload((*self.file).clone()));
        }
    }

    /// A clean stop.
    fn stop(&mut self) {
        if self.host.engine().is_none() || self.host.stopping {
            return;
        }
        self.note(|| "it is told to stop".to_owned());
        self.host.stopping = true;
        // A second signal ends it sooner.
        let grace = if self.dice.one_in(3) { self.dice.up_to(Duration::from_secs(2)) } else { GRACE };
        self.process_gets(grace, Step::GraceOver);
        for call in self.network.stops(self.time) {
            self.process_gets(Duration::ZERO, Step::CallEnds(call));
        }
        self.feed(Input::Stop);
    }

    fn ask(&mut self, job: Job) {
        if !self.host.is_down() {
            self.scribe.ask(job);
            self.scribe_goes_on();
        }
    }

    fn scribe_goes_on(&mut self) {
        if let Some(takes) = self.scribe.begin() {
            self.process_gets(takes, Step::ScribeIsDone);
        }
    }

    fn scribe_is_done(&mut self) {
        if self.disk_fails {
            match self.scribe.work {
                // Requests are read again at the next beat, and old firings removed at the next hour.
                Some(Work::Other(Job::ReadRequests | Job::Prune(_))) => self.scribe.work = None,
                _ => return self.process_gets(RETRY, Step::ScribeIsDone),
            }
        }
        match self.scribe.work.take() {
            Some(Work::Commit(group)) => self.commits(&group),
            Some(Work::Other(Job::FindOwners(firing, runs))) => {
                let owners = match self.setup.sabotage {
                    Some(Sabotage::AdoptTwice) => HashMap::new(),
                    _ => self.books.owners(&runs, firing),
                };
                self.process_gets(Duration::ZERO, Step::Told(Input::Owned(firing, owners)));
            }
            Some(Work::Other(Job::ReadRequests)) => {
                let requests = self.books.requests();
                if !requests.is_empty() {
                    self.process_gets(Duration::ZERO, Step::Told(Input::Asked(requests)));
                }
                self.forget();
            }
            Some(Work::Other(Job::Prune(before))) => self.books.prune(before),
            Some(Work::Other(Job::Write(_))) | None => {}
        }
        self.scribe_goes_on();
        self.ends_if_done();
    }

    /// What is announced is not kept for the next start.
    fn forget(&mut self) {
        let announced = self.forgets();
        if announced.is_some() {
            self.books.write(&[], announced);
        }
    }

    /// The facts that the next write has the ledger forget.
    fn forgets(&mut self) -> Option<RangeInclusive<u64>> {
        let batches = self.scribe.backlog.to_forget(self.output.announced);
        self.scribe.backlog.forgot(batches.clone());
        batches
    }

    /// The output writes what it has, and takes what waits in the ledger, unless it blocks.
    fn announces(&mut self) {
        loop {
            while let Some((batch, facts)) = self.output.next(self.time, self.calm) {
                facts.iter().for_each(|fact| self.checker.announced(fact));
                self.output.announced = Some(batch);
            }
            let Some(first) = self.scribe.backlog.waits().filter(|_| self.output.has_room()) else { return };
            let facts = self.books.unannounced(first, Backlog::SLICE);
            self.scribe.backlog.read(&facts, |batch, events| self.output.offer(batch, events.to_vec()));
        }
    }

    /// Makes batches durable, says so, and announces their events.
    fn commits(&mut self, group: &[Batch]) {
        let announced = self.forgets();
        let written = self.books.write(group, announced);
        self.checker.durable(group, &written);
        for batch in group {
            if self.dies_here("between a commit and its announcement") {
                return;
            }
            if self.setup.sabotage != Some(Sabotage::IntentAfterPost) {
                self.process_gets(
                    Duration::ZERO,
                    Step::Told(Input::Committed(batch.id, written.refused.clone())),
                );
            }
            let facts = batch.announced(&written).map(Cow::into_owned);
            self.scribe.backlog.committed(batch.id, || self.output.offer(batch.id, facts.collect()));
            if self.setup.sabotage == Some(Sabotage::ForgetsUnread) {
                self.output.announced = Some(batch.id);
            }
        }
        self.announces();
    }

    fn acknowledge_early(&mut self, batch: &Batch) {
        if self.setup.sabotage == Some(Sabotage::IntentAfterPost) {
            self.process_gets(Duration::ZERO, Step::Told(Input::Committed(batch.id, HashSet::new())));
        }
    }

    /// Now and then a process dies just here.
    fn dies_here(&mut self, place: &str) -> bool {
        let dies = !self.calm && self.host.dice.one_in(6_000);
        if dies {
            self.crash(place);
        }
        dies
    }

    /// The process dies without a word.
    pub(crate) fn crash(&mut self, place: &str) {
        if self.host.is_down() {
            return;
        }
        self.note(|| format!("the process dies {place}"));
        self.checker.counts.crashes += 1;
        self.ends_here();
    }

    /// Whatever the process had not done is not done.
    fn ends_here(&mut self) {
        self.host.daemon = Daemon::Down;
        if let Some(group) = self.scribe.die() {
            self.note(|| "its last commit is durable all the same".to_owned());
            let written = self.books.write(&group, None);
            self.checker.durable(&group, &written);
        }
        self.cut_calls_off();
        let longest = *self.dice.pick(&[1, 20, 20, 600, 4_000]);
        let wait = self.dice.up_to(Duration::from_secs(longest));
        if self.finale_is_over() {
            return;
        }
        self.happens_in(wait, Happening::Starts);
    }

    fn cut_calls_off(&mut self) {
        for (call, at) in self.network.cut_off(self.time) {
            self.happens_at(at, Happening::Arrives(call));
        }
    }

    /// A process that was told to stop ends when its recorder has nothing left to do.
    fn ends_if_done(&mut self) {
        if self.host.stopped && self.scribe.is_idle() && !self.host.is_down() {
            self.forget();
            self.note(|| "it has stopped".to_owned());
            self.ends_here();
        }
    }
}

/// The engine asks in whatever order its maps have; a seed must give the same scenario each time.
fn in_one_order(actions: &mut [Action]) {
    let asks = |action: &Action| match action {
        Action::Look(intent) | Action::Search(intent, _) => Some(intent.firing_id),
        Action::FindOwners(firing, _) => Some(*firing),
        _ => None,
    };
    for run in actions.chunk_by_mut(|a, b| asks(a).is_some() && asks(b).is_some()) {
        run.sort_by_key(asks);
    }
}
