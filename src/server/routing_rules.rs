//! RPCs of routing rules and mirror rules.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use crate::cluster::rules::{self, Rebuild};
use crate::context::Context;
use crate::failure::Error;
use crate::server::sent_message;

pub async fn get(context: &Context, _: GetRoutingRulesRequest) -> Result<GetRoutingRulesResponse, Error> {
    Ok(GetRoutingRulesResponse { routing_rules: Some(rules::tables(context).await?) })
}

pub async fn apply(
    context: Arc<Context>,
    request: ApplyRoutingRulesRequest,
) -> Result<ApplyRoutingRulesResponse, Error> {
    let rebuild = Rebuild { skip: request.skip_rebuild, cells: request.rebuild_cells };
    let sent = sent_message::field(1);
    rules::apply_tables(&context, request.routing_rules.unwrap_or_default(), sent.as_ref(), rebuild).await?;
    Ok(ApplyRoutingRulesResponse {})
}

pub async fn get_shards(
    context: &Context,
    _: GetShardRoutingRulesRequest,
) -> Result<GetShardRoutingRulesResponse, Error> {
    Ok(GetShardRoutingRulesResponse { shard_routing_rules: Some(rules::shards(context).await?) })
}

pub async fn apply_shards(
    context: Arc<Context>,
    request: ApplyShardRoutingRulesRequest,
) -> Result<ApplyShardRoutingRulesResponse, Error> {
    let rebuild = Rebuild { skip: request.skip_rebuild, cells: request.rebuild_cells };
    let sent = sent_message::field(1);
    rules::apply_shards(&context, request.shard_routing_rules.unwrap_or_default(), sent.as_ref(), rebuild).await?;
    Ok(ApplyShardRoutingRulesResponse {})
}

pub async fn get_keyspaces(
    context: &Context,
    _: GetKeyspaceRoutingRulesRequest,
) -> Result<GetKeyspaceRoutingRulesResponse, Error> {
    Ok(GetKeyspaceRoutingRulesResponse { keyspace_routing_rules: rules::keyspaces(context).await? })
}

pub async fn apply_keyspaces(
    context: Arc<Context>,
    request: ApplyKeyspaceRoutingRulesRequest,
) -> Result<ApplyKeyspaceRoutingRulesResponse, Error> {
    let rebuild = Rebuild { skip: request.skip_rebuild, cells: request.rebuild_cells };
    let wanted = request.keyspace_routing_rules.unwrap_or_default();
    let stored = rules::apply_keyspaces(&context, wanted, sent_message::field(1).as_ref(), rebuild).await?;
    Ok(ApplyKeyspaceRoutingRulesResponse { keyspace_routing_rules: Some(stored) })
}

pub async fn get_mirror(context: &Context, _: GetMirrorRulesRequest) -> Result<GetMirrorRulesResponse, Error> {
    Ok(GetMirrorRulesResponse { mirror_rules: Some(rules::mirror(context).await?) })
}
