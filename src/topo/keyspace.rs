//! Keyspace records.

use std::sync::Arc;

use prost::Message;
use vtmigrated_proto::topodata::Keyspace;

use super::{Conn, Record, Result, paths};

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

/// Creates a keyspace record.
pub async fn create(global: &Arc<dyn Conn>, keyspace: &str, record: &Keyspace) -> Result<()> {
    paths::check_name(keyspace).map_err(|e| e.wrap("CreateKeyspace"))?;
    global.create(&paths::keyspace(keyspace), record.encode_to_vec()).await.map(|_| ())
}
