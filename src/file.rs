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

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// What the system said; or that it is no regular file, such as a pipe, which may never have an end; or that it is
/// larger ([`ErrorKind::FileTooLarge`]).
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    match open(path)? {
        Opened::Regular(file) => up_to(most, file),
        Opened::Pipe(_) => Err(not_regular("a pipe")),
    }
}

/// A file that was opened, which has not waited for anybody.
#[derive(Debug)]
pub enum Opened {
    /// A regular file.
    Regular(File),
    /// A pipe. Reading it waits for its writer, and ends at once where there is none.
    Pipe(File),
}

/// Opens a regular file or a pipe.
///
/// # Errors
/// What the system said, or that it is something else.
pub fn open(path: &Path) -> Result<Opened> {
    // Without NONBLOCK the opening of a pipe waits for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(Opened::Regular(file)),
        FileType::Fifo => {
            rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
            Ok(Opened::Pipe(file))
        }
        FileType::Directory => Err(not_regular("a directory")),
        FileType::CharacterDevice | FileType::BlockDevice => Err(not_regular("a device")),
        _ => Err(not_regular("something else")),
    }
}

fn not_regular(kind: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("it is {kind}, and only a regular file is read"))
}

/// Reads at most `most` bytes of an opened file.
///
/// # Errors
/// What the system said, or that there is more ([`ErrorKind::FileTooLarge`]).
pub fn up_to(most: u64, file: File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Does work that may hang on a thread of its own, for which nobody waits longer than `patience`, and which does not
/// hold up the end of the process. `None` when it took longer.
pub async fn beside<T: Send + 'static>(
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

    #[test]
    fn a_pipe_is_opened_without_a_wait_and_read_to_the_end_of_its_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let read = |opened| match opened {
            Opened::Pipe(pipe) => up_to(100, pipe).unwrap(),
            Opened::Regular(_) => panic!("it is a pipe"),
        };
        assert_eq!(read(open(&path).unwrap()), b"", "nobody writes");
        let opened = open(&path).unwrap();
        let writer = std::thread::spawn(move || std::fs::write(path, "late").unwrap());
        writer.join().unwrap();
        assert_eq!(read(opened), b"late");
    }

    #[tokio::test]
    async fn work_that_hangs_is_left_behind() {
        let (_never, hangs) = std::sync::mpsc::channel::<()>();
        let work = move || hangs.recv();
        assert!(beside(Duration::from_millis(10), work).await.is_none());
        assert_eq!(beside(Duration::from_secs(10), || 1).await, Some(1));
    }
}
