//! A test cluster has the records that a stock one has, and its tablets die and come back one by one.

use integration::cluster::Cluster;
use prost::Message;
use vtmigrated_proto::topodata::{Shard, Tablet, TabletType};

#[tokio::test]
async fn the_topology_is_laid_out_as_by_stock_programs() {
    let cluster = Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).first_uid(200).replicas(1);
    let cluster = cluster.start().await.unwrap();
    let dump = cluster.etcd().dump("").await.unwrap();
    let keys: Vec<&str> = dump.keys().map(String::as_str).collect();
    let expected = [
        "/vitess/global/cells/zone1/CellInfo",
        "/vitess/global/keyspaces/customer/Keyspace",
        "/vitess/global/keyspaces/customer/shards/-80/Shard",
        "/vitess/global/keyspaces/customer/shards/80-/Shard",
        "/vitess/zone1/keyspaces/customer/SrvKeyspace",
        "/vitess/zone1/keyspaces/customer/shards/-80/ShardReplication",
        "/vitess/zone1/keyspaces/customer/shards/80-/ShardReplication",
        "/vitess/zone1/tablets/zone1-0000000200/Tablet",
        "/vitess/zone1/tablets/zone1-0000000201/Tablet",
        "/vitess/zone1/tablets/zone1-0000000210/Tablet",
        "/vitess/zone1/tablets/zone1-0000000211/Tablet",
    ];
    assert_eq!(keys, expected);

    let shard = Shard::decode(&*dump["/vitess/global/keyspaces/customer/shards/80-/Shard"]).unwrap();
    assert_eq!(shard.primary_alias, Some(cluster.primary("customer", "80-").unwrap().alias()));
    assert_eq!(shard.key_range.unwrap().start, [0x80]);
    assert!(shard.is_primary_serving);
    for tablet in cluster.shards("customer").into_iter().flat_map(|shard| shard.tablets()) {
        let key = format!("/vitess/zone1/tablets/{}/Tablet", tablet.options().alias_text());
        let record = Tablet::decode(&*dump[&key]).unwrap();
        assert_eq!(format!("{}:{}", record.hostname, record.port_map["grpc"]), tablet.address());
        let wanted = if tablet.alias().uid % 10 == 0 { TabletType::Primary } else { TabletType::Replica };
        assert_eq!(record.r#type(), wanted);
    }
    cluster.finish().await.unwrap();
}

#[tokio::test]
async fn a_killed_tablet_comes_back_where_it_was() {
    let cluster = Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).start().await.unwrap();
    cluster.run("customer", "CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let (low, high) = (cluster.primary("customer", "-80").unwrap(), cluster.primary("customer", "80-").unwrap());
    low.execute("INSERT INTO t VALUES (1)").await.unwrap();
    let address = low.address();
    low.kill().await;
    assert!(low.execute("SELECT id FROM t").await.is_err());
    high.execute("INSERT INTO t VALUES (2)").await.unwrap();
    low.restart().await.unwrap();
    assert_eq!(low.address(), address);
    assert_eq!(low.execute("SELECT id FROM t").await.unwrap().rows[0].values, b"1");
    assert_eq!(cluster.table("customer", "t").await.unwrap().rows.len(), 2);
    cluster.finish().await.unwrap();
}
