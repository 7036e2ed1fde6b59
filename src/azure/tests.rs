//! What goes over the wire: every request that the client can send, taken down byte for byte between it and the
//! stand-in, and held against RFC 9110 to 9112 and against the published interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use azure_sim::{Place, Sim};
use jsonschema::Draft;
use serde_json::{Value, json};

use super::follow::{Cancelled, Pass};
use super::look::Searched;
use super::*;
use crate::clock::SystemClock;
use crate::ids::{FactoryName, ResourceGroup, SubscriptionId};

const OPERATIONS: &str = include_str!("../../tests/azure-sim/data/datafactory-2018-06-01.operations.json");
const SCHEMA: &str = include_str!("../../tests/azure-sim/data/datafactory-2018-06-01.schema.json");

const SUBSCRIPTION: &str = "1e42591f-1f0c-4c5a-b7f2-a268f6105ec5";
const GROUP: &str = "Rg_(Übung).1";
/// What a name may hold, as far as it is printed here.
const PIPELINE: &str = "Copy Sales (1)'s;=,@!$~[x]{y}|^`\" Größen 日次";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const SECRET: &str = "s3cr3t +&=%/é";
const LIMIT: Duration = Duration::from_secs(30);

/// Stands between the client and the stand-in and takes down what the client says.
struct Recorder {
    address: SocketAddr,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    fn before(sim: &Sim) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let said: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (behind, all) = (sim.url().strip_prefix("http://").unwrap().to_owned(), Arc::clone(&said));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut client, all) = (stream.unwrap(), Arc::clone(&all));
                // The stand-in is gone, and with it the test.
                let Ok(mut server) = TcpStream::connect(&behind) else { return };
                let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
                let index = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                std::thread::spawn(move || {
                    let mut buffer = [0; 8_192];
                    while let Ok(count @ 1..) = client.read(&mut buffer) {
                        all.lock().unwrap()[index].extend_from_slice(&buffer[..count]);
                        if server.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, said }
    }

    /// All requests so far, in the order of their connections.
    fn requests(&self) -> Vec<Request> {
        let said = self.said.lock().unwrap();
        said.iter().flat_map(|bytes| requests(std::str::from_utf8(bytes).unwrap())).collect()
    }
}

/// A request, as it was sent.
#[derive(Debug)]
struct Request {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    content: String,
}

impl Request {
    fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    fn header(&self, name: &str) -> &str {
        let [value] = self.all(name)[..] else { panic!("one {name} is wanted: {self:?}") };
        value
    }

    fn segments(&self) -> Vec<String> {
        self.path.split('/').skip(1).map(unescaped).collect()
    }
}

/// What a server reads (RFC 3986, section 2): nothing is left as it is but what needs no escaping in a segment or a
/// value, and what may stand there with its own meaning.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = String::from_utf8(vec![rest.next().unwrap(), rest.next().unwrap()]).unwrap();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            _ => {
                let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@".contains(&byte);
                assert!(is_plain, "{} needs escaping: {text}", char::from(byte));
                bytes.push(byte);
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn values(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (unescaped(name), unescaped(value)))
        .collect()
}

/// The requests of a connection, each as long as it says, and held against RFC 9110 to 9112 on the way.
fn requests(mut rest: &str) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some((head, more)) = rest.split_once("\r\n\r\n") {
        let mut lines = head.split("\r\n");
        let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let [method, target, "HTTP/1.1"] = line[..] else { panic!("no request line: {line:?}") };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert!(target.starts_with('/') && !target.contains('#'), "{target}");
        let headers = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: values(query),
            headers,
            content: String::new(),
        };
        let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
        let length: usize = match (method, &lengths[..], &codings[..]) {
            ("POST", [length], []) => length.parse().unwrap(),
            ("GET", [], []) => 0,
            _ => panic!("nobody can tell where it ends: {request:?}"),
        };
        let (content, after) = more.split_at(length);
        request.content = content.to_owned();
        assert_eq!(request.all("content-type").len(), usize::from(length > 0), "{request:?}");
        let names: BTreeSet<String> = request.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
        assert_eq!(names.len(), request.headers.len(), "a header stands twice: {request:?}");
        assert_eq!(request.header("accept"), "application/json", "{request:?}");
        assert!(request.header("user-agent").starts_with("adf-cron/"), "{request:?}");
        requests.push(request);
        rest = after;
    }
    assert_eq!(rest, "", "more came than was announced");
    requests
}

/// What stands behind a `$ref` of the published file.
fn parameter<'a>(published: &'a Value, parameter: &'a Value) -> &'a Value {
    match parameter["$ref"].as_str() {
        Some(reference) => published.pointer(reference.trim_start_matches('#')).unwrap(),
        None => parameter,
    }
}

/// Asserts that a value is as published: its type, its pattern, its length.
fn assert_fits(rule: &Value, text: &str, request: &Request) {
    let mut schema = rule.clone();
    for other in ["name", "in", "required"] {
        schema.as_object_mut().unwrap().remove(other);
    }
    if let Some(pattern) = rule["pattern"].as_str() {
        // The service's own `\w` is that of .NET: letters and digits of any script.
        schema["pattern"] = json!(pattern.replace("\\w", "\\p{L}\\p{Nd}_"));
    }
    let value = match rule["type"].as_str() {
        Some("boolean") => json!(text.parse::<bool>().unwrap_or_else(|_| panic!("{rule} {request:?}"))),
        _ => json!(text),
    };
    let validator = jsonschema::options().with_draft(Draft::Draft4).build(&schema).unwrap();
    assert!(validator.is_valid(&value), "{text} is not {rule}: {request:?}");
}

/// Asserts that a JSON text is what the published file calls so.
fn assert_is(definition: &Value, text: &str) {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema["allOf"] = json!([definition]);
    let options = jsonschema::options().with_draft(Draft::Draft4).should_validate_formats(true);
    let value: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<String> =
        options.build(&schema).unwrap().iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{definition}: {errors:?} in {text}");
}

/// Asserts that a request to the resource manager is one of the published operations; returns its name.
fn published(request: &Request) -> String {
    let file: Value = serde_json::from_str(OPERATIONS).unwrap();
    let given = request.segments();
    let fitting = |template: &str| -> Option<BTreeMap<String, String>> {
        let wanted: Vec<&str> = template.split('/').skip(1).collect();
        let mut names = BTreeMap::new();
        (wanted.len() == given.len()).then_some(())?;
        for (wanted, given) in wanted.iter().zip(&given) {
            match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => _ = names.insert(name.to_owned(), given.clone()),
                None => (wanted == given).then_some(())?,
            }
        }
        Some(names)
    };
    let found = file["paths"].as_object().unwrap().iter().find_map(|(template, methods)| {
        let operation = methods.get(request.method.to_lowercase())?;
        Some((operation, fitting(template)?))
    });
    let (operation, in_path) = found.unwrap_or_else(|| panic!("no such operation: {request:?}"));
    let (mut in_query, mut has_body) = (request.query.clone(), false);
    for rule in operation["parameters"].as_array().unwrap() {
        let rule = parameter(&file, rule);
        let name = rule["name"].as_str().unwrap();
        match rule["in"].as_str().unwrap() {
            "path" => assert_fits(rule, &in_path[name], request),
            "query" => {
                let at = in_query.iter().position(|(given, _)| given == name);
                assert!(at.is_some() || rule["required"] != true, "{name} is missing: {request:?}");
                if let Some(at) = at {
                    assert_fits(rule, &in_query.remove(at).1, request);
                }
            }
            "body" => {
                has_body = true;
                assert_eq!(request.header("content-type"), "application/json");
                assert_is(&rule["schema"], &request.content);
            }
            _ => {}
        }
    }
    assert!(in_query.is_empty(), "not published: {in_query:?} of {request:?}");
    assert!(has_body || request.content.is_empty(), "{request:?}");
    assert!(request.query.contains(&("api-version".to_owned(), "2018-06-01".to_owned())));
    operation["operationId"].as_str().unwrap().to_owned()
}

fn factory() -> Factory {
    Factory {
        subscription: SubscriptionId::new(SUBSCRIPTION).unwrap(),
        resource_group: ResourceGroup::new(GROUP).unwrap(),
        name: FactoryName::new("adf-prod").unwrap(),
    }
}

fn sim() -> Sim {
    let sim = Sim::start().unwrap();
    let (subscription, resource_group) = (SUBSCRIPTION.to_owned(), GROUP.to_owned());
    sim.set(|switches| {
        switches.client_secret = SECRET.to_owned();
        switches.factories =
            Some(vec![Place { subscription, resource_group, factory: "adf-prod".to_owned() }]);
        switches.actions = Some(vec!["*".to_owned()]);
    });
    sim
}

/// A client that reaches the stand-in through the recorder, and proves who it is by this.
fn client(recorder: &Recorder, endpoint: &str, key: &str, secret: &str) -> Client {
    let text = format!(
        "azure:\n  authority: http://{0}\n  resource_manager: http://{0}\n  tenant_id: contoso.onmicrosoft.com\n  \
         client_id: {CLIENT}\n  {key}: {{ env: PROOF }}\n  token_endpoint: {endpoint}\npipelines: []\n",
        recorder.address
    );
    let settings = crate::config::tests::accepted(&text);
    let secret = secret.to_owned();
    // A server on loopback is reached without a proxy; this proxy would fail.
    let environment: Environment = Arc::new(move |name| match name {
        "PROOF" => Some(secret.clone()),
        "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY" => Some("http://127.0.0.1:9".to_owned()),
        _ => None,
    });
    Client::new(&settings.azure, Arc::new(SystemClock), environment, Arc::new(drop)).unwrap()
}

/// Makes every call that there is.
async fn make_every_call(client: &Client, sim: &Sim) {
    let (factory, pipeline) = (factory(), PipelineName::published(PIPELINE).unwrap());
    let id = |n: u8| FiringId::from_random([n; 16]);
    let running = watch::Sender::new(false);
    let create = |n: u8, body: &'static str, recovers: Option<(RunId, &'static RecoverFrom)>| {
        let (factory, pipeline) = (&factory, &pipeline);
        client.create_run(
            CreateRun { factory, pipeline, request_id: id(n), body, recovers, timeout: LIMIT },
            running.subscribe(),
        )
    };
    client.warm().await;
    client.reach().await.unwrap();
    let first = create(0, "{}", None).await;
    let Outcome::Accepted { run_id } = first.outcome else { panic!("{first:?}") };
    create(1, r#"{"day":"2026-11-24","n":7,"list":["a",null],"o":{"a":true}}"#, None).await;
    static ACTIVITY: std::sync::LazyLock<RecoverFrom> =
        std::sync::LazyLock::new(|| RecoverFrom::Activity("Copy + (a/b) 100%&é".to_owned()));
    for (n, from) in [(2, &RecoverFrom::Failure), (3, &RecoverFrom::Start), (4, &*ACTIVITY)] {
        let recovered = create(n, "{}", Some((run_id, from))).await;
        assert!(matches!(recovered.outcome, Outcome::Accepted { .. }), "{recovered:?}");
    }
    assert!(matches!(client.look(&factory, id(0)).await, Look::Found(_)));
    for _ in 0..205 {
        sim.trigger(PIPELINE);
    }
    let since = first.sent_at.wall;
    let Searched::Runs(runs) = client.search(&factory, &pipeline, since).await else { panic!("no runs") };
    assert_eq!(runs.len(), 210);
    let pass = |since, active_of, one_by_one| Pass {
        factory: factory.clone(),
        id: id(0),
        since,
        span: None,
        active_of,
        one_by_one,
    };
    let listed = client.pass(&pass(Some(since), None, vec![run_id, RunId::from(id(9))])).await;
    assert_eq!((listed.unlisted, listed.unshown, listed.absent.len()), (None, None, 1));
    let active = client.pass(&pass(None, Some(pipeline.clone()), Vec::new())).await;
    assert_eq!((active.unlisted, active.runs.len()), (None, 210));
    assert_eq!(client.cancel(&factory, run_id, LIMIT).await, Cancelled::Begun);
    client.declaration(&factory, &pipeline).await.unwrap();
    client.permissions(&factory).await.unwrap();
}

/// The name of what a request asks for, after it was held against what is published about it.
fn name_of(request: &Request, recorder: &Recorder) -> String {
    assert_eq!(request.header("host"), recorder.address.to_string());
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["contoso.onmicrosoft.com", "oauth2", ..] = segments[..] {
        assert!(uuid::Uuid::try_parse(request.header("client-request-id")).is_ok());
        return "token".to_owned();
    }
    assert!(uuid::Uuid::try_parse(request.header("x-ms-client-request-id")).is_ok());
    if segments == ["metadata", "endpoints"] {
        assert!(request.all("authorization").is_empty());
        return "metadata".to_owned();
    }
    assert!(request.header("authorization").starts_with("Bearer eyJ"));
    // Published with Microsoft.Authorization ("Permissions - List For Resource"), version 2022-04-01.
    if segments[8..] == ["providers", "Microsoft.Authorization", "permissions"] {
        assert_eq!(request.query, [("api-version".to_owned(), "2022-04-01".to_owned())]);
        assert_eq!((request.method.as_str(), segments[3]), ("GET", GROUP));
        return "permissions".to_owned();
    }
    published(request)
}

#[tokio::test]
async fn every_call_is_one_that_is_published_and_that_every_server_understands() {
    let sim = sim();
    let recorder = Recorder::before(&sim);
    make_every_call(&client(&recorder, "v1", "client_secret", SECRET), &sim).await;
    let requests = recorder.requests();
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for request in &requests {
        let name = name_of(request, &recorder);
        let header = if name == "token" { "client-request-id" } else { "x-ms-client-request-id" };
        assert!(ids.insert(request.header(header).to_owned()), "an id is used twice: {request:?}");
        *calls.entry(name).or_default() += 1;
    }
    let expected = [
        ("PipelineRuns_Cancel", 1),
        ("PipelineRuns_Get", 3),
        ("PipelineRuns_QueryByFactory", 9),
        ("Pipelines_CreateRun", 5),
        ("Pipelines_Get", 1),
        ("metadata", 2),
        ("permissions", 1),
        ("token", 1),
    ];
    assert_eq!(calls.iter().map(|(name, count)| (name.as_str(), *count)).collect::<Vec<_>>(), expected);
    let created = requests.iter().filter(|request| request.path.ends_with("/createRun"));
    for (n, request) in (0..).zip(created) {
        let firing = FiringId::from_random([n; 16]).to_string();
        assert_eq!(request.header("x-ms-client-request-id"), firing, "a firing's attempts have its id");
    }
    let cancel = requests.iter().find(|request| request.path.ends_with("/cancel")).unwrap();
    assert_eq!((cancel.header("content-length"), cancel.content.as_str()), ("0", ""));
    let activity = requests.iter().flat_map(|request| &request.query);
    let activity: Vec<&str> =
        activity.filter(|(name, _)| name == "startActivityName").map(|(_, value)| value.as_str()).collect();
    assert_eq!(activity, ["Copy + (a/b) 100%&é"]);
}

#[tokio::test]
async fn a_second_attempt_of_a_firing_has_the_id_of_the_first() {
    let sim = sim();
    let recorder = Recorder::before(&sim);
    let client = client(&recorder, "v2", "client_secret", SECRET);
    let (factory, pipeline) = (factory(), PipelineName::new("A").unwrap());
    let (request_id, running) = (FiringId::from_random([7; 16]), watch::Sender::new(false));
    for _ in 0..2 {
        let (body, recovers) = ("{}", None);
        let call =
            CreateRun { factory: &factory, pipeline: &pipeline, request_id, body, recovers, timeout: LIMIT };
        client.create_run(call, running.subscribe()).await;
    }
    let requests = recorder.requests();
    let created: Vec<&str> = requests
        .iter()
        .filter(|request| request.path.ends_with("/createRun"))
        .map(|request| request.header("x-ms-client-request-id"))
        .collect();
    assert_eq!(created, [request_id.to_string(), request_id.to_string()]);
    assert_eq!(sim.run_count(), 1);
}

#[tokio::test]
async fn a_token_is_asked_for_with_what_its_endpoint_wants_and_nothing_else() {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    for (endpoint, path, audience) in [
        ("v1", "/oauth2/token", ("resource", "https://management.azure.com/")),
        ("v2", "/oauth2/v2.0/token", ("scope", "https://management.azure.com/.default")),
    ] {
        for (key, proof) in [("client_secret", SECRET), ("client_certificate", pem.as_str())] {
            let sim = sim();
            let recorder = Recorder::before(&sim);
            let answered = client(&recorder, endpoint, key, proof).token().acquire().await;
            assert_eq!(
                answered.is_ok(),
                key == "client_secret",
                "the assertion is for the recorder: {answered:?}"
            );
            let requests = recorder.requests();
            let [request] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!(request.path, format!("/contoso.onmicrosoft.com{path}"));
            assert_eq!((request.method.as_str(), request.query.len()), ("POST", 0));
            assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
            assert!(request.all("authorization").is_empty());
            let form = values(&request.content);
            let fields: BTreeMap<&str, &str> =
                form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(fields.len(), form.len(), "a field stands twice: {request:?}");
            let common = [("client_id", CLIENT), ("grant_type", "client_credentials"), audience];
            let mut expected = BTreeMap::from(common);
            if key == "client_secret" {
                expected.insert("client_secret", SECRET);
            } else {
                let type_of = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                expected.insert("client_assertion_type", type_of);
                expected.insert("client_assertion", fields["client_assertion"]);
                assert_eq!(fields["client_assertion"].split('.').count(), 3, "a JWS in its compact form");
            }
            assert_eq!(fields, expected);
        }
    }
}
