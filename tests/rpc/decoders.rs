//! What others stored or sent, with some bytes wrong: every decoder answers, with a value or an error. 10,000 inputs each;
//! `DECODER_INPUTS` asks for more.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use vtmigrated::topo::{Node, Record, json, shard, wire};
use vtmigrated::workflow::migrate::{rows, status};
use vtmigrated::workflow::record::Facts;
use vtmigrated::workflow::{overrides, settle, streams, vdiff_summary, verdict};
use vtmigrated::{gtid, key_range, sql, vschema};
use vtmigrated_proto::query::{QueryResult, Row};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{
    CellInfo, CellsAlias, ExternalVitessCluster, KeyRange, Keyspace, Shard, ShardReplication, SrvKeyspace, Tablet,
    TabletAlias, TopoConfig, shard::TabletControl, shard_replication::Node as GraphNode,
};
use vtmigrated_proto::vschema::{Keyspace as VSchema, RoutingRules, SrvVSchema};

fn run<S: Strategy>(strategy: &S, decode: impl Fn(S::Value)) {
    let cases = std::env::var("DECODER_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let tried = |input| {
        decode(input);
        Ok(())
    };
    runner.run(strategy, tried).unwrap();
}

/// `sample` with bytes changed, put in, or cut off; now and then bytes of nobody.
fn broken(sample: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..6);
    let edited = (edits, any::<Index>(), any::<bool>()).prop_map(move |(edits, end, cut)| {
        let mut bytes = sample.clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        if cut {
            bytes.truncate(end.index(bytes.len() + 1));
        }
        bytes
    });
    prop_oneof![9 => edited, 1 => vec(any::<u8>(), 0..200)]
}

/// Text that is nearly `sample`.
fn broken_text(sample: &str) -> impl Strategy<Value = String> {
    broken(sample.as_bytes().to_vec()).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Decodes a record in all ways in which records are.
fn record<M: Message + Default + Clone>(name: &str, sample: &M) {
    let whole = sample.encode_to_vec();
    assert!(json::of(name, &whole).is_some(), "{name} is no message");
    run(&broken(whole), |bytes| {
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
    record("topodata.SrvKeyspace", &SrvKeyspace::default());
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

const DDL: [&str; 5] = [
    "alter vschema on ks.t add vindex `hash`(id) using hash",
    "alter vschema create vindex ks.v using lookup with owner=t, table=`ks`.v_idx, from=c, to=keyspace_id",
    "alter vschema add sequence ks.seq",
    "alter vschema on ks.t add auto_increment id using ks.seq",
    "alter vschema drop table ks.t",
];

#[test]
fn vschemas_and_their_ddl() {
    let mut whole = VSchema { sharded: true, ..VSchema::default() };
    for ddl in DDL {
        if let Ok(applied) = vschema::ddl::apply("ks", &whole, ddl) {
            whole = applied;
        }
    }
    record("vschema.SrvVSchema", &SrvVSchema::default());
    record("vschema.RoutingRules", &RoutingRules::default());
    record("vschema.Keyspace", &whole);
    run(&broken(whole.encode_to_vec()), |bytes| {
        let Ok(read) = VSchema::decode(bytes.as_slice()) else { return };
        vschema::validate::build("ks", &read).ok();
        vschema::validate::rules(&read).ok();
        vschema::vindex::unknown_params(&read);
        vschema::ddl::apply("ks", &read, DDL[0]).ok();
    });
    for ddl in DDL {
        run(&broken_text(ddl), |ddl| drop(vschema::ddl::apply("ks", &whole, &ddl)));
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
    run(&broken_text(sample), |text| {
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
        "shards": [["-80", 7]], "sizes": [{"table": "a", "rows": 1, "bytes": 2, "key": [1, 2]}]}"#;
    run(&broken_text(sample), |text| drop(serde_json::from_str::<Facts>(&text)));
}

#[test]
fn definitions_of_tables() {
    let create = "CREATE TABLE `t` (\n  `id` bigint NOT NULL AUTO_INCREMENT,\n  `a b` varchar(20) COLLATE utf8mb4_bin \
                  DEFAULT 'x''y',\n  PRIMARY KEY (`id`),\n  KEY `k` (`a b`(5)),\n  CONSTRAINT `f` FOREIGN KEY (`id`) \
                  REFERENCES `u` (`id`) ON DELETE CASCADE\n) ENGINE=InnoDB /*!50100 PARTITION BY HASH (id) */";
    run(&broken_text(create), |create| {
        sql::ddl::without_foreign_keys(&create).ok();
        sql::ddl::shape(&create).ok();
        sql::ddl::normalized(&create);
    });
}

#[test]
fn positions_and_names_of_shards() {
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    for sample in [format!("MySQL56/{uuid}:1-5:11-18,{uuid}:tag:1-5"), "MariaDB/0-1-5".into(), "FilePos/b.3:4".into()] {
        run(&broken_text(&sample), |position| {
            gtid::stored(position.as_bytes()).ok();
            let read = [gtid::Position::parse(&position), gtid::Position::stored(position.as_bytes())];
            read.iter().for_each(|at| drop((at.contains(&read[0]), at.to_string())));
            if let Ok(set) = gtid::GtidSet::parse(&position) {
                assert!(set.contains(&set), "{position}");
            }
        });
    }
    for sample in ["-80", "40-c0", "0", "-"] {
        run(&broken_text(sample), |name| {
            shard::parse_name(&name).ok();
            if let Ok(range) = key_range::parse(&name) {
                assert!(key_range::equal(Some(&range), Some(&range)), "{name}");
            }
        });
    }
}

#[test]
fn rows_of_the_sidecar_tables() {
    let value = prop_oneof![
        Just(b"1".to_vec()),
        Just(b"customer".to_vec()),
        Just(b"fields:{name:\"id\" type:INT64} rows:{lengths:1 values:\"5\"}".to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    // lengths may say anything of the values
    let row = (vec(any::<i64>().prop_map(|length| length % 40), 0..6), vec(value, 0..6));
    let result = vec(row, 0..4).prop_map(|rows| {
        let rows = rows.into_iter().map(|(lengths, values)| Row { lengths, values: values.concat() });
        QueryResult { rows: rows.collect(), ..QueryResult::default() }
    });
    run(&result, |result| {
        rows::copy_states(&result);
        rows::numbers(&result);
        rows::actions(&result);
        sql::rows::texts(&result);
        settle::parse(&result);
        vdiff_summary::rows(&result);
        verdict::diff::decode(&result);
    });
    let report = r#"{"TableName": "t", "ProcessedRows": 5, "MatchingRows": 4, "MismatchedRows": 1, "ExtraRowsSource": 0,
        "ExtraRowsSourceDiffs": [{"Row": {"id": "1"}, "Query": "select"}], "MismatchedRowsDiffs": []}"#;
    run(&broken_text(report), |report| {
        vdiff_summary::TableReport::parse(&report).differing();
    });
    let options = r#"{"tenant_id": "", "config_overrides": {"vreplication_experimental_flags": "3"}, "shards": ["0"]}"#;
    run(&broken_text(options), |options| drop(overrides::stored(&options)));
    let stream = Stream { id: 1, pos: b"MySQL56/x:1-5".to_vec(), message: b"Error: x".to_vec(), ..Stream::default() };
    run(&broken(stream.encode_to_vec()), |bytes| {
        let Ok(stream) = Stream::decode(bytes.as_slice()) else { return };
        streams::message(&stream);
        streams::shown_state(&stream, true);
        status::lag(&stream);
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
