//! The rules of streams: which tables they name, and which they bring.

use vtmigrated_proto::binlogdata::{BinlogSource, Rule};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::ShardWorkflow;

fn rules(source: &BinlogSource) -> impl Iterator<Item = &Rule> {
    source.filter.iter().flat_map(|filter| &filter.rules)
}

/// Tables that a source's rules match, ascending.
pub fn tables(source: &BinlogSource) -> Vec<String> {
    named(source).into_iter().map(str::to_owned).collect()
}

/// The same without a copy of each.
pub(super) fn named(source: &BinlogSource) -> Vec<&str> {
    let mut tables: Vec<&str> = rules(source).map(|rule| rule.r#match.as_str()).collect();
    tables.sort_unstable();
    tables
}

/// Each table that some streams bring, with their workflow and the stream.
pub fn brought<'r>(
    rows: impl IntoIterator<Item = &'r ShardWorkflow>,
) -> impl Iterator<Item = (String, &'r str, &'r Stream)> {
    rows.into_iter().flat_map(|row| {
        let workflow = row.found.workflow.as_str();
        let of_stream =
            |stream: &'r Stream| stream.bls.iter().flat_map(included).map(move |table| (table.to_owned(), stream));
        row.found.streams.iter().flat_map(of_stream).map(move |(table, stream)| (table, workflow, stream))
    })
}

/// The filter of a rule that leaves its table out (Vitess 22.0.4, `ExcludeStr`).
pub const EXCLUDE: &str = "exclude";

/// Tables that a source's rules bring: those that they match, less those that they leave out.
pub fn included(source: &BinlogSource) -> impl Iterator<Item = &str> {
    rules(source).filter(|rule| rule.filter != EXCLUDE).map(|rule| rule.r#match.as_str())
}

/// Tables that a source's rules leave out.
pub fn excluded(source: &BinlogSource) -> impl Iterator<Item = &str> {
    rules(source).filter(|rule| rule.filter == EXCLUDE).map(|rule| rule.r#match.as_str())
}
