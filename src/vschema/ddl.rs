//! `alter vschema` statements: what each of them changes.

mod parse;

use std::collections::HashMap;

use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::{AutoIncrement, ColumnVindex, Keyspace, Table, Vindex};

use self::parse::{Change, Spec};
use super::Error;

/// Longest statement text that an error repeats, in characters: errors travel in headers.
const SHOWN: usize = 1000;

/// The VSchema after one statement. A table qualifier in the statement is ignored, as in stock. A quoted value of `with`
/// counts without its quotes (stock keeps them, and then refuses most such vindexes).
///
/// # Errors
/// [`Error::Parse`], [`Error::NotVSchemaDdl`], and [`Error::Ddl`] for a statement that does not fit the keyspace.
pub fn apply(keyspace: &str, vschema: &Keyspace, sql: &str) -> Result<Keyspace, Error> {
    let shown: String = sql.chars().take(SHOWN).collect();
    let change = parse::statement(sql).map_err(|error| match error {
        parse::Error::NotVSchema => Error::NotVSchemaDdl(shown.clone()),
        parse::Error::Syntax(detail) => Error::Parse { sql: shown.clone(), detail },
    })?;
    let mut edit = Edit::new(keyspace, vschema);
    edit.apply(change).map_err(|inner| Error::Ddl {
        keyspace: keyspace.to_owned(),
        sql: shown,
        inner: Box::new(inner),
    })?;
    Ok(edit.vschema)
}

/// Where a text stops being an `alter vschema` statement, without a word of the text.
///
/// # Errors
/// A text that begins as stock's of the same failure.
pub fn check_quietly(sql: &str) -> Result<(), String> {
    match parse::statement(sql) {
        Ok(_) => Ok(()),
        Err(parse::Error::NotVSchema) => Err("error parsing VSchema DDL statement: at position 1".into()),
        Err(parse::Error::Syntax(detail)) => {
            // behind the position stands what was read
            let end = detail.find(" near ").or_else(|| detail.find(": ")).unwrap_or(detail.len());
            Err(format!("error parsing VSchema DDL statement: {}", detail.get(..end).unwrap_or_default()))
        }
    }
}

/// A VSchema being changed: no entry twice, none without a value.
struct Edit<'a> {
    keyspace: &'a str,
    vschema: Keyspace,
}

impl<'a> Edit<'a> {
    fn new(keyspace: &'a str, old: &Keyspace) -> Self {
        let mut vschema = old.clone();
        vschema.vindexes = last_of_each(&old.vindexes, |entry| &entry.key);
        vschema.tables = last_of_each(&old.tables, |entry| &entry.key);
        for entry in &mut vschema.vindexes {
            entry.value.get_or_insert_default();
        }
        for entry in &mut vschema.tables {
            entry.value.get_or_insert_default();
        }
        Self { keyspace, vschema }
    }

    fn apply(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::CreateVindex(spec) => self.create_vindex(spec),
            Change::DropVindex(name) => self.drop_vindex(&name),
            Change::AddTable(name) => self.add_table(&name, "table", Table::default()),
            Change::DropTable(name) => self.drop_table(&name, "table"),
            Change::AddSequence(name) => {
                self.add_table(&name, "sequence", Table { r#type: "sequence".into(), ..Table::default() })
            }
            Change::DropSequence(name) => {
                self.unsharded("drop sequence table")?;
                self.drop_table(&name, "sequence")
            }
            Change::AddColumnVindex { table, spec, columns } => self.add_column_vindex(&table, spec, columns),
            Change::DropColumnVindex { table, vindex } => self.drop_column_vindex(&table, &vindex),
            Change::AddAutoIncrement { table, column, sequence } => self.add_auto_increment(&table, column, sequence),
            Change::DropAutoIncrement { table } => self.drop_auto_increment(&table),
        }
    }

    fn create_vindex(&mut self, spec: Spec) -> Result<(), Error> {
        let (name, keyspace) = (&spec.name, self.keyspace);
        if self.vindex(name).is_some() {
            return Err(Error::Exists(format!("vindex {name} already exists in keyspace {keyspace}")));
        }
        self.define(&spec);
        Ok(())
    }

    fn drop_vindex(&mut self, name: &str) -> Result<(), Error> {
        if self.vindex(name).is_none() {
            let keyspace = self.keyspace;
            return Err(Error::Missing(format!("vindex {name} does not exists in keyspace {keyspace}")));
        }
        for (table, definition) in super::tables(&self.vschema) {
            if definition.column_vindexes.iter().any(|column| column.name == name) {
                let text = format!("can not drop vindex cause {name} still defined on table {table}");
                return Err(Error::Refused(text));
            }
        }
        self.vschema.vindexes.retain(|entry| entry.key != name);
        Ok(())
    }

    fn add_table(&mut self, name: &str, what: &str, table: Table) -> Result<(), Error> {
        self.unsharded(if what == "table" { "add vschema table" } else { "add sequence table" })?;
        if self.table(name).is_some() {
            let keyspace = self.keyspace;
            return Err(Error::Exists(format!("vschema already contains {what} {name} in keyspace {keyspace}")));
        }
        self.put_table(name, table);
        Ok(())
    }

    fn drop_table(&mut self, name: &str, what: &str) -> Result<(), Error> {
        if self.table(name).is_none() {
            return Err(self.no_table(name, what));
        }
        self.vschema.tables.retain(|entry| entry.key != name);
        Ok(())
    }

    fn add_column_vindex(&mut self, table: &str, spec: Spec, columns: Vec<String>) -> Result<(), Error> {
        let name = spec.name.clone();
        match (&spec.kind, self.vindex(&name)) {
            (Some(kind), Some(old)) => same_definition(&spec, kind, old)?,
            (Some(_), None) => self.define(&spec),
            (None, Some(_)) => {}
            (None, None) => {
                let keyspace = self.keyspace;
                return Err(Error::Missing(format!("vindex {name} does not exist in keyspace {keyspace}")));
            }
        }
        let mut definition = self.table(table).cloned().unwrap_or_default();
        if definition.column_vindexes.iter().any(|column| column.name == name) {
            return Err(Error::Exists(format!("vindex {name} already defined on table {table}")));
        }
        definition.column_vindexes.push(ColumnVindex { name, columns, ..ColumnVindex::default() });
        self.put_table(table, definition);
        Ok(())
    }

    fn drop_column_vindex(&mut self, table: &str, vindex: &str) -> Result<(), Error> {
        let keyspace = self.keyspace;
        let Some(definition) = self.table_mut(table) else {
            return Err(Error::Missing(format!("table {keyspace}.{table} not defined in vschema")));
        };
        let Some(at) = definition.column_vindexes.iter().position(|column| column.name == vindex) else {
            return Err(Error::Missing(format!("vindex {vindex} not defined in table {keyspace}.{table}")));
        };
        definition.column_vindexes.remove(at);
        if definition.column_vindexes.is_empty() {
            self.vschema.tables.retain(|entry| entry.key != table);
        }
        Ok(())
    }

    fn add_auto_increment(&mut self, table: &str, column: String, sequence: String) -> Result<(), Error> {
        let (keyspace, missing) = (self.keyspace, self.no_table(table, "table"));
        let definition = self.table_mut(table).ok_or(missing)?;
        if let Some(AutoIncrement { column, sequence }) = &definition.auto_increment {
            return Err(Error::Exists(format!(
                "vschema already contains auto inc column:{column:?} sequence:{sequence:?} on table {table} in keyspace \
                 {keyspace}"
            )));
        }
        definition.auto_increment = Some(AutoIncrement { column, sequence });
        Ok(())
    }

    fn drop_auto_increment(&mut self, table: &str) -> Result<(), Error> {
        let (keyspace, missing) = (self.keyspace, self.no_table(table, "table"));
        let definition = self.table_mut(table).ok_or(missing)?;
        match definition.auto_increment.take() {
            Some(_) => Ok(()),
            None => Err(Error::Missing(format!(
                "vschema does not contain auto increment <nil> on table {table} in keyspace {keyspace}"
            ))),
        }
    }

    fn define(&mut self, spec: &Spec) {
        // the first vindex makes the keyspace a sharded one
        self.vschema.sharded |= self.vschema.vindexes.is_empty();
        let (owner, params) = (spec.owner.clone(), spec.params.clone());
        self.put_vindex(&spec.name, Vindex { r#type: spec.kind.clone().unwrap_or_default(), params, owner });
    }

    fn unsharded(&self, action: &str) -> Result<(), Error> {
        if self.vschema.sharded {
            return Err(Error::Refused(format!("{action}: unsupported on sharded keyspace {}", self.keyspace)));
        }
        Ok(())
    }

    fn no_table(&self, table: &str, what: &str) -> Error {
        Error::Missing(format!("vschema does not contain {what} {table} in keyspace {}", self.keyspace))
    }

    fn vindex(&self, name: &str) -> Option<&Vindex> {
        self.vschema.vindexes.iter().find(|entry| entry.key == name)?.value.as_ref()
    }

    fn table(&self, name: &str) -> Option<&Table> {
        self.vschema.tables.iter().find(|entry| entry.key == name)?.value.as_ref()
    }

    fn table_mut(&mut self, name: &str) -> Option<&mut Table> {
        self.vschema.tables.iter_mut().find(|entry| entry.key == name)?.value.as_mut()
    }

    fn put_vindex(&mut self, name: &str, value: Vindex) {
        match self.vschema.vindexes.iter_mut().find(|entry| entry.key == name) {
            Some(entry) => entry.value = Some(value),
            None => self.vschema.vindexes.push(VindexesEntry { key: name.to_owned(), value: Some(value) }),
        }
    }

    fn put_table(&mut self, name: &str, value: Table) {
        match self.vschema.tables.iter_mut().find(|entry| entry.key == name) {
            Some(entry) => entry.value = Some(value),
            None => self.vschema.tables.push(TablesEntry { key: name.to_owned(), value: Some(value) }),
        }
    }
}

/// The entries without those that a later one of the same key takes the place of.
fn last_of_each<'e, E: Clone>(entries: &'e [E], key: impl Fn(&'e E) -> &'e String) -> Vec<E> {
    let mut places: HashMap<&String, usize> = HashMap::with_capacity(entries.len());
    let mut kept: Vec<E> = Vec::with_capacity(entries.len());
    for entry in entries {
        match places.get(key(entry)).and_then(|place| kept.get_mut(*place)) {
            Some(earlier) => earlier.clone_from(entry),
            None => {
                places.insert(key(entry), kept.len());
                kept.push(entry.clone());
            }
        }
    }
    kept
}

fn same_definition(spec: &Spec, kind: &str, old: &Vindex) -> Result<(), Error> {
    let name = &spec.name;
    if old.r#type != kind {
        return Err(Error::Refused(format!("vindex {name} defined with type {} not {kind}", old.r#type)));
    }
    if old.owner != spec.owner {
        return Err(Error::Refused(format!("vindex {name} defined with owner {} not {}", old.owner, spec.owner)));
    }
    if old.params != spec.params {
        return Err(Error::Refused(format!("vindex {name} defined with different parameters")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
