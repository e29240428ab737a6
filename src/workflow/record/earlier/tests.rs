use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse as Found;
use vtmigrated_proto::topodata::Shard;

use super::*;
use crate::topo::{Cells, Record};
use crate::workflow::record::TableSize;
use crate::workflow::streams::{Listed, TargetShard};

/// Shards made at revision 7.
fn target() -> Keyspace {
    let shard = |name: &str| {
        let value = Shard { is_primary_serving: true, ..Shard::default() };
        let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 8, created: 7 };
        TargetShard { name: name.into(), record, primary: None, missing: String::new(), unread: None }
    };
    let shards = vec![shard("-80"), shard("80-")];
    Keyspace { name: "customer".into(), cells: Cells::default(), shards, silent: Vec::new() }
}

fn stream(id: i32, rows_copied: i64) -> Stream {
    let rule = Rule { r#match: "t".into(), ..Rule::default() };
    let bls = BinlogSource {
        keyspace: "commerce".into(),
        shard: "0".into(),
        external_cluster: "ext1".into(),
        filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
        ..BinlogSource::default()
    };
    Stream { id, rows_copied, state: State::Running.into(), bls: Some(bls), ..Stream::default() }
}

fn frozen(id: i32) -> Stream {
    Stream { state: State::Stopped.into(), message: b"FROZEN".to_vec(), ..stream(id, 5) }
}

fn rows(streams: [Stream; 2]) -> Vec<ShardWorkflow> {
    let row = |(shard, stream)| ShardWorkflow { shard, found: Found { streams: vec![stream], ..Found::default() } };
    streams.into_iter().enumerate().map(row).collect()
}

/// Of a workflow with stream 1 on -80 and stream 2 on 80-.
fn facts() -> Facts {
    let streams: Listed = vec![("-80".into(), vec![1]), ("80-".into(), vec![2])];
    let json = serde_json::json!({
        "phase": "created", "mount": "ext1", "source": ["commerce", ["0"]], "arguments": "", "tables": ["t"],
        "created_tables": [], "vschema_tables": [], "denied_tables": [], "streams": streams, "shards": [["-80", 7], ["80-", 7]],
    });
    serde_json::from_value(json).unwrap()
}

#[test]
fn what_a_cancel_has_seen_to_is_of_the_streams_that_it_noted() {
    let facts = Facts { cancelling: true, seen_to: vec!["-80".into()], ..facts() };
    let seen_to = |streams| of(&facts, &target(), &rows(streams)).unwrap().seen_to.len();
    assert_eq!(seen_to([stream(1, 5), stream(2, 5)]), 1);
    assert_eq!(seen_to([stream(3, 0), stream(4, 0)]), 0);
}

#[test]
fn streams_that_are_gone_stay_noted() {
    let now: Listed = vec![("-80".into(), vec![3])];
    assert_eq!(facts().noted_with(now.clone()), [("-80".into(), vec![1, 3]), ("80-".into(), vec![2])]);
    assert_eq!(Facts { streams: None, ..facts() }.noted_with(now.clone()), now);
}

/// Whether the record is of the workflow of these streams.
fn is_own(facts: &Facts, streams: [Stream; 2]) -> bool {
    of(facts, &target(), &rows(streams)).is_some()
}

#[test]
fn streams_that_copied_and_were_not_noted_are_a_later_workflows() {
    for facts in [facts(), Facts { cancelling: true, ..facts() }] {
        assert!(is_own(&facts, [stream(1, 5), stream(2, 5)]));
        assert!(!is_own(&facts, [stream(3, 5), stream(4, 0)]));
        // one of them is left
        assert!(is_own(&facts, [stream(1, 0), stream(4, 5)]));
        // the ids are those of the other shard
        assert!(!is_own(&facts, [stream(2, 5), stream(1, 5)]));
        // they may have taken over when the source was resharded
        assert!(is_own(&facts, [stream(3, 0), stream(4, 0)]));
        let unknown = Facts { streams: None, ..facts };
        assert!(is_own(&unknown, [stream(3, 5), stream(4, 5)]));
    }
}

#[test]
fn streams_that_followed_the_tables_to_another_keyspace_of_the_source_are_the_records() {
    let of = |id, rows_copied, mount: &str| {
        let mut moved = Stream { pos: b"MySQL56/x:1-9".to_vec(), ..stream(id, rows_copied) };
        let source = moved.bls.as_mut().unwrap();
        (source.keyspace, source.external_cluster) = ("customer2".into(), mount.into());
        moved
    };
    let moved = |id| of(id, 0, "ext1");
    assert!(is_own(&facts(), [moved(3), moved(4)]));
    // the other one has not met the journal yet
    assert!(is_own(&facts(), [moved(3), stream(2, 5)]));
    let noted = Facts { streams: Some(facts().noted_with(vec![("-80".into(), vec![3])])), ..facts() };
    assert!(is_own(&noted, [of(3, 5, "ext1"), stream(2, 5)]));
    // somebody made them there
    assert!(!is_own(&facts(), [of(3, 5, "ext1"), stream(2, 5)]));
    assert!(!is_own(&facts(), [Stream { pos: Vec::new(), ..moved(3) }, stream(2, 5)]));
    assert!(!is_own(&facts(), [of(3, 0, "ext2"), stream(2, 5)]));
}

#[test]
fn a_create_that_cannot_have_inserted_streams_has_none() {
    let begun = Facts { phase: Phase::Creating, streams: Some(Vec::new()), ..facts() };
    assert!(!is_own(&begun, [stream(1, 5), stream(2, 5)]));
    assert!(is_own(&begun, [stream(1, 0), stream(2, 0)]));
    assert!(is_own(&Facts { streams: None, ..begun }, [stream(1, 5), stream(2, 5)]));
}

#[test]
fn streams_in_a_keyspace_that_was_made_anew_are_a_later_workflows() {
    let of = |made: i64| Facts { shards: vec![("-80".into(), made), ("80-".into(), made)], ..facts() };
    assert!(is_own(&of(7), [stream(1, 5), stream(2, 5)]));
    assert!(!is_own(&of(6), [stream(1, 5), stream(2, 5)]));
    let one = Facts { shards: vec![("-80".into(), 7), ("80-".into(), 6)], ..facts() };
    assert!(is_own(&one, [stream(1, 5), stream(2, 5)]));
    assert!(is_own(&Facts { shards: Vec::new(), ..facts() }, [stream(1, 5), stream(2, 5)]));
}

#[test]
fn a_complete_has_begun_only_on_streams_that_it_noted() {
    let (target, sizes) = (target(), vec![TableSize { table: "t".into(), ..TableSize::default() }]);
    let begun = Facts { completing: true, handed_over: true, sizes, ..facts() };
    let of = |streams| of(&begun, &target, &rows(streams)).unwrap().into_owned();
    assert_eq!(of([frozen(1), frozen(2)]), begun);
    for streams in [
        [frozen(1), stream(2, 5)],
        [frozen(1), frozen(4)],
        [frozen(2), frozen(1)].map(|s| Stream { rows_copied: 0, ..s }),
    ] {
        let now = of(streams);
        assert_eq!((now.handed_over, now.completing, now.sizes.len()), (false, false, 0));
    }
    let before = Facts { handed_over: false, ..begun.clone() };
    assert!(super::of(&before, &target, &rows([frozen(1), stream(2, 5)])).unwrap().completing);
    assert!(!super::of(&before, &target, &rows([frozen(1), frozen(4)])).unwrap().completing);
}
