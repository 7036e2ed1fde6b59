//! The extra certificate authorities: what a `ca_file` holds, or why it holds nothing of use.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use x509_parser::pem::Pem;

use crate::file;

/// A file that is longer is no list of authorities: the system's own has some 200 KB.
const MOST: u64 = 16 * 1024 * 1024;

/// Why the extra certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// The file cannot be read.
    #[error("azure.ca_file {path} cannot be read; check that it is there and who may read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no file, or a file without a certificate in it.
    #[error("azure.ca_file {path} {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

/// The certificates of a file, DER; there is at least one.
pub(super) fn read(path: &Path) -> Result<Vec<Vec<u8>>, CaFileError> {
    let unreadable = |source| CaFileError::Unreadable { path: path.to_owned(), source };
    let unusable = |problem| CaFileError::Unusable { path: path.to_owned(), problem };
    let bytes = file::read(path, MOST).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
            unusable(format!("cannot be used: {error}; name a file with certificates in PEM"))
        }
        _ => unreadable(error),
    })?;
    certificates(&bytes).map_err(unusable)
}

/// The certificates in PEM text, or what is there instead.
fn certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    // What stands between the certificates is for people, and may be in any encoding.
    let text = String::from_utf8_lossy(bytes);
    let (mut certificates, mut others) = (Vec::new(), Vec::new());
    for part in Pem::iter_from_buffer(text.as_bytes()) {
        let number = certificates.len() + 1;
        let part = part.map_err(|error| match error {
            x509_parser::error::PEMError::IncompletePEM => {
                format!("is cut off: its certificate {number} has no END line; store it again")
            }
            _ => format!("holds a certificate {number} that is no PEM; store it again"),
        })?;
        match part.label.as_str() {
            "CERTIFICATE" => {
                part.parse_x509().map_err(|_| {
                    format!("holds a certificate {number} that cannot be read; store it again")
                })?;
                certificates.push(part.contents);
            }
            other => others.push(other.to_owned()),
        }
    }
    if certificates.is_empty() { Err(instead(bytes, &others)) } else { Ok(certificates) }
}

/// What a file without a certificate holds instead.
fn instead(bytes: &[u8], others: &[String]) -> String {
    let is_der = x509_parser::parse_x509_certificate(bytes).is_ok();
    match others {
        _ if bytes.iter().all(u8::is_ascii_whitespace) => {
            "is empty; it needs certificates in PEM (-----BEGIN CERTIFICATE-----)".to_owned()
        }
        _ if is_der => "holds a certificate in DER; it needs PEM: \
             openssl x509 -inform der -in FILE -out FILE.pem"
            .to_owned(),
        [] => "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned(),
        others if others.iter().any(|label| label.ends_with("PRIVATE KEY")) => {
            "holds a private key and no certificate; name the certificate, and keep the key where only its owner \
             reads it"
                .to_owned()
        }
        others => {
            let labels: Vec<String> = others.iter().map(|label| label.escape_debug().to_string()).collect();
            format!("holds no certificate in PEM, but {}", labels.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (String, Vec<u8>, String) {
        let made = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap();
        (made.cert.pem(), made.cert.der().to_vec(), made.signing_key.serialize_pem())
    }

    #[test]
    fn certificates_are_read_from_among_whatever_stands_around_them() {
        let (one, der, key) = made();
        let (two, ..) = made();
        let crlf = two.replace('\n', "\r\n");
        let mut text = b"# Zertifikat f\xfcr den Proxy\n".to_vec();
        text.extend_from_slice(format!("{one}\n{key}\nno PEM\n{crlf}").as_bytes());
        let certificates = certificates(&text).unwrap();
        assert_eq!((certificates.len(), &certificates[0]), (2, &der));
    }

    #[test]
    fn what_a_file_holds_instead_of_a_certificate_is_said() {
        let (pem, der, key) = made();
        let cut = |at: usize| pem.as_bytes()[..at].to_vec();
        let other = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (bytes, said) in [
            (Vec::new(), "is empty"),
            (b" \r\n\n".to_vec(), "is empty"),
            (der.clone(), "in DER; it needs PEM: openssl x509 -inform der"),
            (der[..100].to_vec(), "holds no certificate in PEM"),
            (key.into_bytes(), "holds a private key and no certificate"),
            (other.as_bytes().to_vec(), "holds no certificate in PEM, but X509 CRL"),
            (b"{ \"a\": 1 }".to_vec(), "holds no certificate in PEM (-----BEGIN"),
            (cut(pem.len() / 2), "is cut off: its certificate 1 has no END line"),
            (cut(pem.len() - 27), "is cut off: its certificate 1"),
            (format!("{pem}{}", &pem[..200]).into_bytes(), "is cut off: its certificate 2"),
            (pem.replacen("MII", "M?I", 1).into_bytes(), "a certificate 1 that is no PEM"),
            (nonsense.as_bytes().to_vec(), "a certificate 1 that cannot be read"),
            (b"-----BEGIN \x1b[31m-----\nAAAA\n-----END \x1b[31m-----\n".to_vec(), "but \\u{1b}[31m"),
        ] {
            let problem = certificates(&bytes).unwrap_err();
            assert!(problem.contains(said), "{problem}: {said}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| crate::event::chain(&read(path).unwrap_err());
        assert!(said(folder.path()).contains("it is a directory"), "{}", said(folder.path()));
        let missing = folder.path().join("ca.pem");
        assert!(said(&missing).contains("ca.pem cannot be read") && said(&missing).contains("No such file"));
        assert!(said(Path::new("/dev/null")).contains("it is a device, and only a regular file is read"));
        let large = std::fs::File::create(&missing).unwrap();
        large.set_len(MOST + 1).unwrap();
        assert!(said(&missing).contains("it is larger than"));
    }
}
