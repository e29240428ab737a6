//! A source that is another one than create has read: its mount leads elsewhere, or somebody has deleted it and made it anew.

use std::sync::Arc;

use serde_json::json;
use tonic::{Code, Status};
use vtmigrated::topo::{Expect, Topo, Write, paths};
use vtmigrated_proto::vtctldata::{MountRegisterRequest, MountShowRequest, MoveTablesCompleteRequest};

use crate::support::migrate_rig::Rig;
use crate::support::refusal;

const TABLES: [&str; 2] = ["customer", "orders"];
const TOLD: &str = "mount ext1 does not lead to the keyspace commerce that create has read";

/// From now on the source's keyspace is another one of the same name.
async fn another_source(rig: &Rig) {
    let topo = rig.source_topology().await;
    let path = paths::keyspace("commerce");
    let value = topo.global().get(&path).await.unwrap().value;
    for write in [Write::delete(path.clone(), Expect::Any), Write::put(path.clone(), value, Expect::Any)] {
        topo.global().write_one(write, None).await.unwrap();
    }
}

#[tokio::test]
async fn complete_is_refused_where_the_mount_leads_to_another_source_until_the_caller_insists() {
    let rig = Rig::start().await;
    rig.copied().await;
    another_source(&rig).await;
    let verdict = rig.verdict().await.unwrap();
    assert!(verdict.findings.iter().any(|finding| finding.id == "MOUNT_CHANGED"), "{verdict:?}");
    let status = rig.status().await.unwrap().traffic_state;
    assert!(status.contains("Complete: NO-GO (mount changed, 1 reason)"), "{status}");
    let (code, text) = refusal(rig.complete().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains(TOLD), "{text}");
    assert_eq!(rig.denied().await[0], TABLES);
    let insisting = MoveTablesCompleteRequest { ignore_source_keyspace: true, ..MoveTablesCompleteRequest::default() };
    let summary = rig.complete_as(insisting).await.unwrap().summary;
    assert!(summary.contains("MOUNT_CHANGED mount ext1"), "{summary}");
    rig.expect_clean(&TABLES).await;
}

#[tokio::test]
async fn an_interrupted_create_does_not_go_on_from_another_source() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.set_record(json!({"phase": "creating"})).await;
    another_source(&rig).await;
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with(TOLD), "{text}");
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    rig.create().await.unwrap();
}

/// Records of older servers tell nothing of it.
#[tokio::test]
async fn what_a_record_does_not_tell_of_the_source_blocks_nothing() {
    let rig = Rig::start().await;
    rig.copied().await;
    assert!(rig.record().await.unwrap()["source_created"].is_i64());
    rig.set_record(json!({"source_created": null})).await;
    another_source(&rig).await;
    rig.complete().await.unwrap();
    rig.expect_clean(&TABLES).await;
}

/// `Mount register` of ext1 on another server.
async fn register(rig: &Rig, server: &str) -> Result<(), Status> {
    let (topo_type, topo_server, topo_root) = ("memory".into(), server.into(), "/vitess/global".into());
    let request = MountRegisterRequest { topo_type, topo_server, topo_root, name: "ext1".into() };
    rig.lab.client.clone().mount_register(request).await.map(drop)
}

/// A topology with the source's keyspace, of that making.
async fn topology(rig: &Rig, server: &str, created: i64) {
    let topo = Topo::open(Arc::clone(rig.lab.topo.dialer()), "memory", server, "/vitess/global").await.unwrap();
    let mut at = 0;
    while at < created - 1 {
        at = topo.global().write_one(Write::put("before", Vec::<u8>::new(), Expect::Any), None).await.unwrap();
    }
    let keyspace = Write::put(paths::keyspace("commerce"), Vec::<u8>::new(), Expect::Absent);
    assert_eq!(topo.global().write_one(keyspace, None).await.unwrap(), created);
}

#[tokio::test]
async fn a_mount_in_use_follows_its_cluster_to_another_topology_and_leads_to_no_other_cluster() {
    let rig = Rig::start().await;
    rig.copied().await;
    let created = rig.record().await.unwrap()["source_created"].as_i64().unwrap();
    topology(&rig, "moved", created).await;
    topology(&rig, "other", created + 1).await;
    for server in ["other", "empty"] {
        let (code, text) = refusal(register(&rig, server).await);
        assert_eq!(code, Code::AlreadyExists, "{text}");
        assert!(text.starts_with("mount ext1 is already registered (memory source /vitess/global)"), "{text}");
        assert!(text.contains("in use by: customer.import"), "{text}");
    }
    register(&rig, "moved").await.unwrap();
    let shown = rig.lab.client.clone().mount_show(MountShowRequest { name: "ext1".into() }).await.unwrap();
    assert_eq!(shown.into_inner().topo_server, "moved");
    register(&rig, "source").await.unwrap();
    // nobody can tell what a workflow has read whose record does not
    rig.set_record(json!({"source_created": null})).await;
    assert_eq!(refusal(register(&rig, "moved").await).0, Code::AlreadyExists);
    rig.complete().await.unwrap();
    rig.expect_clean(&TABLES).await;
    let (code, text) = refusal(register(&rig, "moved").await);
    assert_eq!(code, Code::AlreadyExists, "{text}");
    assert!(text.contains("unregister it first"), "{text}");
}
