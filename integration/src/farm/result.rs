//! Result sets.

use std::time::SystemTime;

use vtmigrated::sql::rows;
use vtmigrated_proto::query::{Field, QueryResult, Row, Type};

use super::stream::seconds;

/// A result set of columns with their types; Go readers look at these.
pub fn result(columns: &[(&str, Type)], values: impl IntoIterator<Item = Vec<String>>) -> QueryResult {
    let field =
        |(name, kind): &(&str, Type)| Field { name: (*name).into(), r#type: (*kind).into(), ..Field::default() };
    let row = |values: Vec<String>| -> Row { rows::row(values.iter().map(|value| Some(value.as_bytes()))) };
    QueryResult {
        fields: columns.iter().map(field).collect(),
        rows: values.into_iter().map(row).collect(),
        ..QueryResult::default()
    }
}

/// What a statement changed.
#[must_use]
pub fn changed(rows: usize) -> QueryResult {
    QueryResult { rows_affected: rows as u64, ..QueryResult::default() }
}

/// `YYYY-MM-DD hh:mm:ss`.
#[must_use]
pub fn utc(time: SystemTime) -> String {
    let at = jiff::Timestamp::from_second(i64::try_from(seconds(time)).unwrap_or_default()).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
