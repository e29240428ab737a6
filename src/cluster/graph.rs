//! The replication graph: which tablets of a cell belong to a shard.

use bytes::Bytes;
use vtmigrated_proto::topodata::shard_replication::Node;
use vtmigrated_proto::topodata::shard_replication_error::Type as Problem;
use vtmigrated_proto::topodata::{ShardReplication, ShardReplicationError, TabletAlias};

use super::{Error, Result, cell};
use crate::context::Context;
use crate::topo::{self, Expect, Record, Write, paths, shard, tablet, wire};

const NAME: &str = "topodata.ShardReplication";

/// The replication graph of a shard in the named cells or in all; an empty one where there is none.
pub async fn replication(
    context: &Context,
    keyspace: &str,
    name: &str,
    cells: &[String],
) -> Result<Vec<(String, ShardReplication)>> {
    paths::check_name(keyspace)?;
    shard::parse_name(name)?;
    let named = !cells.is_empty();
    let cells = cell::select(context, cells).await?;
    let mut found = Vec::new();
    for (cell, record) in tablet::replication_records(&cells, keyspace, name).await? {
        match record {
            Some(record) => found.push((cell, record.value)),
            None if named => {
                let path = cells.conn(&cell)?.full(&paths::shard_replication(keyspace, name));
                return Err(topo::Error::NoNode(path).into());
            }
            None => {}
        }
    }
    Ok(found)
}

/// Adds a tablet to the replication graph of a shard in the tablet's cell. What is not known of its alias is stored as it was
/// `sent`.
pub async fn add(
    context: &Context,
    keyspace: &str,
    name: &str,
    alias: &TabletAlias,
    sent: Option<Bytes>,
) -> Result<()> {
    // a node holds nothing but the alias
    let graph = sent.map(|alias| wire::message(1, &wire::message(1, &alias)));
    edit(context, (keyspace, name, &alias.cell), alias, true, graph.as_ref()).await
}

/// Removes a tablet from the replication graph of a shard in a cell.
pub async fn remove(context: &Context, keyspace: &str, name: &str, cell: &str, alias: &TabletAlias) -> Result<()> {
    edit(context, (keyspace, name, cell), alias, false, None).await
}

async fn edit(
    context: &Context,
    (keyspace, name, cell): (&str, &str, &str),
    alias: &TabletAlias,
    present: bool,
    sent: Option<&Bytes>,
) -> Result<()> {
    paths::check_name(keyspace)?;
    shard::parse_name(name)?;
    let conn = context.topo.cell(cell).await?;
    let path = paths::shard_replication(keyspace, name);
    loop {
        let old = Record::<ShardReplication>::find(&conn, &path).await?;
        let nodes = old.as_ref().map(|record| record.value.nodes.clone()).unwrap_or_default();
        let ours = |node: &Node| node.tablet_alias.as_ref() == Some(alias);
        let mut graph = ShardReplication { nodes: nodes.iter().filter(|node| !ours(node)).cloned().collect() };
        let count = nodes.len() - graph.nodes.len();
        if count == usize::from(present) {
            return Ok(());
        }
        if present {
            graph.nodes.push(Node { tablet_alias: Some(alias.clone()) });
        }
        let write = match &old {
            Some(old) => old.over_sent(&conn, NAME, &graph, sent)?,
            None => Write::put(path.clone(), wire::with_sent(sent, NAME, &graph), Expect::Absent),
        };
        match conn.write_one(write, None).await {
            Err(error) if error.is_conflict() => {}
            other => return other.map(|_| ()).map_err(Error::from),
        }
    }
}

/// Removes the first entry of a cell's graph that is wrong: its tablet is not there, or belongs elsewhere. Answers what was
/// wrong, nothing when all is well. Four round trips.
pub async fn fix(context: &Context, keyspace: &str, name: &str, cell: &str) -> Result<Option<ShardReplicationError>> {
    paths::check_name(keyspace)?;
    shard::parse_name(name)?;
    cell::check_name(cell)?;
    let cells = context.topo.cells().await?;
    let graph = Record::<ShardReplication>::get(cells.conn(cell)?, &paths::shard_replication(keyspace, name)).await?;
    let aliases: Vec<TabletAlias> = graph.value.nodes.into_iter().filter_map(|node| node.tablet_alias).collect();
    let known: Vec<TabletAlias> = aliases.iter().filter(|alias| cells.conn(&alias.cell).is_ok()).cloned().collect();
    let found = tablet::get_many(&cells, &known).await?;
    for alias in aliases {
        let problem = match found.get(&paths::alias_text(&alias)) {
            None => Problem::NotFound,
            Some(tablet) if tablet.keyspace != keyspace || tablet.shard != name || alias.cell != cell => {
                Problem::TopologyMismatch
            }
            Some(_) => continue,
        };
        remove(context, keyspace, name, cell, &alias).await?;
        return Ok(Some(ShardReplicationError { r#type: problem.into(), tablet_alias: Some(alias) }));
    }
    Ok(None)
}
