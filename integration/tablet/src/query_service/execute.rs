//! Statements that a test or an application sends through the tablet, one by one and without transactions.

use mysql_async::{Column, Row as MysqlRow, Value, prelude::Queryable};
use sqlparser::{
    dialect::MySqlDialect,
    tokenizer::{Token, Tokenizer},
};
use tonic::Status;
use vtmigrated_proto::query::{BoundQuery, QueryResult};

use super::status;
use crate::{
    schema,
    shared::{Shared, mysql_error},
    value::{self, Cell},
};

/// Runs a statement in the tablet's database.
///
/// # Errors
/// FAILED_PRECONDITION when it names a denied table, UNIMPLEMENTED with bind variables, UNKNOWN with the server's error.
pub(super) async fn run(shared: &Shared, query: &BoundQuery) -> Result<QueryResult, Status> {
    if !query.bind_variables.is_empty() {
        return Err(Status::unimplemented("bind variables are not supported by this tablet"));
    }
    let sql = query.sql.as_str();
    status::check_denied(shared, &names(sql))?;
    let failed = |error: mysql_async::Error| Status::unknown(mysql_error(&error, sql));
    let mut conn = shared.pool.get_conn().await.map_err(failed)?;
    let mut sent = conn.query_iter(sql).await.map_err(failed)?;
    let fields = sent.columns_ref().iter().map(field).collect();
    let rows: Vec<MysqlRow> = sent.collect().await.map_err(failed)?;
    let (rows_affected, insert_id) = (sent.affected_rows(), sent.last_insert_id().unwrap_or_default());
    sent.drop_result().await.map_err(failed)?;
    let rows_affected = if rows.is_empty() { rows_affected } else { rows.len() as u64 };
    let rows = rows.into_iter().map(|row| value::to_row(&cells(row))).collect();
    Ok(QueryResult { fields, rows_affected, insert_id, rows, ..QueryResult::default() })
}

fn field(column: &Column) -> vtmigrated_proto::query::Field {
    schema::field(column, String::new(), column.character_set().into())
}

fn cells(row: MysqlRow) -> Vec<Cell> {
    let cell = |value| match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    };
    row.unwrap().into_iter().map(cell).collect()
}

/// Names in places where a table may stand: after FROM, JOIN, INTO, UPDATE, TABLE, a comma or a qualifier. A column of the
/// name of a denied table after a comma counts too: refusing too much is the safe side.
fn names(sql: &str) -> Vec<String> {
    let tokens = Tokenizer::new(&MySqlDialect {}, sql).tokenize().unwrap_or_default();
    let words = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let mut names = Vec::new();
    let mut may_follow = false;
    for token in words {
        let follows = match &token {
            Token::Word(word) => {
                let keyword = word.value.to_ascii_lowercase();
                let leads =
                    ["from", "join", "into", "update", "table", "ignore", "exists", "truncate", "insert", "replace"];
                let is_lead = word.quote_style.is_none() && leads.contains(&keyword.as_str());
                if may_follow && !is_lead {
                    names.push(word.value.clone());
                }
                is_lead
            }
            Token::Comma | Token::Period => true,
            Token::LParen => may_follow,
            _ => false,
        };
        may_follow = follows;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_tables_of_a_statement() {
        let has = |sql: &str| names(sql).iter().any(|name| name == "t");
        for sql in [
            "select * from t",
            "select a from `t` where b = 1",
            "select * from u, t",
            "select * from u join db.t on 1",
            "insert into t values (1)",
            "insert ignore t values (1)",
            "update t set a = 1",
            "delete from t",
            "truncate t",
            "drop table if exists t",
        ] {
            assert!(has(sql), "{sql}");
        }
        assert!(!has("select 't' from u where t = 1"));
    }
}
