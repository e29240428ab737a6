//! The SrvVSchema of each cell, put together from the VSchemas of all keyspaces and the rules.

use std::sync::Arc;

use futures::future::{try_join, try_join_all};
use vtmigrated_proto::vschema::SrvVSchema;

use super::{Cells, Conn, Expect, Record, Result, Write, keyspace, paths, wire};

/// A cell's SrvVSchema.
pub async fn get(cell: &Arc<dyn Conn>) -> Result<Record<SrvVSchema>> {
    Record::get(cell, paths::SRV_VSCHEMA).await
}

/// The SrvVSchema of each cell, in parallel; `None` where there is none.
pub async fn all(cells: &Cells) -> Result<Vec<(String, Option<SrvVSchema>)>> {
    let reads = cells.iter().map(|(name, conn)| async move {
        let found = Record::<SrvVSchema>::find(conn, paths::SRV_VSCHEMA).await?;
        Ok::<_, super::Error>((name.to_owned(), found.map(|record| record.value)))
    });
    try_join_all(reads).await
}

/// Rebuilds the SrvVSchema of `cells`: three round trips, whatever the number of keyspaces and cells.
///
/// The stored bytes of each VSchema and rule are copied as they are. A keyspace without a VSchema has an empty one;
/// routing, shard routing and mirror rules are there even when empty, for Go readers need them (Vitess 22.0.3).
///
/// # Errors
/// Read errors, and the first failed write; the other cells are written all the same.
pub async fn rebuild(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let rules = [paths::ROUTING_RULES, paths::SHARD_ROUTING_RULES, paths::KEYSPACE_ROUTING_RULES, paths::MIRROR_RULES];
    let rules = rules.iter().map(|path| (*path).to_owned()).collect();
    let (names, rules) = try_join(keyspace::names(global), global.get_many(rules)).await?;
    let vschemas = global.get_many(names.iter().map(|name| paths::vschema(name)).collect()).await?;
    let mut message = Vec::new();
    for (name, node) in names.iter().zip(&vschemas) {
        let value = node.as_ref().map(|n| n.value.clone()).unwrap_or_default();
        wire::push(&mut message, 1, &wire::map_entry(name, &value));
    }
    for (number, node) in (2u32..).zip(&rules) {
        match node {
            Some(node) => wire::push(&mut message, number, &node.value),
            None if number != 4 => wire::push(&mut message, number, &[]),
            None => {}
        }
    }
    let writes = cells.iter().map(|(_, conn)| {
        let write = Write::put(paths::SRV_VSCHEMA, message.clone(), Expect::Any);
        async move { conn.write_one(write, None).await }
    });
    futures::future::join_all(writes).await.into_iter().collect::<Result<Vec<_>>>().map(|_| ())
}
