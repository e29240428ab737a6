//! The steps that take a workflow away, as data.

use std::fmt;

use super::Tables;

/// A side effect of cancel, and of taking a failed create back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    StopStreams {
        shards: Vec<String>,
    },
    /// Stopped, with a message that makes tablets refuse to start them; seen so.
    Freeze {
        shards: Vec<String>,
    },
    /// The record tells that tables are being taken away.
    MarkCancelling,
    /// Writes denied, the tablets refreshed, and the tables seen to be empty still, by shard.
    SecureEmpty {
        tables: Vec<(String, Vec<String>)>,
    },
    /// Drops, empties, and gives secondary keys back, by shard.
    SeeToTables {
        tables: Vec<(String, Tables)>,
        restore_keys: bool,
    },
    TakeFromVSchema {
        keyspace: String,
        tables: Vec<String>,
    },
    /// In one transaction; then the tablets of these shards read their records again.
    LiftDenied {
        shards: Vec<String>,
    },
    /// With their diffs.
    DeleteStreams {
        shards: Vec<String>,
    },
    DeleteRecord {
        workflow: String,
    },
    /// The record tells of nothing any more but of tables, by shard, that stay denied for other workflows.
    ReduceRecord {
        workflow: String,
        denied: Vec<(String, Vec<String>)>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopStreams { shards } => write!(f, "Stop the streams on shards: {}", shards.join(", ")),
            Self::Freeze { shards } => write!(f, "Stop the streams for good on shards: {}", shards.join(", ")),
            Self::MarkCancelling => f.write_str("Mark the record: cancel has begun"),
            Self::SecureEmpty { tables } => {
                let text = |(shard, tables): &(String, Vec<String>)| format!("{shard} ({})", tables.join(", "));
                let shards: Vec<String> = tables.iter().map(text).collect();
                write!(
                    f,
                    "Deny writes to empty tables, and see that they are empty still, on shards: {}",
                    shards.join("; ")
                )
            }
            Self::SeeToTables { tables, restore_keys } => {
                let mut parts = Vec::new();
                if *restore_keys {
                    parts.push("give the tables that stay their secondary keys back".to_owned());
                }
                for (shard, Tables { drop, drop_empty, empty, .. }) in tables {
                    if !drop.is_empty() || !drop_empty.is_empty() {
                        let all: Vec<&str> = drop.iter().chain(drop_empty).map(String::as_str).collect();
                        parts.push(format!("drop on shard {shard}: {}", all.join(", ")));
                    }
                    if !empty.is_empty() {
                        parts.push(format!("empty on shard {shard}: {}", empty.join(", ")));
                    }
                }
                write!(f, "Tables: {}", parts.join("; "))
            }
            Self::TakeFromVSchema { keyspace, tables } => {
                write!(
                    f,
                    "Take from the VSchema of keyspace {keyspace}, and rebuild the SrvVSchema: {}",
                    tables.join(", ")
                )
            }
            Self::LiftDenied { shards } => {
                write!(f, "Remove the denied tables of the workflow on shards: {}", shards.join(","))
            }
            Self::DeleteStreams { shards } => {
                write!(f, "Delete vreplication streams and diffs on shards: {}", shards.join(", "))
            }
            Self::ReduceRecord { workflow, denied } => {
                let text = |(shard, tables): &(String, Vec<String>)| format!("{shard} ({})", tables.join(", "));
                let shards: Vec<String> = denied.iter().map(text).collect();
                write!(
                    f,
                    "Leave in the record of workflow {workflow} the denied tables that another workflow needs, on shards: {}",
                    shards.join("; ")
                )
            }
            Self::DeleteRecord { workflow } => write!(f, "Delete the record of workflow {workflow}"),
        }
    }
}
