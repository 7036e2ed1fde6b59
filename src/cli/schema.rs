//! `schema`: the JSON Schema of the schedule file.

use crate::config;
use crate::daemon::Exit;

pub(super) fn run() -> Exit {
    super::print_json(&config::schema())
}
