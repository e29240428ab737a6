//! Tests of what blocks `complete`.

mod replaced;
mod source_positions;

use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse as Found;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{Shard, TabletType, shard::TabletControl};
use vtmigrated_proto::vschema::keyspace::TablesEntry;
use vtmigrated_proto::vschema::{AutoIncrement, Keyspace as VSchema, Table};
use vtmigrated_proto::vttime::Time;

use super::source::SourceShard;
use super::*;
use crate::gtid::{GtidSet, Position};
use crate::topo::{Cells, Record};
use crate::workflow::findings::Severity;
use crate::workflow::record::{Phase, samples};
use crate::workflow::streams::TargetShard;

const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn target() -> Keyspace {
    let shard = |name: &str| {
        let denied = TabletControl {
            tablet_type: TabletType::Primary.into(),
            denied_tables: vec!["t".into()],
            ..TabletControl::default()
        };
        let key_range = crate::topo::shard::parse_name(name).unwrap();
        let value = Shard { is_primary_serving: true, key_range, tablet_controls: vec![denied], ..Shard::default() };
        let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 1, created: 1 };
        TargetShard { name: name.into(), record, primary: None, missing: String::new(), unread: None }
    };
    let shards = vec![shard("-80"), shard("80-")];
    Keyspace { name: "customer".into(), cells: Cells::default(), shards, silent: Vec::new() }
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
        source: ("commerce".into(), vec!["0".into()]),
        tables: vec!["t".into()],
        created_tables: by_shard(&["t"]),
        denied_tables: by_shard(&["t"]),
        ..samples::facts(Phase::Created)
    }
}

fn source(position: u64, purged: u64) -> Source {
    Source { shards: vec![source_shard("0", position, purged)], ..Source::default() }
}

fn source_shard(name: &str, position: u64, purged: u64) -> SourceShard {
    SourceShard {
        name: name.into(),
        range: crate::topo::shard::parse_name(name).unwrap(),
        serves: true,
        position: Ok(Position::Gtids(set(position))),
        purged: Some(set(purged)),
        keeps: Some(100_000),
        server: None,
    }
}

/// A workflow whose first stream is as given, its second one well.
struct Case {
    rows: Vec<ShardWorkflow>,
    copying: Vec<CopyStates>,
    orphaned: Vec<CopyStates>,
    source: std::result::Result<Source, String>,
    facts: Facts,
    /// Instead of `facts`.
    earlier: Option<Facts>,
    vschema: topo::Result<Option<VSchema>>,
}

impl Case {
    fn of(first: Stream) -> Self {
        let row = |shard: usize, stream: Stream| ShardWorkflow {
            shard,
            found: Found { workflow: "import".into(), streams: vec![stream], ..Found::default() },
        };
        Self {
            rows: vec![row(0, first), row(1, stream())],
            copying: vec![CopyStates::new(), CopyStates::new()],
            orphaned: vec![CopyStates::new(), CopyStates::new()],
            source: Ok(source(100, 50)),
            facts: facts(),
            earlier: None,
            vschema: Ok(None),
        }
    }

    fn judged(&self) -> Vec<Finding> {
        let target = target();
        let (mount, tables) = ("ext1".to_owned(), vec!["t".to_owned()]);
        let origin = Origin { keyspace: "commerce".into(), mount, tables, ..Origin::default() };
        let evidence = Evidence {
            target: &target,
            workflow: "import",
            origin: &origin,
            rows: &self.rows,
            copying: &self.copying,
            orphaned: &self.orphaned,
            source: &self.source,
            columns: None,
            diffs: &vec![("-80".to_owned(), Err(String::new()))],
            facts: Some(&self.facts).filter(|_| self.earlier.is_none()),
            earlier: self.earlier.as_ref(),
            vschema: self.vschema.as_ref().map(Option::as_ref),
        };
        let found = evidence.judge().into_iter().chain(evidence.behind());
        // of the diff there are tests beside it
        let found: Vec<Finding> = found.filter(|finding| finding.id != "VDIFF_UNKNOWN").collect();
        assert!(found.iter().all(|finding| !finding.fix.is_empty()), "what to do is not told: {found:?}");
        found
    }

    fn ids(&self) -> Vec<(&'static str, Severity)> {
        self.judged().into_iter().map(|finding| (finding.id.as_str(), finding.severity)).collect()
    }
}

#[test]
fn a_vschema_that_no_longer_fits_the_streams_blocks() {
    let mut filtered = stream();
    let bls = filtered.bls.as_mut().unwrap();
    bls.external_cluster = "ext1".into();
    let filter = "select * from `t` where in_keyrange(`id`, 'hash', '-80')";
    bls.filter.as_mut().unwrap().rules[0].filter = filter.into();
    let mut case = Case::of(filtered);
    assert_eq!(case.ids(), []);
    let sharded = |kind: &str| {
        let vindex = vtmigrated_proto::vschema::Vindex { r#type: kind.into(), ..Default::default() };
        let by =
            vtmigrated_proto::vschema::ColumnVindex { name: "v".into(), column: "id".into(), ..Default::default() };
        let table = Table { column_vindexes: vec![by], ..Table::default() };
        VSchema {
            sharded: true,
            vindexes: vec![vtmigrated_proto::vschema::keyspace::VindexesEntry { key: "v".into(), value: Some(vindex) }],
            tables: vec![TablesEntry { key: "t".into(), value: Some(table) }],
            ..VSchema::default()
        }
    };
    case.vschema = Ok(Some(sharded("hash")));
    // one cell of the source tells, and has no vindexes of its own
    case.source.as_mut().unwrap().serving = vec![vtmigrated_proto::vschema::SrvVSchema::default()];
    assert_eq!(case.ids(), []);
    case.vschema = Ok(Some(sharded("xxhash")));
    assert_eq!(case.ids(), [("VINDEX_CHANGED", Severity::Blocks)]);
    case.vschema = Err(topo::Error::BadData { path: "/global/keyspaces/ks/VSchema".into(), detail: "invalid".into() });
    let judged = case.judged();
    assert_eq!(case.ids(), [("TOPO_BAD_DATA", Severity::Blocks)]);
    assert!(judged[0].fix.ends_with("ApplyVSchema --vschema-file … ks"), "{judged:?}");
    // nor does anybody go on who insists on doing without the source
    assert!(insist(judged, true).findings.iter().any(|finding| finding.id == "TOPO_BAD_DATA"));
}

#[test]
fn a_workflow_that_is_well_has_no_findings() {
    assert_eq!(Case::of(stream()).ids(), []);
    assert_eq!(summary(&Case::of(stream()).judged()), "GO");
}

#[test]
fn of_ten_thousand_tables_left_some_are_named() {
    let mut case = Case::of(stream());
    let left = (0..10_000).map(|number| (format!("t{number:05}"), String::new())).collect();
    case.copying[0] = CopyStates::from([(1, left)]);
    let found = case.judged();
    let copying = found.iter().find(|finding| finding.id == "COPYING").unwrap();
    assert!(copying.cause.len() < 1024 && copying.cause.ends_with(", t00011, and 9988 more"), "{copying:?}");
}

#[test]
fn a_stream_that_stopped_after_its_copy_as_asked_is_only_told_of() {
    let mut asked = stream();
    asked.bls.as_mut().unwrap().stop_after_copy = true;
    (asked.state, asked.message) = (State::Stopped.into(), b"Stopped after copy.".to_vec());
    (asked.time_updated, asked.transaction_timestamp) = (ago(400_000), ago(400_000));
    let mut case = Case::of(asked.clone());
    assert_eq!(case.ids(), []);
    // the source went on, and has purged what the stream would need to go on
    case.rows.truncate(1);
    case.rows.push(Case::of(stream()).rows.remove(1));
    case.rows[1].found.streams[0].pos = format!("MySQL56/{SERVER}:1-900").into_bytes();
    case.source = Ok(source(900, 800));
    assert_eq!(case.ids(), [("STOPPED_AFTER_COPY", Severity::Warns)]);
    case.rows[1].found.streams[0] = asked.clone();
    case.source = Err("gone".into());
    assert_eq!(case.ids(), [("STOPPED_AFTER_COPY", Severity::Warns); 2]);
    // the message alone does not make it one
    let stopped = Stream { state: State::Stopped.into(), message: b"Stopped after copy.".to_vec(), ..stream() };
    assert_eq!(Case::of(stopped).ids(), [("NOT_RUNNING", Severity::Blocks)]);
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
    let mut copying = Case::of(stream());
    copying.copying[0].insert(1, vec![("t".into(), String::new())]);
    assert_eq!(copying.ids(), blocks("COPYING"));
    assert_eq!(summary(&copying.judged()), "NO-GO (copying, 1 reason)");
    let mut gone = Case::of(stream());
    gone.rows.remove(1);
    assert_eq!(gone.ids(), blocks("STREAM_MISSING"));
}

#[test]
fn streams_that_complete_has_stopped_are_held_to_the_position_until_the_tables_are_handed_over() {
    let frozen = || Stream { state: State::Stopped.into(), message: b"FROZEN".to_vec(), ..stream() };
    let mut case = Case::of(frozen());
    case.facts.completing = true;
    assert_eq!(case.ids(), []);
    case.rows[1].found.streams[0] = frozen();
    assert_eq!(case.ids(), []);
    case.source = Ok(source(101, 50));
    assert_eq!(case.ids(), [("BEHIND", Severity::Blocks); 2]);
    case.source = Err("down".into());
    assert_eq!(case.ids(), [("SOURCE_UNREACHABLE", Severity::Blocks)]);
    case.facts.handed_over = true;
    assert_eq!(case.ids(), []);
}

#[test]
fn that_streams_are_stopped_for_good_proves_nothing_of_their_copy() {
    let frozen = || Stream { state: State::Stopped.into(), message: b"FROZEN".to_vec(), ..stream() };
    for completing in [false, true] {
        let mut case = Case::of(frozen());
        case.rows[1].found.streams[0] = frozen();
        case.facts.completing = completing;
        assert_eq!(case.ids(), []);
        case.copying[0].insert(1, vec![("t".into(), String::new())]);
        assert_eq!(case.ids(), [("COPYING", Severity::Blocks)]);
        case.copying[0].clear();
        case.rows[0].found.streams[0].pos.clear();
        assert_eq!(case.ids(), [("COPYING", Severity::Blocks)]);
    }
}

#[test]
fn an_interrupted_create_blocks() {
    let mut case = Case::of(stream());
    case.facts.phase = Phase::Creating;
    assert_eq!(case.ids(), [("CREATE_UNFINISHED", Severity::Blocks)]);
    case.facts = Facts { cancelling: true, ..facts() };
    assert_eq!(case.ids(), [("CANCEL_HAS_BEGUN", Severity::Blocks)]);
    case.facts = Facts { taken_back: true, ..facts() };
    assert_eq!(case.ids(), [("CREATE_UNFINISHED", Severity::Blocks)]);
}

#[test]
fn every_source_shard_that_feeds_a_target_shard_has_a_stream_there() {
    let mut case = Case::of(stream());
    let streams = |shards: &[&str]| {
        let from = |shard: &&str| {
            let mut stream = stream();
            stream.bls.as_mut().unwrap().shard = (*shard).into();
            stream
        };
        shards.iter().map(from).collect::<Vec<_>>()
    };
    let set = |case: &mut Case, left: &[&str], right: &[&str]| {
        case.rows[0].found.streams = streams(left);
        case.rows[1].found.streams = streams(right);
    };
    let lacking = |case: &Case| case.judged().into_iter().map(|f| format!("{} {}", f.id, f.cause)).collect::<Vec<_>>();
    // the source was resharded: its new shards serve, the record knows the old one
    let shards = ["-40", "40-80", "80-"].map(|name| source_shard(name, 100, 50)).to_vec();
    case.source = Ok(Source { shards, ..Source::default() });
    set(&mut case, &["-40", "40-80"], &["80-"]);
    assert!(lacking(&case).is_empty());
    set(&mut case, &["-40"], &["80-"]);
    assert_eq!(lacking(&case), ["STREAM_MISSING it has no stream of the source's 40-80"]);
    case.facts.every_pair = true;
    set(&mut case, &["-40", "40-80", "80-"], &["80-", "-40"]);
    assert_eq!(lacking(&case), ["STREAM_MISSING it has no stream of the source's 40-80"]);
    // a source that cannot be asked: the record's shards
    case.source = Err("down".into());
    case.facts.source.1 = vec!["-80".into(), "80-".into()];
    set(&mut case, &["-80", "80-"], &["80-"]);
    let found = lacking(&case);
    assert_eq!(found[0], "STREAM_MISSING it has no stream of the source's -80");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn who_insists_goes_on_without_the_proof_of_the_source_and_of_nothing_else() {
    let mut case = Case::of(Stream { message: b"connection error".to_vec(), ..stream() });
    case.source = Err("gone".into());
    case.facts.phase = Phase::Creating;
    let ids = |findings: &[Finding]| findings.iter().map(|f| (f.id.as_str(), f.severity)).collect::<Vec<_>>();
    let insisted = insist::insist(case.judged(), true);
    assert_eq!(
        ids(&insisted.findings),
        [("CREATE_UNFINISHED", Severity::Blocks), ("ERROR", Severity::Warns), ("SOURCE_UNREACHABLE", Severity::Warns)]
    );
    assert_eq!(ids(&insisted.ignored), [("ERROR", Severity::Blocks), ("SOURCE_UNREACHABLE", Severity::Blocks)]);
    let usual = insist::insist(case.judged(), false);
    assert_eq!((usual.findings, usual.ignored), (case.judged(), Vec::new()));
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
        unrouted.iter().map(|f| (f.id.as_str(), f.subject.as_str())).collect::<Vec<_>>(),
        [("TABLE_UNROUTED", "table u")]
    );

    let column = columns::Column { name: "id".into(), auto_increment: true, ..columns::Column::default() };
    let columns = Columns::from([("t".to_owned(), vec![column])]);
    let shards = ["-80", "80-"].map(|shard| (shard.to_owned(), columns.clone()));
    let missing = |vschema: &VSchema, shards: &[(String, Columns)]| tables::without_sequence(vschema, shards, &tables);
    assert_eq!(missing(&vschema(true, false), &shards), [("t".to_owned(), "id".to_owned())]);
    assert!(missing(&vschema(true, true), &shards).is_empty());
    assert!(missing(&vschema(false, false), &shards).is_empty());
    assert!(missing(&vschema(true, false), &shards[..1]).is_empty());
}
