//! The environment of templates: their bound on steps, and the filters for times. A time goes in and comes
//! out as RFC 3339 text; every filter works in the entry's zone unless another is named.

use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, ZonedDateTime};
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use super::watch;
use super::weight::Scale;
use crate::schedule::Zone;

/// The most steps that one template may take.
pub(super) const FUEL: u64 = 20_000;
/// How deep loops may call themselves.
const RECURSION: usize = 50;
/// The most numbers of a range.
const LONGEST_RANGE: usize = 10_000;
/// The longest format of a time, in bytes.
const LONGEST_FORMAT: usize = 200;
/// The steps that a filter for times takes: it reads a time and looks a zone up.
const TIME_STEPS: u64 = 4;
/// The widest indent of JSON, in spaces.
const WIDEST: usize = 16;

/// What all templates are read and rendered with.
pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(RECURSION);
    environment.set_formatter(|output, state, value| {
        let values = Scale::weigh(value).map_err(invalid)?;
        state.consume_fuel(u64::try_from(values).unwrap_or(u64::MAX))?;
        minijinja::escape_formatter(output, state, value)
    });
    // It writes out all that there is, however large.
    environment.remove_global("debug");
    watch::add_to(&mut environment);
    environment.add_filter("tojson", tojson);
    environment.add_function("range", range);
    environment.add_filter("date", date);
    environment.add_filter("zone", zone);
    environment.add_filter("shift", shift);
    environment.add_filter("start_of", start_of);
    environment.add_filter("end_of", end_of);
    environment
});

/// RFC 3339 with the zone's offset.
pub(super) fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}

fn out_of_range(error: jiff::Error) -> Error {
    invalid(error.to_string())
}

fn instant(text: &str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| invalid(format!("'{text}' is not an RFC 3339 time")))
}

/// The named zone, else the entry's.
fn zone_of(state: &State<'_, '_>, named: Option<&str>) -> Result<TimeZone, Error> {
    let entrys = state.lookup("timezone");
    let name = named.or_else(|| entrys.as_ref().and_then(Value::as_str)).unwrap_or("UTC");
    Zone::parse(name).map(|zone| zone.rules().clone()).map_err(|error| invalid(error.to_string()))
}

fn zoned(state: &State<'_, '_>, time: &str, zone: Option<&str>) -> Result<ZonedDateTime, Error> {
    state.consume_fuel(TIME_STEPS)?;
    Ok(instant(time)?.to_zoned_datetime(zone_of(state, zone)?))
}

/// `range(9)`: what a loop within the bound on steps can go through.
fn range(lower: isize, upper: Option<isize>, step: Option<isize>) -> Result<Value, Error> {
    let all = minijinja::functions::range(lower, upper, step)?;
    match all.len() {
        Some(length) if length > LONGEST_RANGE => {
            Err(invalid(format!("a range may hold at most {LONGEST_RANGE} numbers")))
        }
        _ => Ok(all),
    }
}

/// `value | tojson`, of a value and an indent that are not too large: minijinja's own writes it all before it counts.
fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    indent: Option<Value>,
    named: Kwargs,
) -> Result<Value, Error> {
    let indent = match indent {
        None => named.get::<Option<Value>>("indent")?,
        given => given,
    };
    named.assert_all_used()?;
    if indent.as_ref().and_then(Value::as_usize).is_some_and(|width| width > WIDEST) {
        return Err(invalid(format!("an indent may be at most {WIDEST}")));
    }
    let values = Scale::weigh(value).map_err(invalid)?;
    state.consume_fuel(u64::try_from(values).unwrap_or(u64::MAX))?;
    minijinja::filters::tojson(value, indent, std::iter::empty::<(String, Value)>().collect())
}

/// `time | date('%Y-%m-%d')`: strftime, in the entry's zone, or in the zone given as second argument.
fn date(state: &State<'_, '_>, time: &str, format: &str, zone: Option<&str>) -> Result<String, Error> {
    if format.len() > LONGEST_FORMAT {
        return Err(invalid(format!("a format may be at most {LONGEST_FORMAT} bytes long")));
    }
    jiff::fmt::strtime::format(format, &zoned(state, time, zone)?).map_err(out_of_range)
}

/// `time | zone('Europe/Berlin')`: RFC 3339 with that zone's offset.
fn zone(state: &State<'_, '_>, time: &str, name: &str) -> Result<String, Error> {
    Ok(rfc3339(instant(time)?, &zone_of(state, Some(name))?))
}

/// `time | shift(days=-1)`: years, quarters, months, weeks, days, hours, minutes and seconds. From days up by the
/// calendar of the entry's zone (or of `zone`): the local time of day stays, and a day that the month does not
/// have becomes its last. From hours down in real time. Months come first, then days, then the rest.
fn shift(state: &State<'_, '_>, time: &str, by: Kwargs) -> Result<String, Error> {
    // A span has one sign for all of its units, so those that are kept apart here may have their own.
    let sum = |units: &[(&'static str, i64)]| {
        units.iter().try_fold(0_i64, |sum, (name, worth)| {
            let count = by.get::<Option<i64>>(name)?.unwrap_or_default();
            let total = count.checked_mul(*worth).and_then(|units| sum.checked_add(units));
            total.ok_or_else(|| invalid(format!("so many {name} lead out of the calendar")))
        })
    };
    let months = sum(&[("years", 12), ("quarters", 3), ("months", 1)])?;
    let days = sum(&[("weeks", 7), ("days", 1)])?;
    let seconds = sum(&[("hours", 3_600), ("minutes", 60), ("seconds", 1)])?;
    let zone = by.get::<Option<&str>>("zone")?;
    by.assert_all_used()?;
    let zoned = zoned(state, time, zone)?;
    let shifted = jiff::Span::new()
        .try_months(months)
        .and_then(|span| zoned.checked_add(span))
        .and_then(|zoned| zoned.checked_add(jiff::Span::new().try_days(days)?))
        .and_then(|zoned| zoned.checked_add(SignedDuration::from_secs(seconds)))
        .map_err(out_of_range)?;
    Ok(shifted.timestamp().to_string())
}

/// `time | start_of('month')`: the first second of the hour, day, week (from Monday on, as in ISO 8601), month,
/// quarter or year that the time lies in, by the calendar of the entry's zone, or of the zone given as second
/// argument.
fn start_of(state: &State<'_, '_>, time: &str, unit: &str, zone: Option<&str>) -> Result<String, Error> {
    let (start, _) = around(&zoned(state, time, zone)?, unit)?;
    Ok(start.to_string())
}

/// `time | end_of('month')`: the last second of the same stretch; what follows begins a second later.
fn end_of(state: &State<'_, '_>, time: &str, unit: &str, zone: Option<&str>) -> Result<String, Error> {
    let (_, next) = around(&zoned(state, time, zone)?, unit)?;
    let end = next.checked_sub(SignedDuration::from_secs(1)).map_err(out_of_range)?;
    Ok(end.to_string())
}

/// The start of the stretch that a time lies in, and that of the next one.
fn around(time: &ZonedDateTime, unit: &str) -> Result<(Timestamp, Timestamp), Error> {
    let date = time.date();
    let (first, length) = match unit {
        "hour" => return hour_around(time),
        "day" => (date, 1.day()),
        "week" => {
            let days = i64::from(date.weekday().to_monday_zero_offset());
            (date.checked_sub(days.days()).map_err(out_of_range)?, 1.week())
        }
        "month" => (date.first_of_month(), 1.month()),
        "quarter" => {
            let months = i64::from((date.month() - 1) % 3);
            (date.first_of_month().checked_sub(months.months()).map_err(out_of_range)?, 3.months())
        }
        "year" => (date.first_of_year(), 1.year()),
        _ => {
            let message = format!("'{unit}' is no unit; use hour, day, week, month, quarter or year");
            return Err(invalid(message));
        }
    };
    let next = first.checked_add(length).map_err(out_of_range)?;
    Ok((begin(first, time.time_zone())?, begin(next, time.time_zone())?))
}

/// The first instant of a local date, whether midnight is there, comes twice or is skipped.
fn begin(date: Date, zone: &TimeZone) -> Result<Timestamp, Error> {
    let midnight = date.to_zoned_datetime(zone.clone()).and_then(|midnight| midnight.start_of_day());
    Ok(midnight.map_err(out_of_range)?.timestamp())
}

/// An hour is 3,600 seconds of real time, counted by the offset that holds at the time: in a repeated hour each
/// of the two is one of its own.
fn hour_around(time: &ZonedDateTime) -> Result<(Timestamp, Timestamp), Error> {
    const HOUR: i64 = 3_600;
    let at = time.timestamp().as_second();
    let past = (at + i64::from(time.offset().seconds())).rem_euclid(HOUR);
    let second = |second: i64| Timestamp::from_second(second).map_err(out_of_range);
    Ok((second(at - past)?, second(at - past + HOUR)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(time: &str, zone: &str, unit: &str) -> (String, String) {
        let zone = Zone::parse(zone).unwrap();
        let time: Timestamp = time.parse().unwrap();
        let (start, next) = around(&time.to_zoned_datetime(zone.rules().clone()), unit).unwrap();
        (rfc3339(start, zone.rules()), rfc3339(next, zone.rules()))
    }

    #[test]
    fn a_stretch_holds_its_time_and_meets_the_next_one_in_every_zone_around_each_of_its_changes() {
        let units = ["hour", "day", "week", "month", "quarter", "year"];
        for name in
            ["Europe/Berlin", "Africa/Cairo", "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe"]
        {
            let zone = Zone::parse(name).unwrap();
            let begin: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
            for change in zone.rules().following(begin).take(8).map(|change| change.timestamp()) {
                for minutes in -180..180 {
                    let at = change + SignedDuration::from_mins(minutes);
                    for unit in units {
                        let (start, next) =
                            around(&at.to_zoned_datetime(zone.rules().clone()), unit).unwrap();
                        assert!(start <= at && at < next, "{name} {at} {unit}: {start} to {next}");
                        let again = around(&next.to_zoned_datetime(zone.rules().clone()), unit).unwrap().0;
                        let shifts_by_half = name == "Australia/Lord_Howe" && unit == "hour";
                        assert!(again == next || shifts_by_half, "{name} {at} {unit}: {next} begins {again}");
                    }
                }
            }
        }
    }

    #[test]
    fn days_begin_where_the_clock_says_so() {
        let day = |time: &str, zone: &str| stretch(time, zone, "day");
        // Cairo skips midnight; Apia skipped a whole day.
        let cairo = ("2026-04-24T01:00:00+03:00".to_owned(), "2026-04-25T00:00:00+03:00".to_owned());
        assert_eq!(day("2026-04-24T09:00:00Z", "Africa/Cairo"), cairo);
        let apia = ("2011-12-29T00:00:00-10:00".to_owned(), "2011-12-31T00:00:00+14:00".to_owned());
        assert_eq!(day("2011-12-29T20:00:00Z", "Pacific/Apia"), apia);
    }
}
