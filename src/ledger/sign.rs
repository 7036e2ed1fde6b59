//! What a running daemon leaves in the ledger about itself, for `status` and for whoever finds that it no
//! longer runs.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A sign of life. A program of another version may read it: fields may be missing, and there may be more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOfLife {
    /// The process.
    pub pid: u32,
    /// The program's version.
    pub program_version: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When this was so.
    pub heartbeat_at: Timestamp,
    /// The time between two heartbeats.
    pub heartbeat: Duration,
    /// What fires next.
    pub next: Option<NextFiring>,
    /// How it stands with the token.
    #[serde(default)]
    pub token: TokenSign,
    /// Why the schedule file as it stands is not in force.
    #[serde(default)]
    pub rejected: Option<RejectedSign>,
    /// Whether nothing is started for now, since the clock was set by much.
    #[serde(default)]
    pub clock_held: bool,
    /// How it ended, in the last sign of one that was stopped.
    #[serde(default)]
    pub stopped: Option<StoppedSign>,
}

/// What fires next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextFiring {
    /// The entry.
    pub entry: String,
    /// When it is due.
    pub due_time: Timestamp,
}

/// How it stands with the token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSign {
    /// Until when calls can be made with the token in hand.
    pub usable_until: Option<Timestamp>,
    /// Why the last request for one failed, if it did.
    pub error_message: Option<String>,
    /// Whether that was Entra ID's own no, which waiting does not change.
    #[serde(default)]
    pub refused: bool,
}

/// A schedule file that was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedSign {
    /// `file:line:col`.
    pub location: String,
    /// What is wrong there.
    pub message: String,
}

/// How a daemon ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedSign {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub by: String,
}

impl SignOfLife {
    /// Whether the other sign says something new, and not only that time went on.
    #[must_use]
    pub fn is_news_after(&self, other: &Self) -> bool {
        let timeless = |sign: &Self| {
            let usable = sign.token.usable_until.is_some();
            let token = TokenSign { usable_until: None, ..sign.token.clone() };
            (usable, token, sign.rejected.clone(), sign.stopped.clone(), sign.heartbeat, sign.clock_held)
        };
        timeless(self) != timeless(other)
    }

    /// How old the newest sign of a daemon that is well can be: three heartbeats, and never less than 45 s, since
    /// a sign is left every 15 s at the most.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        (self.heartbeat * 3).max(Duration::from_secs(45))
    }

    /// Whether a daemon that is well would have left a newer one by now.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        // A clock that was set back makes it young again; the next sign puts that right.
        let age = now.duration_since(self.heartbeat_at);
        Duration::try_from(age).is_ok_and(|age| age > self.stale_after())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(heartbeat: u64) -> SignOfLife {
        SignOfLife {
            pid: 1,
            program_version: "0.1.0".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            heartbeat_at: Timestamp::UNIX_EPOCH,
            heartbeat: Duration::from_secs(heartbeat),
            next: None,
            token: TokenSign::default(),
            rejected: None,
            clock_held: false,
            stopped: None,
        }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_sign_is_stale_after_three_heartbeats_but_not_before_45_seconds() {
        assert!(!sign(5).is_stale(after(45)) && sign(5).is_stale(after(46)));
        assert!(!sign(60).is_stale(after(180)) && sign(60).is_stale(after(181)));
        assert!(!sign(5).is_stale(after(-10_000)), "the clock was set back");
    }

    #[test]
    fn that_time_went_on_is_no_news_but_a_lost_token_is() {
        let before = SignOfLife {
            token: TokenSign { usable_until: Some(after(100)), ..TokenSign::default() },
            ..sign(5)
        };
        let mut later = SignOfLife { heartbeat_at: after(5), ..before.clone() };
        later.next = Some(NextFiring { entry: "a".to_owned(), due_time: after(9) });
        later.token.usable_until = Some(after(200));
        assert!(!later.is_news_after(&before));
        later.token.usable_until = None;
        assert!(later.is_news_after(&before));
    }
}
