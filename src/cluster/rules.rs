//! Routing rules of tables, shards and keyspaces, and mirror rules.

use std::collections::BTreeMap;

use bytes::Bytes;
use vtmigrated_proto::vschema::{
    KeyspaceRoutingRule, KeyspaceRoutingRules, MirrorRules, RoutingRules, ShardRoutingRules,
};

use super::keyspace::finish;
use super::{Error, Result, cell};
use crate::context::Context;
use crate::topo::{self, Cells, paths, routing_rules, srv_vschema};

/// Longest name in a rule, in bytes.
const MAX_NAME: usize = 1024;

/// Whether and where the SrvVSchemas are rebuilt after a change.
#[derive(Clone, Debug, Default)]
pub struct Rebuild {
    pub skip: bool,
    /// All when empty.
    pub cells: Vec<String>,
}

/// The table routing rules.
pub async fn tables(context: &Context) -> Result<RoutingRules> {
    Ok(routing_rules::get(context.topo.global()).await?)
}

/// The shard routing rules.
pub async fn shards(context: &Context) -> Result<ShardRoutingRules> {
    Ok(routing_rules::shard_rules(context.topo.global()).await?)
}

/// The keyspace routing rules; `None` when none were ever stored.
pub async fn keyspaces(context: &Context) -> Result<Option<KeyspaceRoutingRules>> {
    Ok(routing_rules::keyspace_rules(context.topo.global()).await?)
}

/// The mirror rules.
pub async fn mirror(context: &Context) -> Result<MirrorRules> {
    Ok(routing_rules::mirror_rules(context.topo.global()).await?)
}

/// Replaces the table routing rules, with what is not known of them as it was sent.
pub async fn apply_tables(
    context: &Context,
    rules: RoutingRules,
    sent: Option<&Bytes>,
    rebuild: Rebuild,
) -> Result<()> {
    check(rules.rules.iter().flat_map(|rule| rule.to_tables.iter().chain([&rule.from_table])))?;
    let cells = rebuild.cells(context).await.map_err(|error| error.doing(rebuild.doing()))?;
    routing_rules::put(context.topo.global(), &rules, sent).await?;
    rebuild.run(context, cells).await
}

/// Replaces the shard routing rules.
pub async fn apply_shards(
    context: &Context,
    rules: ShardRoutingRules,
    sent: Option<&Bytes>,
    rebuild: Rebuild,
) -> Result<()> {
    check(rules.rules.iter().flat_map(|rule| [&rule.from_keyspace, &rule.to_keyspace, &rule.shard]))?;
    let cells = rebuild.cells(context).await.map_err(|error| error.doing(rebuild.doing()))?;
    routing_rules::put_shard_rules(context.topo.global(), &rules, sent).await?;
    rebuild.run(context, cells).await
}

/// Replaces the keyspace routing rules, under their lock; of two rules for one keyspace the last counts. Answers them as
/// they are stored, ascending by keyspace.
pub async fn apply_keyspaces(
    context: &Context,
    rules: KeyspaceRoutingRules,
    sent: Option<&Bytes>,
    rebuild: Rebuild,
) -> Result<KeyspaceRoutingRules> {
    check(rules.rules.iter().flat_map(|rule| [&rule.from_keyspace, &rule.to_keyspace]))?;
    let cells = rebuild.cells(context).await.map_err(|error| error.doing(rebuild.doing()))?;
    let unique: BTreeMap<String, String> =
        rules.rules.into_iter().map(|rule| (rule.from_keyspace, rule.to_keyspace)).collect();
    let rule = |(from_keyspace, to_keyspace)| KeyspaceRoutingRule { from_keyspace, to_keyspace };
    let rules = KeyspaceRoutingRules { rules: unique.into_iter().map(rule).collect() };
    let global = context.topo.global();
    loop {
        let request = context.lock_request("ApplyKeyspaceRoutingRules").of(paths::ROUTING_RULES_DIR);
        match global.lock(request).await {
            Ok(lock) => {
                let written = routing_rules::put_keyspace_rules(global, &rules, sent, Some(&lock)).await;
                finish(written.map_err(Error::from), lock).await?;
                break;
            }
            // there is nothing to lock before the first rules are stored; who comes second locks
            Err(error) if error.is_no_node() => {
                match routing_rules::put_keyspace_rules(global, &rules, sent, None).await {
                    Err(topo::Error::NodeExists(_)) => {}
                    other => {
                        other?;
                        break;
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    rebuild.run(context, cells).await?;
    Ok(rules)
}

impl Rebuild {
    /// The cells to rebuild, looked up before anything is written.
    pub(super) async fn cells(&self, context: &Context) -> Result<Option<Cells>> {
        if self.skip {
            return Ok(None);
        }
        Ok(Some(cell::select(context, &self.cells).await?))
    }

    async fn run(&self, context: &Context, cells: Option<Cells>) -> Result<()> {
        let Some(cells) = cells else {
            tracing::warn!("skipping the rebuild of SrvVSchema: RebuildVSchemaGraph makes the change take effect");
            return Ok(());
        };
        let rebuilt = srv_vschema::rebuild(context.topo.global(), &cells).await;
        Ok(rebuilt.map_err(|error| error.wrap(self.doing()))?)
    }

    fn doing(&self) -> String {
        format!("RebuildSrvVSchema({}) failed", super::listed(&self.cells))
    }
}

fn check<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<()> {
    for name in names {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(Error::bad_argument("bad routing rule: its names are single lines of 1 to 1024 bytes"));
        }
    }
    Ok(())
}
