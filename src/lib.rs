//! cron for Azure Data Factory.

#[macro_use]
pub mod event;
pub mod clock;
pub mod ids;
pub mod secret;
