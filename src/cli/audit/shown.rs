//! The result of an audit, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Audited;
use crate::audit::{Gone, Report, Stretch, Uncovered};
use crate::ids::Nominal;
use crate::ledger::State;

/// The most lines of one kind in the text; the JSON has all of them.
const MOST: usize = 50;

/// The result; the fields are a documented interface.
#[derive(Debug, Serialize)]
struct Shown {
    proven: bool,
    from: String,
    until: String,
    entries: u64,
    nominal_times: u64,
    states: Map<String, Value>,
    skipped: Map<String, Value>,
    gaps: Vec<Value>,
    doubles: Vec<Value>,
    miscounts: Vec<Value>,
    strays: Vec<Value>,
    open: Vec<Value>,
    paused: Vec<Value>,
    not_planned: Vec<Value>,
    left_over: u64,
    not_covered: Vec<Value>,
}

pub(super) fn as_json(audited: &Audited) -> impl Serialize {
    let report = &audited.report;
    let count = |state: &State| (state.as_str().to_owned(), json!(of_state(report, *state)));
    let skipped = report.skipped.iter().map(|(reason, count)| (reason.clone(), json!(count)));
    let doubles = report.doubles.iter().map(|it| with(&it.times, json!({ "firing_ids": it.firing_ids })));
    let miscounts = report
        .miscounts
        .iter()
        .map(|it| with(&it.times, json!({ "expected": it.expected, "firing_id": it.firing_id })));
    let strays = report
        .strays
        .iter()
        .map(|it| with(&it.times, json!({ "state": it.state.as_str(), "firing_id": it.firing_id })));
    let open = report.open.iter().map(|it| {
        json!({ "entry": it.entry, "scheduled_time": it.nominal.to_string(), "state": it.state.as_str(),
                "firing_id": it.firing_id })
    });
    let alone = |stretches: &[Stretch]| stretches.iter().map(|it| with(it, json!({}))).collect();
    Shown {
        proven: audited.is_proven(),
        from: audited.range.from.to_string(),
        until: audited.range.until.to_string(),
        entries: report.entries,
        nominal_times: report.nominal_times,
        states: State::ALL.iter().map(count).collect(),
        skipped: skipped.collect(),
        gaps: alone(&report.gaps),
        doubles: doubles.collect(),
        miscounts: miscounts.collect(),
        strays: strays.collect(),
        open: open.collect(),
        paused: alone(&report.paused),
        not_planned: alone(&report.not_planned),
        left_over: report.left_over,
        not_covered: audited.uncovered.iter().map(not_covered).collect(),
    }
}

/// A stretch and what else there is to say of it.
fn with(times: &Stretch, more: Value) -> Value {
    let mut shown = Map::new();
    shown.insert("entry".to_owned(), json!(times.entry));
    shown.insert("scheduled_time".to_owned(), json!(times.first.to_string()));
    shown.insert("last_scheduled_time".to_owned(), json!(times.last.to_string()));
    shown.insert("count".to_owned(), json!(times.count));
    if let Some(version) = &times.version {
        shown.insert("schedule_version".to_owned(), json!(version));
    }
    if let Value::Object(more) = more {
        shown.extend(more);
    }
    Value::Object(shown)
}

fn not_covered(uncovered: &Uncovered) -> Value {
    let (reason, message) = why(uncovered);
    json!({ "from": uncovered.after.map(|after| second_after(after).to_string()),
            "until": second_after(uncovered.until).to_string(), "reason": reason,
            "schedule_version": uncovered.version, "message": message })
}

fn why(uncovered: &Uncovered) -> (&'static str, String) {
    match &uncovered.why {
        Gone::NoSchedule => ("no_schedule", "no schedule was in force".to_owned()),
        Gone::Pruned => ("pruned", "what is older than `retention` was removed".to_owned()),
        Gone::RulesChanged => {
            let version = short(uncovered.version.as_deref());
            let why = "was read by rules that this version of adf-cron does not know";
            ("rules_changed", format!("the schedule in force then{version} {why}"))
        }
        Gone::Unreadable(error) => {
            let version = short(uncovered.version.as_deref());
            ("unreadable", format!("the schedule in force then{version} cannot be read: {error}"))
        }
    }
}

fn second_after(nominal: Nominal) -> Nominal {
    Nominal::from_second(nominal.as_second() + 1).unwrap_or(nominal)
}

fn of_state(report: &Report, state: State) -> u64 {
    report.states.get(state.as_str()).copied().unwrap_or_default()
}

fn short(version: Option<&str>) -> String {
    version
        .map(|version| format!(" (version {})", version.chars().take(12).collect::<String>()))
        .unwrap_or_default()
}

pub(super) fn as_text(audited: &Audited) -> String {
    let report = &audited.report;
    let mut text = String::new();
    let mut line = |line: String| text.push_str(&(line + "\n"));
    line(verdict(audited));
    findings(report).into_iter().for_each(&mut line);
    line(format!(
        "{} nominal times of {} entries, from {} until {}",
        report.nominal_times, report.entries, audited.range.from, audited.range.until
    ));
    let counts = State::ALL.iter().map(|state| (state.as_str(), of_state(report, *state)));
    let counts: Vec<String> =
        counts.filter(|(_, count)| *count > 0).map(|(state, count)| format!("{state} {count}")).collect();
    if !counts.is_empty() {
        line(format!("  {}{}", counts.join(", "), reasons(report)));
    }
    let open = report.open.iter().map(|it| {
        format!("open: {} {}: {}, firing {}", it.entry, it.nominal, it.state.as_str(), it.firing_id)
    });
    some(open.collect()).into_iter().for_each(&mut line);
    let paused =
        report.paused.iter().map(|it| format!("paused: {}: left out until it is resumed", times(it)));
    some(paused.collect()).into_iter().for_each(&mut line);
    let coming = report
        .not_planned
        .iter()
        .map(|it| format!("not planned yet: {}: the next start decides by the `missed` policy", times(it)));
    some(coming.collect()).into_iter().for_each(&mut line);
    for uncovered in &audited.uncovered {
        let (until, (_, message)) = (second_after(uncovered.until), why(uncovered));
        line(match uncovered.after {
            None => format!("not covered: before {until}: {message}"),
            Some(after) => format!("not covered: from {} until {until}: {message}", second_after(after)),
        });
    }
    text
}

fn verdict(audited: &Audited) -> String {
    let report = &audited.report;
    let found = [
        (report.gaps.iter().map(|gap| gap.count).sum(), "nominal times without a record"),
        (report.doubles.iter().map(|double| double.times.count).sum(), "with more than one"),
        (report.miscounts.len() as u64, "rows with a wrong count"),
        (report.strays.len() as u64, "records of times that the calendar does not name"),
    ];
    let found: Vec<String> =
        found.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    match (audited.anything, found.as_slice()) {
        (false, _) => "NOT PROVEN: nothing of that time is covered".to_owned(),
        (true, []) => "proven: every nominal time has exactly one record".to_owned(),
        (true, found) => format!("NOT PROVEN: {}", found.join("; ")),
    }
}

fn findings(report: &Report) -> Vec<String> {
    let gaps = report.gaps.iter().map(|it| format!("gap: {}{}", times(it), short(it.version.as_deref())));
    let doubles = report.doubles.iter().map(|it| {
        format!(
            "double: {}{}: firings {}",
            times(&it.times),
            short(it.times.version.as_deref()),
            it.firing_ids.join(", ")
        )
    });
    let miscounts = report.miscounts.iter().map(|it| {
        format!(
            "wrong count: {}: the calendar names {} there; firing {}",
            times(&it.times),
            it.expected,
            it.firing_id
        )
    });
    let strays = report
        .strays
        .iter()
        .map(|it| format!("stray: {}: {}, firing {}", times(&it.times), it.state.as_str(), it.firing_id));
    let mut lines = some(gaps.collect());
    if let Some(gap) = report.gaps.first() {
        lines.push(format!("  to start one now: adf-cron fire {} --scheduled-time {}", gap.entry, gap.first));
    }
    for kind in [doubles.collect(), miscounts.collect(), strays.collect::<Vec<_>>()] {
        lines.extend(some(kind));
    }
    lines
}

fn times(stretch: &Stretch) -> String {
    let mut text = format!("{} {}", stretch.entry, stretch.first);
    if stretch.first != stretch.last || stretch.count != 1 {
        // Writing to a string cannot fail.
        let _ = write!(text, " to {}, {} nominal times", stretch.last, stretch.count);
    }
    text
}

fn reasons(report: &Report) -> String {
    let reasons: Vec<String> =
        report.skipped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if reasons.is_empty() { String::new() } else { format!(" (skipped: {})", reasons.join(", ")) }
}

/// As many lines as people read.
fn some(mut lines: Vec<String>) -> Vec<String> {
    if let Some(more @ 1..) = lines.len().checked_sub(MOST) {
        lines.truncate(MOST);
        lines.push(format!("  and {more} more; --format json names all of them"));
    }
    lines
}
