//! The systemd journal: whether standard output is it, and the layer that writes native fields.

use std::io;
use std::os::fd::AsFd as _;

use tracing_journald::{Layer, Priority, PriorityMappings};

/// Whether standard output is the stream that systemd connected to the journal: the device and inode
/// that `JOURNAL_STREAM` names are its own (systemd.exec(5)).
pub(super) fn is_stdout(journal_stream: Option<&str>) -> bool {
    let named = journal_stream.and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    let own = rustix::fs::fstat(io::stdout().as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino));
    named.is_some() && named == own
}

/// Native fields under their own upper-case names. Syslog's `info` is our info; the layer's own mapping
/// would raise it to `notice`.
pub(super) fn layer() -> io::Result<Layer> {
    Ok(Layer::new()?.with_field_prefix(None).with_priority_mappings(PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    }))
}
