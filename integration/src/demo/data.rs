//! The tables of the source and their first rows.

use super::Error;
use crate::cluster::{Cluster, Shard};

/// The vschema of the target; `product` has all of its rows on each shard.
pub const VSCHEMA: &str = include_str!("vschema.json");
/// Where a reader finds it, from the root of the repository.
pub const VSCHEMA_FILE: &str = "integration/src/demo/vschema.json";
/// The column that says where a row of a sharded table belongs, by the vindex `hash`.
pub const SHARDING_COLUMN: &str = "customer_id";

/// A table of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    /// Each shard of the target has all rows.
    pub reference: bool,
}

/// All tables of the source.
pub const TABLES: [Table; 3] = [
    Table { name: "corder", reference: false },
    Table { name: "customer", reference: false },
    Table { name: "product", reference: true },
];

const CREATE: &str = "
    CREATE TABLE customer (
        customer_id BIGINT NOT NULL PRIMARY KEY, email VARBINARY(128) NOT NULL, name VARCHAR(64) NOT NULL,
        joined DATETIME NOT NULL, note TEXT, UNIQUE KEY (email));
    CREATE TABLE corder (
        order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, sku VARBINARY(32) NOT NULL,
        price DECIMAL(12, 2) NOT NULL, state ENUM('new', 'paid', 'sent') NOT NULL DEFAULT 'new', KEY (customer_id));
    CREATE TABLE product (
        sku VARBINARY(32) NOT NULL PRIMARY KEY, description VARCHAR(200) NOT NULL, price DECIMAL(12, 2) NOT NULL,
        details JSON);";

/// How many rows each table begins with; their keys are 1 to that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub customers: u64,
    pub orders: u64,
    pub products: u64,
}

impl Sizes {
    /// `rows` in all, at least 100.
    #[must_use]
    pub fn of(rows: u64) -> Self {
        let rows = rows.max(100);
        let (customers, products) = (rows * 3 / 10, rows / 20);
        Self { customers, products, orders: rows - customers - products }
    }
}

/// Makes the tables and their rows in the source's database.
///
/// # Errors
/// MySQL's.
pub async fn fill(source: &Cluster, keyspace: &str, sizes: Sizes) -> Result<(), Error> {
    let Sizes { customers, orders, products } = sizes;
    let numbers = |count| format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    let sql = format!(
        "{CREATE}
        SET SESSION cte_max_recursion_depth = 4294967295;
        INSERT INTO customer {} SELECT i, CONCAT('user', i, '@example.com'), CONCAT('Zoë ', i),
            '2020-01-01' + INTERVAL i MINUTE, IF(i % 7 = 0, NULL, REPEAT('x', i % 50)) FROM n;
        INSERT INTO product {} SELECT CONCAT('SKU-', i), CONCAT('Product number ', i), i / 10,
            JSON_OBJECT('weight', i % 100, 'tags', JSON_ARRAY('a', i)) FROM n;
        INSERT INTO corder {} SELECT i, 1 + i * 7 % {customers}, CONCAT('SKU-', 1 + i % {products}), i / 100,
            1 + i % 3 FROM n;",
        numbers(customers),
        numbers(products),
        numbers(orders),
    );
    Ok(source.run(keyspace, &sql).await?)
}

/// Rows of one table in one database, counted.
///
/// # Errors
/// MySQL's.
pub async fn count(shard: &Shard, table: &str) -> Result<u64, Error> {
    use mysql_async::prelude::Queryable;
    let mut conn = shard.connect().await?;
    let rows: Option<u64> = conn.query_first(format!("SELECT COUNT(*) FROM `{table}`")).await?;
    conn.disconnect().await?;
    rows.ok_or(Error::Missing("COUNT(*)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_all_rows_together() {
        for rows in [100, 500, 100_000] {
            let sizes = Sizes::of(rows);
            assert_eq!(sizes.customers + sizes.orders + sizes.products, rows);
            assert!(sizes.products > 0);
        }
    }
}
