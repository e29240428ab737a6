//! Mounts that are wrong, taken, in use, gone or dead.

use integration::{
    cluster::Cluster,
    life::{Life, MOUNT, migrate, streams},
    ports::Port,
    server::Server,
    zookeeper::Zookeeper,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use vtmigrated::topo::{Dialer, EtcdOptions, Expect, Write};
use vtmigrated_proto::topodata::CellInfo;
use vtmigrated_proto::vtctldata::{MountListRequest, MountRegisterRequest, MountShowRequest, MountUnregisterRequest};

const SCHEMA: &str = "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40), KEY by_name (name)); \
                      INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL)";
const RECORD: &str = "/vitess/global/ExternalClusters/vitess/ext1";

#[tokio::test(flavor = "multi_thread")]
async fn register_proves_what_it_is_given() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).without_tablets(),
        Cluster::new("zone1").without_tablets(),
    )
    .await
    .unwrap();
    let before = life.target.etcd().dump("").await.unwrap();
    let refused = async |request: MountRegisterRequest, code: Code, texts: &[&str]| {
        let error = life.client().mount_register(request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        for text in texts {
            assert!(error.message().contains(text), "{text}: {error:?}");
        }
        assert_eq!(life.target.etcd().dump("").await.unwrap(), before, "{error:?}");
    };
    let base = || life.mount("ext2");
    // S6
    let wrong = MountRegisterRequest { topo_root: "/vitess/wrong".into(), ..base() };
    refused(wrong, Code::NotFound, &["node doesn't exist: /vitess/wrong/keyspaces", "/vitess/global", "/vitess/zone1"])
        .await;
    let nobody = Port::free().unwrap();
    let dead = MountRegisterRequest { topo_server: nobody.address().to_string(), ..base() };
    refused(dead, Code::Unavailable, &["context deadline exceeded", &nobody.address().to_string()]).await;
    let unknown = MountRegisterRequest { topo_type: "zk3".into(), ..base() };
    refused(unknown, Code::InvalidArgument, &["no such topology implementation zk3"]).await;
    for kind in ["consul", "zk2"] {
        let dead = MountRegisterRequest { topo_type: kind.into(), topo_server: nobody.address().to_string(), ..base() };
        refused(dead, Code::Unavailable, &["context deadline exceeded", kind, &nobody.address().to_string()]).await;
    }
    // a server of another kind than was said
    for kind in ["consul", "zk2"] {
        let other = MountRegisterRequest { topo_type: kind.into(), ..base() };
        refused(other, Code::Unavailable, &["context deadline exceeded", kind, &base().topo_server]).await;
    }
    for (server, root) in
        [("", "/vitess/global"), ("127.0.0.1:1", ""), ("a\nb", "/vitess/global"), ("127.0.0.1:1", "/a\0b")]
    {
        let request = MountRegisterRequest { topo_server: server.into(), topo_root: root.into(), ..base() };
        refused(request, Code::InvalidArgument, &["bad mount"]).await;
    }
    life.source.etcd().process().pause().unwrap();
    refused(base(), Code::Unavailable, &["context deadline exceeded", &life.source.etcd().address()]).await;
    life.source.etcd().process().resume().unwrap();

    // S7
    life.client().mount_register(life.mount(MOUNT)).await.unwrap();
    let other = MountRegisterRequest { topo_root: "/vitess/zone1".into(), ..life.mount(MOUNT) };
    let text = format!("mount ext1 is already registered (etcd2 {} /vitess/global)", life.source.etcd().address());
    refused(other, Code::AlreadyExists, &[&text]).await;

    let show = MountShowRequest { name: "nosuch".into() };
    assert_eq!(life.client().mount_show(show).await.unwrap_err().code(), Code::NotFound);
    let unregister = MountUnregisterRequest { name: "nosuch".into() };
    let error = life.client().mount_unregister(unregister).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().starts_with("there is no vitess cluster named nosuch"), "{error:?}");
    life.client().mount_unregister(MountUnregisterRequest { name: MOUNT.into() }).await.unwrap();
    let names = life.client().mount_list(MountListRequest {}).await.unwrap().into_inner().names;
    assert!(names.is_empty(), "{names:?}");
    life.finish().await.unwrap();
}

/// Everything that a user can ask of a workflow whose source cannot be asked.
async fn expect_served(life: &Life, keyspace: &str, why: &str) {
    let status = life.status(keyspace).await.unwrap();
    let all = streams(&status);
    assert!(!all.is_empty() && all.iter().all(|s| s.status == "Running" && s.info.contains(why)), "{status:?}");
    assert_eq!(life.workflows(keyspace).await.unwrap().len(), 1);
}

/// Complete is refused because of the source, names the way to insist, and goes that way.
async fn expect_to_insist(life: &Life, why: &str) {
    let refusal = life.complete("customer").await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal:?}");
    for words in [why, "complete --ignore-source-keyspace"] {
        assert!(refusal.message().contains(words), "{words}: {refusal:?}");
    }
    let summary = life.complete_as("customer", true).await.unwrap().summary;
    assert!(summary.contains("ignored") && summary.contains("SOURCE_UNREACHABLE"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_can_be_ended_without_its_mount_and_without_its_source() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}"),
        Cluster::new("zone1")
            .keyspace("customer", &["0"])
            .vschema("{}")
            .keyspace("shop", &["0"])
            .vschema("{}")
            .first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let unmounted = "no vitess cluster found with name ext1";
    for keyspace in ["customer", "shop"] {
        life.create(migrate("commerce", keyspace)).await.unwrap();
        life.until_running(keyspace).await.unwrap();
    }
    // S5
    let unregister = MountUnregisterRequest { name: MOUNT.into() };
    let error = life.client().mount_unregister(unregister).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    assert!(error.message().starts_with("mount ext1 is in use by: customer.import, shop.import"), "{error:?}");

    let mut topology = life.target.etcd().connect().await.unwrap();
    let record = life.target.etcd().dump(RECORD).await.unwrap().remove(RECORD).unwrap();
    topology.delete(RECORD, None).await.unwrap();
    for keyspace in ["customer", "shop"] {
        expect_served(&life, keyspace, unmounted).await;
    }
    life.cancel("shop", false).await.unwrap();
    expect_to_insist(&life, unmounted).await;
    life.expect_nothing_left("customer").await.unwrap();
    life.expect_same("commerce", "customer", &["customer"]).await.unwrap();
    life.target.run("customer", "DROP TABLE customer").await.unwrap();

    topology.put(RECORD, record, None).await.unwrap();
    for keyspace in ["customer", "shop"] {
        life.create(migrate("commerce", keyspace)).await.unwrap();
        life.until_running(keyspace).await.unwrap();
        life.until_same("commerce", keyspace, &["customer"]).await.unwrap();
    }
    life.source.etcd().kill().unwrap();
    for keyspace in ["customer", "shop"] {
        expect_served(&life, keyspace, "the source cannot be reached").await;
    }
    life.cancel("shop", false).await.unwrap();
    expect_to_insist(&life, "keyspace commerce of mount ext1").await;
    life.source.etcd().restart().await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.expect_nothing_left("shop").await.unwrap();
    life.expect_same("commerce", "customer", &["customer"]).await.unwrap();
    life.target.primary("customer", "0").unwrap().execute("UPDATE customer SET name = 'mine'").await.unwrap();
    life.target.table("shop", "customer").await.unwrap_err();
    life.client().mount_unregister(MountUnregisterRequest { name: MOUNT.into() }).await.unwrap();
    life.finish().await.unwrap();
}

/// The source's records as they would be in ZooKeeper.
async fn copy_to_zookeeper(life: &Life, zookeeper: &Zookeeper) {
    let dialer = Dialer::new(EtcdOptions::default());
    let conn = dialer.open("zk2", &zookeeper.address(), "/").await.unwrap();
    let mut writes = Vec::new();
    for (key, mut value) in life.source.etcd().dump("/vitess/").await.unwrap() {
        if key.ends_with("/CellInfo") {
            let info = CellInfo::decode(value.as_slice()).unwrap();
            value = CellInfo { server_address: zookeeper.address(), ..info }.encode_to_vec();
        }
        writes.push(Write::put(key.trim_start_matches('/').to_owned(), value, Expect::Absent));
    }
    conn.write(writes, None).await.unwrap();
}

/// What a page of the server shows.
async fn page(server: &Server, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(server.http_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_in_zookeeper_is_migrated_with_credentials_that_nobody_sees() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}"),
        Cluster::new("zone1").keyspace("customer", &["0"]).vschema("{}").first_uid(200),
    )
    .await
    .unwrap();
    let zookeeper = Zookeeper::start().await.unwrap();
    copy_to_zookeeper(&life, &zookeeper).await;
    life.source.run("commerce", SCHEMA).await.unwrap();

    let settings = tempfile::NamedTempFile::new().unwrap();
    let entries = serde_json::json!({
        "ext3": {"servers": [zookeeper.address()], "zk_auth": "digest:vt:planted-zk"},
        "elsewhere": {"servers": ["10.0.0.1:2379"], "user": "vt", "password": "planted-etcd", "consul_token": "planted-consul"},
    });
    std::fs::write(settings.path(), entries.to_string()).unwrap();
    let mut flags = life.target.topo_flags();
    flags.push(format!("--mount-settings={}", settings.path().display()));
    let server = Server::start(&flags).await.unwrap();
    let mut client = server.client().await.unwrap();
    let zk2 = |name: &str| MountRegisterRequest {
        topo_type: "zk2".into(),
        topo_server: zookeeper.address(),
        ..life.mount(name)
    };
    // credentials of a mount are for the servers of its entry
    let error = client.mount_register(zk2("elsewhere")).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    assert!(error.message().contains("are not for the topology server"), "{error:?}");
    assert!(!format!("{error:?}").contains("planted"), "{error:?}");
    let wrong = MountRegisterRequest { topo_root: "/vitess/wrong".into(), ..zk2("ext3") };
    let error = client.mount_register(wrong).await.unwrap_err();
    assert!(error.code() == Code::NotFound && error.message().contains("/vitess/global"), "{error:?}");
    client.mount_register(zk2("ext3")).await.unwrap();
    let shown = client.mount_show(MountShowRequest { name: "ext3".into() }).await.unwrap().into_inner();
    assert_eq!((shown.topo_type.as_str(), shown.topo_server), ("zk2", zookeeper.address()));

    let mut request = migrate("commerce", "customer");
    request.mount_name = "ext3".into();
    client.migrate_create(request).await.unwrap();
    life.until_running("customer").await.unwrap();
    life.until_same("commerce", "customer", &["customer"]).await.unwrap();
    life.complete("customer").await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    let stored = life.target.etcd().dump("").await.unwrap();
    assert!(stored.values().all(|value| !value.windows(7).any(|part| part == b"planted")));
    let log = std::fs::read_to_string(server.process().log_path()).unwrap();
    assert!(log.contains("serving gRPC") && !log.contains("planted"), "{log}");
    for path in ["/debug/config", "/debug/vars", "/debug/status", "/metrics", "/api/preflight/mount/ext3"] {
        let text = page(&server, path).await;
        assert!(!text.contains("planted"), "{text}");
        assert_eq!(text.contains("mount-settings: "), path == "/debug/config", "{text}");
    }
    let command_line = std::fs::read(format!("/proc/{}/cmdline", server.process().pid().unwrap())).unwrap();
    assert!(!String::from_utf8_lossy(&command_line).contains("planted"));
    drop((server, zookeeper));
    life.finish().await.unwrap();
}
