//! The program: gives the command line the system's clock.

use std::process::ExitCode;
use std::sync::Arc;

use adf_cron::clock::SystemClock;

fn main() -> ExitCode {
    adf_cron::cli::main(std::env::args_os(), Arc::new(SystemClock))
}
