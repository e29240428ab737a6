use std::collections::BTreeMap;

use serde_json::{Value, json};
use vtmigrated_proto::query::Field;

use super::*;
use crate::workflow::vdiff_summary;

const UUID: &str = "5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d10";
const ERROR: &str = "failed to reconcile extra rows: node doesn't exist: /vitess/global/keyspaces/commerce/VSchema";
const OPTIONS: &str =
    r#"{"core_options":{"auto_retry":true,"max_extra_rows_to_compare":1000},"report_options":{"max_sample_rows":10}}"#;

fn fields(names: &[&str]) -> Vec<Field> {
    names.iter().map(|name| Field { name: (*name).to_owned(), ..Field::default() }).collect()
}

/// The answer to [`query`] for a log, oldest line first, as MySQL groups it.
fn log(options: &str, tables: &[&str], lines: &[&str]) -> QueryResult {
    let mut grouped: BTreeMap<(String, usize), (i64, usize)> = BTreeMap::new();
    for (id, line) in lines.iter().enumerate() {
        let own = if line.starts_with("State changed to: stopped") { id + 1 } else { 0 };
        let group = grouped.entry(((*line).to_owned(), own)).or_default();
        *group = (group.0 + 1, id + 1);
    }
    let mut rows = Vec::new();
    for ((message, _), (count, last)) in &grouped {
        let at = 1_795_309_200 + last;
        let values = [UUID, options, message, &count.to_string(), &last.to_string(), &format!("{at}.000000")];
        rows.push(sql_rows::row(values.iter().map(|v| Some(v.as_bytes()))));
    }
    for table in tables {
        let values = [UUID, "", &format!("table {table}"), "0", "0", "0"];
        rows.push(sql_rows::row(values.iter().map(|v| Some(v.as_bytes()))));
    }
    QueryResult { rows, ..QueryResult::default() }
}

fn facts(options: &str, lines: &[&str]) -> Facts {
    parse(&log(options, &["t", "u"], lines)).remove(UUID).unwrap()
}

fn failed(table: &str) -> [String; 2] {
    [format!("Table {table} Error: {ERROR}"), format!("Error: {ERROR}")]
}

/// A shard's answer: its state and error; tables with state and report.
fn answer(state: &str, error: &str, tables: &[(&str, &str, Value)]) -> QueryResult {
    let row = |(table, table_state, report): &(&str, &str, Value)| {
        let compared = report["ProcessedRows"].as_i64().unwrap_or_default().to_string();
        let report = if report.is_null() { String::new() } else { report.to_string() };
        let values = [
            Some(state),
            Some(error),
            Some(*table),
            Some(UUID),
            Some(*table_state),
            Some("9"),
            Some("2026-11-22 01:00:00"),
            Some(compared.as_str()),
            None,
            Some("0"),
            Some(report.as_str()).filter(|r| !r.is_empty()),
        ];
        sql_rows::row(values.iter().map(|v| v.map(str::as_bytes)))
    };
    vdiff_summary::output(tables.iter().map(row).collect())
}

fn extra(processed: i64, matching: i64, target: i64, samples: &[i64]) -> Value {
    let samples: Vec<Value> = samples.iter().map(|id| json!({"Row": {"id": id.to_string()}})).collect();
    json!({"TableName": "t", "ProcessedRows": processed, "MatchingRows": matching, "MismatchedRows": 0,
           "ExtraRowsSource": 0, "ExtraRowsTarget": target, "ExtraRowsTargetSample": samples})
}

fn settled(output: &QueryResult, facts: &Facts) -> (Vec<ShardRow>, Outcome) {
    let mut output = output.clone();
    let outcome = summary(&mut output, facts, &Reference::default());
    (rows(&output), outcome)
}

#[test]
fn a_shard_whose_tables_were_all_compared_is_completed_and_stopped() {
    let [table, whole] = failed("t");
    let facts =
        facts(OPTIONS, &["completed: table 'u'", "completed: table 'u'", &table, "State changed to: error", &whole]);
    let output = answer("error", ERROR, &[("t", "error", extra(4, 3, 1, &[9])), ("u", "completed", json!({}))]);
    let (found, outcome) = settled(&output, &facts);
    assert_eq!(outcome, Outcome { ended: true, stop: true });
    for row in &found {
        assert_eq!((row.vdiff_state.as_str(), row.table_state.as_str()), ("completed", "completed"));
        assert_eq!((row.last_error.as_str(), row.completed_at.as_str()), ("", "2026-11-22 01:00:03"));
    }
    assert_eq!((found[0].has_mismatch, found[1].has_mismatch), (true, false));
    assert_eq!(TableReport::parse(&found[0].report).extra_rows_target, 1);

    // stopping clears the error and sets all tables to stopped
    let stopped = answer("stopped", "", &[("t", "stopped", extra(4, 3, 1, &[9])), ("u", "stopped", json!({}))]);
    let mut lines = vec!["completed: table 'u'", &table, "State changed to: error", &whole];
    lines.push("State changed to: stopped (by user request)");
    let (again, outcome) = settled(&stopped, &super::tests::facts(OPTIONS, &lines));
    assert_eq!(outcome, Outcome { ended: true, stop: false });
    assert_eq!((again[0].vdiff_state.as_str(), again[0].has_mismatch), ("completed", true));
    assert_eq!(again[0].report, found[0].report);
}

#[test]
fn while_tables_are_left_the_shard_goes_on_and_what_is_known_stays_known() {
    let [table, whole] = failed("t");
    let facts = facts(OPTIONS, &[&table, "State changed to: error", &whole]);
    let failing = answer("error", ERROR, &[("t", "error", extra(4, 3, 1, &[9])), ("u", "pending", Value::Null)]);
    let (found, outcome) = settled(&failing, &facts);
    assert_eq!(outcome, Outcome::default());
    assert_eq!((found[0].vdiff_state.as_str(), found[0].last_error.as_str()), ("started", ""));
    assert_eq!((found[0].table_state.as_str(), found[0].has_mismatch), ("completed", true));
    assert_eq!((found[1].table_state.as_str(), found[1].has_mismatch), ("pending", false));
    // in the next try all tables are pending again
    let retried = answer("started", "", &[("t", "pending", extra(4, 3, 1, &[9])), ("u", "started", Value::Null)]);
    let (found, outcome) = settled(&retried, &facts);
    assert_eq!((outcome, found[0].vdiff_state.as_str()), (Outcome::default(), "started"));
    assert_eq!((found[0].table_state.as_str(), found[1].table_state.as_str()), ("completed", "started"));
    // a stop by the user before the end is one
    let stopped = answer("stopped", "", &[("t", "stopped", extra(4, 3, 1, &[9])), ("u", "stopped", Value::Null)]);
    let lines = [table.as_str(), &whole, "State changed to: stopped (by user request)"];
    let (found, outcome) = settled(&stopped, &super::tests::facts(OPTIONS, &lines));
    assert_eq!((outcome, found[0].vdiff_state.as_str()), (Outcome::default(), "stopped"));
    assert!(found[0].has_mismatch);
}

#[test]
fn without_retries_the_tables_left_are_named() {
    let [table, whole] = failed("t");
    let options = OPTIONS.replace("true", "false");
    let facts = facts(&options, &[&table, &whole]);
    let failing = answer("error", ERROR, &[("t", "error", extra(4, 3, 1, &[9])), ("u", "pending", Value::Null)]);
    let (found, outcome) = settled(&failing, &facts);
    assert!(outcome.stop);
    assert_eq!((found[1].table_state.as_str(), found[0].last_error.as_str()), ("completed", "not compared: u"));
    // and so it is after many tries
    let mut lines = Vec::new();
    for _ in 0..12 {
        lines.extend([table.as_str(), whole.as_str()]);
    }
    assert!(settled(&failing, &super::tests::facts(OPTIONS, &lines)).1.stop);
    assert!(!settled(&failing, &super::tests::facts(OPTIONS, &lines[2..])).1.stop);
}

#[test]
fn a_resumed_diff_is_judged_by_what_came_after_the_stop() {
    let [table, whole] = failed("t");
    let lines = ["completed: table 'u'", table.as_str(), &whole, "State changed to: stopped (by user request)"];
    let output = answer("started", "", &[("t", "started", extra(4, 3, 1, &[9])), ("u", "pending", json!({}))]);
    let (found, outcome) = settled(&output, &facts(OPTIONS, &lines));
    assert_eq!(outcome, Outcome::default());
    assert_eq!(found, rows(&output));
    let lines = [&lines[..], &["State changed to: started", &table, &whole]].concat();
    let (found, outcome) = settled(&output, &facts(OPTIONS, &lines));
    assert_eq!((outcome.ended, found[0].table_state.as_str()), (false, "completed"));
    // another error of a later run is told as it is
    let lines = [&lines[..], &["Table u Error: gone", "Error: gone"]].concat();
    let broken = answer("error", "gone", &[("t", "completed", extra(4, 3, 1, &[9])), ("u", "error", json!({}))]);
    let (found, outcome) = settled(&broken, &facts(OPTIONS, &lines));
    assert_eq!((outcome, found[0].vdiff_state.as_str()), (Outcome::default(), "error"));
    assert_eq!((found[0].last_error.as_str(), found[1].table_state.as_str()), ("gone", "error"));
}

/// Tries, rows counted, samples; the count that the first try made.
fn count(tries: usize, processed: i64, target: i64, samples: &[i64]) -> (i64, i64, usize, String) {
    let [table, whole] = failed("t");
    let mut lines = vec!["completed: table 'u'"];
    for _ in 0..tries {
        lines.extend([table.as_str(), whole.as_str()]);
    }
    let output =
        answer("error", ERROR, &[("t", "error", extra(processed, 100, target, samples)), ("u", "", json!({}))]);
    let (found, _) = settled(&output, &facts(OPTIONS, &lines));
    let report = TableReport::parse(&found[0].report);
    let samples = report.extra_rows_target_sample.len();
    (report.extra_rows_target, found[0].rows_compared, samples, found[0].last_error.clone())
}

#[test]
fn rows_counted_again_by_retries_are_counted_once() {
    let clean = String::new;
    // one try; rows in between only; a tail of one; a tail of five after two in between
    assert_eq!(count(1, 103, 3, &[1, 9]), (3, 103, 2, clean()));
    assert_eq!(count(4, 102, 2, &[1, 2]), (2, 102, 2, clean()));
    assert_eq!(count(4, 104, 4, &[9, 9, 9, 9]), (1, 101, 1, clean()));
    assert_eq!(count(3, 117, 17, &[1, 2, 9, 9, 9]), (7, 107, 3, clean()));
    // tablets from 24.0.3 on sample every row of the tail
    assert_eq!(count(3, 111, 11, &[1, 2, 7, 8, 9, 7, 8, 9, 7, 8, 9]), (5, 105, 5, clean()));
    assert_eq!(count(2, 111, 11, &[1, 2, 7, 8, 9, 7, 8, 9, 7, 8, 9]), (5, 105, 5, clean()));
    assert_eq!(count(2, 104, 4, &[1, 2, 3, 4]), (4, 104, 4, clean()));
    assert_eq!(count(3, 130, 30, &[1, 2, 7, 8, 9, 7, 8, 9, 7, 8, 9]).0, 30, "more than are sampled: no telling");
    // a try that has stored and not logged yet
    assert_eq!(count(3, 104, 4, &[9, 9, 9, 9]), (1, 101, 1, clean()));
    // rows that came in the meantime: no telling
    let (target, _, _, remark) = count(3, 118, 18, &[1, 2, 9, 9, 9]);
    assert_eq!(target, 18);
    assert_eq!(remark, "the number of extra rows of t is too large: they were counted 3 times");
}

#[test]
fn equal_extra_rows_are_pairs_and_reference_tables_may_come_several_times() {
    let [table, whole] = failed("t");
    let facts = facts(OPTIONS, &["completed: table 'u'", &table, &whole]);
    let row = |id: &str| json!({"Row": {"id": id}});
    let both = json!({"TableName": "t", "ProcessedRows": 5, "MatchingRows": 3, "ExtraRowsSource": 1, "ExtraRowsTarget": 1,
                      "ExtraRowsSourceSample": [row("a")], "ExtraRowsTargetSample": [row("a")]});
    let output = answer("error", ERROR, &[("t", "error", both.clone()), ("u", "", json!({}))]);
    let (found, outcome) = settled(&output, &facts);
    let report = TableReport::parse(&found[0].report);
    assert_eq!((outcome.ended, found[0].has_mismatch, report.matching_rows, report.differing()), (true, false, 4, 0));

    let mut several = both;
    several["ExtraRowsSource"] = json!(6);
    several["ExtraRowsTarget"] = json!(0);
    let mut output = answer("error", ERROR, &[("t", "error", several), ("u", "", json!({}))]);
    let reference = Reference { source: ["t".to_owned()].into(), ..Reference::default() };
    let mut plain = output.clone();
    summary(&mut output, &facts, &reference);
    assert!(!rows(&output)[0].has_mismatch);
    summary(&mut plain, &facts, &Reference::default());
    assert!(rows(&plain)[0].has_mismatch);
}

/// A report as 24.0.4 stores it (`LosslessValues` stands only where it is true), and the same of 22.0.4.
#[test]
fn samples_that_are_not_whole_rows_prove_no_pair() {
    let [table, whole] = failed("t");
    let lines = ["completed: table 'u'", table.as_str(), &whole];
    let report = |rest: &str| {
        let sample = |value: &str| format!(r#"[{{"Row":{{"id":"0x0a","note":"{value}"}}{rest}}}]"#);
        let of = |value: &str| {
            let text = format!(
                r#"{{"TableName":"t","ProcessedRows":5,"MatchingRows":3,"MismatchedRows":0,"ExtraRowsSource":1,"ExtraRowsTarget":1,
                    "ExtraRowsSourceSample":{},"ExtraRowsTargetSample":{}}}"#,
                sample(value),
                sample(value)
            );
            serde_json::from_str::<Value>(&text).unwrap()
        };
        [of("short"), of("long...[TRUNCATED]")]
    };
    let differing = |report: &Value, settings: &str| {
        let options = OPTIONS.replace(r#""max_sample_rows":10"#, &format!(r#""max_sample_rows":10{settings}"#));
        let output = answer("error", ERROR, &[("t", "error", report.clone()), ("u", "", json!({}))]);
        let (found, outcome) = settled(&output, &facts(&options, &lines));
        let told = TableReport::parse(&found[0].report);
        assert_eq!((outcome.ended, found[0].has_mismatch), (true, told.differing() > 0));
        told.differing()
    };
    let (cutting, keys) = (r#","row_diff_column_truncate_at":4"#, r#","only_pks":true"#);
    let [of_22, of_24] = [report(""), report(r#","LosslessValues":true"#)];
    for settings in ["", cutting, keys] {
        assert_eq!(of_24.each_ref().map(|report| differing(report, settings)), [0, 0], "{settings}");
    }
    assert_eq!(of_22.each_ref().map(|report| differing(report, "")), [0, 0]);
    assert_eq!(of_22.each_ref().map(|report| differing(report, cutting)), [0, 2]);
    assert_eq!(of_22.each_ref().map(|report| differing(report, keys)), [2, 2]);
    // what is not looked at goes to the client as it came
    let output = answer("error", ERROR, &[("t", "error", of_24[0].clone()), ("u", "", json!({}))]);
    assert!(TableReport::parse(&rows(&output)[0].report).extra_rows_source_sample[0]["LosslessValues"] == json!(true));
}

#[test]
fn a_list_tells_completed_and_what_is_to_be_stopped() {
    let [table, whole] = failed("t");
    let all = parse(&log(OPTIONS, &["t"], &[&table, &whole]));
    let row = |uuid: &str, state: &str| sql_rows::row([uuid, "import", state].map(|v| Some(v.as_bytes())));
    let upper = UUID.to_uppercase();
    let mut output = QueryResult {
        fields: fields(&["vdiff_uuid", "workflow", "state"]),
        rows: vec![row("other", "error"), row(&upper, "error"), row(UUID, "stopped")],
        ..QueryResult::default()
    };
    let stop = list(&mut output, &all);
    assert_eq!(stop, [upper]);
    let states: Vec<_> = sql_rows::texts(&output).into_iter().map(|mut row| row.remove(2).unwrap()).collect();
    assert_eq!(states, ["error", "completed", "completed"]);
}

#[test]
fn a_diff_without_the_error_is_left_as_it_is() {
    assert!(parse(&QueryResult::default()).is_empty());
    let output = answer("error", "deadline exceeded: x", &[("t", "error", extra(4, 3, 1, &[9]))]);
    let (found, outcome) = settled(&output, &facts(OPTIONS, &["Table t Error: deadline exceeded: x"]));
    assert_eq!((outcome, found), (Outcome::default(), rows(&output)));
    assert!(query("k's", "w").contains("d.keyspace = 'k\\'s' and d.workflow = 'w'"));
    assert!(query("k", "w").contains("like 'Error: failed to reconcile extra rows: node doesn_t exist%'"));
}
