//! Who reads from a mount.

use std::time::Duration;

use futures::future::{join_all, try_join3};
use futures::stream::{self, FuturesUnordered, StreamExt};
use regex::Regex;
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowsRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Tablet;

use super::users;
use crate::context::Context;
use crate::deadline;
use crate::error::{Explain, Reason};
use crate::sql::rows;
use crate::tablet;
use crate::topo::{self, Cells, Node, paths};
use crate::workflow::record::{known, unreadable, way_back as back_record};
use crate::workflow::streams::{ShardAliases, TargetShard};
use crate::workflow::{Error, Result};

/// Keyspaces that are asked at a time.
const AT_ONCE: usize = 16;
/// The most that a primary gets to answer in, and half of what the caller has left at most: the shard's other tablets are asked then.
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(15);

/// Workflows of every keyspace that read from a mount, as `keyspace.workflow`, ascending: those whose records say so, and
/// those whose streams do.
///
/// Where a primary does not answer, the shard's other tablets are asked, for they have the same rows. A shard whose tablets do not run
/// is left out with a warning: nothing reads there, and a mount can be registered again.
///
/// # Errors
/// `MOUNT_USERS_UNKNOWN` where tablets of a shard may run and none of them tells; those of the topology.
pub async fn of(context: &Context, mount: &str) -> Result<Vec<String>> {
    let global = context.topo.global();
    let (names, cells, records) =
        try_join3(topo::keyspace::names(global), context.topo.cells(), global.list(paths::WORKFLOW_RECORDS)).await?;
    let mut users: Vec<String> = users::mounted(&records, mount);
    let reads: Vec<_> = names.iter().map(|name| in_keyspace(context, name, cells.clone(), mount)).collect();
    let reads: Vec<Result<Vec<String>>> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
    for read in reads {
        users.extend(read?);
    }
    users.sort();
    users.dedup();
    Ok(users)
}

async fn in_keyspace(context: &Context, name: &str, cells: Cells, mount: &str) -> Result<Vec<String>> {
    let records = match topo::shard::all(context.topo.global(), name).await {
        // it is being deleted, or a leftover makes its directory
        Err(error) if error.is_no_node() => return Ok(Vec::new()),
        records => records?,
    };
    let records: Vec<_> = records.into_iter().filter(|r| r.value.primary_alias.is_some()).collect();
    let graphed = ShardAliases::read(name, records, cells).await?;
    let until = deadline::now() + deadline::remaining(2 * PRIMARY_TIMEOUT) / 2;
    let primaries = join_all(graphed.keyspace.shards.iter().map(|shard| on_primary(context, shard, mount)));
    let asked = deadline::within(Some(until), primaries).await;
    let (mut users, mut silent) = (Vec::new(), Vec::new());
    for (shard, answer) in graphed.keyspace.shards.iter().zip(asked) {
        match answer {
            Ok(found) => users.extend(found),
            Err(_) => silent.push(shard),
        }
    }
    if !silent.is_empty() {
        let tablets = graphed.tablets().await?;
        let left_out = graphed.keyspace.cells.left_out();
        let others = silent.into_iter().map(|shard| {
            let tablets = tablets.get(&shard.name).map(Vec::as_slice).unwrap_or_default();
            let answers: FuturesUnordered<_> = tablets.iter().map(|on| on_replica(context, on, mount)).collect();
            told((name, mount), shard, &left_out, answers)
        });
        for found in join_all(others).await {
            users.extend(found?);
        }
    }
    Ok(users.into_iter().map(|workflow| format!("{name}.{workflow}")).collect())
}

/// What the first of a shard's tablets that answers says, whoever of them hangs; nothing where none of them runs.
async fn told(
    (keyspace, mount): (&str, &str),
    shard: &TargetShard,
    left_out: &[(String, topo::Error)],
    mut answers: impl stream::Stream<Item = tablet::Result<Vec<String>>> + Unpin,
) -> Result<Vec<String>> {
    let mut silent = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(found) => return Ok(found),
            Err(error) if error.is_not_running() => {}
            Err(error) => silent = silent.or(Some(error)),
        }
    }
    let name = format!("{keyspace}/{}", shard.name);
    let refused = |why: &dyn Explain, reason: Reason, help: String| {
        let text = format!("no tablet of shard {name} says what it reads from: {why}");
        Err(Error::Refused { code: why.code(), reason, text, help })
    };
    if let Some(why) = silent {
        let gone = format!("DeleteShards --recursive --even-if-serving {name}");
        let help = format!("run the command again when one of them answers; if the shard is gone for good: {gone}");
        return refused(&why, Reason::MOUNT_USERS_UNKNOWN, help);
    }
    // tablets may run of which a cell that does not answer tells nothing
    let cell = shard.record.value.primary_alias.as_ref().map(|alias| &alias.cell);
    let unread = left_out.iter().find(|(name, _)| shard.primary.is_none() && Some(name) == cell);
    if let Some((cell, why)) = unread {
        let gone = format!("DeleteCellInfo --force {cell}");
        let help = format!("run the command again when cell {cell} answers; if it is gone for good: {gone}");
        return refused(why, why.reason(), help);
    }
    tracing::warn!("no tablet of {name} runs that could read from mount {mount}");
    Ok(Vec::new())
}

async fn on_primary(context: &Context, shard: &TargetShard, mount: &str) -> Result<Vec<String>> {
    let request = ReadVReplicationWorkflowsRequest::default();
    let answer = context.tablets.read_v_replication_workflows(shard.primary()?, request).await.map_err(Error::from)?;
    let reads = |stream: &Stream| stream.bls.as_ref().is_some_and(|bls| bls.external_cluster == mount);
    let using = answer.workflows.into_iter().filter(|workflow| workflow.streams.iter().any(reads));
    Ok(using.map(|found| found.workflow).collect())
}

/// From the rows themselves, which hold the source in protobuf's text form: only primaries answer for workflows.
async fn on_replica(context: &Context, on: &Tablet, mount: &str) -> tablet::Result<Vec<String>> {
    let query = "select workflow, source from _vt.vreplication".to_owned();
    let answer = context.tablets.read(on, query, 100_000).await?;
    let pattern = Regex::new(&format!("external_cluster:(?-u:\\s)*\"{}\"", regex::escape(mount)));
    let using = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        let (workflow, source) = (row.next()?, row.next()?);
        // what cannot be searched counts as using it
        pattern.as_ref().map_or(true, |pattern| pattern.is_match(&source)).then_some(workflow)
    };
    Ok(rows::texts(&answer).into_iter().filter_map(using).collect())
}

/// True for an error by which nobody can tell who reads from a mount, for the tablets of a shard do not answer.
pub fn is_unknown(error: &Error) -> bool {
    error.reason() == Reason::MOUNT_USERS_UNKNOWN
}

/// `keyspace.workflow` of the records that name a mount, and of ways back into it; records that cannot be read count as
/// naming it, and have [`unreadable::MARK`] behind their names.
pub fn mounted(nodes: &[Node], mount: &str) -> Vec<String> {
    let using = known(nodes).into_iter().filter_map(|(keyspace, workflow, facts)| match facts {
        Ok(facts) => (facts.mount == mount).then(|| format!("{keyspace}.{workflow}")),
        Err(_) => Some(format!("{keyspace}.{workflow} {}", unreadable::MARK)),
    });
    let mut users: Vec<String> = using.collect();
    users.extend(back_record::mounted(nodes, mount));
    users
}

#[cfg(test)]
mod tests;
