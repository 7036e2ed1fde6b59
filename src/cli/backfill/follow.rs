//! How a backfill comes on, and what it came to.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

use super::super::ask::{daemon_is_gone, failed};
use super::super::history::as_table;
use super::super::{Format, complain, print, print_json};
use crate::daemon::Exit;
use crate::ledger::{
    Backfill, BackfillProgress, HistoryFilter, HistoryRow, LedgerError, Reason, SqliteLedger, State,
};

/// Between two looks at how far it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// So many looks lie between two at whether the daemon still runs.
const LOOKS: u32 = 10;

/// A progress bar, on a terminal.
struct Bar {
    bar: ProgressBar,
    /// Whether it has been drawn, and whether it is said that the entry is paused.
    drawn: bool,
    said_paused: bool,
}

impl Bar {
    fn new(format: Format) -> Self {
        let shown = format == Format::Text && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template(
            "{prefix} [{bar:30}] {pos}/{len}, {elapsed} gone, about {eta} to go{msg}",
        );
        let bar = match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        };
        Self { bar, drawn: false, said_paused: false }
    }

    fn draw(&mut self, progress: &BackfillProgress) {
        let Backfill { entry, count, .. } = &progress.backfill;
        if !std::mem::replace(&mut self.drawn, true) {
            complain(&begins(&progress.backfill));
            self.bar.set_prefix(entry.to_string());
            self.bar.set_length(*count);
            // What needed no start says nothing of how long the others take.
            self.bar.set_position(progress.done());
            self.bar.reset_eta();
        }
        self.bar.set_position(progress.done());
        self.bar.set_message(match progress.open {
            0 => String::new(),
            open => format!(", {open} under way"),
        });
    }

    /// Looks once; returns whether it is over.
    async fn look(&mut self, ledger: &mut SqliteLedger, id: &str) -> Result<bool, LedgerError> {
        let Some(progress) = ledger.backfill(id).await? else {
            // One that was there, and is not any more, was over so long ago that the ledger has forgotten it.
            return Ok(self.drawn);
        };
        self.draw(&progress);
        if progress.backfill.ended_at.is_some() {
            self.bar.finish_and_clear();
            return Ok(true);
        }
        if !self.said_paused && ledger.is_paused(&progress.backfill.entry).await? {
            let entry = &progress.backfill.entry;
            self.bar.suspend(|| {
                complain(&format!("{entry} is paused; the backfill goes on after: adf-cron resume {entry}"));
            });
            self.said_paused = true;
        }
        Ok(false)
    }
}

fn begins(backfill: &Backfill) -> String {
    let Backfill { entry, count, first, last, max_active, .. } = backfill;
    format!(
        "a backfill of {entry}: {count} nominal times from {first} to {last}, at most {max_active} at once; \
         adf-cron backfill {entry} --stop ends it, ending this command does not"
    )
}

/// Follows a backfill to its end, and shows what it came to. `daemon` is the ledger of the daemon that carries it out.
pub(in super::super) async fn show(
    ledger: &mut SqliteLedger,
    id: &str,
    format: Format,
    daemon: Option<&Path>,
) -> Exit {
    let mut bar = Bar::new(format);
    let mut looks = 0_u32;
    loop {
        match bar.look(ledger, id).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => return failed(&error),
        }
        looks += 1;
        if looks.is_multiple_of(LOOKS) && daemon.is_some_and(daemon_is_gone) {
            complain("the daemon has stopped before the end of the backfill; the next one goes on with it");
            return Exit::Unavailable;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    match summary(ledger, id).await {
        Ok(Some(summary)) => {
            let written = match format {
                Format::Json => print_json(&summary),
                Format::Text => print(&in_words(&summary)),
            };
            if written == Exit::Done { exit_of(&summary) } else { written }
        }
        Ok(None) => Exit::Failed,
        Err(error) => failed(&error),
    }
}

/// What a backfill came to. The fields are a documented interface.
#[derive(Debug, Serialize)]
struct Summary {
    entry: String,
    backfill_id: String,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    /// Why it ended before its last nominal time, if it did.
    reason: Option<Reason>,
    /// Nominal times that needed no start.
    left_out: u64,
    /// How the others ended, or stand, each by its last firing.
    results: BTreeMap<String, u64>,
    /// Those that did not go well.
    firings: Vec<HistoryRow>,
}

async fn summary(ledger: &mut SqliteLedger, id: &str) -> Result<Option<Summary>, LedgerError> {
    let Some(BackfillProgress { backfill, .. }) = ledger.backfill(id).await? else { return Ok(None) };
    let filter = HistoryFilter { backfill: Some(id.to_owned()), limit: u32::MAX, ..HistoryFilter::default() };
    Ok(Some(summed_up(&backfill, ledger.history(&filter).await?)))
}

fn summed_up(backfill: &Backfill, rows: Vec<HistoryRow>) -> Summary {
    let mut last: BTreeMap<Timestamp, HistoryRow> = BTreeMap::new();
    for row in rows {
        let known = last.get(&row.scheduled_time);
        if known.is_none_or(|known| known.planned_at <= row.planned_at) {
            last.insert(row.scheduled_time, row);
        }
    }
    let mut results: BTreeMap<String, u64> = BTreeMap::new();
    for row in last.values() {
        *results.entry(result(row)).or_default() += 1;
    }
    Summary {
        entry: backfill.entry.to_string(),
        backfill_id: backfill.id.to_string(),
        first: backfill.first.timestamp(),
        last: backfill.last.timestamp(),
        count: backfill.count,
        reason: backfill.reason,
        left_out: backfill.passed.saturating_sub(last.len() as u64),
        results,
        firings: last.into_values().filter(|row| result(row) != "succeeded").collect(),
    }
}

/// How a firing ended, in one word: its run's status, in lower case, if it had one.
fn result(row: &HistoryRow) -> String {
    match &row.run_status {
        Some(status) if row.state == State::Accepted.as_str() => status.to_lowercase(),
        _ => row.state.clone(),
    }
}

fn in_words(summary: &Summary) -> String {
    let Summary { entry, first, last, count, left_out, reason, .. } = summary;
    let mut parts: Vec<String> =
        summary.results.iter().map(|(result, count)| format!("{count} {result}")).collect();
    if *left_out > 0 {
        parts.push(format!("{left_out} needed no start"));
    }
    let gone = summary.results.values().sum::<u64>() + left_out;
    if gone < *count {
        let why = reason.map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
        parts.push(format!("{} not gone through{why}", count - gone));
    }
    let listed = if summary.firings.is_empty() { String::new() } else { as_table(&summary.firings) + "\n" };
    format!("{listed}{entry} from {first} to {last}: {}\n", parts.join(", "))
}

fn exit_of(summary: &Summary) -> Exit {
    let bad: Vec<Exit> = summary.firings.iter().map(super::super::ask::exit_of).collect();
    // What is not known is worse than what was refused.
    let worst = [Exit::Unavailable, Exit::Refused].into_iter().find(|exit| bad.contains(exit));
    let failed = !bad.is_empty() || summary.reason.is_some();
    worst.unwrap_or(if failed { Exit::Failed } else { Exit::Done })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scheduled: &str, planned: i64, state: &str, status: Option<&str>) -> HistoryRow {
        let at = |second| Timestamp::from_second(second).unwrap();
        HistoryRow {
            entry: "a".to_owned(),
            pipeline: "P".to_owned(),
            factory: "adf".to_owned(),
            kind: "backfill".to_owned(),
            firing_id: String::new(),
            scheduled_time: scheduled.parse().unwrap(),
            last_scheduled_time: None,
            count: None,
            due_time: at(planned),
            state: state.to_owned(),
            reason: None,
            attempts: 1,
            run_id: None,
            run_status: status.map(str::to_owned),
            error_message: None,
            planned_at: at(planned),
            accepted_at: None,
            finished_at: None,
        }
    }

    fn backfill(passed: u64, reason: Option<Reason>) -> Backfill {
        let nominal = |text: &str| crate::ids::Nominal::at_or_before(text.parse().unwrap());
        Backfill {
            id: "b".into(),
            entry: crate::ids::EntryName::new("a").unwrap(),
            fingerprint: crate::schedule::Fingerprint(String::new()),
            first: nominal("2026-11-01T00:00:00Z"),
            last: nominal("2026-11-04T00:00:00Z"),
            count: 4,
            max_active: 1,
            again: false,
            mark: nominal("2026-11-04T00:00:00Z"),
            passed,
            begun_at: Timestamp::UNIX_EPOCH,
            ended_at: Some(Timestamp::UNIX_EPOCH),
            reason,
        }
    }

    #[test]
    fn each_nominal_time_counts_by_its_last_firing_which_may_be_a_recovery() {
        let rows = vec![
            row("2026-11-01T00:00:00Z", 9, "accepted", Some("Succeeded")),
            row("2026-11-01T00:00:00Z", 1, "accepted", Some("Failed")),
            row("2026-11-02T00:00:00Z", 2, "accepted", Some("Failed")),
            row("2026-11-03T00:00:00Z", 3, "rejected", None),
        ];
        let summary = summed_up(&backfill(4, None), rows);
        let words = in_words(&summary);
        assert!(words.ends_with(
            "\n\na from 2026-11-01T00:00:00Z to 2026-11-04T00:00:00Z: 1 failed, 1 rejected, 1 succeeded, \
             1 needed no start\n"
        ));
        assert_eq!((summary.firings.len(), exit_of(&summary)), (2, Exit::Failed), "{words}");
    }

    #[test]
    fn one_that_was_ended_says_how_much_is_left() {
        let rows = vec![row("2026-11-01T00:00:00Z", 9, "accepted", Some("Succeeded"))];
        let summary = summed_up(&backfill(2, Some(Reason::Stopped)), rows);
        let expected = "1 succeeded, 1 needed no start, 2 not gone through (stopped)\n";
        assert!(in_words(&summary).ends_with(expected), "{}", in_words(&summary));
        assert_eq!(exit_of(&summary), Exit::Failed);
    }
}
