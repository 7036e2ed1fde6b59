//! The proof of an import: the entry, read as the daemon reads it, and the trigger's rule, enumerated on its own, name
//! the same seconds.

use std::path::Path;

use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use super::rule::Rule;
use crate::config;
use crate::ids::Nominal;

/// The most firings that are compared: two years of one every ten minutes, and less than a second's work.
const MOST_FIRINGS: usize = 110_000;

/// What an entry needs around it to be read.
const AROUND: &str = "azure:
  tenant_id: 00000000-0000-0000-0000-000000000000
  client_id: 00000000-0000-0000-0000-000000000000
  client_secret: { credential: client-secret }
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-import
  factory: adf-import
pipelines:
";

/// That the rule of the trigger and the calendar of the entry name the same times.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Proof {
    pub(super) from: String,
    pub(super) until: String,
    pub(super) firings: usize,
    /// Of local times that a change of the clock skips or repeats: Microsoft's pages do not say what becomes of them.
    pub(super) at_clock_changes: u64,
    /// Whether anything was compared: where neither fires, nothing is shown.
    pub(super) proved: bool,
}

impl Proof {
    pub(super) fn in_words(&self) -> String {
        let Self { from, until, firings, at_clock_changes, proved } = self;
        if !proved {
            return format!("not proved: neither calendar has a firing from {from} until {until}");
        }
        let silent = match at_clock_changes {
            0 => String::new(),
            count => format!(
                "; {count} local times among them are skipped or repeated by a change of the clock, where Microsoft's \
                 pages say nothing and this program's rule is used for both"
            ),
        };
        let what = if *firings == 1 { "firing" } else { "firings" };
        format!("proved: {firings} {what} from {from} until {until}, the same in both calendars{silent}")
    }
}

/// Reads the entry as the daemon would, and compares its calendar with the trigger's rule over two years: from now on,
/// or from the start of a trigger that has not begun or has ended. Where that is more than can be compared in a second,
/// the range is shorter, and says so. `of` is how many entries the trigger becomes: they share that second.
///
/// # Errors
/// In words, when the entry cannot be read or the two differ.
pub(super) fn prove(body: &str, rule: &Rule, now: Timestamp, of: usize) -> Result<Proof, String> {
    let most = (MOST_FIRINGS / of.max(1)).max(1_000);
    let ended = rule.end.is_some_and(|end| end < now);
    let from = if ended { rule.start } else { Nominal::at_or_after(now).timestamp().max(rule.start) };
    let in_two_years = jiff::tz::TimeZone::UTC.to_datetime(from).checked_add(2.years());
    let until = in_two_years.and_then(|until| jiff::tz::TimeZone::UTC.to_timestamp(until));
    let mut until = until.unwrap_or(Timestamp::MAX);
    let text = format!("{AROUND}{body}");
    let none = |_: &Path| Err("is not asked for".to_owned());
    let outside = config::Outside { environment: &|_| None, file: &none };
    let settings = config::load(text.as_bytes(), "the entry", outside, from).map_err(|problems| {
        let in_words = |problem: &config::Problem| {
            let key = problem.path.strip_prefix("pipelines[0]").unwrap_or(&problem.path);
            format!("{} {}", key.trim_start_matches('.'), problem.message)
        };
        let first = problems.iter().next().map(in_words).unwrap_or_default();
        format!("what it becomes is no entry: {}", first.trim_start())
    })?;
    let calendar = settings.entries.first().map(|entry| &entry.calendar).ok_or("it becomes no entry")?;
    let mut ours: Vec<i64> = calendar
        .onwards(from)
        .take_while(|nominal| nominal.timestamp() < until)
        .map(|nominal| nominal.as_second())
        .take(most + 1)
        .collect();
    if ours.len() > most {
        let first_left_out = ours.pop().and_then(|second| Timestamp::from_second(second).ok());
        until = first_left_out.unwrap_or(until);
    }
    let theirs = rule.enumerate(from, until);
    let same = ours.iter().zip(&theirs.seconds).take_while(|(ours, theirs)| ours == theirs).count();
    // The first second that only one of them names; where one of them ends, the other's.
    let differs = [&ours, &theirs.seconds].into_iter().filter_map(|all| all.get(same)).min();
    if let Some(differs) = differs {
        let whose = if ours.binary_search(differs).is_ok() { "the entry" } else { "the trigger" };
        let at = Timestamp::from_second(*differs).map(|at| at.to_string()).unwrap_or_default();
        return Err(format!("the calendars differ: at {at} only {whose} fires; please report it"));
    }
    Ok(Proof {
        from: from.to_string(),
        until: until.to_string(),
        firings: ours.len(),
        at_clock_changes: theirs.undocumented,
        proved: !ours.is_empty(),
    })
}
