//! The steps of create, as data: what a dry run prints is what the executor runs.

use std::fmt;

use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::record::Facts;
use crate::workflow::{names, plan};

/// A side effect of create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The facts, before anything else is made.
    WriteRecord {
        keyspace: String,
        workflow: String,
    },
    /// The record tells which tables create has made.
    ClaimTables,
    /// Tables that a target shard lacks.
    CreateTables {
        shard: String,
        tables: Vec<String>,
    },
    /// Of primaries that have all tables already, and may not know some of them.
    ReloadSchemas {
        shards: Vec<String>,
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
    /// Replicas that have come since the clusters were read, and those that were not reached. Beside it the primaries are asked whether
    /// they deny the tables.
    RefreshRest {
        shards: Vec<String>,
    },
    /// That no table holds a row, on shards whose streams have copied nothing.
    SeeEmpty {
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

impl Step {
    /// True when the step changes something without proving the lock itself.
    pub fn needs_lock(&self) -> bool {
        let reads = matches!(
            self,
            Self::ReloadSchemas { .. } | Self::RefreshTablets { .. } | Self::RefreshRest { .. } | Self::SeeEmpty { .. }
        );
        !self.proves_lock() && !reads
    }

    /// True when all that the step does is one transaction of the global topology, which proves the lock.
    pub fn proves_lock(&self) -> bool {
        matches!(
            self,
            Self::WriteRecord { .. }
                | Self::DenyTables { .. }
                | Self::AddToVSchema { .. }
                | Self::ClaimTables
                | Self::MarkWhole
        )
    }
}

/// The steps of a create, stage by stage; those of one stage run in parallel.
///
/// A tablet denies only tables that are there when it reads its shard's record (Vitess 22.0.4 and 24.0.4,
/// `applyDenyList`), so it reads it once they are. That a table is create's is noted when it was made, not before: nothing
/// keeps others from making one of the same name. Tablets that start meanwhile are refreshed last before the streams may copy.
pub fn stages(
    arguments: &Arguments,
    situation: &ClusterState,
    facts: &Facts,
    sources: &plan::Sources,
) -> Vec<Vec<Step>> {
    let (keyspace, workflow) = (arguments.target_keyspace.clone(), arguments.workflow.clone());
    let names: Vec<String> = situation.target.keyspace.shards.iter().map(|shard| shard.name.clone()).collect();
    let mut known = vec![Step::RefreshTablets { shards: names.clone() }];
    if situation.without_claims(facts) != *facts {
        known.push(Step::ClaimTables);
    }
    let untouched = names.iter().enumerate().filter(|(at, _)| !situation.has_started(*at));
    let untouched: Vec<String> = untouched.map(|(_, name)| name.clone()).collect();
    let empty = if untouched.is_empty() { Vec::new() } else { vec![Step::SeeEmpty { shards: untouched }] };
    let streams = |(shard, sources): &(String, Vec<_>)| (shard.clone(), shards_of(sources));
    let mut stages = vec![
        vec![Step::WriteRecord { keyspace, workflow }],
        made(situation, facts),
        known,
        empty,
        vec![
            Step::InsertStreams { shards: sources.iter().map(streams).collect() },
            Step::RebuildServing { cells: situation.target.keyspace.cells.names().map(str::to_owned).collect() },
            Step::RefreshRest { shards: names.clone() },
        ],
    ];
    if arguments.auto_start {
        stages.push(vec![Step::StartStreams { shards: names }]);
    }
    stages.push(vec![Step::MarkWhole]);
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// Tables, their denial, their entries in the VSchema.
fn made(situation: &ClusterState, facts: &Facts) -> Vec<Step> {
    let target = &situation.target.keyspace;
    let mut made: Vec<Step> = Vec::new();
    let mut whole: Vec<String> = Vec::new();
    for (shard, there) in target.shards.iter().zip(&situation.target_tables) {
        let missing = facts.created_on(&shard.name).iter().filter(|table| !there.contains_key(*table));
        let tables: Vec<String> = missing.cloned().collect();
        if tables.is_empty() {
            whole.push(shard.name.clone());
        } else {
            made.push(Step::CreateTables { shard: shard.name.clone(), tables });
        }
    }
    if !whole.is_empty() {
        made.push(Step::ReloadSchemas { shards: whole });
    }
    let denied: Vec<(String, Vec<String>)> =
        facts.denied_tables.iter().filter(|(_, tables)| !tables.is_empty()).cloned().collect();
    if !denied.is_empty() {
        made.push(Step::DenyTables { shards: denied });
    }
    if !facts.vschema_tables.is_empty() {
        let entries = plan::vschema_entries(&situation.source.vschema, &facts.vschema_tables);
        let tables = entries.into_iter().map(|(name, entry)| match entry.r#type.as_str() {
            "" => name,
            kind => format!("{name} ({kind})"),
        });
        made.push(Step::AddToVSchema { keyspace: target.name.clone(), tables: tables.collect() });
    }
    made
}

fn shards_of(sources: &[vtmigrated_proto::binlogdata::BinlogSource]) -> Vec<String> {
    sources.iter().map(|source| source.shard.clone()).collect()
}

fn listed(things: &[String]) -> String {
    names::some(things, ", ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteRecord { keyspace, workflow } => write!(f, "Write the record of workflow {keyspace}.{workflow}"),
            Self::ClaimTables => f.write_str("Note in the record which tables were made"),
            Self::CreateTables { shard, tables } => write!(f, "Create tables on shard {shard}: {}", listed(tables)),
            Self::ReloadSchemas { shards } => {
                write!(f, "Make the primaries read their schemas again on shards: {}", listed(shards))
            }
            Self::DenyTables { shards } => {
                write!(f, "Deny writes of clients to the tables on shards: {}", names::by_shard(shards))
            }
            Self::AddToVSchema { keyspace, tables } => {
                write!(f, "Add to the VSchema of keyspace {keyspace}: {}", listed(tables))
            }
            Self::InsertStreams { shards } => {
                let text = |(shard, from): &(String, Vec<String>)| format!("{shard} from {}", listed(from));
                let shards: Vec<String> = shards.iter().map(text).collect();
                write!(f, "Insert streams, stopped, on shards: {}", names::some(&shards, "; "))
            }
            Self::RefreshTablets { shards } => write!(f, "Refresh the tablets of shards: {}", listed(shards)),
            Self::RefreshRest { shards } => {
                write!(
                    f,
                    "Refresh replicas that have come since, or did not answer, and see that primaries deny the tables, of \
                     shards: {}",
                    listed(shards)
                )
            }
            Self::SeeEmpty { shards } => {
                write!(f, "See that the tables are empty still on shards: {}", listed(shards))
            }
            Self::RebuildServing { cells } => write!(f, "Rebuild the SrvVSchema of cells: {}", listed(cells)),
            Self::StartStreams { shards } => write!(f, "Start the streams on shards: {}", listed(shards)),
            Self::MarkWhole => f.write_str("Mark the record: the workflow is whole"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_shards_and_tables_some_are_told() {
        let shards: Vec<String> = (0..64).map(|shard| shard.to_string()).collect();
        let tables: Vec<String> = (0..10_000).map(|table| format!("t{table}")).collect();
        let each = |of: &[String]| shards.iter().map(|shard| (shard.clone(), of.to_vec())).collect::<Vec<_>>();
        for step in [
            Step::CreateTables { shard: "-80".into(), tables: tables.clone() },
            Step::DenyTables { shards: each(&tables) },
            Step::AddToVSchema { keyspace: "customer".into(), tables: tables.clone() },
            Step::InsertStreams { shards: each(&shards) },
            Step::StartStreams { shards: shards.clone() },
        ] {
            let text = step.to_string();
            assert!(text.len() < 2048 && text.contains(" more"), "{text}");
        }
        let few = Step::InsertStreams { shards: vec![("-80".into(), vec!["-80".into(), "80-".into()])] };
        assert_eq!(few.to_string(), "Insert streams, stopped, on shards: -80 from -80, 80-");
    }
}
