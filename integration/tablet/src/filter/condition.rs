//! Conditions of a rule, judged in the tablet: the copy and the binlog must agree on them.

use std::cmp::Ordering;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use vtmigrated_proto::{query::Type, vschema::SrvVSchema};

use super::{Error, column};
use crate::{
    schema::{BINARY, Table},
    value::Cell,
    vindex::{self, KeyRange, Vindex},
};

#[derive(Clone, Debug)]
pub(super) enum Condition {
    InKeyRange { column: usize, vindex: Vindex, range: KeyRange },
    Compare { column: usize, wanted: &'static [Ordering], with: Operand },
    In { column: usize, values: Vec<Operand>, negated: bool },
    IsNull { column: usize, negated: bool },
}

/// A literal in the form of the column that it is compared with.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Integer(i128),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Condition {
    pub(super) fn holds(&self, table: &Table, row: &[Cell]) -> Result<bool, Error> {
        let cell = |column: usize| row.get(column).and_then(Option::as_deref);
        Ok(match self {
            Self::InKeyRange { column, vindex, range } => {
                let kind = table.columns[*column].field.r#type();
                let id = vindex.keyspace_id(cell(*column), is_signed(kind))?;
                let destination = if id.is_some() { "DestinationKeyspaceID()" } else { "DestinationNone()" };
                let id = id.filter(|id| !id.is_empty());
                let value = || show(kind, cell(*column));
                range.contains(&id.ok_or_else(|| Error::Unmapped { value: value(), destination })?)
            }
            Self::Compare { column, wanted, with } => {
                cell(*column).and_then(|value| with.compare(value)).is_some_and(|order| wanted.contains(&order))
            }
            Self::In { column, values, negated } => cell(*column).is_some_and(|value| {
                values.iter().any(|with| with.compare(value) == Some(Ordering::Equal)) != *negated
            }),
            Self::IsNull { column, negated } => cell(*column).is_none() != *negated,
        })
    }
}

impl Operand {
    /// How the column's value compares with the literal.
    fn compare(&self, value: &[u8]) -> Option<Ordering> {
        let text = || std::str::from_utf8(value).ok();
        match self {
            Self::Integer(with) => Some(text()?.parse::<i128>().ok()?.cmp(with)),
            Self::Float(with) => text()?.parse::<f64>().ok()?.partial_cmp(with),
            Self::Bytes(with) => Some(value.cmp(with.as_slice())),
        }
    }
}

pub(super) fn bind(expr: &Expr, table: &Table, vschema: &SrvVSchema, keyspace: &str) -> Result<Condition, Error> {
    let unsupported = || Error::Constraint(expr.to_string());
    let named = |expr: &Expr| match expr {
        Expr::Identifier(name) => column(table, &name.value),
        _ => Err(unsupported()),
    };
    let value = |column: usize, literal: &Expr| operand(table, column, literal).ok_or_else(unsupported);
    match expr {
        Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("in_keyrange") => {
            in_key_range(call, table, vschema, keyspace)
        }
        Expr::BinaryOp { left, op, right } => {
            let wanted: &'static [Ordering] = match op {
                BinaryOperator::Eq => &[Ordering::Equal],
                BinaryOperator::NotEq => &[Ordering::Less, Ordering::Greater],
                BinaryOperator::Lt => &[Ordering::Less],
                BinaryOperator::LtEq => &[Ordering::Less, Ordering::Equal],
                BinaryOperator::Gt => &[Ordering::Greater],
                BinaryOperator::GtEq => &[Ordering::Greater, Ordering::Equal],
                _ => return Err(unsupported()),
            };
            let column = named(left)?;
            Ok(Condition::Compare { column, wanted, with: value(column, right)? })
        }
        Expr::InList { expr, list, negated } => {
            let column = named(expr)?;
            let values = list.iter().map(|literal| value(column, literal)).collect::<Result<_, _>>()?;
            Ok(Condition::In { column, values, negated: *negated })
        }
        Expr::IsNull(expr) => Ok(Condition::IsNull { column: named(expr)?, negated: false }),
        Expr::IsNotNull(expr) => Ok(Condition::IsNull { column: named(expr)?, negated: true }),
        _ => Err(unsupported()),
    }
}

fn in_key_range(call: &Function, table: &Table, vschema: &SrvVSchema, keyspace: &str) -> Result<Condition, Error> {
    let wrong = || Error::KeyRange(call.to_string());
    let FunctionArguments::List(list) = &call.args else { return Err(wrong()) };
    let arg = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Ok(expr),
        _ => Err(wrong()),
    };
    let args: Vec<&Expr> = list.args.iter().map(arg).collect::<Result<_, _>>()?;
    let (names, vindex, range) = match args.as_slice() {
        [range] => {
            let (names, vindex) = vindex::of_table(vschema, keyspace, &table.name)?;
            (names, vindex, range)
        }
        [columns @ .., vindex, range] if !columns.is_empty() => {
            let name = |expr: &&Expr| match expr {
                Expr::Identifier(name) => Ok(name.value.clone()),
                _ => Err(wrong()),
            };
            let names = columns.iter().map(name).collect::<Result<Vec<_>, _>>()?;
            (names, vindex::find(vschema, &text(vindex).ok_or_else(wrong)?)?, range)
        }
        _ => return Err(wrong()),
    };
    let [name] = names.as_slice() else { return Err(wrong()) };
    let range = KeyRange::parse(&text(range).ok_or_else(wrong)?)?;
    Ok(Condition::InKeyRange { column: column(table, name)?, vindex, range })
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(format!("-{}", text(expr)?)),
        _ => None,
    }
}

/// `None` when the tablet cannot compare as MySQL does: text would need the column's collation.
fn operand(table: &Table, column: usize, literal: &Expr) -> Option<Operand> {
    let literal = text(literal)?;
    let field = &table.columns[column].field;
    match field.r#type() {
        Type::Decimal | Type::Float32 | Type::Float64 => literal.parse().ok().map(Operand::Float),
        kind if is_signed(kind) || is_unsigned(kind) => match literal.parse() {
            Ok(number) => Some(Operand::Integer(number)),
            Err(_) => literal.parse().ok().map(Operand::Float),
        },
        Type::Date | Type::Datetime | Type::Timestamp | Type::Varbinary | Type::Blob if field.charset == BINARY => {
            Some(Operand::Bytes(literal.into_bytes()))
        }
        _ => None,
    }
}

fn is_signed(kind: Type) -> bool {
    matches!(kind, Type::Int8 | Type::Int16 | Type::Int24 | Type::Int32 | Type::Int64)
}

fn is_unsigned(kind: Type) -> bool {
    matches!(kind, Type::Uint8 | Type::Uint16 | Type::Uint24 | Type::Uint32 | Type::Uint64 | Type::Year)
}

/// A value in an error text as Vitess prints it: `INT64(5)`, `VARCHAR("a")`, `NULL`.
fn show(kind: Type, value: Option<&[u8]>) -> String {
    let Some(value) = value else { return "NULL".to_owned() };
    let value = String::from_utf8_lossy(value);
    match kind {
        kind if is_signed(kind) || is_unsigned(kind) => format!("{}({value})", kind.as_str_name()),
        kind => format!("{}({value:?})", kind.as_str_name()),
    }
}
