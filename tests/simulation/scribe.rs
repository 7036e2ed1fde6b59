//! A model of the recorder: jobs in order, as many batches at a time as there are, a disk that is slow or
//! full for a while, and a death between any two of its steps. See `src/recorder.rs`.

use std::collections::VecDeque;
use std::time::Duration;

use adf_cron::ids::{FiringId, RunId};
use adf_cron::ledger::Batch;
use adf_cron::recorder::Backlog;
use jiff::Timestamp;

use crate::dice::Dice;

/// Between two tries of a ledger that cannot be written.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// What the recorder is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    Write(Batch),
    FindOwners(FiringId, Vec<RunId>),
    ReadRequests,
    Prune(Timestamp),
}

/// What it is doing.
#[derive(Debug)]
pub(crate) enum Work {
    Commit(Vec<Batch>),
    Other(Job),
}

/// The recorder.
#[derive(Debug)]
pub(crate) struct Scribe {
    dice: Dice,
    /// How long a commit usually takes.
    latency: Duration,
    queue: VecDeque<Job>,
    pub(crate) work: Option<Work>,
    pub(crate) backlog: Backlog,
}

impl Scribe {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let latency = Duration::from_millis(*dice.pick(&[1, 5, 20, 200, 1_500]));
        Self { dice, latency, queue: VecDeque::new(), work: None, backlog: Backlog::new(0) }
    }

    pub(crate) fn ask(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.work.is_none() && self.queue.is_empty()
    }

    /// Takes up the next work, if there is some and none is under way; returns how long it takes.
    pub(crate) fn begin(&mut self) -> Option<Duration> {
        if self.work.is_some() {
            return None;
        }
        let work = match self.queue.pop_front()? {
            Job::Write(batch) => {
                let mut group = vec![batch];
                while let Some(Job::Write(_)) = self.queue.front()
                    && let Some(Job::Write(batch)) = self.queue.pop_front()
                {
                    group.push(batch);
                }
                Work::Commit(group)
            }
            other => Work::Other(other),
        };
        let slow = if self.dice.one_in(200) { Duration::from_secs(20) } else { self.latency };
        let takes = match work {
            Work::Commit(_) => self.dice.wait(slow),
            _ => self.dice.up_to(self.latency / 4),
        };
        self.work = Some(work);
        Some(takes)
    }

    /// The process dies: what it had not done is lost. What it was just committing may still be durable.
    pub(crate) fn die(&mut self) -> Option<Vec<Batch>> {
        self.queue.clear();
        match self.work.take() {
            Some(Work::Commit(group)) if self.dice.percent(40) => Some(group),
            _ => None,
        }
    }
}
