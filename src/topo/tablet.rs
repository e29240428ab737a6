//! Tablet records and the replication graph of a cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use vtmigrated_proto::topodata::{ShardReplication, Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vttime::Time;

use super::{Cells, Conn, Error, Node, Record, Result, paths};
use crate::telemetry::metrics;

/// Reads tablets in parallel, one round trip for each cell; missing ones are left out. Keys are alias texts.
pub async fn get_many(cells: &Cells, aliases: &[TabletAlias]) -> Result<BTreeMap<String, Tablet>> {
    let read = of_cells(cells, aliases).await?.into_iter();
    Ok(by_alias(read.map(|(_, record)| record).collect::<Result<Vec<_>>>()?))
}

/// The same, in one cell or several; a record that cannot be decoded holds nothing up.
///
/// # Errors
/// Those of a cell.
pub async fn get_readable(cells: &Cells, aliases: &[TabletAlias]) -> Result<Reached> {
    Ok(Reached::of(of_cells(cells, aliases).await?))
}

/// Records that are there, with their alias texts, and whether each can be decoded.
type Read = Vec<(String, Result<Record<Tablet>>)>;

async fn of_cells(cells: &Cells, aliases: &[TabletAlias]) -> Result<Read> {
    let wanted = by_cell(aliases);
    let reads = wanted.iter().map(|(cell, wanted)| async move { of_cell(cells.conn(cell)?, wanted).await });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// Those of one cell, by alias text and path: one round trip.
async fn of_cell(conn: &Arc<dyn Conn>, wanted: &BTreeMap<String, String>) -> Result<Read> {
    let nodes = conn.get_many(wanted.values().cloned().collect()).await?;
    let there = wanted.keys().zip(nodes).filter_map(|(alias, node)| Some((alias.clone(), decode(node?, conn))));
    Ok(there.collect())
}

/// Tablets of the cells that can be reached.
#[derive(Debug, Default)]
pub struct Reached {
    /// Keys are alias texts; those without a record are missing.
    pub tablets: BTreeMap<String, Tablet>,
    /// Why a record that exists cannot be decoded; keys are alias texts.
    pub undecodable: BTreeMap<String, Error>,
}

/// The same of the cells that can be reached; a record that cannot be decoded holds nothing up.
pub async fn reachable(cells: &Cells, aliases: &[TabletAlias]) -> Reached {
    let wanted = &by_cell(aliases);
    let asked = cells.ask_all(|name, conn| async move {
        match wanted.get(name) {
            Some(wanted) => of_cell(conn, wanted).await,
            None => Ok(Read::new()),
        }
    });
    Reached::of(asked.await.into_iter().flat_map(|(_, read)| read))
}

impl Reached {
    /// What was read, by alias text.
    fn of(read: impl IntoIterator<Item = (String, Result<Record<Tablet>>)>) -> Self {
        let (mut tablets, mut undecodable) = (Vec::new(), BTreeMap::new());
        for (alias, record) in read {
            match readable(record) {
                Ok(record) => tablets.push(record),
                Err(error) => drop(undecodable.insert(alias, error)),
            }
        }
        Self { tablets: by_alias(tablets), undecodable }
    }
}

/// Paths of tablet records by cell and alias text.
fn by_cell(aliases: &[TabletAlias]) -> BTreeMap<&str, BTreeMap<String, String>> {
    let mut by_cell: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for alias in aliases {
        by_cell.entry(alias.cell.as_str()).or_default().insert(paths::alias_text(alias), paths::tablet(alias));
    }
    by_cell
}

/// A record that is passed over, with a warning, when it could not be decoded.
fn readable<T>(record: Result<T>) -> Result<T> {
    record.inspect_err(|error| tracing::warn!("skipping a record: {error}"))
}

fn by_alias(read: impl IntoIterator<Item = Record<Tablet>>) -> BTreeMap<String, Tablet> {
    let tablets = read.into_iter().map(|record| record.value);
    tablets.filter_map(|tablet| Some((paths::alias_text(tablet.alias.as_ref()?), tablet))).collect()
}

/// A tablet's record; the connection hears of its address, and metrics are told when it is a mounted cluster's.
fn decode(node: Node, conn: &Arc<dyn Conn>) -> Result<Record<Tablet>> {
    let record = Record::<Tablet>::decode(node, conn)?;
    let address = address_of(&record.value, "grpc");
    conn.names_tablet(&address);
    if conn.is_mounted() {
        metrics::mounted_tablet(address);
    }
    Ok(record)
}

/// Reads one tablet.
pub async fn get(cells: &Cells, alias: &TabletAlias) -> Result<Tablet> {
    read(cells.conn(&alias.cell)?, alias).await
}

/// The same over a connection to its cell.
pub async fn read(conn: &Arc<dyn Conn>, alias: &TabletAlias) -> Result<Tablet> {
    Ok(decode(conn.get(&paths::tablet(alias)).await?, conn)?.value)
}

/// All tablet records of one cell, ascending by alias.
pub async fn in_cell(cells: &Cells, cell: &str) -> Result<Vec<Record<Tablet>>> {
    listed(cells, cell).await?.into_iter().collect()
}

/// The same, and why the first record that cannot be decoded is not among them.
pub async fn readable_in_cell(cells: &Cells, cell: &str) -> Result<(Vec<Record<Tablet>>, Option<Error>)> {
    let (mut tablets, mut unread) = (Vec::new(), None);
    for record in listed(cells, cell).await? {
        match readable(record) {
            Ok(record) => tablets.push(record),
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    Ok((tablets, unread))
}

async fn listed(cells: &Cells, cell: &str) -> Result<Vec<Result<Record<Tablet>>>> {
    let conn = cells.conn(cell)?;
    let nodes = conn.list(paths::TABLETS).await?;
    Ok(nodes.into_iter().filter(|node| node.path.ends_with("/Tablet")).map(|node| decode(node, conn)).collect())
}

/// Aliases in the replication graph of some shards, over all cells that can be reached, in parallel; the key is the shard.
pub async fn replication(cells: &Cells, keyspace: &str, shards: &[&str]) -> BTreeMap<String, Vec<TabletAlias>> {
    let asked = cells.ask_all(|_, conn| async move {
        let wanted = shards.iter().map(|shard| paths::shard_replication(keyspace, shard)).collect();
        let nodes = conn.get_many(wanted).await?;
        let graph = |node: Node| Some(readable(Record::<ShardReplication>::decode(node, conn)).ok()?.value);
        Ok(nodes.into_iter().map(|node| node.and_then(graph)).collect::<Vec<_>>())
    });
    let mut found: BTreeMap<String, Vec<TabletAlias>> = BTreeMap::new();
    for (_, graphs) in asked.await {
        for (shard, graph) in shards.iter().zip(graphs) {
            let nodes = graph.map(|g| g.nodes).unwrap_or_default();
            found.entry((*shard).to_owned()).or_default().extend(nodes.into_iter().filter_map(|n| n.tablet_alias));
        }
    }
    found
}

/// The replication graph of a shard in each cell, in parallel; `None` where there is none.
pub async fn replication_records(
    cells: &Cells,
    keyspace: &str,
    shard: &str,
) -> Result<Vec<(String, Option<Record<ShardReplication>>)>> {
    let path = &paths::shard_replication(keyspace, shard);
    let reads = cells.iter().map(|(name, conn)| async move {
        Ok::<_, Error>((name.to_owned(), Record::<ShardReplication>::find(conn, path).await?))
    });
    try_join_all(reads).await
}

/// When a term as primary began, to be compared: seconds and nanoseconds since the epoch.
pub fn began(term: Option<&Time>) -> Option<(i64, i32)> {
    term.map(|time| (time.seconds, time.nanoseconds))
}

/// True when a tablet was shut down: it took its addresses out of its record, and from Vitess 24 on wrote when.
pub fn is_shut_down(tablet: &Tablet) -> bool {
    let nowhere = tablet.hostname.is_empty() && tablet.mysql_hostname.is_empty() && tablet.port_map.is_empty();
    tablet.tablet_shutdown_time.is_some() || (nowhere && tablet.r#type() != TabletType::Unknown)
}

/// `host:port` of one of a tablet's listeners, named as in its port map.
pub fn address_of(tablet: &Tablet, listener: &str) -> String {
    let port = tablet.port_map.get(listener).copied().unwrap_or_default();
    if tablet.hostname.contains(':') {
        format!("[{}]:{port}", tablet.hostname)
    } else {
        format!("{}:{port}", tablet.hostname)
    }
}
