//! SQL of callers. The stock users of MySQL (dba, app, all privileges) are one user here.

use mysql_async::Conn;
use sqlparser::{ast::Statement, dialect::MySqlDialect, parser::Parser};
use vtmigrated_proto::{query::QueryResult, tabletmanagerdata as data};

use crate::{
    engine::{
        Context,
        error::{Error, Result},
        fetch,
    },
    sidecar, sql,
};

/// One statement, or several that only create tables and views.
pub async fn as_dba(
    context: &Context,
    request: &data::ExecuteFetchAsDbaRequest,
) -> Result<data::ExecuteFetchAsDbaResponse> {
    let sql = text(context, &request.query)?;
    if !may_run_at_once(&sql) {
        return Err(Error::unknown(
            "multi statement queries are not supported in ExecuteFetchAsDba unless all are CREATE TABLE or CREATE VIEW",
        ));
    }
    let session = Session {
        database: &request.db_name,
        no_binlog: request.disable_binlogs,
        no_foreign_keys: request.disable_foreign_key_checks,
    };
    let results = run(context, &session, &sql, request.max_rows).await?;
    let result = results.into_iter().next();
    let result = result.ok_or_else(|| Error::unknown(format!("received no query results for {sql}")))?;
    Ok(data::ExecuteFetchAsDbaResponse { result: Some(result) })
}

/// Several statements.
pub async fn multi_as_dba(
    context: &Context,
    request: &data::ExecuteMultiFetchAsDbaRequest,
) -> Result<data::ExecuteMultiFetchAsDbaResponse> {
    let session = Session {
        database: &request.db_name,
        no_binlog: request.disable_binlogs,
        no_foreign_keys: request.disable_foreign_key_checks,
    };
    let sql = text(context, &request.sql)?;
    Ok(data::ExecuteMultiFetchAsDbaResponse { results: run(context, &session, &sql, request.max_rows).await? })
}

/// One statement; without a database unqualified names are refused by the server.
pub async fn as_all_privs(
    context: &Context,
    request: &data::ExecuteFetchAsAllPrivsRequest,
) -> Result<data::ExecuteFetchAsAllPrivsResponse> {
    let session = Session { database: &request.db_name, no_binlog: false, no_foreign_keys: false };
    let result = one(context, &session, &request.query, request.max_rows).await?;
    Ok(data::ExecuteFetchAsAllPrivsResponse { result: Some(result) })
}

/// One statement in the tablet's database.
pub async fn as_app(
    context: &Context,
    request: &data::ExecuteFetchAsAppRequest,
) -> Result<data::ExecuteFetchAsAppResponse> {
    let database = &context.shared.options.db_name;
    let session = Session { database, no_binlog: false, no_foreign_keys: false };
    let result = one(context, &session, &request.query, request.max_rows).await?;
    Ok(data::ExecuteFetchAsAppResponse { result: Some(result) })
}

/// One statement in the tablet's database, as a query of the tablet's own.
pub async fn execute(context: &Context, request: &data::ExecuteQueryRequest) -> Result<data::ExecuteQueryResponse> {
    let database = &context.shared.options.db_name;
    let session = Session { database, no_binlog: false, no_foreign_keys: false };
    let result = one(context, &session, &request.query, request.max_rows).await?;
    Ok(data::ExecuteQueryResponse { result: Some(result) })
}

struct Session<'a> {
    database: &'a str,
    no_binlog: bool,
    no_foreign_keys: bool,
}

async fn one(context: &Context, session: &Session<'_>, query: &[u8], max_rows: u64) -> Result<QueryResult> {
    let sql = text(context, query)?;
    Ok(run(context, session, &sql, max_rows).await?.into_iter().next().unwrap_or_default())
}

fn text(context: &Context, query: &[u8]) -> Result<String> {
    let sql = std::str::from_utf8(query).map_err(|error| Error::unknown(error.to_string()))?;
    Ok(sidecar::rewrite(sql.trim().trim_end_matches(';'), &context.shared.options.sidecar_db))
}

async fn run(context: &Context, session: &Session<'_>, sql: &str, max_rows: u64) -> Result<Vec<QueryResult>> {
    let mut conn = connect(context).await?;
    let results = run_on(&mut conn, session, sql, max_rows).await;
    // the session ends with the socket in any case
    let _ = conn.disconnect().await;
    results
}

async fn run_on(conn: &mut Conn, session: &Session<'_>, sql: &str, max_rows: u64) -> Result<Vec<QueryResult>> {
    if session.no_binlog {
        fetch::fetch(conn, b"set sql_log_bin = OFF", 1).await?;
    }
    if session.no_foreign_keys {
        fetch::fetch(conn, b"set session foreign_key_checks = OFF", 1).await?;
    }
    if !session.database.is_empty() {
        // as in stock, a database that is not there shows at the statement
        let _ = fetch::fetch(conn, format!("use {}", sql::quote(session.database)).as_bytes(), 1).await;
    }
    if sql.contains("/*vt+") && sql.contains("allowZeroInDate=true") {
        let relax =
            b"set @@session.sql_mode = REPLACE(REPLACE(@@session.sql_mode, 'NO_ZERO_DATE', ''), 'NO_ZERO_IN_DATE', '')";
        fetch::fetch(conn, relax, 1).await?;
    }
    let max_rows = if max_rows == 0 { u64::MAX } else { max_rows };
    fetch::fetch_all(conn, sql.as_bytes(), max_rows).await
}

/// A session without a default database.
async fn connect(context: &Context) -> Result<Conn> {
    let options = &context.shared.options;
    let builder = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(options.mysql_port)
        .user(Some(options.mysql_user.clone()))
        .prefer_socket(false)
        .tcp_nodelay(true);
    Conn::new(builder).await.map_err(|error| Error::connect(&error, options.mysql_port))
}

/// One statement, or only such that create tables and views. What cannot be read is one statement, for the server to
/// judge.
fn may_run_at_once(sql: &str) -> bool {
    let Ok(statements) = Parser::parse_sql(&MySqlDialect {}, sql) else { return true };
    let creates = |statement: &Statement| matches!(statement, Statement::CreateTable(_) | Statement::CreateView { .. });
    statements.len() < 2 || statements.iter().all(creates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_creates_may_come_together() {
        assert!(may_run_at_once("drop table t"));
        assert!(may_run_at_once("create table a (id int); create view v as select 1"));
        assert!(!may_run_at_once("create table a (id int); drop table b"));
    }
}
