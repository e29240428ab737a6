//! Whether tables can come over as they are: definitions on both sides, keys, foreign keys, what stays behind.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::tabletmanagerdata::TableDefinition;

use super::check;
use super::report::Finding;
use super::servers::Server;
use crate::sql::ddl::{self, Shape};

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

/// Tables that are not on every source shard, or not with the same columns. `shards` are `commerce/-80` and the like with
/// their tables; the first is the one that definitions are taken from.
pub fn between_shards(tables: &[String], shards: &[(String, &Definitions)]) -> Vec<Finding> {
    let Some(((first, known), others)) = shards.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    for table in tables {
        let Some(here) = known.get(table) else { continue };
        for (shard, there) in others {
            let subject = format!("table {table}");
            match there.get(table) {
                None => found.push(Finding::new(
                    &check::TABLE_MISSING_ON_SHARD,
                    subject,
                    format!("table {table} not found in source shard {shard}: it is in {first} only"),
                    "create it there, or leave it out with --exclude-tables",
                )),
                Some(there) if !same_columns(&here.schema, &there.schema) => found.push(Finding::new(
                    &check::TABLE_DIFFERS_BETWEEN_SHARDS,
                    subject,
                    format!("source shards {first} and {shard} have other columns for table {table}"),
                    "bring the shards to one definition (see ValidateSchemaKeyspace of the source)",
                )),
                Some(_) => {}
            }
        }
    }
    found
}

fn same_columns(a: &str, b: &str) -> bool {
    if a == b || ddl::normalized(a) == ddl::normalized(b) {
        return true;
    }
    match (ddl::shape(a), ddl::shape(b)) {
        (Ok(a), Ok(b)) => columns(&a) == columns(&b),
        _ => true,
    }
}

fn columns(shape: &Shape) -> BTreeMap<String, &str> {
    shape.columns.iter().map(|column| (column.name.to_lowercase(), column.definition.as_str())).collect()
}

/// Tables that are on the target already and are not the source's. `drop_foreign_keys` leaves those out of the comparison.
pub fn on_target(
    tables: &[String],
    source: &Definitions,
    target: &[(String, &Definitions)],
    drop_foreign_keys: bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let without = |create: &str| match drop_foreign_keys {
        true => ddl::without_foreign_keys(create).unwrap_or_else(|_| create.to_owned()),
        false => create.to_owned(),
    };
    for table in tables {
        let Some(wanted) = source.get(table).map(|definition| without(&definition.schema)) else { continue };
        let mut seen = BTreeSet::new();
        for (shard, there) in target {
            let Some(there) = there.get(table).map(|definition| without(&definition.schema)) else { continue };
            if there == wanted || ddl::normalized(&there) == ddl::normalized(&wanted) || !seen.insert(there.clone()) {
                continue;
            }
            found.push(differing(table, shard, &wanted, &there));
        }
    }
    found
}

fn differing(table: &str, shard: &str, source: &str, target: &str) -> Finding {
    let subject = format!("table {table}");
    let (source, target) = (ddl::shape(source).unwrap_or_default(), ddl::shape(target).unwrap_or_default());
    let lacking = source.columns.iter().filter(|c| !c.generated && target.column(&c.name).is_none());
    let lacking: Vec<&str> = lacking.map(|column| column.name.as_str()).collect();
    if !lacking.is_empty() {
        let cause =
            format!("table {table} of target shard {shard} lacks columns that the source has: {}", list(&lacking));
        let mend = "add them there with ApplySchema, or drop the empty table so that create makes it";
        return Finding::new(&check::COLUMN_MISSING_ON_TARGET, subject, cause, mend);
    }
    let differs = |name: &str| match (source.column(name), target.column(name)) {
        (Some(a), Some(b)) => a.definition != b.definition,
        (a, b) => a.is_some() != b.is_some(),
    };
    let names: BTreeSet<&str> = source.columns.iter().chain(&target.columns).map(|c| c.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| differs(name)).collect();
    let what = if names.is_empty() { "keys or options".to_owned() } else { format!("columns {}", list(&names)) };
    let cause = format!("table {table} is on target shard {shard} already and differs from the source's in {what}");
    let mend = "if that is not meant: drop the empty table, and create makes it as the source has it";
    Finding::new(&check::DEFINITION_DIFFERS, subject, cause, mend)
}

/// What the source's databases hold that no stream brings over: one finding.
pub fn staying(keyspace: &str, servers: &[Server]) -> Option<Finding> {
    let inventories = servers.iter().filter_map(|server| server.answers.as_ref().ok()).flat_map(|a| &a.inventory);
    let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (kind, name) in inventories {
        kinds.entry(kind).or_default().insert(name);
    }
    if kinds.is_empty() {
        return None;
    }
    let text = |(kind, names): (&&str, &BTreeSet<&str>)| {
        let names: Vec<&str> = names.iter().copied().collect();
        format!("{} {kind}{} ({})", names.len(), if names.len() == 1 { "" } else { "s" }, list(&names))
    };
    let cause = format!("these stay behind in the source: {}", kinds.iter().map(text).collect::<Vec<_>>().join(", "));
    let mend = "make those that you need on the target yourself: views with ApplySchema, the rest in its MySQL";
    Some(Finding::new(&check::NOT_MOVED, format!("keyspace {keyspace}"), cause, mend))
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

/// Foreign keys that deferred secondary keys break, and those whose parent will not be there.
pub fn foreign_keys(tables: &[String], shapes: &Shapes, on_target: &BTreeSet<&str>, deferred: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for table in tables {
        let Some(shape) = shapes.get(table) else { continue };
        if deferred && shape.secondary && !shape.foreign_keys.is_empty() {
            let cause = format!(
                "table {table} has foreign keys, and MySQL refuses to drop the indexes that they need: its copy would fail with \
                 --defer-secondary-keys"
            );
            let mend = "run create without --defer-secondary-keys";
            found.push(Finding::new(&check::FOREIGN_KEYS_DEFERRED, format!("table {table}"), cause, mend));
        }
        let missing = |parent: &&str| !on_target.contains(parent) && !tables.iter().any(|t| t == parent);
        let parents: BTreeSet<&str> =
            shape.foreign_keys.iter().map(|key| key.parent.as_str()).filter(|p| missing(p)).collect();
        if !parents.is_empty() {
            let parents: Vec<&str> = parents.into_iter().collect();
            let cause = format!(
                "table {table} has foreign keys to tables that are neither moved nor on the target: {}",
                list(&parents)
            );
            let mend = "move them together: add them to --tables";
            found.push(Finding::new(&check::FOREIGN_KEY_PARENT_MISSING, format!("table {table}"), cause, mend));
        }
    }
    found
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
        let mend = format!(
            "make a sequence table in an unsharded keyspace, name it in the VSchema of {keyspace} (alter vschema on {table} add \
             auto_increment {column} using <keyspace>.<sequence>), and set its next_id to {next} before writes begin"
        );
        Finding::new(&check::AUTO_INCREMENT_SHARDED, format!("table {table}"), cause, mend)
    };
    columns.iter().map(finding).collect()
}

fn list(names: &[&str]) -> String {
    let mut text = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(&format!(" and {} more", names.len() - LISTED));
    }
    text
}

#[cfg(test)]
mod tests;
