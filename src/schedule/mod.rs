//! Calendars: which nominal times an entry has. Pure; everything that asks for nominal times
//! (planning, start-up, lateness, reload, `next`) asks [`Calendar::due_between`].

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::ids::{EntryName, Nominal};

/// What to do with a fixed local time that a forward change of the clock skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DstGap {
    /// Fire at the end of the gap.
    #[default]
    RunAfter,
    /// Do not fire on that day.
    Skip,
}

/// What to do with a fixed local time that a backward change of the clock repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DstOverlap {
    /// Fire at its first occurrence.
    #[default]
    First,
    /// Fire at its second occurrence.
    Second,
    /// Fire at both.
    Both,
}

/// A time zone with the name by which the user knows it.
#[derive(Debug, Clone)]
pub struct Zone {
    name: std::sync::Arc<str>,
    rules: TimeZone,
}

/// All that makes an entry's calendar.
#[derive(Debug, Clone)]
pub struct Calendar {
    // built by Calendar::new
}

/// Identifies a calendar: two calendars with the same fingerprint name the same instants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

