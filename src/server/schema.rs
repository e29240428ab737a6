//! RPCs of schemas.

use std::sync::Arc;
use std::time::Duration;

use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime;

use crate::cluster::schema::{self, Change, Detail};
use crate::cluster::{Error, tablet};
use crate::context::Context;
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
        wait_replicas: request.wait_replicas_timeout.map(duration).transpose()?,
        batch_size: request.batch_size,
    };
    let rows_affected_by_shard = schema::apply(&context, change).await?;
    Ok(ApplySchemaResponse { uuid_list: Vec::new(), rows_affected_by_shard })
}

fn duration(value: vttime::Duration) -> Result<Duration, Error> {
    let bad = || Error::invalid("unable to parse WaitReplicasTimeout into a valid duration: it is negative");
    let (seconds, nanos) = (u64::try_from(value.seconds), u32::try_from(value.nanos));
    Ok(Duration::from_secs(seconds.map_err(|_| bad())?) + Duration::from_nanos(nanos.map_err(|_| bad())?.into()))
}
