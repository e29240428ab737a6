//! Stopping the streams for good, and seeing that they stand.

use futures::future::{join_all, try_join};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::VDiffRequest;
use vtmigrated_proto::topodata::Tablet;

use super::streams::{each, state_change};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::sql;
use crate::topo::Lock;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::streams::{self, FROZEN, Keyspace, ShardWorkflow, TargetShard};
use crate::workflow::{Error, Result, overrides, rows};

/// Stops every stream, marks it so that tablets refuse to start it, and sees that it is so. Answers the diffs that were
/// stopped for it.
///
/// A tablet starts the streams of a diff that it works on again, marked or not, whenever it is done with a table (Vitess 22.0.4
/// and 24.0.4, `restartTargetVReplicationStreams`): diffs that go on by themselves are stopped, and then the streams once more.
pub async fn freeze(context: &Context, found: &ExistingWorkflow, workflow: &str, lock: &Lock) -> Result<Vec<String>> {
    stop(context, found, workflow, lock).await?;
    let (mut rows, diffs) = try_join(streams(context, found, workflow), diffs(context, found, workflow)).await?;
    if !diffs.is_empty() {
        let stops = diffs.iter().map(|diff| diff.stop(context, &found.target.keyspace.name, workflow));
        Error::all(join_all(stops).await)?;
        stop(context, found, workflow, lock).await?;
        rows = streams(context, found, workflow).await?;
    }
    stand(&rows, &found.rows)?;
    Ok(diffs.into_iter().map(|diff| diff.uuid).collect())
}

/// Sees that the streams of a workflow that is not handed over yet stand still.
///
/// # Errors
/// `NOT_FROZEN`, with nothing handed over.
pub async fn see_frozen(context: &Context, found: &ExistingWorkflow, workflow: &str) -> Result<()> {
    if found.handed_over() {
        return Ok(());
    }
    stand(&streams(context, found, workflow).await?, &found.rows)
}

async fn streams(context: &Context, found: &ExistingWorkflow, workflow: &str) -> Result<Vec<ShardWorkflow>> {
    found.target.keyspace.workflows(context, &[workflow.to_owned()]).await
}

fn stand(rows: &[ShardWorkflow], known: &[ShardWorkflow]) -> Result<()> {
    let same = streams::ids(rows) == streams::ids(known);
    if same && (known.is_empty() || streams::all_frozen(rows)) {
        return Ok(());
    }
    let text = if same { "a stream did not stay stopped" } else { "streams came or went meanwhile" }.to_owned();
    Err(Error::Refused { code: Code::Aborted, reason: Reason::NOT_FROZEN, text, help: "run the command again".into() })
}

async fn stop(context: &Context, found: &ExistingWorkflow, workflow: &str, lock: &Lock) -> Result<()> {
    lock.check().await?;
    let request = state_change(workflow, State::Stopped, Some(FROZEN));
    let shards = with_streams(&found.target.keyspace, &found.rows);
    each(shards, |_, tablet| overrides::change(context, lock, tablet, request.clone())).await
}

fn with_streams<'k>(keyspace: &'k Keyspace, rows: &'k [ShardWorkflow]) -> impl Iterator<Item = &'k TargetShard> {
    let shards = keyspace.shards.iter().enumerate();
    shards.filter(|(at, _)| rows.iter().any(|row| row.shard == *at)).map(|(_, shard)| shard)
}

/// A diff of one shard that goes on by itself.
struct Diff<'t> {
    uuid: String,
    on: &'t Tablet,
}

impl Diff<'_> {
    async fn stop(&self, context: &Context, keyspace: &str, workflow: &str) -> Result<()> {
        let request = VDiffRequest {
            keyspace: keyspace.to_owned(),
            workflow: workflow.to_owned(),
            action: "stop".into(),
            vdiff_uuid: self.uuid.clone(),
            ..VDiffRequest::default()
        };
        tracing::info!(workflow, keyspace, diff = self.uuid, "stopping a VDiff, for it starts streams again");
        Ok(context.tablets.v_diff(self.on, request).await.map(drop)?)
    }
}

/// Most diffs of a workflow under way on one shard that are read.
const MAX_DIFFS: u64 = 1_000;

/// The diffs of a workflow that are under way, or that their tablets try again by themselves: one wave.
async fn diffs<'f>(context: &Context, found: &'f ExistingWorkflow, workflow: &str) -> Result<Vec<Diff<'f>>> {
    let keyspace = &found.target.keyspace;
    let query = rows::diffs_under_way(&keyspace.name, workflow);
    let mut asked = Vec::new();
    for shard in with_streams(keyspace, &found.rows) {
        asked.push(shard.primary()?);
    }
    let answers = join_all(asked.iter().map(|on| context.tablets.read(on, query.clone(), MAX_DIFFS))).await;
    let mut diffs = Vec::new();
    for (on, answer) in asked.into_iter().zip(answers) {
        let uuids = sql::rows::texts(&answer?).into_iter().filter_map(|row| row.into_iter().next().flatten());
        diffs.extend(uuids.map(|uuid| Diff { uuid, on }));
    }
    Ok(diffs)
}
