//! What every ledger must do, asked of the one on SQLite and of the one in memory.

mod backfills;
mod facts;
mod skips;

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adf_cron::azure::outcome::Refusal;
use adf_cron::config::{Policy, RecoverFrom};
use adf_cron::event::{Event, Fields, Level, Name};
use adf_cron::ids::{
    EntryName, Factory, FactoryName, FiringId, Kind, Nominal, PipelineName, ResourceGroup, RunId,
    SubscriptionId,
};
use adf_cron::ledger::{
    Answer, Asks, Attempt, Batch, Body, Facts, Intent, LastSchedule, Ledger, LedgerError, Loaded, Lock, Mark,
    Progress, Reason, Record, Recovers, Request, RunProgress, Settlement, Skips, Snapshot, SqliteLedger,
    State, Written,
};
use adf_cron::schedule::{
    Calendar, CalendarSpec, CronRules, DstGap, DstOverlap, Every, Fingerprint, Form, Rule, Zone,
};
use jiff::{SignedDuration, Timestamp};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::memory::MemoryLedger;
use backfills::{
    a_backfill_is_kept_with_what_needs_no_start_after_its_mark,
    a_firing_of_a_backfill_is_refused_where_another_is_under_way_or_has_a_run,
};
use facts::{
    a_refused_record_takes_no_events_of_other_batches_with_it, facts,
    facts_are_kept_until_they_were_announced, facts_are_read_from_a_batch_on_in_order_and_so_many_at_a_time,
};
use skips::{
    a_clock_that_is_set_back_brings_back_what_was_missed_after_it,
    a_row_of_skips_guards_all_within_it_and_others_are_written_around_what_has_a_record,
    a_row_that_is_cut_keeps_all_its_times_where_another_calendar_counts_it_alike,
    what_was_refused_can_be_planned_once_the_clock_was_set_back_in_the_same_commit,
    what_was_removed_gives_way_when_its_entry_comes_back,
};

/// What the tests need beside the interface.
trait Kept: Ledger {
    /// Leaves a request as a person does.
    async fn leave(&mut self, request: &Request, at: Timestamp);
    /// Where a firing stands.
    async fn stands(&mut self, firing: FiringId) -> Option<(State, Option<Reason>)>;
    /// Lets all that is written from now on fail, at its end.
    async fn fills_up(&mut self);
}

struct OnDisk {
    ledger: SqliteLedger,
    folder: tempfile::TempDir,
}

impl OnDisk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(&Self::path(folder.path())).unwrap();
        Self { ledger: SqliteLedger::open(&lock).await.unwrap(), folder }
    }

    fn path(folder: &Path) -> std::path::PathBuf {
        folder.join("ledger.db")
    }
}

impl Ledger for OnDisk {
    async fn write(
        &mut self,
        batches: &[Batch],
        announced: Option<RangeInclusive<u64>>,
    ) -> Result<Written, LedgerError> {
        self.ledger.write(batches, announced).await
    }

    async fn load(&mut self) -> Result<Snapshot, LedgerError> {
        self.ledger.load().await
    }

    async fn owners(
        &mut self,
        runs: &[RunId],
        but: FiringId,
    ) -> Result<HashMap<RunId, FiringId>, LedgerError> {
        self.ledger.owners(runs, but).await
    }

    async fn unannounced(&mut self, first: u64, most: u32) -> Result<Vec<Facts>, LedgerError> {
        self.ledger.unannounced(first, most).await
    }

    async fn requests(&mut self) -> Result<Vec<Request>, LedgerError> {
        self.ledger.requests().await
    }

    async fn prune(&mut self, before: Timestamp) -> Result<u64, LedgerError> {
        self.ledger.prune(before).await
    }

    async fn close(self) {
        Ledger::close(self.ledger).await;
    }
}

impl Kept for OnDisk {
    async fn leave(&mut self, request: &Request, at: Timestamp) {
        self.ledger.ask(request, at).await.unwrap();
    }

    async fn stands(&mut self, firing: FiringId) -> Option<(State, Option<Reason>)> {
        let row = self.ledger.firing(firing).await.unwrap()?;
        Some((State::parse(&row.state).unwrap(), row.reason.as_deref().and_then(Reason::parse)))
    }

    async fn fills_up(&mut self) {
        let address = format!("sqlite://{}", Self::path(self.folder.path()).display());
        let mut beside = SqliteConnection::connect(&address).await.unwrap();
        // The events of a write come after its records.
        let full =
            "CREATE TRIGGER full BEFORE INSERT ON announcement BEGIN SELECT RAISE(ABORT, 'it is full'); END";
        beside.execute(full).await.unwrap();
    }
}

impl Kept for MemoryLedger {
    async fn leave(&mut self, request: &Request, at: Timestamp) {
        self.ask(request, at);
    }

    async fn stands(&mut self, firing: FiringId) -> Option<(State, Option<Reason>)> {
        self.rows.get(&firing).map(|row| (row.state, row.reason))
    }

    async fn fills_up(&mut self) {
        self.is_full = true;
    }
}

fn at(text: &str) -> Timestamp {
    format!("2026-11-24T{text}Z").parse().unwrap()
}

fn entry(name: &str) -> EntryName {
    EntryName::new(name).unwrap()
}

/// A planned firing of this entry, at this time of a day.
fn intent(name: &str, time: &str) -> Intent {
    let factory = Factory {
        subscription: SubscriptionId::new("00000000-0000-0000-0000-000000000000").unwrap(),
        resource_group: ResourceGroup::new("rg").unwrap(),
        name: FactoryName::new("adf").unwrap(),
    };
    let nominal = Nominal::at_or_before(at(time));
    Intent {
        firing_id: FiringId::scheduled(&factory, &entry(name), nominal),
        entry: entry(name),
        pipeline: PipelineName::new("P").unwrap(),
        factory,
        kind: Kind::Scheduled,
        nominal,
        due: at(time),
        body: Body::new(r#"{"a":1}"#),
        policy: Arc::new(Policy::default()),
        schedule_version: "v".into(),
        planned_at: at("00:00:00"),
        recovers: None,
        backfill: None,
    }
}

fn planned(intent: &Intent) -> Record {
    Record::Planned(Arc::new(intent.clone()))
}

/// The calendar of all that is left out here.
fn half_hourly() -> Arc<Calendar> {
    let every = Every::new(Duration::from_secs(1_800), Duration::ZERO, None).unwrap();
    calendar(Form::Every(every))
}

fn calendar(form: Form) -> Arc<Calendar> {
    let rule = Rule { form, zone: Zone::utc(), start: None, end: None, except: None };
    Arc::new(Calendar::new(CalendarSpec {
        rules: vec![rule],
        zone: Zone::utc(),
        start: None,
        end: None,
        except: None,
        dst_gap: DstGap::default(),
        dst_overlap: DstOverlap::default(),
        jitter: Duration::ZERO,
    }))
}

fn skips(name: &str, first: &str, last: &str, count: u64, reason: Reason) -> Record {
    let last = Nominal::at_or_before(at(last));
    let intent = Intent { planned_at: at(first), ..intent(name, first) };
    Record::Skipped(Box::new(Skips { intent, last, count, reason, calendar: Some(half_hourly()) }))
}

fn mark(name: &str, time: &str) -> Mark {
    Mark { entry: entry(name), nominal: Nominal::at_or_before(at(time)) }
}

fn progress(intent: &Intent, state: State, attempts: u32) -> Progress {
    Progress {
        follow: false,
        firing_id: intent.firing_id,
        state,
        reason: None,
        attempts,
        counted: attempts,
        next_at: None,
        run_id: None,
        error_message: None,
        at: intent.due,
        attempt: None,
    }
}

/// The same with the attempt that brought it there.
fn attempted(intent: &Intent, state: State, number: u32, outcome: &'static str) -> Progress {
    let sent_at = intent.due + SignedDuration::from_secs(i64::from(number));
    let refusal = Some(Refusal::default());
    let attempt = Attempt { number, sent_at, answered_at: sent_at, outcome, refusal };
    Progress { attempt: Some(attempt), ..progress(intent, state, number) }
}

fn loaded(version: &str, time: &str, begun: &[&str], ended: &[&str]) -> Record {
    let fingerprint = Fingerprint("f".to_owned());
    Record::Loaded(Box::new(Loaded {
        version: version.into(),
        text: format!("text of {version}").into(),
        rules: CronRules::CURRENT,
        at: at(time),
        begun: begun.iter().map(|name| (mark(name, time), fingerprint.clone())).collect(),
        ended: ended.iter().map(|name| entry(name)).collect(),
    }))
}

fn event(level: Level, name: Name, firing: FiringId) -> Event {
    let fields = Fields { firing_id: Some(firing.to_string()), ..Fields::default() };
    Event::new(level, name, "a fact", fields)
}

/// Writes one batch of records; returns what was refused.
async fn write(ledger: &mut impl Kept, records: Vec<Record>) -> HashSet<FiringId> {
    let batch = Batch { id: 1, records, events: Vec::new() };
    ledger.write(&[batch], None).await.unwrap().refused
}

async fn an_intent_is_open_after_a_restart_as_it_was_planned(mut ledger: impl Kept) {
    let intent = intent("a", "10:00:00");
    assert!(write(&mut ledger, vec![planned(&intent)]).await.is_empty());
    let snapshot = ledger.load().await.unwrap();
    let open = &snapshot.open[0];
    assert_eq!((&*open.intent, open.state, open.attempts), (&intent, State::Planned, 0));
    assert_eq!((open.next_at, open.first_sent_at, open.ever_unknown), (None, None, false));
}

async fn a_nominal_time_has_one_firing_and_a_second_is_refused_with_its_events(mut ledger: impl Kept) {
    let first = intent("a", "10:00:00");
    write(&mut ledger, vec![planned(&first)]).await;
    let mut second = first.clone();
    second.planned_at = at("00:00:01");
    let event = event(Level::Info, Name::FiringRejected, second.firing_id);
    let stillborn = Record::Stillborn(Arc::new(second.clone()), progress(&second, State::Rejected, 0));
    let batch = Batch { id: 1, records: vec![stillborn], events: vec![event] };
    assert_eq!(ledger.write(&[batch], None).await.unwrap().refused, HashSet::from([first.firing_id]));
    assert_eq!(ledger.stands(first.firing_id).await, Some((State::Planned, None)));
    assert!(facts(&mut ledger).await.is_empty());
    // Another entry, and a firing by hand, are free.
    let other = intent("b", "10:00:00");
    let manual = Intent { kind: Kind::Manual, firing_id: FiringId::from_random([7; 16]), ..first };
    assert!(write(&mut ledger, vec![planned(&other), planned(&manual)]).await.is_empty());
}

async fn a_write_that_is_repeated_since_its_end_was_not_known_changes_nothing(mut ledger: impl Kept) {
    let intent = intent("a", "10:00:00");
    let row = || skips("a", "08:00:00", "09:00:00", 3, Reason::Missed);
    for _ in 0..2 {
        assert!(write(&mut ledger, vec![planned(&intent), row()]).await.is_empty());
    }
    assert_eq!(ledger.load().await.unwrap().open.len(), 1);
}

async fn only_what_was_never_sent_can_be_withdrawn(mut ledger: impl Kept) {
    let (unsent, sent) = (intent("a", "10:00:00"), intent("a", "10:01:00"));
    let begun = vec![
        planned(&unsent),
        planned(&sent),
        Record::Progress(attempted(&sent, State::Waiting, 1, "retry_later")),
    ];
    write(&mut ledger, begun).await;
    let both = vec![Record::Withdrawn(unsent.firing_id), Record::Withdrawn(sent.firing_id)];
    write(&mut ledger, both).await;
    assert_eq!(ledger.stands(unsent.firing_id).await, None);
    assert!(ledger.stands(sent.firing_id).await.is_some());
    assert!(write(&mut ledger, vec![planned(&unsent)]).await.is_empty(), "there is room for it again");
}

async fn the_last_progress_stands_and_the_first_attempt_is_remembered(mut ledger: impl Kept) {
    let intent = intent("a", "10:00:00");
    let lost = attempted(&intent, State::Unknown, 1, "unknown");
    let later = Progress {
        next_at: Some(at("11:00:00")),
        reason: Some(Reason::Throttled),
        ..attempted(&intent, State::Waiting, 2, "retry_later")
    };
    write(&mut ledger, vec![planned(&intent), Record::Progress(lost), Record::Progress(later)]).await;
    let open = ledger.load().await.unwrap().open.remove(0);
    assert_eq!((open.state, open.reason, open.attempts), (State::Waiting, Some(Reason::Throttled), 2));
    assert_eq!((open.next_at, open.first_sent_at), (Some(at("11:00:00")), Some(at("10:00:01"))));
    assert!(open.ever_unknown);
}

async fn what_is_over_or_was_sent_is_not_left_out_after_all(mut ledger: impl Kept) {
    let (accepted, held, sent) = (intent("a", "10:00:00"), intent("a", "10:01:00"), intent("a", "10:02:00"));
    let left_out = |intent: &Intent| {
        let progress = progress(intent, State::Skipped, 0);
        Record::Progress(Progress { reason: Some(Reason::Removed), ..progress })
    };
    let records = vec![
        planned(&accepted),
        planned(&held),
        planned(&sent),
        Record::Progress(attempted(&accepted, State::Accepted, 1, "accepted")),
        Record::Progress(attempted(&held, State::Held, 1, "unknown")),
        Record::Progress(attempted(&sent, State::Waiting, 1, "retry_later")),
        left_out(&accepted),
        left_out(&held),
        left_out(&sent),
    ];
    for record in records {
        write(&mut ledger, vec![record]).await;
    }
    for (intent, state) in [(accepted, State::Accepted), (held, State::Held), (sent, State::Waiting)] {
        assert_eq!(ledger.stands(intent.firing_id).await, Some((state, None)));
    }
}

async fn only_what_is_over_can_be_reopened(mut ledger: impl Kept) {
    let (held, accepted) = (intent("a", "10:00:00"), intent("a", "10:01:00"));
    let records = vec![
        planned(&held),
        planned(&accepted),
        Record::Progress(attempted(&held, State::Held, 1, "unknown")),
        Record::Progress(attempted(&accepted, State::Accepted, 1, "accepted")),
    ];
    write(&mut ledger, records).await;
    assert_eq!(ledger.load().await.unwrap().held[0].intent.firing_id, held.firing_id);
    let reopened = |intent: &Intent| Record::Reopened { firing_id: intent.firing_id, at: at("12:00:00") };
    let refused = write(&mut ledger, vec![reopened(&held), reopened(&accepted)]).await;
    assert_eq!(refused, HashSet::from([accepted.firing_id]));
    let open = ledger.load().await.unwrap().open.remove(0);
    assert_eq!((open.state, open.counted, open.reopened_at), (State::Waiting, 0, Some(at("12:00:00"))));
}

async fn a_start_finds_marks_pauses_and_the_schedule_that_was_loaded_last(mut ledger: impl Kept) {
    let empty = ledger.load().await.unwrap();
    assert!(empty.schedule.is_none() && empty.marks.is_empty() && !empty.clean_stop);
    let paused = Record::Paused { entry: entry("a"), at: at("02:00:00"), note: None };
    let resumed = Record::Resumed { entry: entry("a"), at: at("03:00:00") };
    let again = Record::Paused { entry: entry("a"), at: at("04:00:00"), note: None };
    let factory = intent("a", "00:00:00").factory.key();
    let records = vec![
        loaded("v1", "05:00:00", &["a", "gone"], &[]),
        // The clock was set back in between.
        loaded("v2", "01:00:00", &[], &["gone"]),
        paused,
        resumed,
        again,
        Record::Learned { factory: factory.clone(), takes_our_id: true },
        Record::Learned { factory: factory.clone(), takes_our_id: false },
        Record::CleanStop(true),
    ];
    write(&mut ledger, records).await;
    let snapshot = ledger.load().await.unwrap();
    assert_eq!(
        snapshot.schedule,
        Some(LastSchedule {
            version: "v2".into(),
            text: "text of v2".into(),
            rules: Some(CronRules::CURRENT)
        })
    );
    assert_eq!(snapshot.marks.keys().collect::<Vec<_>>(), [&entry("a")]);
    assert_eq!(snapshot.learned, HashMap::from([(factory, false)]));
    assert!(snapshot.clean_stop);
    let pauses: Vec<_> = snapshot.pauses[&entry("a")].iter().map(|it| (it.from, it.until)).collect();
    assert_eq!(pauses, [(at("02:00:00"), Some(at("03:00:00"))), (at("04:00:00"), None)]);
}

async fn a_request_waits_until_it_is_answered_and_comes_with_what_is_known(mut ledger: impl Kept) {
    let held = intent("a", "10:00:00");
    let other = intent("b", "10:00:00");
    let run = RunId::from(FiringId::from_random([9; 16]));
    let taken = Progress { run_id: Some(run), ..progress(&other, State::Accepted, 1) };
    let records = vec![
        planned(&held),
        planned(&other),
        Record::Progress(progress(&held, State::Held, 1)),
        Record::Progress(taken),
    ];
    write(&mut ledger, records).await;
    let settle = Asks::Settle { firing: held.firing_id, how: Settlement::Run(run) };
    let later = Request::new("1".to_owned(), Asks::Resume { entry: entry("a") });
    ledger.leave(&later, at("11:00:01")).await;
    ledger.leave(&Request::new("2".to_owned(), settle), at("11:00:00")).await;
    let waiting = ledger.requests().await.unwrap();
    let about = waiting[0].about.as_deref().unwrap();
    assert_eq!((waiting[0].request_id.as_str(), about.firing.state), ("2", State::Held));
    assert_eq!((about.owner, &waiting[1]), (Some(other.firing_id), &later));
    let answer = Answer::Refused("no".to_owned());
    let request = Box::new(waiting[0].clone());
    write(&mut ledger, vec![Record::Answered { request, answer, at: at("11:00:02") }]).await;
    assert_eq!(ledger.requests().await.unwrap(), [later]);
}

async fn a_run_is_followed_from_its_acceptance_to_its_end_and_not_anew(mut ledger: impl Kept) {
    let (a, b) = (intent("a", "10:00:00"), intent("b", "10:00:00"));
    let run = |intent: &Intent| RunId::from(intent.firing_id);
    let accepted = |intent: &Intent, follow| {
        let attempted = attempted(intent, State::Accepted, 1, "accepted");
        Record::Progress(Progress { run_id: Some(run(intent)), follow, ..attempted })
    };
    write(&mut ledger, vec![planned(&a), planned(&b), accepted(&a, true), accepted(&b, false)]).await;
    let went_on =
        |status: &str| RunProgress { status: Some(status.to_owned()), ..RunProgress::new(a.firing_id) };
    let overdue = RunProgress { overdue_at: Some(at("10:05:00")), ..RunProgress::new(a.firing_id) };
    write(&mut ledger, vec![Record::Run(went_on("InProgress")), Record::Run(overdue)]).await;
    let followed = ledger.load().await.unwrap().followed;
    let [known] = followed.as_slice() else { panic!("one is followed: {followed:?}") };
    assert_eq!((known.run_id, known.status.as_deref()), (run(&a), Some("InProgress")));
    assert_eq!((known.since, known.accepted_at), (at("10:00:01"), at("10:00:00")));
    assert!(known.overdue);
    let over = RunProgress { finished_at: Some(at("10:06:00")), followed: false, ..went_on("Succeeded") };
    write(&mut ledger, vec![Record::Run(over)]).await;
    assert!(ledger.load().await.unwrap().followed.is_empty());
    // The end of the first commit was not known, and it is made again.
    write(&mut ledger, vec![accepted(&a, true)]).await;
    assert!(ledger.load().await.unwrap().followed.is_empty(), "it is over");
}

async fn what_a_firing_recovers_and_how_often_runs_failed_is_known_after_a_restart(mut ledger: impl Kept) {
    let run = RunId::from(FiringId::from_random([7; 16]));
    let from = RecoverFrom::Activity("Copy Sales".to_owned());
    let recovers = Some(Arc::new(Recovers { run, number: 2, from }));
    let (firing_id, kind) = (FiringId::from_random([8; 16]), Kind::Recovery);
    let again = Intent { firing_id, kind, recovers, ..intent("a", "10:00:00") };
    let failures = |count| Record::Failures { entry: entry("a"), count };
    write(&mut ledger, vec![planned(&intent("a", "10:00:00")), planned(&again), failures(1)]).await;
    write(&mut ledger, vec![failures(2)]).await;
    let snapshot = ledger.load().await.unwrap();
    assert!(snapshot.open.iter().any(|known| *known.intent == again), "it stands beside what it recovers");
    assert_eq!(snapshot.failures, HashMap::from([(entry("a"), 2)]));
}

async fn a_run_belongs_to_the_firing_that_took_it_and_to_the_one_whose_id_it_has(mut ledger: impl Kept) {
    let (a, b) = (intent("a", "10:00:00"), intent("b", "10:00:00"));
    let run = RunId::from(FiringId::from_random([9; 16]));
    let nobodys = RunId::from(FiringId::from_random([8; 16]));
    let taken = Progress { run_id: Some(run), ..progress(&a, State::Accepted, 1) };
    write(&mut ledger, vec![planned(&a), planned(&b), Record::Progress(taken)]).await;
    let owned_by_id = RunId::from(a.firing_id);
    let owners = ledger.owners(&[run, owned_by_id, nobodys], b.firing_id).await.unwrap();
    assert_eq!(owners, HashMap::from([(run, a.firing_id), (owned_by_id, a.firing_id)]));
    assert!(ledger.owners(&[run, owned_by_id], a.firing_id).await.unwrap().is_empty());
}

async fn pruning_takes_only_what_is_over_and_old(mut ledger: impl Kept) {
    let (old, open, young) = (intent("a", "01:00:00"), intent("b", "01:00:00"), intent("a", "10:00:00"));
    let records = vec![
        planned(&old),
        planned(&open),
        planned(&young),
        Record::Progress(progress(&old, State::Accepted, 1)),
        Record::Progress(progress(&young, State::Accepted, 1)),
        // It reaches into what is kept.
        skips("c", "01:00:00", "10:00:00", 4, Reason::Missed),
    ];
    write(&mut ledger, records).await;
    assert_eq!(ledger.prune(at("05:00:00")).await.unwrap(), 1);
    assert_eq!(ledger.prune(at("05:00:00")).await.unwrap(), 0);
    assert_eq!(ledger.stands(old.firing_id).await, None);
    for kept in [open.firing_id, young.firing_id, intent("c", "01:00:00").firing_id] {
        assert!(ledger.stands(kept).await.is_some());
    }
}

async fn a_write_that_fails_leaves_nothing_behind(mut ledger: impl Kept) {
    write(&mut ledger, vec![loaded("v", "01:00:00", &["a"], &[])]).await;
    ledger.fills_up().await;
    let intent = intent("a", "10:00:00");
    let batch = Batch {
        id: 2,
        records: vec![planned(&intent), Record::Marked(mark("a", "10:00:00")), Record::CleanStop(true)],
        events: vec![event(Level::Info, Name::RunCreated, intent.firing_id)],
    };
    assert!(ledger.write(&[batch], None).await.is_err());
    assert!(facts(&mut ledger).await.is_empty());
    let snapshot = ledger.load().await.unwrap();
    assert!(snapshot.open.is_empty() && !snapshot.clean_stop);
    assert_eq!(snapshot.marks[&entry("a")].0.timestamp(), at("01:00:00"));
}

/// Asks the same of both ledgers.
macro_rules! on_both {
    ($($clause:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $clause() { super::run(async { super::$clause(super::MemoryLedger::default()).await }); })*
        }

        mod on_sqlite {
            $(#[test] fn $clause() { super::run(async { super::$clause(super::OnDisk::new().await).await }); })*
        }
    };
}

fn run(clause: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(clause);
}

on_both!(
    an_intent_is_open_after_a_restart_as_it_was_planned,
    a_nominal_time_has_one_firing_and_a_second_is_refused_with_its_events,
    a_write_that_is_repeated_since_its_end_was_not_known_changes_nothing,
    only_what_was_never_sent_can_be_withdrawn,
    a_row_of_skips_guards_all_within_it_and_others_are_written_around_what_has_a_record,
    what_was_refused_can_be_planned_once_the_clock_was_set_back_in_the_same_commit,
    what_was_removed_gives_way_when_its_entry_comes_back,
    a_clock_that_is_set_back_brings_back_what_was_missed_after_it,
    a_row_that_is_cut_keeps_all_its_times_where_another_calendar_counts_it_alike,
    the_last_progress_stands_and_the_first_attempt_is_remembered,
    what_is_over_or_was_sent_is_not_left_out_after_all,
    only_what_is_over_can_be_reopened,
    a_start_finds_marks_pauses_and_the_schedule_that_was_loaded_last,
    a_request_waits_until_it_is_answered_and_comes_with_what_is_known,
    a_run_is_followed_from_its_acceptance_to_its_end_and_not_anew,
    what_a_firing_recovers_and_how_often_runs_failed_is_known_after_a_restart,
    a_backfill_is_kept_with_what_needs_no_start_after_its_mark,
    a_firing_of_a_backfill_is_refused_where_another_is_under_way_or_has_a_run,
    facts_are_kept_until_they_were_announced,
    facts_are_read_from_a_batch_on_in_order_and_so_many_at_a_time,
    a_refused_record_takes_no_events_of_other_batches_with_it,
    a_run_belongs_to_the_firing_that_took_it_and_to_the_one_whose_id_it_has,
    pruning_takes_only_what_is_over_and_old,
    a_write_that_fails_leaves_nothing_behind,
);
