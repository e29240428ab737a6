//! The first election of a shard, and the calls around it, on real MySQL servers that replicate by themselves.

use std::time::Duration;

use integration::{client::Vtctld, cluster::Cluster, mysqld::Mysqld, server::Server};
use integration_tablet::{Options, Tablet};
use mysql_async::prelude::Queryable;
use tokio::net::TcpListener;
use tonic::Code;
use vtmigrated_proto::{
    topodata::{TabletAlias, TabletType},
    vtctldata::*,
};

fn alias(uid: u32) -> TabletAlias {
    TabletAlias { cell: "zone1".into(), uid }
}

async fn start(cluster: &Cluster, uid: u32, mysqld: &Mysqld) -> Tablet {
    let mut options = Options::new("zone1", uid, "commerce", "0", mysqld.port());
    options.tablet_type = TabletType::Replica;
    options.topo_global_server = cluster.etcd().address();
    Tablet::start(options, TcpListener::bind("127.0.0.1:0").await.unwrap()).await.unwrap()
}

fn elect(uid: u32) -> PlannedReparentShardRequest {
    PlannedReparentShardRequest {
        keyspace: "commerce".into(),
        shard: "0".into(),
        new_primary: Some(alias(uid)),
        ..PlannedReparentShardRequest::default()
    }
}

/// Asks until a value has come through replication.
async fn replicated(mysqld: &Mysqld, sql: &str, wanted: i64) {
    for _ in 0..600 {
        let mut conn = mysqld.connect("").await.unwrap();
        let found: Result<Option<i64>, _> = conn.query_first(sql).await;
        conn.disconnect().await.unwrap();
        if matches!(found, Ok(Some(found)) if found == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{sql} did not become {wanted}");
}

async fn types(client: &mut Vtctld) -> Vec<(u32, TabletType)> {
    let request = GetTabletsRequest { keyspace: "commerce".into(), ..GetTabletsRequest::default() };
    let tablets = client.get_tablets(request).await.unwrap().into_inner().tablets;
    tablets.iter().map(|tablet| (tablet.alias.as_ref().unwrap().uid, tablet.r#type())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_without_a_primary_gets_one_and_the_other_replicates_from_it() {
    let (cluster, one, two) =
        tokio::join!(Cluster::new("zone1").without_tablets().start(), Mysqld::start(), Mysqld::start());
    let (cluster, one, two) = (cluster.unwrap(), one.unwrap(), two.unwrap());
    let tablets = [start(&cluster, 100, &one).await, start(&cluster, 101, &two).await];
    let server = Server::start(&cluster.topo_flags()).await.unwrap();
    let mut client = server.client().await.unwrap();
    let policy = SetKeyspaceDurabilityPolicyRequest { keyspace: "commerce".into(), durability_policy: "none".into() };
    client.set_keyspace_durability_policy(policy).await.unwrap();
    assert_eq!(types(&mut client).await, [(100, TabletType::Replica), (101, TabletType::Replica)]);

    let done = client.planned_reparent_shard(elect(101)).await.unwrap().into_inner();
    assert_eq!(done.promoted_primary, Some(alias(101)));
    let shard = GetShardRequest { keyspace: "commerce".into(), shard_name: "0".into() };
    let record = client.get_shard(shard).await.unwrap().into_inner().shard.unwrap().shard.unwrap();
    assert_eq!(record.primary_alias, Some(alias(101)));
    assert!(record.is_primary_serving && record.primary_term_start_time.is_some());
    assert_eq!(types(&mut client).await, [(100, TabletType::Replica), (101, TabletType::Primary)]);
    replicated(&one, "select count(*) from _vt.reparent_journal where action_name = 'PlannedReparentShard'", 1).await;
    two.run("vt_commerce", "create table t (id int primary key); insert into t values (1), (2)").await.unwrap();
    replicated(&one, "select count(*) from vt_commerce.t", 2).await;
    let refused = one.run("vt_commerce", "insert into t values (3)").await.unwrap_err().to_string();
    assert!(refused.contains("super-read-only"), "{refused}");

    // the same again fixes replicas; another primary is not this program's business
    let mut conn = one.connect("").await.unwrap();
    conn.query_drop("stop slave").await.unwrap();
    conn.disconnect().await.unwrap();
    client.planned_reparent_shard(elect(101)).await.unwrap();
    replicated(&one, "select count(*) from _vt.reparent_journal", 2).await;
    let moved = client.planned_reparent_shard(elect(100)).await.unwrap_err();
    assert_eq!(moved.code(), Code::Unimplemented);

    let request = ShardReplicationPositionsRequest { keyspace: "commerce".into(), shard: "0".into() };
    let positions = client.shard_replication_positions(request).await.unwrap().into_inner();
    let found: Vec<_> = positions.replication_statuses.iter().map(|e| e.value.clone().unwrap().position).collect();
    assert!(found.len() == 2 && found.iter().all(|position| position.starts_with("MySQL56/")), "{found:?}");
    let request = ValidateSchemaKeyspaceRequest { keyspace: "commerce".into(), ..Default::default() };
    let report = client.validate_schema_keyspace(request).await.unwrap().into_inner();
    assert_eq!(report.results, Vec::<String>::new());
    let request = ValidateRequest { ping_tablets: true };
    let report = client.validate(request).await.unwrap().into_inner();
    assert_eq!(report.results, Vec::<String>::new());
    let shards = report.results_by_keyspace[0].value.clone().unwrap().results_by_shard;
    assert_eq!(shards[0].value.clone().unwrap().results, Vec::<String>::new());
    let request = GetFullStatusRequest { tablet_alias: Some(alias(101)) };
    let status = client.get_full_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!((status.tablet_type(), status.read_only), (TabletType::Primary, false));

    for tablet in tablets {
        tablet.stop().await.unwrap();
    }
    cluster.finish().await.unwrap();
}
