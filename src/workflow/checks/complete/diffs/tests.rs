use vtmigrated_proto::query::{Field, Row};

use super::*;

const NOW: i64 = 1_800_000_000;

fn table(name: &str, state: &str, rows: i64, compared: i64) -> DiffTable {
    DiffTable { name: name.into(), state: state.into(), rows, compared, ..DiffTable::default() }
}

fn diff(state: &str) -> Diff {
    Diff {
        uuid: "u".into(),
        state: state.into(),
        tables: vec![table("t", state, 100, 100)],
        started: Some(NOW - 100),
        completed: (state == "completed").then_some(NOW - 10),
        ..Diff::default()
    }
}

fn ids(diffs: &[Result<Option<Diff>, String>]) -> Vec<&'static str> {
    let diffs: Diffs = ["-80", "80-"].iter().zip(diffs).map(|(s, d)| ((*s).to_owned(), d.clone())).collect();
    judge("import", "customer", &diffs, &["t".to_owned()], NOW).into_iter().map(|f| f.id.as_str()).collect()
}

#[test]
fn an_equal_diff_of_all_shards_is_no_finding() {
    assert!(ids(&[Ok(Some(diff("completed"))), Ok(Some(diff("completed")))]).is_empty());
}

#[test]
fn both_sides_are_equal_where_all_shards_have_compared_all_tables_and_found_nothing() {
    let since = |other: Result<Option<Diff>, String>| {
        let first = Diff { started: Some(NOW - 50), ..diff("completed") };
        equal_since(&vec![("-80".into(), Ok(Some(first))), ("80-".into(), other)], &["t".into()])
    };
    let completed = || diff("completed");
    assert_eq!(since(Ok(Some(completed()))), Some(NOW - 100), "the first of them");
    let differs = DiffTable { mismatch: true, ..table("t", "completed", 100, 100) };
    let before = Mismatch { uuid: "v".into(), table: "t".into() };
    let uncompared = DiffTable { state: "started".into(), ..differs.clone() };
    for not_equal in [
        Diff { tables: vec![differs], ..completed() },
        Diff { tables: vec![uncompared], earlier: vec![before], ..completed() },
        Diff { tables: vec![table("t", "stopped", 100, 50)], ..completed() },
        Diff { tables: vec![table("u", "completed", 100, 100)], ..completed() },
        Diff { started: None, ..completed() },
        diff("stopped"),
        diff("started"),
    ] {
        assert_eq!(since(Ok(Some(not_equal.clone()))), None, "{not_equal:?}");
    }
    assert_eq!((since(Ok(None)), since(Err("down".into()))), (None, None));
    assert_eq!(equal_since(&Vec::new(), &["t".into()]), None);
}

#[test]
fn none_one_shard_and_silence_are_told_apart() {
    assert_eq!(ids(&[Ok(None), Ok(None)]), ["VDIFF_NONE"]);
    assert_eq!(ids(&[Ok(Some(diff("completed"))), Ok(None)]), ["VDIFF_UNFINISHED"]);
    assert_eq!(ids(&[Err("down".into()), Ok(Some(diff("completed")))]), ["VDIFF_UNKNOWN"]);
    for state in ["started", "stopped", "error", "pending"] {
        assert_eq!(ids(&[Ok(Some(diff("completed"))), Ok(Some(diff(state)))]), ["VDIFF_UNFINISHED"], "{state}");
    }
}

#[test]
fn rows_that_differ_block() {
    let mut flagged = diff("started");
    flagged.tables[0].mismatch = true;
    let mut counted = diff("stopped");
    counted.tables[0] = DiffTable { differing: 1, ..table("t", "completed", 100, 100) };
    let mut in_the_middle = diff("stopped");
    in_the_middle.tables[0].differing = 1;
    let mut under_way = diff("started");
    under_way.tables[0].differing = 1;
    assert_eq!(ids(&[Ok(Some(flagged)), Ok(Some(diff("completed")))]), ["VDIFF_MISMATCH"]);
    assert_eq!(ids(&[Ok(Some(counted)), Ok(Some(diff("completed")))]), ["VDIFF_MISMATCH"]);
    for of_a_table_in_work in [under_way, in_the_middle] {
        assert_eq!(ids(&[Ok(Some(of_a_table_in_work)), Ok(Some(diff("completed")))]), ["VDIFF_UNFINISHED"]);
    }
}

#[test]
fn what_an_earlier_diff_found_holds_until_a_later_one_has_compared_the_table() {
    let before = |table: &str| Mismatch { uuid: "before".into(), table: table.into() };
    let mut of_another = diff("completed");
    of_another.tables[0].name = "u".into();
    of_another.earlier = vec![before("t")];
    assert_eq!(ids(&[Ok(Some(of_another.clone())), Ok(None)]), ["VDIFF_MISMATCH", "VDIFF_UNFINISHED"]);
    let mut of_a_table_that_it_does_not_move = of_another;
    of_a_table_that_it_does_not_move.tables[0].name = "t".into();
    of_a_table_that_it_does_not_move.earlier = vec![before("other")];
    assert_eq!(ids(&[Ok(Some(of_a_table_that_it_does_not_move)), Ok(None)]), ["VDIFF_UNFINISHED"]);
    let mut of_the_same = diff("completed");
    of_the_same.earlier = vec![before("t")];
    assert!(ids(&[Ok(Some(of_the_same.clone())), Ok(Some(of_the_same))]).is_empty());
}

#[test]
fn old_and_partial_diffs_warn() {
    let old = Diff { completed: Some(NOW - 3 * OLD), ..diff("completed") };
    assert_eq!(ids(&[Ok(Some(old.clone())), Ok(Some(old))]), ["VDIFF_OLD"]);
    let other = Diff { tables: vec![table("u", "completed", 1, 1)], ..diff("completed") };
    assert_eq!(ids(&[Ok(Some(other.clone())), Ok(Some(other))]), ["VDIFF_PARTIAL"]);
}

#[test]
fn progress_never_passes_the_total() {
    let mut running = diff("started");
    running.tables =
        vec![table("a", "completed", 100, 150), table("b", "started", 100, 50), table("c", "pending", 0, 9)];
    assert_eq!(running.progress(), (150, 200));
    assert_eq!(running.progress_text(NOW).unwrap(), "VDiff 75% of rows compared (estimate), about 33s left");
    running.tables[1].compared = 500;
    assert_eq!(running.progress_text(NOW).unwrap(), "VDiff 99% of rows compared (estimate), about 0s left");
    assert_eq!(diff("completed").progress_text(NOW), None);
}

#[test]
fn summaries_are_read_by_column_name() {
    let names =
        ["table_name", "vdiff_state", "uuid", "table_rows", "rows_compared", "has_mismatch", "report", "completed_at"];
    let cells =
        ["t", "completed", "u", "7", "7", "1", r#"{"MismatchedRows":2,"ExtraRowsTarget":1}"#, "2026-11-23 10:00:00"];
    let field = |name: &str| Field { name: name.into(), ..Field::default() };
    let row = Row {
        lengths: cells.iter().map(|c| i64::try_from(c.len()).unwrap()).collect(),
        values: cells.concat().into_bytes(),
    };
    let output = QueryResult { fields: names.map(field).to_vec(), rows: vec![row], ..QueryResult::default() };
    let diff = decode(&output).unwrap();
    assert_eq!((diff.uuid.as_str(), diff.completed), ("u", Some(1_795_428_000)));
    assert_eq!(diff.tables, [DiffTable { mismatch: true, differing: 3, ..table("t", "", 7, 7) }]);
    assert_eq!(decode(&QueryResult::default()), None);
}
