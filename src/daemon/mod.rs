//! The daemon: wires everything together, and runs until it is told to stop. All its tasks belong to
//! one set; every decision is the engine's.

mod begin;
mod once;
mod reload;
pub mod schedule_file;
mod show;
pub mod which_ledger;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::alarm::{Alarm, Ring};
use crate::azure::{Client, Environment};
use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::{Action, Engine, Input};
use crate::event::{Event, Fields, Level, Name};
use crate::firing::Tasks;
use crate::heartbeat::{Beat, Heartbeat};
use crate::recorder::{Job, Recorder};
use crate::signals::{Signal, Signals};
use crate::systemd::Notifier;
use crate::telemetry::Output;

use begin::Begun;
pub use once::{Once, OnceEnd, once};
use reload::Reloads;
use schedule_file::Rejection;
use show::Shown;

/// How the process ends; the numbers are part of the outside contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It ran and failed, or found something.
    Failed = 1,
    /// The command line is wrong, or names an entry that does not exist.
    Usage = 2,
    /// Azure or the ledger could not be reached, or the lock is taken.
    Unavailable = 69,
    /// Entra ID or Data Factory refused.
    Refused = 77,
    /// The schedule file is wrong.
    Config = 78,
}

/// What the daemon is given from outside.
#[derive(Clone)]
pub struct Outside {
    /// The schedule file.
    pub config: PathBuf,
    /// Whether a wrong schedule file ends the daemon although an older good one is known.
    pub strict: bool,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where events go.
    pub output: Output,
    /// Environment variables.
    pub environment: Environment,
    /// The service manager, if one waits.
    pub notifier: Notifier,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outside({})", self.config.display())
    }
}

/// Connections are opened ahead of a burst when none was used for this long.
const COLD_AFTER: Duration = Duration::from_secs(30);
/// Planning thousands of firings takes a tenth of a second: a pass that is this close to a due time is put off
/// by as much, once. Two heartbeats lie within the horizon, so nothing is planned late for it.
const OUT_OF_THE_WAY: Duration = Duration::from_millis(500);
/// Between two prunings.
const HOUR: Duration = Duration::from_secs(3_600);
/// How long the ledger may still take after the last call ended.
const FINISH_LIMIT: Duration = Duration::from_secs(10);

/// Runs the daemon until a signal ends it.
pub async fn run(outside: Outside, mut signals: Signals) -> Exit {
    let fields = Fields { program_version: Some(env!("CARGO_PKG_VERSION").to_owned()), ..Fields::default() };
    outside.output.say(&Event::new(Level::Info, Name::DaemonStarted, "adf-cron begins", fields));
    let output = outside.output.clone();
    let exit = run_to_its_end(outside, &mut signals).await;
    hurried_by(&mut signals, &output, output.flushed()).await;
    exit
}

/// Awaits the end of something; a signal to stop has it wait no longer for those who read the log.
async fn hurried_by<T>(signals: &mut Signals, output: &Output, end: impl Future<Output = T>) -> T {
    tokio::pin!(end);
    loop {
        tokio::select! {
            ended = &mut end => return ended,
            signal = signals.next() => {
                if matches!(signal, Signal::Stop(_)) {
                    output.hurry();
                }
            }
        }
    }
}

async fn run_to_its_end(outside: Outside, signals: &mut Signals) -> Exit {
    let mut edited = false;
    let begun = tokio::select! {
        begun = begin::begin(&outside) => begun,
        stop = stopped_early(signals, &mut edited) => {
            outside.notifier.stopping(Duration::ZERO);
            outside.output.say(&stopped(stop, 0));
            return Exit::Done;
        }
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(exit) => return exit,
    };
    match Daemon::new(outside, begun).await {
        Ok(mut daemon) => {
            if edited {
                // What was read may have been the file before the edit.
                daemon.reload();
            }
            daemon.run(signals).await
        }
        Err(exit) => exit,
    }
}

/// A stop that comes before the daemon has begun; notes whether a reload was asked for.
async fn stopped_early(signals: &mut Signals, edited: &mut bool) -> &'static str {
    loop {
        match signals.next().await {
            Signal::Stop(name) => return name,
            Signal::Reload => *edited = true,
        }
    }
}

fn stopped(signal: &'static str, open: u64) -> Event {
    let fields = Fields { open_firings: Some(open), signal: Some(signal.to_owned()), ..Fields::default() };
    let message = match open {
        0 => "stopped; nothing is left open".to_owned(),
        _ => format!("stopped; {open} firings stay open, and the next start goes on with them"),
    };
    Event::new(Level::Info, Name::DaemonStopped, message, fields)
}

/// Where the daemon stands on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// It is not.
    No,
    /// A first signal; calls under way may still end.
    Draining(&'static str),
    /// A second signal, or the grace is over.
    Aborting(&'static str),
}

struct Daemon {
    outside: Outside,
    settings: Settings,
    engine: Engine,
    client: Client,
    recorder: Recorder,
    alarm: Alarm,
    tasks: Tasks,
    received: mpsc::UnboundedReceiver<Input>,
    beats: mpsc::UnboundedReceiver<Beat>,
    heartbeat: Heartbeat,
    reloads: Reloads,
    in_flight: Arc<AtomicUsize>,
    last_sent: Option<Duration>,
    /// Whether a pass was put off.
    postponed: bool,
    /// On the clock that never steps.
    last_hourly: Duration,
    /// Why the file as it stands now is not in force.
    rejected: Option<Rejection>,
    shown: Shown,
    stopping: Stopping,
    open_at_stop: Option<u64>,
}

impl Daemon {
    async fn new(outside: Outside, begun: Begun) -> Result<Self, Exit> {
        let (inputs, received) = mpsc::unbounded_channel();
        let (beat, beats) = mpsc::unbounded_channel();
        let Begun { loaded, client, rejected, ledger, lock_taken, snapshot, before } = begun;
        let failed = |what: &str, error: &dyn std::error::Error, exit: Exit| {
            begin::say_failed(&outside, what, error);
            exit
        };
        let heartbeat = Heartbeat::start(loaded.settings.daemon.heartbeat, beat)
            .await
            .map_err(|error| failed("the heartbeat could not be started", &error, Exit::Failed))?;
        let alarm =
            Alarm::new().map_err(|error| failed("no kernel timer could be had", &error, Exit::Failed))?;
        let in_flight = Arc::new(AtomicUsize::new(0));
        let notifier = outside.notifier.clone();
        let recorder = Recorder::start(
            ledger,
            Arc::clone(&outside.clock),
            outside.output.clone(),
            Arc::clone(&in_flight),
            inputs.clone(),
            Arc::new(move || notifier.recorder_turned()),
            0,
        )
        .map_err(|error| failed("the recorder could not be started", &error, Exit::Failed))?;
        let now = outside.clock.now();
        let (engine, actions) =
            Engine::start(&loaded.schedule, &before, snapshot, begin::random(), lock_taken, now);
        let mut daemon = Self {
            outside,
            settings: loaded.settings,
            engine,
            client,
            recorder,
            alarm,
            tasks: Tasks::new(inputs),
            received,
            beats,
            heartbeat,
            reloads: Reloads::default(),
            in_flight,
            last_sent: None,
            postponed: false,
            last_hourly: now.boot,
            rejected,
            shown: Shown::since(now.wall),
            stopping: Stopping::No,
            open_at_stop: None,
        };
        daemon.begin(actions);
        Ok(daemon)
    }

    fn begin(&mut self, actions: Vec<Action>) {
        self.keep_token();
        // It shares the commit that puts the schedule in force.
        self.leave_sign(None);
        self.perform(actions);
        self.prune();
    }

    async fn run(mut self, signals: &mut Signals) -> Exit {
        let mut token = self.client.token().subscribe();
        let mut watchdog = tokio::time::interval(self.outside.notifier.watchdog_period());
        let grace = tokio::time::sleep(Duration::MAX / 4);
        tokio::pin!(grace);
        while self.open_at_stop.is_none() {
            self.set_alarm();
            tokio::select! {
                biased;
                // Before all that could start something: a burst must not keep a stop waiting.
                signal = signals.next() => {
                    if let Some(limit) = self.signalled(signal) {
                        grace.set(tokio::time::sleep(limit));
                    }
                }
                ring = self.alarm.rung() => self.rung(ring).await,
                Some(input) = self.received.recv() => self.feed(input),
                () = &mut grace, if self.stopping != Stopping::No => self.abort(),
                read = self.reloads.read() => {
                    self.reloaded(read).await;
                    token = self.client.token().subscribe();
                }
                changed = token.changed() => {
                    if changed.is_ok() && token.borrow_and_update().is_usable() {
                        self.feed(Input::TokenUsable);
                        self.leave_sign(None);
                    }
                }
                Some(Beat) = self.beats.recv() => self.beat(),
                _ = watchdog.tick() => {
                    self.outside.notifier.loop_turned();
                    self.recorder.ask(Job::Turn);
                }
                Some(ended) = self.tasks.join_next() => self.joined(&ended),
                () = self.recorder.ended() => self.broken(),
            }
        }
        self.finish(signals).await
    }

    fn feed(&mut self, input: Input) {
        let actions = self.engine.handle(input, self.outside.clock.now());
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        self.in_flight.store(self.engine.in_flight(), Ordering::Relaxed);
        for action in actions {
            match action {
                Action::Reloaded => self.in_force(),
                Action::Stopped(open) => self.open_at_stop = Some(open),
                action => {
                    if matches!(action, Action::Send(_)) {
                        self.last_sent = Some(self.outside.clock.now().boot);
                    }
                    perform(action, (&self.client, &self.recorder), &mut self.tasks);
                }
            }
        }
    }

    fn set_alarm(&mut self) {
        if let Err(error) = self.alarm.set(self.engine.alarm()) {
            // The heartbeat still wakes the engine: late, but nothing is lost.
            begin::say_failed(&self.outside, "the kernel timer could not be set", &error);
        }
    }

    async fn rung(&mut self, ring: std::io::Result<Ring>) {
        match ring {
            Ok(Ring::Time) => self.feed(Input::Wake),
            Ok(Ring::ClockSet) => {
                // The beats are counted on the clock that was set. One that is set again and again would put the
                // next off for ever, so the pass is made now.
                self.beat_every(self.settings.daemon.heartbeat).await;
                self.pass();
            }
            Err(error) => begin::say_failed(&self.outside, "the kernel timer could not be read", &error),
        }
    }

    /// Starts the beats anew.
    async fn beat_every(&mut self, period: Duration) {
        if let Err(error) = self.heartbeat.restart(period).await {
            begin::say_failed(&self.outside, "the heartbeat could not be started anew", &error);
        }
    }

    /// A pass is due: made now, or in a moment.
    fn beat(&mut self) {
        if self.is_about_to_fire() && !self.postponed {
            self.postponed = true;
            return self.tasks.beside(self.heartbeat.pass_in(OUT_OF_THE_WAY));
        }
        self.postponed = false;
        self.pass();
    }

    fn pass(&mut self) {
        self.feed(Input::Heartbeat);
        self.feed(Input::Wake);
        self.recorder.ask(Job::ReadRequests);
        self.keep_token();
        self.warm_up();
        self.show();
        let now = self.outside.clock.now().boot;
        if now.saturating_sub(self.last_hourly) >= HOUR {
            self.last_hourly = now;
            self.hourly();
        }
    }

    /// What is done now and then: removes what is old, and says again what is still wrong.
    fn hourly(&self) {
        self.prune();
        if let Some(rejected) = &self.rejected {
            self.outside.output.say(&rejected.event("the last good schedule still runs"));
        }
    }

    /// Whether a firing is due so soon that planning could make it late.
    fn is_about_to_fire(&self) -> bool {
        let soon = self.outside.clock.now().wall.checked_add(OUT_OF_THE_WAY);
        self.engine.alarm().is_some_and(|at| soon.is_ok_and(|soon| at <= soon))
    }

    fn prune(&self) {
        // By a clock that is years ahead everything would be old.
        if !self.engine.may_prune(self.outside.clock.now().boot) {
            return;
        }
        let retention = self.settings.daemon.retention;
        if let Ok(before) = self.outside.clock.now().wall.checked_sub(retention) {
            self.recorder.ask(Job::Prune(before));
        }
    }

    /// Refreshes the token if that is due; never more than one flight at a time.
    fn keep_token(&mut self) {
        let client = self.client.clone();
        let period = self.settings.daemon.heartbeat;
        self.tasks.beside(async move { client.token().keep_fresh(period).await });
    }

    /// Opens connections ahead of the firings to come, as many as will be used at once, if none was used for a
    /// while.
    fn warm_up(&mut self) {
        let now = self.outside.clock.now();
        let cold = self.last_sent.is_none_or(|sent| now.boot.saturating_sub(sent) > COLD_AFTER);
        let soon = Timestamp::checked_add(now.wall, self.settings.daemon.heartbeat * 2);
        let coming = soon.map_or(0, |soon| self.engine.coming(soon, self.settings.daemon.max_in_flight));
        if cold && coming > 0 {
            self.last_sent = Some(now.boot);
            for _ in 0..coming {
                let client = self.client.clone();
                self.tasks.beside(async move { client.warm().await });
            }
        }
    }

    /// The schedule given last is in force and durable.
    fn in_force(&mut self) {
        if self.rejected.is_none() {
            remember_ledger(&self.outside, &self.settings);
        }
        self.shown.forget_status();
        self.show();
        self.outside.notifier.ready();
    }

    /// Acts on a signal; returns how long the drain may take, if one begins.
    fn signalled(&mut self, signal: Signal) -> Option<Duration> {
        match (signal, self.stopping) {
            (Signal::Reload, Stopping::No) => {
                self.outside.notifier.reloading();
                self.reload();
                None
            }
            (Signal::Reload, _) => None,
            (Signal::Stop(name), Stopping::No) => {
                self.stopping = Stopping::Draining(name);
                self.tasks.send_no_more();
                self.outside.notifier.stopping(self.settings.daemon.shutdown_grace + FINISH_LIMIT);
                let fields = Fields {
                    signal: Some(name.to_owned()),
                    open_firings: Some(self.engine.open_firings() as u64),
                    ..Fields::default()
                };
                let message =
                    format!("{name}: no new firing starts; {} calls are under way", self.engine.in_flight());
                self.outside.output.say(&Event::new(Level::Info, Name::DaemonStopping, message, fields));
                self.feed(Input::Stop);
                Some(self.settings.daemon.shutdown_grace)
            }
            (Signal::Stop(_), _) => {
                self.abort();
                None
            }
        }
    }

    fn abort(&mut self) {
        if let Stopping::Draining(name) = self.stopping {
            self.stopping = Stopping::Aborting(name);
            self.tasks.cut_off();
            self.feed(Input::GraceOver);
        }
    }

    /// A task ended; one that panicked is a defect.
    fn joined(&mut self, ended: &Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            begin::say_failed(&self.outside, "a task of the daemon failed", error);
            self.broken();
        }
    }

    /// Something has a defect: what is open is left to the next start, which looks it up.
    fn broken(&mut self) {
        self.open_at_stop = Some(self.engine.open_firings() as u64);
        self.stopping = Stopping::Aborting("defect");
    }

    async fn finish(mut self, signals: &mut Signals) -> Exit {
        let (name, exit) = match self.stopping {
            Stopping::Aborting("defect") => ("defect", Exit::Failed),
            Stopping::No => ("none", Exit::Done),
            Stopping::Draining(name) | Stopping::Aborting(name) => (name, Exit::Done),
        };
        self.leave_sign(Some(name));
        self.heartbeat.stop().await;
        let open = self.open_at_stop.unwrap_or_default();
        if let Stopping::Aborting(_) = self.stopping {
            self.outside.output.hurry();
        }
        let finished = self.recorder.finish(Some(stopped(name, open)), FINISH_LIMIT);
        if hurried_by(signals, &self.outside.output, finished).await {
            // All is durable now. The stop may have come before the loop heard that of the schedule.
            if self.engine.awaits_schedule() && self.rejected.is_none() {
                remember_ledger(&self.outside, &self.settings);
            }
            return exit;
        }
        self.outside.output.say(&stopped(name, open));
        Exit::Unavailable
    }
}

/// Where the file is wrong at a later start, its last good schedule is found by this.
fn remember_ledger(outside: &Outside, settings: &Settings) {
    if let Err(error) =
        which_ledger::remember(&outside.config, settings.ledger.as_deref(), &outside.environment)
    {
        let message = "which ledger this schedule has cannot be noted in the state directory; a start with a wrong \
                       file would rely on the `ledger:` line of that file";
        let fields = Fields { error_message: Some(error.to_string()), ..Fields::default() };
        outside.output.say(&Event::new(Level::Warn, Name::DaemonFailed, message, fields));
    }
}

/// Does what the engine wants done, but for what concerns the daemon itself.
fn perform(action: Action, (client, recorder): (&Client, &Recorder), tasks: &mut Tasks) {
    match action {
        Action::Commit(batch) => recorder.ask(Job::Write(batch)),
        Action::FindOwners(firing, runs) => recorder.ask(Job::FindOwners(firing, runs)),
        Action::RejectToken(generation) => client.token().reject(generation),
        Action::Send(intent) => tasks.send(client.clone(), intent),
        Action::Look(intent) => tasks.look(client.clone(), intent),
        Action::Search(intent, since) => tasks.search(client.clone(), intent, since),
        Action::Follow(pass) => tasks.follow(client.clone(), pass),
        Action::Cancel(intent, run) => tasks.cancel(client.clone(), intent, run),
        Action::Reloaded | Action::Stopped(_) => {}
    }
}
