use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse as Found;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{Shard, TabletType};
use vtmigrated_proto::vschema::{AutoIncrement, Keyspace as VSchema, Table, keyspace::TablesEntry};
use vtmigrated_proto::vttime::Time;

use super::super::preflight::Severity;
use super::super::record::Phase;
use super::super::streams::TargetShard;
use super::source::SourceShard;
use super::*;
use crate::gtid::GtidSet;
use crate::topo::{Cells, Record};

const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn target() -> Keyspace {
    let shard = |name: &str| {
        let denied = TabletControl {
            tablet_type: TabletType::Primary.into(),
            denied_tables: vec!["t".into()],
            ..TabletControl::default()
        };
        let value = Shard { is_primary_serving: true, tablet_controls: vec![denied], ..Shard::default() };
        let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 1 };
        TargetShard { name: name.into(), record, primary: None, missing: String::new(), unread: None }
    };
    Keyspace { name: "customer".into(), cells: Cells::default(), shards: vec![shard("-80"), shard("80-")] }
}

fn ago(seconds: i64) -> Option<Time> {
    Some(Time { seconds: now() - seconds, nanoseconds: 0 })
}

fn set(to: u64) -> GtidSet {
    GtidSet::parse(&format!("{SERVER}:1-{to}")).unwrap()
}

/// A stream that runs and is at transaction 100.
fn stream() -> Stream {
    let rule = Rule { r#match: "t".into(), ..Rule::default() };
    let bls = BinlogSource {
        keyspace: "commerce".into(),
        shard: "0".into(),
        filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
        ..BinlogSource::default()
    };
    Stream {
        id: 1,
        state: State::Running.into(),
        pos: format!("MySQL56/{SERVER}:1-100").into_bytes(),
        bls: Some(bls),
        time_updated: ago(1),
        transaction_timestamp: ago(1),
        ..Stream::default()
    }
}

fn facts() -> Facts {
    let by_shard = |tables: &[&str]| {
        ["-80", "80-"].map(|s| (s.to_owned(), tables.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())).to_vec()
    };
    Facts {
        phase: Phase::Created,
        mount: "ext1".into(),
        source: ("commerce".into(), vec!["0".into()]),
        arguments: String::new(),
        tables: vec!["t".into()],
        created_tables: by_shard(&["t"]),
        vschema_tables: Vec::new(),
        denied_tables: by_shard(&["t"]),
        taken_back: false,
        completing: false,
        handed_over: false,
        every_pair: false,
        sizes: Vec::new(),
    }
}

fn source(position: u64, purged: u64) -> Source {
    let shard =
        SourceShard { name: "0".into(), position: set(position), purged: Some(set(purged)), keeps: Some(100_000) };
    Source { shards: vec![shard], ..Source::default() }
}

/// A workflow whose first stream is as given, its second one well.
struct Case {
    rows: Vec<OnShard>,
    copying: Vec<CopyStates>,
    source: std::result::Result<Source, String>,
    facts: Facts,
}

impl Case {
    fn of(first: Stream) -> Self {
        let row = |shard: usize, stream: Stream| OnShard {
            shard,
            found: Found { workflow: "import".into(), streams: vec![stream], ..Found::default() },
        };
        Self {
            rows: vec![row(0, first), row(1, stream())],
            copying: vec![CopyStates::new(), CopyStates::new()],
            source: Ok(source(100, 50)),
            facts: facts(),
        }
    }

    fn judged(&self) -> Vec<Finding> {
        let target = target();
        let origin = Origin { keyspace: "commerce".into(), tables: vec!["t".into()], ..Origin::default() };
        let evidence = Evidence {
            target: &target,
            workflow: "import",
            origin: &origin,
            rows: &self.rows,
            copying: &self.copying,
            source: &self.source,
            columns: None,
            diffs: &vec![("-80".to_owned(), Err(String::new()))],
            facts: Some(&self.facts),
        };
        let mut found = evidence.judge();
        found.extend(evidence.behind());
        // of the diff there are tests beside it
        found.retain(|finding| finding.id != "VDIFF_UNKNOWN");
        found
    }

    fn ids(&self) -> Vec<(&'static str, Severity)> {
        self.judged().into_iter().map(|finding| (finding.id, finding.severity)).collect()
    }
}

#[test]
fn a_workflow_that_is_well_has_no_findings() {
    assert_eq!(Case::of(stream()).ids(), []);
    assert_eq!(summary(&Case::of(stream()).judged()), "GO");
    let after_copy = Stream { state: State::Stopped.into(), message: b"Stopped after copy.".to_vec(), ..stream() };
    assert_eq!(Case::of(after_copy).ids(), []);
}

#[test]
fn states_of_streams_block() {
    let with = |change: &dyn Fn(&mut Stream)| {
        let mut stream = stream();
        change(&mut stream);
        Case::of(stream).ids()
    };
    let blocks = |id| vec![(id, Severity::Blocks)];
    assert_eq!(with(&|s| s.pos.clear()).first(), Some(&("COPYING", Severity::Blocks)));
    assert_eq!(with(&|s| s.state = State::Stopped.into()), blocks("NOT_RUNNING"));
    assert_eq!(with(&|s| s.message = b"some error".to_vec()), blocks("ERROR"));
    assert_eq!(with(&|s| (s.time_updated, s.transaction_timestamp) = (ago(100), ago(100))), blocks("BEHIND"));
    let mut copying = Case::of(stream());
    copying.copying[0].insert(1, vec![("t".into(), String::new())]);
    assert_eq!(copying.ids(), blocks("COPYING"));
    assert_eq!(summary(&copying.judged()), "NO-GO (copying, 1 reason)");
    let mut gone = Case::of(stream());
    gone.rows.remove(1);
    assert_eq!(gone.ids(), blocks("STREAM_MISSING"));
}

#[test]
fn streams_that_complete_has_stopped_are_no_reason() {
    let frozen = || Stream { state: State::Stopped.into(), message: b"FROZEN".to_vec(), ..stream() };
    let mut case = Case::of(frozen());
    assert_eq!(case.ids(), []);
    case.rows[1].found.streams[0] = frozen();
    case.source = Err("down".into());
    assert_eq!(case.ids(), []);
}

#[test]
fn an_interrupted_create_blocks() {
    let mut case = Case::of(stream());
    case.facts.phase = Phase::Creating;
    assert_eq!(case.ids(), [("CREATE_UNFINISHED", Severity::Blocks)]);
    case.facts = Facts { taken_back: true, ..facts() };
    assert_eq!(case.ids(), [("CREATE_UNFINISHED", Severity::Blocks)]);
}

#[test]
fn a_dead_source_only_warns_and_so_does_what_it_makes() {
    let silent = Stream { message: b"connection error".to_vec(), ..stream() };
    let mut case = Case::of(silent);
    case.source = Err("no answer".into());
    assert_eq!(case.ids(), [("ERROR", Severity::Warns), ("SOURCE_UNREACHABLE", Severity::Warns)]);
    case.copying[0].insert(1, vec![("t".into(), String::new())]);
    assert_eq!(case.ids(), [("COPYING", Severity::Blocks), ("SOURCE_UNREACHABLE", Severity::Warns)]);
}

#[test]
fn positions_and_binlogs_of_the_source_are_compared() {
    let mut case = Case::of(stream());
    case.source = Ok(source(101, 50));
    assert_eq!(case.ids(), [("BEHIND", Severity::Blocks); 2]);
    let stopped = Stream {
        state: State::Stopped.into(),
        time_updated: ago(60_000),
        transaction_timestamp: ago(60_000),
        ..stream()
    };
    let mut case = Case::of(stopped);
    case.source = Ok(source(200, 150));
    let ids: Vec<&str> = case.ids().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["NOT_RUNNING", "GTID_PURGED", "BEHIND"]);
    case.source = Ok(source(200, 100));
    let ids: Vec<&str> = case.ids().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["NOT_RUNNING", "BINLOG_RISK", "BEHIND"]);
    case.source = Ok(source(100, 100));
    assert_eq!(case.ids(), [("NOT_RUNNING", Severity::Blocks)]);
}

#[test]
fn denied_tables_are_ours_missing_or_of_others() {
    let ids = |tables: &[&str], facts: Option<&Facts>| {
        let tables: Vec<String> = tables.iter().map(|t| (*t).to_owned()).collect();
        tables::denied(&target(), &tables, facts).into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    assert!(ids(&["t"], Some(&facts())).is_empty());
    assert!(ids(&["t"], None).is_empty());
    assert_eq!(ids(&["t", "u"], Some(&facts())), ["DENIED_MISSING"; 2]);
    let foreign = Facts { denied_tables: Vec::new(), ..facts() };
    assert_eq!(ids(&["t"], Some(&foreign)), ["DENIED_ELSEWHERE"; 2]);
}

#[test]
fn routing_and_sequences_matter_on_sharded_targets_only() {
    let vschema = |sharded: bool, sequence: bool| {
        let auto_increment = sequence.then(|| AutoIncrement { column: "id".into(), sequence: "s".into() });
        let entry = TablesEntry { key: "t".into(), value: Some(Table { auto_increment, ..Table::default() }) };
        VSchema { sharded, tables: vec![entry], ..VSchema::default() }
    };
    let tables = ["t".to_owned(), "u".to_owned()];
    assert!(tables::unrouted(&vschema(false, false), &tables).is_empty());
    let unrouted = tables::unrouted(&vschema(true, false), &tables);
    assert_eq!(
        unrouted.iter().map(|f| (f.id, f.subject.as_str())).collect::<Vec<_>>(),
        [("TABLE_UNROUTED", "table u")]
    );

    let column = schema::Column { name: "id".into(), auto_increment: true, ..schema::Column::default() };
    let columns = Columns::from([("t".to_owned(), vec![column])]);
    let shards = ["-80", "80-"].map(|shard| (shard.to_owned(), columns.clone()));
    let missing = |vschema: &VSchema, shards: &[(String, Columns)]| tables::without_sequence(vschema, shards, &tables);
    assert_eq!(missing(&vschema(true, false), &shards), [("t".to_owned(), "id".to_owned())]);
    assert!(missing(&vschema(true, true), &shards).is_empty());
    assert!(missing(&vschema(false, false), &shards).is_empty());
    assert!(missing(&vschema(true, false), &shards[..1]).is_empty());
}
