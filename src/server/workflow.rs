//! Workflow RPCs.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::workflow_update_response::TabletInfo;
use vtmigrated_proto::vtctldata::*;

use super::span_fields;
use crate::context::Context;
use crate::error::Reason;
use crate::failure::{Error, Result};
use crate::workflow::migrate::cancel;
use crate::workflow::status;
use crate::workflow::{foreign, show, update};

pub async fn get_workflows(context: &Context, request: GetWorkflowsRequest) -> Result<GetWorkflowsResponse> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    let query = show::Query {
        keyspace: request.keyspace,
        workflow: request.workflow,
        active_only: request.active_only,
        include_logs: request.include_logs,
        shards: request.shards,
    };
    Ok(GetWorkflowsResponse { workflows: show::workflows(context, &query).await? })
}

pub async fn status(context: &Context, request: WorkflowStatusRequest) -> Result<WorkflowStatusResponse> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    status::status(context, &request.keyspace, &request.workflow, &request.shards).await
}

/// Never succeeds: a Migrate takes no more tables, and all else is forwarded.
pub async fn add_tables(context: &Context, request: WorkflowAddTablesRequest) -> Result<WorkflowAddTablesResponse> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    foreign::add_tables(context, &request.keyspace, &request.workflow).await?;
    Ok(WorkflowAddTablesResponse {})
}

pub async fn delete(context: Arc<Context>, request: WorkflowDeleteRequest) -> Result<WorkflowDeleteResponse> {
    span_fields::workflow(&request.keyspace, &request.workflow);
    let WorkflowDeleteRequest { keyspace, workflow, keep_data, shards, .. } = request;
    let arguments = cancel::Arguments { keyspace, workflow, keep_data, shards };
    cancel::cancel(&context, &arguments).await
}

pub async fn update(context: Arc<Context>, request: WorkflowUpdateRequest) -> Result<WorkflowUpdateResponse> {
    let keyspace = request.keyspace;
    let Some(change) = request.tablet_request else {
        return Err(Error::invalid(Reason::NO_CHANGE, "tablet_request is required", ""));
    };
    let workflow = change.workflow.clone();
    span_fields::workflow(&keyspace, &workflow);
    let changed = update::update(&context, &keyspace, change).await?;
    let count = changed.len();
    let details = changed.into_iter().map(|(alias, rows)| TabletInfo { tablet: Some(alias), changed: rows > 0 });
    Ok(WorkflowUpdateResponse {
        summary: format!(
            "Successfully updated the {workflow} workflow on ({count}) target primary tablets in the {keyspace} keyspace"
        ),
        details: details.collect(),
    })
}
