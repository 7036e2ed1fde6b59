//! What people ask for: fire, retry, settle, pause, resume, backfill.
//!
//! A request about a firing comes with what the ledger knew of that firing when the request was read. That is
//! the truth unless the firing is live here, or another request about it was carried out since and is not
//! durable yet; both are refused, and can be asked again.

use std::collections::HashSet;
use std::sync::Arc;

use super::live::{Doubt, Phase};
use super::plan::render;
use super::{Engine, Live, announce};
use crate::clock::Now;
use crate::ids::{EntryName, FiringId, Kind, Nominal, RunId};
use crate::ledger::{
    About, Answer, Asks, Body, Known, Pause, Progress, Reason, Record, Request, Settlement, State,
};

impl Engine {
    /// Carries out what people asked for.
    pub(super) fn asked(&mut self, requests: Vec<Request>, now: Now) {
        if self.stopping {
            return;
        }
        let mut stopped = HashSet::new();
        for request in requests {
            if let Asks::Backfill(wanted) = &request.asks
                && (stopped.contains(&wanted.entry) || self.clears_up(&wanted.entry))
            {
                // What needs no start is looked up again once the end of the last one is durable.
                continue;
            }
            // The ledger shows a request again until its answer is durable.
            if self.answering.values().any(|(answered, _)| *answered == request.request_id) {
                continue;
            }
            let about = request.about.as_deref();
            let answer = match request.asks.clone() {
                Asks::Fire { entry, parameters, scheduled_time } => {
                    self.fire(&entry, parameters, scheduled_time, now).map(Answer::Firing)
                }
                Asks::Retry { firing } => self.retry(firing, about, now).map(Answer::Firing),
                Asks::Settle { firing, how } => self.settle(firing, how, about, now).map(Answer::Firing),
                Asks::Backfill(wanted) => {
                    let taken = request.taken.clone();
                    self.backfill(&request.request_id, &wanted, taken, now).map(|()| Answer::Done)
                }
                Asks::StopBackfill { entry } => {
                    let ended = self.stop_backfill(&entry, now).map(|()| Answer::Done);
                    stopped.insert(entry);
                    ended
                }
                Asks::Pause { entry, note } => self.pause(&entry, note, now).map(|()| Answer::Done),
                Asks::Resume { entry } => self.resume(&entry, now).map(|()| Answer::Done),
            };
            let answer = answer.unwrap_or_else(Answer::Refused);
            let answered = (request.request_id.clone(), request.asks.firing());
            self.answering.insert(self.next_batch, answered);
            self.records.push(Record::Answered { request: Box::new(request), answer, at: now.wall });
            // One batch for each, so that each is forgotten once it is durable.
            self.flush();
        }
    }

    fn fire(
        &mut self,
        name: &EntryName,
        extra: serde_json::Map<String, serde_json::Value>,
        scheduled_time: Option<Nominal>,
        now: Now,
    ) -> Result<FiringId, String> {
        let Some(slot) = self.plan.slots.get(name) else { return Err(no_such_entry(name)) };
        let entry = Arc::clone(&slot.entry);
        let nominal = scheduled_time.unwrap_or(Nominal::at_or_before(now.wall));
        let mut intent = self.intent(&entry, nominal, Body::new("{}"), now);
        intent.kind = Kind::Manual;
        intent.firing_id = self.fresh_id();
        intent.due = now.wall;
        let parameters = entry.parameters.overlay(extra);
        intent.body = render(&entry, &parameters, &intent).map_err(|error| error.to_string())?;
        let firing = intent.firing_id;
        self.take_up(intent);
        Ok(firing)
    }

    /// What the ledger knows of a firing, if nothing has happened to it since.
    fn known<'a>(&self, firing: FiringId, about: Option<&'a About>) -> Result<&'a Known, String> {
        let Some(about) = about else { return Err(format!("there is no firing {firing} in the ledger")) };
        if self.live.contains_key(&firing) {
            return Err(format!("firing {firing} is under way; wait for its end (adf-cron history)"));
        }
        if self.answering.values().any(|(_, other)| *other == Some(firing)) {
            return Err(format!("another request about firing {firing} has just been carried out"));
        }
        Ok(&about.firing)
    }

    /// Starts again what ended without a run, or waits for a person.
    fn retry(&mut self, firing: FiringId, about: Option<&About>, now: Now) -> Result<FiringId, String> {
        let known = self.known(firing, about)?;
        match known.state {
            State::Held | State::Rejected | State::NotStarted if known.reason != Some(Reason::Template) => {
                self.reopen(known, false, now);
                Ok(firing)
            }
            State::Rejected => Err(format!(
                "its parameters could not be rendered, and the same firing would fail again; mend them, then: \
                 adf-cron fire {} --scheduled-time {}",
                known.intent.entry, known.intent.nominal
            )),
            state => Err(format!(
                "firing {firing} is {}; only what was rejected or is held is tried again (adf-cron fire {} \
                 --scheduled-time {} starts another)",
                state.as_str(),
                known.intent.entry,
                known.intent.nominal
            )),
        }
    }

    /// Closes a held firing as a person says.
    fn settle(
        &mut self,
        firing: FiringId,
        how: Settlement,
        about: Option<&About>,
        now: Now,
    ) -> Result<FiringId, String> {
        let known = self.known(firing, about)?;
        if known.state != State::Held {
            let state = known.state.as_str();
            return Err(format!("firing {firing} is {state}, and only a held firing is settled"));
        }
        let run = match how {
            Settlement::Retry => {
                self.reopen(known, true, now);
                return Ok(firing);
            }
            Settlement::NotStarted => None,
            Settlement::Run(run) => {
                let owner = about.and_then(|about| about.owner).or(self.claimant(run));
                if let Some(owner) = owner.filter(|owner| *owner != firing) {
                    return Err(format!("run {run} belongs to firing {owner}"));
                }
                Some(run)
            }
        };
        self.close(known, run, now);
        Ok(firing)
    }

    /// Records how a held firing ended, by a person's word.
    fn close(&mut self, known: &Known, run: Option<RunId>, now: Now) {
        let firing = known.intent.firing_id;
        self.held.remove(&firing);
        self.busy.leave(firing);
        if let Some(run) = run {
            self.claim(run, firing, Some(self.next_batch));
            let since = known.first_sent_at.unwrap_or_else(|| known.intent.sent_since());
            self.counts_by_its_run(&known.intent, run, now.boot);
            self.follow_run(&known.intent, run, since, now);
        }
        self.records.push(Record::Progress(Progress {
            firing_id: firing,
            state: if run.is_some() { State::Accepted } else { State::NotStarted },
            reason: Some(Reason::Settled),
            attempts: known.attempts,
            counted: known.counted,
            next_at: None,
            run_id: run,
            error_message: None,
            follow: run.is_some() && known.intent.policy.follows(),
            at: now.wall,
            attempt: None,
        }));
        self.events.push(announce::settled(&known.intent, known.attempts, run));
    }

    /// Makes a firing that was over one that goes on, once that is durable. One that may have started a run is
    /// looked for first; `vouched` says that a person has done that, and that it started nothing.
    fn reopen(&mut self, known: &Known, vouched: bool, now: Now) {
        let firing = known.intent.firing_id;
        self.held.remove(&firing);
        let mut live = Live::new(Arc::clone(&known.intent), Phase::Committing(self.next_batch));
        live.asked = true;
        live.attempts = known.attempts;
        live.first_sent = known.first_sent_at;
        live.started = Some(now.wall);
        if known.ever_unknown || known.state == State::Held {
            live.unknown_since = Some(now.boot);
            live.doubt = Some(Doubt { asked: true, vouched, ..Doubt::since(now.boot) });
            // It may be running.
            self.counts(&known.intent);
        }
        self.records.push(Record::Reopened { firing_id: firing, at: now.wall });
        self.events.push(announce::reopened(&known.intent, known.attempts));
        self.join_backfill(&known.intent);
        self.live.insert(firing, live);
        self.committing.entry(self.next_batch).or_default().push(firing);
    }

    pub(super) fn pause(&mut self, name: &EntryName, note: Option<String>, now: Now) -> Result<(), String> {
        if !self.plan.slots.contains_key(name) {
            return Err(no_such_entry(name));
        }
        let pauses = self.pauses.entry(name.clone()).or_default();
        if let Some(open) = pauses.iter().find(|pause| pause.until.is_none()) {
            return Err(format!("{name} is paused already, since {}", open.from));
        }
        let pause = Pause { from: now.wall, until: None };
        pauses.push(pause);
        self.plan.set_paused(name, true);
        self.events.push(announce::paused(name, note.as_deref()));
        self.records.push(Record::Paused { entry: name.clone(), at: now.wall, note });
        let unsent = |live: &&Live| {
            live.can_be_withdrawn() && live.intent.entry == *name && pause.covers(live.intent.nominal)
        };
        let unsent: Vec<_> = self.live.values().filter(unsent).map(|live| Arc::clone(&live.intent)).collect();
        let marks = self.withdraw(&unsent);
        self.records.extend(marks.into_iter().map(Record::Marked));
        self.keep_backfill_back(name, now);
        Ok(())
    }

    fn resume(&mut self, name: &EntryName, now: Now) -> Result<(), String> {
        let open = self.pauses.get_mut(name).and_then(|all| all.iter_mut().find(|p| p.until.is_none()));
        let Some(open) = open else { return Err(format!("{name} is not paused")) };
        // A clock that was set back must not make a pause that ends before it begins.
        open.until = Some(now.wall.max(open.from));
        self.events.push(announce::resumed(name));
        self.records.push(Record::Resumed { entry: name.clone(), at: now.wall.max(open.from) });
        self.plan.set_paused(name, false);
        self.refill = true;
        self.plan_ahead(now);
        Ok(())
    }
}

pub(super) fn no_such_entry(name: &EntryName) -> String {
    format!("there is no enabled entry named '{name}' in the schedule in force")
}
