//! RPCs of online schema changes.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::time::duration;
use crate::cluster::schema_migration::{Action, Filter, act, list};
use crate::context::Context;
use crate::failure::Error;

pub async fn get(context: &Context, request: GetSchemaMigrationsRequest) -> Result<GetSchemaMigrationsResponse, Error> {
    let recent = duration(request.recent).map_err(|error| error.doing("error parsing duration"))?;
    let filter = Filter {
        uuid: request.uuid,
        migration_context: request.migration_context,
        status: request.status,
        recent,
        order: request.order,
        limit: request.limit,
        skip: request.skip,
    };
    Ok(GetSchemaMigrationsResponse { migrations: list(context, &request.keyspace, &filter).await? })
}

/// Declares `name(request) -> response = action`.
macro_rules! actions {
    ($($name:ident($request:ty) -> $response:ident = $action:ident;)*) => {
        $(pub async fn $name(context: Arc<Context>, request: $request) -> Result<$response, Error> {
            let done = act(&context, Action::$action, &request.keyspace, &request.uuid, request.caller_id);
            Ok($response { rows_affected_by_shard: done.await? })
        })*
    };
}

actions! {
    cancel(CancelSchemaMigrationRequest) -> CancelSchemaMigrationResponse = Cancel;
    cleanup(CleanupSchemaMigrationRequest) -> CleanupSchemaMigrationResponse = Cleanup;
    complete(CompleteSchemaMigrationRequest) -> CompleteSchemaMigrationResponse = Complete;
    force_cut_over(ForceCutOverSchemaMigrationRequest) -> ForceCutOverSchemaMigrationResponse = ForceCutOver;
    launch(LaunchSchemaMigrationRequest) -> LaunchSchemaMigrationResponse = Launch;
    retry(RetrySchemaMigrationRequest) -> RetrySchemaMigrationResponse = Retry;
}
