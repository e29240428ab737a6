//! The serving graph of keyspaces in each cell.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use prost::Message;
use vtmigrated_proto::topodata::{Keyspace, SrvKeyspace};

use super::{Cells, Conn, Error, Expect, Record, Result, Write, paths, wire};

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
    let reads =
        cells.iter().map(|(name, conn)| async move { Ok::<_, Error>((name.to_owned(), find(conn, keyspace).await?)) });
    try_join_all(reads).await
}

/// Numbers of the fields that a keyspace's record and its serving graph share: settings of the two throttlers.
const SHARED: [(u32, u32); 2] = [(9, 6), (12, 7)];

/// Writes a keyspace's serving graph in one cell. No lock guards it: locks live in the global root, which may be on
/// another server than the cell. What a newer program stored in `old` stays, and so does what one stored in the settings
/// that come from `of`, the keyspace's record.
pub async fn put(
    cell: &Arc<dyn Conn>,
    keyspace: &str,
    graph: &SrvKeyspace,
    (of, old): (&Record<Keyspace>, Option<&Record<SrvKeyspace>>),
) -> Result<()> {
    let path = paths::srv_keyspace(keyspace);
    let raw = encoded(graph, of, old).map_err(|detail| Error::BadData { path: cell.full(&path), detail })?;
    let write = Write::put(path, raw, Expect::Any);
    cell.write_one(write, None).await.map(|_| ())
}

fn encoded(
    graph: &SrvKeyspace,
    of: &Record<Keyspace>,
    old: Option<&Record<SrvKeyspace>>,
) -> std::result::Result<Vec<u8>, String> {
    let mut raw = graph.encode_to_vec();
    let settings = wire::fields(&of.raw)?;
    let mut old = old.map(|old| old.raw.clone());
    for (from, to) in SHARED {
        let stored = settings.iter().rfind(|field| field.number == from).and_then(|field| field.payload.clone());
        if let Some(stored) = stored {
            raw = wire::each(&raw.into(), to, |_| Ok(Some(stored.to_vec())))?;
            // a switch that is off is not there: what was served of it before must not come back
            old = old.map(|old| wire::without(&old, to, |_| true)).transpose()?.map(Bytes::from);
        }
    }
    match old {
        Some(old) => wire::over_encoded(&old, "topodata.SrvKeyspace", raw.into()),
        None => Ok(raw),
    }
}
