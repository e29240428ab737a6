//! The locks of a workflow.

use crate::context::Context;
use crate::topo::{self, Lock, paths};
use crate::workflow::{Error, Result};

/// The name under which stock takes the locks of create.
pub(crate) const CREATE_ACTION: &str = "MoveTablesCreate";

/// The name under which stock takes the locks of complete.
pub(crate) const COMPLETE_ACTION: &str = "MoveTablesComplete";

/// The name under which stock takes the locks of cancel.
pub(crate) const DELETE_ACTION: &str = "WorkflowDelete";

/// Takes the lock of the workflow, then that of its keyspace.
pub(in crate::workflow) async fn locks(
    context: &Context,
    keyspace: &str,
    workflow: &str,
    action: &str,
) -> Result<Lock> {
    let request = context.lock_request(action);
    let request = request.named(paths::workflow_lock(keyspace, workflow)).of(paths::keyspace_dir(keyspace));
    context.topo.global().lock(request).await.map_err(|error| {
        let missing_keyspace = error.is_no_node();
        let error = Error::Topo(error);
        if missing_keyspace {
            let missing = topo::Error::NoNode(context.topo.global().full(&paths::shards_dir(keyspace)));
            return missing.wrap("List").wrap(format!("FindAllShardsInKeyspace({keyspace})")).into();
        }
        error.doing(format!("failed to lock the {keyspace}/{workflow} workflow"))
    })
}
