use std::sync::Arc;

use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule};
use vtmigrated_proto::topodata::{CellInfo, KeyRange};

use super::*;
use crate::key_range;
use crate::topo::{Dialer, EtcdOptions, cell};

fn alias(cell: &str, uid: u32) -> TabletAlias {
    TabletAlias { cell: cell.into(), uid }
}

async fn put(topo: &Topo, shard: &str, is_primary_serving: bool, primary_alias: Option<TabletAlias>) {
    let key_range = topo::shard::parse_name(shard).unwrap();
    let value = Shard { primary_alias, key_range, is_primary_serving, ..Shard::default() };
    topo::shard::create(topo.global(), "ks", shard, &value, None).await.unwrap();
}

async fn cluster() -> Topo {
    let topo = Topo::open(Arc::new(Dialer::new(EtcdOptions::default())), "memory", "m", "/global").await.unwrap();
    let zone1 = CellInfo { server_address: "zone1".into(), root: "/zone1".into() };
    cell::create(topo.global(), "zone1", &zone1, None).await.unwrap();
    topo.global().create("cells/zone9/CellInfo", vec![0xff]).await.unwrap();
    for (uid, hostname) in [(1, "h"), (2, "h"), (3, "h"), (4, "")] {
        let alias = alias("zone1", uid);
        let path = paths::tablet(&alias);
        let tablet = Tablet { alias: Some(alias), hostname: hostname.into(), ..Tablet::default() };
        topo.cell("zone1").await.unwrap().create(&path, prost::Message::encode_to_vec(&tablet)).await.unwrap();
    }
    topo.cell("zone1").await.unwrap().create(&paths::tablet(&alias("zone1", 78)), vec![0xff]).await.unwrap();
    put(&topo, "-80", true, Some(alias("zone1", 1))).await;
    topo
}

fn names(keyspace: &Keyspace) -> Vec<&str> {
    keyspace.shards.iter().map(|shard| shard.name.as_str()).collect()
}

#[tokio::test]
async fn shards_that_nobody_uses_are_not_asked() {
    let topo = cluster().await;
    put(&topo, "80-", true, Some(alias("zone1", 2))).await;
    // being resharded into: it has a primary, and may have streams
    put(&topo, "80-c0", false, Some(alias("zone1", 3))).await;
    // made for later, overlapping ones said to serve, one whose primary's record is gone, one in a cell out of reach
    put(&topo, "c0-", false, None).await;
    put(&topo, "a0-", true, None).await;
    put(&topo, "0", true, None).await;
    put(&topo, "c0-e0", false, Some(alias("zone1", 77))).await;
    put(&topo, "e0-", false, Some(alias("zone9", 1))).await;
    // left over from a reshard, its tablets shut down
    put(&topo, "80-a0", false, Some(alias("zone1", 4))).await;
    let keyspace = Keyspace::load(&topo, "ks").await.unwrap();
    assert_eq!(names(&keyspace), ["-80", "80-", "80-c0"]);
    assert_eq!(keyspace.primaries().unwrap().len(), 3);
    let serving = topo::shard::serving(topo::shard::all(topo.global(), "ks").await.unwrap());
    let serving: Vec<&str> = serving.iter().map(topo::shard::name).collect();
    assert_eq!(serving, ["-80", "80-"]);
}

#[tokio::test]
async fn a_shard_that_is_needed_is_missed_whatever_its_primary_lacks() {
    for (primary, text) in [
        (None, "shard has no primary: 80-"),
        (Some(alias("zone1", 77)), "node doesn't exist: /zone1/tablets/zone1-0000000077/Tablet"),
        (Some(alias("zone9", 1)), "the primary of shard 80- is in a cell that is out of reach: "),
        (
            Some(alias("zone1", 78)),
            "the primary of shard 80- has a record that cannot be decoded: \
             bad topology data at /zone1/tablets/zone1-0000000078/Tablet: ",
        ),
    ] {
        let topo = cluster().await;
        put(&topo, "80-", true, primary).await;
        let keyspace = Keyspace::load(&topo, "ks").await.unwrap();
        assert_eq!(names(&keyspace), ["-80", "80-"]);
        let error = keyspace.primaries().err().unwrap().to_string();
        assert!(error.starts_with(text), "{error}");
        let ranges: Vec<Option<&KeyRange>> = keyspace.shards.iter().map(TargetShard::range).collect();
        assert!(key_range::partition(ranges).is_ok());
    }
}

#[test]
fn streams_of_several_mounts_disagree() {
    let from = |mount: &str| {
        let rule = Rule { r#match: "t".into(), ..Rule::default() };
        let bls = BinlogSource {
            keyspace: "commerce".into(),
            shard: "0".into(),
            external_cluster: mount.into(),
            filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
            ..BinlogSource::default()
        };
        let stream = Stream { bls: Some(bls), ..Stream::default() };
        let found = Found { workflow: "import".into(), streams: vec![stream], ..Found::default() };
        ShardWorkflow { shard: 0, found }
    };
    let of = |mounts: [&str; 2]| origin("customer", &mounts.map(from).iter().collect::<Vec<_>>());
    assert_eq!(of(["ext1", "ext1"]).unwrap().mount, "ext1");
    let error = of(["ext1", "ext2"]).unwrap_err();
    assert_eq!(error.to_string(), "source clusters are mismatched across streams: ext1 vs ext2");
    let help = crate::error::Explain::help(&error);
    assert!(help.ends_with("see: Workflow --keyspace customer show --workflow import"), "{help}");
}

fn primary_since(uid: u32, seconds: Option<i64>) -> Tablet {
    let primary_term_start_time =
        seconds.map(|seconds| vtmigrated_proto::vttime::Time { seconds, ..Default::default() });
    Tablet {
        alias: Some(alias("zone1", uid)),
        keyspace: "ks".into(),
        shard: "0".into(),
        r#type: TabletType::Primary.into(),
        primary_term_start_time,
        ..Tablet::default()
    }
}

/// As in the middle of an EmergencyReparentShard; and what is left of one that went on.
#[test]
fn a_tablet_that_became_primary_after_the_one_of_the_shards_record_is_seen() {
    let shard = |of_record: Option<i64>, of_tablet: Option<i64>| {
        let primary = primary_since(1, of_tablet);
        let value = Shard {
            primary_alias: primary.alias.clone(),
            primary_term_start_time: primary_since(1, of_record).primary_term_start_time,
            ..Shard::default()
        };
        let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 1, created: 1 };
        TargetShard { name: "0".into(), record, primary: Some(primary), missing: String::new(), unread: None }
    };
    let replica = Tablet { r#type: TabletType::Replica.into(), ..primary_since(3, Some(90)) };
    let elsewhere = [("ks", "80-"), ("other", "0")].map(|(keyspace, shard)| Tablet {
        keyspace: keyspace.into(),
        shard: shard.into(),
        ..primary_since(4, Some(90))
    });
    let later = |shard: &TargetShard, term: Option<i64>| {
        let [one, another] = elsewhere.clone();
        let tablets = [primary_since(1, Some(50)), primary_since(2, term), replica.clone(), one, another];
        shard.later_primary(&tablets).map(|error| error.to_string())
    };
    let told = "shard 0 is being reparented: its record names zone1-0000000001 as the primary, and zone1-0000000002 says that \
                it became primary later";
    for since in [(Some(10), None), (None, Some(10)), (Some(10), Some(5)), (Some(5), Some(10))] {
        let shard = shard(since.0, since.1);
        assert_eq!(later(&shard, Some(11)).as_deref(), Some(told));
        assert_eq!((later(&shard, Some(10)), later(&shard, Some(9)), later(&shard, None)), (None, None, None));
    }
    assert_eq!(later(&shard(None, None), Some(1)).as_deref(), Some(told));
    assert_eq!(later(&shard(None, None), None), None);
}
