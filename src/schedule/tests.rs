//! The calendar policy as tables, and against an oracle that looks at every minute.

pub(crate) mod chance;
pub(crate) mod draw;
mod except;
mod former;
mod mistakes;
mod oracle;
mod recurrence;

use super::zone::Pattern as _;
use super::*;
use chance::{Chance, Window};

fn calendar(cron: &str, zone: &str, dst_gap: DstGap, dst_overlap: DstOverlap) -> Calendar {
    let form = Form::Cron(Cron::parse(cron, CronRules::CURRENT).unwrap());
    Calendar::new(CalendarSpec { dst_gap, dst_overlap, ..spec(form, Zone::parse(zone).unwrap()) })
}

/// A calendar of one rule, with the defaults of an entry.
pub(crate) fn of_form(form: Form, zone: Zone) -> Calendar {
    Calendar::new(spec(form, zone))
}

fn spec(form: Form, zone: Zone) -> CalendarSpec {
    CalendarSpec {
        rules: vec![Rule { form, zone: zone.clone(), start: None, end: None, except: None }],
        zone,
        start: None,
        end: None,
        except: None,
        dst_gap: DstGap::default(),
        dst_overlap: DstOverlap::default(),
        jitter: Duration::ZERO,
    }
}

fn nominal(text: &str) -> Nominal {
    Nominal::at_or_before(text.parse().unwrap())
}

/// The firings of one UTC day, as local times with offsets.
fn day(cron: &str, zone: &str, gap: DstGap, overlap: DstOverlap, from: &str, hours: i64) -> Vec<String> {
    let calendar = calendar(cron, zone, gap, overlap);
    let after = Nominal::from_second(nominal(from).as_second() - 1).unwrap();
    let until = Nominal::from_second(after.as_second() + hours * 3_600).unwrap();
    let zone = calendar.zone().rules().clone();
    calendar
        .due_between(after, until)
        .map(|nominal| nominal.timestamp().to_zoned_datetime(zone.clone()).strftime("%H:%M%:z").to_string())
        .collect()
}

use DstGap::{RunAfter, Skip};
use DstOverlap::{Both, First, Second};

#[test]
fn on_the_short_day_in_berlin_each_schedule_does_what_the_policy_says() {
    // 02:00+01:00 becomes 03:00+02:00. The UTC day covers local 00:00 to 24:00.
    let short = |cron, gap| day(cron, "Europe/Berlin", gap, First, "2026-03-28T23:00:00Z", 23);
    assert_eq!(short("30 2 * * *", RunAfter), ["03:00+02:00"]);
    assert_eq!(short("30 2 * * *", Skip), [""; 0]);
    assert_eq!(short("0 2,14 * * *", RunAfter), ["03:00+02:00", "14:00+02:00"]);
    assert_eq!(short("0 2,14 * * *", Skip), ["14:00+02:00"]);
    assert_eq!(short("0,30 2 * * *", RunAfter), ["03:00+02:00"]);
    assert_eq!(short("30 1-3 * * *", RunAfter), ["01:30+01:00", "03:00+02:00", "03:30+02:00"]);
    assert_eq!(short("30 1-3 * * *", Skip), ["01:30+01:00", "03:30+02:00"]);
    assert_eq!(short("0 2,3 * * *", RunAfter), ["03:00+02:00"]);
    assert_eq!(short("*/30 2 * * *", RunAfter), [""; 0]);
}

#[test]
fn on_the_long_day_in_berlin_each_schedule_does_what_the_policy_says() {
    // 03:00+02:00 becomes 02:00+01:00.
    let long = |cron, overlap| day(cron, "Europe/Berlin", RunAfter, overlap, "2026-10-24T22:00:00Z", 25);
    assert_eq!(long("30 2 * * *", First), ["02:30+02:00"]);
    assert_eq!(long("30 2 * * *", Second), ["02:30+01:00"]);
    assert_eq!(long("30 2 * * *", Both), ["02:30+02:00", "02:30+01:00"]);
    assert_eq!(long("0 2,14 * * *", First), ["02:00+02:00", "14:00+01:00"]);
    assert_eq!(long("0 2,14 * * *", Second), ["02:00+01:00", "14:00+01:00"]);
    assert_eq!(long("0,30 2 * * *", Both), ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"]);
    assert_eq!(long("30 1-3 * * *", First), ["01:30+02:00", "02:30+02:00", "03:30+01:00"]);
    let wild = ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"];
    assert_eq!(long("*/30 2 * * *", First), wild);
}

#[test]
fn new_york_follows_the_same_policy() {
    let short = |cron, gap| day(cron, "America/New_York", gap, First, "2026-03-08T05:00:00Z", 23);
    assert_eq!(short("30 2 * * *", RunAfter), ["03:00-04:00"]);
    assert_eq!(short("30 2 * * *", Skip), [""; 0]);
    assert_eq!(short("0 2,14 * * *", RunAfter), ["03:00-04:00", "14:00-04:00"]);
    assert_eq!(short("0,30 2 * * *", RunAfter), ["03:00-04:00"]);
    assert_eq!(short("30 1-3 * * *", RunAfter), ["01:30-05:00", "03:00-04:00", "03:30-04:00"]);
    assert_eq!(short("*/30 2 * * *", RunAfter), [""; 0]);
    // 02:00-04:00 becomes 01:00-05:00: half past one comes twice, two o'clock once.
    let long = |cron, overlap| day(cron, "America/New_York", RunAfter, overlap, "2026-11-01T04:00:00Z", 25);
    assert_eq!(long("30 2 * * *", First), ["02:30-05:00"]);
    assert_eq!(long("0 2,14 * * *", Both), ["02:00-05:00", "14:00-05:00"]);
    assert_eq!(long("0,30 2 * * *", First), ["02:00-05:00", "02:30-05:00"]);
    assert_eq!(long("30 1-3 * * *", First), ["01:30-04:00", "02:30-05:00", "03:30-05:00"]);
    assert_eq!(long("30 1-3 * * *", Second), ["01:30-05:00", "02:30-05:00", "03:30-05:00"]);
    assert_eq!(long("30 1-3 * * *", Both), ["01:30-04:00", "01:30-05:00", "02:30-05:00", "03:30-05:00"]);
    assert_eq!(long("*/30 1 * * *", First), ["01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]);
    assert_eq!(long("*/30 2 * * *", First), ["02:00-05:00", "02:30-05:00"]);
}

#[test]
fn lord_howe_changes_by_half_an_hour_and_follows_the_same_policy() {
    // 2026-04-05: 02:00+11:00 becomes 01:30+10:30. The local day begins at 13:00Z the day before.
    let long =
        |cron, overlap| day(cron, "Australia/Lord_Howe", RunAfter, overlap, "2026-04-04T13:00:00Z", 24);
    assert_eq!(long("30 2 * * *", Both), ["02:30+10:30"]);
    assert_eq!(long("0 2,14 * * *", Both), ["02:00+10:30", "14:00+10:30"]);
    assert_eq!(long("0,30 2 * * *", First), ["02:00+10:30", "02:30+10:30"]);
    assert_eq!(long("30 1-3 * * *", First), ["01:30+11:00", "02:30+10:30", "03:30+10:30"]);
    assert_eq!(long("30 1-3 * * *", Second), ["01:30+10:30", "02:30+10:30", "03:30+10:30"]);
    assert_eq!(long("30 1-3 * * *", Both), ["01:30+11:00", "01:30+10:30", "02:30+10:30", "03:30+10:30"]);
    assert_eq!(long("*/30 2 * * *", First), ["02:00+10:30", "02:30+10:30"]);
    // 2026-10-04: 02:00+10:30 becomes 02:30+11:00. The local day begins at 13:30Z the day before.
    let short = |cron, gap| day(cron, "Australia/Lord_Howe", gap, First, "2026-10-03T13:30:00Z", 23);
    assert_eq!(short("30 2 * * *", RunAfter), ["02:30+11:00"]);
    assert_eq!(short("0 2,14 * * *", RunAfter), ["02:30+11:00", "14:00+11:00"]);
    assert_eq!(short("0 2,14 * * *", Skip), ["14:00+11:00"]);
    assert_eq!(short("0,30 2 * * *", RunAfter), ["02:30+11:00"]);
    assert_eq!(short("0,30 2 * * *", Skip), ["02:30+11:00"]);
    assert_eq!(short("30 1-3 * * *", RunAfter), ["01:30+10:30", "02:30+11:00", "03:30+11:00"]);
    assert_eq!(short("*/30 2 * * *", RunAfter), ["02:30+11:00"]);
}

#[test]
fn a_day_that_the_date_line_swallowed_gives_one_firing_after_it() {
    // Apia had no 2011-12-30.
    let calendar = calendar("0 8,20 30 12 *", "Pacific/Apia", RunAfter, First);
    let next = calendar.next_after(nominal("2011-12-29T00:00:00Z")).unwrap();
    assert_eq!(next, nominal("2011-12-30T10:00:00Z"));
    let after = calendar.next_after(next).unwrap();
    assert_eq!(after.timestamp().to_zoned_datetime(calendar.zone().rules().clone()).year(), 2012);
}

#[test]
fn a_midnight_that_does_not_exist_fires_when_the_day_begins() {
    // Beirut's days of change begin at 01:00.
    let fired = day("0 0 * * *", "Asia/Beirut", RunAfter, First, "2026-03-28T22:00:00Z", 5);
    assert_eq!(fired, ["01:00+03:00"]);
}

#[test]
fn what_cron_knows_is_known_here() {
    let next = |cron: &str, after: &str| {
        calendar(cron, "UTC", RunAfter, First).next_after(nominal(after)).unwrap().to_string()
    };
    assert_eq!(next("0 0 29 2 *", "2026-01-01T00:00:00Z"), "2028-02-29T00:00:00Z");
    assert_eq!(next("0 0 13 * FRI", "2026-11-01T00:00:00Z"), "2026-11-06T00:00:00Z");
    assert_eq!(next("0 6 L * *", "2026-02-01T00:00:00Z"), "2026-02-28T06:00:00Z");
    assert_eq!(next("0 6 15W * *", "2026-11-01T00:00:00Z"), "2026-11-16T06:00:00Z");
    assert_eq!(next("0 6 * * MON#1", "2026-11-03T00:00:00Z"), "2026-12-07T06:00:00Z");
    assert_eq!(next("*/20 * * * * *", "2026-11-23T00:00:25Z"), "2026-11-23T00:00:40Z");
    assert_eq!(next("@daily", "2026-11-23T00:00:00Z"), "2026-11-24T00:00:00Z");
    assert_eq!(next("0 0 * * 7", "2026-11-23T00:00:00Z"), "2026-11-29T00:00:00Z");
}

#[test]
fn a_zone_that_is_misspelt_is_suggested() {
    let error = Zone::parse("Europe/Berlim").unwrap_err().to_string();
    assert!(error.contains("did you mean 'Europe/Berlin'"), "{error}");
    assert_eq!(Zone::parse("utc").unwrap().name(), "UTC");
}

#[test]
fn every_keeps_its_phase_whenever_it_is_asked() {
    let every = Every::new(Duration::from_secs(900), Duration::from_secs(120), None).unwrap();
    assert_eq!(every.next_after(nominal("2026-11-23T00:02:00Z")), Some(nominal("2026-11-23T00:17:00Z")));
    assert_eq!(every.next_after(nominal("2026-11-23T00:01:59Z")), Some(nominal("2026-11-23T00:02:00Z")));
    assert!(Every::new(Duration::from_millis(500), Duration::ZERO, None).is_err());
    assert!(Every::new(Duration::from_millis(1_500), Duration::ZERO, None).is_err());
}

fn union(jitter: Duration) -> Calendar {
    let zone = Zone::utc();
    let rule = |form| Rule { form, zone: zone.clone(), start: None, end: None, except: None };
    let times: Arc<[Nominal]> = vec![nominal("2026-11-23T00:10:00Z"), nominal("2026-11-23T00:11:00Z")].into();
    Calendar::new(CalendarSpec {
        rules: vec![
            rule(Form::Cron(Cron::parse("*/10 * * * *", CronRules::CURRENT).unwrap())),
            rule(Form::Every(Every::new(Duration::from_secs(300), Duration::ZERO, None).unwrap())),
            rule(Form::At(times)),
        ],
        zone: zone.clone(),
        start: Some("2026-11-23T00:05:00Z".parse().unwrap()),
        end: Some("2026-11-23T00:20:00Z".parse().unwrap()),
        except: None,
        dst_gap: RunAfter,
        dst_overlap: First,
        jitter,
    })
}

#[test]
fn a_union_names_an_instant_once_and_keeps_its_bounds() {
    let calendar = union(Duration::ZERO);
    let all: Vec<String> = calendar
        .due_between(nominal("2026-11-22T00:00:00Z"), nominal("2026-11-24T00:00:00Z"))
        .map(|nominal| nominal.to_string()[14..19].to_owned())
        .collect();
    assert_eq!(all, ["05:00", "10:00", "11:00", "15:00"]);
    assert_eq!(calendar.next_after(nominal("2026-11-23T00:15:00Z")), None);
    assert_eq!(
        calendar.previous_before(nominal("2026-11-23T00:11:00Z")),
        Some(nominal("2026-11-23T00:10:00Z"))
    );
    assert_eq!(calendar.previous_before(nominal("2026-11-23T00:05:00Z")), None);
}

#[test]
fn jitter_is_the_entrys_own_and_stays_before_the_next_nominal_time() {
    let calendar = union(Duration::from_secs(600));
    let at = nominal("2026-11-23T00:10:00Z");
    let mut seen = std::collections::HashSet::new();
    for number in 0..100 {
        let entry = EntryName::new(&format!("entry-{number}")).unwrap();
        let due = calendar.due_time(&entry, at);
        assert_eq!(due, calendar.due_time(&entry, at));
        assert!(due >= at.timestamp() && due < nominal("2026-11-23T00:11:00Z").timestamp());
        seen.insert(due);
    }
    assert!(seen.len() > 80, "only {} distinct due times", seen.len());
}

#[test]
fn jitter_is_the_same_after_every_start_and_on_every_host() {
    let calendar = union(Duration::from_secs(30));
    let due = |name: &str| {
        let entry = EntryName::new(name).unwrap();
        calendar.due_time(&entry, nominal("2026-11-23T00:05:00Z")).to_string()
    };
    // A release that changes this moves the firings of every user.
    assert_eq!(due("nightly-sales"), "2026-11-23T00:05:00.114Z");
    assert_eq!(due("every-quarter-hour"), "2026-11-23T00:05:20.284Z");
    let none = union(Duration::ZERO);
    let entry = EntryName::new("nightly-sales").unwrap();
    let at = nominal("2026-11-23T00:05:00Z");
    assert_eq!(none.due_time(&entry, at), at.timestamp());
}

#[test]
fn the_fingerprint_changes_with_what_makes_the_calendar_and_only_then() {
    let of = |cron, overlap| calendar(cron, "Europe/Berlin", RunAfter, overlap).fingerprint();
    assert_eq!(of("0 2 * * *", First), of("0 2 * * *", First));
    assert_ne!(of("0 2 * * *", First), of("0 2 * * *", Both));
    assert_ne!(of("0 2 * * *", First), of("1 2 * * *", First));
    // A release that changes this makes every entry of every user begin anew.
    assert_eq!(of("0 2 * * *", First).0, "fe40713cc3330422a490485929ff581b");
    assert_eq!(union(Duration::ZERO).fingerprint().0, "e5665ac77c2c87210b7274b857333bd9");
}
