//! One connection of a stream to its MySQL server.

use mysql_async::{Conn, Row, Value, prelude::Queryable};

use super::error::{Error, Result};
use crate::shared::Shared;

/// A row as text values, NULL as `None`.
pub type TextRow = Vec<Option<Vec<u8>>>;

/// A connection outside the pool. Dropping it ends the session, and with it an open transaction.
#[derive(Debug)]
pub struct Db {
    conn: Conn,
}

impl Db {
    /// Connects with the session variables of the server.
    ///
    /// # Errors
    /// As stock words a refused connection.
    pub async fn connect(shared: &Shared) -> Result<Self> {
        let conn = shared.connect().await.map_err(|error| Error::connect(&error, shared.options.mysql_port))?;
        Ok(Self { conn })
    }

    /// Connects and prepares the session of a stream: UTC, bytes as they come, values of zero kept in auto-increment
    /// columns, and no other restriction of the SQL mode.
    ///
    /// # Errors
    /// A refused connection or statement.
    pub async fn connect_stream(shared: &Shared) -> Result<Self> {
        let mut db = Self::connect(shared).await.map_err(|error| error.wrap("can't connect to database"))?;
        for statement in [
            "set @@session.time_zone = '+00:00'",
            "set names 'binary'",
            "set @@session.net_read_timeout = 300",
            "set @@session.net_write_timeout = 600",
            "set @@session.sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        ] {
            db.run(statement).await?;
        }
        Ok(db)
    }

    /// Runs one or more statements and answers the number of changed rows of the first.
    ///
    /// # Errors
    /// The server's, with the text of the statements.
    pub async fn run(&mut self, sql: impl AsRef<[u8]>) -> Result<u64> {
        let sql = sql.as_ref();
        let run = async {
            let result = self.conn.query_iter(sql).await?;
            let changed = result.affected_rows();
            result.drop_result().await?;
            Ok(changed)
        };
        run.await.map_err(|error| Error::mysql(&error, sql))
    }

    /// Runs one query and collects its rows.
    ///
    /// # Errors
    /// The server's, with the text of the query.
    pub async fn rows(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<TextRow>> {
        let sql = sql.as_ref();
        let rows: Vec<Row> = self.conn.query(sql).await.map_err(|error| Error::mysql(&error, sql))?;
        Ok(rows.into_iter().map(text_row).collect())
    }

    /// The first value of the first row as text; `None` for no row or NULL.
    ///
    /// # Errors
    /// As [`Db::rows`].
    pub async fn value(&mut self, sql: impl AsRef<[u8]>) -> Result<Option<String>> {
        let rows = self.rows(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()).map(|value| lossy(&value)))
    }

    /// Says goodbye to the server and waits for it to have ended the session.
    pub async fn close(self) {
        // the session ends with the socket in any case
        let _ = self.conn.disconnect().await;
    }
}

/// A value as text; bytes that are not UTF-8 are replaced.
#[must_use]
pub fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn text_row(row: Row) -> TextRow {
    row.unwrap()
        .into_iter()
        .map(|value| match value {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(bytes),
            other => Some(other.as_sql(true).into_bytes()),
        })
        .collect()
}

/// Column `index` as text, empty for NULL.
#[must_use]
pub fn text(row: &TextRow, index: usize) -> String {
    row.get(index).and_then(Option::as_deref).map(lossy).unwrap_or_default()
}

/// Column `index` as a number, 0 for NULL and anything else.
#[must_use]
pub fn number<N: std::str::FromStr + Default>(row: &TextRow, index: usize) -> N {
    text(row, index).parse().unwrap_or_default()
}
