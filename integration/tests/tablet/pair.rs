//! A source cluster and a target cluster with integration tablets, driven through their tablet managers.

use std::{sync::Arc, time::Duration};

use integration::{
    client::TabletManager as Manager,
    cluster::{Cluster, member::Member},
};
use integration_tablet::Tuning;
use mysql_async::prelude::{FromRow, Queryable};
use tokio::time::sleep;
use vtmigrated::topo::{Dialer, EtcdOptions, Expect, Topo, Write, external_cluster, paths};
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowState as State},
    query::QueryResult,
    tabletmanagerdata as data,
    topodata::{TabletType, TopoConfig},
    vschema,
};

/// `commerce/0` as the mount `ext1` of a cluster with `customer/-80,80-`.
pub struct Pair {
    pub source: Cluster,
    pub target: Cluster,
    source_global: Arc<Topo>,
}

impl Pair {
    /// Both clusters with all their tablets.
    pub async fn start() -> Self {
        let (source, target) = tokio::join!(
            Cluster::new("zone1").keyspace("commerce", &["0"]).first_uid(1100).tuning(tuning()).start(),
            Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).first_uid(2100).tuning(tuning()).start()
        );
        let (source, target) = (source.unwrap(), target.unwrap());
        let source_global = Arc::new(topo(&source).await);
        put_vindex(&source_global).await;
        let config =
            TopoConfig { topo_type: "etcd2".into(), server: source.etcd().address(), root: "/vitess/global".into() };
        external_cluster::create(topo(&target).await.global(), "ext1", config).await.unwrap();
        Self { source, target, source_global }
    }

    /// The target tablet of a shard.
    pub fn primary(&self, shard: &str) -> &Member {
        self.target.primary("customer", shard).unwrap()
    }

    /// Ends everything, and looks for what must not be left.
    pub async fn finish(self) {
        self.target.finish().await.unwrap();
        self.source.finish().await.unwrap();
    }

    pub async fn on_source(&self, sql: &str) {
        self.source.run("commerce", sql).await.unwrap();
    }

    pub async fn source_position(&self) -> String {
        let mut manager = self.source.primary("commerce", "0").unwrap().manager().await.unwrap();
        manager.primary_position(data::PrimaryPositionRequest {}).await.unwrap().into_inner().position
    }

    /// Takes the mount's vindex away, or brings it back.
    pub async fn set_vindex(&self, present: bool) {
        if present {
            put_vindex(&self.source_global).await;
        } else {
            put_vschema(&self.source_global, vschema::SrvVSchema::default()).await;
        }
    }

    pub async fn query<T: FromRow + Send + 'static>(&self, shard: &str, sql: &str) -> Vec<T> {
        let mut conn = self.target.shard("customer", shard).unwrap().connect().await.unwrap();
        let rows = conn.query(sql).await.unwrap();
        conn.disconnect().await.unwrap();
        rows
    }

    /// State and message of the newest stream of a shard.
    pub async fn stream(&self, shard: &str) -> (String, String) {
        let sql = format!(
            "select state, ifnull(message, '') from {}.vreplication order by id desc limit 1",
            sidecar(&self.target, shard)
        );
        self.query(shard, &sql).await.remove(0)
    }
}

pub fn sidecar(cluster: &Cluster, shard: &str) -> String {
    cluster.primary("customer", shard).unwrap().options().sidecar_db.clone()
}

/// Waiting times short enough for tests.
pub fn tuning() -> Tuning {
    Tuning { retry_delay: Duration::from_millis(300), picker_delay: Duration::from_millis(400), ..Tuning::default() }
}

/// The request that vtctld sends for a Migrate.
pub fn workflow(shard: &str, rules: &[(&str, &str)]) -> data::CreateVReplicationWorkflowRequest {
    let rules = rules
        .iter()
        .map(|(table, vindex_column)| Rule {
            r#match: (*table).to_owned(),
            filter: format!("select * from {table} where in_keyrange({vindex_column}, 'commerce.hash', '{shard}')"),
            ..Rule::default()
        })
        .collect();
    data::CreateVReplicationWorkflowRequest {
        workflow: "import".into(),
        binlog_source: vec![BinlogSource {
            keyspace: "commerce".into(),
            shard: "0".into(),
            filter: Some(Filter { rules, ..Filter::default() }),
            external_cluster: "ext1".into(),
            ..BinlogSource::default()
        }],
        tablet_types: vec![TabletType::Replica.into(), TabletType::Primary.into()],
        tablet_selection_preference: data::TabletSelectionPreference::Inorder.into(),
        workflow_type: 3,
        options: "{}".into(),
        ..data::CreateVReplicationWorkflowRequest::default()
    }
}

/// The request that vtctld sends to start or stop a workflow.
pub fn set_state(state: State) -> data::UpdateVReplicationWorkflowRequest {
    data::UpdateVReplicationWorkflowRequest {
        workflow: "import".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        on_ddl: Some(-1),
        state: Some(state.into()),
        ..data::UpdateVReplicationWorkflowRequest::default()
    }
}

pub async fn create(manager: &mut Manager, request: data::CreateVReplicationWorkflowRequest) -> QueryResult {
    manager.create_v_replication_workflow(request).await.unwrap().into_inner().result.unwrap()
}

pub async fn update(manager: &mut Manager, request: data::UpdateVReplicationWorkflowRequest) -> Option<QueryResult> {
    manager.update_v_replication_workflow(request).await.unwrap().into_inner().result
}

pub async fn exec(manager: &mut Manager, query: &str) -> QueryResult {
    let request = data::VReplicationExecRequest { query: query.to_owned() };
    manager.v_replication_exec(request).await.unwrap().into_inner().result.unwrap()
}

pub async fn apply_schema(manager: &mut Manager, sql: &str) {
    let request = data::ApplySchemaRequest {
        sql: sql.to_owned(),
        allow_replication: true,
        sql_mode: "NO_AUTO_VALUE_ON_ZERO".into(),
        disable_foreign_key_checks: true,
        ..data::ApplySchemaRequest::default()
    };
    manager.apply_schema(request).await.unwrap();
}

/// Asks again and again until `done`; gives up after two minutes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    for _ in 0..2400 {
        if done().await {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("never seen: {what}");
}

async fn topo(cluster: &Cluster) -> Topo {
    let dialer = Arc::new(Dialer::new(EtcdOptions::default()));
    Topo::open(dialer, "etcd2", &cluster.etcd().address(), "/vitess/global").await.unwrap()
}

async fn put_vindex(topo: &Topo) {
    let vindex = vschema::Vindex { r#type: "hash".into(), ..vschema::Vindex::default() };
    let keyspace = vschema::Keyspace {
        vindexes: vec![vschema::keyspace::VindexesEntry { key: "hash".into(), value: Some(vindex) }],
        ..vschema::Keyspace::default()
    };
    let entry = vschema::srv_v_schema::KeyspacesEntry { key: "commerce".into(), value: Some(keyspace) };
    put_vschema(topo, vschema::SrvVSchema { keyspaces: vec![entry], ..vschema::SrvVSchema::default() }).await;
}

async fn put_vschema(topo: &Topo, record: vschema::SrvVSchema) {
    let cell = topo.cell("zone1").await.unwrap();
    let write = Write::put(paths::SRV_VSCHEMA, prost::Message::encode_to_vec(&record), Expect::Any);
    cell.write_one(write, None).await.unwrap();
}
