//! What the source says of its positions and binlogs, against those of the streams.

use super::*;

#[test]
fn a_source_that_does_not_tell_its_position_blocks_and_errors_stay_errors() {
    let silent = Stream { message: b"connection error".to_vec(), ..stream() };
    let mut case = Case::of(silent);
    case.source = Err("no answer".into());
    let blocks = Severity::Blocks;
    assert_eq!(case.ids(), [("ERROR", blocks), ("SOURCE_UNREACHABLE", blocks)]);
    // one shard of it is enough, and is named once
    case.rows[0].found.streams[0] = stream();
    case.source = Ok(Source {
        shards: vec![SourceShard { position: Err("no answer".into()), ..source_shard("0", 1, 1) }],
        ..Source::default()
    });
    assert_eq!(case.ids(), [("SOURCE_UNREACHABLE", blocks)]);
    assert_eq!(case.judged()[0].subject, "shard commerce/0 of mount ext1");
}

#[test]
fn a_shard_that_nobody_asked_and_a_position_that_cannot_be_compared_block() {
    let from = |shard: &str, position: &str| {
        let mut stream = stream();
        stream.pos = position.as_bytes().to_vec();
        stream.bls.as_mut().unwrap().shard = shard.into();
        Case::of(stream)
    };
    let unknown = [("POSITION_UNKNOWN", Severity::Blocks)];
    assert_eq!(from("0", "MariaDB/0-1-5").ids(), unknown);
    assert_eq!(from("0", "\u{fffd}").ids(), unknown);
    let ids = from("40-80", &format!("MySQL56/{SERVER}:1-100")).ids();
    assert_eq!(ids, [("STREAM_MISSING", Severity::Blocks), ("POSITION_UNKNOWN", Severity::Blocks)]);
    let mut maria = from("0", "MariaDB/0-1-5");
    maria.rows[1].found.streams[0].pos = b"MariaDB/0-1-5".to_vec();
    for (wanted, ids) in [("MariaDB/0-2-5", vec![]), ("MariaDB/0-2-6", vec![("BEHIND", Severity::Blocks); 2])] {
        let shard = SourceShard { position: Ok(Position::parse(wanted)), ..source_shard("0", 1, 1) };
        maria.source = Ok(Source { shards: vec![shard], ..Source::default() });
        assert_eq!(maria.ids(), ids, "{wanted}");
    }
}

#[test]
fn an_idle_stream_at_the_position_of_the_source_is_not_behind() {
    let idle = Stream { time_updated: ago(59), transaction_timestamp: ago(5000), ..stream() };
    assert_eq!(Case::of(idle.clone()).ids(), []);
    let mut case = Case::of(idle);
    case.source = Ok(source(101, 50));
    assert_eq!(case.ids().first(), Some(&("BEHIND", Severity::Blocks)));
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
    assert_eq!(ids, ["NOT_RUNNING", "GTID_PURGED", "BEHIND", "BEHIND"]);
    case.source = Ok(source(200, 100));
    let ids: Vec<&str> = case.ids().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["NOT_RUNNING", "BINLOG_RISK", "BEHIND", "BEHIND"]);
    case.source = Ok(source(100, 100));
    assert_eq!(case.ids(), [("NOT_RUNNING", Severity::Blocks)]);
}
