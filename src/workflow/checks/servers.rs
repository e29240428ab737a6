//! What the MySQL servers behind tablets say of themselves.

use std::collections::BTreeMap;

/// What one server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Global variables by name.
    pub variables: BTreeMap<String, String>,
    /// Kind (`view`, `trigger`, `procedure`, `function`, `event`, on a target `view` and `triggered`) and name; that of `triggered` is a
    /// table's.
    pub inventory: Vec<(String, String)>,
    /// Ids of streams that left copy states behind.
    pub orphans: Vec<String>,
    /// True when the tablet tells positions as places in binlogs: it needs no GTIDs (`--db-flavor FilePos`).
    pub by_place: bool,
}

impl Answers {
    /// The value of `gtid_mode` where the server gives its transactions no GTIDs.
    pub fn gtids_off(&self) -> Option<String> {
        self.variables.get("gtid_mode").map(|value| value.to_uppercase()).filter(|value| value.starts_with("OFF"))
    }
}

/// A server with its answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `commerce/0`.
    pub shard: String,
    pub alias: String,
    /// A stream may read from it.
    pub candidate: bool,
    pub answers: std::result::Result<Answers, String>,
}

/// The servers of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    pub source: Vec<Server>,
    pub target: Vec<Server>,
}
