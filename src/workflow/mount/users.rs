//! Who reads from a mount.

use futures::future::{join_all, try_join3};
use futures::stream::{self, StreamExt};
use regex::Regex;
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowsRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Tablet;

use super::super::record;
use super::super::streams::{Graphed, TargetShard};
use super::super::{Error, Result};
use crate::context::Context;
use crate::sql::rows;
use crate::tablet;
use crate::topo::{self, Cells, paths};

/// Keyspaces that are asked at a time.
const AT_ONCE: usize = 16;

/// Workflows of every keyspace that read from a mount, as `keyspace.workflow`, ascending: those whose records say so, and
/// those whose streams do.
///
/// Where a primary is down, the shard's other tablets are asked, for they have the same rows. A shard of which no tablet
/// answers is left out with a warning: nothing runs there, and a mount can be registered again.
///
/// # Errors
/// Those of the topology.
pub async fn of(context: &Context, mount: &str) -> Result<Vec<String>> {
    let global = context.topo.global();
    let (names, cells, records) =
        try_join3(topo::keyspace::names(global), context.topo.cells(), global.list(paths::WORKFLOW_RECORDS)).await?;
    let mut users: Vec<String> = record::mounted(&records, mount);
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
    let graphed = Graphed::read(name, records, cells).await?;
    let asked = join_all(graphed.keyspace.shards.iter().map(|shard| on_primary(context, shard, mount))).await;
    let silent: Vec<&TargetShard> = graphed
        .keyspace
        .shards
        .iter()
        .zip(&asked)
        .filter(|(_, found)| found.is_err())
        .map(|(shard, _)| shard)
        .collect();
    let mut users: Vec<String> = asked.into_iter().filter_map(Result::ok).flatten().collect();
    if !silent.is_empty() {
        let tablets = graphed.tablets().await?;
        for shard in silent {
            let others: Vec<&Tablet> = tablets.get(&shard.name).into_iter().flatten().collect();
            let answers = join_all(others.into_iter().map(|on| on_replica(context, on, mount))).await;
            match answers.into_iter().find_map(std::result::Result::ok) {
                Some(found) => users.extend(found),
                None => tracing::warn!("no tablet of {name}/{} says whether it reads from mount {mount}", shard.name),
            }
        }
    }
    Ok(users.into_iter().map(|workflow| format!("{name}.{workflow}")).collect())
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
