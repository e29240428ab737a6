//! Tables, rows and writes of the source.

use std::time::Duration;

use integration::{
    life::{SOURCE_VSCHEMA, TARGET_VSCHEMA},
    stock::{self, Error, Keyspace, Pair},
    writer::Writer,
};
use mysql_async::prelude::Queryable;

pub const TABLES: [&str; 3] = ["corder", "customer", "product"];

pub const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(128), note TEXT);
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, price DECIMAL(12, 2),
                         KEY by_customer (customer_id));
    CREATE TABLE product (sku VARBINARY(40) NOT NULL PRIMARY KEY, description VARCHAR(200));";

pub const ROWS: &str = "
    INSERT INTO customer WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
        SELECT i, CONCAT('user', i, '@example.com'), IF(i % 7 = 0, NULL, REPEAT('x', 300)) FROM n;
    INSERT INTO corder SELECT id * 3, id, id / 100 FROM customer;
    INSERT INTO product VALUES ('SKU-1', 'Monitor'), ('SKU-2', NULL), ('', 'nothing');";

/// The keyspace `commerce` of one shard with all rows, and an empty `customer` of two, with their vschemas.
pub async fn commerce_and_customer(pair: &Pair) -> (Keyspace, Keyspace) {
    let (source, target) =
        tokio::try_join!(pair.source.keyspace("commerce", &["0"]), pair.target.keyspace("customer", &["-80", "80-"]))
            .unwrap();
    source.run(SCHEMA).await.unwrap();
    source.run(ROWS).await.unwrap();
    pair.source.apply_vschema("commerce", SOURCE_VSCHEMA).await.unwrap();
    pair.target.apply_vschema("customer", TARGET_VSCHEMA).await.unwrap();
    (source, target)
}

/// Makes the first write of a client of `customer` through vtgate.
pub async fn write_first_through_vtgate(pair: &Pair) {
    let insert = "INSERT INTO customer (id, email) VALUES (900001, 'first@example.com')";
    stock::until("a write through vtgate", async || pair.target.query("customer", insert).await.map(drop))
        .await
        .unwrap();
}

/// Inserts, updates and deletes until it is told to end; one UPDATE of each round moves rows, some to either shard.
pub async fn write(source: &Keyspace) -> Writer<Error> {
    Writer::start_on(source.shards[0].connect().await.unwrap(), |conn, round| {
        let (new, old, gone) = (100_000 + round, 1 + (round * 37) % 1000, 3 * (500 + (round * 53) % 500));
        let statements = format!(
            "BEGIN; INSERT INTO customer VALUES ({new}, 'new@example.com', 'n'); \
             INSERT INTO corder VALUES ({new}, {new}, 1.5); COMMIT; \
             UPDATE customer SET note = 'round {round}' WHERE id = {old}; \
             DELETE FROM corder WHERE order_id = {gone}; \
             UPDATE corder SET customer_id = customer_id + 1 WHERE order_id <= 120; \
             REPLACE INTO product VALUES ('SKU-{}', 'round {round}')",
            round % 20,
        );
        Box::pin(async move {
            conn.query_drop(statements).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        })
    })
}

/// Fails unless both keyspaces have the same rows of each table.
pub async fn expect_same(source: &Keyspace, target: &Keyspace, tables: &[&str]) {
    for table in tables {
        let (left, right) = tokio::try_join!(source.table(table), target.table(table)).unwrap();
        left.expect_same(&right).unwrap_or_else(|error| panic!("{table}: {error}"));
    }
}
