//! Parameters with templates: YAML values in, the JSON body of createRun out.
//!
//! A text that is exactly one `{{ … }}` keeps the type of the expression; any other text with a template
//! becomes text; everything else keeps its type. Templates are minijinja's, without includes, with a
//! bound on steps and on size, and an unknown name is an error.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, State, UndefinedBehavior, Value};
use serde_json::{Map, Number, Value as Json};

use crate::ids::{EntryName, FiringId, Nominal, PipelineName};
use crate::schedule::{Calendar, Zone};

/// The most steps that one template may take.
const FUEL: u64 = 20_000;
/// The longest text that one template may become, in bytes.
const MOST: usize = 64 * 1024;

/// The names that a template may use; `timezone` is the entry's.
const NAMES: [&str; 11] = [
    "scheduled_time",
    "local_time",
    "due_time",
    "previous_time",
    "next_time",
    "window_start",
    "window_end",
    "firing_id",
    "entry",
    "pipeline",
    "timezone",
];

/// A parameter that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {path}: {message}")]
pub struct TemplateError {
    /// Where in the parameters: `name`, `name.key` or `name[0]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// What an entry passes to its pipeline.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    values: Map<String, Json>,
    /// Names that are values to the letter, never templates.
    literal: Vec<String>,
}

/// What templates may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The entry.
    pub entry: &'a EntryName,
    /// The pipeline.
    pub pipeline: &'a PipelineName,
    /// The firing.
    pub firing_id: FiringId,
    /// The nominal time.
    pub scheduled_time: Nominal,
    /// Nominal time plus jitter.
    pub due_time: Timestamp,
    /// The calendar, for the neighbours of the nominal time.
    pub calendar: &'a Calendar,
}

impl Context<'_> {
    /// The values that `text` may ask for. The neighbours cost a search each, so they are only looked
    /// for when they are named.
    fn values(&self, text: &str) -> BTreeMap<&'static str, Value> {
        let time = |nominal: Option<Nominal>| nominal.map_or(Value::from(()), |n| Value::from(n.to_string()));
        let zone = self.calendar.zone();
        let mut values = BTreeMap::from([
            ("scheduled_time", Value::from(self.scheduled_time.to_string())),
            ("local_time", Value::from(rfc3339(self.scheduled_time.timestamp(), zone.rules()))),
            ("due_time", Value::from(self.due_time.to_string())),
            ("window_end", Value::from(self.scheduled_time.to_string())),
            ("firing_id", Value::from(self.firing_id.to_string())),
            ("entry", Value::from(self.entry.as_str())),
            ("pipeline", Value::from(self.pipeline.as_str())),
            ("timezone", Value::from(zone.name())),
        ]);
        if text.contains("previous_time") {
            values.insert("previous_time", time(self.calendar.previous_before(self.scheduled_time)));
        }
        if text.contains("next_time") {
            values.insert("next_time", time(self.calendar.next_after(self.scheduled_time)));
        }
        if text.contains("window_start") {
            values.insert("window_start", time(self.calendar.window_start(self.scheduled_time)));
        }
        values
    }
}

impl Parameters {
    /// Takes the parameters of an entry, and finds templates that cannot be read.
    ///
    /// # Errors
    /// [`TemplateError`] for the first template with a wrong syntax or an unknown name.
    pub fn new(values: Map<String, Json>) -> Result<Self, TemplateError> {
        let parameters = Self { values, literal: Vec::new() };
        for (name, value) in &parameters.values {
            walk(value, name, &mut |text, path| {
                compile(text).map(|()| Json::Null).map_err(|message| TemplateError { path, message })
            })?;
        }
        Ok(parameters)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether any of them holds a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        fn holds(value: &Json) -> bool {
            match value {
                Json::String(text) => is_template(text),
                Json::Array(items) => items.iter().any(holds),
                Json::Object(fields) => fields.values().any(holds),
                _ => false,
            }
        }
        self.values.values().any(holds)
    }

    /// The same with other values joined to them or in their place; those are values to the letter.
    #[must_use]
    pub fn overlay(&self, extra: Map<String, Json>) -> Self {
        let mut parameters = self.clone();
        parameters.literal.extend(extra.keys().cloned());
        parameters.values.extend(extra);
        parameters
    }

    /// The JSON body of createRun: a flat object.
    ///
    /// # Errors
    /// [`TemplateError`] for the first template that cannot be rendered.
    pub fn render(&self, context: &Context<'_>) -> Result<String, TemplateError> {
        let mut rendered = Map::new();
        for (name, value) in &self.values {
            let value = if self.literal.contains(name) {
                value.clone()
            } else {
                walk(value, name, &mut |text, path| {
                    expand(text, context).map_err(|message| TemplateError { path, message })
                })?
            };
            rendered.insert(name.clone(), value);
        }
        Ok(Json::Object(rendered).to_string())
    }
}

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Rebuilds a value with every template in it replaced.
fn walk(
    value: &Json,
    path: &str,
    replace: &mut impl FnMut(&str, String) -> Result<Json, TemplateError>,
) -> Result<Json, TemplateError> {
    Ok(match value {
        Json::String(text) if is_template(text) => replace(text, path.to_owned())?,
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| walk(item, &format!("{path}[{index}]"), replace))
            .collect::<Result<_, _>>()?,
        Json::Object(fields) => Json::Object(
            fields
                .iter()
                .map(|(key, field)| Ok((key.clone(), walk(field, &format!("{path}.{key}"), replace)?)))
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

/// The expression of a text that is exactly one `{{ … }}`.
fn lone_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

fn compile(text: &str) -> Result<(), String> {
    let names = match lone_expression(text) {
        Some(expression) => ENVIRONMENT.compile_expression(expression).map(|e| e.undeclared_variables(false)),
        None => ENVIRONMENT.template_from_str(text).map(|t| t.undeclared_variables(false)),
    }
    .map_err(in_words)?;
    // minijinja counts its own functions, such as `range`, as undeclared.
    let known = |name: &str| NAMES.contains(&name) || ENVIRONMENT.globals().any(|(global, _)| global == name);
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(unknown) => Err(format!("'{unknown}' is not known here; known are {}", NAMES.join(", "))),
    }
}

fn expand(text: &str, context: &Context<'_>) -> Result<Json, String> {
    let values = context.values(text);
    let value = match lone_expression(text) {
        Some(expression) => {
            let value = ENVIRONMENT
                .compile_expression(expression)
                .and_then(|expression| expression.eval(values))
                .map_err(in_words)?;
            if value.is_undefined() {
                return Err(format!("'{}' has no value", expression.trim()));
            }
            json(&value)?
        }
        None => Json::String(ENVIRONMENT.render_str(text, values).map_err(in_words)?),
    };
    match &value {
        Json::String(text) if text.len() > MOST => Err(format!("it becomes longer than {MOST} bytes")),
        _ => Ok(value),
    }
}

/// What an expression yields, as JSON. JSON has no infinity, no NaN and no undefined value, and what stands
/// for them there would be null: a value that nobody meant.
fn json(value: &Value) -> Result<Json, String> {
    match value.kind() {
        ValueKind::Undefined => Err("something in it has no value".to_owned()),
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone())
            .ok()
            .and_then(Number::from_f64)
            .map(Json::Number)
            .ok_or_else(|| format!("it becomes {value}, which is no number that JSON has")),
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()
            .map_err(in_words)?
            .map(|item| json(&item))
            .collect::<Result<_, _>>()
            .map(Json::Array),
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter().map_err(in_words)? {
                let field = json(&value.get_item(&key).map_err(in_words)?)?;
                fields.insert(key.to_string(), field);
            }
            Ok(Json::Object(fields))
        }
        _ => serde_json::to_value(value).map_err(|error| error.to_string()),
    }
}

fn in_words(error: minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("date", date);
    environment.add_filter("zone", zone);
    environment.add_filter("shift", shift);
    environment
});

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, detail)
}

fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
}

fn instant(text: &str) -> Result<Timestamp, minijinja::Error> {
    text.parse().map_err(|_| invalid(format!("'{text}' is not an RFC 3339 time")))
}

/// The named zone, else the entry's.
fn zone_of(state: &State<'_, '_>, named: Option<&str>) -> Result<TimeZone, minijinja::Error> {
    let entrys = state.lookup("timezone");
    let name = named.or_else(|| entrys.as_ref().and_then(Value::as_str)).unwrap_or("UTC");
    Zone::parse(name).map(|zone| zone.rules().clone()).map_err(|error| invalid(error.to_string()))
}

/// `time | date('%Y-%m-%d')`: strftime, in the entry's zone, or in the zone given as second argument.
fn date(
    state: &State<'_, '_>,
    time: &str,
    format: &str,
    zone: Option<&str>,
) -> Result<String, minijinja::Error> {
    let zoned = instant(time)?.to_zoned_datetime(zone_of(state, zone)?);
    jiff::fmt::strtime::format(format, &zoned).map_err(|error| invalid(error.to_string()))
}

/// `time | zone('Europe/Berlin')`: RFC 3339 with that zone's offset.
fn zone(state: &State<'_, '_>, time: &str, name: &str) -> Result<String, minijinja::Error> {
    Ok(rfc3339(instant(time)?, &zone_of(state, Some(name))?))
}

/// `time | shift(days=-1)`: years, months, weeks, days, hours, minutes and seconds, by the calendar of
/// the entry's zone.
fn shift(state: &State<'_, '_>, time: &str, by: Kwargs) -> Result<String, minijinja::Error> {
    let unit = |name: &'static str| by.get::<Option<i64>>(name).map(Option::unwrap_or_default);
    let span = jiff::Span::new()
        .try_years(unit("years")?)
        .and_then(|span| span.try_months(unit("months").unwrap_or_default()))
        .and_then(|span| span.try_weeks(unit("weeks").unwrap_or_default()))
        .and_then(|span| span.try_days(unit("days").unwrap_or_default()))
        .and_then(|span| span.try_hours(unit("hours").unwrap_or_default()))
        .and_then(|span| span.try_minutes(unit("minutes").unwrap_or_default()))
        .and_then(|span| span.try_seconds(unit("seconds").unwrap_or_default()))
        .map_err(|error| invalid(error.to_string()))?;
    by.assert_all_used()?;
    let zoned = instant(time)?.to_zoned_datetime(zone_of(state, None)?);
    let shifted = zoned.checked_add(span).map_err(|error| invalid(error.to_string()))?;
    Ok(shifted.timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{CalendarSpec, Cron, DstGap, DstOverlap, Form, Rule};
    use serde_json::json;

    fn render(values: Json) -> Result<Json, TemplateError> {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let form = Form::Cron(Cron::parse("30 0 * * *").unwrap());
        let calendar = Calendar::new(CalendarSpec {
            rules: vec![Rule { form, zone: zone.clone(), start: None, end: None }],
            zone,
            start: None,
            end: None,
            dst_gap: DstGap::RunAfter,
            dst_overlap: DstOverlap::First,
            jitter: std::time::Duration::ZERO,
        });
        let context = Context {
            entry: &EntryName::new("nightly").unwrap(),
            pipeline: &PipelineName::new("Copy Sales").unwrap(),
            firing_id: FiringId::from_random([7; 16]),
            scheduled_time: Nominal::at_or_before("2026-11-22T23:30:00Z".parse().unwrap()),
            due_time: "2026-11-22T23:30:05Z".parse().unwrap(),
            calendar: &calendar,
        };
        let Json::Object(values) = values else { panic!("an object") };
        let text = Parameters::new(values)?.render(&context)?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn values_keep_their_types() {
        let plain = json!({"n": 42, "f": 1.5, "b": true, "s": "0042", "nothing": null,
                           "list": [1, "two", {"three": 3}], "big": 9_007_199_254_740_993_i64});
        assert_eq!(render(plain.clone()).unwrap(), plain);
    }

    #[test]
    fn times_are_given_in_the_documented_forms() {
        let rendered = render(json!({
            "at": "{{ scheduled_time }}", "local": "{{ local_time }}", "due": "{{ due_time }}",
            "before": "{{ previous_time }}", "after": "{{ next_time }}",
            "from": "{{ window_start }}", "to": "{{ window_end }}",
            "who": "{{ entry }}/{{ pipeline }}",
        }))
        .unwrap();
        assert_eq!(
            rendered,
            json!({
                "at": "2026-11-22T23:30:00Z", "local": "2026-11-23T00:30:00+01:00", "due": "2026-11-22T23:30:05Z",
                "before": "2026-11-21T23:30:00Z", "after": "2026-11-23T23:30:00Z",
                "from": "2026-11-21T23:30:00Z", "to": "2026-11-22T23:30:00Z", "who": "nightly/Copy Sales",
            })
        );
    }

    #[test]
    fn filters_work_in_the_zone_of_the_entry() {
        let rendered = render(json!({
            "day": "{{ scheduled_time | date('%Y-%m-%d') }}",
            "utc_day": "{{ scheduled_time | date('%Y-%m-%d', 'UTC') }}",
            "there": "{{ scheduled_time | zone('America/New_York') }}",
            "yesterday": "{{ scheduled_time | shift(days=-1) | date('%d.%m.') }}",
            "number": "{{ scheduled_time | date('%Y') | int }}",
            "nested": [{"day": "on {{ local_time | date('%A') }}"}],
        }))
        .unwrap();
        assert_eq!(
            rendered,
            json!({
                "day": "2026-11-23", "utc_day": "2026-11-22", "there": "2026-11-22T18:30:00-05:00",
                "yesterday": "22.11.", "number": 2026, "nested": [{"day": "on Monday"}],
            })
        );
    }

    #[test]
    fn what_cannot_be_rendered_is_named_with_its_place() {
        let error = render(json!({"a": {"b": ["{{ sheduled_time }}"]}})).unwrap_err();
        assert_eq!(error.path, "a.b[0]");
        assert!(error.message.contains("'sheduled_time' is not known here"), "{error}");
        assert!(render(json!({"a": "{{ entry | nope }}"})).unwrap_err().message.contains("nope"));
        assert!(render(json!({"a": "{{ entry"})).unwrap_err().message.contains("syntax error"));
        assert!(
            render(json!({"a": "{{ entry | date('%Y') }}"})).unwrap_err().message.contains("not an RFC 3339")
        );
        let endless = "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}";
        assert_eq!(render(json!({"a": endless})).unwrap_err().message, "it takes too many steps");
    }

    #[test]
    fn a_number_that_json_does_not_have_is_never_sent_as_null() {
        let said = |template: &str| render(json!({"rate": template})).unwrap_err();
        for endless in
            ["{{ 1.0e308 * 10 }}", "{{ [1, [1.0e308 * 10]] }}", "{{ {'a': {'b': -1.0e308 * 10} } }}"]
        {
            assert_eq!(said(endless).path, "rate");
            assert!(
                said(endless).message.ends_with("inf, which is no number that JSON has"),
                "{}",
                said(endless)
            );
        }
        assert!(said("{{ 1.0e308 * 10 - 1.0e308 * 10 }}").message.contains("it becomes NaN"));
        assert!(said("{{ [1, {}.x] }}").message.contains("has no value"));
        let kept = json!({"n": "{{ 1.5 }}", "l": "{{ [1, 2.5, true, none, 'x'] }}", "m": "{{ {'a': {'b': [1]}, 1: 2} }}",
                          "big": "{{ 9007199254740993 }}", "range": "{{ range(3) }}", "up": "{{ ['a'] | map('upper') }}"});
        let wanted = json!({"n": 1.5, "l": [1, 2.5, true, null, "x"], "m": {"a": {"b": [1]}, "1": 2},
                            "big": 9_007_199_254_740_993_i64, "range": [0, 1, 2], "up": ["A"]});
        assert_eq!(render(kept).unwrap(), wanted);
    }

    #[test]
    fn values_of_a_manual_firing_are_never_templates() {
        let base = Parameters::new(Map::new()).unwrap();
        let extra = json!({"a": "{{ entry }}"}).as_object().unwrap().clone();
        assert!(base.overlay(extra).literal.contains(&"a".to_owned()));
    }
}
