//! GO or NO-GO on real clusters, leftovers of servers that died, and a progress figure that only grows.

use std::collections::BTreeMap;

use crate::rig::{self, Rig, cancel, complete, create, died, done_or_gone, status};
use integration::{
    client,
    cluster::Cluster,
    life::{Life, WORKFLOW, migrate, streams, until},
    server::Server,
};
use mysql_async::prelude::Queryable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, transport::Channel};
use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    vtctldata::{WorkflowStatusRequest, WorkflowStatusResponse, WorkflowUpdateRequest},
    vtmigrated::{
        CleanLeftoversRequest, FindLeftoversRequest, Finding, Report, Severity, VerdictRequest,
        advisor_client::AdvisorClient,
    },
};

async fn advisor(server: &Server) -> AdvisorClient<Channel> {
    AdvisorClient::new(client::channel(&server.grpc_address().to_string()).await.unwrap())
}

async fn verdict(server: &Server) -> Report {
    let request = VerdictRequest { keyspace: "customer".to_owned(), workflow: WORKFLOW.to_owned() };
    advisor(server).await.verdict(request).await.unwrap().into_inner()
}

async fn leftovers(server: &Server) -> Vec<Finding> {
    let request = FindLeftoversRequest { keyspace: "customer".to_owned() };
    advisor(server).await.find_leftovers(request).await.unwrap().into_inner().findings
}

fn ids(report: &Report, severity: Severity) -> Vec<&str> {
    report.findings.iter().filter(|finding| finding.severity() == severity).map(|f| f.id.as_str()).collect()
}

/// The body of a page, and whether its status is 200.
async fn get(server: &Server, path: &str) -> (bool, serde_json::Value) {
    let mut stream = tokio::net::TcpStream::connect(server.http_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.starts_with("HTTP/1.1 200"), serde_json::from_str(body).unwrap())
}

async fn set_state(server: &Server, state: State) {
    let mut change = integration::life::change(WORKFLOW);
    change.state = Some(state.into());
    let request = WorkflowUpdateRequest { keyspace: "customer".to_owned(), tablet_request: Some(change) };
    rig::client(server).await.unwrap().workflow_update(request).await.unwrap();
}

/// The verdict says no for this reason, status says so too, and complete refuses with it and changes nothing.
async fn expect_no(rig: &Rig, server: &Server, id: &str) {
    let report = verdict(server).await;
    assert!(!report.clear && report.summary.starts_with("NO-GO ("), "{report:?}");
    assert!(ids(&report, Severity::Blocks).contains(&id), "{id}: {report:?}");
    let shown = status(server).await.unwrap().traffic_state;
    assert!(shown.contains("Writes Not Switched. Complete: NO-GO ("), "{shown}");
    let denied = rig.snapshot().await;
    let refused = complete(server).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let cause = &report.findings.iter().find(|finding| finding.id == id).unwrap().cause;
    let cause = cause.split(" for ").next().unwrap();
    assert!(refused.message().contains(cause), "{cause} is not in {refused:?}");
    let of_topology = |s: &integration::cluster::Snapshot| -> BTreeMap<String, String> {
        s.pieces.iter().filter(|(key, _)| key.starts_with("etcd ")).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    assert_eq!(of_topology(&denied), of_topology(&rig.snapshot().await));
}

async fn until_go(server: &Server) -> Report {
    until("GO", async || {
        let report = verdict(server).await;
        if report.clear { Ok(()) } else { Err(format!("{report:?}")) }
    })
    .await
    .unwrap();
    verdict(server).await
}

/// Runs SQL on a target shard past its tablet; `_vt` is the tablet's own database.
async fn on_target(rig: &Rig, shard: &str, sql: &str) {
    let sidecar = format!("{}.", rig.target.primary("customer", shard).unwrap().options().sidecar_db);
    rig.target.shard("customer", shard).unwrap().run(&sql.replace("_vt.", &sidecar)).await.unwrap();
}

/// Rows of a diff as a tablet keeps them.
async fn put_diff(rig: &Rig, state: &str, mismatch: u8) {
    for shard in ["-80", "80-"] {
        let tables = rig::TABLES.map(|table| format!("(1, '{table}', '{state}', 100, 40, {mismatch}, '{{}}')"));
        let sql = format!(
            "DELETE FROM _vt.vdiff_table; DELETE FROM _vt.vdiff; \
             INSERT INTO _vt.vdiff (id, vdiff_uuid, workflow, keyspace, shard, db_name, state, started_at, completed_at) \
             VALUES (1, '00000000-0000-0000-0000-000000000001', '{WORKFLOW}', 'customer', '{shard}', 'x', '{state}', \
             utc_timestamp() - interval 10 second, if('{state}' = 'completed', utc_timestamp(), null)); \
             INSERT INTO _vt.vdiff_table (vdiff_id, table_name, state, table_rows, rows_compared, mismatch, report) VALUES {}",
            tables.join(", ")
        );
        on_target(rig, shard, &sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_follows_the_workflow() {
    let rig = Rig::start().await;
    let server = rig.server("").await;
    let mut request = rig::request();
    request.auto_start = false;
    rig::create_as(&server, request).await.unwrap();
    expect_no(&rig, &server, "COPYING").await;
    set_state(&server, State::Running).await;
    rig.until_copied(&server, "started").await;

    let report = until_go(&server).await;
    assert_eq!((report.summary.as_str(), report.vdiff.as_str()), ("GO", "none"), "{report:?}");
    assert_eq!(ids(&report, Severity::Warns), ["VDIFF_NONE"], "{report:?}");
    assert!(status(&server).await.unwrap().traffic_state.ends_with(". Complete: GO"));
    let (ok, json) = get(&server, &format!("/api/verdict/customer/{WORKFLOW}")).await;
    assert!(ok && json["go"] == true && json["summary"] == "GO", "{json}");
    let (ok, json) = get(&server, "/api/verdict/customer/nothing").await;
    assert!(!ok && json["reason"] == "WORKFLOW_UNKNOWN", "{json}");

    set_state(&server, State::Stopped).await;
    expect_no(&rig, &server, "NOT_RUNNING").await;
    set_state(&server, State::Running).await;
    until_go(&server).await;

    put_diff(&rig, "completed", 1).await;
    expect_no(&rig, &server, "VDIFF_MISMATCH").await;
    put_diff(&rig, "started", 0).await;
    let report = until_go(&server).await;
    assert!(ids(&report, Severity::Warns).contains(&"VDIFF_UNFINISHED"), "{report:?}");
    let shown = status(&server).await.unwrap();
    assert!(
        streams(&shown).iter().all(|s| s.info.contains("VDiff 40% of rows compared (estimate), about ")),
        "{shown:?}"
    );
    put_diff(&rig, "completed", 0).await;
    let report = until_go(&server).await;
    assert!(report.findings.is_empty() && report.vdiff.starts_with("equal, 240 rows compared"), "{report:?}");

    rig.source.run("commerce", "ALTER TABLE product ADD COLUMN colour VARCHAR(10)").await.unwrap();
    expect_no(&rig, &server, "COLUMN_LOST").await;
    rig.source.run("commerce", "ALTER TABLE product DROP COLUMN colour").await.unwrap();
    until_go(&server).await;

    rig.source.etcd().kill().unwrap();
    expect_no(&rig, &server, "SOURCE_UNREACHABLE").await;
    rig.source.etcd().restart().await.unwrap();

    // rows that the streams cannot insert
    for shard in ["-80", "80-"] {
        on_target(&rig, shard, "ALTER TABLE customer DROP COLUMN email").await;
    }
    let row = format!("INSERT INTO customer VALUES (7000, '{}'), (7001, '{0}'), (7002, '{0}')", "x".repeat(60));
    rig.source.run("commerce", &row).await.unwrap();
    until("a stream in error", async || {
        let report = verdict(&server).await;
        let blocking = ids(&report, Severity::Blocks);
        if blocking.iter().any(|id| ["ERROR", "NOT_RUNNING"].contains(id)) {
            Ok(())
        } else {
            Err(format!("{report:?}"))
        }
    })
    .await
    .unwrap();
    assert_eq!(complete(&server).await.unwrap_err().code(), Code::FailedPrecondition);
    cancel(&server).await.unwrap();
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_dead_servers_are_found_and_cleaned() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let server = rig.server("").await;
    assert!(leftovers(&server).await.is_empty());
    let (mut cleaned, mut for_people) = (0, 0);
    for number in [7, 10, 13, 16, 20, 24, 28, 32, 36] {
        let what = format!("create killed at {number}");
        let doomed = rig.doomed(number).await;
        let answer = create(&doomed).await;
        if !died(&doomed, answer.is_ok()).await {
            drop(cancel(&server).await);
            continue;
        }
        rig.end_leases().await;
        if rig.record().await.is_none_or(|record| record.contains(r#""phase":"created""#)) {
            done_or_gone(cancel(&server).await, &what);
            rig.drop_empty().await;
            rig.expect_as(&before, &what).await;
            continue;
        }
        let report = verdict(&server).await;
        assert!(ids(&report, Severity::Blocks).contains(&"CREATE_UNFINISHED"), "{what}: {report:?}");
        let dump = rig.target.etcd().dump("").await.unwrap();
        let found = leftovers(&server).await;
        assert_eq!(rig.target.etcd().dump("").await.unwrap(), dump, "{what}: the report changed something");
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        assert_eq!(found[0].id, "CREATE_INTERRUPTED", "{what}: {found:?}");
        let keys = vec![format!("{} {}", found[0].id, found[0].subject)];
        let request = CleanLeftoversRequest { keyspace: "customer".to_owned(), keys: keys.clone() };
        let answer = advisor(&server).await.clean_leftovers(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.leftovers.len(), 1, "{what}: {answer:?}");
        if answer.leftovers[0].kept.is_empty() {
            cleaned += 1;
            assert!(leftovers(&server).await.is_empty(), "{what}");
            let again = advisor(&server).await.clean_leftovers(request).await.unwrap().into_inner();
            assert!(!again.leftovers[0].kept.is_empty(), "{what}: {again:?}");
        } else {
            // its streams had begun to copy
            for_people += 1;
            done_or_gone(cancel(&server).await, &what);
        }
        // those that were made and not noted any more stay
        rig.drop_empty().await;
        rig.expect_as(&before, &what).await;
    }
    assert!(cleaned >= 3, "{cleaned} cleaned, {for_people} left to people");

    create(&server).await.unwrap();
    assert!(leftovers(&server).await.is_empty(), "of a workflow that copies");
    rig.until_copied(&server, "alive").await;
    assert!(leftovers(&server).await.is_empty(), "of a live workflow");
    let shown = rig.snapshot().await;
    let request = CleanLeftoversRequest { keyspace: "customer".to_owned(), keys: Vec::new() };
    assert!(advisor(&server).await.clean_leftovers(request).await.unwrap().into_inner().leftovers.is_empty());
    rig.until_copied(&server, "still alive").await;
    drop(shown);

    leave_as_stock_does(&rig).await;
    clean_after_stock(&server).await;
    // an empty table without a stream may be anybody's
    assert_eq!(rig.drop_empty().await, 2);
    rig.expect_as(&before, "cleaned").await;
    rig.finish().await;
}

/// Stock's cancel takes the rows and leaves what it does not know of.
async fn leave_as_stock_does(rig: &Rig) {
    for shard in ["-80", "80-"] {
        let primary = rig.target.primary("customer", shard).unwrap();
        let mut manager = primary.manager().await.unwrap();
        let query = format!("delete from _vt.vreplication where workflow = '{WORKFLOW}'");
        manager
            .v_replication_exec(vtmigrated_proto::tabletmanagerdata::VReplicationExecRequest { query })
            .await
            .unwrap();
        let sql = "INSERT INTO _vt.copy_state (vrepl_id, table_name) VALUES (999, 'gone'); \
                   DROP TABLE corder, customer; TRUNCATE TABLE product";
        on_target(rig, shard, sql).await;
    }
    put_diff(rig, "stopped", 0).await;
}

async fn clean_after_stock(server: &Server) {
    let found = leftovers(server).await;
    let mut kinds: Vec<&str> = found.iter().map(|f| f.id.as_str()).collect();
    kinds.sort_unstable();
    let expected =
        ["COPY_STATE_ORPHANED", "COPY_STATE_ORPHANED", "RECORD_WITHOUT_STREAMS", "VDIFF_ORPHANED", "VDIFF_ORPHANED"];
    assert_eq!(kinds, expected, "{found:?}");
    let record = found.iter().find(|f| f.id == "RECORD_WITHOUT_STREAMS").unwrap();
    let stays = "these tables stay: product on shard -80: no stream of the workflow is there";
    assert!(record.cause.contains(stays), "{record:?}");
    assert!(record.cause.contains("denied tables on 80-: corder, customer, product"), "{record:?}");
    let request = CleanLeftoversRequest { keyspace: "customer".to_owned(), keys: Vec::new() };
    let answer = advisor(server).await.clean_leftovers(request).await.unwrap().into_inner();
    assert!(answer.leftovers.len() == 5 && answer.leftovers.iter().all(|l| l.kept.is_empty()), "{answer:?}");
    assert!(leftovers(server).await.is_empty());
}

const ROWS: u64 = 100_000;
const SHARDED: &str = r#"{"sharded": true, "vindexes": {"h": {"type": "hash"}},
                          "tables": {"big": {"columnVindexes": [{"column": "id", "name": "h"}]}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn progress_only_grows_and_is_near_from_the_middle_on() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(r#"{"tables": {"big": {}}}"#),
        Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).vschema(SHARDED).first_uid(200),
    )
    .await
    .unwrap();
    let schema = format!(
        "CREATE TABLE big (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(300)); \
         SET SESSION cte_max_recursion_depth = {ROWS}; \
         INSERT INTO big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
         SELECT i, REPEAT(CHAR(97 + i % 26), 20 + i % 200) FROM n"
    );
    life.source.run("commerce", &schema).await.unwrap();
    let second = Server::start(&life.target.topo_flags()).await.unwrap();
    let mut request = migrate("commerce", "customer");
    request.cells = vec!["zone1".to_owned()];
    request.auto_start = false;
    life.create(request).await.unwrap();
    let mut held = Vec::new();
    for shard in life.target.shards("customer") {
        let mut conn = shard.connect().await.unwrap();
        let rows: Vec<String> = (70_000..70_040).map(|id| format!("({id})")).collect();
        conn.query_drop(format!("BEGIN; INSERT INTO big (id) VALUES {}", rows.join(", "))).await.unwrap();
        held.push(conn);
    }
    life.start_streams("customer").await.unwrap();

    let mut last = 0;
    let mut from_the_middle = 0;
    let (mut one, mut other) = (life.client(), second.client().await.unwrap());
    for number in 0..4000 {
        let before = copied(&life).await;
        let request = WorkflowStatusRequest {
            keyspace: "customer".to_owned(),
            workflow: WORKFLOW.to_owned(),
            ..WorkflowStatusRequest::default()
        };
        // whichever server answers
        let answer = if number % 2 == 0 { &mut one } else { &mut other }.workflow_status(request).await;
        let answer = answer.unwrap().into_inner();
        let after = copied(&life).await;
        let state = answer.table_copy_state[0].value.unwrap();
        assert!(state.rows_copied >= last, "{last} rows, then {state:?}");
        assert!(state.rows_copied <= state.rows_total && state.rows_percentage <= 100.0, "{state:?}");
        assert!(state.bytes_copied <= state.bytes_total && state.bytes_percentage <= 100.0, "{state:?}");
        last = state.rows_copied;
        // a tablet is done with its tables a moment before it says that its stream runs
        if after >= ROWS && state.rows_percentage >= 100.0 {
            break;
        }
        assert!(state.rows_percentage < 100.0, "{answer:?}");
        if before >= ROWS / 2 {
            from_the_middle += 1;
            expect_near(&answer, before, after);
        }
        if from_the_middle == 20 {
            for mut conn in held.drain(..) {
                conn.query_drop("ROLLBACK").await.unwrap();
                conn.disconnect().await.unwrap();
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(from_the_middle >= 20 && held.is_empty(), "{from_the_middle} samples");
    assert_eq!(copied(&life).await, ROWS);
    life.complete("customer").await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    drop(second);
    life.finish().await.unwrap();
}

/// What is shown is near to what was copied `before` and `after`, and so is the total.
fn expect_near(answer: &WorkflowStatusResponse, before: u64, after: u64) {
    let state = answer.table_copy_state[0].value.unwrap();
    let total = u64::try_from(state.rows_total).unwrap();
    assert!(total * 4 >= ROWS * 3 && total * 4 <= ROWS * 5, "{state:?}");
    let shown = u64::try_from(state.rows_copied).unwrap() * 100;
    assert!(shown >= before * 75 && shown <= after * 125, "{before} to {after} rows, shown {state:?}");
    let copying = streams(answer).into_iter().find(|stream| stream.status == "Copying");
    if let Some(copying) = copying {
        assert!(copying.info.starts_with("Copying ") && copying.info.contains("% of rows (estimate)"), "{copying:?}");
    }
}

/// Rows of `big` on the target, committed ones.
async fn copied(life: &Life) -> u64 {
    let mut sum = 0;
    for shard in life.target.shards("customer") {
        let mut conn = shard.connect().await.unwrap();
        let count: Option<u64> = conn.query_first("SELECT count(*) FROM big").await.unwrap();
        sum += count.unwrap();
        conn.disconnect().await.unwrap();
    }
    sum
}
