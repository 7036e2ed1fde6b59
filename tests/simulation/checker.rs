//! What must hold: after every step, and of the whole ledger once everything has settled.
//!
//! It believes the model of the service about runs and the ledger about what is durable, and works out by
//! itself, from the schedules in force and their calendars, which nominal times must have a record.

mod beside;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use adf_cron::clock::Now;
use adf_cron::config::Entry;
use adf_cron::engine::Schedule;
use adf_cron::event::{Event, Name};
use adf_cron::ids::{EntryName, FiringId, Kind, Nominal, RunId};
use adf_cron::ledger::{Batch, Intent, Loaded, Reason, Record, State, Written};
use jiff::{SignedDuration, Timestamp};

use crate::memory::{MemoryLedger, Row};
use crate::service::{Ids, Service, ids_of};

/// Steps of the wall clock below this are the small corrections of a clock that is kept.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// What a scenario came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) firings: u64,
    pub(crate) skipped: u64,
    pub(crate) attempts: u64,
    pub(crate) runs: u64,
    pub(crate) held: u64,
    pub(crate) recoveries: u64,
    pub(crate) backfilled: u64,
    pub(crate) followed: u64,
    pub(crate) crashes: u64,
    pub(crate) starts: u64,
    pub(crate) steps: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.firings += other.firings;
        self.skipped += other.skipped;
        self.attempts += other.attempts;
        self.runs += other.runs;
        self.held += other.held;
        self.recoveries += other.recoveries;
        self.backfilled += other.backfilled;
        self.followed += other.followed;
        self.crashes += other.crashes;
        self.starts += other.starts;
        self.steps += other.steps;
    }
}

/// A stretch of time over which one calendar of an entry was in force: after `from`, up to `until`.
#[derive(Debug, Clone)]
struct Stretch {
    entry: Arc<Entry>,
    from: Nominal,
    until: Option<Nominal>,
}

/// The checker.
pub(crate) struct Checker {
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    pub(crate) counts: Counts,
    /// The latest wall time that has been seen since the clock was last set back.
    reached: Timestamp,
    /// The latest that was ever seen.
    highest: Timestamp,
    last: Option<Now>,
    pub(crate) versions: HashMap<Arc<str>, Schedule>,
    in_force: Option<Arc<str>>,
    /// Where the clock was set back to.
    set_back_to: HashSet<Nominal>,
    stretches: HashMap<EntryName, Vec<Stretch>>,
    sent: HashSet<FiringId>,
    /// When each intent became durable, on the clock that never steps.
    planned_at: HashMap<FiringId, Duration>,
    /// The next nominal times after those that firings recover, by the calendars in force when that was planned.
    recovered_until: HashMap<FiringId, Timestamp>,
    /// The firings that took runs, from the moment at which the engine says so.
    taken: HashMap<RunId, FiringId>,
    /// When the ledger last heard of a firing's end, on the clock that never steps.
    changed_at: HashMap<FiringId, Duration>,
    /// Nominal times of which a firing was durable.
    pub(crate) had_a_firing: HashSet<(EntryName, Nominal)>,
    /// Facts that are durable and were not announced yet.
    unsaid: HashMap<u64, String>,
    said: HashSet<(Name, FiringId)>,
    said_skips: HashMap<String, Vec<(Nominal, Nominal)>>,
}

impl Checker {
    pub(crate) fn new() -> Self {
        Self {
            wrong: None,
            counts: Counts::default(),
            reached: Timestamp::MIN,
            highest: Timestamp::MIN,
            last: None,
            versions: HashMap::new(),
            in_force: None,
            set_back_to: HashSet::new(),
            stretches: HashMap::new(),
            sent: HashSet::new(),
            planned_at: HashMap::new(),
            recovered_until: HashMap::new(),
            taken: HashMap::new(),
            changed_at: HashMap::new(),
            had_a_firing: HashSet::new(),
            unsaid: HashMap::new(),
            said: HashSet::new(),
            said_skips: HashMap::new(),
        }
    }

    /// Notes that something is wrong; only the first is kept.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        self.wrong.get_or_insert(what.into());
    }

    /// A schedule that may come into force.
    pub(crate) fn knows(&mut self, schedule: &Schedule) {
        self.versions.entry(Arc::clone(&schedule.version)).or_insert_with(|| schedule.clone());
    }

    /// The schedule that the ledger says was in force, whose text it must have kept.
    pub(crate) fn knew(&mut self, version: &str, text: &str) -> Schedule {
        let known = self.versions[version].clone();
        if *known.text != *text {
            self.fail(format!("the ledger has changed the text of schedule {version}"));
        }
        known
    }

    /// The engine is shown these clocks.
    pub(crate) fn sees(&mut self, now: Now) {
        self.counts.steps += 1;
        let expected = self.last.map_or(now.wall, |last| last.wall + now.boot.saturating_sub(last.boot));
        let set_back = now.wall.duration_since(expected) <= -STEP;
        self.reached = if set_back { now.wall } else { self.reached.max(now.wall) };
        self.highest = self.highest.max(now.wall);
        self.last = Some(now);
    }

    /// The engine wants this made durable.
    pub(crate) fn decides(&mut self, batch: &Batch, now: Now) {
        for record in &batch.records {
            if let Record::Progress(progress) = record
                && let Some(run) = progress.run_id
            {
                self.taken.insert(run, progress.firing_id);
            }
            let Record::Skipped(skips) = record else { continue };
            let Some(entry) = self.entry(&skips.intent) else { continue };
            let due = entry.calendar.due_time(&entry.name, skips.last);
            let late_after = SignedDuration::try_from(skips.intent.policy.late_after).unwrap();
            // It may have been late by a clock that was set back before the ledger answered.
            let was_late =
                self.highest.duration_since(due) > late_after && skips.last.timestamp() <= now.wall;
            if skips.reason == Reason::Missed && !was_late {
                self.fail(format!("{} at {} was not late and was left out", entry.name, skips.last));
            }
        }
    }

    /// The engine sends a firing.
    pub(crate) fn sends(&mut self, intent: &Intent, ledger: &MemoryLedger) {
        let firing = intent.firing_id;
        self.counts.attempts += 1;
        let named = || format!("{} at {} ({firing})", intent.entry, intent.nominal);
        match ledger.rows.get(&firing) {
            None => self.fail(format!("{} was sent before its intent was durable", named())),
            Some(row) if !matches!(row.state, State::Planned | State::Waiting | State::Unknown) => {
                self.fail(format!("{} was sent although it was {} already", named(), row.state.as_str()));
            }
            Some(row) if row.intent.body != intent.body || row.intent.factory != intent.factory => {
                self.fail(format!("{} was sent otherwise than its intent says", named()));
            }
            Some(_) => {}
        }
        let paused = ledger.pauses.get(&intent.entry).into_iter().flatten();
        let asked = ledger.rows.get(&firing).is_some_and(|row| row.reopened_at.is_some());
        let first = self.sent.insert(firing) && !asked;
        if first && intent.kind == Kind::Scheduled && paused.clone().any(|pause| pause.covers(intent.nominal))
        {
            self.fail(format!("{} was sent although its entry was paused", named()));
        }
        if first && intent.kind == Kind::Scheduled && intent.due > self.reached {
            self.fail(format!("{} was sent at {}, before {}", named(), self.reached, intent.due));
        }
    }

    /// The service has started a run.
    pub(crate) fn runs(&mut self, intent: &Intent, service: &Service) {
        self.counts.runs += 1;
        let runs = service.of(intent.firing_id);
        let Some((_, earlier)) = runs.split_last() else { return };
        // Runs that nobody can tell apart may go to each other's firings: one that was taken for another's is made
        // good by the next.
        let own = ids_of(intent.factory.name.as_str()) == Ids::Own;
        let given_away =
            |run: &RunId| own && self.taken.get(run).is_some_and(|firing| *firing != intent.firing_id);
        if !earlier.iter().all(given_away) {
            let Intent { entry, nominal, firing_id, .. } = intent;
            self.fail(format!(
                "{entry} at {nominal} ({firing_id}) was started {} times: {runs:?}",
                runs.len()
            ));
        }
    }

    /// These batches are durable now.
    pub(crate) fn durable(&mut self, batches: &[Batch], written: &Written) {
        for batch in batches {
            for record in &batch.records {
                match record {
                    Record::Planned(intent) if !written.refused.contains(&intent.firing_id) => {
                        self.counts.firings += 1;
                        self.counts.backfilled += u64::from(intent.kind == Kind::Backfill);
                        self.had_a_firing.insert((intent.entry.clone(), intent.nominal));
                        self.planned(intent);
                    }
                    Record::Progress(progress) => {
                        let now = self.last.map(|last| last.boot).unwrap_or_default();
                        self.changed_at.insert(progress.firing_id, now);
                    }
                    Record::Loaded(loaded) => self.loaded(loaded),
                    Record::SetBack { to, .. } => self.set_back(*to),
                    _ => {}
                }
            }
            for event in batch.announced(written).filter(|event| event.is_kept()) {
                self.unsaid.insert(key(&event), format!("{}: {}", event.name, event.message));
            }
        }
    }

    fn planned(&mut self, intent: &Intent) {
        let now = self.last.map(|last| last.boot).unwrap_or_default();
        self.planned_at.insert(intent.firing_id, now);
        let in_force = self.in_force.as_ref().filter(|_| intent.kind == Kind::Recovery);
        let entries = in_force.into_iter().flat_map(|version| &self.versions[version].entries);
        let entry = entries.filter(|entry| entry.enabled).find(|entry| entry.name == intent.entry);
        // In a backfill the next one is past already.
        let entry = entry.filter(|_| intent.backfill.is_none());
        if let Some(next) = entry.and_then(|entry| entry.calendar.next_after(intent.nominal)) {
            self.recovered_until.insert(intent.firing_id, next.timestamp());
        }
    }

    /// When the ledger last heard that a firing went on.
    pub(crate) fn changed_at(&self, firing: FiringId) -> Option<Duration> {
        self.changed_at.get(&firing).copied()
    }

    /// What the ledger gives a starting daemon.
    pub(crate) fn loads(&mut self, version: Option<&str>) {
        if version != self.in_force.as_deref() {
            let in_force = self.in_force.clone();
            self.fail(format!("the ledger says that {version:?} was in force last, but it was {in_force:?}"));
        }
    }

    pub(crate) fn announced(&mut self, event: &Event) {
        self.unsaid.remove(&key(event));
        if event.name == Name::RunVanished && event.fields.reason.as_deref() == Some("absent") {
            self.fail(format!("{}, but it is there", event.message));
        }
        let fields = &event.fields;
        if let Some(firing) = fields.firing_id.as_deref().and_then(|id| FiringId::parse(id).ok()) {
            self.said.insert((event.name, firing));
        }
        if let (Name::FiringSkipped, Some(entry)) = (event.name, &fields.entry) {
            let time = |text: &Option<String>| Nominal::at_or_before(text.as_ref().unwrap().parse().unwrap());
            let range = (time(&fields.first), time(&fields.last));
            self.said_skips.entry(entry.clone()).or_default().push(range);
        }
    }

    fn entry(&self, intent: &Intent) -> Option<Arc<Entry>> {
        let version = self.versions.get(&intent.schedule_version)?;
        version.entries.iter().find(|entry| entry.name == intent.entry).cloned()
    }

    /// A schedule is in force from an instant on: what changed begins there, and what it replaces ends.
    fn loaded(&mut self, loaded: &Loaded) {
        let swap = Nominal::at_or_before(loaded.at);
        let schedule = self.versions[&loaded.version].clone();
        self.in_force = Some(Arc::clone(&loaded.version));
        let enabled: HashMap<&EntryName, &Arc<Entry>> =
            schedule.entries.iter().filter(|entry| entry.enabled).map(|it| (&it.name, it)).collect();
        for (name, stretches) in &mut self.stretches {
            if let Some(last) = stretches.last_mut().filter(|stretch| stretch.until.is_none())
                && enabled.get(name).is_none_or(|new| !new.calendar.same_as(&last.entry.calendar))
            {
                last.until = Some(swap);
            }
        }
        for (name, entry) in enabled {
            let stretches = self.stretches.entry(name.clone()).or_default();
            if stretches.last().is_none_or(|last| last.until.is_some()) {
                stretches.push(Stretch { entry: Arc::clone(entry), from: swap, until: None });
            }
        }
    }

    /// Of what lies after `to` nothing needs a record any more; the schedule in force holds from there on.
    fn set_back(&mut self, to: Nominal) {
        self.set_back_to.insert(to);
        for stretch in self.stretches.values_mut().flatten() {
            match stretch.until {
                None => stretch.from = stretch.from.min(to),
                Some(until) => stretch.until = Some(until.min(to)),
            }
        }
    }

    /// Everything has settled: the whole ledger is looked through.
    pub(crate) fn settled(&mut self, ledger: &MemoryLedger, service: &Service) {
        self.ends(ledger, service);
        self.owners(ledger);
        self.wishes(ledger);
        self.backfills(ledger);
        match self.covered(ledger) {
            Ok(covered) => self.complete(&covered),
            Err(wrong) => self.fail(wrong),
        }
        if let Some(unsaid) = self.unsaid.values().min() {
            self.fail(format!("{} facts were never announced, for example {unsaid}", self.unsaid.len()));
        }
    }

    /// Every firing is over or held, as the service's runs say, and that was announced.
    fn ends(&mut self, ledger: &MemoryLedger, service: &Service) {
        for (firing, row) in &ledger.rows {
            let named = || format!("{} at {} ({firing})", row.intent.entry, row.intent.nominal);
            let runs = service.of(*firing);
            let said = match row.state {
                State::Accepted => {
                    let own = row.run_id.and_then(|run| service.runs.get(&run)).is_some_and(|run| {
                        run.of == Some(*firing)
                            || (is_own(row) && run.of.is_some() && run.could_be(&row.intent))
                    });
                    if !own {
                        self.fail(format!(
                            "{} is accepted with {:?}, its runs are {runs:?}",
                            named(),
                            row.run_id
                        ));
                    }
                    let followed = row.intent.policy.follows();
                    self.counts.followed += u64::from(followed);
                    let over = matches!(
                        row.run_status.as_deref(),
                        Some("Succeeded" | "Failed" | "Cancelled" | "Vanished")
                    );
                    if row.following || followed != over {
                        self.fail(format!("the run of {} was last {:?}", named(), row.run_status));
                    }
                    &[Name::RunCreated, Name::RunAdopted, Name::FiringSettled][..]
                }
                State::Rejected => &[Name::FiringRejected][..],
                State::Held => {
                    self.counts.held += 1;
                    &[Name::FiringHeld][..]
                }
                State::NotStarted => &[Name::FiringSettled][..],
                State::Skipped => {
                    self.counts.skipped += row.skipped.max(1);
                    &[][..]
                }
                State::Planned | State::Waiting | State::Unknown => {
                    self.fail(format!("{} never ended: it is {}", named(), row.state.as_str()));
                    continue;
                }
            };
            let ended = matches!(row.state, State::Rejected | State::Skipped | State::NotStarted);
            let given_away = |run: &RunId| is_own(row) && ledger.owner(*run, *firing).is_some();
            // What was pruned under a clock that was years ahead may be left out once more.
            let pruned = || ledger.pruned.iter().any(|row| row.intent.firing_id == *firing);
            if ended && !runs.iter().all(given_away) && !pruned() {
                self.fail(format!("{} is {} but has the runs {runs:?}", named(), row.state.as_str()));
            }
            if !said.is_empty() && !said.iter().any(|name| self.said.contains(&(*name, *firing))) {
                self.fail(format!("that {} is {} was not announced", named(), row.state.as_str()));
            }
            if row.state == State::Skipped {
                let skips = self.said_skips.get(row.intent.entry.as_str());
                let covers =
                    |(first, last): &(Nominal, Nominal)| *first <= row.intent.nominal && row.last <= *last;
                if !skips.is_some_and(|skips| skips.iter().any(covers)) {
                    self.fail(format!("that {} is skipped was not announced", named()));
                }
            }
        }
    }

    /// No run belongs to two firings.
    fn owners(&mut self, ledger: &MemoryLedger) {
        let mut owners: HashMap<RunId, FiringId> = HashMap::new();
        for (firing, row) in &ledger.rows {
            if let Some(run) = row.run_id
                && let Some(other) = owners.insert(run, *firing)
            {
                self.fail(format!("run {run} belongs to both {firing} and {other}"));
            }
        }
    }

    /// What people asked for was carried out once or refused.
    fn wishes(&mut self, ledger: &MemoryLedger) {
        if let Some(wish) = ledger.wishes.values().find(|wish| wish.answer.is_none()) {
            self.fail(format!("{:?} was never answered", wish.request));
        }
        let manual = ledger.rows.values().filter(|row| row.intent.kind == Kind::Manual);
        for row in manual.filter(|row| !ledger.asked_for.contains(&row.intent.firing_id)) {
            self.fail(format!("nobody asked for {} of {}", row.intent.firing_id, row.intent.entry));
        }
    }

    /// The nominal times that have a record, each of which may have one only.
    fn covered(&self, ledger: &MemoryLedger) -> Result<HashMap<EntryName, HashSet<i64>>, String> {
        let mut covered: HashMap<EntryName, HashSet<i64>> = HashMap::new();
        let scheduled = |row: &&Row| row.intent.kind == Kind::Scheduled;
        let rows = ledger.rows.values().map(|row| (row, false));
        let rows = rows.chain(ledger.pruned.iter().map(|row| (row, true)));
        for (row, pruned) in rows.filter(|(row, _)| scheduled(row)) {
            let intent = &row.intent;
            let times = self.stands_for(row).ok_or_else(|| {
                format!(
                    "the record of {} from {} to {} counts {}, which its calendar does not",
                    intent.entry, intent.nominal, row.last, row.skipped
                )
            })?;
            let covered = covered.entry(intent.entry.clone()).or_default();
            for time in times {
                // What was pruned guards no longer, so a clock that was years ahead may name its time again.
                if !covered.insert(time.as_second()) && !pruned {
                    return Err(format!("{} at {time} has two records", intent.entry));
                }
            }
        }
        Ok(covered)
    }

    /// The nominal times that a row stands for, by the calendar of its version.
    fn stands_for(&self, row: &Row) -> Option<Vec<Nominal>> {
        let before = Nominal::from_second(row.intent.nominal.as_second() - 1).unwrap();
        let times: Vec<Nominal> = self.entry(&row.intent)?.calendar.due_between(before, row.last).collect();
        // One that a clock cut short which was set back after a restart has only an upper bound: its calendar was gone.
        let (count, counted) = (times.len() as u64, row.skipped.max(1));
        let counts = count == counted || (count < counted && self.set_back_to.contains(&row.last));
        (times.first() == Some(&row.intent.nominal) && counts).then_some(times)
    }

    /// Every nominal time at which a schedule was in force has a record.
    fn complete(&mut self, covered: &HashMap<EntryName, HashSet<i64>>) {
        let nothing = HashSet::new();
        let mut missing = Vec::new();
        for (name, stretches) in &self.stretches {
            let covered = covered.get(name).unwrap_or(&nothing);
            for stretch in stretches {
                let Some(until) = stretch.until else {
                    missing.push(format!("{name} is still in force"));
                    continue;
                };
                let times = stretch.entry.calendar.due_between(stretch.from, until);
                missing.extend(
                    times
                        .filter(|time| !covered.contains(&time.as_second()))
                        .map(|time| format!("{name} at {time} has no record")),
                );
            }
        }
        if let Some(first) = missing.iter().min() {
            let first = first.clone();
            self.fail(format!("{first} ({} in all)", missing.len()));
        }
    }
}

/// Whether the factory gives its runs ids of its own.
pub(crate) fn is_own(row: &Row) -> bool {
    ids_of(row.intent.factory.name.as_str()) == Ids::Own
}

/// What makes an event the same fact.
fn key(event: &Event) -> u64 {
    let fields = &event.fields;
    let mut hasher = DefaultHasher::new();
    event.name.as_str().hash(&mut hasher);
    event.message.hash(&mut hasher);
    for field in
        [&fields.entry, &fields.firing_id, &fields.run_id, &fields.reason, &fields.first, &fields.last]
    {
        field.hash(&mut hasher);
    }
    fields.attempt.hash(&mut hasher);
    hasher.finish()
}
