//! How the daemon begins: the schedule file or the last good one, the lock, the ledger.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::schedule_file::{self, Loaded, Reading, Rejection};
use super::{Exit, Outside, which_ledger};
use crate::azure::{Client, ClientError};
use crate::clock::Now;
use crate::config::{Entry, Settings};
use crate::engine::{Random, Schedule};
use crate::event::{Event, Fields, Level, Name, chain};
use crate::file;
use crate::ledger::{Ledger as _, Lock, LockError, Snapshot, SqliteLedger};
use crate::schedule::CronRules;

/// Between two tries to open a ledger that may become available.
const OPEN_AGAIN: Duration = Duration::from_secs(2);
/// Tries between two events about it.
const REPEAT: u32 = 30;
/// Where systemd-timesyncd keeps what it has done, with a file `synchronized` once the clock is right
/// (systemd-timesyncd.service(8)). Other services of that kind hold up time-sync.target, and so the unit.
const TIMESYNC: &str = "/run/systemd/timesync";
/// Between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Why nothing runs where no schedule is known.
const NO_SCHEDULE: &str = "nothing runs, since no schedule was ever in force";

/// All that a daemon needs to run.
pub(super) struct Begun {
    pub(super) loaded: Loaded,
    pub(super) client: Client,
    pub(super) rejected: Option<Rejection>,
    pub(super) ledger: SqliteLedger,
    pub(super) lock_taken: Now,
    pub(super) snapshot: Snapshot,
    /// The entries of the schedule that was in force last, as it was read then, if it is another, or was read by other
    /// rules, and can still be read.
    pub(super) before: Vec<Arc<Entry>>,
}

pub(super) fn say_failed(outside: &Outside, what: &str, error: &dyn std::error::Error) {
    let fields = Fields { error_message: Some(chain(error)), ..Fields::default() };
    outside.output.say(&Event::new(Level::Error, Name::DaemonFailed, what.to_owned(), fields));
}

/// Reads the schedule, takes the lock and opens the ledger.
pub(super) async fn begin(outside: &Outside) -> Result<Begun, Exit> {
    let (loaded, rejected) = match load(outside).await {
        Ok(loaded) => (Some(loaded), None),
        Err(rejection) if outside.strict => {
            outside.output.say(&rejection.event("nothing runs (--strict)"));
            return Err(Exit::Config);
        }
        Err(rejection) => (None, Some(rejection)),
    };
    let read =
        loaded.as_ref().ok_or_else(|| rejected.as_ref().and_then(|rejection| rejection.text.as_deref()));
    let found = which_ledger::of(&outside.config, read, &outside.environment);
    let say_rejected = |instead: &str| {
        if let Some(rejection) = &rejected {
            outside.output.say(&rejection.event(&format!("{instead}{}", found.words)));
        }
    };
    // A wrong file on a host that never ran a schedule must not leave an empty ledger behind.
    if rejected.is_some() && !found.path.try_exists().unwrap_or(true) {
        say_rejected(if found.words.is_empty() { NO_SCHEDULE } else { "nothing runs" });
        return Err(Exit::Config);
    }
    let lock = take_lock(outside, &found.path).inspect_err(|_| say_rejected("nothing runs"))?;
    let lock_taken = outside.clock.now();
    let (ledger, snapshot) = open(outside, &lock).await?;
    let loaded = match loaded {
        Some(loaded) => loaded,
        None => {
            let mut loaded = last_good(outside, &snapshot, say_rejected)?;
            // Its text may name the place where the ledger was then.
            loaded.settings.ledger = Some(found.path.clone());
            loaded
        }
    };
    let client = client_beside(outside, &loaded.settings).await?;
    await_clock(outside, loaded.settings.daemon.clock_wait).await;
    let lock_taken = by_the_clock_now(lock_taken, outside.clock.now());
    let before = entries_before(outside, &loaded, &snapshot);
    Ok(Begun { loaded, client, rejected, ledger, lock_taken, snapshot, before })
}

/// Reads the schedule file beside the loop, which a signal may end meanwhile.
async fn load(outside: &Outside) -> Result<Loaded, Rejection> {
    let (path, environment) = (outside.config.clone(), Arc::clone(&outside.environment));
    Reading::start(path, environment, outside.clock.now().wall).end().await
}

fn entries_before(outside: &Outside, loaded: &Loaded, snapshot: &Snapshot) -> Vec<Arc<Entry>> {
    let Schedule { version, rules, .. } = &loaded.schedule;
    let other =
        snapshot.schedule.as_ref().filter(|last| last.version != *version || last.rules != Some(*rules));
    let parsed = other.and_then(|last| {
        schedule_file::accepted(last.text.as_bytes(), "", &outside.environment, last.rules?).ok()
    });
    parsed.map(|before| before.schedule.entries).unwrap_or_default()
}

/// The last schedule that was in force, instead of a file that is wrong. It is read by the rules of today; only where
/// those refuse it, it goes on as it was read then, since nothing must stop for a new version of the program.
fn last_good(outside: &Outside, snapshot: &Snapshot, say_rejected: impl Fn(&str)) -> Result<Loaded, Exit> {
    let parsed = snapshot.schedule.as_ref().map(|last| {
        let file = format!("schedule version {}", last.version.chars().take(12).collect::<String>());
        let read = |rules| schedule_file::accepted(last.text.as_bytes(), &file, &outside.environment, rules);
        read(CronRules::CURRENT).or_else(|rejection| match last.rules {
            Some(rules) if rules != CronRules::CURRENT => read(rules),
            _ => Err(rejection),
        })
    });
    let (instead, result) = match parsed {
        Some(Ok(loaded)) if loaded.schedule.rules != CronRules::CURRENT => (
            "the last good schedule runs instead, with its cron expressions read as the version of the program before \
             read them",
            Ok(loaded),
        ),
        Some(Ok(loaded)) => ("the last good schedule runs instead", Ok(loaded)),
        Some(Err(_)) => {
            ("nothing runs: the last good schedule is not valid for this version", Err(Exit::Config))
        }
        None => (NO_SCHEDULE, Err(Exit::Config)),
    };
    say_rejected(instead);
    result
}

pub(super) fn take_lock(outside: &Outside, path: &Path) -> Result<Lock, Exit> {
    if let Some(directory) = path.parent() {
        // What is wrong with it shows when the lock file is opened.
        let _ = std::fs::create_dir_all(directory);
    }
    Lock::take(path).map_err(|error| {
        let what = match &error {
            LockError::Open { .. } => "the ledger cannot be locked",
            LockError::Taken { .. } | LockError::Elsewhere { .. } => "the ledger is in use",
            LockError::OtherName(_) => "the ledger is used by another name",
        };
        say_failed(outside, what, &error);
        Exit::Unavailable
    })
}

/// Opens the ledger; waits for one that may become available.
pub(super) async fn open(outside: &Outside, lock: &Lock) -> Result<(SqliteLedger, Snapshot), Exit> {
    let mut tries = 0_u32;
    loop {
        let opened = match SqliteLedger::open(lock).await {
            Ok(mut ledger) => ledger.load().await.map(|snapshot| (ledger, snapshot)),
            Err(error) => Err(error),
        };
        let error = match opened {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let hopeless = error.is_hopeless();
        if hopeless || tries.is_multiple_of(REPEAT) {
            let fields = Fields { error_message: Some(chain(&error)), ..Fields::default() };
            let message = if hopeless {
                "the ledger cannot be used; move it away or restore it, then start again"
            } else {
                "the ledger cannot be opened; nothing is started until it can"
            };
            outside.output.say(&Event::new(Level::Error, Name::LedgerFailed, message, fields));
            outside.notifier.status(message);
        }
        if hopeless {
            return Err(Exit::Unavailable);
        }
        tries += 1;
        tokio::time::sleep(OPEN_AGAIN).await;
    }
}

/// The client for these settings. The file of its certificate authorities is read beside the loop: it may be one that
/// hangs.
async fn client_beside(outside: &Outside, settings: &Settings) -> Result<Client, Exit> {
    let made = {
        let (outside, settings) = (outside.clone(), settings.clone());
        file::beside(schedule_file::NOBODY_WAITS, move || client(&outside, &settings)).await
    };
    let failed = |error: &dyn std::error::Error| {
        say_failed(outside, "the connection to Azure cannot be set up", error);
        // It may be a file that is not there yet: systemd tries again.
        Exit::Unavailable
    };
    let hangs = || std::io::Error::other("reading azure.ca_file hangs; look whether its file system answers");
    made.ok_or_else(|| failed(&hangs()))?.map_err(|error| failed(&error))
}

/// The client for these settings.
pub(super) fn client(outside: &Outside, settings: &Settings) -> Result<Client, ClientError> {
    let output = outside.output.clone();
    Client::new(
        &settings.azure,
        Arc::clone(&outside.clock),
        Arc::clone(&outside.environment),
        Arc::new(move |event: Event| output.say(&event)),
    )
}

/// A moment as the clock that stands now would have read it, if it was set ahead since: what the last daemon sent is
/// compared with it. One that was set back must not make sent what is sent appear as still to come.
fn by_the_clock_now(then: Now, now: Now) -> Now {
    let passed = now.boot.saturating_sub(then.boot);
    Now { wall: now.wall.checked_sub(passed).unwrap_or(then.wall).max(then.wall), boot: then.boot }
}

/// Waits for the clock of a host that has just booted: what it reads before is the time of its last stop.
async fn await_clock(outside: &Outside, limit: Duration) {
    let mut said = false;
    while clock_is_awaited(Path::new(TIMESYNC), outside.clock.now().boot, limit) {
        if !said {
            said = true;
            let message = format!(
                "the clock is not synchronised yet; it is awaited until {} s after boot",
                limit.as_secs()
            );
            outside.notifier.status(&message);
            outside.output.say(&Event::new(Level::Warn, Name::ClockAwaited, message, Fields::default()));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether a host that booted `boot` ago has a service that will set its clock and has not yet.
fn clock_is_awaited(timesync: &Path, boot: Duration, limit: Duration) -> bool {
    boot < limit && timesync.is_dir() && !timesync.join("synchronized").exists()
}

/// Randomness for spreading retries and for the ids of manual firings.
pub(super) fn random() -> Random {
    Box::new(|| uuid::Uuid::new_v4().as_u64_pair().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_the_clock_was_set_is_told_by_the_clock_after_it() {
        let at = |text: &str, boot| Now { wall: text.parse().unwrap(), boot: Duration::from_secs(boot) };
        let lock = by_the_clock_now(at("2026-11-24T11:59:55Z", 10), at("2026-11-24T12:02:00Z", 17));
        assert_eq!(lock, at("2026-11-24T12:01:53Z", 10));
    }

    #[test]
    fn only_a_host_that_just_booted_and_will_set_its_clock_is_waited_for() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("timesync");
        let (soon, limit) = (Duration::from_secs(20), Duration::from_secs(120));
        assert!(!clock_is_awaited(&folder, soon, limit), "nobody will set it");
        std::fs::create_dir(&folder).unwrap();
        assert!(clock_is_awaited(&folder, soon, limit));
        assert!(!clock_is_awaited(&folder, limit, limit), "long enough");
        std::fs::write(folder.join("synchronized"), "").unwrap();
        assert!(!clock_is_awaited(&folder, soon, limit));
    }
}
