//! Values that must never be seen: they have no `Display`, no `Serialize`, and a `Debug` that
//! prints a placeholder.

use std::fmt;

/// A client secret, a private key or an access token.
///
/// ```compile_fail
/// let secret = adf_cron::secret::Secret::new("hunter2".to_owned());
/// println!("{secret}");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes charge of a secret text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that sends or signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_a_placeholder() {
        assert_eq!(format!("{:?}", Some(Secret::new("canary".into()))), "Some([secret])");
    }
}
