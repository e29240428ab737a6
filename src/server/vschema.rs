//! RPCs of VSchemas.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::apply_v_schema_response::{ParamList, UnknownVindexParamsEntry};
use vtmigrated_proto::vtctldata::*;

use crate::cluster::rules::Rebuild;
use crate::cluster::vschema::{self, Change};
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;

pub async fn get(context: &Context, request: GetVSchemaRequest) -> Result<GetVSchemaResponse, Error> {
    Ok(GetVSchemaResponse { v_schema: Some(vschema::get(context, &request.keyspace).await?) })
}

pub async fn apply(context: Arc<Context>, request: ApplyVSchemaRequest) -> Result<ApplyVSchemaResponse, Error> {
    let change = Change {
        keyspace: request.keyspace,
        vschema: request.v_schema,
        sent: sent_message::field(5),
        sql: request.sql,
        dry_run: request.dry_run,
        strict: request.strict,
        rebuild: Rebuild { skip: request.skip_rebuild, cells: request.cells },
    };
    let changed = vschema::apply(&context, change).await?;
    let entry = |(key, params)| UnknownVindexParamsEntry { key, value: Some(ParamList { params }) };
    Ok(ApplyVSchemaResponse {
        v_schema: Some(changed.vschema),
        unknown_vindex_params: changed.unknown_params.into_iter().map(entry).collect(),
    })
}
