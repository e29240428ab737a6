//! Diffs of tablets that are asked directly: two source shards feed two target shards, each row crosses over or not.

use integration::{
    cluster::Cluster,
    life::{Life, migrate, until},
};
use serde_json::json;
use tonic::Code;
use vtmigrated_proto::{
    query::Type,
    tabletmanagerdata::{VDiffOptions, VDiffRequest},
};

use super::support::{Shard, completed, counts, options, report, request};

const SCHEMA: &str = "
    CREATE TABLE item (id BIGINT NOT NULL PRIMARY KEY, code VARCHAR(20), price DECIMAL(10, 2), note VARCHAR(500));
    CREATE TABLE word (word VARCHAR(40) COLLATE utf8mb4_0900_ai_ci NOT NULL PRIMARY KEY, n INT);
    CREATE TABLE pair (n SMALLINT NOT NULL, name VARCHAR(10) CHARACTER SET latin1 NOT NULL, `order` TIME,
                       PRIMARY KEY (name, n));
    CREATE TABLE log (at DATETIME(3), line VARBINARY(100));
    CREATE TABLE country (id INT NOT NULL PRIMARY KEY, name VARCHAR(20));
    INSERT INTO country VALUES (1, 'A'), (2, 'B'), (3, 'C');";
/// Even numbers on the first shard, odd ones on the second.
const ROWS: &str = "
    SET SESSION cte_max_recursion_depth = 100000;
    INSERT INTO item WITH RECURSIVE n (i) AS (SELECT {shard} UNION ALL SELECT i + 2 FROM n WHERE i < 998)
        SELECT i, CONCAT('c', i), i / 4, REPEAT('n', i % 300) FROM n;
    INSERT INTO word WITH RECURSIVE n (i) AS (SELECT {shard} UNION ALL SELECT i + 2 FROM n WHERE i < 98)
        SELECT CONCAT(ELT(1 + i % 4, 'a', 'É', 'e', 'Z'), IF(i % 3, '-', '_'), i), i FROM n;
    INSERT INTO pair WITH RECURSIVE n (i) AS (SELECT {shard} UNION ALL SELECT i + 2 FROM n WHERE i < 98)
        SELECT i - 50, ELT(1 + i % 3, 'b', 'A', 'a b'), SEC_TO_TIME(i * 1000 - 40000) FROM n;
    INSERT INTO log VALUES ('2026-01-02 03:04:05.678', 'line {shard}'), (NULL, 'none {shard}');";
/// The target keeps times two hours earlier; names of zones come from tables of MySQL that have to be loaded.
const ZONES: &str = "
    INSERT INTO mysql.time_zone VALUES (1, 'N'), (2, 'N');
    INSERT INTO mysql.time_zone_name VALUES ('UTC', 1), ('Europe/Test', 2);
    INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 0, 0, 'UTC'), (2, 0, 7200, 0, 'TST');";
const SOURCE_VSCHEMA: &str = r#"{
    "sharded": true,
    "vindexes": {"hash": {"type": "hash"}, "md5": {"type": "binary_md5"}},
    "tables": {
        "item": {"columnVindexes": [{"column": "id", "name": "hash"}]},
        "word": {"columnVindexes": [{"column": "n", "name": "hash"}]},
        "pair": {"columnVindexes": [{"column": "n", "name": "hash"}]},
        "log": {"columnVindexes": [{"column": "line", "name": "md5"}]},
        "country": {"type": "reference"}
    }}"#;
const TARGET_VSCHEMA: &str = r#"{
    "sharded": true,
    "vindexes": {"xxhash": {"type": "xxhash"}},
    "tables": {
        "item": {"columnVindexes": [{"column": "code", "name": "xxhash"}]},
        "word": {"columnVindexes": [{"column": "word", "name": "xxhash"}]},
        "pair": {"columnVindexes": [{"column": "name", "name": "xxhash"}]},
        "log": {"columnVindexes": [{"column": "line", "name": "xxhash"}]},
        "country": {"type": "reference"}
    }}"#;
const TABLES: &str = "item,word,pair,log";

fn uuid(number: u8) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

async fn start() -> Life {
    let life = Life::start(
        Cluster::new("zone1").keyspace("shop", &["-80", "80-"]).vschema(SOURCE_VSCHEMA),
        Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).vschema(TARGET_VSCHEMA).first_uid(200),
    )
    .await
    .unwrap();
    for (number, shard) in life.source.shards("shop").into_iter().enumerate() {
        shard.run(&format!("{SCHEMA}{}", ROWS.replace("{shard}", &number.to_string()))).await.unwrap();
    }
    life.target.mysqld().unwrap().run("", ZONES).await.unwrap();
    let mut request = migrate("shop", "customer");
    request.source_time_zone = "Europe/Test".into();
    life.create(request).await.unwrap();
    life.until_running("customer").await.unwrap();
    life
}

#[tokio::test(flavor = "multi_thread")]
async fn tablets_compare_their_shards() {
    let life = start().await;
    let shards = Shard::both(&life.target);
    equal(&shards).await;
    differing(&shards).await;
    samples(&shards).await;
    limited_and_resumed(&shards).await;
    extra_rows_of_a_mounted_source_are_never_reconciled(&shards).await;
    reference_tables_of_a_sharded_source(&life, &shards).await;
    records(&shards).await;
    nobody_serves(&shards).await;
    over_a_restart(&life, &shards).await;
    for shard in &shards {
        shard.act_on("delete", "all").await.unwrap();
        shard.until_streams_run().await;
    }
    life.cancel("customer", false).await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.finish().await.unwrap();
}

/// Both shards, summed over.
async fn sums(shards: &[Shard<'_>; 2], uuid: &str, table: &str) -> [i64; 5] {
    let mut sums = [0; 5];
    for shard in shards {
        let shown = shard.until(uuid, "completed").await;
        for (sum, count) in sums.iter_mut().zip(counts(&report(&shown, table))) {
            *sum += count;
        }
    }
    sums
}

async fn create(shards: &[Shard<'_>; 2], number: u8, options: &VDiffOptions) -> String {
    let uuid = uuid(number);
    for shard in shards {
        shard.create(&uuid, options.clone()).await;
    }
    uuid
}

async fn equal(shards: &[Shard<'_>; 2]) {
    let mut wanted = options(TABLES);
    wanted.core_options.as_mut().unwrap().update_table_stats = true;
    let uuid = create(shards, 1, &wanted).await;
    for shard in shards {
        let shown = shard.until(&uuid, "completed").await;
        assert_eq!(shown.len(), 4, "{shown:?}");
        for row in &shown {
            assert_eq!((row["table_state"].as_str(), row["has_mismatch"].as_str()), ("completed", "0"), "{row:?}");
            assert_eq!((row["uuid"].as_str(), row["last_error"].as_str()), (uuid.as_str(), ""));
            assert!(row.contains_key("started_at") && row.contains_key("completed_at"));
            assert_eq!(row["rows_compared"], report(&shown, &row["table_name"])["ProcessedRows"].to_string());
        }
        shard.until_streams_run().await;
        let keys: Vec<(Option<String>,)> =
            shard.query("select lastpk from _vt.vdiff_table where table_name = 'item'").await;
        let key = keys[0].0.as_deref().unwrap();
        assert!(key.starts_with(r#"target:{fields:{name:"id" type:INT64"#) && !key.contains("source:"), "{key}");
        let log: Vec<(String,)> = shard.query("select message from _vt.vdiff_log order by id").await;
        let log: Vec<&str> = log.iter().map(|(line,)| line.as_str()).collect();
        assert_eq!((log[0], *log.last().unwrap()), ("State changed to: started", "State changed to: completed"));
        assert_eq!(log.iter().filter(|line| **line == "completed: table 'pair'").count(), 2, "{log:?}");
        let found: Vec<(String,)> = shard.query("select options from _vt.vdiff").await;
        let stored: serde_json::Value = serde_json::from_str(&found[0].0).unwrap();
        assert_eq!(
            stored["picker_options"],
            json!({"source_cell": "zone1", "target_cell": "zone1", "tablet_types": "in_order:rdonly,replica,primary"})
        );
        assert_eq!(stored["core_options"]["max_rows"], json!(i64::MAX));
    }
    let times: Vec<(Option<String>,)> =
        shards[0].query("select at from log union all select at from vt_customer_1.log order by 1").await;
    assert_eq!(times.last().unwrap().0.as_deref(), Some("2026-01-02 01:04:05.678"));
    for (table, rows) in [("item", 1000), ("word", 100), ("pair", 100), ("log", 4)] {
        assert_eq!(sums(shards, &uuid, table).await, [rows, rows, 0, 0, 0], "{table}");
    }
    let answer = shards[0].act_on("show", &uuid.to_uppercase()).await.unwrap();
    assert_eq!((answer.id, answer.vdiff_uuid.as_str()), (0, uuid.as_str()));
    let fields: Vec<(String, Type)> =
        answer.output.unwrap().fields.iter().map(|field| (field.name.clone(), field.r#type())).collect();
    let expected = [
        ("vdiff_state", Type::Varbinary),
        ("last_error", Type::Varbinary),
        ("table_name", Type::Varbinary),
        ("uuid", Type::Varchar),
        ("table_state", Type::Varbinary),
        ("table_rows", Type::Int64),
        ("started_at", Type::Timestamp),
        ("rows_compared", Type::Int64),
        ("completed_at", Type::Timestamp),
        ("has_mismatch", Type::Int64),
        ("report", Type::Json),
    ];
    assert_eq!(fields, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

/// One row changed, one that is only here, one that is only there; with a mismatch vschemas are not asked for.
async fn differing(shards: &[Shard<'_>; 2]) {
    let [first, second] = shards;
    let (changed, gone): (i64, i64) = first.query("select min(id), max(id) from item where id > 300").await.remove(0);
    first.run(&format!("UPDATE item SET note = '{}' WHERE id = {changed}", "x".repeat(200))).await;
    first.run(&format!("DELETE FROM item WHERE id = {gone}")).await;
    first.run("INSERT INTO item VALUES (-7, 'extra', 1, NULL)").await;
    let mut wanted = options("item");
    wanted.report_options.as_mut().unwrap().debug_query = true;
    let uuid = create(shards, 2, &wanted).await;
    let shown = first.until(&uuid, "completed").await;
    assert_eq!((shown.len(), shown[0]["has_mismatch"].as_str()), (1, "1"));
    let found = report(&shown, "item");
    let rows: i64 = first.query::<(i64,)>("select count(*) from item").await[0].0;
    assert_eq!(counts(&found), [rows + 1, rows - 2, 1, 1, 1]);
    let extra = json!([{
        "Row": {"id": "-7", "code": "extra", "price": "1.00", "note": ""},
        "Query": "select id, code, price, note from item where id=-7;",
    }]);
    assert_eq!(found["ExtraRowsTargetSample"], extra);
    assert_eq!(found["ExtraRowsSourceSample"][0]["Row"]["id"], json!(gone.to_string()));
    let sample = &found["MismatchedRowsSample"][0];
    assert_eq!(sample["Target"]["Row"]["note"], json!(format!("{}...[TRUNCATED]", "x".repeat(128))));
    assert_eq!(sample["Source"]["Row"]["id"], json!(changed.to_string()));
    let shown = second.until(&uuid, "completed").await;
    assert_eq!(shown[0]["has_mismatch"], "0");
}

async fn samples(shards: &[Shard<'_>; 2]) {
    let [first, _] = shards;
    first.run("UPDATE item SET price = price + 1 WHERE id >= 0").await;
    first.run("INSERT INTO item SELECT -100 - id, code, price, note FROM item WHERE id BETWEEN 1 AND 200").await;
    let mut wanted = options("item");
    wanted.core_options.as_mut().unwrap().max_extra_rows_to_compare = 5;
    let report_options = wanted.report_options.as_mut().unwrap();
    (report_options.only_pks, report_options.max_sample_rows) = (true, 3);
    let uuid = create(shards, 3, &wanted).await;
    let found = report(&first.until(&uuid, "completed").await, "item");
    let [_, matching, mismatched, _, extra] = counts(&found);
    assert_eq!(matching, 0);
    assert!(mismatched > 100 && extra > 10, "{found}");
    let sampled = found["MismatchedRowsSample"].as_array().unwrap();
    assert_eq!(sampled.len(), 3);
    assert_eq!(sampled[0]["Source"]["Row"].as_object().unwrap().len(), 1);
    // of both sides there is something extra, so the sample is cut, to one less
    assert_eq!(found["ExtraRowsTargetSample"].as_array().unwrap().len(), 2);
    assert_eq!(found["ExtraRowsSourceSample"].as_array().unwrap().len(), 1);
}

/// A limit completes the table; after resume it goes on where it was.
async fn limited_and_resumed(shards: &[Shard<'_>; 2]) {
    let [_, second] = shards;
    let rows: i64 = second.query::<(i64,)>("select count(*) from item").await[0].0;
    let mut wanted = options("item");
    let core = wanted.core_options.as_mut().unwrap();
    (core.max_rows, core.auto_start) = (100, Some(false));
    let uuid = uuid(4);
    second.create(&uuid, wanted).await;
    let shown = second.show(&uuid).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["vdiff_state"], "stopped");
    assert!(!shown[0].contains_key("table_name") && !shown[0].contains_key("started_at"));
    for done in [100, 200] {
        let resumed = second.act("resume", &uuid).await.unwrap();
        assert_eq!(resumed.vdiff_uuid, uuid);
        let shown = second.until(&uuid, "completed").await;
        assert_eq!(counts(&report(&shown, "item")), [done, done, 0, 0, 0]);
    }
    let unlimited = "update _vt.vdiff set options = json_set(options, '$.core_options.max_rows', 1000000)";
    second.query::<(i64,)>(unlimited).await;
    second.act("resume", &uuid).await.unwrap();
    let shown = second.until(&uuid, "completed").await;
    assert_eq!(counts(&report(&shown, "item")), [rows, rows, 0, 0, 0]);
}

/// S17: the vschema of the source is looked for in the own topology, for ever.
async fn extra_rows_of_a_mounted_source_are_never_reconciled(shards: &[Shard<'_>; 2]) {
    let [_, second] = shards;
    let (last,): (String,) = second.query("select max(word) from word").await.remove(0);
    second.run(&format!("DELETE FROM word WHERE word = '{last}'")).await;
    let uuid = uuid(5);
    second.create(&uuid, options("word")).await;
    let text = "failed to reconcile extra rows: node doesn't exist: /vitess/global/keyspaces/shop/VSchema";
    let shown = second.until(&uuid, "error").await;
    assert_eq!((shown[0]["last_error"].as_str(), shown[0]["table_state"].as_str()), (text, "error"));
    let [_, _, mismatched, first, extra_target] = counts(&report(&shown, "word"));
    assert!((mismatched, extra_target) == (0, 0) && first > 0, "{shown:?}");
    // it is tried again, and counts the row once more
    until("another count", async || {
        let shown = second.show(&uuid).await;
        let extra = counts(&report(&shown, "word"))[3];
        if extra > first { Ok(()) } else { Err(format!("{shown:?}")) }
    })
    .await
    .unwrap();
    second.act("stop", &uuid).await.unwrap();
    let shown = second.show(&uuid).await;
    assert_eq!((shown[0]["vdiff_state"].as_str(), shown[0]["last_error"].as_str()), ("stopped", ""));
    let log: Vec<(String,)> = second.query("select message from _vt.vdiff_log order by id").await;
    let said = |line: &str| log.iter().any(|(message,)| message == line);
    assert!(said(&format!("Table word Error: {text}")) && said(&format!("Error: {text}")), "{log:?}");
    assert!(said("State changed to: error") && said("State changed to: stopped (by user request)"), "{log:?}");
    second.until_streams_run().await;
}

/// The first stream's filter is taken for all: each further source shard adds the whole table. The server knows better.
async fn reference_tables_of_a_sharded_source(life: &Life, shards: &[Shard<'_>; 2]) {
    let [first, _] = shards;
    let filters: Vec<(String,)> = first.query("select source from _vt.vreplication order by id").await;
    assert!(filters[1].0.contains(r#"match:"country" filter:"exclude""#), "{filters:?}");
    let asked = life.client().v_diff_create(request(&["country"])).await.unwrap().into_inner().uuid;
    let shown = completed(life, &asked).await;
    assert!(shown.mismatches().is_empty(), "{shown:?}");
    assert_eq!(shown.sums("country"), [12, 6, 0, 0, 0]);
    let uuid = uuid(6);
    let mut once = options("country");
    once.core_options.as_mut().unwrap().auto_retry = false;
    first.create(&uuid, once).await;
    let shown = first.until(&uuid, "error").await;
    assert_eq!(counts(&report(&shown, "country")), [6, 3, 0, 3, 0]);
    // were the source's vschema in the own topology, the copies would be forgiven
    life.target.put_vschema("shop", SOURCE_VSCHEMA).await.unwrap();
    let uuid = self::uuid(7);
    first.create(&uuid, options("country")).await;
    let shown = first.until(&uuid, "completed").await;
    assert_eq!(shown[0]["has_mismatch"], "0");
    assert_eq!(counts(&report(&shown, "country")), [6, 3, 0, 0, 0]);
}

/// What is said of records that there are, and of those that there are not.
async fn records(shards: &[Shard<'_>; 2]) {
    let [first, _] = shards;
    let prefix = "TabletManager.VDiff on zone1-0000000200: ";
    let refused = |status: tonic::Status, text: &str| {
        assert_eq!((status.code(), status.message()), (Code::Unknown, format!("{prefix}{text}").as_str()));
    };
    let (known, unknown) = (uuid(1), uuid(99));
    let create = VDiffRequest { action: "create".into(), vdiff_uuid: known.clone(), ..VDiffRequest::default() };
    let text = format!("vdiff with UUID {known} already exists on tablet zone1-0000000200");
    refused(first.ask(create).await.unwrap_err(), &text);
    let status = first.act("resume", &unknown).await.unwrap_err();
    refused(status, &format!("vdiff with UUID {unknown} not found on tablet zone1-0000000200"));
    let failed = uuid(6);
    let status = first.act("resume", &failed).await.unwrap_err();
    refused(status, &format!("no completed or stopped vdiff found for UUID {failed} on tablet zone1-0000000200"));
    assert_eq!(first.act("stop", &unknown).await.unwrap(), Default::default());
    let status = first.act_on("show", &unknown).await.unwrap_err();
    let whose = "keyspace customer and workflow import on tablet zone1-0000000200";
    refused(status, &format!("no vdiff found for UUID {unknown} {whose}"));
    refused(first.act_on("show", "nonsense").await.unwrap_err(), "action argument nonsense not supported");
    refused(first.act_on("delete", "nonsense").await.unwrap_err(), "action argument nonsense not supported");
    refused(first.act("explode", "").await.unwrap_err(), "action explode not supported");
    let status = first.act_on("delete", &unknown).await.unwrap_err();
    refused(status, &format!("no vdiff found for UUID {unknown} on tablet zone1-0000000200"));

    let all = first.act_on("show", "all").await.unwrap();
    assert_eq!(all.vdiff_uuid, "");
    let all = super::support::rows(&all.output.unwrap());
    assert_eq!((all[0]["vdiff_uuid"].as_str(), all[0]["shard"].as_str()), (uuid(7).as_str(), "-80"));
    assert_eq!((all[0]["keyspace"].as_str(), all[0]["workflow"].as_str()), ("customer", "import"));
    assert_eq!(all.last().unwrap()["vdiff_uuid"], known);
    let last = first.act_on("show", "last").await.unwrap();
    assert_eq!(last.vdiff_uuid, uuid(7));
    let deleted = first.act_on("delete", &known).await.unwrap();
    assert_eq!(deleted, Default::default());
    let left = "select count(*) from _vt.vdiff_table where vdiff_id not in (select id from _vt.vdiff)";
    assert_eq!(first.query::<(i64,)>(left).await[0].0, 0);
    let left = "select count(*) from _vt.vdiff_log where vdiff_id not in (select id from _vt.vdiff)";
    assert!(first.query::<(i64,)>(left).await[0].0 > 0, "the log stays");
    first.act_on("delete", "all").await.unwrap();
    assert_eq!(first.act_on("show", "last").await.unwrap(), Default::default());
    let mut replica = VDiffRequest { action: "show".into(), action_arg: "all".into(), ..VDiffRequest::default() };
    replica.workflow = "other".into();
    assert!(first.ask(replica).await.unwrap().output.unwrap().rows.is_empty());
}

/// The streams stand still until the diff is stopped.
async fn nobody_serves(shards: &[Shard<'_>; 2]) {
    let [first, _] = shards;
    let mut wanted = options("item");
    wanted.picker_options.as_mut().unwrap().tablet_types = "rdonly".into();
    let uuid = uuid(8);
    first.create(&uuid, wanted).await;
    until("stopped streams", async || {
        let streams = first.streams().await;
        let stopped = streams.iter().all(|(state, message, _)| state == "Stopped" && message == "for vdiff");
        if stopped { Ok(()) } else { Err(format!("{streams:?}")) }
    })
    .await
    .unwrap();
    assert_eq!(first.show(&uuid).await[0]["vdiff_state"], "started");
    first.act("stop", &uuid).await.unwrap();
    first.until_streams_run().await;
    assert_eq!(first.show(&uuid).await[0]["vdiff_state"], "stopped");
}

/// A diff that is under way goes on after the death of its tablet.
async fn over_a_restart(life: &Life, shards: &[Shard<'_>; 2]) {
    let [_, second] = shards;
    let server = life.source.mysqld().unwrap();
    let uuid = uuid(9);
    server.process().pause().unwrap();
    second.create(&uuid, options("item")).await;
    second.until(&uuid, "started").await;
    life.target.primary("customer", "80-").unwrap().kill().await;
    server.process().resume().unwrap();
    life.target.primary("customer", "80-").unwrap().restart().await.unwrap();
    let shown = second.until(&uuid, "completed").await;
    let rows: i64 = second.query::<(i64,)>("select count(*) from item").await[0].0;
    assert_eq!(counts(&report(&shown, "item")), [rows, rows, 0, 0, 0]);
    second.until_streams_run().await;
}
