//! The tablets that a change of a keyspace's schema runs on.

use vtmigrated_proto::topodata::{Tablet, TabletAlias};

use crate::cluster::{Error, Result};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, paths, shard};

/// The primary of each shard: three round trips.
pub(in crate::cluster) async fn primaries(context: &Context, keyspace: &str) -> Result<Vec<Tablet>> {
    let doing = |error: topo::Error| error.wrap(format!("unable to get shards for keyspace: {keyspace}, error"));
    let shards = shard::all(context.topo.global(), keyspace).await.map_err(doing)?;
    let mut aliases = Vec::with_capacity(shards.len());
    for record in &shards {
        let name = shard::name(record);
        let alias = record.value.primary_alias.clone().filter(|alias| !alias.cell.is_empty()).ok_or_else(|| {
            Error::precondition(Reason::NO_PRIMARY, format!("shard: {name} does not have a primary"), "")
        })?;
        aliases.push((name, alias));
    }
    if aliases.is_empty() {
        let text = format!("keyspace: {keyspace} does not contain any primary tablets");
        return Err(Error::precondition(Reason::NO_PRIMARY, text, ""));
    }
    let cells = context.topo.cells().await?;
    let wanted: Vec<TabletAlias> = aliases.iter().map(|(_, alias)| alias.clone()).collect();
    let mut found = topo::tablet::get_many(&cells, &wanted).await?;
    let take = |(name, alias): (&str, TabletAlias)| {
        found.remove(&paths::alias_text(&alias)).ok_or_else(|| {
            let missing = cells.conn(&alias.cell).map(|conn| topo::Error::NoNode(conn.full(&paths::tablet(&alias))));
            let doing = format!("unable to get primary tablet info, keyspace: {keyspace}, shard: {name}, error");
            missing.unwrap_or_else(|error| error).wrap(doing).into()
        })
    };
    aliases.into_iter().map(take).collect()
}
