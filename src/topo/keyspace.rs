//! Keyspace records.

use std::sync::Arc;

use bytes::Bytes;
use vtmigrated_proto::topodata::Keyspace;

use super::{Conn, Lock, Record, Result, paths, wire};

const NAME: &str = "topodata.Keyspace";

/// Names of all keyspaces, ascending.
pub async fn names(global: &Arc<dyn Conn>) -> Result<Vec<String>> {
    global.list_dir(paths::KEYSPACES).await
}

/// One keyspace's record.
///
/// # Errors
/// A bad name is refused with stock's `GetKeyspace: …` text.
pub async fn get(global: &Arc<dyn Conn>, keyspace: &str) -> Result<Record<Keyspace>> {
    paths::check_name(keyspace).map_err(|e| e.wrap("GetKeyspace"))?;
    Record::get(global, &paths::keyspace(keyspace)).await
}

/// Creates a keyspace record. What is not known of it is stored as it was sent.
pub async fn create(global: &Arc<dyn Conn>, keyspace: &str, record: &Keyspace, sent: Option<&Bytes>) -> Result<()> {
    paths::check_name(keyspace).map_err(|e| e.wrap("CreateKeyspace"))?;
    global.create(&paths::keyspace(keyspace), wire::with_sent(sent, NAME, record)).await.map(|_| ())
}

/// All keyspace records with their names, ascending: two round trips.
pub async fn all(global: &Arc<dyn Conn>) -> Result<Vec<(String, Keyspace)>> {
    let names = names(global).await?;
    let nodes = global.get_many(names.iter().map(|name| paths::keyspace(name)).collect()).await?;
    let mut found = Vec::with_capacity(names.len());
    for (name, node) in names.into_iter().zip(nodes) {
        // a directory without a record, as a lock or a leftover makes it, is no keyspace
        if let Some(node) = node {
            found.push((name, Record::<Keyspace>::decode(node, global)?.value));
        }
    }
    Ok(found)
}

/// Writes a keyspace record that was read under its lock.
pub async fn update(global: &Arc<dyn Conn>, old: &Record<Keyspace>, value: &Keyspace, guard: &Lock) -> Result<()> {
    update_sent(global, old, value, None, guard).await
}

/// The same with what is not known of it as it was sent.
pub async fn update_sent(
    global: &Arc<dyn Conn>,
    old: &Record<Keyspace>,
    value: &Keyspace,
    sent: Option<&Bytes>,
    guard: &Lock,
) -> Result<()> {
    global.write_one(old.over_sent(global, NAME, value, sent)?, Some(guard)).await.map(|_| ())
}
