//! Every way in which a ledger can cover its calendar, or fail to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config;
use crate::config::tests::AZURE;
use crate::ledger::{InForce, OpenPause, State};
use crate::schedule::CronRules;

const MINUTELY: &str = "{ name: a, pipeline: P, schedule: { every: 1m } }";
const HALF_MINUTELY: &str = "{ name: a, pipeline: P, schedule: { every: 30s } }";

fn nominal(second: i64) -> Nominal {
    Nominal::from_second(second).unwrap()
}

fn entry() -> EntryName {
    EntryName::new("a").unwrap()
}

/// A ledger, and the schedules that it names.
#[derive(Default)]
struct Case {
    evidence: Evidence,
    versions: BTreeMap<String, String>,
    records: Vec<Kept>,
}

impl Case {
    /// A schedule with this entry was in force from this millisecond on. Its name is its version.
    fn in_force(self, milliseconds: i64, version: &str, entries: &str) -> Self {
        self.read_by(milliseconds, version, Some(CronRules::CURRENT), entries)
    }

    /// The same, with its cron expressions read by these rules.
    fn read_by(mut self, milliseconds: i64, version: &str, rules: Option<CronRules>, entries: &str) -> Self {
        let at = jiff::Timestamp::from_millisecond(milliseconds).unwrap();
        self.evidence.in_force.push(InForce { at, version: version.into(), rules });
        self.versions.insert(version.to_owned(), format!("{AZURE}pipelines: [{entries}]\n"));
        self
    }

    fn mark(mut self, second: i64) -> Self {
        self.evidence.marks.insert(entry(), nominal(second));
        self
    }

    fn pruned(mut self, second: i64) -> Self {
        self.evidence.kept_from = Some(nominal(second));
        self
    }

    fn paused(mut self, second: i64) -> Self {
        let since = nominal(second).timestamp();
        self.evidence.pauses.push(OpenPause { entry: entry(), since, note: None });
        self
    }

    /// A record each, of these seconds.
    fn accepted(self, seconds: impl IntoIterator<Item = i64>) -> Self {
        seconds.into_iter().fold(self, |case, second| case.row((second, second, 1), State::Accepted, None))
    }

    fn row(mut self, (first, last, count): (i64, i64, u64), state: State, reason: Option<&str>) -> Self {
        self.records.push(Kept {
            first: nominal(first),
            last: nominal(last),
            count,
            state,
            reason: reason.map(str::to_owned),
            firing_id: format!("firing {first} to {last}"),
            version: "A".into(),
            planned_at: nominal(first).timestamp(),
        });
        self
    }

    fn skipped(self, row: (i64, i64, u64), reason: &str) -> Self {
        self.row(row, State::Skipped, Some(reason))
    }

    fn timeline(&self) -> Timeline {
        let read = |version: &str, rules: CronRules| -> Calendars {
            let text = self.versions.get(version).ok_or("not kept")?;
            let settings = config::load_accepted(text.as_bytes(), version, &|_| None, rules)
                .map_err(|problems| problems.to_string())?;
            let enabled = settings.entries.iter().filter(|entry| entry.enabled);
            Ok(enabled.map(|entry| (entry.name.clone(), Arc::clone(&entry.calendar))).collect())
        };
        let mut timeline = Timeline::new(&self.evidence);
        for (version, rules) in timeline.versions() {
            timeline.take_in(&version, rules, read(&version, rules));
        }
        timeline
    }

    /// The audit of this range.
    fn audit(mut self, from: i64, until: i64) -> Report {
        let timeline = self.timeline();
        let range = Range { from: nominal(from).max(timeline.begin()), until: nominal(until) };
        let mut report = Report::default();
        let (known, name) = (Known::of(&self.evidence), entry());
        self.records.sort_by_key(|record| record.first);
        let mut audit = EntryAudit::new(&timeline, &known, range, &name, &mut report);
        let reaches = |record: &Kept| record.last >= range.from && record.first < range.until;
        self.records.into_iter().filter(reaches).for_each(|record| audit.record(record));
        audit.finish();
        report
    }
}

/// First, last and count of stretches, with the version.
fn shown(stretches: &[Stretch]) -> Vec<(i64, i64, u64, &str)> {
    stretches
        .iter()
        .map(|it| {
            (it.first.as_second(), it.last.as_second(), it.count, it.version.as_deref().unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_ledger_with_one_record_for_each_nominal_time_is_proven() {
    let report = Case::default()
        .in_force(0, "A", MINUTELY)
        .mark(600)
        .accepted((1..=4).map(|n| n * 60))
        .skipped((300, 420, 3), "missed")
        .row((480, 480, 1), State::Held, Some("cannot_decide"))
        .row((540, 540, 1), State::Waiting, None)
        .audit(0, 600);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((report.entries, report.nominal_times), (1, 9));
    let states: Vec<_> = report.states.into_iter().collect();
    assert_eq!(states, [("accepted", 4), ("held", 1), ("skipped", 3), ("waiting", 1)]);
    assert_eq!(report.skipped["missed"], 3);
    let open: Vec<_> = report.open.iter().map(|open| (open.nominal.as_second(), open.state)).collect();
    assert_eq!(open, [(480, State::Held), (540, State::Waiting)]);
}

#[test]
fn gaps_that_follow_each_other_are_one_and_name_the_version() {
    let report = Case::default()
        .in_force(0, "A", MINUTELY)
        .mark(600)
        .accepted([60, 240, 300, 420, 480, 540])
        .audit(0, 600);
    assert!(!report.is_proven());
    assert_eq!(shown(&report.gaps), [(120, 180, 2, "A"), (360, 360, 1, "A")]);
}

#[test]
fn the_times_after_a_ledger_without_records_are_gaps_too() {
    let report = Case::default().in_force(0, "A", MINUTELY).mark(600).audit(0, 600);
    assert_eq!(shown(&report.gaps), [(60, 540, 9, "A")]);
}

#[test]
fn a_nominal_time_with_two_records_is_a_double() {
    let report = Case::default()
        .in_force(0, "A", MINUTELY)
        .mark(300)
        .accepted([60, 120, 180, 240])
        .row((180, 180, 1), State::Rejected, None)
        .audit(0, 300);
    assert_eq!(report.doubles.len(), 1);
    assert_eq!(report.doubles[0].firing_ids.len(), 2);
    assert_eq!(report.doubles[0].times.first.as_second(), 180);
    assert!(report.gaps.is_empty());
}

#[test]
fn rows_that_overlap_are_one_double_with_both_firings() {
    let report = Case::default()
        .in_force(0, "A", MINUTELY)
        .mark(360)
        .skipped((60, 240, 4), "missed")
        .skipped((180, 300, 3), "missed")
        .audit(0, 360);
    assert_eq!(report.doubles.len(), 1);
    let times = &report.doubles[0].times;
    assert_eq!((times.first.as_second(), times.last.as_second(), times.count), (180, 240, 2));
    assert_eq!(report.doubles[0].firing_ids, ["firing 60 to 240", "firing 180 to 300"]);
    assert_eq!(report.states["skipped"], 3);
}

#[test]
fn a_row_that_counts_too_many_or_too_few_is_found() {
    for count in [2, 4] {
        let report = Case::default()
            .in_force(0, "A", MINUTELY)
            .mark(300)
            .skipped((60, 180, count), "missed")
            .accepted([240])
            .audit(0, 300);
        assert_eq!(report.miscounts.len(), 1, "{count}");
        assert_eq!((report.miscounts[0].times.count, report.miscounts[0].expected), (count, 3));
    }
}

#[test]
fn a_row_that_reaches_out_of_the_range_is_counted_to_its_ends_and_told_of_inside() {
    let case = || {
        Case::default().in_force(0, "A", MINUTELY).mark(900).skipped((60, 600, 10), "missed").accepted([660])
    };
    let report = case().audit(300, 480);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((report.nominal_times, report.states["skipped"]), (3, 3));
    let report = case().skipped((720, 840, 2), "missed").audit(300, 780);
    assert_eq!(report.miscounts.len(), 1);
}

#[test]
fn a_version_is_in_force_after_the_second_of_its_coming() {
    // B came at 120.5 s: of the minute 120 it is the old calendar that says.
    let case = || Case::default().in_force(0, "A", MINUTELY).in_force(120_500, "B", HALF_MINUTELY).mark(300);
    let report = case().accepted([60, 120, 150, 180, 210, 240, 270]).audit(0, 300);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(report.nominal_times, 7);
    let report = case().accepted([60, 150, 210, 240, 270]).audit(0, 300);
    assert_eq!(shown(&report.gaps), [(120, 120, 1, "A"), (180, 180, 1, "B")]);
}

#[test]
fn a_version_that_comes_back_is_in_force_twice() {
    let report = Case::default()
        .in_force(0, "A", MINUTELY)
        .in_force(120_000, "B", "{ name: b, pipeline: P, schedule: { every: 1m } }")
        .in_force(240_000, "A", MINUTELY)
        .mark(400)
        .accepted([60, 120])
        // What the removal took with it, and what came again.
        .row((180, 180, 1), State::Skipped, Some("removed"))
        .row((240, 240, 1), State::Skipped, Some("removed"))
        .accepted([300, 360])
        .audit(0, 400);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((report.nominal_times, report.left_over), (4, 2));
}

#[test]
fn an_entry_that_was_removed_must_have_its_times_up_to_then() {
    let case = || {
        Case::default().in_force(0, "A", MINUTELY).in_force(
            300_000,
            "B",
            "{ name: b, pipeline: P, schedule: { every: 1m } }",
        )
    };
    // Found at a start: what was not planned when it went is one row.
    let report = case().accepted([60]).skipped((120, 300, 4), "removed").audit(0, 600);
    assert!(report.is_proven(), "{report:?}");
    let report = case().accepted([60]).audit(0, 600);
    assert_eq!(shown(&report.gaps), [(120, 300, 4, "A")]);
    let report = case().accepted([60]).skipped((120, 300, 5), "removed").audit(0, 600);
    assert_eq!(report.miscounts.len(), 1);
}

#[test]
fn a_record_of_an_entry_that_went_away_gives_way_to_another() {
    let report = Case::default()
        .in_force(0, "A", MINUTELY)
        .mark(300)
        .skipped((60, 240, 4), "removed")
        .accepted([60, 120, 180, 240])
        .audit(0, 300);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(report.states["accepted"], 4);
}

#[test]
fn a_record_of_a_time_that_no_calendar_names_is_a_stray() {
    let report =
        Case::default().in_force(0, "A", MINUTELY).mark(200).accepted([60, 90, 120, 180]).audit(0, 200);
    assert_eq!(report.strays.len(), 1);
    assert_eq!(report.strays[0].times.first.as_second(), 90);
    assert!(!report.is_proven() && report.gaps.is_empty());
}

#[test]
fn a_fixed_time_that_the_clock_skips_or_repeats_is_one_nominal_time() {
    let berlin = "{ name: a, pipeline: P, schedule: '30 2 * * *', timezone: Europe/Berlin }";
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    let begin = at("2026-03-28T12:00:00Z");
    let report = Case::default()
        .in_force(begin * 1_000, "A", berlin)
        .mark(at("2026-03-30T12:00:00Z"))
        .accepted([at("2026-03-29T01:00:00Z"), at("2026-03-30T00:30:00Z")])
        .audit(begin, at("2026-03-30T12:00:00Z"));
    assert!(report.is_proven(), "{report:?}");
    let begin = at("2026-10-24T12:00:00Z");
    let report = Case::default()
        .in_force(begin * 1_000, "A", berlin)
        .mark(at("2026-10-26T12:00:00Z"))
        .accepted([at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z")])
        .audit(begin, at("2026-10-26T12:00:00Z"));
    assert_eq!(report.strays.len(), 1, "the second 02:30 is none of its times");
    assert_eq!(report.gaps.len(), 1, "that of the next day is");
}

#[test]
fn what_is_older_than_the_pruning_is_not_asked_for() {
    let case = Case::default()
        .in_force(0, "A", MINUTELY)
        .pruned(300)
        .mark(600)
        // It began before the bound: only what can still be seen of it is compared.
        .skipped((60, 360, 6), "missed")
        .accepted([420, 480, 540]);
    let bound = Uncovered { after: None, until: nominal(299), why: Gone::Pruned, version: None };
    assert_eq!(case.timeline().uncovered(), [bound]);
    let report = case.audit(0, 600);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(report.nominal_times, 5);
}

#[test]
fn a_version_that_cannot_be_read_leaves_its_time_open() {
    let case = Case::default()
        .in_force(0, "A", MINUTELY)
        .in_force(120_000, "B", "{ name: a, pipelin: P }")
        .in_force(240_000, "A", MINUTELY)
        .mark(400)
        .accepted([60, 120, 150])
        // It reaches into the time of which nothing is known.
        .skipped((180, 360, 40), "missed");
    let uncovered = case.timeline().uncovered();
    assert_eq!(uncovered.len(), 2);
    assert_eq!((uncovered[1].after, uncovered[1].until), (Some(nominal(120)), nominal(240)));
    assert_eq!(uncovered[1].version.as_deref(), Some("B"));
    assert!(matches!(&uncovered[1].why, Gone::Unreadable(why) if why.contains("pipelin")));
    let report = case.audit(0, 400);
    assert!(report.gaps.is_empty() && report.miscounts.is_empty(), "{report:?}");
    assert_eq!(report.nominal_times, 4);
}

#[test]
fn times_after_the_mark_are_not_planned_yet_and_no_gaps() {
    let report =
        Case::default().in_force(0, "A", MINUTELY).mark(240).accepted([60, 120, 180, 240]).audit(0, 500);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(shown(&report.not_planned), [(300, 480, 4, "")]);
}

#[test]
fn times_since_an_open_pause_are_covered_by_it() {
    let report =
        Case::default().in_force(0, "A", MINUTELY).mark(600).paused(180).accepted([60, 240]).audit(0, 600);
    assert_eq!(shown(&report.gaps), [(120, 120, 1, "A")]);
    assert_eq!(shown(&report.paused), [(180, 180, 1, ""), (300, 540, 5, "")]);
}

#[test]
fn after_a_step_back_of_the_clock_the_later_version_rules() {
    // B came while the clock was ahead; then it was set back to 120 s, and B planned from there on.
    let case = Case::default()
        .in_force(0, "A", MINUTELY)
        .in_force(600_000, "B", HALF_MINUTELY)
        .in_force(120_000, "B", HALF_MINUTELY)
        .mark(250)
        .accepted([60, 120, 150, 180, 210, 240])
        // It was carried out by A before.
        .accepted([300]);
    let report = case.audit(0, 250);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(report.nominal_times, 6);
}

#[test]
fn a_record_that_an_older_version_planned_is_left_over_only_where_the_clock_was_set_back() {
    let two_minutely = "{ name: a, pipeline: P, schedule: { every: 2m } }";
    let case = |planned_at: i64| {
        let mut case = Case::default()
            .in_force(0, "A", MINUTELY)
            .in_force(120_000, "B", two_minutely)
            .mark(400)
            .accepted([60, 120, 240, 360, 180]);
        case.records[4].planned_at = nominal(planned_at).timestamp();
        case.audit(0, 400)
    };
    // It was planned when B had come already: by a clock that was ahead.
    let report = case(170);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(report.left_over, 1);
    // It was planned before, and should have been taken back.
    let report = case(110);
    assert_eq!(report.strays.len(), 1, "{report:?}");
}

/// Odd days and Mondays, or odd Mondays: 1 January 1970 was a Thursday.
const ODD: &str = "{ name: a, pipeline: P, schedule: '0 0 */2 * MON' }";
const DAY: i64 = 86_400;

#[test]
fn each_version_is_judged_by_the_rules_that_it_was_read_by_also_where_only_those_changed() {
    use CronRules::{Croner, Vixie};
    // The third, by the rules of before, and the fifth, which was a Monday. The seventh was none.
    let audit = |before: CronRules, after: CronRules| {
        Case::default()
            .read_by(0, "A", Some(before), ODD)
            .read_by(3 * DAY * 1_000 + 500, "A", Some(after), ODD)
            .mark(8 * DAY)
            .accepted([2 * DAY, 4 * DAY])
            .audit(0, 8 * DAY)
    };
    let report = audit(Croner, Vixie);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!((report.nominal_times, report.left_over), (2, 0));
    let strays = audit(Vixie, Vixie).strays;
    assert_eq!(strays.iter().map(|stray| stray.times.first.as_second()).collect::<Vec<_>>(), [2 * DAY]);
    assert_eq!(shown(&audit(Croner, Croner).gaps), [(6 * DAY, 6 * DAY, 1, "A")]);
}

#[test]
fn nothing_is_said_of_a_version_that_was_read_by_rules_that_are_not_known() {
    let case = Case::default()
        .read_by(0, "A", None, ODD)
        .in_force(3 * DAY * 1_000, "B", ODD)
        .mark(8 * DAY)
        .accepted([2 * DAY, 4 * DAY]);
    let uncovered = case.timeline().uncovered();
    assert_eq!(
        uncovered.iter().map(|it| it.why.clone()).collect::<Vec<_>>(),
        [Gone::NoSchedule, Gone::RulesChanged]
    );
    let report = case.audit(0, 8 * DAY);
    assert!(report.is_proven(), "{report:?}");
    assert_eq!(report.nominal_times, 1);
}
