//! The primaries of shards, as the topology names them.

use futures::future::try_join;
use vtmigrated_proto::topodata::{Keyspace, Shard, Tablet, TabletAlias};

use super::{Error, Result};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, Cells, Record, paths, shard, tablet};

/// The primaries of all shards of a keyspace, ascending by shard. Shards that neither serve nor have a primary are left
/// out. Two waves of round trips.
///
/// # Errors
/// No such keyspace, a serving shard without a primary, a primary without a record.
pub(super) async fn of_keyspace(context: &Context, keyspace: &str) -> Result<Vec<Tablet>> {
    paths::check_name(keyspace)?;
    let global = context.topo.global();
    let dir = paths::shards_dir(keyspace);
    let (nodes, cells) = try_join(global.list(&dir), context.topo.cells()).await?;
    let mut shards = Vec::new();
    for node in nodes.into_iter().filter(|node| node.path.ends_with("/Shard")) {
        shards.push(Record::<Shard>::decode(node, global)?);
    }
    if shards.is_empty() && Record::<Keyspace>::find(global, &paths::keyspace(keyspace)).await?.is_none() {
        return Err(topo::Error::NoNode(format!("{}/", global.full(&dir))).into());
    }
    let aliases: Vec<TabletAlias> = shards.iter().filter_map(|record| alias(&record.value)).collect();
    if let Some(headless) = shard::serving(shards).iter().find(|record| alias(&record.value).is_none()) {
        return Err(no_primary(keyspace, shard::name(headless)));
    }
    tablets(&cells, &aliases).await
}

/// The primaries of shards, each `(keyspace, shard)`, in their order. Two waves of round trips.
///
/// # Errors
/// Bad names, a shard that is not there or has no primary, a primary without a record.
pub(super) async fn of_shards(context: &Context, shards: &[(&str, &str)]) -> Result<Vec<Tablet>> {
    for (keyspace, name) in shards {
        paths::check_name(keyspace)?;
        shard::parse_name(name)?;
    }
    let global = context.topo.global();
    let wanted: Vec<String> = shards.iter().map(|(keyspace, name)| paths::shard(keyspace, name)).collect();
    let (nodes, cells) = try_join(global.get_many(wanted.clone()), context.topo.cells()).await?;
    let mut aliases = Vec::with_capacity(shards.len());
    for (((keyspace, name), path), node) in shards.iter().zip(&wanted).zip(nodes) {
        let node = node.ok_or_else(|| topo::Error::NoNode(global.full(path)))?;
        let record = Record::<Shard>::decode(node, global)?;
        aliases.push(alias(&record.value).ok_or_else(|| no_primary(keyspace, name))?);
    }
    tablets(&cells, &aliases).await
}

fn alias(shard: &Shard) -> Option<TabletAlias> {
    shard.primary_alias.clone().filter(|alias| !alias.cell.is_empty())
}

fn no_primary(keyspace: &str, name: &str) -> Error {
    let text = format!("no primary tablet for shard {keyspace}/{name}");
    Error::precondition(Reason::NO_PRIMARY, text, "elect one with PlannedReparentShard")
}

async fn tablets(cells: &Cells, aliases: &[TabletAlias]) -> Result<Vec<Tablet>> {
    let found = tablet::get_many(cells, aliases).await?;
    let record = |alias: &TabletAlias| -> Result<Tablet> {
        if let Some(tablet) = found.get(&paths::alias_text(alias)) {
            return Ok(tablet.clone());
        }
        let path = cells.conn(&alias.cell)?.full(&paths::tablet(alias));
        Err(topo::Error::NoNode(path).into())
    };
    aliases.iter().map(record).collect()
}
