//! What streams have left behind that tablets replaced while they copied: rows of sidecar tables that name them by their ids.

use std::collections::BTreeSet;

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::ExecuteFetchAsDbaRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use crate::context::Context;
use crate::topo::Lock;
use crate::workflow::checks::complete::replaced::{self, Noted};
use crate::workflow::reads::copy_states;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::Facts;
use crate::workflow::streams::{self, Listed, TargetShard};
use crate::workflow::{Error, Result, rows};

/// The workflow's record, or that of an earlier one.
fn record(found: &ExistingWorkflow) -> Option<&Facts> {
    found.record.as_ref().or(found.earlier.as_ref()).map(|stored| &stored.facts)
}

/// Streams of a shard that the workflow's record lists, or that of an earlier one, and that are gone: ids, ascending.
pub fn gone(found: &ExistingWorkflow, shard: &TargetShard) -> Vec<i64> {
    let at = found.target.keyspace.shards.iter().position(|known| known.name == shard.name);
    let present: BTreeSet<i32> = at.into_iter().flat_map(|at| streams::on(&found.rows, at)).map(|s| s.id).collect();
    let facts = record(found).filter(|facts| facts.may_be_about(&shard.name, shard.record.created));
    let lists = facts.iter().flat_map(|facts| facts.streams.iter().flatten()).filter(|(name, _)| *name == shard.name);
    let listed: BTreeSet<i32> = lists.flat_map(|(_, ids)| ids.iter().copied()).collect();
    listed.difference(&present).map(|id| i64::from(*id)).collect()
}

/// Deletes what such streams have left, once those are gone that [`ExistingWorkflow`] has: one wave, and none where no stream was replaced. What
/// no record lists is what the verdict takes for the workflow's, and costs a wave to be found: none where a record lists all streams
/// that there are, and none of its is gone. The notes of keys go with it where
/// the workflow had streams and keys were given back. Streams that copied when [`ExistingWorkflow`] was read may have been replaced before
/// they were stopped; for them, too, it is one wave.
///
/// # Errors
/// The tablets'.
pub async fn forget(
    context: &Context,
    lock: &Lock,
    found: &ExistingWorkflow,
    workflow: &str,
    keys_given_back: bool,
) -> Result<()> {
    let asked = found.target.keyspace.shards.iter().enumerate().map(|(at, shard)| async move {
        let had: Vec<&Stream> = streams::on(&found.rows, at).collect();
        let mut ids = on(context, found, (shard, workflow), &had).await?;
        if keys_given_back {
            let copied = had.iter().filter(|stream| stream.state != i32::from(State::Running));
            ids.extend(copied.map(|stream| i64::from(stream.id)));
        }
        let tables = ["copy_state", "post_copy_action"];
        let tables = if keys_given_back && !had.is_empty() { tables.to_vec() } else { tables[..1].to_vec() };
        Ok::<_, Error>((shard, ids.into_iter().collect::<Vec<_>>(), tables))
    });
    let mut deletes = Vec::new();
    for answer in join_all(asked).await {
        let (shard, ids, tables) = answer?;
        if !ids.is_empty() {
            deletes.extend(tables.into_iter().map(|table| (shard, rows::forget(table, &ids))));
        }
    }
    if deletes.is_empty() {
        return Ok(());
    }
    lock.check().await?;
    let calls = deletes.into_iter().map(|(shard, query)| async move {
        let query = query.into_bytes();
        let request = ExecuteFetchAsDbaRequest { query, max_rows: 1, ..ExecuteFetchAsDbaRequest::default() };
        context.tablets.execute_fetch_as_dba(shard.primary()?, request).await?;
        Ok::<_, Error>(())
    });
    Error::all(join_all(calls).await)
}

/// Streams of the workflow that are gone from each shard and have left something: what [`forget`] deletes, one wave or none.
///
/// # Errors
/// The tablets'.
pub async fn all(context: &Context, found: &ExistingWorkflow, workflow: &str) -> Result<Listed> {
    let asked = found.target.keyspace.shards.iter().enumerate().map(|(at, shard)| async move {
        let had: Vec<&Stream> = streams::on(&found.rows, at).collect();
        let ids = on(context, found, (shard, workflow), &had).await?;
        let ids: Vec<i32> = ids.into_iter().filter_map(|id| i32::try_from(id).ok()).collect();
        Ok::<_, Error>((shard.name.clone(), ids))
    });
    join_all(asked).await.into_iter().collect()
}

/// The same on one shard, on which the workflow has the streams `had`.
async fn on(
    context: &Context,
    found: &ExistingWorkflow,
    (shard, workflow): (&TargetShard, &str),
    had: &[&Stream],
) -> Result<BTreeSet<i64>> {
    let mut ids: BTreeSet<i64> = gone(found, shard).into_iter().collect();
    let is_listed =
        |stream: &&Stream| record(found).is_some_and(|facts| facts.lists(&shard.name, stream.id) == Some(true));
    if !ids.is_empty() || !had.iter().all(is_listed) {
        ids.extend(unlisted(context, found, (shard, workflow), had).await?);
    }
    Ok(ids)
}

/// Streams that are gone and no record lists, which the verdict takes for the workflow's. `had` are those that it had on the shard.
async fn unlisted(
    context: &Context,
    found: &ExistingWorkflow,
    (shard, workflow): (&TargetShard, &str),
    had: &[&Stream],
) -> Result<Vec<i64>> {
    if !had.iter().any(|stream| streams::may_have_taken_over(stream)) {
        return Ok(Vec::new());
    }
    let orphaned = copy_states::orphaned(context, shard.primary()?).await?;
    let tables = found.tables();
    let [facts, earlier] = [&found.record, &found.earlier].map(|stored| stored.as_ref().map(|stored| &stored.facts));
    let noted = Noted { facts, earlier, tables: &tables };
    let left = replaced::left((shard, workflow), had, &orphaned, noted);
    Ok(left.into_iter().map(|left| left.id).collect())
}
