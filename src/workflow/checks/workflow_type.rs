//! Workflows of other types: a stock vtctld's work.

use vtmigrated_proto::binlogdata::VReplicationWorkflowType;

use crate::error::Reason;
use crate::workflow::streams::ShardWorkflow;
use crate::workflow::{Error, Result};

/// Leaves a workflow to the fallback whose type is none of ours.
///
/// # Errors
/// [`Error::NotServed`] naming the type.
pub fn check(keyspace: &str, workflow: &str, rows: &[ShardWorkflow]) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;

    use super::*;
    use crate::error::{Code, Explain};

    #[test]
    fn only_a_migrate_is_ours() {
        let row = |kind: VReplicationWorkflowType| ShardWorkflow {
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
