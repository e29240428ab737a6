//! Going back that fails, or that a server which died has left half done: on one side clients can write, or are told how.

use std::sync::Arc;

use serde_json::json;
use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated::workflow::leftovers;
use vtmigrated_proto::vtmigrated::Severity;

use crate::support::migrate_rig::Rig;
use crate::support::{assert_refused, context};
use crate::way_back::commands::{copied, denied, give_up, go_back, opened, prepare, status, stored};

const NONE: [Vec<String>; 2] = [Vec::new(), Vec::new()];

/// As a server leaves it that dies when it has denied the target's tables.
pub async fn closing(rig: &Rig) {
    let target_denied = json!([[["-80", "80-"], ["customer", "orders"]]]);
    rig.set_way_back(json!({"phase": "closing", "target_denied": target_denied})).await;
    rig.deny(&["customer", "orders"]).await;
}

#[tokio::test]
async fn a_repeat_that_is_refused_at_once_opens_the_target_again() {
    let (rig, before) = opened().await;
    closing(&rig).await;
    let stream = rig.source.contents().workflows[0].streams.pop().unwrap();
    let text = "the way back does not stand: shard commerce/0: there is no stream from shard 80-";
    assert_refused(go_back(&rig).await, Code::FailedPrecondition, text);
    assert_eq!(rig.denied().await, NONE, "clients write to the target");
    assert_eq!(status(&rig).await.unwrap().phase, "open");
    rig.source.contents().workflows[0].streams.push(stream);
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn going_back_that_was_interrupted_is_no_go_and_names_its_commands() {
    let (rig, before) = opened().await;
    closing(&rig).await;
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("closing", false), "{told:?}");
    for command in ["vtmigrated way-back complete", "vtmigrated way-back cancel"] {
        assert!(told.summary.contains(command), "{command}: {told:?}");
    }
    rig.set_way_back(json!({"phase": "returned"})).await;
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("returned", false), "{told:?}");
    assert!(told.summary.contains("finish going back: vtmigrated way-back complete"), "{told:?}");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_keeps_no_client_from_the_target() {
    let (rig, before) = opened().await;
    closing(&rig).await;
    rig.source.freeze();
    let kept = rig.mount_elsewhere().await;
    let refused = go_back(&rig).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let text = "clients write to the target, and the streams of the way back may stand: run the command again, or";
    assert!(
        refused.message().starts_with("mount ext1 is not the one") && refused.message().contains(text),
        "{refused:?}"
    );
    assert_eq!(rig.denied().await, NONE);
    rig.lab.put(&paths::external_cluster("ext1"), kept).await;
    assert_eq!(status(&rig).await.unwrap().phase, "open");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn who_stays_with_the_target_after_all_finds_it_open() {
    let (rig, before) = opened().await;
    closing(&rig).await;
    give_up(&rig).await.unwrap();
    assert_eq!(rig.denied().await, NONE);
    assert_eq!(stored(&rig).await, before);
    assert_eq!(rig.source.streams(), vec![]);
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn streams_that_stand_after_going_back_failed_are_told_and_run_on_by_prepare() {
    let (rig, before) = opened().await;
    rig.source.freeze();
    let told = status(&rig).await.unwrap();
    let stands = told.findings.iter().find(|finding| finding.id == "WAY_BACK_STANDS").unwrap();
    assert_eq!(stands.severity(), Severity::Warns, "{told:?}");
    assert!(stands.fix.contains("way-back prepare"), "{stands:?}");
    let summary = prepare(&rig).await.unwrap().summary;
    assert!(summary.starts_with("the way back is open, and its streams run on"), "{summary}");
    let told = status(&rig).await.unwrap();
    assert!(!told.findings.iter().any(|finding| finding.id == "WAY_BACK_STANDS"), "{told:?}");
    let summary = prepare(&rig).await.unwrap().summary;
    assert!(summary.starts_with("the way back is open already"), "{summary}");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_server_of_the_source_tells_who_ends_going_back_that_was_interrupted() {
    let (rig, _) = opened().await;
    rig.source.freeze();
    let found = leftovers::find(&context(Arc::new(rig.source_topology().await)), "commerce").await.unwrap();
    let left = found.iter().find(|left| left.finding.id == "COMPLETE_INTERRUPTED").unwrap();
    assert_eq!(left.finding.subject, "workflow commerce.import_back");
    let command = "vtmigrated way-back complete --target-keyspace customer --workflow import";
    assert!(left.finding.fix.contains(command), "{left:?}");
}

#[tokio::test]
async fn the_way_back_of_an_earlier_migration_is_none_of_a_later_one_of_its_name() {
    let (rig, _) = opened().await;
    rig.target[0].add_stream("import", 70, "ext1", "customer");
    let text = "workflow customer.import has a way back already, of another migration of that name";
    assert_refused(prepare(&rig).await, Code::AlreadyExists, text);
}

#[tokio::test]
async fn tables_that_somebody_else_denies_in_the_source_stay_denied_and_are_told() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.deny_source(&["orders"]).await;
    rig.complete().await.unwrap();
    let told = go_back(&rig).await.unwrap();
    let lift = "SetShardTabletControl --remove --denied-tables orders commerce/0 primary";
    assert!(told.summary.contains(lift), "{told:?}");
    assert_eq!(denied(&rig).await, ["orders"]);
}

#[tokio::test]
async fn a_failure_after_the_source_has_everything_says_who_serves_and_is_finished_by_a_repeat() {
    let (rig, before) = opened().await;
    rig.source.contents().fails = vec!["RefreshState"];
    let failed = go_back(&rig).await.unwrap_err();
    for text in
        ["commerce of ext1 is the one that serves from here on", "finish going back: vtmigrated way-back complete"]
    {
        assert!(failed.message().contains(text), "{text}: {failed:?}");
    }
    assert_eq!(status(&rig).await.unwrap().phase, "returned");
    assert_refused(
        give_up(&rig).await,
        Code::FailedPrecondition,
        "the way back of workflow customer.import is returned",
    );
    rig.source.contents().fails.clear();
    go_back(&rig).await.unwrap();
    assert_eq!(denied(&rig).await, Vec::<String>::new());
    assert_eq!(stored(&rig).await, before);
}

/// As a server leaves it that dies before it has opened the source; somebody has opened the target by hand since.
async fn returned_and_opened(rig: &Rig) {
    closing(rig).await;
    rig.source.freeze();
    rig.set_way_back(json!({"phase": "returned"})).await;
    rig.deny(&[]).await;
}

#[tokio::test]
async fn a_target_that_somebody_opens_while_going_back_is_interrupted_serves_again() {
    let (rig, before) = opened().await;
    returned_and_opened(&rig).await;
    let refused = go_back(&rig).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    for text in ["somebody has opened tables on customer/-80, customer/80- to clients", "way-back cancel"] {
        assert!(refused.message().contains(text), "{text}: {refused:?}");
    }
    assert_eq!(denied(&rig).await, ["customer", "orders"], "the source does not");
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("open", true), "what was written is brought: {told:?}");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);

    let (rig, before) = opened().await;
    returned_and_opened(&rig).await;
    rig.deny_source(&[]).await;
    let told = go_back(&rig).await.unwrap();
    assert!(told.summary.contains("; but somebody has opened some on customer/-80, customer/80-: "), "{told:?}");
    assert_eq!(stored(&rig).await, before);
}
