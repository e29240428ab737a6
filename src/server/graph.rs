//! RPCs of the replication graph.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::get_shard_replication_response::ShardReplicationByCellEntry;
use vtmigrated_proto::vtctldata::*;

use crate::cluster::graph;
use crate::cluster::tablet::alias;
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;

pub async fn get(context: &Context, request: GetShardReplicationRequest) -> Result<GetShardReplicationResponse, Error> {
    let found = graph::replication(context, &request.keyspace, &request.shard, &request.cells).await?;
    let entry = |(key, graph)| ShardReplicationByCellEntry { key, value: Some(graph) };
    Ok(GetShardReplicationResponse { shard_replication_by_cell: found.into_iter().map(entry).collect() })
}

pub async fn add(
    context: Arc<Context>,
    request: ShardReplicationAddRequest,
) -> Result<ShardReplicationAddResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    graph::add(&context, &request.keyspace, &request.shard, &alias, sent_message::field(3)).await?;
    Ok(ShardReplicationAddResponse {})
}

pub async fn remove(
    context: Arc<Context>,
    request: ShardReplicationRemoveRequest,
) -> Result<ShardReplicationRemoveResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    graph::remove(&context, &request.keyspace, &request.shard, &alias.cell, &alias).await?;
    Ok(ShardReplicationRemoveResponse {})
}

pub async fn fix(
    context: Arc<Context>,
    request: ShardReplicationFixRequest,
) -> Result<ShardReplicationFixResponse, Error> {
    let error = graph::fix(&context, &request.keyspace, &request.shard, &request.cell).await?;
    Ok(ShardReplicationFixResponse { error })
}
