//! The words of others, and what they are here: keys and values of Kubernetes, Airflow, Quartz and Data Factory, and
//! texts that YAML takes for something else than what was meant.

use super::position::is_secret;
use super::shown::after_secret_word;

/// A key of others, the key that does the same here, and what else is to be said.
type Foreign = (&'static str, &'static str, &'static str);

/// For an entry.
pub(super) const OF_ENTRY: &[Foreign] = &[
    ("concurrency_policy", "overlap", "Forbid is skip here, Replace is cancel_running, Allow is allow"),
    ("on_overlap", "overlap", ""),
    ("catchup", "missed", "true is all here, false is skip"),
    ("backfill", "missed", "all starts what was missed; adf-cron backfill starts what lies before"),
    ("misfire", "missed", "write skip, latest or all"),
    ("misfire_policy", "missed", "write skip, latest or all"),
    ("misfire_instruction", "missed", "write skip, latest or all"),
    ("coalesce", "missed", "true is latest here, false is all"),
    ("starting_deadline_seconds", "missed_within", "write a duration with its unit, such as 200s"),
    ("starting_deadline", "missed_within", "write a duration with its unit, such as 200s"),
    ("misfire_grace_time", "missed_within", "write a duration with its unit, such as 200s"),
    ("suspend", "enabled", "suspend: true is enabled: false here"),
    ("suspended", "enabled", "suspended: true is enabled: false here"),
    ("paused", "enabled", "paused: true is enabled: false here"),
    ("is_paused", "enabled", "is_paused: true is enabled: false here"),
    ("disabled", "enabled", "disabled: true is enabled: false here"),
    ("disable", "enabled", "disable: true is enabled: false here"),
    ("active", "enabled", ""),
    ("runtime_state", "enabled", "Started is true here, Stopped is false"),
    ("tz", "timezone", ""),
    ("zone", "timezone", ""),
    ("cron_tz", "timezone", ""),
    ("schedule_interval", "schedule", ""),
    ("cron_expression", "schedule", ""),
    ("cronspec", "schedule", ""),
    ("crontab", "schedule", ""),
    ("expression", "schedule", ""),
    ("when", "schedule", ""),
    ("params", "parameters", ""),
    ("args", "parameters", ""),
    ("arguments", "parameters", ""),
    ("inputs", "parameters", ""),
    ("conf", "parameters", ""),
    ("pipeline_name", "pipeline", ""),
    ("pipeline_reference", "pipeline", "write the pipeline's name alone"),
    ("pipelines", "pipeline", "each entry has one pipeline; write an entry for each"),
    ("reference_name", "pipeline", ""),
    ("job", "pipeline", ""),
    ("dag_id", "name", ""),
    ("id", "name", ""),
    ("retry_policy", "retry", "its count is retry: { max_attempts: 1 + count }"),
    ("retries", "retry", "its count is retry: { max_attempts: 1 + count }"),
    ("max_retries", "retry", "its count is retry: { max_attempts: 1 + count }"),
    ("backoff_limit", "retry", "its count is retry: { max_attempts: 1 + count }"),
    ("retry_delay", "retry", "it is retry: { initial: 1s }"),
    ("max_concurrency", "max_active", ""),
    ("concurrency", "max_active", ""),
    ("max_active_runs", "max_active", ""),
    ("max_instances", "max_active", ""),
    ("parallelism", "max_active", ""),
    ("active_deadline_seconds", "run_deadline", "write a duration with its unit, such as 2h"),
    ("dagrun_timeout", "run_deadline", "write a duration with its unit, such as 2h"),
    ("execution_timeout", "run_deadline", "write a duration with its unit, such as 2h"),
    ("start_date", "start", ""),
    ("start_time", "start", ""),
    ("end_date", "end", ""),
    ("end_time", "end", ""),
    ("exclude", "except", ""),
    ("holidays", "except", "a file of them is except: { file: PATH }"),
    ("data_factory", "factory", ""),
    ("factory_name", "factory", ""),
    ("subscription", "subscription_id", ""),
    ("rg", "resource_group", ""),
    ("resource_group_name", "resource_group", ""),
];

/// For a rule under `schedule:`.
pub(super) const OF_RULE: &[Foreign] = &[
    ("expression", "cron", ""),
    ("cron_expression", "cron", ""),
    ("crontab", "cron", ""),
    ("schedule", "cron", ""),
    ("period", "every", ""),
    ("times", "at", ""),
    ("tz", "timezone", ""),
    ("zone", "timezone", ""),
    ("time_zone", "timezone", ""),
    ("start_date", "start", ""),
    ("end_date", "end", ""),
    ("exclude", "except", ""),
];

/// For the `azure:` block.
pub(super) const OF_AZURE: &[Foreign] = &[
    ("tenant", "tenant_id", ""),
    ("directory_id", "tenant_id", ""),
    ("client", "client_id", ""),
    ("app_id", "client_id", ""),
    ("application_id", "client_id", ""),
    ("secret", "client_secret", ""),
    ("password", "client_secret", ""),
    ("certificate", "client_certificate", ""),
    ("subscription", "subscription_id", ""),
    ("rg", "resource_group", ""),
    ("resource_group_name", "resource_group", ""),
    ("data_factory", "factory", ""),
    ("factory_name", "factory", ""),
];

/// For the top of the file.
pub(super) const OF_FILE: &[Foreign] = &[
    ("jobs", "pipelines", ""),
    ("entries", "pipelines", ""),
    ("schedules", "pipelines", ""),
    ("schedule", "pipelines", "a schedule belongs to an entry"),
    ("triggers", "pipelines", "adf-cron import turns triggers into entries"),
    ("crons", "pipelines", ""),
    ("cronjobs", "pipelines", ""),
    ("dags", "pipelines", ""),
    ("tasks", "pipelines", ""),
    ("default", "defaults", ""),
    ("database", "ledger", ""),
    ("db", "ledger", ""),
];

/// A key, a value of others for it, and ours.
const VALUES: &[(&str, &[&str], &str)] = &[
    ("overlap", &["forbid", "deny", "no", "none", "never", "ignore", "drop", "single", "disallow"], "skip"),
    ("overlap", &["replace", "cancel", "kill", "restart", "terminate", "stop"], "cancel_running"),
    ("overlap", &["parallel", "concurrent", "yes", "always", "permit"], "allow"),
    ("overlap", &["queue", "wait", "enqueue", "delay", "buffer_one"], "queue_one"),
    ("overlap", &["buffer_all"], "queue_all"),
    ("missed", &["no", "none", "never", "ignore", "drop", "do_nothing", "discard", "false"], "skip"),
    ("missed", &["once", "last", "one", "fire_once", "run_once", "fire_now", "coalesce", "run"], "latest"),
    (
        "missed",
        &["catchup", "catch_up", "every", "each", "yes", "always", "fire_all", "run_all", "true"],
        "all",
    ),
    ("on_deadline", &["kill", "stop", "abort", "terminate", "fail"], "cancel"),
    ("on_deadline", &["warn", "notify", "log", "nothing"], "alert"),
    ("on_unknown", &["resend", "again", "send"], "retry"),
    ("on_unknown", &["wait", "stop", "ask"], "hold"),
];

/// So many characters of a line are looked at.
const LONGEST: usize = 400;

/// A word as it is compared: `maxActiveRuns`, `max-active-runs` and `max_active_runs` are one.
fn plain(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    let mut after_small = false;
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && after_small {
            plain.push('_');
        }
        after_small = letter.is_ascii_lowercase();
        plain.push(if matches!(letter, '-' | ' ') { '_' } else { letter.to_ascii_lowercase() });
    }
    plain
}

/// The key of ours for a key of others, and what else is to be said of it.
pub(super) fn key(table: &[Foreign], key: &str) -> Option<(&'static str, &'static str)> {
    let key = plain(key);
    table.iter().find(|(foreign, ..)| *foreign == key).map(|(_, ours, more)| (*ours, *more))
}

/// The value of ours that is meant where serde says that a text is none of a key's words.
pub(super) fn value(key: &str, message: &str) -> Option<String> {
    let (written, known) = message.strip_prefix("unknown variant `")?.split_once('`')?;
    let plain = plain(written);
    let foreign = VALUES.iter().find(|(of, words, _)| *of == key && words.contains(&plain.as_str()));
    let known = || known.split('`').skip(1).step_by(2);
    let nearest = || {
        let alike = |word: &str| strsim::jaro_winkler(word, &plain);
        known().filter(|word| alike(word) > 0.8).max_by(|a, b| alike(a).total_cmp(&alike(b)))
    };
    foreign.map(|(.., ours)| *ours).or_else(nearest).map(str::to_owned)
}

/// What is wrong where YAML could not be read on, if that is a text that should have been quoted or a tab.
pub(super) fn unreadable(text: &str, (line, column): (usize, usize)) -> Option<String> {
    // The place may be that of what follows.
    let lines = || text.lines().skip(line.saturating_sub(2)).take(2).collect::<Vec<_>>();
    let here = text.lines().nth(line.checked_sub(1)?).unwrap_or_default();
    if let Some(said) =
        lines().into_iter().rev().find_map(|line| unquoted(line).map(|found| found.said(line)))
    {
        return Some(said);
    }
    let before: String = here.chars().take(column).collect();
    let tab = before.ends_with('\t') || (here.starts_with([' ', '\t']) && indent(here).contains('\t'));
    tab.then(|| "a tab stands here; YAML is indented by spaces, not tabs".to_owned())
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// A value that begins with a sign that YAML has a use for.
struct Unquoted<'a> {
    key: &'a str,
    value: &'a str,
}

/// The first value in a line that begins with a sign that no plain text may begin with.
fn unquoted(line: &str) -> Option<Unquoted<'_>> {
    // No expression stands far to the right.
    let line = line.char_indices().nth(LONGEST).map_or(line, |(end, _)| &line[..end]);
    let mut in_brackets = false;
    let mut begin = indent(line).len();
    loop {
        let rest = line.get(begin..)?;
        let value = rest.trim_start();
        begin += rest.len() - value.len();
        // A value ends with the line, and within brackets with a comma or a bracket.
        let comment = value.find(" #").unwrap_or(value.len());
        let end = match in_brackets {
            true => [", ", "}", "]"].iter().filter_map(|end| value.find(end)).min().unwrap_or(value.len()),
            false => value.len(),
        };
        if value.starts_with(['*', '@', '`', '%']) {
            let before = line.get(..begin)?.trim_end();
            let key = before
                .strip_suffix(':')
                .map_or("", |key| key.rsplit([' ', '{', '[', ',']).next().unwrap_or_default());
            let found = Unquoted { key, value: value.get(..end.min(comment))?.trim_end() };
            return (!found.is_alias()).then_some(found);
        }
        // On to what may begin the next value.
        let next = value.char_indices().find_map(|(at, sign)| match sign {
            '[' | '{' => Some((at + 1, true)),
            ',' if in_brackets => Some((at + 1, true)),
            ':' | '-' if value[at + 1..].starts_with([' ', '\t']) => Some((at + 1, in_brackets)),
            _ => None,
        });
        let (step, within) = next?;
        begin += step;
        in_brackets |= within;
    }
}

impl Unquoted<'_> {
    fn said(&self, line: &str) -> String {
        let sign = self.value.chars().next().unwrap_or_default();
        let what = match sign {
            '*' => "begins the name of an alias in YAML",
            '%' => "begins a directive in YAML",
            _ => "cannot begin a text in YAML",
        };
        let secret = is_secret(self.key) || after_secret_word(line).is_some();
        if !self.is_cron() || secret || self.value.len() > 100 {
            return format!("`{sign}` {what}; quote the whole value: \"{sign}…\"");
        }
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        format!("`{sign}` {what}; quote the expression: {key}\"{}\"", self.value)
    }

    /// Whether it may be meant as an alias.
    fn is_alias(&self) -> bool {
        let name = self.value.strip_prefix('*').unwrap_or_default();
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    }

    /// Whether it is made of nothing but what cron expressions are made of. Anything else may be a secret, whose key
    /// stands in another line.
    fn is_cron(&self) -> bool {
        match self.value.strip_prefix('@') {
            Some(name) => MACROS.contains(&name),
            None => {
                let fields: Vec<&str> = self.value.split_whitespace().collect();
                self.value.starts_with('*')
                    && (2..=7).contains(&fields.len())
                    && fields.into_iter().all(is_field)
            }
        }
    }
}

const MACROS: [&str; 8] =
    ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly", "reboot"];

/// Whether a text may be a field of a cron expression: signs, numbers of two digits, and names of weekdays and months.
fn is_field(text: &str) -> bool {
    const NAMES: [&str; 21] = [
        "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL",
        "AUG", "SEP", "OCT", "NOV", "DEC", "L", "LW",
    ];
    text.split(['*', '/', ',', '-', '#', '?']).all(|word| {
        let upper = word.to_ascii_uppercase();
        let number = upper.trim_end_matches(['L', 'W']);
        let is_number = number.len() <= 2 && upper.len() <= 4 && number.bytes().all(|b| b.is_ascii_digit());
        is_number || NAMES.contains(&upper.trim_end_matches('L')) || NAMES.contains(&upper.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cron_expression_that_is_not_quoted_is_shown_quoted() {
        for (line, wanted) in [
            ("    schedule: * * * * *", "schedule: \"* * * * *\""),
            ("    schedule: */15 * * * *   # often", "schedule: \"*/15 * * * *\""),
            ("    schedule: @daily", "schedule: \"@daily\""),
            ("      cron: @midnight", "cron: \"@midnight\""),
            ("      - * * * *", "quote the expression: \"* * * *\""),
            ("      - cron: */5 8-17 * * MON-FRI", "cron: \"*/5 8-17 * * MON-FRI\""),
            ("    schedule: { cron: */5,7 * * * *, timezone: UTC }", "cron: \"*/5,7 * * * *\""),
            ("  - { name: e, pipeline: P, schedule: @hourly }", "schedule: \"@hourly\""),
            ("    schedule: [0 1 * * *, * 2 * * *]", "quote the expression: \"* 2 * * *\""),
            ("    schedule: [@daily, '@hourly']", "quote the expression: \"@daily\""),
            ("    except: { cron: * * 25 12 * }", "cron: \"* * 25 12 *\""),
        ] {
            let said = unreadable(line, (1, 5)).unwrap_or_default();
            assert!(said.contains("quote the expression") && said.contains(wanted), "{line}: {said}");
        }
        for (line, wanted) in [
            ("    name: `a`", "`` ` `` cannot begin a text in YAML; quote"),
            ("    client_secret: @hunter2", "`@` cannot begin a text in YAML; quote the whole value: \"@…\""),
            ("    password: @daily", "quote the whole value: \"@…\""),
            ("    p: *hunter 2 Q~", "quote the whole value: \"*…\""),
            // The key of a secret may stand in another line.
            ("*      - hunter2canary", "quote the whole value: \"*…\""),
            ("      - * hunter 2 * *", "quote the whole value: \"*…\""),
            ("      - @hunter", "quote the whole value: \"@…\""),
            ("\ta: b", "a tab stands here"),
            ("  \t a: b", "a tab stands here"),
        ] {
            let said = unreadable(line, (1, 5)).unwrap_or_default();
            assert!(
                said.contains(&wanted.replace("`` ` ``", "```")) && !said.contains("hunter"),
                "{line}: {said}"
            );
        }
        assert_eq!(unreadable("    schedule: '* * * * *", (1, 5)), None);
        assert_eq!(unreadable("a: &a [*a]", (1, 5)), None, "an alias is one");
        assert_eq!(unreadable("    a: b\tc: d", (1, 5)), None, "a tab within a line is none of its indent");
    }

    #[test]
    fn a_word_of_others_is_known_in_each_way_to_write_it() {
        for word in ["concurrency_policy", "concurrencyPolicy", "concurrency-policy", "ConcurrencyPolicy"] {
            assert_eq!(key(OF_ENTRY, word).map(|(ours, _)| ours), Some("overlap"), "{word}");
        }
        let said = |word: &str| {
            format!("unknown variant `{word}`, expected one of `allow`, `skip`, `cancel_running`")
        };
        for (word, ours) in [
            ("forbid", "skip"),
            ("Forbid", "skip"),
            ("Replace", "cancel_running"),
            ("Allow", "allow"),
            ("skipp", "skip"),
        ] {
            assert_eq!(value("overlap", &said(word)).as_deref(), Some(ours), "{word}");
        }
        assert_eq!(value("overlap", &said("xyz")), None);
    }
}
