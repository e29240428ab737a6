//! The steps that take a workflow away, as data.

use std::fmt;

use super::Tables;
use crate::workflow::names;

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
    RebuildServing {
        cells: Vec<String>,
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

fn listed(things: &[String]) -> String {
    names::some(things, ", ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopStreams { shards } => write!(f, "Stop the streams on shards: {}", listed(shards)),
            Self::Freeze { shards } => write!(f, "Stop the streams for good on shards: {}", listed(shards)),
            Self::MarkCancelling => f.write_str("Mark the record: cancel has begun"),
            Self::SecureEmpty { tables } => {
                write!(
                    f,
                    "Deny writes to empty tables, and see that they are empty still, on shards: {}",
                    names::by_shard(tables)
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
                        parts.push(format!("drop on shard {shard}: {}", names::some(&all, ", ")));
                    }
                    if !empty.is_empty() {
                        parts.push(format!("empty on shard {shard}: {}", listed(empty)));
                    }
                }
                write!(f, "Tables: {}", names::some(&parts, "; "))
            }
            Self::TakeFromVSchema { keyspace, tables } => {
                write!(
                    f,
                    "Take from the VSchema of keyspace {keyspace}, and rebuild the SrvVSchema: {}",
                    listed(tables)
                )
            }
            Self::RebuildServing { cells } => write!(f, "Rebuild the SrvVSchema of cells: {}", listed(cells)),
            Self::LiftDenied { shards } => {
                write!(f, "Remove the denied tables of the workflow on shards: {}", names::some(shards, ","))
            }
            Self::DeleteStreams { shards } => {
                write!(f, "Delete vreplication streams and diffs on shards: {}", listed(shards))
            }
            Self::ReduceRecord { workflow, denied } => {
                write!(
                    f,
                    "Leave in the record of workflow {workflow} the denied tables that another workflow needs, on shards: {}",
                    names::by_shard(denied)
                )
            }
            Self::DeleteRecord { workflow } => write!(f, "Delete the record of workflow {workflow}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_shards_and_tables_some_are_told() {
        let (shards, tables): (Vec<String>, Vec<String>) =
            ((0..64).map(|shard| shard.to_string()).collect(), (0..10_000).map(|table| format!("t{table}")).collect());
        let by_shard = || shards.iter().map(|shard| (shard.clone(), tables.clone())).collect::<Vec<_>>();
        let all = |shard: &String| {
            let (drop, empty) = (tables.clone(), tables.clone());
            (shard.clone(), Tables { drop, empty, ..Tables::default() })
        };
        for step in [
            Step::DeleteStreams { shards: shards.clone() },
            Step::SecureEmpty { tables: by_shard() },
            Step::SeeToTables { tables: shards.iter().map(all).collect(), restore_keys: true },
            Step::TakeFromVSchema { keyspace: "customer".into(), tables: tables.clone() },
            Step::ReduceRecord { workflow: "customer.import".into(), denied: by_shard() },
        ] {
            let text = step.to_string();
            assert!(text.len() < 2048 && text.contains(" more"), "{text}");
        }
        let few = Step::SecureEmpty { tables: vec![("-80".into(), vec!["t".into(), "u".into()])] };
        assert!(few.to_string().ends_with("on shards: -80 (t, u)"), "{few}");
    }
}
