//! Cells and cell aliases.

use tonic::Code;
use vtmigrated::topo::{paths, wire};
use vtmigrated_proto::topodata::{CellInfo, CellsAlias};
use vtmigrated_proto::vtctldata::*;

use crate::support::{HOSTILE, Lab, assert_refused};

fn info(server_address: &str, root: &str) -> Option<CellInfo> {
    Some(CellInfo { server_address: server_address.into(), root: root.into() })
}

fn add(name: &str, cells: &[&str]) -> AddCellsAliasRequest {
    AddCellsAliasRequest { name: name.into(), cells: cells.iter().map(|c| (*c).into()).collect() }
}

#[tokio::test]
async fn cells_come_change_and_go() {
    let mut lab = Lab::empty().await;
    let client = &mut lab.client;
    assert!(client.get_cell_info_names(GetCellInfoNamesRequest {}).await.unwrap().into_inner().names.is_empty());
    let request = AddCellInfoRequest { name: "zone1".into(), cell_info: info("a:1", "/r") };
    client.add_cell_info(request.clone()).await.unwrap();
    let text = "node already exists: /vitess/global/cells/zone1/CellInfo";
    assert_refused(client.add_cell_info(request).await, Code::AlreadyExists, text);

    let request = UpdateCellInfoRequest { name: "zone1".into(), cell_info: info("b:2", "") };
    let updated = client.update_cell_info(request).await.unwrap().into_inner();
    assert_eq!((updated.name.as_str(), updated.cell_info), ("zone1", info("b:2", "/r")));
    let request = UpdateCellInfoRequest { name: "zone2".into(), cell_info: info("c:3", "/z") };
    assert_eq!(client.update_cell_info(request).await.unwrap().into_inner().cell_info, info("c:3", "/z"));
    let found = client.get_cell_info(GetCellInfoRequest { cell: "zone1".into() }).await.unwrap().into_inner();
    assert_eq!(found.cell_info, info("b:2", "/r"));
    let names = client.get_cell_info_names(GetCellInfoNamesRequest {}).await.unwrap().into_inner().names;
    assert_eq!(names, ["zone1", "zone2"]);

    client.delete_cell_info(DeleteCellInfoRequest { name: "zone2".into(), force: true }).await.unwrap();
    let missing = client.delete_cell_info(DeleteCellInfoRequest { name: "zone2".into(), force: true }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/cells/zone2/CellInfo");
    let missing = client.get_cell_info(GetCellInfoRequest { cell: "zone2".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/cells/zone2/CellInfo");
}

#[tokio::test]
async fn an_update_keeps_what_newer_programs_stored() {
    let mut lab = Lab::start().await;
    let mut raw = lab.topo.global().get(&paths::cell_info("zone1")).await.unwrap().value.to_vec();
    wire::push(&mut raw, 99, b"newer");
    lab.put(&paths::cell_info("zone1"), raw).await;
    let request = UpdateCellInfoRequest { name: "zone1".into(), cell_info: info("b:2", "") };
    lab.client.update_cell_info(request).await.unwrap();
    let raw = lab.topo.global().get(&paths::cell_info("zone1")).await.unwrap().value;
    assert!(wire::fields(&raw).unwrap().iter().any(|field| field.number == 99));
}

#[tokio::test]
async fn a_cell_that_serves_is_kept() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let request = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    lab.client.rebuild_keyspace_graph(request).await.unwrap();
    let refused = lab.client.delete_cell_info(DeleteCellInfoRequest { name: "zone1".into(), force: false }).await;
    assert_refused(refused, Code::FailedPrecondition, "cell zone1 has serving keyspaces. Before deleting, ");
    lab.client.delete_cell_info(DeleteCellInfoRequest { name: "zone1".into(), force: true }).await.unwrap();
}

#[tokio::test]
async fn aliases_come_change_and_go() {
    let mut lab = Lab::start().await;
    let client = &mut lab.client;
    client.add_cells_alias(add("east", &["zone1"])).await.unwrap();
    let text = "node already exists: /vitess/global/cells_aliases/east/CellsAlias";
    assert_refused(client.add_cells_alias(add("east", &["zone1"])).await, Code::AlreadyExists, text);
    let overlap = client.add_cells_alias(add("west", &["zone2", "zone1"])).await;
    let text = "cells alias west is not valid: cell set overlaps with existing alias east";
    assert_refused(overlap, Code::InvalidArgument, text);
    let cells_alias = Some(CellsAlias { cells: vec!["zone1".into(), "zone2".into()] });
    let request = UpdateCellsAliasRequest { name: "east".into(), cells_alias: cells_alias.clone() };
    assert_eq!(client.update_cells_alias(request).await.unwrap().into_inner().cells_alias, cells_alias);
    let found = client.get_cells_aliases(GetCellsAliasesRequest {}).await.unwrap().into_inner().aliases;
    assert_eq!(found.into_iter().map(|e| (e.key, e.value)).collect::<Vec<_>>(), [("east".to_owned(), cells_alias)]);
    client.delete_cells_alias(DeleteCellsAliasRequest { name: "east".into() }).await.unwrap();
    let missing = client.delete_cells_alias(DeleteCellsAliasRequest { name: "east".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/cells_aliases/east/CellsAlias");
}

#[tokio::test]
async fn an_alias_keeps_what_newer_versions_wrote_and_takes_every_writers_turn() {
    let lab = Lab::start().await;
    // a field of another version behind the cells
    let known = prost::Message::encode_to_vec(&CellsAlias { cells: vec!["zone1".into()] });
    lab.put(&paths::cells_alias("east"), [known.as_slice(), b"\x78\x07"].concat()).await;
    let update = |cell: &str| {
        let (mut client, cells_alias) = (lab.client.clone(), Some(CellsAlias { cells: vec![cell.into()] }));
        async move { client.update_cells_alias(UpdateCellsAliasRequest { name: "east".into(), cells_alias }).await }
    };
    for done in futures::future::join_all((0..20).map(|at| update(["zone1", "zone2"][at % 2]))).await {
        done.unwrap();
    }
    update("zone2").await.unwrap();
    let stored = lab.topo.global().get(&paths::cells_alias("east")).await.unwrap().value;
    let known = prost::Message::encode_to_vec(&CellsAlias { cells: vec!["zone2".into()] });
    assert_eq!(stored.as_ref(), [known.as_slice(), b"\x78\x07"].concat());
}

#[tokio::test]
async fn bad_input_is_refused_and_writes_nothing() {
    let mut lab = Lab::start().await;
    let before = lab.stored().await;
    let long = "x".repeat(65_536);
    for name in HOSTILE.iter().copied().chain([long.as_str(), "global", ".."]) {
        let request = AddCellInfoRequest { name: name.into(), cell_info: info("a", "/r") };
        assert_refused(lab.client.add_cell_info(request).await, Code::InvalidArgument, "");
        let request = UpdateCellInfoRequest { name: name.into(), cell_info: info("a", "/r") };
        assert_refused(lab.client.update_cell_info(request).await, Code::InvalidArgument, "");
        let request = DeleteCellInfoRequest { name: name.into(), force: true };
        assert_refused(lab.client.delete_cell_info(request).await, Code::InvalidArgument, "");
        let request = GetCellInfoRequest { cell: name.into() };
        assert_refused(lab.client.get_cell_info(request).await, Code::InvalidArgument, "");
        assert_refused(lab.client.add_cells_alias(add(name, &["zone1"])).await, Code::InvalidArgument, "");
        assert_refused(lab.client.add_cells_alias(add("a", &[name])).await, Code::InvalidArgument, "");
    }
    let request = AddCellInfoRequest { name: "zone3".into(), cell_info: None };
    let text = "CellInfo.Root must be non-empty";
    assert_refused(lab.client.add_cell_info(request).await, Code::FailedPrecondition, text);
    for (server, root) in [("a\nb", "/r"), ("a", "/r\0"), (long.as_str(), "/r")] {
        let request = AddCellInfoRequest { name: "zone3".into(), cell_info: info(server, root) };
        assert_refused(lab.client.add_cell_info(request).await, Code::InvalidArgument, "bad cell: ");
    }
    assert_refused(
        lab.client.add_cells_alias(add("a", &[])).await,
        Code::InvalidArgument,
        "cells alias a is not valid",
    );
    assert_eq!(lab.stored().await, before);
}
