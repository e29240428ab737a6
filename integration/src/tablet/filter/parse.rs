//! The select of a rule.

use sqlparser::{
    ast::{BinaryOperator, Expr, Select, SelectItem, SetExpr, Statement, TableFactor},
    dialect::MySqlDialect,
    parser::Parser,
};

use super::Error;

/// One table, columns or all of them, and conditions that must all hold. An order is accepted and means nothing: rows
/// come in key order.
#[derive(Clone, Debug)]
pub struct Query {
    pub table: String,
    /// `None` for `*`.
    pub columns: Option<Vec<String>>,
    pub(super) conditions: Vec<Expr>,
}

/// Reads a rule's select.
///
/// # Errors
/// [`Error::Unsupported`] for anything but a plain select of one table, [`Error::Function`] for computed columns.
pub fn parse(sql: &str) -> Result<Query, Error> {
    let unsupported = || Error::Unsupported(sql.to_owned());
    let mut statements = Parser::parse_sql(&MySqlDialect {}, sql).map_err(|_| unsupported())?;
    let (Some(Statement::Query(query)), true) = (statements.pop(), statements.is_empty()) else {
        return Err(unsupported());
    };
    let SetExpr::Select(select) = *query.body else { return Err(unsupported()) };
    if query.with.is_some() || query.limit_clause.is_some() || select.distinct.is_some() || select.having.is_some() {
        return Err(unsupported());
    }
    let mut conditions = Vec::new();
    if let Some(expr) = select.selection.clone() {
        split(expr, &mut conditions);
    }
    Ok(Query { table: table(&select).ok_or_else(unsupported)?, columns: columns(&select)?, conditions })
}

fn table(select: &Select) -> Option<String> {
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return None };
    let [part] = name.0.as_slice() else { return None };
    from.joins.is_empty().then(|| part.as_ident().map(|ident| ident.value.clone()))?
}

fn columns(select: &Select) -> Result<Option<Vec<String>>, Error> {
    if let [SelectItem::Wildcard(_)] = select.projection.as_slice() {
        return Ok(None);
    }
    let column = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Ok(name.value.clone()),
        SelectItem::ExprWithAlias { expr: Expr::Identifier(name), alias } if name.value == alias.value => {
            Ok(name.value.clone())
        }
        SelectItem::UnnamedExpr(expr @ Expr::Function(_))
        | SelectItem::ExprWithAlias { expr: expr @ (Expr::Function(_) | Expr::Convert { .. }), .. } => {
            Err(Error::Function(expr.to_string()))
        }
        other => Err(Error::Unsupported(other.to_string())),
    };
    select.projection.iter().map(column).collect::<Result<_, _>>().map(Some)
}

/// Takes an AND apart.
fn split(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, into);
            split(*right, into);
        }
        Expr::Nested(inner) => split(*inner, into),
        other => into.push(other),
    }
}
