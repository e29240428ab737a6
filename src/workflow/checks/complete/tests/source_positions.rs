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

/// As after a restore from a backup: the primary has a UUID of its own, and less of that of the server before.
#[test]
fn streams_that_have_applied_what_the_source_has_lost_block() {
    const OWN: &str = "65250e20-e60c-11f1-a657-02fc00000001";
    let at = |position: &str, server: Option<&str>| {
        let shard = SourceShard {
            position: Ok(Position::parse(position)),
            server: server.map(str::to_owned),
            ..source_shard("0", 1, 1)
        };
        Ok(Source { shards: vec![shard], ..Source::default() })
    };
    let restored = format!("{SERVER}:1-80,{OWN}:1-5");
    let goes_on = Stream { pos: format!("{SERVER}:1-100,{OWN}:1-7").into_bytes(), ..stream() };
    let mut case = Case::of(goes_on.clone());
    case.rows[1].found.streams[0] = Stream { pos: format!("{SERVER}:1-80,{OWN}:1-5").into_bytes(), ..stream() };
    case.source = at(&restored, Some(OWN));
    assert_eq!(case.ids(), [("POSITION_AHEAD", Severity::Blocks)]);
    let found = &case.judged()[0];
    assert_eq!(found.subject, "customer/-80 stream 1");
    assert!(found.cause.contains(&format!(" does not have: {SERVER}:81-100; ")), "{found:?}");
    assert!(is_of_the_source(found));
    // those that a replica has alone would be in the next workflow, too
    assert!(
        found.fix.ends_with("create it again, with --tablet-types primary where a replica wrote them"),
        "{found:?}"
    );
    // it may have written more since it was asked; and of a tablet that does not tell nobody knows what it has written itself
    case.rows[1].found.streams[0].pos = format!("{SERVER}:1-100,{OWN}:1-5").into_bytes();
    for (position, server) in [(format!("{SERVER}:1-100,{OWN}:1-5"), Some(OWN)), (restored.clone(), None)] {
        case.source = at(&position, server);
        assert_eq!(case.ids(), [], "{position}");
    }
    // transactions of a replica that no other server has
    case.source = at(&format!("{OWN}:1-5"), Some(OWN));
    case.rows[1].found.streams[0].pos = format!("{OWN}:1-5").into_bytes();
    assert_eq!(case.ids(), []);
    // servers that keep their UUIDs, as when their volumes are restored, turn the stream away until they have as much again
    let message = b"Error: GTIDSet Mismatch: requested source position".to_vec();
    let turned_away = Stream { pos: format!("{SERVER}:1-100").into_bytes(), message, ..goes_on };
    let mut case = Case::of(turned_away);
    case.rows[1].found.streams[0].pos = format!("{SERVER}:1-90").into_bytes();
    case.source = at(&format!("{SERVER}:1-90"), Some(SERVER));
    assert_eq!(case.ids(), [("ERROR", Severity::Blocks), ("POSITION_AHEAD", Severity::Blocks)]);
    assert!(case.judged()[0].fix.contains("one whose source was restored from a backup must not"));
    // the tablet lagged, and the primary has it all
    case.source = at(&format!("{SERVER}:1-100"), Some(SERVER));
    case.rows[1].found.streams[0].pos = format!("{SERVER}:1-100").into_bytes();
    assert_eq!(case.ids(), [("ERROR", Severity::Blocks)]);
}

#[test]
fn the_positions_of_another_cluster_prove_nothing() {
    let mut case = Case::of(stream());
    case.facts.source_created = Some(7);
    case.source.as_mut().unwrap().created = Some(7);
    assert_eq!(case.ids(), []);
    case.source.as_mut().unwrap().created = Some(8);
    assert_eq!(case.ids(), [("MOUNT_CHANGED", Severity::Blocks)]);
    assert!(is_of_the_source(&case.judged()[0]));
    // the tables were moved to another keyspace of the source, and the streams follow them
    case.facts.source.0 = "former".into();
    assert_eq!(case.ids(), []);
}
