//! Two clusters in memory whose tablets keep diffs.

use std::collections::BTreeMap;

use prost::Message;
use vtmigrated::topo::{Conn, Expect, Topo, Write, paths};
use vtmigrated_proto::tabletmanagerdata::VDiffResponse;
use vtmigrated_proto::topodata::{
    self, CellInfo, ExternalVitessCluster, ShardReplication, TabletType, TopoConfig, shard_replication,
};
use vtmigrated_proto::vtctldata::VDiffShowRequest;
use vtmigrated_proto::vttime::Time;

use crate::support::vdiff_tablet::{Diff, DiffTablet, stream};
use crate::support::{Lab, tablet};

/// A target of two shards with a workflow that reads from a mounted cluster of one shard.
pub struct Rig {
    pub lab: Lab,
    /// Primaries of -80 and 80-.
    pub primaries: [DiffTablet; 2],
    /// Primary and replica of the source.
    pub source: [DiffTablet; 2],
}

impl Rig {
    /// Nothing has been asked yet.
    pub async fn start() -> Self {
        let mut lab = Lab::with_keyspace("customer", &["-80", "80-"]).await;
        let primaries = [DiffTablet::default(), DiffTablet::default()];
        for ((shard, uid), primary) in [("-80", 1000), ("80-", 1100)].into_iter().zip(&primaries) {
            primary.set(|c| {
                c.alias = format!("zone1-{uid:010}");
                c.workflow = "import".into();
                c.streams = vec![stream(1, "ext1", "commerce", "0")];
            });
            let port = primary.start().await;
            lab.add_tablet(&tablet("zone1", uid, "customer", shard, TabletType::Primary, port)).await;
        }
        let source = mount(&lab).await;
        Self { lab, primaries, source }
    }

    /// Adds a replica to each target shard.
    pub async fn with_replicas(mut self) -> Self {
        self.add_replicas().await;
        self
    }

    /// The same; answers them.
    pub async fn add_replicas(&mut self) -> [DiffTablet; 2] {
        let replicas = [DiffTablet::default(), DiffTablet::default()];
        for ((shard, uid), replica) in [("-80", 1001), ("80-", 1101)].into_iter().zip(&replicas) {
            let port = replica.start().await;
            self.lab.add_tablet(&tablet("zone2", uid, "customer", shard, TabletType::Replica, port)).await;
        }
        replicas
    }

    /// Replaces the source's shard by others, whose primaries are at a position.
    pub async fn add_source_shards(&mut self, shards: &[&str], position: &str) {
        let topo = source_topology(&self.lab).await;
        let conn = topo.cell("src1").await.unwrap();
        put(topo.global(), paths::shard("commerce", "0"), topodata::Shard::default()).await;
        for (uid, shard) in (200..).zip(shards) {
            let fake = DiffTablet::default();
            fake.set(|c| c.position = position.to_owned());
            let record = tablet("src1", uid, "commerce", shard, TabletType::Primary, fake.start().await);
            let alias = record.alias.clone().unwrap();
            put(&conn, paths::tablet(&alias), record).await;
            let record = topodata::Shard {
                primary_alias: Some(alias),
                key_range: vtmigrated::topo::shard::parse_name(shard).unwrap(),
                is_primary_serving: true,
                ..topodata::Shard::default()
            };
            put(topo.global(), paths::shard("commerce", shard), record).await;
        }
    }

    /// The source's shard 0 is said to serve, and has no primary.
    pub async fn left_over_source_shard(&self) {
        let record = topodata::Shard { is_primary_serving: true, ..topodata::Shard::default() };
        put(source_topology(&self.lab).await.global(), paths::shard("commerce", "0"), record).await;
    }

    /// Writes in the record of a source tablet, the primary or the replica, since when it is the primary of its shard, whose
    /// record stays as it is.
    pub async fn source_is_primary_since(&self, at: usize, seconds: i64) {
        let (cell, uid) = [("src1", 100), ("src2", 101)][at];
        let conn = source_topology(&self.lab).await.cell(cell).await.unwrap();
        let path = paths::tablet(&topodata::TabletAlias { cell: cell.into(), uid });
        let mut record = topodata::Tablet::decode(conn.get(&path).await.unwrap().value).unwrap();
        record.r#type = TabletType::Primary.into();
        record.primary_term_start_time = Some(Time { seconds, nanoseconds: 0 });
        put(&conn, path, record).await;
    }

    /// Stores a record in the global topology of the source.
    pub async fn put_in_source(&self, path: &str, record: impl Message) {
        put(source_topology(&self.lab).await.global(), path.to_owned(), record).await;
    }

    /// Diff actions that the primaries were asked for since the last call.
    pub fn taken(&self) -> Vec<Vec<String>> {
        self.primaries.iter().map(DiffTablet::actions).collect()
    }

    /// Gives both primaries a diff.
    pub fn give(&self, diff: &Diff) {
        for primary in &self.primaries {
            primary.set(|c| c.diffs.push(diff.clone()));
        }
    }

    /// The answers of all shards.
    pub async fn show(&mut self, arg: &str) -> Result<BTreeMap<String, VDiffResponse>, tonic::Status> {
        let request =
            VDiffShowRequest { workflow: "import".into(), target_keyspace: "customer".into(), arg: arg.into() };
        let answer = self.lab.client.v_diff_show(request).await?.into_inner();
        let entries: Vec<_> = answer.tablet_responses.into_iter().map(|e| (e.key, e.value.unwrap())).collect();
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
        Ok(entries.into_iter().collect())
    }
}

/// Registers another cluster in memory as ext1: one shard, a primary in the cell src1 and a replica in src2.
async fn mount(lab: &Lab) -> [DiffTablet; 2] {
    let topo = source_topology(lab).await;
    for cell in ["src1", "src2"] {
        let info = CellInfo { server_address: format!("source-{cell}"), root: format!("/vitess/{cell}") };
        put(topo.global(), paths::cell_info(cell), info).await;
    }
    let tablets = [DiffTablet::default(), DiffTablet::default()];
    let kinds = [("src1", 100, TabletType::Primary), ("src2", 101, TabletType::Replica)];
    for ((cell, uid, kind), fake) in kinds.into_iter().zip(&tablets) {
        let record = tablet(cell, uid, "commerce", "0", kind, fake.start().await);
        let conn = topo.cell(cell).await.unwrap();
        let alias = record.alias.clone().unwrap();
        let nodes = vec![shard_replication::Node { tablet_alias: Some(alias.clone()) }];
        put(&conn, paths::shard_replication("commerce", "0"), ShardReplication { nodes }).await;
        put(&conn, paths::tablet(&alias), record).await;
        if kind == TabletType::Primary {
            let record =
                topodata::Shard { primary_alias: Some(alias), is_primary_serving: true, ..topodata::Shard::default() };
            put(topo.global(), paths::shard("commerce", "0"), record).await;
        }
    }
    let topo_config = TopoConfig { topo_type: "memory".into(), server: "source".into(), root: "/vitess/global".into() };
    let record = ExternalVitessCluster { topo_config: Some(topo_config) };
    lab.put(&paths::external_cluster("ext1"), record.encode_to_vec()).await;
    tablets
}

async fn source_topology(lab: &Lab) -> Topo {
    let dialer = std::sync::Arc::clone(lab.topo.dialer());
    Topo::open(dialer, "memory", "source", "/vitess/global").await.unwrap()
}

async fn put(conn: &std::sync::Arc<dyn Conn>, path: String, record: impl Message) {
    conn.write_one(Write::put(path, record.encode_to_vec(), Expect::Any), None).await.unwrap();
}
