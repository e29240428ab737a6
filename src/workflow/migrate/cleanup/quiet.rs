//! Streams that were started a moment ago: they may copy rows while somebody looks at their tables.

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::super::super::Result;
use super::super::super::streams::has_copied;
use super::super::Found;
use super::{each, state_change};
use crate::context::Context;
use crate::topo::Lock;

/// True when a stream was started and has no position yet: what it copies next would look like somebody's rows.
fn is_starting(stream: &Stream) -> bool {
    stream.state() != State::Stopped && !has_copied(stream)
}

/// Stops the workflow when one of its streams is just starting, and reads its streams again; answers whether it did.
///
/// # Errors
/// Those of the tablets and of the lock.
pub async fn quieten(context: &Context, lock: &Lock, found: &mut Found, workflow: &str) -> Result<bool> {
    if !found.rows.iter().flat_map(|row| &row.found.streams).any(is_starting) {
        return Ok(false);
    }
    set_state(context, lock, found, workflow, State::Stopped).await?;
    found.rows = found.target.keyspace.workflows(context, &[workflow.to_owned()]).await?;
    Ok(true)
}

/// Starts the streams again that [`quieten`] stopped.
///
/// # Errors
/// Those of the tablets and of the lock.
pub async fn restart(context: &Context, lock: &Lock, found: &Found, workflow: &str) -> Result<()> {
    set_state(context, lock, found, workflow, State::Running).await
}

async fn set_state(context: &Context, lock: &Lock, found: &Found, workflow: &str, state: State) -> Result<()> {
    lock.check().await?;
    let request = state_change(workflow, state, None);
    let with_rows = |at: usize| found.rows.iter().any(|row| row.shard == at);
    let shards = found.target.keyspace.shards.iter().enumerate().filter(|(at, _)| with_rows(*at));
    each(shards.map(|(_, shard)| shard), |_, tablet| {
        let request = request.clone();
        async move { context.tablets.update_v_replication_workflow(tablet, request).await.map(|_| ()) }
    })
    .await
}
