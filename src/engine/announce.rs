//! The events of firings, made from what the engine knows. Pure.

use jiff::Timestamp;

use super::runs::Run;
use super::{Attempted, Intent, Live};
use crate::azure::look::FoundRun;
use crate::azure::outcome::Refusal;
use crate::config::Entry;
use crate::event::{Event, Fields, Level, Name};
use crate::ids::{EntryName, Factory, Nominal, RunId};
use crate::ledger::{Backfill, Reason, skipped};

/// The longest text of a service in a message; the field has all of it.
const MOST_WORDS: usize = 300;

/// Whole milliseconds from `from` to `to`; negative when `to` is earlier.
pub(super) fn ms_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_millisecond() - from.as_millisecond()
}

fn with_refusal(mut fields: Fields, refusal: &Refusal) -> Fields {
    fields.http_status = refusal.http_status.map(u64::from);
    fields.error_code.clone_from(&refusal.error_code);
    fields.error_message = Some(refusal.error_message.clone());
    fields.azure_request_id.clone_from(&refusal.azure_request_id);
    fields.azure_correlation_id.clone_from(&refusal.azure_correlation_id);
    fields
}

/// What was said, for the message: whoever reads the journal sees no fields.
fn words(refusal: &Refusal) -> String {
    refusal.to_string().chars().take(MOST_WORDS).collect()
}

pub(super) fn planned(intent: &Intent) -> Event {
    let fields = Fields { due_time: Some(intent.due.to_string()), ..intent.fields() };
    Event::new(
        Level::Debug,
        Name::FiringPlanned,
        format!("planned {} for {}", intent.entry, intent.due),
        fields,
    )
}

pub(super) fn created(live: &Live, run: RunId, attempted: &Attempted, studio: &str) -> Event {
    let intent = &live.intent;
    let fields = Fields {
        run_id: Some(run.to_string()),
        attempt: Some(u64::from(live.attempts)),
        lateness_ms: Some(ms_between(intent.due, attempted.sent_at.wall)),
        answer_ms: Some(
            u64::try_from(attempted.answered_at.boot.saturating_sub(attempted.sent_at.boot).as_millis())
                .unwrap_or(u64::MAX),
        ),
        monitor_url: Some(intent.factory.monitor_url(studio, run)),
        ..intent.fields()
    };
    Event::new(Level::Info, Name::RunCreated, format!("started {} as run {run}", intent.pipeline), fields)
}

pub(super) fn adopted(live: &Live, run: RunId, status: &str, studio: &str) -> Event {
    let intent = &live.intent;
    let fields = Fields {
        run_id: Some(run.to_string()),
        attempt: Some(u64::from(live.attempts)),
        run_status: Some(status.to_owned()),
        monitor_url: Some(intent.factory.monitor_url(studio, run)),
        ..intent.fields()
    };
    let message = format!("found run {run} of {}, whose answer had been lost", intent.pipeline);
    Event::new(Level::Warn, Name::RunAdopted, message, fields)
}

pub(super) fn attempt_failed(
    live: &Live,
    outcome: &'static str,
    refusal: &Refusal,
    retry_in_ms: Option<u64>,
) -> Event {
    let fields = Fields {
        attempt: Some(u64::from(live.attempts)),
        outcome: Some(outcome.to_owned()),
        retry_in_ms,
        ..with_refusal(live.intent.fields(), refusal)
    };
    let what = match (outcome, retry_in_ms) {
        ("unknown", _) => "the answer was lost".to_owned(),
        (_, Some(ms)) => format!("not accepted; the next is in {ms} ms"),
        _ => "not accepted".to_owned(),
    };
    let message = format!("attempt {} of {}: {what} ({})", live.attempts, live.intent.entry, words(refusal));
    Event::new(Level::Warn, Name::AttemptFailed, message, fields)
}

fn of_backfill(backfill: &Backfill) -> Fields {
    Fields {
        entry: Some(backfill.entry.to_string()),
        backfill_id: Some(backfill.id.to_string()),
        first: Some(backfill.first.to_string()),
        last: Some(backfill.last.to_string()),
        count: Some(backfill.count),
        reason: backfill.reason.map(|reason| reason.as_str().to_owned()),
        ..Fields::default()
    }
}

pub(super) fn backfill_began(backfill: &Backfill) -> Event {
    let Backfill { entry, count, first, last, max_active, .. } = backfill;
    let message =
        format!("a backfill of {entry} begins: {count} times from {first} to {last}, {max_active} at once");
    Event::new(Level::Info, Name::BackfillBegan, message, of_backfill(backfill))
}

pub(super) fn backfill_ended(backfill: &Backfill) -> Event {
    let Backfill { entry, count, passed, .. } = backfill;
    let (level, message) = match backfill.reason {
        None => (Level::Info, format!("the backfill of {entry} is over: all {count} times")),
        Some(reason) => {
            let why = reason.as_str();
            (Level::Warn, format!("the backfill of {entry} was ended after {passed} of {count} times: {why}"))
        }
    };
    Event::new(level, Name::BackfillEnded, message, of_backfill(backfill))
}

pub(super) fn rejected(intent: &Intent, attempts: u32, reason: Reason, refusal: Option<&Refusal>) -> Event {
    let mut fields = intent.fields();
    if let Some(refusal) = refusal {
        fields = with_refusal(fields, refusal);
    }
    fields.attempt = (attempts > 0).then_some(u64::from(attempts));
    fields.reason = Some(reason.as_str().to_owned());
    let why = refusal.map(|refusal| format!(" ({})", words(refusal))).unwrap_or_default();
    let message =
        format!("{} at {} ended without a run: {}{why}", intent.entry, intent.nominal, reason.as_str());
    Event::new(Level::Error, Name::FiringRejected, message, fields)
}

pub(super) fn unknown(live: &Live, look_in_ms: Option<u64>) -> Event {
    let fields = Fields {
        attempt: Some(u64::from(live.attempts)),
        retry_in_ms: look_in_ms,
        reason: Some(Reason::AnswerLost.as_str().to_owned()),
        ..live.intent.fields()
    };
    let message = format!(
        "whether {} was started is not known; it will be looked up, not sent again",
        live.intent.entry
    );
    Event::new(Level::Warn, Name::FiringUnknown, message, fields)
}

pub(super) fn blocked(live: &Live, refusal: &Refusal) -> Event {
    let fields = with_refusal(live.intent.fields(), refusal);
    let entry = &live.intent.entry;
    let message = format!("the look for the run of {entry} got no answer; it goes on ({})", words(refusal));
    Event::new(Level::Error, Name::ReconcileBlocked, message, fields)
}

pub(super) fn held(live: &Live, reason: Reason, run: Option<RunId>) -> Event {
    let settle = format!("adf-cron settle {}", live.id());
    let command = match run {
        Some(run) => format!("{settle} --run {run}"),
        None => format!("{settle} --run RUN_ID | --not-started | --retry"),
    };
    let fields = Fields {
        attempt: Some(u64::from(live.attempts)),
        reason: Some(reason.as_str().to_owned()),
        run_id: run.map(|run| run.to_string()),
        command: Some(command.clone()),
        ..live.intent.fields()
    };
    let what = match run {
        Some(_) => "if this run is its own",
        None => "look for its run in Data Factory, then",
    };
    let message = format!(
        "{} at {} needs a person ({}): {what}: {command}",
        live.intent.entry,
        live.intent.nominal,
        reason.as_str()
    );
    Event::new(Level::Error, Name::FiringHeld, message, fields)
}

/// A person closed a held firing.
pub(super) fn settled(intent: &Intent, attempts: u32, run: Option<RunId>) -> Event {
    let fields = Fields {
        attempt: Some(u64::from(attempts)),
        run_id: run.map(|run| run.to_string()),
        reason: Some(Reason::Settled.as_str().to_owned()),
        ..intent.fields()
    };
    let how = run.map_or_else(|| "it started no run".to_owned(), |run| format!("its run is {run}"));
    let message = format!("a person settled {} at {}: {how}", intent.entry, intent.nominal);
    Event::new(Level::Info, Name::FiringSettled, message, fields)
}

/// A person wants a firing tried again.
pub(super) fn reopened(intent: &Intent, attempts: u32) -> Event {
    let fields = Fields { attempt: Some(u64::from(attempts)), ..intent.fields() };
    let message = format!("a person wants {} at {} tried again", intent.entry, intent.nominal);
    Event::new(Level::Info, Name::FiringReopened, message, fields)
}

pub(super) fn paused(entry: &EntryName, note: Option<&str>) -> Event {
    let fields =
        Fields { entry: Some(entry.to_string()), note: note.map(str::to_owned), ..Fields::default() };
    let why = note.map(|note| format!(" ({note})")).unwrap_or_default();
    let message = format!("{entry} is paused{why}; its nominal times are left out until it is resumed");
    Event::new(Level::Warn, Name::EntryPaused, message, fields)
}

pub(super) fn resumed(entry: &EntryName) -> Event {
    let fields = Fields { entry: Some(entry.to_string()), ..Fields::default() };
    Event::new(Level::Info, Name::EntryResumed, format!("{entry} is resumed"), fields)
}

pub(super) fn anomaly(live: &Live, run: &str, reason: Reason) -> Event {
    let fields = Fields {
        attempt: Some(u64::from(live.attempts)),
        run_id: Some(run.to_owned()),
        reason: Some(reason.as_str().to_owned()),
        ..live.intent.fields()
    };
    let message =
        format!("the service answered {} with run '{run}', which cannot be its own", live.intent.entry);
    Event::new(Level::Error, Name::RunAnomaly, message, fields)
}

pub(super) fn throttled(intent: &Intent, pause_ms: u64) -> Event {
    let fields = Fields {
        factory: Some(intent.factory.name.to_string()),
        retry_in_ms: Some(pause_ms),
        ..Fields::default()
    };
    let message = format!(
        "Data Factory asked for a pause of {pause_ms} ms; no firing of this subscription is sent before"
    );
    Event::new(Level::Warn, Name::ThrottlePaused, message, fields)
}

pub(super) fn clock_jumped(step: jiff::SignedDuration, held: Option<std::time::Duration>) -> Event {
    let ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    let what = if step.is_negative() { "back" } else { "ahead" };
    let by = step.unsigned_abs().as_secs_f64();
    let then = match held {
        Some(hold) => format!("nothing is started until it has agreed with itself for {} s", hold.as_secs()),
        None if step.is_negative() => "what was not sent yet is planned anew".to_owned(),
        None => "what came due meanwhile goes by the late rules".to_owned(),
    };
    let fields = Fields { step_ms: Some(ms), ..Fields::default() };
    Event::new(
        Level::Warn,
        Name::ClockJumped,
        format!("the clock was set {what} by {by:.1} s: {then}"),
        fields,
    )
}

fn of_run(run: &Run) -> Fields {
    Fields { run_id: Some(run.id.to_string()), ..run.intent.fields() }
}

/// A run has ended.
pub(super) fn finished(
    run: &Run,
    found: &FoundRun,
    duration_ms: u64,
    studio: &str,
    recovered_in_ms: Option<i64>,
) -> Event {
    let failed = found.status.eq_ignore_ascii_case("Failed");
    let level = match found.status.eq_ignore_ascii_case("Succeeded") {
        true => Level::Info,
        false if failed => Level::Error,
        false => Level::Warn,
    };
    let said = (level > Level::Info && !found.message.is_empty()).then(|| found.message.clone());
    let words: String = said.iter().flat_map(|said| said.chars().take(MOST_WORDS)).collect();
    let why = if words.is_empty() { words } else { format!(": {words}") };
    let then = recovered_in_ms.map(|ms| format!("; it is recovered in {} s", ms / 1_000)).unwrap_or_default();
    let seconds = std::time::Duration::from_millis(duration_ms).as_secs_f64();
    let message = format!(
        "run {} of {} ended {} after {seconds:.1} s{then}{why}",
        run.id, run.intent.pipeline, found.status
    );
    let fields = Fields {
        run_status: Some(found.status.clone()),
        duration_ms: Some(duration_ms),
        retry_in_ms: recovered_in_ms.and_then(|ms| u64::try_from(ms).ok()),
        error_message: said,
        monitor_url: Some(run.intent.factory.monitor_url(studio, run.id)),
        ..of_run(run)
    };
    Event::new(level, Name::RunFinished, message, fields)
}

/// Nothing more will be known of a run.
pub(super) fn vanished(run: &Run, reason: &str) -> Event {
    let what = match reason {
        "absent" => "is not known to Data Factory any more",
        _ => "could not be read for a day",
    };
    let message = format!("run {} of {} {what}; it is followed no longer", run.id, run.intent.pipeline);
    let fields = Fields { reason: Some(reason.to_owned()), ..of_run(run) };
    Event::new(Level::Error, Name::RunVanished, message, fields)
}

/// A run takes longer than its entry allows.
pub(super) fn overdue(run: &Run, cancels: bool, now: Timestamp) -> Event {
    let so_far = u64::try_from(ms_between(run.accepted_at, now)).unwrap_or_default();
    let then = if cancels { "it is cancelled" } else { "it goes on" };
    let message = format!(
        "run {} of {} is not over after {} s, longer than its run_deadline; {then}",
        run.id,
        run.intent.pipeline,
        so_far / 1_000
    );
    let fields = Fields {
        duration_ms: Some(so_far),
        run_status: (!run.status.is_empty()).then(|| run.status.clone()),
        ..of_run(run)
    };
    Event::new(Level::Error, Name::RunOverdue, message, fields)
}

pub(super) fn cancel_failed(run: &Run, refusal: &Refusal) -> Event {
    let fields = with_refusal(of_run(run), refusal);
    let message = format!("run {} could not be cancelled; it is tried again ({})", run.id, words(refusal));
    Event::new(Level::Error, Name::RunCancelFailed, message, fields)
}

/// Runs cannot be queried, or cannot be asked for by their ids.
pub(super) fn follow_blocked(factory: &Factory, by_id: bool, refusal: &Refusal) -> Event {
    let own = Fields { factory: Some(factory.name.to_string()), ..Fields::default() };
    let (name, words) = (&factory.name, words(refusal));
    let message = if by_id {
        format!(
            "runs of {name} cannot be asked for by their ids: of one that the query does not show nothing is known; \
             firings go on ({words})"
        )
    } else {
        format!("the runs of {name} cannot be read, so their ends are not known; firings go on ({words})")
    };
    Event::new(Level::Error, Name::FollowBlocked, message, with_refusal(own, refusal))
}

/// One event for the firings of one entry that are left out together.
pub(super) fn skipped_together(intents: &[&Intent], reason: Reason) -> Option<Event> {
    let first = intents.iter().min_by_key(|intent| intent.nominal)?;
    let last = intents.iter().max_by_key(|intent| intent.nominal)?;
    Some(skipped(first, reason, last.nominal, intents.len() as u64))
}

/// The cron expressions of an entry are read otherwise than before; its next nominal times by both, from the first on
/// by which they differ.
pub(super) fn read_otherwise(entry: &Entry, next: Option<Nominal>, next_before: Option<Nominal>) -> Event {
    let fields = Fields {
        entry: Some(entry.name.to_string()),
        pipeline: Some(entry.pipeline.to_string()),
        factory: Some(entry.factory.name.to_string()),
        next_time: next.map(|next| next.to_string()),
        next_time_before: next_before.map(|next| next.to_string()),
        ..Fields::default()
    };
    let shown = |next: Option<Nominal>| next.map_or_else(|| "never".to_owned(), |next| next.to_string());
    let then = match next == next_before {
        true => format!("the next one is {} as before, and a later one differs", shown(next)),
        false => format!("the next one is {}, and was {} before", shown(next), shown(next_before)),
    };
    let message = format!(
        "{}: its cron expression is now read as Vixie's cron reads it, and names other times than before: {then} \
         (adf-cron explain {} tells which days and times it names)",
        entry.name, entry.name
    );
    Event::new(Level::Warn, Name::ScheduleRulesChanged, message, fields)
}

/// What `schedule.loaded` says.
pub(super) fn loaded(version: &str, entries: usize, added: usize, changed: usize, ended: usize) -> Event {
    let fields = Fields {
        schedule_version: Some(version.chars().take(12).collect()),
        entries: Some(entries as u64),
        added: Some(added as u64),
        changed: Some(changed as u64),
        removed: Some(ended as u64),
        ..Fields::default()
    };
    let message = format!(
        "schedule in force: {entries} enabled entries ({added} new, {changed} changed, {ended} removed or disabled)"
    );
    Event::new(Level::Info, Name::ScheduleLoaded, message, fields)
}
