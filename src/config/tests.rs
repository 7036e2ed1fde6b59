//! What a schedule file may say, and how it is told that it is wrong.

mod schedule;
mod template;

use std::time::Duration;

use super::*;
use crate::template::Tried;

mod runs;

/// The least that an `azure:` block says.
pub(crate) const AZURE: &str = "azure:
  tenant_id: contoso.onmicrosoft.com
  client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
  client_secret: { credential: client-secret }
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-prod
";

fn now() -> Timestamp {
    "2026-11-24T04:00:00Z".parse().unwrap()
}

/// An environment, and no files.
fn outside<'a>(environment: &'a dyn Fn(&str) -> Option<String>) -> Outside<'a> {
    Outside { environment, file: &|_| Err("there is no such file".to_owned()) }
}

/// A schedule as it is read from the ledger.
pub(crate) fn accepted(text: &str) -> Settings {
    load_accepted(text.as_bytes(), "s.yaml", &|_| None, crate::schedule::CronRules::CURRENT).unwrap()
}

fn read(text: &str) -> Result<Settings, Problems> {
    load(text.as_bytes(), "s.yaml", outside(&|_| None), now())
}

fn with_azure(rest: &str) -> Result<Settings, Problems> {
    read(&format!("{AZURE}{rest}"))
}

/// Reads one entry with these lines.
fn entry(lines: &str) -> Result<Arc<Entry>, Problems> {
    let lines = lines.replace('\n', "\n    ");
    let text =
        format!("pipelines:\n  - name: a\n    pipeline: P\n    schedule: \"30 2 * * *\"\n    {lines}\n");
    with_azure(&text).map(|settings| Arc::clone(&settings.entries[0]))
}

/// The only problem of a text, on one line.
fn problem(result: Result<impl std::fmt::Debug, Problems>) -> String {
    let problems = result.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
    problems.to_string().lines().next().unwrap().to_owned()
}

fn seconds(text: u64) -> Duration {
    Duration::from_secs(text)
}

#[test]
fn the_shipped_values_are_those_of_the_page() {
    let settings = with_azure("pipelines: [{pipeline: Copy Sales, schedule: '30 2 * * *'}]").unwrap();
    assert_eq!(settings.daemon, Daemon::default());
    assert_eq!(settings.ledger, None);
    assert_eq!(settings.azure.authority.to_string(), "https://login.microsoftonline.com");
    assert_eq!(settings.azure.resource_manager.to_string(), "https://management.azure.com");
    assert_eq!(settings.azure.audience, "https://management.azure.com/");
    assert_eq!(settings.azure.token_endpoint, TokenEndpoint::V1);
    let entry = &settings.entries[0];
    assert_eq!(entry.name.as_str(), "Copy-Sales");
    assert_eq!(entry.calendar.zone().name(), "UTC");
    assert_eq!(*entry.policy, Policy::default());
    assert!(entry.enabled);
}

#[test]
fn an_entry_takes_from_the_defaults_what_it_does_not_say_key_by_key() {
    let settings = with_azure(
        "defaults:
  timezone: Europe/Berlin
  retry: { max_attempts: 3, deadline: 10m }
  parameters: { region: eu, depth: 1 }
  factory: adf-default
pipelines:
  - { name: a, pipeline: P, schedule: '30 2 * * *', retry: { deadline: 1m }, parameters: { depth: 2 } }
  - { name: b, pipeline: P, schedule: '30 2 * * *', timezone: UTC, factory: adf-own }
",
    )
    .unwrap();
    let [a, b] = settings.entries.as_slice() else { panic!("two entries") };
    assert_eq!((a.policy.retry.max_attempts, a.policy.retry.deadline), (3, seconds(60)));
    assert_eq!((b.policy.retry.max_attempts, b.policy.retry.deadline), (3, seconds(600)));
    assert_eq!((a.calendar.zone().name(), b.calendar.zone().name()), ("Europe/Berlin", "UTC"));
    assert_eq!((a.factory.name.as_str(), b.factory.name.as_str()), ("adf-default", "adf-own"));
    let wanted = serde_json::json!({"region": "eu", "depth": 2});
    let wanted = Parameters::new(wanted.as_object().unwrap().clone(), &mut Tried::default()).unwrap();
    assert_eq!(*a.parameters, wanted);
}

#[test]
fn every_form_of_a_schedule_is_read_and_a_list_is_their_union() {
    let settings = with_azure(
        "pipelines:
  - name: a
    pipeline: P
    timezone: Europe/Berlin
    start: 2026-11-23
    schedule:
      - '30 2 * * *'
      - { cron: '0 12 * * MON', timezone: UTC }
      - { every: 1d, offset: 90m, anchor: '2026-01-01T00:00:00Z', end: 2026-11-25 }
      - { at: ['2026-11-23T10:00:00Z', '2026-11-23 10:00'] }
",
    )
    .unwrap();
    let calendar = &settings.entries[0].calendar;
    let from = Nominal::at_or_before("2026-11-22T00:00:00Z".parse().unwrap());
    let until = Nominal::at_or_before("2026-11-24T01:30:00Z".parse().unwrap());
    let times: Vec<String> = calendar.due_between(from, until).map(|n| n.to_string()).collect();
    assert_eq!(
        times,
        [
            "2026-11-23T01:30:00Z",
            "2026-11-23T09:00:00Z",
            "2026-11-23T10:00:00Z",
            "2026-11-23T12:00:00Z",
            "2026-11-24T01:30:00Z"
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_in_its_place() {
    let problems = with_azure(
        "daemon: { heartbeat: 5, horizont: 15s }
pipelines:
  - name: a b
    pipeline: Copy/Sales
    schedule: 30 25 * * *
    timezone: Europe/Berln
    retrys: {}
    serialize: pipeline
",
    )
    .unwrap_err();
    let lines: Vec<String> = problems
        .iter()
        .map(|p| format!("{}:{}:{} {} {}", p.file, p.line, p.column, p.path, p.message))
        .collect();
    let wanted = [
        ("s.yaml:8:22 daemon.heartbeat", "expected a string"),
        ("s.yaml:8:25 daemon.horizont", "unknown key `horizont`"),
        ("s.yaml:10:11 pipelines[0].name", "an entry name must be"),
        ("s.yaml:11:15 pipelines[0].pipeline", "a pipeline name must be"),
        ("s.yaml:12:15 pipelines[0].schedule", "hour"),
        ("s.yaml:13:15 pipelines[0].timezone", "did you mean 'Europe/Berlin'?"),
        ("s.yaml:14:5 pipelines[0].retrys", "unknown key `retrys`"),
        ("s.yaml:15:5 pipelines[0].serialize", "does not carry it out yet"),
    ];
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
    for (line, (place, words)) in lines.iter().zip(wanted) {
        assert!(line.starts_with(place) && line.contains(words), "{line}\nshould be {place} … {words}");
    }
    assert!(problems.to_string().contains("unknown key `retrys`; did you mean `retry`?"));
    assert!(
        problems.to_string().contains("  14 |     retrys: {}\n     |     ^\n  key path: pipelines[0].retrys")
    );
}

#[test]
fn a_name_that_stands_twice_is_shown_with_both_lines() {
    let twice = "pipelines:
  - { name: a, pipeline: P, schedule: '@daily' }
  - { name: a, pipeline: Q, schedule: '@daily' }
";
    assert!(problem(with_azure(twice)).starts_with("s.yaml:10:13: the name 'a' is taken already"));
    assert!(problem(with_azure(twice)).ends_with("(line 9)"));
    let made = "pipelines:
  - { pipeline: Copy Sales, schedule: '@daily' }
  - { pipeline: Copy Sales, schedule: '@hourly' }
";
    assert!(problem(with_azure(made)).contains("give it a `name`"));
}

#[test]
fn what_is_no_plain_yaml_gets_a_clear_error() {
    let said = |text: &str| problem(read(text));
    assert!(said("").contains("the file is empty"));
    assert!(said("# only a comment\n\n").contains("the file is empty"));
    assert!(
        said("azure:\n\ttenant_id: x\n").starts_with("s.yaml:2:1: "),
        "{}",
        said("azure:\n\ttenant_id: x\n")
    );
    assert!(said("azure:\n\ttenant_id: x\n").contains("not tabs"));
    assert!(said("a: 1\na: 2\n").contains("the key `a` stands twice"));
    assert!(said("a: 99999999999999999999999\n").contains("beyond 64 bits"));
    assert!(said("a: .nan\n").contains(".nan"));
    assert!(said("a: !tag x\n").contains("tags"));
    assert!(said("a: {<<: {}}\n").contains("merge keys"));
    assert!(said("{1: 2}\n").contains("must be text"));
    assert!(said("a: 1\n---\nb: 2\n").contains("more than one YAML document"));
    assert!(said("a: \"x\0y\"\n").contains("NUL byte"));
    assert!(said("just text\n").contains("must be a mapping"));
    assert!(said("- a\n").contains("must be a mapping"));
    assert!(said("a: [1, 2\n").starts_with("s.yaml:"));
    let bad = load(b"azure: \xff\xfe\n", "s.yaml", outside(&|_| None), now());
    assert!(problem(bad).starts_with("s.yaml:1:8: the file is not UTF-8"));
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(",")));
    }
    assert!(problem(read(&bomb)).contains("aliases"));
    let deep = "[".repeat(100_000);
    assert!(problem(read(&deep)).contains("nested too deeply"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = format!("\u{feff}{AZURE}pipelines: []\n").replace('\n', "\r\n");
    assert!(read(&text).unwrap().entries.is_empty());
}

#[test]
fn a_secret_in_the_file_is_refused_and_never_shown() {
    let canary = "hunter2canary";
    for inline in [
        format!("client_secret: {canary}"),
        format!("client_secret: \"{canary}\""),
        format!("client_secret: {{ value: {canary} }}"),
        format!("client_secret: {{ env: \"{canary}!\" }}"),
        format!("client_secret: [{canary}]"),
        format!("client_secret: |\n    {canary}"),
        format!("client_secret:\n    credential:\n      - {canary}"),
        format!("client_secret: {{ file: {canary} }}"),
        format!("client_secret: {{{canary}}}"),
        format!("client_secret: {{ \"{canary}\": x }}"),
        format!("client_secret: {{ {canary}: 1, {canary}: 2 }}"),
        format!("client_secret: {{ 'my {canary}': !tag x }}"),
        format!("client_secret: {{ env: X, {canary}: x }}"),
        format!("client_secret: !!int {canary}"),
        format!("client_secret: {{ [{canary}]: x }}"),
        format!("client_secret: {{\n  {canary}\n  }}"),
        format!("client_secret: {{ 5: x,\n      {canary}: y }}"),
        format!("client_secret: {{\n  5: {canary} }}"),
        format!("client_secret: \"a\n\n  {canary}\""),
        format!("client_secret: >-\n\n    a\n\n    {canary}"),
        format!("client_secret:\n  # why\n  - {canary}"),
        format!("client_secret:\n# why\n    {canary}"),
        format!("\"client_secre\\x74\":\n    {canary}"),
        format!("? client_secret\n  : {canary}"),
    ] {
        let text = AZURE.replace("client_secret: { credential: client-secret }", &inline);
        let problems = read(&format!("{text}pipelines: []\n")).unwrap_err();
        let shown =
            format!("{problems} {}", serde_json::to_string(&problems.iter().collect::<Vec<_>>()).unwrap());
        assert!(!shown.contains(canary), "{shown}");
        assert!(shown.contains("client_secret"), "{shown}");
    }
}

#[test]
fn a_number_as_a_secret_and_a_secret_under_a_misspelt_key_are_not_shown_either() {
    let number = AZURE.replace("{ credential: client-secret }", "{12345678: }");
    let problems = read(&format!("{number}pipelines: []\n")).unwrap_err();
    assert!(problems.to_string().contains("a key must be text; quote it"), "{problems}");
    assert!(!problems.to_string().contains("12345678"), "{problems}");
    let misspelt =
        AZURE.replace("client_secret: { credential: client-secret }", "client_secert: hunter2canary");
    let problems = read(&format!("{misspelt}pipelines: []\n")).unwrap_err();
    assert!(problems.to_string().contains("4 |   client_secert [hidden]\n"), "{problems}");
    assert!(!problems.to_string().contains("canary"), "{problems}");
    let forgotten =
        AZURE.replace("client_secret: { credential: client-secret }", "client_secret hunter2canary");
    let problems = read(&format!("{forgotten}pipelines: []\n")).unwrap_err();
    assert!(!problems.to_string().contains("canary"), "{problems}");
}

#[test]
fn a_place_of_a_secret_that_is_right_hides_nothing_of_the_lines_around_it() {
    let block = AZURE
        .replace("{ credential: client-secret }", "\n    credential: client-secret")
        .replace("rg-data", "[]");
    let problems = read(&format!("{block}pipelines: []\n")).unwrap_err();
    assert!(problems.to_string().contains("7 |   resource_group: []\n"), "{problems}");
    let json =
        "{ \"azure\": { \"client_secret\": {\n\"env\": \"X\" },\n\"tenant_id\": 5 }, \"pipelines\": [] }";
    let problems = read(json).unwrap_err();
    assert!(problems.to_string().contains("3 | \"tenant_id\": 5 }"), "{problems}");
}

#[test]
fn the_password_in_an_address_is_not_shown() {
    for address in [
        "authority: https://user:hunter2@login.microsoftonline.com",
        "resource_manager: 'ftp://user:hunter2@host'",
        "authority: https://user:hun ter2@host",
        "authority: { https://user:hunter2@host : 1 }",
        "https://user:hunter2@host: x",
    ] {
        let problems = read(&format!("{AZURE}  {address}\npipelines: []\n")).unwrap_err();
        let shown =
            format!("{problems} {}", serde_json::to_string(&problems.iter().collect::<Vec<_>>()).unwrap());
        assert!(!shown.contains("ter2") && shown.contains("[hidden]@"), "{shown}");
    }
    let ledger = with_azure("ledger: mysql://user:hunter2@host/d\npipelines: []\n").unwrap_err();
    assert!(ledger.to_string().contains("'mysql://[hidden]@host/d' is not the place"), "{ledger}");
}

#[test]
fn a_secret_named_by_its_place_is_not_opened() {
    let text = AZURE.replace("{ credential: client-secret }", "{ file: /no/such/file }");
    let settings = read(&format!("{text}pipelines: []\n")).unwrap();
    assert_eq!(settings.azure.credential, Credential::Secret(SecretSource::File("/no/such/file".into())));
}

#[test]
fn exactly_one_credential_must_be_named() {
    let none = AZURE.replace("  client_secret: { credential: client-secret }\n", "");
    assert!(problem(read(&format!("{none}pipelines: []\n"))).contains("`client_secret` is missing"));
    let both = AZURE.replace("  client_id", "  client_certificate: { env: X }\n  client_id");
    assert!(problem(read(&format!("{both}pipelines: []\n"))).contains("not both"));
    let later = AZURE.replace("  client_id", "  managed_identity: {}\n  client_id");
    assert!(problem(read(&format!("{later}pipelines: []\n"))).contains("does not carry it out yet"));
}

#[test]
fn bad_values_of_an_entry_are_refused_with_their_bounds() {
    let said = |lines: &str| problem(entry(lines));
    assert!(said("jitter: 2d").contains("between 0s and 1d"));
    assert!(said("missed: never").contains("unknown variant"));
    assert!(said("missed_max: 0").contains("between 1 and 10000"));
    assert!(said("retry: { max_attempts: 0 }").contains("between 1 and 100"));
    assert!(said("retry: { initial: 10s, max: 5s }").contains("shorter than `initial`"));
    assert!(said("retry: 3").contains("must be a mapping"));
    assert!(said("start: 2026-02-02\nend: 2026-02-01").contains("after `start`"));
    assert!(said("parameters: { day: '{{ sheduled_time }}' }").contains("'sheduled_time' is not known here"));
    assert!(said("parameters: [1]").contains("expected a map"));
    assert!(said("cron: '@daily'").contains("belongs under `schedule:`"));
    assert!(said("priority:").contains("has no value"));
    assert!(said("enabled: yes please").contains("expected a boolean"));
}

#[test]
fn a_pipeline_that_data_factory_could_not_have_is_refused_unless_it_was_accepted_before() {
    let text = |name: &str| {
        format!("{AZURE}pipelines:\n  - {{ name: a, pipeline: '{name}', schedule: '@daily' }}\n")
    };
    for never in ["Übung", "(a)", " a", "日次"] {
        assert!(problem(read(&text(never))).contains("beginning with a letter from A to Z"), "{never}");
    }
    for name in ["Übung", "日次", "Copy Säles (1) [x]"] {
        let accepted =
            load_accepted(text(name).as_bytes(), "s.yaml", &|_| None, crate::schedule::CronRules::CURRENT)
                .unwrap();
        assert_eq!(accepted.entries[0].pipeline.as_str(), name);
    }
    assert!(
        load_accepted(text("a/b").as_bytes(), "s.yaml", &|_| None, crate::schedule::CronRules::CURRENT)
            .is_err()
    );
}

#[test]
fn a_schedule_that_cannot_be_meant_is_refused() {
    let said = |schedule: &str| {
        problem(with_azure(&format!("pipelines:\n  - {{ name: a, pipeline: P, schedule: {schedule} }}\n")))
    };
    assert!(said("'0 0 31 2 *'").contains("never matches"));
    assert!(said("'* * * *'").contains("s.yaml:9:"));
    assert!(said("{ every: 500ms }").contains("at least 1s"));
    assert!(said("{ every: 1m, cron: '@daily' }").contains("exactly one"));
    assert!(said("{ cron: '@daily', offset: 5m }").contains("go with `every`"));
    assert!(said("{ at: [] }").contains("list is empty"));
    assert!(said("{ at: 'tomorrow' }").contains("is not a time"));
    assert!(said("{ at: '2026-01-01T00:00:00.5Z' }").contains("whole second"));
    assert!(said("[]").contains("list is empty"));
    assert!(said("5").contains("not a number"));
}

#[test]
fn defaults_hold_only_what_entries_can_share() {
    let text = "defaults: { name: a, schedule: '@daily' }\npipelines: []\n";
    let problems = with_azure(text).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems}");
    assert!(problems.to_string().contains("`schedule` is each entry's own"));
    let text = "defaults: { parameters: { d: '{{ nope }}' } }\npipelines:\n  - { name: a, pipeline: P, schedule: '@daily' }\n  - { name: b, pipeline: P, schedule: '@daily' }\n";
    assert!(problem(with_azure(text)).starts_with("s.yaml:8:"));
}

#[test]
fn the_ledger_is_named_by_an_absolute_path() {
    let path =
        |named: &str| with_azure(&format!("ledger: {named}\npipelines: []\n")).map(|s| s.ledger.unwrap());
    assert_eq!(path("sqlite:///var/lib/x/ledger.db").unwrap(), PathBuf::from("/var/lib/x/ledger.db"));
    assert_eq!(path("/srv/ledger.db").unwrap(), PathBuf::from("/srv/ledger.db"));
    assert!(problem(path("ledger.db")).contains("sqlite:///"));
    assert!(problem(path("postgres://h/d")).contains("not carried out yet"));
}

#[test]
fn a_wrong_file_still_names_its_ledger() {
    let hint = |text: &str| ledger_hint(text.as_bytes());
    assert_eq!(hint("ledger: sqlite:///a/b.db\nnope: 1\n"), Some(PathBuf::from("/a/b.db")));
    assert_eq!(hint("pipelines: [\nledger: 'sqlite:///a/b.db' # here\n"), Some(PathBuf::from("/a/b.db")));
    assert_eq!(hint("pipelines: []\n"), None);
}

#[test]
fn the_trusted_host_comes_from_the_environment_only() {
    let text = format!("{AZURE}  authority: https://login.corp.example\npipelines: []\n");
    assert!(problem(read(&text)).contains("ADF_CRON_TRUST_HOST"));
    let trusting = |name: &str| (name == TRUST_HOST).then(|| "login.corp.example".to_owned());
    assert!(load(text.as_bytes(), "s.yaml", outside(&trusting), now()).is_ok());
}

#[test]
fn a_clouds_addresses_belong_together() {
    let settings = read(&format!("{AZURE}  cloud: usgov\npipelines: []\n")).unwrap();
    assert_eq!(settings.azure.authority.to_string(), "https://login.microsoftonline.us");
    assert_eq!(settings.azure.resource_manager.to_string(), "https://management.usgovcloudapi.net");
    assert_eq!(settings.azure.audience, "https://management.core.usgovcloudapi.net/");
}

#[test]
fn the_schema_knows_every_key_and_refuses_others() {
    let schema = schema();
    let entry = &schema["$defs"]["Entry"];
    assert_eq!(entry["additionalProperties"], serde_json::json!(false));
    for key in ["pipeline", "schedule", "retry", "missed", "on_unknown", "parameters"] {
        assert!(entry["properties"].get(key).is_some(), "{key}");
    }
    assert!(schema["properties"].get("azure").is_some());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn a_slip_of_the_editor_near_a_secret_does_not_show_it(
        form in 0..9_usize,
        at in 0..1_000_usize,
        slip in "[{}\\[\\]\"':,&*!|>#\t x-]{1,2}",
    ) {
        let canary = "hunter2canary";
        let inline = [
            format!("client_secret: {canary}"),
            format!("client_secret: {{ value: {canary} }}"),
            format!("client_secret: {{ {canary}: }}"),
            format!("client_secret: {{\n    env: X,\n    {canary}: }}"),
            format!("client_secret: [{canary}]"),
            format!("client_secret: |\n    a\n    {canary}"),
            format!("client_secret:\n    credential:\n      - {canary}"),
            format!("client_secret:\n    file: {canary}"),
            format!("client_secret: \"a\n    {canary}\""),
        ];
        let mut text = AZURE.replace("client_secret: { credential: client-secret }", &inline[form]);
        text.push_str("pipelines:\n  - { name: a, pipeline: [P], schedule: '@dailyy' }\n");
        let (at, key) = (at % text.len(), text.find("client_secret").unwrap());
        // Without its name nothing tells that it is one.
        if !(key..key + "client_secret: ".len()).contains(&at) {
            text.insert_str(at, &slip);
            if let Err(problems) = read(&text) {
                let json = serde_json::to_string(&problems.iter().collect::<Vec<_>>()).unwrap();
                assert!(!format!("{problems}{json}").contains("2can"), "{text}\nsays\n{problems}");
            }
        }
    }
}
