//! A source cluster and a target cluster with integration tablets, driven through their tablet managers.

use std::{sync::Arc, time::Duration};

use integration::{
    cluster::Cluster,
    tablet::{engine::Tuning, options::Options, run::Tablet},
};
use mysql_async::prelude::{FromRow, Queryable};
use tokio::{net::TcpListener, time::sleep};
use tonic::transport::Channel;
use vtmigrated::topo::{Dialer, EtcdOptions, Expect, Topo, Write, external_cluster, paths};
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowState as State},
    query::QueryResult,
    tabletmanagerdata as data,
    tabletmanagerservice::tablet_manager_client::TabletManagerClient,
    topodata::{TabletType, TopoConfig},
    vschema,
};

pub type Manager = TabletManagerClient<Channel>;

/// `commerce/0` as the mount `ext1` of a cluster with `customer/-80,80-`.
pub struct Pair {
    pub source: Cluster,
    pub target: Cluster,
    pub source_tablet: Tablet,
    source_global: Arc<Topo>,
}

impl Pair {
    /// Clusters with the source tablet running; target tablets are started by the tests.
    pub async fn start() -> Self {
        let (source, target) = tokio::join!(
            Cluster::new("zone1").keyspace("commerce", &["0"]).first_uid(1100).start(),
            Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).first_uid(2100).start()
        );
        let (source, target) = (source.unwrap(), target.unwrap());
        let source_global = Arc::new(topo(&source).await);
        put_vindex(&source_global).await;
        let config =
            TopoConfig { topo_type: "etcd2".into(), server: source.etcd().address(), root: "/vitess/global".into() };
        external_cluster::create(topo(&target).await.global(), "ext1", config).await.unwrap();
        let source_tablet = start(&source, "commerce", "0").await;
        Self { source, target, source_tablet, source_global }
    }

    pub async fn start_target(&self, shard: &str) -> Tablet {
        start(&self.target, "customer", shard).await
    }

    pub async fn on_source(&self, sql: &str) {
        self.source.run("commerce", sql).await.unwrap();
    }

    pub async fn source_position(&self) -> String {
        let mut manager = manager(&self.source_tablet).await;
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
    let keyspace = cluster.shard("customer", shard).map(|shard| shard.db_name.clone()).unwrap();
    format!("_{keyspace}")
}

/// Waiting times short enough for tests.
pub fn tuning() -> Tuning {
    Tuning { retry_delay: Duration::from_millis(300), picker_delay: Duration::from_millis(400), ..Tuning::default() }
}

pub async fn start(cluster: &Cluster, keyspace: &str, shard: &str) -> Tablet {
    let record = cluster.shard(keyspace, shard).unwrap();
    let port = cluster.mysqld().unwrap().port();
    let mut options = Options::new("zone1", record.alias.uid, keyspace, shard, port);
    options.db_name.clone_from(&record.db_name);
    options.sidecar_db = format!("_{}", record.db_name);
    options.topo_global_server = cluster.etcd().address();
    if shard.contains('-') {
        options.key_range = Some(vtmigrated::key_range::parse(shard).unwrap());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Tablet::start_tuned(options, tuning(), listener).await.unwrap()
}

pub async fn manager(tablet: &Tablet) -> Manager {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{}", tablet.port())).unwrap();
    TabletManagerClient::new(endpoint.tcp_nodelay(true).connect().await.unwrap())
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
