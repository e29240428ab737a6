//! The SrvVSchema of each cell, put together from the VSchemas of all keyspaces and the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use vtmigrated_proto::vschema::SrvVSchema;

use super::{Cells, Conn, Error, Expect, Record, Result, Write, paths, wire};

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

/// The same of the cells that can be reached; the others are left out. One that cannot be decoded is none.
pub async fn reachable(cells: &Cells) -> Vec<(String, Option<SrvVSchema>)> {
    asked(cells).await.into_iter().map(|(name, found)| (name, found.ok().flatten())).collect()
}

/// The same of the cells that can be reached, for what is proven by them.
///
/// # Errors
/// [`Error::BadData`] for one that cannot be decoded.
pub async fn decoded(cells: &Cells) -> Result<Vec<(String, Option<SrvVSchema>)>> {
    asked(cells).await.into_iter().map(|(name, found)| Ok((name, found?))).collect()
}

/// What each cell that can be reached holds: none, a SrvVSchema, or what cannot be decoded.
async fn asked(cells: &Cells) -> Vec<(String, Result<Option<SrvVSchema>>)> {
    let asked = cells.ask_all(|_, conn| async move {
        match Record::<SrvVSchema>::find(conn, paths::SRV_VSCHEMA).await {
            Err(Error::BadData { path, detail }) if path.ends_with(paths::SRV_VSCHEMA) => {
                Ok(Err(Error::BadData { path, detail }))
            }
            found => Ok(Ok(found?.map(|record| record.value))),
        }
    });
    asked.await
}

/// As [`rebuild`], but cells that cannot be reached are left out.
///
/// # Errors
/// Read errors; the first failed write when no cell could be written.
pub async fn rebuild_reachable(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let message = message(global).await?;
    let written = cells.ask_all(|_, conn| put(conn, &message)).await;
    match cells.left_out().into_iter().next() {
        Some((_, error)) if written.is_empty() => Err(error),
        _ => Ok(()),
    }
}

async fn put(cell: &Arc<dyn Conn>, message: &[u8]) -> Result<i64> {
    cell.write_one(Write::put(paths::SRV_VSCHEMA, message.to_vec(), Expect::Any), None).await
}

/// Rebuilds the SrvVSchema of `cells`: two round trips, whatever the number of keyspaces and cells.
///
/// The stored bytes of each VSchema and rule are copied as they are. A keyspace without a VSchema has an empty one;
/// routing, shard routing and mirror rules are there even when empty, for Go readers need them (Vitess 22.0.3).
///
/// # Errors
/// Read errors, and the first failed write; the other cells are written all the same.
pub async fn rebuild(global: &Arc<dyn Conn>, cells: &Cells) -> Result<()> {
    let message = message(global).await?;
    let writes = cells.iter().map(|(_, conn)| put(conn, &message));
    futures::future::join_all(writes).await.into_iter().collect::<Result<Vec<_>>>().map(|_| ())
}

/// A SrvVSchema of what the global topology has: one round trip.
async fn message(global: &Arc<dyn Conn>) -> Result<Vec<u8>> {
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
    Ok(message)
}
