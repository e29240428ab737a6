//! The serving graph of keyspaces in each cell.

use std::sync::Arc;

use futures::future::try_join_all;
use prost::Message;
use vtmigrated_proto::topodata::SrvKeyspace;

use super::{Cells, Conn, Expect, Record, Result, Write, paths};

/// A keyspace's serving graph in one cell, if it has one there.
pub async fn find(cell: &Arc<dyn Conn>, keyspace: &str) -> Result<Option<Record<SrvKeyspace>>> {
    Record::find(cell, &paths::srv_keyspace(keyspace)).await
}

/// Names of the keyspaces that have something in a cell, ascending.
pub async fn names(cell: &Arc<dyn Conn>) -> Result<Vec<String>> {
    cell.list_dir(paths::KEYSPACES).await
}

/// A keyspace's serving graph in each cell, in parallel; `None` where there is none.
pub async fn all(cells: &Cells, keyspace: &str) -> Result<Vec<(String, Option<Record<SrvKeyspace>>)>> {
    let reads = cells
        .iter()
        .map(|(name, conn)| async move { Ok::<_, super::Error>((name.to_owned(), find(conn, keyspace).await?)) });
    try_join_all(reads).await
}

/// Writes a keyspace's serving graph in one cell. No lock guards it: locks live in the global root, which may be on
/// another server than the cell. What a newer program stored in `old` stays.
pub async fn put(
    cell: &Arc<dyn Conn>,
    keyspace: &str,
    graph: &SrvKeyspace,
    old: Option<&Record<SrvKeyspace>>,
) -> Result<()> {
    let raw = match old {
        Some(old) => old.over(cell, "topodata.SrvKeyspace", graph)?,
        None => graph.encode_to_vec(),
    };
    let write = Write::put(paths::srv_keyspace(keyspace), raw, Expect::Any);
    cell.write_one(write, None).await.map(|_| ())
}
