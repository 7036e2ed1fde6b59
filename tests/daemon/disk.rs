//! A disk that is full, fails, is read-only, damaged or slow: nothing is started of which the ledger knows
//! nothing, nothing is lost, and what is due does not wait.

use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use azure_sim::Operation;
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

use crate::meddler::Meddler;
use crate::mounts::{mount, remount, where_mounts_are_ours};
use crate::process::{Daemon, LIMIT, Place, now, of};
use crate::stage::before;
use crate::tally::{self, Crowd, DISTINCT};

const DEFAULTS: &str = "{ settle: 1s, late_after: 1s, missed: all, missed_max: 1000 }";

/// Longer than everything that is planned ahead takes to come due.
const BEYOND_THE_HORIZON: Duration = Duration::from_secs(7);

/// A daemon in such a place, which begins before the first nominal time of its crowd, as `spawn` says.
fn crowd_in(place: impl Fn() -> Place, spawn: impl Fn(&Place) -> Daemon) -> (Place, Crowd, Daemon) {
    before(2, |first| {
        let place = place();
        let crowd =
            Crowd { entries: 5, every: 1, first, end: None, pipeline: "Shared", parameters: DISTINCT };
        place.write(&crowd.yaml(DEFAULTS));
        let daemon = spawn(&place);
        daemon.wait_for("schedule.loaded", |_| true);
        Some((place, crowd, daemon))
    })
}

/// A daemon that has started some of its crowd.
fn under_way(place: impl Fn() -> Place) -> (Place, Crowd, Daemon) {
    let (place, crowd, daemon) = crowd_in(place, |place| Daemon::spawn(place.command(&["run"])));
    daemon.wait_for_count("run.created", 10);
    (place, crowd, daemon)
}

/// The ids of all createRun calls.
fn called(place: &Place) -> HashSet<String> {
    let calls = place.sim.requests().into_iter().filter(|request| request.operation == Operation::CreateRun);
    calls.filter_map(|call| call.request_id).collect()
}

/// Nothing was called of which the ledger knows nothing.
fn assert_all_calls_are_recorded(place: &Place) {
    let known: HashSet<String> =
        place.history().iter().map(|row| row["firing_id"].as_str().unwrap().to_owned()).collect();
    let unrecorded: Vec<String> = called(place).difference(&known).cloned().collect();
    assert!(unrecorded.is_empty(), "called, and not in the ledger: {unrecorded:?}");
}

/// Waits until the ledger has failed, and lets everything come due that was planned before.
fn wait_while_nothing_can_be_written(place: &Place, daemon: &Daemon) -> Value {
    let failed = daemon.wait_for("ledger.failed", |_| true);
    assert_eq!(failed["level"], "ERROR");
    // That nothing happens can only be waited for.
    std::thread::sleep(BEYOND_THE_HORIZON);
    let (calls, silent_since) = (called(place).len(), now());
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(called(place).len(), calls, "nothing new is started, although it came due");
    assert!(of(&daemon.events(), "ledger.recovered").is_empty(), "silent since {silent_since}");
    assert_all_calls_are_recorded(place);
    failed
}

/// What uses up all that a filesystem has left.
struct Filler<'a>(&'a Path);

impl<'a> Filler<'a> {
    fn at(path: &'a Path) -> Self {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        Self(path)
    }

    fn remove(self) {
        std::fs::remove_file(self.0).unwrap();
    }
}

/// A place on a small filesystem that is mounted in this folder, over whatever was mounted there before.
fn small_place(folder: &Path) -> Place {
    mount(folder, "8m");
    Place::within(folder)
}

#[test]
fn a_full_disk_starts_nothing_unrecorded_and_once_there_is_room_nothing_is_lost_or_doubled() {
    let test =
        "disk::a_full_disk_starts_nothing_unrecorded_and_once_there_is_room_nothing_is_lost_or_doubled";
    where_mounts_are_ours(test, || {
        let folder = tempfile::tempdir().unwrap();
        let (place, crowd, daemon) = under_way(|| small_place(folder.path()));
        let path = place.path("filler");
        let filler = Filler::at(&path);
        let failed = wait_while_nothing_can_be_written(&place, &daemon);
        assert!(failed["error_message"].as_str().unwrap().contains("full"), "{failed}");
        filler.remove();
        daemon.wait_for("ledger.recovered", |_| true);
        tally::settle(&place, &crowd, daemon);
    });
}

#[test]
fn a_power_cut_while_the_disk_is_full_loses_and_repeats_nothing() {
    let test = "disk::a_power_cut_while_the_disk_is_full_loses_and_repeats_nothing";
    where_mounts_are_ours(test, || {
        let folder = tempfile::tempdir().unwrap();
        let (place, crowd, daemon) = under_way(|| small_place(folder.path()));
        let path = place.path("filler");
        let filler = Filler::at(&path);
        let before = place.sim.run_count();
        daemon.wait_for("ledger.failed", |_| true);
        place.sim.wait_until(LIMIT, "runs of which the ledger does not hear", |seen| {
            (seen.runs.len() > before).then_some(())
        });
        daemon.kill();
        // It cannot even note that it runs: so nothing is sent.
        let daemon = Daemon::spawn(place.command(&["run"]));
        daemon.wait_for("ledger.failed", |_| true);
        let calls = called(&place).len();
        std::thread::sleep(BEYOND_THE_HORIZON);
        assert_eq!(called(&place).len(), calls);
        filler.remove();
        daemon.wait_for("run.adopted", |_| true);
        tally::settle(&place, &crowd, daemon);
    });
}

/// Lets the process write no more to files, or as much as it likes.
fn limit_writes(daemon: &Daemon, most: Option<u64>) {
    let old = getrlimit(Resource::Fsize);
    prlimit(Some(daemon.pid()), Resource::Fsize, Rlimit { current: most, maximum: old.maximum }).unwrap();
}

#[test]
fn a_disk_that_refuses_every_write_starts_nothing_unrecorded_and_nothing_is_lost_or_doubled() {
    let (place, crowd, daemon) = crowd_in(Place::new, |place| {
        // The system sends a signal to whoever writes beyond the limit, unless it is ignored.
        let run = place.command(&["run"]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(run.get_program())
            .args(run.get_args())
            .env_clear();
        shell.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Daemon::spawn(shell)
    });
    daemon.wait_for_count("run.created", 10);
    limit_writes(&daemon, Some(0));
    wait_while_nothing_can_be_written(&place, &daemon);
    limit_writes(&daemon, getrlimit(Resource::Fsize).maximum);
    daemon.wait_for("ledger.recovered", |_| true);
    tally::settle(&place, &crowd, daemon);
}

#[test]
fn a_read_only_filesystem_is_refused_with_its_reason_and_once_it_is_writable_all_goes_on() {
    let test = "disk::a_read_only_filesystem_is_refused_with_its_reason_and_once_it_is_writable_all_goes_on";
    where_mounts_are_ours(test, || {
        let folder = tempfile::tempdir().unwrap();
        let (place, crowd, daemon) = under_way(|| small_place(folder.path()));
        daemon.kill();
        remount(folder.path(), "ro");
        let calls = called(&place).len();
        let refused = Daemon::spawn(place.command(&["run"])).ended();
        let said = refused.output;
        assert_eq!(refused.status.code(), Some(69), "{said}");
        assert!(
            said.contains("the ledger cannot be locked") && said.contains("Read-only file system"),
            "{said}"
        );
        assert_eq!(called(&place).len(), calls);
        remount(folder.path(), "rw");
        let daemon = place.daemon();
        tally::settle(&place, &crowd, daemon);
    });
}

/// The size of SQLite's pages.
const PAGE: usize = 4_096;

/// Overwrites every page but the first.
fn damage(ledger: &Path) {
    let file = OpenOptions::new().write(true).open(ledger).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    assert!(length > 2 * PAGE, "there is something to damage");
    file.write_all_at(&vec![0xa5; length - PAGE], PAGE as u64).unwrap();
}

fn assert_damage_is_refused(place: &Place) {
    let refused = Daemon::spawn(place.command(&["run"])).ended();
    let said = refused.output;
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert!(said.contains("the ledger cannot be used; move it away or restore it"), "{said}");
    assert!(said.contains("malformed"), "{said}");
}

#[test]
fn a_damaged_ledger_is_refused_at_the_start_with_what_to_do() {
    let (place, _, daemon) = under_way(Place::new);
    assert_eq!(daemon.stop().status.code(), Some(0));
    let calls = called(&place).len();
    damage(&place.path("ledger.db"));
    assert_damage_is_refused(&place);
    assert_eq!(called(&place).len(), calls);
}

#[test]
fn a_ledger_that_is_damaged_under_a_running_daemon_starts_nothing_unrecorded() {
    let (place, _, daemon) = under_way(Place::new);
    // What a clean stop leaves is all in the one file.
    assert_eq!(daemon.stop().status.code(), Some(0));
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 5);
    let mut meddler = Meddler::new(&place.path("ledger.db"));
    meddler.execute("BEGIN IMMEDIATE");
    meddler.execute("INSERT INTO note (name, value) VALUES ('another', 'program')");
    damage(&place.path("ledger.db"));
    // A change by somebody else makes the daemon read what it had in memory.
    meddler.execute("COMMIT");
    let failed = daemon.wait_for("ledger.failed", |_| true);
    assert!(failed["error_message"].as_str().unwrap().contains("malformed"), "{failed}");
    std::thread::sleep(BEYOND_THE_HORIZON);
    let calls = called(&place);
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(called(&place).len(), calls.len(), "nothing new is started");
    // It tells of a plan once that is durable.
    let durable: HashSet<String> = of(&daemon.events(), "firing.planned")
        .iter()
        .map(|event| event["firing_id"].as_str().unwrap().to_owned())
        .collect();
    let since = daemon.events()[0]["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    for call in place.sim.requests() {
        if call.operation == Operation::CreateRun && call.arrived_at > since {
            assert!(durable.contains(&call.request_id.unwrap()), "called, and never durable");
        }
    }
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(69), "what happened last could not be recorded: {}", ended.output);
    assert_damage_is_refused(&place);
}

/// When bursts come, in seconds from the first that meets a blocked ledger: three before, and five within ten seconds.
const BURSTS: [i64; 8] = [-6, -4, -2, 0, 2, 4, 6, 8];

/// How many entries fire in each burst.
const BURST: usize = 40;

/// Entries that fire together in each burst, all planned before the first. When three bursts are over and recorded,
/// another program blocks the ledger.
fn blocked_before(at: Timestamp) -> Option<(Place, Daemon, Meddler)> {
    let place = Place::new();
    let times = BURSTS.map(|seconds| at + SignedDuration::from_secs(seconds));
    let listed = times.map(|time| format!("'{time}'")).join(", ");
    let mut text = "daemon: { heartbeat: 1s, horizon: 30s }\npipelines:\n".to_owned();
    for entry in 0..BURST {
        text += &format!(
            "  - {{ name: e{entry}, pipeline: P{entry}, schedule: {{ at: [{listed}] }}, follow: false, \
             parameters: {{ at: \"{{{{ scheduled_time }}}}\" }} }}\n"
        );
    }
    place.write(&text);
    let daemon = place.daemon_before(times[0])?;
    daemon.wait_for_count("firing.planned", BURST * BURSTS.len());
    daemon.wait_for_count("run.created", BURST * 3);
    let mut meddler = Meddler::new(&place.path("ledger.db"));
    // From here on nobody else can write.
    meddler.execute("BEGIN IMMEDIATE");
    Some((place, daemon, meddler))
}

/// By how many milliseconds the latest start of each burst was late.
fn latest_of_each_burst(place: &Place) -> Vec<i64> {
    let mut latest: BTreeMap<Timestamp, i64> = BTreeMap::new();
    for run in place.sim.runs() {
        let due: Timestamp = run.parameters["at"].as_str().unwrap().parse().unwrap();
        let late = run.arrived_at.as_millisecond() - due.as_millisecond();
        latest.entry(due).and_modify(|latest| *latest = late.max(*latest)).or_insert(late);
    }
    latest.into_values().collect()
}

#[test]
fn a_ledger_that_blocks_for_ten_seconds_makes_nothing_late_that_is_due() {
    let (at, (place, daemon, mut meddler)) = before(9, |at| Some((at, blocked_before(at)?)));
    let all = BURST * BURSTS.len();
    place.sim.wait_until(LIMIT, "all runs", |seen| (seen.runs.len() == all).then_some(()));
    let latest = latest_of_each_burst(&place);
    println!("the latest of 40 starts came after so many milliseconds, burst by burst: {latest:?}");
    // How long a burst takes on a machine that does other things as well is told by those before the block. A start
    // that waited for the ledger would be late by seconds, and so would every burst of the block.
    let (free, mut blocked) = (&latest[..3], latest[3..].to_vec());
    blocked.sort_unstable();
    assert!(blocked[blocked.len() / 2] < free.iter().max().unwrap() + 100, "{latest:?}");
    // After five seconds the daemon says that it cannot write.
    daemon.wait_for("ledger.failed", |_| true);
    let left = (at + Duration::from_secs(10)).duration_since(now());
    std::thread::sleep(Duration::try_from(left).unwrap_or_default());
    let told = of(&daemon.events(), "run.created").len();
    assert_eq!(told, BURST * 3, "no event comes before its fact is durable");
    meddler.execute("ROLLBACK");
    meddler.leave();
    daemon.wait_for("ledger.recovered", |_| true);
    daemon.wait_for_count("run.created", all);
    let ended = daemon.stop();
    assert_eq!(of(&ended.events, "run.created").len(), all);
    assert_eq!(place.sim.run_count(), all);
    assert!(place.history().iter().all(|row| row["state"] == "accepted"), "{:?}", place.history());
}
