//! Diffs of a whole workflow, asked of the server: an unsharded keyspace of another cluster on two shards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration::{
    cluster::{Cluster, Error, Shard},
    life::{Life, WORKFLOW, migrate},
    writer::Writer,
};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use tonic::{Code, Status};
use vtmigrated_proto::{
    tabletmanagerdata::VDiffRequest,
    topodata::TabletType,
    vtctldata::{VDiffCreateRequest, VDiffDeleteRequest, VDiffResumeRequest, VDiffStopRequest},
};

use super::support::{Row, Shard as Asked, completed, counts, report, request, show, until_shown};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(128), note TEXT);
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, price DECIMAL(12, 2));
    CREATE TABLE big (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(40), n INT);
    SET SESSION cte_max_recursion_depth = 1000000;
    INSERT INTO customer WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        SELECT i, CONCAT('user', i, '@example.com'), IF(i % 7 = 0, NULL, REPEAT('x', 300)) FROM n;
    INSERT INTO corder WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        SELECT i, 1 + i % 500, i / 100 FROM n;
    INSERT INTO big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        SELECT i, CONCAT('word ', i), i * 3 FROM n;";
const SOURCE_VSCHEMA: &str = r#"{"tables": {"customer": {}, "corder": {}, "big": {}}}"#;
const TARGET_VSCHEMA: &str = r#"{
    "sharded": true,
    "vindexes": {"id_hash": {"type": "hash"}},
    "tables": {
        "customer": {"columnVindexes": [{"column": "id", "name": "id_hash"}]},
        "corder": {"columnVindexes": [{"column": "customer_id", "name": "id_hash"}]},
        "big": {"columnVindexes": [{"column": "id", "name": "id_hash"}]}
    }}"#;
/// A row that every copy has to insert: whoever holds it on the target holds the copy up.
const HELD_CUSTOMER: i64 = 1500;
/// Long enough that a diff of 50,000 rows is still under way after the first packet of them.
const ROW_PAUSE: Duration = Duration::from_millis(300);
/// On shard `-80`, and among the first rows of every table.
const FIRST: i64 = 1;

async fn create(life: &Life, request: VDiffCreateRequest) -> Result<String, Status> {
    Ok(life.client().v_diff_create(request).await?.into_inner().uuid)
}

async fn stop(life: &Life, uuid: &str, shard: &str) {
    let request = VDiffStopRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        uuid: uuid.to_owned(),
        target_shards: vec![shard.to_owned()],
    };
    life.client().v_diff_stop(request).await.unwrap();
}

async fn resume(life: &Life, uuid: &str) {
    let request = VDiffResumeRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        uuid: uuid.to_owned(),
        ..VDiffResumeRequest::default()
    };
    life.client().v_diff_resume(request).await.unwrap();
}

async fn delete(life: &Life, argument: &str) -> Result<(), Status> {
    let request = VDiffDeleteRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        arg: argument.to_owned(),
    };
    life.client().v_diff_delete(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_compared_from_its_copy_to_its_end() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(SOURCE_VSCHEMA).replicas(1).row_pause(ROW_PAUSE),
        Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).vschema(TARGET_VSCHEMA).first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    refused_while_copying(&life).await;
    life.until_running("customer").await.unwrap();
    refused_where_nobody_serves(&life).await;
    equal_while_writes_go_on(&life).await;
    in_several_snapshots(&life).await;
    stopped_and_resumed(&life).await;
    started_later(&life).await;
    one_column_differs(&life).await;
    rows_on_one_side_only(&life).await;
    deleted(&life).await;
    life.cancel("customer", false).await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.finish().await.unwrap();
}

async fn refused_while_copying(life: &Life) {
    let mut create_stopped = migrate("commerce", "customer");
    create_stopped.auto_start = false;
    life.create(create_stopped).await.unwrap();
    let refused = create(life, request(&[])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let mut held = Vec::new();
    for shard in life.target.shards("customer") {
        let mut conn = shard.connect().await.unwrap();
        conn.query_drop(format!("BEGIN; INSERT INTO customer (id) VALUES ({HELD_CUSTOMER})")).await.unwrap();
        held.push(conn);
    }
    life.start_streams("customer").await.unwrap();
    life.until_streams("customer", "Copying").await.unwrap();
    let refused = create(life, request(&[])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let text = "not all streams are running in workflow customer.import";
    assert!(refused.message().starts_with(text), "{refused:?}");
    for mut conn in held {
        conn.query_drop("ROLLBACK").await.unwrap();
        conn.disconnect().await.unwrap();
    }
}

/// S8: stock would stop the streams and look for a tablet for ever.
async fn refused_where_nobody_serves(life: &Life) {
    let mut wanted = request(&[]);
    wanted.tablet_types = vec![TabletType::Rdonly.into()];
    let refused = create(life, wanted).await.unwrap_err();
    assert!(matches!(refused.code(), Code::FailedPrecondition | Code::NotFound), "{refused:?}");
    for shard in &Asked::both(&life.target) {
        assert_eq!(shard.query::<(i64,)>("select count(*) from _vt.vdiff").await[0].0, 0);
        shard.until_streams_run().await;
    }
    // only primaries have diffs
    let replica = &life.source.shard("commerce", "0").unwrap().tablets()[1];
    let asked = replica.manager().await.unwrap().v_diff(VDiffRequest::default()).await.unwrap_err();
    assert_eq!(asked.message(), "TabletManager.VDiff on zone1-0000000101: vdiff engine is closed");
}

/// Inserts, updates and deletes until it is told to end.
async fn write(source: &Shard) -> Writer<Error> {
    Writer::start(source, |conn, round| {
        let (new, old, gone) = (100_000 + round, 1 + (round * 37) % 2000, 1 + (round * 53) % 2000);
        let statements = format!(
            "BEGIN; INSERT INTO customer VALUES ({new}, 'new@example.com', 'n'); \
             INSERT INTO corder VALUES ({new}, {new}, 1.5); COMMIT; \
             UPDATE customer SET note = CONCAT('round ', {round}) WHERE id = {old}; \
             UPDATE corder SET customer_id = customer_id + 1 WHERE order_id = {old}; \
             DELETE FROM corder WHERE order_id = {gone}"
        );
        Box::pin(async move { Ok(conn.query_drop(statements).await?) })
    })
    .await
    .unwrap()
}

async fn equal_while_writes_go_on(life: &Life) {
    let writer = write(life.source.shard("commerce", "0").unwrap()).await;
    let uuid = create(life, request(&[])).await.unwrap();
    let shown = completed(life, &uuid).await;
    assert!(writer.stop().await.unwrap() > 10);
    assert!(shown.all("has_mismatch", "0") && shown.all("table_state", "completed"), "{:?}", shown.0);
    assert_eq!(shown.sums("big"), [100_000, 100_000, 0, 0, 0]);
    for shard in &shown.0 {
        assert_eq!(shard.len(), 3);
        assert!(counts(&report(shard, "big"))[0] > 40_000);
    }
    let [processed, matching, ..] = shown.sums("customer");
    assert!(processed == matching && processed > 2000);

    // all is quiet: all is counted
    life.until_same("commerce", "customer", &["customer", "corder"]).await.unwrap();
    let rows = i64::try_from(life.source.table("commerce", "corder").await.unwrap().rows.len()).unwrap();
    let uuid = create(life, request(&["corder"])).await.unwrap();
    let shown = completed(life, &uuid).await;
    assert_eq!(shown.sums("corder"), [rows, rows, 0, 0, 0]);
    assert!(shown.mismatches().is_empty());
}

/// Snapshots do not last for the whole table; the next ones begin where the last ones ended, and have what came meanwhile.
async fn in_several_snapshots(life: &Life) {
    let second = Some(vtmigrated_proto::vttime::Duration { seconds: 1, nanos: 0 });
    let uuid = create(life, VDiffCreateRequest { max_diff_duration: second, ..request(&["big"]) }).await.unwrap();
    let begun = |row: &Row| row.get("rows_compared").is_some_and(|count| count != "0");
    until_shown(life, &uuid, "compared rows", |shown| begun(&shown.0[1][0])).await;
    // on shard 80-, behind all others
    let late = i64::MAX;
    life.source.run("commerce", &format!("INSERT INTO big VALUES ({late}, 'late', 1)")).await.unwrap();
    let shown = completed(life, &uuid).await;
    assert_eq!(shown.sums("big"), [100_001, 100_001, 0, 0, 0]);
    assert!(shown.mismatches().is_empty());
    life.source.run("commerce", &format!("DELETE FROM big WHERE id = {late}")).await.unwrap();
}

/// What was compared before the stop is not looked at again.
async fn stopped_and_resumed(life: &Life) {
    let uuid = create(life, request(&["big"])).await.unwrap();
    let count = |row: &Row| row.get("rows_compared").and_then(|count| count.parse().ok()).unwrap_or(0_i64);
    // each by itself, for one may be far ahead of the other
    let stop_when_begun = async |at: usize, shard: &str| {
        until_shown(life, &uuid, "compared rows", |shown| count(&shown.0[at][0]) > 0).await;
        stop(life, &uuid, shard).await;
    };
    tokio::join!(stop_when_begun(0, "-80"), stop_when_begun(1, "80-"));
    let shown = show(life, &uuid).await.unwrap();
    assert!(shown.all("vdiff_state", "stopped") && shown.all("table_state", "stopped"), "{:?}", shown.0);
    let [done, matching, ..] = shown.sums("big");
    assert!(done == matching && (1..100_000).contains(&done), "{:?}", shown.0);
    let first = life.target.shard("customer", "-80").unwrap();
    first.run(&format!("UPDATE big SET word = 'changed' WHERE id = {FIRST}")).await.unwrap();
    resume(life, &uuid).await;
    let shown = completed(life, &uuid).await;
    assert_eq!(shown.sums("big"), [100_000, 100_000, 0, 0, 0]);
    assert!(shown.mismatches().is_empty());
    // another one sees it
    let uuid = create(life, VDiffCreateRequest { limit: 100, ..request(&["big"]) }).await.unwrap();
    let shown = completed(life, &uuid).await;
    assert_eq!(shown.sums("big"), [200, 199, 1, 0, 0]);
    assert_eq!(shown.mismatches(), ["big"]);
    first.run(&format!("UPDATE big SET word = 'word {FIRST}' WHERE id = {FIRST}")).await.unwrap();
}

async fn started_later(life: &Life) {
    let uuid = create(life, VDiffCreateRequest { auto_start: Some(false), ..request(&["customer"]) }).await.unwrap();
    let shown = show(life, &uuid).await.unwrap();
    assert!(shown.all("vdiff_state", "stopped"), "{:?}", shown.0);
    assert!(shown.0.iter().flatten().all(|row| !row.contains_key("table_name") && !row.contains_key("started_at")));
    resume(life, &uuid).await;
    let shown = completed(life, &uuid).await;
    assert!(shown.mismatches().is_empty() && shown.sums("customer")[0] > 2000);
}

async fn one_column_differs(life: &Life) {
    let first = life.target.shard("customer", "-80").unwrap();
    let change = |note: &str| format!("UPDATE customer SET note = {note} WHERE id = {FIRST}");
    let kept: Vec<(Option<String>,)> =
        Asked::both(&life.target)[0].query(&format!("select note from customer where id = {FIRST}")).await;
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let note = format!("{started}{}", "y".repeat(200));
    first.run(&change(&format!("'{note}'"))).await.unwrap();
    let uuid = create(life, VDiffCreateRequest { debug_query: true, ..request(&["customer"]) }).await.unwrap();
    let shown = completed(life, &uuid).await;
    let [processed, matching, mismatched, extra_source, extra_target] = shown.sums("customer");
    assert_eq!((processed, mismatched, extra_source, extra_target), (matching + 1, 1, 0, 0));
    assert_eq!(shown.mismatches(), ["customer"]);
    let sample = report(&shown.0[0], "customer")["MismatchedRowsSample"].clone();
    let target: &Value = &sample[0]["Target"];
    assert_eq!(target["Row"]["id"], json!(FIRST.to_string()));
    assert_eq!(target["Row"]["note"], json!(format!("{}...[TRUNCATED]", &note[..128])));
    assert_eq!(target["Query"], json!(format!("select id, email, note from customer where id={FIRST};")));
    assert_ne!(sample[0]["Source"]["Row"]["note"], target["Row"]["note"]);
    assert!(report(&shown.0[1], "customer").get("MismatchedRowsSample").is_none());
    let kept = kept[0].0.as_ref().map_or_else(|| "NULL".to_owned(), |note| format!("'{note}'"));
    first.run(&change(&kept)).await.unwrap();
}

/// S17: stock tablets fail on these for ever, and count what is behind the last common row again and again.
async fn rows_on_one_side_only(life: &Life) {
    let [first, second] = Asked::both(&life.target);
    // the last rows of their tables
    let (last,): (i64,) = first.query("select max(id) from customer").await.remove(0);
    first.run(&format!("DELETE FROM customer WHERE id = {last}")).await;
    second.run("INSERT INTO customer VALUES (900000, 'extra', NULL), (900001, 'extra', NULL)").await;
    first.run("INSERT INTO corder VALUES (900000, 1, 1)").await;
    let uuid = create(life, request(&["customer", "corder"])).await.unwrap();
    let shown = completed(life, &uuid).await;
    let [processed, matching, mismatched, extra_source, extra_target] = shown.sums("customer");
    assert_eq!((mismatched, extra_source, extra_target), (0, 1, 2), "{:?}", shown.0);
    assert_eq!(processed, matching + 3);
    assert_eq!(shown.sums("corder")[2..], [0, 0, 1], "{:?}", shown.0);
    assert_eq!(shown.mismatches(), ["corder", "customer", "customer"]);
    assert!(shown.all("table_state", "completed") && shown.all("last_error", ""), "{:?}", shown.0);
    assert!(shown.0.iter().flatten().all(|row| row.contains_key("completed_at")), "{:?}", shown.0);
    // it is over on the tablets, too
    for shard in [first, second] {
        let state: Vec<(String,)> =
            shard.query(&format!("select state from _vt.vdiff where vdiff_uuid = '{uuid}'")).await;
        assert!(["stopped", "completed"].contains(&state[0].0.as_str()), "{state:?}");
        shard.until_streams_run().await;
    }
    let again = show(life, &uuid).await.unwrap();
    assert_eq!(again.0, shown.0);
}

async fn deleted(life: &Life) {
    let all = show(life, "all").await.unwrap();
    assert!(all.0.iter().all(|shard| shard.len() == 8), "{:?}", all.0);
    let uuid = all.0[0][0]["vdiff_uuid"].clone();
    delete(life, &uuid).await.unwrap();
    show(life, &uuid).await.err().unwrap();
    delete(life, &uuid).await.unwrap_err();
    delete(life, "all").await.unwrap();
    assert!(show(life, "all").await.unwrap().0.iter().all(Vec::is_empty));
    delete(life, "all").await.unwrap();
}
