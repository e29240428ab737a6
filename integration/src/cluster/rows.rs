//! Rows of a table on both sides of a migration, compared one by one.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher},
};

use mysql_async::{Conn, Value, prelude::Queryable};

use super::{Error, Shard};

/// The rows of a table, sorted: MySQL's text of each value, `None` for NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// What two sets of rows have not in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Rows, printed, that only one side has; a row that is there twice on one side and once on the other counts once.
    pub only_left: Vec<String>,
    pub only_right: Vec<String>,
}

impl Rows {
    /// All rows of `table` in the databases of some connections, each of which it ends.
    ///
    /// # Errors
    /// The servers', or the databases do not agree on the columns.
    pub async fn read(connections: Vec<Conn>, table: &str) -> Result<Self, Error> {
        read(connections, table).await
    }

    /// A checksum over all rows in order, equal in all runs of one program only.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for value in self.rows.iter().flatten() {
            hasher.write_u8(u8::from(value.is_some()));
            hasher.write_usize(value.as_ref().map_or(0, Vec::len));
            hasher.write(value.as_deref().unwrap_or_default());
        }
        hasher.finish()
    }

    /// Compares two sides row by row.
    ///
    /// # Errors
    /// The columns differ, or at least one row is on one side only.
    pub fn expect_same(&self, other: &Self) -> Result<(), Error> {
        if self.columns != other.columns {
            return Err(Error::Columns { left: self.columns.clone(), right: other.columns.clone() });
        }
        let (mut only_left, mut only_right) = (Vec::new(), Vec::new());
        let (mut left, mut right) = (self.rows.iter().peekable(), other.rows.iter().peekable());
        loop {
            match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(l), Some(r)) if l == r => {
                    left.next();
                    right.next();
                }
                (Some(l), r) if r.is_none_or(|r| l < r) => {
                    only_left.push(print(l));
                    left.next();
                }
                (_, r) => {
                    only_right.extend(r.map(|r| print(r)));
                    right.next();
                }
            }
        }
        if only_left.is_empty() && only_right.is_empty() {
            return Ok(());
        }
        Err(Error::Rows(Difference { only_left, only_right }))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (side, rows) in [("left", &self.only_left), ("right", &self.only_right)] {
            writeln!(f, "{} rows only on the {side}:", rows.len())?;
            for row in rows.iter().take(10) {
                writeln!(f, "  {row}")?;
            }
        }
        Ok(())
    }
}

/// All rows of `table` in the databases of `shards`, which one `SELECT` each reads.
///
/// # Errors
/// The servers', or the shards do not agree on the columns.
pub(super) async fn fetch(shards: &[&Shard], table: &str) -> Result<Rows, Error> {
    let mut connections = Vec::new();
    for shard in shards {
        connections.push(shard.connect().await?);
    }
    Rows::read(connections, table).await
}

async fn read(connections: Vec<Conn>, table: &str) -> Result<Rows, Error> {
    let mut all: Option<Rows> = None;
    for mut conn in connections {
        let mut result = conn.query_iter(format!("SELECT * FROM `{table}`")).await?;
        let columns: Vec<String> = result.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
        let rows: Vec<mysql_async::Row> = result.collect().await?;
        drop(result);
        conn.disconnect().await?;
        let all = all.get_or_insert_with(|| Rows { columns: columns.clone(), rows: Vec::new() });
        if all.columns != columns {
            return Err(Error::Columns { left: all.columns.clone(), right: columns });
        }
        all.rows.extend(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()));
    }
    let mut all = all.unwrap_or(Rows { columns: Vec::new(), rows: Vec::new() });
    all.rows.sort_unstable();
    Ok(all)
}

/// A value of the text protocol: bytes or NULL.
fn text(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => Some(other.as_sql(true).into_bytes()),
    }
}

fn print(row: &[Option<Vec<u8>>]) -> String {
    let values = row.iter().map(|value| match value {
        None => "NULL".to_owned(),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)])),
    });
    values.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[Option<&str>]) -> Rows {
        let mut rows: Vec<_> = values.iter().map(|v| vec![v.map(|v| v.as_bytes().to_vec())]).collect();
        rows.sort_unstable();
        Rows { columns: vec!["c".to_owned()], rows }
    }

    #[test]
    fn rows_in_any_order_are_the_same() {
        let (left, right) = (rows(&[Some("b"), None, Some("a")]), rows(&[Some("a"), Some("b"), None]));
        left.expect_same(&right).unwrap();
        assert_eq!(left.checksum(), right.checksum());
        assert_ne!(left.checksum(), rows(&[Some("a"), Some("b")]).checksum());
    }

    #[test]
    fn a_lost_a_doubled_and_a_changed_row_are_named() {
        let left = rows(&[Some("a"), Some("b"), Some("c"), None]);
        let right = rows(&[Some("a"), Some("a"), Some("x"), None]);
        let Err(Error::Rows(difference)) = left.expect_same(&right) else { panic!("not noticed") };
        assert_eq!(difference.only_left, ["\"b\"", "\"c\""]);
        assert_eq!(difference.only_right, ["\"a\"", "\"x\""]);
    }

    #[test]
    fn null_and_an_empty_text_differ() {
        assert!(rows(&[None]).expect_same(&rows(&[Some("")])).is_err());
        assert_ne!(rows(&[None]).checksum(), rows(&[Some("")]).checksum());
    }
}
