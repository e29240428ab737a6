//! What tables bring along: keys, counters; and what stays behind.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::tabletmanagerdata::TableDefinition;

use super::servers::Server;
use crate::error::check;
use crate::sql::ddl::{self, Shape};
use crate::workflow::findings::Finding;

/// Definitions by table, as a tablet gave them.
pub type Definitions = BTreeMap<String, TableDefinition>;
/// Shapes by table; tables whose definition cannot be read are missing.
pub type Shapes = BTreeMap<String, Shape>;

/// Names that one sentence lists.
const LISTED: usize = 20;

/// The shapes of some tables.
pub fn shapes(tables: &[String], definitions: &Definitions) -> Shapes {
    let shape = |table: &String| Some((table.clone(), ddl::shape(&definitions.get(table)?.schema).ok()?));
    tables.iter().filter_map(shape).collect()
}

/// What the source's databases hold that no stream brings over: one finding.
/// `sequences` are those that the tables use there and that are not among them.
pub fn staying(keyspace: &str, servers: &[Server], sequences: &BTreeSet<String>) -> Option<Finding> {
    let inventories = servers.iter().filter_map(|server| server.answers.as_ref().ok()).flat_map(|a| &a.inventory);
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (kind, name) in inventories {
        kinds.entry(kind).or_default().insert(name);
    }
    if !sequences.is_empty() {
        kinds.insert("sequence", sequences.iter().map(String::as_str).collect());
    }
    if kinds.is_empty() {
        return None;
    }
    let text = |(kind, names): (&&str, &BTreeSet<&str>)| {
        let names: Vec<&str> = names.iter().copied().collect();
        format!("{} {kind}{} ({})", names.len(), if names.len() == 1 { "" } else { "s" }, list(&names))
    };
    let cause = format!("these stay behind in the source: {}", kinds.iter().map(text).collect::<Vec<_>>().join(", "));
    let fix = "make those that you need on the target yourself: views with ApplySchema, the rest in its MySQL";
    Some(Finding::new(&check::NOT_MOVED, format!("keyspace {keyspace}"), cause, fix))
}

/// Tables whose rows cannot be told apart by a key: one finding.
pub fn without_key(tables: &[String], shapes: &Shapes) -> Option<Finding> {
    let bad =
        tables.iter().filter(|table| shapes.get(*table).is_some_and(|s| !s.columns.is_empty() && !s.has_usable_key()));
    let bad: Vec<&str> = bad.map(String::as_str).collect();
    let first = bad.first()?;
    let cause = format!(
        "tables without a primary key or a unique key without NULL are copied by all their columns, slowly, and rows that are \
         equal count as one change: {}",
        list(&bad)
    );
    Some(Finding::new(
        &check::TABLE_WITHOUT_KEY,
        format!("table {first}"),
        cause,
        "give them a primary key in the source",
    ))
}

/// Table and column of each AUTO_INCREMENT column.
pub fn auto_increment_columns(tables: &[String], shapes: &Shapes) -> Vec<(String, String)> {
    let column = |table: &String| {
        let shape = shapes.get(table)?;
        Some((table.clone(), shape.columns.iter().find(|column| column.auto_increment)?.name.clone()))
    };
    tables.iter().filter_map(column).collect()
}

/// AUTO_INCREMENT columns that will be counted on each shard for itself. `greatest` is the highest value of each table, as
/// far as known.
pub fn auto_increment(keyspace: &str, columns: &[(String, String)], greatest: &BTreeMap<String, u128>) -> Vec<Finding> {
    let finding = |(table, column): &(String, String)| {
        let from = greatest.get(table).map(|value| value.saturating_add(1));
        let next = from.map_or_else(|| "a value above the highest one".to_owned(), |from| format!("{from} or above"));
        let cause = format!(
            "column {column} of table {table} is AUTO_INCREMENT: each shard of the target would count for itself and give ids \
             out twice"
        );
        let fix = format!(
            "make a sequence table in an unsharded keyspace, name it in the VSchema of {keyspace} (alter vschema on {table} add \
             auto_increment {column} using <keyspace>.<sequence>), and set its next_id to {next} before writes begin"
        );
        Finding::new(&check::AUTO_INCREMENT_SHARDED, format!("table {table}"), cause, fix)
    };
    columns.iter().map(finding).collect()
}

/// Names with commas between them, the first of many.
pub(super) fn list(names: &[&str]) -> String {
    let mut text = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(&format!(" and {} more", names.len() - LISTED));
    }
    text
}

#[cfg(test)]
mod tests;
