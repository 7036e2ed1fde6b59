//! Filesystems of a test's own: it is run again in namespaces in which it may mount, without being root outside.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Set where a test may mount.
const OURS: &str = "ADF_CRON_TEST_OWN_MOUNTS";

/// Runs the test of this name again where it may mount, and there does `body`. A host that gives no such
/// namespaces is told of, whatever becomes of other output.
pub(crate) fn where_mounts_are_ours(test: &str, body: impl FnOnce()) {
    if std::env::var_os(OURS).is_some() {
        return body();
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]);
        command
    };
    let probe = unshare().args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    let why = match probe {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = why {
        // Not by a macro, whose output is caught where tests pass.
        let mut stderr = std::io::stderr().lock();
        writeln!(stderr, "NOT TESTED: {test}: no filesystem can be mounted here: {}", why.trim()).unwrap();
        return;
    }
    let output = unshare()
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(OURS, "1")
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Mounts an empty filesystem of this size here, for as long as the namespaces live.
pub(crate) fn mount(folder: &Path, size: &str) {
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder));
}

/// Makes the filesystem mounted here read-only, or writable again.
pub(crate) fn remount(folder: &Path, how: &str) {
    run(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(folder));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
