//! Config overrides of a workflow: the names that a tablet reads, and one set out of what is stored and what is asked for.
//!
//! Tablets up to Vitess 22 name most of them with underscores only, tablets from 23 on with dashes only. A name of the other
//! spelling stops the stream: the tablet answers `unknown vreplication config flag`. An override whose value is empty is
//! passed over. The target's tablet sends its overrides to the source's, which reads them by the same rule.

mod send;

use std::collections::{BTreeMap, HashMap};

use vtmigrated_proto::tabletmanagerdata::GetMaxValueForSequencesRequest;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::error::Code;
use crate::tablet;

pub use send::{change, respelled};

/// How a tablet spells the names of overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Up to Vitess 22.
    Underscores,
    /// From Vitess 23 on.
    Dashes,
}

/// Names that tablets read in one spelling only, with dashes.
const RENAMED: [&str; 9] = [
    EXPERIMENTAL_FLAGS,
    "vreplication-net-read-timeout",
    "vreplication-net-write-timeout",
    "vreplication-copy-phase-duration",
    "vreplication-retry-delay",
    "vreplication-max-time-to-retry-on-error",
    "vreplication-replica-lag-tolerance",
    "vreplication-heartbeat-update-interval",
    "vreplication-store-compressed-gtid",
];
/// Names that every tablet reads in one spelling only.
const ALWAYS: [&str; 2] = ["vreplication-parallel-insert-workers", "vstream_binlog_rotation_threshold"];
/// A set of bits: 1 optimizes inserts, 2 allows partial row images, 4 batches changes. All are on by default.
const EXPERIMENTAL_FLAGS: &str = "vreplication-experimental-flags";
/// All bits but the batching of changes.
const NO_BATCHING: &str = "3";

impl Spelling {
    /// The spelling of a version, such as `22.0.3`; `None` for a text that is no version.
    pub fn of_version(version: &str) -> Option<Self> {
        let (major, ..) = numbers(version)?;
        Some(if major < 23 { Self::Underscores } else { Self::Dashes })
    }

    /// A name as tablets of this spelling read it.
    pub fn spell(self, name: &str) -> String {
        let family = family(name);
        if let Some(always) = ALWAYS.iter().find(|always| self::family(always) == family) {
            return (*always).to_owned();
        }
        match self {
            _ if !RENAMED.contains(&family.as_str()) => name.to_owned(),
            Self::Dashes => family,
            Self::Underscores => family.replace('-', "_"),
        }
    }

    /// The overrides that switch the batching of changes off, as the `options` of a workflow.
    pub fn without_batching(self) -> String {
        format!(r#"{{"config":{{"{}":"{NO_BATCHING}"}}}}"#, self.spell(EXPERIMENTAL_FLAGS))
    }

    /// The flag of a vttablet that does the same for all its streams.
    pub fn flag_without_batching(self) -> String {
        format!("--{}={NO_BATCHING}", self.spell(EXPERIMENTAL_FLAGS))
    }
}

/// Both spellings of a name are one.
fn family(name: &str) -> String {
    name.replace('_', "-")
}

/// Major, minor and patch of a version, and whether it is a release.
fn numbers(version: &str) -> Option<(u32, u32, u32, bool)> {
    let (version, rest) = version.trim_start_matches('v').split_once('-').unwrap_or((version, ""));
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse);
    let mut next = || numbers.next().unwrap_or(Ok(0)).ok();
    Some((next()?, next()?, next()?, rest.is_empty()))
}

/// True for versions whose tablets batch changes of several shards rightly: 23.0.6, 24.0.3 and their successors.
pub fn batches_rightly(version: &str) -> bool {
    match numbers(version) {
        Some((23, minor, patch, true)) => (minor, patch) >= (0, 6),
        Some((24, minor, patch, true)) => (minor, patch) >= (0, 3),
        Some((major, ..)) => major >= 25,
        None => false,
    }
}

/// Whether a set speaks of an override, in whatever spelling.
pub fn names(overrides: &HashMap<String, String>, name: &str) -> bool {
    overrides.keys().any(|other| family(other) == family(name))
}

/// An override that create wrote for tablets that batch changes wrongly; later ones do without.
pub fn is_of_create(name: &str, value: &str) -> bool {
    family(name) == EXPERIMENTAL_FLAGS && value == NO_BATCHING
}

/// True for versions whose tablets let reads pass though the table is denied, when that is asked for: from 24.0.0 on.
pub fn denies_only_writes(version: &str) -> bool {
    numbers(version).is_some_and(|(major, ..)| major >= 24)
}

/// The spelling of a tablet: one call that runs no SQL.
///
/// # Errors
/// A text: the tablet did not answer.
pub async fn ask(context: &Context, on: &Tablet) -> Result<Spelling, String> {
    let request = GetMaxValueForSequencesRequest::default();
    match context.tablets.get_max_value_for_sequences(on, request).await {
        Ok(_) => Ok(Spelling::Dashes),
        Err(tablet::Error::Answered { code: Code::Unimplemented, .. }) => Ok(Spelling::Underscores),
        Err(error) => Err(error.to_string()),
    }
}

/// The overrides that a stream's `options` hold.
pub fn stored(options: &str) -> BTreeMap<String, String> {
    let options: serde_json::Value = serde_json::from_str(options).unwrap_or_default();
    let config = options.get("config").and_then(serde_json::Value::as_object);
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    config.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Whether tablets of different spellings would read a set of overrides differently.
pub fn depend_on_spelling(overrides: &BTreeMap<String, String>) -> bool {
    overrides.iter().any(|(name, value)| !value.is_empty() && RENAMED.contains(&family(name).as_str()))
}

/// Names of a stored set that a tablet of this spelling does not read.
pub fn unread(overrides: &BTreeMap<String, String>, spelling: Spelling) -> Vec<&str> {
    let set = overrides.iter().filter(|(_, value)| !value.is_empty());
    set.filter(|(name, _)| spelling.spell(name) != **name).map(|(name, _)| name.as_str()).collect()
}

/// The whole set to send to a tablet: what is stored, changed by what is asked for. A name that goes, because it is asked
/// for or spelled anew, is sent with an empty value: tablets up to 23.0.6 and 24.0.3 replace the set by what is sent, later
/// ones merge it.
pub fn merge(
    stored: &BTreeMap<String, String>,
    wanted: &HashMap<String, String>,
    spelling: Option<Spelling>,
) -> HashMap<String, String> {
    let spell = |name: &String| spelling.map_or_else(|| name.clone(), |spelling| spelling.spell(name));
    let mut merged = HashMap::new();
    for (name, value) in stored {
        let replaced = names(wanted, name);
        merged.entry(name.clone()).or_insert_with(String::new);
        if !replaced {
            merged.insert(spell(name), value.clone());
        }
    }
    merged.extend(wanted.iter().map(|(name, value)| (spell(name), value.clone())));
    merged
}

#[cfg(test)]
mod tests;
