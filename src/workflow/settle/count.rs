//! The first count of extra rows, and what the tablet would have made of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Facts;
use crate::workflow::vdiff_summary::TableReport;

/// Tables that are reference tables on a side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    pub source: BTreeSet<String>,
    pub target: BTreeSet<String>,
}

/// Turns what `tries` runs stored into what the first one counted, reconciled; answers false when the first count cannot
/// be told.
pub fn settle(report: &mut TableReport, tries: i64, facts: &Facts, reference: &Reference) -> bool {
    let max = facts.max_extra_rows_to_compare;
    let mut again = 0;
    let mut exact = true;
    for (number, samples) in [
        (&mut report.extra_rows_source, &mut report.extra_rows_source_sample),
        (&mut report.extra_rows_target, &mut report.extra_rows_target_sample),
    ] {
        match first(*number, samples, tries, max) {
            Some(count) => {
                again += *number - count;
                *number = count;
            }
            None => exact = false,
        }
    }
    report.processed_rows -= again;
    forgive(report, reference);
    pair(report, facts);
    if let Ok(most @ 1..) = usize::try_from(facts.max_sample_rows) {
        report.extra_rows_source_sample.truncate(most);
        report.extra_rows_target_sample.truncate(most);
    }
    exact
}

/// The number of extra rows that the first of several runs counted on a side; the samples lose what later runs added.
///
/// Rows between common keys are counted once and sampled while they are fewer than `max`; the rows after the last common
/// key are counted by every run. Tablets before 24.0.3 sample the first of these each time: the samples end with that row,
/// once for each run, their number gives the rows in between, and the rest divides by the number of runs. Later tablets
/// sample all of them while the count is below `max`: the samples end with the same rows, once for each run.
fn first(number: i64, samples: &mut Vec<Value>, tries: i64, max: i64) -> Option<i64> {
    let row = |sample: &Value| sample.get("Row").cloned();
    let is_whole = i64::try_from(samples.len()) == Ok(number);
    if is_whole {
        let rows: Vec<Option<Value>> = samples.iter().map(row).collect();
        samples.truncate(first_run(&rows, tries));
        return i64::try_from(samples.len()).ok();
    }
    let last = samples.last().and_then(row);
    let same = samples.iter().rev().take_while(|sample| last.is_some() && row(sample) == last).count();
    let runs = i64::try_from(same).unwrap_or(i64::MAX);
    if runs <= 1 {
        // later runs counted rows that nobody sampled
        return (tries <= 1).then_some(number);
    }
    // a run that is under way has stored its count before it logs
    if runs != tries && runs != tries + 1 {
        return None;
    }
    let between = i64::try_from(samples.len()).unwrap_or(i64::MAX) - runs;
    let after = number - between;
    if between >= max || after < runs || after % runs != 0 {
        return None;
    }
    samples.truncate(samples.len() - (same - 1));
    Some(between + after / runs)
}

/// How many of the samples, which leave no row out, are of the first run: rows of one run are all different.
fn first_run(rows: &[Option<Value>], tries: i64) -> usize {
    for runs in [tries + 1, tries] {
        let Some(runs) = usize::try_from(runs).ok().filter(|runs| *runs > 1) else { continue };
        let is_repeated = |length: &usize| {
            let tail = rows.get(rows.len() - length * runs..).unwrap_or_default();
            tail.chunks(*length).all(|run| tail.get(..*length) == Some(run))
        };
        if let Some(length) = (1..=rows.len() / runs).find(is_repeated) {
            return rows.len() - length * (runs - 1);
        }
    }
    rows.len()
}

/// A reference table without differences whose extra rows are a multiple of its rows is equal: it came from several shards.
fn forgive(report: &mut TableReport, reference: &Reference) {
    if report.mismatched_rows > 0 || report.matching_rows <= 0 {
        return;
    }
    let matching = report.matching_rows;
    if reference.source.contains(&report.table_name) && report.extra_rows_source % matching == 0 {
        report.extra_rows_source = 0;
        report.extra_rows_source_sample.clear();
    }
    if reference.target.contains(&report.table_name) && report.extra_rows_target % matching == 0 {
        report.extra_rows_target = 0;
        report.extra_rows_target_sample.clear();
    }
}

/// Equal rows among the samples of both sides are one row that the order of keys kept apart, where the samples are whole rows.
fn pair(report: &mut TableReport, facts: &Facts) {
    if report.extra_rows_source == 0 || report.extra_rows_target == 0 {
        return;
    }
    let mut left = Vec::new();
    for sample in std::mem::take(&mut report.extra_rows_source_sample) {
        let target = &mut report.extra_rows_target_sample;
        let is_twin = |other: &Value| other.get("Row") == sample.get("Row") && facts.is_whole(other);
        let twin = if facts.is_whole(&sample) { target.iter().position(is_twin) } else { None };
        match twin {
            Some(at) => {
                target.remove(at);
                report.extra_rows_source -= 1;
                report.extra_rows_target -= 1;
                report.matching_rows += 1;
            }
            None => left.push(sample),
        }
    }
    report.extra_rows_source_sample = left;
}
