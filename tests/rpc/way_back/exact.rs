//! The cut between source and target: clients are kept from the source before it is proven for the last time, and where that cannot be
//! it is told.

use std::time::{Duration, Instant};

use prost::Message;
use tonic::Code;
use vtmigrated::context::Options;
use vtmigrated::topo::{self, Expect, Write, paths};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::MoveTablesCompleteRequest;
use vtmigrated_proto::vtmigrated::Severity;

use crate::support::faulty_source::Switch;
use crate::support::migrate_rig::Rig;
use crate::support::tablet;
use crate::way_back::commands::{copied, denied, found, give_up, go_back, prepare, status, stored};
use crate::way_back::vdiff::{compared, equal_now};

/// A position that streams have not reached.
const LATER: &str = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-200";

/// The phase that the record tells.
async fn phase(rig: &Rig) -> String {
    rig.way_back().await.unwrap()["phase"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn clients_have_the_source_again_when_what_they_wrote_last_is_not_applied() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let before = stored(&rig).await;
    let permits = rig.source.holds("LOCK TABLES");
    let failing = async {
        rig.source.was_asked("LOCK TABLES").await;
        assert_eq!(denied(&rig).await, ["customer", "orders"]);
        assert_eq!(phase(&rig).await, "noted", "a server that dies now leaves what others lift");
        for primary in &rig.target {
            assert!(!primary.contents().calls.iter().any(|call| call == "Update Stopped"), "streams run still");
        }
        rig.target[0].contents().workflows[0].streams[0].state = State::Error.into();
        permits.add_permits(10);
    };
    let (answer, ()) = tokio::join!(rig.complete(), failing);
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().starts_with("cannot complete workflow import in keyspace customer"), "{refused:?}");
    assert!(!refused.message().contains("stay denied"), "{refused:?}");
    assert_eq!(stored(&rig).await, before, "clients have the source");
    assert_eq!(phase(&rig).await, "prepared");
    let refreshed = rig.source.taken().into_iter().filter(|call| call == "RefreshState").count();
    assert_eq!(refreshed, 2, "of the denial, and of its end");

    rig.target[0].contents().workflows[0].streams[0].state = State::Running.into();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open") && !summary.contains("EXACT"), "{summary}");
    assert_eq!(found(&status(&rig).await.unwrap(), "WAY_BACK_BOTH_WRITTEN"), None);
}

#[tokio::test]
async fn clients_have_the_source_again_soon_when_what_they_wrote_last_takes_long() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let before = stored(&rig).await;
    let permits = rig.source.holds("LOCK TABLES");
    let writing = async {
        rig.source.was_asked("LOCK TABLES").await;
        rig.source.contents().position = Some(LATER);
        permits.add_permits(10);
        Instant::now()
    };
    let (answer, written) = tokio::join!(rig.complete(), writing);
    // half a minute is for streams that are behind while clients can write
    assert!(written.elapsed() < Duration::from_secs(25), "{:?}", written.elapsed());
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().starts_with("cannot complete workflow import in keyspace customer"), "{refused:?}");
    assert_eq!((stored(&rig).await, phase(&rig).await.as_str()), (before, "prepared"), "clients have the source");
}

/// Adds a shard to the source as a Reshard leaves an old one: it does not serve, and its primary is on a host that has crashed.
pub async fn add_dead_spare(rig: &Rig) {
    // nobody listens there
    add_spare(rig, 1).await;
}

/// The same with its primary at a port.
pub async fn add_spare(rig: &Rig, port: u16) {
    rig.add_source_tablet(&tablet("src1", 1200, "commerce", "-80", TabletType::Primary, port)).await;
    let topo = rig.source_topology().await;
    let mut record = topo::shard::get(topo.global(), "commerce", "-80").await.unwrap().value;
    record.is_primary_serving = false;
    let write = Write::put(paths::shard("commerce", "-80"), record.encode_to_vec(), Expect::Any);
    topo.global().write_one(write, None).await.unwrap();
}

#[tokio::test]
async fn a_shard_of_the_source_that_does_not_serve_and_does_not_answer_keeps_nobody_from_going_back() {
    let (rig, _) = copied().await;
    add_dead_spare(&rig).await;
    prepare(&rig).await.unwrap();
    rig.complete().await.unwrap();
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.summary.as_str()), ("open", "GO"), "{told:?}");
    let from: Vec<_> = told.streams.iter().map(|s| (s.from_shard.as_str(), s.to_shard.as_str())).collect();
    assert_eq!(from, [("-80", "0"), ("80-", "0")]);
    assert!(prepare(&rig).await.unwrap().summary.starts_with("the way back is open already"));
    let told = go_back(&rig).await.unwrap();
    assert!(told.summary.starts_with("commerce of ext1 serves again"), "{told:?}");
    assert_eq!(denied(&rig).await, Vec::<String>::new());
    assert_eq!(rig.source.streams(), vec![]);
}

#[tokio::test]
async fn a_shard_of_the_source_that_does_not_serve_and_does_not_answer_keeps_no_client_from_the_source() {
    let (rig, _) = copied().await;
    add_dead_spare(&rig).await;
    prepare(&rig).await.unwrap();
    let before = stored(&rig).await;
    rig.target[1].contents().fails = vec!["Update Stopped"];
    let failed = rig.complete().await.unwrap_err();
    assert!(failed.message().contains("told to fail: Update Stopped"), "{failed:?}");
    assert!(!failed.message().contains("stay denied"), "{failed:?}");
    assert_eq!(stored(&rig).await, before, "clients have the source");

    rig.target[1].contents().fails.clear();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
    give_up(&rig).await.unwrap();
    assert_eq!(denied(&rig).await, Vec::<String>::new());
}

#[tokio::test]
async fn transactions_of_the_source_that_cannot_be_waited_for_are_told() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    rig.source.contents().fails = vec!["LOCK TABLES"];
    let summary = rig.complete().await.unwrap();
    for text in [
        "; the way back is open",
        "; THE CUT WAS NOT EXACT (what the source's clients had begun to write may not have ended: ",
        "vtmigrated way-back vdiff create",
    ] {
        assert!(summary.contains(text), "{text}: {summary}");
    }
    let record = rig.way_back().await.unwrap();
    assert_eq!((record.get("inexact"), record.get("both_written")), (Some(&serde_json::json!(true)), None));
    only_goes_back_once_rows_are_equal(&rig).await;
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_cut_that_is_not_proven_for_its_caller_insists_is_told_to_be_inexact() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    rig.source.contents().fails = vec!["PrimaryPosition"];
    let insisting = MoveTablesCompleteRequest { ignore_source_keyspace: true, ..MoveTablesCompleteRequest::default() };
    let summary = rig.complete_as(insisting).await.unwrap().summary;
    for text in [
        "; ignored as --ignore-source-keyspace asks: ",
        "SOURCE_UNREACHABLE shard commerce/0",
        "; the way back is open",
        "; THE CUT WAS NOT EXACT (nobody has proven that the target has everything): ",
    ] {
        assert!(summary.contains(text), "{text}: {summary}");
    }
    rig.source.contents().fails.clear();
    only_goes_back_once_rows_are_equal(&rig).await;
    assert_eq!(stored(&rig).await, before);
}

/// What clients of the target change in rows that the source had deleted would be lost.
async fn only_goes_back_once_rows_are_equal(rig: &Rig) {
    // none, and one of before
    for _ in 0..2 {
        let told = status(rig).await.unwrap();
        assert_eq!((told.clear, found(&told, "WAY_BACK_BOTH_WRITTEN")), (false, Some(Severity::Blocks)), "{told:?}");
        let refused = go_back(rig).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        let begins =
            "cannot go back with workflow customer.import: clients could write to the source after the target had";
        assert!(refused.message().starts_with(begins), "{refused:?}");
        assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves on");
        compared(&rig.source, "completed", 0);
    }
    equal_now(&rig.source);
    let told = status(rig).await.unwrap();
    assert_eq!((told.clear, found(&told, "WAY_BACK_BOTH_WRITTEN")), (true, None), "{told:?}");
    go_back(rig).await.unwrap();
}

#[tokio::test]
async fn a_server_that_goes_on_without_proofs_only_warns_of_a_cut_that_was_not_exact() {
    let options = Options { allow_unfinished_complete: true, ..Options::default() };
    let rig = Rig::with_options(&["customer", "orders"], options).await;
    rig.copied().await;
    prepare(&rig).await.unwrap();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; THE CUT WAS NOT EXACT"), "{summary}");
    let told = status(&rig).await.unwrap();
    assert_eq!((told.clear, found(&told, "WAY_BACK_BOTH_WRITTEN")), (true, Some(Severity::Warns)), "{told:?}");
    go_back(&rig).await.unwrap();
}

#[tokio::test]
async fn a_source_whose_topology_takes_no_writes_just_now_makes_no_complete_fail() {
    let switch = Switch::default();
    let rig = switch.rig().await;
    rig.copied().await;
    prepare(&rig).await.unwrap();
    switch.is_read_only();
    rig.target[1].contents().fails = vec!["Update Stopped"];
    let failed = rig.complete().await.unwrap_err();
    assert!(failed.message().contains("told to fail: Update Stopped"), "{failed:?}");
    assert!(!failed.message().contains("stay denied"), "nothing was denied: {failed:?}");
    assert_eq!(phase(&rig).await, "prepared");

    rig.target[1].contents().fails.clear();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; CLIENTS MAY WRITE TO BOTH SIDES until then"), "{summary}");
    assert_eq!(found(&status(&rig).await.unwrap(), "WAY_BACK_BOTH_WRITABLE"), Some(Severity::Blocks));
    switch.works();
    prepare(&rig).await.unwrap();
    only_goes_back_once_rows_are_equal(&rig).await;
}

#[tokio::test]
async fn a_dry_run_tells_the_denial_first_and_changes_nothing() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let before = stored(&rig).await;
    let dry_run = MoveTablesCompleteRequest { dry_run: true, ..MoveTablesCompleteRequest::default() };
    let steps = rig.complete_as(dry_run).await.unwrap().dry_run_results;
    assert_eq!(steps[1], "Deny writes of clients to the tables of commerce of ext1", "{steps:?}");
    assert_eq!(stored(&rig).await, before);
    assert_eq!((phase(&rig).await.as_str(), rig.source.taken()), ("prepared", Vec::new()));
}
