//! One daemon a ledger, by whatever path it is named. Two locks, held for life; the kernel releases both when the
//! process ends, however it ends.
//!
//! The first lies on a file beside the ledger, `ledger.db.lock`. It holds on when the ledger is moved or replaced.
//! The second lies on the ledger's own file, so that a symbolic link, a hard link, a mount of it elsewhere, or a lock
//! file that was removed are no way in. It is an open file description lock (`F_OFD_SETLK`, fcntl(2)) on a byte
//! that SQLite never uses: `flock` on the whole file is in SQLite's own way on network filesystems. Closing any
//! descriptor of that file drops SQLite's locks of this process, so ours is closed after SQLite's, or never.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{FlockOperation, flock};

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it by this name.
    #[error(
        "another adf-cron already runs on this ledger: {path} is locked{}; stop that one, or give this one a ledger of its own",
        by(.holder)
    )]
    Taken {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, if that can be seen.
        holder: Option<Holder>,
    },
    /// Another process holds the file, but not by this name.
    #[error(
        "another adf-cron already runs on this ledger: the file {ledger} is locked{}, by another name of it, or the \
         lock file beside it was removed; use that name, or stop that one, or give this one a ledger of its own",
        by(.holder)
    )]
    Elsewhere {
        /// The file.
        ledger: PathBuf,
        /// Who holds it, if that can be seen.
        holder: Option<Holder>,
    },
    /// The ledger has another name, and this is not the one that is used.
    #[error(transparent)]
    OtherName(#[from] OtherName),
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

/// A hard link to a ledger that is used by another name. SQLite keeps the newest changes in a file beside the name in
/// use (`ledger.db-wal`), so by any other name they are missing, and what is written spoils the ledger
/// (<https://www.sqlite.org/howtocorrupt.html>, multiple links to the same file).
#[derive(Debug, thiserror::Error)]
#[error(
    "the ledger {path} is a file with {links} names (hard links), and it was not used by this one; its newest changes \
     lie beside the other name. Use that name, or remove the name that is not used \
     (find / -samefile {path})"
)]
pub struct OtherName {
    path: PathBuf,
    links: u64,
}

/// A process that holds a lock.
#[derive(Debug)]
pub struct Holder {
    pid: u32,
    file: PathBuf,
}

fn by(holder: &Option<Holder>) -> String {
    let said = |holder: &Holder| format!(" by process {} ({})", holder.pid, holder.file.display());
    holder.as_ref().map(said).unwrap_or_default()
}

/// The right to change a ledger. Once the last copy is dropped the right is given back.
#[derive(Debug, Clone)]
pub struct Lock(Arc<Held>);

#[derive(Debug)]
struct Held {
    /// The ledger without symbolic links.
    ledger: PathBuf,
    _beside: Vec<File>,
    /// The ledger's own file.
    file: OnceLock<File>,
}

/// Between two tries while somebody only looks whether the lock is held, and how many of them.
const LOOK: (Duration, u32) = (Duration::from_millis(5), 200);
/// So many links in a row lead to a file (path_resolution(7)).
const MOST_LINKS: u32 = 40;
/// The byte of the ledger's file that is locked: far beyond those that SQLite locks (at 1 GiB), and beyond its end.
const BYTE: libc::off_t = 1 << 60;

impl Lock {
    /// Takes the lock of this ledger. Only for those who look at it ([`Lock::is_held`]) it waits, for a moment.
    ///
    /// # Errors
    /// [`LockError::Taken`] when another process holds it by this name, [`LockError::Elsewhere`] when it holds it by
    /// another, [`LockError::OtherName`] when it was last used by another, [`LockError::Open`] when a lock file cannot
    /// be opened. A ledger that cannot be opened shows when it is.
    pub fn take(ledger: &Path) -> Result<Self, LockError> {
        let real = without_links(ledger);
        if let Err(other) = in_use_by_this_name(&real) {
            return Err(if file_is_locked(&real).unwrap_or(false) { elsewhere(real) } else { other.into() });
        }
        let beside = lock_files(ledger, &real).into_iter().map(lock_beside).collect::<Result<_, _>>()?;
        let lock = Self(Arc::new(Held { ledger: real, _beside: beside, file: OnceLock::new() }));
        match lock.lock_file(false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(elsewhere(lock.0.ledger.clone())),
            _ => Ok(lock),
        }
    }

    /// The ledger, without symbolic links.
    pub(super) fn ledger(&self) -> &Path {
        &self.0.ledger
    }

    /// Locks the ledger's own file, unless that is done, and makes it if it may be made. It holds parameter values:
    /// it is made for its owner and group alone, and SQLite gives the files beside it the same rights.
    pub(super) fn lock_file(&self, create: bool) -> io::Result<()> {
        if self.0.file.get().is_some() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false).mode(0o640);
        let file = options.open(&self.0.ledger)?;
        fcntl(&file, FcntlArg::F_OFD_SETLK(&our_byte()))?;
        let _ = self.0.file.set(file);
        Ok(())
    }

    /// Whether the ledger still leads to the file that is locked.
    pub(super) fn is_in_place(&self) -> bool {
        let id = |metadata: io::Result<std::fs::Metadata>| metadata.ok().map(|file| (file.dev(), file.ino()));
        let locked = self.0.file.get().and_then(|file| id(file.metadata()));
        locked.is_some() && locked == id(std::fs::metadata(&self.0.ledger))
    }

    /// Whether a process holds the lock of this ledger, by whatever name. It is not in the way of one that takes it.
    ///
    /// # Errors
    /// [`LockError::Open`] when a file cannot be opened.
    pub fn is_held(ledger: &Path) -> Result<bool, LockError> {
        let real = without_links(ledger);
        for path in lock_files(ledger, &real) {
            let open = |source| LockError::Open { path: path.clone(), source };
            if let Some(file) = there(File::open(&path)).map_err(open)?
                && !try_lock(&file, FlockOperation::NonBlockingLockShared).map_err(open)?
            {
                return Ok(true);
            }
        }
        file_is_locked(&real).map_err(|source| LockError::Open { path: real, source })
    }
}

/// Whether a process has locked the ledger's own file.
fn file_is_locked(real: &Path) -> io::Result<bool> {
    let Some(file) = there(File::open(real))? else { return Ok(false) };
    let mut lock = our_byte();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    // This process may read the ledger: closing the file would drop SQLite's locks.
    std::mem::forget(file);
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn elsewhere(ledger: PathBuf) -> LockError {
    let holder = File::open(&ledger).ok().and_then(|file| holder(&file));
    LockError::Elsewhere { ledger, holder }
}

/// Refuses a hard link of a ledger, unless it is the name that is used: that one has a lock file or changes beside it.
pub(super) fn in_use_by_this_name(real: &Path) -> Result<(), OtherName> {
    // A folder has several by nature.
    let links =
        std::fs::metadata(real).ok().filter(std::fs::Metadata::is_file).map_or(1, |file| file.nlink());
    if links > 1 && !beside(real, ".lock").exists() && !has_log(real) {
        return Err(OtherName { path: real.to_owned(), links });
    }
    Ok(())
}

/// A path without symbolic links, also where the file that they lead to is not there yet.
pub(super) fn without_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(real) = std::fs::canonicalize(&path) {
            return real;
        }
        path = own_name(&path);
        match (std::fs::read_link(&path), path.parent()) {
            (Ok(target), Some(folder)) => path = folder.join(target),
            _ => break,
        }
    }
    path
}

/// A path whose folder is without symbolic links.
fn own_name(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (std::fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// The file with this ending beside a ledger.
fn beside(ledger: &Path, ending: &str) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Whether changes wait beside the file.
pub(super) fn has_log(ledger: &Path) -> bool {
    std::fs::metadata(beside(ledger, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// The lock files: the one beside the ledger, and the one beside a symbolic link to it, which is the only one that
/// earlier versions lock.
fn lock_files(ledger: &Path, real: &Path) -> Vec<PathBuf> {
    let link = own_name(ledger);
    let also = (link != real).then(|| beside(&link, ".lock"));
    [Some(beside(real, ".lock")), also].into_iter().flatten().collect()
}

fn lock_beside(path: PathBuf) -> Result<File, LockError> {
    let open = |source| LockError::Open { path: path.clone(), source };
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o640);
    let file = options.open(&path).map_err(open)?;
    let (wait, tries) = LOOK;
    for _ in 0..tries {
        if try_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(open)? {
            return Ok(file);
        }
        // Whoever holds it shares it only if he but looks.
        if !try_lock(&file, FlockOperation::NonBlockingLockShared).map_err(open)? {
            break;
        }
        flock(&file, FlockOperation::Unlock).map_err(|errno| open(errno.into()))?;
        std::thread::sleep(wait);
    }
    Err(LockError::Taken { holder: holder(&file), path })
}

/// Tries to lock the file; returns whether it could.
fn try_lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn there(opened: io::Result<File>) -> io::Result<Option<File>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// A write lock on our byte.
fn our_byte() -> libc::flock {
    let kind = |kind: libc::c_int| libc::c_short::try_from(kind).unwrap_or_default();
    libc::flock {
        l_type: kind(libc::F_WRLCK),
        l_whence: kind(libc::SEEK_SET),
        l_start: BYTE,
        l_len: 1,
        l_pid: 0,
    }
}

/// The process that has this file open and locked, if that can be seen: proc(5) shows a process's files to its own
/// user and to root.
fn holder(locked: &File) -> Option<Holder> {
    let of = |file: std::fs::Metadata| (file.dev(), file.ino());
    let wanted = of(locked.metadata().ok()?);
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let proc = Path::new("/proc");
    for pid in names(proc).iter().filter_map(|name| name.parse::<u32>().ok()) {
        let process = proc.join(pid.to_string());
        for descriptor in names(&process.join("fd")) {
            let file = process.join("fd").join(&descriptor);
            let is_it = std::fs::metadata(&file).is_ok_and(|file| of(file) == wanted);
            let locks = || std::fs::read_to_string(process.join("fdinfo").join(&descriptor));
            if is_it && locks().is_ok_and(|text| text.contains(" WRITE ")) {
                return Some(Holder { pid, file: std::fs::read_link(file).ok()? });
            }
        }
    }
    None
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
        assert!(matches!(Lock::take(&ledger), Err(LockError::Taken { .. })));
        drop(lock);
        assert!(!Lock::is_held(&ledger).unwrap());
        // One who looks for a long moment.
        let looking = File::open(beside(&ledger, ".lock")).unwrap();
        assert!(try_lock(&looking, FlockOperation::NonBlockingLockShared).unwrap());
        let looks = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(looking);
        });
        assert!(Lock::take(&ledger).is_ok());
        looks.join().unwrap();
    }

    #[test]
    fn a_lock_holds_by_every_name_of_the_file_and_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let lock = Lock::take(&path("ledger.db")).unwrap();
        lock.lock_file(true).unwrap();
        std::os::unix::fs::symlink(path("ledger.db"), path("link.db")).unwrap();
        std::os::unix::fs::symlink(folder.path(), path("folder")).unwrap();
        for name in ["link.db", "folder/ledger.db", "folder/link.db", "folder/./ledger.db"] {
            let error = Lock::take(&path(name)).unwrap_err();
            assert!(matches!(error, LockError::Taken { .. }), "{name}: {error}");
            assert!(error.to_string().contains(&format!("by process {}", std::process::id())), "{error}");
            assert!(Lock::is_held(&path(name)).unwrap(), "{name}");
        }
        std::fs::hard_link(path("ledger.db"), path("hard.db")).unwrap();
        assert!(matches!(Lock::take(&path("hard.db")), Err(LockError::Elsewhere { .. })));
        assert!(!path("hard.db.lock").exists(), "it must not look like the name in use");
        assert!(Lock::is_held(&path("hard.db")).unwrap());
        std::fs::remove_file(path("hard.db")).unwrap();
        std::fs::remove_file(path("ledger.db.lock")).unwrap();
        let error = Lock::take(&path("ledger.db")).unwrap_err();
        assert!(matches!(error, LockError::Elsewhere { .. }), "{error}");
        assert!(error.to_string().contains(&path("ledger.db").display().to_string()), "{error}");
        assert!(Lock::is_held(&path("ledger.db")).unwrap());
        drop(lock);
        std::fs::hard_link(path("ledger.db"), path("hard.db")).unwrap();
        assert!(matches!(Lock::take(&path("hard.db")), Err(LockError::OtherName(_))));
        assert!(Lock::take(&path("ledger.db")).is_ok());
    }

    #[test]
    fn a_link_to_a_ledger_that_is_not_there_yet_stands_for_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("link.db", path("link-to-link.db")).unwrap();
        std::os::unix::fs::symlink(path("ledger.db"), path("link.db")).unwrap();
        std::os::unix::fs::symlink("round.db", path("round.db")).unwrap();
        let _lock = Lock::take(&path("link-to-link.db")).unwrap();
        assert!(!path("ledger.db").exists());
        for name in ["ledger.db", "link.db", "link-to-link.db"] {
            assert!(matches!(Lock::take(&path(name)), Err(LockError::Taken { .. })), "{name}");
        }
        assert_eq!(without_links(&path("round.db")), path("round.db"), "it leads nowhere");
    }

    #[test]
    fn a_folder_in_the_place_of_the_ledger_is_told_of_when_that_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::create_dir(&path).unwrap();
        let lock = Lock::take(&path).unwrap();
        assert_eq!(lock.lock_file(true).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        std::fs::remove_dir(&path).unwrap();
        lock.lock_file(true).unwrap();
    }

    #[test]
    fn a_version_that_locks_only_the_file_beside_a_link_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("ledger.db"), "").unwrap();
        std::os::unix::fs::symlink(path("ledger.db"), path("link.db")).unwrap();
        let earlier = lock_beside(path("link.db.lock")).unwrap();
        assert!(Lock::is_held(&path("link.db")).unwrap());
        assert!(matches!(Lock::take(&path("link.db")), Err(LockError::Taken { .. })));
        drop(earlier);
        assert!(Lock::take(&path("link.db")).is_ok());
    }

    #[test]
    fn a_ledger_that_was_moved_or_replaced_is_not_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let lock = Lock::take(&path("ledger.db")).unwrap();
        lock.lock_file(true).unwrap();
        assert!(lock.is_in_place());
        std::fs::rename(path("ledger.db"), path("away.db")).unwrap();
        assert!(!lock.is_in_place());
        std::fs::write(path("ledger.db"), "").unwrap();
        assert!(!lock.is_in_place(), "another file has its name");
        assert!(matches!(Lock::take(&path("ledger.db")), Err(LockError::Taken { .. })));
        std::fs::rename(path("away.db"), path("ledger.db")).unwrap();
        assert!(lock.is_in_place());
    }
}
