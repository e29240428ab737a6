//! Sharded sources, whose rows go to other shards.

use integration::stock;

use crate::data::{SCHEMA, TABLES, expect_same};

/// A rich vschema: every table by `hash`.
const SOURCE: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}, "sku_md5": {"type": "binary_md5"}},
    "tables": {"customer": {"columnVindexes": [{"column": "id", "name": "hash"}]},
               "corder": {"columnVindexes": [{"column": "customer_id", "name": "hash"}]},
               "product": {"columnVindexes": [{"column": "sku", "name": "sku_md5"}]}}}"#;
/// Another vindex for every table, and for one another column.
const OTHER: &str = r#"{"sharded": true, "vindexes": {"xx": {"type": "xxhash"}, "loose": {"type": "unicode_loose_md5"}},
    "tables": {"customer": {"columnVindexes": [{"column": "id", "name": "xx"}]},
               "corder": {"columnVindexes": [{"column": "order_id", "name": "xx"}]},
               "product": {"columnVindexes": [{"column": "sku", "name": "xx"}]}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_move_to_four_that_overlap_and_to_two_with_other_vindexes() {
    let pair = stock::pair().await.unwrap();
    let (source, four, two) = tokio::try_join!(
        pair.source.keyspace("pieces", &["-80", "80-"]),
        pair.target.keyspace("four", &["-40", "40-a0", "a0-c0", "c0-"]),
        pair.target.keyspace("two", &["-80", "80-"]),
    )
    .unwrap();
    source.run(SCHEMA).await.unwrap();
    pair.source.apply_vschema("pieces", SOURCE).await.unwrap();
    pair.target.apply_vschema("four", SOURCE).await.unwrap();
    pair.target.apply_vschema("two", OTHER).await.unwrap();
    fill(pair, &source).await;

    let spread = pair.migration("spread", "pieces", "four");
    let create =
        spread.create(&["--tables", "customer,corder,product", "--tablet-types", "primary", "--on-ddl", "STOP"]);
    create.await.unwrap().expect().unwrap();
    let swap = pair.migration("swap", "pieces", "two");
    swap.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    spread.until_running().await.unwrap();
    swap.until_running().await.unwrap();
    // one statement moves many rows from shard to shard
    source
        .run("UPDATE corder SET customer_id = customer_id + 0, order_id = order_id + 1000000 WHERE order_id < 900")
        .await
        .unwrap();
    source
        .run(
            "UPDATE customer SET note = CONCAT('later ', id) WHERE id % 3 = 0; DELETE FROM product WHERE sku = 'SKU-2'",
        )
        .await
        .unwrap();
    for (import, target) in [(spread, &four), (swap, &two)] {
        let difference = import.compare().await.unwrap();
        assert_eq!(difference["HasMismatch"], false, "{difference}");
        stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
        expect_same(&source, target, &TABLES).await;
        assert!(target.shards.len() > 1);
        for shard in &target.shards {
            assert!(!shard.rows("SELECT id FROM customer LIMIT 1").await.unwrap().is_empty(), "{}", shard.name);
        }
    }
}

/// Rows go through vtgate, which puts each where it belongs.
async fn fill(pair: &stock::Pair, source: &stock::Keyspace) {
    let rows = |number: i64| format!("({number}, 'user{number}@example.com', NULL)");
    let orders = |number: i64| format!("({}, {number}, 1.5)", number * 3);
    for from in [1, 201, 401, 601, 801] {
        let join = |row: &dyn Fn(i64) -> String| (from..from + 200).map(row).collect::<Vec<_>>().join(", ");
        let inserts = [
            format!("INSERT INTO customer (id, email, note) VALUES {}", join(&rows)),
            format!("INSERT INTO corder (order_id, customer_id, price) VALUES {}", join(&orders)),
            format!("INSERT INTO product (sku, description) VALUES ('SKU-{from}', 'one'), ('SKU-x{from}', NULL)"),
        ];
        for insert in inserts {
            stock::until("a write through vtgate", async || match pair.source.query("pieces", &insert).await {
                Err(stock::Error::Sql(error)) if error.to_string().contains("Duplicate") => Ok(()),
                other => other.map(drop),
            })
            .await
            .unwrap();
        }
    }
    for shard in &source.shards {
        assert!(!shard.rows("SELECT id FROM customer LIMIT 1").await.unwrap().is_empty(), "{}", shard.name);
    }
}
