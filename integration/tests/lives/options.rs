//! Every option of create does what it says, and cancel leaves the target as it was before.

use integration::{
    cluster::{Builder, Cluster},
    life::{Life, WORKFLOW, change, migrate, streams, until},
};
use mysql_async::prelude::Queryable;
use tonic::Code;
use vtmigrated_proto::{
    binlogdata::OnDdlAction,
    topodata::TabletType,
    vtctldata::{Workflow, workflow::Stream},
};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40), born DATETIME, KEY by_name (name));
    CREATE TABLE corder (id BIGINT NOT NULL PRIMARY KEY, price INT, KEY by_price (price));
    CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40));
    CREATE TABLE _gone_old (id BIGINT NOT NULL PRIMARY KEY);
    INSERT INTO customer VALUES (1, 'one', '2026-01-01 12:00:00'), (2, 'two', NULL), (3, 'three', '2026-07-01 12:00:00'), (4, NULL, NULL);
    INSERT INTO corder VALUES (1, 10), (2, 20), (3, 30), (4, 40);
    INSERT INTO product VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');";
const SHARDED: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "customer": {"columnVindexes": [{"column": "id", "name": "hash"}]},
    "corder": {"columnVindexes": [{"column": "id", "name": "hash"}]},
    "product": {"columnVindexes": [{"column": "id", "name": "hash"}]}}}"#;

fn source() -> Builder {
    Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}").replicas(1)
}

fn target() -> Builder {
    Cluster::new("zone1")
        .keyspace("customer", &["-80", "80-"])
        .vschema(SHARDED)
        .keyspace("whole", &["0"])
        .vschema(r#"{"tables": {"other": {}}}"#)
        .first_uid(200)
}

async fn start() -> Life {
    let life = Life::start(source(), target()).await.unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    life
}

async fn shown(life: &Life, keyspace: &str) -> (Workflow, Vec<Stream>) {
    let workflow = life.workflows(keyspace).await.unwrap().remove(0);
    let streams = workflow.shard_streams.iter().flat_map(|shard| shard.value.clone().unwrap().streams).collect();
    (workflow, streams)
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_leaves_the_target_as_it_was_before_create() {
    let life = start().await;
    // two tables are there before, empty; one has a key that the source's has not
    let before = "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40), born DATETIME, KEY by_name (name), KEY by_born (born))";
    for keyspace in ["customer", "whole"] {
        life.target.run(keyspace, before).await.unwrap();
        life.target
            .run(keyspace, "CREATE TABLE mine (id INT PRIMARY KEY); INSERT INTO mine VALUES (1), (2)")
            .await
            .unwrap();
    }
    let clean = life.target.snapshot().await.unwrap();
    let source = life.source.snapshot().await.unwrap();
    for keyspace in ["customer", "whole"] {
        // while it runs
        life.create(migrate("commerce", keyspace)).await.unwrap();
        life.until_running(keyspace).await.unwrap();
        life.until_same("commerce", keyspace, &["customer", "corder", "product"]).await.unwrap();
        let changes = clean.changes(&life.target.snapshot().await.unwrap()).join("\n");
        assert!(changes.contains("internal/vtmigrated") && changes.contains(".corder"), "{changes}");
        let summary = life.cancel(keyspace, false).await.unwrap().summary;
        assert!(summary.contains("import"), "{summary}");
        assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());

        // before it starts, and in the middle of the copy, when the secondary keys are gone
        let mut waiting = migrate("commerce", keyspace);
        waiting.auto_start = false;
        life.create(waiting.clone()).await.unwrap();
        life.cancel(keyspace, false).await.unwrap();
        assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());
        life.create(waiting).await.unwrap();
        fail_the_copy(&life, keyspace).await;
        life.cancel(keyspace, false).await.unwrap();
        assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());

        let nothing = life.cancel(keyspace, false).await.unwrap_err();
        assert_eq!(nothing.code(), Code::NotFound, "{nothing:?}");
        assert!(
            nothing.message().starts_with(&format!("no streams found in keyspace {keyspace} for import")),
            "{nothing:?}"
        );
    }
    assert_eq!(source.changes(&life.source.snapshot().await.unwrap()), Vec::<String>::new());
    life.finish().await.unwrap();
}

/// Starts the streams and lets the copy of `corder`, the first table, fail on rows that are in the way.
async fn fail_the_copy(life: &Life, keyspace: &str) {
    life.target.run(keyspace, "INSERT INTO corder (id) VALUES (1), (2), (3), (4)").await.unwrap();
    life.start_streams(keyspace).await.unwrap();
    until("a copy that has met the rows", async || {
        let status = life.status(keyspace).await.map_err(|e| e.to_string())?;
        if streams(&status).iter().all(|stream| stream.status == "Error") { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_with_kept_data_keeps_rows_and_keys() {
    let life = start().await;
    life.create(migrate("commerce", "customer")).await.unwrap();
    life.until_running("customer").await.unwrap();
    life.until_same("commerce", "customer", &["customer", "corder", "product"]).await.unwrap();
    life.cancel("customer", true).await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.expect_same("commerce", "customer", &["customer", "corder", "product"]).await.unwrap();
    for shard in life.target.shards("customer") {
        let keys = "SELECT COUNT(DISTINCT table_name, index_name) FROM information_schema.statistics WHERE table_schema = DATABASE()";
        let keys: Option<i32> = shard.connect().await.unwrap().query_first(keys).await.unwrap();
        assert_eq!(keys, Some(5), "{}", shard.name);
        shard.tablets()[0].execute("UPDATE customer SET name = 'mine'").await.unwrap();
    }
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_cells_types_and_start_are_as_asked_for() {
    let life = start().await;
    let clean = life.target.snapshot().await.unwrap();

    let mut request = migrate("commerce", "customer");
    (request.all_tables, request.auto_start) = (false, false);
    request.include_tables = vec!["product".into(), "customer".into(), "corder".into()];
    request.exclude_tables = vec!["corder".into()];
    request.cells = vec!["zone1".into()];
    request.tablet_types = vec![TabletType::Primary.into(), TabletType::Replica.into()];
    request.no_routing_rules = true;
    request.defer_secondary_keys = false;
    life.create(request).await.unwrap();
    let (workflow, rows) = shown(&life, "customer").await;
    assert!(!workflow.defer_secondary_keys);
    for stream in &rows {
        assert_eq!((stream.state.as_str(), stream.cells.as_slice()), ("Stopped", &["zone1".to_owned()][..]));
        assert_eq!(stream.tablet_types, [TabletType::Primary as i32, TabletType::Replica as i32]);
        assert_eq!(stream.tablet_selection_preference, 1, "in order");
        let rules = &stream.source().unwrap().filter.unwrap().rules;
        assert_eq!(rules.iter().map(|rule| rule.r#match.as_str()).collect::<Vec<_>>(), ["customer", "product"]);
    }
    life.start_streams("customer").await.unwrap();
    life.until_running("customer").await.unwrap();
    assert_eq!(shown(&life, "customer").await.1[0].tablet_selection_preference, 1, "still in order after the start");
    life.until_same("commerce", "customer", &["customer", "product"]).await.unwrap();
    life.target.table("customer", "corder").await.unwrap_err();
    life.cancel("customer", false).await.unwrap();
    assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());

    // names of all tables leave internal ones out, and no types mean any
    let mut request = migrate("commerce", "whole");
    request.tablet_types.clear();
    request.exclude_tables = vec!["corder".into(), "customer".into()];
    life.create(request).await.unwrap();
    life.until_running("whole").await.unwrap();
    let (_, rows) = shown(&life, "whole").await;
    let rules = &rows[0].source().unwrap().filter.unwrap().rules;
    assert_eq!(rules.iter().map(|rule| rule.r#match.as_str()).collect::<Vec<_>>(), ["product"]);
    life.cancel("whole", false).await.unwrap();
    assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_definitions_are_handled_as_asked_for() {
    let life = start().await;
    let all = [
        ("IGNORE", OnDdlAction::Ignore),
        ("STOP", OnDdlAction::Stop),
        ("exec", OnDdlAction::Exec),
        ("EXEC_IGNORE", OnDdlAction::ExecIgnore),
    ];
    for (number, (text, action)) in all.into_iter().enumerate() {
        let mut request = migrate("commerce", "whole");
        request.on_ddl = text.to_owned();
        request.include_tables = vec!["product".into()];
        life.create(request).await.unwrap();
        life.until_running("whole").await.unwrap();
        assert_eq!(shown(&life, "whole").await.1[0].source().unwrap().on_ddl(), action);
        let ddl = format!("ALTER TABLE product ADD KEY k{number} (name)");
        // one that fails on the target: it has the key already
        if text == "EXEC_IGNORE" {
            life.target.run("whole", &ddl).await.unwrap();
        }
        life.source.run("commerce", &ddl).await.unwrap();
        if text == "STOP" {
            life.until_streams("whole", "Stopped").await.unwrap();
            let message = shown(&life, "whole").await.1[0].message.clone();
            assert_eq!(message, format!("Stopped at DDL {ddl}"));
        } else {
            let row = 100 + number;
            life.source.run("commerce", &format!("INSERT INTO product (id, name) VALUES ({row}, 'x')")).await.unwrap();
            let shard = life.target.shard("whole", "0").unwrap();
            until("the row after the change", async || {
                let mut conn = shard.connect().await.map_err(|e| e.to_string())?;
                let found: Option<i32> =
                    conn.query_first(format!("SELECT id FROM product WHERE id = {row}")).await.unwrap();
                found.map(drop).ok_or("no row").map_err(str::to_owned)
            })
            .await
            .unwrap();
            let (_, create): (String, String) =
                shard.connect().await.unwrap().query_first("SHOW CREATE TABLE product").await.unwrap().unwrap();
            assert_eq!(create.contains(&format!("`k{number}`")), text != "IGNORE", "{text}: {create}");
        }
        life.cancel("whole", false).await.unwrap();
        life.source.run("commerce", &format!("ALTER TABLE product DROP KEY k{number}")).await.unwrap();
    }
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_after_the_copy_and_a_time_zone_of_the_source() {
    let life = start().await;
    let clean = life.target.snapshot().await.unwrap();
    let mut request = migrate("commerce", "customer");
    request.source_time_zone = "Mars/Olympus".into();
    let error = life.create(request.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    assert!(
        error.message().starts_with("unable to perform time_zone conversions from Mars/Olympus to UTC"),
        "{error:?}"
    );
    assert_eq!(clean.changes(&life.target.snapshot().await.unwrap()), Vec::<String>::new());

    // names of zones come from tables of MySQL that have to be loaded
    let zones = "INSERT INTO mysql.time_zone VALUES (1, 'N'), (2, 'N'); \
                 INSERT INTO mysql.time_zone_name VALUES ('UTC', 1), ('Europe/Test', 2); \
                 INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 0, 0, 'UTC'), (2, 0, 7200, 0, 'TST')";
    life.target.mysqld().unwrap().run("", zones).await.unwrap();
    request.source_time_zone = "Europe/Test".into();
    request.stop_after_copy = true;
    life.create(request).await.unwrap();
    life.until_streams("customer", "Stopped").await.unwrap();
    assert!(shown(&life, "customer").await.1.iter().all(|s| s.message == "Stopped after copy."));
    // later rows are not waited for
    life.source.run("commerce", "INSERT INTO customer VALUES (9, 'late', NULL)").await.unwrap();
    life.complete("customer").await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.expect_same("commerce", "customer", &["corder", "product"]).await.unwrap();
    let mut born = Vec::new();
    for shard in life.target.shards("customer") {
        let sql = "SELECT id, CAST(born AS CHAR) FROM customer";
        let rows: Vec<(i32, Option<String>)> = shard.connect().await.unwrap().query(sql).await.unwrap();
        born.extend(rows);
    }
    born.sort();
    let utc = |text: &str| Some(text.to_owned());
    assert_eq!(born, [(1, utc("2026-01-01 10:00:00")), (2, None), (3, utc("2026-07-01 10:00:00")), (4, None)]);
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn status_answers_while_a_change_of_a_definition_waits() {
    let life = start().await;
    let mut request = migrate("commerce", "whole");
    request.auto_start = false;
    life.create(request).await.unwrap();
    // the keys cannot be taken away as long as somebody reads the table
    let mut reader = life.target.shard("whole", "0").unwrap().connect().await.unwrap();
    reader.query_drop("BEGIN; SELECT COUNT(*) FROM customer").await.unwrap();
    life.start_streams("whole").await.unwrap();
    until("the change that waits", async || {
        let waiting =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock'";
        let rows =
            life.target.mysqld().map_err(|e| e.to_string())?.rows("", waiting).await.map_err(|e| e.to_string())?;
        let count: i32 = mysql_async::from_row(rows[0].clone());
        if count > 0 { Ok(()) } else { Err("nothing waits".to_owned()) }
    })
    .await
    .unwrap();
    assert_eq!(streams(&life.status("whole").await.unwrap()).len(), 1);
    reader.query_drop("COMMIT").await.unwrap();
    reader.disconnect().await.unwrap();
    life.until_running("whole").await.unwrap();
    let mut update = change(WORKFLOW);
    update.on_ddl = Some(OnDdlAction::Stop.into());
    life.update("whole", update).await.unwrap();
    assert_eq!(shown(&life, "whole").await.1[0].source().unwrap().on_ddl(), OnDdlAction::Stop);
    life.complete("whole").await.unwrap();
    life.finish().await.unwrap();
}
