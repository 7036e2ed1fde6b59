//! What is left out, and that nothing else is.

use jiff::civil::date;

use super::*;

fn crons(texts: &[&str]) -> Vec<Cron> {
    texts.iter().map(|text| Cron::parse(text, CronRules::CURRENT).unwrap()).collect()
}

/// A calendar that leaves this out as a whole, of rules that leave something out themselves.
fn leaving_out(of_all: Option<Except>, rules: Vec<(Form, Option<Except>)>, zone: &str) -> Calendar {
    let zone = Zone::parse(zone).unwrap();
    let rule = |(form, except): (Form, Option<Except>)| Rule {
        form,
        zone: zone.clone(),
        start: None,
        end: None,
        except: except.map(Arc::new),
    };
    Calendar::new(CalendarSpec {
        rules: rules.into_iter().map(rule).collect(),
        zone: zone.clone(),
        start: None,
        end: None,
        except: of_all.map(Arc::new),
        dst_gap: RunAfter,
        dst_overlap: First,
        jitter: Duration::ZERO,
    })
}

fn times(calendar: &Calendar, from: &str, count: usize) -> Vec<String> {
    let zone = calendar.zone().rules();
    let from = zone.to_timestamp(from.parse::<jiff::civil::DateTime>().unwrap()).unwrap();
    let before = Nominal::from_second(from.as_second() - 1).unwrap();
    std::iter::successors(calendar.next_after(before), |nominal| calendar.next_after(*nominal))
        .take(count)
        .map(|nominal| zone.to_datetime(nominal.timestamp()).strftime("%m-%d %H:%M:%S").to_string())
        .collect()
}

fn cron(text: &str) -> Form {
    Form::Cron(Cron::parse(text, CronRules::CURRENT).unwrap())
}

#[test]
fn dates_ranges_and_weekdays_are_left_out_in_the_zone_of_the_entry() {
    let days = [(date(2026, 12, 28), date(2026, 12, 31)), (date(2026, 12, 24), date(2026, 12, 25))];
    let except = Except::new(days, [0, 6], Vec::new());
    let calendar = leaving_out(Some(except), vec![(cron("30 0 * * *"), None)], "Asia/Tokyo");
    assert_eq!(
        times(&calendar, "2026-12-22", 4),
        ["12-22 00:30:00", "12-23 00:30:00", "01-01 00:30:00", "01-04 00:30:00"]
    );
    assert_eq!(
        calendar.previous_before(nominal("2026-12-31T23:00:00Z")),
        Some(nominal("2026-12-31T15:30:00Z"))
    );
    assert_eq!(
        calendar.previous_before(nominal("2026-12-31T15:30:00Z")),
        Some(nominal("2026-12-22T15:30:00Z"))
    );
}

#[test]
fn a_cron_expression_of_five_fields_leaves_out_whole_minutes_and_of_six_its_seconds() {
    let every =
        |seconds| Form::Every(Every::new(Duration::from_secs(seconds), Duration::ZERO, None).unwrap());
    let night = Except::new([], [], crons(&["* 22-23 * * *", "* 0-5 * * *"]));
    let calendar = leaving_out(Some(night), vec![(every(20), None)], "Europe/Berlin");
    assert_eq!(times(&calendar, "2026-11-23T21:59:40", 2), ["11-23 21:59:40", "11-24 06:00:00"]);
    let minute = Except::new([], [], crons(&["30 * * * *"]));
    let calendar = leaving_out(Some(minute), vec![(every(20), None)], "UTC");
    assert_eq!(times(&calendar, "2026-11-23T21:29:40", 2), ["11-23 21:29:40", "11-23 21:31:00"]);
    let second = Except::new([], [], crons(&["20 30 * * * *"]));
    let calendar = leaving_out(Some(second), vec![(every(20), None)], "UTC");
    assert_eq!(times(&calendar, "2026-11-23T21:30:00", 2), ["11-23 21:30:00", "11-23 21:30:40"]);
}

#[test]
fn a_rule_leaves_out_its_own_and_the_union_what_the_entry_leaves_out() {
    let sundays = Except::new([], [0], Vec::new());
    let first = Except::new([], [], crons(&["0 6 1 * *"]));
    let rules = vec![(cron("0 6 * * *"), Some(sundays)), (cron("0 12 * * SUN"), None)];
    let calendar = leaving_out(Some(first), rules, "UTC");
    assert_eq!(
        times(&calendar, "2026-11-28", 5),
        ["11-28 06:00:00", "11-29 12:00:00", "11-30 06:00:00", "12-02 06:00:00", "12-03 06:00:00"]
    );
}

#[test]
fn a_time_that_a_gap_moved_is_judged_by_when_it_fires() {
    let two = Except::new([], [], crons(&["* 2 * * *"]));
    let calendar = leaving_out(Some(two), vec![(cron("30 2 * * *"), None)], "Europe/Berlin");
    assert_eq!(times(&calendar, "2026-03-20", 2), ["03-29 03:00:00", "03-28 03:00:00"], "of two years");
}

#[test]
fn a_calendar_with_nothing_left_says_so_in_time() {
    let every = Form::Every(Every::new(Duration::from_secs(1), Duration::ZERO, None).unwrap());
    let all = || Some(Except::new([], 0..7, Vec::new()));
    let began = nominal("2026-01-01T00:00:00Z");
    assert_eq!(leaving_out(all(), vec![(every.clone(), None)], "Europe/Berlin").next_after(began), None);
    let minutes = Some(Except::new([], [], crons(&["* * * * *"])));
    assert_eq!(leaving_out(minutes, vec![(every, None)], "UTC").next_after(began), None);
}

#[test]
fn what_is_left_out_is_part_of_the_fingerprint_and_nothing_else_changed_it() {
    let of = |except| leaving_out(except, vec![(cron("0 2 * * *"), None)], "Europe/Berlin").fingerprint();
    let christmas = |last| Some(Except::new([(date(2026, 12, 24), date(2026, 12, last))], [], Vec::new()));
    assert_eq!(of(None), calendar("0 2 * * *", "Europe/Berlin", RunAfter, First).fingerprint());
    assert_ne!(of(None), of(christmas(26)));
    assert_ne!(of(christmas(25)), of(christmas(26)));
    assert_eq!(of(christmas(25)).0, of(christmas(25)).0);
}

#[test]
fn around_changes_of_the_clock_exactly_what_an_oracle_leaves_out_is_left_out() {
    let mut chance = Chance::new("exceptions");
    let mut left_out = 0;
    for _ in 0..60 {
        let window = Window::draw(&mut chance);
        let zone = Zone::parse(&window.zone).unwrap();
        let day = zone.rules().to_datetime(window.change).date();
        for _ in 0..10 {
            let hour = chance.below(4);
            let expression =
                chance.one_of(&["* 2 * * *", "*/2 * * * *", "* 22-23,0-1 * * *", "0-29 * * * *"]);
            let (dates, weekday) = ([(day, day)], u8::try_from(chance.below(7)).unwrap());
            let dates = &dates[..chance.below(3) / 2];
            let except = Except::new(dates.iter().copied(), [weekday], crons(&[expression]));
            let every =
                Every::new(Duration::from_secs(60 * (1 + hour as u64)), Duration::ZERO, None).unwrap();
            let rules = vec![(cron(&format!("*/5,7 {hour}-23 * * *")), None), (Form::Every(every), None)];
            let all = window.found(&leaving_out(None, rules.clone(), &window.zone));
            let oracle = Cron::parse(expression, CronRules::CURRENT).unwrap();
            let expected: Vec<Nominal> = all
                .iter()
                .copied()
                .filter(|nominal| {
                    let local = zone.rules().to_datetime(nominal.timestamp());
                    let day = local.date();
                    !dates.contains(&(day, day))
                        && day.weekday().to_sunday_zero_offset() != weekday.cast_signed()
                        && oracle.next(local, jiff::tz::Offset::UTC) != Some(local)
                })
                .collect();
            let found = window.found(&leaving_out(Some(except), rules, &window.zone));
            assert_eq!(found, expected, "{expression} {weekday} in {}; {chance}", window.zone);
            left_out += all.len() - found.len();
        }
    }
    assert!(left_out > 1_000, "{left_out}");
}
