//! WorkflowUpdate: start, stop and change the streams of a workflow on all shards.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::binlogdata::{VReplicationWorkflowState as State, VReplicationWorkflowType};
use vtmigrated_proto::tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest};
use vtmigrated_proto::topodata::TabletAlias;

use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, Lock, LockRequest, paths};
use crate::workflow::checks::complete::cancel_has_begun;
use crate::workflow::leftovers::locks;
use crate::workflow::streams::{Keyspace, ShardWorkflow};
use crate::workflow::writes::thaw;
use crate::workflow::{Error, Result, names, overrides, record};

/// The name of the lock of a change; stock takes none.
const ACTION: &str = "WorkflowUpdate";
/// That of a tablet that sets a diff up (Vitess 22.0.4 and 24.0.4), and how long that is waited for.
const DIFF_ACTION: &str = "vdiff";
const DIFF_WAIT: Duration = Duration::from_secs(5);

/// What tablets read as nothing said of cells and of tablet types (Vitess 22.0.4 and 24.0.4, package `textutil`).
const UNSAID: &str = "NULL";
const UNSAID_TYPE: i32 = -1;

/// Forwards the change to every primary in parallel; answers the rows that changed on each, ascending by alias.
///
/// Config overrides are merged with those that the workflow has, and spelled as each tablet reads them: names that were
/// stored before a tablet was upgraded are spelled anew with whatever change comes. A request that does not speak of the
/// tablet selection preference keeps the order of tablet types; one of a state alone keeps cells and tablet types, too.
/// Started, a Migrate runs on on all shards that a complete stopped for good, while its tables are not handed over.
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
        refuse_cancelling(context, keyspace, &request.workflow).await?;
    }
    let rows = loaded.workflows(context, std::slice::from_ref(&request.workflow)).await;
    let migrates = |row: &ShardWorkflow| row.found.workflow_type() == VReplicationWorkflowType::Migrate;
    let is_ours = rows.as_ref().map_or(true, |rows| rows.iter().any(migrates));
    if request.state == Some(State::Running.into()) && thaw::is_wanted(&rows?) {
        thaw::start(context, keyspace, &request.workflow).await?;
    }
    keep_unsaid(&mut request);
    let lock = if is_ours { lock(context, keyspace, &request.workflow).await? } else { None };
    let sent = send(context, &loaded, &request, lock.as_ref()).await;
    if let Some(lock) = lock {
        lock.give_back("update").await;
    }
    let mut changed = sent?;
    context.changes.make();
    if changed.is_empty() {
        let text = format!("the {} workflow does not exist in the {keyspace} keyspace", request.workflow);
        return Err(Error::not_found(
            Reason::WORKFLOW_UNKNOWN,
            text,
            format!("see Workflow --keyspace {keyspace} list"),
        ));
    }
    changed.sort_by(|a, b| (&a.0.cell, a.0.uid).cmp(&(&b.0.cell, b.0.uid)));
    Ok(changed)
}

/// Refuses to start what a cancel has begun to take away: the tables may be somebody else's by now, made anew under the same names.
async fn refuse_cancelling(context: &Context, keyspace: &str, workflow: &str) -> Result<()> {
    let stored = record::find(context.topo.global(), keyspace, workflow).await?;
    if !stored.is_some_and(|stored| stored.facts.cancelling) {
        return Ok(());
    }
    let found = cancel_has_begun(keyspace, workflow);
    let text = format!("cannot start workflow {workflow} in keyspace {keyspace}: {}", found.cause);
    Err(Error::precondition(found.id, text, found.fix))
}

/// Spells what a request says nothing of as tablets read it.
///
/// They take no cells and no tablet types for an order to forget them, and a stream without tablet types finds no tablet to read from.
/// The stock client sends that when a user asks for it, never along with a state; VTAdmin 22 sends workflow and state, nothing else.
fn keep_unsaid(request: &mut UpdateVReplicationWorkflowRequest) {
    if request.tablet_selection_preference.is_none() {
        request.tablet_selection_preference = Some(TabletSelectionPreference::Unknown.into());
    }
    if request.state.is_none() {
        return;
    }
    if request.cells.is_empty() {
        request.cells = vec![UNSAID.to_owned()];
    }
    if request.tablet_types.is_empty() {
        request.tablet_types = vec![UNSAID_TYPE];
    }
}

/// Takes the lock of a workflow, so that no complete and no cancel is at work on its streams: a tablet writes the state that a stream
/// had when it read it, and might start one that was just stopped for good (Vitess 22.0.4 and 24.0.4, `UpdateVReplicationWorkflow`).
///
/// `None` where a tablet holds it that sets a diff up, which complete and cancel wait for, too: when it finds no tablet to read from it
/// holds it for ever, and this may be what helps.
async fn lock(context: &Context, keyspace: &str, workflow: &str) -> Result<Option<Lock>> {
    let global = context.topo.global();
    let dir = paths::workflow_lock(keyspace, workflow);
    let failed =
        |error: topo::Error| Error::Topo(error).doing(format!("failed to lock the {keyspace}/{workflow} workflow"));
    let all = context.options.lock_timeout;
    let first = all.min(DIFF_WAIT);
    for wait in [first, all.saturating_sub(first)] {
        let request = LockRequest { wait, ..context.lock_request(ACTION) };
        match global.lock(request.named(dir.clone())).await {
            Ok(lock) => return Ok(Some(lock)),
            Err(error) if !matches!(error.root(), topo::Error::Timeout(_)) => return Err(failed(error)),
            Err(error) if wait != first => return Err(failed(error)),
            Err(_) => {}
        }
        let keys = global.list(&dir).await?;
        let holder = keys.iter().min_by_key(|key| key.created);
        if holder.is_some_and(|key| locks::action(&key.value).as_deref() == Some(DIFF_ACTION)) {
            tracing::warn!(workflow, keyspace, "its streams are changed while a diff is set up");
            return Ok(None);
        }
    }
    Err(failed(topo::Error::Timeout(format!("{dir}/locks"))))
}

/// Sends the change to every primary in parallel; answers the rows that changed on each.
async fn send(
    context: &Context,
    loaded: &Keyspace,
    request: &UpdateVReplicationWorkflowRequest,
    lock: Option<&Lock>,
) -> Result<Vec<(TabletAlias, u64)>> {
    let overrides = overrides_of(context, loaded, request).await?;
    let primaries = loaded.primaries()?;
    if let Some(lock) = lock {
        lock.check().await?;
    }
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
    Error::several(errors).map_or(Ok(changed), Err)
}

async fn load(context: &Context, keyspace: &str, shards: &[String]) -> Result<Keyspace> {
    let mut loaded = Keyspace::read(context, keyspace).await.map_err(|error| match error {
        Error::Topo(inner) if inner.is_no_node() => {
            let path = format!("{}/", context.topo.global().full(&paths::shards_dir(keyspace)));
            Error::Topo(topo::Error::NoNode(path)).doing(format!("{keyspace} keyspace does not exist"))
        }
        other => other,
    })?;
    if loaded.shards.is_empty() {
        return Err(Error::not_found(Reason::NO_SHARDS, format!("no shards found in keyspace {keyspace}"), ""));
    }
    loaded.check_shards(shards)?;
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

#[cfg(test)]
mod tests;
