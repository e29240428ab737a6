//! What the cells serve: SrvKeyspace and SrvVSchema.

use tonic::Code;
use vtmigrated::topo::{self, paths};
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::*;

use crate::support::{HOSTILE, Lab, assert_refused};

fn rebuild(keyspace: &str, cells: &[&str]) -> RebuildKeyspaceGraphRequest {
    RebuildKeyspaceGraphRequest {
        keyspace: keyspace.into(),
        cells: cells.iter().map(|c| (*c).into()).collect(),
        allow_partial: false,
    }
}

#[tokio::test]
async fn a_graph_names_the_serving_shards_in_order() {
    let mut lab = Lab::with_keyspace("ks", &["80-", "-80", "40-c0"]).await;
    lab.client.rebuild_keyspace_graph(rebuild("ks", &["zone1"])).await.unwrap();
    let request = GetSrvKeyspacesRequest { keyspace: "ks".into(), cells: vec![] };
    let found = lab.client.get_srv_keyspaces(request).await.unwrap().into_inner().srv_keyspaces;
    assert_eq!(found.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["zone1", "zone2"]);
    assert_eq!(found[1].value.as_ref().unwrap().partitions, vec![]);
    let partitions = &found[0].value.as_ref().unwrap().partitions;
    let types: Vec<_> = partitions.iter().map(|p| p.served_type()).collect();
    assert_eq!(types, [TabletType::Primary, TabletType::Replica, TabletType::Rdonly]);
    for partition in partitions {
        let names: Vec<_> = partition.shard_references.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["-80", "80-"]);
    }
    let request = GetSrvKeyspaceNamesRequest { cells: vec![] };
    let names = lab.client.get_srv_keyspace_names(request).await.unwrap().into_inner().names;
    let names: Vec<_> = names.into_iter().map(|e| (e.key, e.value.unwrap().names)).collect();
    assert_eq!(names, [("zone1".to_owned(), vec!["ks".to_owned()]), ("zone2".to_owned(), vec![])]);
}

#[tokio::test]
async fn ranges_with_holes_are_refused_and_nothing_is_written() {
    let mut lab = Lab::with_keyspace("ks", &["-80", "c0-"]).await;
    let text = "non-contiguous KeyRange values for PRIMARY in cell zone1 at shard 0 to 1: 80 != c0";
    let refused = lab.client.rebuild_keyspace_graph(rebuild("ks", &[])).await;
    assert_refused(refused, Code::FailedPrecondition, text);
    assert!(topo::srv_keyspace::find(&lab.cell("zone1").await, "ks").await.unwrap().is_none());
    let mut lab = Lab::with_keyspace("ks", &["40-"]).await;
    let text = "keyspace partition for PRIMARY in cell zone1 does not start with min key";
    let refused = lab.client.rebuild_keyspace_graph(rebuild("ks", &[])).await;
    assert_refused(refused, Code::FailedPrecondition, text);
}

#[tokio::test]
async fn a_graph_of_a_deleted_keyspace_is_removed_from_the_named_cells() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    lab.client.rebuild_keyspace_graph(rebuild("ks", &[])).await.unwrap();
    for node in lab.topo.global().list(&paths::keyspace_dir("ks")).await.unwrap() {
        lab.topo.global().remove(&node.path).await.unwrap();
    }
    let missing = lab.client.rebuild_keyspace_graph(rebuild("ks", &["zone1"])).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/ks/");
    assert!(topo::srv_keyspace::find(&lab.cell("zone1").await, "ks").await.unwrap().is_none());
    assert!(topo::srv_keyspace::find(&lab.cell("zone2").await, "ks").await.unwrap().is_some());
}

#[tokio::test]
async fn srv_vschemas_are_rebuilt_read_and_deleted() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    lab.client.delete_srv_v_schema(DeleteSrvVSchemaRequest { cell: "zone1".into() }).await.unwrap();
    let missing = lab.client.get_srv_v_schema(GetSrvVSchemaRequest { cell: "zone1".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/zone1/SrvVSchema");
    let missing = lab.client.delete_srv_v_schema(DeleteSrvVSchemaRequest { cell: "zone1".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/zone1/SrvVSchema");
    let all = lab.client.get_srv_v_schemas(GetSrvVSchemasRequest { cells: vec![] }).await.unwrap().into_inner();
    let counts: Vec<_> = all.srv_v_schemas.iter().map(|e| e.value.as_ref().unwrap().keyspaces.len()).collect();
    assert_eq!(counts, [0, 1]);
    let some = GetSrvVSchemasRequest { cells: vec!["zone2".into(), "nosuch".into()] };
    let some = lab.client.get_srv_v_schemas(some).await.unwrap().into_inner().srv_v_schemas;
    assert_eq!(some.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["zone2"]);
    let request = RebuildVSchemaGraphRequest { cells: vec!["zone1".into()] };
    lab.client.rebuild_v_schema_graph(request).await.unwrap();
    let one = lab.client.get_srv_v_schema(GetSrvVSchemaRequest { cell: "zone1".into() }).await.unwrap().into_inner();
    assert_eq!(one.srv_v_schema.unwrap().keyspaces[0].key, "ks");
    let missing = lab.client.get_srv_v_schema(GetSrvVSchemaRequest { cell: "zone3".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/cells/zone3/CellInfo");
}

#[tokio::test]
async fn bad_input_is_refused_and_writes_nothing() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let before = lab.cell("zone1").await.list("").await.unwrap();
    for name in HOSTILE {
        let bad = lab.client.rebuild_keyspace_graph(rebuild(name, &[])).await;
        assert_refused(bad, Code::InvalidArgument, "GetKeyspace: ");
        let bad = lab.client.rebuild_keyspace_graph(rebuild("ks", &[name])).await;
        assert_refused(bad, Code::InvalidArgument, "");
        let request = RebuildVSchemaGraphRequest { cells: vec![(*name).into()] };
        assert_refused(lab.client.rebuild_v_schema_graph(request).await, Code::InvalidArgument, "");
        let request = GetSrvVSchemaRequest { cell: (*name).into() };
        assert_refused(lab.client.get_srv_v_schema(request).await, Code::InvalidArgument, "");
        let request = DeleteSrvVSchemaRequest { cell: (*name).into() };
        assert_refused(lab.client.delete_srv_v_schema(request).await, Code::InvalidArgument, "");
        let request = GetSrvKeyspacesRequest { keyspace: (*name).into(), cells: vec![] };
        assert_refused(lab.client.get_srv_keyspaces(request).await, Code::InvalidArgument, "");
    }
    let unknown = lab.client.rebuild_keyspace_graph(rebuild("ks", &["zone1", "zone3"])).await;
    let text = "writing serving data failed: node doesn't exist: /vitess/global/cells/zone3/CellInfo";
    assert_refused(unknown, Code::NotFound, text);
    assert_eq!(lab.cell("zone1").await.list("").await.unwrap(), before);
}
