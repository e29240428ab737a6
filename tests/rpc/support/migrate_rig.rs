//! A mounted source of one shard, a target of two, both in memory, and the commands of a migration between them.

use prost::Message;
use tonic::Status;
use vtmigrated::context::Options;
use vtmigrated::topo::{self, Expect, Topo, Write, paths};
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{
    CellInfo, ExternalVitessCluster, Keyspace, Shard, ShardReplication, Tablet, TabletType, TopoConfig,
    shard_replication,
};
use vtmigrated_proto::vschema::{self, keyspace};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::{CleanLeftoversRequest, FindLeftoversRequest, Report, VerdictRequest};

use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{Lab, tablet};

pub const SHARDS: [&str; 2] = ["-80", "80-"];

pub struct Rig {
    pub lab: Lab,
    /// Primaries of -80 and 80-.
    pub target: [MigrateTablet; 2],
    pub source: MigrateTablet,
}

impl Rig {
    /// A source with these tables, and an empty target whose vschema has them.
    pub async fn with(tables: &[&str]) -> Self {
        Self::with_options(tables, Options::default()).await
    }

    pub async fn with_options(tables: &[&str], options: Options) -> Self {
        Self::on(Lab::with_keyspace_and(options, "customer", &SHARDS).await, tables).await
    }

    /// The same in a cluster of the test's own, which has the keyspace and its shards.
    pub async fn on(mut lab: Lab, tables: &[&str]) -> Self {
        let target = [MigrateTablet::default(), MigrateTablet::default()];
        for ((shard, uid), primary) in SHARDS.into_iter().zip([1000, 1100]).zip(&target) {
            let port = primary.start().await;
            lab.add_tablet(&tablet("zone1", uid, "customer", shard, TabletType::Primary, port)).await;
        }
        let source = mount(&lab, tables).await;
        let request = ApplyVSchemaRequest {
            keyspace: "customer".into(),
            v_schema: Some(sharded(tables)),
            ..ApplyVSchemaRequest::default()
        };
        lab.client.apply_v_schema(request).await.unwrap();
        Self { lab, target, source }
    }

    /// The same with the tables customer and orders.
    pub async fn start() -> Self {
        Self::with(&["customer", "orders"]).await
    }

    /// `Migrate create`: the text of its traffic line.
    pub async fn create(&self) -> Result<String, Status> {
        self.create_from(TabletType::Primary).await
    }

    /// The same from tablets of another type.
    pub async fn create_from(&self, kind: TabletType) -> Result<String, Status> {
        self.create_in(&["src1"], kind).await
    }

    /// The same, looking for them in these cells.
    pub async fn create_in(&self, cells: &[&str], kind: TabletType) -> Result<String, Status> {
        let request = Self::request(cells, kind);
        Ok(self.lab.client.clone().migrate_create(request).await?.into_inner().traffic_state)
    }

    /// What it asks for.
    pub fn request(cells: &[&str], kind: TabletType) -> MigrateCreateRequest {
        MigrateCreateRequest {
            workflow: "import".into(),
            source_keyspace: "commerce".into(),
            target_keyspace: "customer".into(),
            mount_name: "ext1".into(),
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
            tablet_types: vec![kind.into()],
            all_tables: true,
            on_ddl: "IGNORE".into(),
            defer_secondary_keys: true,
            auto_start: true,
            ..MigrateCreateRequest::default()
        }
    }

    /// The same, and each table gets rows on each shard.
    pub async fn copied(&self) {
        self.create().await.unwrap();
        for primary in &self.target {
            primary.contents().tables.values_mut().for_each(|rows| *rows = 10);
            primary.taken();
        }
    }

    /// `Migrate complete`: its summary.
    pub async fn complete(&self) -> Result<String, Status> {
        Ok(self.complete_as(MoveTablesCompleteRequest::default()).await?.summary)
    }

    pub async fn complete_as(&self, request: MoveTablesCompleteRequest) -> Result<MoveTablesCompleteResponse, Status> {
        let (target_keyspace, workflow) = ("customer".into(), "import".into());
        let request = MoveTablesCompleteRequest { target_keyspace, workflow, ..request };
        Ok(self.lab.client.clone().move_tables_complete(request).await?.into_inner())
    }

    /// `Migrate status`.
    pub async fn status(&self) -> Result<WorkflowStatusResponse, Status> {
        let (keyspace, workflow) = ("customer".into(), "import".into());
        let request = WorkflowStatusRequest { keyspace, workflow, ..WorkflowStatusRequest::default() };
        Ok(self.lab.client.clone().workflow_status(request).await?.into_inner())
    }

    /// `vtmigrated advise verdict`.
    pub async fn verdict(&self) -> Result<Report, Status> {
        let request = VerdictRequest { keyspace: "customer".into(), workflow: "import".into() };
        Ok(self.lab.advisor.clone().verdict(request).await?.into_inner())
    }

    /// `Migrate cancel`.
    pub async fn cancel(&self, keep_data: bool) -> Result<String, Status> {
        self.delete(WorkflowDeleteRequest { keep_data, ..WorkflowDeleteRequest::default() }).await
    }

    pub async fn delete(&self, request: WorkflowDeleteRequest) -> Result<String, Status> {
        let request = WorkflowDeleteRequest { keyspace: "customer".into(), workflow: "import".into(), ..request };
        Ok(self.lab.client.clone().workflow_delete(request).await?.into_inner().summary)
    }

    /// Ids and causes of what is left of dead migrations.
    pub async fn leftovers(&self) -> Vec<(String, String)> {
        let request = FindLeftoversRequest { keyspace: "customer".into() };
        let found = self.lab.advisor.clone().find_leftovers(request).await.unwrap().into_inner().findings;
        found.into_iter().map(|finding| (finding.id, finding.cause)).collect()
    }

    /// Cleans all of it that can be.
    pub async fn clean(&self) {
        let request = CleanLeftoversRequest { keyspace: "customer".into(), keys: Vec::new() };
        let answer = self.lab.advisor.clone().clean_leftovers(request).await.unwrap().into_inner();
        assert!(answer.leftovers.iter().all(|leftover| leftover.kept.is_empty()), "{answer:?}");
    }

    /// The streams go, as by stock's `Workflow delete --keep-data` or by hand.
    pub fn forget_streams(&self) {
        self.target.iter().for_each(|primary| primary.contents().workflows.clear());
    }

    /// The workflow's record.
    pub async fn record(&self) -> Option<serde_json::Value> {
        self.facts(&paths::workflow_record("customer", "import")).await
    }

    /// Changes the record.
    pub async fn set_record(&self, changes: serde_json::Value) {
        self.set_facts(&paths::workflow_record("customer", "import"), changes).await;
    }

    /// The record of its way back.
    pub async fn way_back(&self) -> Option<serde_json::Value> {
        self.facts(&paths::way_back("customer", "import")).await
    }

    /// Changes that record.
    pub async fn set_way_back(&self, changes: serde_json::Value) {
        self.set_facts(&paths::way_back("customer", "import"), changes).await;
    }

    async fn facts(&self, path: &str) -> Option<serde_json::Value> {
        let node = self.lab.topo.global().get(path).await.ok()?;
        Some(serde_json::from_slice(&node.value).unwrap())
    }

    async fn set_facts(&self, path: &str, changes: serde_json::Value) {
        let mut facts = self.facts(path).await.unwrap();
        facts.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.lab.put(path, facts.to_string().into_bytes()).await;
    }

    /// Denied tables of each shard.
    pub async fn denied(&self) -> [Vec<String>; 2] {
        let mut denied = [Vec::new(), Vec::new()];
        for (shard, denied) in SHARDS.into_iter().zip(&mut denied) {
            *denied =
                topo::shard::denied(&topo::shard::get(self.lab.topo.global(), "customer", shard).await.unwrap().value);
            denied.sort();
        }
        denied
    }

    /// Sets the denied tables of both shards.
    pub async fn deny(&self, tables: &[&str]) {
        for shard in SHARDS {
            let mut record = topo::shard::get(self.lab.topo.global(), "customer", shard).await.unwrap().value;
            record.tablet_controls = denying(tables);
            self.lab.put(&paths::shard("customer", shard), record.encode_to_vec()).await;
        }
    }

    /// Asserts that nothing of the workflow is left, and that the tables are these.
    pub async fn expect_clean(&self, tables: &[&str]) {
        assert_eq!(self.source.taken(), Vec::<String>::new(), "the source is only read");
        assert_eq!(self.record().await, None);
        assert_eq!(self.denied().await, [Vec::<String>::new(), Vec::new()]);
        for primary in &self.target {
            assert_eq!(
                (primary.tables(), primary.streams()),
                (tables.iter().map(|t| (*t).to_owned()).collect(), vec![])
            );
        }
        let locks = self.lab.stored().await.into_iter().filter(|node| node.path.contains("/locks/"));
        assert_eq!(locks.map(|node| node.path).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

fn denying(tables: &[&str]) -> Vec<TabletControl> {
    let control = TabletControl {
        tablet_type: TabletType::Primary.into(),
        denied_tables: tables.iter().map(|table| (*table).to_owned()).collect(),
        ..TabletControl::default()
    };
    if tables.is_empty() { vec![] } else { vec![control] }
}

fn sharded(tables: &[&str]) -> vschema::Keyspace {
    let by_id = vschema::ColumnVindex { column: "id".into(), name: "hash".into(), ..Default::default() };
    let table = |name: &&str| keyspace::TablesEntry {
        key: (*name).to_owned(),
        value: Some(vschema::Table { column_vindexes: vec![by_id.clone()], ..Default::default() }),
    };
    let hash = vschema::Vindex { r#type: "hash".into(), ..Default::default() };
    vschema::Keyspace {
        sharded: true,
        vindexes: vec![keyspace::VindexesEntry { key: "hash".into(), value: Some(hash) }],
        tables: tables.iter().map(table).collect(),
        ..Default::default()
    }
}

impl Rig {
    /// The source's topology.
    pub async fn source_topology(&self) -> Topo {
        let dialer = std::sync::Arc::clone(self.lab.topo.dialer());
        Topo::open(dialer, "memory", "source", "/vitess/global").await.unwrap()
    }

    /// Replaces the source's shard by two, each with a primary that has the same tables.
    pub async fn part_source(&self) -> [MigrateTablet; 2] {
        let tables = self.source.tables();
        let parts = [MigrateTablet::default(), MigrateTablet::default()];
        for ((shard, uid), part) in SHARDS.into_iter().zip([200, 300]).zip(&parts) {
            tables.iter().for_each(|table| part.fill(table, 10));
            let port = part.start().await;
            self.add_source_tablet(&tablet("src1", uid, "commerce", shard, TabletType::Primary, port)).await;
        }
        self.put_in_source(&paths::shard("commerce", "0"), Shard::default().encode_to_vec()).await;
        parts
    }

    /// Stores a record in the global topology of the source.
    pub async fn put_in_source(&self, path: &str, value: Vec<u8>) {
        let source = self.source_topology().await;
        source.global().write_one(Write::put(path, value, Expect::Any), None).await.unwrap();
    }

    /// Denied tables of a shard of the source.
    pub async fn source_denied(&self, shard: &str) -> Vec<String> {
        let source = self.source_topology().await;
        let record = topo::shard::get(source.global(), "commerce", shard).await.unwrap().value;
        let mut denied = topo::shard::denied(&record);
        denied.sort();
        denied
    }

    /// Sets the denied tables of the source's shard.
    pub async fn deny_source(&self, tables: &[&str]) {
        self.deny_source_on("0", tables).await;
    }

    /// The same of another one that it has.
    pub async fn deny_source_on(&self, shard: &str, tables: &[&str]) {
        let source = self.source_topology().await;
        let mut record = topo::shard::get(source.global(), "commerce", shard).await.unwrap().value;
        record.tablet_controls = denying(tables);
        self.put_in_source(&paths::shard("commerce", shard), record.encode_to_vec()).await;
    }

    /// The mount leads to another cluster from now on: what it was.
    pub async fn mount_elsewhere(&self) -> Vec<u8> {
        let path = paths::external_cluster("ext1");
        let kept = self.lab.topo.global().get(&path).await.unwrap().value;
        let elsewhere = TopoConfig { topo_type: "memory".into(), server: "elsewhere".into(), root: "/r".into() };
        let record = ExternalVitessCluster { topo_config: Some(elsewhere) };
        self.lab.put(&path, record.encode_to_vec()).await;
        kept.to_vec()
    }

    /// Adds a tablet to the source, a primary also to its shard's record.
    pub async fn add_source_tablet(&self, tablet: &Tablet) {
        let topo = self.source_topology().await;
        let alias = tablet.alias.clone().unwrap();
        let conn = topo.cell(&alias.cell).await.unwrap();
        let path = paths::shard_replication(&tablet.keyspace, &tablet.shard);
        let graph = conn.get(&path).await.map(|node| ShardReplication::decode(node.value).unwrap());
        let mut graph = graph.unwrap_or_default();
        graph.nodes.push(shard_replication::Node { tablet_alias: Some(alias.clone()) });
        let writes = vec![
            Write::put(paths::tablet(&alias), tablet.encode_to_vec(), Expect::Any),
            Write::put(path, graph.encode_to_vec(), Expect::Any),
        ];
        conn.write(writes, None).await.unwrap();
        if tablet.r#type() == TabletType::Primary {
            let record = Shard {
                primary_alias: Some(alias),
                is_primary_serving: true,
                key_range: topo::shard::parse_name(&tablet.shard).unwrap(),
                ..Shard::default()
            };
            let write = Write::put(paths::shard(&tablet.keyspace, &tablet.shard), record.encode_to_vec(), Expect::Any);
            topo.global().write_one(write, None).await.unwrap();
        }
    }
}

/// Registers another cluster in memory as ext1: commerce/0 with a primary in the cell src1.
pub async fn mount(lab: &Lab, tables: &[&str]) -> MigrateTablet {
    let dialer = std::sync::Arc::clone(lab.topo.dialer());
    let topo = Topo::open(dialer, "memory", "source", "/vitess/global").await.unwrap();
    let info = CellInfo { server_address: "source-src1".into(), root: "/vitess/src1".into() };
    let fake = MigrateTablet::default();
    tables.iter().for_each(|table| fake.fill(table, 10));
    let record = tablet("src1", 100, "commerce", "0", TabletType::Primary, fake.start().await);
    let alias = record.alias.clone();
    let shard = Shard { primary_alias: alias.clone(), is_primary_serving: true, ..Shard::default() };
    let records = vec![
        Write::put(paths::cell_info("src1"), info.encode_to_vec(), Expect::Any),
        Write::put(paths::keyspace("commerce"), Keyspace::default().encode_to_vec(), Expect::Any),
        Write::put(paths::vschema("commerce"), vschema::Keyspace::default().encode_to_vec(), Expect::Any),
        Write::put(paths::shard("commerce", "0"), shard.encode_to_vec(), Expect::Any),
    ];
    topo.global().write(records, None).await.unwrap();
    let nodes = vec![shard_replication::Node { tablet_alias: alias.clone() }];
    let of_cell = vec![
        Write::put(paths::tablet(&alias.unwrap()), record.encode_to_vec(), Expect::Any),
        Write::put(paths::shard_replication("commerce", "0"), ShardReplication { nodes }.encode_to_vec(), Expect::Any),
    ];
    topo.cell("src1").await.unwrap().write(of_cell, None).await.unwrap();
    let topo_config = TopoConfig { topo_type: "memory".into(), server: "source".into(), root: "/vitess/global".into() };
    let record = ExternalVitessCluster { topo_config: Some(topo_config) };
    lab.put(&paths::external_cluster("ext1"), record.encode_to_vec()).await;
    fake
}
