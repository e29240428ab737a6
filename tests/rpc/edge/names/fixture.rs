//! A cluster with records of one's own, those of a victim, and another cluster on the same server.

use std::collections::BTreeMap;

use prost::Message;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::topodata::shard::SourceShard;
use vtmigrated_proto::topodata::shard_replication::Node;
use vtmigrated_proto::topodata::{
    CellInfo, CellsAlias, ExternalVitessCluster, Keyspace, Shard, ShardReplication, Tablet, TabletAlias, TabletType,
    TopoConfig,
};
use vtmigrated_proto::vschema::{RoutingRule, RoutingRules};
use vtmigrated_proto::vtctldata::*;

use crate::support::{Lab, tablet};

/// Stands in the records of the other cluster, and nowhere else.
pub const MARK: &str = "planted-mark";

/// Everything that is stored on the server, by full key.
pub type Records = BTreeMap<String, Vec<u8>>;

/// The cluster, and the whole server below it.
pub struct Fixture {
    pub lab: Lab,
}

impl Fixture {
    /// Keyspaces `mine` and `victim` in the cell zone1, mounts and rules, and `/other`.
    pub async fn start() -> Self {
        let mut lab = Lab::empty().await;
        for cell in ["zone1", "victim"] {
            let cell_info = Some(CellInfo { server_address: "test".into(), root: format!("/vitess/{cell}") });
            lab.client.add_cell_info(AddCellInfoRequest { name: cell.into(), cell_info }).await.unwrap();
        }
        for (uid, keyspace) in [(1, "mine"), (9, "victim")] {
            let create = CreateKeyspaceRequest { name: keyspace.into(), ..CreateKeyspaceRequest::default() };
            lab.client.create_keyspace(create).await.unwrap();
            let create = CreateShardRequest {
                keyspace: keyspace.into(),
                shard_name: "0".into(),
                ..CreateShardRequest::default()
            };
            lab.client.create_shard(create).await.unwrap();
            lab.add_tablet(&tablet("zone1", uid, keyspace, "0", TabletType::Primary, 1)).await;
            let mount = ExternalVitessCluster { topo_config: Some(TopoConfig { root: "/x".into(), ..memory() }) };
            lab.put(&paths::external_cluster(keyspace), mount.encode_to_vec()).await;
            lab.put(&paths::cells_alias(keyspace), CellsAlias { cells: vec!["zone1".into()] }.encode_to_vec()).await;
            lab.put(&paths::workflow_record(keyspace, "wf"), b"{}".to_vec()).await;
        }
        lab.client.rebuild_keyspace_graph(rebuild("victim")).await.unwrap();
        let rule = RoutingRule { from_table: "victim".into(), to_tables: vec!["victim".into()] };
        lab.put(paths::ROUTING_RULES, RoutingRules { rules: vec![rule] }.encode_to_vec()).await;
        let fixture = Self { lab };
        let foreign = Keyspace { base_keyspace: MARK.into(), durability_policy: MARK.into(), ..Keyspace::default() };
        let mount = ExternalVitessCluster { topo_config: Some(TopoConfig { root: MARK.into(), ..memory() }) };
        let other = [
            ("other/global/keyspaces/victim/Keyspace", foreign.encode_to_vec()),
            ("other/global/keyspaces/victim/shards/0/Shard", Shard::default().encode_to_vec()),
            ("other/global/ExternalClusters/vitess/victim", mount.encode_to_vec()),
        ];
        fixture.write(other.map(|(path, value)| Write::put(path, value, Expect::Any)).to_vec()).await;
        fixture
    }

    /// Puts names into records of `mine` that lead to a cell of the other cluster, and to a tablet there.
    pub async fn plant(&self) {
        const CELL: &str = "../../../other/global/cells/zone9";
        let alias = TabletAlias { cell: CELL.into(), uid: 1 };
        let info = CellInfo { server_address: "test".into(), root: "/other/zone9".into() };
        let theirs = Tablet { hostname: MARK.into(), ..tablet("zone9", 1, "mine", "0", TabletType::Primary, 1) };
        let shard = Shard {
            primary_alias: Some(alias.clone()),
            is_primary_serving: true,
            source_shards: vec![SourceShard { uid: 1, keyspace: "../victim".into(), ..SourceShard::default() }],
            ..Shard::default()
        };
        let graph = ShardReplication { nodes: vec![Node { tablet_alias: Some(alias) }] };
        let cells = CellsAlias { cells: vec![CELL.into(), "zone1".into()] };
        let planted = [
            ("other/global/cells/zone9/CellInfo", info.encode_to_vec()),
            // what the alias is with its number, below either root
            ("other/global/cells/zone9-0000000001/Tablet", theirs.encode_to_vec()),
            ("other/zone9/tablets/zone9-0000000001/Tablet", theirs.encode_to_vec()),
            ("vitess/global/keyspaces/mine/shards/0/Shard", shard.encode_to_vec()),
            ("vitess/global/cells_aliases/mine/CellsAlias", cells.encode_to_vec()),
            ("vitess/zone1/keyspaces/mine/0/ShardReplication", graph.encode_to_vec()),
        ];
        self.write(planted.map(|(path, value)| Write::put(path, value, Expect::Any)).to_vec()).await;
    }

    /// A name that is as it should be, by the place of its field.
    pub fn good(place: &str) -> String {
        let field = place.rsplit('.').next().unwrap_or_default();
        let name = match field {
            field if field.contains("cell") => "zone1",
            field if field.contains("shard") => "0",
            "topo_type" => "memory",
            "server_address" | "topo_server" | "server" => "test",
            "root" | "topo_root" => "/vitess/mine",
            "path" => "/global/keyspaces/mine/Keyspace",
            "sql" => "alter vschema add table mine",
            "durability_policy" => "none",
            _ => "mine",
        };
        name.to_owned()
    }

    /// True for keys that requests of good names may change.
    pub fn is_mine(key: &str) -> bool {
        !key.starts_with("other/")
            && ["/mine", "zone1-0000000001", "/cells/zone1/"].iter().any(|part| key.contains(part))
    }

    pub async fn records(&self) -> Records {
        self.whole().await.list("").await.unwrap().into_iter().map(|node| (node.path, node.value.to_vec())).collect()
    }

    /// Makes the changed keys what they were.
    pub async fn restore(&self, records: &Records, changed: &[String]) {
        let write = |key: &String| match records.get(key) {
            Some(value) => Write::put(key.clone(), value.clone(), Expect::Any),
            None => Write::delete(key.clone(), Expect::Any),
        };
        self.write(changed.iter().map(write).collect()).await;
    }

    async fn write(&self, writes: Vec<Write>) {
        self.whole().await.write(writes, None).await.unwrap();
    }

    async fn whole(&self) -> std::sync::Arc<dyn vtmigrated::topo::Conn> {
        self.lab.topo.dialer().open("memory", "test", "/").await.unwrap()
    }
}

fn memory() -> TopoConfig {
    TopoConfig { topo_type: "memory".into(), server: "test".into(), root: String::new() }
}

fn rebuild(keyspace: &str) -> RebuildKeyspaceGraphRequest {
    RebuildKeyspaceGraphRequest {
        keyspace: keyspace.into(),
        allow_partial: true,
        ..RebuildKeyspaceGraphRequest::default()
    }
}
