//! `vtmigrated.WayBack`: the way back of a migration.

mod vdiff;

use std::sync::Arc;

use tonic::Request;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::way_back_server::WayBack as Service;
use vtmigrated_proto::vtmigrated::*;

use super::advisor::encode;
use super::vtctld::Answer;
use super::{Vtctld, about};
use crate::context::Context;
use crate::workflow::Result;
use crate::workflow::way_back::{self, StreamTold, Told, prepare};

/// The service. Its calls run as those of the vtctld.
pub struct WayBack {
    calls: Vtctld,
}

impl WayBack {
    /// `calls` runs them.
    pub fn new(calls: Vtctld) -> Self {
        Self { calls }
    }
}

#[tonic::async_trait]
impl Service for WayBack {
    async fn cancel(&self, r: Request<WayBackRequest>) -> Answer<WayBackReport> {
        self.calls.change(r, cancel).await
    }

    async fn complete(&self, r: Request<WayBackRequest>) -> Answer<WayBackReport> {
        self.calls.change(r, complete).await
    }

    async fn prepare(&self, r: Request<PrepareWayBackRequest>) -> Answer<WayBackReport> {
        self.calls.change(r, prepare).await
    }

    async fn status(&self, r: Request<WayBackRequest>) -> Answer<WayBackReport> {
        self.calls.read(r, status).await
    }

    async fn v_diff_create(&self, r: Request<VDiffCreateRequest>) -> Answer<VDiffCreateResponse> {
        self.calls.change(r, vdiff::create).await
    }

    async fn v_diff_delete(&self, r: Request<VDiffDeleteRequest>) -> Answer<VDiffDeleteResponse> {
        self.calls.change(r, vdiff::delete).await
    }

    async fn v_diff_resume(&self, r: Request<VDiffResumeRequest>) -> Answer<VDiffResumeResponse> {
        self.calls.change(r, vdiff::resume).await
    }

    async fn v_diff_show(&self, r: Request<VDiffShowRequest>) -> Answer<WayBackDiff> {
        self.calls.read(r, vdiff::show).await
    }

    async fn v_diff_stop(&self, r: Request<VDiffStopRequest>) -> Answer<VDiffStopResponse> {
        self.calls.change(r, vdiff::stop).await
    }
}

async fn cancel(context: Arc<Context>, request: WayBackRequest) -> Result<WayBackReport> {
    about::workflow(&request.keyspace, &request.workflow);
    let names = (request.keyspace.as_str(), request.workflow.as_str());
    let told = match request.forget_record {
        true => way_back::unread::forget(&context, names).await?,
        false => way_back::cancel::cancel(&context, names, request.forget_source).await?,
    };
    Ok(report(told))
}

async fn complete(context: Arc<Context>, request: WayBackRequest) -> Result<WayBackReport> {
    about::workflow(&request.keyspace, &request.workflow);
    Ok(report(way_back::complete::complete(&context, (&request.keyspace, &request.workflow)).await?))
}

async fn prepare(context: Arc<Context>, request: PrepareWayBackRequest) -> Result<WayBackReport> {
    about::workflow(&request.keyspace, &request.workflow);
    let PrepareWayBackRequest { keyspace, workflow, topo_server, on_ddl, dry_run } = request;
    let arguments = prepare::Arguments { keyspace, workflow, topo_server, on_ddl, dry_run };
    Ok(report(prepare::prepare(&context, &arguments).await?))
}

async fn status(context: &Context, request: WayBackRequest) -> Result<WayBackReport> {
    about::workflow(&request.keyspace, &request.workflow);
    Ok(report(way_back::status::status(context, (&request.keyspace, &request.workflow)).await?))
}

fn report(told: Told) -> WayBackReport {
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

fn stream(told: StreamTold) -> way_back_report::Stream {
    let StreamTold { id, from_shard, to_shard, state, message, position, lag } = told;
    let (state, lag) = (state.to_owned(), lag.unwrap_or(-1));
    way_back_report::Stream { id, from_shard, to_shard, state, message, position, lag }
}
