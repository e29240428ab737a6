//! The SrvVSchema of each cell, put together from the VSchemas of all keyspaces and the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use vtmigrated_proto::vschema::SrvVSchema;

use super::{Cells, Conn, Expect, Record, Result, Write, paths, wire};

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

/// Rebuilds the SrvVSchema of `cells`: two round trips, whatever the number of keyspaces and cells.
///
/// The stored bytes of each VSchema and rule are copied as they are. A keyspace without a VSchema has an empty one;
/// routing, shard routing and mirror rules are there even when empty, for Go readers need them (Vitess 22.0.3).
///
/// # Errors
/// Read errors, and the first failed write; the other cells are written all the same.
pub async fn rebuild(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let rules = [paths::ROUTING_RULES, paths::SHARD_ROUTING_RULES, paths::KEYSPACE_ROUTING_RULES, paths::MIRROR_RULES];
    let rules = rules.iter().map(|path| (*path).to_owned()).collect();
    let (nodes, rules) = try_join(global.list(paths::KEYSPACES), global.get_many(rules)).await?;
    let mut vschemas: BTreeMap<&str, Bytes> = BTreeMap::new();
    let below = format!("{}/", paths::KEYSPACES);
    for node in &nodes {
        let Some((name, rest)) = node.path.strip_prefix(&below).and_then(|path| path.split_once('/')) else { continue };
        let vschema = vschemas.entry(name).or_default();
        if rest == "VSchema" {
            *vschema = node.value.clone();
        }
    }
    let mut message = Vec::new();
    for (name, value) in &vschemas {
        wire::push(&mut message, 1, &wire::map_entry(name, value));
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
