//! The calls that are under way, the token that they carry, and the service at their far end. What comes back
//! goes through the program's own classification.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use adf_cron::azure::Attempted;
use adf_cron::azure::SKEW;
use adf_cron::azure::look::{Look, Searched, Unanswered, classify_look, classify_page};
use adf_cron::azure::outcome::{Answer, Outcome, TransportError, classify};
use adf_cron::clock::Now;
use adf_cron::engine::Input;
use adf_cron::ids::{FiringId, RunId};
use adf_cron::ledger::Intent;
use jiff::Timestamp;

use crate::dice::Dice;
use crate::following::PassCall;
use crate::memory::MemoryLedger;
use crate::sabotage::Sabotage;
use crate::service::{Ids, Post, Service, fresh, ids_of};
use crate::wire::{Deed, Delays, Fate, Outage, Seen, Weather, refusal, seen};

/// How long after now the window of a query ends.
const AHEAD: Duration = Duration::from_secs(3_600);
/// Sets the randomness by which a call waits for a token apart from that of all else.
const TOKEN_WAIT: u64 = 1 << 32;
/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Post,
    Look,
    /// A query for runs since this moment, by a window that ends at the other.
    Search(Timestamp, Timestamp),
    /// There was no token: nothing is called.
    Tokenless,
    /// It waited for a token when the process was told to stop: nothing is called.
    Withheld,
}

/// A call under way.
#[derive(Debug)]
struct Call {
    kind: Kind,
    post: Post,
    fate: Fate,
    dice: Dice,
    sent_at: Now,
    /// When it leaves the host, on the clock that never steps: it may wait for a token before.
    leaves_at: Duration,
    /// Whether it leaves although the process was told to stop before.
    leaves_late: bool,
    generation: u64,
    arrives_at: Option<Duration>,
    answer: Option<Answer>,
    /// The pages of the answer that follow the first.
    pages: Vec<Answer>,
    /// Whether somebody waits for the answer.
    awaited: bool,
    late: Duration,
}

/// When a call that was just sent will arrive, and when its end will be known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) call: u64,
    pub(crate) arrives: Option<Duration>,
    pub(crate) ends: Duration,
}

/// The network, Entra ID and Data Factory.
pub(crate) struct Network {
    seed: u64,
    pub(crate) weather: Weather,
    pub(crate) service: Service,
    pub(crate) sabotage: Option<Sabotage>,
    calls: HashMap<u64, Call>,
    pub(crate) last_call: u64,
    pub(crate) passes: HashMap<u64, PassCall>,
    /// How many calls of each firing there were, so that each has its own randomness.
    made: HashMap<FiringId, u64>,
    generation: u64,
    /// Whether the token in hand was refused and is not renewed yet.
    refused: bool,
    /// Runs that an answer may name by mistake.
    recent: Vec<RunId>,
}

impl Network {
    pub(crate) fn new(seed: u64, weather: Weather, sabotage: Option<Sabotage>) -> Self {
        Self {
            seed,
            weather,
            service: Service::default(),
            sabotage,
            calls: HashMap::new(),
            last_call: 0,
            passes: HashMap::new(),
            made: HashMap::new(),
            generation: 1,
            refused: false,
            recent: Vec::new(),
        }
    }

    /// Randomness of one call: it does not depend on what else goes on.
    fn dice_for(&mut self, firing: FiringId) -> Dice {
        let made = self.made.entry(firing).or_default();
        *made += 1;
        let made = *made;
        self.dice_of(firing, made)
    }

    pub(crate) fn dice_of(&self, id: FiringId, made: u64) -> Dice {
        let mut hasher = DefaultHasher::new();
        (self.seed, id, made).hash(&mut hasher);
        Dice::new(hasher.finish())
    }

    /// Sends createRun.
    pub(crate) fn post(&mut self, intent: Arc<Intent>, now: Now) -> Way {
        let mut dice = self.dice_for(intent.firing_id);
        let delays = self.delays(&intent);
        let fate = self.fit(Fate::of_post(&mut dice, &self.weather, &delays), &intent);
        let mut hidden = || match dice.below(4) {
            0 => dice.up_to(delays.hidden),
            1 => dice.up_to(Duration::from_secs(2)),
            _ => Duration::ZERO,
        };
        let hidden_for = (hidden(), hidden());
        let id = match self.sabotage {
            Some(Sabotage::AnyId) => fresh(&mut dice),
            _ => intent.firing_id,
        };
        let kind = if self.has_token() { Kind::Post } else { Kind::Tokenless };
        let mut apart = self.dice_of(id, TOKEN_WAIT + self.last_call);
        let waits = if apart.one_in(20) { apart.up_to(Duration::from_secs(20)) } else { Duration::ZERO };
        self.sent(kind, Post { intent, id, hidden_for }, fate, dice, (delays.late, waits), now)
    }

    /// The process is told to stop: what waits for a token does not leave any more. Returns those calls, which end.
    pub(crate) fn stops(&mut self, now: Duration) -> Vec<u64> {
        let late = self.sabotage == Some(Sabotage::LateToken);
        let waiting = self.calls.iter_mut().filter(|(_, call)| {
            call.awaited && call.kind == Kind::Post && call.leaves_at > now && call.answer.is_none()
        });
        let mut withheld = Vec::new();
        for (id, call) in waiting {
            if late {
                call.leaves_late = true;
            } else {
                (call.kind, call.arrives_at) = (Kind::Withheld, None);
                withheld.push(*id);
            }
        }
        withheld.sort_unstable();
        withheld
    }

    /// Whether a call that arrives now has left although the process was told to stop before.
    pub(crate) fn left_late(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(|call| call.leaves_late && call.arrives_at.is_some())
    }

    /// Sends `GET pipelineruns/{id}`.
    pub(crate) fn look(&mut self, intent: Arc<Intent>, now: Now) -> Way {
        self.ask(Kind::Look, intent, now)
    }

    /// Sends `queryPipelineRuns`.
    pub(crate) fn search(&mut self, intent: Arc<Intent>, since: Timestamp, now: Now) -> Way {
        self.ask(Kind::Search(since, now.wall + AHEAD), intent, now)
    }

    fn ask(&mut self, kind: Kind, intent: Arc<Intent>, now: Now) -> Way {
        let mut dice = self.dice_for(intent.firing_id);
        let mut fate = Fate::of_look(&mut dice, &self.weather, LOOK_TIMEOUT);
        if !self.has_token() {
            // It fails on this host.
            fate = Fate { arrives: None, seen: Seen::NotSent, ..fate };
        }
        let post = Post { id: intent.firing_id, intent, hidden_for: (Duration::ZERO, Duration::ZERO) };
        self.sent(kind, post, fate, dice, (Duration::ZERO, Duration::ZERO), now)
    }

    fn delays(&self, intent: &Intent) -> Delays {
        let settle = match self.sabotage {
            Some(Sabotage::NoSettle) => Duration::from_secs(60),
            _ => intent.policy.settle,
        };
        Delays::below(settle, intent.policy.timeout)
    }

    /// Something on the way repeats calls only where that starts nothing twice: no client could prevent it.
    fn fit(&self, fate: Fate, intent: &Intent) -> Fate {
        let repeats = matches!(ids_of(intent.factory.name.as_str()), Ids::Same | Ids::Conflict);
        let deed = if fate.deed == Deed::DoesTwice && !repeats { Deed::Does } else { fate.deed };
        Fate { deed, ..fate }
    }

    fn sent(
        &mut self,
        kind: Kind,
        post: Post,
        fate: Fate,
        dice: Dice,
        (late, waits): (Duration, Duration),
        now: Now,
    ) -> Way {
        let now = Now { wall: now.wall + waits, boot: now.boot + waits };
        self.last_call += 1;
        let arrives_at = fate.arrives.filter(|_| kind != Kind::Tokenless).map(|after| now.boot + after);
        let call = Call {
            kind,
            post,
            fate,
            dice,
            sent_at: now,
            leaves_at: now.boot,
            leaves_late: false,
            generation: self.generation,
            arrives_at,
            answer: None,
            pages: Vec::new(),
            awaited: true,
            late,
        };
        self.calls.insert(self.last_call, call);
        Way { call: self.last_call, arrives: arrives_at, ends: now.boot + fate.ends }
    }

    /// A call reaches the service, at this time by the service's clock; returns the intent whose run it started.
    pub(crate) fn arrives(&mut self, id: u64, now: Now) -> Option<Arc<Intent>> {
        if self.passes.contains_key(&id) {
            self.pass_arrives(id, now);
            return None;
        }
        let call = self.calls.get_mut(&id)?;
        if call.arrives_at != Some(now.boot) || call.answer.is_some() {
            return None;
        }
        let factory = call.post.intent.factory.name.as_str();
        let (answer, started) = match (call.kind, call.fate.deed) {
            (_, Deed::Refuses(status)) => (refusal(status, &mut call.dice, now.wall), None),
            (Kind::Look, _) => (self.service.show(factory, RunId::from(call.post.id), now), None),
            (Kind::Search(after, before), _) => {
                let mut pages = self.service.pages(&call.post.intent, (after - SKEW, before), now);
                call.pages = pages.split_off(1);
                (pages.remove(0), None)
            }
            (_, deed) => {
                let first = self.service.create(&call.post, &mut call.dice, now);
                match deed {
                    Deed::DoesTwice => (self.service.create(&call.post, &mut call.dice, now).0, first.1),
                    _ => first,
                }
            }
        };
        call.answer = Some(answer);
        self.recent.extend(started);
        let intent = started.map(|_| Arc::clone(&call.post.intent));
        if !call.awaited {
            self.calls.remove(&id);
        }
        intent
    }

    /// The end of a call is known to the process; returns what the engine is told of it.
    pub(crate) fn ends(&mut self, id: u64, now: Now, ledger: &MemoryLedger) -> Option<Input> {
        if let Some(call) = self.passes.remove(&id) {
            return Some(call.input(now));
        }
        let foreign = self.foreign(id, ledger);
        let call = self.calls.get_mut(&id)?;
        if !std::mem::take(&mut call.awaited) {
            return None;
        }
        let firing = call.post.intent.firing_id;
        let result = seen(call.fate.seen, call.answer.clone(), foreign);
        let (sent_at, answered_at, token_generation) = (call.sent_at, now, call.generation);
        let input = match call.kind {
            Kind::Tokenless => {
                // The client says so by itself, before there is anything to classify.
                let refused = self.weather.outage == Some(Outage::NoToken(true));
                let outcome = Outcome::NoToken { detail: "no token".to_owned(), refused };
                let attempted = Attempted { sent_at: now, answered_at, outcome, token_generation: 0 };
                Input::Answered(firing, Box::new(attempted))
            }
            Kind::Withheld => {
                let outcome = Outcome::Withheld;
                let attempted = Attempted { sent_at: now, answered_at, outcome, token_generation: 0 };
                Input::Answered(firing, Box::new(attempted))
            }
            Kind::Post => {
                let outcome = classify(&result, now.wall);
                let attempted = Attempted { sent_at, answered_at, outcome, token_generation };
                Input::Answered(firing, Box::new(attempted))
            }
            Kind::Look => Input::Looked(firing, Box::new(classify_look(&result, now.wall))),
            Kind::Search(..) => {
                let last = call.pages.drain(..).map(Ok);
                // What goes wrong goes wrong with the last page.
                let pages = match result {
                    Ok(first) => [Ok(first)].into_iter().chain(last).collect(),
                    Err(error) => vec![Err(error)],
                };
                Input::Searched(firing, Box::new(searched(pages, now)))
            }
        };
        if call.answer.is_some() || call.arrives_at.is_none() {
            self.calls.remove(&id);
        }
        Some(input)
    }

    /// A run of another firing that this answer names in place of its own.
    fn foreign(&mut self, id: u64, ledger: &MemoryLedger) -> Option<RunId> {
        let call = self.calls.get_mut(&id).filter(|call| call.fate.seen == Seen::Foreign)?;
        let intent = &call.post.intent;
        let recent = &self.recent[self.recent.len().saturating_sub(20)..];
        if recent.is_empty() {
            return None;
        }
        let named = *call.dice.pick(recent);
        let of = self.service.runs.get(&named)?.of?;
        // A run under the id of a firing is that firing's. Of any other nobody could know it before the record is
        // durable.
        let owned = ledger.rows.get(&of).is_some_and(|row| named.is(of) || row.run_id == Some(named));
        (of != intent.firing_id && owned).then_some(named)
    }

    /// The process is dead, or cuts its calls off: nobody awaits their ends. What had left still arrives, not
    /// later than calls may. Returns the new ways of those that do.
    pub(crate) fn cut_off(&mut self, now: Duration) -> Vec<(u64, Duration)> {
        let mut moved = Vec::new();
        self.passes.clear();
        self.calls.retain(|id, call| {
            call.awaited = false;
            let has_left = call.kind == Kind::Post && call.leaves_at <= now;
            let Some(at) = call.arrives_at.filter(|_| has_left && call.answer.is_none()) else {
                return false;
            };
            if at > now + call.late {
                if call.dice.percent(50) {
                    return false;
                }
                let at = now + call.dice.up_to(call.late);
                call.arrives_at = Some(at);
                moved.push((*id, at));
            }
            true
        });
        moved.sort_unstable();
        moved
    }

    pub(crate) fn has_token(&self) -> bool {
        !self.refused && !matches!(self.weather.outage, Some(Outage::NoToken(_)))
    }

    /// The token of this generation was refused; returns whether it must be renewed.
    pub(crate) fn reject(&mut self, generation: u64) -> bool {
        let news = generation == self.generation && !self.refused;
        self.refused |= news;
        news
    }

    /// A new token comes; returns whether it is wanted.
    pub(crate) fn renew(&mut self, generation: u64) -> bool {
        let wanted = generation == self.generation && self.refused;
        if wanted {
            self.generation += 1;
            self.refused = false;
        }
        wanted && self.has_token()
    }

    /// Whether a look was refused for its token.
    pub(crate) fn is_unauthorized(input: &Input) -> bool {
        let unanswered = match input {
            Input::Looked(_, look) => match &**look {
                Look::NoAnswer(unanswered) => unanswered,
                _ => return false,
            },
            Input::Searched(_, searched) => match &**searched {
                Searched::NoAnswer(unanswered) => unanswered,
                Searched::Runs(_) => return false,
            },
            _ => return false,
        };
        unanswered.refusal.http_status == Some(401)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

/// What the client makes of the pages of a query.
fn searched(pages: Vec<Result<Answer, TransportError>>, now: Now) -> Searched {
    let mut runs = Vec::new();
    for page in pages {
        match classify_page(&page, now.wall) {
            Ok((page, next)) => {
                runs.extend(page);
                if next.is_none() {
                    return Searched::Runs(runs);
                }
            }
            Err(unanswered) => return Searched::NoAnswer(unanswered),
        }
    }
    Searched::NoAnswer(Unanswered::because("a page is missing".to_owned()))
}
