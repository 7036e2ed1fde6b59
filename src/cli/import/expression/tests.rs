//! Expressions as templates, by their text and by their value.

mod nesting;

use super::*;
use serde_json::json;

fn imported(value: Value) -> Result<Value, String> {
    let names = Names {
        scheduled: Some("scheduled_time".to_owned()),
        window: Some(("window_start".to_owned(), "window_end".to_owned())),
    };
    parameter(&value, &names)
}

#[test]
fn what_is_no_expression_stays_as_it_is() {
    for plain in [json!(1), json!(true), json!(null), json!("text"), json!(["a", {"b": 1.5}])] {
        assert_eq!(imported(plain.clone()).unwrap(), plain);
    }
    assert_eq!(imported(json!("@@home")).unwrap(), "@home");
    assert_eq!(imported(json!("a@b.org")).unwrap(), "a@b.org");
    assert_eq!(imported(json!("{{ not ours }}")).unwrap(), "{{ \"{{ not ours }}\" }}");
    assert_eq!(imported(json!("{@{trigger().scheduledTime}}")).unwrap(), "{{ \"{\" }}{{ scheduled_time }}}");
    // A template drops the end of its last line, so it does not stand there plain.
    assert_eq!(imported(json!("@{trigger().scheduledTime}\n")).unwrap(), "{{ scheduled_time }}{{ \"\\n\" }}");
    // Of a number of more digits than are kept, nothing is told.
    for large in ["12345678901234567890123", "-1e300"] {
        let why = imported(serde_json::from_str(large).unwrap()).unwrap_err();
        assert!(why.contains("not exact here"), "{why}");
    }
}

#[test]
fn expressions_become_templates_of_the_same_value() {
    for (given, wanted) in [
        ("@trigger().scheduledTime", "{{ scheduled_time }}"),
        ("@trigger().outputs.windowStartTime", "{{ window_start }}"),
        ("@{trigger().outputs.windowEndTime}", "{{ window_end }}"),
        (
            "@formatDateTime(trigger().scheduledTime, 'yyyy-MM-dd')",
            "{{ scheduled_time | date(\"%Y-%m-%d\", \"UTC\") }}",
        ),
        (
            "year=@{formatDateTime(trigger().outputs.windowStartTime,'yyyy')}/x",
            "year={{ window_start | date(\"%Y\", \"UTC\") }}/x",
        ),
        (
            "@concat('in/', formatDateTime(trigger().scheduledTime,'HH'), '.csv')",
            "{{ (\"in/\" ~ (scheduled_time | date(\"%H\", \"UTC\")) ~ \".csv\") }}",
        ),
        (
            "@addDays(trigger().scheduledTime, -1)",
            "{{ scheduled_time | shift(hours=-24) | date(\"%Y-%m-%dT%H:%M:%S.0000000Z\", \"UTC\") }}",
        ),
        (
            "@formatDateTime(addHours(trigger().scheduledTime, 2), 'HHmm')",
            "{{ scheduled_time | shift(hours=2) | date(\"%H%M\", \"UTC\") }}",
        ),
        (
            "@startOfMonth(subtractFromTime(trigger().scheduledTime, 1, 'Month'), 'yyyyMMdd')",
            "{{ scheduled_time | shift(months=-1, zone=\"UTC\") | start_of(\"month\", \"UTC\") | date(\"%Y%m%d\", \"UTC\") }}",
        ),
        ("@concat('a', 1)", "a1"),
        (
            "@{dayOfMonth(trigger().scheduledTime)}",
            "{{ (scheduled_time | date(\"%-d\", \"UTC\") | int) | string }}",
        ),
        ("@toUpper('a')", "{{ \"a\" | upper }}"),
        ("@dayOfMonth(trigger().scheduledTime)", "{{ scheduled_time | date(\"%-d\", \"UTC\") | int }}"),
        ("@substring(trigger().scheduledTime, 0, 10)", "{{ scheduled_time[0:10] }}"),
    ] {
        assert_eq!(imported(json!(given)).unwrap(), wanted, "{given}");
    }
    let nested = json!({"a": [{"type": "Expression", "value": "@trigger().scheduledTime"}]});
    assert_eq!(imported(nested).unwrap(), json!({"a": ["{{ scheduled_time }}"]}));
}

#[test]
fn what_has_no_equal_is_refused_by_its_name() {
    for (given, named) in [
        ("@utcNow()", "utcNow()"),
        ("@guid()", "guid()"),
        ("@pipeline().RunId", "pipeline(…).RunId"),
        ("@trigger().startTime", "trigger().startTime"),
        ("@triggerBody().fileName", "triggerBody(…).fileName"),
        ("@trigger().outputs.body.x", "trigger().outputs.body.x"),
        ("@formatDateTime(trigger().scheduledTime, 'gg')", "'gg'"),
        ("@addDays(trigger().scheduledTime, 'x')", "addDays()"),
        ("@addDays(convertFromUtc(trigger().scheduledTime, 'India Standard Time'), 1)", "do not say"),
        ("@convertFromUtc(trigger().scheduledTime, 'Mars Time')", "'Mars Time'"),
        (
            "@convertToUtc(convertFromUtc(trigger().scheduledTime, 'Europe/Berlin'), 'Europe/Berlin')",
            "convertToUtc()",
        ),
        ("@convertToUtc(trigger().scheduledTime, 'Europe/Berlin')", "UTC already"),
        ("@getPastTime(1, 'Day')", "getPastTime()"),
        ("@startOfDay(toUpper(trigger().scheduledTime))", "startOfDay()"),
        ("@div(dayOfMonth(trigger().scheduledTime), 2)", "div()"),
        ("@if(equals(formatDateTime(trigger().scheduledTime, 'ddd'), 'mon'), 1, 2)", "equals()"),
        ("@f(1)[g(2)]", "brackets after f()"),
        ("@concat('a'", "closed"),
    ] {
        let said = imported(json!(given)).unwrap_err();
        assert!(said.contains(named), "{given}: {said}");
    }
    let secret = json!({"type": "SecureString", "value": "hush"});
    let said = imported(secret).unwrap_err();
    assert!(said.contains("SecureString") && !said.contains("hush"));
}

/// Each as it is written in trigger files, with its value for 2026-03-05T21:07:00Z.
fn as_people_write() -> Vec<(&'static str, Value)> {
    vec![
        (
            "@formatDateTime(convertFromUtc(trigger().scheduledTime, 'India Standard Time'), 'yyyy-MM-dd')",
            json!("2026-03-06"),
        ),
        (
            "@formatDateTime(convertTimeZone(trigger().scheduledTime, 'UTC', 'India Standard Time'), 'yyyy-MM-dd')",
            json!("2026-03-06"),
        ),
        (
            "@convertFromUtc(trigger().scheduledTime, 'Tokyo Standard Time')",
            json!("2026-03-06T06:07:00.0000000"),
        ),
        (
            "@convertFromUtc(trigger().scheduledTime, 'Tokyo Standard Time', 'D')",
            json!("Friday, March 6, 2026"),
        ),
        (
            "@formatDateTime(addDays(convertFromUtc(trigger().scheduledTime, 'India Standard Time'), -1), 'yyyyMMdd')",
            json!("20260305"),
        ),
        (
            "@convertToUtc(startOfDay(convertFromUtc(trigger().scheduledTime, 'W. Europe Standard Time')), 'W. Europe Standard Time')",
            json!("2026-03-04T23:00:00.0000000Z"),
        ),
        (
            "@convertToUtc(addDays(startOfMonth(convertFromUtc(trigger().scheduledTime, 'Europe/Berlin')), 31), 'Europe/Berlin')",
            json!("2026-03-31T22:00:00.0000000Z"),
        ),
        ("@convertToUtc('2026-07-01T00:00:00', 'Europe/Berlin')", json!("2026-06-30T22:00:00.0000000Z")),
        (
            "@addDays(formatDateTime(trigger().scheduledTime, 'yyyy-MM-dd'), -1, 'yyyy-MM-dd')",
            json!("2026-03-04"),
        ),
        (
            "@addDays(concat(formatDateTime(trigger().scheduledTime,'yyyy-MM'), '-01'), -1, 'yyyy-MM-dd')",
            json!("2026-02-28"),
        ),
        (
            "@addDays(trigger().scheduledTime, mul(-1, dayOfWeek(trigger().scheduledTime)), 'yyyy-MM-dd')",
            json!("2026-03-01"),
        ),
        (
            "@if(equals(dayOfWeek(trigger().scheduledTime), 1), addDays(trigger().scheduledTime, -3), addDays(trigger().scheduledTime, -1))",
            json!("2026-03-04T21:07:00.0000000Z"),
        ),
        ("@greaterOrEquals(dayOfMonth(trigger().scheduledTime), 5)", json!(true)),
        ("@if(and(true(), not(false())), 'a', 'b')", json!("a")),
        ("@int(formatDateTime(trigger().scheduledTime, 'dd'))", json!(5)),
        ("@add(dayOfMonth(trigger().scheduledTime), 10)", json!(15)),
        (
            "@substring(convertFromUtc(trigger().scheduledTime,'Tokyo Standard Time'), 0, 10)",
            json!("2026-03-06"),
        ),
        ("@addHours('2026-01-01T00:00:00Z', 5, 'HH:mm')", json!("05:00")),
        ("x@{div(7, 2)}y", json!("x3y")),
    ]
}

#[test]
fn what_people_write_is_the_value_that_data_factory_gives() {
    for (given, wanted) in as_people_write() {
        let template = imported(json!(given)).unwrap_or_else(|why| panic!("{given}: {why}"));
        let at = "2026-03-05T21:07:00Z".parse().unwrap();
        assert_eq!(nesting::rendered(&template, at), Ok(wanted), "{given}: {template}");
    }
}

#[test]
fn the_deepest_expression_that_is_read_becomes_a_template_or_a_refusal() {
    let at = "2026-03-05T21:07:00Z".parse().unwrap();
    for around in [
        "concat({}, 'x')",
        "toUpper({})",
        "addDays({}, 1)",
        "addDays(convertFromUtc({}, 'Europe/Berlin'), sub(1, 2), 'yyyy-MM-dd')",
        "if(equals(dayOfWeek(trigger().scheduledTime), 4), {}, 'a')",
        "convertToUtc(startOfDay(convertFromUtc({}, 'Europe/Berlin')), 'Europe/Berlin')",
    ] {
        let mut nested = "trigger().scheduledTime".to_owned();
        while imported(json!(format!("@{nested}")))
            .is_ok_and(|template| nesting::rendered(&template, at).is_ok())
        {
            nested = around.replace("{}", &nested);
        }
        let levels = nested.matches("(").count() / around.matches('(').count();
        assert!((4..40).contains(&levels), "{around}: {levels}");
    }
}
