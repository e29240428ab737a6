//! `vtmigrated.WayBack`: the way back of a migration.

pub mod vdiff;

use std::sync::Arc;

use vtmigrated_proto::vtmigrated::*;

use super::advisor::encode;
use super::span_fields;
use crate::context::Context;
use crate::failure::Result;
use crate::workflow::way_back::{self, Answer, BackStream, prepare};

pub async fn cancel(context: Arc<Context>, request: WayBackRequest) -> Result<WayBackReport> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    let names = (request.keyspace.as_str(), request.workflow.as_str());
    let told = match request.forget_record {
        true => way_back::unread::forget(&context, names).await?,
        false => way_back::cancel::cancel(&context, names, request.forget_source).await?,
    };
    Ok(report(told))
}

pub async fn complete(context: Arc<Context>, request: WayBackRequest) -> Result<WayBackReport> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    Ok(report(way_back::complete::complete(&context, (&request.keyspace, &request.workflow)).await?))
}

pub async fn prepare(context: Arc<Context>, request: PrepareWayBackRequest) -> Result<WayBackReport> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    let PrepareWayBackRequest { keyspace, workflow, topo_server, on_ddl, dry_run } = request;
    let arguments = prepare::Arguments { keyspace, workflow, topo_server, on_ddl, dry_run };
    Ok(report(prepare::prepare(&context, &arguments).await?))
}

pub async fn status(context: &Context, request: WayBackRequest) -> Result<WayBackReport> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    Ok(report(way_back::status::status(context, (&request.keyspace, &request.workflow)).await?))
}

fn report(told: Answer) -> WayBackReport {
    WayBackReport {
        phase: told.phase.to_owned(),
        clear: told.clear,
        summary: told.summary,
        findings: told.report.findings.into_iter().map(encode).collect(),
        steps: told.steps,
        streams: told.streams.into_iter().map(stream).collect(),
        vdiff: told.vdiff,
    }
}

fn stream(told: BackStream) -> way_back_report::Stream {
    let BackStream { id, from_shard, to_shard, state, message, position, lag } = told;
    let (state, lag) = (state.to_owned(), lag.unwrap_or(-1));
    way_back_report::Stream { id, from_shard, to_shard, state, message, position, lag }
}
