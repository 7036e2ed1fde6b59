//! The shapes in which the plain tree of a schedule file is read, and the JSON Schema made of them.

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::words;

/// A value of a shape, or why it is not one. A wrong value does not hide what is wrong beside it.
#[derive(Debug, Clone)]
pub(super) struct Field<T>(pub(super) Result<T, String>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Self(serde_json::from_value(value).map_err(|error| error.to_string())))
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

/// A mapping whose keys are known.
pub(super) trait Section: DeserializeOwned + JsonSchema + 'static {
    /// Keys of the documented format that this version does not carry out yet.
    const LATER: &'static [&'static str] = &[];
    /// Keys that people look for here, and where they belong.
    const ELSEWHERE: &'static [(&'static str, &'static str)] = &[];
    /// Keys of others, with ours.
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[];
}

/// A schedule file of adf-cron.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct File {
    /// The version of this format: 1.
    pub(super) version: Option<Field<u64>>,
    /// How Entra ID and Data Factory are reached.
    #[schemars(with = "Azure")]
    pub(super) azure: Option<Value>,
    /// The ledger's file: `sqlite:///path`. Default: `$STATE_DIRECTORY/ledger.db`, else `/var/lib/adf-cron/ledger.db`.
    pub(super) ledger: Option<Field<String>>,
    /// The daemon's own settings.
    #[schemars(with = "Option<Daemon>")]
    pub(super) daemon: Option<Value>,
    /// Keys that all entries have unless they say otherwise: any but name, pipeline and schedule.
    #[schemars(with = "Option<Entry>")]
    pub(super) defaults: Option<Value>,
    /// The entries.
    #[schemars(with = "Vec<Entry>")]
    pub(super) pipelines: Option<Value>,
}

impl Section for File {
    const ELSEWHERE: &'static [(&'static str, &'static str)] = &[
        ("timezone", "under `defaults:`, or to an entry"),
        ("retry", "under `defaults:`, or to an entry"),
        ("overlap", "under `defaults:`, or to an entry"),
        ("missed", "under `defaults:`, or to an entry"),
        ("parameters", "under `defaults:`, or to an entry"),
        ("tenant_id", "under `azure:`"),
        ("client_id", "under `azure:`"),
        ("client_secret", "under `azure:`"),
        ("subscription_id", "under `azure:`"),
        ("resource_group", "under `azure:`"),
        ("factory", "under `azure:`"),
        ("heartbeat", "under `daemon:`"),
        ("retention", "under `daemon:`"),
    ];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = words::OF_FILE;
}

/// How Entra ID and Data Factory are reached.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Azure {
    /// public, usgov or china. Default: public.
    pub(super) cloud: Option<Field<Cloud>>,
    /// Where tokens come from, instead of the cloud's own.
    pub(super) authority: Option<Field<String>>,
    /// Where Data Factory is, instead of the cloud's own.
    pub(super) resource_manager: Option<Field<String>>,
    /// Whom the token is for, instead of the cloud's own.
    pub(super) audience: Option<Field<String>>,
    /// More certificate authorities to trust: a PEM file.
    pub(super) ca_file: Option<Field<String>>,
    /// The tenant: a GUID or a domain.
    pub(super) tenant_id: Option<Field<String>>,
    /// The application's (client's) id.
    pub(super) client_id: Option<Field<String>>,
    /// Where the client secret is read from.
    #[schemars(with = "Option<Source>")]
    pub(super) client_secret: Option<Value>,
    /// Where the client certificate is read from: PEM with certificate and RSA key.
    #[schemars(with = "Option<Source>")]
    pub(super) client_certificate: Option<Value>,
    /// v1 (`/oauth2/token`, the default) or v2 (`/oauth2/v2.0/token`).
    pub(super) token_endpoint: Option<Field<TokenEndpoint>>,
    /// The subscription, a GUID; an entry may name another.
    pub(super) subscription_id: Option<Field<String>>,
    /// The resource group; an entry may name another.
    pub(super) resource_group: Option<Field<String>>,
    /// The data factory; an entry may name another.
    pub(super) factory: Option<Field<String>>,
}

impl Section for Azure {
    const LATER: &'static [&'static str] = &["federated_token", "managed_identity"];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = words::OF_AZURE;
}

/// Where a secret is read from: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Source {
    /// The name of a credential: `$CREDENTIALS_DIRECTORY/NAME`, else `/etc/adf-cron/NAME`.
    pub(super) credential: Option<Field<String>>,
    /// The name of an environment variable.
    pub(super) env: Option<Field<String>>,
    /// A file.
    pub(super) file: Option<Field<String>>,
}

impl Section for Source {}

/// Microsoft's clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cloud {
    Public,
    Usgov,
    China,
}

/// The generations of Entra ID's token endpoint.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenEndpoint {
    V1,
    V2,
}

/// The daemon's own settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Daemon {
    /// The period of planning, 1s to 1m. Default: 5s.
    pub(super) heartbeat: Option<Field<String>>,
    /// How far ahead firings are planned, two heartbeats to 10m. Default: 15s.
    pub(super) horizon: Option<Field<String>>,
    /// How long calls may still take after SIGTERM, at most 10m. Default: 30s.
    pub(super) shutdown_grace: Option<Field<String>>,
    /// How long closed firings are kept, 2d to 3650d. Default: 45d.
    pub(super) retention: Option<Field<String>>,
    /// How long to wait at start for a synchronised clock, at most 1h. Default: 2m.
    pub(super) clock_wait: Option<Field<String>>,
    /// How long a stepped clock must agree with itself, at most 1h. Default: 1m.
    pub(super) clock_hold: Option<Field<String>>,
    /// The most createRun calls under way at once, 1 to 1000. Default: 64.
    pub(super) max_in_flight: Option<Field<u64>>,
}

impl Section for Daemon {}

/// One pipeline and when it runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Entry {
    /// A unique name: letters, digits, . _ -, at most 63. Default: the pipeline's name in that form.
    pub(super) name: Option<Field<String>>,
    /// Data Factory's name of the pipeline.
    pub(super) pipeline: Option<Field<String>>,
    /// A cron expression, or a mapping with `cron`, `every`, `at` or `recurrence`, or a list of them.
    #[schemars(with = "Option<Schedule>")]
    pub(super) schedule: Option<Value>,
    /// IANA or Windows name of the zone in which times are meant. Default: UTC.
    pub(super) timezone: Option<Field<String>>,
    /// What the pipeline is given; texts may hold templates.
    pub(super) parameters: Option<Field<Map<String, Value>>>,
    /// The subscription, if not the one under `azure`.
    pub(super) subscription_id: Option<Field<String>>,
    /// The resource group, if not the one under `azure`.
    pub(super) resource_group: Option<Field<String>>,
    /// The data factory, if not the one under `azure`.
    pub(super) factory: Option<Field<String>>,
    /// Whether it fires at all. Default: true.
    pub(super) enabled: Option<Field<bool>>,
    /// It fires not before this.
    pub(super) start: Option<Field<String>>,
    /// It fires before this.
    pub(super) end: Option<Field<String>>,
    /// Each entry is late by a fixed share of this, at most 1d. Default: 0s.
    pub(super) jitter: Option<Field<String>>,
    /// Higher is sent first when a burst must wait. Default: 0.
    pub(super) priority: Option<Field<i32>>,
    /// Lateness up to which a firing simply starts. Default: 1m.
    pub(super) late_after: Option<Field<String>>,
    /// What becomes of later ones: skip, latest or all. Default: latest.
    pub(super) missed: Option<Field<super::Missed>>,
    /// Missed nominal times older than this are skipped. Default: 24h.
    pub(super) missed_within: Option<Field<String>>,
    /// The most that `missed: all` starts, 1 to 10000. Default: 100.
    pub(super) missed_max: Option<Field<u32>>,
    /// A fixed time that the clock skips: run_after or skip. Default: run_after.
    pub(super) dst_gap: Option<Field<crate::schedule::DstGap>>,
    /// A fixed time that the clock repeats: first, second or both. Default: first.
    pub(super) dst_overlap: Option<Field<crate::schedule::DstOverlap>>,
    /// It does not fire at these times: one item or a list of them.
    #[schemars(with = "Option<Excepts>")]
    pub(super) except: Option<Value>,
    /// Attempts and their spacing.
    #[schemars(with = "Option<Retry>")]
    pub(super) retry: Option<Value>,
    /// How long one attempt may take, 1s to 10m. Default: 90s.
    pub(super) timeout: Option<Field<String>>,
    /// How long after a lost answer a run may still become visible, at most 1h. Default: 2m.
    pub(super) settle: Option<Field<String>>,
    /// When a sent attempt is proved to have started nothing: retry or hold. Default: retry.
    pub(super) on_unknown: Option<Field<super::OnUnknown>>,
    /// Whether its runs are followed to their end. Default: true.
    pub(super) follow: Option<Field<bool>>,
    /// How long a run may take, 1s to 30d. Default: none.
    pub(super) run_deadline: Option<Field<String>>,
    /// When a run takes longer: alert or cancel. Default: alert.
    pub(super) on_deadline: Option<Field<super::OnDeadline>>,
    /// While others are running: allow, skip, queue_one, queue_all or cancel_running. Default: allow.
    pub(super) overlap: Option<Field<super::Overlap>>,
    /// Which others: entry, or pipeline (whoever started them). Default: entry.
    pub(super) overlap_scope: Option<Field<super::OverlapScope>>,
    /// The most firings that wait, 1 to 10000. Default: 100.
    pub(super) max_queued: Option<Field<u32>>,
    /// How many may run at once, 1 to 10000. Default: 1, or without limit where overlap is allowed.
    pub(super) max_active: Option<Field<u32>>,
    /// How a run that failed is recovered. Default: it is not.
    #[schemars(with = "Option<Recovery>")]
    pub(super) recovery: Option<Value>,
    /// After how many runs in a row that failed the entry is paused, at most 1000; 0: never. Default: 0.
    pub(super) pause_after_failures: Option<Field<u32>>,
}

impl Section for Entry {
    const LATER: &'static [&'static str] = &["serialize"];
    const ELSEWHERE: &'static [(&'static str, &'static str)] = &[
        ("cron", "under `schedule:`"),
        ("every", "under `schedule:`"),
        ("at", "under `schedule:`"),
        ("recurrence", "under `schedule:`"),
        ("max_attempts", "under `retry:`"),
        ("deadline", "under `retry:`"),
        ("tenant_id", "under `azure:`"),
        ("client_id", "under `azure:`"),
    ];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = words::OF_ENTRY;
}

/// When an entry fires.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the three shapes for the JSON Schema; they are read one by one")]
pub(super) enum Schedule {
    /// A cron expression of five fields, or six with seconds first.
    Cron(String),
    /// One rule.
    Rule(Box<Rule>),
    /// Their union.
    Union(Vec<ScheduleItem>),
}

/// One item of a union.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two shapes for the JSON Schema; they are read one by one")]
pub(super) enum ScheduleItem {
    /// A cron expression.
    Cron(String),
    /// One rule.
    Rule(Box<Rule>),
}

/// One rule: `cron`, `every`, `at` or `recurrence`, within bounds.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Rule {
    /// A cron expression.
    pub(super) cron: Option<Field<String>>,
    /// A period of at least 1s, never drifting.
    pub(super) every: Option<Field<String>>,
    /// With `every`: later than the anchor by this.
    pub(super) offset: Option<Field<String>>,
    /// With `every`: the instant from which periods count. Default: 1970-01-01T00:00:00Z.
    pub(super) anchor: Option<Field<String>>,
    /// One instant or a list of them.
    #[schemars(with = "Option<Times>")]
    pub(super) at: Option<Value>,
    /// The recurrence of a schedule trigger, in Data Factory's own words.
    #[schemars(with = "Option<Recurrence>")]
    pub(super) recurrence: Option<Value>,
    /// The rule's own zone.
    pub(super) timezone: Option<Field<String>>,
    /// Not before this.
    pub(super) start: Option<Field<String>>,
    /// Before this.
    pub(super) end: Option<Field<String>>,
    /// Not at these times, in its own zone: one item or a list of them.
    #[schemars(with = "Option<Excepts>")]
    pub(super) except: Option<Value>,
}

impl Section for Rule {
    const ELSEWHERE: &'static [(&'static str, &'static str)] = &[
        ("frequency", "under `recurrence:`"),
        ("interval", "under `recurrence:`"),
        ("startTime", "under `recurrence:`"),
        ("endTime", "under `recurrence:`"),
        ("timeZone", "under `recurrence:`"),
        ("overlap", "beside `schedule:`, in the entry"),
        ("missed", "beside `schedule:`, in the entry"),
        ("late_after", "beside `schedule:`, in the entry"),
        ("jitter", "beside `schedule:`, in the entry"),
        ("dst_gap", "beside `schedule:`, in the entry"),
        ("dst_overlap", "beside `schedule:`, in the entry"),
        ("enabled", "beside `schedule:`, in the entry"),
        ("parameters", "beside `schedule:`, in the entry"),
        ("retry", "beside `schedule:`, in the entry"),
        ("max_active", "beside `schedule:`, in the entry"),
    ];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = words::OF_RULE;
}

/// What is left out: one item or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two shapes for the JSON Schema; they are read one by one")]
pub(super) enum Excepts {
    /// One.
    One(ExceptItem),
    /// Several.
    Several(Vec<ExceptItem>),
}

/// One item that is left out.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two shapes for the JSON Schema; they are read one by one")]
pub(super) enum ExceptItem {
    /// A date (2026-12-25), a range of dates (2026-12-24..2026-12-26) or a weekday (saturday).
    Days(String),
    /// A cron expression or a holiday file.
    Rule(Box<ExceptRule>),
}

/// Times that are left out: `cron` or `file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ExceptRule {
    /// The local times that an expression names; with five fields whole minutes.
    pub(super) cron: Option<Field<String>>,
    /// The absolute path of a holiday file: a date or a range of dates on each line, comments from # on.
    pub(super) file: Option<Field<String>>,
}

impl Section for ExceptRule {}

/// The recurrence of a schedule trigger, in Data Factory's own words.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(super) struct Recurrence {
    /// Minute, Hour, Day, Week or Month.
    pub(super) frequency: Option<Field<String>>,
    /// So many of them apart, 1 to 1000. Default: 1.
    pub(super) interval: Option<Field<u16>>,
    /// From when on they count, and it fires. Default: the `start` of the rule, or of the entry.
    pub(super) start_time: Option<Field<String>>,
    /// It does not fire after this.
    pub(super) end_time: Option<Field<String>>,
    /// The zone: an IANA or a Windows name. Default: that of the rule, or of the entry.
    pub(super) time_zone: Option<Field<String>>,
    /// Which times within each interval.
    #[schemars(with = "Option<RecurrenceSchedule>")]
    pub(super) schedule: Option<Value>,
}

impl Section for Recurrence {}

/// Which times within each interval. A single value may stand in place of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(super) struct RecurrenceSchedule {
    /// Minutes of the hour, 0 to 59. Default: the start's, or with a frequency of Minute or Hour no limit.
    #[schemars(with = "Option<Numbers>")]
    pub(super) minutes: Option<Value>,
    /// Hours of the day, 0 to 23. Default: the start's, or with `minutes` every hour.
    #[schemars(with = "Option<Numbers>")]
    pub(super) hours: Option<Value>,
    /// With a frequency of Week: Monday, Tuesday … Default: the start's.
    #[schemars(with = "Option<Times>")]
    pub(super) week_days: Option<Value>,
    /// With a frequency of Month: 1 to 31, or -1 (the last day) to -31. Default: the start's.
    #[schemars(with = "Option<Numbers>")]
    pub(super) month_days: Option<Value>,
    /// With a frequency of Month: weekdays by their occurrence.
    #[schemars(with = "Option<Vec<Occurrence>>")]
    pub(super) monthly_occurrences: Option<Value>,
}

impl Section for RecurrenceSchedule {}

/// A weekday of a month.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Occurrence {
    /// Monday, Tuesday …
    #[schemars(with = "Option<String>")]
    pub(super) day: Option<Field<Value>>,
    /// 1 (the first) to 5, or -1 (the last) to -5. Default: each.
    pub(super) occurrence: Option<Field<i8>>,
}

impl Section for Occurrence {}

/// One number or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two shapes for the JSON Schema; they are read one by one")]
pub(super) enum Numbers {
    /// One.
    One(i64),
    /// Several.
    Several(Vec<i64>),
}

/// One text or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two shapes for the JSON Schema; they are read one by one")]
pub(super) enum Times {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// Attempts and their spacing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Retry {
    /// The most attempts, the first included, 1 to 100. Default: 8.
    pub(super) max_attempts: Option<Field<u32>>,
    /// The wait before the second attempt; it doubles each time. Default: 1s.
    pub(super) initial: Option<Field<String>>,
    /// The longest wait. Default: 60s.
    pub(super) max: Option<Field<String>>,
    /// How long after the due time an attempt may still start, at most 7d. Default: 1h.
    pub(super) deadline: Option<Field<String>>,
}

impl Section for Retry {}

/// How a run that failed is recovered, never past the entry's next nominal time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Recovery {
    /// How often, at most 10; 0: never. Default: 2.
    pub(super) max: Option<Field<u32>>,
    /// How long after each failure, at most 7d. Default: 5m.
    pub(super) delay: Option<Field<String>>,
    /// Where it goes on: failure, start, or `{ activity: NAME }`. Default: failure.
    pub(super) from: Option<Field<super::RecoverFrom>>,
}

impl Section for Recovery {}

/// The JSON Schema of a schedule file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(File).to_value();
    // `defaults:` has the same keys and needs none of them; an entry needs two.
    if let Some(items) = schema.pointer_mut("/properties/pipelines/items").and_then(Value::as_object_mut) {
        items.insert("required".to_owned(), serde_json::json!(["pipeline", "schedule"]));
    }
    schema
}
