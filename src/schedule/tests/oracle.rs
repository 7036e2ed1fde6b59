//! Cron's rules written a second time, from its manual page and with nothing shared: its own reading of an expression,
//! and its own judgement of every single minute and day. The calendar must agree.

use jiff::civil::{Date, DateTime};

use super::chance::ZONES;
use super::*;

/// A field as a person would look at it: the parts between the commas, with names as numbers.
struct Field(Vec<String>);

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Field {
    fn of(text: &str, names: &[&str], first: usize) -> Self {
        let number = |part: &str| {
            names.iter().enumerate().fold(part.to_ascii_uppercase(), |part, (index, name)| {
                part.replace(name, &(index + first).to_string())
            })
        };
        Self(text.split(',').map(number).collect())
    }

    fn is_star(&self) -> bool {
        self.0[0].starts_with('*')
    }

    /// Whether a plain part names a value: `5`, `1-5`, `*`, `*/5`, `10-30/5`.
    fn names(&self, value: i64, least: i64) -> bool {
        self.0.iter().any(|part| {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let Ok(step) = step.parse::<i64>() else { return false };
            let (low, high) = match (range, range.split_once('-')) {
                ("*", _) => (least, i64::MAX),
                (_, Some((low, high))) => (low.parse().unwrap(), high.parse().unwrap()),
                (one, None) => match one.parse() {
                    Ok(one) => (one, one),
                    Err(_) => return false,
                },
            };
            (low..=high).contains(&value) && (value - low) % step == 0
        })
    }
}

/// An expression, read by hand.
struct Oracle {
    minutes: Vec<bool>,
    hours: Vec<bool>,
    day: Field,
    month: Field,
    weekday: Field,
    wildcard: bool,
}

impl Oracle {
    fn of(text: &str) -> Self {
        let table = |text, end| {
            let field = Field::of(text, &[], 0);
            (0..end).map(|value| field.names(value, 0)).collect()
        };
        let fields: Vec<&str> = text.split(' ').collect();
        let [minute, hour, day, month, weekday] = fields[..] else { panic!("five fields: {text}") };
        Self {
            minutes: table(minute, 60),
            hours: table(hour, 24),
            day: Field::of(day, &[], 0),
            month: Field::of(month, &MONTHS, 1),
            weekday: Field::of(weekday, &WEEKDAYS, 0),
            wildcard: minute.starts_with('*') || hour.starts_with('*'),
        }
    }

    fn fires_at(&self, local: DateTime) -> bool {
        self.minutes[usize::from(local.minute().unsigned_abs())]
            && self.hours[usize::from(local.hour().unsigned_abs())]
            && self.fires_on(local.date())
    }

    fn fires_on(&self, date: Date) -> bool {
        let (by_day, by_weekday) = (self.is_day(date), self.is_weekday(date));
        let days = match (self.day.is_star(), self.weekday.is_star()) {
            (false, false) => by_day || by_weekday,
            _ => by_day && by_weekday,
        };
        days && self.month.names(date.month().into(), 1)
    }

    fn is_day(&self, date: Date) -> bool {
        let special = |part: &String| match part.as_str() {
            "L" => date.tomorrow().unwrap().month() != date.month(),
            "LW" => nearest(date.last_of_month()) == Some(date),
            part => part
                .strip_suffix('W')
                .and_then(|day| Date::new(date.year(), date.month(), day.parse().unwrap()).ok())
                .is_some_and(|day| nearest(day) == Some(date)),
        };
        self.day.names(date.day().into(), 1) || self.day.0.iter().any(special)
    }

    fn is_weekday(&self, date: Date) -> bool {
        let number = i64::from(date.weekday().to_sunday_zero_offset());
        let special = |part: &String| {
            if let Some(day) = part.strip_suffix('L') {
                return day.parse() == Ok(number)
                    && (date + jiff::SignedDuration::from_hours(168)).month() != date.month();
            }
            let Some((day, nth)) = part.split_once('#') else { return false };
            let earlier = std::iter::successors(Some(date), |date| date.yesterday().ok())
                .take_while(|other| other.month() == date.month())
                .filter(|other| other.weekday() == date.weekday());
            day.parse() == Ok(number) && nth.parse() == Ok(earlier.count())
        };
        let plain = self.weekday.names(number, 0)
            || (number == 0 && self.weekday.names(7, 0) && !self.weekday.0[0].starts_with('*'));
        plain || self.weekday.0.iter().any(special)
    }
}

/// The working day nearest to a day, in its month.
fn nearest(day: Date) -> Option<Date> {
    let works =
        |date: &Date| date.month() == day.month() && !matches!(date.weekday().to_sunday_zero_offset(), 0 | 6);
    [0, -1, 1, -2, 2].iter().map(|by| day + jiff::SignedDuration::from_hours(24 * by)).find(works)
}

/// A field of plain parts.
fn plain(chance: &mut Chance, low: usize, high: usize) -> String {
    let value = |chance: &mut Chance| low + chance.below(high + 1 - low);
    let range = |chance: &mut Chance| {
        let (a, b) = (value(chance), value(chance));
        format!("{}-{}", a.min(b), a.max(b))
    };
    match chance.below(20) {
        0..=3 | 12.. => value(chance).to_string(),
        4..=5 => format!("{},{}", value(chance), value(chance)),
        6 => format!("{},{},{}", value(chance), range(chance), value(chance)),
        7..=8 => range(chance),
        9 => format!("{}/{}", range(chance), 1 + chance.below(9)),
        10 => format!("*/{}", 1 + chance.below(9)),
        _ => "*".to_owned(),
    }
}

/// The day, month and weekday of an expression; most say something near a date.
fn days(chance: &mut Chance, near: Date) -> String {
    let day = 1 + chance.below(31);
    let day = match chance.below(10) {
        0 => format!("{},{day}", near.day()),
        1 => format!("{}-{}", near.day().saturating_sub(2).max(1), (near.day() + 2).min(31)),
        2 => "L".to_owned(),
        3 => "LW".to_owned(),
        4 => format!("{}W,{day}W", near.day()),
        5 => plain(chance, 1, 31),
        _ => "*".to_owned(),
    };
    let month = match chance.below(8) {
        0 => plain(chance, 1, 12),
        1 => format!("{},{}", chance.one_of(&MONTHS), MONTHS[usize::from(near.month().unsigned_abs()) - 1]),
        _ => "*".to_owned(),
    };
    let name = chance.one_of(&WEEKDAYS);
    let weekday = match chance.below(12) {
        0 => plain(chance, 0, 7),
        1 => format!("{name},{}", chance.below(7)),
        2 => "MON-FRI".to_owned(),
        3 => format!("{name}#{}", 1 + chance.below(5)),
        4 => format!("{}#1,{}#3", chance.below(7), chance.below(7)),
        5 => format!("{}L", chance.below(7)),
        6 => "6-7".to_owned(),
        _ => "*".to_owned(),
    };
    format!("{day} {month} {weekday}")
}

#[test]
fn a_second_implementation_of_crons_rules_agrees_on_twelve_thousand_random_cases_around_changes_of_the_clock()
{
    let mut chance = Chance::new("cron expressions");
    let (mut cases, mut fired) = (0, 0);
    let mut zones = std::collections::HashSet::new();
    while cases < 12_000 {
        let window = Window::draw(&mut chance);
        zones.insert(window.zone.clone());
        let near = Zone::parse(&window.zone).unwrap().rules().to_datetime(window.change).date();
        for _ in 0..40 {
            // Most changes come in the first hours of a day.
            let hours = if chance.below(3) == 0 { 23 } else { 3 };
            let (minutes, hours) = (plain(&mut chance, 0, 59), plain(&mut chance, 0, hours));
            let text = format!("{minutes} {hours} {}", days(&mut chance, near));
            let Ok(cron) = Cron::parse(&text, CronRules::CURRENT) else { continue };
            let oracle = Oracle::of(&text);
            assert_eq!(cron.follows_real_time(), oracle.wildcard, "{text}; {chance}");
            let policy = chance.policy();
            let expected = window.expected(policy, oracle.wildcard, |_, local| oracle.fires_at(local));
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

#[test]
fn the_days_of_a_random_expression_are_those_of_the_second_implementation() {
    let mut chance = Chance::new("days of cron expressions");
    let mut cases = 0;
    while cases < 1_500 {
        let year = 1995 + i16::try_from(chance.below(60)).unwrap();
        let first = jiff::civil::date(year, 1, 1);
        let near = first + jiff::SignedDuration::from_hours(24 * chance.below(365) as i64);
        let text = format!("0 0 {}", days(&mut chance, near));
        let Ok(cron) = Cron::parse(&text, CronRules::CURRENT) else { continue };
        let oracle = Oracle::of(&text);
        for date in std::iter::successors(Some(first), |date| date.tomorrow().ok()).take(366) {
            let noon = date.to_datetime(jiff::civil::time(0, 0, 0, 0));
            let ours = cron.next(noon, jiff::tz::Offset::UTC) == Some(noon);
            assert_eq!(ours, oracle.fires_on(date), "'{text}' on {date}; {chance}");
        }
        cases += 1;
    }
}
