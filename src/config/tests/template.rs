//! Templates, tried when the file is read.

use super::*;
use crate::schedule::CronRules;

#[test]
fn a_template_that_no_firing_could_render_is_refused_where_it_stands() {
    let text = "defaults:
  parameters: { day: \"{{ pipeline | date('%F') }}\" }
pipelines:
  - { name: a, pipeline: P, schedule: '@daily', parameters: { plain: 1 } }
  - name: b
    pipeline: P
    schedule: '@daily'
    parameters:
      day: 2026-11-24
      deep: { list: [1, \"{{ scheduled_time | date('%!') }}\"] }
      long: \"{{ 'x' * 70000 }}\"
  - { name: c, pipeline: P, schedule: '@daily', enabled: false, parameters: { at: \"{{ entry | shift(days=1) }}\" } }
";
    let problems = with_azure(text).unwrap_err();
    let lines: Vec<String> =
        problems.iter().map(|p| format!("{}:{} {} {}", p.line, p.column, p.path, p.message)).collect();
    let wanted = [
        (
            "9:22 defaults.parameters.day cannot be rendered, for example at 2026-11-25T00:00:00Z: ",
            "'P' is not an",
        ),
        ("17:25 pipelines[1].parameters.deep.list[1] cannot be rendered", "directive `!`"),
        ("18:13 pipelines[1].parameters.long cannot be rendered", ""),
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, (place, words)) in lines.iter().zip(wanted) {
        assert!(line.starts_with(place) && line.contains(words), "{line}\nshould be {place} … {words}");
    }
    let text = format!("{AZURE}{text}");
    assert!(
        load_accepted(text.as_bytes(), "s.yaml", &|_| None, CronRules::CURRENT).is_ok(),
        "it was accepted once"
    );
}

#[test]
fn a_template_is_not_refused_for_what_only_the_first_or_the_last_firing_lacks() {
    let with = |schedule: &str, template: &str| {
        with_azure(&format!(
            "pipelines: [{{ name: a, pipeline: P, schedule: {schedule}, parameters: {{ p: \"{template}\" }} }}]\n"
        ))
    };
    let first = "{ cron: '@daily', start: 2027-01-01 }";
    assert!(with(first, "{{ previous_time | date('%F') }}").is_ok());
    assert!(with(first, "{{ window_start | date('%F') }}").is_ok());
    assert!(with(first, "{{ previous_time | date('%!') }}").is_err());
    let last = "{ at: ['2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'] }";
    assert!(with(last, "{{ next_time | date('%F') }}").is_ok());
    assert!(with("{ at: '2026-11-01T00:00:00Z' }", "{{ scheduled_time | date('%F') }}").is_ok());
    // With a single nominal time there is never a neighbour.
    let alone = "{ at: '2026-12-01T00:00:00Z' }";
    assert!(problem(with(alone, "{{ next_time | date('%F') }}")).contains("cannot be rendered"));
    assert!(with(alone, "{{ next_time }}").is_ok(), "null is a value");
}

#[test]
fn a_template_is_tried_with_the_names_and_the_zone_of_each_entry_that_has_it() {
    let text = "pipelines:
  - { name: eu-1, pipeline: P, schedule: '@daily', parameters: { n: \"{{ (entry | split('-'))[1] | int }}\" } }
  - { name: eu-x, pipeline: P, schedule: '@daily', parameters: { n: \"{{ (entry | split('-'))[1] | int }}\" } }
";
    assert!(problem(with_azure(text)).starts_with("s.yaml:10:"));
}

#[test]
fn a_template_that_fails_in_one_of_the_next_ten_firings_is_refused_with_the_time_at_which_it_fails() {
    let from = |day: &str| {
        with_azure(&format!(
            "pipelines:
  - {{ name: early, pipeline: P, schedule: '@daily', parameters: {{ p: \"{{{{ scheduled_time | date('%F') }}}}\" }} }}
  - {{ name: late, pipeline: P, schedule: '@daily', parameters: {{ p: \"{{{{ 1 if scheduled_time < '{day}' else entry | int }}}}\" }} }}
"
        ))
    };
    // The tests' now is 2026-11-24: the tenth firing from then on is that of 4 December.
    let said = from("2026-12-04").unwrap_err().to_string();
    assert!(said.starts_with("s.yaml:10:"), "{said}");
    assert!(said.contains("cannot be rendered, for example at 2026-12-04T00:00:00Z"), "{said}");
    assert!(from("2026-12-05").is_ok(), "the eleventh is another day's matter");
}

#[test]
fn what_one_entry_renders_well_another_with_other_times_may_not() {
    let text = "pipelines:
  - { name: a, pipeline: P, schedule: '0 1 * * *', parameters: { p: \"{{ 60 // (scheduled_time | date('%H') | int) }}\" } }
  - { name: b, pipeline: P, schedule: '0 0 * * *', parameters: { p: \"{{ 60 // (scheduled_time | date('%H') | int) }}\" } }
";
    assert!(problem(with_azure(text)).starts_with("s.yaml:10:"));
}
