//! The sidecar database: its tables, and its name in the SQL of others, who always write `_vt`.

use mysql_async::{Conn, prelude::Queryable};
use sqlparser::{
    dialect::MySqlDialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use crate::sql::quote;

/// Name that callers use whatever the keyspace's real one is.
pub const DEFAULT_NAME: &str = "_vt";

/// Creates the database and the tables that are missing (columns as in Vitess 22.0.3).
///
/// # Errors
/// Those of the server.
pub async fn create(conn: &mut Conn, name: &str) -> mysql_async::Result<()> {
    let id = quote(name);
    conn.query_drop(format!("create database if not exists {id}")).await?;
    for (table, columns) in TABLES {
        conn.query_drop(format!(
            "create table if not exists {id}.{table} ({columns}) engine = InnoDB charset = utf8mb4"
        ))
        .await?;
    }
    Ok(())
}

/// Replaces the qualifier `_vt.` by the real database, outside strings and comments. SQL that cannot be cut into tokens
/// stays as it is, for the server to refuse.
#[must_use]
pub fn rewrite(sql: &str, name: &str) -> String {
    if name == DEFAULT_NAME || !sql.contains(DEFAULT_NAME) {
        return sql.to_owned();
    }
    let Ok(tokens) = Tokenizer::new(&MySqlDialect {}, sql).with_unescape(false).tokenize_with_location() else {
        return sql.to_owned();
    };
    let lines = line_starts(sql);
    let mut out = String::with_capacity(sql.len() + 16);
    let mut done = 0;
    for (index, token) in tokens.iter().enumerate() {
        if !is_qualifier(&tokens, index) {
            continue;
        }
        let (Some(start), Some(end)) = (offset(sql, &lines, token.span.start), offset(sql, &lines, token.span.end))
        else {
            return sql.to_owned();
        };
        out.push_str(&sql[done..start]);
        out.push_str(&quote(name));
        done = end;
    }
    out.push_str(&sql[done..]);
    out
}

/// Byte offset of the WHERE that belongs to the statement itself, not to one in parentheses.
#[must_use]
pub fn top_level_where(sql: &str) -> Option<usize> {
    let tokens = Tokenizer::new(&MySqlDialect {}, sql).with_unescape(false).tokenize_with_location().ok()?;
    let mut depth = 0_usize;
    for token in tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && word.keyword == sqlparser::keywords::Keyword::WHERE => {
                return offset(sql, &line_starts(sql), token.span.start);
            }
            _ => {}
        }
    }
    None
}

fn is_qualifier(tokens: &[TokenWithSpan], index: usize) -> bool {
    let named = matches!(&tokens[index].token, Token::Word(word) if word.value == DEFAULT_NAME);
    let next = tokens[index + 1..].iter().find(|token| !matches!(token.token, Token::Whitespace(_)));
    let after_dot = index > 0 && matches!(tokens[index - 1].token, Token::Period);
    named && !after_dot && next.is_some_and(|token| matches!(token.token, Token::Period))
}

fn line_starts(sql: &str) -> Vec<usize> {
    std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// Byte offset of a location; its column counts characters from 1.
fn offset(sql: &str, lines: &[usize], at: sqlparser::tokenizer::Location) -> Option<usize> {
    let line = *lines.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let rest = sql.get(line..)?;
    rest.char_indices().map(|(offset, _)| offset).chain([rest.len()]).nth(column).map(|offset| line + offset)
}

const TABLES: [(&str, &str); 8] = [
    (
        "vreplication",
        "id int not null auto_increment, workflow varbinary(1000) default null, source mediumblob not null, \
         pos varbinary(10000) not null, stop_pos varbinary(10000) default null, max_tps bigint not null, \
         max_replication_lag bigint not null, cell varbinary(1000) default null, \
         tablet_types varbinary(100) default null, time_updated bigint not null, \
         transaction_timestamp bigint not null, state varbinary(100) not null, \
         message varbinary(1000) default null, db_name varbinary(255) not null, \
         rows_copied bigint not null default 0, tags varbinary(1024) not null default '', \
         time_heartbeat bigint not null default 0, workflow_type int not null default 0, \
         time_throttled bigint not null default 0, component_throttled varchar(255) not null default '', \
         reason_throttled varchar(1000) not null default '', workflow_sub_type int not null default 0, \
         defer_secondary_keys tinyint(1) not null default 0, options json not null, \
         primary key (id), key workflow_idx (workflow(64))",
    ),
    (
        "copy_state",
        "id bigint unsigned not null auto_increment, vrepl_id int not null, table_name varbinary(128) not null, \
         lastpk mediumblob default null, primary key (id), key vrepl_id (vrepl_id, table_name)",
    ),
    (
        "vreplication_log",
        "id bigint not null auto_increment, vrepl_id int not null, type varbinary(256) not null, \
         state varbinary(100) not null, created_at timestamp null default current_timestamp, \
         updated_at timestamp null default current_timestamp on update current_timestamp, message text not null, \
         count bigint not null default 1, primary key (id), key vrepl_id_idx (vrepl_id)",
    ),
    (
        "post_copy_action",
        "id bigint not null auto_increment, vrepl_id int not null, table_name varbinary(128) not null, \
         action json not null, unique key (vrepl_id, table_name), primary key (id)",
    ),
    ("resharding_journal", "id bigint not null, db_name varbinary(255) default null, val blob, primary key (id)"),
    (
        "vdiff",
        "id bigint not null auto_increment, vdiff_uuid varchar(64) not null, workflow varbinary(1024) default null, \
         keyspace varbinary(256) default null, shard varchar(255) not null, db_name varbinary(1024) default null, \
         state varbinary(64) default null, options json default null, \
         created_at timestamp null default current_timestamp, started_at timestamp null default null, \
         liveness_timestamp timestamp null default null, completed_at timestamp null default null, \
         last_error varbinary(1024) default null, primary key (id), unique key uuid_idx (vdiff_uuid), \
         key state (state), key ks_wf_idx (keyspace(64), workflow(64))",
    ),
    (
        "vdiff_table",
        "vdiff_id bigint not null, table_name varbinary(128) not null, state varbinary(64) default null, \
         lastpk varbinary(2000) default null, table_rows bigint not null default 0, \
         rows_compared bigint not null default 0, mismatch tinyint(1) not null default 0, \
         report json default null, created_at timestamp null default current_timestamp, \
         updated_at timestamp null default current_timestamp on update current_timestamp, \
         primary key (vdiff_id, table_name)",
    ),
    (
        "vdiff_log",
        "id bigint not null auto_increment, vdiff_id bigint not null, \
         created_at timestamp null default current_timestamp, message text not null, primary key (id), \
         key vdiff_id_idx (vdiff_id)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_qualifier_is_rewritten() {
        let sql = "select '_vt.x', `_vt`.vreplication.id from _vt.vreplication -- _vt.a\nwhere é = '_vt.b' and a._vt = 1 and _vt.c=2";
        assert_eq!(
            rewrite(sql, "_vt_a"),
            "select '_vt.x', `_vt_a`.vreplication.id from `_vt_a`.vreplication -- _vt.a\nwhere é = '_vt.b' and a._vt = 1 and `_vt_a`.c=2"
        );
    }

    #[test]
    fn the_default_name_changes_nothing() {
        assert_eq!(rewrite("select 1 from _vt.vreplication", "_vt"), "select 1 from _vt.vreplication");
        assert_eq!(rewrite("select 'open", "_vt2"), "select 'open");
    }

    #[test]
    fn escaped_quotes_do_not_end_a_string() {
        assert_eq!(
            rewrite(r"update _vt.t set a = 'it\'s _vt.x', b = ''''", "s"),
            r"update `s`.t set a = 'it\'s _vt.x', b = ''''"
        );
    }
}
