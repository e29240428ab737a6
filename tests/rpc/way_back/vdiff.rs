//! VDiffs of the rows on the way back: asked of the source's tablets, and told as those of a migration are.

use tonic::Code;
use vtmigrated_proto::tabletmanagerdata::VDiffResponse;
use vtmigrated_proto::vtctldata::{
    VDiffCreateRequest, VDiffDeleteRequest, VDiffResumeRequest, VDiffShowRequest, VDiffStopRequest,
};
use vtmigrated_proto::vtmigrated::{Severity, WayBackDiff, way_back_diff};

use crate::support::assert_refused;
use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::vdiff_tablet::{SUMMARY, result};
use crate::vdiff::UUID;
use crate::way_back::commands::{self, copied, go_back, prepare, status};
use crate::way_back::exact::add_dead_spare;

fn names() -> (String, String) {
    ("customer".to_owned(), "import".to_owned())
}

async fn create(rig: &Rig) -> Result<String, tonic::Status> {
    let (target_keyspace, workflow) = names();
    let request = VDiffCreateRequest { target_keyspace, workflow, uuid: UUID.into(), ..VDiffCreateRequest::default() };
    Ok(rig.lab.way_back.clone().v_diff_create(request).await?.into_inner().uuid)
}

async fn show(rig: &Rig, arg: &str) -> Result<WayBackDiff, tonic::Status> {
    let (target_keyspace, workflow) = names();
    let request = VDiffShowRequest { target_keyspace, workflow, arg: arg.into() };
    Ok(rig.lab.way_back.clone().v_diff_show(request).await?.into_inner())
}

/// A way back that is open; no tablet was asked for diffs.
async fn opened() -> Rig {
    let (rig, _) = commands::opened().await;
    rig.source.contents().diffs.clear();
    rig.target.iter().for_each(|primary| primary.contents().diffs.clear());
    rig
}

/// What the source's primary was asked: keyspace, workflow, action.
fn asked(rig: &Rig) -> Vec<[String; 3]> {
    let diffs = std::mem::take(&mut rig.source.contents().diffs);
    diffs.into_iter().map(|request| [request.keyspace, request.workflow, request.action]).collect()
}

fn on_source(action: &str) -> [String; 3] {
    ["commerce", "import_back", action].map(str::to_owned)
}

/// Lets a primary show a diff with a state and so many rows of one table that differ.
pub fn compared(primary: &MigrateTablet, state: &str, differing: u64) {
    compared_at("2026-11-22 01:00:00", primary, state, differing);
}

/// Lets a primary show a diff that began just now and found nothing.
pub fn equal_now(primary: &MigrateTablet) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    compared_at(&now, primary, "completed", 0);
}

fn compared_at(at: &str, primary: &MigrateTablet, state: &str, differing: u64) {
    let report = format!(
        r#"{{"TableName":"customer","ProcessedRows":10,"MatchingRows":{},"MismatchedRows":{differing},"ExtraRowsSource":{differing}}}"#,
        10 - differing
    );
    let mismatch = u8::from(differing > 0).to_string();
    let rows = ["customer", "orders"].map(|table| {
        let (mismatch, report) = if table == "customer" { (mismatch.as_str(), report.as_str()) } else { ("0", "") };
        [state, "", table, UUID, state, "10", at, "10", at, mismatch, report].map(str::to_owned).to_vec()
    });
    let output = Some(result(&SUMMARY, &rows));
    primary.contents().diff = Some(VDiffResponse { vdiff_uuid: UUID.into(), output, ..VDiffResponse::default() });
}

#[tokio::test]
async fn rows_are_compared_by_the_sources_tablets_once_the_way_back_is_open() {
    let (rig, _) = copied().await;
    let unknown = "workflow customer.import has no way back";
    assert_refused(create(&rig).await, Code::NotFound, unknown);
    assert_refused(show(&rig, "last").await, Code::NotFound, unknown);
    prepare(&rig).await.unwrap();
    let early = "the way back of workflow customer.import is prepared";
    assert_refused(create(&rig).await, Code::FailedPrecondition, early);

    let rig = opened().await;
    assert_eq!(create(&rig).await.unwrap(), UUID);
    let options = rig.source.contents().diffs[0].options.clone().unwrap();
    assert_eq!(options.picker_options.unwrap().source_cell, "zone1", "cells of the target, which it reads");
    assert_eq!(asked(&rig), [on_source("create"), on_source("resume")]);
    for primary in &rig.target {
        assert!(primary.contents().diffs.is_empty(), "the target is only read");
    }
}

#[tokio::test]
async fn what_a_diff_has_found_decides_whether_to_go_back() {
    let rig = opened().await;
    compared(&rig.source, "completed", 2);
    let shown = show(&rig, "last").await.unwrap();
    assert_eq!((shown.uuid.as_str(), shown.state.as_str(), shown.has_mismatch), (UUID, "completed", true));
    let shard = way_back_diff::Shard { shard: "0".into(), state: "completed".into(), error: String::new() };
    assert_eq!(shown.shards, [shard]);
    let customer = &shown.tables[0];
    assert_eq!((customer.name.as_str(), customer.mismatched_rows, customer.has_mismatch), ("customer", 2, true));
    assert_eq!((customer.only_in_target, customer.only_in_source), (2, 0), "the diff's source is the target");

    let told = status(&rig).await.unwrap();
    assert_eq!((told.clear, told.vdiff.as_str()), (false, "rows differ"), "{told:?}");
    let found = told.findings.iter().find(|found| found.id == "VDIFF_MISMATCH").unwrap();
    assert_eq!(found.severity(), Severity::Blocks);
    let command = "vtmigrated way-back vdiff create --target-keyspace customer --workflow import --wait";
    assert!(found.fix.contains(command) && !found.fix.contains("import_back"), "{found:?}");
    let refused = go_back(&rig).await.unwrap_err();
    assert!(
        refused.message().starts_with("cannot go back with workflow customer.import: VDIFF_MISMATCH"),
        "{refused:?}"
    );
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves on");

    compared(&rig.source, "completed", 0);
    let told = status(&rig).await.unwrap();
    assert!(told.clear && told.vdiff.starts_with("equal"), "{told:?}");
    go_back(&rig).await.unwrap();
}

#[tokio::test]
async fn a_diff_is_stopped_resumed_and_forgotten() {
    let rig = opened().await;
    compared(&rig.source, "stopped", 0);
    let client = || rig.lab.way_back.clone();
    let (target_keyspace, workflow) = names();
    let stop = VDiffStopRequest {
        target_keyspace: target_keyspace.clone(),
        workflow: workflow.clone(),
        uuid: UUID.into(),
        target_shards: Vec::new(),
    };
    client().v_diff_stop(stop).await.unwrap();
    assert_eq!(asked(&rig), [on_source("show"), on_source("stop")]);
    let resume = VDiffResumeRequest {
        target_keyspace: target_keyspace.clone(),
        workflow: workflow.clone(),
        uuid: UUID.into(),
        target_shards: Vec::new(),
    };
    client().v_diff_resume(resume).await.unwrap();
    assert_eq!(asked(&rig), [on_source("show"), on_source("resume")]);
    client().v_diff_delete(VDiffDeleteRequest { target_keyspace, workflow, arg: "all".into() }).await.unwrap();
    assert_eq!(asked(&rig), [on_source("delete")]);
}

#[tokio::test]
async fn streams_that_going_back_has_stopped_are_told_with_the_commands_of_the_way_back() {
    let rig = opened().await;
    rig.source.freeze();
    let refused = create(&rig).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("vtmigrated way-back complete --target-keyspace customer"), "{refused:?}");
    assert!(!refused.message().contains("Migrate "), "{refused:?}");
}

#[tokio::test]
async fn a_shard_of_the_source_that_does_not_serve_and_does_not_answer_keeps_nobody_from_comparing_rows() {
    let rig = opened().await;
    add_dead_spare(&rig).await;
    assert_eq!(create(&rig).await.unwrap(), UUID);
    assert_eq!(asked(&rig), [on_source("create"), on_source("resume")]);
    compared(&rig.source, "completed", 0);
    assert_eq!(show(&rig, "last").await.unwrap().state, "completed");
    asked(&rig);
    let (target_keyspace, workflow) = names();
    let (uuid, target_shards) = (UUID.to_owned(), Vec::new());
    let stop =
        VDiffStopRequest { target_keyspace: target_keyspace.clone(), workflow: workflow.clone(), uuid, target_shards };
    rig.lab.way_back.clone().v_diff_stop(stop).await.unwrap();
    assert_eq!(asked(&rig), [on_source("show"), on_source("stop")]);
    let all = VDiffDeleteRequest { target_keyspace, workflow, arg: "all".into() };
    rig.lab.way_back.clone().v_diff_delete(all).await.unwrap();
    assert_eq!(asked(&rig), [on_source("delete")]);

    // one on which it has streams counts
    let pairs = serde_json::json!([["0", ["-80", "80-"]], ["-80", ["-80"]]]);
    rig.set_way_back(serde_json::json!({"pairs": pairs})).await;
    for answer in [create(&rig).await.map(drop), show(&rig, "last").await.map(drop)] {
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(refused.message().contains("commerce/-80"), "{refused:?}");
    }
}
