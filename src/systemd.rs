//! What the service manager is told: ready, reloading, stopping, a line of status, and that the daemon
//! is alive. The only file that names sd-notify. Without a service manager nothing is said.
//!
//! A thread of its own tells it: a service manager that does not listen for a while must not hold up the daemon.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Between two looks at nothing, when there is no watchdog.
const NEVER: Duration = Duration::from_secs(86_400);

/// What may wait to be told. It only fills up before a service manager that does not listen.
const MOST: usize = 64;

/// The service manager's ear.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    watchdog: Option<Duration>,
    told: Option<SyncSender<String>>,
    /// The daemon's loop turned; the recorder has not yet.
    asked: Arc<AtomicBool>,
}

impl Notifier {
    /// The service manager that started this process, if one did (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    ///
    /// # Errors
    /// When the system gives no thread for it.
    pub fn from_environment() -> io::Result<Self> {
        let (told, to_tell) = sync_channel::<String>(MOST);
        std::thread::Builder::new().name("notifier".to_owned()).spawn(move || {
            for state in to_tell {
                // One that refuses it will act on its own; there is nobody else to tell.
                let _ = sd_notify::notify(&[NotifyState::Custom(&state)]);
            }
        })?;
        Ok(Self { watchdog: sd_notify::watchdog_enabled(), told: Some(told), asked: Arc::default() })
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(told) = &self.told else { return };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        // Where there is no room it does not listen.
        let _ = told.try_send(lines.join("\n"));
    }

    /// The schedule is loaded and in force.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The schedule is being read again; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The daemon is on its way out, which may take so long: the unit's `TimeoutStopSec=` need not be kept in
    /// step with the schedule.
    pub fn stopping(&self, limit: Duration) {
        let microseconds = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, line: &str) {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.tell(&[NotifyState::Status(&line)]);
    }

    /// How often [`Notifier::loop_turned`] wants to be called: three times within the watchdog's limit.
    #[must_use]
    pub fn watchdog_period(&self) -> Duration {
        self.watchdog.map_or(NEVER, |limit| limit / 3)
    }

    /// The daemon's loop turns.
    pub fn loop_turned(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// The recorder turns too, or has told why it cannot: only both together show that the daemon is alive.
    pub fn recorder_turned(&self) {
        if self.asked.swap(false, Ordering::Relaxed) && self.watchdog.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }
}
