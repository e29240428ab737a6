//! The summary of a VDiff that a shard's primary answers: one row for each table.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vtmigrated_proto::query::QueryResult;

use crate::sql::rows as sql_rows;

/// The columns that are read, as tablets name them (Vitess 22.0.3).
pub const COLUMNS: [&str; 11] = [
    "vdiff_state",
    "last_error",
    "table_name",
    "uuid",
    "table_state",
    "table_rows",
    "started_at",
    "rows_compared",
    "completed_at",
    "has_mismatch",
    "report",
];

/// State of a diff, of one shard's part of it, or of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Unknown,
    Completed,
    Stopped,
    Pending,
    Started,
    Error,
}

impl State {
    /// Reads a tablet's text, in any letter case.
    pub fn of(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "completed" => Self::Completed,
            "stopped" => Self::Stopped,
            "pending" => Self::Pending,
            "started" => Self::Started,
            "error" => Self::Error,
            _ => Self::Unknown,
        }
    }

    /// The tablets' text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Pending => "pending",
            Self::Started => "started",
            Self::Error => "error",
        }
    }
}

/// One row of a shard's answer. Texts are empty where the row has NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardRow {
    pub vdiff_state: String,
    pub last_error: String,
    pub table_name: String,
    pub uuid: String,
    pub table_state: String,
    /// Estimate.
    pub table_rows: i64,
    /// UTC, `YYYY-MM-DD hh:mm:ss`.
    pub started_at: String,
    pub rows_compared: i64,
    pub completed_at: String,
    pub has_mismatch: bool,
    /// JSON.
    pub report: String,
}

/// The rows of a shard's answer; columns are found by their names.
pub fn rows(output: &QueryResult) -> Vec<ShardRow> {
    let places = COLUMNS.map(|name| output.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name)));
    let read = |row: Vec<Option<String>>| {
        let text = |place: Option<usize>| place.and_then(|at| row.get(at).cloned().flatten()).unwrap_or_default();
        let number = |place: Option<usize>| text(place).parse::<i64>().unwrap_or_default();
        let [
            vdiff_state,
            last_error,
            table_name,
            uuid,
            table_state,
            table_rows,
            started_at,
            rows_compared,
            completed_at,
            has_mismatch,
            report,
        ] = places;
        ShardRow {
            vdiff_state: text(vdiff_state),
            last_error: text(last_error),
            table_name: text(table_name),
            uuid: text(uuid),
            table_state: text(table_state),
            table_rows: number(table_rows),
            started_at: text(started_at),
            rows_compared: number(rows_compared),
            completed_at: text(completed_at),
            has_mismatch: number(has_mismatch) != 0,
            report: text(report),
        }
    };
    sql_rows::texts(output).into_iter().map(read).collect()
}

/// What a tablet counted, as it stores it (JSON, Vitess 22.0.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TableReport {
    pub table_name: String,
    pub processed_rows: i64,
    pub matching_rows: i64,
    pub mismatched_rows: i64,
    pub extra_rows_source: i64,
    pub extra_rows_target: i64,
    /// Rows with `Row` (column to text) and perhaps `Query`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_rows_source_sample: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_rows_target_sample: Vec<Value>,
    /// Pairs `Source`, `Target` of such rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mismatched_rows_sample: Vec<Value>,
}

impl TableReport {
    /// Reads a report; zeros when there is none yet.
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// Rows that differ or are on one side only.
    pub fn differing(&self) -> i64 {
        self.mismatched_rows.saturating_add(self.extra_rows_source).saturating_add(self.extra_rows_target)
    }
}

/// A shard's answer with these rows, whose values are in the order of [`COLUMNS`].
#[cfg(test)]
pub fn output(rows: Vec<vtmigrated_proto::query::Row>) -> QueryResult {
    let field = |name: &str| vtmigrated_proto::query::Field { name: name.into(), ..Default::default() };
    QueryResult { fields: COLUMNS.map(field).to_vec(), rows, ..QueryResult::default() }
}
