//! Bad input: each a clear error, none a panic.

use std::time::Duration;

use crate::process::{Place, errors, results};

/// What `check` and `run` say of a file with these bytes.
fn said(bytes: impl AsRef<[u8]>) -> String {
    let place = Place::new();
    place.write_raw(bytes);
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(78), "{}", errors(&check));
    let run = place.run(&["run"]);
    assert_eq!(run.status.code(), Some(78));
    let all = format!("{}{}{}", errors(&check), errors(&run), String::from_utf8_lossy(&run.stdout));
    assert!(!all.contains("panicked"), "{all}");
    errors(&check)
}

/// The same of an entry with this line in it.
fn said_of(line: &str) -> String {
    let place = Place::new();
    said(format!(
        "{}pipelines:\n  - name: a\n    pipeline: P\n    schedule: '@daily'\n    {line}\n",
        place.azure()
    ))
}

#[test]
fn files_that_are_no_schedule() {
    assert!(said("").contains("the file is empty"));
    assert!(said("\n# nothing\n").contains("the file is empty"));
    assert!(said("azure:\n\tfactory: x\n").contains("not tabs"));
    assert!(said(b"a: \"\0\"\n").contains("NUL byte"));
    assert!(said(b"\x89PNG\r\n\x1a\n\0\0").contains("not UTF-8"));
    assert!(said("x".repeat(50 * 1024 * 1024)).contains("larger than 32 MiB"));
    let endless = said("a: &a [*a]\n");
    assert!(
        endless.contains("schedule.yaml:1:4: ")
            && endless.contains("an alias (*name) stands within what it names"),
        "{endless}"
    );
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(",")));
    }
    assert!(said(bomb).contains("aliases"));
}

#[test]
fn values_that_are_wrong() {
    assert!(said_of("timezone: Mars/Olympus").contains("unknown time zone 'Mars/Olympus'"));
    assert!(said_of("schedule: '0 0 31 2 *'").contains("stands twice"));
    assert!(said_of("parameters: { n: .nan }").contains(".nan"));
    assert!(said_of("parameters: { n: 123456789012345678901234567890 }").contains("beyond 64 bits"));
    assert!(said_of("parameters: { a: 1, a: 2 }").contains("stands twice"));
    assert!(said_of("enabled: 'yes'").contains("expected a boolean"));
    assert!(said_of("retries: 3").contains("did you mean `retry`?"));
    assert!(said_of("x: 1").contains("unknown key `x`\n"));
    let place = Place::new();
    let text =
        format!("{}pipelines:\n  - {{ name: a, pipeline: P, schedule: '0 0 31 2 *' }}\n", place.azure());
    assert!(said(text).contains("never matches"));
    let azure = place.azure();
    let inline = azure.lines().map(|line| match line.contains("client_secret") {
        true => "  client_secret: hunter2canary\n".to_owned(),
        false => format!("{line}\n"),
    });
    let shown = said(inline.collect::<String>() + "pipelines: []\n");
    assert!(shown.contains("must not stand in this file") && !shown.contains("canary"), "{shown}");
}

#[test]
fn a_large_file_that_is_wrong_in_each_entry_is_told_in_full_by_check_and_in_part_by_the_log() {
    const ENTRIES: usize = 20_000;
    let place = Place::new();
    let entries: String = (0..ENTRIES)
        .map(|i| format!("  - name: e{i}\n    pipelin: P\n    schedule: '@daily'\n    timezone: Mars\n"))
        .collect();
    place.write_raw(format!("{}pipelines:\n{entries}", place.azure()));
    let (check, took) = place.run_timed(&["check"]);
    let said = errors(&check);
    assert!(took < Duration::from_secs(30), "its time grows faster than the file: {took:?}");
    assert!(said.ends_with(&format!("{} problems; nothing was changed\n", 2 * ENTRIES)));
    assert_eq!(said.matches("did you mean `pipeline`?").count(), ENTRIES);
    assert_eq!(said.matches("unknown time zone 'Mars'").count(), ENTRIES);
    let logged = results(&place.run(&["run"]));
    let event: serde_json::Value = serde_json::from_str(logged.lines().last().unwrap()).unwrap();
    assert_eq!((&event["event"], &event["count"]), (&"schedule.rejected".into(), &(2 * ENTRIES).into()));
    let message = event["error_message"].as_str().unwrap();
    assert_eq!(message.matches("key path: ").count(), 20);
    assert!(message.ends_with("\n... and 39980 more; adf-cron check shows all"), "{message}");
}

#[test]
fn a_template_that_only_the_first_firing_cannot_render_is_a_warning() {
    let place = Place::new();
    place.write(
        "pipelines:
  - name: a
    pipeline: P
    schedule: { cron: '@daily', start: 2200-01-01 }
    parameters: { from: \"{{ previous_time | date('%F') }}\" }
",
    );
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", errors(&check));
    let wanted = "warning: 'a' will be rejected at 2200-01-01T00:00:00Z, with no nominal time on one side";
    assert!(errors(&check).contains(wanted), "{}", errors(&check));
}

#[test]
fn files_that_cannot_be_read() {
    let place = Place::new();
    let missing = place.run(&["check", "-c", "/no/such/schedule.yaml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(
        errors(&missing).contains("/no/such/schedule.yaml: there is no such file"),
        "{}",
        errors(&missing)
    );
    let directory = place.run(&["check", "-c", "/"]);
    assert_eq!(directory.status.code(), Some(78));
    assert!(errors(&directory).contains("directory"), "{}", errors(&directory));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_read_as_they_are_meant() {
    let place = Place::new();
    let text =
        format!("\u{feff}{}pipelines:\n  - {{ name: a, pipeline: P, schedule: '@daily' }}\n", place.azure());
    place.write_raw(text.replace('\n', "\r\n"));
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", errors(&check));
}
