//! The report of one table on one shard.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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

    /// True when the sides differ.
    pub fn differs(&self) -> bool {
        self.mismatched_rows > 0 || self.extra_rows_source > 0 || self.extra_rows_target > 0
    }
}
