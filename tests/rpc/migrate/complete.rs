//! Complete: what it proves before it hands tables over, and the ways back and on when it cannot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use serde_json::json;
use tonic::{Code, Status};
use vtmigrated::topo::paths;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{Shard, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::{Severity, VerdictRequest};
use vtmigrated_proto::vttime::Time;

use crate::support::vdiff_rig::Rig;
use crate::support::vdiff_tablet::{DiffTablet, stream};

pub const TABLES: [&str; 2] = ["customer", "orders"];

pub fn position(to: u64) -> String {
    format!("MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{to}")
}

/// A stream of the source's shard that runs, has just heard of its source and is at a transaction.
pub fn running(to: u64) -> Stream {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    let time_updated = Some(Time { seconds, nanoseconds: 0 });
    Stream { pos: position(to).into_bytes(), time_updated, ..stream(1, "ext1", "commerce", "0") }
}

pub fn frozen(to: u64) -> Stream {
    Stream { state: State::Stopped.into(), message: b"FROZEN".to_vec(), ..running(to) }
}

/// A source at transaction 100, two streams as given, tables that are denied, and the record of a create.
pub async fn rig(streams: [Stream; 2], changes: serde_json::Value) -> Rig {
    let rig = Rig::start().await;
    rig.source[0].set(|c| c.position = position(100));
    for (primary, stream) in rig.primaries.iter().zip(streams) {
        primary.set(|c| c.streams = vec![stream]);
    }
    let by_shard = json!([["-80", TABLES], ["80-", TABLES]]);
    let mut record = json!({
        "phase": "created", "mount": "ext1", "source": ["commerce", ["0"]], "arguments": "", "tables": TABLES,
        "created_tables": by_shard, "vschema_tables": [], "denied_tables": by_shard,
    });
    record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    rig.lab.put(&paths::workflow_record("customer", "import"), record.to_string().into_bytes()).await;
    for shard in ["-80", "80-"] {
        let mut record = shard_record(&rig, shard).await;
        let denied_tables = TABLES.map(str::to_owned).to_vec();
        let tablet_type = TabletType::Primary.into();
        record.tablet_controls = vec![TabletControl { tablet_type, denied_tables, ..TabletControl::default() }];
        rig.lab.put(&paths::shard("customer", shard), record.encode_to_vec()).await;
    }
    rig
}

pub async fn shard_record(rig: &Rig, shard: &str) -> Shard {
    vtmigrated::topo::shard::get(rig.lab.topo.global(), "customer", shard).await.unwrap().value
}

pub async fn denied(rig: &Rig) -> bool {
    let (left, right) = (shard_record(rig, "-80").await, shard_record(rig, "80-").await);
    !vtmigrated::topo::shard::denied(&left).is_empty() && !vtmigrated::topo::shard::denied(&right).is_empty()
}

pub async fn record(rig: &Rig) -> Option<serde_json::Value> {
    let node = rig.lab.topo.global().get(&paths::workflow_record("customer", "import")).await.ok()?;
    Some(serde_json::from_slice(&node.value).unwrap())
}

/// Completes; `insists`: as the stock client does with `--ignore-source-keyspace`.
pub async fn complete(rig: &Rig, insists: bool) -> Result<String, Status> {
    let request = MoveTablesCompleteRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        ignore_source_keyspace: insists,
        ..MoveTablesCompleteRequest::default()
    };
    Ok(rig.lab.client.clone().move_tables_complete(request).await?.into_inner().summary)
}

/// The steps that complete would run.
async fn dry_run(rig: &Rig, insists: bool) -> Result<String, Status> {
    let request = MoveTablesCompleteRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        dry_run: true,
        ignore_source_keyspace: insists,
        ..MoveTablesCompleteRequest::default()
    };
    let answer = rig.lab.client.clone().move_tables_complete(request).await?.into_inner();
    Ok(answer.dry_run_results.join("\n"))
}

pub async fn start(rig: &Rig) -> Result<(), Status> {
    let tablet_request = UpdateVReplicationWorkflowRequest {
        workflow: "import".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(State::Running.into()),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let request = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(tablet_request) };
    rig.lab.client.clone().workflow_update(request).await.map(|_| ())
}

/// What each primary was told to do with its streams.
pub fn changes(rig: &Rig) -> Vec<Vec<(Option<State>, Option<String>)>> {
    rig.primaries.iter().map(|p| std::mem::take(&mut p.0.lock().unwrap().changes)).collect()
}

pub fn streams(primary: &DiffTablet) -> Vec<Stream> {
    primary.0.lock().unwrap().streams.clone()
}

/// Refused, with these words, before anything was changed.
pub async fn refused(rig: &Rig, answer: Result<String, Status>, words: &[&str]) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    for word in words {
        assert!(status.message().contains(word), "{word}: {}", status.message());
    }
    assert!(changes(rig).concat().iter().all(|(_, message)| message.as_deref() != Some("FROZEN")));
    assert!(denied(rig).await);
}

/// Waits until complete has looked at the streams of a primary once more.
async fn looked_again(primary: &DiffTablet) {
    let before = primary.0.lock().unwrap().reads;
    while primary.0.lock().unwrap().reads < before + 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn dry_run_ids(rig: &Rig) -> Vec<String> {
    let request = MoveTablesCompleteRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        ..MoveTablesCompleteRequest::default()
    };
    let report = rig.lab.advisor.clone().dry_run_complete(request).await.unwrap().into_inner();
    let blocking = report.findings.into_iter().filter(|f| f.severity() == Severity::Blocks);
    blocking.map(|f| f.id).collect()
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_a_reason_to_refuse_until_the_caller_insists() {
    let rig = rig([running(100), running(100)], json!({})).await;
    rig.source[0].set(|c| c.position.clear());
    assert_eq!(dry_run_ids(&rig).await, ["SOURCE_UNREACHABLE"]);
    let insist = "MoveTables --workflow import --target-keyspace customer complete --ignore-source-keyspace";
    refused(&rig, dry_run(&rig, false).await, &["mysqld is down", insist]).await;
    refused(&rig, complete(&rig, false).await, &["shard commerce/0 of mount ext1", "mysqld is down", insist]).await;
    let planned = dry_run(&rig, true).await.unwrap();
    assert!(planned.contains("Remove the denied tables of the workflow on shards: -80,80-"), "{planned}");
    let summary = complete(&rig, true).await.unwrap();
    assert!(summary.starts_with("Successfully completed the import workflow in the customer keyspace"), "{summary}");
    assert!(summary.contains("ignored") && summary.contains("SOURCE_UNREACHABLE"), "{summary}");
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

/// A tablet that takes over writes its own record first, and then that of its shard.
#[tokio::test]
async fn a_source_primary_that_another_tablet_has_replaced_does_not_tell_the_sources_position() {
    let rig = rig([running(100), running(100)], json!({})).await;
    rig.source_is_primary_since(0, 10).await;
    rig.source_is_primary_since(1, 20).await;
    rig.source[1].set(|c| c.position = position(120));
    assert_eq!(dry_run_ids(&rig).await, ["SOURCE_UNREACHABLE"]);
    let words = [
        "shard 0 is being reparented: its record names src1-0000000100 as the primary, and src2-0000000101 says",
        "complete --ignore-source-keyspace",
    ];
    refused(&rig, complete(&rig, false).await, &words).await;
    let summary = dry_run(&rig, true).await.unwrap();
    assert!(summary.contains("Remove the denied tables"), "{summary}");
    // what is left of one that was replaced itself
    rig.source_is_primary_since(0, 30).await;
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn who_insists_does_not_skip_a_copy_and_is_told_of_nothing_when_all_is_proven() {
    let rig = rig([running(100), running(100)], json!({})).await;
    rig.primaries[0].set(|c| c.copying = vec![1]);
    refused(&rig, complete(&rig, true).await, &["copying is not over"]).await;
    rig.primaries[0].set(|c| c.copying.clear());
    let summary = complete(&rig, true).await.unwrap();
    assert_eq!(summary, "Successfully completed the import workflow in the customer keyspace");
}

/// A source that was restored turns streams away until it has as many transactions again, and what it has written in the place of
/// the lost ones they pass over then.
#[tokio::test]
async fn a_source_that_has_lost_what_streams_have_applied_is_a_reason_to_refuse_until_the_caller_insists() {
    let message = b"Error: GTIDSet Mismatch: requested source position".to_vec();
    let rig = rig([Stream { message, ..running(100) }, running(90)], json!({})).await;
    rig.source[0].set(|c| c.position = position(90));
    let words =
        ["customer/-80 stream 1: it has applied transactions that the source's primary does not have: ", ":91-100; "];
    refused(&rig, complete(&rig, false).await, &words).await;
    let summary = complete(&rig, true).await.unwrap();
    assert!(summary.contains("POSITION_AHEAD customer/-80 stream 1: "), "{summary}");
}

/// They go on after the source was asked, and one of them is turned away then by a tablet that lags.
#[tokio::test]
async fn a_source_that_streams_seem_to_be_ahead_of_is_asked_once_more() {
    let message = b"Error: GTIDSet Mismatch: requested source position".to_vec();
    let rig = rig([Stream { message, ..running(100) }, running(100)], json!({})).await;
    let is_asked_early = || rig.source[0].set(|c| (c.position, c.later_position) = (position(90), Some(position(100))));
    is_asked_early();
    assert_eq!(dry_run_ids(&rig).await, ["ERROR"]);
    is_asked_early();
    let request = VerdictRequest { keyspace: "customer".into(), workflow: "import".into() };
    let told = rig.lab.advisor.clone().verdict(request).await.unwrap().into_inner().findings;
    let blocking = told.iter().filter(|finding| finding.severity() == Severity::Blocks);
    assert_eq!(blocking.map(|finding| finding.id.as_str()).collect::<Vec<_>>(), ["ERROR"], "{told:?}");
}

/// The tablets of a target whose source is resharded delete streams, whatever these have left to copy, and leave their copy states.
#[tokio::test]
async fn what_a_reshard_of_the_source_left_uncopied_is_not_handed_over() {
    let next = || Stream { id: 2, ..running(100) };
    let rig = rig([next(), next()], json!({"streams": [["-80", [1]], ["80-", [1]]]})).await;
    rig.primaries[0].set(|c| c.copying = vec![1]);
    assert_eq!(dry_run_ids(&rig).await, ["COPYING"]);
    for insists in [false, true] {
        let words = ["customer/-80 stream 1: its copy was not over when it was replaced", "left: customer"];
        refused(&rig, complete(&rig, insists).await, &words).await;
    }
    rig.primaries[0].set(|c| c.copying.clear());
    complete(&rig, false).await.unwrap();
}

#[tokio::test]
async fn columns_that_the_source_does_not_tell_cost_no_position() {
    let rig = rig([running(100), running(90)], json!({})).await;
    rig.source[0].set(|c| c.hides_columns = true);
    let behind = rig.primaries[1].clone();
    let catching_up = tokio::spawn(async move {
        looked_again(&behind).await;
        behind.set(|c| {
            assert!(c.changes.is_empty(), "complete did not wait for the position");
            c.streams = vec![running(100)];
        });
    });
    let summary = complete(&rig, false).await.unwrap();
    assert!(summary.contains("not looked at, for nobody told: SCHEMA_UNKNOWN source keyspace commerce"), "{summary}");
    catching_up.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_fails_while_complete_waits_for_it_has_not_caught_up() {
    let rig = rig([running(100), running(90)], json!({})).await;
    let behind = rig.primaries[1].clone();
    let failing = tokio::spawn(async move {
        looked_again(&behind).await;
        let message = b"Data too long for column 'c' (errno 1406)".to_vec();
        behind.set(|c| c.streams = vec![Stream { state: State::Error.into(), message, ..running(95) }]);
    });
    refused(&rig, complete(&rig, false).await, &["customer/80- stream 1: its state is Error (Data too long"]).await;
    failing.await.unwrap();
    assert!(streams(&rig.primaries[1])[0].message.starts_with(b"Data too long"));
}

#[tokio::test]
async fn a_stream_that_goes_away_while_complete_waits_for_it_has_not_caught_up() {
    let mut second = running(100);
    second.id = 2;
    let rig = rig([running(100), running(90)], json!({})).await;
    rig.primaries[1].set(|c| c.streams.push(second.clone()));
    let behind = rig.primaries[1].clone();
    let going = tokio::spawn(async move {
        looked_again(&behind).await;
        behind.set(|c| c.streams = vec![second]);
    });
    refused(&rig, complete(&rig, false).await, &["streams went away while complete waited for them: 1"]).await;
    going.await.unwrap();
}

#[tokio::test]
async fn a_target_shard_that_lost_a_stream_is_not_handed_over() {
    let mut rig = rig([running(100), running(100)], json!({"source": ["commerce", ["-80", "80-"]]})).await;
    rig.add_source_shards(&["-80", "80-"], &position(100)).await;
    let of = |shard: &str| Stream { pos: position(100).into_bytes(), ..stream(1, "ext1", "commerce", shard) };
    rig.primaries[0].set(|c| c.streams = vec![of("-80")]);
    rig.primaries[1].set(|c| c.streams = vec![of("80-")]);
    assert!(dry_run_ids(&rig).await.is_empty());
    // create does not count it either
    rig.left_over_source_shard().await;
    assert!(dry_run_ids(&rig).await.is_empty());
    let mut facts = record(&rig).await.unwrap();
    facts["every_pair"] = json!(true);
    rig.lab.put(&paths::workflow_record("customer", "import"), facts.to_string().into_bytes()).await;
    refused(&rig, complete(&rig, false).await, &["shard customer/-80: it has no stream of the source's 80-"]).await;
    let summary = complete(&rig, true).await.unwrap();
    assert!(summary.contains("STREAM_MISSING shard customer/-80: "), "{summary}");
}

#[tokio::test]
async fn a_complete_that_is_repeated_lets_streams_run_on_that_are_behind() {
    let rig = rig([frozen(90), frozen(100)], json!({"completing": true})).await;
    for primary in &rig.primaries {
        primary.set(|c| c.runs_to = position(100));
    }
    complete(&rig, false).await.unwrap();
    let told = |state, message: Option<&str>| (Some(state), message.map(str::to_owned));
    let expected = [told(State::Stopped, Some("")), told(State::Running, None), told(State::Stopped, Some("FROZEN"))];
    assert_eq!(changes(&rig), [expected.clone(), expected]);
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn a_complete_that_is_repeated_proves_everything_again_until_the_tables_are_handed_over() {
    let rig = rig([frozen(100), frozen(100)], json!({"completing": true})).await;
    rig.source[0].set(|c| c.position.clear());
    assert_eq!(dry_run_ids(&rig).await, ["SOURCE_UNREACHABLE"]);
    refused(&rig, complete(&rig, false).await, &["mysqld is down"]).await;
    rig.primaries[1].set(|c| c.streams.clear());
    refused(&rig, complete(&rig, false).await, &["shard customer/80-: it has no stream of the workflow"]).await;
    let mut facts = record(&rig).await.unwrap();
    facts["handed_over"] = json!(true);
    rig.lab.put(&paths::workflow_record("customer", "import"), facts.to_string().into_bytes()).await;
    assert!(dry_run_ids(&rig).await.is_empty());
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn start_lets_a_workflow_run_on_that_a_complete_stopped_and_did_not_hand_over() {
    let rig = rig([frozen(100), running(100)], json!({"completing": true})).await;
    start(&rig).await.unwrap();
    for primary in &rig.primaries {
        let state = streams(primary)[0].state();
        assert_eq!((state, streams(primary)[0].message.as_slice()), (State::Running, b"".as_slice()));
    }
    assert_eq!(record(&rig).await.unwrap()["completing"], json!(false));
    assert!(denied(&rig).await);
}

#[tokio::test]
async fn start_is_refused_once_the_tables_are_handed_over() {
    let rig = rig([frozen(100), frozen(100)], json!({"completing": true, "handed_over": true})).await;
    let status = start(&rig).await.unwrap_err();
    assert!(status.message().starts_with("cannot start a workflow when it is frozen"), "{status}");
    assert!(streams(&rig.primaries[0])[0].message == b"FROZEN" && changes(&rig).concat().is_empty());
}

#[tokio::test]
async fn streams_that_complete_stopped_stay_so_when_clients_may_have_written_to_the_target() {
    let rig = rig([frozen(90), frozen(100)], json!({"completing": true})).await;
    let record = Shard { tablet_controls: Vec::new(), ..shard_record(&rig, "80-").await };
    rig.lab.put(&paths::shard("customer", "80-"), record.encode_to_vec()).await;
    assert!(start(&rig).await.unwrap_err().message().starts_with("cannot start a workflow when it is frozen"));
    assert!(changes(&rig).concat().is_empty());
}

#[tokio::test]
async fn a_workflow_that_stopped_after_its_copy_as_asked_is_completed() {
    let mut asked = running(50);
    asked.bls.as_mut().unwrap().stop_after_copy = true;
    (asked.state, asked.message) = (State::Stopped.into(), b"Stopped after copy.".to_vec());
    let rig = rig([asked.clone(), asked], json!({})).await;
    complete(&rig, false).await.unwrap();
}

#[tokio::test]
async fn positions_of_every_flavour_are_shown_and_compared_where_they_can_be() {
    let at = |position: &str| Stream { pos: position.as_bytes().to_vec(), ..running(1) };
    let rig = rig([at("MariaDB/0-1-5"), at("Newer/7")], json!({})).await;
    let request = GetWorkflowsRequest { keyspace: "customer".into(), ..GetWorkflowsRequest::default() };
    let shown = rig.lab.client.clone().get_workflows(request).await.unwrap().into_inner().workflows;
    let streams = shown[0].shard_streams.iter().flat_map(|entry| &entry.value.as_ref().unwrap().streams);
    let mut positions: Vec<&str> = streams.map(|stream| stream.position.as_str()).collect();
    positions.sort_unstable();
    assert_eq!(positions, ["0-1-5", "Newer/7"]);
    rig.source[0].set(|c| c.position = "MariaDB/0-1-5".into());
    refused(&rig, complete(&rig, false).await, &["customer/80- stream 1: its position, Newer/7, cannot be compared"])
        .await;
    rig.primaries[1].set(|c| c.streams = vec![at("MariaDB/0-2-6")]);
    complete(&rig, false).await.unwrap();
}

#[tokio::test]
async fn a_place_in_binlogs_says_nothing_when_the_stream_may_read_another_tablet() {
    let at = |position: &str| Stream { pos: position.as_bytes().to_vec(), ..running(1) };
    let rig = rig([at("FilePos/binlog.000009:44"), at("FilePos/binlog.000009:44")], json!({})).await;
    rig.source[0].set(|c| c.position = "FilePos/binlog.000009:44".into());
    refused(&rig, complete(&rig, false).await, &["the shard has several tablets"]).await;
}
