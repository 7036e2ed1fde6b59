//! The program as its users meet it: the real binary, against the stand-in for Azure.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test of a whole process measures real time, and a helper that fails fails its test"
)]

mod answers;
mod audit;
mod backfill;
mod bad_input;
mod calendar;
mod certificate;
mod chance;
mod check_live;
mod commands;
mod crontab;
mod diff;
mod disk;
mod drain;
mod examples;
mod explain;
mod faults;
mod fuzz;
mod hostile;
mod import;
mod import_files;
mod kills;
mod last_good;
mod main_job;
mod manifest;
mod meddler;
mod mounts;
mod one_daemon;
mod one_off;
mod outage;
mod output;
mod parameters;
mod people;
mod process;
mod reach;
mod readme;
mod reload;
mod restart;
mod rules;
mod runs;
mod stage;
mod status;
mod tally;
mod token;
mod witness;
