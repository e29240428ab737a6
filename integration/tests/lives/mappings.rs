//! Every mapping of source shards to target shards: each row of the source is afterwards on exactly one target shard, the
//! one that its vindex says.

use integration::{
    cluster::{Builder, Cluster},
    life::{Life, migrate},
};
use integration_tablet::vindex::Vindex;
use mysql_async::prelude::Queryable;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;

/// Rows whose keys are spread over all shards; `region` is the column of the other vindex.
const SCHEMA: &str = "CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, region BIGINT NOT NULL, name VARCHAR(40)); \
                      CREATE TABLE country (code VARCHAR(2) NOT NULL PRIMARY KEY, name VARCHAR(40))";
const COUNTRIES: &str = "INSERT INTO country VALUES ('CH', 'Schweiz'), ('DE', 'Deutschland'), ('AT', NULL)";
const UNSHARDED: &str = r#"{"tables": {"customer": {}, "country": {}}}"#;
const NOTHING: &str = "{}";
const THIRDS: [&str; 3] = ["-55", "55-aa", "aa-"];
const HALVES: [&str; 2] = ["-80", "80-"];

/// A sharded VSchema: customer by one column and vindex type, country as reference table.
fn sharded(column: &str, kind: &str) -> String {
    format!(
        r#"{{"sharded": true, "vindexes": {{"by_key": {{"type": "{kind}"}}}},
             "tables": {{"customer": {{"columnVindexes": [{{"column": "{column}", "name": "by_key"}}]}},
                        "country": {{"type": "reference"}}}}}}"#
    )
}

fn cell(keyspace: &str, shards: &[&str], vschema: &str) -> Builder {
    Cluster::new("zone1").keyspace(keyspace, shards).vschema(vschema)
}

/// Customers: id and region.
fn rows(first: i64, count: i64) -> Vec<(i64, i64)> {
    (first..first + count).map(|id| (id, id * 7 % 1000)).collect()
}

/// Puts customers on the shards where a vindex on `key` says they are, countries on every shard.
async fn fill(life: &Life, keyspace: &str, key: fn(&(i64, i64)) -> i64, customers: &[(i64, i64)]) {
    let shards = life.source.shards(keyspace);
    for shard in &shards {
        let mut conn = shard.connect().await.unwrap();
        let inside = customers.iter().filter(|row| shards.len() == 1 || is_inside(key(row), &shard.name));
        let values: Vec<String> = inside.map(|(id, region)| format!("({id}, {region}, 'c{id}')")).collect();
        assert!(!values.is_empty(), "no rows on {}", shard.name);
        conn.query_drop(format!("INSERT INTO customer VALUES {}", values.join(", "))).await.unwrap();
        conn.disconnect().await.unwrap();
    }
}

/// Whether the `hash` of a number is in a shard.
fn is_inside(number: i64, shard: &str) -> bool {
    let range = vtmigrated::key_range::parse(shard).unwrap();
    let id = Vindex::Hash.keyspace_id(Some(number.to_string().as_bytes()), true).unwrap().unwrap();
    range.start.as_slice() <= id.as_slice() && (range.end.is_empty() || id.as_slice() < range.end.as_slice())
}

/// What a mapping must end in.
struct Expected {
    /// The column whose hash decides on the target; none when it is unsharded.
    key: Option<&'static str>,
    streams: usize,
}

/// The life: fill, create, change rows on every source shard while it runs, complete, compare.
async fn live(life: &Life, request: MigrateCreateRequest, source_key: fn(&(i64, i64)) -> i64, expected: Expected) {
    let (from, to) = (request.source_keyspace.clone(), request.target_keyspace.clone());
    life.source.run(&from, SCHEMA).await.unwrap();
    life.source.run(&from, COUNTRIES).await.unwrap();
    fill(life, &from, source_key, &rows(1, 300)).await;
    let status = life.create(request).await.unwrap();
    assert_eq!(integration::life::streams(&status).len(), expected.streams, "{status:?}");
    life.until_running(&to).await.unwrap();
    fill(life, &from, source_key, &rows(1001, 60)).await;
    life.source
        .run(&from, "UPDATE customer SET name = 'changed' WHERE id % 5 = 0; DELETE FROM customer WHERE id % 7 = 0")
        .await
        .unwrap();
    life.source
        .run(
            &from,
            "INSERT INTO country VALUES ('FR', 'France'); UPDATE country SET name = 'Oesterreich' WHERE code = 'AT'",
        )
        .await
        .unwrap();
    life.complete(&to).await.unwrap();
    life.expect_same(&from, &to, &["customer"]).await.unwrap();
    life.expect_nothing_left(&to).await.unwrap();
    for shard in life.target.shards(&to) {
        let mut conn = shard.connect().await.unwrap();
        let countries: Vec<(String, Option<String>)> =
            conn.query("SELECT code, name FROM country ORDER BY code").await.unwrap();
        let names: Vec<_> = countries.iter().map(|(code, name)| (code.as_str(), name.as_deref())).collect();
        let wanted =
            [("AT", Some("Oesterreich")), ("CH", Some("Schweiz")), ("DE", Some("Deutschland")), ("FR", Some("France"))];
        assert_eq!(names, wanted, "shard {}", shard.name);
        if let Some(key) = expected.key {
            let keys: Vec<i64> = conn.query(format!("SELECT {key} FROM customer")).await.unwrap();
            assert!(!keys.is_empty() && keys.iter().all(|key| is_inside(*key, &shard.name)), "shard {}", shard.name);
        }
        conn.disconnect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shard_becomes_one() {
    // once with the tables in the target's vschema and once without, once under another name and once under the same
    let source = cell("commerce", &["0"], UNSHARDED).keyspace("shop", &["0"]).vschema(NOTHING);
    let target = cell("customer", &["0"], UNSHARDED).keyspace("shop", &["0"]).vschema(NOTHING);
    let life = Life::start(source, target).await.unwrap();
    live(&life, migrate("commerce", "customer"), |row| row.0, Expected { key: None, streams: 1 }).await;
    live(&life, migrate("shop", "shop"), |row| row.0, Expected { key: None, streams: 1 }).await;
    let vschema = life.target.etcd().dump("/vitess/global/keyspaces/shop/VSchema").await.unwrap();
    let vschema = vschema.values().next().unwrap();
    // stock programs need the empty values
    assert_eq!(vschema, b"\x1a\x0b\x0a\x07country\x12\x00\x1a\x0c\x0a\x08customer\x12\x00");
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shard_becomes_several_and_several_become_one() {
    let by_id = sharded("id", "hash");
    let source = cell("commerce", &["0"], UNSHARDED).keyspace("shop", &THIRDS).vschema(&by_id);
    let target = cell("customer", &HALVES, &by_id).keyspace("shop", &["0"]).vschema(NOTHING);
    let life = Life::start(source, target).await.unwrap();
    live(&life, migrate("commerce", "customer"), |row| row.0, Expected { key: Some("id"), streams: 2 }).await;
    live(&life, migrate("shop", "shop"), |row| row.0, Expected { key: None, streams: 3 }).await;
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_shards_become_as_many_with_the_same_and_with_another_vindex() {
    let (by_id, by_region) = (sharded("id", "hash"), sharded("region", "hash"));
    let source = cell("commerce", &HALVES, &by_id).keyspace("shop", &HALVES).vschema(&by_id);
    let target = cell("customer", &HALVES, &by_id).keyspace("shop", &HALVES).vschema(&by_region);
    let life = Life::start(source, target).await.unwrap();
    let mut equal = migrate("commerce", "customer");
    // one reference table makes every source shard feed every target shard, as in stock
    equal.exclude_tables = vec!["country".into()];
    life.source.run("commerce", "CREATE TABLE unused (id INT PRIMARY KEY)").await.unwrap();
    equal.exclude_tables.push("unused".into());
    live_without_countries(&life, equal).await;
    live(&life, migrate("shop", "shop"), |row| row.0, Expected { key: Some("region"), streams: 4 }).await;
    life.finish().await.unwrap();
}

/// Equal shards and vindexes: one stream each, without any predicate.
async fn live_without_countries(life: &Life, request: MigrateCreateRequest) {
    life.source.run("commerce", SCHEMA).await.unwrap();
    fill(life, "commerce", |row| row.0, &rows(1, 300)).await;
    let status = life.create(request).await.unwrap();
    assert_eq!(integration::life::streams(&status).len(), 2, "{status:?}");
    life.until_running("customer").await.unwrap();
    for workflow in life.workflows("customer").await.unwrap() {
        let streams = workflow.shard_streams.iter().flat_map(|s| &s.value.as_ref().unwrap().streams);
        for stream in streams {
            let source = stream.source().unwrap();
            assert_eq!(source.shard, stream.shard);
            assert_eq!(source.filter.as_ref().unwrap().rules[0].filter, "select * from `customer`");
        }
    }
    life.source.run("commerce", "UPDATE customer SET name = NULL WHERE id % 3 = 0").await.unwrap();
    life.complete("customer").await.unwrap();
    life.expect_same("commerce", "customer", &["customer"]).await.unwrap();
    for shard in life.target.shards("customer") {
        let keys: Vec<i64> = shard.connect().await.unwrap().query("SELECT id FROM customer").await.unwrap();
        assert!(!keys.is_empty() && keys.iter().all(|key| is_inside(*key, &shard.name)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_shards_become_two_that_overlap_them() {
    let (by_id, by_region) = (sharded("id", "hash"), sharded("region", "hash"));
    let source = cell("commerce", &THIRDS, &by_id).keyspace("shop", &THIRDS).vschema(&by_id);
    let target = cell("commerce", &HALVES, &by_id).keyspace("shop", &HALVES).vschema(&by_region);
    let life = Life::start(source, target).await.unwrap();
    live(&life, migrate("commerce", "commerce"), |row| row.0, Expected { key: Some("id"), streams: 6 }).await;
    live(&life, migrate("shop", "shop"), |row| row.0, Expected { key: Some("region"), streams: 6 }).await;
    life.finish().await.unwrap();
}
