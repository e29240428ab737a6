//! Shards with their tablets, as the topology has them.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use vtmigrated_proto::topodata::{Shard, ShardReplication, Tablet, TabletAlias};

use crate::cluster::{Error, Result, shard as shards, tablet};
use crate::context::Context;
use crate::topo::{self, Cells, Record, paths, shard};

/// A shard and the aliases that its record and its replication graphs name, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub keyspace: String,
    pub name: String,
    pub record: Shard,
    pub aliases: Vec<TabletAlias>,
    /// A cell could not be read.
    pub partial: Option<topo::Error>,
}

/// Cell, keyspace and shard of a replication graph.
type Key = (String, String, String);

/// Replication graphs that were read, also those that could not be.
#[derive(Default)]
pub(super) struct Graphs(BTreeMap<Key, topo::Result<Option<ShardReplication>>>);

/// Shards with their tablets.
#[derive(Default)]
pub(super) struct Fleet {
    pub shards: Vec<View>,
    pub graphs: Graphs,
    /// By alias.
    pub tablets: BTreeMap<String, Tablet>,
}

impl View {
    /// The primary that the shard's record names.
    pub fn primary(&self) -> Option<&TabletAlias> {
        self.record.primary_alias.as_ref().filter(|alias| !alias.cell.is_empty())
    }

    /// `<keyspace>/<shard>`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.keyspace, self.name)
    }
}

impl Fleet {
    /// The shards of one keyspace with their tablets: two waves.
    pub async fn read(cells: &Cells, keyspace: &str, found: Vec<(String, Shard)>) -> Self {
        let shards = found.into_iter().map(|(name, record)| (keyspace.to_owned(), name, record)).collect();
        let mut fleet = Self::without_tablets(cells, shards).await;
        let aliases: Vec<TabletAlias> = fleet.shards.iter().flat_map(|view| view.aliases.clone()).collect();
        let (tablets, _) = tablet::read(cells, &aliases).await;
        fleet.tablets = tablets.into_iter().map(|tablet| (crate::tablet::alias(&tablet), tablet)).collect();
        fleet
    }

    /// Shards with the aliases of their tablets: one wave.
    pub async fn without_tablets(cells: &Cells, shards: Vec<(String, String, Shard)>) -> Self {
        let mut graphs = Graphs::default();
        let keys = cells.names().flat_map(|cell| {
            shards.iter().map(|(keyspace, name, _)| (cell.to_owned(), keyspace.clone(), name.clone()))
        });
        graphs.add(cells, keys.collect()).await;
        let views = shards.into_iter().map(|(keyspace, name, record)| graphs.view(cells, keyspace, name, record));
        Self { shards: views.collect(), graphs, tablets: BTreeMap::new() }
    }

    /// The record of a tablet.
    ///
    /// # Errors
    /// That there is none.
    pub fn tablet(&self, cells: &Cells, alias: &TabletAlias) -> topo::Result<&Tablet> {
        match self.tablets.get(&paths::alias_text(alias)) {
            Some(tablet) => Ok(tablet),
            None => Err(topo::Error::NoNode(cells.conn(&alias.cell)?.full(&paths::tablet(alias)))),
        }
    }
}

impl Graphs {
    /// Reads those that were not read yet: one wave over all cells.
    pub async fn add(&mut self, cells: &Cells, wanted: BTreeSet<Key>) {
        let mut by_cell: BTreeMap<String, Vec<Key>> = BTreeMap::new();
        for key in wanted.into_iter().filter(|key| !self.0.contains_key(key)) {
            by_cell.entry(key.0.clone()).or_default().push(key);
        }
        let reads = by_cell.into_iter().map(|(cell, keys)| async move {
            let read = read(cells, &cell, &keys).await;
            (keys, read)
        });
        for (keys, read) in join_all(reads).await {
            match read {
                Ok(graphs) => self.0.extend(keys.into_iter().zip(graphs.into_iter().map(Ok))),
                Err(error) => {
                    tracing::warn!("cannot read replication graphs: {error}");
                    self.0.extend(keys.into_iter().map(|key| (key, Err(error.clone()))));
                }
            }
        }
    }

    /// One that was read.
    pub fn get(&self, key: &Key) -> topo::Result<Option<&ShardReplication>> {
        match self.0.get(key) {
            Some(Ok(graph)) => Ok(graph.as_ref()),
            Some(Err(error)) => Err(error.clone()),
            None => Ok(None),
        }
    }

    fn view(&self, cells: &Cells, keyspace: String, name: String, record: Shard) -> View {
        let primary = record.primary_alias.iter().filter(|alias| cells.conn(&alias.cell).is_ok());
        let mut aliases: BTreeMap<(String, u32), TabletAlias> =
            primary.map(|alias| ((alias.cell.clone(), alias.uid), alias.clone())).collect();
        let mut partial = None;
        for cell in cells.names() {
            match self.get(&(cell.to_owned(), keyspace.clone(), name.clone())) {
                Ok(graph) => {
                    let found =
                        graph.iter().flat_map(|graph| &graph.nodes).filter_map(|node| node.tablet_alias.as_ref());
                    aliases.extend(found.map(|alias| ((alias.cell.clone(), alias.uid), alias.clone())));
                }
                Err(_) => partial = Some(topo::Error::PartialResult(name.clone())),
            }
        }
        View { keyspace, name, record, aliases: aliases.into_values().collect(), partial }
    }
}

async fn read(cells: &Cells, cell: &str, keys: &[Key]) -> topo::Result<Vec<Option<ShardReplication>>> {
    let conn = cells.conn(cell)?;
    let wanted = keys.iter().map(|(_, keyspace, name)| paths::shard_replication(keyspace, name)).collect();
    let nodes = conn.get_many(wanted).await?;
    let decode = |node| Ok(Record::<ShardReplication>::decode(node, conn)?.value);
    nodes.into_iter().map(|node| node.map(decode).transpose()).collect()
}

/// The records of the named shards, or of all, ascending by name: one round trip.
///
/// # Errors
/// Bad names, and a keyspace that is not there when none is named.
pub(super) async fn records(
    context: &Context,
    keyspace: &str,
    names: &[String],
) -> Result<Vec<(String, topo::Result<Shard>)>> {
    paths::check_name(keyspace)?;
    if names.is_empty() {
        let found = shards::records(context, keyspace).await?;
        return Ok(found.into_iter().map(|record| (shard::name(&record).to_owned(), Ok(record.value))).collect());
    }
    names.iter().try_for_each(|name| shard::parse_name(name).map(|_| ()))?;
    let names: BTreeSet<&String> = names.iter().collect();
    let global = context.topo.global();
    let wanted: Vec<String> = names.iter().map(|name| paths::shard(keyspace, name)).collect();
    let nodes = global.get_many(wanted.clone()).await?;
    let decode = |(path, node): (String, Option<topo::Node>)| match node {
        Some(node) => Ok(Record::<Shard>::decode(node, global)?.value),
        None => Err(topo::Error::NoNode(global.full(&path))),
    };
    Ok(names.into_iter().cloned().zip(wanted.into_iter().zip(nodes).map(decode)).collect())
}

/// The text of a failure to list a keyspace's shards; other errors are bad requests.
pub(super) fn listing_failed(keyspace: &str, error: Error) -> Result<String> {
    match error {
        Error::Topo(error) if !matches!(error.root(), topo::Error::BadName(_)) => {
            Ok(format!("TopologyServer.GetShardNames({keyspace}) failed: {error}"))
        }
        other => Err(other),
    }
}
