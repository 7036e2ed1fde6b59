//! adf-cron
fn main() {}
