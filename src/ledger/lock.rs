//! One daemon a ledger: an advisory lock on a file beside it, held for life. The kernel releases it
//! when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// Between two tries while somebody only looks whether the lock is held, and how many of them.
const LOOK: (Duration, u32) = (Duration::from_millis(5), 200);

impl Lock {
    /// Takes the lock of this ledger. Only for those who look at it ([`Lock::is_held`]) it waits, for a moment.
    ///
    /// # Errors
    /// [`LockError::Taken`] when another process holds it, [`LockError::Open`] when the file cannot be opened.
    pub fn take(ledger: &Path) -> Result<Self, LockError> {
        let path = path_of(ledger);
        let open = |source| LockError::Open { path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(&path)
            .map_err(open)?;
        let (wait, tries) = LOOK;
        for _ in 0..tries {
            if try_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(open)? {
                return Ok(Self { _file: file });
            }
            // Whoever holds it shares it only if he but looks.
            if !try_lock(&file, FlockOperation::NonBlockingLockShared).map_err(open)? {
                break;
            }
            flock(&file, FlockOperation::Unlock).map_err(|errno| open(errno.into()))?;
            std::thread::sleep(wait);
        }
        Err(LockError::Taken(path))
    }

    /// Whether a process holds the lock of this ledger. It is not in the way of one that takes it.
    ///
    /// # Errors
    /// [`LockError::Open`] when the file cannot be opened.
    pub fn is_held(ledger: &Path) -> Result<bool, LockError> {
        let path = path_of(ledger);
        let open = |source| LockError::Open { path: path.clone(), source };
        match File::open(&path) {
            Ok(file) => try_lock(&file, FlockOperation::NonBlockingLockShared).map(|got| !got).map_err(open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(open(error)),
        }
    }
}

fn path_of(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Tries to lock the file; returns whether it could.
fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_at_the_lock_sees_who_holds_it_and_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        assert!(!Lock::is_held(&ledger).unwrap(), "there is no lock file yet");
        let lock = Lock::take(&ledger).unwrap();
        assert!(Lock::is_held(&ledger).unwrap());
        assert!(matches!(Lock::take(&ledger), Err(LockError::Taken(_))));
        drop(lock);
        assert!(!Lock::is_held(&ledger).unwrap());
        // One who looks for a long moment.
        let looking = File::open(path_of(&ledger)).unwrap();
        assert!(try_lock(&looking, FlockOperation::NonBlockingLockShared).unwrap());
        let looks = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(looking);
        });
        assert!(Lock::take(&ledger).is_ok());
        looks.join().unwrap();
    }
}
