//! From the bytes of a file to [`Settings`]: what is wrong with the text, then the `azure:` and `daemon:`
//! blocks, then the entries; all errors at once.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::collect::{Collector, Outside, kind};
use super::endpoint::{Endpoint, Service, TRUST_HOST, audience, studio};
use super::entry::{self, Place};
use super::problem::{Found, Problems};
use super::value::duration_within;
use super::{
    Azure, Credential, Daemon, SecretSource, Settings, TokenEndpoint, except, keys, raw, words, yaml,
};
use crate::ids::{FactoryName, ResourceGroup, SubscriptionId};
use crate::schedule::CronRules;

const TENANT_HINT: &str = "it is the directory (tenant) ID of the app registration";
const CLIENT_HINT: &str = "it is the application (client) ID of the app registration";

/// Reads a schedule file at the time `now`: the templates of each entry must be renderable for its next ten nominal
/// times. The environment is asked for the trusted host only, and the only files are those of holidays; no secret is
/// opened.
///
/// # Errors
/// [`Problems`]: everything that is wrong with it.
pub fn load(text: &[u8], file: &str, outside: Outside<'_>, now: Timestamp) -> Result<Settings, Problems> {
    read(text, file, outside, Some(now), CronRules::CURRENT)
}

/// Reads a schedule that was accepted before. Its templates are not tried out: what was good when it was
/// accepted is not refused for what they would say today. Its holidays are those that were kept in the text, and its
/// cron expressions are read by these rules.
///
/// # Errors
/// [`Problems`]: everything that is wrong with it.
pub fn load_accepted(
    text: &[u8],
    file: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    rules: CronRules,
) -> Result<Settings, Problems> {
    let text = String::from_utf8_lossy(text);
    let (text, kept) = except::without_holidays(&text);
    let of_then = |path: &Path| match kept.get(path) {
        Some(dates) => Ok(except::as_file(dates)),
        None => Err("was not kept with this version of the schedule".to_owned()),
    };
    read(text.as_bytes(), file, Outside { environment, file: &of_then }, None, rules)
}

fn read(
    text: &[u8],
    file: &str,
    outside: Outside<'_>,
    now: Option<Timestamp>,
    rules: CronRules,
) -> Result<Settings, Problems> {
    let text = match readable(text) {
        Ok(text) => text,
        Err(unreadable) => {
            let found = Found::text(Some(unreadable.at), unreadable.message);
            return Err(Problems::locate(file, &unreadable.good, vec![found], 0));
        }
    };
    let tree = match yaml::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            let text = if error.costly { "" } else { text };
            let guess = error.at.filter(|_| !error.certain).and_then(|at| words::unreadable(text, at));
            let message = guess.unwrap_or(error.message);
            return Err(Problems::locate(file, text, vec![Found::text(error.at, message)], 0));
        }
    };
    let mut collector = Collector::new(outside, now, rules);
    let settings = settings(&mut collector, tree);
    match settings {
        Some(settings) if collector.count() == 0 => {
            let doubts = Problems::locate(file, text, collector.take_doubts(), 0);
            Ok(Settings { doubts, ..settings })
        }
        _ => {
            let (found, more) = collector.into_found();
            Err(Problems::locate(file, text, found, more))
        }
    }
}

/// The ledger that a file names, even if all else in it is wrong.
#[must_use]
pub fn ledger_hint(text: &[u8]) -> Option<PathBuf> {
    let text = readable(text).ok()?;
    let named = match yaml::parse(text) {
        Ok(tree) => tree.get("ledger")?.as_str()?.to_owned(),
        // The text is no YAML; a plain line at its top level still says what it says.
        Err(_) => {
            let line = text.lines().find_map(|line| line.strip_prefix("ledger:"))?;
            line.split(" #").next()?.trim().trim_matches(['"', '\'']).to_owned()
        }
    };
    ledger(&named).ok()
}

/// Why bytes are no text to read.
struct Unreadable {
    at: (usize, usize),
    message: &'static str,
    /// The text up to there.
    good: String,
}

/// The text of a file, or what makes it none.
fn readable(bytes: &[u8]) -> Result<&str, Unreadable> {
    let from_here = |good: &str, message| Unreadable { at: end_of(good), message, good: good.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (good, _) = bytes.split_at(error.valid_up_to());
        from_here(&String::from_utf8_lossy(good), "the file is not UTF-8 text from here on")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some((good, _)) = text.split_once('\0') {
        return Err(from_here(good, "the file holds a NUL byte here; it may have been cut or overwritten"));
    }
    let content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(content) {
        return Err(from_here("", "the file is empty; it needs `azure:` and `pipelines:`"));
    }
    Ok(text)
}

/// The line and column after a text.
fn end_of(text: &str) -> (usize, usize) {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn settings(collector: &mut Collector<'_>, tree: Value) -> Option<Settings> {
    let file: raw::File = collector.section("", tree)?;
    if let Some(version) = collector.take("", "version", file.version)
        && version != 1
    {
        collector.wrong(
            "",
            "version",
            format!("{version} is not a version of this format; this program reads version 1"),
        );
    }
    let ledger = collector.read("", "ledger", file.ledger, |text| ledger(&text));
    let azure =
        collector.required("", "azure", file.azure, "it says how Entra ID and Data Factory are reached");
    let (azure, place) = azure.and_then(|value| collector.section("azure", value)).map_or_else(
        || (None, None),
        |raw: raw::Azure| {
            let (azure, place) = azure_block(collector, raw);
            (azure, Some(place))
        },
    );
    let daemon = match file.daemon {
        Some(value) => collector.section("daemon", value).map(|raw| daemon(collector, raw)),
        None => Some(Daemon::default()),
    };
    let defaults = match file.defaults {
        Some(value) => collector.section("defaults", value).map(|raw| keys::defaults(collector, raw)),
        None => Some(keys::Keys::default()),
    };
    let list = collector.required("", "pipelines", file.pipelines, "list what is to be started, and when");
    // What the azure block lacks is said there, not again for each entry.
    let place = place.unwrap_or_else(Place::unknown);
    let entries = match list {
        Some(Value::Array(items)) => entry::entries(collector, items, &place, &defaults.unwrap_or_default()),
        Some(other) => {
            collector.wrong(
                "",
                "pipelines",
                format!("must be a list (lines that begin with -), not {}", kind(&other)),
            );
            Vec::new()
        }
        None => Vec::new(),
    };
    let (holidays, doubts) = (collector.take_holidays(), Problems::default());
    Some(Settings { azure: azure?, ledger, daemon: daemon?, entries, holidays, doubts })
}

/// The file of a ledger's address.
fn ledger(text: &str) -> Result<PathBuf, String> {
    if text.starts_with("postgres:") || text.starts_with("postgresql:") {
        return Err("a shared ledger in PostgreSQL is not carried out yet; use sqlite:///PATH".to_owned());
    }
    let path = text.strip_prefix("sqlite://").unwrap_or(text);
    if Path::new(path).is_absolute() && !path.ends_with('/') {
        return Ok(PathBuf::from(path));
    }
    Err(format!("'{text}' is not the place of a ledger; write sqlite:///var/lib/adf-cron/ledger.db"))
}

fn azure_block(collector: &mut Collector<'_>, raw: raw::Azure) -> (Option<Azure>, Place) {
    const PATH: &str = "azure";
    let cloud = collector.take(PATH, "cloud", raw.cloud).unwrap_or(raw::Cloud::Public);
    let trusted = collector.environment(TRUST_HOST);
    let mut endpoint = |key, service, field| match field {
        None => Endpoint::of(service, cloud),
        field => collector
            .read(PATH, key, field, |text: String| Endpoint::parse(&text, service, trusted.as_deref())),
    };
    let authority = endpoint("authority", Service::Authority, raw.authority);
    let resource_manager = endpoint("resource_manager", Service::ResourceManager, raw.resource_manager);
    let audience = match raw.audience {
        None => Some(audience(cloud).to_owned()),
        field => collector.read(PATH, "audience", field, |text| match text.trim() {
            "" => Err("must not be empty"),
            text => Ok(text.to_owned()),
        }),
    };
    let ca_file = collector.read(PATH, "ca_file", raw.ca_file, absolute);
    let tenant = collector.read(PATH, "tenant_id", raw.tenant_id, tenant);
    let tenant = collector.required(PATH, "tenant_id", tenant, TENANT_HINT);
    let client = collector.read(PATH, "client_id", raw.client_id, client);
    let client = collector.required(PATH, "client_id", client, CLIENT_HINT);
    let token_endpoint = match collector.take(PATH, "token_endpoint", raw.token_endpoint) {
        Some(raw::TokenEndpoint::V2) => TokenEndpoint::V2,
        Some(raw::TokenEndpoint::V1) | None => TokenEndpoint::V1,
    };
    let credential = credential(collector, raw.client_secret, raw.client_certificate);
    let place = Place {
        subscription: collector
            .read(PATH, "subscription_id", raw.subscription_id, |text| SubscriptionId::new(&text)),
        resource_group: collector
            .read(PATH, "resource_group", raw.resource_group, |text| ResourceGroup::new(&text)),
        factory: collector.read(PATH, "factory", raw.factory, |text| FactoryName::new(&text)),
        known: true,
    };
    let azure = (|| {
        Some(Azure {
            authority: authority?,
            resource_manager: resource_manager?,
            audience: audience?,
            studio: studio(cloud),
            ca_file,
            tenant_id: tenant?,
            client_id: client?,
            credential: credential?,
            token_endpoint,
        })
    })();
    (azure, place)
}

fn client(text: String) -> Result<String, &'static str> {
    match SubscriptionId::new(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err("must be a GUID: the application (client) ID of the app registration"),
    }
}

fn tenant(text: String) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    match text.len() {
        1..=253 if text.bytes().all(plain) && !text.contains("..") => Ok(text),
        _ => Err("must be a GUID or a domain such as contoso.onmicrosoft.com"),
    }
}

fn absolute(text: String) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path") }
}

fn credential(
    collector: &mut Collector<'_>,
    secret: Option<Value>,
    certificate: Option<Value>,
) -> Option<Credential> {
    match (secret, certificate) {
        (Some(secret), None) => source(collector, "azure.client_secret", secret).map(Credential::Secret),
        (None, Some(certificate)) => {
            source(collector, "azure.client_certificate", certificate).map(Credential::Certificate)
        }
        (Some(_), Some(_)) => {
            collector.wrong(
                "azure",
                "client_certificate",
                "give either client_secret or client_certificate, not both",
            );
            None
        }
        (None, None) => {
            let hint = "write client_secret: { credential: client-secret }, or use client_certificate";
            collector.required("azure", "client_secret", None, hint)
        }
    }
}

/// Where a secret is read from. Nothing that stands here is ever repeated in a message: it may be the
/// secret itself.
fn source(collector: &mut Collector<'_>, path: &str, value: Value) -> Option<SecretSource> {
    if !value.is_object() {
        let message = "a secret must not stand in this file; write { credential: NAME }, { env: NAME } or { file: PATH }, \
                       and if a real secret stood here, replace it, since others may have read it";
        collector.wrong(path, "", message);
        return None;
    }
    let known = |key: &String| ["credential", "env", "file"].contains(&key.as_str());
    if !value.as_object().is_some_and(|map| map.keys().all(known)) {
        let message = "may hold nothing but credential, env or file; if a real secret stood here, replace it, since \
                       others may have read it";
        collector.wrong(path, "", message);
        return None;
    }
    let raw: raw::Source = collector.section(path, value)?;
    let given = [("credential", raw.credential), ("env", raw.env), ("file", raw.file)];
    let mut given: Vec<_> = given.into_iter().filter_map(|(key, field)| Some((key, field?))).collect();
    if given.len() != 1 {
        collector.wrong(path, "", "must name exactly one of credential, env and file");
        return None;
    }
    let (key, field) = given.pop()?;
    let Ok(text) = field.0 else {
        collector.wrong(path, key, "must be a text");
        return None;
    };
    let source = match key {
        "credential" if is_file_name(&text) => SecretSource::Credential(text),
        "env" if is_variable(&text) => SecretSource::Env(text),
        "file" if Path::new(&text).is_absolute() => SecretSource::File(PathBuf::from(text)),
        "credential" => {
            collector.wrong(path, key, "must be the name of a credential: letters, digits, '.', '_' or '-'");
            return None;
        }
        "env" => {
            collector.wrong(path, key, "must be the name of an environment variable, not its value");
            return None;
        }
        _ => {
            collector.wrong(path, key, "must be an absolute path");
            return None;
        }
    };
    Some(source)
}

fn is_file_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=255).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

fn is_variable(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(plain)
}

fn daemon(collector: &mut Collector<'_>, raw: raw::Daemon) -> Daemon {
    let shipped = Daemon::default();
    let mut duration = |key, field, least: &str, most: &str| {
        collector.read("daemon", key, field, |text: String| duration_within(&text, least, most))
    };
    let heartbeat = duration("heartbeat", raw.heartbeat, "1s", "1m").unwrap_or(shipped.heartbeat);
    let horizon = duration("horizon", raw.horizon, "2s", "10m");
    let shutdown_grace = duration("shutdown_grace", raw.shutdown_grace, "0s", "10m");
    let retention = duration("retention", raw.retention, "2d", "3650d");
    let clock_wait = duration("clock_wait", raw.clock_wait, "0s", "1h");
    let clock_hold = duration("clock_hold", raw.clock_hold, "0s", "1h");
    let max_in_flight = collector.read("daemon", "max_in_flight", raw.max_in_flight, |number| match number {
        1..=1_000 => usize::try_from(number).map_err(|_| "must be between 1 and 1000"),
        _ => Err("must be between 1 and 1000"),
    });
    // A longer heartbeat alone moves the horizon along.
    let shipped_horizon = shipped.horizon.max(heartbeat * 3);
    if horizon.is_some_and(|horizon| horizon < heartbeat * 2) {
        collector.wrong(
            "daemon",
            "horizon",
            "must be at least two heartbeats, or firings would be planned late",
        );
    }
    Daemon {
        heartbeat,
        horizon: horizon.unwrap_or(shipped_horizon),
        shutdown_grace: shutdown_grace.unwrap_or(shipped.shutdown_grace),
        retention: retention.unwrap_or(shipped.retention),
        clock_wait: clock_wait.unwrap_or(shipped.clock_wait),
        clock_hold: clock_hold.unwrap_or(shipped.clock_hold),
        max_in_flight: max_in_flight.unwrap_or(shipped.max_in_flight),
    }
}
