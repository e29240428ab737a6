//! RPCs that check and change nothing.

use vtmigrated_proto::vtctldata::*;

use crate::cluster::validate::{self, Report, SchemaOptions};
use crate::context::Context;
use crate::failure::Error;

/// The entries of a map from shards to findings, of any response.
macro_rules! by_shard {
    ($module:ident, $report:expr) => {{
        let entry =
            |(key, results)| $module::ResultsByShardEntry { key, value: Some(ValidateShardResponse { results }) };
        $report.into_iter().map(entry).collect()
    }};
}

pub async fn all(context: &Context, request: ValidateRequest) -> Result<ValidateResponse, Error> {
    let (results, reports) = validate::all(context, request.ping_tablets).await?;
    let entry =
        |(key, report)| validate_response::ResultsByKeyspaceEntry { key, value: Some(keyspace_response(report)) };
    Ok(ValidateResponse { results, results_by_keyspace: reports.into_iter().map(entry).collect() })
}

pub async fn keyspace(context: &Context, request: ValidateKeyspaceRequest) -> Result<ValidateKeyspaceResponse, Error> {
    Ok(keyspace_response(validate::keyspace(context, &request.keyspace, request.ping_tablets).await?))
}

pub async fn shard(context: &Context, request: ValidateShardRequest) -> Result<ValidateShardResponse, Error> {
    let ValidateShardRequest { keyspace, shard, ping_tablets } = request;
    Ok(ValidateShardResponse { results: validate::shard(context, &keyspace, &shard, ping_tablets).await? })
}

pub async fn schemas(
    context: &Context,
    request: ValidateSchemaKeyspaceRequest,
) -> Result<ValidateSchemaKeyspaceResponse, Error> {
    let options = SchemaOptions {
        shards: request.shards,
        exclude_tables: request.exclude_tables,
        include_views: request.include_views,
        skip_no_primary: request.skip_no_primary,
        include_vschema: request.include_vschema,
    };
    let report = validate::schemas(context, &request.keyspace, &options).await?;
    let results_by_shard = by_shard!(validate_schema_keyspace_response, report.by_shard);
    Ok(ValidateSchemaKeyspaceResponse { results: report.results, results_by_shard })
}

pub async fn vschema(context: &Context, request: ValidateVSchemaRequest) -> Result<ValidateVSchemaResponse, Error> {
    let options = SchemaOptions {
        shards: request.shards,
        exclude_tables: request.exclude_tables,
        include_views: request.include_views,
        ..SchemaOptions::default()
    };
    let report = validate::vschema(context, &request.keyspace, &options).await?;
    let results_by_shard = by_shard!(validate_v_schema_response, report.by_shard);
    Ok(ValidateVSchemaResponse { results: report.results, results_by_shard })
}

pub async fn permissions(
    context: &Context,
    request: ValidatePermissionsKeyspaceRequest,
) -> Result<ValidatePermissionsKeyspaceResponse, Error> {
    validate::permissions(context, &request.keyspace, &request.shards).await?;
    Ok(ValidatePermissionsKeyspaceResponse {})
}

pub async fn version_shard(
    context: &Context,
    request: ValidateVersionShardRequest,
) -> Result<ValidateVersionShardResponse, Error> {
    let results = validate::version_shard(context, &request.keyspace, &request.shard).await?;
    Ok(ValidateVersionShardResponse { results })
}

pub async fn version_keyspace(
    context: &Context,
    request: ValidateVersionKeyspaceRequest,
) -> Result<ValidateVersionKeyspaceResponse, Error> {
    let report = validate::version_keyspace(context, &request.keyspace).await?;
    let results_by_shard = by_shard!(validate_version_keyspace_response, report.by_shard);
    Ok(ValidateVersionKeyspaceResponse { results: report.results, results_by_shard })
}

fn keyspace_response(report: Report) -> ValidateKeyspaceResponse {
    let results_by_shard = by_shard!(validate_keyspace_response, report.by_shard);
    ValidateKeyspaceResponse { results: report.results, results_by_shard }
}
