//! Reading the schedule file for the daemon: what is in force after it, or why not.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::azure::Environment;
use crate::config::{self, Problems, Settings};
use crate::engine::Schedule;
use crate::event::{Event, Fields, Level, Name};
use crate::file::{self, Opened};
use crate::schedule::CronRules;

/// Files larger than this are refused before they are read.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// So are holiday files larger than this.
const MAX_HOLIDAY_BYTES: u64 = 1024 * 1024;

/// How long the files that are read may take in all while a person waits, and while nobody does.
const PERSON_WAITS: Duration = Duration::from_millis(1_500);
pub(super) const NOBODY_WAITS: Duration = Duration::from_secs(10);
/// How long it may take in all. The bounds of texts are far below it; it is for what they have missed.
const MOST_TIME: Duration = Duration::from_secs(60);
/// How often it is looked whether a file is still being read.
const TICK: Duration = Duration::from_millis(50);
/// The stack on which schedules are read. At all bounds of depth together a tenth of it is enough, without
/// optimisation a half.
const STACK: usize = 8 * 1024 * 1024;

/// The most problems that an event shows: a log is no place for all of a large file's.
const SHOWN: usize = 20;

/// A schedule file that was read and is valid.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// The same for the engine.
    pub schedule: Schedule,
}

/// A schedule file that cannot be used.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// `file:line:col` of the first problem, or the file alone.
    pub location: String,
    /// All that is wrong, for people.
    pub message: String,
    /// How many problems there are.
    pub count: u64,
    /// Each of them, where the text shows them.
    pub problems: Problems,
    /// The text, if it could be read: it may still name the ledger.
    pub text: Option<Vec<u8>>,
}

impl Rejection {
    fn unreadable(path: &Path, message: String) -> Self {
        Self {
            location: path.display().to_string(),
            message,
            count: 1,
            problems: Problems::default(),
            text: None,
        }
    }

    /// A rejection for a reason that no line of the file shows.
    #[must_use]
    pub fn of(path: &Path, message: &str) -> Self {
        Self::unreadable(path, format!("{}: {message}", path.display()))
    }

    /// The event that says so, and what runs instead.
    #[must_use]
    pub fn event(&self, instead: &str) -> Event {
        let shown = match self.problems.is_empty() {
            true => self.message.clone(),
            false => self.problems.beginning(SHOWN),
        };
        let fields = Fields {
            location: Some(self.location.clone()),
            error_message: Some(shown),
            count: Some(self.count),
            ..Fields::default()
        };
        let message = format!("the schedule file is wrong at {}; {instead}", self.location);
        Event::new(Level::Error, Name::ScheduleRejected, message, fields)
    }
}

/// What is said where a schedule file cannot be read.
fn unread(path: &Path, error: &std::io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => {
            format!("{shown}: there is no such file; give one with --config or ADF_CRON_CONFIG")
        }
        ErrorKind::PermissionDenied => {
            format!("{shown}: {error}; people who may read it are in the group that owns it (adf-cron)")
        }
        ErrorKind::FileTooLarge => {
            format!("{shown}: the file is larger than 32 MiB; schedules of that size are refused")
        }
        _ => format!("{shown}: {error}"),
    }
}

/// Reads a holiday file.
fn holiday_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    file::read(path, MAX_HOLIDAY_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            format!("{shown}: the file is larger than 1 MiB; it should hold one date a line")
        }
        _ => format!("{shown}: {error}"),
    })
}

/// Reads and validates a schedule file, at the time `now`, for a person who waits.
///
/// # Errors
/// [`Rejection`], with everything that is wrong.
pub fn load(path: &Path, environment: &Environment, now: Timestamp) -> Result<Loaded, Rejection> {
    load_within(PERSON_WAITS, path, environment, now)
}

/// A schedule file that is being read beside everything else.
#[derive(Debug)]
pub(super) struct Reading {
    path: PathBuf,
    result: oneshot::Receiver<Result<Loaded, Rejection>>,
}

impl Reading {
    /// Starts to read. The thread is left behind if the process ends before.
    pub(super) fn start(path: PathBuf, environment: Environment, now: Timestamp) -> Self {
        let (done, result) = oneshot::channel();
        let read = path.clone();
        let load = move || {
            // Nobody listens any more once the daemon has drained.
            let _ = done.send(load_within(NOBODY_WAITS, &read, &environment, now));
        };
        // Where there is no thread, the result never comes, and that is told.
        let _ = std::thread::Builder::new().name("load".to_owned()).spawn(load);
        Self { path, result }
    }

    /// What the file says, or what is wrong with it.
    pub(super) async fn end(&mut self) -> Result<Loaded, Rejection> {
        let result = (&mut self.result).await;
        result.unwrap_or_else(|_| Err(Rejection::of(&self.path, "no thread could be started to read it")))
    }
}

/// The file that is being read now.
type Current = Arc<Mutex<Option<PathBuf>>>;

/// Reads and validates on a thread of its own, whose stack is known, and which is left behind when a file hangs.
fn load_within(
    patience: Duration,
    path: &Path,
    environment: &Environment,
    now: Timestamp,
) -> Result<Loaded, Rejection> {
    let (done, result) = mpsc::channel();
    let current = Current::default();
    let work = {
        let (path, environment, current) = (path.to_owned(), Arc::clone(environment), Arc::clone(&current));
        move || {
            // Nobody listens any more once it took too long.
            let _ = done.send(load_here(&path, &environment, now, &current));
        }
    };
    let thread = std::thread::Builder::new().name("schedule".to_owned()).stack_size(STACK);
    thread
        .spawn(work)
        .map_err(|error| Rejection::of(path, &format!("no thread could be started to read it: {error}")))?;
    // Only the reading of files is counted: how long the rest takes is bounded, and depends on the host.
    let (mut reading, mut all) = (Duration::ZERO, Duration::ZERO);
    loop {
        match result.recv_timeout(TICK) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Rejection::of(path, "a defect of this program ended the reading of it"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        all += TICK;
        if all >= MOST_TIME {
            let message = format!("it could not be read within {} s; make it simpler", MOST_TIME.as_secs());
            return Err(Rejection::of(path, &message));
        }
        let current = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(file) = current {
            reading += TICK;
            if reading >= patience {
                let shown = file.display();
                let message = format!(
                    "reading {shown} takes longer than {} ms; look whether its file system answers",
                    patience.as_millis()
                );
                return Err(Rejection::of(path, &message));
            }
        }
    }
}

fn load_here(
    path: &Path,
    environment: &Environment,
    now: Timestamp,
    current: &Current,
) -> Result<Loaded, Rejection> {
    let now_at = |path: Option<&Path>| {
        *current.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_owned);
    };
    let watched = |path: &Path, read: &dyn Fn(&Path) -> Result<Vec<u8>, String>| {
        now_at(Some(path));
        let bytes = read(path);
        now_at(None);
        bytes
    };
    now_at(Some(path));
    let text = file::open(path).and_then(|opened| match opened {
        Opened::Regular(file) => file::up_to(MAX_FILE_BYTES, file),
        Opened::Pipe(pipe) => {
            // Whoever gives a pipe, as `diff <(git show …)` does, waits for its writer.
            now_at(None);
            file::up_to(MAX_FILE_BYTES, pipe)
        }
    });
    now_at(None);
    let text = text.map_err(|error| Rejection::unreadable(path, unread(path, &error)))?;
    let look_up = |name: &str| environment(name);
    let holidays = |path: &Path| watched(path, &holiday_file);
    let outside = config::Outside { environment: &look_up, file: &holidays };
    let read = config::load(&text, &path.display().to_string(), outside, now);
    if let Some(ca_file) = read.as_ref().ok().and_then(|settings| settings.azure.ca_file.as_deref()) {
        // The client reads it, and says what is wrong with it. Here it may hang, there it may not.
        let _ = watched(ca_file, &read_any);
    }
    let kept = read.as_ref().ok().filter(|settings| !settings.holidays.is_empty()).map(|settings| {
        config::with_holidays(&String::from_utf8_lossy(&text), &settings.holidays).into_bytes()
    });
    of(&kept.unwrap_or(text), read, CronRules::CURRENT)
}

fn read_any(path: &Path) -> Result<Vec<u8>, String> {
    file::read(path, MAX_FILE_BYTES).map_err(|error| error.to_string())
}

/// Validates the text of a schedule that was in force before, its cron expressions read by these rules.
///
/// # Errors
/// [`Rejection`], with everything that is wrong.
pub fn accepted(
    text: &[u8],
    file: &str,
    environment: &Environment,
    rules: CronRules,
) -> Result<Loaded, Rejection> {
    let look_up = |name: &str| environment(name);
    of(text, config::load_accepted(text, file, &look_up, rules), rules)
}

fn of(text: &[u8], read: Result<Settings, Problems>, rules: CronRules) -> Result<Loaded, Rejection> {
    match read {
        Ok(settings) => {
            let schedule = Schedule {
                version: version(text).into(),
                text: String::from_utf8_lossy(text).into(),
                rules,
                daemon: settings.daemon.clone(),
                studio: settings.azure.studio,
                entries: settings.entries.clone(),
            };
            Ok(Loaded { settings, schedule })
        }
        Err(problems) => Err(Rejection {
            location: problems.first_location(),
            message: problems.to_string(),
            count: problems.len() as u64,
            problems,
            text: Some(text.to_owned()),
        }),
    }
}

pub(super) fn version(text: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the ledger is: as the file says, else where systemd keeps the daemon's state.
#[must_use]
pub fn ledger_path(named: Option<PathBuf>, environment: &Environment) -> PathBuf {
    named.unwrap_or_else(|| state_directory(environment).join("ledger.db"))
}

/// Where systemd keeps the daemon's state.
pub(super) fn state_directory(environment: &Environment) -> PathBuf {
    let state = environment("STATE_DIRECTORY").filter(|state| !state.is_empty());
    PathBuf::from(state.unwrap_or_else(|| "/var/lib/adf-cron".to_owned()))
}
