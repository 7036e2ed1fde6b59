//! Where tokens and Data Factory are: the addresses of Microsoft's clouds, and which others may be named.
//!
//! Whoever may edit the schedule may not send the secret elsewhere: a host that is neither Microsoft's
//! nor loopback must be named by the daemon's environment.

use std::fmt;

use url::{Host, Url};

use super::raw::Cloud;

/// The environment variable that names one more host to trust.
pub const TRUST_HOST: &str = "ADF_CRON_TRUST_HOST";

/// Microsoft's hosts for tokens (azure-identity's and MSAL's lists of authorities).
const AUTHORITY_HOSTS: [&str; 7] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
    "login.sovcloud-identity.fr",
    "login.sovcloud-identity.de",
    "login.sovcloud-identity.sg",
];

/// Microsoft's hosts for the resource manager (azure-mgmt-core's list of clouds).
const RESOURCE_MANAGER_HOSTS: [&str; 3] =
    ["management.azure.com", "management.usgovcloudapi.net", "management.chinacloudapi.cn"];

/// The address of a service that may be given a secret or a token: https, or http on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Which service an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Authority,
    ResourceManager,
}

impl Endpoint {
    /// The address of a service of a cloud.
    pub(super) fn of(service: Service, cloud: Cloud) -> Option<Self> {
        let host = match (service, cloud) {
            (Service::Authority, Cloud::Public) => AUTHORITY_HOSTS[0],
            (Service::Authority, Cloud::Usgov) => AUTHORITY_HOSTS[1],
            (Service::Authority, Cloud::China) => AUTHORITY_HOSTS[2],
            (Service::ResourceManager, Cloud::Public) => RESOURCE_MANAGER_HOSTS[0],
            (Service::ResourceManager, Cloud::Usgov) => RESOURCE_MANAGER_HOSTS[1],
            (Service::ResourceManager, Cloud::China) => RESOURCE_MANAGER_HOSTS[2],
        };
        Url::parse(&format!("https://{host}")).ok().map(Self)
    }

    /// Takes an address that a person gave; `trusted` is the host that the environment names.
    pub(super) fn parse(text: &str, service: Service, trusted: Option<&str>) -> Result<Self, String> {
        let url =
            Url::parse(text).map_err(|error| format!("not an address ({error}); write https://HOST"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address must not hold a user or a password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("an address ends before any '?' or '#'".to_owned());
        }
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err("plain http is refused off loopback; write https://".to_owned()),
            _ => return Err("not an address to use here; write https://HOST".to_owned()),
        }
        let known: &[&str] = match service {
            Service::Authority => &AUTHORITY_HOSTS,
            Service::ResourceManager => &RESOURCE_MANAGER_HOSTS,
        };
        let host = url.host_str().unwrap_or_default();
        let named = |trusted: &str| trusted.split(',').any(|name| name.trim().eq_ignore_ascii_case(host));
        if loopback || known.contains(&host) || trusted.is_some_and(named) {
            return Ok(Self(url));
        }
        Err(format!(
            "'{host}' is not one of Microsoft's hosts; if secrets and tokens may go there, set {TRUST_HOST}={host} \
             in the daemon's environment"
        ))
    }

    /// Whether it is plain http, which it is on loopback only.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The address as a URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Whether a URL leads to this host.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where people of a cloud watch their runs.
pub(super) fn studio(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "https://adf.azure.com",
        Cloud::Usgov => "https://adf.azure.us",
        Cloud::China => "https://adf.azure.cn",
    }
}

/// Whom a token of a cloud is for.
pub(super) fn audience(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "https://management.azure.com/",
        Cloud::Usgov => "https://management.core.usgovcloudapi.net/",
        Cloud::China => "https://management.chinacloudapi.cn/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        Endpoint::parse(text, Service::Authority, Some("login.example.org")).map(|e| e.to_string())
    }

    #[test]
    fn microsofts_hosts_loopback_and_the_trusted_one_are_accepted() {
        assert_eq!(parse("https://login.microsoftonline.us/").unwrap(), "https://login.microsoftonline.us");
        assert_eq!(parse("http://127.0.0.1:8080").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(parse("http://[::1]:1/a").unwrap(), "http://[::1]:1/a");
        assert!(parse("https://login.example.org").is_ok());
    }

    #[test]
    fn the_secret_cannot_be_sent_elsewhere() {
        assert!(
            parse("https://login.evil.example")
                .unwrap_err()
                .contains("ADF_CRON_TRUST_HOST=login.evil.example")
        );
        assert!(parse("http://login.microsoftonline.com").unwrap_err().contains("plain http"));
        assert!(parse("http://127.0.0.1.evil.example").unwrap_err().contains("plain http"));
        assert!(parse("https://login.microsoftonline.com@evil.example").unwrap_err().contains("a user"));
        assert!(parse("ftp://localhost").is_err());
        assert!(parse("login.microsoftonline.com").is_err());
        assert!(
            Endpoint::parse("https://login.microsoftonline.com", Service::ResourceManager, None).is_err()
        );
    }
}
