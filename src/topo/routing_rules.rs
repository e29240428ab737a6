//! Routing rules of tables, shards and keyspaces, and mirror rules.

use std::sync::Arc;

use prost::Message;
use vtmigrated_proto::vschema::{KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules};

use super::{Conn, Expect, Lock, Record, Result, Write, paths};

/// The table routing rules; empty when none are stored.
pub async fn get(global: &Arc<dyn Conn>) -> Result<RoutingRules> {
    Ok(Record::find(global, paths::ROUTING_RULES).await?.map(|r| r.value).unwrap_or_default())
}

/// Replaces the table routing rules; empty ones are removed, as stock does.
pub async fn put(global: &Arc<dyn Conn>, rules: &RoutingRules) -> Result<()> {
    let write = if rules.rules.is_empty() {
        Write::delete(paths::ROUTING_RULES, Expect::Any)
    } else {
        Write::put(paths::ROUTING_RULES, rules.encode_to_vec(), Expect::Any)
    };
    global.write_one(write, None).await.map(|_| ())
}

/// The shard routing rules; empty when none are stored.
pub async fn shard_rules(global: &Arc<dyn Conn>) -> Result<ShardRoutingRules> {
    Ok(Record::find(global, paths::SHARD_ROUTING_RULES).await?.map(|r| r.value).unwrap_or_default())
}

/// The mirror rules; empty when none are stored.
pub async fn mirror_rules(global: &Arc<dyn Conn>) -> Result<MirrorRules> {
    Ok(Record::find(global, paths::MIRROR_RULES).await?.map(|r| r.value).unwrap_or_default())
}

/// Replaces the shard routing rules; empty ones are removed, as stock does.
pub async fn put_shard_rules(global: &Arc<dyn Conn>, rules: &ShardRoutingRules) -> Result<()> {
    let write = if rules.rules.is_empty() {
        Write::delete(paths::SHARD_ROUTING_RULES, Expect::Any)
    } else {
        Write::put(paths::SHARD_ROUTING_RULES, rules.encode_to_vec(), Expect::Any)
    };
    global.write_one(write, None).await.map(|_| ())
}

/// The keyspace routing rules; `None` when none were ever stored.
pub async fn keyspace_rules(global: &Arc<dyn Conn>) -> Result<Option<KeyspaceRoutingRules>> {
    Ok(Record::find(global, paths::KEYSPACE_ROUTING_RULES).await?.map(|r| r.value))
}

/// Replaces the keyspace routing rules; empty ones stay as an empty record, as in stock. Without a lock the record must
/// not be there yet.
pub async fn put_keyspace_rules(
    global: &Arc<dyn Conn>,
    rules: &KeyspaceRoutingRules,
    guard: Option<&Lock>,
) -> Result<()> {
    let expect = if guard.is_some() { Expect::Any } else { Expect::Absent };
    let write = Write::put(paths::KEYSPACE_ROUTING_RULES, rules.encode_to_vec(), expect);
    global.write_one(write, guard).await.map(|_| ())
}
