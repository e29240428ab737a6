//! Workflows of other types: a stock vtctld's work.

use futures::future::try_join;
use vtmigrated_proto::binlogdata::VReplicationWorkflowType;

use crate::context::Context;
use crate::error::Reason;
use crate::topo;
use crate::workflow::checks::absent;
use crate::workflow::checks::workflow_type::check;
use crate::workflow::streams::Keyspace;
use crate::workflow::{Error, Result, names};

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
        return Err(absent::missing(keyspace, workflow, false));
    }
    let text = format!("cannot add tables for workflow type {}", VReplicationWorkflowType::Migrate.as_str_name());
    Err(Error::precondition(
        Reason::WORKFLOW_TYPE,
        text,
        "make another Migrate workflow for the tables that are missing",
    ))
}
