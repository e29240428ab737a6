//! The serving graph of keyspaces in each cell.

use std::sync::Arc;

use prost::Message;
use vtmigrated_proto::topodata::SrvKeyspace;

use super::{Conn, Expect, Lock, Record, Result, Write, paths};

/// A keyspace's serving graph in one cell, if it has one there.
pub async fn find(cell: &Arc<dyn Conn>, keyspace: &str) -> Result<Option<Record<SrvKeyspace>>> {
    Record::find(cell, &paths::srv_keyspace(keyspace)).await
}

/// Writes a keyspace's serving graph in one cell.
pub async fn put(cell: &Arc<dyn Conn>, keyspace: &str, graph: &SrvKeyspace, guard: Option<&Lock>) -> Result<()> {
    let write = Write::put(paths::srv_keyspace(keyspace), graph.encode_to_vec(), Expect::Any);
    // the lock lives in the global root, which may be another server than the cell's
    let _ = guard;
    cell.write_one(write, None).await.map(|_| ())
}
