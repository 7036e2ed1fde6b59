//! The first minute: the daemon on `quickstart.yaml`, against the built-in stand-in for Azure. No Azure, no
//! account and no installation are needed. Ctrl-C ends it.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use adf_cron::clock::SystemClock;
use azure_sim::{Operation, Place, Sim};

/// What stands in the schedule for the stand-in's address and for the temporary folder.
const ADDRESS: &str = "http://127.0.0.1:8080";
const FOLDER: &str = "/var/lib/adf-cron-quickstart";

fn main() -> std::io::Result<ExitCode> {
    let sim = Sim::start()?;
    let (resource_group, factory) = ("rg-demo".to_owned(), "adf-demo".to_owned());
    sim.set(|switches| {
        switches.factories = Some(vec![Place { resource_group, factory, ..Place::default() }]);
    });
    let folder = tempfile::tempdir()?;
    let schedule = folder.path().join("schedule.yaml");
    let text = include_str!("quickstart.yaml")
        .replace(ADDRESS, &sim.url())
        .replace(FOLDER, &folder.path().display().to_string());
    std::fs::write(folder.path().join("client-secret"), "secret")?;
    std::fs::write(&schedule, text)?;
    let mut messages = std::io::stderr();
    writeln!(messages, "a stand-in for Azure listens at {}; Ctrl-C ends the demonstration", sim.url())?;
    let arguments = ["adf-cron".into(), "run".into(), "--config".into(), OsString::from(&schedule)];
    let exit = adf_cron::cli::main(arguments, Arc::new(SystemClock));
    let tokens = sim.requests().iter().filter(|request| request.operation == Operation::Token).count();
    writeln!(messages, "the stand-in was asked for {tokens} token and started {} runs", sim.runs().len())?;
    Ok(exit)
}
