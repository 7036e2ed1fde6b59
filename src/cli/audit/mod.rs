//! `audit`: whether every nominal time has exactly one record, from the ledger alone.

mod shown;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::{Format, Outside, When, complain, print, print_json, unknown_entry, unreadable};
use crate::audit::{Calendars, EntryAudit, Known, Range, Report, Timeline, Uncovered};
use crate::config::{self, TRUST_HOST};
use crate::daemon::Exit;
use crate::ids::{EntryName, Nominal};
use crate::ledger::{Evidence, LedgerError, SqliteLedger};
use crate::schedule::{CronRules, Zone};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these entries.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// From this time on: RFC 3339, local to the zone of the one NAME, else UTC, or 2h for two hours ago. Default: as
    /// far back as the ledger is kept.
    #[arg(long, value_name = "T")]
    from: Option<When>,
    /// Before this time. Default: now.
    #[arg(long, value_name = "T")]
    until: Option<When>,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Why there is no result.
enum Failure {
    Ledger(LedgerError),
    Exit(Exit),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// What was asked for, and what came of it.
struct Audited {
    range: Range,
    /// What of the time asked for is not covered.
    uncovered: Vec<Uncovered>,
    /// Whether something of it is.
    anything: bool,
    report: Report,
}

impl Audited {
    fn is_proven(&self) -> bool {
        self.anything && self.report.is_proven()
    }
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let path = match outside.existing_ledger(&outside.read()) {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        complain("the system gives no event loop");
        return Exit::Failed;
    };
    let audited = match runtime.block_on(audit(outside, arguments, &path)) {
        Ok(audited) => audited,
        Err(Failure::Ledger(error)) => return unreadable(&error),
        Err(Failure::Exit(exit)) => return exit,
    };
    let written = match arguments.format {
        Format::Json => print_json(&shown::as_json(&audited)),
        Format::Text => print(&shown::as_text(&audited)),
    };
    if written == Exit::Done && !audited.is_proven() { Exit::Failed } else { written }
}

async fn audit(outside: &Outside, arguments: &Arguments, path: &Path) -> Result<Audited, Failure> {
    let mut ledger = SqliteLedger::open_to_read(path).await?;
    ledger.stand_still().await?;
    let evidence = ledger.evidence().await?;
    let timeline = timeline(&mut ledger, &evidence).await?;
    let entries: BTreeSet<&EntryName> = timeline.entries().chain(&evidence.recorded).collect();
    let wanted = wanted(arguments, &entries).map_err(Failure::Exit)?;
    let (asked, until) = asked(outside, arguments, &timeline).map_err(|message| {
        complain(&message);
        Failure::Exit(Exit::Usage)
    })?;
    let begin = timeline.begin();
    let from = asked.map_or(begin, |asked| asked.max(begin)).min(until);
    let range = Range { from, until };
    let (known, mut report) = (Known::of(&evidence), Report::default());
    for entry in wanted {
        let mut audit = EntryAudit::new(&timeline, &known, range, entry, &mut report);
        ledger.records_of(entry, (range.from, range.until), |record| audit.record(record)).await?;
        audit.finish();
    }
    let uncovered = timeline.uncovered().into_iter().filter(|uncovered| {
        asked.is_none_or(|asked| asked <= uncovered.until)
            && uncovered.after.is_none_or(|after| after.as_second() + 1 < until.as_second())
    });
    Ok(Audited { range, uncovered: uncovered.collect(), anything: begin <= until, report })
}

/// Reads the versions that were in force. Their texts are not kept in memory.
async fn timeline(ledger: &mut SqliteLedger, evidence: &Evidence) -> Result<Timeline, LedgerError> {
    let mut timeline = Timeline::new(evidence);
    for (version, rules) in timeline.versions() {
        let text = ledger.version_text(&version).await?;
        timeline.take_in(&version, rules, calendars(text, rules));
    }
    Ok(timeline)
}

/// The calendars of the enabled entries of a version, as it was read when it was in force.
fn calendars(text: Option<String>, rules: CronRules) -> Calendars {
    let Some(text) = text else { return Err("its text is not kept".to_owned()) };
    // Nothing is sent anywhere: whichever host it names, its calendars are what is asked for.
    let hosts: Vec<&str> =
        text.split("://").skip(1).filter_map(|rest| rest.split(END_OF_HOST).next()).collect();
    let hosts = hosts.join(",");
    let environment = |name: &str| (name == TRUST_HOST).then(|| hosts.clone());
    let settings =
        config::load_accepted(text.as_bytes(), "the version", &environment, rules).map_err(|problems| {
            let first = problems.beginning(1);
            first.lines().next().unwrap_or_default().to_owned()
        })?;
    let enabled = settings.entries.iter().filter(|entry| entry.enabled);
    Ok(enabled.map(|entry| (entry.name.clone(), Arc::clone(&entry.calendar))).collect())
}

/// What may follow a host in an address.
const END_OF_HOST: [char; 9] = ['/', ':', '"', '\'', ' ', ',', '}', '\r', '\n'];

/// The entries to look at.
fn wanted<'e>(
    arguments: &Arguments,
    entries: &BTreeSet<&'e EntryName>,
) -> Result<BTreeSet<&'e EntryName>, Exit> {
    if arguments.names.is_empty() {
        return Ok(entries.clone());
    }
    let names = arguments.names.iter().map(|name| {
        let known = entries.iter().find(|entry| entry.as_str() == name);
        known.copied().ok_or_else(|| unknown_entry(name, entries.iter().map(|entry| entry.as_str())))
    });
    names.collect()
}

/// From when, if that is said, until when.
fn asked(
    outside: &Outside,
    arguments: &Arguments,
    timeline: &Timeline,
) -> Result<(Option<Nominal>, Nominal), String> {
    let zone = match arguments.names.as_slice() {
        [name] => EntryName::new(name).ok().and_then(|name| timeline.last_calendar(&name)),
        _ => None,
    };
    let zone = zone.map_or_else(Zone::utc, |calendar| calendar.zone().clone());
    let now = outside.clock.now().wall;
    let from = arguments.from.map(|when| when.instant(now, &zone)).transpose()?;
    let until = arguments.until.map_or(Ok(now), |when| when.instant(now, &zone))?;
    if from.is_some_and(|from| from > until) {
        return Err("the time to audit ends before it begins; --from must be earlier than --until".to_owned());
    }
    if from.is_some_and(|from| from > now) {
        return Err("all of that time is still to come; adf-cron next shows what will be due".to_owned());
    }
    Ok((from.map(Nominal::at_or_after), Nominal::at_or_after(until.min(now))))
}
