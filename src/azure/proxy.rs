//! Which proxy the environment names, by curl's variables, and what never goes through one.

use url::Url;

use super::credential::Environment;
use crate::secret::Secret;

/// The variables that name a proxy, by what they are for; of two spellings the first that is set counts. The one for
/// plain http is checked and has no effect: plain http is for loopback.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
/// Those that name the hosts that are reached without.
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What is never reached through a proxy, whatever the variables say: one elsewhere would read the secret, or reach
/// another service at the same address.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// A variable that names no proxy.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {variable} is '{value}', which {problem}")]
pub struct ProxyError {
    variable: &'static str,
    /// Its value without users and passwords.
    value: String,
    problem: String,
}

/// A proxy that is used for https.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Its address, which may hold a user and a password.
    pub(super) url: Secret,
    /// The variable and its value, to be shown.
    pub(super) shown: String,
    /// The hosts that are reached without it.
    pub(super) bypass: String,
}

/// The proxy that the environment names, if it names one. Every variable that is set must be readable; whether the
/// proxy can be used matters only for the one that is.
pub(super) fn read(environment: &Environment) -> Result<Option<Proxy>, ProxyError> {
    let wrong = |variable, value: &str, problem| ProxyError { variable, value: masked(value), problem };
    for variable in HTTPS.into_iter().chain(ALL).chain(HTTP) {
        let Some(value) = environment(variable).filter(|value| !value.trim().is_empty()) else { continue };
        address(&value).map_err(|problem| wrong(variable, &value, problem))?;
    }
    for variable in NONE {
        let Some(value) = environment(variable) else { continue };
        hosts(&value).map_err(|problem| wrong(variable, &value, problem))?;
    }
    let set = |names: [&'static str; 2]| {
        let value = names.into_iter().find_map(|name| Some((name, environment(name)?)));
        value.filter(|(_, value)| !value.trim().is_empty())
    };
    let Some((variable, value)) = set(HTTPS).or_else(|| set(ALL)) else { return Ok(None) };
    let url = address(&value).and_then(usable).map_err(|problem| wrong(variable, &value, problem))?;
    let mut bypass = set(NONE).map(|(_, value)| hosts(&value).unwrap_or_default()).unwrap_or_default();
    bypass.push(LOOPBACK.to_owned());
    Ok(Some(Proxy {
        url: Secret::new(url.into()),
        shown: format!("{variable}={}", masked(&value)),
        bypass: bypass.join(","),
    }))
}

/// The address of a proxy; without a scheme it is plain http.
fn address(value: &str) -> Result<Url, String> {
    let value = value.trim();
    let has_scheme = value.contains("://");
    let text = if has_scheme { value.to_owned() } else { format!("http://{value}") };
    match Url::parse(&text) {
        Ok(_) if !has_scheme && value.contains(":/") => Err("a '/' is missing".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
    .map_err(|error| format!("is no URL ({error}); write http://HOST:PORT, or unset the variable"))
}

/// The address, if this program can go through a proxy there.
fn usable(url: Url) -> Result<Url, String> {
    match url.scheme() {
        "http" | "https" if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            Err("names more than a host; write http://HOST:PORT, or unset the variable".to_owned())
        }
        "http" | "https" => Ok(url),
        scheme => Err(format!(
            "names a proxy of the kind '{scheme}'; this program goes through http and https proxies only: write \
             http://HOST:PORT, or unset the variable"
        )),
    }
}

/// A list of hosts as others read it too: names with and without `*.` before them, addresses, networks or `*`, with
/// commas or spaces between them, and perhaps a port, which does not matter here.
fn hosts(value: &str) -> Result<Vec<String>, String> {
    let is_between = |c: char| c == ',' || c.is_whitespace();
    value.split(is_between).filter(|host| !host.is_empty()).map(bypassed).collect()
}

fn bypassed(host: &str) -> Result<String, String> {
    if let Some((address, bits)) = host.split_once('/') {
        let most = match address.parse() {
            Ok(std::net::IpAddr::V4(_)) => Some(32),
            Ok(std::net::IpAddr::V6(_)) => Some(128),
            Err(_) => None,
        };
        if !bits.parse::<u8>().is_ok_and(|bits| most.is_some_and(|most| bits <= most)) {
            return Err(format!(
                "holds '{}', no host and no network; write names and networks with commas between them, such as \
                 .example.org,10.0.0.0/8",
                masked(host)
            ));
        }
    }
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    let without_port = host.rsplit_once(':').filter(|(name, port)| {
        let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        is_port && (!name.contains(':') || name.ends_with(']'))
    });
    let host = without_port.map_or(host, |(name, _)| name);
    Ok(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

/// A value without what may be a user and a password, and without control characters.
fn masked(value: &str) -> String {
    let shown = match value.rsplit_once('@') {
        Some((secret, rest)) => {
            let scheme = ["http://", "https://"].into_iter().find(|scheme| secret.starts_with(scheme));
            format!("{}[hidden]@{rest}", scheme.unwrap_or_default())
        }
        None => value.to_owned(),
    };
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let environment: Environment = Arc::new(move |name| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        });
        read(&environment).map_err(|error| error.to_string())
    }

    fn used(pairs: &[(&str, &str)]) -> Option<String> {
        with(pairs).unwrap().map(|proxy| proxy.url.expose().to_owned())
    }

    #[test]
    fn the_proxy_is_that_of_https_then_that_of_all() {
        let http = "http://p.example:3128";
        assert_eq!(used(&[]), None);
        assert_eq!(used(&[("HTTPS_PROXY", http)]).as_deref(), Some("http://p.example:3128/"));
        assert_eq!(used(&[("https_proxy", "p.example:3128 ")]).as_deref(), Some("http://p.example:3128/"));
        assert_eq!(used(&[("ALL_PROXY", "http://u:p%40ss@p")]).as_deref(), Some("http://u:p%40ss@p/"));
        assert_eq!(
            used(&[("all_proxy", "https://p"), ("https_proxy", "http://q")]).as_deref(),
            Some("http://q/")
        );
        assert_eq!(used(&[("HTTPS_PROXY", ""), ("https_proxy", "q")]), None, "the first that is set counts");
        assert_eq!(used(&[("HTTPS_PROXY", " "), ("ALL_PROXY", "q")]).as_deref(), Some("http://q/"));
        assert_eq!(used(&[("HTTP_PROXY", http), ("http_proxy", http)]), None, "plain http is for loopback");
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_named_with_its_value() {
        for variable in HTTPS.into_iter().chain(ALL).chain(HTTP) {
            for (value, said) in [
                ("foo:bar:baz", "is 'foo:bar:baz', which is no URL"),
                ("http://", "is no URL"),
                ("http://:3128", "is no URL"),
                ("http://p.example:99999", "is no URL"),
                ("http://a b", "is no URL"),
                ("http:/p.example:3128", "is no URL"),
                ("socks5://p.example:99999", "is no URL"),
                ("a\x1b[31m:b:c", "is 'a\\u{1b}[31m:b:c'"),
            ] {
                let error = with(&[(variable, value)]).unwrap_err();
                assert!(error.contains(&format!("variable {variable} is '")), "{error}");
                assert!(error.contains(said), "{value}: {error}");
            }
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_where_it_would_be() {
        for (value, said) in [
            ("socks5://p.example:1080", "of the kind 'socks5'"),
            ("ftp://p.example", "of the kind 'ftp'"),
            ("http://p.example/proxy.pac", "names more than a host"),
            ("p.example?x", "names more than a host"),
        ] {
            for variable in HTTPS.into_iter().chain(ALL) {
                let error = with(&[(variable, value)]).unwrap_err();
                assert!(error.contains(variable) && error.contains(said), "{error}");
            }
            let beside = [("HTTPS_PROXY", "q"), ("ALL_PROXY", value), ("HTTP_PROXY", value)];
            assert_eq!(used(&beside).as_deref(), Some("http://q/"), "another one is used");
        }
    }

    #[test]
    fn users_and_passwords_are_not_shown() {
        for value in [
            "http://canary:canary@p.example:99999",
            "canary:canary@p.example:99999",
            "http://canary:c@nary:canary@p.example:99999",
            "canary://canary@p.example:99999",
            "https://canary:can/ary@p.example:99999",
            "socks5://canary:canary@p.example",
            "http://canary:canary@p.example/proxy.pac",
        ] {
            let error = with(&[("HTTPS_PROXY", value)]).unwrap_err();
            assert!(!error.contains("anary"), "{error}");
            assert!(error.contains("[hidden]@p.example"), "{error}");
        }
        let proxy = with(&[("HTTPS_PROXY", "http://canary:canary@p.example")]).unwrap().unwrap();
        assert_eq!(proxy.shown, "HTTPS_PROXY=http://[hidden]@p.example");
        assert!(!format!("{proxy:?}").contains("canary"));
    }

    #[test]
    fn hosts_without_a_proxy_are_read_as_others_read_them_and_loopback_is_always_among_them() {
        let bypass = |value: &str| {
            with(&[("HTTPS_PROXY", "p"), ("NO_PROXY", value)]).map(|proxy| proxy.unwrap().bypass)
        };
        for (value, expected) in [
            ("", "localhost,127.0.0.0/8,::1"),
            ("*", "*,localhost,127.0.0.0/8,::1"),
            (
                "a.example, .b.example *.c.example,d.example:443",
                "a.example,.b.example,.c.example,d.example,localhost,127.0.0.0/8,::1",
            ),
            (
                "10.0.0.0/8,10.1.2.3:443,fe80::/10,[::2]:443,::3,",
                "10.0.0.0/8,10.1.2.3,fe80::/10,::2,::3,localhost,127.0.0.0/8,::1",
            ),
        ] {
            assert_eq!(bypass(value).unwrap(), expected);
        }
        for wrong in ["http://a.example", "a.example,10.0.0.0/33", "10.0.0/8", "fe80::/129", "a/b"] {
            let error = bypass(wrong).unwrap_err();
            assert!(error.contains("NO_PROXY is '") && error.contains("no host and no network"), "{error}");
        }
        assert!(with(&[("no_proxy", "http://a.example")]).unwrap_err().contains("variable no_proxy"));
    }
}
