//! Many mixed calls leave no file open and little memory taken.

use integration::{
    client::Vtctld,
    cluster::topology::GLOBAL_ROOT,
    farm::{Farm, Settings, Shape, Side},
    life::{MOUNT, WORKFLOW, migrate},
    server::Server,
};
use vtmigrated_proto::vtctldata::*;

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
    let shape = Shape { source_shards: Some(1), tables: 20, ..Shape::default() };
    let farm = Farm::start(Settings { shape, ..Settings::default() }).await.unwrap();
    let server = Server::start(&farm.cluster(Side::Target).flags()).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        clients.push(server.client().await.unwrap());
    }
    let request = MountRegisterRequest {
        topo_type: "etcd2".to_owned(),
        topo_server: farm.cluster(Side::Source).topology(),
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
    farm.finish().await.unwrap();
}
