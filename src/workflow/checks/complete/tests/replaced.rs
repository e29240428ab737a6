//! Streams that met a journal of the source: those that are gone and had not copied all, and those that stand.

use super::*;

/// A workflow whose stream on -80 is not the one that had a table left to copy.
fn case(rows_copied: i64, table: &str) -> Case {
    let mut case = Case::of(Stream { id: 2, rows_copied, ..stream() });
    case.orphaned[0].insert(1, vec![(table.into(), String::new())]);
    case
}

/// Facts that list a stream of -80.
fn listing(id: i32) -> Facts {
    Facts { streams: Some(vec![("-80".into(), vec![id])]), ..facts() }
}

fn blocks(case: &Case) -> bool {
    case.ids().contains(&("COPYING", Severity::Blocks))
}

#[test]
fn what_a_stream_of_the_records_list_had_left_blocks_whoever_insists() {
    for rows_copied in [0, 5] {
        let listed = Case { facts: listing(1), ..case(rows_copied, "t") };
        assert_eq!(listed.ids(), [("COPYING", Severity::Blocks)]);
        let found = listed.judged().remove(0);
        assert_eq!(found.subject, "customer/-80 stream 1");
        assert!(found.cause.ends_with("; left: t") && !found.cause.contains("an earlier"), "{found:?}");
        assert!(found.fix.starts_with("cancel the workflow and create it again"), "{found:?}");
        assert!(insist(listed.judged(), true).ignored.is_empty());
        // somebody else's
        assert_eq!(Case { facts: listing(3), ..case(rows_copied, "t") }.ids(), []);
        let mut on_another_shard = case(rows_copied, "t");
        on_another_shard.orphaned.swap(0, 1);
        assert_eq!(Case { facts: listing(1), ..on_another_shard }.ids(), []);
    }
}

#[test]
fn what_an_earlier_record_lists_or_nobody_blocks_where_a_stream_copied_nothing_itself() {
    for (rows_copied, is_replaced) in [(0, true), (5, false)] {
        assert_eq!(blocks(&case(rows_copied, "t")), is_replaced);
        assert!(!blocks(&case(rows_copied, "u")));
        assert_eq!(blocks(&Case { earlier: Some(listing(1)), ..case(rows_copied, "u") }), is_replaced);
        assert!(!blocks(&Case { earlier: Some(listing(3)), ..case(rows_copied, "t") }));
        assert_eq!(blocks(&Case { earlier: Some(facts()), ..case(rows_copied, "t") }), is_replaced);
    }
}

/// The streams that a record lists are gone, and somebody has made others: the numbers of streams grow.
#[test]
fn what_is_younger_than_the_streams_of_a_record_blocks_where_a_younger_one_copied_nothing_itself() {
    let with = |id: i32, rows_copied: i64, table: &str| {
        let mut case = Case::of(Stream { id, rows_copied, ..stream() });
        case.orphaned[0].insert(3, vec![(table.into(), String::new())]);
        case
    };
    for (id, rows_copied, table, is_replaced) in
        [(5, 0, "t", true), (5, 4, "t", false), (5, 0, "u", false), (2, 0, "t", false)]
    {
        let case = || with(id, rows_copied, table);
        for later in [Case { facts: listing(1), ..case() }, Case { earlier: Some(listing(1)), ..case() }] {
            assert_eq!(blocks(&later), is_replaced, "{id} {rows_copied} {table}");
        }
        assert!(!blocks(&Case { facts: listing(4), ..case() }), "{id} {rows_copied} {table}");
    }
}

#[test]
fn what_may_be_an_earlier_workflows_is_told_with_the_statement_that_takes_it_away() {
    for doubtful in [case(0, "t"), Case { earlier: Some(listing(1)), ..case(0, "u") }] {
        let found = doubtful.judged().into_iter().find(|finding| finding.id == "COPYING").unwrap();
        assert!(found.cause.contains("or it was an earlier workflow's"), "{found:?}");
        let statement = "\"delete from _vt.copy_state where vrepl_id in (1) and vrepl_id not in (select id from _vt.vreplication)\"";
        let commands =
            format!("ExecuteFetchAsDBA <primary of -80> {statement}; else cancel the workflow and create it again: ");
        assert!(found.fix.starts_with("compare the rows with VDiff") && found.fix.contains(&commands), "{found:?}");
    }
}

#[test]
fn a_stream_that_cannot_follow_the_sources_journal_is_not_to_be_started() {
    let fix = |message: &str| {
        let message = message.as_bytes().to_vec();
        let found = Case::of(Stream { state: State::Stopped.into(), message, ..stream() }).judged().remove(0);
        assert_eq!(found.id, "NOT_RUNNING");
        found.fix
    };
    for message in [
        "unable to handle journal event: tables were partially matched",
        "cannot redirect on journal: not all sources are present in this workflow: missing commerce:-80",
    ] {
        assert!(fix(message).starts_with("cancel the workflow and create it again"));
    }
    assert!(fix("stopped by hand").starts_with("start it with: Workflow --keyspace customer start"));
}
