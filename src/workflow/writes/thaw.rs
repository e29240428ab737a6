//! The way back from a complete that stopped the streams for good and did not come to hand the tables over: they run on.

use vtmigrated_proto::binlogdata::{VReplicationWorkflowState as State, VReplicationWorkflowType};

use super::locks::{COMPLETE_ACTION, locks};
use super::streams::{each, state_change};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::Lock;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::{self, Facts, Stored, unreadable};
use crate::workflow::streams::{self, ShardWorkflow};
use crate::workflow::{Error, Result, overrides};

/// Starts the streams that complete stopped for good, and takes its mark out of the record. Their tables must still be
/// denied to clients: see [`ExistingWorkflow::may_run_on`].
pub(in crate::workflow) async fn run_on(
    context: &Context,
    found: &mut ExistingWorkflow,
    workflow: &str,
    lock: &Lock,
) -> Result<()> {
    lock.check().await?;
    let target = &found.target.keyspace;
    let frozen = |at: usize| found.rows.iter().any(|row| row.shard == at && is_frozen(row));
    // tablets start no stream with that message, not even when the request changes it
    for request in [state_change(workflow, State::Stopped, Some("")), state_change(workflow, State::Running, None)] {
        let shards = target.shards.iter().enumerate().filter(|(at, _)| frozen(*at)).map(|(_, shard)| shard);
        each(shards, |_, tablet| overrides::change(context, lock, tablet, request.clone())).await?;
    }
    tracing::info!(workflow, keyspace = target.name, "streams that complete had stopped for good run on");
    if let Some(stored) = &found.record
        && stored.facts.completing
    {
        let facts = Facts { completing: false, snapshot: false, ..stored.facts.clone() };
        let names = (target.name.as_str(), workflow);
        let version = record::put(context.topo.global(), names, &facts, stored.version, lock).await?;
        found.record = Some(Stored { facts, version });
    }
    Ok(())
}

/// True when somebody asks to start streams of a Migrate that its complete has stopped for good.
pub fn is_wanted(rows: &[ShardWorkflow]) -> bool {
    rows.iter().any(|row| row.found.workflow_type() == VReplicationWorkflowType::Migrate && is_frozen(row))
}

fn is_frozen(row: &ShardWorkflow) -> bool {
    streams::any_frozen([row])
}

/// Lets a Migrate run on that an interrupted complete has left stopped, under the locks that complete takes.
///
/// # Errors
/// Refused with the tablets' text when the tables were handed over: clients may have written to them. `TABLES_SHARED` when another workflow
/// writes to them.
pub async fn start(context: &Context, keyspace: &str, workflow: &str) -> Result<()> {
    let lock = locks(context, keyspace, workflow, COMPLETE_ACTION).await?;
    let started = start_locked(context, keyspace, workflow, &lock).await;
    lock.give_back("start").await;
    started
}

async fn start_locked(context: &Context, keyspace: &str, workflow: &str, lock: &Lock) -> Result<()> {
    let mut found = ExistingWorkflow::read(context, keyspace, workflow).await?;
    if let Some(shard) = found.unaware_primary().filter(|_| !found.handed_over()) {
        let text = format!(
            "cannot start a workflow when it is frozen: the primary of shard {keyspace}/{shard}, or one since create, did not read that \
             its tables are denied, and clients may have written to them"
        );
        let help = "repeat its complete; or end the workflow and keep its tables with Workflow delete --keep-data";
        return Err(Error::precondition(Reason::PRIMARY_UNAWARE, text, help));
    }
    if !found.may_run_on() {
        let text = "cannot start a workflow when it is frozen: clients may have written to the tables, for they are not \
                    denied any more";
        let help = format!("finish it with: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
        return Err(Error::precondition(Reason::COMPLETE_HAS_BEGUN, text, help));
    }
    if !is_wanted(&found.rows) {
        return Ok(());
    }
    if let Err(shared) = found.refuse_shared("start", workflow, false) {
        let help = format!(
            "complete or cancel the other one first; or end this one and leave its tables to the other: {}",
            unreadable::way_out((keyspace, workflow))
        );
        return Err(Error::precondition(Reason::TABLES_SHARED, shared.to_string(), help));
    }
    run_on(context, &mut found, workflow, lock).await
}
