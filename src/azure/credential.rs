//! What proves that we are the application, read anew for each token: a changed secret needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::SecretSource;
use crate::file;
use crate::secret::Secret;

/// Looks an environment variable up.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How long reading a secret may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A secret is no larger than this, in bytes.
const MOST: u64 = 1024 * 1024;

/// Where credentials lie when the service manager hands none over.
const FALLBACK: &str = "/etc/adf-cron";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The variable is not set.
    #[error(
        "the environment variable {0} is not set; set it for the daemon (systemd: Environment= or EnvironmentFile=)"
    )]
    NoVariable(String),
    /// The file cannot be read.
    #[error(
        "the credential file {path} cannot be read by the daemon; check that it exists and who may read it"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither place has it.
    #[error(
        "the credential '{name}' is neither in $CREDENTIALS_DIRECTORY nor at {fallback}; hand it over with LoadCredential="
    )]
    NoCredential {
        /// Its name.
        name: String,
        /// The second place.
        fallback: PathBuf,
        /// What the system said of the second place.
        source: std::io::Error,
    },
    /// The place where it lies does not answer.
    #[error("the secret could not be read within {} s; the place where it lies does not answer", PATIENCE.as_secs())]
    TooSlow,
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
}

/// Reads a secret from its source, which may hang, beside everything else.
pub(super) async fn fetch(
    source: &SecretSource,
    environment: &Environment,
) -> Result<Secret, CredentialError> {
    let (source, environment) = (source.clone(), Arc::clone(environment));
    let read = file::beside(PATIENCE, move || read(&source, &environment)).await;
    read.unwrap_or(Err(CredentialError::TooSlow))
}

/// Reads a secret from its source. One line end at its end is not part of it.
fn read(source: &SecretSource, environment: &Environment) -> Result<Secret, CredentialError> {
    let (text, place) = match source {
        SecretSource::Env(name) => {
            let text = environment(name).ok_or_else(|| CredentialError::NoVariable(name.clone()))?;
            (text, format!("the environment variable {name}"))
        }
        SecretSource::File(path) => {
            let text =
                read_file(path).map_err(|source| CredentialError::File { path: path.clone(), source })?;
            (text, format!("the credential file {}", path.display()))
        }
        SecretSource::Credential(name) => {
            let handed_over = environment("CREDENTIALS_DIRECTORY")
                .map(|directory| Path::new(&directory).join(name))
                .and_then(|path| read_file(&path).ok());
            let fallback = Path::new(FALLBACK).join(name);
            let text = match handed_over {
                Some(text) => text,
                None => read_file(&fallback).map_err(|source| CredentialError::NoCredential {
                    name: name.clone(),
                    fallback,
                    source,
                })?,
            };
            (text, format!("the credential '{name}'"))
        }
    };
    let trimmed =
        text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if trimmed.is_empty() { Err(CredentialError::Empty(place)) } else { Ok(Secret::new(trimmed.to_owned())) }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let bytes = file::read(path, MOST)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&'static str, &'static str)]) -> Environment {
        Arc::new(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_secret_is_read_from_each_of_its_places() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client-secret");
        std::fs::write(&path, "s3cr3t+ &=~%\r\n").unwrap();
        let from_file = read(&SecretSource::File(path), &environment(&[])).unwrap();
        assert_eq!(from_file.expose(), "s3cr3t+ &=~%");
        let from_env = read(&SecretSource::Env("A".into()), &environment(&[("A", "b")])).unwrap();
        assert_eq!(from_env.expose(), "b");
        let place = directory.path().to_str().unwrap().to_owned();
        let handed: Environment =
            Arc::new(move |name| (name == "CREDENTIALS_DIRECTORY").then(|| place.clone()));
        let credential = read(&SecretSource::Credential("client-secret".into()), &handed).unwrap();
        assert_eq!(credential, from_file);
    }

    #[test]
    fn a_secret_that_is_missing_is_named_by_its_place() {
        let missing = |source| read(&source, &environment(&[("EMPTY", "\n")])).unwrap_err().to_string();
        assert!(missing(SecretSource::Env("A".into())).contains("variable A is not set"));
        assert!(missing(SecretSource::Env("EMPTY".into())).contains("is empty"));
        assert!(missing(SecretSource::File("/no/such/file".into())).contains("/no/such/file"));
        assert!(missing(SecretSource::Credential("nope-1".into())).contains("LoadCredential="));
    }
}
