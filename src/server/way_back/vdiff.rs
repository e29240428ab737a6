//! VDiffs of the rows on the way back: those of the workflow that it is in the source's cluster.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::{WayBackDiff, way_back_diff};

use super::super::span_fields;
use crate::context::Context;
use crate::failure::Result;
use crate::vdiff::control::{self, DiffSelector};
use crate::vdiff::report::{self, Listing, Summary, TableSummary};
use crate::vdiff::{ComparedWorkflow, create as creating, show as showing};
use crate::workflow::way_back::reversed::{Reversed, explained, reversed};

pub async fn create(context: Arc<Context>, request: VDiffCreateRequest) -> Result<VDiffCreateResponse> {
    let of = (request.target_keyspace.clone(), request.workflow.clone());
    let names = (of.0.as_str(), of.1.as_str());
    span_fields::workflow(names.0, names.1);
    let Reversed { mirror, keyspace, workflow, shards } = reversed(&context, names, true).await?;
    let request = VDiffCreateRequest { target_keyspace: keyspace, workflow, ..request };
    let mut arguments = creating::Arguments::try_from(request)?;
    arguments.known = Some(shards);
    let uuid = creating::create(&mirror, &arguments).await.map_err(|error| explained(names, error))?;
    Ok(VDiffCreateResponse { uuid })
}

pub async fn delete(context: Arc<Context>, request: VDiffDeleteRequest) -> Result<VDiffDeleteResponse> {
    let names = (request.target_keyspace.as_str(), request.workflow.as_str());
    span_fields::workflow(names.0, names.1);
    let there = reversed(&context, names, false).await?;
    let deleted = control::delete(&there.mirror, whose(&there), &request.arg).await;
    deleted.map_err(|error| explained(names, error))?;
    Ok(VDiffDeleteResponse {})
}

pub async fn resume(context: Arc<Context>, request: VDiffResumeRequest) -> Result<VDiffResumeResponse> {
    let VDiffResumeRequest { target_keyspace: keyspace, workflow, uuid, target_shards: shards } = request;
    switch(&context, DiffSelector { keyspace, workflow, uuid, shards, known: None }, true).await?;
    Ok(VDiffResumeResponse {})
}

pub async fn stop(context: Arc<Context>, request: VDiffStopRequest) -> Result<VDiffStopResponse> {
    let VDiffStopRequest { target_keyspace: keyspace, workflow, uuid, target_shards: shards } = request;
    switch(&context, DiffSelector { keyspace, workflow, uuid, shards, known: None }, false).await?;
    Ok(VDiffStopResponse {})
}

/// Lets a diff go on, or stops it. `of` has the names of the migration.
async fn switch(context: &Context, of: DiffSelector, go_on: bool) -> Result<()> {
    let names = (of.keyspace.as_str(), of.workflow.as_str());
    span_fields::workflow(names.0, names.1);
    let Reversed { mirror, keyspace, workflow, shards } = reversed(context, names, go_on).await?;
    let there = DiffSelector { keyspace, workflow, uuid: of.uuid, shards: of.shards, known: Some(shards) };
    let done = if go_on { control::resume(&mirror, &there).await } else { control::stop(&mirror, &there).await };
    done.map_err(|error| explained(names, error))
}

pub async fn show(context: &Context, request: VDiffShowRequest) -> Result<WayBackDiff> {
    let names = (request.target_keyspace.as_str(), request.workflow.as_str());
    span_fields::workflow(names.0, names.1);
    let there = reversed(context, names, false).await?;
    let shown = showing::show(&there.mirror, whose(&there), &request.arg).await;
    let shown = shown.map_err(|error| explained(names, error))?;
    if request.arg.trim().eq_ignore_ascii_case(showing::ALL) {
        let listed = report::listings(&shown).into_iter();
        let listed = listed.map(|Listing { uuid, shard, state, .. }| way_back_diff::Listed { uuid, shard, state });
        return Ok(WayBackDiff { listed: listed.collect(), ..WayBackDiff::default() });
    }
    Ok(one(Summary::of(&shown, jiff::Timestamp::now().as_second())))
}

/// The workflow that a way back is: its record tells the shards that it is on, and that is not in the source's cluster.
fn whose(there: &Reversed) -> ComparedWorkflow<'_> {
    ComparedWorkflow { keyspace: &there.keyspace, workflow: &there.workflow, known: Some(&there.shards) }
}

/// A diff over all shards. Its source is the migration's target.
fn one(mut summary: Summary) -> WayBackDiff {
    let shards = std::mem::take(&mut summary.shards).into_iter().map(|(shard, state)| {
        let error = summary.errors.remove(&shard).unwrap_or_default();
        way_back_diff::Shard { shard, state: state.as_str().to_owned(), error }
    });
    let shards = shards.collect();
    let table = |(name, table): (String, TableSummary)| way_back_diff::Table {
        name,
        state: table.state.as_str().to_owned(),
        rows_compared: table.rows_compared,
        matching_rows: table.matching_rows,
        mismatched_rows: table.mismatched_rows,
        only_in_target: table.extra_rows_source,
        only_in_source: table.extra_rows_target,
        has_mismatch: table.has_mismatch,
    };
    WayBackDiff {
        uuid: summary.uuid,
        state: summary.state.as_str().to_owned(),
        has_mismatch: summary.has_mismatch,
        rows_compared: summary.rows_compared,
        started_at: summary.started_at,
        completed_at: summary.completed_at,
        percent: summary.progress.map(|progress| progress.percent).unwrap_or_default(),
        seconds_left: summary.progress.and_then(|progress| progress.seconds_left).unwrap_or(-1),
        shards,
        tables: summary.tables.into_iter().map(table).collect(),
        listed: Vec::new(),
    }
}
