//! What others stored or sent, with parts and bytes of it wrong: every decoder answers, with a value or an error. 10,000 inputs
//! each; `DECODER_INPUTS` asks for more.

mod mutate;
mod told;

use std::io::Write as _;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use vtmigrated::topo::{Node, Record, json, shard, wire};
use vtmigrated::workflow::checks::complete;
use vtmigrated::workflow::record::way_back as back_record;
use vtmigrated::workflow::record::{self as workflow_record, Facts};
use vtmigrated::workflow::{overrides, rows, settle, show, streams, vdiff_summary};
use vtmigrated::{gtid, key_range, sql, vschema};
use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule};
use vtmigrated_proto::query::{QueryResult, Row};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{
    CellInfo, CellsAlias, ExternalVitessCluster, KeyRange, Keyspace, Shard, ShardReference, ShardReplication,
    SrvKeyspace, Tablet, TabletAlias, TopoConfig, shard::TabletControl, shard_replication::Node as GraphNode,
    srv_keyspace::KeyspacePartition,
};
use vtmigrated_proto::vschema::{
    Keyspace as VSchema, KeyspaceRoutingRule, KeyspaceRoutingRules, MirrorRule, MirrorRules, RoutingRule, RoutingRules,
    ShardRoutingRule, ShardRoutingRules, SrvVSchema, srv_v_schema::KeyspacesEntry,
};
use vtmigrated_proto::vttime::Time;

fn run<S: Strategy>(strategy: &S, decode: impl Fn(S::Value)) {
    let cases = std::env::var("DECODER_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let tried = |input| {
        decode(input);
        Ok(())
    };
    runner.run(strategy, tried).unwrap();
}

/// Decodes a record in all ways in which records are.
fn record<M: Message + Default + Clone>(name: &str, sample: &M) {
    let whole = sample.encode_to_vec();
    assert!(json::of(name, &whole).is_some(), "{name} is no message");
    run(&mutate::message(name, whole), |bytes| {
        let raw = Bytes::from(bytes);
        json::of(name, &raw);
        wire::without(&raw, 6, |payload| wire::map_key(payload).is_none()).ok();
        let Ok(value) = M::decode(raw.clone()) else { return };
        // what decodes can be written again with what is not known of it
        let Ok(over) = wire::over(&raw, name, &value) else { return };
        M::decode(Bytes::from(over)).unwrap();
        let _ = Record { path: "a".into(), value, raw, version: 1, created: 1 };
    });
}

fn alias() -> TabletAlias {
    TabletAlias { cell: "zone1".into(), uid: 100 }
}

fn range() -> Option<KeyRange> {
    Some(KeyRange { start: vec![], end: vec![0x80] })
}

#[test]
fn records_of_cells_keyspaces_and_mounts() {
    record("topodata.CellInfo", &CellInfo { server_address: "a:1,b:2".into(), root: "/vitess/zone1".into() });
    record("topodata.CellsAlias", &CellsAlias { cells: vec!["zone1".into(), "zone2".into()] });
    record("topodata.Keyspace", &Keyspace { durability_policy: "semi_sync".into(), ..Keyspace::default() });
    let topo_config = TopoConfig { topo_type: "etcd2".into(), server: "a:1".into(), root: "/vitess".into() };
    record("topodata.ExternalVitessCluster", &ExternalVitessCluster { topo_config: Some(topo_config) });
    let shards = ["-80", "80-"].map(|name| ShardReference { name: name.into(), key_range: range() });
    let partition = KeyspacePartition { served_type: 1, shard_references: shards.into(), ..Default::default() };
    record("topodata.SrvKeyspace", &SrvKeyspace { partitions: vec![partition], ..SrvKeyspace::default() });
}

#[test]
fn records_of_shards_and_tablets() {
    let control = TabletControl { tablet_type: 1, denied_tables: vec!["a".into()], ..TabletControl::default() };
    let shard = Shard {
        primary_alias: Some(alias()),
        key_range: range(),
        tablet_controls: vec![control],
        is_primary_serving: true,
        ..Shard::default()
    };
    record("topodata.Shard", &shard);
    let tablet = Tablet {
        alias: Some(alias()),
        hostname: "h".into(),
        port_map: [("grpc".to_owned(), 1)].into(),
        keyspace: "ks".into(),
        shard: "-80".into(),
        key_range: range(),
        r#type: 1,
        ..Tablet::default()
    };
    record("topodata.Tablet", &tablet);
    record("topodata.ShardReplication", &ShardReplication { nodes: vec![GraphNode { tablet_alias: Some(alias()) }] });
}

#[test]
fn records_of_rules() {
    let rule = ShardRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into(), shard: "-80".into() };
    record("vschema.ShardRoutingRules", &ShardRoutingRules { rules: vec![rule.clone(), rule] });
    let rule = KeyspaceRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into() };
    record("vschema.KeyspaceRoutingRules", &KeyspaceRoutingRules { rules: vec![rule.clone(), rule] });
    let rule = MirrorRule { from_table: "a.t".into(), to_table: "b.t".into(), percent: 12.5 };
    record("vschema.MirrorRules", &MirrorRules { rules: vec![rule.clone(), rule] });
}

const DDL: [&str; 5] = [
    "alter vschema on ks.t add vindex `hash`(id) using hash",
    "alter vschema create vindex ks.v using lookup with owner=t, table=`ks`.v_idx, from=c, to=keyspace_id",
    "alter vschema add sequence ks.seq",
    "alter vschema on ks.t add auto_increment id using ks.seq",
    "alter vschema drop table ks.t",
];

const WORDS: [&str; 16] = [
    "alter", "vschema", "on", "add", "drop", "vindex", "using", "with", "create", "table", "sequence", "`", "ks", ".",
    ",", "=",
];

#[test]
fn vschemas_and_their_ddl() {
    let mut whole = VSchema { sharded: true, ..VSchema::default() };
    for ddl in DDL {
        if let Ok(applied) = vschema::ddl::apply("ks", &whole, ddl) {
            whole = applied;
        }
    }
    let rule = |table: &str| RoutingRule { from_table: table.into(), to_tables: vec!["ks.t".into(), "ks.u".into()] };
    let rules = RoutingRules { rules: vec![rule("t"), rule("t@replica")] };
    let keyspaces = vec![KeyspacesEntry { key: "ks".into(), value: Some(whole.clone()) }];
    let served = SrvVSchema { keyspaces, routing_rules: Some(rules.clone()), ..SrvVSchema::default() };
    record("vschema.SrvVSchema", &served);
    record("vschema.RoutingRules", &rules);
    record("vschema.Keyspace", &whole);
    run(&mutate::message("vschema.Keyspace", whole.encode_to_vec()), |bytes| {
        let Ok(read) = VSchema::decode(bytes.as_slice()) else { return };
        vschema::validate::build("ks", &read).ok();
        vschema::validate::rules(&read).ok();
        vschema::vindex::unknown_params(&read);
        vschema::ddl::apply("ks", &read, DDL[0]).ok();
    });
    for ddl in DDL {
        run(&mutate::text(ddl, &WORDS), |ddl| drop(vschema::ddl::apply("ks", &whole, &ddl)));
    }
}

const NAMES: &[&str] =
    &["sharded", "vindexes", "tables", "t", "type", "params", "column_vindexes", "columns", "nullable", "size"];

#[test]
fn vschemas_in_json() {
    let sample = r#"{"sharded": true, "foreignKeyMode": "managed", "vindexes": {"hash": {"type": "hash"}, "l": {"type":
        "lookup", "params": {"table": "ks.v", "from": "c", "to": "id", "scatter_if_absent": "true"}, "owner": "t"}},
        "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}, {"columns": ["c"], "name": "l"}],
        "auto_increment": {"column": "id", "sequence": "`ks`.`seq`"}, "columns": [{"name": "c", "type": "VARCHAR",
        "size": 10, "nullable": false, "values": ["a"]}]}, "s": {"type": "sequence", "pinned": "00"}}}"#;
    run(&mutate::json(sample), |text| {
        let Ok(read) = json::read::<VSchema>("vschema.Keyspace", &text) else { return };
        vschema::validate::build("ks", &read).ok();
        vschema::vindex::unknown_params(&read);
    });
    // texts and numbers of every size where others are expected, objects in objects
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        Just("1e999".to_owned()),
        Just("[]".to_owned()),
        Just("null".to_owned()),
        "\\PC{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("{}".to_owned())
    ];
    let object = (proptest::sample::select(NAMES), value).prop_map(|(name, value)| format!("{{\"{name}\": {value}}}"));
    let nested = object.prop_recursive(40, 40, 1, |inner| {
        (proptest::sample::select(NAMES), inner).prop_map(|(name, inner)| format!("{{\"{name}\": {inner}}}"))
    });
    run(&nested, |text| drop(json::read::<VSchema>("vschema.Keyspace", &text)));
    let deep = "[".repeat(100_000);
    json::read::<VSchema>("vschema.Keyspace", &deep).unwrap_err();
}

#[test]
fn records_of_workflows() {
    let sample = r#"{"phase": "created", "mount": "ext1", "source": ["commerce", ["0"]], "arguments": "", "tables": ["a"],
        "created_tables": [["-80", ["a"]], [["80-"], []]], "vschema_tables": [], "denied_tables": [["-80", ["a"]]],
        "shards": [["-80", 7]], "streams": [["-80", [1, 2]]], "seen_to": ["-80"], "cancelling": true,
        "made_at": [["-80", [[1, [5, 6]], [2, null]]]], "keeping": false, "handed_over": false,
        "unaware": ["zone1-0000000100", "zone9"], "aware": ["zone9-0000000101"],
        "starting": [["zone1-0000000102", [7, 8]]],
        "reigns": [{"unaware": "zone9", "shard": "-80", "primary": "zone1-0000000101", "since": [5, 6]}],
        "sizes": [{"table": "a", "rows": 1, "bytes": 2, "key": [1, 2]}]}"#;
    run(&mutate::json(sample), |text| drop(serde_json::from_str::<Facts>(&text)));
    let way_back = r#"{"phase": "open", "mount": "ext1", "source": {"topo_type": "etcd2", "server": "s:1", "root": "/r"},
        "keyspace": "commerce", "tables": ["t"], "streams": [["-80", [3]], ["80-", [4]]], "back_mount": "customer.import",
        "target": {"topo_type": "etcd2", "server": "t:1", "root": "/r"}, "mount_made": true, "on_ddl": 1,
        "positions": [["-80", "MySQL56/x:1"]], "pairs": [[["0"], ["-80"]]], "source_denied": [["0", ["t"]]], "since": 7}"#;
    serde_json::from_str::<back_record::Facts>(way_back).unwrap();
    run(&mutate::json(way_back), |text| drop(serde_json::from_str::<back_record::Facts>(&text)));
    // large ones are in gzip
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(sample.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6);
    run(&(changes, any::<proptest::sample::Index>()), |(changes, end)| {
        let mut bytes = packed.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(packed.len()) + 1);
        for name in ["Record", "WayBack"] {
            let (path, value) = (format!("internal/vtmigrated/customer/import/{name}"), Bytes::from(bytes.clone()));
            let nodes = [Node { path, value, version: 1, created: 1 }];
            drop((workflow_record::known(&nodes), back_record::known(&nodes)));
        }
    });
}

#[test]
fn definitions_of_tables() {
    let sample = "CREATE TABLE `t` (\n  `id` bigint NOT NULL AUTO_INCREMENT,\n  `a b` varchar(20) COLLATE utf8mb4_bin \
                  DEFAULT 'x''y',\n  PRIMARY KEY (`id`),\n  KEY `k` (`a b`(5)),\n  CONSTRAINT `f` FOREIGN KEY (`id`) \
                  REFERENCES `u` (`id`) ON DELETE CASCADE\n) ENGINE=InnoDB /*!50100 PARTITION BY HASH (id) */";
    run(
        &mutate::text(sample, &["`", "(", ")", ",", "'", "/*!", "*/", "KEY", "FOREIGN", "REFERENCES", "CHECK"]),
        |create| {
            sql::ddl::without_foreign_keys(&create).ok();
            sql::ddl::normalized(&create);
            told::compared(sample, &create);
        },
    );
}

#[test]
fn positions_and_names_of_shards() {
    const PARTS: [&str; 9] = ["MySQL56/", "MariaDB/", "FilePos/", UUID, ":", "-", ",", "18446744073709551615", "0"];
    for sample in [format!("MySQL56/{UUID}:1-5:11-18,{UUID}:tag:1-5"), "MariaDB/0-1-5".into(), "FilePos/b.3:4".into()] {
        run(&mutate::text(&sample, &PARTS), |position| {
            gtid::stored(position.as_bytes()).ok();
            let read = [gtid::Position::parse(&position), gtid::Position::stored(position.as_bytes())];
            read.iter().for_each(|at| drop((at.contains(&read[0]), at.to_string())));
            if let Ok(set) = gtid::GtidSet::parse(&position) {
                assert!(set.contains(&set), "{position}");
            }
        });
    }
    for sample in ["-80", "40-c0", "0", "-"] {
        run(&mutate::text(sample, &["-", "80", "8", "00", "ff"]), |name| {
            shard::parse_name(&name).ok();
            if let Ok(range) = key_range::parse(&name) {
                assert!(key_range::equal(Some(&range), Some(&range)), "{name}");
            }
        });
    }
}

/// Rows of nobody: lengths may say anything of the values.
fn any_rows() -> impl Strategy<Value = QueryResult> {
    let row = (proptest::collection::vec(any::<i64>().prop_map(|length| length % 40), 0..6), any::<[u8; 12]>());
    proptest::collection::vec(row, 0..4).prop_map(|rows| {
        let rows = rows.into_iter().map(|(lengths, values)| Row { lengths, values: values.into() });
        QueryResult { rows: rows.collect(), ..QueryResult::default() }
    })
}

const KEY: &str = "fields:{name:\"id\" type:INT64 charset:63 flags:49155} rows:{lengths:1 values:\"5\"}";
const UUID: &str = "1f3d8a5e-71ca-11ee-9e33-c80aa9429562";
const TIME: &str = "2026-11-23 10:20:30";
const REPORT: &str = r#"{"TableName": "t", "ProcessedRows": 5, "MatchingRows": 4, "MismatchedRows": 1, "ExtraRowsSource": 0,
    "ExtraRowsSourceDiffs": [{"Row": {"id": "1"}, "Query": "select"}], "MismatchedRowsDiffs": []}"#;
const OPTIONS: &str = r#"{"core_options": {"auto_retry": true, "max_extra_rows_to_compare": 1000},
    "report_options": {"max_sample_rows": 10}}"#;

#[test]
fn rows_of_copies() {
    let states = mutate::rows(&["vrepl_id", "table_name", "lastpk"], &[&["1", "customer", KEY], &["2", "corder", ""]]);
    run(&states, |result| drop(rows::copy_states(&result)));
    let starts = mutate::rows(&["vrepl_id", "at"], &[&["1", "1764152430.000000"], &["2", ""]]);
    run(&starts, |result| drop(rows::numbers(&result)));
    let task = r#"{"type": 1, "task": "alter table t add key k (c)", "table": "t"}"#;
    run(&mutate::rows(&["table_name", "action"], &[&["t", task]]), |result| drop(rows::actions(&result)));
    run(&any_rows(), |result| {
        rows::copy_states(&result);
        rows::numbers(&result);
        rows::actions(&result);
        sql::rows::texts(&result);
    });
}

#[test]
fn rows_of_diffs() {
    let row =
        |table: &'static str, state: &'static str| ["started", "", table, UUID, state, "5", TIME, "5", "", "1", REPORT];
    let (first, second) = (row("t", "completed"), row("u", "error"));
    run(&mutate::rows(&vdiff_summary::COLUMNS, &[&first, &second]), |result| {
        vdiff_summary::rows(&result);
        complete::diffs::decode(&result);
    });
    let failure = "Table t Error: failed to reconcile: source vschema not found";
    let columns = ["vdiff_uuid", "options", "message", "times", "last_id", "at"];
    let log: [&[&str]; 3] = [
        &[UUID, OPTIONS, failure, "2", "7", "1764152430"],
        &[UUID, OPTIONS, "completed: table 't'", "1", "8", "1764152431"],
        &[UUID, "", "table t", "0", "0", "0"],
    ];
    run(&mutate::rows(&columns, &log), |result| {
        for facts in settle::parse(&result).into_values() {
            facts.judge(vdiff_summary::State::Error, &["t", "u"]);
        }
    });
    run(&any_rows(), |result| {
        settle::parse(&result);
        vdiff_summary::rows(&result);
        complete::diffs::decode(&result);
    });
    run(&mutate::json(REPORT), |report| {
        vdiff_summary::TableReport::parse(&report).differing();
    });
    let earlier: [&[&str]; 2] = [&[UUID, "t"], &[UUID, "u"]];
    run(&mutate::rows(&["vdiff_uuid", "table_name"], &earlier), |result| {
        drop(complete::diffs::earlier::decode(&result))
    });
}

/// A stream of one table.
fn stream(filter: &str) -> Stream {
    let time = |seconds| Some(Time { seconds, nanoseconds: 5 });
    let rule = Rule { r#match: "t".into(), filter: filter.into(), ..Rule::default() };
    let bls = BinlogSource {
        keyspace: "commerce".into(),
        shard: "0".into(),
        filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
        external_cluster: "ext1".into(),
        ..BinlogSource::default()
    };
    Stream {
        id: 1,
        bls: Some(bls),
        pos: b"MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".to_vec(),
        state: 3,
        message: b"Error: x".to_vec(),
        time_updated: time(1_764_152_430),
        transaction_timestamp: time(1_764_152_429),
        ..Stream::default()
    }
}

#[test]
fn rows_of_streams() {
    let options = r#"{"tenant_id": "", "config": {"vreplication_experimental_flags": "3"}, "shards": ["0"],
        "sharded_auto_increment_handling": 2}"#;
    run(&mutate::json(options), |options| {
        overrides::stored(&options);
        show::options(&options);
    });
    let name = "tabletmanagerdata.ReadVReplicationWorkflowResponse.Stream";
    run(&mutate::message(name, stream("select * from t").encode_to_vec()), |bytes| {
        let Ok(stream) = Stream::decode(bytes.as_slice()) else { return };
        streams::message(&stream);
        streams::shown_state(&stream, true);
        streams::lag(&stream);
        gtid::Position::stored(&stream.pos).is_empty();
    });
}

#[test]
fn a_node_that_is_no_record_is_told_by_its_key() {
    let value = Bytes::from_static(&[0xff, 0xff]);
    let node = Node { path: "cells/zone9/CellInfo".into(), value, version: 1, created: 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let dialer = vtmigrated::topo::Dialer::new(vtmigrated::topo::EtcdOptions::default());
    let conn = runtime.block_on(dialer.open("memory", "decoders", "/vitess/global")).unwrap();
    let error = Record::<CellInfo>::decode(node, &conn).unwrap_err().to_string();
    assert!(error.starts_with("bad topology data at /vitess/global/cells/zone9/CellInfo: "), "{error}");
}
