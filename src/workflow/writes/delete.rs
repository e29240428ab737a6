//! The end of a workflow's streams and diffs.

use futures::future::{join, join3};
use vtmigrated_proto::tabletmanagerdata::VDiffRequest;
use vtmigrated_proto::topodata::Tablet;

use super::denied::{NOT_DELETED, as_read, with_primaries_kept};
use super::streams::each;
use crate::context::Context;
use crate::tablet::{self, db_name};
use crate::topo::Lock;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::streams::KeyspaceTablets;
use crate::workflow::{Error, Result, rows};

/// Deletes the streams of a workflow and its diffs on every shard: one wave.
pub async fn delete_rows(context: &Context, lock: &Lock, target: &KeyspaceTablets, workflow: &str) -> Result<()> {
    lock.check().await?;
    let keyspace = &target.keyspace.name;
    each(target.keyspace.shards.iter(), |_, tablet| delete_rows_on(context, tablet, (keyspace, workflow))).await
}

/// The same on one primary; the lock was seen to be held.
pub async fn delete_rows_on(context: &Context, tablet: &Tablet, names: (&str, &str)) -> tablet::Result<()> {
    let diffs = async {
        if let Err(error) = delete_diffs_on(context, tablet, names).await {
            tracing::warn!("the diffs of the workflow were not deleted: {error}");
        }
    };
    join(delete_streams_on(context, tablet, names.1), diffs).await.0
}

async fn delete_streams_on(context: &Context, tablet: &Tablet, workflow: &str) -> tablet::Result<()> {
    let query = rows::delete_workflow(&db_name(tablet), workflow);
    context.tablets.v_replication_exec(tablet, query).await.map(drop)
}

/// One that says that it cannot keeps them, as with stock: they are leftovers then.
///
/// # Errors
/// A tablet that gives no answer.
async fn delete_diffs_on(context: &Context, tablet: &Tablet, (keyspace, workflow): (&str, &str)) -> tablet::Result<()> {
    let request = VDiffRequest {
        keyspace: keyspace.to_owned(),
        workflow: workflow.to_owned(),
        action: "delete".into(),
        action_arg: "all".into(),
        ..VDiffRequest::default()
    };
    match context.tablets.v_diff(tablet, request).await {
        Err(error) if !error.is_silent() => {
            tracing::warn!("the diffs of the workflow were not deleted: {error}");
            Ok(())
        }
        deleted => deleted.map(drop),
    }
}

/// Deletes the streams of a workflow and its diffs, and sees that the shards have the primaries still on which that is done:
/// another one may have the streams. One wave; without a record, after which nobody could repeat it once the streams are gone, the
/// diffs go before.
///
/// # Errors
/// `PRIMARY_CHANGED`, and those of the tablets.
pub async fn delete_streams(context: &Context, lock: &Lock, found: &ExistingWorkflow, workflow: &str) -> Result<()> {
    let target = &found.target.keyspace;
    let names = (target.name.as_str(), workflow);
    lock.check().await?;
    let diffs = each(target.shards.iter(), |_, tablet| delete_diffs_on(context, tablet, names));
    let streams = each(target.shards.iter(), |_, tablet| delete_streams_on(context, tablet, workflow));
    let records = as_read(target);
    let kept = with_primaries_kept(context, &records, NOT_DELETED);
    if found.record.is_some() {
        let (streams, diffs, kept) = join3(streams, diffs, kept).await;
        return Error::all(vec![streams, diffs, kept.map(drop)]);
    }
    diffs.await?;
    lock.check().await?;
    let (streams, kept) = join(streams, kept).await;
    Error::all(vec![streams, kept.map(drop)])
}
