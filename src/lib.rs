//! cron for Azure Data Factory: every scheduled instant ends in exactly one known outcome.
//!
//! The way of a firing through the modules, which point downwards only:
//!
//! | layer | modules | what they own |
//! | --- | --- | --- |
//! | entry | [`cli`] | arguments in, exit code out |
//! | shell | [`daemon`], [`recorder`], [`alarm`], [`heartbeat`], [`signals`], [`systemd`], [`telemetry`] | the process |
//! | work | [`engine`] (pure), [`firing`], [`audit`] (pure) | deciding, carrying out, and proving it |
//! | ports | [`azure`], [`ledger`] | the outside world |
//! | meaning | [`config`], [`template`] | what the user said |
//! | pure | [`schedule`], [`retry`] | calendars and waits |
//! | base | [`ids`], [`clock`], [`secret`], [`event`], [`mod@file`] | words |

#[macro_use]
pub mod event;

pub mod alarm;
pub mod audit;
pub mod azure;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod file;
pub mod firing;
pub mod heartbeat;
pub mod ids;
pub mod ledger;
pub mod recorder;
pub mod retry;
pub mod schedule;
pub mod secret;
pub mod signals;
pub mod systemd;
pub mod telemetry;
pub mod template;
