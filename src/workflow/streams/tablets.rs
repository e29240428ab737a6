//! The tablets of a keyspace's shards.

use std::collections::BTreeMap;

use vtmigrated_proto::topodata::{Tablet, TabletAlias};

use super::{Keyspace, KeyspaceTablets};
use crate::tablet;
use crate::topo::{self, paths};

/// Every tablet of each shard that has a hostname, by the shards' replication graphs, primaries included; the key is the shard: one
/// wave.
pub(super) async fn of(
    keyspace: &Keyspace,
    graphs: &BTreeMap<String, Vec<TabletAlias>>,
) -> BTreeMap<String, Vec<Tablet>> {
    let replicas: Vec<TabletAlias> = graphs.values().flatten().cloned().collect();
    let others = topo::tablet::reachable(&keyspace.cells, &replicas).await.tablets;
    let mut tablets: BTreeMap<String, Vec<Tablet>> = BTreeMap::new();
    for shard in &keyspace.shards {
        let mut all: BTreeMap<String, Tablet> = BTreeMap::new();
        let known = graphs.get(&shard.name).into_iter().flatten();
        let replicas = known.filter_map(|alias| others.get(&paths::alias_text(alias)).cloned());
        for tablet in replicas.chain(shard.primary.clone()).filter(|t| !t.hostname.is_empty()) {
            all.insert(tablet::alias(&tablet), tablet);
        }
        tablets.insert(shard.name.clone(), all.into_values().collect());
    }
    tablets
}

impl KeyspaceTablets {
    /// [`Self::tablets`] as they are now, but for the primaries' records: two waves.
    pub async fn tablets_now(&self) -> BTreeMap<String, Vec<Tablet>> {
        let Keyspace { name, cells, shards, .. } = &self.keyspace;
        let names: Vec<&str> = shards.iter().map(|shard| shard.name.as_str()).collect();
        let graphs = topo::tablet::replication(cells, name, &names).await;
        of(&self.keyspace, &graphs).await
    }
}
