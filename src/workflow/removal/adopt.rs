//! The record that cancel writes of a workflow that has none, for stock made it, before it takes tables away. Whoever comes when that
//! was cut off tells by it that a cancel has begun, and the workflow's tables from those that somebody has made since.

use super::replaced;
use crate::context::Context;
use crate::workflow::Result;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::{self, Facts, Phase, Stored};
use crate::workflow::streams::{self, TargetShard};

/// The record to be written; none where there is one already, or that of an earlier workflow, which has to stay. It says of the
/// workflow what cancel takes for granted without one: one wave, or none.
///
/// # Errors
/// The tablets'.
pub async fn adopted(context: &Context, found: &ExistingWorkflow, workflow: &str) -> Result<Option<Stored>> {
    if found.record.is_some() || found.unreadable.is_some() || found.rows.is_empty() || found.keeps_earlier() {
        return Ok(None);
    }
    let target = &found.target.keyspace;
    let concerned = target.concerned(&found.rows, None);
    let on = |of: &dyn Fn(&TargetShard) -> Vec<String>| {
        concerned.iter().map(|(_, shard)| (shard.name.clone(), of(shard))).collect::<Vec<_>>()
    };
    let tables = found.tables();
    let denied = found.denied();
    let mut facts = Facts {
        phase: Phase::Created,
        mount: found.origin.mount.clone(),
        source: (found.origin.keyspace.clone(), found.origin.shards.clone()),
        created_tables: on(&|_| tables.clone()),
        vschema_tables: tables.clone(),
        denied_tables: on(&|shard| record::listed(&denied, &shard.name)),
        tables,
        shards: concerned.iter().map(|(_, shard)| (shard.name.clone(), shard.record.created)).collect(),
        streams: found.earlier.as_ref().and_then(|earlier| earlier.facts.streams.clone()),
        ..Facts::default()
    };
    for listed in [streams::list(target, &found.rows), replaced::all(context, found, workflow).await?] {
        facts.streams = Some(facts.noted_with(listed));
    }
    let version = found.earlier.as_ref().map_or(record::NONE, |earlier| earlier.version);
    Ok(Some(Stored { facts, version }))
}
