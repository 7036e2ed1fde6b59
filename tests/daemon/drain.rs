//! SIGTERM starts nothing new, whatever was asked for before and comes during the drain.

use std::time::Duration;

use azure_sim::{Effect, Fault, Operation};
use rustix::process::Signal;

use crate::process::{LIMIT, Place, in_seconds, now, of};

/// Long enough for a daemon on a busy host to have sent what was due.
const SENT_BY_THEN: Duration = Duration::from_secs(2);

#[test]
fn a_firing_that_waits_for_a_token_is_not_sent_after_sigterm_but_by_the_next_start() {
    let place = Place::new();
    place.sim.set(|switches| switches.token_delay_ms = 10_000);
    let due = in_seconds(2);
    place.write(&format!(
        "pipelines:\n  - {{ name: a, pipeline: A, late_after: 10m, schedule: {{ at: '{due}' }} }}\n"
    ));
    let daemon = place.daemon();
    place
        .sim
        .wait_until(LIMIT, "a request for a token", |seen| (seen.count(Operation::Token) == 1).then_some(()));
    let left = due.duration_since(now()) + jiff::SignedDuration::try_from(SENT_BY_THEN).unwrap();
    std::thread::sleep(Duration::try_from(left).unwrap_or_default());
    daemon.signal(Signal::TERM);
    let stopping = daemon.wait_for("daemon.stopping", |_| true);
    assert!(stopping["message"].as_str().unwrap().contains("1 calls are under way"), "{stopping}");
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(of(&ended.events, "daemon.stopped")[0]["open_firings"], 1, "{}", ended.output);
    assert!(of(&ended.events, "firing.unknown").is_empty(), "nothing has left: {}", ended.output);
    assert_eq!(place.sim.requests().iter().filter(|call| call.operation == Operation::CreateRun).count(), 0);
    assert_eq!(place.history()[0]["state"], "planned");

    place.sim.set(|switches| switches.token_delay_ms = 0);
    let next = place.daemon();
    let created = next.wait_for("run.created", |_| true);
    assert_eq!(
        (&created["attempt"], created["scheduled_time"].as_str()),
        (&1.into(), Some(&*due.to_string()))
    );
    next.stop();
    assert_eq!(place.sim.runs().len(), 1);
    assert_eq!(
        place.sim.requests().iter().filter(|call| call.operation == Operation::GetRun).count(),
        0,
        "a clean stop leaves nothing to look for"
    );
}

#[test]
fn a_token_that_comes_while_a_call_is_still_under_way_lets_nothing_go() {
    let place = Place::new();
    place.sim.set(|switches| {
        let slow = Effect::Slow { ms: 9_000, commit_first: true };
        let refused = Effect::error(401, "ExpiredAuthenticationToken", "The access token has expired.");
        switches.faults = vec![
            Fault::always(Operation::CreateRun, slow).of("Slow"),
            Fault::always(Operation::CreateRun, refused).times(1).of("Waits"),
        ];
    });
    let (first, second) = (in_seconds(3), in_seconds(4));
    place.write(&format!(
        "daemon: {{ heartbeat: 1s, horizon: 10s, shutdown_grace: 1m }}\n\
         defaults: {{ late_after: 10m, timeout: 40s, follow: false }}\n\
         pipelines:\n\
         \x20 - {{ name: slow, pipeline: Slow, schedule: {{ at: '{first}' }} }}\n\
         \x20 - {{ name: waits, pipeline: Waits, schedule: {{ at: '{second}' }} }}\n"
    ));
    let daemon = place.daemon();
    daemon.wait_for("token.acquired", |_| true);
    // The next token comes while the first call still goes on.
    place.sim.set(|switches| switches.token_delay_ms = 3_000);
    daemon.wait_for("attempt.failed", |event| event["http_status"] == 401);
    daemon.signal(Signal::TERM);
    let stopping = daemon.wait_for("daemon.stopping", |_| true);
    assert!(stopping["message"].as_str().unwrap().contains("2 calls are under way"), "{stopping}");
    let ended = daemon.ended();
    assert_eq!(of(&ended.events, "token.acquired").len(), 2, "it came in the drain: {}", ended.output);
    assert_eq!(of(&ended.events, "run.created").len(), 1, "{}", ended.output);
    assert_eq!(of(&ended.events, "daemon.stopped")[0]["open_firings"], 1, "{}", ended.output);
    let pipelines: Vec<String> = place.sim.runs().into_iter().map(|run| run.pipeline).collect();
    assert_eq!(pipelines, ["Slow"]);
    place.sim.set(|switches| switches.token_delay_ms = 0);
    let next = place.daemon();
    assert_eq!(next.wait_for("run.created", |event| event["entry"] == "waits")["attempt"], 2);
}
