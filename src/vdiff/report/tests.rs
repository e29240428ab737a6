use proptest::prelude::*;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::VDiffResponse;
use vtmigrated_proto::vtctldata::v_diff_show_response::TabletResponsesEntry;

use super::*;
use crate::sql::rows as sql_rows;
use crate::workflow::vdiff_summary;

/// A row: state of the shard, table, its state, rows, compared, mismatch, report, completed at.
type Given<'a> = (&'a str, &'a str, &'a str, i64, i64, bool, &'a str, &'a str);

fn output(given: &[Given<'_>]) -> QueryResult {
    let row = |(state, table, table_state, rows, compared, mismatch, report, completed): &Given<'_>| {
        let (rows, compared, mismatch) = (rows.to_string(), compared.to_string(), i32::from(*mismatch).to_string());
        let error = if *state == "error" { "it broke" } else { "" };
        let values = [
            *state,
            error,
            *table,
            "u",
            *table_state,
            &rows,
            "2026-11-22 01:00:00",
            &compared,
            *completed,
            &mismatch,
            *report,
        ];
        sql_rows::row(values.iter().map(|value| (!value.is_empty()).then_some(value.as_bytes())))
    };
    vdiff_summary::output(given.iter().map(row).collect())
}

fn response(shards: &[(&str, QueryResult)]) -> VDiffShowResponse {
    let entry = |(shard, output): &(&str, QueryResult)| TabletResponsesEntry {
        key: (*shard).to_owned(),
        value: Some(VDiffResponse { vdiff_uuid: "u".into(), output: Some(output.clone()), ..VDiffResponse::default() }),
    };
    VDiffShowResponse { tablet_responses: shards.iter().map(entry).collect() }
}

/// 2026-11-22 02:00:00 UTC.
fn now() -> i64 {
    epoch_seconds("2026-11-22 02:00:00").unwrap()
}

#[test]
fn counts_are_summed_over_shards_and_the_gravest_state_of_a_table_wins() {
    let report = r#"{"TableName":"t","ProcessedRows":5,"MatchingRows":4,"ExtraRowsSource":1,"MismatchedRows":0}"#;
    let one = output(&[
        ("completed", "t", "completed", 5, 5, true, report, "2026-11-22 01:30:00"),
        ("completed", "u", "completed", 2, 2, false, "{}", "2026-11-22 01:30:00"),
    ]);
    let two = output(&[
        ("started", "t", "started", 10, 1, false, report, ""),
        ("started", "u", "pending", 3, 0, false, "", ""),
    ]);
    let summary = Summary::of(&response(&[("-80", one.clone()), ("80-", two)]), now());
    assert_eq!((summary.state, summary.has_mismatch), (State::Started, true));
    assert_eq!((summary.rows_compared, summary.rows), (8, 20));
    let table = &summary.tables["t"];
    assert_eq!((table.state, table.rows_compared, table.extra_rows_source), (State::Started, 10, 2));
    assert!(table.has_mismatch);
    assert_eq!((summary.tables["u"].state, summary.tables["u"].has_mismatch), (State::Pending, false));
    assert_eq!(summary.completed_at, "");
    assert_eq!(summary.age_seconds, Some(3600));
    assert_eq!(summary.progress, Some(Progress { percent: 40.0, seconds_left: Some(5400) }));

    let both = Summary::of(&response(&[("-80", one.clone()), ("80-", one)]), now());
    assert_eq!((both.state, both.age_seconds), (State::Completed, Some(1800)));
    assert_eq!((both.completed_at.as_str(), both.progress), ("2026-11-22 01:30:00", None));
}

#[test]
fn what_stock_calls_oddly_is_called_by_its_name() {
    let created = output(&[("pending", "", "", 0, 0, false, "", "")]);
    assert_eq!(Summary::of(&response(&[("0", created)]), now()).state, State::Pending);
    assert_eq!(Summary::of(&VDiffShowResponse::default(), now()).state, State::Unknown);
    let failed = output(&[("error", "t", "error", 0, 0, false, "", "")]);
    let done = output(&[("completed", "t", "completed", 0, 0, false, "", "2026-11-22 01:30:00")]);
    for shards in [[("-80", failed.clone()), ("80-", done.clone())], [("-80", done), ("80-", failed)]] {
        let summary = Summary::of(&response(&shards), now());
        assert_eq!((summary.state, summary.tables["t"].state), (State::Error, State::Error));
        assert_eq!(summary.errors.values().collect::<Vec<_>>(), ["it broke"]);
    }
    let empty = Summary::of(&response(&[("0", QueryResult::default())]), now());
    assert_eq!((empty.state, empty.shards["0"]), (State::Unknown, State::Unknown));
}

#[test]
fn extra_rows_are_a_mismatch_only_when_the_table_is_done() {
    let extra = r#"{"ExtraRowsTarget":1}"#;
    let of = |state: &str| {
        let output = output(&[("started", "t", state, 1, 1, false, extra, "")]);
        Summary::of(&response(&[("0", output)]), now()).has_mismatch
    };
    assert!(!of("started"));
    assert!(of("completed"));
    let differing = output(&[("started", "t", "started", 1, 1, false, r#"{"MismatchedRows":1}"#, "")]);
    assert!(Summary::of(&response(&[("0", differing)]), now()).has_mismatch);
}

const STATES: [&str; 6] = ["pending", "started", "stopped", "completed", "error", "odd"];

proptest! {
    #[test]
    fn the_order_of_shards_changes_nothing_and_progress_is_a_percentage(
        shards in prop::collection::vec((0usize..6, prop::collection::vec((0usize..6, 0i64..1_000, 0i64..2_000, any::<bool>()), 0..4)), 1..5)
    ) {
        let names = ["-40", "40-80", "80-c0", "c0-", "x"];
        let tables = ["a", "b", "c", "d"];
        let mut answers: Vec<(&str, QueryResult)> = Vec::new();
        for ((state, rows), name) in shards.iter().zip(names) {
            let rows: Vec<Given<'_>> = rows.iter().zip(tables)
                .map(|((table_state, rows, compared, mismatch), table)| {
                    (STATES[*state], table, STATES[*table_state], *rows, *compared, *mismatch, "", "")
                })
                .collect();
            answers.push((name, output(&rows)));
        }
        let forward = Summary::of(&response(&answers), now());
        answers.reverse();
        let backward = Summary::of(&response(&answers), now());
        prop_assert_eq!(&forward, &backward);
        if let Some(progress) = forward.progress {
            prop_assert!((0.0..100.0).contains(&progress.percent), "{}", progress.percent);
            prop_assert!(progress.seconds_left.is_none_or(|left| left >= 0));
            prop_assert_eq!(forward.state, State::Started);
        }
        let all_done = shards.iter().all(|(state, rows)| STATES[*state] == "completed" && !rows.is_empty());
        if forward.state == State::Completed {
            prop_assert!(all_done);
        }
    }

    #[test]
    fn any_bytes_can_be_folded(rows in prop::collection::vec(prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..12), 0..4)) {
        let rows = rows.iter().map(|row| sql_rows::row(row.iter().map(Option::as_deref))).collect();
        let summary = Summary::of(&response(&[("0", vdiff_summary::output(rows))]), now());
        prop_assert_eq!(summary.shards.len(), 1);
    }
}
