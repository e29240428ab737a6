//! What a source says of itself.

use std::collections::BTreeSet;

use vtmigrated_proto::topodata::KeyRange;
use vtmigrated_proto::vschema::SrvVSchema;

use super::columns::Columns;
use crate::gtid::{GtidSet, Position};
use crate::workflow::checks::stalled::Stalled;
use crate::workflow::progress;

/// The answers of a source's primaries.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub shards: Vec<SourceShard>,
    /// Columns as the first shard has them; `None` when they were not asked for or it did not tell.
    pub columns: Option<Columns>,
    /// Sizes of all shards together; `None` when they were not asked for or a shard did not tell.
    pub sizes: Option<progress::Sizes>,
    /// Names of all tables of the first shard; `None` when they were not asked for or it did not tell.
    pub inventory: Option<BTreeSet<String>>,
    /// Streams that get nothing because of the tablet that they read from.
    pub stalled: Vec<Stalled>,
    /// The serving vschemas of the source's cells, in which its tablets look vindexes up; cells that do not tell are missing.
    pub serving: Vec<SrvVSchema>,
    /// Cells that have one and did not tell it in time, or not as it can be read: with why.
    pub unread: Vec<(String, String)>,
    /// Which making of the keyspace's record it is, as in [`Node::created`](crate::topo::Node::created); `None` where there is none.
    pub created: Option<i64>,
}

/// One shard's answers.
#[derive(Clone, Debug)]
pub struct SourceShard {
    pub name: String,
    pub range: Option<KeyRange>,
    pub serves: bool,
    /// What its primary has executed, or why that is not known: a text for people.
    pub position: Result<Position, String>,
    /// Transactions that are in no binlog any more, if the tablet told.
    pub purged: Option<GtidSet>,
    /// Seconds for which binlogs are kept; 0: for ever.
    pub keeps: Option<i64>,
    /// The server under whose UUID the primary writes, if the tablet told.
    pub server: Option<String>,
}

impl Source {
    /// A shard by its name.
    pub fn shard(&self, name: &str) -> Option<&SourceShard> {
        self.shards.iter().find(|shard| shard.name == name)
    }

    /// Why a shard's position is not known; `None` when it is.
    pub fn silence(&self, name: &str) -> Option<String> {
        match self.shard(name) {
            Some(shard) => shard.position.as_ref().err().cloned(),
            None => Some(format!("the source has no shard {name}")),
        }
    }
}
