//! The steps of create, as data: what a dry run prints is what the executor runs.

use std::fmt;

use super::super::super::record::Facts;
use super::super::arguments::Arguments;
use super::super::plan;
use super::situation::Situation;

/// A side effect of create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The facts, before anything else is made.
    WriteRecord {
        keyspace: String,
        workflow: String,
    },
    /// Tables that a target shard lacks.
    CreateTables {
        shard: String,
        tables: Vec<String>,
    },
    /// All shards in one transaction.
    DenyTables {
        shards: Vec<(String, Vec<String>)>,
    },
    /// Each with its type, unless that is a plain table.
    AddToVSchema {
        keyspace: String,
        tables: Vec<String>,
    },
    /// Stopped; then a look for streams of the same name that are somebody else's.
    InsertStreams {
        shards: Vec<(String, Vec<String>)>,
    },
    RefreshTablets {
        shards: Vec<String>,
    },
    RebuildServing {
        cells: Vec<String>,
    },
    StartStreams {
        shards: Vec<String>,
    },
    MarkWhole,
}

/// The steps of a create, stage by stage; those of one stage run in parallel.
pub fn stages(arguments: &Arguments, situation: &Situation, facts: &Facts, sources: &plan::Sources) -> Vec<Vec<Step>> {
    let (keyspace, workflow) = (arguments.target_keyspace.clone(), arguments.workflow.clone());
    let shards = &situation.target.keyspace.shards;
    let names: Vec<String> = shards.iter().map(|shard| shard.name.clone()).collect();
    let mut made: Vec<Step> = Vec::new();
    for (shard, there) in shards.iter().zip(&situation.target_tables) {
        let missing = facts.created_on(&shard.name).iter().filter(|table| !there.contains_key(*table));
        let tables: Vec<String> = missing.cloned().collect();
        if !tables.is_empty() {
            made.push(Step::CreateTables { shard: shard.name.clone(), tables });
        }
    }
    let denied: Vec<(String, Vec<String>)> =
        facts.denied_tables.iter().filter(|(_, tables)| !tables.is_empty()).cloned().collect();
    if !denied.is_empty() {
        made.push(Step::DenyTables { shards: denied });
    }
    if !facts.vschema_tables.is_empty() {
        let tables = facts.vschema_tables.iter().map(|name| match situation.vschema_entry(name).r#type.as_str() {
            "" => name.clone(),
            kind => format!("{name} ({kind})"),
        });
        made.push(Step::AddToVSchema { keyspace: keyspace.clone(), tables: tables.collect() });
    }
    let streams = |(shard, sources): &(String, Vec<_>)| (shard.clone(), shards_of(sources));
    let mut stages = vec![
        vec![Step::WriteRecord { keyspace, workflow }],
        made,
        vec![
            Step::InsertStreams { shards: sources.iter().map(streams).collect() },
            Step::RefreshTablets { shards: names.clone() },
            Step::RebuildServing { cells: situation.target.keyspace.cells.names().map(str::to_owned).collect() },
        ],
    ];
    if arguments.auto_start {
        stages.push(vec![Step::StartStreams { shards: names }]);
    }
    stages.push(vec![Step::MarkWhole]);
    stages
}

fn shards_of(sources: &[vtmigrated_proto::binlogdata::BinlogSource]) -> Vec<String> {
    sources.iter().map(|source| source.shard.clone()).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteRecord { keyspace, workflow } => write!(f, "Write the record of workflow {keyspace}.{workflow}"),
            Self::CreateTables { shard, tables } => write!(f, "Create tables on shard {shard}: {}", tables.join(", ")),
            Self::DenyTables { shards } => {
                let text = |(shard, tables): &(String, Vec<String>)| format!("{shard} ({})", tables.join(", "));
                let shards: Vec<String> = shards.iter().map(text).collect();
                write!(f, "Deny writes of clients to the tables on shards: {}", shards.join("; "))
            }
            Self::AddToVSchema { keyspace, tables } => {
                write!(f, "Add to the VSchema of keyspace {keyspace}: {}", tables.join(", "))
            }
            Self::InsertStreams { shards } => {
                let text = |(shard, from): &(String, Vec<String>)| format!("{shard} from {}", from.join(", "));
                let shards: Vec<String> = shards.iter().map(text).collect();
                write!(f, "Insert streams, stopped, on shards: {}", shards.join("; "))
            }
            Self::RefreshTablets { shards } => write!(f, "Refresh the tablets of shards: {}", shards.join(", ")),
            Self::RebuildServing { cells } => write!(f, "Rebuild the SrvVSchema of cells: {}", cells.join(", ")),
            Self::StartStreams { shards } => write!(f, "Start the streams on shards: {}", shards.join(", ")),
            Self::MarkWhole => f.write_str("Mark the record: the workflow is whole"),
        }
    }
}
