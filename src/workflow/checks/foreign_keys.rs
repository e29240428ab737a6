//! Foreign keys, and secondary keys that MySQL does not let go of while rows are copied.
//!
//! With deferred secondary keys a tablet drops all keys of a table but the primary one, full-text ones, and those whose
//! columns are exactly those of a foreign key of the table; after the copy it makes them again (Vitess 19 to 24). MySQL
//! refuses to drop the last key that begins with the columns of a foreign key, of the table or of one that points to it,
//! even without checks of foreign keys, and the last key that begins with an AUTO_INCREMENT column.

use std::collections::BTreeSet;

use vtmigrated_proto::vschema::Keyspace as VSchema;
use vtmigrated_proto::vschema::keyspace::ForeignKeyMode;

use super::tables::{Shapes, list};
use crate::error::check;
use crate::sql::ddl::{ForeignKey, Key, Shape};
use crate::workflow::findings::Finding;

/// Keys that deferring them would break, by the definitions that the tables have on the target: `shapes` are those of the
/// tables, `others` those of other tables there.
pub fn deferred(tables: &[String], shapes: &Shapes, others: &Shapes) -> Vec<Finding> {
    let mut found = Vec::new();
    for table in tables {
        let Some(shape) = shapes.get(table) else { continue };
        let (kept, dropped): (Vec<&Key>, Vec<&Key>) = shape.keys.iter().partition(|key| stays(shape, key));
        let subject = format!("table {table}");
        let served = |columns: &[String]| {
            begins(&shape.primary, columns) || kept.iter().any(|key| begins(&key.columns, columns))
        };
        let holding = |columns: &[String]| dropped.iter().find(|key| begins(&key.columns, columns));
        let fix = "run create with --defer-secondary-keys=false";
        let of_children = shapes.values().chain(others.values()).flat_map(|child| &child.foreign_keys);
        let to_here = of_children.filter(|key| key.parent == *table && key.database.is_none());
        let own = shape.foreign_keys.iter().map(|key| &key.columns);
        let needed = own.chain(to_here.map(|key: &ForeignKey| &key.referenced)).filter(|columns| !served(columns));
        let names: BTreeSet<&str> =
            needed.filter_map(|columns| holding(columns)).map(|key| key.name.as_str()).collect();
        if !names.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            let cause = format!(
                "MySQL refuses to drop keys of table {table} that foreign keys need: {}: its copy would fail with \
                 --defer-secondary-keys",
                list(&names)
            );
            found.push(Finding::new(&check::FOREIGN_KEYS_DEFERRED, subject.clone(), cause, fix));
        }
        let counted = shape.columns.iter().find(|column| column.auto_increment);
        let counted = counted.map(|column| vec![column.name.clone()]).filter(|columns| !served(columns));
        if let Some(key) = counted.and_then(|columns| holding(&columns)) {
            let cause = format!(
                "MySQL refuses to drop key {} of table {table}, which its AUTO_INCREMENT column needs: its copy would fail \
                 with --defer-secondary-keys",
                key.name
            );
            found.push(Finding::new(&check::AUTO_INCREMENT_KEY_DEFERRED, subject, cause, fix));
        }
    }
    found
}

/// A tablet leaves the key in place.
fn stays(shape: &Shape, key: &Key) -> bool {
    let equal =
        |foreign: &ForeignKey| foreign.columns.len() == key.columns.len() && begins(&key.columns, &foreign.columns);
    key.fulltext || shape.foreign_keys.iter().any(equal)
}

fn begins(key: &[String], columns: &[String]) -> bool {
    let same = key.iter().zip(columns).all(|(a, b)| a.eq_ignore_ascii_case(b));
    key.len() >= columns.len() && same
}

/// Foreign keys whose parent will not be there.
pub fn parents(tables: &[String], shapes: &Shapes, on_target: &BTreeSet<&str>) -> Vec<Finding> {
    let moved: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let missing = |parent: &&str| !on_target.contains(parent) && !moved.contains(parent);
    let mut found = Vec::new();
    for table in tables {
        let Some(shape) = shapes.get(table) else { continue };
        let parents: BTreeSet<&str> =
            shape.foreign_keys.iter().map(|key| key.parent.as_str()).filter(missing).collect();
        if parents.is_empty() {
            continue;
        }
        let parents: Vec<&str> = parents.into_iter().collect();
        let cause = format!(
            "table {table} has foreign keys to tables that are neither moved nor on the target: {}",
            list(&parents)
        );
        let fix = "move them together: add them to --tables";
        found.push(Finding::new(&check::FOREIGN_KEY_PARENT_MISSING, format!("table {table}"), cause, fix));
    }
    found
}

/// Foreign keys of the source by which its MySQL changes or deletes rows of its own accord. A tablet lets the target's MySQL do the
/// same, where that has the key, only once its stream has copied all tables: until then it switches foreign keys off (Vitess 22.0.4 and
/// 24.0.4, `updateFKCheck`). Where vtgate manages foreign keys it changes the rows itself, which binlogs have. `dropped`: the target's
/// tables get no foreign keys.
pub fn cascading(tables: &[String], shapes: &Shapes, source: &VSchema, dropped: bool) -> Vec<Finding> {
    if source.foreign_key_mode() == ForeignKeyMode::Managed {
        return Vec::new();
    }
    let moved: BTreeSet<&String> = tables.iter().collect();
    let mut found = Vec::new();
    for table in tables {
        let Some(shape) = shapes.get(table) else { continue };
        let keys: Vec<&ForeignKey> = shape.foreign_keys.iter().filter(|key| key.cascades()).collect();
        if keys.is_empty() {
            continue;
        }
        let comes = |key: &&ForeignKey| !dropped && key.database.is_none() && moved.contains(&key.parent);
        let until = if keys.iter().all(comes) { "until the copy is over, " } else { "" };
        let by: Vec<String> = keys.iter().map(|key| format!("{} ({})", key.parent, key.actions)).collect();
        let cause = format!(
            "MySQL changes rows of table {table} with those of {}, and writes that into no binlog before 9.6: {until}the target keeps \
             them as they were",
            list(&by.iter().map(String::as_str).collect::<Vec<_>>())
        );
        let fix = "compare the rows with VDiff when the copy is over, and repair them";
        found.push(Finding::new(&check::CASCADE_NOT_STREAMED, format!("table {table}"), cause, fix));
    }
    found
}

#[cfg(test)]
mod tests;
