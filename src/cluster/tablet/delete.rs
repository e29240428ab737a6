//! Deleting tablets' records.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use vtmigrated_proto::topodata::{Shard, ShardReplication, Tablet, TabletAlias, TabletType};

use crate::cluster::keyspace::finish;
use crate::cluster::{Error, Result, now, shard};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, Cells, Expect, Record, Write, paths, tablet};

/// Deletes tablets' records and their entries in the replication graphs. All are looked at before the first is deleted.
///
/// # Errors
/// Refused: tablets that are not there, and primaries unless allowed.
pub async fn delete(context: &Context, aliases: &[TabletAlias], allow_primary: bool) -> Result<()> {
    let cells = context.topo.cells().await?;
    let mut tablets = BTreeMap::new();
    for alias in aliases {
        cells.conn(&alias.cell)?;
    }
    let mut found = tablet::get_many(&cells, aliases).await?;
    for alias in aliases {
        let text = paths::alias_text(alias);
        if let Some(tablet) = found.remove(&text) {
            tablets.insert(text, tablet);
        } else if !tablets.contains_key(&text) {
            return Err(topo::Error::NoNode(cells.conn(&alias.cell)?.full(&paths::tablet(alias))).into());
        }
    }
    let checks =
        tablets.values().map(|tablet| async move { Ok::<_, Error>((tablet, is_primary(context, tablet).await?)) });
    let mut others: BTreeMap<(&str, &str, &str), Vec<&Tablet>> = BTreeMap::new();
    let mut primaries = Vec::new();
    for (tablet, is_primary) in try_join_all(checks).await? {
        if is_primary && !allow_primary {
            let alias = crate::tablet::alias(tablet);
            let text = format!("cannot delete tablet {alias} as it is a primary, pass AllowPrimary = true");
            return Err(Error::precondition(Reason::IS_PRIMARY, text, ""));
        }
        let cell = tablet.alias.as_ref().map(|alias| alias.cell.as_str()).unwrap_or_default();
        if is_primary {
            primaries.push(tablet);
        } else {
            others.entry((cell, &tablet.keyspace, &tablet.shard)).or_default().push(tablet);
        }
    }
    for tablet in primaries {
        delete_primary(context, &cells, tablet).await?;
    }
    try_join_all(others.values().map(|tablets| delete_records(&cells, tablets))).await?;
    Ok(())
}

/// True when the shard's record names the tablet, or the tablet became primary after that record was written.
async fn is_primary(context: &Context, tablet: &Tablet) -> Result<bool> {
    if tablet.r#type() != TabletType::Primary {
        return Ok(false);
    }
    let shard = topo::shard::get(context.topo.global(), &tablet.keyspace, &tablet.shard).await?.value;
    let later =
        tablet::began(tablet.primary_term_start_time.as_ref()) > tablet::began(shard.primary_term_start_time.as_ref());
    Ok(shard.primary_alias == tablet.alias || later)
}

/// Takes the primary out of the shard's record, and then deletes it, under the shard's lock.
async fn delete_primary(context: &Context, cells: &Cells, tablet: &Tablet) -> Result<()> {
    let (keyspace, name) = (&tablet.keyspace, &tablet.shard);
    let action = format!("DeleteTablet({})", crate::tablet::alias(tablet));
    let lock = shard::lock(context, keyspace, name, &action).await?;
    let deleted = async {
        let forget = |shard: &mut Shard| {
            if shard.primary_alias == tablet.alias {
                shard.primary_alias = None;
                shard.primary_term_start_time = Some(now());
            } else {
                tracing::warn!(
                    vitess.keyspace = keyspace,
                    vitess.shard = name,
                    "deleting a primary that the shard's record does not name"
                );
            }
            Ok(())
        };
        shard::update(context, keyspace, name, &lock, forget).await?;
        lock.check().await?;
        delete_records(cells, &[tablet]).await
    };
    finish(deleted.await, lock).await
}

/// Deletes tablets of one cell and shard, with their entries in its graph, in one transaction.
async fn delete_records(cells: &Cells, tablets: &[&Tablet]) -> Result<()> {
    let Some((first, cell)) = tablets.first().and_then(|tablet| Some((tablet, &tablet.alias.as_ref()?.cell))) else {
        return Ok(());
    };
    let conn = cells.conn(cell)?;
    let path = paths::shard_replication(&first.keyspace, &first.shard);
    let aliases: Vec<&TabletAlias> = tablets.iter().filter_map(|tablet| tablet.alias.as_ref()).collect();
    loop {
        let mut writes: Vec<Write> =
            aliases.iter().map(|alias| Write::delete(paths::tablet(alias), Expect::Any)).collect();
        if let Some(old) = Record::<ShardReplication>::find(conn, &path).await? {
            let mut graph = old.value.clone();
            graph.nodes.retain(|node| !node.tablet_alias.as_ref().is_some_and(|alias| aliases.contains(&alias)));
            writes.push(old.over(conn, "topodata.ShardReplication", &graph)?);
        }
        match conn.write(writes, None).await {
            Err(error) if error.is_conflict() => {}
            other => return other.map(|_| ()).map_err(Error::from),
        }
    }
}
