//! RPCs of a Migrate's life. `Migrate complete` of the stock client calls MoveTablesComplete.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::{audit, span_fields};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::failure::{Error, Result};
use crate::workflow::migrate::{complete, create};
use crate::workflow::plan::arguments;

pub async fn create(context: Arc<Context>, request: MigrateCreateRequest) -> Result<WorkflowStatusResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    span_fields::mount(&request.mount_name);
    let arguments = arguments::Arguments::try_from(request)?;
    create::create(&context, &arguments).await
}

pub async fn complete(context: Arc<Context>, request: MoveTablesCompleteRequest) -> Result<MoveTablesCompleteResponse> {
    span_fields::workflow(&request.target_keyspace, &request.workflow);
    let completed = complete::complete(&context, &complete_arguments(request)).await?;
    if !completed.remarks.is_empty() {
        audit::remark(completed.remarks.join("; "));
    }
    Ok(completed.response)
}

/// What a request asks of complete. The options of stock's that a Migrate has no use for are not looked at.
pub(super) fn complete_arguments(request: MoveTablesCompleteRequest) -> complete::Arguments {
    complete::Arguments {
        keyspace: request.target_keyspace,
        workflow: request.workflow,
        dry_run: request.dry_run,
        ignore_source: request.ignore_source_keyspace,
    }
}

pub async fn switch_traffic(_: &Context, _: WorkflowSwitchTrafficRequest) -> Result<WorkflowSwitchTrafficResponse> {
    no_traffic("SwitchTraffic")
}

pub async fn mirror_traffic(_: &Context, _: WorkflowMirrorTrafficRequest) -> Result<WorkflowMirrorTrafficResponse> {
    no_traffic("MirrorTraffic")
}

/// Switching, reversing and mirroring: a Migrate has none of them, and other workflows are not served.
fn no_traffic<R>(action: &str) -> Result<R> {
    let text = format!("invalid action for Migrate workflow: {action}");
    let help = "a Migrate ends with complete; for other workflows name a stock vtctld with --fallback-vtctld-server";
    Err(Error::NotServed { code: Code::InvalidArgument, reason: Reason::NO_TRAFFIC, text, help: help.to_owned() })
}
