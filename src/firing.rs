//! Carrying out: every createRun and every look is a task, whose end goes back to the engine. All tasks
//! of the process belong to this one set.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use crate::azure::follow::Pass;
use crate::azure::{Client, CreateRun};
use crate::engine::Input;
use crate::ids::RunId;
use crate::ledger::Intent;

/// Looks under way at once: after an outage there may be thousands, and reads are limited (ARM's limits page:
/// 250 at once, 25 a second).
const LOOKS_AT_ONCE: usize = 16;

/// The tasks under way. Dropping it cuts them off.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<()>,
    looks: Arc<Semaphore>,
    inputs: mpsc::UnboundedSender<Input>,
    stopping: watch::Sender<bool>,
}

impl Tasks {
    /// No tasks yet; the ends of calls go to `inputs`.
    #[must_use]
    pub fn new(inputs: mpsc::UnboundedSender<Input>) -> Self {
        let looks = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        Self { set: JoinSet::new(), looks, inputs, stopping: watch::Sender::new(false) }
    }

    /// Calls createRun with this intent; the end is [`Input::Answered`].
    pub fn send(&mut self, client: Client, intent: Arc<Intent>) {
        let (inputs, stopping) = (self.inputs.clone(), self.stopping.subscribe());
        self.set.spawn(async move {
            let call = CreateRun {
                factory: &intent.factory,
                pipeline: &intent.pipeline,
                request_id: intent.firing_id,
                body: intent.body.expose(),
                recovers: intent.recovers.as_ref().map(|recovers| (recovers.run, &recovers.from)),
                timeout: intent.policy.timeout,
            };
            let attempted = client.create_run(call, stopping).await;
            // Nobody listens any more once the process ends; the next start looks the firing up.
            let _ = inputs.send(Input::Answered(intent.firing_id, Box::new(attempted)));
        });
    }

    /// Looks for the run of this intent; the end is [`Input::Looked`].
    pub fn look(&mut self, client: Client, intent: Arc<Intent>) {
        let (inputs, looks) = (self.inputs.clone(), Arc::clone(&self.looks));
        self.set.spawn(async move {
            // Nobody closes it, so there is always a permit to come.
            let _turn = looks.acquire().await;
            let look = client.look(&intent.factory, intent.firing_id).await;
            let _ = inputs.send(Input::Looked(intent.firing_id, Box::new(look)));
        });
    }

    /// Searches for runs of the pipeline of this intent; the end is [`Input::Searched`].
    pub fn search(&mut self, client: Client, intent: Arc<Intent>, since: Timestamp) {
        let (inputs, looks) = (self.inputs.clone(), Arc::clone(&self.looks));
        self.set.spawn(async move {
            let _turn = looks.acquire().await;
            let searched = client.search(&intent.factory, &intent.pipeline, since).await;
            let _ = inputs.send(Input::Searched(intent.firing_id, Box::new(searched)));
        });
    }

    /// Makes a pass over the runs of a factory; the end is [`Input::Passed`].
    pub fn follow(&mut self, client: Client, pass: Box<Pass>) {
        let (inputs, looks) = (self.inputs.clone(), Arc::clone(&self.looks));
        self.set.spawn(async move {
            let _turn = looks.acquire().await;
            let passed = client.pass(&pass).await;
            let _ = inputs.send(Input::Passed(pass, Box::new(passed)));
        });
    }

    /// Cancels the run of this intent; the end is [`Input::Cancelled`].
    pub fn cancel(&mut self, client: Client, intent: Arc<Intent>, run: RunId) {
        let inputs = self.inputs.clone();
        self.set.spawn(async move {
            let cancelled = client.cancel(&intent.factory, run, intent.policy.timeout).await;
            let _ = inputs.send(Input::Cancelled(intent.firing_id, cancelled));
        });
    }

    /// Does something beside the loop that tells nobody of its end.
    pub fn beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(work);
    }

    /// From now on no createRun leaves any more, also none that was ordered before and waits for a token.
    pub fn send_no_more(&self) {
        self.stopping.send_replace(true);
    }

    /// Cuts off everything that is under way.
    pub fn cut_off(&mut self) {
        self.set.abort_all();
    }

    /// Waits for the end of a task; `None` when none is under way.
    pub async fn join_next(&mut self) -> Option<Result<(), JoinError>> {
        self.set.join_next().await
    }
}
