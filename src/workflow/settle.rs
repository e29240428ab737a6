//! Rows on one side only, from a mounted source: the answer that the tablets cannot finish (S17).
//!
//! A primary that has counted extra rows in a table, but no different ones, looks for the VSchema of the source keyspace in
//! its own topology. For a mounted source it is not there: the run ends in an error, and 30 s later all tables are tried
//! again from the last key that both sides had, in another order, for ever. What it counted is stored. So:
//!
//! * A table whose comparison ended in that error has been compared: its difference is an answer.
//! * The shard may go on trying until every table has been compared once, for the others come in a random order; then, or
//!   when nothing more is to be expected, it is stopped and shown as completed.
//! * Rows after the last common key were counted again by each try; the first count is worked out from the samples.
//! * What the tablet would have done next is done here: reference tables that only came several times are equal, and equal
//!   rows among the extra ones of both sides are pairs.
//!
//! All of this is derived from the shard's own log (`_vt.vdiff_log`), which stopping does not clear, so that any number of
//! calls on any number of servers come to the same answer.

mod count;
mod facts;

use vtmigrated_proto::query::{QueryResult, Row};

use crate::sql::rows as sql_rows;
use crate::workflow::vdiff_summary::{ShardRow, State, TableReport, rows};

pub use count::Reference;
pub use facts::{Facts, MAX_LINES, parse, query};

/// Beginning of the error.
pub(super) const FAILURE: &str = "failed to reconcile extra rows: node doesn't exist";

/// What a shard's answer became.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The shard's part is over, and shown as completed.
    pub ended: bool,
    /// It is over and its tablet does not know: it is to be stopped.
    pub stop: bool,
}

/// Rewrites the rows of one diff on one shard, when its log has the error.
pub fn summary(output: &mut QueryResult, facts: &Facts, reference: &Reference) -> Outcome {
    let read = rows(output);
    let Some(first) = read.first() else { return Outcome::default() };
    let state = State::of(&first.vdiff_state);
    let tables: Vec<&str> = read.iter().map(|row| row.table_name.as_str()).filter(|name| !name.is_empty()).collect();
    let judged = facts.judge(state, &tables);
    if state == State::Completed || judged.failed.is_empty() {
        return Outcome::default();
    }
    let ended = judged.ended();
    let mut remarks = Vec::new();
    if ended && !judged.left.is_empty() {
        remarks.push(format!("not compared: {}", judged.left.join(", ")));
    }
    let new: Vec<ShardRow> = read
        .iter()
        .map(|row| {
            let mut row = row.clone();
            if let Some(tries) = judged.failed.get(&row.table_name) {
                let mut report = TableReport::parse(&row.report);
                let exact = count::settle(&mut report, *tries, facts, reference);
                if !exact {
                    remarks.push(format!(
                        "the number of extra rows of {} is too large: they were counted {tries} times",
                        row.table_name
                    ));
                }
                row.has_mismatch |= report.differing() > 0;
                row.rows_compared = report.processed_rows;
                row.report = serde_json::to_string(&report).unwrap_or(row.report);
            }
            let compared = judged.compared.contains(&row.table_name);
            if ended || (compared && state != State::Stopped) {
                State::Completed.as_str().clone_into(&mut row.table_state);
            }
            row
        })
        .collect();
    let failed_now = state == State::Error && first.last_error.starts_with(FAILURE);
    for (row, mut new) in output.rows.iter_mut().zip(new) {
        if ended {
            State::Completed.as_str().clone_into(&mut new.vdiff_state);
            new.last_error = remarks.join("; ");
            if new.completed_at.is_empty() {
                new.completed_at = judged.at.clone();
            }
        } else if failed_now {
            State::Started.as_str().clone_into(&mut new.vdiff_state);
            new.last_error.clear();
        }
        *row = rewritten(&output.fields, row, &new);
    }
    Outcome { ended, stop: ended && state != State::Stopped }
}

/// Rewrites the states of a shard's list of all diffs; answers the UUIDs, as stored, that are to be stopped.
pub fn list(output: &mut QueryResult, all: &std::collections::BTreeMap<String, Facts>) -> Vec<String> {
    let place = |name: &str| output.fields.iter().position(|field| field.name == name);
    let (Some(uuid_at), Some(state_at)) = (place("vdiff_uuid"), place("state")) else { return Vec::new() };
    let mut stop = Vec::new();
    for row in &mut output.rows {
        let mut values: Vec<Option<Vec<u8>>> =
            sql_rows::values(row).into_iter().map(|v| v.map(<[u8]>::to_vec)).collect();
        let text = |at: usize| {
            let value = values.get(at).cloned().flatten().unwrap_or_default();
            String::from_utf8_lossy(&value).into_owned()
        };
        let (uuid, state) = (text(uuid_at), State::of(&text(state_at)));
        let Some(facts) = all.get(&uuid.to_lowercase()) else { continue };
        let tables: Vec<&str> = facts.tables.iter().map(String::as_str).collect();
        let judged = facts.judge(state, &tables);
        if state == State::Completed || judged.failed.is_empty() || !judged.ended() {
            continue;
        }
        if state != State::Stopped {
            stop.push(uuid);
        }
        if let Some(value) = values.get_mut(state_at) {
            *value = Some(State::Completed.as_str().as_bytes().to_vec());
        }
        *row = sql_rows::row(values.iter().map(Option::as_deref));
    }
    stop
}

/// The row with the columns that this module changes.
fn rewritten(fields: &[vtmigrated_proto::query::Field], row: &Row, new: &ShardRow) -> Row {
    let numbers = (new.rows_compared.to_string(), i32::from(new.has_mismatch).to_string());
    let old = sql_rows::values(row);
    let value = |(at, old): (usize, &Option<&[u8]>)| -> Option<Vec<u8>> {
        let text = match fields.get(at).map(|field| field.name.as_str()) {
            Some("vdiff_state") => Some(&new.vdiff_state),
            Some("last_error") => Some(&new.last_error),
            Some("table_state") => Some(&new.table_state),
            Some("rows_compared") => Some(&numbers.0),
            Some("completed_at") => Some(&new.completed_at),
            Some("has_mismatch") => Some(&numbers.1),
            Some("report") => Some(&new.report),
            _ => None,
        };
        match text {
            // what was NULL and is empty stays NULL
            Some(text) if !text.is_empty() || old.is_some() => Some(text.clone().into_bytes()),
            _ => old.map(<[u8]>::to_vec),
        }
    };
    let values: Vec<Option<Vec<u8>>> = old.iter().enumerate().map(value).collect();
    sql_rows::row(values.iter().map(Option::as_deref))
}

#[cfg(test)]
mod tests;
