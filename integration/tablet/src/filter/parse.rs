//! The select of a rule.

use std::collections::BTreeMap;

use sqlparser::{
    ast::{
        BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Select, SelectItem, SetExpr,
        Statement, TableFactor, Value,
    },
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
    /// Columns that are read through `convert_tz`, each with the zones from which and to which.
    pub zones: BTreeMap<String, (String, String)>,
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
    let mut zones = BTreeMap::new();
    let columns = columns(&select, &mut zones)?;
    Ok(Query { table: table(&select).ok_or_else(unsupported)?, columns, zones, conditions })
}

fn table(select: &Select) -> Option<String> {
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return None };
    let [part] = name.0.as_slice() else { return None };
    from.joins.is_empty().then(|| part.as_ident().map(|ident| ident.value.clone()))?
}

fn columns(select: &Select, zones: &mut BTreeMap<String, (String, String)>) -> Result<Option<Vec<String>>, Error> {
    if let [SelectItem::Wildcard(_)] = select.projection.as_slice() {
        return Ok(None);
    }
    let column = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Ok(name.value.clone()),
        // the field keeps the column's own name
        SelectItem::ExprWithAlias { expr: Expr::Identifier(name), .. } => Ok(name.value.clone()),
        SelectItem::ExprWithAlias { expr: Expr::Function(call), .. } => {
            let (name, from, to) = conversion(call).ok_or_else(|| Error::Function(call.to_string()))?;
            zones.insert(name.clone(), (from, to));
            Ok(name)
        }
        SelectItem::UnnamedExpr(expr @ Expr::Function(_))
        | SelectItem::ExprWithAlias { expr: expr @ Expr::Convert { .. }, .. } => Err(Error::Function(expr.to_string())),
        other => Err(Error::Unsupported(other.to_string())),
    };
    select.projection.iter().map(column).collect::<Result<_, _>>().map(Some)
}

/// Column and zones of `convert_tz(<column>, '<from>', '<to>')`.
fn conversion(call: &Function) -> Option<(String, String, String)> {
    let FunctionArguments::List(list) = &call.args else { return None };
    let arg = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    let args = list.args.iter().map(arg).collect::<Option<Vec<_>>>()?;
    let [Expr::Identifier(name), Expr::Value(from), Expr::Value(to)] = args.as_slice() else { return None };
    let text = |value: &Value| match value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    };
    let is_conversion = call.name.to_string().eq_ignore_ascii_case("convert_tz");
    is_conversion.then(|| Some((name.value.clone(), text(&from.value)?, text(&to.value)?)))?
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
