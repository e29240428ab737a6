//! The handover of a migration that has a way back, where it fails: clients have one side, or are told of both.

use prost::Message;
use tonic::Code;
use vtmigrated::topo::{self, paths};
use vtmigrated_proto::vtmigrated::Severity;
use vtmigrated_proto::vttime::Time;

use crate::support::faulty_source::Switch;
use crate::support::migrate_tablet::MigrateTablet;
use crate::way_back::commands::{copied, denied, found, give_up, go_back, opened, prepare, status, stored};
use crate::way_back::exact::add_spare;
use crate::way_back::vdiff::equal_now;

#[tokio::test]
async fn a_handover_that_a_reparent_refuses_leaves_clients_the_source() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let before = stored(&rig).await;
    let permits = rig.source.holds("CreateVReplicationWorkflow");
    let reparented = async {
        // the streams of the migration stand by then, and the source's tables are denied
        rig.source.was_asked("CreateVReplicationWorkflow").await;
        let mut shard = topo::shard::get(rig.lab.topo.global(), "customer", "80-").await.unwrap().value;
        shard.primary_term_start_time = Some(Time { seconds: 1_900_000_000, nanoseconds: 0 });
        rig.lab.put(&paths::shard("customer", "80-"), shard.encode_to_vec()).await;
        assert_eq!(denied(&rig).await, ["customer", "orders"]);
        permits.add_permits(10);
    };
    let (answer, ()) = tokio::join!(rig.complete(), reparented);
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    assert!(refused.message().contains("shard 80- got another primary meanwhile"), "{refused:?}");
    let both = ["customer".to_owned(), "orders".to_owned()];
    assert_eq!(rig.denied().await, [both.to_vec(), both.to_vec()], "nothing was handed over");
    assert_eq!(stored(&rig).await, before, "clients have the source");
    assert_eq!(rig.source.streams(), vec![]);
    assert_eq!(rig.way_back().await.unwrap()["phase"], "noted");

    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
}

#[tokio::test]
async fn a_failure_after_the_handover_says_who_serves_and_is_finished_by_a_repeat() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.target[1].contents().fails = vec!["RefreshState"];
    let failed = rig.complete().await.unwrap_err();
    for text in [
        "told to fail: RefreshState",
        "the target is the one that serves from here on, and clients may not be able to write to its tables yet",
        "finish it: Migrate --target-keyspace customer --workflow import complete",
    ] {
        assert!(failed.message().contains(text), "{text}: {failed:?}");
    }
    assert_eq!(denied(&rig).await, ["customer", "orders"], "the source does not");
    assert_eq!(status(&rig).await.unwrap().phase, "handed over");

    rig.target[1].contents().fails.clear();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
}

#[tokio::test]
async fn an_early_refusal_tells_what_an_interrupted_complete_has_left_denied() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    // as a server leaves it that dies when it has denied the source's tables
    rig.set_way_back(serde_json::json!({"phase": "noted", "source_denied": [[["0"], ["customer"]]]})).await;
    // another workflow works on its tables
    rig.target[0].add_stream("other", 70, "elsewhere", "customer");
    for answer in [rig.complete().await, rig.cancel(false).await] {
        let refused = answer.unwrap_err();
        for text in
            ["another workflow works on its tables", "the source's tables stay denied to clients", "way-back cancel"]
        {
            assert!(refused.message().contains(text), "{text}: {refused:?}");
        }
    }
    rig.target[0].contents().workflows.retain(|workflow| workflow.workflow != "other");
    give_up(&rig).await.unwrap();
    assert_eq!(denied(&rig).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_cancel_that_was_cut_off_has_left_denied_is_told_and_goes_with_the_migration() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    let tables = ["customer", "orders"];
    rig.set_way_back(serde_json::json!({"phase": "cancelling", "source_denied": [[["0"], tables]]})).await;
    rig.deny_source(&tables).await;
    rig.target[0].add_stream("other", 70, "elsewhere", "customer");
    for answer in [rig.complete().await, rig.cancel(false).await] {
        let refused = answer.unwrap_err();
        assert!(refused.message().contains("the source's tables stay denied to clients"), "{refused:?}");
    }
    rig.target[0].contents().workflows.retain(|workflow| workflow.workflow != "other");
    let summary = rig.cancel(false).await.unwrap();
    assert!(summary.contains("; its way back is taken away, too"), "{summary}");
    assert_eq!(stored(&rig).await, before);

    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.set_way_back(serde_json::json!({"phase": "cancelling"})).await;
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; its way back is not taken away yet: vtmigrated way-back cancel"), "{summary}");
    give_up(&rig).await.unwrap();
}

#[tokio::test]
async fn a_source_that_could_not_be_denied_is_told_of_until_it_is() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.source.contents().fails = vec!["RefreshState"];
    let summary = rig.complete().await.unwrap();
    for text in [
        "; THE WAY BACK IS NOT OPEN YET: ",
        "; CLIENTS MAY WRITE TO BOTH SIDES until then, for the tables of commerce of ext1 are not denied",
        "; to open it: vtmigrated way-back prepare",
    ] {
        assert!(summary.contains(text), "{text}: {summary}");
    }
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves");
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("handed over", false));
    assert_eq!(found(&told, "WAY_BACK_BOTH_WRITABLE"), Some(Severity::Blocks), "{told:?}");

    rig.source.contents().fails.clear();
    prepare(&rig).await.unwrap();
    assert_eq!(denied(&rig).await, ["customer", "orders"]);
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("open", false), "{told:?}");
    assert_eq!(found(&told, "WAY_BACK_BOTH_WRITABLE"), None, "{told:?}");
    assert_eq!(found(&told, "WAY_BACK_BOTH_WRITTEN"), Some(Severity::Blocks), "{told:?}");
    equal_now(&rig.source);
    go_back(&rig).await.unwrap();
}

#[tokio::test]
async fn tables_that_somebody_opens_in_the_source_are_told() {
    let (rig, before) = opened().await;
    rig.deny_source(&[]).await;
    let told = status(&rig).await.unwrap();
    assert!(told.clear, "{told:?}");
    assert_eq!(found(&told, "WAY_BACK_BOTH_WRITABLE"), Some(Severity::Warns), "{told:?}");
    assert_eq!(found(&told, "DENIED_MISSING"), None, "{told:?}");
    give_up(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_source_that_somebody_opens_before_the_way_back_is_open_is_told_when_it_is_denied_again() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.source.contents().fails = vec!["CreateVReplicationWorkflow"];
    rig.complete().await.unwrap();
    rig.source.contents().fails.clear();
    assert_eq!(found(&status(&rig).await.unwrap(), "WAY_BACK_BOTH_WRITTEN"), None);
    rig.deny_source(&[]).await;
    assert_eq!(found(&status(&rig).await.unwrap(), "WAY_BACK_BOTH_WRITABLE"), Some(Severity::Blocks));
    prepare(&rig).await.unwrap();
    assert_eq!(denied(&rig).await, ["customer", "orders"]);
    assert_eq!(found(&status(&rig).await.unwrap(), "WAY_BACK_BOTH_WRITTEN"), Some(Severity::Blocks));
}

#[tokio::test]
async fn a_shard_of_the_source_that_does_not_serve_is_not_told_to_be_open_to_clients() {
    let (rig, _) = opened().await;
    let spare = MigrateTablet::default();
    add_spare(&rig, spare.start().await).await;
    assert_eq!(found(&status(&rig).await.unwrap(), "WAY_BACK_BOTH_WRITABLE"), None);
    go_back(&rig).await.unwrap();
}

#[tokio::test]
async fn a_repeat_that_does_not_reach_the_source_says_nothing_of_clients_that_were_kept_from_it() {
    let switch = Switch::default();
    let rig = switch.rig().await;
    rig.copied().await;
    prepare(&rig).await.unwrap();
    let kept = rig.record().await.unwrap();
    rig.source.contents().fails = vec!["CreateVReplicationWorkflow"];
    rig.complete().await.unwrap();
    assert_eq!(denied(&rig).await, ["customer", "orders"]);
    // as a server leaves it that dies before its last step
    rig.lab.put(&paths::workflow_record("customer", "import"), kept.to_string().into_bytes()).await;
    rig.set_record(serde_json::json!({ "completing": true, "handed_over": true })).await;
    switch.is_dead();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; THE WAY BACK IS NOT OPEN YET: "), "{summary}");
    assert!(!summary.contains("BOTH SIDES"), "{summary}");
    assert_eq!(rig.way_back().await.unwrap().get("both_written"), None);
    switch.works();
    rig.source.contents().fails.clear();
    prepare(&rig).await.unwrap();
    assert_eq!(status(&rig).await.unwrap().phase, "open");
}
