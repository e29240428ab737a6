//! RPCs of the tablet throttler.

use std::sync::Arc;

use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::vtctldata::*;

use crate::cluster::tablet::alias;
use crate::cluster::throttler;
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;

pub async fn check(context: &Context, request: CheckThrottlerRequest) -> Result<CheckThrottlerResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    let check = manager::CheckThrottlerRequest {
        app_name: request.app_name,
        scope: request.scope,
        skip_request_heartbeats: request.skip_request_heartbeats,
        ok_if_not_exists: request.ok_if_not_exists,
    };
    let check = throttler::check(context, &alias, check).await?;
    Ok(CheckThrottlerResponse { tablet_alias: Some(alias), check: Some(check) })
}

pub async fn status(
    context: &Context,
    request: GetThrottlerStatusRequest,
) -> Result<GetThrottlerStatusResponse, Error> {
    let status = throttler::status(context, &alias(request.tablet_alias)?).await?;
    Ok(GetThrottlerStatusResponse { status: Some(status) })
}

pub async fn update(
    context: Arc<Context>,
    request: UpdateThrottlerConfigRequest,
) -> Result<UpdateThrottlerConfigResponse, Error> {
    let change = throttler::Change {
        enable: request.enable,
        disable: request.disable,
        threshold: request.threshold,
        custom_query: request.custom_query_set.then_some(request.custom_query),
        metric: request.metric_name,
        app: request.app_name,
        app_metrics: request.app_checked_metrics,
        throttled_app: request.throttled_app,
        sent_app: sent_message::field(9),
    };
    throttler::update(&context, &request.keyspace, change).await?;
    Ok(UpdateThrottlerConfigResponse {})
}
