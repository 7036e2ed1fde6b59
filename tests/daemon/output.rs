//! Standard output that nobody reads, that fails, or whose reader is gone: nothing is late and nothing lost for
//! it, a stop ends in time, and all is said later, or counted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Daemon, Ended, LIMIT, Place, errors, in_seconds, of, results};
use crate::tally::{self, Crowd, DISTINCT, Time};

/// How many seconds nobody reads, if not a minute.
const UNREAD: &str = "ADF_CRON_UNREAD";

/// A pipe that is full after a few events.
fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4_096).unwrap();
    (reader, writer)
}

/// A daemon whose standard output nobody reads until something is sent.
fn unread(command: Command) -> (Daemon, Sender<()>) {
    let (reader, writer) = small_pipe();
    let (read, begins) = channel();
    let daemon = Daemon::spawn_to(command, writer, move || {
        // A test that has failed reads as well.
        let _ = begins.recv();
        reader
    });
    (daemon, read)
}

/// Five entries that fire each second.
fn crowd() -> Crowd {
    Crowd { entries: 5, every: 1, first: in_seconds(3), end: None, pipeline: "{entry}", parameters: DISTINCT }
}

/// Waits until the crowd has fired for so many seconds more, and says how late the latest run of these was.
fn goes_on_for(place: &Place, crowd: &Crowd, seconds: usize) -> i128 {
    let before = place.sim.run_count();
    let most = Duration::from_secs(seconds as u64) + LIMIT;
    place
        .sim
        .wait_until(most, "runs", |seen| (seen.runs.len() >= before + crowd.entries * seconds).then_some(()));
    let late = place.sim.runs().split_off(before).into_iter().map(|run| {
        let at: jiff::Timestamp = run.parameters["at"].as_str().unwrap().parse().unwrap();
        run.arrived_at.duration_since(at).as_millis()
    });
    let latest = late.max().unwrap();
    println!("the latest start came {latest} ms after its time");
    // On a quiet machine it is below 50 ms, which a busy one cannot promise.
    assert!(latest < 1_000, "{latest} ms");
    latest
}

/// The nominal times of which these events tell that a run was created.
fn told(events: &[Value]) -> BTreeSet<Time> {
    of(events, "run.created").iter().map(tally::time_of).collect()
}

/// Stops it, which must not take longer than a call that is under way and the patience with the output.
fn stop(daemon: &Daemon) -> Instant {
    daemon.signal(Signal::TERM);
    Instant::now()
}

/// Lets the daemon that this place has go on with an output that is read, and stops it: every run was told of, now or
/// before.
fn all_is_told(place: &Place, crowd: &Crowd, before: &BTreeSet<Time>) -> Vec<Value> {
    let daemon = place.daemon();
    let (ended, wanted) = tally::settle(place, crowd, daemon);
    let mut told = told(&ended.events);
    told.extend(before.iter().cloned());
    let untold: Vec<&Time> = wanted.difference(&told).collect();
    assert!(untold.is_empty(), "runs that were never told of: {untold:?}");
    ended.events
}

/// More than the output has room for is said while nobody reads, for so many seconds.
fn nobody_reads_for(seconds: usize) {
    let place = Place::new();
    // To read and plan so many takes a moment.
    let crowd = Crowd { first: in_seconds(10), ..crowd() };
    let mut text = "daemon: { heartbeat: 1s, horizon: 10m }\n".to_owned();
    text += &crowd.yaml("{ settle: 1s }");
    // That these are planned is more than there is room for. They come due when the test is over.
    let (far, long) = (in_seconds(300), "P".repeat(260));
    for number in 0..6_500 {
        writeln!(text, "  - {{ name: far-{number}, pipeline: {long}, schedule: {{ at: '{far}' }} }}")
            .unwrap();
    }
    place.write(&text);
    let (daemon, read) = unread(place.command(&["run"]));
    place.sim.wait_until(LIMIT, "the first runs", |seen| (seen.runs.len() >= 10).then_some(()));
    goes_on_for(&place, &crowd, seconds);
    assert!(daemon.events().is_empty(), "nobody has read anything");
    read.send(()).unwrap();
    let runs = place.sim.run_count();
    let created = daemon.wait_for_count("run.created", runs);
    let distinct: BTreeSet<Time> = created.iter().map(tally::time_of).collect();
    assert_eq!(distinct.len(), created.len(), "each is told of once");
    let missing = daemon.wait_for("output.dropped", |_| true);
    assert_eq!(missing["level"], "WARN");
    let (ended, wanted) = tally_up(&place, &crowd, daemon);
    assert!(wanted.is_subset(&told(&ended)), "all are told of");
    // What the ledger does not keep was said or counted.
    let planned: BTreeSet<Time> = of(&ended, "firing.planned").iter().map(tally::time_of).collect();
    let unsaid = wanted.difference(&planned).count() as u64;
    let counted: u64 = of(&ended, "output.dropped").iter().map(|it| it["count"].as_u64().unwrap()).sum();
    println!("{} events were said, {counted} counted", ended.len());
    assert!(counted > 0 && unsaid <= counted, "{unsaid} plans were not said, and {counted} events counted");
}

/// Stops it, and checks that each nominal time has its one run.
fn tally_up(place: &Place, crowd: &Crowd, daemon: Daemon) -> (Vec<Value>, BTreeSet<Time>) {
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let runs = tally::runs(place);
    let last = runs.keys().map(|(_, second)| *second).max().unwrap();
    let seconds = crowd.first.as_second()..last;
    let wanted: BTreeSet<Time> = (0..crowd.entries)
        .flat_map(|entry| seconds.clone().map(move |second| (format!("e{entry}"), second)))
        .collect();
    assert!(runs.values().all(|count| *count == 1), "doubled: {runs:?}");
    let missing: Vec<&Time> = wanted.iter().filter(|time| !runs.contains_key(*time)).collect();
    assert!(missing.is_empty(), "without a run: {missing:?}");
    (ended.events, wanted)
}

#[test]
fn output_that_nobody_reads_makes_nothing_late_and_all_is_said_once_it_is_read() {
    nobody_reads_for(6);
}

/// `cargo test --release --test daemon -- --ignored --nocapture unread_for_a_minute`; `ADF_CRON_UNREAD` says how many
/// seconds instead.
#[test]
#[ignore = "takes a minute"]
fn soak_output_that_is_unread_for_a_minute_makes_nothing_late() {
    nobody_reads_for(std::env::var(UNREAD).map_or(60, |text| text.parse().unwrap()));
}

/// Waits for the end of a daemon that nobody reads.
fn ends_within(mut daemon: Daemon, read: &Sender<()>, limit: Duration) -> Ended {
    let begun = stop(&daemon);
    assert_eq!(daemon.exit_status().code(), Some(0));
    let took = begun.elapsed();
    println!("it ended after {} ms", took.as_millis());
    assert!(took < limit, "{took:?}");
    read.send(()).unwrap();
    daemon.ended()
}

#[test]
fn a_stop_while_nobody_reads_ends_in_time_and_the_next_start_says_the_rest() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let (daemon, read) = unread(place.command(&["run"]));
    goes_on_for(&place, &crowd, 5);
    let events = ends_within(daemon, &read, Duration::from_secs(15)).events;
    let told = told(&events);
    assert!(told.len() < place.sim.run_count(), "it could not say all");
    assert!(of(&events, "daemon.stopped").is_empty());
    let events = all_is_told(&place, &crowd, &told);
    let missing = of(&events, "output.dropped");
    assert_eq!(missing.len(), 1, "that it stopped, at least, was not said");
    assert!(missing[0]["count"].as_u64().unwrap() >= 2, "{}", missing[0]);
}

#[test]
fn a_second_signal_while_nobody_reads_ends_it_at_once() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let (daemon, read) = unread(place.command(&["run"]));
    goes_on_for(&place, &crowd, 3);
    place.sim.set(|switches| switches.create_run_delay_ms = 60_000);
    let before = place.sim.requests().len();
    place.sim.wait_until(LIMIT, "a call under way", |seen| (seen.requests.len() > before).then_some(()));
    // Two of one kind may arrive as one.
    daemon.signal(Signal::INT);
    ends_within(daemon, &read, Duration::from_secs(10));
}

#[test]
fn output_on_a_full_disk_stops_nothing_and_the_next_start_says_all() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut daemon = Daemon::spawn_to(place.command(&["run"]), full, || &b""[..]);
    goes_on_for(&place, &crowd, 4);
    stop(&daemon);
    assert_eq!(daemon.exit_status().code(), Some(0));
    all_is_told(&place, &crowd, &BTreeSet::new());
}

#[test]
fn a_pipe_whose_reader_is_gone_stops_nothing_and_the_next_start_says_the_rest() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let (reader, writer) = small_pipe();
    // Like `| head -5`.
    let mut daemon = Daemon::spawn_to(place.command(&["run"]), writer, move || {
        let lines: Vec<String> = BufReader::new(reader).lines().take(5).map_while(Result::ok).collect();
        std::io::Cursor::new(lines.join("\n"))
    });
    goes_on_for(&place, &crowd, 4);
    let told = told(&daemon.events());
    stop(&daemon);
    assert_eq!(daemon.exit_status().code(), Some(0));
    all_is_told(&place, &crowd, &told);
}

#[test]
fn a_reader_that_comes_back_is_told_all_that_happened_meanwhile() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let fifo = place.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    // A moment with both ends, without which neither can be opened.
    let both = File::options().read(true).write(true).open(&fifo).unwrap();
    let writer = File::options().write(true).open(&fifo).unwrap();
    let first = File::open(&fifo).unwrap();
    drop(both);
    let (again, comes_back) = channel::<File>();
    let daemon = Daemon::spawn_to(place.command(&["run"]), writer, move || {
        let lines: Vec<String> = BufReader::new(first).lines().take(5).map_while(Result::ok).collect();
        let heard = std::io::Cursor::new(lines.join("\n") + "\n");
        std::io::Read::chain(heard, comes_back.recv().unwrap())
    });
    goes_on_for(&place, &crowd, 4);
    again.send(File::open(&fifo).unwrap()).unwrap();
    daemon.wait_for_count("run.created", place.sim.run_count());
    let (events, wanted) = tally_up(&place, &crowd, daemon);
    assert!(wanted.is_subset(&told(&events)));
    assert!(!events.contains(&Value::Null), "whole lines");
}

#[test]
fn output_that_does_not_wait_for_its_reader_is_written_whole_all_the_same() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let (reader, writer) = small_pipe();
    // Whoever shares a pipe or a terminal with us may do this to it.
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    let (read, begins) = channel();
    let daemon = Daemon::spawn_to(place.command(&["run"]), writer, move || {
        let _ = begins.recv();
        reader
    });
    goes_on_for(&place, &crowd, 3);
    read.send(()).unwrap();
    daemon.wait_for_count("run.created", place.sim.run_count());
    let (events, wanted) = tally_up(&place, &crowd, daemon);
    assert!(wanted.is_subset(&told(&events)) && !events.contains(&Value::Null), "whole lines");
}

#[test]
fn a_terminal_that_was_stopped_by_a_key_stops_nothing_else() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let ours = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    let (read, begins) = channel();
    let ours = File::from(ours);
    let daemon = Daemon::spawn_to(place.command(&["run"]), terminal, move || {
        let _ = begins.recv();
        ours
    });
    goes_on_for(&place, &crowd, 4);
    let shown = ends_within(daemon, &read, Duration::from_secs(15)).output;
    let (ended, _) = tally::settle(&place, &crowd, place.daemon());
    for run in place.sim.runs() {
        let id = &run.run_id;
        assert!(shown.contains(id) || ended.output.contains(id), "run {id} was never told of");
    }
}

#[test]
fn a_service_manager_that_does_not_listen_stops_nothing() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = place.command(&["run"]);
    // Twenty signs of life a second: soon no more find room.
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "150000");
    let mut daemon = Daemon::spawn(command);
    goes_on_for(&place, &crowd, 5);
    let begun = stop(&daemon);
    assert_eq!(daemon.exit_status().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop(socket);
    all_is_told(&place, &crowd, &told(&daemon.ended().events));
}

/// Commands with something to read, none of which needs a daemon.
const SHOWN: [&[&str]; 7] = [
    &["next", "-n", "5000"],
    &["history"],
    &["status"],
    &["explain", "e0"],
    &["schema"],
    &["--help"],
    &["audit"],
];

#[test]
fn a_reader_of_a_command_that_has_seen_enough_is_no_failure_and_a_full_disk_is_one_that_is_said() {
    let place = Place::new();
    let crowd = crowd();
    place.write(&crowd.yaml("{ settle: 1s }"));
    let daemon = place.daemon();
    goes_on_for(&place, &crowd, 1);
    daemon.stop();
    for arguments in SHOWN {
        let (reader, writer) = small_pipe();
        drop(reader);
        let plain = place.run(arguments);
        assert!(!results(&plain).is_empty(), "{arguments:?}: {}", errors(&plain));
        let closed = place.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(closed.status.code(), plain.status.code(), "{arguments:?}: {}", errors(&closed));
        assert_eq!(errors(&closed), errors(&plain), "{arguments:?}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let full = place.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert!(!errors(&full).contains("panicked"), "{arguments:?}: {}", errors(&full));
        if arguments != ["--help"] {
            assert_eq!(full.status.code(), Some(1), "{arguments:?}: {}", errors(&full));
            assert!(errors(&full).contains("No space left on device"), "{arguments:?}: {}", errors(&full));
        }
    }
}
