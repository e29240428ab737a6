//! Making tablets read their shard records again.

use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::RefreshStateRequest;

use super::streams::WithReplicas;
use super::{Error, Result};
use crate::context::Context;
use crate::tablet;

/// Bound of all calls together, as in stock.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Refreshes every tablet of the named shards in parallel: one wave.
///
/// A replica that cannot be refreshed is a warning: it reads its shard again when it is back. A primary is an error, for
/// denied tables act on primaries.
pub async fn shards(context: &Context, keyspace: &WithReplicas, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<()> {
    let mut calls = Vec::new();
    for shard in keyspace.keyspace.shards.iter().filter(|s| wanted(&s.name)) {
        let primary = shard.primary.as_ref().map(tablet::alias).unwrap_or_default();
        for tablet in keyspace.tablets.get(&shard.name).into_iter().flatten() {
            let is_primary = tablet::alias(tablet) == primary;
            calls.push(async move {
                let call = context.tablets.refresh_state(tablet, RefreshStateRequest {});
                (is_primary, crate::deadline::scope(Some(crate::deadline::now() + TIMEOUT), call).await)
            });
        }
    }
    let mut errors = Vec::new();
    for (is_primary, answer) in join_all(calls).await {
        match answer {
            Ok(_) => {}
            Err(error) if is_primary => errors.push(Error::from(error)),
            Err(error) => tracing::warn!("a replica was not refreshed: {error}"),
        }
    }
    Error::several(errors).map_or(Ok(()), Err)
}
