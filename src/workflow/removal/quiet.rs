//! Streams that were started a moment ago: they may copy rows while somebody looks at their tables.

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use crate::context::Context;
use crate::topo::Lock;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::streams::{ShardWorkflow, has_copied};
use crate::workflow::writes::streams::state_change;
use crate::workflow::{Error, Result, overrides, rows};

/// Streams of a workflow on one shard that were stopped for a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quieted {
    /// Index into the shards of the target.
    shard: usize,
    /// Their ids; none where they are all that the workflow has on the shard.
    only: Vec<i64>,
}

/// False for a stream that is stopped, or has failed for good: it copies nothing.
fn is_active(stream: &Stream) -> bool {
    !matches!(stream.state(), State::Stopped | State::Error)
}

/// True when a stream was started and has no position yet: what it copies next would look like somebody's rows.
fn is_starting(stream: &Stream) -> bool {
    is_active(stream) && !has_copied(stream)
}

/// Stops the streams of shards on which one is just starting, and reads the workflow's streams again; answers those that were not
/// stopped before.
///
/// # Errors
/// Those of the tablets and of the lock.
pub async fn quieten(
    context: &Context,
    lock: &Lock,
    found: &mut ExistingWorkflow,
    workflow: &str,
) -> Result<Vec<Quieted>> {
    let starting = found.rows.iter().filter(|row| row.found.streams.iter().any(is_starting));
    let quieted = |row: &ShardWorkflow| {
        let streams = &row.found.streams;
        let active: Vec<i64> = streams.iter().filter(|s| is_active(s)).map(|s| i64::from(s.id)).collect();
        let only = if active.len() == streams.len() { Vec::new() } else { active };
        Quieted { shard: row.shard, only }
    };
    let quieted: Vec<Quieted> = starting.map(quieted).collect();
    if !quieted.is_empty() {
        set_state(context, lock, found, (workflow, State::Stopped), &quieted).await?;
        found.rows = found.target.keyspace.workflows(context, &[workflow.to_owned()]).await?;
    }
    Ok(quieted)
}

/// Starts the streams again that [`quieten`] stopped, and no others.
///
/// # Errors
/// Those of the tablets and of the lock.
pub async fn restart(
    context: &Context,
    lock: &Lock,
    found: &ExistingWorkflow,
    workflow: &str,
    quieted: &[Quieted],
) -> Result<()> {
    set_state(context, lock, found, (workflow, State::Running), quieted).await
}

async fn set_state(
    context: &Context,
    lock: &Lock,
    found: &ExistingWorkflow,
    (workflow, state): (&str, State),
    quieted: &[Quieted],
) -> Result<()> {
    lock.check().await?;
    let request = &state_change(workflow, state, None);
    let mut calls = Vec::new();
    for Quieted { shard, only } in quieted {
        let Some(shard) = found.target.keyspace.shards.get(*shard) else { continue };
        let on = shard.primary()?;
        calls.push(async move {
            match only.as_slice() {
                [] => overrides::change(context, lock, on, request.clone()).await?,
                ids => drop(context.tablets.v_replication_exec(on, rows::set_state(ids, state)).await?),
            }
            Ok::<(), Error>(())
        });
    }
    Error::all(join_all(calls).await)
}
