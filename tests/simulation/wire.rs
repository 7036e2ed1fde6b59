//! What may happen to a call between here and the service: drawn when it is sent, so that every fault has
//! its share, and given back as the bytes or the error that the client would have seen.

use std::time::Duration;

use adf_cron::azure::outcome::{Answer, TransportError};
use adf_cron::ids::RunId;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};

use crate::dice::Dice;
use crate::service::{answer, error};

/// What goes wrong for everybody for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Entra ID gives no token; whether it refuses.
    NoToken(bool),
    /// No connection can be made.
    Unreachable,
    /// No answer comes back, although calls arrive.
    Silent,
    /// Every answer is this status.
    Status(u16),
    /// Runs may not be read.
    Unreadable,
}

/// How bad it is.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// The share of attempts that something happens to, in percent.
    pub(crate) faults: u64,
    /// The same for looks.
    pub(crate) blind: u64,
    pub(crate) outage: Option<Outage>,
}

impl Weather {
    pub(crate) fn fair() -> Self {
        Self { faults: 0, blind: 0, outage: None }
    }

    pub(crate) fn draw_outage(dice: &mut Dice) -> Outage {
        match dice.below(8) {
            0 => Outage::NoToken(false),
            1 => Outage::NoToken(true),
            2 => Outage::Unreachable,
            3 => Outage::Silent,
            4 => Outage::Status(*dice.pick(&[500, 502, 503])),
            5 => Outage::Status(429),
            6 => Outage::Status(*dice.pick(&[401, 403])),
            _ => Outage::Unreadable,
        }
    }
}

/// What the service does with a call that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// What was asked.
    Does,
    /// What was asked, twice: something on the way repeated the call.
    DoesTwice,
    /// Nothing; it answers with this status.
    Refuses(u16),
}

/// What the client sees of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// All of it.
    Truth,
    /// Nothing was sent at all.
    NotSent,
    /// The connection broke, or the time was over.
    Nothing,
    /// A gateway's answer in place of it.
    Gateway(u16),
    /// A success that says nothing.
    Empty,
    /// A success that names something that is no run's id.
    Malformed,
    /// A success that names the run of another firing.
    Foreign,
}

/// The way of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    /// When the service gets it, from its sending on.
    pub(crate) arrives: Option<Duration>,
    /// When the client knows of its end.
    pub(crate) ends: Duration,
    pub(crate) deed: Deed,
    pub(crate) seen: Seen,
}

/// The waits that a scenario may use: all of them together stay well below `settle`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delays {
    /// How long after it left this host a call may still arrive.
    pub(crate) late: Duration,
    /// How long after its start a run may stay hidden.
    pub(crate) hidden: Duration,
    pub(crate) timeout: Duration,
}

impl Delays {
    pub(crate) fn below(settle: Duration, timeout: Duration) -> Self {
        Self { late: settle * 3 / 10, hidden: settle / 2, timeout }
    }
}

impl Fate {
    /// A call to which nothing happens.
    fn fair(dice: &mut Dice) -> Self {
        let arrives = dice.between(Duration::from_millis(5), Duration::from_millis(400));
        let ends = arrives + dice.between(Duration::from_millis(5), Duration::from_millis(800));
        Self { arrives: Some(arrives), ends, deed: Deed::Does, seen: Seen::Truth }
    }

    /// Draws the way of a createRun call.
    pub(crate) fn of_post(dice: &mut Dice, weather: &Weather, delays: &Delays) -> Self {
        let fair = Self::fair(dice);
        let fate = match weather.outage {
            Some(Outage::Unreachable) => Self { arrives: None, seen: Seen::NotSent, ..fair },
            Some(Outage::Silent) => Self { seen: Seen::Nothing, ..fair },
            Some(Outage::Status(status)) if status < 500 => Self { deed: Deed::Refuses(status), ..fair },
            Some(Outage::Status(status)) => match dice.below(2) {
                0 => Self { deed: Deed::Refuses(status), ..fair },
                _ => Self { seen: Seen::Gateway(status), ..fair },
            },
            _ if dice.percent(weather.faults) => Self::fault(dice, fair, delays),
            _ => fair,
        };
        fate.within(delays)
    }

    fn fault(dice: &mut Dice, fair: Self, delays: &Delays) -> Self {
        let does = if dice.percent(50) { Deed::Does } else { Deed::Refuses(500) };
        match dice.below(26) {
            0..=2 => Self { arrives: None, seen: Seen::NotSent, ..fair },
            3..=5 => Self { deed: Deed::Refuses(429), ..fair },
            6 | 7 => Self { deed: Deed::Refuses(*dice.pick(&[500, 503])), ..fair },
            8 | 9 => Self { seen: Seen::Gateway(*dice.pick(&[500, 502, 503, 504])), ..fair },
            10 => Self { arrives: None, seen: Seen::Nothing, ..fair },
            11 | 12 => Self { seen: Seen::Nothing, ..fair },
            // The client gives up while the call is still on its way.
            13 => Self { ends: fair.arrives.unwrap_or_default() / 2, seen: Seen::Nothing, ..fair },
            14..=16 => {
                let late = dice.up_to(delays.timeout + delays.late);
                let arrives = (!dice.one_in(3)).then_some(late);
                Self { arrives, ends: delays.timeout, deed: Deed::Does, seen: Seen::Nothing }
            }
            17 => Self { deed: Deed::Refuses(401), ..fair },
            18 => Self { deed: Deed::Refuses(*dice.pick(&[400, 403, 404])), ..fair },
            19 => Self { seen: Seen::Gateway(408), deed: does, ..fair },
            20 => Self { deed: Deed::Refuses(409), ..fair },
            21 => Self { seen: Seen::Empty, deed: does, ..fair },
            22 => Self { seen: Seen::Malformed, deed: does, ..fair },
            23 | 24 => Self { seen: Seen::Foreign, deed: does, ..fair },
            _ => Self { deed: Deed::DoesTwice, ..fair },
        }
    }

    /// Draws the way of a look.
    pub(crate) fn of_look(dice: &mut Dice, weather: &Weather, timeout: Duration) -> Self {
        let fair = Self::fair(dice);
        let fate = match weather.outage {
            Some(Outage::Unreachable) => Self { arrives: None, seen: Seen::NotSent, ..fair },
            Some(Outage::Silent) => Self { seen: Seen::Nothing, ..fair },
            Some(Outage::Status(status)) => Self { deed: Deed::Refuses(status), ..fair },
            Some(Outage::Unreadable) => Self { deed: Deed::Refuses(403), ..fair },
            _ if dice.percent(weather.blind) => match dice.below(9) {
                0 => Self { arrives: None, seen: Seen::NotSent, ..fair },
                1 | 2 => Self { seen: Seen::Nothing, ends: timeout, ..fair },
                3 => Self { seen: Seen::Empty, ..fair },
                4 => Self { seen: Seen::Malformed, ..fair },
                5 => Self { seen: Seen::Gateway(502), ..fair },
                // A missing factory says nothing about its runs.
                6 => Self { deed: Deed::Refuses(404), ..fair },
                _ => Self { deed: Deed::Refuses(*dice.pick(&[401, 403, 408, 429, 500, 503])), ..fair },
            },
            _ => fair,
        };
        Self { ends: fate.ends.min(timeout), ..fate }
    }

    fn within(mut self, delays: &Delays) -> Self {
        self.ends = self.ends.min(delays.timeout);
        self.arrives = self.arrives.map(|arrives| arrives.min(self.ends + delays.late));
        self
    }
}

/// An answer that starts nothing.
pub(crate) fn refusal(status: u16, dice: &mut Dice, now: Timestamp) -> Answer {
    let code = match status {
        400 => "BadRequest",
        401 => "InvalidAuthenticationToken",
        403 => "AuthorizationFailed",
        404 => "ResourceNotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalServerError",
    };
    let mut refusal = error(status, code);
    if matches!(status, 429 | 503) {
        match dice.below(6) {
            0 => refusal.retry_after = Some("0".to_owned()),
            1 => refusal.retry_after_ms = Some("1500".to_owned()),
            // A date, which may have passed already.
            2 => {
                let date = now + SignedDuration::from_secs(10) - dice.up_to(Duration::from_secs(20));
                refusal.retry_after = DateTimePrinter::new().timestamp_to_rfc9110_string(&date).ok();
            }
            3 => {}
            _ => refusal.retry_after = Some(dice.within(1, 20).to_string()),
        }
    }
    refusal
}

/// What the client is given of an answer, if one reached it.
pub(crate) fn seen(
    seen: Seen,
    truth: Option<Answer>,
    foreign: Option<RunId>,
) -> Result<Answer, TransportError> {
    let lost = || TransportError::Lost("connection reset".to_owned());
    match seen {
        Seen::NotSent => Err(TransportError::NotSent("dns error".to_owned())),
        Seen::Nothing => Err(lost()),
        _ if truth.is_none() => Err(TransportError::Lost("operation timed out".to_owned())),
        Seen::Truth => truth.ok_or_else(lost),
        Seen::Gateway(status) => Ok(answer(status, "<html>Bad Gateway</html>".to_owned())),
        Seen::Empty => Ok(answer(200, String::new())),
        Seen::Malformed => Ok(answer(200, r#"{"runId":"none","pipelineName":"P0"}"#.to_owned())),
        Seen::Foreign => match foreign {
            Some(run) => Ok(answer(200, format!(r#"{{"runId":"{run}"}}"#))),
            None => Ok(answer(200, "{}".to_owned())),
        },
    }
}
