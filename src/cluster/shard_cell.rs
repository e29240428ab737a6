//! Taking a cell away from shards: its tablets, its replication graph, its part of the serving graph.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use prost::Message;
use vtmigrated_proto::topodata::srv_keyspace::KeyspacePartition;
use vtmigrated_proto::topodata::{Shard, ShardReplication, SrvKeyspace};

use super::keyspace::{finish, lock};
use super::{Error, Result, cell, shard as shards};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, Conn, Expect, Lock, Record, Write, paths, shard, srv_keyspace, wire};

/// Field number of `partitions` in a SrvKeyspace.
const PARTITIONS: u32 = 1;
/// Field number of `shard_references` in a partition.
const REFERENCES: u32 = 2;
const LOCK_ACTION: &str = "Locking keyspace to remove shard from SrvKeyspace";

/// What is taken away, and how far that may go.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    pub keyspace: &'a str,
    pub cell: &'a str,
    /// Delete the tablets' records too.
    pub recursive: bool,
    /// Go on when the cell's replication graph cannot be read.
    pub force: bool,
}

/// Removes a cell from a shard, under the keyspace's lock.
///
/// # Errors
/// Refused: a cell that does not serve the shard, that has its primary, or that has tablets unless told.
pub async fn remove(context: &Context, removal: Removal<'_>, name: &str) -> Result<()> {
    check(removal)?;
    shard::parse_name(name)?;
    let lock = lock(context, removal.keyspace, LOCK_ACTION).await?;
    let removed = async {
        let record = shard::get(context.topo.global(), removal.keyspace, name).await?;
        let conn = match context.topo.cell(removal.cell).await {
            Err(error) if error.is_no_node() => return Err(not_serving(removal, name)),
            other => other?,
        };
        let graph = srv_keyspace::find(&conn, removal.keyspace).await?.map(|graph| graph.value).unwrap_or_default();
        let writes = look(&conn, removal, &graph, &record).await?;
        delete(&conn, &lock, writes).await?;
        remove_references(&conn, removal.keyspace, name).await
    };
    finish(removed.await, lock).await
}

/// Removes a cell from all shards of a keyspace, and the keyspace's serving graph from the cell. All shards are looked at
/// before the first is touched.
pub async fn remove_keyspace(context: &Context, removal: Removal<'_>) -> Result<()> {
    check(removal)?;
    let Removal { keyspace, cell, .. } = removal;
    let lock = match lock(context, keyspace, LOCK_ACTION).await {
        // stock lists the shards first
        Err(Error::Topo(error)) if error.is_no_node() => return Err(shards::no_shards(context, keyspace)),
        other => other?,
    };
    let removed = async {
        let (records, conn) =
            try_join(shards::records(context, keyspace), async { Ok(context.topo.cell(cell).await?) }).await?;
        let graph = srv_keyspace::find(&conn, keyspace).await?.map(|graph| graph.value).unwrap_or_default();
        let looks = records.iter().map(|record| async {
            let looked = look(&conn, removal, &graph, record).await;
            let doing = || format!("cannot remove cell {cell} from shard {keyspace}/{}", shard::name(record));
            looked.map_err(|error| error.doing(doing()))
        });
        let writes = try_join_all(looks).await?.into_iter().flatten().collect();
        delete(&conn, &lock, writes).await?;
        let doing = || format!("cannot delete SrvKeyspace from cell {cell} for keyspace {keyspace}");
        Ok(conn.remove(&paths::srv_keyspace(keyspace)).await.map_err(|error| error.wrap(doing()))?)
    };
    finish(removed.await, lock).await
}

fn check(removal: Removal<'_>) -> Result<()> {
    paths::check_name(removal.keyspace)?;
    cell::check_name(removal.cell)
}

/// What has to be deleted from the cell.
async fn look(
    conn: &Arc<dyn Conn>,
    removal: Removal<'_>,
    serving: &SrvKeyspace,
    record: &Record<Shard>,
) -> Result<Vec<Write>> {
    let name = shard::name(record);
    let Removal { keyspace, cell, recursive, force } = removal;
    let refused = |text: String, help: &str| Err(Error::precondition(Reason::CELL_IN_USE, text, help));
    if !serving.partitions.iter().flat_map(|partition| &partition.shard_references).any(|shard| shard.name == name) {
        return Err(not_serving(removal, name));
    }
    if let Some(primary) = record.value.primary_alias.as_ref().filter(|alias| alias.cell == cell) {
        let text = format!("cannot remove cell {cell}; shard primary {} is in cell", paths::alias_text(primary));
        return refused(text, "reparent the shard to a tablet of another cell first");
    }
    let path = paths::shard_replication(keyspace, name);
    let graph = match Record::<ShardReplication>::find(conn, &path).await {
        Ok(Some(graph)) => graph,
        Ok(None) => return Ok(Vec::new()),
        Err(error) if force => {
            tracing::warn!(vitess.cell = cell, "leaving a replication graph that cannot be read: {error}");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let nodes = graph.value.nodes;
    if !nodes.is_empty() && !recursive {
        let text = format!("cell {cell} has {} possible tablets in replication graph", nodes.len());
        return refused(text, "delete them first, or use --recursive");
    }
    // tablets of other cells do not belong into this graph
    let aliases = nodes.into_iter().filter_map(|node| node.tablet_alias).filter(|alias| alias.cell == cell);
    let tablets = aliases.map(|alias| Write::delete(paths::tablet(&alias), Expect::Any));
    Ok(tablets.chain([Write::delete(path, Expect::Any)]).collect())
}

fn not_serving(Removal { keyspace, cell, .. }: Removal<'_>, name: &str) -> Error {
    let text = format!("shard {keyspace}/{name} does not have serving cell {cell}");
    Error::precondition(Reason::CELL_NOT_SERVING, text, "")
}

async fn delete(conn: &Arc<dyn Conn>, lock: &Lock, writes: Vec<Write>) -> Result<()> {
    lock.check().await?;
    if !writes.is_empty() {
        conn.write(writes, None).await?;
    }
    Ok(())
}

/// Takes a shard out of all partitions of a serving graph.
async fn remove_references(conn: &Arc<dyn Conn>, keyspace: &str, name: &str) -> Result<()> {
    loop {
        let Some(graph) = srv_keyspace::find(conn, keyspace).await? else { return Ok(()) };
        let raw = without(&graph.raw, name)
            .map_err(|detail| topo::Error::BadData { path: conn.full(&graph.path), detail })?;
        match conn.write_one(Write::put(graph.path.clone(), raw, Expect::Version(graph.version)), None).await {
            Err(error) if error.is_conflict() => {}
            other => return other.map(|_| ()).map_err(Error::from),
        }
    }
}

fn without(graph: &Bytes, name: &str) -> std::result::Result<Vec<u8>, String> {
    wire::each(graph, PARTITIONS, |payload| {
        let partition = KeyspacePartition::decode(payload.clone()).map_err(|error| error.to_string())?;
        if !partition.shard_references.iter().any(|shard| shard.name == name) {
            return Ok(None);
        }
        let is_ours = |reference: &Bytes| wire::map_key(reference).as_deref() == Some(name);
        wire::without(payload, REFERENCES, is_ours).map(Some)
    })
}
