//! The rules that a VSchema must keep to be stored (`BuildKeyspace` of Vitess 22.0.3).
//!
//! Refused although stock takes it: an auto_increment without its column or its sequence, with which vtgate fails inserts.
//! Not checked, as in stock: that the sequence of an auto_increment exists, that a reference's source exists, owner tables, the foreign key
//! mode, the multi-tenant spec.

use std::collections::{BTreeMap, HashSet};

use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use vtmigrated_proto::vschema::{ColumnVindex, Keyspace, Table, Vindex};

use super::vindex::{self, Kind};
use super::{Error, tables, vindexes};
use crate::key_range;

/// Checks a VSchema; the error's text begins with `BuildKeyspace(<keyspace>): `.
///
/// # Errors
/// The first rule that is not kept: vindexes by name, then tables by name.
pub fn build(keyspace: &str, vschema: &Keyspace) -> Result<(), Error> {
    rules(vschema).map_err(|inner| Error::Build { keyspace: keyspace.to_owned(), inner: Box::new(inner) })
}

/// Checks a VSchema; the error's text is the rule's alone.
///
/// # Errors
/// As [`build`].
pub fn rules(vschema: &Keyspace) -> Result<(), Error> {
    let vindexes = vindexes(vschema);
    for (name, vindex) in &vindexes {
        vindex::check(name, vindex)?;
    }
    for (name, table) in tables(vschema) {
        check_table(name, &table, vschema.sharded)?;
        check_columns(name, &table)?;
        for (at, column) in table.column_vindexes.iter().enumerate() {
            check_column_vindex(name, at, column, &vindexes)?;
        }
    }
    Ok(())
}

fn check_table(name: &str, table: &Table, sharded: bool) -> Result<(), Error> {
    match table.r#type.as_str() {
        "" => {}
        "reference" => check_source(name, &table.source)?,
        "sequence" if sharded && table.pinned.is_empty() => return Err(Error::ShardedSequence(name.to_owned())),
        "sequence" => {}
        other => return Err(Error::TableType(other.to_owned())),
    }
    if table.auto_increment.as_ref().is_some_and(|auto| auto.column.is_empty() || auto.sequence.is_empty()) {
        return Err(Error::AutoIncrement(name.to_owned()));
    }
    if let Some(error) = key_range::hex_error(&table.pinned) {
        return Err(Error::Pin(error));
    }
    let needs_vindex = sharded && table.r#type != "reference" && table.pinned.is_empty();
    if needs_vindex && table.column_vindexes.is_empty() {
        return Err(Error::MissingPrimaryVindex(name.to_owned()));
    }
    Ok(())
}

fn check_source(table: &str, source: &str) -> Result<(), Error> {
    if source.split('.').count() <= 2 {
        return Ok(());
    }
    let detail = format!(
        "invalid table name: '{source}', it must be of the unqualified form <table_name> or the qualified form \
         <keyspace_name>.<table_name> (dots are not allowed in either name)"
    );
    Err(Error::ReferenceSource { source_table: source.to_owned(), table: table.to_owned(), detail })
}

fn check_columns(name: &str, table: &Table) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for column in &table.columns {
        if !seen.insert(column.name.to_lowercase()) {
            return Err(Error::DuplicateColumn { column: column.name.clone(), table: name.to_owned() });
        }
        if !column.default.is_empty() && !is_expression(&column.default) {
            return Err(Error::ColumnDefault {
                column: column.name.clone(),
                default: column.default.clone(),
                table: name.to_owned(),
            });
        }
    }
    Ok(())
}

fn is_expression(text: &str) -> bool {
    let dialect = MySqlDialect {};
    let Ok(mut parser) = Parser::new(&dialect).try_with_sql(text) else { return false };
    parser.parse_expr().is_ok() && parser.peek_token().token == sqlparser::tokenizer::Token::EOF
}

fn check_column_vindex(
    table: &str,
    at: usize,
    column: &ColumnVindex,
    vindexes: &BTreeMap<&str, Vindex>,
) -> Result<(), Error> {
    let both = || (column.name.clone(), table.to_owned());
    let found = vindexes.get(column.name.as_str()).and_then(|vindex| Some((vindex, vindex::kind(&vindex.r#type)?)));
    let Some((definition, kind)) = found else {
        let (vindex, table) = both();
        return Err(Error::VindexNotFound { vindex, table });
    };
    let columns = match (column.column.is_empty(), column.columns.len()) {
        (false, 0) => 1,
        (true, count @ 1..) => count,
        (false, _) => {
            let (vindex, table) = both();
            return Err(Error::ColumnAndColumns { vindex, table });
        }
        (true, 0) => {
            let (vindex, table) = both();
            return Err(Error::NoColumn { vindex, table });
        }
    };
    let owned = kind.lookup && definition.owner == table;
    check_role(table, at, &column.name, kind, owned)?;
    let from = definition.params.get("from").map_or(1, |from| from.split(',').count());
    if owned && kind.name.starts_with("consistent_lookup") && from != columns {
        return Err(Error::OwnerColumns(column.name.clone()));
    }
    Ok(())
}

fn check_role(table: &str, at: usize, vindex: &str, kind: &Kind, owned: bool) -> Result<(), Error> {
    let (vindex, table) = (vindex.to_owned(), table.to_owned());
    match (at, owned) {
        (0, _) if !kind.unique => Err(Error::PrimaryNotUnique { vindex, table }),
        (0, true) => Err(Error::PrimaryOwned { vindex, table }),
        (1.., _) if kind.multi_column => Err(Error::MultiColumnNotPrimary { vindex, table }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
