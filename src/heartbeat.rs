//! The heartbeat: the periodic pass, as a job of tokio-cron-scheduler in UTC. The only file that
//! names that package.
//!
//! Entries are never its jobs: version 0.15.1 loses activations in bursts (a 200-slot broadcast channel),
//! looks at the clock every 500 ms, and freezes a zone's offset when a job is made (its issue 107). A
//! late or lost beat costs nothing here, since each pass plans for several beats.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// One pass is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat;

/// The heartbeat. It ends with [`Heartbeat::stop`].
pub struct Heartbeat {
    scheduler: JobScheduler,
    beats: mpsc::UnboundedSender<Beat>,
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heartbeat")
    }
}

impl Heartbeat {
    /// Starts to send beats, the first one a period from now.
    ///
    /// # Errors
    /// When the scheduler does not take its job.
    pub async fn start(
        period: Duration,
        beats: mpsc::UnboundedSender<Beat>,
    ) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let heard = beats.clone();
        let job = Job::new_repeated(period, move |_, _| {
            // Nobody listens any more once the daemon drains.
            let _ = heard.send(Beat);
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler, beats })
    }

    /// Starts the beats anew, with this period: the scheduler keeps the next beat as a time of day, which a
    /// clock that was set back would put off.
    ///
    /// # Errors
    /// When the scheduler does not take its job; the old beats then go on.
    pub async fn restart(&mut self, period: Duration) -> Result<(), JobSchedulerError> {
        let new = Self::start(period, self.beats.clone()).await?;
        std::mem::replace(self, new).stop().await;
        Ok(())
    }

    /// Sends a pass of its own after this wait.
    pub fn pass_in(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let beats = self.beats.clone();
        async move {
            tokio::time::sleep(wait).await;
            // Nobody listens any more once the daemon drains.
            let _ = beats.send(Beat);
        }
    }

    /// Ends the beats.
    pub async fn stop(mut self) {
        // It only sets a flag; a failure leaves beats that nobody hears.
        let _ = self.scheduler.shutdown().await;
    }
}
