//! Routing rules of tables, shards and keyspaces, and mirror rules.

use std::sync::Arc;

use bytes::Bytes;
use vtmigrated_proto::vschema::{KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules};

use super::{Conn, Expect, Lock, Record, Result, Write, paths, wire};

/// The table routing rules; empty when none are stored.
pub async fn get(global: &Arc<dyn Conn>) -> Result<RoutingRules> {
    look(global).await?
}

/// The same for who can do without rules that cannot be decoded: the inner error is that.
pub async fn look(global: &Arc<dyn Conn>) -> Result<Result<RoutingRules>> {
    let found = Record::<RoutingRules>::look(global, paths::ROUTING_RULES).await?;
    Ok(found.map(|found| found.map(|record| record.value).unwrap_or_default()))
}

/// Replaces the table routing rules; empty ones are removed, as stock does. What is not known of them is stored as it was
/// sent.
pub async fn put(global: &Arc<dyn Conn>, rules: &RoutingRules, sent: Option<&Bytes>) -> Result<()> {
    let write = if rules.rules.is_empty() {
        Write::delete(paths::ROUTING_RULES, Expect::Any)
    } else {
        Write::put(paths::ROUTING_RULES, wire::with_sent(sent, "vschema.RoutingRules", rules), Expect::Any)
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

/// The same for the shard routing rules.
pub async fn put_shard_rules(global: &Arc<dyn Conn>, rules: &ShardRoutingRules, sent: Option<&Bytes>) -> Result<()> {
    let write = if rules.rules.is_empty() {
        Write::delete(paths::SHARD_ROUTING_RULES, Expect::Any)
    } else {
        let raw = wire::with_sent(sent, "vschema.ShardRoutingRules", rules);
        Write::put(paths::SHARD_ROUTING_RULES, raw, Expect::Any)
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
    sent: Option<&Bytes>,
    guard: Option<&Lock>,
) -> Result<()> {
    let expect = if guard.is_some() { Expect::Any } else { Expect::Absent };
    let raw = wire::with_sent(sent, "vschema.KeyspaceRoutingRules", rules);
    let write = Write::put(paths::KEYSPACE_ROUTING_RULES, raw, expect);
    global.write_one(write, guard).await.map(|_| ())
}
