//! Statements that `VReplicationExec` accepts, with the texts of 22.0.3 for the others.

use sqlparser::{
    ast::{
        AssignmentTarget, BinaryOperator, Expr, FromTable, ObjectName, SetExpr, Statement, TableFactor, TableObject,
        Value,
    },
    dialect::MySqlDialect,
    parser::Parser,
};

use super::error::{Error, Result};
use crate::{sidecar, sql};

/// What to do for a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Run as it is.
    Pass { sql: String },
    /// Run, then start controllers for this many new rows.
    Insert { sql: String, rows: usize },
    /// The ids that `selector` finds get `front` (an UPDATE without WHERE).
    Update { selector: String, front: String },
    /// The ids that `selector` finds are deleted.
    Delete { selector: String },
}

const ALLOW_UNSAFE: &str = "ALLOW_UNSAFE_VREPLICATION_WRITE";
const READABLE: [&str; 4] = ["vreplication", "resharding_journal", "copy_state", "vreplication_log"];

/// Plans a statement whose sidecar database is already `sidecar_db`.
///
/// # Errors
/// Everything that is not accepted.
pub fn plan(sql: &str, sidecar_db: &str) -> Result<Plan> {
    plan_text(sql, sidecar_db).map_err(Error::unknown)
}

fn plan_text(sql: &str, sidecar_db: &str) -> std::result::Result<Plan, String> {
    let mut statements = Parser::parse_sql(&MySqlDialect {}, sql).map_err(|error| error.to_string())?;
    let (Some(statement), true) = (statements.pop(), statements.is_empty()) else {
        return Err(format!("unsupported construct: {sql}"));
    };
    let pass = || Plan::Pass { sql: sql.to_owned() };
    match statement {
        Statement::Query(query) => {
            let table = match query.body.as_ref() {
                SetExpr::Select(select) => select.from.first().and_then(|from| table_name(&from.relation)),
                _ => None,
            };
            let table = checked(table, sidecar_db, sql)?;
            if READABLE.contains(&table.as_str()) { Ok(pass()) } else { Err(format!("invalid table name: {table}")) }
        }
        Statement::Insert(insert) => {
            let name = match &insert.table {
                TableObject::TableName(name) => Some(name),
                _ => None,
            };
            match writable(name, sidecar_db, sql)? {
                Target::Journal => Ok(pass()),
                Target::Streams => plan_insert(sql, &insert),
            }
        }
        Statement::Update(update) => match writable(table_name(&update.table.relation), sidecar_db, sql)? {
            Target::Journal => Ok(pass()),
            Target::Streams => plan_update(sql, sidecar_db, &update),
        },
        Statement::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            let table = from.first().and_then(|from| table_name(&from.relation));
            match writable(table, sidecar_db, sql)? {
                Target::Journal => Ok(pass()),
                Target::Streams => plan_delete(sql, sidecar_db, &delete),
            }
        }
        other => Err(format!("unsupported construct: {other}")),
    }
}

enum Target {
    Streams,
    Journal,
}

fn writable(name: Option<&ObjectName>, sidecar_db: &str, sql: &str) -> std::result::Result<Target, String> {
    match checked(name, sidecar_db, sql)?.as_str() {
        "vreplication" => Ok(Target::Streams),
        "resharding_journal" => Ok(Target::Journal),
        other => Err(format!("invalid table name: {other}")),
    }
}

fn table_name(factor: &TableFactor) -> Option<&ObjectName> {
    match factor {
        TableFactor::Table { name, .. } => Some(name),
        _ => None,
    }
}

/// The table, when it is in the sidecar database.
fn checked(name: Option<&ObjectName>, sidecar_db: &str, sql: &str) -> std::result::Result<String, String> {
    let parts: Vec<&str> =
        name.iter().flat_map(|name| &name.0).filter_map(|part| part.as_ident()).map(|id| id.value.as_str()).collect();
    match parts.as_slice() {
        [database, table] if *database == sidecar_db => Ok((*table).to_owned()),
        [database, _] => Err(format!("invalid database name: {database}")),
        [_] => Err("invalid database name: ".to_owned()),
        _ => Err(format!("unsupported construct: {sql}")),
    }
}

fn plan_insert(sql: &str, insert: &sqlparser::ast::Insert) -> std::result::Result<Plan, String> {
    let unsupported = || format!("unsupported construct: {insert}");
    if insert.ignore || insert.on.is_some() || insert.partitioned.is_some() || insert.replace_into {
        return Err(unsupported());
    }
    let Some(SetExpr::Values(values)) = insert.source.as_ref().map(|source| source.body.as_ref()) else {
        return Err(unsupported());
    };
    let named =
        insert.columns.iter().position(|column| column.to_string().trim_matches('`').eq_ignore_ascii_case("id"));
    let id = if insert.columns.is_empty() { Some(0) } else { named };
    if let Some(id) = id {
        for row in &values.rows {
            let value = row.get(id).ok_or_else(|| format!("malformed statement: {insert}"))?;
            if !matches!(value, Expr::Value(value) if value.value == Value::Null) {
                return Err(format!("id should not have a value: {insert}"));
            }
        }
    }
    Ok(Plan::Insert { sql: sql.to_owned(), rows: values.rows.len() })
}

fn plan_update(sql: &str, sidecar_db: &str, update: &sqlparser::ast::Update) -> std::result::Result<Plan, String> {
    check_selective(sql, "update", update.selection.as_ref())?;
    if update.limit.is_some() {
        return Err(format!("unsupported construct: {update}"));
    }
    for assignment in &update.assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(format!("unsupported construct: {update}"));
        };
        let last = name.0.last().and_then(|part| part.as_ident());
        if last.is_some_and(|name| name.value.eq_ignore_ascii_case("id")) {
            return Err(format!("id cannot be changed: {assignment}"));
        }
    }
    let front = sql.get(..sidecar::top_level_where(sql).unwrap_or(sql.len())).unwrap_or(sql);
    Ok(Plan::Update { selector: selector(sql, sidecar_db), front: front.trim_end().to_owned() })
}

fn plan_delete(sql: &str, sidecar_db: &str, delete: &sqlparser::ast::Delete) -> std::result::Result<Plan, String> {
    check_selective(sql, "delete", delete.selection.as_ref())?;
    let plain =
        delete.tables.is_empty() && delete.order_by.is_empty() && delete.limit.is_none() && delete.using.is_none();
    if !plain {
        return Err(format!("unsupported construct: {delete}"));
    }
    Ok(Plan::Delete { selector: selector(sql, sidecar_db) })
}

/// The ids of the rows that a statement is about, in the words of its own WHERE.
fn selector(sql: &str, sidecar_db: &str) -> String {
    let condition = sidecar::top_level_where(sql).and_then(|at| sql.get(at..)).unwrap_or_default();
    format!("select id from {}.vreplication {condition}", sql::quote(sidecar_db))
}

/// A write has to name the rows by id or workflow, somewhere in its WHERE.
fn check_selective(sql: &str, verb: &str, selection: Option<&Expr>) -> std::result::Result<(), String> {
    let directive = sql.find("/*vt+").and_then(|at| sql[at..].split("*/").next());
    if directive.is_some_and(|directive| directive.contains(ALLOW_UNSAFE)) {
        return Ok(());
    }
    let found = selection.is_some_and(names_rows);
    if found {
        return Ok(());
    }
    let selection = selection.map(|selection| format!(" where {selection}")).unwrap_or_default();
    Err(format!(
        "unsafe WHERE clause in {verb} without the /*vt+ {ALLOW_UNSAFE} */ comment directive: {selection}; should be using \
         = or in with at least one of the following columns: id, workflow"
    ))
}

/// True when `id` or `workflow` is compared with `=` or `in` anywhere in the condition.
fn names_rows(expr: &Expr) -> bool {
    let column = match expr {
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => return names_rows(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, .. } => left,
        Expr::BinaryOp { left, right, .. } => return names_rows(left) || names_rows(right),
        Expr::InList { expr, negated: false, .. } | Expr::InSubquery { expr, negated: false, .. } => expr,
        _ => return false,
    };
    let names = ["id", "workflow"];
    matches!(column.as_ref(), Expr::Identifier(name) if names.iter().any(|wanted| name.value.eq_ignore_ascii_case(wanted)))
}

#[cfg(test)]
mod tests;
