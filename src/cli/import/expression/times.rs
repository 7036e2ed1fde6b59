//! Times within expressions. A time of Data Factory is an instant in UTC, or a local time that has lost its zone. The
//! latter is kept here as an instant whose clock in UTC shows it: then days are added to it, and it is written, as
//! .NET does with it, whatever the clocks of its zone did.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::super::format::{self, Offset};
use super::super::parse::beginning;
use super::{Term, fixed, logic, quoted};
use crate::schedule::Zone;

/// Writes the local time of a zone as though it were UTC.
const AS_UTC: &str = "%Y-%m-%dT%H:%M:%SZ";

/// A time, as an expression that yields an instant in RFC 3339 and the zone whose clock shows the time then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Time {
    code: String,
    zone: String,
    kind: Kind,
    /// It is a local midnight: the expression of the instant at which that day begins, and its zone.
    midnight: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As the trigger says it.
    Given,
    /// UTC, as functions of times yield it.
    Utc,
    /// A local time, as `convertFromUtc` yields it: written without an offset.
    Converted,
    /// A local time that other functions have made of one: how its offset is written is not documented.
    Local,
}

impl Time {
    pub(super) fn given(code: &str) -> Self {
        Self { kind: Kind::Given, ..Self::utc(code.to_owned()) }
    }

    fn utc(code: String) -> Self {
        Self { code, zone: "UTC".to_owned(), kind: Kind::Utc, midnight: None }
    }

    fn local(code: String) -> Self {
        Self { kind: Kind::Local, ..Self::utc(code) }
    }

    /// What a text says that is the same in every firing.
    fn of_text(text: &str) -> Option<Self> {
        let whole = |nanosecond: i32| nanosecond == 0;
        if let Ok(at) = text.parse::<Timestamp>() {
            let utc = text.ends_with(['Z', 'z']) && whole(at.subsec_nanosecond());
            return utc.then(|| Self::utc(quoted(&at.to_string())));
        }
        let local = civil(text)?;
        whole(local.subsec_nanosecond()).then(|| Self::local(quoted(&format!("{local}Z"))))
    }

    /// The same local time as an instant whose clock in UTC shows it.
    fn as_utc(&self) -> String {
        match self.zone.as_str() {
            "UTC" => self.code.clone(),
            _ => self.written(AS_UTC),
        }
    }

    fn is_utc(&self) -> bool {
        matches!(self.kind, Kind::Given | Kind::Utc)
    }

    fn written(&self, strftime: &str) -> String {
        format!("{} | date({}, {})", self.code, quoted(strftime), quoted(&self.zone))
    }

    /// In a format of .NET.
    fn format(&self, format: Option<&str>) -> Result<Term, String> {
        let offset = match self.kind {
            Kind::Given | Kind::Utc => Offset::Utc,
            Kind::Converted => Offset::None,
            Kind::Local => Offset::Unsaid,
        };
        let strftime = format::strftime(format.unwrap_or("o"), offset)?;
        Ok(Term::Text { code: self.written(&strftime), form: Some((self.clone(), strftime)) })
    }

    /// As text, where nothing is said of its format.
    pub(super) fn text(&self) -> Result<String, String> {
        match (self.kind, self.format(None)?) {
            (Kind::Given, _) => Ok(self.code.clone()),
            (_, Term::Text { code, .. }) => Ok(code),
            _ => Err("a time has no text here".to_owned()),
        }
    }

    /// One of two times of the same kind.
    pub(super) fn or(&self, other: &Self, one_of: impl Fn(&str, &str) -> String) -> Option<Self> {
        let same = self.kind == other.kind && self.zone == other.zone;
        same.then(|| Self { code: one_of(&self.code, &other.code), midnight: None, ..self.clone() })
    }

    /// What a filter makes of it in its own local time. `at_midnight` is the filter that leads from a midnight of a
    /// zone to another one.
    fn changed(&self, filter: &str, at_midnight: Option<&dyn Fn(&str) -> String>) -> Self {
        let code = format!("{} | {filter}", self.as_utc());
        if self.is_utc() {
            return Self::utc(code);
        }
        let begins = self.midnight.clone().zip(at_midnight);
        let midnight = begins.map(|((code, zone), of_zone)| (format!("{code} | {}", of_zone(&zone)), zone));
        Self { midnight, ..Self::local(code) }
    }

    fn start_of(&self, unit: &str) -> Self {
        let mut start = self.changed(&format!("start_of(\"{unit}\", \"UTC\")"), None);
        if unit != "hour" && self.kind == Kind::Converted {
            let code = format!("{} | start_of(\"{unit}\", {})", self.code, quoted(&self.zone));
            start.midnight = Some((code, self.zone.clone()));
        }
        start
    }

    /// What the clock of a zone shows then.
    fn in_zone(&self, zone: &Zone) -> Self {
        let kind = if zone.name() == "UTC" { Kind::Local } else { Kind::Converted };
        Self { code: self.as_utc(), zone: zone.name().to_owned(), kind, midnight: None }
    }

    /// The instant at which the clock of a zone shows it.
    fn to_utc(&self, name: &str, zone: &Zone) -> Result<Self, String> {
        if zone.name() == "UTC" {
            return Ok(Self::utc(self.as_utc()));
        }
        if self.is_utc() {
            return Err(format!("{name}() of a time that is UTC already has no equal here"));
        }
        let unchanging = zone.rules().following(Timestamp::UNIX_EPOCH).next().is_none();
        if unchanging {
            let ahead = zone.rules().to_offset(Timestamp::UNIX_EPOCH).seconds();
            return Ok(Self::utc(format!("{} | shift(seconds={})", self.as_utc(), -ahead)));
        }
        match &self.midnight {
            Some((code, of)) if of == zone.name() && midnights_are_single(zone.rules()) => {
                Ok(Self::utc(code.clone()))
            }
            _ => Err(format!(
                "{name}() of a local time of '{}', which has times that its clock skips or shows twice, has no equal here",
                zone.name()
            )),
        }
    }
}

/// A local time or date.
fn civil(text: &str) -> Option<DateTime> {
    // A zone in brackets is no part of .NET's forms.
    (!text.contains('[')).then(|| text.parse().ok()).flatten()
}

/// Whether the clock shows each midnight once, for as long as its changes are known, and a century from 1970 on.
fn midnights_are_single(zone: &TimeZone) -> bool {
    let century = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(24 * 36_525));
    let last = century.unwrap_or(Timestamp::MAX);
    let mut changes = zone.following(Timestamp::UNIX_EPOCH).map(|change| change.timestamp());
    changes.by_ref().take_while(|change| *change < last).all(|change| {
        let before = zone.to_offset(change.checked_sub(SignedDuration::from_secs(1)).unwrap_or(change));
        let days = [before, zone.to_offset(change)].map(|offset| offset.to_datetime(change).date());
        days.iter().flat_map(|day| [Some(*day), day.tomorrow().ok()]).flatten().all(|day| {
            let midnight = day.to_datetime(jiff::civil::Time::midnight());
            matches!(zone.to_ambiguous_timestamp(midnight).offset(), AmbiguousOffset::Unambiguous { .. })
        })
    })
}

/// The result of a function of times; `None` when it is none of them.
pub(super) fn call(name: &str, lower: &str, terms: &[Term]) -> Result<Option<Term>, String> {
    let wrong = || format!("{name}() with such arguments has no equal here");
    let text = |term: &Term| fixed(name, term).map(str::to_owned);
    let (known, most): (_, usize) = match lower {
        "formatdatetime" | "startofday" | "startofhour" | "startofmonth" => (1, 2),
        "adddays" | "addhours" | "addminutes" | "addseconds" | "convertfromutc" | "converttoutc" => (2, 3),
        "addtotime" | "subtractfromtime" | "converttimezone" => (3, 4),
        "dayofmonth" | "dayofweek" | "dayofyear" => (1, 1),
        _ => return Ok(None),
    };
    if !(known..=most).contains(&terms.len()) {
        return Err(wrong());
    }
    let (arguments, form) = terms.split_at(known);
    let form = form.first().map(text).transpose()?;
    let zone = |term: &Term| named_zone(fixed(name, term)?);
    let result = match (lower, arguments) {
        ("converttoutc", [Term::Literal(local), zone_name]) if civil(local).is_some() => {
            literal_to_utc(name, local, &zone(zone_name)?)?
        }
        (_, [time, rest @ ..]) => {
            let time = time_of(name, time)?;
            match (lower, rest) {
                ("formatdatetime", []) => time,
                ("startofday" | "startofhour" | "startofmonth", []) => {
                    time.start_of(lower.trim_start_matches("startof"))
                }
                ("adddays" | "addhours" | "addminutes" | "addseconds", [number]) => {
                    let unit = lower.trim_start_matches("add").trim_end_matches('s');
                    shifted(&time, unit, number, 1).ok_or_else(wrong)?
                }
                ("addtotime" | "subtractfromtime", [number, unit]) => {
                    let sign = if lower == "addtotime" { 1 } else { -1 };
                    shifted(&time, &text(unit)?.to_ascii_lowercase(), number, sign).ok_or_else(wrong)?
                }
                ("convertfromutc", [to]) => time.in_zone(&zone(to)?),
                ("converttoutc", [from]) => time.to_utc(name, &zone(from)?)?,
                ("converttimezone", [from, to]) => time.to_utc(name, &zone(from)?)?.in_zone(&zone(to)?),
                ("dayofmonth", []) => return number_of(&time, "%-d"),
                ("dayofweek", []) => return number_of(&time, "%w"),
                ("dayofyear", []) => return number_of(&time, "%-j"),
                _ => return Err(wrong()),
            }
        }
        _ => return Err(wrong()),
    };
    match form {
        None if lower != "formatdatetime" => Ok(Some(Term::Time(result))),
        form => result.format(form.as_deref()).map(Some),
    }
}

fn number_of(time: &Time, strftime: &str) -> Result<Option<Term>, String> {
    Ok(Some(Term::Number(format!("{} | int", time.written(strftime)))))
}

/// The time that a term is, or that its text names.
fn time_of(name: &str, term: &Term) -> Result<Time, String> {
    let found = match term {
        Term::Time(time) => Some(time.clone()),
        Term::Literal(text) => Time::of_text(text),
        Term::Text { form: Some((time, strftime)), .. } => {
            format::read_back(strftime).map(|(strftime, utc)| {
                let code = time.written(&strftime);
                if utc { Time::utc(code) } else { Time::local(code) }
            })
        }
        _ => None,
    };
    found.ok_or_else(|| format!("{name}() of something that is no time, or in no form of one that is read back here, has no equal here"))
}

fn literal_to_utc(name: &str, local: &str, zone: &Zone) -> Result<Time, String> {
    let none = || {
        format!(
            "{name}() of '{local}', which the clock of '{}' does not show once, has no equal here",
            zone.name()
        )
    };
    let local = civil(local).ok_or_else(none)?;
    match zone.rules().to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            let at = offset.to_timestamp(local).map_err(|_| none())?;
            Time::of_text(&at.to_string()).ok_or_else(none)
        }
        _ => Err(none()),
    }
}

/// A time so many units later. Up to weeks they are real time in UTC.
fn shifted(time: &Time, unit: &str, number: &Term, sign: i64) -> Option<Time> {
    let (shift, worth, days) = match unit {
        "second" => ("seconds", 1, None),
        "minute" => ("minutes", 1, None),
        "hour" => ("hours", 1, None),
        "day" => ("hours", 24, Some("days")),
        "week" => ("hours", 24 * 7, Some("weeks")),
        "month" => ("months", 1, None),
        "year" => ("years", 1, None),
        _ => return None,
    };
    let times = |worth: i64| match number {
        Term::Integer(number) => number.checked_mul(worth).map(|number| number.to_string()),
        _ if worth == 1 => logic::number(number),
        _ => Some(format!("({} * {worth})", logic::number(number)?)),
    };
    let (count, plain) = (times(sign * worth)?, times(sign)?);
    let by_calendar = if matches!(unit, "month" | "year") { ", zone=\"UTC\"" } else { "" };
    let at_midnight = |zone: &str| {
        let unit = days.unwrap_or(shift);
        format!("shift({unit}={plain}, zone={})", quoted(zone))
    };
    let keeps_midnight = days.is_some() || !by_calendar.is_empty();
    let at_midnight: Option<&dyn Fn(&str) -> String> = if keeps_midnight { Some(&at_midnight) } else { None };
    Some(time.changed(&format!("shift({shift}={count}{by_calendar})"), at_midnight))
}

/// A zone of this name; what is far longer than any is not compared with all of them.
///
/// # Errors
/// In words.
pub(in crate::cli::import) fn named_zone(name: &str) -> Result<Zone, String> {
    match name.len() > 100 {
        true => Err(format!("unknown time zone '{}'", beginning(name))),
        false => Zone::parse(name).map_err(|error| error.to_string()),
    }
}
