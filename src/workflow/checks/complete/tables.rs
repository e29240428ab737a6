//! What becomes of the tables when the workflow is over: denied tables, routing, sequences.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::columns::Columns;
use crate::error::check;
use crate::sql::is_internal;
use crate::vschema;
use crate::workflow::findings::Finding;
use crate::workflow::names;
use crate::workflow::record::{Facts, listed};
use crate::workflow::streams::{Keyspace, Origin, TargetShard};

/// Whether the tables of the workflow are denied, and by whom. Without a record all of them should be.
pub fn denied(target: &Keyspace, tables: &[String], facts: Option<&Facts>) -> Vec<Finding> {
    let mut found = Vec::new();
    for target_shard in target.shards.iter().filter(|shard| shard.serves()) {
        let denied = target_shard.denied();
        let name = format!("{}/{}", target.name, target_shard.name);
        let missing: Vec<&str> = tables.iter().filter(|t| !denied.contains(*t)).map(String::as_str).collect();
        if !missing.is_empty() {
            let text = format!("writes to {} were not denied", names::some(&missing, ", "));
            let fix = "compare the rows with VDiff; clients may have written there: what ends the workflow and keeps its tables is \
                       Workflow delete --keep-data";
            found.push(Finding::new(&check::DENIED_MISSING, format!("shard {name}"), text, fix));
        }
        found.extend(
            facts.and_then(|facts| elsewhere(target, target_shard, tables, facts.denied_on(&target_shard.name))),
        );
    }
    found
}

/// The tables that stay denied on the shards that serve when those are lifted that are `lifted`, by shard.
pub fn stay_denied(target: &Keyspace, tables: &[String], lifted: &[(String, Vec<String>)]) -> Vec<Finding> {
    let serving = target.shards.iter().filter(|shard| shard.serves());
    serving.filter_map(|shard| elsewhere(target, shard, tables, &listed(lifted, &shard.name))).collect()
}

/// Those of some tables that a shard denies and that are not among the workflow's own.
fn elsewhere(target: &Keyspace, shard: &TargetShard, tables: &[String], ours: &[String]) -> Option<Finding> {
    let (denied, ours) = (shard.denied(), ours.iter().collect::<BTreeSet<_>>());
    let others = tables.iter().filter(|table| denied.contains(*table) && !ours.contains(table));
    let others: Vec<&str> = others.map(String::as_str).collect();
    if others.is_empty() {
        return None;
    }
    let name = format!("{}/{}", target.name, shard.name);
    let text = format!("{} are denied, and not by the workflow's create", names::some(&others, ", "));
    let fix = format!(
        "if nobody needs that: SetShardTabletControl --denied-tables {} --remove {name} primary",
        names::argument(&others)
    );
    Some(Finding::new(&check::DENIED_ELSEWHERE, format!("shard {name}"), text, fix))
}

/// Those shards to which clients are sent among some, by name, of which a primary since create may not have known that tables are
/// denied.
pub fn unaware(target: &Keyspace, shards: &[String]) -> Vec<Finding> {
    let text = "its primary was not refreshed when writes to the tables were denied, or one since may not have been";
    let finding = |shard: &TargetShard| {
        let subject = format!("shard {}/{}", target.name, shard.name);
        Finding::new(&check::DENIED_MISSING, subject, text, "compare the rows with VDiff")
    };
    target.shards.iter().filter(|shard| shard.serves() && shards.contains(&shard.name)).map(finding).collect()
}

/// Tables that vtgate would not find.
pub fn unrouted(target: &VSchema, tables: &[String]) -> Vec<Finding> {
    if !target.sharded {
        // complete adds them
        return Vec::new();
    }
    let known = vschema::tables(target);
    let unknown = tables.iter().filter(|table| !known.contains_key(table.as_str()));
    let finding = |table: &String| {
        let text = "it is not in the target's sharded vschema";
        Finding::new(&check::TABLE_UNROUTED, format!("table {table}"), text, "add it with ApplyVSchema")
    };
    unknown.map(finding).collect()
}

/// Tables that the source has got since create chose all that there were: no stream brings them.
pub fn added(origin: &Origin, facts: Option<&Facts>, there: Option<&BTreeSet<String>>) -> Option<Finding> {
    let facts = facts.filter(|facts| facts.source.0 == origin.keyspace)?;
    let known: BTreeSet<&String> = origin.tables.iter().chain(facts.left_out.as_ref()?).collect();
    let added: Vec<&String> = there?.iter().filter(|table| !known.contains(table) && !is_internal(table)).collect();
    if added.is_empty() {
        return None;
    }
    let cause = format!("it has tables that it had not when all of them were to come: {}", names::some(&added, ", "));
    let fix = "bring those that clients need with a workflow of their own: Migrate create --tables";
    Some(Finding::new(&check::TABLE_ADDED, format!("source keyspace {}", origin.keyspace), cause, fix))
}

/// Columns that several shards would count each for itself: table and column.
pub fn without_sequence(target: &VSchema, columns: &[(String, Columns)], tables: &[String]) -> Vec<(String, String)> {
    if !target.sharded || columns.len() < 2 {
        return Vec::new();
    }
    let known = vschema::tables(target);
    let counted = |table: &String| {
        let of_table = columns.iter().find_map(|(_, columns)| columns.get(table))?;
        let column = of_table.iter().find(|column| column.auto_increment)?;
        let has_sequence = known
            .get(table.as_str())
            .and_then(|t| t.auto_increment.as_ref())
            .is_some_and(|auto| !auto.column.is_empty() && !auto.sequence.is_empty());
        (!has_sequence).then(|| (table.clone(), column.name.clone()))
    };
    tables.iter().filter_map(counted).collect()
}

/// Tables and columns that lack a sequence, each with the value with which that has to start, by the `largest` that there is.
pub fn sequence_missing(missing: &[(String, String)], largest: &BTreeMap<&str, i128>) -> Vec<Finding> {
    let finding = |(table, column): &(String, String)| {
        let text = format!("its AUTO_INCREMENT column {column} would be counted on each shard by itself");
        let start = largest.get(table.as_str()).map_or(1, |largest| largest + 1);
        let fix = format!(
            "make a sequence in an unsharded keyspace, its next_id at least {start}, and name it as the table's auto_increment with ApplyVSchema"
        );
        Finding::new(&check::SEQUENCE_MISSING, format!("table {table}"), text, fix)
    };
    missing.iter().map(finding).collect()
}
