//! Rows of a `query.QueryResult`.

use vtmigrated_proto::query::{QueryResult, Row};

/// The values of a row; NULL is `None`. Bytes that the lengths do not cover are ignored.
pub fn values(row: &Row) -> Vec<Option<&[u8]>> {
    let mut at = 0usize;
    let mut found = Vec::with_capacity(row.lengths.len());
    for length in &row.lengths {
        let Ok(length) = usize::try_from(*length) else {
            found.push(None);
            continue;
        };
        let end = at.saturating_add(length).min(row.values.len());
        found.push(row.values.get(at..end));
        at = end;
    }
    found
}

/// A row of these values; NULL is `None`.
pub fn row<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>) -> Row {
    let mut row = Row::default();
    for value in values {
        row.lengths.push(value.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX)));
        row.values.extend_from_slice(value.unwrap_or_default());
    }
    row
}

/// All rows as texts; NULL is `None`, bytes that are not UTF-8 are replaced.
pub fn texts(result: &QueryResult) -> Vec<Vec<Option<String>>> {
    let text = |value: Option<&[u8]>| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    result.rows.iter().map(|row| values(row).into_iter().map(text).collect()).collect()
}

/// Seconds since the epoch of a MySQL date and time in UTC.
pub fn epoch_seconds(text: &str) -> Option<i64> {
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ() {
        let row = Row { lengths: vec![-1, 0, 2], values: b"ab".to_vec() };
        assert_eq!(values(&row), vec![None, Some(b"".as_slice()), Some(b"ab".as_slice())]);
        assert_eq!(super::row(values(&row)), row);
        let broken = Row { lengths: vec![5, 3], values: b"ab".to_vec() };
        assert_eq!(values(&broken), vec![Some(b"ab".as_slice()), Some(b"".as_slice())]);
    }
}
