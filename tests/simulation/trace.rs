//! What happened, in words short enough to be read.

use std::collections::BTreeMap;

use adf_cron::engine::{Action, Input};
use adf_cron::ledger::{Batch, Intent, Record};

fn intent(intent: &Intent) -> String {
    format!("{} at {} ({})", intent.entry, intent.nominal, &intent.firing_id.to_string()[..8])
}

/// What the engine is told.
pub(crate) fn input(input: &Input) -> String {
    match input {
        Input::Answered(firing, attempted) => format!("answered {firing}: {:?}", attempted.outcome),
        Input::Looked(firing, look) => format!("looked {firing}: {look:?}"),
        Input::Searched(firing, searched) => format!("searched {firing}: {searched:?}"),
        Input::Reload(schedule) => format!("reload {}", schedule.version),
        Input::Owned(firing, owners) => {
            let owners: BTreeMap<_, _> = owners.iter().collect();
            format!("owners of the runs found for {firing}: {owners:?}")
        }
        other => format!("{other:?}"),
    }
}

/// What the engine wants.
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::Commit(batch) => commit(batch),
        Action::Send(it) => format!("send {}", intent(it)),
        Action::Look(it) => format!("look for {}", intent(it)),
        Action::Search(it, since) => format!("search for {} since {since}", intent(it)),
        other => format!("{other:?}"),
    }
}

fn commit(batch: &Batch) -> String {
    let records: Vec<String> = batch.records.iter().map(record).collect();
    format!("commit {}: {}", batch.id, records.join("; "))
}

fn record(record: &Record) -> String {
    match record {
        Record::Loaded(loaded) => {
            let begun: Vec<String> = loaded
                .begun
                .iter()
                .map(|(mark, _)| format!("{} from {}", mark.entry, mark.nominal))
                .collect();
            format!("loaded {} at {}, begun {begun:?}, ended {:?}", loaded.version, loaded.at, loaded.ended)
        }
        Record::Planned(it) => format!("planned {}", intent(it)),
        Record::Stillborn(it, _) => format!("stillborn {}", intent(it)),
        Record::Skipped(skips) => {
            let (first, reason) = (intent(&skips.intent), skips.reason.as_str());
            format!("skipped {first} to {}, {} of them: {reason}", skips.last, skips.count)
        }
        Record::Marked(mark) => format!("mark {} {}", mark.entry, mark.nominal),
        Record::Progress(progress) => {
            let reason = progress.reason.map_or("", |reason| reason.as_str());
            let firing = &progress.firing_id.to_string()[..8];
            format!("{firing} is {} {reason} after {}", progress.state.as_str(), progress.attempts)
        }
        other => format!("{other:?}"),
    }
}
