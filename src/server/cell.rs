//! RPCs of cells and cell aliases.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::get_cells_aliases_response::AliasesEntry;
use vtmigrated_proto::vtctldata::*;

use crate::cluster::cell;
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;
use crate::topo;

pub async fn add(context: Arc<Context>, request: AddCellInfoRequest) -> Result<AddCellInfoResponse, Error> {
    cell::add(&context, &request.name, request.cell_info, sent_message::field(2)).await?;
    Ok(AddCellInfoResponse {})
}

pub async fn update(context: Arc<Context>, request: UpdateCellInfoRequest) -> Result<UpdateCellInfoResponse, Error> {
    let info = cell::update(&context, &request.name, request.cell_info, sent_message::field(2)).await?;
    Ok(UpdateCellInfoResponse { name: request.name, cell_info: Some(info) })
}

pub async fn delete(context: Arc<Context>, request: DeleteCellInfoRequest) -> Result<DeleteCellInfoResponse, Error> {
    cell::delete(&context, &request.name, request.force).await?;
    Ok(DeleteCellInfoResponse {})
}

pub async fn get(context: &Context, request: GetCellInfoRequest) -> Result<GetCellInfoResponse, Error> {
    Ok(GetCellInfoResponse { cell_info: Some(cell::get(context, &request.cell).await?) })
}

pub async fn names(context: &Context, _: GetCellInfoNamesRequest) -> Result<GetCellInfoNamesResponse, Error> {
    Ok(GetCellInfoNamesResponse { names: topo::cell::names(context.topo.global()).await? })
}

pub async fn aliases(context: &Context, _: GetCellsAliasesRequest) -> Result<GetCellsAliasesResponse, Error> {
    let found = topo::cell::aliases(context.topo.global()).await?;
    let entry = |(key, alias)| AliasesEntry { key, value: Some(alias) };
    Ok(GetCellsAliasesResponse { aliases: found.into_iter().map(entry).collect() })
}

pub async fn add_alias(context: Arc<Context>, request: AddCellsAliasRequest) -> Result<AddCellsAliasResponse, Error> {
    cell::add_alias(&context, &request.name, request.cells).await?;
    Ok(AddCellsAliasResponse {})
}

pub async fn update_alias(
    context: Arc<Context>,
    request: UpdateCellsAliasRequest,
) -> Result<UpdateCellsAliasResponse, Error> {
    let cells = request.cells_alias.unwrap_or_default().cells;
    let alias = cell::update_alias(&context, &request.name, cells, sent_message::field(2)).await?;
    Ok(UpdateCellsAliasResponse { name: request.name, cells_alias: Some(alias) })
}

pub async fn delete_alias(
    context: Arc<Context>,
    request: DeleteCellsAliasRequest,
) -> Result<DeleteCellsAliasResponse, Error> {
    cell::delete_alias(&context, &request.name).await?;
    Ok(DeleteCellsAliasResponse {})
}
