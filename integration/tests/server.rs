//! The program starts, serves, survives a kill, and ends when told to.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use integration::{cluster::Cluster, server::Server};
use tonic::Code;
use vtmigrated_proto::vtctldata::{MountListRequest, MountRegisterRequest, MountShowRequest};

#[tokio::test]
async fn a_killed_server_finds_its_mounts_again() {
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).without_tablets().start().await.unwrap();
    let target = Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).without_tablets().start().await.unwrap();
    let server = Server::start(&target.topo_flags()).await.unwrap();
    let register = MountRegisterRequest {
        topo_type: "etcd2".to_owned(),
        topo_server: source.etcd().address(),
        topo_root: "/vitess/global".to_owned(),
        name: "ext1".to_owned(),
    };
    server.client().await.unwrap().mount_register(register).await.unwrap();
    server.kill9().unwrap();
    assert!(server.client().await.is_err());
    server.restart().await.unwrap();
    let mut client = server.client().await.unwrap();
    assert_eq!(client.mount_list(MountListRequest {}).await.unwrap().into_inner().names, ["ext1"]);
    let error = client.mount_show(MountShowRequest { name: "ext2".to_owned() }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error:?}");

    let keys = target.etcd().dump("/vitess/global/ExternalClusters").await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(server.term().await.unwrap().success(), "{}", server.process().log_tail());
    target.finish().await.unwrap();
    source.finish().await.unwrap();
}

#[tokio::test]
async fn many_calls_leave_no_file_open_and_little_memory_taken() {
    let server = Server::start::<&str>(&[]).await.unwrap();
    let mut client = server.client().await.unwrap();
    for _ in 0..1_000 {
        client.mount_list(MountListRequest {}).await.unwrap();
    }
    let (files, memory) = (server.open_files().unwrap(), server.resident_bytes().unwrap());
    for _ in 0..10_000 {
        client.mount_list(MountListRequest {}).await.unwrap();
    }
    assert_eq!(server.open_files().unwrap(), files);
    let grown = server.resident_bytes().unwrap().saturating_sub(memory);
    assert!(grown < 5 << 20, "{grown} bytes");
}

#[tokio::test]
async fn half_of_the_topology_flags_is_an_error() {
    let error = Server::start(&["--topo_implementation=etcd2"]).await.unwrap_err().to_string();
    assert!(error.contains("ended by itself"), "{error}");
    assert!(error.contains("topo_global_server_address"), "{error}");
}
