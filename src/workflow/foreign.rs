//! Workflows of other types: a stock vtctld's work.

use futures::future::try_join;
use vtmigrated_proto::binlogdata::VReplicationWorkflowType;

use crate::context::Context;
use crate::error::Reason;
use crate::topo;
use crate::workflow::migrate::status;
use crate::workflow::streams::{Keyspace, OnShard};
use crate::workflow::{Error, Result, names};

/// Leaves a workflow to the fallback whose type is none of ours.
///
/// # Errors
/// [`Error::NotServed`] naming the type.
pub fn check(keyspace: &str, workflow: &str, rows: &[OnShard]) -> Result<()> {
    let foreign =
        rows.iter().map(|row| row.found.workflow_type()).find(|kind| *kind != VReplicationWorkflowType::Migrate);
    match foreign {
        Some(kind) => Err(not_served(keyspace, workflow, kind)),
        None => Ok(()),
    }
}

fn not_served(keyspace: &str, workflow: &str, kind: VReplicationWorkflowType) -> Error {
    let kind = kind.as_str_name();
    let text = format!("workflow {workflow} in keyspace {keyspace} is a {kind}, which vtmigrated does not serve");
    let help = "name a stock vtctld of the same cluster with --fallback-vtctld-server, or send this command to it";
    Error::not_served(Reason::WORKFLOW_TYPE, text, help)
}

/// Adding tables: refused for a Migrate, forwarded for all else. Three waves.
///
/// # Errors
/// Always.
pub async fn add_tables(context: &Context, keyspace: &str, workflow: &str) -> Result<()> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let shards = async { Ok::<_, Error>(topo::shard::all(context.topo.global(), keyspace).await?) };
    let cells = async { Ok::<_, Error>(context.topo.cells().await?) };
    let (shards, cells) = try_join(shards, cells).await?;
    let loaded = Keyspace::with_primaries(keyspace, shards, cells).await?;
    let rows = loaded.workflows(context, &[workflow.to_owned()]).await?;
    check(keyspace, workflow, &rows)?;
    if rows.is_empty() {
        return Err(status::missing(keyspace, workflow, false));
    }
    let text = format!("cannot add tables for workflow type {}", VReplicationWorkflowType::Migrate.as_str_name());
    Err(Error::precondition(
        Reason::WORKFLOW_TYPE,
        text,
        "make another Migrate workflow for the tables that are missing",
    ))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;

    use super::*;
    use crate::error::{Code, Explain};

    #[test]
    fn only_a_migrate_is_ours() {
        let row = |kind: VReplicationWorkflowType| OnShard {
            shard: 0,
            found: ReadVReplicationWorkflowResponse { workflow_type: kind.into(), ..Default::default() },
        };
        assert!(check("ks", "w", &[row(VReplicationWorkflowType::Migrate)]).is_ok());
        let rows = [row(VReplicationWorkflowType::Migrate), row(VReplicationWorkflowType::Reshard)];
        let error = check("ks", "w", &rows).unwrap_err();
        assert_eq!(error.to_string(), "workflow w in keyspace ks is a Reshard, which vtmigrated does not serve");
        assert!(error.is_forwarded() && error.code() == Code::Unimplemented);
    }
}
