//! One alarm on the wall clock: a kernel timer for an absolute time. It rings in time through suspend
//! and clock steps, which a timer that counts a duration does not.

use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Why the alarm rang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Its time has come.
    Time,
    /// Somebody set the wall clock.
    ClockSet,
}

/// The alarm.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
    set_for: Option<Timestamp>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the system has no such timer left.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "the new form is unsafe; an OwnedFd keeps what it asks for")]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer, set_for: None })
    }

    /// Sets the alarm. Without a time it still rings when somebody sets the clock. A time that has passed
    /// rings at once.
    ///
    /// # Errors
    /// When the system refuses the time.
    pub fn set(&mut self, at: Option<Timestamp>) -> io::Result<()> {
        let at = at.unwrap_or(Timestamp::MAX);
        if self.set_for == Some(at) {
            return Ok(());
        }
        let value = Timespec {
            // Zero would stop the timer; the first second of 1970 is always in the past.
            tv_sec: at.as_second().max(1),
            tv_nsec: i64::from(at.subsec_nanosecond().max(0)),
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(
            self.timer.get_ref(),
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &spec,
        )?;
        self.set_for = Some(at);
        Ok(())
    }

    /// Waits until the alarm rings. It must then be set again.
    ///
    /// # Errors
    /// When the timer cannot be read.
    pub async fn rung(&mut self) -> io::Result<Ring> {
        loop {
            let mut guard = self.timer.readable().await?;
            let mut count = [0_u8; 8];
            match rustix::io::read(self.timer.get_ref(), &mut count) {
                Ok(_) => {
                    self.set_for = None;
                    return Ok(Ring::Time);
                }
                Err(rustix::io::Errno::CANCELED) => {
                    self.set_for = None;
                    return Ok(Ring::ClockSet);
                }
                Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
