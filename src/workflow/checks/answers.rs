//! What tablets said of themselves when create asked them.

use std::collections::BTreeMap;

use super::replicas::Replication;
use super::servers::Servers;
use super::streaming::Health;
use crate::workflow::overrides::Spelling;

/// What tablets said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProbeAnswers {
    /// By alias; only tablets of types that can be streamed from.
    pub health: BTreeMap<String, Health>,
    /// By alias; only tablets that streams may read from and that are no primaries.
    pub replication: BTreeMap<String, Replication>,
    pub servers: Servers,
    /// Target primaries whose user of vreplication lacks permissions: alias and the tablet's words.
    pub denied: Vec<(String, String)>,
    pub source_versions: Vec<Version>,
    pub target_versions: Vec<Version>,
    /// How tablets spell config overrides, by alias; those that did not tell are not there.
    pub source_spellings: BTreeMap<String, Spelling>,
    pub target_spellings: BTreeMap<String, Spelling>,
}

/// A tablet's alias, and its version or why that is not known.
pub type Version = (String, std::result::Result<String, String>);
