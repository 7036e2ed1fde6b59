//! Random expressions, nested as they come: what the template becomes is compared with what .NET's functions of times
//! give, computed here on local times alone and written letter by letter.

use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;
use jiff::{Timestamp, ToSpan as _};

use super::*;
use crate::ids::{EntryName, FiringId, Nominal, PipelineName};
use crate::schedule::tests::of_form;
use crate::schedule::{Every, Form, Zone};
use crate::template::{Context, Parameters, Tried};

/// Half hours, clocks that change at midnight, none that change, Windows' names and IANA's.
const ZONES: [&str; 9] = [
    "W. Europe Standard Time",
    "India Standard Time",
    "Australia/Lord_Howe",
    "Egypt Standard Time",
    "America/Santiago",
    "Tokyo Standard Time",
    "Eastern Standard Time",
    "Europe/London",
    "UTC",
];

/// Formats that say nothing of an offset.
const FORMATS: [&str; 12] = [
    "yyyy-MM-dd",
    "yyyyMMddHHmmss",
    "yyyy-MM-ddTHH:mm:ss",
    "yyyy-MM-ddTHH:mm:ssZ",
    "yyyy-MM-01",
    "dddd, d MMMM yy h:m tt",
    "yyyy/M/d 'at' HH\\hmm",
    "s",
    "yyyy-MM-dd HH:mm",
    "ddd MMM dd hh:mm:ss.fff tt",
    "R",
    "u",
];

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn number(&mut self, most: i64) -> i64 {
        i64::try_from(self.below(usize::try_from(2 * most + 1).unwrap())).unwrap() - most
    }
}

/// What .NET calls a DateTime: what the clock shows, and whether it is known to be UTC.
#[derive(Debug, Clone, Copy)]
struct Net {
    shows: DateTime,
    utc: bool,
}

fn local(at: Timestamp, zone: &str) -> DateTime {
    Zone::parse(zone).unwrap().rules().to_datetime(at)
}

fn instant(shows: DateTime) -> Timestamp {
    jiff::tz::TimeZone::UTC.to_timestamp(shows).unwrap()
}

fn changed(value: Option<Net>, change: &dyn Fn(DateTime) -> DateTime) -> Option<Net> {
    value.map(|net| Net { shows: change(net.shows), ..net })
}

/// A time that is moved by what its own clock shows.
fn shifted(chance: &mut Chance, inner: &str, value: Option<Net>) -> (String, Option<Net>) {
    let number = chance.number(40);
    match chance.below(5) {
        0 => (
            format!("addDays({inner}, {number})"),
            changed(value, &|shows| shows.checked_add(number.days()).unwrap()),
        ),
        1 => (
            format!("AddHours( {inner},{number})"),
            changed(value, &|shows| shows.checked_add(number.hours()).unwrap()),
        ),
        2 => {
            let shown = format!("addMinutes({inner}, mul({number}, 7))");
            (shown, changed(value, &|shows| shows.checked_add((number * 7).minutes()).unwrap()))
        }
        3 => {
            let (name, sign) = [("addToTime", 1), ("subtractFromTime", -1)][chance.below(2)];
            let unit = chance.one_of(&["Second", "Minute", "Hour", "Day", "Week", "Month", "Year"]);
            let number = number.abs();
            let by = sign * number;
            let span = match unit {
                "Second" => by.seconds(),
                "Minute" => by.minutes(),
                "Hour" => by.hours(),
                "Day" => by.days(),
                "Week" => by.weeks(),
                "Month" => by.months(),
                _ => by.years(),
            };
            (
                format!("{name}({inner}, {number}, '{unit}')"),
                changed(value, &|shows| shows.checked_add(span).unwrap()),
            )
        }
        _ => {
            let unit = chance.one_of(&["Day", "Hour", "Month"]);
            let start = |shows: DateTime| match unit {
                "Day" => shows.date().at(0, 0, 0, 0),
                "Hour" => shows.date().at(shows.hour(), 0, 0, 0),
                _ => shows.date().first_of_month().at(0, 0, 0, 0),
            };
            (format!("startOf{unit}({inner})"), changed(value, &start))
        }
    }
}

/// A time nested in functions: the expression, and its value, if .NET gives one.
fn nested(chance: &mut Chance, depth: usize, at: Timestamp) -> (String, Option<Net>) {
    if depth == 0 {
        return ("trigger().scheduledTime".to_owned(), Some(Net { shows: local(at, "UTC"), utc: true }));
    }
    let (inner, value) = nested(chance, depth - 1, at);
    let zone = chance.one_of(&ZONES);
    match chance.below(9) {
        0..=4 => shifted(chance, &inner, value),
        5 => {
            let of_zone = value.map(|net| Net { shows: local(instant(net.shows), zone), utc: false });
            match chance.below(2) {
                0 => (format!("convertFromUtc({inner}, '{zone}')"), of_zone),
                _ => (format!("convertTimeZone({inner}, 'UTC', '{zone}')"), of_zone),
            }
        }
        6 => {
            let (format, form) = [
                ("yyyy-MM-dd", "d"),
                ("yyyy-MM-01", "m"),
                ("yyyy-MM-ddTHH:mm:ssZ", "z"),
                ("yyyy-MM-dd HH:mm", "t"),
            ][chance.below(4)];
            let read = value.map(|net| match form {
                "d" => Net { shows: net.shows.date().at(0, 0, 0, 0), utc: false },
                "m" => Net { shows: net.shows.date().first_of_month().at(0, 0, 0, 0), utc: false },
                "z" => Net { utc: true, ..net },
                _ => Net { shows: net.shows.with().second(0).build().unwrap(), utc: false },
            });
            (format!("formatDateTime({inner}, '{format}')"), read)
        }
        7 => {
            let monday = changed(value, &|shows| {
                let days = i64::from(shows.weekday().to_sunday_zero_offset());
                shows.checked_add((1 - days).days()).unwrap()
            });
            (format!("addDays({inner}, sub(1, dayOfWeek({inner})))"), monday)
        }
        _ => {
            // A time that is UTC already, or that the clock does not show once, is none that .NET's pages speak of.
            let utc = value.filter(|net| !net.utc || zone == "UTC").and_then(|net| {
                let rules = Zone::parse(zone).unwrap();
                match rules.rules().to_ambiguous_timestamp(net.shows).offset() {
                    AmbiguousOffset::Unambiguous { offset } => {
                        Some(Net { shows: local(offset.to_timestamp(net.shows).unwrap(), "UTC"), utc: true })
                    }
                    _ => None,
                }
            });
            (format!("convertToUtc({inner}, '{zone}')"), utc)
        }
    }
}

/// A time in a format of .NET.
fn written(shows: DateTime, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let format = match format {
        "s" => "yyyy-MM-ddTHH:mm:ss",
        "u" => "yyyy-MM-dd HH:mm:ssZ",
        "R" => "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
        other => other,
    };
    let month = MONTHS[usize::try_from(shows.month()).unwrap() - 1];
    let day = DAYS[usize::try_from(shows.weekday().to_sunday_zero_offset()).unwrap()];
    let twelve = (shows.hour() + 11) % 12 + 1;
    let mut text = String::new();
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        let count = rest.chars().take_while(|other| *other == letter).count();
        let mut taken = count;
        let number = |value: i8| if count == 1 { value.to_string() } else { format!("{value:02}") };
        match letter {
            'y' if count == 2 => text.push_str(&format!("{:02}", shows.year() % 100)),
            'y' => text.push_str(&format!("{:04}", shows.year())),
            'M' if count == 4 => text.push_str(month),
            'M' if count == 3 => text.push_str(&month[..3]),
            'M' => text.push_str(&number(shows.month())),
            'd' if count == 4 => text.push_str(day),
            'd' if count == 3 => text.push_str(&day[..3]),
            'd' => text.push_str(&number(shows.day())),
            'H' => text.push_str(&number(shows.hour())),
            'h' => text.push_str(&number(twelve)),
            'm' => text.push_str(&number(shows.minute())),
            's' => text.push_str(&number(shows.second())),
            't' => text.push_str(if shows.hour() < 12 { "AM" } else { "PM" }),
            'f' => text.push_str(&"0".repeat(count)),
            '\\' => {
                text.push_str(&rest[1..2]);
                taken = 2;
            }
            '\'' => {
                let end = rest[1..].find('\'').unwrap();
                text.push_str(&rest[1..][..end]);
                taken = end + 2;
            }
            other => text.push_str(&other.to_string().repeat(count)),
        }
        rest = &rest[taken..];
    }
    text
}

/// What a template becomes in the firing of an instant.
pub(super) fn rendered(template: &Value, at: Timestamp) -> Result<Value, String> {
    let every = Every::new(std::time::Duration::from_secs(1), std::time::Duration::ZERO, None).unwrap();
    let zone = Zone::parse("Asia/Tokyo").unwrap();
    let calendar = of_form(Form::Every(every), zone);
    let context = Context {
        entry: &EntryName::new("e").unwrap(),
        pipeline: &PipelineName::new("P").unwrap(),
        firing_id: FiringId::from_random([7; 16]),
        scheduled_time: Nominal::at_or_before(at),
        due_time: at,
        calendar: &calendar,
    };
    let values = json!({"p": template}).as_object().unwrap().clone();
    let parameters = Parameters::new(values, &mut Tried::default()).map_err(|error| error.to_string())?;
    let body = parameters.render(&context).map_err(|error| error.to_string())?;
    Ok(serde_json::from_str::<Value>(&body).unwrap()["p"].clone())
}

#[test]
fn nested_functions_of_times_write_what_dotnet_writes_or_are_refused_by_name() {
    let seed = match std::env::var("ADF_CRON_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    println!("ADF_CRON_TEST_SEED={seed}");
    let mut chance = Chance(seed);
    let (mut equal, mut refused) = (0, 0);
    for _ in 0..6_000 {
        // Fifteen minutes apart, so that changes of the clock are hit.
        let quarter = 900 * i64::try_from(chance.below(35_040 * 15)).unwrap();
        let at = Timestamp::from_second(1_577_836_800 + quarter).unwrap();
        let depth = chance.below(5);
        let (inner, value) = nested(&mut chance, depth, at);
        let format = chance.one_of(&FORMATS);
        let expression = format!("formatDateTime({inner}, '{}')", format.replace('\'', "''"));
        match imported(json!(format!("@{expression}"))) {
            Ok(template) => {
                let Some(net) = value else {
                    // .NET gives nothing here in some firings only: then what is rendered is not compared.
                    assert!(expression.contains("convertToUtc"), "{expression} at {at}");
                    continue;
                };
                let wanted = written(net.shows, format);
                let rendered = rendered(&template, at);
                assert_eq!(rendered, Ok(json!(wanted)), "{expression} at {at}: {template}");
                equal += 1;
            }
            Err(why) => {
                assert!(
                    expression.contains("convertToUtc") && why.contains("convertToUtc()"),
                    "{expression}: {why}"
                );
                refused += 1;
            }
        }
    }
    assert!(equal > 4_000 && refused < 1_500, "{equal} were equal, {refused} refused");
}
