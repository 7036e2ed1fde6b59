//! A client that is as small as can be: one request for each connection, HTTP/1.1, over loopback.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use azure_sim::{Place as Factory, Sim};
use serde_json::Value;

/// Longer than anything that a test waits for can rightly take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The factory of the tests that name none.
pub(crate) const FACTORY: &str = "/subscriptions/1e42591f-1f0c-4c5a-b7f2-a268f6105ec5/resourceGroups/group\
                                  /providers/Microsoft.DataFactory/factories/factory";

/// The same, as the stand-in knows it.
pub(crate) fn factory() -> Factory {
    let of = |text: &str| text.to_owned();
    Factory {
        subscription: of("1e42591f-1f0c-4c5a-b7f2-a268f6105ec5"),
        resource_group: of("group"),
        factory: of("factory"),
    }
}

/// The stand-in, with this factory.
pub(crate) fn sim() -> Sim {
    let sim = Sim::start().unwrap();
    sim.set(|switches| switches.factories = Some(vec![factory()]));
    sim
}

/// The tenant of the tests that name none.
pub(crate) const TENANT: &str = "contoso";

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The error code that ARM and Data Factory give.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request that was sent and may be answered.
pub(crate) struct Pending(TcpStream);

impl Pending {
    /// The answer; `None`: the connection ended without one.
    pub(crate) fn answer(mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
        if bytes.is_empty() {
            return None;
        }
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let answer = Answer { status, headers, body: body.to_owned() };
        assert_eq!(answer.header("content-length").unwrap(), answer.body.len().to_string(), "{answer:?}");
        Some(answer)
    }
}

/// Sends a request and does not wait for its answer.
pub(crate) fn send(sim: &Sim, ask: &Ask<'_>) -> Pending {
    let url = sim.url();
    let address = url.strip_prefix("http://").unwrap();
    let mut text =
        format!("{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", ask.method, ask.target);
    for (name, value) in &ask.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = ask.body.as_deref().unwrap_or_default();
    if ask.body.is_some() || ask.method == "POST" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    raw(sim, &format!("{text}\r\n{body}"))
}

/// Sends a request as it stands here.
pub(crate) fn raw(sim: &Sim, request: &str) -> Pending {
    let mut stream = TcpStream::connect(sim.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    Pending(stream)
}

/// The answer to a request that is answered.
pub(crate) fn ask(sim: &Sim, request: &Ask<'_>) -> Answer {
    let what = format!("{} {}", request.method, request.target);
    send(sim, request).answer().unwrap_or_else(|| panic!("{what} was not answered"))
}

/// A form for a token endpoint.
pub(crate) fn form<'a>(target: &'a str, body: &str) -> Ask<'a> {
    let headers = vec![("content-type", "application/x-www-form-urlencoded")];
    Ask { method: "POST", target, headers, body: Some(body.to_owned()) }
}

/// What a good form holds, for v2.
pub(crate) const GOOD_FORM: &str = "grant_type=client_credentials&client_id=6731de76-14a6-49ae-97bc-6eba6914391e\
                                    &client_secret=secret&scope=https%3A%2F%2Fmanagement.azure.com%2F.default";

/// Asks for a token of this tenant at v2.
pub(crate) fn token_answer(sim: &Sim, tenant: &str) -> Answer {
    ask(sim, &form(&format!("/{tenant}/oauth2/v2.0/token"), GOOD_FORM))
}

/// A token of this tenant.
pub(crate) fn token_of(sim: &Sim, tenant: &str) -> String {
    token_answer(sim, tenant).json()["access_token"].as_str().unwrap().to_owned()
}

/// The stand-in, and a client that holds a token.
pub(crate) struct Place {
    pub(crate) sim: Sim,
    token: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let sim = sim();
        let token = format!("Bearer {}", token_of(&sim, TENANT));
        Self { sim, token }
    }

    /// Asks for another token from now on.
    pub(crate) fn renew(&mut self) {
        self.token = format!("Bearer {}", token_of(&self.sim, TENANT));
    }

    /// A path of the factory, with the version.
    fn target(path: &str) -> String {
        format!("{FACTORY}{path}?api-version=2018-06-01")
    }

    /// What the caller may do with the factory, which another provider tells in a version of its own.
    pub(crate) fn permissions(&self) -> Answer {
        let headers = vec![("authorization", self.token.as_str())];
        let target =
            format!("{FACTORY}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01");
        ask(&self.sim, &Ask { method: "GET", target: &target, headers, body: None })
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let headers = vec![("authorization", self.token.as_str())];
        ask(&self.sim, &Ask { method: "GET", target: &Self::target(path), headers, body: None })
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        let headers =
            vec![("authorization", self.token.as_str()), ("content-type", "application/json; charset=utf-8")];
        let body = Some(body.to_owned());
        ask(&self.sim, &Ask { method: "POST", target: &Self::target(path), headers, body })
    }

    /// Sends a createRun of pipeline A with this request id.
    pub(crate) fn send_create(&self, request_id: &str) -> Pending {
        let headers = vec![
            ("authorization", self.token.as_str()),
            ("content-type", "application/json"),
            ("x-ms-client-request-id", request_id),
        ];
        let target = Self::target("/pipelines/A/createRun");
        send(&self.sim, &Ask { method: "POST", target: &target, headers, body: Some("{}".to_owned()) })
    }

    /// The answer to a createRun of pipeline A with this request id.
    pub(crate) fn create(&self, request_id: &str) -> Answer {
        self.send_create(request_id).answer().unwrap()
    }

    /// A run of pipeline A with these parameters; its id.
    pub(crate) fn run(&self, parameters: &str) -> String {
        let answer = self.post("/pipelines/A/createRun", parameters);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["runId"].as_str().unwrap().to_owned()
    }

    /// Queries the runs of all times, with these further fields in the body.
    pub(crate) fn query(&self, more: &str) -> Answer {
        let all = r#""lastUpdatedAfter":"2000-01-01T00:00:00Z","lastUpdatedBefore":"2100-01-01T00:00:00Z""#;
        self.post("/queryPipelineRuns", &format!("{{{all}{more}}}"))
    }
}
