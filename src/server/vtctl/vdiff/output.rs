//! A diff's summary as stock writes it as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use vtmigrated_proto::vtctldata::VDiffShowResponse;

use crate::vdiff::report::{self, Summary, TableSummary, eta};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Json<'a> {
    workflow: &'a str,
    keyspace: &'a str,
    state: &'a str,
    #[serde(rename = "UUID")]
    uuid: &'a str,
    rows_compared: i64,
    has_mismatch: bool,
    shards: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    started_at: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    completed_at: &'a str,
    #[serde(rename = "TableSummary", skip_serializing_if = "BTreeMap::is_empty")]
    tables: BTreeMap<&'a str, JsonTable<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reports: BTreeMap<String, BTreeMap<&'a str, serde_json::Value>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JsonProgress>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct JsonTable<'a> {
    table_name: &'a str,
    state: &'a str,
    rows_compared: i64,
    matching_rows: i64,
    mismatched_rows: i64,
    extra_rows_source: i64,
    extra_rows_target: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct JsonProgress {
    percentage: f64,
    #[serde(rename = "ETA", skip_serializing_if = "Option::is_none")]
    eta: Option<String>,
}

/// The summary as stock writes it; tables and reports only with `answer`.
pub fn json<'a>(
    keyspace: &'a str,
    workflow: &'a str,
    summary: &'a Summary,
    answer: Option<&'a VDiffShowResponse>,
) -> Json<'a> {
    let table = |(name, table): (&'a String, &TableSummary)| {
        let table = JsonTable {
            table_name: name,
            state: table.state.as_str(),
            rows_compared: table.rows_compared,
            matching_rows: table.matching_rows,
            mismatched_rows: table.mismatched_rows,
            extra_rows_source: table.extra_rows_source,
            extra_rows_target: table.extra_rows_target,
        };
        (name.as_str(), table)
    };
    let mut reports: BTreeMap<String, BTreeMap<&str, serde_json::Value>> = BTreeMap::new();
    for entry in answer.iter().flat_map(|answer| &answer.tablet_responses) {
        let rows = entry.value.as_ref().and_then(|value| value.output.as_ref()).map(report::rows);
        for row in rows.into_iter().flatten().filter(|row| !row.table_name.is_empty()) {
            let report = serde_json::from_str(&row.report).unwrap_or_default();
            reports.entry(row.table_name).or_default().insert(entry.key.as_str(), report);
        }
    }
    Json {
        workflow,
        keyspace,
        state: summary.state.as_str(),
        uuid: &summary.uuid,
        rows_compared: summary.rows_compared,
        has_mismatch: summary.has_mismatch,
        shards: summary.shards.keys().cloned().collect::<Vec<_>>().join(","),
        started_at: &summary.started_at,
        completed_at: &summary.completed_at,
        tables: summary.tables.iter().filter(|_| answer.is_some()).map(table).collect(),
        reports,
        errors: &summary.errors,
        progress: summary.progress.map(|progress| JsonProgress { percentage: progress.percent, eta: eta(summary) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::vtctl::print;
    use crate::vdiff::report::differing;

    #[test]
    fn summaries_are_written_as_stock_writes_them() {
        let summary = differing();
        let printed = print::pretty(&json("customer", "wf", &summary, None), b"\t");
        let head = "{\n\t\"Workflow\": \"wf\",\n\t\"Keyspace\": \"customer\",\n\t\"State\": \"completed\",\n\t\"UUID\": \"u\",\n";
        assert!(printed.starts_with(head), "{printed}");
        assert!(
            printed.contains("\"Shards\": \"-80,80-\"") && printed.contains("it's \\u003clate\\u003e"),
            "{printed}"
        );
        assert!(!printed.contains("TableSummary") && !printed.contains("Progress"), "{printed}");
    }
}
