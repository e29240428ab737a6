//! A diff's summary as stock writes it as text.

use super::Summary;

/// When a running diff may end, in UTC; `None` when that cannot be told yet.
pub fn eta(summary: &Summary) -> Option<String> {
    let left = summary.progress.and_then(|progress| progress.seconds_left)?;
    let end = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_secs(left)).ok()?;
    Some(end.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// The lines; those of tables only with `tables`.
pub fn text(keyspace: &str, workflow: &str, summary: &Summary, tables: bool) -> String {
    let mut lines = vec![
        String::new(),
        format!("VDiff Summary for {keyspace}.{workflow} ({})", summary.uuid),
        format!("State:        {}", summary.state.as_str()),
    ];
    for (shard, error) in &summary.errors {
        lines.push(format!("              Error: (shard {shard}) {error}"));
    }
    lines.push(format!("RowsCompared: {}", summary.rows_compared));
    lines.push(format!("HasMismatch:  {}", summary.has_mismatch));
    lines.push(format!("StartedAt:    {}", summary.started_at));
    if let Some(progress) = summary.progress {
        let eta = eta(summary).map(|eta| format!(", ETA: {eta}"));
        lines.push(format!("Progress:     {:.2}%{}", progress.percent, eta.unwrap_or_default()));
    }
    if !summary.completed_at.is_empty() {
        lines.push(format!("CompletedAt:  {}", summary.completed_at));
    }
    for (name, table) in summary.tables.iter().filter(|_| tables) {
        lines.push(" ".into());
        lines.push(format!("Table {name}:"));
        lines.push(format!("\tState:            {}", table.state.as_str()));
        lines.push(format!("\tProcessedRows:    {}", table.rows_compared));
        lines.push(format!("\tMatchingRows:     {}", table.matching_rows));
        for (label, rows) in [
            ("MismatchedRows:  ", table.mismatched_rows),
            ("ExtraRowsSource: ", table.extra_rows_source),
            ("ExtraRowsTarget: ", table.extra_rows_target),
        ] {
            if rows > 0 {
                lines.push(format!("\t{label} {rows}"));
            }
        }
    }
    lines.push(" ".into());
    lines.push("Use \"--format=json\" for more detailed output.\n\n".into());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vdiff::report::differing;

    #[test]
    fn summaries_are_written_as_stock_writes_them() {
        let summary = differing();
        let head = "\nVDiff Summary for customer.wf (u)\n\
                    State:        completed\n\
                    \u{20}             Error: (shard 80-) it's <late>\n\
                    RowsCompared: 28\n\
                    HasMismatch:  true\n\
                    StartedAt:    2026-11-22 01:12:09\n\
                    CompletedAt:  2026-11-22 02:00:01\n \n";
        let tables = "Table customer:\n\
                      \tState:            completed\n\
                      \tProcessedRows:    11\n\
                      \tMatchingRows:     8\n\
                      \tMismatchedRows:   1\n\
                      \tExtraRowsSource:  2\n \n";
        let foot = "Use \"--format=json\" for more detailed output.\n\n";
        assert_eq!(text("customer", "wf", &summary, true), format!("{head}{tables}{foot}"));
        assert_eq!(text("customer", "wf", &summary, false), format!("{head}{foot}"));
    }
}
