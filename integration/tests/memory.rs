//! Many mixed calls leave no file open and little memory taken.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use integration::{
    client::Vtctld,
    cluster::{Cluster, topology::GLOBAL_ROOT},
    farm::Farm,
    life::{MOUNT, WORKFLOW, migrate},
    server::Server,
};
use vtmigrated_proto::vtctldata::*;

const SHARDS: [&str; 2] = ["-80", "80-"];
const CALLERS: usize = 4;

/// One of the calls that people and programs repeat.
async fn call(client: &mut Vtctld, number: usize) {
    let (keyspace, workflow) = ("customer".to_owned(), WORKFLOW.to_owned());
    match number % 5 {
        0 => drop(client.mount_show(MountShowRequest { name: MOUNT.to_owned() }).await.unwrap()),
        1 => drop(client.mount_list(MountListRequest {}).await.unwrap()),
        2 => {
            let request = GetWorkflowsRequest { keyspace, include_logs: true, ..GetWorkflowsRequest::default() };
            assert_eq!(client.get_workflows(request).await.unwrap().into_inner().workflows.len(), 1);
        }
        3 => {
            let request = WorkflowStatusRequest { keyspace, workflow, ..WorkflowStatusRequest::default() };
            assert_eq!(client.workflow_status(request).await.unwrap().into_inner().shard_streams.len(), 2);
        }
        _ => drop(client.mount_show(MountShowRequest { name: "unknown".to_owned() }).await.unwrap_err()),
    }
}

async fn calls(clients: &[Vtctld], count: usize) {
    let callers = clients.iter().cloned().map(|mut client| async move {
        for number in 0..count / CALLERS {
            call(&mut client, number).await;
        }
    });
    futures::future::join_all(callers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_mixed_calls_leave_nothing_behind() {
    let tables: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let listed: Vec<String> = tables
        .iter()
        .map(|table| format!(r#""{table}": {{"columnVindexes": [{{"column": "id", "name": "hash"}}]}}"#))
        .collect();
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}}, "tables": {{{}}}}}"#,
        listed.join(", ")
    );
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]);
    let target = Cluster::new("zone2").keyspace("customer", &SHARDS).vschema(&vschema).first_uid(200);
    let source = Farm::start(source, "zone1", "commerce", &["0"], &tables).await.unwrap();
    let target = Farm::start(target, "zone2", "customer", &SHARDS, &[]).await.unwrap();
    let server = Server::start(&target.flags()).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(server.client().await.unwrap());
    }
    let request = MountRegisterRequest {
        topo_type: "etcd2".to_owned(),
        topo_server: source.topology(),
        topo_root: GLOBAL_ROOT.to_owned(),
        name: MOUNT.to_owned(),
    };
    clients[0].mount_register(request).await.unwrap();
    clients[0].migrate_create(migrate("commerce", "customer")).await.unwrap();
    calls(&clients, 1_000).await;
    let (files, memory) = (server.open_files().unwrap(), server.resident_bytes().unwrap());
    calls(&clients, 10_000).await;
    let grown = server.resident_bytes().unwrap().saturating_sub(memory);
    println!("{files} files open, {memory} bytes resident, {grown} more after 10,000 calls");
    assert_eq!(server.open_files().unwrap(), files);
    assert!(grown < 5 << 20, "{grown} bytes");
    drop((clients, server));
    target.finish().await.unwrap();
    source.finish().await.unwrap();
}
