//! What users bring, moved by Vitess's own tablets: names of every kind, foreign keys, and what stands in the way.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, may panic")]

use std::collections::BTreeSet;

use integration::stock::{self, Keyspace, Migration};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Map, Value, json};

/// Words that parsers reserve, and characters that need quotes. No back-quotes: tablets of 24.0.4 cannot read the schema of
/// such a table (`UnescapeID err: no outer backticks found in the identifier`).
const NAMES: [&str; 11] = [
    "now",
    "signal",
    "utc_date",
    "leave",
    "select",
    "two words",
    "com,ma",
    "hy-phen",
    "do.t",
    "100%",
    "it's \"quoted\" \\n",
];

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table for each name: its key, which is the vindex's column, and another column have odd names too.
async fn fill(source: &Keyspace, names: &[String]) {
    for (number, name) in names.iter().enumerate() {
        let (table, other) = (quote(name), quote(&names[(number + 1) % names.len()]));
        let sql = format!(
            "CREATE TABLE {table} ({table} BIGINT NOT NULL PRIMARY KEY, {other} VARCHAR(20), KEY {other} ({other})); \
             INSERT INTO {table} VALUES (1, 'one'), (2, 'two'), (3, NULL), (400, 'more');"
        );
        source.run(&sql).await.unwrap();
    }
}

/// A sharded vschema whose vindex has an odd name too.
fn vschema(names: &[String], vindex: &str) -> String {
    let table = |name: &String| (name.clone(), json!({"column_vindexes": [{"column": name, "name": vindex}]}));
    let tables: Map<String, Value> = names.iter().map(table).collect();
    json!({"sharded": true, "vindexes": {vindex: {"type": "hash"}}, "tables": tables}).to_string()
}

/// Creates, compares, and takes back.
async fn there_and_back(import: &Migration<'_>, source: &Keyspace, target: &Keyspace, names: &[String]) {
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], false, "{names:?}: {difference}");
    for name in names {
        let (left, right) = tokio::try_join!(source.table(name), target.table(name)).unwrap();
        left.expect_same(&right).unwrap();
    }
    import.migrate(&["cancel"]).await.unwrap().expect().unwrap();
    for shard in &target.shards {
        assert!(shard.rows("SHOW TABLES").await.unwrap().is_empty(), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_columns_of_any_legal_name_come_over_and_go_again() {
    let pair = stock::pair().await.unwrap();
    let (source, target) =
        tokio::try_join!(pair.source.keyspace("com-merce", &["0"]), pair.target.keyspace("cus-tomer", &["-80", "80-"]))
            .unwrap();
    pair.source.apply_vschema("com-merce", "{}").await.unwrap();
    let import = pair.migration("import", "com-merce", "cus-tomer");

    let mut known: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    // as long as tablets keep: 42 characters of three bytes
    known.insert("表".repeat(42));
    let known: Vec<String> = known.into_iter().collect();
    let random = "[a-z0-9 ,.'\"%@#$&;:!?*()\\[\\]{}<>=+~^|éßЖ表\\-]{1,30}[a-z0-9,.%é表-]";
    let mut runner = TestRunner::default();
    for round in 0..3 {
        let names = if round == 0 {
            known.clone()
        } else {
            let mut names = BTreeSet::new();
            while names.len() < 4 {
                let name = random.new_tree(&mut runner).unwrap().current();
                // letters of differing case are not told apart when keys are deferred
                names.insert(name.to_lowercase());
            }
            names.into_iter().collect()
        };
        eprintln!("names of round {round}: {names:?}");
        fill(&source, &names).await;
        pair.target.apply_vschema("cus-tomer", &vschema(&names, "vin-dex `of` all")).await.unwrap();
        there_and_back(&import, &source, &target, &names).await;
        for name in &names {
            source.run(&format!("DROP TABLE {}", quote(name))).await.unwrap();
        }
    }
}

const FAMILY: &str = "
    CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20), KEY by_name (name));
    CREATE TABLE child (id BIGINT NOT NULL PRIMARY KEY, parent_id BIGINT, name VARCHAR(20), KEY by_name (name),
                        CONSTRAINT of_parent FOREIGN KEY (parent_id) REFERENCES parent (id));
    CREATE TABLE _prices_old (id BIGINT NOT NULL PRIMARY KEY);
    CREATE VIEW names AS SELECT name FROM parent;
    INSERT INTO parent VALUES (1, 'a'), (2, 'b');
    INSERT INTO child VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, NULL);";

/// The lines of a definition, sorted: keys that come last have another place.
fn lines(row: &mysql_async::Row) -> Vec<String> {
    let text: String = row.get(1).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_keys_come_over_with_the_clients_defaults_and_what_cannot_come_is_refused() {
    let pair = stock::pair().await.unwrap();
    let (source, target) =
        tokio::try_join!(pair.source.keyspace("commerce", &["0"]), pair.target.keyspace("customer", &["0"])).unwrap();
    source.run(FAMILY).await.unwrap();
    pair.source.apply_vschema("commerce", "{}").await.unwrap();
    pair.target.apply_vschema("customer", "{}").await.unwrap();
    let import = pair.migration("import", "commerce", "customer");

    let view = import.create(&["--tables", "parent,names"]).await.unwrap();
    assert!(!view.ok() && view.to_string().contains("names: only tables come over, no views"), "{view}");
    let internal = import.create(&["--tables", "parent,_prices_old"]).await.unwrap();
    assert!(!internal.ok() && internal.to_string().contains(": _prices_old"), "{internal}");
    target.run("CREATE VIEW child AS SELECT 1 AS x").await.unwrap();
    let in_the_way = import.create(&["--all-tables"]).await.unwrap();
    assert!(!in_the_way.ok() && in_the_way.to_string().contains("Table 'child' already exists"), "{in_the_way}");
    assert_eq!(target.shards[0].rows("SHOW TABLES").await.unwrap().len(), 1);
    target.run("DROP VIEW child").await.unwrap();

    // the client of 24 prints nothing of create's answer
    import.create(&["--all-tables", "--exclude-tables", "names"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], false, "{difference}");
    for table in ["parent", "child"] {
        let (left, right) = tokio::try_join!(source.table(table), target.table(table)).unwrap();
        left.expect_same(&right).unwrap();
        // foreign keys and deferred keys are there
        let create = format!("SHOW CREATE TABLE {table}");
        let (left, right) = tokio::try_join!(source.shards[0].rows(&create), target.shards[0].rows(&create)).unwrap();
        assert_eq!(lines(&left[0]), lines(&right[0]));
    }
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
}
