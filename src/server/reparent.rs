//! RPCs that elect a shard's first primary.

use std::sync::Arc;
use std::time::Duration;

use vtmigrated_proto::topodata::TabletAlias;
use vtmigrated_proto::vtctldata::*;

use super::time::duration;
use crate::cluster::reparent;
use crate::cluster::tablet::alias;
use crate::context::Context;
use crate::failure::Error;

pub async fn planned(
    context: Arc<Context>,
    request: PlannedReparentShardRequest,
) -> Result<PlannedReparentShardResponse, Error> {
    let wanted = wanted(request)?;
    let elected = reparent::planned(&context, &wanted).await?;
    Ok(PlannedReparentShardResponse {
        keyspace: wanted.keyspace,
        shard: wanted.shard,
        promoted_primary: elected.primary,
        events: elected.events,
    })
}

/// What a request asks for.
///
/// # Errors
/// Bad aliases and durations.
pub fn wanted(request: PlannedReparentShardRequest) -> Result<reparent::Wanted, Error> {
    let optional = |found: Option<TabletAlias>| found.map(|found| alias(Some(found))).transpose();
    Ok(reparent::Wanted {
        keyspace: request.keyspace,
        shard: request.shard,
        new: optional(request.new_primary)?,
        avoid: optional(request.avoid_primary)?,
        expected: optional(request.expected_primary)?,
        wait_replicas: duration(request.wait_replicas_timeout)?,
        tolerable_lag: duration(request.tolerable_replication_lag)?.unwrap_or(Duration::ZERO),
    })
}

pub async fn init_shard_primary(
    context: Arc<Context>,
    request: InitShardPrimaryRequest,
) -> Result<InitShardPrimaryResponse, Error> {
    let init = reparent::Init {
        keyspace: request.keyspace,
        shard: request.shard,
        primary: alias(request.primary_elect_tablet_alias)?,
        force: request.force,
        wait_replicas: duration(request.wait_replicas_timeout)?,
    };
    Ok(InitShardPrimaryResponse { events: reparent::init_shard_primary(&context, &init).await? })
}
