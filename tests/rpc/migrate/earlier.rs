//! Records that an earlier workflow of the same name has left beside the streams of one that stock made.

use prost::Message;
use serde_json::json;
use vtmigrated::topo::paths;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::vtctldata::WorkflowStatusRequest;
use vtmigrated_proto::vtmigrated::FindLeftoversRequest;

use crate::migrate::complete::{TABLES, complete, denied, frozen, record, refused, rig, running, shard_record};
use crate::support::vdiff_rig::Rig;

/// A stream of this id that has copied so many rows.
fn later(id: i32, rows_copied: i64) -> Stream {
    Stream { id, rows_copied, ..running(100) }
}

/// As when the server ends after cancel has deleted the streams and before it deletes the record.
#[tokio::test]
async fn a_cancel_that_was_cut_off_at_its_end_says_nothing_of_streams_that_were_made_later() {
    let noted = json!({"cancelling": true, "streams": [["-80", [1]], ["80-", [1]]]});
    let has_begun = ["its cancel has begun, and rows of its tables are gone or may be"];
    let rig = rig([running(100), running(100)], noted).await;
    refused(&rig, complete(&rig, false).await, &has_begun).await;
    // they may have taken over from those when the source was resharded
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.streams = vec![later(2, 0)]));
    refused(&rig, complete(&rig, false).await, &has_begun).await;
    rig.primaries[1].set(|c| c.streams = vec![later(2, 5)]);
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn a_record_that_does_not_tell_of_which_streams_its_cancel_was_keeps_complete_from_going_on() {
    let rig = rig([later(2, 5), later(2, 5)], json!({"cancelling": true})).await;
    refused(&rig, complete(&rig, false).await, &["its cancel has begun"]).await;
}

#[tokio::test]
async fn a_record_of_a_keyspace_that_was_deleted_says_nothing_of_the_one_of_today() {
    let shards = json!([["-80", 1_000_000], ["80-", 1_000_000]]);
    let rig = rig([running(100), running(100)], json!({"cancelling": true, "shards": shards})).await;
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

/// As when stock deleted what our complete had handed over, made it anew, and somebody stopped that for good.
#[tokio::test]
async fn streams_that_complete_did_not_note_were_not_handed_over() {
    let unborn = || Stream { id: 2, pos: Vec::new(), ..frozen(90) };
    let noted = json!({"completing": true, "handed_over": true, "streams": [["-80", [1]], ["80-", [1]]]});
    let rig = rig([unborn(), unborn()], noted).await;
    refused(&rig, complete(&rig, false).await, &["copying has not begun"]).await;
}

/// Where a create was cut off before it can have inserted a stream.
#[tokio::test]
async fn a_create_that_has_inserted_no_stream_says_nothing_of_those_that_are_there() {
    let rig = rig([later(1, 5), later(1, 0)], json!({"phase": "creating", "streams": []})).await;
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

/// Rows of all tables, as status tells them.
async fn totals(rig: &Rig) -> Vec<i64> {
    let request = WorkflowStatusRequest {
        keyspace: "customer".into(),
        workflow: "import".into(),
        ..WorkflowStatusRequest::default()
    };
    let answer = rig.lab.client.clone().workflow_status(request).await.unwrap().into_inner();
    answer.table_copy_state.into_iter().map(|entry| entry.value.unwrap().rows_total).collect()
}

#[tokio::test]
async fn the_tables_of_an_earlier_workflow_are_no_measure_of_a_later_ones_copy() {
    let sizes = TABLES.map(|table| json!({"table": table, "rows": 7, "bytes": 700}));
    let noted = json!({"sizes": sizes, "streams": [["-80", [1]], ["80-", [1]]]});
    let rig = rig([running(100), running(100)], noted).await;
    rig.source[0].set(|c| c.rows = TABLES.map(|table| (table, 60)).to_vec());
    assert_eq!(totals(&rig).await, [7, 7]);
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.streams = vec![later(2, 5)]));
    assert_eq!(totals(&rig).await, [60, 60]);
}

/// Ids of what is left of dead migrations.
async fn leftovers(rig: &Rig) -> Vec<String> {
    let request = FindLeftoversRequest { keyspace: "customer".into() };
    let found = rig.lab.advisor.clone().find_leftovers(request).await.unwrap().into_inner().findings;
    found.into_iter().map(|finding| finding.id).collect()
}

#[tokio::test]
async fn a_complete_that_was_cut_off_is_told_beside_the_record_of_an_earlier_workflow() {
    let rig = rig([running(100), frozen(100)], json!({"tables": ["other"]})).await;
    assert_eq!(leftovers(&rig).await, ["RECORD_WITHOUT_STREAMS", "COMPLETE_INTERRUPTED"]);
    rig.primaries[1].set(|c| c.streams = vec![running(100)]);
    assert_eq!(leftovers(&rig).await, ["RECORD_WITHOUT_STREAMS"]);
}

#[tokio::test]
async fn streams_that_are_stopped_for_good_are_told_whatever_their_record_says() {
    let rig = rig([running(100), frozen(100)], json!({})).await;
    assert_eq!(leftovers(&rig).await, ["COMPLETE_INTERRUPTED"]);
    rig.primaries[1].set(|c| c.streams = vec![running(100)]);
    assert!(leftovers(&rig).await.is_empty());
}

/// As when stock deleted a workflow whose complete was cut off after the handover, and made another one of its name.
#[tokio::test]
async fn the_record_of_an_earlier_workflow_proves_nothing_of_a_later_one() {
    let copying = || Stream { pos: Vec::new(), ..running(90) };
    let rig = rig([copying(), copying()], json!({"completing": true, "handed_over": true})).await;
    refused(&rig, complete(&rig, false).await, &["copying has not begun"]).await;
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.streams = vec![running(100)]));
    complete(&rig, false).await.unwrap();
    assert!(!denied(&rig).await && record(&rig).await.is_none());
}

#[tokio::test]
async fn what_an_earlier_workflow_of_other_tables_denied_is_left_with_its_record() {
    let shards = json!([["-80", 0], ["80-", 0]]);
    let changes =
        json!({"tables": ["other"], "denied_tables": [["-80", ["other"]], ["80-", ["other"]]], "cancelling": true});
    let rig = rig([running(100), running(100)], changes).await;
    for shard in ["-80", "80-"] {
        let mut record = shard_record(&rig, shard).await;
        record.tablet_controls[0].denied_tables.push("other".into());
        rig.lab.put(&paths::shard("customer", shard), record.encode_to_vec()).await;
    }
    let mut facts = record(&rig).await.unwrap();
    facts["shards"] = shards;
    for (at, shard) in ["-80", "80-"].into_iter().enumerate() {
        let created = vtmigrated::topo::shard::get(rig.lab.topo.global(), "customer", shard).await.unwrap().created;
        facts["shards"][at][1] = json!(created);
    }
    rig.lab.put(&paths::workflow_record("customer", "import"), facts.to_string().into_bytes()).await;
    complete(&rig, false).await.unwrap();
    let left = shard_record(&rig, "-80").await;
    assert_eq!(vtmigrated::topo::shard::denied(&left), ["other"]);
    assert_eq!(record(&rig).await.unwrap()["tables"], json!(["other"]));
}
