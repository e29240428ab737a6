use vtmigrated_proto::topodata::KeyRange;
use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;
use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema, SrvVSchema, Table, Vindex};

use super::*;
use crate::key_range;
use crate::workflow::names::back::mount;
use crate::workflow::plan::{Input, ShardRange, streams};
use crate::workflow::record::way_back::{Config, Facts, Phase};

const AT: &str = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
const LATER: &str = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9";

fn shards(names: &[&str]) -> Vec<ShardRange> {
    let range = |name: &str| -> Option<KeyRange> { key_range::parse(name).ok().filter(|_| name != "0") };
    names.iter().map(|name| ShardRange { name: (*name).to_owned(), range: range(name) }).collect()
}

fn vschema(vindex: &str, kind: &str) -> VSchema {
    let by = ColumnVindex { column: "id".into(), name: vindex.into(), ..ColumnVindex::default() };
    let table = Table { column_vindexes: vec![by], ..Table::default() };
    let vindex_entry = Vindex { r#type: kind.into(), ..Vindex::default() };
    VSchema {
        sharded: true,
        vindexes: vec![VindexesEntry { key: vindex.into(), value: Some(vindex_entry) }],
        tables: vec![TablesEntry { key: "customer".into(), value: Some(table) }],
        ..VSchema::default()
    }
}

/// The filters of each source shard with the target shard that each reads; `customer` is the migration's target.
fn filters(target: (&[&str], &VSchema), source: (&[&str], &VSchema)) -> Vec<(String, String, String)> {
    let serving = KeyspacesEntry { key: "customer".into(), value: Some(target.1.clone()) };
    let serving = [SrvVSchema { keyspaces: vec![serving], ..SrvVSchema::default() }];
    let (target_shards, source_shards) = (shards(target.0), shards(source.0));
    let tables = ["customer".to_owned()];
    let input = Input {
        source_keyspace: "customer",
        target_keyspace: "commerce",
        mount: "customer.import",
        source_shards: &target_shards,
        target_shards: &source_shards,
        tables: &tables,
        source_vschema: target.1,
        source_serving: &serving,
        target_vschema: source.1,
        on_ddl: OnDdlAction::Stop,
        stop_after_copy: false,
        source_time_zone: "",
    };
    let planned = streams(&input).unwrap();
    let row = |shard: &String, source: &BinlogSource| {
        assert_eq!((source.external_cluster.as_str(), source.keyspace.as_str()), ("customer.import", "customer"));
        let rules = &source.filter.as_ref().unwrap().rules;
        (shard.clone(), source.shard.clone(), rules[0].filter.clone())
    };
    planned.iter().flat_map(|(shard, sources)| sources.iter().map(move |source| row(shard, source))).collect()
}

fn expected(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    rows.iter().map(|(to, from, filter)| ((*to).into(), (*from).into(), (*filter).into())).collect()
}

#[test]
fn an_unsharded_source_takes_everything_from_every_shard() {
    let found = filters((&["-80", "80-"], &vschema("hash", "hash")), (&["0"], &VSchema::default()));
    let all = "select * from `customer`";
    assert_eq!(found, expected(&[("0", "-80", all), ("0", "80-", all)]));
}

#[test]
fn a_sharded_source_takes_its_range_from_the_shards_that_overlap_it() {
    let hash = vschema("hash", "hash");
    let found = filters((&["-40", "40-a0", "a0-c0", "c0-"], &hash), (&["-80", "80-"], &hash));
    let low = "select * from `customer` where in_keyrange(`id`, 'customer.hash', '-80')";
    let high = "select * from `customer` where in_keyrange(`id`, 'customer.hash', '80-')";
    let wanted = [("-80", "-40", low), ("-80", "40-a0", low), ("80-", "40-a0", high), ("80-", "a0-c0", high)];
    assert_eq!(found, expected(&[&wanted[..], &[("80-", "c0-", high)]].concat()));
}

#[test]
fn vindexes_of_the_source_are_told_to_the_target_by_their_type_and_pairs_are_all_there() {
    // the target calls nothing by that type, so its tablets take the bare type
    let found = filters((&["-80", "80-"], &vschema("xx", "xxhash")), (&["-80", "80-"], &vschema("hash", "hash")));
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|(to, _, filter)| filter.ends_with(&format!("in_keyrange(`id`, 'hash', '{to}')"))));
}

#[test]
fn equal_shards_need_no_predicate() {
    let hash = vschema("hash", "hash");
    let found = filters((&["-80", "80-"], &hash), (&["-80", "80-"], &hash));
    let all = "select * from `customer`";
    assert_eq!(found, expected(&[("-80", "-80", all), ("80-", "80-", all)]));
}

fn source(shard: &str) -> BinlogSource {
    BinlogSource { shard: shard.into(), ..BinlogSource::default() }
}

fn stream(id: i32, shard: &str, position: &str) -> Stream {
    Stream { id, bls: Some(source(shard)), pos: position.as_bytes().to_vec(), ..Stream::default() }
}

fn noted(shards: &[&str]) -> Vec<(String, String)> {
    shards.iter().map(|shard| ((*shard).to_owned(), AT.to_owned())).collect()
}

#[test]
fn streams_are_placed_once() {
    let low = stream(1, "-80", "");
    let positions = noted(&["-80", "80-"]);
    assert_eq!(unplaced(&[&low, &stream(2, "80-", LATER)], &positions).unwrap(), [(1, AT)]);
    assert_eq!(unplaced(&[&stream(3, "c0-", "")], &positions).unwrap_err(), "c0-");
    let text = "update _vt.vreplication set pos = 'MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5' where id = 1";
    assert_eq!(place(1, AT), text);
}

#[test]
fn streams_that_never_ran_can_be_made_anew() {
    let positions = noted(&["-80", "80-"]);
    let stopped = |id, shard, position| Stream { state: State::Stopped.into(), ..stream(id, shard, position) };
    let (low, high) = (stopped(1, "-80", ""), stopped(2, "80-", AT));
    assert!(untouched([&low, &high, &low], &positions));
    let earlier = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3";
    assert!(untouched([&low, &stopped(2, "80-", earlier)], &positions), "placed by an earlier complete");
    assert!(!untouched([&low, &stopped(2, "80-", LATER)], &positions));
    assert!(!untouched([&low, &stopped(3, "c0-", AT)], &positions));
    let running = Stream { state: State::Running.into(), ..high };
    assert!(!untouched([&low, &running], &positions));
}

#[test]
fn what_an_earlier_try_has_denied_stays_noted_also_on_shards_that_serve_no_more() {
    let on = |shard: &str, tables: &[&str]| -> (String, Vec<String>) {
        (shard.to_owned(), tables.iter().map(|table| (*table).to_owned()).collect())
    };
    // a Reshard has split the shard since
    let now = vec![on("-80", &["b", "a"]), on("80-", &[])];
    let wanted = [on("-80", &["a", "b"]), on("80-", &["a"]), on("0", &["a", "b"])];
    assert_eq!(to_deny(now, &[on("0", &["a", "b"]), on("80-", &["a"])]), wanted);
    assert_eq!(to_deny(vec![on("0", &["a"])], &[]), [on("0", &["a"])]);
}

#[test]
fn streams_stand_when_all_are_there_and_none_is_before_what_was_noted() {
    let planned = ["-80".to_owned(), "80-".to_owned()];
    let positions = noted(&["-80", "80-"]);
    let (low, high) = (stream(1, "-80", AT), stream(2, "80-", LATER));
    stands(&planned, &[&low, &high], &positions).unwrap();
    let bad = |there: &[&Stream], positions: &[(String, String)]| stands(&planned, there, positions).unwrap_err();
    assert_eq!(bad(&[&low], &positions), "there is no stream from shard 80-");
    assert!(bad(&[&low, &stream(2, "80-", "")], &positions).contains("stream 2 is not at the position"));
    assert!(bad(&[&low, &high], &noted(&["-80"])).contains("stream 2 is not at the position"));
    assert!(bad(&[&low, &high, &stream(3, "c0-", AT)], &positions).contains("shard c0-, which is not planned"));
    assert_eq!(bad(&[&low, &high, &stream(3, "80-", AT)], &positions), "a shard is read by two streams");
}

#[test]
fn streams_are_told_by_the_mount_that_they_read_from() {
    let from = |mount: &str| BinlogSource { external_cluster: mount.into(), ..source("-80") };
    let of = |mount: &str| Stream { id: 1, bls: Some(from(mount)), ..Stream::default() };
    assert!(is_ours(&of("customer.import"), "customer.import"));
    assert!(!is_ours(&of("orders.import"), "customer.import") && !is_ours(&Stream::default(), "customer.import"));
}

#[test]
fn times_are_converted_back() {
    let sources = || vec![("0".to_owned(), vec![source("-80")])];
    assert_eq!(with_zone(sources(), "")[0].1[0].target_time_zone, "");
    let zoned = with_zone(sources(), "US/Pacific");
    let source = &zoned[0].1[0];
    assert_eq!((source.source_time_zone.as_str(), source.target_time_zone.as_str()), ("UTC", "US/Pacific"));
}

#[test]
fn the_way_back_is_a_migrate_in_the_other_direction() {
    let facts = Facts {
        version: None,
        phase: Phase::Prepared,
        mount: "ext1".into(),
        source: Config::default(),
        keyspace: "commerce".into(),
        tables: vec!["customer".into()],
        streams: Vec::new(),
        back_mount: mount("customer", "import"),
        target: Config::default(),
        mount_made: true,
        on_ddl: OnDdlAction::Stop.into(),
        time_zone: String::new(),
        positions: Vec::new(),
        pairs: Vec::new(),
        source_denied: Vec::new(),
        target_denied: Vec::new(),
        both_written: false,
        inexact: false,
        prepared: 0,
        since: 0,
        opened: 0,
        why: String::new(),
    };
    let asked = arguments("customer", "import", &facts);
    let names = [&asked.workflow, &asked.source_keyspace, &asked.target_keyspace, &asked.mount];
    assert_eq!(names, ["import_back", "customer", "commerce", "customer.import"]);
    assert_eq!(asked.on_ddl, OnDdlAction::Stop);
    assert_eq!(lock_tables(&["a`b".into(), "c".into()]), "LOCK TABLES `a``b` READ, `c` READ");
}
