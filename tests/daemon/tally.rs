//! The accounts of many entries that fire together: which of their nominal times have a run at the stand-in,
//! and what the ledger says of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;

use crate::process::{Daemon, Ended, LIMIT, Place, now};

/// An entry at a nominal time, in seconds.
pub(crate) type Time = (String, i64);

/// Entries that fire together.
pub(crate) struct Crowd {
    pub(crate) entries: usize,
    /// Seconds from one nominal time to the next.
    pub(crate) every: i64,
    pub(crate) first: Timestamp,
    /// Before this; `None`: for ever.
    pub(crate) end: Option<Timestamp>,
    /// The pipeline and the parameters of each, where `{entry}` stands for its name.
    pub(crate) pipeline: &'static str,
    pub(crate) parameters: &'static str,
}

/// Parameters by which every run can be told from every other.
pub(crate) const DISTINCT: &str = "{ entry: {entry}, at: \"{{ scheduled_time }}\" }";

impl Crowd {
    /// Its schedule, with these defaults.
    pub(crate) fn yaml(&self, defaults: &str) -> String {
        let first = self.first;
        let mut text = format!("defaults: {defaults}\npipelines:\n");
        let end = self.end.map_or(String::new(), |end| format!("end: '{end}', "));
        for entry in 0..self.entries {
            let name = format!("e{entry}");
            let (pipeline, parameters) =
                (self.pipeline.replace("{entry}", &name), self.parameters.replace("{entry}", &name));
            writeln!(
                text,
                "  - {{ name: {name}, pipeline: {pipeline}, schedule: {{ every: {}s, anchor: '{first}' }}, start: '{first}', {end}\
                 parameters: {parameters} }}",
                self.every,
            )
            .unwrap();
        }
        text
    }

    /// Every nominal time up to `until`, and each after it up to the last for which an entry was started: a daemon
    /// goes on for a moment.
    fn started(&self, place: &Place, until: Timestamp) -> BTreeSet<Time> {
        let mut last: BTreeMap<String, i64> =
            (0..self.entries).map(|entry| (format!("e{entry}"), until.as_second())).collect();
        for (entry, second) in runs(place).into_keys() {
            last.entry(entry).and_modify(|latest| *latest = (*latest).max(second));
        }
        let (first, step) = (self.first.as_second(), usize::try_from(self.every).unwrap());
        let each = |(entry, last): (String, i64)| {
            (first..=last).step_by(step).map(move |second| (entry.clone(), second))
        };
        last.into_iter().flat_map(each).collect()
    }

    /// Every nominal time up to its end.
    pub(crate) fn times(&self) -> BTreeSet<Time> {
        let end = self.end.unwrap();
        let each = |entry: usize| {
            let seconds =
                (self.first.as_second()..end.as_second()).step_by(usize::try_from(self.every).unwrap());
            seconds.map(move |second| (format!("e{entry}"), second))
        };
        (0..self.entries).flat_map(each).collect()
    }
}

/// The nominal time that a row or an event is about.
pub(crate) fn time_of(fact: &Value) -> Time {
    let at: Timestamp = fact["scheduled_time"].as_str().unwrap().parse().unwrap();
    (fact["entry"].as_str().unwrap().to_owned(), at.as_second())
}

/// How many runs each nominal time has at the stand-in, by their parameters.
pub(crate) fn runs(place: &Place) -> BTreeMap<Time, usize> {
    let mut runs = BTreeMap::new();
    for run in place.sim.runs() {
        let word = |key: &str| run.parameters[key].as_str().unwrap().to_owned();
        let at: Timestamp = word("at").parse().unwrap();
        *runs.entry((word("entry"), at.as_second())).or_default() += 1;
    }
    runs
}

/// Nobody has two runs, and those that have one are these.
pub(crate) fn assert_each_has_one_run(place: &Place, wanted: &BTreeSet<Time>) {
    let runs = runs(place);
    let doubled: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
    let missing: Vec<_> = wanted.iter().filter(|time| !runs.contains_key(*time)).collect();
    let foreign: Vec<_> = runs.keys().filter(|time| !wanted.contains(*time)).collect();
    assert!(
        doubled.is_empty() && missing.is_empty() && foreign.is_empty(),
        "doubled: {doubled:?}\nmissing: {missing:?}\nnot in the calendar: {foreign:?}"
    );
}

/// The ledger's history without what came due just when the daemon was told to stop, so that it was not begun: that is
/// left to the next start.
pub(crate) fn begun(place: &Place) -> Vec<Value> {
    let mut rows = place.history();
    rows.retain(|row| row["state"] != "planned" || row["attempts"] != 0);
    rows
}

/// The ledger has one row for each of these, and each is accepted with a run of its own that the stand-in has.
pub(crate) fn assert_each_is_accepted(place: &Place, wanted: &BTreeSet<Time>) {
    let rows = begun(place);
    let mut seen = BTreeSet::new();
    for row in &rows {
        assert_eq!(row["state"], "accepted", "{row}");
        assert!(seen.insert(time_of(row)), "a second record: {row}");
    }
    assert_eq!(&seen, wanted);
    assert_each_owns_a_run(place, &rows);
}

/// Every accepted row names a run of the stand-in, and no two the same.
pub(crate) fn assert_each_owns_a_run(place: &Place, rows: &[Value]) {
    let runs: BTreeSet<String> = place.sim.runs().into_iter().map(|run| run.run_id).collect();
    let mut owners: HashMap<String, &Value> = HashMap::new();
    for row in rows.iter().filter(|row| row["state"] == "accepted") {
        let run = row["run_id"].as_str().unwrap().to_owned();
        assert!(runs.contains(&run), "there is no such run: {row}");
        if let Some(other) = owners.insert(run, row) {
            panic!("two firings own one run: {other} and {row}");
        }
    }
}

/// Waits until so many firings have ended, or wait for a person; the limit counts for each of them.
pub(crate) fn wait_until_over(daemon: &Daemon, count: usize) {
    const ENDS: [&str; 5] =
        ["run.created", "run.adopted", "firing.rejected", "firing.skipped", "firing.held"];
    let over = |events: &[Value]| {
        let over = events.iter().filter(|event| ENDS.iter().any(|name| event["event"] == *name));
        over.filter_map(|event| event["firing_id"].as_str()).collect::<BTreeSet<_>>().len()
    };
    let mut ended = 0;
    while ended < count {
        ended = daemon
            .wait_until("the end of every firing", |events| Some(over(events)).filter(|now| *now > ended));
    }
}

/// Lets a crowd without end go on until all that came due up to now is over, stops it, and checks every account:
/// one run and one accepted record for each nominal time. Returns what it said, and which those were.
pub(crate) fn settle(place: &Place, crowd: &Crowd, daemon: Daemon) -> (Ended, BTreeSet<Time>) {
    let until = now();
    wait_for_all(place, crowd, &daemon, until);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let wanted = crowd.started(place, until);
    assert_each_has_one_run(place, &wanted);
    assert_each_is_accepted(place, &wanted);
    (ended, wanted)
}

/// Waits until every nominal time up to `until` has its run, and nothing is looked for any more.
fn wait_for_all(place: &Place, crowd: &Crowd, daemon: &Daemon, until: Timestamp) {
    let past = usize::try_from((until.as_second() - crowd.first.as_second()) / crowd.every + 1).unwrap();
    let (mut deadline, mut least) = (Instant::now() + LIMIT, usize::MAX);
    loop {
        let heard = daemon.events().len();
        let mut open = place.history();
        open.retain(|row| time_of(row).1 <= until.as_second() && row["state"] != "accepted");
        if place.sim.run_count() >= past * crowd.entries && open.is_empty() {
            return;
        }
        if open.len() < least {
            (deadline, least) = (Instant::now() + LIMIT, open.len());
        }
        let held = open.iter().any(|row| row["state"] == "held");
        assert!(!held && Instant::now() < deadline, "{} not over, or never: {open:?}", open.len());
        daemon.wait_until("more events", |events| (events.len() > heard).then_some(()));
    }
}
