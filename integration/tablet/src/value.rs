//! Column values: what MySQL's text protocol prints is the one form; rows carry it, binlog values are brought into it,
//! statements are written from it.

mod binlog;
mod json;
mod literal;

use vtmigrated_proto::query::Row;

pub(crate) use binlog::binlog_text;
pub(crate) use literal::comparison_literal;

/// A value as MySQL prints it in the text protocol with names `binary`; `None` is NULL.
pub type Cell = Option<Vec<u8>>;

/// Why a value cannot be carried over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("row with {lengths} values does not fit into {bytes} bytes")]
    Row { lengths: usize, bytes: usize },
    #[error("column {column}: {what} does not fit the column type {column_type}")]
    Type { column: String, column_type: String, what: String },
    #[error("column {column}: partial JSON value: ensure binlog_row_value_options is empty")]
    PartialJson { column: String },
    #[error("column {column}: {source}")]
    Binlog { column: String, source: std::io::Error },
}

/// Packs values as `query.Row` has them: one length per value, -1 for NULL, and the bytes in one piece.
pub fn to_row<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Row {
    let mut row = Row::default();
    for cell in cells {
        match cell {
            Some(bytes) => {
                row.lengths.push(bytes.len() as i64);
                row.values.extend_from_slice(bytes);
            }
            None => row.lengths.push(-1),
        }
    }
    row
}

/// Unpacks a row.
///
/// # Errors
/// The lengths point past the bytes.
pub fn from_row(row: &Row) -> Result<Vec<Cell>, Error> {
    let wrong = || Error::Row { lengths: row.lengths.len(), bytes: row.values.len() };
    let mut at = 0_usize;
    let mut cells = Vec::with_capacity(row.lengths.len());
    for &length in &row.lengths {
        let Ok(length) = usize::try_from(length) else {
            cells.push(None);
            continue;
        };
        let end = at.checked_add(length).ok_or_else(wrong)?;
        cells.push(Some(row.values.get(at..end).ok_or_else(wrong)?.to_vec()));
        at = end;
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_text_differ_in_a_row() {
        let cells = vec![None, Some(Vec::new()), Some(b"a".to_vec())];
        let row = to_row(&cells);
        assert_eq!((row.lengths.as_slice(), row.values.as_slice()), ([-1, 0, 1].as_slice(), b"a".as_slice()));
        assert_eq!(from_row(&row).expect("a row"), cells);
    }

    #[test]
    fn a_row_whose_lengths_exceed_its_bytes_is_refused() {
        let row = Row { lengths: vec![2], values: b"a".to_vec() };
        assert!(from_row(&row).is_err());
    }
}
