//! The cleaner: each leftover is read again under its locks, and goes only when it is as the report said.

use futures::future::try_join;
use serde::Serialize;
use vtmigrated_proto::tabletmanagerdata::VDiffRequest;

use super::plan::{Plan, Remains, have_copied};
use super::{Action, Known, Leftover, find, tablets, unreadable};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{Expect, Lock, Write, paths};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::removal::others::Others;
use crate::workflow::removal::{CreatedObjects, Removal, entries};
use crate::workflow::streams::{Keyspace, ShardWorkflow};
use crate::workflow::writes::locks::locks;
use crate::workflow::{Error, Result, record, way_back};

/// The name of the cleaner's locks.
const ACTION: &str = "CleanLeftovers";

/// What became of one leftover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    /// Id and subject.
    pub key: String,
    /// Why it is still there; empty when it is gone.
    pub kept: String,
}

/// Cleans the leftovers of one keyspace, or of all, whose keys are in `only`; an empty `only` means all that a report
/// would call cleanable. A record that cannot be read goes by its key only. Repeating it is harmless.
///
/// # Errors
/// Those of finding them. What cannot be cleaned is in the answer.
pub async fn clean(context: &Context, keyspace: &str, only: &[String]) -> Result<Vec<Cleaned>> {
    let found = find(context, keyspace).await?;
    let mut cleaned = Vec::new();
    for key in only.iter().filter(|key| !found.iter().any(|leftover| leftover.key() == **key)) {
        cleaned.push(Cleaned { key: key.clone(), kept: "there is no such leftover now".into() });
    }
    // one after the other: they share locks
    let wanted = |leftover: &&Leftover| match only {
        [] => leftover.cleanable,
        _ => only.contains(&leftover.key()),
    };
    for leftover in found.iter().filter(wanted) {
        let key = leftover.key();
        match one(context, leftover).await {
            Some(Ok(())) => {
                tracing::info!(leftover = key, "cleaned");
                cleaned.push(Cleaned { key, kept: String::new() });
            }
            Some(Err(error)) => cleaned.push(Cleaned { key, kept: error.to_string() }),
            None => {
                cleaned.push(Cleaned { key, kept: format!("it is not cleaned by itself: {}", leftover.finding.fix) })
            }
        }
    }
    Ok(cleaned)
}

/// `None` when nothing is to be done by itself.
async fn one(context: &Context, leftover: &Leftover) -> Option<Result<()>> {
    let global = context.topo.global();
    Some(match leftover.action.as_ref()? {
        Action::Workflow { keyspace, workflow, plan } => {
            let lock = match locks(context, keyspace, workflow, ACTION).await {
                Ok(lock) => lock,
                Err(error) => return Some(Err(error)),
            };
            released(workflow_locked(context, keyspace, workflow, plan, &lock).await, lock).await
        }
        Action::Record { keyspace, workflow } => {
            let request = context.lock_request(ACTION).named(paths::workflow_lock(keyspace, workflow));
            match global.lock(request).await {
                Ok(lock) => released(record_locked(context, keyspace, workflow, &lock).await, lock).await,
                Err(error) => Err(error.into()),
            }
        }
        Action::Unreadable { keyspace, workflow, why } => match locks(context, keyspace, workflow, ACTION).await {
            Ok(lock) => released(unreadable::clean(context, (keyspace, workflow), why, &lock).await, lock).await,
            Err(error) => Err(error),
        },
        Action::Rows { keyspace, shard, kind } => {
            let request = context.lock_request(ACTION).of(paths::keyspace_dir(keyspace));
            match global.lock(request).await {
                Ok(lock) => released(rows_locked(context, keyspace, shard, *kind, &lock).await, lock).await,
                Err(error) => Err(error.into()),
            }
        }
        Action::Diff { keyspace, shard, workflow, uuid } => match locks(context, keyspace, workflow, ACTION).await {
            Ok(lock) => released(diff_locked(context, keyspace, shard, (workflow, uuid), &lock).await, lock).await,
            Err(error) => Err(error),
        },
        Action::Lock { path, version } => {
            let write = Write::delete(path.clone(), Expect::Version(*version));
            global.write_one(write, None).await.map(|_| ()).map_err(Error::from)
        }
    })
}

async fn released(result: Result<()>, lock: Lock) -> Result<()> {
    lock.give_back("the cleaner").await;
    result
}

/// A leftover that is not what the report said.
pub fn changed() -> Error {
    let text = "it has changed since it was looked at";
    Error::Refused {
        code: crate::error::Code::Aborted,
        reason: Reason::LEFTOVER_CHANGED,
        text: text.into(),
        help: "run the report again".into(),
    }
}

/// What a record tells of a workflow that is not alive.
async fn workflow_locked(context: &Context, keyspace: &str, workflow: &str, plan: &Plan, lock: &Lock) -> Result<()> {
    let global = context.topo.global();
    let (found, records) = try_join(ExistingWorkflow::read(context, keyspace, workflow), record::all(global)).await?;
    let target = &found.target.keyspace;
    let Some(stored) = &found.record else { return Err(changed()) };
    found.refuse_unread_vschema()?;
    let facts = &stored.facts;
    let creating = facts.is_unfinished();
    if facts.completing || !(creating || found.rows.is_empty()) {
        return Err(changed());
    }
    let streams = CreatedObjects { with_streams: plan.streams.clone(), ..CreatedObjects::default() };
    let removal = |traces| Removal { context, lock, found: &found, workflow, traces };
    // before the tables are looked at: a stream could fill them
    removal(streams.clone()).stop_streams().await?;
    let remains = Remains::read(context, target, facts).await?;
    let all = target.workflows(context, &[]).await?;
    let records: Vec<&Known> = records.iter().collect();
    let others = Others::of(keyspace, workflow, &records, &all);
    let rows: Vec<&ShardWorkflow> = all.iter().filter(|row| row.found.workflow == workflow).collect();
    let vschema = found.vschema.as_ref().map(|record| record.value.clone()).unwrap_or_default();
    let now = Plan::new(target, facts, &rows, &remains, &others, &vschema);
    if now != *plan || !now.shared.is_empty() || (creating && (!remains.filled(facts).is_empty() || have_copied(&rows)))
    {
        return Err(changed());
    }
    let denied = now.to_lift(target, facts);
    let mark = found.noting_streams();
    let taken_from_vschema = entries::some_are_gone(&vschema, &facts.vschema_tables);
    let vschema_tables = now.vschema;
    let traces = CreatedObjects { tables: now.tables, vschema_tables, taken_from_vschema, denied, mark, ..streams };
    removal(traces).run().await.map(drop)
}

async fn record_locked(context: &Context, keyspace: &str, workflow: &str, lock: &Lock) -> Result<()> {
    if !way_back::is_gone(context, keyspace).await? {
        return Err(changed());
    }
    record::delete(context.topo.global(), keyspace, workflow, lock).await
}

async fn primary(context: &Context, keyspace: &str, shard: &str) -> Result<vtmigrated_proto::topodata::Tablet> {
    let target = Keyspace::load(&context.topo, keyspace).await?;
    let shard = target.shards.iter().find(|s| s.name == shard).ok_or_else(changed)?;
    shard.primary().cloned()
}

async fn rows_locked(context: &Context, keyspace: &str, shard: &str, kind: tablets::Kind, lock: &Lock) -> Result<()> {
    let target = Keyspace::read(context, keyspace).await?;
    let on = target.shards.iter().find(|s| s.name == shard).ok_or_else(changed)?.primary()?;
    let seen = async { Ok::<_, Error>(tablets::KeyspaceAnswers::read(context, &target).await) };
    let (seen, records) = try_join(seen, record::all(context.topo.global())).await?;
    let records: Vec<&Known> = records.iter().filter(|(of, _, _)| of == keyspace).collect();
    if seen.needed(&target, shard, kind, &records).is_some() {
        return Err(changed());
    }
    lock.check().await?;
    Ok(kind.delete(context, on).await?)
}

async fn diff_locked(
    context: &Context,
    keyspace: &str,
    shard: &str,
    (workflow, uuid): (&str, &str),
    lock: &Lock,
) -> Result<()> {
    let on = primary(context, keyspace, shard).await?;
    let diffs = tablets::diffs(context, &on, keyspace).await?;
    if !diffs.iter().any(|(found, _, _)| found == uuid) {
        return Err(changed());
    }
    lock.check().await?;
    let request = VDiffRequest {
        keyspace: keyspace.to_owned(),
        workflow: workflow.to_owned(),
        action: "delete".into(),
        action_arg: uuid.to_owned(),
        ..VDiffRequest::default()
    };
    Ok(context.tablets.v_diff(&on, request).await.map(|_| ())?)
}
