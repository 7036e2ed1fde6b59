//! Parameters with templates: YAML values in, the JSON body of createRun out.
//!
//! A text that is exactly one `{{ … }}` keeps the type of the expression; any other text with a template
//! becomes text; everything else keeps its type. Templates are minijinja's, without includes, with a
//! bound on steps and on size, and an unknown name is an error.

mod filters;
mod text;
mod tried;
mod watch;
mod weight;

use std::collections::BTreeMap;

use jiff::Timestamp;
use minijinja::Value;
use serde_json::{Map, Value as Json};

use crate::ids::{EntryName, FiringId, Nominal, PipelineName};
use crate::schedule::Calendar;

use filters::rfc3339;
use text::{Text, is_template};
pub use tried::Tried;

/// The names that have no value in the first or in the last firing of a calendar.
const NEIGHBOURS: [&str; 3] = ["previous_time", "next_time", "window_start"];

/// A parameter that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {path}: {message}")]
pub struct TemplateError {
    /// The parameter.
    pub name: String,
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
        for name in NEIGHBOURS.into_iter().filter(|name| text.contains(name)) {
            let neighbour = match name {
                "previous_time" => self.calendar.previous_before(self.scheduled_time),
                "next_time" => self.calendar.next_after(self.scheduled_time),
                _ => self.calendar.window_start(self.scheduled_time),
            };
            values.insert(name, time(neighbour));
        }
        values
    }

    /// Whether a text can be rendered, for this firing or for one like it with neighbours on both sides: what
    /// fails in the first or the last firing only is no mistake of the schedule.
    fn try_out(&self, source: &str, text: &Text<'_>) -> Result<u64, String> {
        let mut values = self.values(source);
        let error = match text.render(&values) {
            Ok((_, steps)) => return Ok(steps),
            Err(error) => error,
        };
        let calendar = self.calendar;
        let alone = || {
            calendar.previous_before(self.scheduled_time).is_none()
                && calendar.next_after(self.scheduled_time).is_none()
        };
        if NEIGHBOURS.iter().all(|name| values.get(name).is_none_or(|value| !value.is_none())) || alone() {
            return Err(error);
        }
        for value in values.values_mut().filter(|value| value.is_none()) {
            *value = Value::from(self.scheduled_time.to_string());
        }
        text.render(&values).map(|(_, steps)| steps)
    }
}

impl Parameters {
    /// Takes the parameters of an entry, and finds templates that cannot be read. What is in `tried` has been
    /// read for another entry and is not read again.
    ///
    /// # Errors
    /// [`TemplateError`] for the first template with a wrong syntax or an unknown name.
    pub fn new(values: Map<String, Json>, tried: &mut Tried) -> Result<Self, TemplateError> {
        for (name, value) in &values {
            let read = each(value, &mut |text| {
                if !tried.is_read(text) {
                    Text::read(text)?.check_names()?;
                    tried.add_read(text);
                }
                Ok(())
            });
            read.map_err(|misfit| misfit.of(name))?;
        }
        Ok(Self { values, literal: Vec::new() })
    }

    /// Renders the templates for some firings, only to find the parameters for which that cannot be done, and
    /// the first nominal time for which it cannot. What is in `tried` has been rendered for another entry, of which
    /// the same holds, and is not rendered again.
    pub fn try_out<'a, Firings: Iterator<Item = Context<'a>>>(
        &self,
        calendar: &Calendar,
        tried: &mut Tried,
        firings: impl Fn() -> Firings,
    ) -> Vec<(Nominal, TemplateError)> {
        let mut errors = Vec::new();
        for (name, value) in &self.values {
            let mut failed = None;
            let rendered = each(value, &mut |source| {
                if tried.is_spent() || tried.holds(calendar, source) {
                    return Ok(());
                }
                let text = Text::read(source)?;
                let enough = if tried::only_names(source) { 1 } else { usize::MAX };
                for firing in firings().take(enough) {
                    failed = Some(firing.scheduled_time);
                    let steps = firing.try_out(source, &text);
                    // How many steps a text takes that fails is not known.
                    let spent = tried.spend(*steps.as_ref().unwrap_or(&filters::FUEL));
                    steps.and(spent)?;
                }
                tried.add(calendar, source);
                Ok(())
            });
            errors.extend(rendered.err().and_then(|misfit| Some((failed?, misfit.of(name)))));
        }
        errors
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether any of them asks for what the first or the last firing does not have.
    #[must_use]
    pub fn ask_for_neighbours(&self) -> bool {
        let asks = |text: &str| match NEIGHBOURS.iter().any(|name| text.contains(name)) {
            true => Err(String::new()),
            false => Ok(()),
        };
        self.values.values().any(|value| each(value, &mut |text| asks(text)).is_err())
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
                walk(value, &mut |text| Ok(Text::read(text)?.render(&context.values(text))?.0))
                    .map_err(|misfit| misfit.of(name))?
            };
            rendered.insert(name.clone(), value);
        }
        Ok(Json::Object(rendered).to_string())
    }
}

/// A template that is wrong, with its place within its parameter.
struct Misfit {
    place: String,
    message: String,
}

impl Misfit {
    fn under(self, place: &str) -> Self {
        Self { place: format!("{place}{}", self.place), ..self }
    }

    fn of(self, name: &str) -> TemplateError {
        let path = format!("{name}{}", self.place);
        TemplateError { name: name.to_owned(), path, message: self.message }
    }
}

/// Looks at every template in a value.
fn each(value: &Json, look: &mut impl FnMut(&str) -> Result<(), String>) -> Result<(), Misfit> {
    match value {
        Json::String(text) if is_template(text) => {
            look(text).map_err(|message| Misfit { place: String::new(), message })
        }
        Json::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            each(item, look).map_err(|misfit| misfit.under(&format!("[{index}]")))
        }),
        Json::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            each(field, look).map_err(|misfit| misfit.under(&format!(".{key}")))
        }),
        _ => Ok(()),
    }
}

/// Rebuilds a value with every template in it replaced.
fn walk(value: &Json, replace: &mut impl FnMut(&str) -> Result<Json, String>) -> Result<Json, Misfit> {
    Ok(match value {
        Json::String(text) if is_template(text) => {
            replace(text).map_err(|message| Misfit { place: String::new(), message })?
        }
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| walk(item, replace).map_err(|misfit| misfit.under(&format!("[{index}]"))))
            .collect::<Result<_, _>>()?,
        Json::Object(fields) => Json::Object(
            fields
                .iter()
                .map(|(key, field)| {
                    let field = walk(field, replace).map_err(|misfit| misfit.under(&format!(".{key}")))?;
                    Ok((key.clone(), field))
                })
                .collect::<Result<_, _>>()?,
        ),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::tests::of_form;
    use crate::schedule::{Cron, CronRules, Form, Zone};
    use serde_json::json;

    fn render(values: Json) -> Result<Json, TemplateError> {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let form = Form::Cron(Cron::parse("30 0 * * *", CronRules::CURRENT).unwrap());
        let calendar = of_form(form, zone);
        let context = Context {
            entry: &EntryName::new("nightly").unwrap(),
            pipeline: &PipelineName::new("Copy Sales").unwrap(),
            firing_id: FiringId::from_random([7; 16]),
            scheduled_time: Nominal::at_or_before("2026-11-22T23:30:00Z".parse().unwrap()),
            due_time: "2026-11-22T23:30:05Z".parse().unwrap(),
            calendar: &calendar,
        };
        let Json::Object(values) = values else { panic!("an object") };
        let text = Parameters::new(values, &mut Tried::default())?.render(&context)?;
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
    fn a_shift_by_calendar_units_keeps_the_local_time_and_stays_within_the_month() {
        let rendered = render(json!({
            "month_ago": "{{ '2026-03-31T10:00:00Z' | shift(months=-1) }}",
            "leap_day": "{{ '2028-02-29T10:00:00Z' | shift(years=1) }}",
            "quarter": "{{ '2026-11-30T10:00:00Z' | shift(quarters=1) }}",
            "over_the_change": "{{ '2026-03-28T10:00:00Z' | shift(days=1) }}",
            "in_real_time": "{{ '2026-03-28T10:00:00Z' | shift(hours=24) }}",
            "elsewhere": "{{ '2026-03-28T10:00:00Z' | shift(days=1, zone='UTC') }}",
        }))
        .unwrap();
        assert_eq!(
            rendered,
            json!({
                "month_ago": "2026-02-28T11:00:00Z", "leap_day": "2029-02-28T10:00:00Z",
                "quarter": "2027-02-28T10:00:00Z", "over_the_change": "2026-03-29T09:00:00Z",
                "in_real_time": "2026-03-29T10:00:00Z", "elsewhere": "2026-03-29T10:00:00Z",
            })
        );
        let said = |template: &str| render(json!({"p": template})).unwrap_err().message;
        assert!(
            said("{{ scheduled_time | shift(day=1) }}").contains("'day'"),
            "{}",
            said("{{ scheduled_time | shift(day=1) }}")
        );
        assert!(said("{{ scheduled_time | shift(months=9999999) }}").contains("month"));
        assert!(
            said("{{ scheduled_time | shift(quarters=9223372036854775807) }}")
                .contains("out of the calendar")
        );
        assert!(said("{{ scheduled_time | start_of('fortnight') }}").contains("use hour, day, week, month"));
        assert!(said("{{ scheduled_time | end_of('day', 'Mars/Olympus') }}").contains("unknown time zone"));
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
        let base = Parameters::new(Map::new(), &mut Tried::default()).unwrap();
        let extra = json!({"a": "{{ entry }}"}).as_object().unwrap().clone();
        assert!(base.overlay(extra).literal.contains(&"a".to_owned()));
    }
}
