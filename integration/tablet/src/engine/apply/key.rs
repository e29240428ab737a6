//! "Up to the last copied key", as a condition on a row that the source sent.

use vtmigrated_proto::query::{Field, QueryResult, Type};

use super::Values;
use crate::{
    engine::{
        columns::{Column, Table},
        error::{Error, Result},
    },
    sql::{push_value, values},
};

/// The key of the last row that was copied, in the order in which the source reads.
#[derive(Clone, Debug, PartialEq)]
pub struct LastKey {
    /// As stored: the key's fields and one row.
    pub result: QueryResult,
}

/// A last key matched with the fields of a stream.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    /// Index of the column in the stream's rows.
    index: usize,
    kind: Type,
    column: Column,
    last: Option<Vec<u8>>,
}

impl Bound {
    pub(super) fn new(last: &LastKey, fields: &[Field], names: &[&str], table: &Table) -> Result<Self> {
        let row = last.result.rows.first().ok_or_else(|| Error::unknown("lastpk has no row"))?;
        let row = values(row).map_err(Error::unknown)?;
        let mut parts = Vec::new();
        for (key, value) in last.result.fields.iter().zip(row) {
            let found = fields.iter().position(|field| field.name.trim_matches('`').eq_ignore_ascii_case(&key.name));
            let index = found.ok_or_else(|| Error::unknown(format!("lastpk column {} is not streamed", key.name)))?;
            let column = table.column(names[index]).cloned().unwrap_or_default();
            parts.push(Part { index, kind: fields[index].r#type(), column, last: value.map(<[u8]>::to_vec) });
        }
        Ok(Self { parts })
    }

    /// Keys without NULL compare as tuples. Else the order is spelled out, with NULL first as MySQL sorts it.
    pub(super) fn push_condition(&self, sql: &mut Vec<u8>, row: &Values<'_>) {
        let nulls = self.parts.iter().any(|part| part.last.is_none() || row[part.index].is_none());
        if nulls {
            self.push_spelled_out(sql, row);
            return;
        }
        sql.push(b'(');
        self.push_tuple(sql, |part| row[part.index]);
        sql.extend(b") <= (");
        self.push_tuple(sql, |part| part.last.as_deref());
        sql.push(b')');
    }

    fn push_tuple<'a>(&'a self, sql: &mut Vec<u8>, value: impl Fn(&'a Part) -> Option<&'a [u8]>) {
        for (position, part) in self.parts.iter().enumerate() {
            if position > 0 {
                sql.push(b',');
            }
            part.push(sql, value(part));
        }
    }

    /// `(a < x or (a <=> x and (b < y or (b <=> y and true))))`
    fn push_spelled_out(&self, sql: &mut Vec<u8>, row: &Values<'_>) {
        for part in &self.parts {
            let value = row[part.index];
            sql.push(b'(');
            match (value, &part.last) {
                (_, None) => sql.extend(b"false"),
                (None, Some(_)) => sql.extend(b"true"),
                (Some(_), Some(last)) => {
                    part.push(sql, value);
                    sql.push(b'<');
                    part.push(sql, Some(last));
                }
            }
            sql.extend(b" or (");
            part.push(sql, value);
            sql.extend(b" <=> ");
            part.push(sql, part.last.as_deref());
            sql.extend(b" and ");
        }
        sql.extend(b"true");
        sql.extend(std::iter::repeat_n(b')', 2 * self.parts.len()));
    }
}

impl Part {
    /// A literal that compares as the column does.
    fn push(&self, sql: &mut Vec<u8>, value: Option<&[u8]>) {
        let column = &self.column;
        match value {
            None => sql.extend(b"null"),
            // enums sort by their place in the list
            Some(_) if column.data_type == "enum" => {
                sql.extend(b"field(");
                push_value(sql, Type::Varchar, value);
                sql.push(b',');
                sql.extend(column.column_type.trim_start_matches("enum(").as_bytes());
            }
            Some(_) if column.data_type == "time" => {
                sql.extend(b"time");
                push_value(sql, self.kind, value);
            }
            Some(_) if !column.charset.is_empty() => {
                sql.extend(format!("_{} ", column.charset).as_bytes());
                push_value(sql, self.kind, value);
                sql.extend(format!(" collate {}", column.collation).as_bytes());
            }
            Some(_) => push_value(sql, self.kind, value),
        }
    }
}
