//! VDiff: the rows of a workflow's tables on both sides, compared by the target's primaries. All state is theirs.
//!
//! # How shards could lock each other out, and why they do not
//! For each table a target primary holds the lock named `<keyspace>/<workflow>` while it stops its streams, picks a tablet
//! on either side, waits for positions and opens the streams of rows; it waits 45 s for that lock. Picking has no time
//! limit (Vitess 22.0.3): where no tablet fits, the primary keeps the lock for ever with its streams stopped, and every
//! other shard fails. So [`create`] makes the diff on all shards first, stopped, after it has proved for every shard that
//! tablets of the wanted types are there and answer healthy on both sides ([`tablet_picker`]), and only then starts it. Set-ups
//! that end hand the lock on in the order of asking, each holding it for a second or two, so shards that start together
//! pass one by one. No row is compared under the lock. One whose turn comes too late fails and is tried again by its
//! tablet (`auto_retry`).

pub mod control;
pub mod create;
mod error;
mod missing_tables;
mod options;
pub mod report;
pub mod show;
mod tablet_picker;
mod uuids;

use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::error::Reason;
use crate::failure::{Error, Result};
use crate::workflow::checks::absent;
use crate::workflow::names;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow};

/// A target shard that the workflow has streams on.
#[derive(Clone, Debug)]
pub struct Target {
    pub shard: String,
    pub primary: Tablet,
    pub found: ReadVReplicationWorkflowResponse,
}

/// The workflow whose rows are compared.
#[derive(Clone, Copy, Debug)]
pub struct ComparedWorkflow<'a> {
    pub keyspace: &'a str,
    pub workflow: &'a str,
    /// The shards that it is on, where the record of another cluster tells them.
    pub known: Option<&'a [String]>,
}

impl<'a> ComparedWorkflow<'a> {
    /// One of which its own cluster tells everything.
    pub fn own(keyspace: &'a str, workflow: &'a str) -> Self {
        Self { keyspace, workflow, known: None }
    }

    /// Refuses where a shard was left out that the workflow is on, or may be.
    async fn refuse_silent(self, context: &Context, loaded: &Keyspace) -> Result<()> {
        match self.known {
            Some(known) => loaded.refuse_silent_among(|shard| known.iter().any(|name| name == shard)),
            None => loaded.refuse_unrecorded(context, self.workflow).await,
        }
    }
}

/// Checks the names that come with every call.
fn check_names(keyspace: &str, workflow: &str) -> Result<()> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)
}

/// The shards of a workflow: three waves of round trips.
async fn targets(context: &Context, whose: ComparedWorkflow<'_>) -> Result<Vec<Target>> {
    let ComparedWorkflow { keyspace, workflow, .. } = whose;
    check_names(keyspace, workflow)?;
    let loaded = Keyspace::read(context, keyspace).await?;
    whose.refuse_silent(context, &loaded).await?;
    let found = loaded.workflows(context, &[workflow.to_owned()]).await?;
    of(&loaded, workflow, found)
}

/// The shards that have streams, ascending by name.
///
/// # Errors
/// Stock's `no streams found in keyspace <keyspace> for <workflow>`.
fn of(loaded: &Keyspace, workflow: &str, found: Vec<ShardWorkflow>) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for on_shard in found {
        let Some(shard) = loaded.shards.get(on_shard.shard) else { continue };
        targets.push(Target { shard: shard.name.clone(), primary: shard.primary()?.clone(), found: on_shard.found });
    }
    if targets.is_empty() {
        return Err(absent::missing(&loaded.name, workflow, false));
    }
    targets.sort_by(|a, b| a.shard.cmp(&b.shard));
    Ok(targets)
}

/// Refuses a diff of streams that complete has stopped for good: tablets start them again after each table (Vitess 22.0.4).
///
/// # Errors
/// Stock's text of create.
fn refuse_frozen(keyspace: &str, workflow: &str, targets: &[Target]) -> Result<()> {
    if !targets.iter().flat_map(|target| &target.found.streams).any(streams::is_frozen) {
        return Ok(());
    }
    let text = format!("invalid VDiff run: writes have been already been switched for workflow {keyspace}.{workflow}");
    let help = format!(
        "finish it with: Migrate --target-keyspace {keyspace} --workflow {workflow} complete; or, while its tables are denied, \
         let it run on first: Workflow --keyspace {keyspace} start --workflow {workflow}"
    );
    Err(Error::precondition(Reason::FROZEN, text, help))
}

/// All answers, or the failures of all shards together.
fn all<T>(
    keyspace: &str,
    targets: &[Target],
    answers: impl IntoIterator<Item = crate::tablet::Result<T>>,
) -> Result<Vec<T>> {
    let mut good = Vec::new();
    let mut errors = Vec::new();
    for (target, answer) in targets.iter().zip(answers) {
        match answer {
            Ok(answer) => good.push(answer),
            Err(error) => errors.push(error::on_shard(keyspace, &target.shard, error)),
        }
    }
    Error::several(errors).map_or(Ok(good), Err)
}
