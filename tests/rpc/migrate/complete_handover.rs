//! Complete, from the moment at which it has seen that nothing blocks: what may happen until clients have the tables, and what
//! it tells of it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use serde_json::json;
use tokio::sync::Semaphore;
use tonic::Code;
use vtmigrated::topo::{LockRequest, paths};
use vtmigrated_proto::binlogdata::{Rule, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Shard;
use vtmigrated_proto::vschema::{Keyspace as VSchema, Table, keyspace::TablesEntry};
use vtmigrated_proto::vtctldata::{VDiffResumeRequest, WorkflowDeleteRequest};
use vtmigrated_proto::vttime::Time;

use crate::migrate::complete::{
    TABLES, changes, complete, denied, frozen, position, record, refused, rig, running, shard_record, start, streams,
};
use crate::support::vdiff_rig::Rig;
use crate::support::vdiff_tablet::Diff;
use crate::support::{Log, refusal};
use crate::vdiff::show::{ERROR, log};

const UUID: &str = "00000000-0000-4000-8000-000000000001";

fn diff(state: &str) -> Diff {
    Diff { uuid: UUID.into(), state: state.into(), ..Diff::default() }
}

/// Waits until every primary was told to stop its streams for good.
async fn stopped_for_good(rig: &Rig) {
    let told =
        |changes: &[(Option<State>, Option<String>)]| changes.iter().any(|(_, m)| m.as_deref() == Some("FROZEN"));
    while !rig.primaries.iter().all(|primary| told(&primary.0.lock().unwrap().changes)) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_table_that_every_stream_leaves_out_is_not_handed_over() {
    let without = |to: u64| {
        let mut stream: Stream = running(to);
        let rules = &mut stream.bls.as_mut().unwrap().filter.as_mut().unwrap().rules;
        rules[1] = Rule { filter: "exclude".into(), ..rules[1].clone() };
        stream
    };
    let rig = rig([without(100), running(100)], json!({})).await;
    refused(&rig, complete(&rig, false).await, &["shard customer/-80: none of its streams brings orders"]).await;
    refused(&rig, complete(&rig, true).await, &["none of its streams brings orders"]).await;
    // nor does one of the other shard, as after a merge of the source's shards
    rig.primaries[1].set(|c| c.streams = vec![without(100)]);
    let everywhere = ["-80", "80-"].map(|shard| format!("shard customer/{shard}: none of its streams brings orders"));
    refused(&rig, complete(&rig, false).await, &everywhere.each_ref().map(String::as_str)).await;
    rig.primaries[1].set(|c| c.streams = vec![running(100)]);
    // another stream of the shard does
    let other = Stream { id: 2, ..running(100) };
    rig.primaries[0].set(|c| c.streams = vec![without(100), other]);
    complete(&rig, false).await.unwrap();
}

#[tokio::test]
async fn a_replica_that_has_not_heard_of_the_handover_is_named() {
    let mut rig = rig([running(100), running(100)], json!({})).await;
    let replicas = rig.add_replicas().await;
    replicas[1].set(|c| c.deaf = true);
    let summary = complete(&rig, false).await.unwrap();
    let mut lines = summary.lines();
    assert_eq!(lines.next(), Some("Successfully completed the import workflow in the customer keyspace"));
    let told = lines.next().unwrap_or_default();
    assert!(told.starts_with("zone2-0000001101 was not refreshed (") && told.contains("a backup holds"), "{summary}");
    assert!(told.ends_with("should it become primary, it refuses clients the tables of the workflow"), "{summary}");
    assert_eq!(lines.next(), Some("when it answers again, run: RefreshState zone2-0000001101"));
    assert_eq!(lines.next(), None);
}

#[tokio::test]
async fn who_insists_goes_over_a_stream_that_stands_fails_hears_nothing_or_is_at_a_place_of_another_kind() {
    let stream = |state: State, message: &str, pos: String| Stream {
        state: state.into(),
        message: message.as_bytes().to_vec(),
        pos: pos.into_bytes(),
        ..running(100)
    };
    let insist = "MoveTables --workflow import --target-keyspace customer complete --ignore-source-keyspace";
    let purged = position(95).trim_start_matches("MySQL56/").to_owned();
    let long_ago = Some(Time { seconds: 1, nanoseconds: 0 });
    for (stream, id, words) in [
        (stream(State::Stopped, "", position(90)), "NOT_RUNNING", "its state is Stopped"),
        (stream(State::Running, "Error: Data too long", position(100)), "ERROR", "Data too long"),
        (stream(State::Running, "", "Newer/7".to_owned()), "POSITION_UNKNOWN", "cannot be compared"),
        (
            Stream { time_updated: long_ago, ..stream(State::Running, "", position(90)) },
            "BEHIND",
            "nothing heard of the source",
        ),
        (stream(State::Stopped, "", position(90)), "GTID_PURGED", "has purged binlogs up to"),
    ] {
        let rig = rig([stream, running(100)], json!({})).await;
        rig.source[0].set(|c| c.variables = vec![("gtid_purged", purged.clone())]);
        refused(&rig, complete(&rig, false).await, &[words, insist]).await;
        let summary = complete(&rig, true).await.unwrap();
        let ignored = format!("{id} customer/-80 stream 1: ");
        assert!(
            summary.contains("ignored as --ignore-source-keyspace asks: ") && summary.contains(&ignored),
            "{summary}"
        );
        assert!(!denied(&rig).await && record(&rig).await.is_none());
    }
}

#[tokio::test]
async fn what_a_caller_who_insists_has_passed_over_is_in_the_audit_line() {
    let rig = rig([running(100), running(100)], json!({})).await;
    rig.source[0].set(|c| c.position.clear());
    let (log, _logging) = Log::of_thread();
    refused(&rig, complete(&rig, false).await, &["mysqld is down"]).await;
    complete(&rig, true).await.unwrap();
    let text = log.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("vtmigrated::audit")).collect();
    let of = |line: &str, parts: &[&str]| assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    assert_eq!(lines.len(), 2, "{text}");
    of(lines[0], &["Vtctld/MoveTablesComplete", "workflow=import", "outcome=\"FAILED_PRECONDITION\""]);
    of(
        lines[1],
        &[
            "Vtctld/MoveTablesComplete",
            "workflow=import",
            "outcome=\"OK\"",
            "ignored as --ignore-source-keyspace asks: ",
        ],
    );
    of(lines[1], &["SOURCE_UNREACHABLE", "mysqld is down"]);
    assert!(!lines[0].contains("ignored as"), "{text}");
}

#[tokio::test]
async fn a_diff_that_starts_streams_again_is_stopped_first() {
    let rig = rig([running(100), running(100)], json!({})).await;
    rig.primaries[1].set(|c| c.diffs.push(diff("started")));
    let summary = complete(&rig, false).await.unwrap();
    assert!(summary.contains(&format!("stopped a VDiff that would have gone on: {UUID}")), "{summary}");
    assert_eq!(rig.primaries[1].actions(), ["show", "stop", "delete"]);
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn tables_are_not_handed_over_under_streams_that_somebody_started_again() {
    let rig = rig([running(100), running(100)], json!({})).await;
    let permits = Arc::new(Semaphore::new(0));
    rig.primaries[0].set(|c| c.held = Some(Arc::clone(&permits)));
    let started = async {
        stopped_for_good(&rig).await;
        permits.add_permits(1);
        while permits.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // a diff of a stock vtctld, made after complete has looked
        rig.primaries[0].set(|c| c.diffs.push(diff("started")));
        permits.add_permits(1);
    };
    let (answer, ()) = tokio::join!(complete(&rig, false), started);
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status}");
    assert!(status.message().contains("a stream did not stay stopped"), "{status}");
    assert!(denied(&rig).await);
    assert_eq!(record(&rig).await.unwrap()["handed_over"], json!(false));
}

#[tokio::test]
async fn tables_are_not_handed_over_to_a_primary_on_which_nobody_saw_the_streams_stopped() {
    let rig = rig([running(100), running(100)], json!({})).await;
    let permits = Arc::new(Semaphore::new(0));
    rig.primaries[1].set(|c| c.held = Some(Arc::clone(&permits)));
    let reparented = async {
        stopped_for_good(&rig).await;
        let primary_term_start_time = Some(Time { seconds: 1_900_000_000, nanoseconds: 0 });
        let record = Shard { primary_term_start_time, ..shard_record(&rig, "80-").await };
        rig.lab.put(&paths::shard("customer", "80-"), record.encode_to_vec()).await;
        permits.add_permits(10);
    };
    let (answer, ()) = tokio::join!(complete(&rig, false), reparented);
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status}");
    assert!(status.message().contains("shard 80- got another primary meanwhile"), "{status}");
    assert!(denied(&rig).await);
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn a_complete_that_is_repeated_looks_at_the_diffs_again() {
    let rig = rig([frozen(100), frozen(100)], json!({"completing": true})).await;
    let report = json!({"TableName": "customer", "ProcessedRows": 5, "MatchingRows": 4, "MismatchedRows": 1});
    rig.give(&Diff { tables: vec![("customer".into(), "completed".into(), report.to_string())], ..diff("completed") });
    refused(&rig, complete(&rig, false).await, &["found rows that differ in customer"]).await;
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.diffs = vec![diff("completed")]));
    rig.primaries[0].set(|c| c.found_before = vec![("00000000-0000-4000-8000-000000000000".into(), "orders".into())]);
    refused(&rig, complete(&rig, false).await, &["an earlier VDiff", "found rows that differ in orders"]).await;
    rig.primaries[0].set(|c| c.found_before.clear());
    complete(&rig, false).await.unwrap();
}

/// Tablets count the rows that a reference table has in the other shards of its source as extra ones, and end in an error.
#[tokio::test]
async fn copies_that_a_reference_table_has_in_shards_of_the_source_keep_no_complete() {
    let rig = rig([running(100), running(100)], json!({})).await;
    let report = json!({"TableName": "customer", "ProcessedRows": 12, "MatchingRows": 4, "ExtraRowsSource": 8});
    let tables = vec![
        ("customer".into(), "error".into(), report.to_string()),
        ("orders".into(), "completed".into(), json!({"TableName": "orders"}).to_string()),
    ];
    rig.give(&Diff { last_error: ERROR.into(), tables, ..diff("stopped") });
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.log = log(UUID, ["customer", "orders"])));
    refused(&rig, complete(&rig, false).await, &["found rows that differ in customer"]).await;
    let reference = Table { r#type: "reference".into(), ..Table::default() };
    let tables = vec![TablesEntry { key: "customer".into(), value: Some(reference) }];
    let source = VSchema { sharded: true, tables, ..VSchema::default() };
    rig.put_in_source(&paths::vschema("commerce"), source).await;
    complete(&rig, false).await.unwrap();
}

#[tokio::test]
async fn a_diff_is_not_resumed_on_streams_that_are_stopped_for_good() {
    let rig = rig([frozen(100), frozen(100)], json!({"completing": true})).await;
    rig.give(&diff("stopped"));
    let request = VDiffResumeRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        uuid: UUID.into(),
        ..VDiffResumeRequest::default()
    };
    let status = rig.lab.client.clone().v_diff_resume(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("Workflow --keyspace customer start --workflow import"), "{status}");
    assert_eq!(rig.primaries[0].diffs(), [(UUID.to_owned(), "stopped".to_owned())]);
}

#[tokio::test]
async fn what_is_left_of_a_complete_goes_also_beside_a_later_workflow_on_its_tables() {
    let rig = rig([running(90), running(90)], json!({"completing": true, "handed_over": true})).await;
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.workflow = "later".into()));
    complete(&rig, false).await.unwrap();
    assert!(record(&rig).await.is_none());
    assert!(denied(&rig).await, "the later workflow's");
    assert_eq!(streams(&rig.primaries[0])[0].pos, position(90).into_bytes());
    assert!(changes(&rig).concat().is_empty());
}

/// As when somebody has denied them by hand on a shard that a Reshard made after create.
#[tokio::test]
async fn tables_that_complete_leaves_denied_are_told_with_the_command_that_lifts_it() {
    for keep_data in [false, true] {
        let rig = rig([running(100), running(100)], json!({"denied_tables": [["-80", TABLES]]})).await;
        let summary = if keep_data {
            let (keyspace, workflow) = ("customer".into(), "import".into());
            let request = WorkflowDeleteRequest { keyspace, workflow, keep_data, ..WorkflowDeleteRequest::default() };
            rig.lab.client.clone().workflow_delete(request).await.unwrap().into_inner().summary
        } else {
            complete(&rig, false).await.unwrap()
        };
        let told = "; tables stay denied to clients: shard customer/80-: customer, orders are denied, and not by the workflow's \
                    create; if nobody needs that: SetShardTabletControl --denied-tables customer,orders --remove customer/80- \
                    primary";
        assert!(summary.contains(told) && !summary.contains("shard customer/-80"), "{summary}");
        let denied = async |shard: &str| vtmigrated::topo::shard::denied(&shard_record(&rig, shard).await);
        assert_eq!((denied("-80").await, denied("80-").await), (vec![], TABLES.map(str::to_owned).to_vec()));
    }
}

/// A tablet writes the state that a stream had when it read it: beside complete that may start one that was stopped for good. A diff that
/// finds no tablet to read from is set up for ever.
#[tokio::test]
async fn an_update_of_streams_waits_for_a_complete_and_not_for_a_diff_that_is_set_up() {
    let rig = rig([running(100), running(100)], json!({})).await;
    for (action, goes_on) in [("MoveTablesComplete", false), ("vdiff", true)] {
        let lock = LockRequest::new(action, Duration::from_secs(30));
        let lock = lock.named(paths::workflow_lock("customer", "import"));
        let lock = rig.lab.topo.global().lock(lock).await.unwrap();
        let updated = start(&rig).await;
        lock.release().await.unwrap();
        let told = changes(&rig).concat();
        if goes_on {
            updated.unwrap();
            assert_eq!(told, vec![(Some(State::Running), None::<String>); 2]);
        } else {
            let (code, text) = refusal(updated);
            assert_eq!(code, Code::DeadlineExceeded, "{text}");
            assert!(text.starts_with("failed to lock the customer/import workflow: "), "{text}");
            assert!(told.is_empty(), "{told:?}");
        }
    }
}
