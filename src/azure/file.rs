//! The files that this program is given: schedules, holidays, secrets, certificates. Reading one never waits for a
//! writer, ends at a bound, and where it hangs nevertheless, in a mount that does not answer, it is left behind.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};

/// Threads that are at work or were left behind, at most; each that hangs holds some memory.
const MOST_THREADS: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// What the system said; or that it is no regular file, such as a pipe, which may never have an end; or that it is
/// larger ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    // Without NONBLOCK the opening of a pipe waits for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a pipe"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        _ => Some("something else"),
    };
    if let Some(kind) = kind {
        let message = format!("it is {kind}, and only a regular file is read");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Does work that may hang on a thread of its own, for which nobody waits longer than `patience`, and which does not
/// hold up the end of the process. `None` when it took longer.
pub(super) async fn beside<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    if THREADS.fetch_add(1, Ordering::Relaxed) >= MOST_THREADS {
        THREADS.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let work = move || {
        let _ = done.send(work());
        THREADS.fetch_sub(1, Ordering::Relaxed);
    };
    if std::thread::Builder::new().name("read".to_owned()).spawn(work).is_err() {
        THREADS.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    tokio::time::timeout(patience, result).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_only_up_to_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a pipe"),
            (directory.path(), "a directory"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            assert!(read(path, 5).unwrap_err().to_string().contains(kind), "{kind}");
        }
    }

    #[tokio::test]
    async fn work_that_hangs_is_left_behind() {
        let (_never, hangs) = std::sync::mpsc::channel::<()>();
        let work = move || hangs.recv();
        assert!(beside(Duration::from_millis(10), work).await.is_none());
        assert_eq!(beside(Duration::from_secs(10), || 1).await, Some(1));
    }
}
