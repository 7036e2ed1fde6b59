//! The examples and the shipped schedule are what the program accepts.

use crate::process::{Place, errors, example};

#[test]
fn every_example_is_valid() {
    let place = Place::new();
    for name in ["minimal.yaml", "complete.yaml", "quickstart.yaml"] {
        let path = example(name);
        let check = place.run(&["check", "-c", path.to_str().unwrap()]);
        assert_eq!(check.status.code(), Some(0), "{name}: {}", errors(&check));
    }
    let shipped = example("../deploy/schedule.yaml");
    let check = place.run(&["check", "-c", shipped.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{}", errors(&check));
}

#[test]
fn the_complete_example_shows_every_key() {
    let text = std::fs::read_to_string(example("complete.yaml")).unwrap();
    let schema = adf_cron::config::schema();
    let defs = schema["$defs"].as_object().unwrap();
    let sections = [
        "Azure",
        "Source",
        "Daemon",
        "Entry",
        "Rule",
        "Recurrence",
        "RecurrenceSchedule",
        "Occurrence",
        "ExceptRule",
        "Retry",
    ];
    let known = sections.iter().flat_map(|name| defs[*name]["properties"].as_object().unwrap().keys());
    for key in known {
        assert!(text.contains(&format!("{key}:")), "{key} is not shown");
    }
}
