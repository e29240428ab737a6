//! Deleting a shard with its tablets and graphs. Everything is looked at before anything is deleted.

use futures::future::{try_join, try_join_all};
use vtmigrated_proto::topodata::{Shard, ShardReplication, Tablet};

use super::keyspace::finish;
use super::{Error, Result};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, Cells, Conn, Expect, Lock, Record, Write, paths, shard, srv_keyspace, tablet};

/// How far a deletion may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Delete the tablets' records too.
    pub recursive: bool,
    /// Delete a shard that a serving graph names.
    pub even_if_serving: bool,
    /// Go on when the shard cannot be locked or is not there.
    pub force: bool,
}

/// Deletes a shard, under its lock.
pub async fn delete(context: &Context, keyspace: &str, name: &str, options: Options) -> Result<()> {
    paths::check_name(keyspace)?;
    shard::parse_name(name)?;
    let request = context.lock_request("DeleteShard").of(paths::shard_dir(keyspace, name));
    match context.topo.global().lock(request).await {
        Ok(lock) => {
            let deleted = delete_locked(context, keyspace, name, options, Some(&lock)).await;
            finish(deleted, lock).await
        }
        Err(error) if options.force => {
            tracing::warn!(
                vitess.keyspace = keyspace,
                vitess.shard = name,
                "deleting a shard that could not be locked: {error}"
            );
            delete_locked(context, keyspace, name, options, None).await
        }
        Err(error) => {
            let doing = format!(
                "failed to lock {keyspace}/{name}; if you really want to delete this shard, re-run with Force=true"
            );
            Err(error.wrap(doing).into())
        }
    }
}

async fn delete_locked(
    context: &Context,
    keyspace: &str,
    name: &str,
    options: Options,
    guard: Option<&Lock>,
) -> Result<()> {
    let global = context.topo.global();
    let path = paths::shard(keyspace, name);
    let found = Record::<Shard>::find(global, &path);
    let (Some(_), cells) = try_join(found, context.topo.cells()).await? else { return Ok(()) };
    let (serving, tablets) = try_join(is_serving(&cells, keyspace, name), tablets(&cells, keyspace, name)).await?;
    if serving && !options.even_if_serving {
        let text = format!(
            "shard {keyspace}/{name} is still serving; cannot delete it; use EvenIfServing = true to delete anyway"
        );
        return Err(Error::precondition(Reason::SHARD_SERVING, text, ""));
    }
    if let Some((cell, _, found)) = tablets.iter().find(|(_, _, found)| !found.is_empty() && !options.recursive) {
        let text = format!(
            "Shard {keyspace}/{name} still hase {} tablets in cell {cell}; use Recursive = true or remove them manually",
            found.len()
        );
        return Err(Error::precondition(Reason::SHARD_HAS_TABLETS, text, format!("tablets: {}", found.join(", "))));
    }
    if let Some(lock) = guard {
        lock.check().await?;
    }
    let deletions = tablets.iter().map(|(cell, conn, found)| async move {
        let records = found.iter().map(|alias| format!("{}/{alias}/Tablet", paths::TABLETS));
        let graph = paths::shard_replication(keyspace, name);
        let writes = records.chain([graph]).map(|path| Write::delete(path, Expect::Any)).collect();
        conn.write(writes, None).await.map_err(|error| error.wrap(format!("cannot delete tablets in cell {cell}")))
    });
    try_join_all(deletions).await?;
    global.write_one(Write::delete(path, Expect::Any), guard).await?;
    Ok(())
}

async fn is_serving(cells: &Cells, keyspace: &str, name: &str) -> topo::Result<bool> {
    let graphs = srv_keyspace::all(cells, keyspace).await?;
    let partitions = graphs.iter().filter_map(|(_, graph)| graph.as_ref()).flat_map(|graph| &graph.value.partitions);
    Ok(partitions.flat_map(|partition| &partition.shard_references).any(|shard| shard.name == name))
}

/// The shard's tablets of each cell as alias texts: those of its replication graph; without one all of the cell's
/// tablets are looked through.
async fn tablets<'a>(
    cells: &'a Cells,
    keyspace: &str,
    name: &str,
) -> topo::Result<Vec<(&'a str, &'a std::sync::Arc<dyn Conn>, Vec<String>)>> {
    let path = &paths::shard_replication(keyspace, name);
    let reads = cells.iter().map(|(cell, conn)| async move {
        let records: Vec<Tablet> = match Record::<ShardReplication>::find(conn, path).await? {
            Some(graph) => {
                let aliases: Vec<_> = graph.value.nodes.into_iter().filter_map(|node| node.tablet_alias).collect();
                tablet::get_many(cells, &aliases).await?.into_values().collect()
            }
            None => tablet::in_cell(cells, cell).await?.into_iter().map(|record| record.value).collect(),
        };
        let ours = records.into_iter().filter(|tablet| tablet.keyspace == keyspace && tablet.shard == name);
        let aliases = ours.filter_map(|tablet| tablet.alias.as_ref().map(paths::alias_text)).collect();
        Ok::<_, topo::Error>((cell, conn, aliases))
    });
    try_join_all(reads).await
}
