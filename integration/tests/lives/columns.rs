//! Columns of every type, keys of every shape, foreign keys and secondary keys come over as they were.

use integration::{
    cluster::Cluster,
    life::{Life, migrate},
};
use mysql_async::prelude::Queryable;

const TABLES: [&str; 8] = ["bits", "composite", "generated", "keyless", "numbers", "parent", "texts", "times"];
/// Every table has a column `shard_key`, by which it is sharded.
const SCHEMA: &str = "
    CREATE TABLE numbers (shard_key BIGINT NOT NULL PRIMARY KEY, t TINYINT, u TINYINT UNSIGNED, s SMALLINT, m MEDIUMINT,
        i INT UNSIGNED, b BIGINT UNSIGNED, d DECIMAL(30, 10), f FLOAT, g DOUBLE, y YEAR, KEY by_d (d), UNIQUE KEY by_b (b));
    CREATE TABLE texts (id VARCHAR(60) NOT NULL PRIMARY KEY, shard_key BIGINT NOT NULL, c CHAR(10), v VARCHAR(200), t TEXT,
        l LONGTEXT, j JSON, e ENUM('one', 'two', 'it''s'), s SET('a', 'b', 'c'), latin VARCHAR(20) CHARACTER SET latin1,
        KEY by_e (e), KEY by_v (v(10)));
    CREATE TABLE bits (id VARBINARY(40) NOT NULL PRIMARY KEY, shard_key BIGINT NOT NULL, b BIT(1), w BIT(37), n BINARY(8),
        v VARBINARY(120), t TINYBLOB, l LONGBLOB);
    CREATE TABLE times (shard_key BIGINT NOT NULL PRIMARY KEY, d DATE, t TIME(6), dt DATETIME(6), ts TIMESTAMP(3) NULL,
        plain DATETIME, KEY by_ts (ts));
    CREATE TABLE composite (a VARCHAR(20) NOT NULL, shard_key BIGINT NOT NULL, b DATE NOT NULL, note TEXT,
        PRIMARY KEY (a, b, shard_key));
    CREATE TABLE keyless (shard_key BIGINT NOT NULL, word VARCHAR(20), number INT, KEY by_word (word));
    CREATE TABLE `generated` (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, shard_key BIGINT NOT NULL, first VARCHAR(20),
        last VARCHAR(20), stored_name VARCHAR(50) AS (CONCAT(first, ' ', last)) STORED, virtual_len INT AS (LENGTH(first)) VIRTUAL,
        KEY by_name (stored_name), KEY by_len (virtual_len));
    CREATE TABLE parent (shard_key BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20));
    CREATE TABLE child (id BIGINT NOT NULL PRIMARY KEY, shard_key BIGINT NOT NULL, other BIGINT,
        KEY by_other (other), CONSTRAINT child_parent FOREIGN KEY (shard_key) REFERENCES parent (shard_key) ON DELETE CASCADE)";
/// Bounds, NULLs, quotes, backslashes, bytes that are no text, four-byte characters, trailing blanks and zeros.
const ROWS: &str = r#"
    INSERT INTO numbers VALUES
        (-9223372036854775808, -128, 0, -32768, -8388608, 0, 0, -99999999999999999999.9999999999, -3.402823e38, -1.7976931348623157e308, 1901),
        (9223372036854775807, 127, 255, 32767, 8388607, 4294967295, 18446744073709551615, 99999999999999999999.9999999999, 3.402823e38, 1.7976931348623157e308, 2155),
        (0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (1, 0, 0, 0, 0, 0, 1, 0.0000000001, 0.1, 0.1, 0000), (2, 1, 1, 1, 1, 1, 2, -0.5, 1.5e-30, 2.2250738585072014e-308, 2026);
    INSERT INTO texts VALUES
        ('plain', 1, 'c', 'v', 't', 'l', '{"a": [1, 2.5, null, true, "x"]}', 'one', 'a,c', 'Zürich'),
        ('it''s', 2, 'tail  ', 'quote '' " ` \\ \n \t', REPEAT('ä', 3000), REPEAT('x', 70000), '"text"', 'it''s', '', 'é'),
        ('empty', 3, '', '', '', '', '[]', NULL, NULL, ''), ('NULL', 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        ('𝄞 clef', 5, '𝄞', '日本語', '😀', NULL, '{"ключ": "значение", "n": -1e-7, "big": 18446744073709551615}', 'two', 'a,b,c', '');
    INSERT INTO bits VALUES
        (X'00FF', 1, b'1', b'1111111111111111111111111111111111111', X'0102', X'', X'00', X'FFFE0000'),
        (X'', 2, b'0', 0, X'0000000000000000', X'275C220A0D1A00', '', ''), ('text', 3, NULL, NULL, NULL, NULL, NULL, NULL),
        (X'FF', 4, b'1', 1, X'FFFFFFFFFFFFFF00', REPEAT(X'00', 100), REPEAT(X'AB', 255), REPEAT(X'80FF', 30000));
    INSERT INTO times VALUES
        (1, '1000-01-01', '-838:59:59.000000', '1000-01-01 00:00:00.000001', '1970-01-01 00:00:01.000', '2026-02-28 23:59:59'),
        (2, '9999-12-31', '838:59:59.000000', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999', '2000-02-29 12:00:00'),
        (3, NULL, NULL, NULL, NULL, NULL), (4, '2026-03-29', '00:00:00.5', '2026-03-29 02:30:00.25', '2026-03-29 02:30:00.125', NULL);
    INSERT INTO composite VALUES ('a', 1, '2026-01-01', 'x'), ('a', 2, '2026-01-01', NULL), ('b', 1, '1999-12-31', ''), ('', 3, '2026-01-02', 'y');
    INSERT INTO keyless VALUES (1, 'same', 1), (1, 'same', 1), (2, NULL, NULL), (2, NULL, NULL), (3, 'x', 2), (4, 'y', 3);
    INSERT INTO `generated` (shard_key, first, last) VALUES (1, 'Ada', 'Lovelace'), (2, NULL, 'Nobody'), (3, 'Grace', 'Hopper'), (4, '', '');
    INSERT INTO parent VALUES (1, 'one'), (2, 'two'), (3, NULL), (4, 'four');
    INSERT INTO child VALUES (10, 1, NULL), (11, 2, 5), (12, 3, 6), (13, 4, 7), (14, 4, 8)"#;
/// What happens to those rows while the streams run.
const CHANGES: &str = r#"
    UPDATE numbers SET d = d / 3, f = f / 3, g = g / 3, t = NULL WHERE shard_key <> 0; UPDATE numbers SET shard_key = 77 WHERE shard_key = 2;
    UPDATE texts SET v = CONCAT(COALESCE(v, ''), '\'\\'), j = JSON_ARRAY(id, 1.5, NULL, CAST('2026-01-01' AS DATE)), s = 'b';
    UPDATE texts SET id = CONCAT(id, '_') WHERE id = 'it''s'; DELETE FROM texts WHERE id = 'empty';
    UPDATE bits SET w = ~COALESCE(w, 0) & 0x1FFFFFFFFF, v = CONCAT(COALESCE(v, ''), X'00'), n = X'00'; DELETE FROM bits WHERE id = X'';
    UPDATE times SET t = ADDTIME(t, '-00:00:00.000001'), d = NULL WHERE shard_key = 2; UPDATE times SET ts = '2026-10-25 02:30:00.5';
    UPDATE composite SET shard_key = shard_key + 10, note = 'moved' WHERE b = '2026-01-01'; DELETE FROM composite WHERE a = '';
    DELETE FROM keyless WHERE word = 'same' LIMIT 1; UPDATE keyless SET number = 9 WHERE word IS NULL LIMIT 1; INSERT INTO keyless VALUES (3, 'x', 2);
    UPDATE `generated` SET first = 'Augusta' WHERE id = 1; INSERT INTO `generated` (shard_key, first, last) VALUES (9, 'Mary', 'Somerville');
    INSERT INTO parent VALUES (5, 'five'); INSERT INTO child VALUES (15, 5, 1); UPDATE child SET other = id WHERE id = 13;
    DELETE FROM child WHERE shard_key = 2; DELETE FROM parent WHERE shard_key = 2"#;

/// `parent` and `child` share their vindex: rows that belong together live together.
fn sharded() -> String {
    let tables = TABLES.iter().chain(["child"].iter());
    let table = |t: &&str| format!(r#""{t}": {{"columnVindexes": [{{"column": "shard_key", "name": "xx"}}]}}"#);
    let tables: Vec<String> = tables.map(table).collect();
    format!(r#"{{"sharded": true, "vindexes": {{"xx": {{"type": "xxhash"}}}}, "tables": {{{}}}}}"#, tables.join(","))
}

/// The definitions of all tables of a shard, without the number that AUTO_INCREMENT has got to.
async fn definitions(shard: &integration::cluster::Shard) -> Vec<(String, String)> {
    let mut conn = shard.connect().await.unwrap();
    let names: Vec<String> = conn.query("SHOW TABLES").await.unwrap();
    let mut found = Vec::new();
    for name in names {
        let (_, text): (String, String) =
            conn.query_first(format!("SHOW CREATE TABLE `{name}`")).await.unwrap().unwrap();
        let lines = text.lines().filter(|line| !line.starts_with(')')).map(str::to_owned);
        found.push((name, lines.collect::<Vec<_>>().join("\n")));
    }
    conn.disconnect().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_and_key_comes_over_with_its_changes() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}"),
        Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).vschema(&sharded()).first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    life.source.run("commerce", ROWS).await.unwrap();
    let wanted = definitions(life.source.shard("commerce", "0").unwrap()).await;

    // secondary keys are taken and given back, foreign keys are left out
    let mut request = migrate("commerce", "customer");
    request.drop_foreign_keys = true;
    life.create(request).await.unwrap();
    bring_over(&life).await;
    for shard in life.target.shards("customer") {
        let found = definitions(shard).await;
        for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
            if name != "child" {
                assert_eq!(lines(found), lines(wanted), "{name} on {}", shard.name);
            }
        }
        let child = &found.iter().find(|(name, _)| name == "child").unwrap().1;
        assert!(!child.contains("FOREIGN KEY") && child.contains("KEY `by_other` (`other`)"), "{child}");
    }
    life.cancel("customer", false).await.unwrap();
    life.target.table("customer", "child").await.unwrap_err();

    // the second time with everything from the start
    let mut request = migrate("commerce", "customer");
    request.defer_secondary_keys = false;
    life.create(request).await.unwrap();
    bring_over(&life).await;
    for shard in life.target.shards("customer") {
        assert_eq!(definitions(shard).await, wanted, "{}", shard.name);
    }
    life.complete("customer").await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.finish().await.unwrap();
}

/// The lines of a definition in any order: a key that is given back stands last.
fn lines(definition: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = definition.lines().map(|line| line.trim().trim_end_matches(',')).collect();
    lines.sort_unstable();
    lines
}

async fn bring_over(life: &Life) {
    let tables: Vec<&str> = TABLES.iter().copied().chain(["child"]).collect();
    life.until_running("customer").await.unwrap();
    life.until_same("commerce", "customer", &tables).await.unwrap();
    // the rows as they were, for the changes to be the same the second time
    for table in ["child", "parent", "keyless", "composite", "times", "bits", "texts", "numbers", "generated"] {
        life.source.run("commerce", &format!("DELETE FROM `{table}`")).await.unwrap();
    }
    life.source.run("commerce", ROWS).await.unwrap();
    life.source.run("commerce", CHANGES).await.unwrap();
    life.until_same("commerce", "customer", &tables).await.unwrap();
}
