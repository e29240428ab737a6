//! RPCs of replication.

use std::sync::Arc;

use vtmigrated_proto::topodata::TabletAlias;
use vtmigrated_proto::vtctldata::shard_replication_positions_response::{ReplicationStatusesEntry, TabletMapEntry};
use vtmigrated_proto::vtctldata::*;

use crate::cluster::replication;
use crate::cluster::tablet::alias;
use crate::context::Context;
use crate::failure::Error;

pub async fn change_type(
    context: Arc<Context>,
    request: ChangeTabletTypeRequest,
) -> Result<ChangeTabletTypeResponse, Error> {
    let alias = alias(request.tablet_alias)?;
    let changed = replication::change_type(&context, &alias, request.db_type, request.dry_run).await?;
    Ok(ChangeTabletTypeResponse {
        before_tablet: Some(changed.before),
        after_tablet: changed.after,
        was_dry_run: request.dry_run,
    })
}

pub async fn start(context: Arc<Context>, request: StartReplicationRequest) -> Result<StartReplicationResponse, Error> {
    let alias = required(request.tablet_alias, "StartReplication.TabletAlias is required")?;
    replication::start(&context, &alias).await?;
    Ok(StartReplicationResponse {})
}

pub async fn stop(context: Arc<Context>, request: StopReplicationRequest) -> Result<StopReplicationResponse, Error> {
    let alias = required(request.tablet_alias, "StopReplication.TabletAlias is required")?;
    replication::stop(&context, &alias).await?;
    Ok(StopReplicationResponse {})
}

pub async fn reparent(context: Arc<Context>, request: ReparentTabletRequest) -> Result<ReparentTabletResponse, Error> {
    let alias = required(request.tablet, "tablet alias must not be nil")?;
    let (tablet, primary) = replication::reparent(&context, &alias).await?;
    Ok(ReparentTabletResponse { keyspace: tablet.keyspace, shard: tablet.shard, primary })
}

pub async fn externally_reparented(
    context: Arc<Context>,
    request: TabletExternallyReparentedRequest,
) -> Result<TabletExternallyReparentedResponse, Error> {
    let alias = required(request.tablet, "TabletExternallyReparentedRequest.Tablet must not be nil")?;
    let known = replication::externally_reparented(&context, &alias).await?;
    Ok(TabletExternallyReparentedResponse {
        keyspace: known.keyspace,
        shard: known.shard,
        new_primary: Some(alias),
        old_primary: known.old,
    })
}

pub async fn positions(
    context: &Context,
    request: ShardReplicationPositionsRequest,
) -> Result<ShardReplicationPositionsResponse, Error> {
    let found = replication::positions(context, &request.keyspace, &request.shard).await?;
    let status = |(key, status)| ReplicationStatusesEntry { key, value: Some(status) };
    let tablet = |(key, tablet)| TabletMapEntry { key, value: Some(tablet) };
    Ok(ShardReplicationPositionsResponse {
        replication_statuses: found.statuses.into_iter().map(status).collect(),
        tablet_map: found.tablets.into_iter().map(tablet).collect(),
    })
}

/// An alias that has a text of its own when it is not there.
fn required(found: Option<TabletAlias>, text: &str) -> Result<TabletAlias, Error> {
    alias(Some(found.ok_or_else(|| Error::bad_argument(text))?))
}
