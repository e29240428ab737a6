//! An unsharded keyspace moves to two shards of another cluster, with the names of cells and keyspaces differing, while
//! writes go on.

use integration::{
    cluster::{Cluster, Error, Shard},
    life::{Life, SOURCE_VSCHEMA, TARGET_VSCHEMA, WORKFLOW, change, migrate, streams, until},
    writer::Writer,
};
use mysql_async::prelude::Queryable;
use vtmigrated_proto::vtctldata::workflow_status_response::TableCopyState;

const TABLES: [&str; 3] = ["corder", "customer", "product"];
const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(128), note TEXT);
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, price DECIMAL(12, 2),
                         KEY by_customer (customer_id));
    CREATE TABLE product (sku VARBINARY(40) NOT NULL PRIMARY KEY, description VARCHAR(200));
    SET SESSION cte_max_recursion_depth = 100000;
    INSERT INTO customer WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        SELECT i, CONCAT('user', i, '@example.com'), IF(i % 7 = 0, NULL, REPEAT('x', 300)) FROM n;
    INSERT INTO corder WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        SELECT i, 1 + i % 3000, i / 100 FROM n;
    INSERT INTO product VALUES ('SKU-1', 'Monitor'), ('SKU-2', NULL), ('', 'nothing');";
/// A row that every copy has to insert: whoever holds it on the target holds the copy up.
const HELD_CUSTOMER: i64 = 2000;

/// Inserts, updates and deletes until it is told to end; every tenth round an UPDATE of many rows changes their shards.
async fn write(source: &Shard) -> Writer<Error> {
    Writer::start(source, |conn, round| {
        let (new, old, gone) = (100_000 + round, 1 + (round * 37) % 3000, 1 + (round * 53) % 10_000);
        let statements = format!(
            "BEGIN; INSERT INTO customer VALUES ({new}, 'new@example.com', 'n'); \
             INSERT INTO corder VALUES ({new}, {new}, 1.5); COMMIT; \
             UPDATE customer SET note = CONCAT('round ', {round}) WHERE id = {old}; \
             UPDATE customer SET id = id + 500000 WHERE id = {}; \
             DELETE FROM corder WHERE order_id = {gone}; \
             REPLACE INTO product VALUES ('SKU-{}', 'round {round}')",
            100_000 + round / 2,
            round % 20,
        );
        Box::pin(async move {
            conn.query_drop(statements).await?;
            if round % 10 == 0 {
                move_rows(conn).await;
            }
            Ok(())
        })
    })
    .await
    .unwrap()
}

/// One UPDATE moves many rows, some to either shard (S16).
async fn move_rows(conn: &mut mysql_async::Conn) {
    conn.query_drop("UPDATE corder SET customer_id = customer_id + 1 WHERE order_id <= 400").await.unwrap();
}

fn copy_states(status: &vtmigrated_proto::vtctldata::WorkflowStatusResponse) -> Vec<(String, TableCopyState)> {
    status.table_copy_state.iter().map(|entry| (entry.key.clone(), entry.value.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsharded_keyspace_moves_to_two_shards_while_writes_go_on() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(SOURCE_VSCHEMA).replicas(1),
        Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).vschema(TARGET_VSCHEMA).first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let source_topology = life.source.etcd().dump("").await.unwrap();
    let target_topology = life.target.etcd().dump("").await.unwrap();
    let writer = write(life.source.shard("commerce", "0").unwrap()).await;

    let mut request = migrate("commerce", "customer");
    request.auto_start = false;
    let status = life.create(request).await.unwrap();
    assert_eq!(streams(&status).len(), 2, "{status:?}");
    assert!(
        streams(&status).iter().all(|s| s.status == "Stopped" && s.info == "VStream has not started"),
        "{status:?}"
    );
    keep_options_over_updates(&life).await;
    watch_the_copy(&life).await;
    life.until_running("customer").await.unwrap();

    stop_and_start(&life).await;
    let denied = life.target.primary("customer", "-80").unwrap().execute("UPDATE customer SET note = 'mine'").await;
    assert!(denied.unwrap_err().to_string().contains("disallowed due to rule: enforce denied tables"));
    let shown = life.workflows("customer").await.unwrap().remove(0);
    assert_eq!((shown.name.as_str(), shown.workflow_type.as_str()), (WORKFLOW, "Migrate"));
    assert_eq!(shown.source.unwrap().keyspace, "commerce");
    assert_eq!(shown.target.unwrap().shards, ["-80", "80-"]);
    assert_eq!(shown.shard_streams.len(), 2);

    assert!(writer.stop().await.unwrap() > 10);
    let mut conn = life.source.shard("commerce", "0").unwrap().connect().await.unwrap();
    move_rows(&mut conn).await;
    conn.disconnect().await.unwrap();
    let summary = life.complete("customer").await.unwrap().summary;
    assert_eq!(summary, "Successfully completed the import workflow in the customer keyspace");
    life.expect_same("commerce", "customer", &TABLES).await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();

    // a client of the target writes, and the source does not see it
    let before = life.source.table("commerce", "customer").await.unwrap();
    for shard in life.target.shards("customer") {
        let primary = &shard.tablets()[0];
        assert!(primary.execute("SELECT id FROM customer").await.unwrap().rows.len() > 500, "{}", shard.name);
        primary.execute("UPDATE customer SET note = 'mine'").await.unwrap();
    }
    before.expect_same(&life.source.table("commerce", "customer").await.unwrap()).unwrap();
    assert_eq!(life.source.etcd().dump("").await.unwrap(), source_topology);
    assert_eq!(life.target.etcd().dump("").await.unwrap(), target_topology);
    let missing = life.status("customer").await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound, "{missing:?}");
    life.finish().await.unwrap();
}

/// Overrides of `Workflow update` are merged with what create has set.
async fn keep_options_over_updates(life: &Life) {
    for (key, value) in [("vreplication_net_read_timeout", "200"), ("vreplication_net_write_timeout", "300")] {
        let mut update = change(WORKFLOW);
        update.config_overrides.insert(key.to_owned(), value.to_owned());
        life.update("customer", update).await.unwrap();
    }
    let config = life.workflows("customer").await.unwrap().remove(0).options.unwrap().config;
    let mut config: Vec<_> = config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    config.sort_unstable();
    let expected = [
        ("vreplication_experimental_flags", "3"),
        ("vreplication_net_read_timeout", "200"),
        ("vreplication_net_write_timeout", "300"),
    ];
    assert_eq!(config, expected);
}

/// Holds the copy up in the middle of a table and looks at the figures.
async fn watch_the_copy(life: &Life) {
    let mut held = Vec::new();
    for shard in life.target.shards("customer") {
        let mut conn = shard.connect().await.unwrap();
        conn.query_drop(format!("BEGIN; INSERT INTO customer (id) VALUES ({HELD_CUSTOMER})")).await.unwrap();
        held.push(conn);
    }
    life.start_streams("customer").await.unwrap();
    until("a table that is partly copied", async || {
        let status = life.status("customer").await.map_err(|e| e.to_string())?;
        let states = copy_states(&status);
        assert_eq!(states.iter().map(|(table, _)| table.as_str()).collect::<Vec<_>>(), TABLES);
        for (table, state) in &states {
            assert!(state.rows_copied <= state.rows_total, "{table}: {state:?}");
            assert!(state.bytes_copied <= state.bytes_total, "{table}: {state:?}");
            assert!(state.rows_percentage <= 100.0 && state.bytes_percentage <= 100.0, "{table}: {state:?}");
        }
        let (corder, customer, product) = (&states[0].1, &states[1].1, &states[2].1);
        let copying = streams(&status).iter().any(|s| s.status == "Copying" && s.info.starts_with("Copying "));
        let partly = corder.rows_percentage >= 100.0 && corder.rows_total > 5_000;
        let partly = partly && customer.rows_copied > 0 && customer.rows_percentage < 100.0 && product.rows_copied == 0;
        if copying && partly { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await
    .unwrap();
    let refused = life.complete("customer").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("copying is not over, left: customer, product"), "{refused:?}");
    for mut conn in held {
        conn.query_drop("ROLLBACK").await.unwrap();
        conn.disconnect().await.unwrap();
    }
}

async fn stop_and_start(life: &Life) {
    let states = copy_states(&life.status("customer").await.unwrap());
    for (table, state) in &states {
        assert!((state.rows_percentage - 100.0).abs() < f32::EPSILON, "{table}: {state:?}");
        assert_eq!(state.rows_copied, state.rows_total, "{table}");
    }
    life.stop_streams("customer").await.unwrap();
    life.until_streams("customer", "Stopped").await.unwrap();
    let refused = life.complete("customer").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("its state is Stopped"), "{refused:?}");
    life.start_streams("customer").await.unwrap();
    life.until_running("customer").await.unwrap();
    let shown = life.workflows("customer").await.unwrap().remove(0);
    for entry in &shown.shard_streams {
        let stream = &entry.value.as_ref().unwrap().streams[0];
        assert!(stream.logs.iter().any(|log| log.r#type == "Ended Copy Phase"), "{stream:?}");
    }
}
