//! Statements in the binlog: which are transactions, which change tables of the stream, which only move its position.

use sqlparser::{
    ast::{ObjectName, ObjectType, RenameTableNameKind, Statement},
    dialect::MySqlDialect,
    parser::Parser,
};
use vtmigrated_proto::binlogdata::{Filter, VEventType};

use crate::filter;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Begin,
    Commit,
    /// A change of rows in statement form.
    Dml(VEventType),
    /// Changes a table that a rule matches, or cannot be read.
    Ddl,
    Other,
    /// Belongs to a transaction and says nothing to the client.
    Nothing,
}

/// What a statement is to a stream of the database `db`; `schema` is the default database that it ran in.
pub(super) fn kind(sql: &str, schema: &str, db: &str, filter: &Filter) -> Kind {
    let ours = schema.is_empty() || schema == db;
    let dml = |kind| if ours { Kind::Dml(kind) } else { Kind::Nothing };
    match first_word(sql).to_ascii_lowercase().as_str() {
        "begin" => Kind::Begin,
        "commit" => Kind::Commit,
        "insert" => dml(VEventType::Insert),
        "update" => dml(VEventType::Update),
        "delete" => dml(VEventType::Delete),
        "replace" => dml(VEventType::Replace),
        "savepoint" | "rollback" | "release" => Kind::Nothing,
        "create" | "alter" | "drop" | "rename" | "truncate" if ours && concerns(sql, db, filter) => Kind::Ddl,
        _ => Kind::Other,
    }
}

/// The first word after comments.
fn first_word(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    while let Some((_, after)) = rest.strip_prefix("/*").and_then(|comment| comment.split_once("*/")) {
        rest = after.trim_start();
    }
    rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default()
}

/// Whether a rule matches one of the statement's tables. A statement that cannot be read is taken to concern the stream.
fn concerns(sql: &str, db: &str, filter: &Filter) -> bool {
    let Some(tables) = Parser::parse_sql(&MySqlDialect {}, sql).ok().and_then(|parsed| tables(&parsed)) else {
        return true;
    };
    let selected = |name: &ObjectName| {
        let mut parts: Vec<String> = name.0.iter().filter_map(|part| Some(part.as_ident()?.value.clone())).collect();
        let Some(table) = parts.pop() else { return false };
        parts.pop().is_none_or(|qualifier| qualifier == db) && matches!(filter::query_of(filter, &table), Ok(Some(_)))
    };
    tables.iter().any(selected)
}

/// The tables of a DDL statement; none for databases, users and programs; `None` for what is not known here.
fn tables(parsed: &[Statement]) -> Option<Vec<ObjectName>> {
    let [statement] = parsed else { return None };
    let old_name = |name: &RenameTableNameKind| match name {
        RenameTableNameKind::As(name) | RenameTableNameKind::To(name) => name.clone(),
    };
    Some(match statement {
        Statement::CreateTable(create) => vec![create.name.clone()],
        Statement::CreateView(create) => vec![create.name.clone()],
        Statement::CreateIndex(create) => vec![create.table_name.clone()],
        Statement::AlterTable(alter) => {
            let renamed = alter.operations.iter().filter_map(|operation| match operation {
                sqlparser::ast::AlterTableOperation::RenameTable { table_name } => Some(old_name(table_name)),
                _ => None,
            });
            [alter.name.clone()].into_iter().chain(renamed).collect()
        }
        Statement::Truncate(truncate) => truncate.table_names.iter().map(|target| target.name.clone()).collect(),
        Statement::RenameTable(renames) => {
            renames.iter().flat_map(|rename| [rename.old_name.clone(), rename.new_name.clone()]).collect()
        }
        Statement::Drop { object_type: ObjectType::Table | ObjectType::View, names, .. } => names.clone(),
        Statement::Drop { object_type: ObjectType::Index, table: Some(table), .. } => vec![table.clone()],
        Statement::Drop { .. }
        | Statement::CreateDatabase { .. }
        | Statement::CreateUser(_)
        | Statement::CreateFunction(_)
        | Statement::CreateProcedure { .. }
        | Statement::CreateTrigger(_)
        | Statement::CreateRole(_) => Vec::new(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::Rule;

    use super::*;

    fn of(sql: &str, schema: &str) -> Kind {
        let rule = Rule { r#match: "t".to_owned(), filter: "select * from t".to_owned(), ..Rule::default() };
        kind(sql, schema, "vt_commerce", &Filter { rules: vec![rule], ..Filter::default() })
    }

    #[test]
    fn transactions_and_rows_in_statement_form() {
        assert_eq!(of("BEGIN", ""), Kind::Begin);
        assert_eq!(of("COMMIT", "x"), Kind::Commit);
        assert_eq!(of("/* why */ insert into t values (1)", "vt_commerce"), Kind::Dml(VEventType::Insert));
        assert_eq!(of("insert into t values (1)", "other"), Kind::Nothing);
        assert_eq!(of("savepoint a", ""), Kind::Nothing);
        assert_eq!(of("grant all on *.* to x", ""), Kind::Other);
    }

    #[test]
    fn ddl_of_a_streamed_table_is_told() {
        for sql in [
            "alter table t add column x int",
            "ALTER TABLE `vt_commerce`.`t` ADD x INT",
            "create table t (id int)",
            "drop table if exists a, t",
            "DROP TABLE `t` /* generated by server */",
            "truncate table t",
            "rename table a to t",
            "create index i on t (id)",
            "alter table what is this",
        ] {
            assert_eq!(of(sql, "vt_commerce"), Kind::Ddl, "{sql}");
        }
        for sql in [
            "create table u (id int)",
            "alter table other.t add column x int",
            "drop table u",
            "create database x",
            "drop database x",
            "drop user x",
        ] {
            assert_eq!(of(sql, "vt_commerce"), Kind::Other, "{sql}");
        }
        assert_eq!(of("alter table t add column x int", "elsewhere"), Kind::Other);
    }
}
