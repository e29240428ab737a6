//! A topology that holds garbage: every call that needs the record says so with DATA_LOSS, changes nothing, and works again
//! when the record is fixed. The server's log is searched for panics when it ends.

use std::collections::BTreeMap;

use integration::{
    cluster::Cluster,
    etcd::Etcd,
    life::{Life, MOUNT, migrate},
};
use tonic::{Code, Status};
use vtmigrated_proto::vtctldata::{MountShowRequest, MountUnregisterRequest, MoveTablesCompleteRequest};

const SCHEMA: &str = "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40)); \
                      INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL)";
const SHARDED: &str = r#"{"sharded": true, "vindexes": {"h": {"type": "hash"}},
                          "tables": {"customer": {"columnVindexes": [{"column": "id", "name": "h"}]}}}"#;
/// Not a message, a message cut short, text, and a field of a wrong type.
const GARBAGE: [&[u8]; 4] = [b"\xff\xff\xff\xff", b"\x0a\x7fx", b"garbage", b"\x0b"];

/// Puts garbage under a key as long as `run` lasts.
async fn with_garbage(etcd: &Etcd, key: &str, garbage: &[u8], run: impl AsyncFnOnce()) {
    let before = etcd.dump(key).await.unwrap().remove(key);
    let mut client = etcd.connect().await.unwrap();
    client.put(key, garbage, None).await.unwrap();
    run().await;
    assert_eq!(etcd.dump(key).await.unwrap().remove(key).as_deref(), Some(garbage), "{key} was written");
    match before {
        Some(value) => drop(client.put(key, value, None).await.unwrap()),
        None => drop(client.delete(key, None).await.unwrap()),
    }
}

fn expect_data_loss<T>(what: &str, key: &str, answer: Result<T, Status>) {
    let Err(error) = answer else { panic!("{what} took garbage in {key}") };
    assert_eq!(error.code(), Code::DataLoss, "{what}, {key}: {error:?}");
    let text = format!("bad topology data at {key}");
    assert!(error.message().contains(&text), "{what}, {key}: {error:?}");
}

async fn complete_dry(life: &Life) -> Result<(), Status> {
    let request = MoveTablesCompleteRequest {
        workflow: "import".to_owned(),
        target_keyspace: "customer".to_owned(),
        dry_run: true,
        ..MoveTablesCompleteRequest::default()
    };
    life.client().move_tables_complete(request).await.map(drop)
}

/// What each call says while one key holds garbage.
async fn ask_everything(life: &Life) -> BTreeMap<&'static str, Result<(), Status>> {
    let mut second = migrate("commerce", "customer");
    second.workflow = "second".to_owned();
    BTreeMap::from([
        ("create", life.create(second).await.map(drop)),
        ("status", life.status("customer").await.map(drop)),
        ("show", life.workflows("customer").await.map(drop)),
        ("complete --dry-run", complete_dry(life).await),
        ("mount show", life.client().mount_show(MountShowRequest { name: MOUNT.to_owned() }).await.map(drop)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_named_and_nothing_is_written() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}"),
        Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).vschema(SHARDED).first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let global = |path: &str| format!("/vitess/global/{path}");
    let record = global("internal/vtmigrated/customer/import/Record");
    let mount = global("ExternalClusters/vitess/ext1");
    let clean = life.target.snapshot().await.unwrap();

    // before there is a workflow, only create can meet them
    let ours = ["keyspaces/customer/VSchema", "keyspaces/customer/shards/80-/Shard", "ExternalClusters/vitess/ext1"];
    let theirs = ["keyspaces/commerce/VSchema", "keyspaces/commerce/shards/0/Shard", "keyspaces/commerce/Keyspace"];
    let keys = ours.map(|key| (life.target.etcd(), global(key))).into_iter();
    let keys = keys.chain(theirs.map(|key| (life.source.etcd(), global(key))));
    let keys = keys.chain([
        (life.source.etcd(), "/vitess/zone1/SrvVSchema".to_owned()),
        (life.source.etcd(), "/vitess/zone1/tablets/zone1-0000000100/Tablet".to_owned()),
        (life.target.etcd(), "/vitess/zone2/tablets/zone2-0000000200/Tablet".to_owned()),
        (life.target.etcd(), record.clone()),
    ]);
    for (etcd, key) in keys {
        for garbage in GARBAGE {
            with_garbage(etcd, &key, garbage, async || {
                expect_data_loss("create", &key, life.create(migrate("commerce", "customer")).await);
            })
            .await;
        }
    }
    assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());

    // with a workflow: each key of the target's topology in turn
    life.create(migrate("commerce", "customer")).await.unwrap();
    life.until_running("customer").await.unwrap();
    let running = life.target.etcd().dump("").await.unwrap();
    for key in running.keys() {
        with_garbage(life.target.etcd(), key, GARBAGE[0], async || {
            for (what, answer) in ask_everything(&life).await {
                let Err(error) = answer else { continue };
                let proofs_lack = what == "complete --dry-run" && error.message().contains("SOURCE_UNREACHABLE");
                if error.code() == Code::FailedPrecondition && proofs_lack {
                    let text = format!("bad topology data at {key}");
                    assert!(error.message().contains(&text), "{what}, {key}: {error:?}");
                } else if !(error.code() == Code::FailedPrecondition && what == "create") {
                    assert_eq!(error.code(), Code::DataLoss, "{what}, {key}: {error:?}");
                }
            }
        })
        .await;
    }
    assert_eq!(life.target.etcd().dump("").await.unwrap(), running);

    let shard = global("keyspaces/customer/shards/-80/Shard");
    for key in [&record, &shard] {
        with_garbage(life.target.etcd(), key, GARBAGE[2], async || {
            expect_data_loss("complete", key, life.complete("customer").await);
            expect_data_loss("cancel", key, life.cancel("customer", false).await);
            expect_data_loss("complete --dry-run", key, complete_dry(&life).await);
        })
        .await;
    }
    with_garbage(life.target.etcd(), &mount, GARBAGE[2], async || {
        let name = || MOUNT.to_owned();
        expect_data_loss("mount show", &mount, life.client().mount_show(MountShowRequest { name: name() }).await);
        let unregister = MountUnregisterRequest { name: name() };
        expect_data_loss("unregister", &mount, life.client().mount_unregister(unregister).await);
        expect_data_loss("register", &mount, life.client().mount_register(life.mount(MOUNT)).await);
        // the workflow can do without its mount
        life.status("customer").await.unwrap();
    })
    .await;
    life.cancel("customer", false).await.unwrap();
    assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());
    life.finish().await.unwrap();
}
