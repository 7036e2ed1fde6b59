//! One daemon a ledger: an advisory lock on a file beside it, held for life. The kernel releases it
//! when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "another adf-cron already runs on this ledger: {0} is locked; stop that one, or give this one a ledger of its own"
    )]
    Taken(PathBuf),
    /// The lock file could not be opened.
    #[error(
        "the ledger's lock file {path} could not be opened; the daemon's user must be able to write there"
    )]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The right to change a ledger. Dropping it gives the right back.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this ledger, without waiting.
    ///
    /// # Errors
    /// [`LockError::Taken`] when another process holds it, [`LockError::Open`] when the file cannot be opened.
    pub fn take(ledger: &Path) -> Result<Self, LockError> {
        let mut name = ledger.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(&path)
            .map_err(|source| LockError::Open { path: path.clone(), source })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Taken(path)),
            Err(errno) => Err(LockError::Open { path, source: errno.into() }),
        }
    }
}
