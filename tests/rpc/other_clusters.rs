//! A source that is another one than create has read: its mount leads elsewhere, or somebody has deleted it and made it anew.

use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::vtctldata::MoveTablesCompleteRequest;

use crate::migrate_rig::Rig;
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
