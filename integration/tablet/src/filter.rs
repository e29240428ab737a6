//! Rules of a stream: which tables, which columns, which rows.

mod condition;
mod parse;

use regex::Regex;
use vtmigrated_proto::{
    binlogdata::{Filter, Rule},
    query::{Field, Row},
    vschema::SrvVSchema,
};

use self::condition::Condition;
use crate::{
    schema::Table,
    value::{self, Cell},
    vindex,
};

pub use parse::{Query, parse};

/// Why a rule cannot be followed, or a row not be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("unsupported: {0}")]
    Unsupported(String),
    #[error("unsupported function: {0}")]
    Function(String),
    #[error("unsupported constraint: {0}")]
    Constraint(String),
    #[error("[BUG] unexpected in_keyrange parameters: {0}")]
    KeyRange(String),
    #[error("column {column} not found in table {table}")]
    Column { column: String, table: String },
    #[error("unsupported: select expression table {query} does not match the table entry name {table}")]
    Table { query: String, table: String },
    #[error("could not map [{value}] to a keyspace id, got destination {destination}")]
    Unmapped { value: String, destination: &'static str },
    #[error(transparent)]
    Vindex(#[from] vindex::Error),
    #[error("regular expression of a rule: {0}")]
    Regex(#[from] regex::Error),
}

/// What a stream does with the rows of one table.
#[derive(Clone, Debug)]
pub struct Plan {
    pub table: Table,
    /// Columns sent, as indexes into the table's.
    columns: Vec<usize>,
    conditions: Vec<Condition>,
}

impl Plan {
    /// The fields of the rows sent.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|&n| self.table.columns[n].field.clone()).collect()
    }

    /// Whether the stream has the row; `row` holds every column of the table.
    ///
    /// # Errors
    /// [`Error::Unmapped`] and those of the vindex.
    pub fn matches(&self, row: &[Cell]) -> Result<bool, Error> {
        for condition in &self.conditions {
            if !condition.holds(&self.table, row)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The row as it is sent.
    #[must_use]
    pub fn project(&self, row: &[Cell]) -> Row {
        value::to_row(self.columns.iter().filter_map(|&n| row.get(n)))
    }
}

/// The select of the first rule that matches the table; `None` when there is none or it excludes the table.
///
/// # Errors
/// A rule's regular expression is wrong.
pub fn query_of(filter: &Filter, table: &str) -> Result<Option<String>, Error> {
    for Rule { r#match: name, filter, .. } in &filter.rules {
        let is_regex = name.starts_with('/');
        if !(if is_regex { Regex::new(name.trim_matches('/'))?.is_match(table) } else { name == table }) {
            continue;
        }
        let all = format!("select * from `{table}`");
        return Ok(match filter.as_str() {
            "exclude" => None,
            "" => Some(all),
            range if is_regex => Some(format!("{all} where in_keyrange('{range}')")),
            query => Some(query.to_owned()),
        });
    }
    Ok(None)
}

/// Binds a parsed select to the table as it is now.
///
/// # Errors
/// Unknown columns, unknown or unusable vindexes, conditions that this tablet cannot judge.
pub fn plan(query: &Query, table: Table, vschema: &SrvVSchema, keyspace: &str) -> Result<Plan, Error> {
    if query.table != table.name {
        return Err(Error::Table { query: query.table.clone(), table: table.name });
    }
    let columns = match &query.columns {
        None => (0..table.columns.len()).collect(),
        Some(names) => names.iter().map(|name| column(&table, name)).collect::<Result<_, _>>()?,
    };
    let conditions = query
        .conditions
        .iter()
        .map(|expr| condition::bind(expr, &table, vschema, keyspace))
        .collect::<Result<_, _>>()?;
    Ok(Plan { table, columns, conditions })
}

fn column(table: &Table, name: &str) -> Result<usize, Error> {
    table.column(name).ok_or_else(|| Error::Column { column: name.to_owned(), table: table.name.clone() })
}

#[cfg(test)]
mod tests;
