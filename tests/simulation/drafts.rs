//! Schedules that nobody would write by hand: drawn entries and drawn edits, as the text of a file that the
//! real reader reads.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use adf_cron::config;
use adf_cron::engine::Schedule;
use adf_cron::schedule::CronRules;

use crate::dice::Dice;
use crate::service::FACTORIES;

const AZURE: &str = "azure:
  tenant_id: contoso.onmicrosoft.com
  client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
  client_secret: { credential: client-secret }
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-same
";

/// Zones with a change of the clock soon after an instant, of an hour, half an hour, or a whole day.
const CHANGES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("America/St_Johns", "2026-11-01T04:30:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
];

/// How close together the nominal times of a scenario lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Density {
    /// Seconds to minutes.
    Dense,
    /// Many entries at the same instants.
    Bursts,
    /// Hours to days: a clock that is wrong by years names few of them.
    Sparse,
}

/// One entry.
#[derive(Debug, Clone)]
struct Draft {
    name: String,
    pipeline: String,
    factory: usize,
    calendar: String,
    zone: &'static str,
    enabled: bool,
    parameters: String,
    policy: String,
}

/// A schedule file under the hands of a person who cannot leave it alone.
#[derive(Debug, Clone)]
pub(crate) struct Drafts {
    dice: Dice,
    density: Density,
    /// The factories that entries may address.
    factories: usize,
    /// The zone with a change of the clock within the scenario.
    zone: &'static str,
    daemon: String,
    /// Whether runs are followed.
    follows: bool,
    drafts: Vec<Draft>,
    made: usize,
}

/// When a scenario begins, and the zone whose clock changes soon after.
pub(crate) fn beginning(dice: &mut Dice) -> (&'static str, jiff::Timestamp) {
    let (zone, change) = *dice.pick(&CHANGES);
    let change: jiff::Timestamp = change.parse().unwrap();
    (zone, change - dice.up_to(Duration::from_secs(3_600)))
}

impl Drafts {
    pub(crate) fn new(mut dice: Dice, density: Density, factories: usize, zone: &'static str) -> Self {
        let heartbeat = *dice.pick(&[2, 5, 10]);
        let daemon = format!(
            "daemon: {{ heartbeat: {heartbeat}s, horizon: {}s, max_in_flight: {}, clock_hold: {}s, retention: 45d }}",
            heartbeat * dice.within(2, 4),
            dice.pick(&[1, 4, 16, 64, 64]),
            dice.pick(&[20, 60]),
        );
        let entries = match density {
            Density::Dense => dice.within(6, 40),
            Density::Bursts => dice.within(30, 120),
            Density::Sparse => dice.within(4, 12),
        };
        let follows = dice.percent(30);
        let mut drafts =
            Self { dice, density, factories, zone, daemon, follows, drafts: Vec::new(), made: 0 };
        for _ in 0..entries {
            let draft = drafts.draw();
            drafts.drafts.push(draft);
        }
        drafts
    }

    fn draw(&mut self) -> Draft {
        self.made += 1;
        let dice = &mut self.dice;
        let zone = *dice.pick(&[self.zone, self.zone, "UTC", "Asia/Kathmandu", "America/Chicago"]);
        Draft {
            name: format!("e{}", self.made),
            pipeline: format!("P{}", dice.below(6)),
            factory: dice.index(self.factories),
            calendar: calendar(dice, self.density),
            zone,
            enabled: !dice.one_in(12),
            parameters: parameters(dice),
            policy: policy(dice, self.follows),
        }
    }

    /// One edit, or a few.
    pub(crate) fn edit(&mut self) {
        for _ in 0..self.dice.within(1, 3) {
            self.edit_once();
        }
    }

    fn edit_once(&mut self) {
        if self.drafts.is_empty() || self.dice.one_in(6) {
            let draft = self.draw();
            return self.drafts.push(draft);
        }
        let at = self.dice.index(self.drafts.len());
        if self.drafts.len() > 2 && self.dice.one_in(8) {
            self.drafts.remove(at);
            return;
        }
        let (dice, density, follows) = (&mut self.dice, self.density, self.follows);
        let draft = &mut self.drafts[at];
        match dice.below(8) {
            0..=2 => draft.enabled = !draft.enabled,
            3 | 4 => draft.calendar = calendar(dice, density),
            5 => draft.parameters = parameters(dice),
            6 => draft.policy = policy(dice, follows),
            _ => draft.factory = dice.index(self.factories),
        }
    }

    /// Turns every entry off: nothing is planned any more, and what is open can end.
    pub(crate) fn turn_off(&mut self) {
        for draft in &mut self.drafts {
            draft.enabled = false;
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{AZURE}{}\npipelines:\n", self.daemon);
        for draft in &self.drafts {
            let Draft { name, pipeline, calendar, zone, enabled, parameters, policy, .. } = draft;
            let factory = FACTORIES[draft.factory].0;
            // Two subscriptions are two buckets of the throttle.
            let digit = draft.factory % 2;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  - {{ name: {name}, pipeline: {pipeline}, factory: {factory}, \
                 subscription_id: {digit}0000000-0000-0000-0000-000000000000, enabled: {enabled}, \
                 timezone: {zone}, {calendar}, parameters: {parameters}, {policy} }}"
            );
        }
        text
    }

    /// The file as it stands.
    pub(crate) fn schedule(&self) -> Schedule {
        read(&self.text())
    }
}

/// Reads the text of a file, as the daemon does.
fn read(text: &str) -> Schedule {
    let settings = match config::load_accepted(text.as_bytes(), "s.yaml", &|_| None, CronRules::CURRENT) {
        Ok(settings) => settings,
        Err(problems) => panic!("a drawn schedule is wrong: {problems}\n{text}"),
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Schedule {
        version: format!("{:016x}", hasher.finish()).into(),
        text: text.into(),
        rules: CronRules::CURRENT,
        daemon: settings.daemon,
        studio: settings.azure.studio,
        entries: settings.entries,
    }
}

fn calendar(dice: &mut Dice, density: Density) -> String {
    let schedule = match density {
        Density::Dense => match dice.below(11) {
            10 => format!(
                "{{ recurrence: {{ frequency: Minute, interval: {}, startTime: \"2010-01-01T00:00:07Z\" }} }}",
                dice.within(1, 3)
            ),
            0..=3 => format!("{{ every: {}s, offset: {}s }}", dice.within(5, 90), dice.below(60)),
            4 => format!("\"*/{} * * * * *\"", dice.pick(&[5, 10, 15, 20, 30])),
            5 => format!("\"*/{} * * * *\"", dice.within(1, 7)),
            6 => format!("\"{},{} * * * * *\"", dice.below(30), dice.within(30, 59)),
            7 => format!("\"0,20,40 {},{} 0-23 * * *\"", dice.below(30), dice.within(30, 59)),
            8 => format!("[ \"*/2 * * * *\", {{ every: {}s }}, \"30 2 * * *\" ]", dice.within(20, 90)),
            _ => "\"0-59/2 1-3 * * *\"".to_owned(),
        },
        Density::Bursts => {
            format!("\"{} */{} * * * *\"", dice.pick(&["0", "0", "0,30"]), dice.pick(&[1, 1, 2]))
        }
        Density::Sparse => match dice.below(7) {
            5 => "{ recurrence: { frequency: Day, interval: 1, startTime: \"2010-01-01T00:30:00\", \
                  schedule: { hours: [1, 2, 14], minutes: [0, 30] } } }"
                .to_owned(),
            6 => "{ recurrence: { frequency: Month, interval: 1, startTime: \"2010-01-01T03:15:00\", \
                  schedule: { monthDays: [1, 28, 29, -1, -3] } } }"
                .to_owned(),
            0 => format!("{{ every: {}h, offset: {}m }}", dice.within(4, 30), dice.below(60)),
            1 => "\"30 2 * * *\"".to_owned(),
            2 => format!("\"{} 2,9,14 * * *\"", dice.below(60)),
            3 => "[ \"0 4 * * MON\", { every: 17h } ]".to_owned(),
            _ => format!("\"{} */5 * * *\"", dice.below(60)),
        },
    };
    let jitter = *dice.pick(&["0s", "0s", "0s", "700ms", "5s", "2m"]);
    let gap = *dice.pick(&["run_after", "skip"]);
    let overlap = *dice.pick(&["first", "second", "both"]);
    let except = *dice.pick::<&str>(&[
        "",
        "",
        "",
        ", except: [ { cron: \"*/3 * * * *\" } ]",
        ", except: [ { cron: \"* 2 * * *\" }, 2026-03-08 ]",
        ", except: [ 2026-10-25, 2026-11-01..2026-11-02, 2011-12-31 ]",
    ]);
    format!("schedule: {schedule}, jitter: {jitter}, dst_gap: {gap}, dst_overlap: {overlap}{except}")
}

/// Alike for many entries, so that a lost run of one may look like a run of another.
fn parameters(dice: &mut Dice) -> String {
    match dice.below(7) {
        0 => "{}".to_owned(),
        4 => "{ environment: prod, secret: s3 }".to_owned(),
        5 => "{ environment: test, undeclared: 1, list: [a, 1], yes: true }".to_owned(),
        1 => "{ environment: prod }".to_owned(),
        2 => "{ environment: prod, at: \"{{ scheduled_time }}\" }".to_owned(),
        _ => format!("{{ n: {}, id: \"{{{{ firing_id }}}}\" }}", dice.below(3)),
    }
}

/// What becomes of the runs: most schedules leave them alone, which keeps them quick.
fn following(dice: &mut Dice, follows: bool) -> String {
    if !follows {
        return "follow: false".to_owned();
    }
    let overlap = *dice.pick::<&str>(&["allow", "allow", "skip", "queue_one", "queue_all", "cancel_running"]);
    let scope = *dice.pick::<&str>(&["entry", "entry", "pipeline"]);
    let limit = *dice.pick::<&str>(&["", "", ", max_active: 2", ", max_active: 1, max_queued: 3"]);
    let recovery = *dice.pick::<&str>(&[
        "",
        "",
        ", recovery: { max: 2, delay: 10s }",
        ", recovery: { max: 1, delay: 0s, from: start }",
        ", pause_after_failures: 2",
    ]);
    let limit = format!("{limit}{recovery}");
    let overlap = format!("overlap: {overlap}, overlap_scope: {scope}{limit}");
    let drawn: [&str; 5] = [
        "follow: false",
        "follow: true",
        "follow: true",
        "run_deadline: 20s, on_deadline: cancel",
        "run_deadline: 90s",
    ];
    format!("{}, {overlap}", dice.pick::<&str>(&drawn))
}

fn policy(dice: &mut Dice, follows: bool) -> String {
    let following = following(dice, follows);
    let initial = *dice.pick(&[1, 1, 2, 10]);
    format!(
        "late_after: {}s, missed: {}, missed_within: {}, missed_max: {}, timeout: {}s, settle: {}s, \
         on_unknown: {}, priority: {}, {following}, \
         retry: {{ max_attempts: {}, initial: {initial}s, max: {}s, deadline: {} }}",
        dice.pick(&[1, 10, 60, 60]),
        dice.pick(&["skip", "latest", "latest", "all", "all"]),
        dice.pick(&["30s", "10m", "24h", "24h"]),
        dice.pick(&[1, 5, 100]),
        dice.pick(&[5, 30, 90]),
        dice.pick(&[20, 60, 120]),
        dice.pick(&["retry", "retry", "retry", "hold"]),
        dice.below(3),
        dice.pick(&[1, 3, 8, 8]),
        initial * dice.within(1, 30),
        dice.pick(&["0s", "30s", "10m", "1h"]),
    )
}
