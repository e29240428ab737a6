//! WorkflowUpdate: start, stop and change the streams of a workflow on all shards.

use std::collections::HashMap;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
use vtmigrated_proto::topodata::TabletAlias;

use super::streams::Keyspace;
use super::{Error, Result, names};
use crate::context::Context;
use crate::topo;

/// Forwards the change to every primary in parallel; answers the rows that changed on each, ascending by alias.
///
/// Config overrides are merged with those that the workflow has, for a tablet replaces the whole set (Vitess 22.0.3). A
/// request that does not speak of the tablet selection preference keeps the order of tablet types.
pub async fn update(
    context: &Context,
    keyspace: &str,
    request: UpdateVReplicationWorkflowRequest,
) -> Result<Vec<(TabletAlias, u64)>> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(&request.workflow)?;
    let loaded = load(context, keyspace, &request.shards).await?;
    let merged = merge_overrides(context, &loaded, request).await?;
    let primaries = loaded.primaries()?;
    let calls =
        primaries.iter().map(|(_, tablet)| context.tablets.update_v_replication_workflow(tablet, merged.clone()));
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
        let text = format!("the {} workflow does not exist in the {keyspace} keyspace", merged.workflow);
        return Err(Error::not_found("WORKFLOW_UNKNOWN", text, format!("see Workflow --keyspace {keyspace} list")));
    }
    changed.sort_by(|a, b| (&a.0.cell, a.0.uid).cmp(&(&b.0.cell, b.0.uid)));
    Ok(changed)
}

async fn load(context: &Context, keyspace: &str, shards: &[String]) -> Result<Keyspace> {
    let mut loaded = Keyspace::load(&context.topo, keyspace).await.map_err(|error| match error {
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
        let text = format!("shard {unknown} not found in keyspace {keyspace}");
        return Err(Error::not_found("SHARD_UNKNOWN", text, format!("see FindAllShardsInKeyspace {keyspace}")));
    }
    loaded.shards.retain(|s| shards.is_empty() || shards.contains(&s.name));
    Ok(loaded)
}

async fn merge_overrides(
    context: &Context,
    keyspace: &Keyspace,
    mut request: UpdateVReplicationWorkflowRequest,
) -> Result<UpdateVReplicationWorkflowRequest> {
    if request.tablet_selection_preference.is_none() {
        let keep = vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference::Unknown;
        request.tablet_selection_preference = Some(keep.into());
    }
    if request.config_overrides.is_empty() {
        return Ok(request);
    }
    let rows = keyspace.workflows(context, std::slice::from_ref(&request.workflow)).await?;
    let mut merged: HashMap<String, String> = HashMap::new();
    for row in &rows {
        let options: serde_json::Value = serde_json::from_str(&row.found.options).unwrap_or_default();
        for (key, value) in options.get("config").and_then(|c| c.as_object()).into_iter().flatten() {
            merged.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
    }
    merged.extend(request.config_overrides);
    request.config_overrides = merged;
    Ok(request)
}
