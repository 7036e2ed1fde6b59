//! Reading the schedule file for the daemon: what is in force after it, or why not.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::azure::Environment;
use crate::config::{self, Problems, Settings};
use crate::engine::Schedule;
use crate::event::{Event, Fields, Level, Name};

/// Files larger than this are refused before they are read.
pub const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// So are holiday files larger than this.
const MAX_HOLIDAY_BYTES: u64 = 1024 * 1024;

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

/// Reads at most [`MAX_FILE_BYTES`] of a file.
///
/// # Errors
/// A sentence for people, when the file cannot be read or is too large.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{shown}: there is no such file; give one with --config or ADF_CRON_CONFIG")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("{shown}: {error}; people who may read it are in the group that owns it (adf-cron)")
        }
        _ => format!("{shown}: {error}"),
    })?;
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| format!("{shown}: {error}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{shown}: the file is larger than 32 MiB; schedules of that size are refused"));
    }
    Ok(text)
}

/// Reads a holiday file.
fn holiday_file(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    let most = MAX_HOLIDAY_BYTES;
    file.take(most + 1).read_to_end(&mut text).map_err(|error| format!("{shown}: {error}"))?;
    if text.len() as u64 > most {
        return Err(format!("{shown}: the file is larger than 1 MiB; it should hold one date a line"));
    }
    Ok(text)
}

/// Reads and validates a schedule file, at the time `now`.
///
/// # Errors
/// [`Rejection`], with everything that is wrong.
pub fn load(path: &Path, environment: &Environment, now: Timestamp) -> Result<Loaded, Rejection> {
    let text = read(path).map_err(|message| Rejection::unreadable(path, message))?;
    let look_up = |name: &str| environment(name);
    let outside = config::Outside { environment: &look_up, file: &holiday_file };
    let read = config::load(&text, &path.display().to_string(), outside, now);
    let kept = read.as_ref().ok().filter(|settings| !settings.holidays.is_empty()).map(|settings| {
        config::with_holidays(&String::from_utf8_lossy(&text), &settings.holidays).into_bytes()
    });
    of(&kept.unwrap_or(text), read)
}

/// Validates the text of a schedule that was in force before.
///
/// # Errors
/// [`Rejection`], with everything that is wrong.
pub fn accepted(text: &[u8], file: &str, environment: &Environment) -> Result<Loaded, Rejection> {
    let look_up = |name: &str| environment(name);
    of(text, config::load_accepted(text, file, &look_up))
}

fn of(text: &[u8], read: Result<Settings, Problems>) -> Result<Loaded, Rejection> {
    match read {
        Ok(settings) => {
            let schedule = Schedule {
                version: version(text).into(),
                text: String::from_utf8_lossy(text).into(),
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
