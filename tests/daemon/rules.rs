//! A ledger from before cron expressions were read as Vixie's cron reads them: it stays true.
//!
//! It was written by the program of before, within half a minute of a Sunday, the 29th: with firings, a pause, times
//! that were missed, a lost answer, and, since the process was killed, firings that are open. Its text dump and its
//! schedule stand in a folder of their own.

use serde_json::{Value, json};

use crate::process::{Daemon, Place, SECRET, of, results};

const LEDGER: &str = include_str!("before_rules/ledger.sql");
const SCHEDULE: &str = include_str!("before_rules/schedule.yaml");
/// Where the stand-in was then.
const THERE: &str = "http://127.0.0.1:18080";
/// The entries that are read otherwise now.
const OTHERWISE: [&str; 3] = ["odd-or-monday", "but-not-odd", "nightly"];

fn version(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A place with that ledger, and its schedule with this at its end, as if the stand-in had always been where it is now.
fn place(more: &str) -> Place {
    use sqlx::{ConnectOptions as _, Connection as _};
    let place = Place::new();
    let text = format!("{}{more}", SCHEDULE.replace(THERE, &place.sim.url()));
    place.write_raw(&text);
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(place.path("ledger.db")).create_if_missing(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (old, new) = (version(SCHEDULE), version(&text));
    runtime.block_on(async {
        let mut ledger = options.connect().await.unwrap();
        sqlx::raw_sql(LEDGER).execute(&mut ledger).await.unwrap();
        let kept: String = sqlx::query_scalar("SELECT text FROM schedule_version WHERE version = ?")
            .bind(&old)
            .fetch_one(&mut ledger)
            .await
            .unwrap();
        assert_eq!(kept, SCHEDULE, "the two belong together");
        for update in [
            "UPDATE schedule_version SET version = ?2, text = ?3 WHERE version = ?1",
            "UPDATE in_force SET version = ?2 WHERE version = ?1",
            "UPDATE firing SET schedule_version = ?2 WHERE schedule_version = ?1",
        ] {
            sqlx::query(update).bind(&old).bind(&new).bind(&text).execute(&mut ledger).await.unwrap();
        }
        ledger.close().await.unwrap();
    });
    place
}

fn daemon(place: &Place) -> Daemon {
    let mut command = place.command(&["run"]);
    command.env("ADF_SECRET", SECRET);
    let daemon = Daemon::spawn(command);
    daemon.wait_for("schedule.loaded", |_| true);
    daemon
}

/// Entry by entry what is said of a change of the rules.
fn named(events: &[Value]) -> Vec<String> {
    of(events, "schedule.rules_changed").iter().map(|it| it["entry"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_ledger_from_before_the_change_of_rules_is_proven_by_the_rules_of_before() {
    let place = place("");
    let (code, report) = place.report(&["audit"]);
    assert_eq!((code, &report["proven"]), (0, &json!(true)), "no daemon has opened it yet: {report:#}");
    assert_eq!((&report["states"]["accepted"], &report["states"]["skipped"]), (&json!(31), &json!(2)));
    assert!(!report["open"].as_array().unwrap().is_empty(), "{report:#}");

    let first = daemon(&place);
    first.wait_for("firing.skipped", |event| {
        event["entry"] == "odd-or-monday" && event["reason"] == "changed"
    });
    let ended = first.stop();
    assert_eq!(named(&ended.events), OTHERWISE, "{}", ended.output);
    for event in of(&ended.events, "schedule.rules_changed") {
        assert_eq!(event["level"], "WARN");
        if event["entry"] == "nightly" {
            // The next odd day or Monday is never later than the next odd Monday.
            let time = |name: &str| event[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            assert!(time("next_time_before") < time("next_time"), "{event}");
        }
    }
    let loaded = &of(&ended.events, "schedule.loaded")[0];
    assert_eq!((&loaded["added"], &loaded["changed"], &loaded["removed"]), (&json!(0), &json!(3), &json!(0)));
    let (code, report) = place.report(&["audit"]);
    assert_eq!((code, &report["proven"]), (0, &json!(true)), "{report:#}");
    assert_eq!(report["states"]["accepted"], 31);
    assert!(report["skipped"]["changed"].as_u64().unwrap() >= 1, "{report:#}");
    assert_eq!(report["not_covered"].as_array().unwrap().len(), 1, "before the first schedule: {report:#}");

    let second = daemon(&place);
    let ended = second.stop();
    assert!(named(&ended.events).is_empty(), "it is said once: {}", ended.output);
    assert_eq!(of(&ended.events, "schedule.loaded")[0]["changed"], 0);
    assert_eq!(place.report(&["audit"]).0, 0);
    let status = results(&place.run(&["status"]));
    assert!(status.contains("7 entries"), "{status}");
}

#[test]
fn by_the_rules_of_today_alone_that_ledger_would_have_false_gaps_and_rules_that_nobody_knows_are_not_covered()
{
    let place = place("");
    daemon(&place).stop();
    place.tamper(&["UPDATE in_force SET rules = 'vixie'"]);
    let (code, report) = place.report(&["audit"]);
    assert_eq!(code, 1, "the ledger can tell the two apart");
    let of_entry =
        |kind: &str, entry: &str| report[kind].as_array().unwrap().iter().any(|it| it["entry"] == entry);
    assert!(of_entry("gaps", "but-not-odd") && of_entry("strays", "odd-or-monday"), "{report:#}");

    place.tamper(&["UPDATE in_force SET rules = 'quartz' WHERE number = 1"]);
    let (code, report) = place.report(&["audit"]);
    assert_eq!(code, 0, "{report:#}");
    let reasons: Vec<&Value> =
        report["not_covered"].as_array().unwrap().iter().map(|it| &it["reason"]).collect();
    assert_eq!(reasons, [&json!("no_schedule"), &json!("rules_changed")]);
    assert!(
        results(&place.run(&["audit"]))
            .contains("was read by rules that this version of adf-cron does not know")
    );
}

#[test]
fn the_last_good_schedule_is_read_by_the_rules_of_today_and_says_what_that_changes() {
    let place = place("");
    place.write_raw("this: is no schedule\n");
    let daemon = daemon(&place);
    daemon.wait_for("schedule.rejected", |event| {
        event["message"].as_str().unwrap().contains("the last good schedule runs instead")
    });
    assert_eq!(named(&daemon.stop().events), OTHERWISE);
    assert_eq!(place.report(&["audit"]).0, 0);
}

#[test]
fn a_schedule_that_the_rules_of_today_refuse_goes_on_as_it_was_read_before_and_loudly() {
    // Vixie's cron reads it as a 31 February that is a Sunday, a Tuesday, a Thursday or a Saturday.
    let never = "  - { name: never, pipeline: Never, schedule: '0 0 31 2 */2' }\n\
                 \x20 - { name: tick, pipeline: Tick, schedule: { every: 1s }, end: '2099-01-01T00:00:00Z' }\n";
    let place = place(never);
    let daemon = daemon(&place);
    daemon.wait_for("schedule.rejected", |event| {
        let said = format!("{} {}", event["message"], event["error_message"]);
        said.contains("never matches") && said.contains("read as the version of the program before read them")
    });
    daemon.wait_for("run.created", |event| event["entry"] == "tick");
    let ended = daemon.stop();
    assert!(named(&ended.events).is_empty(), "nothing is read otherwise: {}", ended.output);
    let status = place.run(&["status"]);
    assert_eq!(status.status.code(), Some(1), "a person must mend the file");
    // The entries that were added here to what was in force then have no records of then.
    let (code, report) = place.report(&["audit", "odd-or-monday", "but-not-odd", "nightly", "steady"]);
    assert_eq!(code, 0, "{report:#}");
}
