//! Whether the target's vschema fits the tables: columns of vindexes, and lookup vindexes with their owners.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema};

use super::tables::Shapes;
use crate::error::check;
use crate::sql::quote;
use crate::vschema::{self, vindex};
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::names::some;

/// Vindex types that take whole numbers only.
const NUMERIC: [&str; 4] = ["hash", "numeric", "numeric_static_map", "reverse_bits"];
const NUMBERS: [&str; 8] = ["tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year", "bit"];

/// Vindex columns that a table does not have, or of a type that the vindex does not take.
///
/// The filters of the streams need only one vindex of a table, and its columns at the source: `filtering` are these, by table.
/// The columns of the others may be the target's own, in `on_target`, and where they are nowhere nothing is copied wrongly.
pub fn columns(
    (keyspace, vschema): (&str, &VSchema),
    tables: &[String],
    (shapes, on_target): (&Shapes, &Shapes),
    filtering: &BTreeMap<String, ColumnVindex>,
) -> Vec<Finding> {
    if !vschema.sharded {
        return Vec::new();
    }
    let (known, vindexes) = (vschema::tables(vschema), vschema::vindexes(vschema));
    let mut found = Vec::new();
    for table in tables {
        let (Some(entry), Some(shape)) = (known.get(table.as_str()), shapes.get(table)) else { continue };
        if entry.r#type == "reference" || shape.columns.is_empty() {
            continue;
        }
        for by in &entry.column_vindexes {
            let filters = filtering.get(table) == Some(by);
            let own = on_target.get(table).filter(|_| !filters);
            let kind = vindexes.get(by.name.as_str()).map(|vindex| vindex.r#type.as_str()).unwrap_or_default();
            for column in names(by) {
                let subject = format!("table {table}");
                match shape.column(column).or_else(|| own.and_then(|own| own.column(column))) {
                    None => {
                        let cause =
                            format!("column {column} of vindex {} is not in table {table} of the source", by.name);
                        let fix = format!(
                            "fix the columns of the vindex in the vschema: ApplyVSchema --vschema-file <file> {keyspace}"
                        );
                        let missing = Finding::new(&check::VINDEX_COLUMN_MISSING, subject, cause, fix);
                        let severity = if filters { missing.severity } else { Severity::Warns };
                        found.push(Finding { severity, ..missing });
                    }
                    Some(there) if NUMERIC.contains(&kind) && !NUMBERS.contains(&there.kind.word.as_str()) => {
                        found.push(Finding::new(
                            &check::VINDEX_COLUMN_TYPE,
                            subject,
                            format!(
                                "vindex {} of type {kind} takes whole numbers, and column {column} of table {table} is {}",
                                by.name, there.kind.word
                            ),
                            format!(
                                "choose a vindex type that takes it, such as xxhash or unicode_loose_xxhash: ApplyVSchema \
                                 --vschema-file <file> {keyspace}"
                            ),
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    found
}

fn names(by: &ColumnVindex) -> &[String] {
    if by.columns.is_empty() { std::slice::from_ref(&by.column) } else { &by.columns }
}

/// Lookup vindexes of the tables whose owner, or whose own table, will not be there.
pub fn lookups(keyspace: &str, tables: &[String], vschema: &VSchema, on_target: &BTreeSet<&str>) -> Vec<Finding> {
    let (known, vindexes) = (vschema::tables(vschema), vschema::vindexes(vschema));
    let moved: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for table in tables {
        let Some(entry) = known.get(table.as_str()) else { continue };
        for by in &entry.column_vindexes {
            let Some(lookup) = vindexes.get(by.name.as_str()) else { continue };
            if !vindex::kind(&lookup.r#type).is_some_and(|kind| kind.lookup) {
                continue;
            }
            let (owner, subject) = (lookup.owner.as_str(), format!("vindex {}", by.name));
            let behind = lookup.params.get("table").map(String::as_str).unwrap_or_default();
            if owner == table {
                if !is_moved(keyspace, &moved, behind) && seen.insert((owner.to_owned(), by.name.clone())) {
                    let cause = format!(
                        "streams write past vtgate: table {behind} behind lookup vindex {} does not get the entries of the rows \
                         of {table}",
                        by.name
                    );
                    let fix = format!(
                        "move {behind} too, or fill it after complete: LookupVindex --name {} --table-keyspace {keyspace} create",
                        by.name
                    );
                    found.push(Finding::new(&check::LOOKUP_NOT_FILLED, subject, cause, fix));
                }
            } else if !owner.is_empty() && !moved.contains(owner) && !on_target.contains(owner) {
                let cause = format!(
                    "table {table} is found by lookup vindex {}, whose owner {owner} is neither moved nor on the target",
                    by.name
                );
                let fix = format!("move {owner} together with it: add it to --tables");
                found.push(Finding::new(&check::LOOKUP_OWNER_LEFT_OUT, subject, cause, fix));
            }
        }
    }
    found
}

/// True for a `[<keyspace>.]<table>` that is one of the tables of the keyspace.
fn is_moved(keyspace: &str, moved: &BTreeSet<&str>, name: &str) -> bool {
    // what stock's parser does not take is compared as it is
    let (of, table) = quote::table_name(name).unwrap_or_else(|| (None, name.to_owned()));
    of.is_none_or(|of| of == keyspace) && moved.contains(table.as_str())
}

/// Sequences of the source that do not come along: those that the tables use there, and those of the keyspace.
pub fn sequences_left(keyspace: &str, tables: &[String], source: &VSchema) -> BTreeSet<String> {
    let known = vschema::tables(source);
    let moved: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let used = tables.iter().filter_map(|table| known.get(table.as_str())?.auto_increment.as_ref());
    let used =
        used.map(|auto| auto.sequence.clone()).filter(|name| !name.is_empty() && !is_moved(keyspace, &moved, name));
    let own = known.iter().filter(|(name, table)| table.r#type == "sequence" && !moved.contains(*name));
    used.chain(own.map(|(name, _)| (*name).to_owned())).collect()
}

/// Entries that create writes with a type, each with it: one finding.
pub fn types_kept(keyspace: &str, entries: &[String]) -> Option<Finding> {
    entries.first()?;
    let cause =
        format!("these are written to the vschema of keyspace {keyspace} with their types: {}", some(entries, ", "));
    let fix = "nothing, if it is meant so; cancel takes the entries back";
    Some(Finding::new(&check::VSCHEMA_TYPES_KEPT, format!("keyspace {keyspace}"), cause, fix))
}

/// Tables whose vschema entry names a sequence and the column that it counts.
pub fn sequenced(vschema: &VSchema) -> BTreeSet<&str> {
    let named = |entry: &&vtmigrated_proto::vschema::keyspace::TablesEntry| {
        entry
            .value
            .as_ref()
            .and_then(|table| table.auto_increment.as_ref())
            .is_some_and(|auto| !auto.sequence.is_empty() && !auto.column.is_empty())
    };
    vschema.tables.iter().filter(named).map(|entry| entry.key.as_str()).collect()
}

#[cfg(test)]
mod tests;
