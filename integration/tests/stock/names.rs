//! What users bring, moved by Vitess's own tablets: names of every kind, foreign keys, and what stands in the way.

use std::collections::BTreeSet;

use integration::stock::{self, Keyspace, Migration};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Map, Value, json};

/// Words that parsers reserve, and characters that need quotes. No back-quotes: see [`UNFIT`].
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

/// A name of a table that tablets cannot read the columns of (22.0.4 and 24.0.4: `UnescapeID err: no outer backticks found in the
/// identifier`). The source has it beside what is moved; where it is to be moved, or is in the target, create is refused.
const UNFIT: &str = "ba`ck";

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table of two columns. The first one is its key and the vindex's column, the other one has a key of its own name.
struct Table {
    name: String,
    key: String,
    other: String,
}

impl Table {
    fn definition(&self) -> String {
        let [table, key, other] = [&self.name, &self.key, &self.other].map(|name| quote(name));
        format!(
            "CREATE TABLE {table} ({key} BIGINT NOT NULL PRIMARY KEY, {other} VARCHAR(20), KEY {other} ({other})); \
             INSERT INTO {table} VALUES (1, 'one'), (2, 'two'), (3, NULL), (400, 'more');"
        )
    }
}

/// A table for each name; columns have these names, too.
fn of_each(names: &[String]) -> Vec<Table> {
    let table = |(number, name): (usize, &String)| Table {
        name: name.clone(),
        key: name.clone(),
        other: names[(number + 1) % names.len()].clone(),
    };
    names.iter().enumerate().map(table).collect()
}

/// Names that are as long as they may be: those of columns and keys 64 characters of any length, those of tables as long as
/// tablets keep them, in 128 bytes.
fn long() -> [Table; 3] {
    let table = |name: String| Table { name, key: "列".repeat(64), other: "é".repeat(64) };
    ["表".repeat(42), "é".repeat(64), "t".repeat(64)].map(table)
}

/// A sharded vschema whose vindex has an odd name too.
fn vschema(tables: &[Table], vindex: &str) -> String {
    let rule = |table: &Table| json!({"column_vindexes": [{"column": table.key, "name": vindex}]});
    let rules: Map<String, Value> = tables.iter().map(|table| (table.name.clone(), rule(table))).collect();
    json!({"sharded": true, "vindexes": {vindex: {"type": "hash"}}, "tables": rules}).to_string()
}

/// A vschema of the source that has the vindex, so that filters tell its tablets the name.
fn source_vschema(vindex: &str) -> String {
    json!({"vindexes": {vindex: {"type": "hash"}}}).to_string()
}

/// Creates, looks, compares, and takes back. Answers what `show` printed.
async fn there_and_back(import: &Migration<'_>, source: &Keyspace, target: &Keyspace, tables: &[Table]) -> String {
    import.create(&["--all-tables", "--exclude-tables", UNFIT]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    let status = import.migrate(&["status", "--format", "json"]).await.unwrap().json();
    let show = import.migrate(&["show"]).await.unwrap().json().to_string();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], false, "{difference}");
    for Table { name, .. } in tables {
        assert!(!status["table_copy_state"][name].is_null(), "{name}: {status}");
        let quoted = json!(name).to_string();
        assert!(show.contains(quoted.trim_matches('"')), "{name}: {show}");
        let (left, right) = tokio::try_join!(source.table(name), target.table(name)).unwrap();
        left.expect_same(&right).unwrap();
    }
    import.migrate(&["cancel"]).await.unwrap().expect().unwrap();
    for shard in &target.shards {
        let left = shard.rows("SHOW TABLES").await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    show
}

/// Names of keyspaces: letters, digits, hyphens and underscores.
const KEYSPACE: &str = "[a-z][a-zA-Z0-9_]{0,15}-[a-zA-Z0-9_]{1,15}";
/// Names of tables and columns.
const RANDOM: &str = "[a-z0-9 ,.'\"%@#$&;:!?*()\\[\\]{}<>=+~^|éßЖ表\\-]{1,30}[a-z0-9,.%é表-]";
/// Names of vindexes, which no MySQL keeps.
const VINDEX: &str = "[a-zA-Z0-9 `,'\"%éЖ表_\\-]{1,63}";

#[tokio::test(flavor = "multi_thread")]
async fn keyspaces_tables_columns_and_vindexes_of_any_legal_name_come_over_and_go_again() {
    let pair = stock::pair().await.unwrap();
    let mut runner = TestRunner::default();
    let mut random = |pattern: &str| {
        let strategy = proptest::string::string_regex(pattern).unwrap();
        strategy.new_tree(&mut runner).unwrap().current()
    };
    let (from, to) = (random(KEYSPACE), format!("{}-group", random(KEYSPACE)));
    eprintln!("keyspaces {from} and {to}");
    let (source, target) =
        tokio::try_join!(pair.source.keyspace(&from, &["0"]), pair.target.keyspace(&to, &["-80", "80-"])).unwrap();
    let import = pair.migration("import", &from, &to);
    let unfit = format!("CREATE TABLE {} (id BIGINT NOT NULL PRIMARY KEY)", quote(UNFIT));
    source.run(&unfit).await.unwrap();

    let known: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    for round in 0..3 {
        let (tables, vindex): (Vec<Table>, String) = if round == 0 {
            (of_each(&known).into_iter().chain(long()).collect(), "vin-dex `of` all".to_owned())
        } else {
            let mut names = BTreeSet::new();
            while names.len() < 4 {
                // letters of differing case are not told apart when keys are deferred
                names.insert(random(RANDOM).to_lowercase());
            }
            (of_each(&names.into_iter().collect::<Vec<_>>()), random(VINDEX))
        };
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        eprintln!("round {round}: vindex {vindex:?}, tables {names:?}");
        for table in &tables {
            source.run(&table.definition()).await.unwrap();
        }
        pair.source.apply_vschema(&from, &source_vschema(&vindex)).await.unwrap();
        pair.target.apply_vschema(&to, &vschema(&tables, &vindex)).await.unwrap();
        let show = there_and_back(&import, &source, &target, &tables).await;
        assert!(round > 0 || show.contains(&format!("'{from}.{vindex}'")), "{show}");
        for name in names {
            source.run(&format!("DROP TABLE {}", quote(name))).await.unwrap();
        }
    }

    target.run(&unfit).await.unwrap();
    let refused = import.create(&["--all-tables"]).await.unwrap();
    let told = |id: &str| refused.to_string().contains(id);
    assert!(!refused.ok() && told("TABLE_NAME_UNFIT") && told("TARGET_NAME_UNREADABLE"), "{refused}");
}

const FAMILY: &str = "
    CREATE TABLE parent (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20), KEY by_name (name));
    CREATE TABLE child (id BIGINT NOT NULL PRIMARY KEY, parent_id BIGINT, name VARCHAR(20), KEY by_name (name),
                        CONSTRAINT of_parent FOREIGN KEY (parent_id) REFERENCES parent (id));
    CREATE TABLE _prices_old (id BIGINT NOT NULL PRIMARY KEY);
    CREATE TABLE sizes (id BIGINT NOT NULL PRIMARY KEY, `cube` INT);
    CREATE TABLE newer (id BIGINT NOT NULL PRIMARY KEY, unseen VARCHAR(20) DEFAULT 'quiet' INVISIBLE, price INT,
                        CONSTRAINT positive CHECK (price > 0), CONSTRAINT small CHECK (price < 9) NOT ENFORCED);
    CREATE VIEW names AS SELECT name FROM parent;
    INSERT INTO parent VALUES (1, 'a'), (2, 'b');
    INSERT INTO child VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, NULL);
    INSERT INTO newer (id, unseen, price) VALUES (1, 'loud', 5), (2, NULL, NULL), (4, 'x', 90);";

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
        tokio::try_join!(pair.source.keyspace("family", &["0"]), pair.target.keyspace("family_new", &["0"])).unwrap();
    source.run(FAMILY).await.unwrap();
    pair.source.apply_vschema("family", "{}").await.unwrap();
    pair.target.apply_vschema("family_new", "{}").await.unwrap();
    let import = pair.migration("import", "family", "family_new");

    let view = import.create(&["--tables", "parent,names"]).await.unwrap();
    assert!(!view.ok() && view.to_string().contains("names: only tables come over, no views"), "{view}");
    let internal = import.create(&["--tables", "parent,_prices_old"]).await.unwrap();
    assert!(!internal.ok() && internal.to_string().contains(": _prices_old"), "{internal}");
    let unquoted = import.create(&["--tables", "parent,sizes"]).await.unwrap();
    assert!(!unquoted.ok() && unquoted.to_string().contains("cannot copy it: cube"), "{unquoted}");
    source.run("DROP TABLE sizes").await.unwrap();
    target.run("CREATE VIEW child AS SELECT 1 AS x").await.unwrap();
    let in_the_way = import.create(&["--all-tables"]).await.unwrap();
    assert!(!in_the_way.ok() && in_the_way.to_string().contains("Table 'child' already exists"), "{in_the_way}");
    assert_eq!(target.shards[0].rows("SHOW TABLES").await.unwrap().len(), 1);
    target.run("DROP VIEW child").await.unwrap();

    // the client of 24 prints nothing of create's answer
    import.create(&["--all-tables", "--exclude-tables", "names"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    let later = "UPDATE newer SET unseen = 'louder' WHERE id = 1; UPDATE newer SET unseen = NULL WHERE id = 4; \
                 INSERT INTO newer (id, price) VALUES (3, 8)";
    source.run(later).await.unwrap();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], false, "{difference}");
    let unseen = async |keyspace: &Keyspace| {
        let rows = keyspace.shards[0].rows("SELECT id, unseen, price FROM newer ORDER BY id").await.unwrap();
        rows.into_iter().map(mysql_async::Row::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(unseen(&source).await, unseen(&target).await);
    for table in ["parent", "child", "newer"] {
        let (left, right) = tokio::try_join!(source.table(table), target.table(table)).unwrap();
        left.expect_same(&right).unwrap();
        // foreign keys, deferred keys, checks and what is invisible are there
        let create = format!("SHOW CREATE TABLE {table}");
        let (left, right) = tokio::try_join!(source.shards[0].rows(&create), target.shards[0].rows(&create)).unwrap();
        assert_eq!(lines(&left[0]), lines(&right[0]));
    }
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
}
