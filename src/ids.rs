//! The words that name things: entries, firings, runs and the Azure resources they address.
//!
//! Names are valid by construction. The patterns are Azure's own
//! (Data Factory REST API 2018-06-01, OpenAPI `pathParameters`).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of every scheduled firing's UUIDv5. Changing it would let a firing that an older
/// version already started be started again, so it never changes.
const FIRING_NAMESPACE: Uuid = Uuid::from_u128(0xbba7_b480_ecc6_416a_9e53_53db_28c8_d847);

/// A name that does not fit the pattern of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {rule}")]
pub struct InvalidName {
    /// What was being named, for example `entry name`.
    pub kind: &'static str,
    /// The rule, in words that complete "must be".
    pub rule: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes a name of this kind.
            ///
            /// # Errors
            /// [`InvalidName`] when the text does not fit the kind's pattern.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { kind: $kind, rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The unique name of one item under `pipelines:`.
    EntryName,
    "an entry name",
    "1 to 63 letters, digits, '.', '_' or '-'",
    |text| (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
);

impl EntryName {
    /// A name made of another, with everything replaced that it may not hold; `None` when nothing would be left.
    #[must_use]
    pub fn made_of(text: &str) -> Option<Self> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        let text: String = text.chars().map(plain).take(63).collect();
        text.bytes().any(|b| b.is_ascii_alphanumeric()).then(|| Self::new(&text).ok()).flatten()
    }
}

name_type!(
    /// Data Factory's own name of a pipeline. It may hold spaces and letters of any script.
    PipelineName,
    "a pipeline name",
    "1 to 260 characters, beginning with a letter from A to Z, a digit or '_', without < > * # . % & : \\ + ? /",
    |text| (1..=260).contains(&text.chars().count())
        && text.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
        && !text.chars().any(|c| "<>*#.%&:\\+?/".contains(c) || c.is_control())
);

impl PipelineName {
    /// Takes a name that Data Factory can give. [`PipelineName::new`] also takes those that begin with any other
    /// letter or digit: they were accepted once, and what is kept under them is still read.
    ///
    /// # Errors
    /// [`InvalidName`] when the text does not fit the published pattern.
    pub fn published(text: &str) -> Result<Self, InvalidName> {
        match Self::new(text) {
            Ok(_) if !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') => Self::new(""),
            result => result,
        }
    }
}

name_type!(
    /// The name of a data factory.
    FactoryName,
    "a factory name",
    "3 to 63 letters, digits and single inner '-'",
    |text| (3..=63).contains(&text.len())
        && text.split('-').all(|part| !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric()))
);
name_type!(
    /// The name of a resource group.
    ResourceGroup,
    "a resource group",
    "1 to 90 letters, digits, '.', '_', '-', '(' or ')', not ending with '.'",
    |text| (1..=90).contains(&text.chars().count())
        && !text.ends_with('.')
        && text.chars().all(|c| c.is_alphanumeric() || "._-()".contains(c))
);
name_type!(
    /// A subscription's id: a GUID.
    SubscriptionId,
    "a subscription id",
    "a GUID such as 00000000-0000-0000-0000-000000000000",
    |text| text.len() == 36 && Uuid::try_parse(text).is_ok()
);

/// The factory that a firing addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Factory {
    /// The subscription that holds the resource group.
    pub subscription: SubscriptionId,
    /// The resource group that holds the factory.
    pub resource_group: ResourceGroup,
    /// The factory's name.
    pub name: FactoryName,
}

impl Factory {
    /// The ARM resource path, as it stands after `resource_manager` in a URL.
    #[must_use]
    pub fn path(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DataFactory/factories/{}",
            self.subscription, self.resource_group, self.name
        )
    }

    /// The page of Data Factory Studio (`studio`) on which a person watches the run.
    #[must_use]
    pub fn monitor_url(&self, studio: &str, run_id: RunId) -> String {
        format!("{studio}/en/monitoring/pipelineruns/{run_id}?factory={}", self.path())
    }

    /// One spelling for a factory that is written in different ways: ARM ignores case.
    #[must_use]
    pub fn key(&self) -> String {
        self.path().to_lowercase()
    }
}

/// The instant that an entry's calendar names: whole seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nominal(i64);

impl Nominal {
    /// The nominal time at this many seconds since the Unix epoch, or `None` outside years -9999 to 9999.
    #[must_use]
    pub fn from_second(second: i64) -> Option<Self> {
        Timestamp::from_second(second).is_ok().then_some(Self(second))
    }

    /// The last whole second at or before `instant`.
    #[must_use]
    pub fn at_or_before(instant: Timestamp) -> Self {
        Self(instant.as_millisecond().div_euclid(1000))
    }

    /// The first whole second at or after `instant`.
    #[must_use]
    pub fn at_or_after(instant: Timestamp) -> Self {
        let floor = Self::at_or_before(instant);
        if floor.timestamp() < instant { Self::from_second(floor.0 + 1).unwrap_or(floor) } else { floor }
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn as_second(self) -> i64 {
        self.0
    }

    /// The same instant as a timestamp.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        // Every Nominal was checked when it was made; the fallback cannot be reached.
        Timestamp::from_second(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Nominal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

/// Identifies a firing: one entry at one nominal time. It is also the request id of each of its
/// attempts, by which a lost answer is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FiringId(Uuid);

impl FiringId {
    /// The id of a scheduled firing: the same on every host and after every crash.
    #[must_use]
    pub fn scheduled(factory: &Factory, entry: &EntryName, nominal: Nominal) -> Self {
        let name = format!(
            "{}\n{}\n{}\n{entry}\n{nominal}",
            factory.subscription.as_str().to_lowercase(),
            factory.resource_group.as_str().to_lowercase(),
            factory.name.as_str().to_lowercase(),
        );
        Self(Uuid::new_v5(&FIRING_NAMESPACE, name.as_bytes()))
    }

    /// The id of a firing that a person asked for, from the randomness passed in.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// Reads an id in any of the forms of a GUID.
    ///
    /// # Errors
    /// [`InvalidName`] when the text is not a GUID.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidName { kind: "a firing id", rule: "a GUID" })
    }
}

impl fmt::Display for FiringId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Data Factory's id of a pipeline run: a GUID, kept in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// Reads a run id as the service writes it.
    ///
    /// # Errors
    /// [`InvalidName`] when the text is not a GUID.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidName { kind: "a run id", rule: "a GUID" })
    }

    /// Whether the service took the firing's own id as the run's (undocumented, seen in every
    /// recorded createRun exchange; see `tests/azure-sim/data`).
    #[must_use]
    pub fn is(self, firing: FiringId) -> bool {
        self.0 == firing.0
    }
}

impl From<FiringId> for RunId {
    /// The run id that the service gives when it takes the caller's request id.
    fn from(firing: FiringId) -> Self {
        Self(firing.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a firing exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The calendar named its nominal time.
    Scheduled,
    /// A person asked for it with `fire`.
    Manual,
    /// A person asked for past nominal times with `backfill`.
    Backfill,
    /// It repeats a run that failed.
    Recovery,
}

impl Kind {
    /// The word in logs, the ledger and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Backfill => "backfill",
            Self::Recovery => "recovery",
        }
    }

    /// Reads the word that [`Kind::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Scheduled, Self::Manual, Self::Backfill, Self::Recovery]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factory(name: &str) -> Factory {
        Factory {
            subscription: SubscriptionId::new("00000000-0000-0000-0000-0000000000AB").unwrap(),
            resource_group: ResourceGroup::new("RG-Data").unwrap(),
            name: FactoryName::new(name).unwrap(),
        }
    }

    #[test]
    fn a_scheduled_firing_keeps_its_golden_id() {
        let nominal = Nominal::from_second(1_795_397_400).unwrap();
        assert_eq!(nominal.to_string(), "2026-11-23T01:30:00Z");
        let id = FiringId::scheduled(&factory("adf-prod"), &EntryName::new("nightly").unwrap(), nominal);
        assert_eq!(id.to_string(), "7744d5c7-7785-5eca-ba42-47806c7a543a");
    }

    #[test]
    fn the_case_of_azure_names_does_not_change_the_id_but_the_entry_does() {
        let nominal = Nominal::from_second(0).unwrap();
        let entry = EntryName::new("a").unwrap();
        let id = FiringId::scheduled(&factory("adf-prod"), &entry, nominal);
        assert_eq!(id, FiringId::scheduled(&factory("ADF-Prod"), &entry, nominal));
        assert_ne!(id, FiringId::scheduled(&factory("adf-prod"), &EntryName::new("A").unwrap(), nominal));
    }

    #[test]
    fn azure_names_follow_azure_patterns() {
        assert!(PipelineName::new("Copy Säles 日次").is_ok());
        assert!(PipelineName::new("a/b").is_err());
        assert!(PipelineName::new("").is_err());
        for published in ["a", "_", "9 to 5", "Copy (1) [x] {y} | ^ ` ~ ! @ $ = ; , ' \" é"] {
            assert!(PipelineName::published(published).is_ok(), "{published}");
        }
        for never in
            ["", " a", "-a", "(a)", "Übung", "日次", "٣", "a.b", "a+b", "a%20b", "a\tb", &"a".repeat(261)]
        {
            assert!(PipelineName::published(never).is_err(), "{never}");
        }
        assert!(PipelineName::new("Übung").is_ok(), "what is kept under it is still read");
        assert!(FactoryName::new("adf-prod").is_ok());
        assert!(FactoryName::new("adf--prod").is_err());
        assert!(EntryName::new("has space").is_err());
        assert!(SubscriptionId::new("12345678-1234-1234-1234-12345678abc").is_err());
    }

    #[test]
    fn a_nominal_time_before_the_epoch_rounds_down() {
        let half_past = Timestamp::from_millisecond(-500).unwrap();
        assert_eq!(Nominal::at_or_before(half_past).as_second(), -1);
    }
}
