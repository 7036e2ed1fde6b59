//! Data Factory's recurrences: the examples of its documentation, the start-time rules, and changes of the clock.

use jiff::civil::DateTime;

use super::*;

/// A recurrence with this start in this zone, before its lists are given.
fn from(frequency: Frequency, interval: u16, start: &str, zone: &str) -> RecurrenceSpec {
    let zone = Zone::parse(zone).unwrap();
    let local: DateTime = start.parse().unwrap();
    RecurrenceSpec {
        frequency,
        interval,
        start: zone.rules().to_timestamp(local).unwrap(),
        minutes: Vec::new(),
        hours: Vec::new(),
        week_days: Vec::new(),
        month_days: Vec::new(),
        monthly_occurrences: Vec::new(),
    }
}

fn calendar_of(spec: &RecurrenceSpec, zone: &str, dst_gap: DstGap, dst_overlap: DstOverlap) -> Calendar {
    let zone = Zone::parse(zone).unwrap();
    let form = Form::Recurrence(Box::new(Recurrence::new(spec, &zone).unwrap()));
    let rules = vec![Rule { form, zone: zone.clone(), start: None, end: None, except: None }];
    let (start, end, jitter) = (None, None, Duration::ZERO);
    Calendar::new(CalendarSpec { rules, zone, start, end, except: None, dst_gap, dst_overlap, jitter })
}

/// The first times from a local time on, as local times without their seconds.
fn first(count: usize, spec: &RecurrenceSpec, zone: &str, after: &str) -> Vec<String> {
    let calendar = calendar_of(spec, zone, RunAfter, First);
    let rules = calendar.zone().rules().clone();
    let after = rules.to_timestamp(after.parse::<DateTime>().unwrap()).unwrap();
    let after = Nominal::from_second(after.as_second() - 1).unwrap();
    std::iter::successors(calendar.next_after(after), |n| calendar.next_after(*n))
        .take(count)
        .map(|nominal| rules.to_datetime(nominal.timestamp()).strftime("%m-%d %H:%M").to_string())
        .collect()
}

use Frequency::{Day, Hour, Minute, Month, Week};

#[test]
fn without_a_schedule_the_intervals_count_from_the_start_and_past_ones_are_gone() {
    // The documentation's own example: every two days from 2017-04-07 14:00, asked on the 8th at 13:00.
    let every = from(Day, 2, "2017-04-07T14:00", "UTC");
    assert_eq!(first(2, &every, "UTC", "2017-04-08T13:00"), ["04-09 14:00", "04-11 14:00"]);
    assert_eq!(first(1, &every, "UTC", "2017-01-01T00:00"), ["04-07 14:00"], "nothing before the start");
    let weeks = from(Week, 2, "2026-01-07T06:30", "UTC");
    assert_eq!(first(3, &weeks, "UTC", "2026-01-01T00:00"), ["01-07 06:30", "01-21 06:30", "02-04 06:30"]);
    let minutes = from(Minute, 45, "2026-01-07T06:30", "UTC");
    assert_eq!(first(2, &minutes, "UTC", "2026-01-07T07:00"), ["01-07 07:15", "01-07 08:00"]);
    let hours = from(Hour, 5, "2026-01-07T06:30", "UTC");
    assert_eq!(first(2, &hours, "UTC", "2026-01-07T07:00"), ["01-07 11:30", "01-07 16:30"]);
}

#[test]
fn a_month_without_the_day_is_left_out_and_minus_one_is_its_last() {
    let end = from(Month, 1, "2026-01-31T05:00", "UTC");
    assert_eq!(first(3, &end, "UTC", "2026-01-01T00:00"), ["01-31 05:00", "03-31 05:00", "05-31 05:00"]);
    let last = RecurrenceSpec { month_days: vec![-1, -2], ..end.clone() };
    assert_eq!(first(3, &last, "UTC", "2026-01-01T00:00"), ["01-31 05:00", "02-27 05:00", "02-28 05:00"]);
    let longest = RecurrenceSpec { month_days: vec![-31], ..end.clone() };
    assert_eq!(first(2, &longest, "UTC", "2026-02-01T00:00"), ["03-01 05:00", "05-01 05:00"]);
    let third = RecurrenceSpec { interval: 3, month_days: vec![1, 15], ..end };
    assert_eq!(first(3, &third, "UTC", "2026-02-01T00:00"), ["04-01 05:00", "04-15 05:00", "07-01 05:00"]);
}

#[test]
fn a_schedule_expands_or_limits_as_the_documentation_shows() {
    let day = from(Day, 1, "2026-11-02T12:25", "UTC");
    let with = |minutes: &[u8], hours: &[u8]| {
        let spec = RecurrenceSpec { minutes: minutes.to_vec(), hours: hours.to_vec(), ..day.clone() };
        first(3, &spec, "UTC", "2026-11-03T00:00")
    };
    assert_eq!(with(&[], &[5]), ["11-03 05:25", "11-04 05:25", "11-05 05:25"]);
    assert_eq!(with(&[15], &[5]), ["11-03 05:15", "11-04 05:15", "11-05 05:15"]);
    assert_eq!(with(&[15, 45], &[5, 17]), ["11-03 05:15", "11-03 05:45", "11-03 17:15"]);
    assert_eq!(with(&[0], &[]), ["11-03 00:00", "11-03 01:00", "11-03 02:00"]);
    let all: Vec<u8> = (0..24).collect();
    assert_eq!(with(&[], &all), ["11-03 00:25", "11-03 01:25", "11-03 02:25"]);
    let week = RecurrenceSpec { week_days: vec![2, 4], ..from(Week, 1, "2026-11-02T12:25", "UTC") };
    assert_eq!(first(3, &week, "UTC", "2026-11-02T00:00"), ["11-03 12:25", "11-05 12:25", "11-10 12:25"]);
    // Weeks begin with the day of the start, here a Monday.
    let fortnight = RecurrenceSpec { interval: 2, week_days: vec![0, 1], ..week };
    assert_eq!(
        first(4, &fortnight, "UTC", "2026-11-02T00:00"),
        ["11-02 12:25", "11-08 12:25", "11-16 12:25", "11-22 12:25"]
    );
}

#[test]
fn minutes_and_hours_limit_what_is_counted_in_minutes_and_hours() {
    let quarter = RecurrenceSpec { hours: vec![9], ..from(Minute, 15, "2026-11-02T00:05", "UTC") };
    assert_eq!(first(5, &quarter, "UTC", "2026-11-02T00:00")[3..], ["11-02 09:50", "11-03 09:05"]);
    let halves = RecurrenceSpec { minutes: vec![0, 30], ..from(Hour, 2, "2026-11-02T01:05", "UTC") };
    assert_eq!(first(3, &halves, "UTC", "2026-11-02T00:00"), ["11-02 01:30", "11-02 03:00", "11-02 03:30"]);
    let never = RecurrenceSpec { minutes: vec![6], ..from(Minute, 15, "2026-11-02T00:05", "UTC") };
    assert!(Recurrence::new(&never, &Zone::utc()).unwrap_err().to_string().contains("never matches"));
}

#[test]
fn monthly_occurrences_count_from_either_end_or_mean_each() {
    let on = |day, occurrence, count| {
        let start = from(Month, 1, "2026-01-01T08:00", "UTC");
        let spec = RecurrenceSpec { monthly_occurrences: vec![(day, occurrence)], ..start };
        first(count, &spec, "UTC", "2026-01-01T00:00")
    };
    assert_eq!(
        on(5, Some(5), 2),
        ["01-30 08:00", "05-29 08:00"],
        "months without a fifth Friday are left out"
    );
    assert_eq!(on(5, Some(-1), 2), ["01-30 08:00", "02-27 08:00"]);
    assert_eq!(on(5, Some(-5), 2), ["01-02 08:00", "05-01 08:00"]);
    assert_eq!(on(1, Some(1), 2), ["01-05 08:00", "02-02 08:00"]);
    assert_eq!(on(1, None, 3), ["01-05 08:00", "01-12 08:00", "01-19 08:00"]);
}

#[test]
fn when_the_clock_changes_days_follow_it_and_hours_do_not() {
    let berlin = "Europe/Berlin";
    let daily = from(Day, 1, "2026-03-27T02:30", berlin);
    assert_eq!(first(3, &daily, berlin, "2026-03-28T00:00"), ["03-28 02:30", "03-29 03:00", "03-30 02:30"]);
    let hourly = from(Hour, 24, "2026-03-27T02:30", berlin);
    assert_eq!(first(3, &hourly, berlin, "2026-03-28T00:00"), ["03-28 02:30", "03-29 03:30", "03-30 03:30"]);
    let each = RecurrenceSpec { minutes: vec![0], ..daily.clone() };
    assert_eq!(first(3, &each, berlin, "2026-03-29T01:00"), ["03-29 01:00", "03-29 03:00", "03-29 04:00"]);
    let long = |spec: &RecurrenceSpec, overlap| {
        let calendar = calendar_of(spec, berlin, Skip, overlap);
        calendar.due_between(nominal("2026-10-24T22:00:00Z"), nominal("2026-10-25T04:00:00Z")).count()
    };
    assert_eq!((long(&daily, First), long(&daily, Second), long(&daily, Both)), (1, 1, 2));
    assert_eq!(long(&each, First), 6, "each hour, the repeated one twice");
}

/// Whether a minute is one of the recurrence's, judged from its words alone.
fn judged(spec: &RecurrenceSpec, start: DateTime, instant: Timestamp, local: DateTime) -> bool {
    let (minute, hour) = (local.minute().unsigned_abs(), local.hour().unsigned_abs());
    let within = |list: &[u8], value| list.is_empty() || list.contains(&value);
    let interval = i64::from(spec.interval);
    let passed = instant.as_second() - spec.start.as_second();
    let date = local.date();
    let days = start.date().duration_until(date).as_hours() / 24;
    let weekday = date.weekday().to_sunday_zero_offset().unsigned_abs();
    let (first_minute, first_hour) = (start.minute().unsigned_abs(), start.hour().unsigned_abs());
    let time = within(&spec.minutes, minute)
        && within(&spec.hours, hour)
        && (!spec.minutes.is_empty() || minute == first_minute)
        && (!spec.hours.is_empty() || !spec.minutes.is_empty() || hour == first_hour);
    let months = i64::from(date.year() - start.year()) * 12 + i64::from(date.month() - start.month());
    passed >= 0
        && match spec.frequency {
            Minute => {
                passed % (60 * interval) == 0 && within(&spec.minutes, minute) && within(&spec.hours, hour)
            }
            Hour if spec.minutes.is_empty() => passed % (3_600 * interval) == 0 && within(&spec.hours, hour),
            Hour => {
                let hours = (passed + i64::from(first_minute) * 60) / 3_600;
                hours % interval == 0 && within(&spec.minutes, minute) && within(&spec.hours, hour)
            }
            Day => days % interval == 0 && time,
            Week => {
                let own = [start.date().weekday().to_sunday_zero_offset().unsigned_abs()];
                let wanted = if spec.week_days.is_empty() { &own[..] } else { &spec.week_days };
                days / 7 % interval == 0 && wanted.contains(&weekday) && time
            }
            Month => {
                let (day, length) = (date.day(), date.days_in_month());
                let by_number = match spec.month_days.as_slice() {
                    [] => day == start.day(),
                    given => given.contains(&day) || given.contains(&(day - length - 1)),
                };
                let (nth, back) = ((day - 1) / 7 + 1, -((length - day) / 7 + 1));
                let by_weekday = spec.monthly_occurrences.iter().any(|(wanted, occurrence)| {
                    *wanted == weekday && occurrence.is_none_or(|n| n == nth || n == back)
                });
                let days = if spec.monthly_occurrences.is_empty() { by_number } else { by_weekday };
                months % interval == 0 && days && time
            }
        }
}

/// A random recurrence that starts some days before an instant.
fn drawn(chance: &mut Chance, around: Timestamp) -> RecurrenceSpec {
    let back = jiff::SignedDuration::from_mins(chance.below(100_000) as i64);
    let frequency = [Minute, Hour, Day, Week, Month][chance.below(5)];
    let some = |chance: &mut Chance, end: usize, most: usize| -> Vec<u8> {
        (0..chance.below(most)).map(|_| u8::try_from(chance.below(end)).unwrap()).collect()
    };
    let month_days = |chance: &mut Chance| -> Vec<i8> {
        let day = |chance: &mut Chance| i8::try_from(chance.below(31)).unwrap() + 1;
        (0..chance.below(6)).map(|_| if chance.below(2) == 0 { day(chance) } else { -day(chance) }).collect()
    };
    let occurrences = |chance: &mut Chance| -> Vec<(u8, Option<i8>)> {
        let one = |chance: &mut Chance| i8::try_from(chance.below(11)).unwrap() - 5;
        (0..chance.below(6))
            .map(|_| (u8::try_from(chance.below(7)).unwrap(), Some(one(chance)).filter(|n| *n != 0)))
            .collect()
    };
    let monthly = frequency == Month && chance.below(2) == 0;
    RecurrenceSpec {
        frequency,
        interval: u16::try_from(match frequency {
            Minute => chance.below(90) + 1,
            _ => chance.below(3) + 1,
        })
        .unwrap(),
        start: around.checked_sub(back).unwrap(),
        minutes: some(chance, 60, 4),
        hours: some(chance, 6, 4),
        week_days: if frequency == Week { some(chance, 7, 5) } else { Vec::new() },
        month_days: if frequency == Month && !monthly { month_days(chance) } else { Vec::new() },
        monthly_occurrences: if monthly { occurrences(chance) } else { Vec::new() },
    }
}

#[test]
fn random_recurrences_agree_with_an_oracle_that_judges_every_minute_around_changes_of_the_clock() {
    let mut chance = Chance::new("recurrences");
    let mut cases = 0;
    while cases < 3_000 {
        let window = Window::draw(&mut chance);
        for _ in 0..30 {
            let spec = drawn(&mut chance, window.change);
            let zone = Zone::parse(&window.zone).unwrap();
            let Ok(recurrence) = Recurrence::new(&spec, &zone) else { continue };
            let real = recurrence.follows_real_time();
            let policy = chance.policy();
            let start = zone.rules().to_datetime(spec.start);
            let expected = window.expected(policy, real, |at, local| judged(&spec, start, at, local));
            let calendar = calendar_of(&spec, &window.zone, policy.0, policy.1);
            assert_eq!(window.found(&calendar), expected, "{spec:?} {} {policy:?}; {chance}", window.zone);
            cases += 1;
        }
    }
}
