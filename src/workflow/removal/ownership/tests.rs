use super::*;

const RECORDS: [Record; 6] =
    [Record::None, Record::OfAnotherShard, Record::Creating, Record::Created, Record::HandedOver, Record::SeenTo];
const STREAMS: [Stream; 3] = [Stream::None, Stream::Idle, Stream::Copying];
const DENIED: [Denied; 5] = [Denied::No, Denied::Ours, Denied::Others, Denied::Unaware, Denied::NotInForce];
const ROWS: [Rows; 4] = [Rows::Unseen, Rows::Gone, Rows::Empty, Rows::Filled];
const SINCE: [Option<Since>; 4] = [None, Some(Since::Same), Some(Since::Another), Some(Since::Unclear)];

/// Every combination there is.
fn all() -> Vec<Evidence> {
    let mut all = Vec::new();
    for record in RECORDS {
        for stream in STREAMS {
            for denied in DENIED {
                for made in [false, true] {
                    for since in SINCE {
                        all.extend(ROWS.map(|rows| Evidence { record, stream, denied, made, rows, since }));
                    }
                }
            }
        }
    }
    assert_eq!(all.len(), 6 * 3 * 5 * 2 * 4 * 4);
    all
}

/// False after a cancel that was cut off, unless the table is seen to be the one of then.
fn is_of_then(known: &Evidence) -> bool {
    known.since.is_none() || known.since == Some(Since::Same) && known.rows != Rows::Unseen
}

fn denied_now(known: &Evidence) -> bool {
    matches!(known.denied, Denied::Ours | Denied::Others)
}

fn goes(fate: Fate) -> bool {
    matches!(fate, Fate::Drop | Fate::DropEmpty | Fate::Empty)
}

#[test]
fn rows_go_only_when_a_stream_copied_them_and_clients_could_not_write() {
    for known in all().iter().filter(|known| matches!(known.rows, Rows::Filled | Rows::Unseen)) {
        let over = matches!(known.record, Record::HandedOver | Record::SeenTo);
        let proven = known.stream == Stream::Copying && denied_now(known) && !over && is_of_then(known);
        assert_eq!(goes(fate(known)), proven, "{known:?}");
        // and what is proven needs no look, or no other one
        assert!(!proven || fate(known) == if known.made { Fate::Drop } else { Fate::Empty }, "{known:?}");
    }
}

#[test]
fn what_was_there_before_is_never_dropped() {
    for known in all().iter().filter(|known| !known.made) {
        assert!(!matches!(fate(known), Fate::Drop | Fate::DropEmpty), "{known:?}");
    }
}

#[test]
fn after_the_handover_nothing_goes() {
    for known in all().iter().filter(|known| known.record == Record::HandedOver) {
        let expected = if known.rows == Rows::Gone { Fate::Nothing } else { Fate::Keep(Doubt::HandedOver) };
        assert_eq!(fate(known), expected, "{known:?}");
    }
}

#[test]
fn what_is_there_after_all_was_seen_to_is_nobodys_business() {
    for known in all().iter().filter(|known| known.record == Record::SeenTo) {
        assert_eq!(fate(known), Fate::Nothing, "{known:?}");
    }
}

#[test]
fn an_empty_table_goes_only_while_it_is_denied() {
    for known in all().iter().filter(|known| known.rows == Rows::Empty && known.made) {
        let Evidence { record, stream, .. } = known;
        let ours = *stream != Stream::None || known.denied == Denied::Ours && *record == Record::Creating;
        let over = matches!(record, Record::HandedOver | Record::SeenTo);
        let proven = !over && denied_now(known) && ours && is_of_then(known);
        assert_eq!(goes(fate(known)), proven, "{known:?}");
    }
}

#[test]
fn after_a_cancel_that_was_cut_off_only_what_was_there_then_goes() {
    for known in all().iter().filter(|known| matches!(known.rows, Rows::Empty | Rows::Filled)) {
        let fate_now = fate(known);
        let as_before = fate(&Evidence { since: None, ..*known });
        let over = matches!(known.record, Record::HandedOver | Record::SeenTo);
        let expected = match known.since {
            _ if over => as_before,
            None | Some(Since::Same) => as_before,
            Some(_) if known.rows == Rows::Empty && !known.made && known.stream == Stream::None => {
                Fate::Leave(Doubt::NoStream)
            }
            Some(_) if known.rows == Rows::Empty && !known.made => Fate::Nothing,
            Some(Since::Another) => Fate::Leave(Doubt::MadeSince),
            Some(Since::Unclear) => Fate::Leave(Doubt::NotNoted),
        };
        assert_eq!(fate_now, expected, "{known:?}");
    }
}

#[test]
fn a_record_alone_proves_nothing() {
    for known in all().iter().filter(|known| known.stream == Stream::None) {
        let fate = fate(known);
        assert!(!matches!(fate, Fate::Drop | Fate::Empty), "{known:?}");
        assert!(fate != Fate::DropEmpty || known.rows == Rows::Empty, "{known:?}");
    }
    for known in all().iter().filter(|k| k.stream == Stream::None && k.record == Record::OfAnotherShard) {
        assert!(!goes(fate(known)), "{known:?}");
    }
}

#[test]
fn every_table_that_was_looked_at_has_a_fate() {
    for known in all() {
        let fate = fate(&known);
        assert!(fate != Fate::Look || known.rows == Rows::Unseen, "{known:?}");
        assert!(known.rows != Rows::Gone || fate == Fate::Nothing, "{known:?}");
    }
}

#[test]
fn reasons_say_what_is_missing() {
    let known = Evidence {
        record: Record::Created,
        stream: Stream::None,
        denied: Denied::Ours,
        made: true,
        rows: Rows::Filled,
        since: None,
    };
    assert_eq!(fate(&known), Fate::Keep(Doubt::NoStream));
    assert_eq!(fate(&Evidence { stream: Stream::Idle, ..known }), Fate::Keep(Doubt::NotCopied));
    let live = Evidence { stream: Stream::Copying, denied: Denied::No, ..known };
    assert_eq!(fate(&live), Fate::Keep(Doubt::NotDenied));
    assert_eq!(fate(&Evidence { rows: Rows::Empty, ..live }), Fate::Leave(Doubt::NotDenied));
    assert_eq!(fate(&Evidence { rows: Rows::Empty, ..known }), Fate::Leave(Doubt::NoStream));
    let unaware = Evidence { denied: Denied::Unaware, ..live };
    assert_eq!(fate(&unaware), Fate::Keep(Doubt::PrimaryUnaware));
    assert_eq!(fate(&Evidence { rows: Rows::Empty, ..unaware }), Fate::Leave(Doubt::PrimaryUnaware));
    let open = Evidence { denied: Denied::NotInForce, ..live };
    assert_eq!(fate(&open), Fate::Keep(Doubt::NotInForce));
    assert_eq!(fate(&Evidence { rows: Rows::Empty, ..open }), Fate::Leave(Doubt::NotInForce));
}
