//! Whether definitions agree: of source shards among each other, and of tables that the target has already.

use std::collections::BTreeSet;

use super::tables::{Definitions, list};
use crate::error::check;
use crate::sql::ddl::{self, Column, Shape};
use crate::workflow::findings::{Finding, Severity};

/// Tables that are not on every source shard, or not with the same columns. `shards` are `commerce/-80` and the like with
/// their tables; the first is the one that definitions are taken from. `made` tells the tables that create makes after that
/// definition: where its columns cannot take the rows of another shard, that blocks; every other difference only warns.
pub fn between_shards(
    tables: &[String],
    shards: &[(String, &Definitions)],
    made: &dyn Fn(&String) -> bool,
) -> Vec<Finding> {
    let Some(((first, known), others)) = shards.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    for table in tables {
        let Some(here) = known.get(table) else {
            let having = others.iter().find(|(_, there)| there.contains_key(table));
            found.extend(having.map(|(shard, _)| missing(table, first, shard)));
            continue;
        };
        for (shard, there) in others {
            let subject = format!("table {table}");
            let Some(there) = there.get(table) else {
                found.push(missing(table, shard, first));
                continue;
            };
            let Difference { lost, other } = Difference::of(&here.schema, &there.schema);
            let all: Vec<&str> = lost.iter().chain(&other).map(String::as_str).collect();
            if all.is_empty() {
                continue;
            }
            let cause =
                format!("source shards {first} and {shard} have other columns for table {table}: {}", list(&all));
            let blocks = !lost.is_empty() && made(table);
            let fix = if blocks {
                "bring the shards to one definition (see ValidateSchemaKeyspace of the source), or make the table on the \
                 target yourself so that it takes the rows of all"
            } else {
                "nothing, if it is meant so (see ValidateSchemaKeyspace of the source)"
            };
            let severity = if blocks { Severity::Blocks } else { Severity::Warns };
            found.push(Finding { severity, ..Finding::new(&check::TABLE_DIFFERS_BETWEEN_SHARDS, subject, cause, fix) });
        }
    }
    found
}

/// A table that one shard lacks and another one has.
fn missing(table: &str, lacking: &str, having: &str) -> Finding {
    Finding::new(
        &check::TABLE_MISSING_ON_SHARD,
        format!("table {table}"),
        format!("table {table} not found in source shard {lacking}: it is in {having}"),
        "create it there, or leave it out with --exclude-tables",
    )
}

/// How a table of another shard differs from the one that definitions are taken from.
#[derive(Default)]
struct Difference {
    /// What would lose values of the other shard's rows.
    lost: Vec<String>,
    other: Vec<String>,
}

impl Difference {
    fn of(here: &str, there: &str) -> Self {
        let mut difference = Self::default();
        if here == there || ddl::normalized(here) == ddl::normalized(there) {
            return difference;
        }
        let (Ok(here), Ok(there)) = (ddl::shape(here), ddl::shape(there)) else { return difference };
        for column in &there.columns {
            match here.column(&column.name) {
                Some(known) => difference.compare(known, column, (&here.charset, &there.charset)),
                None => difference.lost.push(format!("column {} is in the second only", column.name)),
            }
        }
        for column in here.columns.iter().filter(|column| there.column(&column.name).is_none()) {
            difference.other.push(format!("column {} is in the first only", column.name));
        }
        difference
    }

    fn compare(&mut self, here: &Column, there: &Column, charsets: (&str, &str)) {
        let name = &here.name;
        let types = format!("column {name} is {} and {}", here.kind, there.kind);
        if !here.kind.holds(&there.kind, charsets) {
            self.lost.push(types);
        } else if here.kind != there.kind {
            self.other.push(types);
        }
        if here.generated != there.generated {
            let text = format!("column {name} is generated in one of them only");
            if here.generated { &mut self.lost } else { &mut self.other }.push(text);
        } else if !here.nullable && there.nullable {
            self.lost.push(format!("column {name} may be NULL in the second only"));
        } else if here.attributes != there.attributes {
            self.other.push(format!("column {name} differs in NULL, default, collation or options"));
        }
    }
}

/// Tables that are on the target already and are not the source's: `sources` are the source shards with their tables, as
/// `target`'s are. `drop_foreign_keys` leaves those out of the comparison.
pub fn on_target(
    tables: &[String],
    sources: &[(String, &Definitions)],
    target: &[(String, &Definitions)],
    drop_foreign_keys: bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let without = |create: &str| match drop_foreign_keys {
        true => ddl::without_foreign_keys(create).unwrap_or_else(|_| create.to_owned()),
        false => create.to_owned(),
    };
    let definition = |of: &Definitions, table: &String| of.get(table).map(|definition| without(&definition.schema));
    for table in tables {
        let wanted: BTreeSet<String> = sources.iter().filter_map(|(_, tables)| definition(tables, table)).collect();
        let mut seen = BTreeSet::new();
        for (shard, there) in target {
            let Some(there) = definition(there, table).filter(|there| seen.insert(there.clone())) else { continue };
            let differs = |source: &&String| **source != there && ddl::normalized(source) != ddl::normalized(&there);
            let findings = wanted.iter().filter(differs).map(|source| differing(table, shard, source, &there));
            // of several source shards the worst difference is told
            found.extend(findings.min_by_key(|finding| finding.severity));
        }
    }
    found
}

fn differing(table: &str, shard: &str, source: &str, target: &str) -> Finding {
    let subject = format!("table {table}");
    let (source, target) = (ddl::shape(source).unwrap_or_default(), ddl::shape(target).unwrap_or_default());
    // generated ones too: a stream writes every column that the target does not compute itself
    let lacking: Vec<&str> =
        source.columns.iter().map(|c| c.name.as_str()).filter(|name| target.column(name).is_none()).collect();
    if !lacking.is_empty() {
        let cause =
            format!("table {table} of target shard {shard} lacks columns that the source has: {}", list(&lacking));
        let fix = "add them there with ApplySchema, or drop the empty table so that create makes it";
        return Finding::new(&check::COLUMN_MISSING_ON_TARGET, subject, cause, fix);
    }
    let names = differing_columns(&source, &target);
    let names: Vec<&str> = names.into_iter().collect();
    let what = if names.is_empty() { "keys or options".to_owned() } else { format!("columns {}", list(&names)) };
    let cause = format!("table {table} is on target shard {shard} already and differs from the source's in {what}");
    let fix = "if that is not meant: drop the empty table, and create makes it as the source has it";
    Finding::new(&check::DEFINITION_DIFFERS, subject, cause, fix)
}

fn differing_columns<'s>(source: &'s Shape, target: &'s Shape) -> BTreeSet<&'s str> {
    let differs = |name: &&str| match (source.column(name), target.column(name)) {
        (Some(a), Some(b)) => (&a.kind, a.nullable, &a.attributes) != (&b.kind, b.nullable, &b.attributes),
        (a, b) => a.is_some() != b.is_some(),
    };
    source.columns.iter().chain(&target.columns).map(|c| c.name.as_str()).filter(differs).collect()
}

#[cfg(test)]
mod tests;
