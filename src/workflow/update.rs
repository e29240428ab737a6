//! WorkflowUpdate: start, stop and change the streams of a workflow on all shards.

use std::collections::HashMap;

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest};
use vtmigrated_proto::topodata::TabletAlias;

use super::migrate::thaw;
use super::streams::Keyspace;
use super::{Error, Result, names, overrides};
use crate::context::Context;
use crate::topo;

/// Forwards the change to every primary in parallel; answers the rows that changed on each, ascending by alias.
///
/// Config overrides are merged with those that the workflow has, and spelled as each tablet reads them: names that were
/// stored before a tablet was upgraded are spelled anew with whatever change comes. A request that does not speak of the
/// tablet selection preference keeps the order of tablet types. Started, a Migrate runs on on all shards that a complete
/// stopped for good, while its tables are not handed over.
pub async fn update(
    context: &Context,
    keyspace: &str,
    mut request: UpdateVReplicationWorkflowRequest,
) -> Result<Vec<(TabletAlias, u64)>> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(&request.workflow)?;
    let loaded = load(context, keyspace, &request.shards).await?;
    loaded.refuse_unrecorded(context, &request.workflow).await?;
    if request.state == Some(State::Running.into()) {
        let rows = loaded.workflows(context, std::slice::from_ref(&request.workflow)).await?;
        if thaw::is_wanted(&rows) {
            thaw::start(context, keyspace, &request.workflow).await?;
        }
    }
    if request.tablet_selection_preference.is_none() {
        request.tablet_selection_preference = Some(TabletSelectionPreference::Unknown.into());
    }
    let overrides = overrides_of(context, &loaded, &request).await?;
    let primaries = loaded.primaries()?;
    let calls = primaries.iter().zip(overrides).map(|((_, tablet), config_overrides)| {
        let request = UpdateVReplicationWorkflowRequest { config_overrides, ..request.clone() };
        context.tablets.update_v_replication_workflow(tablet, request)
    });
    let mut changed = Vec::new();
    let mut errors = Vec::new();
    for ((_, tablet), answer) in primaries.iter().zip(join_all(calls).await) {
        match answer {
            Ok(answer) => {
                let alias = tablet.alias.clone().unwrap_or_default();
                changed.extend(answer.result.map(|result| (alias, result.rows_affected)));
            }
            Err(error) => errors.push(Error::from(error)),
        }
    }
    if let Some(error) = Error::several(errors) {
        return Err(error);
    }
    context.changes.make();
    if changed.is_empty() {
        let text = format!("the {} workflow does not exist in the {keyspace} keyspace", request.workflow);
        return Err(Error::not_found("WORKFLOW_UNKNOWN", text, format!("see Workflow --keyspace {keyspace} list")));
    }
    changed.sort_by(|a, b| (&a.0.cell, a.0.uid).cmp(&(&b.0.cell, b.0.uid)));
    Ok(changed)
}

async fn load(context: &Context, keyspace: &str, shards: &[String]) -> Result<Keyspace> {
    let mut loaded = Keyspace::read(context, keyspace).await.map_err(|error| match error {
        Error::Topo(inner) if inner.is_no_node() => {
            let path = format!("{}/", context.topo.global().full(&topo::paths::shards_dir(keyspace)));
            Error::Topo(topo::Error::NoNode(path)).doing(format!("{keyspace} keyspace does not exist"))
        }
        other => other,
    })?;
    if loaded.shards.is_empty() {
        return Err(Error::not_found("NO_SHARDS", format!("no shards found in keyspace {keyspace}"), ""));
    }
    if let Some(unknown) = shards.iter().find(|name| !loaded.shards.iter().any(|s| s.name == **name)) {
        loaded.refuse_silent()?;
        let text = format!("shard {unknown} not found in keyspace {keyspace}");
        return Err(Error::not_found("SHARD_UNKNOWN", text, format!("see FindAllShardsInKeyspace {keyspace}")));
    }
    loaded.shards.retain(|s| shards.is_empty() || shards.contains(&s.name));
    Ok(loaded)
}

/// The overrides to send to each shard's primary: at most two waves. Empty where nothing is asked for and all that is
/// stored is read.
async fn overrides_of(
    context: &Context,
    keyspace: &Keyspace,
    request: &UpdateVReplicationWorkflowRequest,
) -> Result<Vec<HashMap<String, String>>> {
    let wanted = &request.config_overrides;
    let rows = match keyspace.workflows(context, std::slice::from_ref(&request.workflow)).await {
        Err(error) if wanted.is_empty() => {
            // the tablets say themselves what is wrong
            tracing::warn!("the workflow's overrides were not read: {error}");
            Vec::new()
        }
        rows => rows?,
    };
    let primaries = keyspace.primaries()?;
    let merged = primaries.iter().enumerate().map(|(at, (_, tablet))| {
        let row = rows.iter().find(|row| row.shard == at);
        let stored = row.map(|row| overrides::stored(&row.found.options)).unwrap_or_default();
        async move { overrides::respelled(context, tablet, &stored, wanted).await }
    });
    Ok(join_all(merged).await)
}
