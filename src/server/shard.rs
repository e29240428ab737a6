//! RPCs of shards.

use std::sync::Arc;

use prost::Message;
use vtmigrated_proto::topodata;
use vtmigrated_proto::topodata::shard::SourceShard;
use vtmigrated_proto::vtctldata::find_all_shards_in_keyspace_response::ShardsEntry;
use vtmigrated_proto::vtctldata::*;

use super::keyspace::named as named_keyspace;
use crate::cluster::shard;
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;
use crate::topo::wire;

/// Where a SourceShard has its `key_range`.
const KEY_RANGE: u32 = 4;

pub async fn create(context: Arc<Context>, request: CreateShardRequest) -> Result<CreateShardResponse, Error> {
    let CreateShardRequest { keyspace, shard_name, force, include_parent } = request;
    let created = shard::create(&context, &keyspace, &shard_name, include_parent, force).await?;
    Ok(CreateShardResponse {
        keyspace: Some(named_keyspace(keyspace.clone(), created.keyspace)),
        shard: Some(named(keyspace, shard_name, created.shard)),
        shard_already_exists: created.existed,
    })
}

pub async fn get(context: &Context, request: GetShardRequest) -> Result<GetShardResponse, Error> {
    let record = shard::get(context, &request.keyspace, &request.shard_name).await?;
    Ok(GetShardResponse { shard: Some(named(request.keyspace, request.shard_name, record)) })
}

pub async fn all(
    context: &Context,
    request: FindAllShardsInKeyspaceRequest,
) -> Result<FindAllShardsInKeyspaceResponse, Error> {
    let found = shard::all(context, &request.keyspace).await?;
    let entry = |(name, record): (String, topodata::Shard)| ShardsEntry {
        key: name.clone(),
        value: Some(named(request.keyspace.clone(), name, record)),
    };
    Ok(FindAllShardsInKeyspaceResponse { shards: found.into_iter().map(entry).collect() })
}

pub async fn delete(context: Arc<Context>, request: DeleteShardsRequest) -> Result<DeleteShardsResponse, Error> {
    let options = shard::DeleteOptions {
        recursive: request.recursive,
        even_if_serving: request.even_if_serving,
        force: request.force,
    };
    for shard in request.shards {
        shard::delete(&context, &shard.keyspace, &shard.name, options).await?;
    }
    Ok(DeleteShardsResponse {})
}

pub async fn set_primary_serving(
    context: Arc<Context>,
    request: SetShardIsPrimaryServingRequest,
) -> Result<SetShardIsPrimaryServingResponse, Error> {
    let set = shard::set_primary_serving(&context, &request.keyspace, &request.shard, request.is_serving);
    Ok(SetShardIsPrimaryServingResponse { shard: Some(set.await?) })
}

pub async fn set_tablet_control(
    context: Arc<Context>,
    request: SetShardTabletControlRequest,
) -> Result<SetShardTabletControlResponse, Error> {
    let control = shard::Control {
        tablet_type: request.tablet_type,
        cells: request.cells,
        denied_tables: request.denied_tables,
        disable_query_service: request.disable_query_service,
        remove: request.remove,
    };
    let set = shard::set_tablet_control(&context, &request.keyspace, &request.shard, control);
    Ok(SetShardTabletControlResponse { shard: Some(set.await?) })
}

pub async fn add_source(
    context: Arc<Context>,
    request: SourceShardAddRequest,
) -> Result<SourceShardAddResponse, Error> {
    let source = SourceShard {
        uid: request.uid,
        keyspace: request.source_keyspace,
        shard: request.source_shard,
        key_range: request.key_range,
        tables: request.tables,
    };
    let sent = sent_message::field(6).map(|range| {
        let mut sent = SourceShard { uid: source.uid, ..SourceShard::default() }.encode_to_vec();
        wire::push(&mut sent, KEY_RANGE, &range);
        sent.into()
    });
    let shard = shard::add_source(&context, &request.keyspace, &request.shard, source, sent).await?;
    Ok(SourceShardAddResponse { shard })
}

pub async fn remove_source(
    context: Arc<Context>,
    request: SourceShardDeleteRequest,
) -> Result<SourceShardDeleteResponse, Error> {
    let shard = shard::remove_source(&context, &request.keyspace, &request.shard, request.uid).await?;
    Ok(SourceShardDeleteResponse { shard })
}

pub async fn remove_cell(
    context: Arc<Context>,
    request: RemoveShardCellRequest,
) -> Result<RemoveShardCellResponse, Error> {
    let RemoveShardCellRequest { keyspace, shard_name, cell, force, recursive } = request;
    let removal = shard::Removal { keyspace: &keyspace, cell: &cell, recursive, force };
    shard::remove_cell(&context, removal, &shard_name).await?;
    Ok(RemoveShardCellResponse {})
}

pub async fn remove_keyspace_cell(
    context: Arc<Context>,
    request: RemoveKeyspaceCellRequest,
) -> Result<RemoveKeyspaceCellResponse, Error> {
    let RemoveKeyspaceCellRequest { keyspace, cell, force, recursive } = request;
    let removal = shard::Removal { keyspace: &keyspace, cell: &cell, recursive, force };
    shard::remove_keyspace_cell(&context, removal).await?;
    Ok(RemoveKeyspaceCellResponse {})
}

fn named(keyspace: String, name: String, record: topodata::Shard) -> Shard {
    Shard { keyspace, name, shard: Some(record) }
}
