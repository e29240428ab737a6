//! Reloading of schemas: best effort, what goes wrong with single tablets is told as events.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use vtmigrated_proto::logutil::{Event, Level};
use vtmigrated_proto::tabletmanagerdata::ReloadSchemaRequest;
use vtmigrated_proto::topodata::{Keyspace, Tablet, TabletAlias, TabletType};

use super::{Error, Result, now, tablet};
use crate::context::Context;
use crate::topo::{self, Record, paths, shard};

/// How to reload a shard.
#[derive(Clone, Debug, Default)]
pub struct Reload {
    /// Replicas reload when they have come to this position.
    pub wait_position: String,
    pub include_primary: bool,
    /// Tablets at a time; all when not above 0.
    pub concurrency: i32,
}

/// Makes one tablet read its schema again.
pub async fn one(context: &Context, alias: &TabletAlias) -> Result<()> {
    let tablet = tablet::get_named(context, alias).await?;
    context.tablets.reload_schema(&tablet, ReloadSchemaRequest::default()).await?;
    Ok(())
}

/// Makes the tablets of a shard reload their schemas.
///
/// # Errors
/// Bad names only.
pub async fn shard(context: &Context, keyspace: &str, name: &str, reload: &Reload) -> Result<Vec<Event>> {
    paths::check_name(keyspace)?;
    shard::parse_name(name)?;
    Ok(shards(context, keyspace, std::slice::from_ref(&name.to_owned()), reload).await)
}

/// Makes the tablets of a keyspace reload their schemas.
pub async fn keyspace(context: &Context, keyspace: &str, reload: &Reload) -> Result<Vec<Event>> {
    paths::check_name(keyspace)?;
    let global = context.topo.global();
    let dir = paths::shards_dir(keyspace);
    let names = global.list_dir(&dir).await?;
    if names.is_empty() && Record::<Keyspace>::find(global, &paths::keyspace(keyspace)).await?.is_none() {
        let missing = topo::Error::NoNode(format!("{}/", global.full(&dir)));
        return Err(missing.wrap(format!("GetShardNames({keyspace}) failed")).into());
    }
    Ok(shards(context, keyspace, &names, reload).await)
}

/// The same for several shards at once, which share the limit of tablets at a time.
pub(super) async fn shards(context: &Context, keyspace: &str, names: &[String], reload: &Reload) -> Vec<Event> {
    let limit = usize::try_from(reload.concurrency).ok().filter(|limit| *limit > 0).unwrap_or(Semaphore::MAX_PERMITS);
    let turns = &Semaphore::new(limit.min(Semaphore::MAX_PERMITS));
    let work: FuturesUnordered<_> =
        names.iter().map(|name| one_shard(context, keyspace, name, reload, turns)).collect();
    work.collect::<Vec<_>>().await.into_iter().flatten().collect()
}

async fn one_shard(context: &Context, keyspace: &str, name: &str, reload: &Reload, turns: &Semaphore) -> Vec<Event> {
    let mut events = Vec::new();
    let tablets = match tablet::of_shard(context, keyspace, name, &[]).await {
        Ok((tablets, None)) => tablets,
        Ok((tablets, Some(_))) => {
            events.push(warning(format!(
                "ReloadSchemaShard({keyspace}/{name}) got a partial tablet list. Some tablets may not have schema reloaded \
                 (use vtctl ReloadSchema to fix individual tablets)"
            )));
            tablets
        }
        Err(error) => {
            return vec![warning(format!(
                "ReloadSchemaShard({keyspace}/{name}) failed to load tablet list, will not reload schema (use vtctl \
                 ReloadSchemaShard to try again): {error}"
            ))];
        }
    };
    let wanted = tablets.iter().filter(|tablet| reload.include_primary || tablet.r#type() != TabletType::Primary);
    let calls: FuturesUnordered<_> = wanted
        .map(|tablet| async move {
            let failed = call(context, tablet, reload, turns).await.err()?;
            let alias = crate::tablet::alias(tablet);
            Some(warning(format!(
                "Failed to reload schema on replica tablet {alias} in {keyspace}/{name} (use vtctl ReloadSchema to try \
                 again): {failed}"
            )))
        })
        .collect();
    events.extend(calls.collect::<Vec<_>>().await.into_iter().flatten());
    events
}

async fn call(context: &Context, tablet: &Tablet, reload: &Reload, turns: &Semaphore) -> Result<()> {
    let _turn = turns.acquire().await.map_err(|error| Error::bad_argument(error.to_string()))?;
    let waits = tablet.r#type() != TabletType::Primary;
    let wait_position = if waits { reload.wait_position.clone() } else { String::new() };
    context.tablets.reload_schema(tablet, ReloadSchemaRequest { wait_position }).await?;
    Ok(())
}

fn warning(value: String) -> Event {
    tracing::warn!("{value}");
    Event { time: Some(now()), level: Level::Warning.into(), value, ..Event::default() }
}
