//! Following runs to their end: by one query for each factory and period, and by id where the query has not shown a
//! run for long. It only ever reads; a run is cancelled where its entry says so, and never repeated.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::runs::Begun;
use super::{Action, Engine, announce};
use crate::azure::follow::{Cancelled, Pass, Passed};
use crate::azure::look::{FoundRun, Unanswered, is_over};
use crate::azure::{MOST_PAGES, SKEW};
use crate::clock::Now;
use crate::config::OnDeadline;
use crate::ids::{FiringId, RunId};
use crate::ledger::{FollowedRun, Intent, Record, RunProgress};

/// Heartbeats between two passes over a factory.
const PERIOD: u32 = 3;
/// So long the next pass waits for each call of the last one: ARM gives a subscription 12,500 reads of Data Factory
/// an hour (service limits page), and following takes less than half of them.
const FOR_EACH_CALL: Duration = Duration::from_millis(600);
/// Heartbeats without a word of a run after which it is asked for by its id.
const PATIENCE: u32 = 12;
/// Runs that one pass asks for by their ids.
const STRAGGLERS: usize = 5;
/// The same where the query is refused.
const STRAGGLERS_ALONE: usize = 20;
/// Windows of the query that follow one another have so much in common: a service may leave out what was updated just
/// when one ends.
const BRIM: Duration = Duration::from_secs(1);
/// Between two tries of what is refused.
const REFUSED_WAIT: Duration = Duration::from_secs(300);
/// How long passes may have no answer, for another reason than that they are refused, before that is said.
const SAY_AFTER: Duration = Duration::from_secs(300);
/// A run of which nothing could be learned for so long is followed no longer.
const UNREADABLE: Duration = Duration::from_secs(86_400);
/// Between two tries to cancel a run.
const CANCEL_AGAIN: Duration = Duration::from_secs(60);

impl Engine {
    /// Follows the run of a firing from its acceptance on, if its entry wants that.
    pub(super) fn follow_run(&mut self, intent: &Arc<Intent>, run: RunId, since: Timestamp, accepted: Now) {
        if self.only_requests || !intent.policy.follows() {
            return;
        }
        let begun = Begun {
            intent: Arc::clone(intent),
            run,
            since,
            accepted_at: accepted.wall,
            status: String::new(),
            deadline: intent.policy.run_deadline.map(|limit| accepted.boot + limit),
        };
        self.runs.begin(begun, self.settings.heartbeat * PATIENCE, accepted.boot);
        self.cancel_if_unwanted(intent, accepted);
    }

    /// Goes on following the runs that the ledger knows of.
    pub(super) fn follow_again(&mut self, followed: Vec<FollowedRun>, now: Now) {
        for known in followed {
            let gone = now.wall.duration_since(known.accepted_at);
            let gone = Duration::try_from(gone).unwrap_or_default();
            let left = |limit: Duration| now.boot + limit.saturating_sub(gone);
            let deadline = known.intent.policy.run_deadline.filter(|_| !known.overdue).map(left);
            if known.overdue && known.intent.policy.on_deadline == OnDeadline::Cancel {
                self.cancelling.insert(known.intent.firing_id, now.boot);
            }
            let begun = Begun {
                since: known.since,
                run: known.run_id,
                accepted_at: known.accepted_at,
                status: known.status.unwrap_or_default(),
                deadline,
                intent: known.intent,
            };
            self.join_backfill(&begun.intent);
            self.runs.begin(begun, self.settings.heartbeat * PATIENCE, now.boot);
        }
    }

    /// The periodic part: passes that are due begin, and what takes too long is dealt with.
    pub(super) fn follow_on(&mut self, now: Now) {
        if self.stopping || self.opening.is_some() {
            return;
        }
        while let Some(firing) = self.runs.pop_overdue(now.boot) {
            self.overdue(firing, now);
        }
        self.cancel_on(now);
        for key in self.runs.due_watches(now.boot) {
            self.begin_pass(&key, now);
        }
    }

    fn begin_pass(&mut self, key: &str, now: Now) {
        let id = self.fresh_id();
        let Some(watch) = self.runs.watch(key) else { return };
        let lists = watch.list_again <= now.boot;
        let span = watch.span.filter(|_| lists);
        let since = lists.then(|| watch.since.min(now.wall));
        if let Some(since) = since {
            // Runs that are accepted meanwhile bring it back.
            let read = span.map_or(now.wall, |span| Self::later(since, span.saturating_sub(BRIM)));
            watch.since = read.min(now.wall);
        }
        watch.under_way = Some(since);
        let blocked = [watch.unlisted, watch.unshown].into_iter().flatten();
        let blocked_for = blocked.map(|(since, _)| now.boot.saturating_sub(since)).max().unwrap_or_default();
        let factory = watch.factory.clone();
        let most = match (watch.show_again <= now.boot, lists) {
            (false, _) => 0,
            (true, true) => STRAGGLERS,
            (true, false) => STRAGGLERS_ALONE,
        };
        let mut one_by_one = Vec::new();
        for firing in self.runs.stragglers(key, most, now.boot) {
            let Some(run) = self.runs.get(firing) else { continue };
            // A factory that answers has only not been asked for it.
            if blocked_for > UNREADABLE && now.boot.saturating_sub(run.heard) > UNREADABLE {
                self.lose_sight(firing, "unreadable", now);
                continue;
            }
            one_by_one.push(run.id);
            self.runs.ask_again(firing, now.boot + self.settings.heartbeat * PATIENCE);
        }
        self.actions.push(Action::Follow(Box::new(Pass {
            factory,
            id,
            since,
            span,
            active_of: None,
            one_by_one,
        })));
    }

    /// A pass over a factory ended.
    pub(super) fn passed(&mut self, pass: &Pass, passed: Passed, now: Now) {
        let look = self.lane_looks.remove(&pass.id);
        if look.is_none() && !self.pass_ended(pass, &passed, now) {
            return;
        }
        let factory = pass.factory.key();
        for run in &passed.runs {
            if let Some(firing) = run.run_id.and_then(|id| self.runs.firing_of(&factory, id)) {
                self.shown(firing, run, now);
            }
        }
        for run in &passed.absent {
            if let Some(firing) = self.runs.firing_of(&factory, *run) {
                self.not_shown(firing, now);
            }
        }
        if let Some((key, began)) = look {
            self.lane_looked_at(&key, began, &passed, now);
        }
    }

    /// When the next pass over a factory may begin, and what it must read; returns whether this one was expected.
    fn pass_ended(&mut self, pass: &Pass, passed: &Passed, now: Now) -> bool {
        let period = self.settings.heartbeat * PERIOD;
        let Some(watch) = self.runs.watch(&pass.factory.key()) else { return false };
        let Some(since) = watch.under_way.take() else { return false };
        watch.next = now.boot + period.max(FOR_EACH_CALL * passed.calls);
        if let Some(unanswered) = &passed.unlisted {
            // What was not read is read the next time.
            watch.since = since.map_or(watch.since, |since| watch.since.min(since));
            watch.list_again = now.boot + wait_for(unanswered);
        }
        let left = now.wall.duration_since(watch.since).unsigned_abs() + SKEW;
        // One that reads less of the time at once reads on.
        let narrowed = passed.ran_out && watch.narrow(left);
        if passed.unlisted.is_none() && since.is_some() && passed.calls <= MOST_PAGES / 2 {
            watch.widen(left);
        }
        if let Some(unanswered) = &passed.unshown {
            // The query goes on: it may show them all the same.
            watch.show_again = now.boot + wait_for(unanswered);
        }
        // A pass that did not ask says nothing about what was refused.
        if since.is_some() {
            let unlisted = passed.unlisted.as_ref().filter(|_| !narrowed);
            let news = note(&mut watch.unlisted, unlisted, SAY_AFTER, now.boot);
            self.events
                .extend(news.map(|said| announce::follow_blocked(&pass.factory, false, &said.refusal)));
        }
        if !pass.one_by_one.is_empty() {
            // Where nothing can be reached that is said once.
            let say_after = if watch.unlisted.is_some() { Duration::MAX } else { SAY_AFTER };
            let news = note(&mut watch.unshown, passed.unshown.as_ref(), say_after, now.boot);
            self.events.extend(news.map(|said| announce::follow_blocked(&pass.factory, true, &said.refusal)));
        }
        true
    }

    /// The service shows a run.
    fn shown(&mut self, firing: FiringId, found: &FoundRun, now: Now) {
        let patience = self.settings.heartbeat * PATIENCE;
        let Some(run) = self.runs.get(firing) else { return };
        let news = run.status != found.status;
        if is_over(&found.status) {
            return self.finished(firing, found, now);
        }
        self.runs.heard(firing, &found.status, patience, now.boot);
        if news {
            self.records.push(Record::Run(RunProgress {
                status: Some(found.status.clone()),
                ..RunProgress::new(firing)
            }));
        }
    }

    fn finished(&mut self, firing: FiringId, found: &FoundRun, now: Now) {
        let Some(run) = self.runs.end(firing) else { return };
        self.cancelling.remove(&firing);
        let ended = found.ended.unwrap_or(now.wall);
        let began = found.started.unwrap_or(run.accepted_at);
        let measured = u64::try_from(announce::ms_between(began, ended)).unwrap_or_default();
        let duration_ms = found.duration_ms.unwrap_or(measured);
        let message = (!found.message.is_empty()).then(|| found.message.clone());
        self.records.push(Record::Run(RunProgress {
            status: Some(found.status.clone()),
            finished_at: Some(ended),
            error_message: message.filter(|_| !found.status.eq_ignore_ascii_case("Succeeded")),
            followed: false,
            ..RunProgress::new(firing)
        }));
        let failed = found.status.eq_ignore_ascii_case("Failed");
        let again_at = if failed { self.recover(&run.intent, run.id, now) } else { None };
        let again_in = again_at.map(|at| announce::ms_between(now.wall, at));
        self.events.push(announce::finished(&run, found, duration_ms, self.studio, again_in));
        if again_in.is_none() && (failed || found.status.eq_ignore_ascii_case("Succeeded")) {
            self.count_failure(&run.intent, failed, now);
        }
        self.make_room(&run.intent, now);
    }

    /// A factory that answers does not know a run by its id.
    fn not_shown(&mut self, firing: FiringId, now: Now) {
        let Some(run) = self.runs.get(firing) else { return };
        let settle = run.intent.policy.settle;
        let Some((absent, followed)) = self.runs.absent(firing, settle, now.boot) else { return };
        // One that was just accepted may not be visible yet.
        if absent >= settle && followed >= self.settings.heartbeat * PATIENCE {
            self.lose_sight(firing, "absent", now);
        }
    }

    /// Nothing more will be known of a run.
    fn lose_sight(&mut self, firing: FiringId, reason: &str, now: Now) {
        let Some(run) = self.runs.end(firing) else { return };
        self.cancelling.remove(&firing);
        self.records.push(Record::Run(RunProgress {
            finished_at: Some(now.wall),
            status: Some("Vanished".to_owned()),
            followed: false,
            ..RunProgress::new(firing)
        }));
        self.events.push(announce::vanished(&run, reason));
        self.make_room(&run.intent, now);
    }

    /// A run takes longer than its entry allows.
    fn overdue(&mut self, firing: FiringId, now: Now) {
        let Some(run) = self.runs.get(firing) else { return };
        let cancels = run.intent.policy.on_deadline == OnDeadline::Cancel;
        self.events.push(announce::overdue(run, cancels, now.wall));
        self.records
            .push(Record::Run(RunProgress { overdue_at: Some(now.wall), ..RunProgress::new(firing) }));
        if cancels {
            self.cancelling.insert(firing, now.boot);
        }
    }

    /// Cancels what is to be cancelled, unless Data Factory asked for a pause of its bucket.
    pub(super) fn cancel_on(&mut self, now: Now) {
        for (firing, next) in &mut self.cancelling {
            let Some(run) = self.runs.get(*firing).filter(|_| *next <= now.boot) else { continue };
            if self.ready.paused_until(&run.intent.factory.subscription, now.wall).is_none() {
                *next = now.boot + CANCEL_AGAIN;
                self.actions.push(Action::Cancel(Arc::clone(&run.intent), run.id));
            }
        }
    }

    /// A call that cancels a run ended. What became of the run is seen by following it.
    pub(super) fn cancel_ended(&mut self, firing: FiringId, cancelled: &Cancelled, now: Now) {
        let Some(run) = self.runs.get(firing) else { return };
        match cancelled {
            Cancelled::Begun | Cancelled::Over => {
                self.cancelling.remove(&firing);
                self.runs.ask_again(firing, now.boot);
            }
            Cancelled::NoAnswer(unanswered) => {
                self.events.push(announce::cancel_failed(run, &unanswered.refusal));
                let wait = unanswered.retry_after.unwrap_or_default().max(CANCEL_AGAIN);
                self.cancelling.insert(firing, now.boot + wait);
            }
        }
    }

    /// How many runs are followed.
    #[must_use]
    pub fn followed_runs(&self) -> usize {
        self.runs.len()
    }
}

/// Notes since when something has had no answer, if it has none; returns it where it is to be said.
fn note<'a>(
    blocked: &mut Option<(Duration, bool)>,
    unanswered: Option<&'a Unanswered>,
    say_after: Duration,
    now: Duration,
) -> Option<&'a Unanswered> {
    let (since, said) = blocked.unwrap_or((now, false));
    let to_say = |it: &&Unanswered| !said && (is_refused(it) || now.saturating_sub(since) >= say_after);
    let news = unanswered.filter(to_say);
    *blocked = unanswered.map(|_| (since, said || news.is_some()));
    news
}

fn is_refused(unanswered: &Unanswered) -> bool {
    unanswered.refusal.http_status == Some(403)
}

/// How long what had no answer is not asked again.
fn wait_for(unanswered: &Unanswered) -> Duration {
    let wait = unanswered.retry_after.unwrap_or_default();
    if is_refused(unanswered) { wait.max(REFUSED_WAIT) } else { wait }
}
