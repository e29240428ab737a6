//! Streams that were started a moment ago: they may copy rows while somebody looks at their tables.

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::super::super::streams::has_copied;
use super::super::super::{Result, overrides};
use super::super::Found;
use super::{each, state_change};
use crate::context::Context;
use crate::topo::Lock;

/// True when a stream was started and has no position yet: what it copies next would look like somebody's rows. One that is
/// stopped, or has failed for good, copies nothing.
fn is_starting(stream: &Stream) -> bool {
    !matches!(stream.state(), State::Stopped | State::Error) && !has_copied(stream)
}

/// Stops the streams of shards, given by index, on which one is just starting, and reads the workflow's streams again; answers
/// these shards.
///
/// # Errors
/// Those of the tablets and of the lock.
pub async fn quieten(context: &Context, lock: &Lock, found: &mut Found, workflow: &str) -> Result<Vec<usize>> {
    let starting = found.rows.iter().filter(|row| row.found.streams.iter().any(is_starting));
    let starting: Vec<usize> = starting.map(|row| row.shard).collect();
    if !starting.is_empty() {
        set_state(context, lock, found, (workflow, State::Stopped), &starting).await?;
        found.rows = found.target.keyspace.workflows(context, &[workflow.to_owned()]).await?;
    }
    Ok(starting)
}

/// Starts the streams again that [`quieten`] stopped, on the shards that it answered.
///
/// # Errors
/// Those of the tablets and of the lock.
pub async fn restart(context: &Context, lock: &Lock, found: &Found, workflow: &str, stopped: &[usize]) -> Result<()> {
    set_state(context, lock, found, (workflow, State::Running), stopped).await
}

async fn set_state(
    context: &Context,
    lock: &Lock,
    found: &Found,
    (workflow, state): (&str, State),
    shards: &[usize],
) -> Result<()> {
    lock.check().await?;
    let request = state_change(workflow, state, None);
    let wanted = found.target.keyspace.shards.iter().enumerate().filter(|(at, _)| shards.contains(at));
    let shards = wanted.map(|(_, shard)| shard);
    each(shards, |_, tablet| overrides::change(context, lock, tablet, request.clone())).await
}
