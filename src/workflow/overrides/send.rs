//! Overrides that are sent to a tablet with a change of its streams.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use vtmigrated_proto::tabletmanagerdata::{ReadVReplicationWorkflowsRequest, UpdateVReplicationWorkflowRequest};
use vtmigrated_proto::topodata::Tablet;

use super::{ask, batches_rightly, depend_on_spelling, is_of_create, merge, names, stored, unread};
use crate::context::Context;
use crate::tablet;
use crate::topo::Lock;

/// Bound of asking a tablet's status port.
const VERSION_TIMEOUT: Duration = Duration::from_secs(3);

/// Changes a tablet's streams of a workflow, whose overrides stay as they are. The caller has just seen that the lock is held.
///
/// A tablet that does not read them since its version changed refuses even to stop the streams, and to mark them (`failed to
/// process config options`, Vitess 22.0.3 to 24.0.4). It gets the same change once more with its own spelling.
///
/// # Errors
/// The tablet's.
pub async fn change(
    context: &Context,
    lock: &Lock,
    on: &Tablet,
    request: UpdateVReplicationWorkflowRequest,
) -> tablet::Result<()> {
    let refused = match context.tablets.update_v_replication_workflow(on, request.clone()).await {
        Ok(_) => return Ok(()),
        Err(error) if error.is_silent() => return Err(error),
        Err(error) => error,
    };
    let config_overrides = spelled_anew(context, on, &request.workflow).await;
    // whoever had to ask the tablet may have lost the lock meanwhile
    if config_overrides.is_empty() || lock.check().await.is_err() {
        return Err(refused);
    }
    let request = UpdateVReplicationWorkflowRequest { config_overrides, ..request };
    context.tablets.update_v_replication_workflow(on, request).await.map(drop)
}

/// What [`respelled`] answers for the overrides that a workflow has on a tablet now, when nothing else is asked for.
async fn spelled_anew(context: &Context, on: &Tablet, workflow: &str) -> HashMap<String, String> {
    let request =
        ReadVReplicationWorkflowsRequest { include_workflows: vec![workflow.to_owned()], ..Default::default() };
    // a tablet that does not tell has refused the change for reasons of its own
    let Ok(answer) = context.tablets.read_v_replication_workflows(on, request).await else { return HashMap::new() };
    let Some(found) = answer.workflows.first() else { return HashMap::new() };
    respelled(context, on, &stored(&found.options), &HashMap::new()).await
}

/// The overrides to send to a tablet with a change: those that are stored, changed by what is asked for and spelled as it reads
/// them. Empty where nothing is asked for and all that is stored is read. Two calls at most.
pub async fn respelled(
    context: &Context,
    on: &Tablet,
    stored: &BTreeMap<String, String>,
    wanted: &HashMap<String, String>,
) -> HashMap<String, String> {
    let asked = wanted.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if !depend_on_spelling(stored) && !depend_on_spelling(&asked) {
        return if wanted.is_empty() { HashMap::new() } else { merge(stored, wanted, None) };
    }
    let spelling = match ask(context, on).await {
        Ok(spelling) => Some(spelling),
        Err(why) => {
            tracing::warn!("overrides are sent as they are spelled: {why}");
            None
        }
    };
    let strange = spelling.map(|spelling| unread(stored, spelling)).unwrap_or_default();
    if wanted.is_empty() && strange.is_empty() {
        return HashMap::new();
    }
    let mut wanted = wanted.clone();
    for name in strange {
        let of_create = stored.get(name).is_some_and(|value| is_of_create(name, value));
        let of_create = of_create && !names(&wanted, name);
        let known = || async { tablet::build_version(on, VERSION_TIMEOUT).await.is_ok_and(|v| batches_rightly(&v)) };
        if of_create && known().await {
            wanted.entry(name.to_owned()).or_default();
        }
    }
    merge(stored, &wanted, spelling)
}
