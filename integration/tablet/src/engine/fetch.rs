//! Statements of callers, answered as `query.QueryResult`.

use mysql_async::{Conn, Row as MysqlRow, Value, prelude::Queryable};
use vtmigrated_proto::query::{QueryResult, Row};

use super::error::{Error, Result};
use crate::schema;

/// Runs one statement.
///
/// # Errors
/// Those of the server with the statement's text, and `Row count exceeded <n>`.
pub async fn fetch(conn: &mut Conn, sql: &[u8], max_rows: u64) -> Result<QueryResult> {
    let results = fetch_all(conn, sql, max_rows).await?;
    Ok(results.into_iter().next().unwrap_or_default())
}

/// Runs statements separated by semicolons; one result each.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_all(conn: &mut Conn, sql: &[u8], max_rows: u64) -> Result<Vec<QueryResult>> {
    let mut answers = Vec::new();
    let mut result = conn.query_iter(sql).await.map_err(|error| Error::mysql(&error, sql))?;
    loop {
        let mut answer = QueryResult {
            rows_affected: result.affected_rows(),
            insert_id: result.last_insert_id().unwrap_or_default(),
            info: result.info().into_owned(),
            ..QueryResult::default()
        };
        if let Some(columns) = result.columns().filter(|columns| !columns.is_empty()) {
            answer.fields = columns
                .iter()
                .map(|column| schema::field(column, String::new(), u32::from(column.character_set())))
                .collect();
        }
        let rows: Vec<MysqlRow> = result.collect().await.map_err(|error| Error::mysql(&error, sql))?;
        if !answer.fields.is_empty() {
            answer.rows_affected = u64::try_from(rows.len()).unwrap_or_default();
        }
        if answer.rows_affected > max_rows && !answer.fields.is_empty() {
            result.drop_result().await.map_err(|error| Error::mysql(&error, sql))?;
            return Err(Error::unknown(format!("Row count exceeded {max_rows}")));
        }
        answer.rows = rows.into_iter().map(packed).collect();
        answers.push(answer);
        if result.is_empty() {
            return Ok(answers);
        }
    }
}

/// The first column of a query as numbers.
///
/// # Errors
/// As [`fetch`].
pub async fn ids(conn: &mut Conn, selector: &str) -> Result<Vec<i32>> {
    let rows: Vec<i32> = conn.query(selector).await.map_err(|error| Error::mysql(&error, selector.as_bytes()))?;
    Ok(rows)
}

/// The first value of a result as a number, 0 when it is none.
#[must_use]
pub fn first_number(result: &QueryResult) -> i64 {
    let value = result.rows.first().map(|row| String::from_utf8_lossy(&row.values).into_owned());
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn packed(row: MysqlRow) -> Row {
    let mut packed = Row::default();
    for value in row.unwrap() {
        match value {
            Value::NULL => packed.lengths.push(-1),
            Value::Bytes(bytes) => {
                packed.lengths.push(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
                packed.values.extend(bytes);
            }
            // the text protocol has no other
            other => {
                let text = other.as_sql(true);
                packed.lengths.push(i64::try_from(text.len()).unwrap_or(i64::MAX));
                packed.values.extend(text.bytes());
            }
        }
    }
    packed
}
