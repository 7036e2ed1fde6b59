//! What people ask for, without a daemon: carries out requests to the end of their firings, and plans nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::mpsc;

use super::schedule_file::Loaded;
use super::{Exit, FINISH_LIMIT, Outside, begin};
use crate::alarm::Alarm;
use crate::engine::{Action, Engine, Input};
use crate::firing::Tasks;
use crate::ledger::{Request, Snapshot, SqliteLedger};
use crate::recorder::{Job, Recorder};

/// Requests, and all that they need.
#[derive(Debug)]
pub struct Once {
    /// The schedule.
    pub loaded: Loaded,
    /// The ledger.
    pub ledger: SqliteLedger,
    /// What the ledger remembers.
    pub snapshot: Snapshot,
    /// What is asked.
    pub requests: Vec<Request>,
}

/// How that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnceEnd {
    /// What was asked for has ended, or is held; the ledger says how.
    Recorded,
    /// It could not even be begun.
    Failed(Exit),
}

/// Carries out requests, to the end of their firings. The caller holds the ledger's lock.
///
/// A firing obeys its entry's retry policy; a lost answer is looked up like the daemon's own.
pub async fn once(outside: &Outside, once: Once) -> OnceEnd {
    let Once { loaded, ledger, snapshot, requests } = once;
    let client = match begin::client(outside, &loaded.settings) {
        Ok(client) => client,
        Err(error) => {
            begin::say_failed(outside, "the connection to Azure cannot be set up", &error);
            return OnceEnd::Failed(Exit::Unavailable);
        }
    };
    let (inputs, mut received) = mpsc::unbounded_channel();
    let in_flight = Arc::new(AtomicUsize::new(0));
    // What a daemon left to be announced is for the next daemon.
    let first = snapshot.next_batch;
    let (clock, output) = (Arc::clone(&outside.clock), outside.output.clone());
    let (Ok(recorder), Ok(mut alarm)) = (
        Recorder::start(ledger, clock, output, in_flight, inputs.clone(), Arc::new(|| ()), first),
        Alarm::new(),
    ) else {
        return OnceEnd::Failed(Exit::Failed);
    };
    let now = outside.clock.now();
    let mut engine = Engine::for_requests(&loaded.schedule, &snapshot, begin::random(), now);
    let mut tasks = Tasks::new(inputs);
    let mut actions = engine.handle(Input::Asked(requests), now);
    loop {
        actions.drain(..).for_each(|action| super::perform(action, (&client, &recorder), &mut tasks));
        if engine.open_firings() == 0 {
            break;
        }
        if alarm.set(engine.alarm()).is_err() {
            return OnceEnd::Failed(Exit::Failed);
        }
        let input = tokio::select! {
            Some(input) = received.recv() => input,
            _ = alarm.rung() => Input::Wake,
            () = recorder.ended() => return OnceEnd::Failed(Exit::Failed),
        };
        actions = engine.handle(input, outside.clock.now());
    }
    for action in engine.handle(Input::Stop, outside.clock.now()) {
        if let Action::Commit(batch) = action {
            recorder.ask(Job::Write(batch));
        }
    }
    if recorder.finish(None, FINISH_LIMIT).await {
        OnceEnd::Recorded
    } else {
        OnceEnd::Failed(Exit::Unavailable)
    }
}
