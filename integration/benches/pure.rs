//! What the pure parts of a migration cost, from small ones to 256 shards of a thousand tables:
//! `cargo bench -p integration --bench pure [-- <part of a name>]`.

#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use integration::farm::{Shape, Side};
use serde_json::json;
use vtmigrated::key_range;
use vtmigrated::sql::{ddl, rows};
use vtmigrated::topo::{Expect, Node, Write};
use vtmigrated::workflow::checks::vindexes::{self, Against};
use vtmigrated::workflow::plan::{self, Input, ShardRange};
use vtmigrated::workflow::progress::copying::Copying;
use vtmigrated::workflow::progress::folding::Folding;
use vtmigrated::workflow::progress::{Overall, Size, TableState};
use vtmigrated::workflow::record::{self, Facts, TableSize};
use vtmigrated::workflow::rows::{CopyStates, copy_states};
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Filter, OnDdlAction, Rule},
    query::{QueryResult, Row},
    tabletmanagerdata::read_v_replication_workflow_response::Stream,
    topodata::KeyRange,
    vschema::{SrvVSchema, srv_v_schema::KeyspacesEntry},
};

/// Shards of the target, and tables.
const SIZES: [(usize, usize); 3] = [(2, 3), (64, 200), (256, 1000)];
const ORDERS: &str = "CREATE TABLE `orders` (\n  `id` bigint unsigned NOT NULL AUTO_INCREMENT,\n  `customer_id` bigint NOT NULL,\n  \
    `note` varchar(200) COLLATE utf8mb4_bin DEFAULT 'FOREIGN KEY (a)' COMMENT 'a, (b)',\n  `price` decimal(12,2) NOT NULL,\n  \
    PRIMARY KEY (`id`),\n  KEY `by_customer` (`customer_id`),\n  CONSTRAINT `of_customer` FOREIGN KEY (`customer_id`) REFERENCES \
    `customer` (`id`) ON DELETE CASCADE\n) ENGINE=InnoDB AUTO_INCREMENT=4711 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci";

fn shape(shards: usize, tables: usize) -> Shape {
    Shape { shards, source_shards: Some(1), tables, ..Shape::default() }
}

fn of_size((shards, tables): (usize, usize)) -> BenchmarkId {
    BenchmarkId::from_parameter(format!("{shards} shards, {tables} tables"))
}

fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan of create");
    group.sample_size(10);
    for size in SIZES {
        let shape = shape(size.0, size.1);
        let ranges = |side: Side| -> Vec<ShardRange> {
            let range = |name: String| ShardRange { range: key_range::parse(&name).ok(), name };
            shape.shards_of(side).into_iter().map(range).collect()
        };
        let (source, target, tables) = (ranges(Side::Source), ranges(Side::Target), shape.free_tables());
        let (source_vschema, target_vschema) = (shape.vschema(Side::Source), shape.vschema(Side::Target));
        let served = KeyspacesEntry { key: "commerce".to_owned(), value: Some(source_vschema.clone()) };
        let serving = [SrvVSchema { keyspaces: vec![served], ..SrvVSchema::default() }];
        let input = Input {
            source_keyspace: "commerce",
            target_keyspace: "customer",
            mount: "ext1",
            source_shards: &source,
            target_shards: &target,
            tables: &tables,
            source_vschema: &source_vschema,
            source_serving: &serving,
            target_vschema: &target_vschema,
            on_ddl: OnDdlAction::Ignore,
            stop_after_copy: false,
            source_time_zone: "",
        };
        group.bench_function(of_size(size), |bencher| bencher.iter(|| plan::streams(black_box(&input)).unwrap()));
    }
    group.finish();
}

/// What is read of vschemas for each table: ten times the tables should take about ten times as long.
fn vschemas(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vschema");
    group.sample_size(10);
    for tables in [1000, 10_000] {
        let unsharded = shape(2, tables);
        let sharded = Shape { source_shards: Some(2), ..shape(2, tables) };
        let (names, source) = (unsharded.free_tables(), unsharded.vschema(Side::Source));
        group.bench_function(BenchmarkId::new("entries that create adds", tables), |bencher| {
            bencher.iter(|| plan::vschema_entries(black_box(&source), black_box(&names)));
        });
        let target = sharded.vschema(Side::Target);
        let cases = [("filters", &unsharded, " where in_keyrange(`id`, 'hash', '-80')"), ("plain rules", &sharded, "")];
        for (what, from, predicate) in cases {
            let served = KeyspacesEntry { key: "commerce".to_owned(), value: Some(from.vschema(Side::Source)) };
            let serving = [SrvVSchema { keyspaces: vec![served], ..SrvVSchema::default() }];
            let rule = |table: &String| Rule {
                r#match: table.clone(),
                filter: format!("select * from `{table}`{predicate}"),
                ..Rule::default()
            };
            let stream = BinlogSource {
                external_cluster: "ext1".to_owned(),
                filter: Some(Filter { rules: names.iter().map(rule).collect(), ..Filter::default() }),
                ..BinlogSource::default()
            };
            let against = Against { target: &target, source_keyspace: "commerce", serving: &serving };
            let look = || vindexes::vindexes(std::iter::once(black_box(&stream)), black_box(&against));
            assert!(look().is_empty());
            group
                .bench_function(BenchmarkId::new(format!("{what} judged again"), tables), |bencher| bencher.iter(look));
        }
    }
    group.finish();
}

fn key_ranges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key ranges");
    for (shards, _) in SIZES {
        let names = shape(shards, 1).shards_of(Side::Target);
        let parse =
            || -> Vec<KeyRange> { names.iter().map(|name| key_range::parse(black_box(name)).unwrap()).collect() };
        let ranges = parse();
        group.bench_function(BenchmarkId::new("parsed", shards), |bencher| bencher.iter(parse));
        group.bench_function(BenchmarkId::new("proven to be a partition", shards), |bencher| {
            bencher.iter(|| key_range::partition(black_box(&ranges).iter().map(Some)).unwrap());
        });
        let fed = |one: &KeyRange| {
            ranges.iter().filter(|other| key_range::intersects(Some(one), Some(black_box(*other)))).count()
        };
        group.bench_function(BenchmarkId::new("that intersect, of all pairs", shards), |bencher| {
            bencher.iter(|| ranges.iter().map(fed).sum::<usize>());
        });
    }
    group.finish();
}

fn ddl_edits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("DDL");
    group.bench_function("without its foreign keys", |bencher| {
        bencher.iter(|| ddl::without_foreign_keys(black_box(ORDERS)).unwrap());
    });
    group.bench_function("taken apart", |bencher| bencher.iter(|| ddl::shape(black_box(ORDERS)).unwrap()));
    group.bench_function("without what makes no difference", |bencher| {
        bencher.iter(|| ddl::normalized(black_box(ORDERS)));
    });
    group.finish();
}

/// What a tablet answers of a stream in the middle of its copy: half of the tables are left, the first of them in part.
fn copy_state_rows(tables: &[String]) -> QueryResult {
    let row = |(at, table): (usize, &String)| -> Row {
        let last = if at == 0 { r#"fields:{name:"id" type:INT64} rows:{lengths:3 values:"500"}"# } else { "" };
        rows::row([Some("1"), Some(table.as_str()), Some(last)].map(|text| text.map(str::as_bytes)))
    };
    let left = tables.iter().skip(tables.len() / 2).enumerate();
    QueryResult { rows: left.map(row).collect(), ..QueryResult::default() }
}

fn status_folding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("status of rows");
    group.sample_size(10);
    for size in SIZES {
        let names = shape(size.0, size.1).free_tables();
        let of_table =
            |table: &String| TableSize { table: table.clone(), rows: 1000, bytes: 16_384, key: Some((1, 1000)) };
        let sizes: Vec<TableSize> = names.iter().map(of_table).collect();
        let answer = copy_state_rows(&names);
        let stream = Stream { id: 1, pos: b"MySQL56/1".to_vec(), ..Stream::default() };
        let fold = || {
            let states: Vec<CopyStates> = (0..size.0).map(|_| copy_states(black_box(&answer))).collect();
            let streams = states.iter().map(|states| Copying { stream: &stream, left: states.get(&1) }).collect();
            let folding = Folding { streams, sizes: &sizes, everywhere: &|_| false };
            let tables = folding.tables(&names, &|_| (Size::default(), None));
            let overall = Overall::of(tables.values(), Some(60.0)).text();
            (tables.values().map(TableState::copy_state).collect::<Vec<_>>(), overall)
        };
        group.bench_function(of_size(size), |bencher| bencher.iter(fold));
    }
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    group.sample_size(10);
    for size in SIZES {
        let shape = shape(size.0, size.1);
        let tables = shape.free_tables();
        let shards = shape.shards_of(Side::Target).into_iter();
        let lists: Vec<(String, Vec<String>)> = shards.map(|shard| (shard, tables.clone())).collect();
        let facts: Facts = serde_json::from_value(json!({
            "phase": "created", "mount": "ext1", "arguments": "", "tables": tables, "created_tables": lists,
            "vschema_tables": [], "denied_tables": lists,
        }))
        .unwrap();
        let encode = || match record::write(("customer", "import"), black_box(&facts), Expect::Any).unwrap() {
            Write::Put { path, value, .. } => Node { path, value, version: 1, created: 1 },
            Write::Delete { path, .. } => panic!("{path} is written, not deleted"),
        };
        let nodes = [encode()];
        assert_eq!(record::known(&nodes)[0].2.as_ref(), Ok(&facts));
        let named = |what: &str| BenchmarkId::new(what, format!("{} shards, {} tables", size.0, size.1));
        group.bench_function(named("encoded"), |bencher| bencher.iter(encode));
        group.bench_function(named("decoded"), |bencher| bencher.iter(|| record::known(black_box(&nodes))));
    }
    group.finish();
}

criterion_group!(benches, planning, vschemas, key_ranges, ddl_edits, status_folding, records);
criterion_main!(benches);
