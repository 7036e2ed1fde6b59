//! The systemd journal: whether standard output is it, and its native protocol, which gives every event its own
//! fields (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

use super::output::Sink;
use super::render::{Draft, Stamp};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard output is the stream that systemd connected to the journal: the device and inode
/// that `JOURNAL_STREAM` names are its own (systemd.exec(5)).
pub(super) fn is_stdout(journal_stream: Option<&str>) -> bool {
    let named = journal_stream.and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let own = rustix::fs::fstat(io::stdout().as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    named.is_some() && named == own && Path::new(SOCKET).exists()
}

/// Sends each entry to journald, whole; waits while that has no room for it.
pub(super) fn sink() -> io::Result<Sink> {
    sink_to(SOCKET)
}

pub(super) fn sink_to(path: &str) -> io::Result<Sink> {
    let (socket, path) = (UnixDatagram::unbound()?, path.to_owned());
    Ok(Box::new(move |entry: &[u8]| {
        match socket.send_to(entry, &path) {
            Err(error) if is_too_large(&error) => send_as_file(&socket, &path, entry),
            sent => sent.map(drop),
        }?;
        Ok(entry.len())
    }))
}

fn is_too_large(error: &io::Error) -> bool {
    [Errno::MSGSIZE, Errno::NOBUFS].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// What is too large for a datagram goes as a file in memory that nobody can change any more.
fn send_as_file(socket: &UnixDatagram, path: &str, entry: &[u8]) -> io::Result<()> {
    let mut file: File =
        memfd_create("adf-cron-event", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?.into();
    file.write_all(entry)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let files = [file.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    beside.push(SendAncillaryMessage::ScmRights(&files));
    let nothing = [IoSlice::new(&[])];
    sendmsg_addr(socket, &SocketAddrUnix::new(path)?, &nothing, &mut beside, SendFlags::empty())?;
    Ok(())
}

/// Renders native entries: fields under their own upper-case names.
pub(super) struct Entries;

impl<S: tracing::Subscriber> Layer<S> for Entries {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        // Priorities of syslog.
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => "3",
            tracing::Level::WARN => "4",
            tracing::Level::INFO => "6",
            _ => "7",
        };
        let mut entry = Entry(Draft);
        entry.put("PRIORITY", priority);
        entry.put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        entry.put("TIMESTAMP", &Stamp.to_string());
        event.record(&mut entry);
    }
}

struct Entry(Draft);

impl Entry {
    /// A field with the length of its value, which may then hold anything.
    fn put(&mut self, name: &str, value: &str) {
        let length = (value.len() as u64).to_le_bytes();
        for part in [name.to_ascii_uppercase().as_bytes(), b"\n", &length, value.as_bytes(), b"\n"] {
            // A draft takes everything.
            let _ = self.0.write_all(part);
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}
