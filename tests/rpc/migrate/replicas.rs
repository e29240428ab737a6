//! Source tablets that streams read from and that get nothing themselves, and streams that a VDiff holds up.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::replicationdata::Status;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::{Finding, VerdictRequest};
use vtmigrated_proto::vttime::Time;

use crate::support::migrate_rig;
use crate::support::tablet;
use crate::support::vdiff_rig::Rig;
use crate::support::vdiff_tablet::{Diff, DiffTablet, stream};

const STOPPED: i32 = 1;
const RUNNING: i32 = 3;

fn position(to: u64) -> String {
    format!("MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{to}")
}

fn ago(seconds: i64) -> Option<Time> {
    let now: i64 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap();
    Some(Time { seconds: now - seconds, nanoseconds: 0 })
}

/// A stream that runs, hears heartbeats, and has seen its last transaction so many seconds ago.
fn quiet(to: u64, seconds: i64) -> Stream {
    Stream {
        pos: position(to).into_bytes(),
        time_updated: ago(1),
        time_heartbeat: ago(1),
        transaction_timestamp: ago(seconds),
        ..stream(1, "ext1", "commerce", "0")
    }
}

fn replicating(to: u64) -> Status {
    Status { position: position(to), io_state: RUNNING, sql_state: RUNNING, ..Status::default() }
}

fn broken() -> Status {
    let last_sql_error = "Could not execute Write_rows event on table vt_commerce.customer; Duplicate entry '7'".into();
    Status { sql_state: STOPPED, last_sql_error, ..replicating(90) }
}

/// A source whose primary is at transaction 100, and streams that read in the cell of its replica.
async fn rig(streams: Stream, replica: Result<Status, String>) -> Rig {
    let rig = Rig::start().await;
    rig.source[0].set(|c| c.position = position(100));
    rig.source[1].set(|c| c.replication = Some(replica));
    for primary in &rig.primaries {
        primary.set(|c| (c.streams, c.cells) = (vec![streams.clone()], "src2".into()));
    }
    rig
}

async fn status(rig: &Rig) -> (String, Vec<String>) {
    let request = WorkflowStatusRequest {
        keyspace: "customer".into(),
        workflow: "import".into(),
        ..WorkflowStatusRequest::default()
    };
    let answer = rig.lab.client.clone().workflow_status(request).await.unwrap().into_inner();
    let streams = answer.shard_streams.into_iter().flat_map(|entry| entry.value.unwrap().streams);
    (answer.traffic_state, streams.map(|stream| format!("{} {}", stream.status, stream.info)).collect())
}

async fn verdict(rig: &Rig) -> Vec<Finding> {
    let request = VerdictRequest { keyspace: "customer".into(), workflow: "import".into() };
    rig.lab.advisor.clone().verdict(request).await.unwrap().into_inner().findings
}

fn of<'f>(findings: &'f [Finding], id: &str) -> Vec<&'f Finding> {
    findings.iter().filter(|finding| finding.id == id).collect()
}

#[tokio::test]
async fn a_stream_from_a_replica_that_stands_still_is_told() {
    let rig = rig(quiet(90, 600), Ok(broken())).await;
    let found = verdict(&rig).await;
    let told = of(&found, "SOURCE_REPLICA_STALLED");
    assert_eq!(told.len(), 2, "{found:?}");
    for words in [
        "it may read from",
        "tablet src2-0000000101 does not replicate",
        "its SQL thread is stopped",
        "Duplicate entry '7'",
    ] {
        assert!(told[0].cause.contains(words), "{words}: {}", told[0].cause);
    }
    for words in [
        "StartReplication src2-0000000101",
        "Workflow --keyspace customer update --workflow import --tablet-types primary",
    ] {
        assert!(told[0].fix.contains(words), "{words}: {}", told[0].fix);
    }
    let (_, streams) = status(&rig).await;
    assert!(
        streams.iter().all(|s| s.starts_with("Running ") && s.contains("tablet src2-0000000101 does not replicate")),
        "{streams:?}"
    );
    // another tablet of the shard may do, and the type says so
    rig.source[1].set(|c| c.replication = Some(Err("no replication status (errno 100) (sqlstate HY000)".into())));
    let found = verdict(&rig).await;
    assert!(of(&found, "SOURCE_REPLICA_STALLED")[0].fix.contains("ReparentTablet src2-0000000101"), "{found:?}");
}

#[tokio::test]
async fn a_stream_that_gets_what_there_is_is_no_alarm() {
    let lagging = Status { replication_lag_seconds: 1, ..replicating(99) };
    let cases = [
        // the source wrote a moment ago
        (quiet(90, 600), lagging),
        // it has everything
        (quiet(100, 600), broken()),
        // it had a transaction a moment ago
        (quiet(99, 1), broken()),
    ];
    for (stream, replica) in cases {
        let rig = rig(stream, Ok(replica)).await;
        let found = verdict(&rig).await;
        assert!(of(&found, "SOURCE_REPLICA_STALLED").is_empty(), "{found:?}");
    }
    // nobody reads there
    let rig = rig(quiet(90, 600), Ok(broken())).await;
    rig.primaries.iter().for_each(|primary| primary.set(|c| c.cells = "src1".into()));
    let found = verdict(&rig).await;
    assert!(of(&found, "SOURCE_REPLICA_STALLED").is_empty(), "{found:?}");
}

/// Answers every request for a page with the tablet that stream 1 reads from.
async fn page(uid: u32) -> i32 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let body = format!(
                r#"{{"BuildVersion": "22.0.3", "VReplicationSourceTablet": {{"1": "cell:\"src2\" uid:{uid}"}}}}"#
            );
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    i32::from(port)
}

#[tokio::test]
async fn the_tablet_that_a_stream_is_on_is_the_one_that_counts() {
    for (uid, told) in [(101, 1), (102, 0)] {
        let rig = rig(quiet(90, 600), Ok(broken())).await;
        let alias = TabletAlias { cell: "zone1".into(), uid: 1000 };
        let conn = rig.lab.cell("zone1").await;
        let mut record = Tablet::decode(conn.get(&paths::tablet(&alias)).await.unwrap().value).unwrap();
        record.port_map.insert("vt".into(), page(uid).await);
        conn.write_one(Write::put(paths::tablet(&alias), record.encode_to_vec(), Expect::Any), None).await.unwrap();
        let found = verdict(&rig).await;
        let found: Vec<&Finding> =
            of(&found, "SOURCE_REPLICA_STALLED").into_iter().filter(|f| f.subject == "customer/-80 stream 1").collect();
        assert_eq!(found.len(), told, "{found:?}");
        assert!(found.iter().all(|finding| finding.cause.contains("for it reads from")), "{found:?}");
    }
}

#[tokio::test]
async fn create_warns_of_a_replica_that_stands_still() {
    let rig = migrate_rig::Rig::start().await;
    let fake = DiffTablet::default();
    fake.set(|c| c.replication = Some(Ok(broken())));
    let record = tablet("src1", 101, "commerce", "0", TabletType::Replica, fake.start().await);
    rig.add_source_tablet(&record).await;
    let line = rig.create_from(TabletType::Replica).await.unwrap();
    for words in ["SOURCE_TABLET_STALLED", "src1-0000000101", "its SQL thread is stopped"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    rig.cancel(false).await.unwrap();
    fake.set(|c| c.replication = Some(Ok(replicating(90))));
    let line = rig.create_from(TabletType::Replica).await.unwrap();
    assert!(!line.contains("STALLED"), "{line}");
}

#[tokio::test]
async fn a_stream_that_a_vdiff_holds_up_is_no_trouble() {
    for message in ["for vdiff", "Stopped at position MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100"] {
        let mut paused = quiet(100, 1);
        paused.state = State::Stopped.into();
        paused.message = message.into();
        if message != "for vdiff" {
            paused.stop_pos = position(100);
        }
        let rig = rig(paused, Ok(replicating(100))).await;
        let diff =
            Diff { uuid: "8bfcb8e2-1c9b-11ef-8ca0-6e1c6b3c9a2b".into(), state: "started".into(), ..Diff::default() };
        rig.give(&diff);
        let found = verdict(&rig).await;
        assert!(of(&found, "NOT_RUNNING").is_empty(), "{found:?}");
        assert_eq!(of(&found, "PAUSED_FOR_VDIFF").len(), 2, "{found:?}");
        assert!(status(&rig).await.0.contains("Complete: GO"), "{:?}", status(&rig).await);
        // nobody will start it again
        rig.primaries.iter().for_each(|primary| primary.set(|c| c.diffs[0].state = "completed".into()));
        assert_eq!(of(&verdict(&rig).await, "NOT_RUNNING").len(), 2);
    }
    // stopped by hand while a diff runs
    let mut stopped = quiet(100, 1);
    stopped.state = State::Stopped.into();
    let rig = rig(stopped, Ok(replicating(100))).await;
    rig.give(&Diff { uuid: "8bfcb8e2-1c9b-11ef-8ca0-6e1c6b3c9a2b".into(), state: "started".into(), ..Diff::default() });
    assert_eq!(of(&verdict(&rig).await, "NOT_RUNNING").len(), 2);
}
