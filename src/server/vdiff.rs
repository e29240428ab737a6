//! VDiff RPCs.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::span_fields;
use crate::context::Context;
use crate::failure::Result;
use crate::vdiff::control::{self, DiffSelector};
use crate::vdiff::{ComparedWorkflow, create, show};

pub async fn create(context: Arc<Context>, request: VDiffCreateRequest) -> Result<VDiffCreateResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    let arguments = create::Arguments::try_from(request)?;
    Ok(VDiffCreateResponse { uuid: create::create(&context, &arguments).await? })
}

pub async fn delete(context: Arc<Context>, request: VDiffDeleteRequest) -> Result<VDiffDeleteResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    let whose = ComparedWorkflow::own(&request.target_keyspace, &request.workflow);
    control::delete(&context, whose, &request.arg).await?;
    Ok(VDiffDeleteResponse {})
}

pub async fn resume(context: Arc<Context>, request: VDiffResumeRequest) -> Result<VDiffResumeResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    let (keyspace, shards) = (request.target_keyspace, request.target_shards);
    let which = DiffSelector { keyspace, workflow: request.workflow, uuid: request.uuid, shards, known: None };
    control::resume(&context, &which).await?;
    Ok(VDiffResumeResponse {})
}

pub async fn stop(context: Arc<Context>, request: VDiffStopRequest) -> Result<VDiffStopResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    let (keyspace, shards) = (request.target_keyspace, request.target_shards);
    let which = DiffSelector { keyspace, workflow: request.workflow, uuid: request.uuid, shards, known: None };
    control::stop(&context, &which).await?;
    Ok(VDiffStopResponse {})
}

pub async fn show(context: &Context, request: VDiffShowRequest) -> Result<VDiffShowResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    show::show(context, ComparedWorkflow::own(&request.target_keyspace, &request.workflow), &request.arg).await
}
