//! Cron's rules written a second time, from crontab(5) and with nothing shared: its own reading of an expression, and
//! its own judgement of every single second, minute and day. The calendar must agree.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

use super::chance::ZONES;
use super::*;

/// One part of a list: the values from a first to a last one in steps, or something that depends on the month.
#[derive(Debug, Clone, Copy)]
enum Part {
    Steps { first: i64, last: i64, step: i64, which: Which },
    LastDay,
    LastWorkingDay,
    WorkingDayNextTo(i64),
}

/// Which of its weekday in the month.
#[derive(Debug, Clone, Copy)]
enum Which {
    Each,
    Nth(i64),
    Last,
}

/// An expression, read by hand.
struct Oracle {
    seconds: Vec<Part>,
    minutes: Vec<Part>,
    hours: Vec<Part>,
    days: Vec<Part>,
    months: Vec<Part>,
    weekdays: Vec<Part>,
    both: bool,
    wildcard: bool,
}

/// The place of a name among names of three letters, or the number.
fn value(text: &str, names: &str, first: i64) -> i64 {
    match names.find(text) {
        Some(at) if text.len() == 3 && !names.is_empty() => i64::try_from(at).unwrap() / 3 + first,
        _ => text.parse().unwrap_or_else(|_| panic!("a value: {text}")),
    }
}

/// The parts of a list. A field of weekdays has `SUN…` as names and ends with 7.
fn parts(field: &str, (least, most): (i64, i64), names: &str) -> Vec<Part> {
    let weekdays = names.starts_with("SUN");
    let part = |text: &str| {
        if text == "L" {
            return Part::LastDay;
        } else if text == "LW" {
            return Part::LastWorkingDay;
        } else if let (Some(day), false) = (text.strip_suffix('W'), weekdays) {
            return Part::WorkingDayNextTo(day.parse().unwrap());
        }
        let (text, which) = match text.split_once('#') {
            Some((text, "L")) => (text, Which::Last),
            Some((text, nth)) => (text, Which::Nth(nth.parse().unwrap())),
            None if weekdays && text.ends_with('L') => (&text[..text.len() - 1], Which::Last),
            None => (text, Which::Each),
        };
        let (range, step) = text.split_once('/').unwrap_or((text, "1"));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (least, most),
            None => (value(range, names, least), value(range, names, least)),
            Some((first, "SUN")) => match value(first, names, least) {
                sunday @ (0 | 7) => (sunday, sunday),
                first => (first, 7),
            },
            Some((first, last)) => (value(first, names, least), value(last, names, least)),
        };
        Part::Steps { first, last, step: step.parse().unwrap(), which }
    };
    field.split(',').map(part).collect()
}

/// Whether a value is one of the steps of a list.
fn named(list: &[Part], value: i64) -> bool {
    list.iter().any(|part| match part {
        Part::Steps { first, last, step, .. } => {
            value >= *first && value <= *last && (value - first) % step == 0
        }
        _ => false,
    })
}

fn works(date: Date) -> bool {
    !matches!(date.weekday().to_sunday_zero_offset(), 0 | 6)
}

fn days_on(date: Date, by: i64) -> Date {
    date + SignedDuration::from_hours(24 * by)
}

impl Oracle {
    fn of(text: &str) -> Self {
        let upper = text.to_uppercase();
        let text = match upper.as_str() {
            "@YEARLY" | "@ANNUALLY" => "0 0 1 1 *",
            "@MONTHLY" => "0 0 1 * *",
            "@WEEKLY" => "0 0 * * 0",
            "@DAILY" | "@MIDNIGHT" => "0 0 * * *",
            "@HOURLY" => "0 * * * *",
            text => text,
        };
        let mut fields: Vec<&str> = text.split(' ').collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let [second, minute, hour, day, month, weekday] = fields[..] else { panic!("fields: {text}") };
        let star = |field: &str| field.starts_with('*') || field.starts_with('?');
        Self {
            seconds: parts(second, (0, 59), ""),
            minutes: parts(minute, (0, 59), ""),
            hours: parts(hour, (0, 23), ""),
            days: parts(day, (1, 31), ""),
            months: parts(month, (1, 12), "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"),
            weekdays: parts(weekday.trim_start_matches('+'), (0, 7), "SUNMONTUEWEDTHUFRISAT"),
            both: weekday.starts_with('+') || star(day) || star(weekday),
            wildcard: minute.starts_with('*') || hour.starts_with('*'),
        }
    }

    fn at_time(&self, hour: i8, minute: i8, second: i8) -> bool {
        named(&self.hours, hour.into())
            && named(&self.minutes, minute.into())
            && named(&self.seconds, second.into())
    }

    fn fires_at(&self, local: DateTime) -> bool {
        self.at_time(local.hour(), local.minute(), local.second()) && self.fires_on(local.date())
    }

    fn fires_on(&self, date: Date) -> bool {
        let (by_day, by_weekday) = (self.is_day(date), self.is_weekday(date));
        let days = if self.both { by_day && by_weekday } else { by_day || by_weekday };
        days && named(&self.months, date.month().into())
    }

    fn is_day(&self, date: Date) -> bool {
        let rest_of_month = || (1..31).map(|by| days_on(date, by)).filter(|day| day.month() == date.month());
        let special = |part: &Part| match part {
            Part::Steps { .. } => false,
            Part::LastDay => rest_of_month().count() == 0,
            Part::LastWorkingDay => works(date) && !rest_of_month().any(works),
            Part::WorkingDayNextTo(day) => {
                let meant = Date::new(date.year(), date.month(), i8::try_from(*day).unwrap());
                meant.is_ok_and(|meant| nearest(meant) == Some(date))
            }
        };
        named(&self.days, date.day().into()) || self.days.iter().any(special)
    }

    fn is_weekday(&self, date: Date) -> bool {
        let number = i64::from(date.weekday().to_sunday_zero_offset());
        self.weekdays.iter().any(|part| {
            let one = std::slice::from_ref(part);
            let which = match part {
                Part::Steps { which: Which::Nth(nth), .. } => {
                    let earlier =
                        (1..=5).take_while(|weeks| days_on(date, -7 * weeks).month() == date.month());
                    *nth == 1 + i64::try_from(earlier.count()).unwrap()
                }
                Part::Steps { which: Which::Last, .. } => days_on(date, 7).month() != date.month(),
                _ => true,
            };
            // Sunday has two numbers.
            which && (named(one, number) || (number == 0 && named(one, 7)))
        })
    }
}

/// The working day nearest to a day, in its month.
fn nearest(day: Date) -> Option<Date> {
    let may = |date: &Date| date.month() == day.month() && works(*date);
    [0, -1, 1, -2, 2].iter().map(|by| days_on(day, *by)).find(may)
}

/// Reads an expression that must be one; `None` if it names no date that exists.
fn read(text: &str, chance: &Chance) -> Option<Cron> {
    match Cron::parse(text, CronRules::CURRENT) {
        Ok(cron) => Some(cron),
        Err(ScheduleError::Never(_)) => None,
        Err(error) => panic!("'{text}' is refused: {error}; {chance}"),
    }
}

#[test]
fn a_second_implementation_of_crons_rules_agrees_on_twenty_thousand_random_cases_around_changes_of_the_clock()
{
    let mut chance = Chance::new("cron expressions");
    let (mut cases, mut fired) = (0, 0);
    let mut zones = std::collections::HashSet::new();
    while cases < 20_000 {
        let window = Window::draw(&mut chance);
        zones.insert(window.zone.clone());
        let near = Zone::parse(&window.zone).unwrap().rules().to_datetime(window.change).date();
        for _ in 0..100 {
            // Most changes come in the first hours of a day.
            let hours = if chance.below(3) == 0 { 23 } else { 3 };
            let (minutes, hours) = (draw::time(&mut chance, 59), draw::time(&mut chance, hours));
            let text = format!("{minutes} {hours} {}", draw::date(&mut chance, near));
            let Some(cron) = read(&text, &chance) else { continue };
            let oracle = Oracle::of(&text);
            assert_eq!(cron.follows_real_time(), oracle.wildcard, "{text}; {chance}");
            let policy = chance.policy();
            let dates = Judged::of(&oracle, near);
            let meant = |_, local: DateTime| dates.fires_at(local);
            let expected = window.expected(policy, oracle.wildcard, meant);
            let calendar = calendar(&text, &window.zone, policy.0, policy.1);
            let found = window.found(&calendar);
            assert_eq!(found, expected, "'{text}' in {} {policy:?}; {chance}", window.zone);
            // Whatever second it is asked from, the next one is the same, and so is the one before.
            let from = window.start(&mut chance);
            let next = expected.partition_point(|nominal| *nominal <= from);
            let asked = calendar.next_after(from).filter(|nominal| *nominal <= window.end());
            let said = || format!("'{text}' in {} {policy:?} from {from}; {chance}", window.zone);
            assert_eq!(asked, expected.get(next).copied(), "{}", said());
            if cases % 10 == 0
                && let [.., before, after] = expected[..(next + 1).min(expected.len())]
            {
                assert_eq!(calendar.previous_before(after), Some(before), "{}", said());
            }
            fired += expected.len();
            cases += 1;
        }
    }
    assert!(fired > cases && ZONES.iter().all(|zone| zones.contains(*zone)), "{fired} firings in {zones:?}");
}

/// What the oracle says of the days around a date and of all minutes, so that it is asked once for each.
struct Judged {
    minutes: Vec<bool>,
    hours: Vec<bool>,
    dates: Vec<(Date, bool)>,
}

impl Judged {
    fn of(oracle: &Oracle, near: Date) -> Self {
        let dates = (-4..=4).map(|by| days_on(near, by)).map(|date| (date, oracle.fires_on(date)));
        Self {
            minutes: (0..60).map(|minute| named(&oracle.minutes, minute)).collect(),
            hours: (0..24).map(|hour| named(&oracle.hours, hour)).collect(),
            dates: dates.collect(),
        }
    }

    fn fires_at(&self, local: DateTime) -> bool {
        self.minutes[usize::from(local.minute().unsigned_abs())]
            && self.hours[usize::from(local.hour().unsigned_abs())]
            && self.dates.iter().find(|(date, _)| *date == local.date()).expect("a date of the window").1
    }
}

/// The days of a year are those of the second implementation.
fn judge_days(text: &str, first: Date, chance: &Chance) {
    let cron = read(text, chance);
    let oracle = Oracle::of(text);
    for date in std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(366) {
        let ours = cron.as_ref().is_some_and(|cron| cron.next_date(date) == Some(date));
        assert_eq!(ours, oracle.fires_on(date), "'{text}' on {date}; {chance}");
    }
}

#[test]
fn every_form_of_the_day_of_the_month_with_every_form_of_the_weekday_names_the_days_of_the_second_implementation()
 {
    let mut chance = Chance::new("forms of days");
    for (day, weekday) in draw::DAYS.iter().flat_map(|day| draw::WEEKS.map(|weekday| (*day, weekday))) {
        let near = i8::try_from(1 + chance.below(31)).unwrap();
        let month = if chance.below(3) == 0 { draw::month(&mut chance) } else { "*".to_owned() };
        let (day, weekday) = (draw::day(&mut chance, day, near), draw::weekday(&mut chance, weekday));
        let year = 1995 + i16::try_from(chance.below(60)).unwrap();
        judge_days(&format!("0 0 {day} {month} {weekday}"), jiff::civil::date(year, 1, 1), &chance);
    }
}

#[test]
fn the_seconds_of_random_expressions_are_those_of_the_second_implementation() {
    let mut chance = Chance::new("expressions with seconds");
    for _ in 0..1_000 {
        let text = draw::expression(&mut chance);
        let Some(cron) = read(&text, &chance) else { continue };
        let oracle = Oracle::of(&text);
        // From a random second on, an hour of a day that it names.
        let Some(date) = cron.next_date(jiff::civil::date(2026, 1, 1)) else { panic!("{text}; {chance}") };
        assert!(oracle.fires_on(date), "'{text}' on {date}; {chance}");
        let begin = date.to_datetime(jiff::civil::Time::midnight())
            + SignedDuration::from_secs(chance.below(82_800) as i64);
        let mut next = cron.next(begin, jiff::tz::Offset::UTC).unwrap();
        for second in (0..1_800).map(|second| begin + SignedDuration::from_secs(second)) {
            let ours = next == second;
            assert_eq!(ours, oracle.fires_at(second), "'{text}' at {second}; {chance}");
            if ours {
                next = cron.next(second + SignedDuration::from_secs(1), jiff::tz::Offset::UTC).unwrap();
            }
        }
    }
}
