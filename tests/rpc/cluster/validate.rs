//! Checks of the topology, and of schemas, permissions and versions.

use prost::Message;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vschema;
use vtmigrated_proto::vtctldata::*;

use crate::cluster::calls::version_page;
use crate::support::manager::{Calls, Told, sorted, start_told};
use crate::support::{HOSTILE, Lab, assert_refused, tablet};

/// ks with -80 (primary 1, replica 2) and 80- (primary 3); each told what to be.
async fn cluster(calls: &Calls, told: [Told; 3]) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    let tablets = [
        (1, "p1", "-80", TabletType::Primary, "v1"),
        (2, "r1", "-80", TabletType::Replica, "v1"),
        (3, "p2", "80-", TabletType::Primary, "v1"),
    ];
    for ((uid, name, shard, tablet_type, version), told) in tablets.into_iter().zip(told) {
        let port = start_told(name, calls, told).await;
        let mut one = tablet("zone1", uid, "ks", shard, tablet_type, port);
        one.mysql_hostname = "127.0.0.1".into();
        one.port_map.insert("vt".into(), version_page(version).await);
        lab.add_tablet(&one).await;
    }
    lab
}

fn shard(name: &str, ping_tablets: bool) -> ValidateShardRequest {
    ValidateShardRequest { keyspace: "ks".into(), shard: name.into(), ping_tablets }
}

async fn found(lab: &mut Lab, request: ValidateShardRequest) -> Vec<String> {
    lab.client.validate_shard(request).await.unwrap().into_inner().results
}

async fn store(lab: &Lab, tablet: &Tablet) {
    let path = paths::tablet(tablet.alias.as_ref().unwrap());
    lab.cell("zone1").await.write_one(Write::put(path, tablet.encode_to_vec(), Expect::Any), None).await.unwrap();
}

#[tokio::test]
async fn a_sound_cluster_has_no_findings() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Default::default()).await;
    assert_eq!(found(&mut lab, shard("-80", false)).await, Vec::<String>::new());
    assert_eq!(sorted(&calls), Vec::<String>::new());
    assert_eq!(found(&mut lab, shard("-80", true)).await, Vec::<String>::new());
    assert_eq!(sorted(&calls), ["p1 GetReplicas", "p1 Ping", "r1 Ping"]);
    let all = lab.client.validate(ValidateRequest { ping_tablets: false }).await.unwrap().into_inner();
    assert_eq!(all.results, Vec::<String>::new());
    let keyspace = all.results_by_keyspace[0].value.clone().unwrap();
    assert_eq!((all.results_by_keyspace[0].key.as_str(), keyspace.results.len()), ("ks", 0));
    let shards: Vec<_> = keyspace.results_by_shard.iter().map(|e| (e.key.as_str(), e.value.clone().unwrap())).collect();
    assert_eq!(shards, [("-80", ValidateShardResponse::default()), ("80-", ValidateShardResponse::default())]);
}

#[tokio::test]
async fn records_that_disagree_are_found() {
    let mut lab = cluster(&Calls::default(), Default::default()).await;
    // a second primary, a tablet without a record, and one that its own shard's graph does not name
    lab.add_tablet(&tablet("zone1", 7, "ks", "-80", TabletType::Replica, 1)).await;
    lab.cell("zone1").await.remove("tablets/zone1-0000000007/Tablet").await.unwrap();
    let mut second = tablet("zone1", 8, "ks", "-80", TabletType::Replica, 1);
    lab.add_tablet(&second).await;
    second.r#type = TabletType::Primary.into();
    store(&lab, &second).await;
    let mut moved = tablet("zone1", 9, "ks", "-80", TabletType::Replica, 1);
    lab.add_tablet(&moved).await;
    moved.shard = "80-".into();
    store(&lab, &moved).await;
    let missing = "node doesn't exist: /vitess/zone1/tablets/zone1-0000000007/Tablet";
    assert_eq!(
        found(&mut lab, shard("-80", false)).await,
        [
            "tablet zone1-0000000007 not found in map".to_owned(),
            "shard ks/-80 already has primary zone1-0000000001 but found other primary zone1-0000000008".to_owned(),
            format!("topo.Validate(zone1-0000000007) failed: {missing}"),
            "topo.Validate(zone1-0000000009) failed: tablet cell:\"zone1\" uid:9 not found in cell zone1 shard \
             replication: node doesn't exist: cell:\"zone1\" uid:9"
                .to_owned(),
        ]
    );
    let mut other = vtmigrated::topo::shard::get(lab.topo.global(), "ks", "80-").await.unwrap().value;
    other.primary_alias = Some(TabletAlias { cell: "zone1".into(), uid: 2 });
    lab.put(&paths::shard("ks", "80-"), other.encode_to_vec()).await;
    let text = "primary mismatch for shard ks/80-: found zone1-0000000003, expected zone1-0000000002";
    assert_eq!(found(&mut lab, shard("80-", false)).await, [text]);
    let request = ValidateKeyspaceRequest { keyspace: "ks".into(), ping_tablets: false };
    let report = lab.client.validate_keyspace(request).await.unwrap().into_inner();
    let counts: Vec<_> = report.results_by_shard.iter().map(|e| e.value.clone().unwrap().results.len()).collect();
    assert_eq!(counts, [4, 1]);
    let all = lab.client.validate(ValidateRequest { ping_tablets: false }).await.unwrap().into_inner();
    // tablets without a record are in no cell's list
    assert_eq!(all.results.len(), 1, "{:?}", all.results);
    assert!(all.results[0].starts_with("topo.Validate(zone1-0000000009) failed: tablet "));
}

#[tokio::test]
async fn tablets_that_do_not_answer_or_follow_are_found() {
    let told = Told { replicas: vec!["10.1.2.3"], ..Told::default() };
    let mut lab = cluster(&Calls::default(), [told, Told::default(), Told::default()]).await;
    lab.add_tablet(&tablet("zone1", 7, "ks", "-80", TabletType::Spare, 1)).await;
    let results = found(&mut lab, shard("-80", true)).await;
    let mysqls = "replica 10.1.2.3 not in replication graph for shard ks/-80 (mysql instance without vttablet?)";
    assert_eq!(results[0], mysqls);
    let follows = "replica zone1-0000000002 not replicating: 127.0.0.1 replica list: [\"10.1.2.3\"]";
    assert_eq!(results[1], follows);
    assert!(results[2].starts_with("could not resolve IP for tablet : "), "{results:?}");
    assert!(results[3].starts_with("Ping(zone1-0000000007) failed: "), "{results:?}");
    assert!(results[3].ends_with(" tablet hostname: 127.0.0.1"), "{results:?}");
    assert_eq!(results.len(), 4);
}

#[tokio::test]
async fn what_is_not_there_is_a_finding_and_bad_names_are_refused() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let text = "TopologyServer.GetShard(ks, 1) failed: node doesn't exist: /vitess/global/keyspaces/ks/shards/1/Shard";
    assert_eq!(found(&mut lab, shard("1", false)).await, [text]);
    let expected = ["no primary for shard ks/0", "no primary in shard record ks/0"];
    assert_eq!(found(&mut lab, shard("0", true)).await, expected);
    let request = |keyspace: &str| ValidateKeyspaceRequest { keyspace: keyspace.into(), ping_tablets: false };
    let missing = lab.client.validate_keyspace(request("nope")).await.unwrap().into_inner();
    let text = "TopologyServer.GetShardNames(nope) failed: node doesn't exist: /vitess/global/keyspaces/nope/shards/";
    assert_eq!(missing.results, [text]);
    let empty = CreateKeyspaceRequest { name: "empty".into(), ..Default::default() };
    lab.client.create_keyspace(empty).await.unwrap();
    let empty = lab.client.validate_keyspace(request("empty")).await.unwrap().into_inner();
    assert_eq!(empty.results, ["no shards found in keyspace empty"]);
    for name in HOSTILE {
        assert_refused(lab.client.validate_keyspace(request(name)).await, Code::InvalidArgument, "");
        assert_refused(lab.client.validate_shard(shard(name, true)).await, Code::InvalidArgument, "");
        let schema = ValidateSchemaKeyspaceRequest { keyspace: (*name).into(), ..Default::default() };
        assert_refused(lab.client.validate_schema_keyspace(schema).await, Code::InvalidArgument, "");
        let version = ValidateVersionKeyspaceRequest { keyspace: (*name).into() };
        assert_refused(lab.client.validate_version_keyspace(version).await, Code::InvalidArgument, "");
    }
}

fn schemas(shards: &[&str], include_vschema: bool) -> ValidateSchemaKeyspaceRequest {
    ValidateSchemaKeyspaceRequest {
        keyspace: "ks".into(),
        shards: shards.iter().map(|shard| (*shard).to_owned()).collect(),
        include_vschema,
        ..ValidateSchemaKeyspaceRequest::default()
    }
}

#[tokio::test]
async fn schemas_are_compared_with_the_first_primary() {
    let calls = Calls::default();
    let told = Told { tables: vec!["a", "c"], ..Told::default() };
    let broken = Told { fails: vec![("GetSchema", "told to")], ..Told::default() };
    let mut lab = cluster(&calls, [Told::default(), told, broken]).await;
    let report = lab.client.validate_schema_keyspace(schemas(&[], false)).await.unwrap().into_inner();
    let expected = [
        "zone1-0000000001 has an extra table named b",
        "zone1-0000000002 has an extra table named c",
        "GetSchema(cell:\"zone1\" uid:3, nil, [], false) failed: TabletManager.GetSchema on p2: told to",
    ];
    assert_eq!(report.results, expected);
    let counts: Vec<_> =
        report.results_by_shard.iter().map(|e| (e.key.as_str(), e.value.clone().unwrap().results.len())).collect();
    assert_eq!(counts, [("-80", 2), ("80-", 1)]);
    let each = ["p1 GetSchema [] [] false false", "p2 GetSchema [] [] false false", "r1 GetSchema [] [] false false"];
    assert_eq!(sorted(&calls), each);
    let named = lab.client.validate_schema_keyspace(schemas(&["80-", "0"], false)).await.unwrap().into_inner();
    let missing = "GetShard(ks, 0) failed: node doesn't exist: /vitess/global/keyspaces/ks/shards/0/Shard";
    assert_eq!(named.results[0], missing);
    assert!(named.results[1].starts_with("GetSchema(cell:\"zone1\" uid:3"), "{:?}", named.results);
}

#[tokio::test]
async fn tables_that_the_vschema_does_not_know_are_found_first() {
    let mut lab = cluster(&Calls::default(), Default::default()).await;
    let entry = vschema::keyspace::TablesEntry { key: "a".into(), value: Some(vschema::Table::default()) };
    let record = vschema::Keyspace { tables: vec![entry], ..vschema::Keyspace::default() };
    lab.put(&paths::vschema("ks"), record.encode_to_vec()).await;
    let report = lab.client.validate_schema_keyspace(schemas(&[], true)).await.unwrap().into_inner();
    let text = |shard: &str| format!("ks/{shard} has tables that are not in the vschema: [b]");
    assert_eq!(report.results, [text("-80"), text("80-")]);
    let request = ValidateVSchemaRequest { keyspace: "ks".into(), shards: vec!["80-".into()], ..Default::default() };
    let report = lab.client.validate_v_schema(request.clone()).await.unwrap().into_inner();
    assert_eq!(report.results, [text("80-")]);
    assert_eq!(report.results_by_shard[0].value.clone().unwrap().results, [text("80-")]);
    let none = ValidateVSchemaRequest { shards: vec![], ..request.clone() };
    assert_eq!(lab.client.validate_v_schema(none).await.unwrap().into_inner(), ValidateVSchemaResponse::default());
    let missing = ValidateVSchemaRequest { keyspace: "nope".into(), ..request };
    let text = "GetVSchema(nope) failed: node doesn't exist: ";
    assert_refused(lab.client.validate_v_schema(missing).await, Code::NotFound, text);
    // a shard without a primary can be left out
    let shard = CreateShardRequest { keyspace: "ks".into(), shard_name: "0".into(), ..Default::default() };
    lab.client.create_shard(shard).await.unwrap();
    let report = lab.client.validate_schema_keyspace(schemas(&["0"], false)).await.unwrap().into_inner();
    assert_eq!(report.results, ["no primary in shard ks/0"]);
    let skip = ValidateSchemaKeyspaceRequest { skip_no_primary: true, ..schemas(&["0", "-80"], false) };
    assert_eq!(lab.client.validate_schema_keyspace(skip).await.unwrap().into_inner().results, Vec::<String>::new());
}

#[tokio::test]
async fn permissions_of_all_tablets_are_compared() {
    let other = Told { users: vec![("app", "Y"), ("root", "N")], ..Told::default() };
    let broken = Told { fails: vec![("GetPermissions", "told to")], ..Told::default() };
    let mut lab = cluster(&Calls::default(), [Told::default(), other, broken]).await;
    let request = |shards: &[&str]| ValidatePermissionsKeyspaceRequest {
        keyspace: "ks".into(),
        shards: shards.iter().map(|shard| (*shard).to_owned()).collect(),
    };
    let text = "permissions diffs: permissions differ on user %:root: zone1-0000000001: UserPermission NoPassword \
                Select_priv(Y)\n differs from:\nzone1-0000000002: UserPermission NoPassword Select_priv(N)\nzone1-0000000002 \
                has an extra user %:app";
    let shard = lab.client.validate_permissions_keyspace(request(&["-80"])).await;
    assert_refused(shard, Code::FailedPrecondition, text);
    let reference = lab.client.validate_permissions_keyspace(request(&["80-"])).await;
    assert_refused(reference, Code::Internal, "TabletManager.GetPermissions on p2: told to");
    let all = lab.client.validate_permissions_keyspace(request(&[])).await;
    assert_refused(all, Code::Internal, "permissions diffs: TabletManager.GetPermissions on p2: told to\npermissions");
    let missing = lab.client.validate_permissions_keyspace(request(&["0"])).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: ");
    let mut lab = cluster(&Calls::default(), Default::default()).await;
    lab.client.validate_permissions_keyspace(request(&[])).await.unwrap();
}

#[tokio::test]
async fn versions_are_compared_with_the_first_primary() {
    let mut lab = cluster(&Calls::default(), Default::default()).await;
    let mut other = tablet("zone1", 7, "ks", "80-", TabletType::Replica, 1);
    other.port_map.insert("vt".into(), version_page("v2").await);
    lab.add_tablet(&other).await;
    let mut silent = tablet("zone1", 8, "ks", "80-", TabletType::Replica, 1);
    silent.port_map.insert("vt".into(), 1);
    lab.add_tablet(&silent).await;
    let request = ValidateVersionShardRequest { keyspace: "ks".into(), shard: "80-".into() };
    let results = lab.client.validate_version_shard(request.clone()).await.unwrap().into_inner().results;
    let text = |shown: &str, primary: u32| {
        format!(
            "primary zone1-000000000{primary} version {shown} is different than replica zone1-0000000007 version \
             version:\"{{h u 17 v2}}\""
        )
    };
    assert_eq!(results[0], text("{h u 17 v1}", 3));
    assert!(results[1].starts_with("unable to get version for tablet cell:\"zone1\" uid:8: "), "{results:?}");
    let keyspace = ValidateVersionKeyspaceRequest { keyspace: "ks".into() };
    let report = lab.client.validate_version_keyspace(keyspace).await.unwrap().into_inner();
    assert_eq!((report.results.len(), report.results[0].clone()), (2, text("version:\"{h u 17 v1}\"", 1)));
    let counts: Vec<_> = report.results_by_shard.iter().map(|e| e.value.clone().unwrap().results.len()).collect();
    assert_eq!(counts, [0, 2]);
    let same = ValidateVersionShardRequest { shard: "-80".into(), ..request.clone() };
    assert_eq!(lab.client.validate_version_shard(same).await.unwrap().into_inner().results, Vec::<String>::new());
    let missing = ValidateVersionShardRequest { shard: "0".into(), ..request };
    let text = "GetShard(0) failed: node doesn't exist: ";
    assert_refused(lab.client.validate_version_shard(missing).await, Code::NotFound, text);
}
