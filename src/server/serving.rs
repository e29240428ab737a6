//! RPCs of what cells serve: SrvKeyspace and SrvVSchema.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::get_srv_keyspace_names_response::{NameList, NamesEntry};
use vtmigrated_proto::vtctldata::get_srv_keyspaces_response::SrvKeyspacesEntry;
use vtmigrated_proto::vtctldata::get_srv_v_schemas_response::SrvVSchemasEntry;
use vtmigrated_proto::vtctldata::*;

use crate::cluster::serving;
use crate::context::Context;
use crate::failure::Error;

pub async fn rebuild_keyspace(
    context: Arc<Context>,
    request: RebuildKeyspaceGraphRequest,
) -> Result<RebuildKeyspaceGraphResponse, Error> {
    serving::rebuild_keyspace(&context, &request.keyspace, &request.cells, request.allow_partial).await?;
    Ok(RebuildKeyspaceGraphResponse {})
}

pub async fn rebuild_vschema(
    context: Arc<Context>,
    request: RebuildVSchemaGraphRequest,
) -> Result<RebuildVSchemaGraphResponse, Error> {
    serving::rebuild_vschema(&context, &request.cells).await?;
    Ok(RebuildVSchemaGraphResponse {})
}

pub async fn keyspaces(context: &Context, request: GetSrvKeyspacesRequest) -> Result<GetSrvKeyspacesResponse, Error> {
    let found = serving::keyspaces(context, &request.keyspace, &request.cells).await?;
    let entry = |(key, graph)| SrvKeyspacesEntry { key, value: Some(graph) };
    Ok(GetSrvKeyspacesResponse { srv_keyspaces: found.into_iter().map(entry).collect() })
}

pub async fn keyspace_names(
    context: &Context,
    request: GetSrvKeyspaceNamesRequest,
) -> Result<GetSrvKeyspaceNamesResponse, Error> {
    let found = serving::keyspace_names(context, &request.cells).await?;
    let entry = |(key, names)| NamesEntry { key, value: Some(NameList { names }) };
    Ok(GetSrvKeyspaceNamesResponse { names: found.into_iter().map(entry).collect() })
}

pub async fn vschema(context: &Context, request: GetSrvVSchemaRequest) -> Result<GetSrvVSchemaResponse, Error> {
    Ok(GetSrvVSchemaResponse { srv_v_schema: Some(serving::vschema(context, &request.cell).await?) })
}

pub async fn vschemas(context: &Context, request: GetSrvVSchemasRequest) -> Result<GetSrvVSchemasResponse, Error> {
    let found = serving::vschemas(context, &request.cells).await?;
    let entry = |(key, vschema)| SrvVSchemasEntry { key, value: Some(vschema) };
    Ok(GetSrvVSchemasResponse { srv_v_schemas: found.into_iter().map(entry).collect() })
}

pub async fn delete_vschema(
    context: Arc<Context>,
    request: DeleteSrvVSchemaRequest,
) -> Result<DeleteSrvVSchemaResponse, Error> {
    serving::delete_vschema(&context, &request.cell).await?;
    Ok(DeleteSrvVSchemaResponse {})
}
