//! The time of a scenario, and everything that happens in it: a queue of happenings by the clock that never
//! steps, and a wall clock that does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adf_cron::azure::SKEW;
use adf_cron::clock::Now;
use adf_cron::engine::{Input, Schedule};
use adf_cron::ids::FiringId;
use adf_cron::ledger::{Snapshot, State};
use jiff::Timestamp;

use crate::books::Books;
use crate::checker::Checker;
use crate::dice::Dice;
use crate::drafts::{self, Density, Drafts};
use crate::host::Host;
use crate::network::Network;
use crate::output::Output;
use crate::sabotage::Sabotage;
use crate::scribe::Scribe;
use crate::service::FACTORIES;
use crate::wire::Weather;

/// What a scenario is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) on_disk: bool,
    pub(crate) sabotage: Option<Sabotage>,
    /// Whether what happens is written down.
    pub(crate) traced: bool,
}

/// Something that happens at a time.
#[derive(Debug)]
pub(crate) enum Happening {
    /// To the process of this life, if it still lives.
    Process(u64, Step),
    /// To everybody else.
    Arrives(u64),
    Starts,
    Chance(Chance),
    OutageEnds,
    DiskRecovers,
    TokenComes(u64),
    StepsBack(i128),
    Calm,
    Finale,
}

/// What happens to a process.
#[derive(Debug)]
pub(crate) enum Step {
    Begins,
    Beat,
    Told(Input),
    CallEnds(u64),
    ScribeIsDone,
    ClockSet,
    Reload,
    Stop,
    GraceOver,
}

/// What comes by chance, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chance {
    Crash,
    Stop,
    Edit,
    ClockStep,
    Suspend,
    Outage,
    DiskFails,
    Person,
}

const CHANCES: [Chance; 8] = [
    Chance::Crash,
    Chance::Stop,
    Chance::Edit,
    Chance::ClockStep,
    Chance::Suspend,
    Chance::Outage,
    Chance::DiskFails,
    Chance::Person,
];

struct Queued {
    at: Duration,
    order: u64,
    what: Happening,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A scenario under way.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) dice: Dice,
    /// On the clock that never steps.
    pub(crate) time: Duration,
    /// The wall clock less the other one, in nanoseconds.
    offset: i128,
    /// When, by the host's clock, each firing was last sent since the last clean stop.
    pub(crate) sent: HashMap<FiringId, Timestamp>,
    /// The same of the service, whose clock is right.
    service_offset: i128,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    pub(crate) books: Books,
    pub(crate) checker: Checker,
    pub(crate) network: Network,
    pub(crate) scribe: Scribe,
    pub(crate) output: Output,
    pub(crate) disk_fails: bool,
    pub(crate) host: Host,
    pub(crate) frozen_until: Duration,
    density: Density,
    /// Whether the wall clock is never wrong by much.
    bounded: bool,
    drafts: Drafts,
    /// The schedule file as it stands, and as it was when the last process read it.
    pub(crate) file: Arc<Schedule>,
    means: HashMap<&'static str, Duration>,
    pub(crate) calm: bool,
    finale: Option<Duration>,
    host_stopped_for_good: bool,
    pub(crate) wishes: u64,
    pub(crate) trace: Vec<String>,
}

/// How long after the end of the faults everything must have settled: deadlines and unanswered looks last an
/// hour each, and a queue of a hundred firings, one at a time, takes some minutes for each.
const SETTLES_IN: Duration = Duration::from_secs(12 * 3_600);

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut dice = Dice::new(setup.seed);
        let density = match dice.below(10) {
            0 => Density::Sparse,
            1..=5 => Density::Bursts,
            _ => Density::Dense,
        };
        let (zone, begins) = drafts::beginning(&mut dice);
        // A run without the firing's id is searched for in a window of time, by this host's clock: where there are
        // such runs the clock may not be wrong by more than the window allows for.
        let bounded = dice.percent(50);
        let factories = if bounded { FACTORIES.len() } else { FACTORIES.len() - 1 };
        let drafts = Drafts::new(dice.apart(), density, factories, zone);
        let file = Arc::new(Sabotage::spoil(setup.sabotage, drafts.schedule()));
        let weather = Weather {
            faults: *dice.pick(&[0, 10, 30, 60, 90]),
            blind: *dice.pick(&[0, 10, 50]),
            outage: None,
        };
        let boot = Duration::from_secs(1_000);
        let books = if setup.on_disk { Books::on_disk() } else { Books::in_memory() };
        let mut checker = Checker::new();
        checker.knows(&file);
        let mut world = Self {
            network: Network::new(dice.next(), weather, setup.sabotage),
            scribe: Scribe::new(dice.apart()),
            // Dice of its own, beside those of the scenario.
            output: Output::new(Dice::new(setup.seed ^ u64::MAX)),
            time: boot,
            sent: HashMap::new(),
            service_offset: begins.as_nanosecond() - nanoseconds(boot),
            offset: begins.as_nanosecond() - nanoseconds(boot),
            queue: BinaryHeap::new(),
            order: 0,
            books,
            checker,
            disk_fails: false,
            host: Host::new(dice.apart()),
            frozen_until: Duration::ZERO,
            density,
            bounded,
            drafts,
            file,
            means: HashMap::new(),
            calm: false,
            finale: None,
            host_stopped_for_good: false,
            wishes: 0,
            trace: Vec::new(),
            dice,
            setup,
        };
        world.set_the_scene();
        world
    }

    fn set_the_scene(&mut self) {
        let lasts = match self.density {
            Density::Sparse => Duration::from_secs(self.dice.within(12, 60) * 3_600),
            _ => Duration::from_secs(self.dice.within(20, 150) * 60),
        };
        self.happens_in(Duration::from_millis(1), Happening::Starts);
        self.happens_in(lasts, Happening::Calm);
        for chance in CHANCES {
            // A scenario has most of its troubles, and is spared some of them.
            let times = *self.dice.pick(&[0, 2, 5, 12]);
            if let Some(mean) = lasts.checked_div(times) {
                self.means.insert(chance.name(), mean);
                self.comes_again(chance);
            }
        }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = nanoseconds(self.time) + self.offset;
        Now { wall: Timestamp::from_nanosecond(wall).unwrap(), boot: self.time }
    }

    /// The same by the service's clock.
    pub(crate) fn service_now(&self) -> Now {
        let wall = nanoseconds(self.time) + self.service_offset;
        Now { wall: Timestamp::from_nanosecond(wall).unwrap(), boot: self.time }
    }

    pub(crate) fn happens_in(&mut self, wait: Duration, what: Happening) {
        self.happens_at(self.time + wait, what);
    }

    pub(crate) fn happens_at(&mut self, at: Duration, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at, order: self.order, what }));
    }

    /// A limit of what is simulated: what was sent between the last sign of life that is durable and the end of its
    /// process looks as if it were still to come, if the clock is set back by no more than that.
    pub(crate) fn puts_clock_right(&mut self, snapshot: &Snapshot) {
        if snapshot.clean_stop {
            self.sent.clear();
        }
        let wall = self.now().wall;
        let latest = snapshot.open.iter().filter_map(|open| self.sent.get(&open.intent.firing_id)).max();
        if let Some(latest) = latest.copied().filter(|latest| *latest >= wall)
            && snapshot.reached.is_none_or(|reached| reached <= wall)
        {
            self.steps_clock(latest.duration_since(wall).as_nanos() + 1_000_000);
        }
    }

    /// Writes down what happens, if that is wanted.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.setup.traced {
            let line = format!("{} {}", self.now().wall, what());
            self.trace.push(line);
        }
    }

    /// Lets everything happen, until it is over or something is wrong.
    pub(crate) fn run(&mut self) {
        while self.checker.wrong.is_none() {
            let Some(Reverse(next)) = self.queue.peek() else { break };
            let at = next.at;
            if let Some(alarm) = self.alarm().filter(|alarm| *alarm <= at) {
                self.time = alarm;
                self.rings();
                continue;
            }
            let Some(Reverse(next)) = self.queue.pop() else { break };
            if let Happening::Process(..) = next.what
                && next.at < self.frozen_until
            {
                // A suspended host sees it when it wakes up.
                self.happens_at(self.frozen_until, next.what);
                continue;
            }
            self.time = self.time.max(next.at);
            if !self.happens(next.what) {
                break;
            }
        }
    }

    /// When the kernel timer rings, on the clock that never steps.
    fn alarm(&self) -> Option<Duration> {
        let alarm = self.host.alarm()?.as_nanosecond() - self.offset;
        let at = Duration::from_nanos(u64::try_from(alarm).unwrap_or(0));
        Some(at.max(self.time).max(self.frozen_until))
    }

    /// Returns whether the scenario goes on.
    fn happens(&mut self, what: Happening) -> bool {
        match what {
            Happening::Process(life, step) => self.step(life, step),
            Happening::Arrives(call) => self.arrives(call),
            Happening::Starts => self.starts(),
            Happening::Chance(chance) => {
                if !self.calm {
                    self.chance(chance);
                    self.comes_again(chance);
                }
            }
            Happening::OutageEnds => {
                self.network.weather.outage = None;
                self.token_comes();
            }
            Happening::DiskRecovers => self.disk_fails = false,
            Happening::TokenComes(generation) => {
                if self.network.renew(generation) {
                    self.token_comes();
                }
            }
            Happening::StepsBack(by) => self.steps_clock(-by),
            Happening::Calm => self.calms(),
            Happening::Finale => return self.finale(),
        }
        true
    }

    fn comes_again(&mut self, chance: Chance) {
        if let Some(mean) = self.means.get(chance.name()).copied() {
            let wait = self.dice.wait(mean);
            self.happens_in(wait, Happening::Chance(chance));
        }
    }

    fn chance(&mut self, chance: Chance) {
        match chance {
            Chance::Crash => self.crash("by chance"),
            Chance::Stop => self.signals(Step::Stop),
            Chance::Edit => self.edit(),
            Chance::ClockStep => self.draw_step(),
            Chance::Suspend => {
                let longest = *self.dice.pick(&[5, 120, 3_000]);
                self.frozen_until = self.time + self.dice.up_to(Duration::from_secs(longest));
                self.note(|| "the host is suspended".to_owned());
            }
            Chance::Outage => {
                let outage = Weather::draw_outage(&mut self.dice);
                self.network.weather.outage = Some(outage);
                self.note(|| format!("an outage begins: {outage:?}"));
                let longest = *self.dice.pick(&[10, 120, 1_800]);
                let lasts = self.dice.up_to(Duration::from_secs(longest));
                self.happens_in(lasts, Happening::OutageEnds);
            }
            Chance::DiskFails => {
                self.disk_fails = true;
                self.note(|| "the disk fails".to_owned());
                let longest = *self.dice.pick(&[5, 60, 600]);
                let lasts = self.dice.up_to(Duration::from_secs(longest));
                self.happens_in(lasts, Happening::DiskRecovers);
            }
            Chance::Person if self.frozen_until > self.time => {}
            Chance::Person => self.person(),
        }
    }

    fn draw_step(&mut self) {
        let sparse = self.density == Density::Sparse;
        let longest = match self.dice.below(6) {
            0 | 1 => 900,
            2 | 3 => 500_000,
            4 => 3_600_000,
            // Years, which an entry of every few seconds would have millions of times in.
            _ if sparse => 10 * 366 * 86_400_000,
            _ => 20_000_000,
        };
        let by = i128::from(self.dice.within(1, longest)) * 1_000_000;
        let by = if self.dice.percent(50) { by } else { -by };
        self.steps_clock(by);
        // Often it was a mistake.
        if self.dice.percent(40) {
            let lasts = self.dice.up_to(Duration::from_secs(200));
            self.happens_in(lasts, Happening::StepsBack(by));
        }
    }

    fn steps_clock(&mut self, by: i128) {
        let wall = nanoseconds(self.time) + self.offset + by;
        let wrong = (self.offset + by - self.service_offset).abs();
        if self.bounded && wrong > nanoseconds(SKEW) / 3 {
            return;
        }
        let years = |year: &str| year.parse::<Timestamp>().unwrap().as_nanosecond();
        if (years("1990-01-01T00:00:00Z")..years("2060-01-01T00:00:00Z")).contains(&wall) {
            self.offset += by;
            self.note(|| {
                format!(
                    "the clock steps by {:.3} s",
                    Duration::from_nanos(u64::try_from(by.abs()).unwrap()).as_secs_f64()
                        * if by < 0 { -1.0 } else { 1.0 }
                )
            });
            if let Some(life) = self.host.life() {
                let wait = self.dice.up_to(Duration::from_millis(20));
                self.happens_in(wait, Happening::Process(life, Step::ClockSet));
            }
        }
    }

    fn edit(&mut self) {
        self.drafts.edit();
        self.save();
        // Some edits wait for the next start.
        if self.dice.percent(70) {
            self.signals(Step::Reload);
        }
    }

    /// Sends the process a signal, if there is one.
    fn signals(&mut self, signal: Step) {
        if let Some(life) = self.host.life() {
            self.happens_in(Duration::ZERO, Happening::Process(life, signal));
        }
    }

    /// The file is written as the drafts stand.
    fn save(&mut self) {
        self.file = Arc::new(Sabotage::spoil(self.setup.sabotage, self.drafts.schedule()));
        self.checker.knows(&self.file);
        self.note(|| "the schedule is edited".to_owned());
    }

    /// The troubles are over.
    fn calms(&mut self) {
        self.calm = true;
        self.network.weather = Weather::fair();
        self.disk_fails = false;
        self.note(|| "all is calm".to_owned());
        self.token_comes();
        let sleeps = self.frozen_until.saturating_sub(self.time);
        if self.host.is_down() {
            self.happens_in(sleeps + Duration::from_secs(1), Happening::Starts);
        }
        // A clock that was set is believed by then.
        self.happens_in(sleeps + Duration::from_secs(300), Happening::Finale);
    }

    /// Turns everything off, waits until it has settled, stops, and looks the ledger through.
    fn finale(&mut self) -> bool {
        let Some(began) = self.finale else {
            self.finale = Some(self.time);
            self.drafts.turn_off();
            self.save();
            self.signals(Step::Reload);
            self.happens_in(Duration::from_secs(30), Happening::Finale);
            return true;
        };
        let asked = self.books.memory.wishes.values().any(|wish| wish.answer.is_none());
        let fills = !self.books.memory.open_backfills().is_empty();
        let settled = self.host.is_settled() && self.scribe.is_idle() && !asked && !fills;
        if self.host.is_down() && self.host_stopped_for_good {
            self.over();
            return false;
        }
        if settled {
            // A process that is told to stop just as it starts does so when it has begun.
            self.host_stopped_for_good = true;
            self.signals(Step::Stop);
        } else if self.time - began > SETTLES_IN {
            let open = self.host.open();
            let rows = self.books.memory.rows.values();
            let rows =
                rows.filter(|row| matches!(row.state, State::Planned | State::Waiting | State::Unknown));
            let rows: Vec<String> = rows
                .map(|row| {
                    format!("{} at {} is {}", row.intent.entry, row.intent.nominal, row.state.as_str())
                })
                .collect();
            self.checker.fail(format!("it never settles: {open} firings stay open: {rows:?}"));
        }
        self.happens_in(Duration::from_secs(60), Happening::Finale);
        true
    }

    /// Whether the last daemon of the scenario has been told to stop.
    pub(crate) fn finale_is_over(&self) -> bool {
        self.finale.is_some() && self.host_stopped_for_good
    }

    fn over(&mut self) {
        self.checker.settled(&self.books.memory, &self.network.service);
        if let Err(wrong) = self.books.compare() {
            self.checker.fail(wrong);
        }
    }
}

impl Chance {
    fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Stop => "stop",
            Self::Edit => "edit",
            Self::ClockStep => "clock step",
            Self::Suspend => "suspend",
            Self::Outage => "outage",
            Self::DiskFails => "disk fails",
            Self::Person => "person",
        }
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap()
}
