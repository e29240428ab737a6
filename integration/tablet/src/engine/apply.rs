//! Rows and changes of one table as SQL for the target.

mod key;

use vtmigrated_proto::{
    binlogdata::RowChange,
    query::{Field, Row, Type},
};

use self::key::Bound;
use super::{
    columns::Table,
    error::{Error, Result},
    plan::TableRule,
};
use crate::sql::{push_value, quote, values};

pub use self::key::LastKey;

/// Time zones between which DATETIME values are converted; both empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    pub source: String,
    pub target: String,
}

/// How the rows of one stream of a table become statements. Made anew for each FIELD event.
#[derive(Clone, Debug)]
pub struct TablePlan {
    table: String,
    columns: Vec<PlannedColumn>,
    /// Indexes of the key columns.
    key: Vec<usize>,
    unique: bool,
    zones: Zones,
    bound: Option<Bound>,
}

#[derive(Clone, Debug)]
struct PlannedColumn {
    /// In backticks.
    name: String,
    kind: Type,
    generated: bool,
    /// Bytes of a BINARY column: the source's binlog does not carry trailing zeros.
    padded: Option<usize>,
}

type Values<'a> = Vec<Option<&'a [u8]>>;

impl TablePlan {
    /// Combines a rule, the target's table and the fields that the source announced. With `last` only rows up to that
    /// key are touched by changes.
    ///
    /// # Errors
    /// A key column that the source does not send.
    pub fn new(
        rule: &TableRule,
        table: &Table,
        fields: &[Field],
        last: Option<&LastKey>,
        zones: &Zones,
    ) -> Result<Self> {
        let names: Vec<&str> = match &rule.columns {
            Some(columns) => columns.iter().map(String::as_str).collect(),
            None => fields.iter().map(|field| field.name.trim_matches('`')).collect(),
        };
        if names.len() != fields.len() {
            return Err(Error::unknown(format!(
                "wrong number of fields: got {} fields for {} bind locations",
                fields.len(),
                names.len()
            )));
        }
        let columns = fields.iter().zip(&names).map(|(field, name)| planned(field, name, table)).collect();
        let mut key = Vec::new();
        for name in &table.key {
            match names.iter().position(|planned| planned.eq_ignore_ascii_case(name)) {
                Some(index) => key.push(index),
                None if table.column(name).is_some_and(|column| column.generated) => {}
                None => return Err(Error::unknown(format!("primary key column {name} not found in select list"))),
            }
        }
        let bound = match last {
            Some(last) => Some(Bound::new(last, fields, &names, table)?),
            None => None,
        };
        let table_name = quote(&rule.target);
        Ok(Self { table: table_name, columns, key, unique: table.unique, zones: zones.clone(), bound })
    }

    /// One statement that inserts all rows.
    ///
    /// # Errors
    /// Rows that do not fit the announced fields.
    pub fn insert_rows<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> Result<Vec<u8>> {
        let mut sql = self.insert_front();
        sql.extend(b" values ");
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                sql.extend(b", ");
            }
            sql.push(b'(');
            self.push_inserted(&mut sql, &self.values(row)?);
            sql.push(b')');
        }
        Ok(sql)
    }

    /// The statements of one row event. Without a bound, inserts become one statement, and so do deletes by one key column.
    ///
    /// # Errors
    /// Rows that do not fit the announced fields, and images that are not full.
    pub fn changes(&self, changes: &[RowChange]) -> Result<Vec<Vec<u8>>> {
        if self.bound.is_none() && changes.len() > 1 {
            if changes.iter().all(|change| change.before.is_none() && change.after.is_some()) {
                return Ok(vec![self.insert_rows(changes.iter().filter_map(|change| change.after.as_ref()))?]);
            }
            if let [key] = self.key.as_slice()
                && self.unique
                && changes.iter().all(|change| change.before.is_some() && change.after.is_none())
            {
                return Ok(vec![self.delete_many(*key, changes)?]);
            }
        }
        let mut statements = Vec::new();
        for change in changes {
            self.push_change(&mut statements, change)?;
        }
        Ok(statements)
    }

    fn push_change(&self, statements: &mut Vec<Vec<u8>>, change: &RowChange) -> Result<()> {
        if change.data_columns.is_some() || change.json_partial_values.is_some() {
            return Err(Error::unknown("partial row image encountered: ensure binlog_row_image is set to 'full'"));
        }
        let before = change.before.as_ref().map(|row| self.values(row)).transpose()?;
        let after = change.after.as_ref().map(|row| self.values(row)).transpose()?;
        match (before, after) {
            (Some(before), Some(after)) if !self.key_changed(&before, &after) => {
                statements.extend(self.update(&before, &after));
            }
            (before, after) => {
                statements.extend(before.map(|before| self.delete(&before)));
                statements.extend(after.map(|after| self.insert(&after)));
            }
        }
        Ok(())
    }

    fn values<'a>(&self, row: &'a Row) -> Result<Values<'a>> {
        if row.lengths.len() != self.columns.len() {
            return Err(Error::unknown(format!(
                "wrong number of lengths: got {} lengths for {} fields",
                row.lengths.len(),
                self.columns.len()
            )));
        }
        values(row).map_err(Error::unknown)
    }

    fn key_changed(&self, before: &Values<'_>, after: &Values<'_>) -> bool {
        self.key.iter().any(|&index| before[index] != after[index])
    }

    fn insert_front(&self) -> Vec<u8> {
        let names: Vec<&str> =
            self.columns.iter().filter(|column| !column.generated).map(|column| column.name.as_str()).collect();
        format!("insert into {}({})", self.table, names.join(",")).into_bytes()
    }

    fn insert(&self, row: &Values<'_>) -> Vec<u8> {
        let mut sql = self.insert_front();
        match &self.bound {
            None => {
                sql.extend(b" values (");
                self.push_inserted(&mut sql, row);
                sql.push(b')');
            }
            Some(bound) => {
                sql.extend(b" select ");
                self.push_inserted(&mut sql, row);
                sql.extend(b" from dual where ");
                bound.push_condition(&mut sql, row);
            }
        }
        sql
    }

    fn push_inserted(&self, sql: &mut Vec<u8>, row: &Values<'_>) {
        let stored = self.columns.iter().zip(row).filter(|(column, _)| !column.generated);
        for (index, (column, value)) in stored.enumerate() {
            if index > 0 {
                sql.push(b',');
            }
            self.push_stored(sql, column, *value);
        }
    }

    fn push_stored(&self, sql: &mut Vec<u8>, column: &PlannedColumn, value: Option<&[u8]>) {
        let converts = !self.zones.source.is_empty() && !self.zones.target.is_empty();
        if converts && column.kind == Type::Datetime && value.is_some() {
            sql.extend(b"convert_tz(");
            push_value(sql, column.kind, value);
            for zone in [&self.zones.source, &self.zones.target] {
                sql.push(b',');
                push_value(sql, Type::Varchar, Some(zone.as_bytes()));
            }
            sql.push(b')');
        } else {
            push_value(sql, column.kind, value);
        }
    }

    /// `None` when there is nothing to set: then all columns are the key, and it is the same.
    fn update(&self, before: &Values<'_>, after: &Values<'_>) -> Option<Vec<u8>> {
        let mut sql = format!("update {} set ", self.table).into_bytes();
        let mut any = false;
        for (index, (column, value)) in self.columns.iter().zip(after).enumerate() {
            if column.generated || self.key.contains(&index) {
                continue;
            }
            if any {
                sql.extend(b", ");
            }
            any = true;
            sql.extend(column.name.as_bytes());
            sql.push(b'=');
            self.push_stored(&mut sql, column, *value);
        }
        self.push_where(&mut sql, before);
        any.then_some(sql)
    }

    fn delete(&self, before: &Values<'_>) -> Vec<u8> {
        let mut sql = format!("delete from {}", self.table).into_bytes();
        self.push_where(&mut sql, before);
        sql
    }

    fn delete_many(&self, key: usize, changes: &[RowChange]) -> Result<Vec<u8>> {
        let column = &self.columns[key];
        let mut sql = format!("delete from {} where {} in (", self.table, column.name).into_bytes();
        for (index, before) in changes.iter().filter_map(|change| change.before.as_ref()).enumerate() {
            if index > 0 {
                sql.extend(b", ");
            }
            push_compared(&mut sql, column, self.values(before)?[key]);
        }
        sql.push(b')');
        Ok(sql)
    }

    fn push_where(&self, sql: &mut Vec<u8>, before: &Values<'_>) {
        for (position, &index) in self.key.iter().enumerate() {
            sql.extend(if position == 0 { &b" where "[..] } else { b" and " });
            let column = &self.columns[index];
            sql.extend(column.name.as_bytes());
            match before[index] {
                None => sql.extend(b" is null"),
                value => {
                    sql.push(b'=');
                    push_compared(sql, column, value);
                }
            }
        }
        if let Some(bound) = &self.bound {
            sql.extend(b" and ");
            bound.push_condition(sql, before);
        }
        if !self.unique {
            // one change of the source is one row, and equal rows may exist
            sql.extend(b" limit 1");
        }
    }
}

fn planned(field: &Field, name: &str, table: &Table) -> PlannedColumn {
    let target = table.column(name);
    let length = target.filter(|column| column.data_type == "binary").map(|column| {
        column.column_type.trim_start_matches("binary(").trim_end_matches(')').parse().unwrap_or_default()
    });
    PlannedColumn {
        name: quote(name),
        kind: field.r#type(),
        generated: target.is_some_and(|column| column.generated),
        padded: length,
    }
}

fn push_compared(sql: &mut Vec<u8>, column: &PlannedColumn, value: Option<&[u8]>) {
    match (column.kind, column.padded, value) {
        (Type::Json, _, Some(_)) => {
            sql.extend(b"cast(");
            push_value(sql, column.kind, value);
            sql.extend(b" as json)");
        }
        (_, Some(length), Some(bytes)) if bytes.len() < length => {
            let mut padded = bytes.to_vec();
            padded.resize(length, 0);
            push_value(sql, column.kind, Some(&padded));
        }
        _ => push_value(sql, column.kind, value),
    }
}

#[cfg(test)]
mod tests;
