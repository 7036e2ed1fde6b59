//! What the daemon shows of itself: a line for the service manager, and signs of life in the ledger, often
//! enough to tell a daemon that hangs, seldom enough not to wear out a disk, and at once when there is news.

use std::time::Duration;

use jiff::Timestamp;

use super::Daemon;
use super::schedule_file::Rejection;
use crate::ids::Nominal;
use crate::ledger::{NextFiring, RejectedSign, SignOfLife, StoppedSign, TokenSign};
use crate::recorder::Job;

/// Between two signs that say nothing new.
const SELDOM: Duration = Duration::from_secs(15);

/// What was shown last.
#[derive(Debug)]
pub(super) struct Shown {
    started_at: Timestamp,
    status: String,
    /// With its time on the clock that never steps.
    sign: Option<(SignOfLife, Duration)>,
}

impl Shown {
    pub(super) fn since(started_at: Timestamp) -> Self {
        Self { started_at, status: String::new(), sign: None }
    }

    /// The line is shown again although it is the same.
    pub(super) fn forget_status(&mut self) {
        self.status.clear();
    }

    /// Whether this sign, made now, is worth a place in the ledger.
    fn is_due(&self, sign: &SignOfLife, now: Duration) -> bool {
        let Some((last, at)) = &self.sign else { return true };
        now.saturating_sub(*at) >= SELDOM || sign.is_news_after(last)
    }
}

impl Daemon {
    /// Shows how things stand.
    pub(super) fn show(&mut self) {
        self.show_status();
        self.leave_sign(None);
    }

    /// One line for `systemctl status`: what is wrong, or what comes next.
    fn show_status(&mut self) {
        let status = match (&self.rejected, self.engine.next_firing()) {
            (Some(rejected), _) => {
                format!("SCHEDULE REJECTED at {}; the last good one runs", rejected.location)
            }
            (None, Some((at, entry))) => format!("next: {entry} at {at}"),
            (None, None) => "nothing is scheduled".to_owned(),
        };
        let status = format!("{status}; {} open", self.engine.open_firings());
        if status != self.shown.status {
            self.outside.notifier.status(&status);
            self.shown.status = status;
        }
    }

    /// Leaves a sign of life, if one is due. `stopped` says by what the daemon ends.
    pub(super) fn leave_sign(&mut self, stopped: Option<&'static str>) {
        let now = self.outside.clock.now();
        let token = self.client.token();
        // Whole seconds are enough for people.
        let seconds = |at: Timestamp| Nominal::at_or_before(at).timestamp();
        let usable_until = token.usable_for().and_then(|left| now.wall.checked_add(left).ok()).map(seconds);
        let next = self.engine.next_firing();
        let sign = SignOfLife {
            pid: std::process::id(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: seconds(self.shown.started_at),
            heartbeat_at: seconds(now.wall),
            heartbeat: self.settings.daemon.heartbeat,
            next: next.map(|(due_time, entry)| NextFiring { entry: entry.to_string(), due_time }),
            token: TokenSign { usable_until, error_message: token.trouble(), refused: token.was_refused() },
            rejected: self.rejected.as_ref().map(rejected),
            clock_held: !self.engine.believes_the_clock(),
            stopped: stopped.map(|by| StoppedSign { at: seconds(now.wall), by: by.to_owned() }),
        };
        if self.shown.is_due(&sign, now.boot) {
            self.recorder.ask(Job::Sign(Box::new(sign.clone())));
            self.shown.sign = Some((sign, now.boot));
        }
    }
}

fn rejected(rejection: &Rejection) -> RejectedSign {
    let first = rejection.message.lines().next().unwrap_or_default();
    RejectedSign { location: rejection.location.clone(), message: first.to_owned() }
}
