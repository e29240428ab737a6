//! The records of a cluster, written as the stock programs lay them out (Vitess 22.0.3), not through the code under test.

use std::time::{SystemTime, UNIX_EPOCH};

use etcd_client::Client;
use prost::Message;
use vtmigrated::key_range;
use vtmigrated_proto::{
    topodata::{
        CellInfo, KeyRange, Keyspace, Shard, ShardReference, SrvKeyspace, TabletAlias, TabletType,
        srv_keyspace::KeyspacePartition,
    },
    vttime::Time,
};

use super::Error;

/// Root of the global topology, as stock's scripts have it.
pub const GLOBAL_ROOT: &str = "/vitess/global";

/// Writes a cell's record; the cell lives in the same etcd, under `/vitess/<cell>`.
pub(super) async fn write_cell(client: &mut Client, cell: &str, server_address: &str) -> Result<(), Error> {
    let info = CellInfo { server_address: server_address.to_owned(), root: format!("/vitess/{cell}") };
    put(client, format!("{GLOBAL_ROOT}/cells/{cell}/CellInfo"), &info).await
}

/// Writes a keyspace's record and, for each cell, its serving graph.
pub(super) async fn write_keyspace(
    client: &mut Client,
    cell: &str,
    keyspace: &str,
    shards: &[String],
) -> Result<(), Error> {
    let record =
        Keyspace { sidecar_db_name: "_vt".to_owned(), durability_policy: "none".to_owned(), ..Keyspace::default() };
    put(client, format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/Keyspace"), &record).await?;
    let mut references = Vec::new();
    for shard in shards {
        references.push(ShardReference { name: shard.clone(), key_range: range(shard)? });
    }
    let partition = |served: TabletType| KeyspacePartition {
        served_type: served.into(),
        shard_references: references.clone(),
        shard_tablet_controls: Vec::new(),
    };
    let partitions = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly].map(partition).to_vec();
    let graph = SrvKeyspace { partitions, ..SrvKeyspace::default() };
    put(client, format!("/vitess/{cell}/keyspaces/{keyspace}/SrvKeyspace"), &graph).await
}

/// Writes a shard's record with its primary elected.
pub(super) async fn write_shard(
    client: &mut Client,
    keyspace: &str,
    shard: &str,
    primary: TabletAlias,
) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    let record = Shard {
        primary_alias: Some(primary),
        primary_term_start_time: Some(Time { seconds, nanoseconds: 0 }),
        key_range: range(shard)?,
        is_primary_serving: true,
        ..Shard::default()
    };
    put(client, format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/shards/{shard}/Shard"), &record).await
}

/// The key range of a shard, none when it is the whole of an unsharded keyspace.
pub(super) fn range(shard: &str) -> Result<Option<KeyRange>, Error> {
    if shard == "0" {
        return Ok(None);
    }
    key_range::parse(shard).map(Some).map_err(|_| Error::Shard(shard.to_owned()))
}

async fn put(client: &mut Client, key: String, record: &impl Message) -> Result<(), Error> {
    client.put(key, record.encode_to_vec(), None).await?;
    Ok(())
}
