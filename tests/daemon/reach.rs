//! How Azure is reached: what of the settings for it is wrong is said before anything is sent, and whoever does not
//! answer is named.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use azure_sim::{Effect, Fault, Operation, TokenEndpointDown};
use rcgen::{CertificateParams, KeyPair};

use crate::process::{Daemon, Place, SECRET, errors, of, results};

const ENTRY: &str = "pipelines:\n  - { name: a, pipeline: A, schedule: { every: 1s } }\n";
/// Nobody listens at this port: it is kept for those who throw away what they get.
const NOBODY: &str = "http://127.0.0.1:9";

/// A place whose `azure:` block has these other values.
fn with(others: &[(&str, &str)], rest: &str) -> Place {
    let place = Place::new();
    let mut text = format!("{}ledger: {}\n{rest}", place.azure(), place.path("ledger.db").display());
    for (from, to) in others {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    place.write_raw(text);
    place
}

/// What both `check` and the daemon say of a place in which something is wrong. A file may come later, so that
/// systemd starts the daemon again.
fn refused(place: &Place, change: impl Fn(&mut Command)) -> String {
    let [checked, ran] = [("check", 78), ("run", 69)].map(|(what, code)| {
        let mut command = place.command(&[what]);
        change(&mut command);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{what}: {}{}", results(&output), errors(&output));
        format!("{}{}", results(&output), errors(&output))
    });
    assert!(place.sim.requests().is_empty(), "nothing was sent");
    format!("{checked}\n{ran}")
}

#[test]
fn a_ca_file_without_a_certificate_is_named_by_check_and_at_the_start() {
    let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let pem = made.cert.pem();
    for (bytes, said) in [
        (b"".to_vec(), "is empty"),
        (made.cert.der().to_vec(), "in DER; it needs PEM"),
        (made.signing_key.serialize_pem().into_bytes(), "a private key and no certificate"),
        (pem.as_bytes()[..pem.len() / 2].to_vec(), "is cut off"),
    ] {
        let place = with(&[("  factory:", "  ca_file: /ca.pem\n  factory:")], ENTRY);
        let ca = place.path("ca.pem");
        std::fs::write(&ca, bytes).unwrap();
        let text = std::fs::read_to_string(place.schedule()).unwrap();
        place.write_raw(text.replace("/ca.pem", ca.to_str().unwrap()));
        let all = refused(&place, |_| {});
        assert!(all.matches(&format!("azure.ca_file {}", ca.display())).count() >= 2, "{all}");
        assert!(all.matches(said).count() >= 2 && !all.contains("PRIVATE KEY"), "{all}");
    }
    for (path, said) in
        [("/", "is a directory"), ("/no/such/ca.pem", "No such file"), ("/dev/null", "regular file")]
    {
        let place = with(&[("  factory:", &format!("  ca_file: {path}\n  factory:"))], ENTRY);
        let all = refused(&place, |_| {});
        assert!(all.contains(&format!("azure.ca_file {path}")) && all.matches(said).count() >= 2, "{all}");
    }
}

#[test]
fn a_proxy_variable_that_is_no_url_is_named_by_check_and_at_the_start_without_its_password() {
    for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let place = with(&[], ENTRY);
        let all = refused(&place, |command| _ = command.env(variable, "foo:bar:baz"));
        assert!(all.matches(&format!("{variable} is 'foo:bar:baz', which is no URL")).count() >= 2, "{all}");
        let all = refused(&place, |command| _ = command.env(variable, "http://user:canary@foo:bar"));
        assert!(all.contains("'http://[hidden]@foo:bar'") && !all.contains("canary"), "{all}");
    }
    let all = refused(&with(&[], ENTRY), |command| _ = command.env("NO_PROXY", "a.example,http://b.example"));
    assert!(all.contains("NO_PROXY is 'a.example,http://b.example'"), "{all}");
}

#[test]
fn loopback_is_reached_without_a_proxy_whatever_the_variables_say() {
    let place = with(&[], ENTRY);
    let mut command = place.command(&["run"]);
    for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(variable, NOBODY);
    }
    command.env("NO_PROXY", "a.example");
    let daemon = Daemon::spawn(command);
    daemon.wait_for("run.created", |_| true);
    assert!(of(&daemon.stop().events, "token.refresh_failed").is_empty());
    for host in ["localhost", "127.0.0.1"] {
        let server = Server::start(&[host], 2020, 2100);
        let place = server.place(host);
        let output = place.command(&["check", "--live"]).env("ALL_PROXY", NOBODY).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{host}: {}", errors(&output));
    }
}

/// A token endpoint with a certificate of its own.
struct Server {
    port: u16,
    pem: String,
}

impl Server {
    /// Its certificate is for these names, and good from the first day of one year to that of another.
    fn start(names: &[&str], from: i32, to: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = format!("the authority of {}", names[0]);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, issuer);
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        let pem = certificate.pem();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                // Whoever does not trust it hangs up.
                let _ = answer(rustls::StreamOwned::new(connection, stream));
            }
        });
        Self { port, pem }
    }

    /// A place without entries whose tokens come from here, and which trusts the certificate.
    fn place(&self, host: &str) -> Place {
        let place = Place::new();
        let ca = place.path("ca.pem");
        std::fs::write(&ca, &self.pem).unwrap();
        let authority = format!("authority: https://{host}:{}\n  ca_file: {}", self.port, ca.display());
        let azure = place.azure().replace(&format!("authority: {}", place.sim.url()), &authority);
        place.write_raw(format!("{azure}ledger: {}\npipelines: []\n", place.path("ledger.db").display()));
        place
    }
}

/// Answers one request for a token.
fn answer(mut stream: rustls::StreamOwned<rustls::ServerConnection, TcpStream>) -> std::io::Result<()> {
    let (mut said, mut buffer) = (Vec::new(), [0; 4_096]);
    while !said.windows(10).any(|bytes| bytes == b"grant_type") {
        let count = stream.read(&mut buffer)?;
        said.extend_from_slice(&buffer[..count]);
        if count == 0 {
            return Ok(());
        }
    }
    let body = r#"{"token_type":"Bearer","expires_in":"3599","access_token":"eyJ.a.b"}"#;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn live(place: &Place) -> (Option<i32>, String) {
    let output = place.run(&["check", "--live"]);
    (output.status.code(), errors(&output))
}

#[test]
fn a_certificate_that_is_not_accepted_is_said_with_what_is_wrong_with_it() {
    let good = Server::start(&["localhost"], 2020, 2100);
    let place = good.place("localhost");
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(results(&output).contains("token: granted"));
    let another = Server::start(&["another.example"], 2020, 2100);
    std::fs::write(place.path("ca.pem"), &another.pem).unwrap();
    let (code, said) = live(&place);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("no token: Entra ID at https://localhost:"), "{said}");
    assert!(said.contains("the certificate of localhost is not accepted: UnknownIssuer; "), "{said}");
    assert!(said.contains("azure.ca_file"), "{said}");
    let (code, said) = live(&another.place("localhost"));
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("of localhost is not accepted: certificate not valid for name"), "{said}");
    assert!(said.contains("another.example"), "{said}");
    for (from, to, problem) in
        [(2020, 2021, "certificate expired"), (2100, 2101, "certificate not valid yet")]
    {
        let (code, said) = live(&Server::start(&["localhost"], from, to).place("localhost"));
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains(problem) && said.contains("check this host's clock"), "{said}");
    }
}

#[test]
fn whoever_is_down_is_named_and_whoever_answers_is_not() {
    let (entra, arm) = ("no token: Entra ID at", "Azure Resource Manager at");
    for rest in [ENTRY, "pipelines: []\n"] {
        let place = Place::new();
        let at = |key: &str| format!("{key}: {}", place.sim.url());
        let write = |key: &str| {
            let azure = place.azure().replace(&at(key), &format!("{key}: {NOBODY}"));
            place.write_raw(format!("{azure}ledger: {}\n{rest}", place.path("ledger.db").display()));
            live(&place)
        };
        let (code, said) = write("  resource_manager");
        assert_eq!(code, Some(69), "{said}");
        let words = format!("{arm} {NOBODY} did not answer: no connection to 127.0.0.1: ");
        assert!(said.contains(&words) && said.contains("refused") && !said.contains(entra), "{said}");
        assert_eq!(said.matches(arm).count(), 1, "once, and not for each entry: {said}");
        let (code, said) = write("  authority");
        assert_eq!(code, Some(69), "{said}");
        assert!(
            said.contains(&format!("{entra} {NOBODY} did not answer: ")) && !said.contains(arm),
            "{said}"
        );
    }
    let place = with(&[], "pipelines: []\n");
    let (code, said) = live(&place);
    assert!(code == Some(0) && !said.contains(entra) && !said.contains(arm), "{said}");
    let busy = Effect::error(503, "ServerBusy", "come back\u{1b}[31m later");
    place.sim.set(|switches| switches.faults.push(Fault::always(Operation::Metadata, busy)));
    let (code, said) = live(&place);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("failed: 503 ServerBusy: come back") && !said.contains('\u{1b}'), "{said}");
    place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::Status(502));
    let (code, said) = live(&place);
    assert!(code == Some(69) && said.contains("Entra ID answered 502") && said.contains(arm), "{said}");
    place.sim.set(|switches| {
        switches.token_endpoint_down = TokenEndpointDown::None;
        switches.client_secret = "another".to_owned();
    });
    let (code, said) = live(&place);
    assert_eq!(code, Some(77), "a refusal is what a person must mend first: {said}");
    assert!(
        said.contains("the client secret is wrong") && said.contains(arm) && !said.contains(SECRET),
        "{said}"
    );
}

/// A proxy that answers every CONNECT with this; it keeps what it was asked.
fn proxy(status: &'static str) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<Mutex<String>>::default());
    let keep = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut buffer = [0; 4_096];
            let count = stream.read(&mut buffer).unwrap_or_default();
            keep.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (port, asked)
}

#[test]
fn a_proxy_that_refuses_or_is_down_is_named_without_its_password() {
    let place = Place::new();
    let url = place.sim.url();
    let azure = place.azure();
    let kept: String =
        azure.lines().filter(|line| !line.contains(&url)).map(|line| format!("{line}\n")).collect();
    place.write_raw(format!("{kept}ledger: {}\n{ENTRY}", place.path("ledger.db").display()));
    let through = |address: &str| -> Output {
        let value = format!("http://user:canary@{address}");
        place.command(&["check", "--live"]).env("HTTPS_PROXY", value).output().unwrap()
    };
    for (status, words) in [
        ("403 Forbidden", "the proxy gives no way to"),
        ("407 Proxy Authentication Required", "the proxy wants a user and a password"),
    ] {
        let (port, asked) = proxy(status);
        let output = through(&format!("127.0.0.1:{port}"));
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(69), "{said}");
        let proxy = format!("the proxy of HTTPS_PROXY=http://[hidden]@127.0.0.1:{port}");
        for who in [
            "Entra ID at https://login.microsoftonline.com",
            "Resource Manager at https://management.azure.com",
        ] {
            let line =
                said.lines().find(|line| line.contains(who)).unwrap_or_else(|| panic!("{who}: {said}"));
            assert!(line.contains(words) && line.contains(&proxy), "{line}");
        }
        assert!(!said.contains("canary") && !results(&output).contains("canary"));
        let asked = asked.lock().unwrap();
        assert!(asked.contains("CONNECT login.microsoftonline.com:443"), "{asked}");
        assert!(asked.contains("CONNECT management.azure.com:443"), "{asked}");
        assert!(asked.to_lowercase().contains("proxy-authorization: basic dxnlcjpjyw5hcnk="), "{asked}");
    }
    let output = through("127.0.0.1:9");
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(
        said.contains("did not answer: no connection to the proxy: ") && said.contains("refused"),
        "{said}"
    );
    assert!(said.contains("through the proxy of HTTPS_PROXY=http://[hidden]@127.0.0.1:9"), "{said}");
}
