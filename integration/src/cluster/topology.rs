//! The records of a cluster, written as the stock programs lay them out (Vitess 22.0.3), not through the code under test.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use etcd_client::{Client, GetOptions};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use vtmigrated::key_range;
use vtmigrated_proto::{
    DESCRIPTORS,
    topodata::{
        CellInfo, KeyRange, Keyspace, Shard, ShardReference, SrvKeyspace, TabletAlias, TabletType,
        srv_keyspace::KeyspacePartition,
    },
    vschema::{self, MirrorRules, RoutingRules, ShardRoutingRules, SrvVSchema, srv_v_schema::KeyspacesEntry},
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
    put(client, format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/Keyspace"), &keyspace_record()).await?;
    let mut references = Vec::new();
    for shard in shards {
        references.push(ShardReference { name: shard.clone(), key_range: range(shard)? });
    }
    put(client, format!("/vitess/{cell}/keyspaces/{keyspace}/SrvKeyspace"), &serving_graph(&references)).await
}

/// A keyspace's record.
pub(crate) fn keyspace_record() -> Keyspace {
    Keyspace { sidecar_db_name: "_vt".to_owned(), durability_policy: "none".to_owned(), ..Keyspace::default() }
}

/// A graph that serves these shards to tablets of all types.
pub(crate) fn serving_graph(shards: &[ShardReference]) -> SrvKeyspace {
    let partition = |served: TabletType| KeyspacePartition {
        served_type: served.into(),
        shard_references: shards.to_vec(),
        shard_tablet_controls: Vec::new(),
    };
    let partitions = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly].map(partition).to_vec();
    SrvKeyspace { partitions, ..SrvKeyspace::default() }
}

/// Writes a shard's record with its primary elected.
pub(super) async fn write_shard(
    client: &mut Client,
    keyspace: &str,
    shard: &str,
    primary: TabletAlias,
) -> Result<(), Error> {
    let record = shard_record(primary, now(), range(shard)?);
    put(client, format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/shards/{shard}/Shard"), &record).await
}

/// A shard's record with its primary elected.
pub(crate) fn shard_record(primary: TabletAlias, since: Time, key_range: Option<KeyRange>) -> Shard {
    Shard {
        primary_alias: Some(primary),
        primary_term_start_time: Some(since),
        key_range,
        is_primary_serving: true,
        ..Shard::default()
    }
}

/// The present second.
pub(crate) fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(now.as_secs()).unwrap_or_default(), nanoseconds: 0 }
}

/// A VSchema in the JSON of `ApplyVSchema --vschema`. Entries of maps carry their values even when they are empty.
///
/// # Errors
/// The text is not a VSchema.
pub fn vschema(json: &str) -> Result<vschema::Keyspace, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::VSchema(error.to_string());
    let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|e| bad(&e))?;
    let kind = pool.get_message_by_name("vschema.Keyspace").ok_or_else(|| bad(&"no such message"))?;
    let mut text = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(kind, &mut text).map_err(|e| bad(&e))?;
    text.end().map_err(|e| bad(&e))?;
    let mut keyspace = vschema::Keyspace::decode(message.encode_to_vec().as_slice()).map_err(|e| bad(&e))?;
    keyspace.vindexes.iter_mut().for_each(|entry| entry.value = Some(entry.value.take().unwrap_or_default()));
    keyspace.tables.iter_mut().for_each(|entry| entry.value = Some(entry.value.take().unwrap_or_default()));
    keyspace.vindexes.sort_by(|a, b| a.key.cmp(&b.key));
    keyspace.tables.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(keyspace)
}

/// Writes a keyspace's VSchema.
pub(super) async fn write_vschema(client: &mut Client, keyspace: &str, json: &str) -> Result<(), Error> {
    put(client, format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/VSchema"), &vschema(json)?).await
}

/// Writes the cell's SrvVSchema from the VSchemas that there are, with rules that are empty but there.
pub(super) async fn write_serving_vschema(client: &mut Client, cell: &str) -> Result<(), Error> {
    let prefix = format!("{GLOBAL_ROOT}/keyspaces/");
    let found = client.get(prefix.clone(), Some(GetOptions::new().with_prefix())).await?;
    let mut keyspaces = BTreeMap::new();
    for kv in found.kvs() {
        let key = String::from_utf8_lossy(kv.key()).into_owned();
        match key.trim_start_matches(&prefix).split_once('/') {
            Some((keyspace, "Keyspace")) => {
                keyspaces.entry(keyspace.to_owned()).or_default();
            }
            Some((keyspace, "VSchema")) => {
                let record = vschema::Keyspace::decode(kv.value()).map_err(|e| Error::VSchema(e.to_string()))?;
                keyspaces.insert(keyspace.to_owned(), record);
            }
            _ => {}
        }
    }
    let record = SrvVSchema {
        keyspaces: keyspaces.into_iter().map(|(key, value)| KeyspacesEntry { key, value: Some(value) }).collect(),
        routing_rules: Some(RoutingRules::default()),
        shard_routing_rules: Some(ShardRoutingRules::default()),
        mirror_rules: Some(MirrorRules::default()),
        ..SrvVSchema::default()
    };
    put(client, format!("/vitess/{cell}/SrvVSchema"), &record).await
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
