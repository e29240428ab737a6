//! RPCs of schemas.

use std::sync::Arc;
use std::time::Duration;

use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime;

use super::time::duration;
use crate::cluster::schema::{self, Change, Copy, Detail};
use crate::cluster::tablet;
use crate::context::Context;
use crate::failure::Error;
use crate::tablet::GetSchema;

pub async fn get(context: &Context, request: GetSchemaRequest) -> Result<GetSchemaResponse, Error> {
    let alias = tablet::alias(request.tablet_alias)?;
    let detail = match (request.table_names_only, request.table_sizes_only) {
        (true, _) => Detail::Names,
        (false, true) => Detail::Sizes,
        (false, false) => Detail::Full,
    };
    let what = GetSchema {
        tables: request.tables,
        exclude_tables: request.exclude_tables,
        include_views: request.include_views,
        table_schema_only: request.table_schema_only,
    };
    Ok(GetSchemaResponse { schema: Some(schema::get(context, &alias, what, detail).await?) })
}

pub async fn apply(context: Arc<Context>, request: ApplySchemaRequest) -> Result<ApplySchemaResponse, Error> {
    let change = Change {
        keyspace: request.keyspace,
        statements: request.sql,
        ddl_strategy: request.ddl_strategy,
        uuids: request.uuid_list,
        wait_replicas: wait_replicas(request.wait_replicas_timeout)?,
        batch_size: request.batch_size,
        caller_id: request.caller_id,
    };
    let rows_affected_by_shard = schema::apply(&context, change).await?;
    Ok(ApplySchemaResponse { uuid_list: Vec::new(), rows_affected_by_shard })
}

pub async fn copy(context: Arc<Context>, request: CopySchemaShardRequest) -> Result<CopySchemaShardResponse, Error> {
    let copy = Copy {
        source: tablet::alias(request.source_tablet_alias)?,
        tables: request.tables,
        exclude_tables: request.exclude_tables,
        include_views: request.include_views,
        keyspace: request.destination_keyspace,
        shard: request.destination_shard,
        skip_verify: request.skip_verify,
        wait_replicas: duration(request.wait_replicas_timeout)?,
    };
    schema::copy(&context, &copy).await?;
    Ok(CopySchemaShardResponse {})
}

fn wait_replicas(value: Option<vttime::Duration>) -> Result<Option<Duration>, Error> {
    duration(value).map_err(|error| error.doing("unable to parse WaitReplicasTimeout into a valid duration"))
}
