//! The calls that follow runs and cancel them, on the simulated network.

use std::time::Duration;

use adf_cron::azure::follow::{Cancelled, Pass, Passed, classify_cancel};
use adf_cron::azure::outcome::Answer;
use adf_cron::clock::Now;
use adf_cron::engine::Input;
use adf_cron::ids::{FiringId, RunId};

use crate::network::{Network, Way};
use crate::sabotage::Sabotage;
use crate::wire::{Deed, Fate, Seen, refusal, seen};

/// How long one of these calls may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Pages that the client reads of one query.
const PAGES: usize = 4;

/// What is asked.
#[derive(Debug)]
enum What {
    Pass(Pass, Now),
    Cancel(FiringId, RunId),
}

/// A pass, or a call that cancels, under way.
#[derive(Debug)]
pub(crate) struct PassCall {
    what: What,
    fate: Fate,
    /// The pages of the query, and the runs that were asked for one by one.
    pages: Vec<Answer>,
    shown: Vec<Answer>,
    /// The answer to what was refused or cancelled.
    whole: Option<Answer>,
}

impl Network {
    /// Begins a pass over a factory.
    pub(crate) fn follow(&mut self, pass: Pass, now: Now) -> Way {
        let id = pass.id;
        self.goes_out(What::Pass(pass, now), id, 0, now)
    }

    /// Cancels a run on behalf of a firing.
    pub(crate) fn cancel(&mut self, firing: FiringId, run: RunId, now: Now) -> Way {
        let made = u64::try_from(now.boot.as_nanos()).unwrap();
        self.goes_out(What::Cancel(firing, run), firing, made, now)
    }

    fn goes_out(&mut self, what: What, id: FiringId, made: u64, now: Now) -> Way {
        let mut dice = self.dice_of(id, made);
        let mut fate = Fate::of_look(&mut dice, &self.weather, TIMEOUT);
        if !self.has_token() {
            fate = Fate { arrives: None, seen: Seen::NotSent, ..fate };
        }
        self.last_call += 1;
        let call = PassCall { what, fate, pages: Vec::new(), shown: Vec::new(), whole: None };
        self.passes.insert(self.last_call, call);
        let arrives = fate.arrives.map(|after| now.boot + after);
        Way { call: self.last_call, arrives, ends: now.boot + fate.ends }
    }

    /// A pass reaches the service, at this time by the service's clock.
    pub(crate) fn pass_arrives(&mut self, id: u64, now: Now) {
        let mut dice = self.dice_of(FiringId::from_random([0; 16]), id);
        let Some(call) = self.passes.get_mut(&id) else { return };
        if let Deed::Refuses(status) = call.fate.deed {
            call.whole = Some(refusal(status, &mut dice, now.wall));
            return;
        }
        match &call.what {
            What::Pass(pass, asked) => {
                let factory = pass.factory.name.as_str();
                if let Some(window) = pass.window(asked.wall) {
                    call.pages = self.service.updated(factory, pass.active_of.as_ref(), window, now);
                }
                let show = |run: &RunId| self.service.show(factory, *run, now);
                call.shown = pass.one_by_one.iter().map(show).collect();
            }
            What::Cancel(_, run) => call.whole = Some(self.service.cancel(*run, now)),
        }
        if self.sabotage == Some(Sabotage::AllOver) {
            for answer in call.pages.iter_mut().chain(&mut call.shown) {
                let text = String::from_utf8_lossy(&answer.body).replace("InProgress", "Succeeded");
                answer.body = text.into_bytes();
            }
        }
    }
}

impl PassCall {
    /// What the engine is told of its end.
    pub(crate) fn input(self, now: Now) -> Input {
        match self.what {
            What::Cancel(firing, _) => {
                let result = seen(self.fate.seen, self.whole, None);
                let cancelled: Cancelled = classify_cancel(&result, now.wall);
                Input::Cancelled(firing, cancelled)
            }
            What::Pass(pass, _) => {
                let mut passed = Passed::default();
                let faulty = self.fate.seen != Seen::Truth || self.whole.is_some();
                let more = self.pages.len() > PAGES;
                let mut pages = self.pages.into_iter().take(PAGES).peekable();
                if pass.window(now.wall).is_some() {
                    // What goes wrong goes wrong with the last page, and with the last run.
                    while let Some(page) = pages.next() {
                        let last = pages.peek().is_none();
                        let result = if last { seen(self.fate.seen, Some(page), None) } else { Ok(page) };
                        passed.page(&result, now.wall);
                    }
                    if passed.calls == 0 {
                        passed.page(&seen(self.fate.seen, self.whole.clone(), None), now.wall);
                    }
                    if more && passed.unlisted.is_none() {
                        passed.run_out();
                    }
                }
                for (run, shown) in pass.one_by_one.iter().zip(self.shown) {
                    let result = if faulty { seen(self.fate.seen, Some(shown), None) } else { Ok(shown) };
                    passed.one(*run, &result, now.wall);
                }
                Input::Passed(Box::new(pass), Box::new(passed))
            }
        }
    }
}
