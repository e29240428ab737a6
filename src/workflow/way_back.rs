//! The way back of a migration: after complete, streams bring the target's changes into the source, until somebody decides for
//! one of the two. docs/way-back.md has the whole of it.
//!
//! To the source it is a Migrate with the name `<workflow>_back`, whose source is the target, known there as a mount. The
//! source is written to only where prepare was called.

pub mod cancel;
pub mod complete;
mod exact;
mod examine;
pub mod kept_out;
mod mirror;
mod namesakes;
pub mod observe;
pub mod opening;
pub mod plan;
pub mod prepare;
mod quiet;
pub mod reversed;
mod side;
pub mod status;
pub mod unread;

use crate::context::End;
use crate::error::Reason;
use crate::topo::{self, Lock};
use crate::workflow::findings::Report;
use crate::workflow::names::back::command;
use crate::workflow::record::way_back::{self as back_record, Facts, Phase};
use crate::workflow::{Error, Result};

/// What is told of a way back.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// As [`Phase::word`] has it; empty when there is none any more.
    pub phase: &'static str,
    /// True when nothing blocks.
    pub clear: bool,
    pub summary: String,
    pub report: Report,
    /// What would be done.
    pub steps: Vec<String>,
    pub streams: Vec<BackStream>,
    /// What the last VDiff of its streams found, in one sentence; empty when it was not looked at.
    pub vdiff: String,
}

/// A stream of a way back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackStream {
    pub id: i32,
    /// The target's shard.
    pub from_shard: String,
    /// The source's shard.
    pub to_shard: String,
    pub state: &'static str,
    pub message: String,
    pub position: String,
    /// Seconds; `None` when it has heard nothing of the target yet.
    pub lag: Option<i64>,
}

/// There is no way back of this name.
fn unknown(names: (&str, &str)) -> Error {
    let text = format!("workflow {}.{} has no way back", names.0, names.1);
    Error::not_found(Reason::WAY_BACK_UNKNOWN, text, format!("before complete: {}", command("prepare", names)))
}

/// Refuses what a way back in this phase does not allow.
fn out_of_turn(names: (&str, &str), facts: &Facts, help: String) -> Error {
    let (keyspace, workflow) = names;
    let text = match facts.phase {
        Phase::Missed => format!("workflow {keyspace}.{workflow} has no way back any more: {}", facts.missed()),
        phase => format!("the way back of workflow {keyspace}.{workflow} is {}", phase.word()),
    };
    Error::precondition(Reason::WAY_BACK_PHASE, text, help)
}

/// The record of a way back.
async fn stored(context: &crate::context::Context, names: (&str, &str)) -> Result<Facts> {
    back_record::find(context.topo.global(), names.0, names.1).await?.ok_or_else(|| unknown(names))
}

/// True when somebody has deleted a target keyspace and left what is kept of its workflows.
pub(super) async fn is_gone(context: &crate::context::Context, keyspace: &str) -> Result<bool> {
    Ok(!topo::keyspace::names(context.topo.global()).await?.iter().any(|name| name == keyspace))
}

/// Deletes the record, and lets watchers know how the way back ended.
async fn end(context: &crate::context::Context, names: (&str, &str), how: End, lock: &Lock) -> Result<()> {
    back_record::delete(context.topo.global(), names, lock).await?;
    context.changes.end_way_back(names.0, names.1, how);
    Ok(())
}

/// Why nobody goes back yet: a complete that has handed the target over and did not come to its end, run again, lifts the target's
/// denied tables, whoever denies them.
async fn unfinished(context: &crate::context::Context, names: (&str, &str)) -> Result<Option<Error>> {
    let stored = crate::workflow::record::find(context.topo.global(), names.0, names.1).await?;
    Ok(stored.filter(|stored| stored.facts.handed_over).map(|_| not_ended(names)))
}

/// The same when that is known.
fn not_ended((keyspace, workflow): (&str, &str)) -> Error {
    let text = format!("cannot go back with workflow {keyspace}.{workflow}: its complete has not ended");
    let help = format!("finish it: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
    Error::precondition(Reason::COMPLETE_HAS_BEGUN, text, help)
}

/// Checks the names of a request.
fn check_names((keyspace, workflow): (&str, &str)) -> Result<()> {
    crate::workflow::names::check_keyspace("target", keyspace)?;
    crate::workflow::names::check_workflow(workflow)
}
