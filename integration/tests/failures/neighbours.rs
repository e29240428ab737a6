//! Cells and shards that a migration does not need are dead, silent, broken or unfinished: every command works, and names
//! what it left out.

use crate::rig::{Rig, client, create, status};
use integration::{
    cluster::Cluster,
    cluster::topology::GLOBAL_ROOT,
    life::{WORKFLOW, until},
    server::Server,
};
use prost::Message;
use tokio::{io::AsyncWriteExt, net::TcpListener};
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::topodata::{CellInfo, TabletType};
use vtmigrated_proto::vtctldata::{
    CreateShardRequest, GetTabletsRequest, GetWorkflowsRequest, MoveTablesCompleteRequest, VDiffCreateRequest,
    VDiffShowRequest, WorkflowDeleteRequest,
};

/// Cells that lead nowhere: one refuses connections, one takes them and says nothing, one has no address, one has an address
/// that is none, one is a server of another kind, one cannot be decoded.
const LEFT_OUT: [&str; 6] = ["dead", "silent", "empty", "odd", "foreign", "garbage"];

/// Puts them into a cluster. What listens is answered, to be kept.
async fn break_cells(cluster: &Cluster) -> std::net::TcpListener {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap().to_string();
    let foreign = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let foreign_address = foreign.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = foreign.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.ok();
        }
    });
    let mut etcd = cluster.etcd().connect().await.unwrap();
    let addresses = ["127.0.0.1:1", &silent_address, "", "a b|c", &foreign_address];
    for (cell, address) in LEFT_OUT.into_iter().zip(addresses) {
        let info = CellInfo { server_address: address.to_owned(), root: format!("/vitess/{cell}") };
        etcd.put(format!("{GLOBAL_ROOT}/cells/{cell}/CellInfo"), info.encode_to_vec(), None).await.unwrap();
    }
    etcd.put(format!("{GLOBAL_ROOT}/cells/garbage/CellInfo"), vec![0xff, 0xff], None).await.unwrap();
    silent
}

/// Compares the rows.
async fn diffed(server: &Server) {
    let mut vtctld = client(server).await.unwrap();
    let request = VDiffCreateRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        tablet_types: [TabletType::Replica, TabletType::Primary].map(Into::into).to_vec(),
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        limit: i64::MAX,
        max_extra_rows_to_compare: 1000,
        max_report_sample_rows: 10,
        ..VDiffCreateRequest::default()
    };
    let uuid = vtctld.v_diff_create(request).await.unwrap().into_inner().uuid;
    let (workflow, target_keyspace) = (WORKFLOW.to_owned(), "customer".to_owned());
    let show = VDiffShowRequest { workflow, target_keyspace, arg: uuid };
    until("a diff that ended", async || {
        let shown = client(server).await.map_err(|e| e.to_string())?.v_diff_show(show.clone()).await;
        let shown = shown.map_err(|e| e.to_string())?.into_inner();
        let outputs = shown.tablet_responses.iter().filter_map(|entry| entry.value.as_ref()?.output.as_ref());
        // the state is the first column
        let states: Vec<_> = outputs.filter_map(|output| output.rows.first()?.values.get(..9)).collect();
        if states == [b"completed"; 2] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_lives_among_dead_cells_and_unused_shards() {
    let rig = Rig::start().await;
    let server = rig.server("").await;
    let _silent = (break_cells(&rig.target).await, break_cells(&rig.source).await);
    let mut client = client(&server).await.unwrap();
    for shard in ["c0-", "0"] {
        let request = CreateShardRequest {
            keyspace: "customer".to_owned(),
            shard_name: shard.to_owned(),
            ..CreateShardRequest::default()
        };
        client.create_shard(request).await.unwrap();
    }
    for round in ["cancel", "complete"] {
        let created = create(&server).await.unwrap();
        for cell in LEFT_OUT {
            let named = format!("cell {cell} ");
            assert!(created.traffic_state.contains(&named), "{named}: {}", created.traffic_state);
        }
        rig.until_copied(&server, round).await;
        let traffic = status(&server).await.unwrap().traffic_state;
        assert!(traffic.contains("cell dead was left out") && traffic.contains("cell garbage"), "{traffic}");
        let request = GetWorkflowsRequest { keyspace: "customer".to_owned(), ..GetWorkflowsRequest::default() };
        assert_eq!(client.get_workflows(request).await.unwrap().into_inner().workflows.len(), 1);
        assert!(!client.get_tablets(GetTabletsRequest::default()).await.unwrap().into_inner().tablets.is_empty());
        diffed(&server).await;
        let summary = if round == "cancel" {
            let request = WorkflowDeleteRequest {
                keyspace: "customer".to_owned(),
                workflow: WORKFLOW.to_owned(),
                ..WorkflowDeleteRequest::default()
            };
            client.workflow_delete(request).await.unwrap().into_inner().summary
        } else {
            let request = MoveTablesCompleteRequest {
                workflow: WORKFLOW.to_owned(),
                target_keyspace: "customer".to_owned(),
                ..MoveTablesCompleteRequest::default()
            };
            client.move_tables_complete(request).await.unwrap().into_inner().summary
        };
        for cell in LEFT_OUT {
            assert!(summary.contains(&format!("RebuildVSchemaGraph --cells {cell}")), "{cell}: {summary}");
        }
    }
    assert_eq!(rig.record().await, None);
    rig.same_rows().await.unwrap();
    drop(server);
    rig.finish().await;
}
