//! What needs a person. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Facts, File};
use crate::ledger::SignOfLife;

/// Something that does not mend itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// `no_daemon`, `stale`, `held`, `schedule_rejected` or `token`.
    pub(super) kind: &'static str,
    /// What is wrong, for people.
    pub(super) message: String,
    /// What to type next.
    pub(super) commands: Vec<String>,
}

impl Problem {
    fn new(kind: &'static str, message: String, commands: &[&str]) -> Self {
        Self { kind, message, commands: commands.iter().map(|command| (*command).to_owned()).collect() }
    }
}

const START: &str = "systemctl start adf-cron";
const SERVICE: &str = "systemctl status adf-cron";
const LOG: &str = "journalctl -u adf-cron -n 50";
const DISK: &str = "df -h /var/lib/adf-cron";
const RELOAD: &str = "systemctl reload adf-cron";

/// The sign of the daemon that runs: it holds the ledger, and its sign is fresh.
pub(super) fn alive(facts: &Facts) -> Option<&SignOfLife> {
    let sign = facts.standing.sign.as_ref()?;
    let fresh = sign.stopped.is_none() && !sign.is_stale(facts.now);
    (facts.locked != Some(false) && fresh).then_some(sign)
}

/// What needs a person, the most urgent first.
pub(super) fn problems(facts: &Facts) -> Vec<Problem> {
    let all = [daemon(facts), held(facts), schedule(facts), token(facts)];
    all.into_iter().flatten().collect()
}

fn daemon(facts: &Facts) -> Option<Problem> {
    if alive(facts).is_some() {
        return None;
    }
    let sign = facts.standing.sign.as_ref();
    if facts.locked == Some(true) {
        let since = |sign: &SignOfLife| {
            format!("last heard of {} ({})", ago(facts.now, sign.heartbeat_at), sign.heartbeat_at)
        };
        let problem = match sign {
            Some(sign) if sign.stopped.is_none() => {
                let message = format!(
                    "the daemon (process {}) hangs, or cannot write the ledger: {}",
                    sign.pid,
                    since(sign)
                );
                Problem::new("stale", message, &[LOG, DISK, "systemctl restart adf-cron"])
            }
            _ => {
                let message = "a process holds the ledger, but no daemon has begun to work on it yet";
                Problem::new("stale", message.to_owned(), &[SERVICE, LOG])
            }
        };
        return Some(problem);
    }
    Some(match sign {
        None => {
            let message = "no daemon runs, and none has worked on this ledger yet".to_owned();
            Problem::new("no_daemon", message, &[SERVICE, START])
        }
        Some(SignOfLife { stopped: Some(stopped), .. }) => {
            let (at, by) = (stopped.at, &stopped.by);
            let message = format!("no daemon runs: {by} stopped it {} ({at})", ago(facts.now, at));
            Problem::new("no_daemon", message, &[START])
        }
        Some(sign) => {
            let at = sign.heartbeat_at;
            let message = format!(
                "no daemon runs: the last one ended without a word, some time after {} ({at})",
                ago(facts.now, at)
            );
            Problem::new("no_daemon", message, &[SERVICE, LOG, START])
        }
    })
}

fn held(facts: &Facts) -> Option<Problem> {
    let (held, oldest) = (facts.standing.held, &facts.standing.oldest_held);
    if held == 0 {
        return None;
    }
    let mut message = match held {
        1 => "a firing is held: a person must find out whether it started a run".to_owned(),
        _ => format!("{held} firings are held: a person must find out whether they started a run"),
    };
    for row in oldest {
        let reason = row.reason.as_deref().unwrap_or("held");
        message += &format!("\n{} {} ({reason}), firing {}", row.entry, row.scheduled_time, row.firing_id);
    }
    if let Some(more @ 1..) = held.checked_sub(oldest.len() as u64) {
        message += &format!("\nand {more} more");
    }
    let mut problem = Problem::new("held", message, &["adf-cron history --state held"]);
    if let Some(row) = oldest.first() {
        let settle = format!("adf-cron settle {} --run RUN_ID | --not-started | --retry", row.firing_id);
        problem.commands.push(settle);
    }
    Some(problem)
}

/// What runs is the last good schedule. Without a daemon it is the file that tells what the next start finds.
fn schedule(facts: &Facts) -> Option<Problem> {
    let (location, message) = match (alive(facts), &facts.file) {
        (Some(sign), _) => {
            let rejected = sign.rejected.as_ref()?;
            (&rejected.location, &rejected.message)
        }
        (None, File::Wrong { location, message }) => (location, message),
        (None, _) => return None,
    };
    let message =
        format!("the schedule file is wrong at {location}; the last good schedule is used\n{message}");
    Some(Problem::new("schedule_rejected", message, &["adf-cron check", RELOAD]))
}

fn token(facts: &Facts) -> Option<Problem> {
    let token = &alive(facts)?.token;
    // One that is only just being asked for is no trouble.
    let error = token.error_message.as_ref()?;
    let message = match token.usable_until.filter(|until| *until > facts.now) {
        None => format!("there is no usable token, so that no run can be started\n{error}"),
        Some(until) if token.refused => {
            format!("Entra ID refuses a new token; the one in hand lasts until {until}\n{error}")
        }
        Some(_) => return None,
    };
    Some(Problem::new("token", message, &["adf-cron check --live", LOG]))
}

/// How long ago something was.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    let passed = now.duration_since(then).max(SignedDuration::ZERO);
    match passed.as_secs() {
        seconds @ ..120 => format!("{seconds} s ago"),
        seconds @ ..7_200 => format!("{} min ago", seconds / 60),
        seconds @ ..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ledger::{RejectedSign, Standing, StoppedSign, TokenSign};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn well() -> Facts {
        let sign = SignOfLife {
            pid: 42,
            program_version: "0.1.0".to_owned(),
            started_at: at(0),
            heartbeat_at: at(100),
            heartbeat: Duration::from_secs(5),
            next: None,
            token: TokenSign { usable_until: Some(at(3_000)), ..TokenSign::default() },
            rejected: None,
            clock_held: false,
            stopped: None,
        };
        let standing = Standing { sign: Some(sign), ..Standing::default() };
        Facts { now: at(110), standing, locked: Some(true), file: File::Unseen }
    }

    fn with(change: impl FnOnce(&mut Facts, &mut SignOfLife)) -> Vec<&'static str> {
        let mut facts = well();
        let mut sign = facts.standing.sign.take().unwrap();
        change(&mut facts, &mut sign);
        facts.standing.sign = Some(sign);
        problems(&facts).iter().map(|problem| problem.kind).collect()
    }

    #[test]
    fn a_daemon_with_a_fresh_sign_and_a_token_needs_nobody() {
        assert_eq!(problems(&well()), []);
        assert_eq!(with(|facts, _| facts.locked = None), [""; 0], "the lock cannot be looked at");
    }

    #[test]
    fn a_daemon_that_no_longer_runs_or_no_longer_writes_needs_somebody() {
        assert_eq!(with(|facts, _| facts.locked = Some(false)), ["no_daemon"]);
        assert_eq!(with(|facts, _| facts.now = at(146)), ["stale"]);
        let stop = |sign: &mut SignOfLife| {
            sign.stopped = Some(StoppedSign { at: at(100), by: "SIGTERM".to_owned() });
        };
        assert_eq!(with(|facts, sign| (facts.locked, _) = (Some(false), stop(sign))), ["no_daemon"]);
        assert_eq!(with(|_, sign| stop(sign)), ["stale"], "another process has taken the ledger");
        let mut facts = well();
        (facts.standing.sign, facts.locked) = (None, Some(false));
        assert_eq!(problems(&facts)[0].commands[1], "systemctl start adf-cron");
    }

    #[test]
    fn a_token_needs_somebody_when_it_is_used_up_or_refused_but_not_while_entra_id_is_away() {
        let error = || Some("AADSTS7000222: the secret has expired".to_owned());
        assert_eq!(with(|_, sign| sign.token.error_message = error()), [""; 0]);
        let refused =
            |sign: &mut SignOfLife| (sign.token.error_message, sign.token.refused) = (error(), true);
        assert_eq!(with(|_, sign| refused(sign)), ["token"]);
        let used_up = |sign: &mut SignOfLife| {
            (sign.token.error_message, sign.token.usable_until) = (error(), Some(at(109)));
        };
        assert_eq!(with(|_, sign| used_up(sign)), ["token"]);
        assert_eq!(with(|_, sign| sign.token.usable_until = None), [""; 0], "it is being asked for");
    }

    #[test]
    fn a_rejected_schedule_is_what_the_daemon_says_or_the_file_if_none_runs() {
        let rejected =
            || Some(RejectedSign { location: "s.yaml:1:1".to_owned(), message: "wrong".to_owned() });
        assert_eq!(with(|_, sign| sign.rejected = rejected()), ["schedule_rejected"]);
        let wrong = || File::Wrong { location: "s.yaml:1:1".to_owned(), message: "wrong".to_owned() };
        assert_eq!(with(|facts, _| facts.file = wrong()), [""; 0], "nobody has asked for it to be read");
        let down = |facts: &mut Facts| (facts.file, facts.locked) = (wrong(), Some(false));
        assert_eq!(with(|facts, _| down(facts)), ["no_daemon", "schedule_rejected"]);
        assert_eq!(
            with(|facts, sign| (sign.rejected, facts.locked) = (rejected(), Some(false))),
            ["no_daemon"],
            "it may have been mended since"
        );
    }

    #[test]
    fn how_long_ago_something_was_is_said_in_one_unit() {
        let said = |seconds| ago(at(seconds), at(0));
        assert_eq!([said(-5), said(119)], ["0 s ago", "119 s ago"]);
        assert_eq!([said(120), said(7_200), said(172_800)], ["2 min ago", "2 h ago", "2 days ago"]);
    }
}
