//! How things stand, for people and for programs.

use serde::Serialize;
use serde_json::json;

use super::judge::{Problem, ago, alive};
use super::{Facts, File};
use crate::ledger::{BackfillProgress, NextFiring};

pub(super) fn as_json(facts: &Facts, problems: &[Problem]) -> impl Serialize {
    let standing = &facts.standing;
    let (sign, running) = (standing.sign.as_ref(), alive(facts));
    json!({
        "healthy": problems.is_empty(),
        "problems": problems,
        "daemon": {
            "running": running.is_some(),
            "pid": running.map(|sign| sign.pid),
            "program_version": sign.map(|sign| &sign.program_version),
            "started_at": sign.map(|sign| sign.started_at),
            "heartbeat_at": sign.map(|sign| sign.heartbeat_at),
            "stopped_at": sign.and_then(|sign| sign.stopped.as_ref()).map(|stopped| stopped.at),
            "clock_held": running.map(|sign| sign.clock_held),
        },
        "schedule": {
            "schedule_version": standing.schedule.as_ref().map(|schedule| &*schedule.version),
            "in_force_since": standing.schedule.as_ref().map(|schedule| schedule.at),
            "entries": standing.entries,
            "rejected_at": running.and_then(|sign| sign.rejected.as_ref()).map(|it| &it.location),
            "file_differs": file_differs(facts),
        },
        "token": {
            "usable_until": running.and_then(|sign| sign.token.usable_until),
            "error_message": running.and_then(|sign| sign.token.error_message.as_ref()),
        },
        "next_firing": next(facts),
        "open_firings": standing.open,
        "held_firings": standing.held,
        "last_run": standing.last_run,
        "paused": standing.pauses,
        "backfills": standing.backfills.iter().map(backfill).collect::<Vec<_>>(),
    })
}

fn backfill(progress: &BackfillProgress) -> serde_json::Value {
    let backfill = &progress.backfill;
    json!({
        "entry": backfill.entry,
        "backfill_id": backfill.id,
        "since": backfill.begun_at,
        "count": backfill.count,
        "done": progress.done(),
        "open": progress.open,
    })
}

/// Whether the file says something other than what is in force, if both are known.
fn file_differs(facts: &Facts) -> Option<bool> {
    let in_force = &facts.standing.schedule.as_ref()?.version;
    match &facts.file {
        File::Unseen => None,
        File::Good(version) => Some(**in_force != **version),
        File::Wrong { .. } => Some(true),
    }
}

/// What fires next, if a daemon runs that will.
fn next(facts: &Facts) -> Option<NextFiring> {
    let sign = alive(facts)?;
    let planned = facts.standing.next.as_ref();
    let planned = planned.map(|row| NextFiring { entry: row.entry.clone(), due_time: row.due_time });
    // The sign may be older than what it says.
    let said = sign.next.clone().filter(|next| next.due_time >= facts.now);
    [planned, said].into_iter().flatten().min_by_key(|next| next.due_time)
}

pub(super) fn as_text(facts: &Facts, problems: &[Problem]) -> String {
    let mut lines = Vec::new();
    match problems.len() {
        0 => lines.push("all is well".to_owned()),
        1 => lines.push("NEEDS A PERSON".to_owned()),
        many => lines.push(format!("NEEDS A PERSON: {many} things")),
    }
    for problem in problems {
        lines.push(String::new());
        for (number, line) in problem.message.lines().enumerate() {
            lines.push(if number == 0 { format!("* {line}") } else { format!("    {line}") });
        }
        for command in &problem.commands {
            lines.push(format!("  > {command}"));
        }
    }
    lines.push(String::new());
    lines.extend(facts_in_words(facts).into_iter().map(|(what, words)| format!("{what:<10}{words}")));
    lines.join("\n") + "\n"
}

fn facts_in_words(facts: &Facts) -> Vec<(&'static str, String)> {
    let standing = &facts.standing;
    let mut lines = vec![("daemon", daemon(facts)), ("schedule", schedule(facts))];
    if let Some(sign) = alive(facts) {
        let token = match (sign.token.usable_until, &sign.token.error_message) {
            (Some(until), None) => format!("usable until {until}"),
            (Some(until), Some(_)) => format!("usable until {until}, but no new one can be had so far"),
            (None, _) => "none".to_owned(),
        };
        lines.push(("token", token));
        let next = next(facts).map(|next| format!("{} at {}", next.entry, next.due_time));
        lines.push(("next", next.unwrap_or_else(|| "nothing is scheduled".to_owned())));
    }
    if alive(facts).is_some_and(|sign| sign.clock_held) {
        let words = "was set by much; nothing is started until it has agreed with itself (`clock_hold`)";
        lines.push(("clock", words.to_owned()));
    }
    lines.push(("open", format!("{} firings, and {} held", standing.open, standing.held)));
    if let Some(run) = &standing.last_run {
        let id = run.run_id.as_deref().unwrap_or_default();
        let status = run.run_status.as_deref().unwrap_or(&run.state);
        lines.push(("last run", format!("{} of {}: {status}, run {id}", run.entry, run.scheduled_time)));
    }
    for pause in &standing.pauses {
        let note = pause.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        lines.push(("paused", format!("{} since {}{note}", pause.entry, pause.since)));
    }
    for progress in &standing.backfills {
        let (done, open, backfill) = (progress.done(), progress.open, &progress.backfill);
        let words = format!("{}: {done} of {} times, {open} under way", backfill.entry, backfill.count);
        lines.push(("backfill", words));
    }
    lines
}

fn daemon(facts: &Facts) -> String {
    match (alive(facts), &facts.standing.sign) {
        (Some(sign), _) => format!(
            "runs since {}, process {}, version {}; last sign of life {}",
            sign.started_at,
            sign.pid,
            sign.program_version,
            ago(facts.now, sign.heartbeat_at)
        ),
        (None, Some(sign)) => {
            format!("last sign of life {} ({})", ago(facts.now, sign.heartbeat_at), sign.heartbeat_at)
        }
        (None, None) => "none was ever here".to_owned(),
    }
}

fn schedule(facts: &Facts) -> String {
    let Some(schedule) = &facts.standing.schedule else { return "none was ever in force".to_owned() };
    let version: String = schedule.version.chars().take(12).collect();
    let entries = facts.standing.entries;
    let mut text = format!("version {version}, {entries} entries, in force since {}", schedule.at);
    if file_differs(facts) == Some(true) {
        text += match &facts.file {
            File::Wrong { .. } => "; the file is wrong now (adf-cron check)",
            _ => "; the file was edited since (systemctl reload adf-cron)",
        };
    }
    text
}
