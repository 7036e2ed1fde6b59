//! Edits that cost much, hang or hide something: each is told what is wrong with it, soon and within little memory,
//! and the daemon goes on.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::process::{LIMIT, Place, errors, results};

/// How long `check` may take. The bound is two seconds for the optimised program on a host with nothing else to do;
/// tests run without optimisation, and beside others.
const SOON: Duration = Duration::from_secs(15);
/// The most memory that `check` may hold, in kibibytes.
const LITTLE: u64 = 100 * 1024;

/// Runs `check` to its end; says how much memory it held at most, in kibibytes, as far as was seen.
fn check(place: &Place) -> (Output, u64) {
    let began = Instant::now();
    let mut command = place.command(&["check"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (done, ended) = std::sync::mpsc::channel();
    let output = std::thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        let _ = done.send(());
        output
    });
    let mut most = 0;
    // The kernel keeps the highest mark, so that the last look before the end is near it.
    while ended.recv_timeout(Duration::from_millis(2)).is_err() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let held = mark.and_then(|mark| mark.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        most = most.max(held);
    }
    let output = output.join().unwrap();
    assert!(began.elapsed() < SOON, "it took {:?}: {:.300}", began.elapsed(), errors(&output));
    (output, most)
}

fn pipe(path: &Path) -> String {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path.display().to_string()
}

fn with_parameter(template: &str) -> String {
    format!(
        "pipelines:\n  - {{ name: e, pipeline: P, schedule: '@daily', parameters: {{ p: \"{template}\" }} }}\n"
    )
}

/// Edits, and what is said of each.
fn edits(place: &Place) -> Vec<(String, &'static str)> {
    let mut edits = costly_edits();
    edits.extend(endless_edits(place));
    edits
}

/// What is deep, wide, long or slow.
fn costly_edits() -> Vec<(String, &'static str)> {
    let each = |count: usize, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<String>();
    vec![
        // Deep.
        (format!("pipelines: {}", "[".repeat(200_000)), "nested too deeply"),
        (format!("pipelines: {}{}", "[".repeat(100_000), "]".repeat(100_000)), "nested too deeply"),
        (format!("pipelines: {}", "{a: ".repeat(100_000)), "nested too deeply"),
        (format!("pipelines:\n{}\n", "- ".repeat(100_000)), "nested too deeply"),
        (format!("pipelines:\n  {}\n", "? ".repeat(100_000)), "nested too deeply"),
        (each(2_000, &|n| format!("{}a:\n", " ".repeat(n))), "nested too deeply"),
        (with_parameter(&format!("{{{{ 1{} }}}}", "+1".repeat(2_800))), "words and signs"),
        (with_parameter(&format!("{{{{ {}1 }}}}", "(".repeat(2_800))), "deep within each other"),
        (with_parameter(&format!("{{{{ {}1 }}}}", "not ".repeat(2_800))), "words and signs"),
        (with_parameter(&"{% if 1 %}".repeat(560)), "times {%"),
        // Wide.
        (
            format!("pipelines: [{}]\n", "[],".repeat(2_000_000)),
            "keys and values, or 16 MiB of them, up to here",
        ),
        (format!("pipelines:\n{}", "- a\n".repeat(1_000_000)), "more than 500000 keys and values"),
        (format!("x: &a [{}]\npipelines: [{}]\n", "x,".repeat(40_000), "*a,".repeat(40_000)), "aliases"),
        (format!("x: &a \"{}\"\npipelines: [{}]\n", "x".repeat(200_000), "*a,".repeat(40_000)), "aliases"),
        (each(60_000, &|n| format!("k{n}: 1\n")), "unknown key `k0`"),
        (format!("pipelines: [{}]\n", "x, ".repeat(60_000)), "must be a mapping"),
        ("---\n".repeat(100_000), "more than one YAML document"),
        // Long.
        (format!("pipelines: \"{}\"\n", "x".repeat(30 << 20)), "or 16 MiB of them"),
        (format!("{}: 1\n", "k".repeat(3 << 20)), "could not find"),
        (format!("pipelines: {{ {}: 1 }}\n", "pipeline".repeat(100)), "must be a list"),
        // Slow.
        (
            format!(
                "pipelines:\n{}",
                each(40, &|n| format!(
                    "  - {{ name: e{n}, pipeline: P, schedule: '*/2 * * * * *', except: {{ cron: '*/2 * * * * *' }} }}\n"
                ))
            ),
            "leave out nearly all their times",
        ),
        (
            format!(
                "pipelines:\n{}",
                each(2_000, &|n| format!(
                    "  - {{ name: e{n}, pipeline: P, schedule: '@daily', parameters: {{ p: \"{{% for i in range(3000) %}}x{{% endfor %}}{n}{{{{ entry }}}}\" }} }}\n"
                ))
            ),
            "too many steps in all",
        ),
        (
            format!(
                "defaults: {{ parameters: {{ large: {} }} }}\npipelines:\n{}",
                "x".repeat(60_000),
                each(1_000, &|n| format!(
                    "  - {{ name: e{n}, pipeline: P, schedule: '@daily', parameters: {{ p: 1 }} }}\n"
                ))
            ),
            "larger than 32 MiB in all",
        ),
    ]
}

/// What becomes huge, and what never ends.
fn endless_edits(place: &Place) -> Vec<(String, &'static str)> {
    let holidays = pipe(&place.path("holidays"));
    let except = |file: &str| {
        format!("pipelines: [{{ name: e, pipeline: P, schedule: '@daily', except: {{ file: {file} }} }}]\n")
    };
    vec![
        (with_parameter("{{ [1]|tojson(indent=1000000000) }}"), "an indent may be at most 16"),
        (with_parameter("{{ 'x' * 1000000000 }}"), "it takes too many steps"),
        (with_parameter("a {{ ['x'] * 1000000000 }}"), "a list cannot be repeated"),
        (format!("pipelines: [{{ schedule: {{ every: {}s }} }}]\n", "9".repeat(300_000)), "bytes in all]"),
        (except(&holidays), "it is a pipe, and only a regular file is read"),
        (except("/dev/zero"), "it is a device, and only a regular file is read"),
        (except("/"), "it is a directory, and only a regular file is read"),
    ]
}

#[test]
fn check_answers_soon_and_within_little_memory_whatever_the_file_holds() {
    let place = Place::new();
    for (text, wanted) in edits(&place) {
        place.write(&text);
        let (output, held) = check(&place);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(78), "{wanted}: {said:.300}");
        assert!(said.contains(wanted), "{wanted}: {said:.600}");
        assert!(held < LITTLE, "{wanted}: {held} KiB");
    }
}

#[test]
fn the_daemon_fires_on_through_hostile_edits_and_stops_when_it_is_told() {
    let place = Place::new();
    place.write("pipelines: [{ name: e, pipeline: P, schedule: { every: 1s } }]\n");
    let daemon = place.daemon();
    for (text, wanted) in edits(&place) {
        place.write(&text);
        let rejected = daemon.reload();
        assert_eq!(rejected["event"], "schedule.rejected", "{wanted}");
        assert!(rejected["error_message"].as_str().unwrap().contains(wanted), "{wanted}: {rejected}");
    }
    // The file itself may be what never ends.
    for endless in [Some("/dev/zero"), None] {
        std::fs::remove_file(place.schedule()).unwrap();
        match endless {
            Some(target) => std::os::unix::fs::symlink(target, place.schedule()).unwrap(),
            None => drop(pipe(&place.schedule())),
        }
        assert_eq!(daemon.reload()["event"], "schedule.rejected");
    }
    let before = place.sim.runs().len();
    place.sim.wait_until(LIMIT, "more runs", |seen| (seen.runs.len() >= before + 2).then_some(()));
    assert_eq!(daemon.stop().status.code(), Some(0));
    // The last good schedule runs, and a stop is obeyed, also from the start on.
    let again = place.daemon();
    assert_eq!(again.stop().status.code(), Some(0));
}

#[test]
fn a_secret_in_a_pipe_without_an_end_holds_nothing_up() {
    let place = Place::new();
    place.write("pipelines: [{ name: e, pipeline: P, schedule: { every: 1s } }]\n");
    std::fs::remove_file(place.path("client-secret")).unwrap();
    pipe(&place.path("client-secret"));
    let daemon = place.daemon();
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    assert!(failed["error_message"].as_str().unwrap().contains("it is a pipe"), "{failed}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_schedule_may_come_through_a_pipe_as_in_a_diff_with_what_was_committed() {
    let place = Place::new();
    let text = |hour: u8| {
        let entry = format!("pipelines: [{{ name: e, pipeline: P, schedule: '0 {hour} * * *' }}]\n");
        format!("{}{entry}", place.azure())
    };
    place.write_raw(text(4));
    let mut diff = place.command(&["diff", "/dev/stdin", place.schedule().to_str().unwrap()]);
    let mut diff = diff.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Dropped at once, which is the end of what it reads.
    diff.stdin.take().unwrap().write_all(text(3).as_bytes()).unwrap();
    let output = diff.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert!(results(&output).contains("e: 30 moved"), "{}", results(&output));
    // Nobody writes to this one.
    let pipe = pipe(&place.path("unwritten"));
    assert_eq!(place.run(&["check", "-c", &pipe]).status.code(), Some(78));
}

#[test]
fn a_cron_expression_without_quotes_is_shown_with_them() {
    let place = Place::new();
    for (schedule, wanted) in [
        ("* * * * *", "quote the expression: schedule: \"* * * * *\""),
        ("*/15 * * * *", "quote the expression: schedule: \"*/15 * * * *\""),
        ("@daily", "quote the expression: schedule: \"@daily\""),
        ("{ cron: */5 * * * *, timezone: UTC }", "quote the expression: cron: \"*/5 * * * *\""),
        ("\n      - * * * *", "quote the expression: \"* * * *\""),
        ("\n      cron: @hourly", "quote the expression: cron: \"@hourly\""),
        ("[@daily]", "quote the expression: \"@daily\""),
    ] {
        place.write(&format!("pipelines:\n  - name: e\n    pipeline: P\n    schedule: {schedule}\n"));
        let output = place.run(&["check"]);
        assert_eq!(output.status.code(), Some(78));
        assert!(errors(&output).contains(wanted), "{schedule}: {}", errors(&output));
        assert!(!errors(&output).contains("tabs"), "{schedule}: {}", errors(&output));
    }
}

#[test]
fn a_word_of_another_scheduler_is_answered_by_ours() {
    let place = Place::new();
    for (line, wanted) in [
        ("overlap: forbid", "did you mean `skip`?"),
        ("overlap: Forbid", "did you mean `skip`?"),
        ("overlap: Replace", "did you mean `cancel_running`?"),
        ("overlap: Allow", "did you mean `allow`?"),
        ("missed: fire_once", "did you mean `latest`?"),
        ("missed: never", "did you mean `skip`?"),
        (
            "concurrency_policy: Forbid",
            "Forbid is skip here, Replace is cancel_running, Allow is allow); did you mean `overlap`?",
        ),
        ("concurrencyPolicy: Forbid", "did you mean `overlap`?"),
        ("catchup: false", "(true is all here, false is skip); did you mean `missed`?"),
        ("misfire: skip", "did you mean `missed`?"),
        ("starting_deadline_seconds: 200", "did you mean `missed_within`?"),
        ("startingDeadlineSeconds: 200", "did you mean `missed_within`?"),
        ("suspend: true", "(suspend: true is enabled: false here); did you mean `enabled`?"),
        ("runtimeState: Started", "did you mean `enabled`?"),
        ("time_zone: UTC", "did you mean `timezone`?"),
        ("timeZone: UTC", "did you mean `timezone`?"),
        ("tz: UTC", "did you mean `timezone`?"),
        ("params: {}", "did you mean `parameters`?"),
        ("maxConcurrency: 2", "did you mean `max_active`?"),
        ("retryPolicy: {}", "did you mean `retry`?"),
        ("dagrun_timeout: 2h", "did you mean `run_deadline`?"),
    ] {
        place.write(&format!(
            "pipelines:\n  - name: e\n    pipeline: P\n    schedule: '@daily'\n    {line}\n"
        ));
        let said = errors(&place.run(&["check"]));
        assert!(said.contains(wanted), "{line}: {said}");
        assert!(said.ends_with("1 problem; nothing was changed\n"), "{line}: {said}");
    }
    // What stands under another name or in the wrong place is not missing, too.
    for (lines, wanted) in [
        ("pipelineName: P\n    schedule: '@daily'", "did you mean `pipeline`?"),
        ("pipelineReference: { referenceName: P }\n    schedule: '@daily'", "did you mean `pipeline`?"),
        (
            "pipeline: P\n    cron: '0 2 * * *'",
            "`cron` does not stand here; it belongs under `schedule:`; write schedule: \"30 2 * * *\"",
        ),
        ("pipeline: P\n    recurrence: {}", "write schedule: { recurrence: … }"),
        ("pipeline: P\n    schedule_interval: '@daily'", "did you mean `schedule`?"),
        ("pipeline: P\n    schedule: { expression: '@daily' }", "did you mean `cron`?"),
    ] {
        place.write(&format!("pipelines:\n  - name: e\n    {lines}\n"));
        let said = errors(&place.run(&["check"]));
        assert!(said.contains(wanted), "{lines}: {said}");
        assert!(said.ends_with("1 problem; nothing was changed\n"), "{lines}: {said}");
    }
}

#[test]
fn a_secret_in_a_line_that_is_no_yaml_is_not_shown() {
    let place = Place::new();
    for broken in [
        "client_secret hunter2: x",
        "client_secret: hunter2: x",
        "client_secret\t: hunter2: x",
        "- client_secret hunter2",
        "client_secret: { value hunter2: }}",
        "client_secret: \"hunter2\" hunter2",
        "client_secret: @hunter2",
        "client_secret: *hunter2 x",
        "client_secert: hunter2: x",
        "clientSecret: 'a'hunter2",
        "{ client_secret hunter2",
        "client_secret; hunter2: x: y",
        "factory: adf, client_secret: hunter2",
        "hunter2",
        "geheim: hunter2: x",
        "? client_secret\n  : hunter2: x",
        "client_secret:\n  hunter2: x: y",
        "client_secret: |\n hunter2\n  x: y: z",
    ] {
        place.write_raw(format!("azure:\n  {broken}\n  factory: adf\npipelines: []\n"));
        let output = place.run(&["check"]);
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(78), "{broken}: {said}");
        assert!(!said.contains("hunter"), "{broken}: {said}");
        let run = place.run(&["run"]);
        let all = format!("{}{}", errors(&run), String::from_utf8_lossy(&run.stdout));
        assert!(!all.contains("hunter"), "{broken}: {all}");
    }
}

#[test]
fn what_a_file_says_cannot_move_the_cursor() {
    let place = Place::new();
    place.write(
        "pipelines:\n  - { name: e, pipeline: P, schedule: '@daily', timezone: \"Ma\\e[2Jrs\\u202e\" }\n",
    );
    let said = errors(&place.run(&["check"]));
    assert!(said.contains("Ma\\u{1b}[2Jrs\\u{202e}"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said}");
}
