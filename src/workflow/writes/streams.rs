//! What is done to the streams of all shards at once.

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
use vtmigrated_proto::topodata::Tablet;

use crate::tablet;
use crate::workflow::streams::TargetShard;
use crate::workflow::{Error, Result};

/// Changes the state of a workflow and leaves cells and tablet types as they are.
pub fn state_change(workflow: &str, state: State, message: Option<&str>) -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        workflow: workflow.to_owned(),
        // markers for "leave alone" (Vitess 22.0.3)
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        // keeps the in_order hint, which an absent preference would drop
        tablet_selection_preference: Some(
            vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference::Unknown.into(),
        ),
        state: Some(state.into()),
        message: message.map(str::to_owned),
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

/// Runs something on the primary of each shard in parallel, waits for all, and folds the errors.
pub async fn each<'s, F>(
    shards: impl Iterator<Item = &'s TargetShard>,
    run: impl Fn(&'s TargetShard, &'s Tablet) -> F,
) -> Result<()>
where
    F: Future<Output = tablet::Result<()>>,
{
    let mut calls = Vec::new();
    for shard in shards {
        calls.push(run(shard, shard.primary()?));
    }
    let errors = join_all(calls).await.into_iter().filter_map(|done| done.err().map(Error::from)).collect();
    Error::several(errors).map_or(Ok(()), Err)
}
