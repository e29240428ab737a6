//! RPCs of tablets.

use std::sync::Arc;

use vtmigrated_proto::topodata::Tablet;
use vtmigrated_proto::vtctldata::*;

use super::time::duration;
use crate::cluster::reload;
use crate::cluster::tablet::{self, Filter, Statement, alias};
use crate::context::Context;
use crate::failure::Error;
use crate::workflow::record::Known;
use crate::workflow::writes::refresh;

pub async fn get(context: &Context, request: GetTabletRequest) -> Result<GetTabletResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    Ok(GetTabletResponse { tablet: Some(tablet::get(context, &alias).await?) })
}

pub async fn list(context: &Context, request: GetTabletsRequest) -> Result<GetTabletsResponse, Error> {
    let filter = Filter {
        keyspace: request.keyspace,
        shard: request.shard,
        cells: request.cells,
        aliases: request.tablet_aliases,
        tablet_type: request.tablet_type,
        strict: request.strict,
    };
    Ok(GetTabletsResponse { tablets: tablet::list(context, filter).await? })
}

pub async fn ping(context: &Context, request: PingTabletRequest) -> Result<PingTabletResponse, Error> {
    tablet::ping(context, &alias(request.tablet_alias)?).await?;
    Ok(PingTabletResponse {})
}

pub async fn refresh_state(context: Arc<Context>, request: RefreshStateRequest) -> Result<RefreshStateResponse, Error> {
    let Some(found) = request.tablet_alias else {
        return Err(Error::bad_argument("RefreshState requires a tablet alias"));
    };
    let wanted = alias(Some(found))?;
    let known = refresh::known(&context).await;
    let refreshed = tablet::refresh_state(&context, &wanted).await?;
    heard(&context, &known, &[refreshed]).await;
    Ok(RefreshStateResponse {})
}

/// Tells the records of workflows; the tablets were refreshed, whatever becomes of that.
async fn heard(context: &Context, known: &[Known], refreshed: &[Tablet]) {
    if let Err(error) = refresh::heard(context, known, refreshed).await {
        tracing::warn!("cannot note in the workflows' records that tablets were refreshed: {error}");
    }
}

pub async fn refresh_state_by_shard(
    context: Arc<Context>,
    request: RefreshStateByShardRequest,
) -> Result<RefreshStateByShardResponse, Error> {
    let RefreshStateByShardRequest { keyspace, shard, cells } = request;
    let known = refresh::known(&context).await;
    let tablet::Refreshed { tablets, problems } =
        tablet::refresh_state_by_shard(&context, &keyspace, &shard, &cells).await?;
    heard(&context, &known, &tablets).await;
    Ok(RefreshStateByShardResponse {
        is_partial_refresh: problems.is_some(),
        partial_refresh_details: problems.unwrap_or_default(),
    })
}

pub async fn run_health_check(
    context: Arc<Context>,
    request: RunHealthCheckRequest,
) -> Result<RunHealthCheckResponse, Error> {
    tablet::run_health_check(&context, &alias(request.tablet_alias)?).await?;
    Ok(RunHealthCheckResponse {})
}

pub async fn execute_fetch_as_app(
    context: Arc<Context>,
    request: ExecuteFetchAsAppRequest,
) -> Result<ExecuteFetchAsAppResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    let statement = Statement { query: request.query, max_rows: request.max_rows, ..Statement::default() };
    Ok(ExecuteFetchAsAppResponse { result: Some(tablet::fetch_as_app(&context, &alias, statement).await?) })
}

pub async fn execute_fetch_as_dba(
    context: Arc<Context>,
    request: ExecuteFetchAsDbaRequest,
) -> Result<ExecuteFetchAsDbaResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    let statement = Statement {
        query: request.query,
        max_rows: request.max_rows,
        disable_binlogs: request.disable_binlogs,
        reload_schema: request.reload_schema,
    };
    Ok(ExecuteFetchAsDbaResponse { result: Some(tablet::fetch_as_dba(&context, &alias, statement).await?) })
}

pub async fn reload_schema(context: Arc<Context>, request: ReloadSchemaRequest) -> Result<ReloadSchemaResponse, Error> {
    reload::one(&context, &alias(request.tablet_alias)?).await?;
    Ok(ReloadSchemaResponse {})
}

pub async fn reload_schema_shard(
    context: Arc<Context>,
    request: ReloadSchemaShardRequest,
) -> Result<ReloadSchemaShardResponse, Error> {
    let ReloadSchemaShardRequest { keyspace, shard, wait_position, include_primary, concurrency } = request;
    let how = reload::Reload { wait_position, include_primary, concurrency };
    Ok(ReloadSchemaShardResponse { events: reload::shard(&context, &keyspace, &shard, &how).await? })
}

pub async fn reload_schema_keyspace(
    context: Arc<Context>,
    request: ReloadSchemaKeyspaceRequest,
) -> Result<ReloadSchemaKeyspaceResponse, Error> {
    let ReloadSchemaKeyspaceRequest { keyspace, wait_position, include_primary, concurrency } = request;
    let how = reload::Reload { wait_position, include_primary, concurrency };
    Ok(ReloadSchemaKeyspaceResponse { events: reload::keyspace(&context, &keyspace, &how).await? })
}

pub async fn execute_multi_fetch_as_dba(
    context: Arc<Context>,
    request: ExecuteMultiFetchAsDbaRequest,
) -> Result<ExecuteMultiFetchAsDbaResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    let statement = Statement {
        query: request.sql,
        max_rows: request.max_rows,
        disable_binlogs: request.disable_binlogs,
        reload_schema: request.reload_schema,
    };
    Ok(ExecuteMultiFetchAsDbaResponse { results: tablet::fetch_multi_as_dba(&context, &alias, statement).await? })
}

pub async fn execute_hook(context: Arc<Context>, request: ExecuteHookRequest) -> Result<ExecuteHookResponse, Error> {
    let result = tablet::hook(&context, request.tablet_alias, request.tablet_hook_request).await?;
    Ok(ExecuteHookResponse { hook_result: Some(result) })
}

pub async fn full_status(context: &Context, request: GetFullStatusRequest) -> Result<GetFullStatusResponse, Error> {
    Ok(GetFullStatusResponse { status: tablet::full_status(context, &alias(request.tablet_alias)?).await? })
}

pub async fn permissions(context: &Context, request: GetPermissionsRequest) -> Result<GetPermissionsResponse, Error> {
    let permissions = tablet::permissions(context, &alias(request.tablet_alias)?).await?;
    Ok(GetPermissionsResponse { permissions: Some(permissions) })
}

pub async fn version(context: &Context, request: GetVersionRequest) -> Result<GetVersionResponse, Error> {
    Ok(GetVersionResponse { version: tablet::version(context, &alias(request.tablet_alias)?).await? })
}

pub async fn set_writable(context: Arc<Context>, request: SetWritableRequest) -> Result<SetWritableResponse, Error> {
    let Some(found) = request.tablet_alias else {
        return Err(Error::bad_argument("SetWritable.TabletAlias is required"));
    };
    tablet::set_writable(&context, &alias(Some(found))?, request.writable).await?;
    Ok(SetWritableResponse {})
}

pub async fn sleep(context: Arc<Context>, request: SleepTabletRequest) -> Result<SleepTabletResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    tablet::sleep(&context, &alias, duration(request.duration)?).await?;
    Ok(SleepTabletResponse {})
}

pub async fn change_tags(
    context: Arc<Context>,
    request: ChangeTabletTagsRequest,
) -> Result<ChangeTabletTagsResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    let (before_tags, after_tags) = tablet::change_tags(&context, &alias, request.tags, request.replace).await?;
    Ok(ChangeTabletTagsResponse { before_tags, after_tags })
}

pub async fn delete(context: Arc<Context>, request: DeleteTabletsRequest) -> Result<DeleteTabletsResponse, Error> {
    let aliases = request.tablet_aliases.into_iter().map(|found| alias(Some(found))).collect::<Result<Vec<_>, _>>()?;
    tablet::delete(&context, &aliases, request.allow_primary).await?;
    Ok(DeleteTabletsResponse {})
}
