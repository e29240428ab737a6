//! The plan of a create: which tables, which source shard feeds which target shard, and with which filters. Pure.

pub mod arguments;
pub(in crate::workflow) mod filters;
pub(crate) mod picking;
pub(in crate::workflow) mod served;

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::binlogdata::{BinlogSource, Filter, OnDdlAction, Rule};
use vtmigrated_proto::topodata::KeyRange;
use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema, SrvVSchema, Table};

use crate::error::Reason;
use crate::workflow::{Error, Result, names, streams};
use crate::{key_range, vschema};
use filters::Vindexes;

pub use crate::sql::is_internal;

/// A shard's name and range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRange {
    pub name: String,
    pub range: Option<KeyRange>,
}

/// Everything that a plan is made from.
pub struct Input<'a> {
    pub source_keyspace: &'a str,
    pub target_keyspace: &'a str,
    pub mount: &'a str,
    /// Serving shards, sorted by key range.
    pub source_shards: &'a [ShardRange],
    /// Serving shards, sorted by key range.
    pub target_shards: &'a [ShardRange],
    /// The chosen tables.
    pub tables: &'a [String],
    pub source_vschema: &'a VSchema,
    /// The serving vschemas of the source's cells, in which its tablets look vindexes up.
    pub source_serving: &'a [SrvVSchema],
    pub target_vschema: &'a VSchema,
    pub on_ddl: OnDdlAction,
    pub stop_after_copy: bool,
    pub source_time_zone: &'a str,
}

/// Sources of each target shard, in the order of the shards.
pub type Sources = Vec<(String, Vec<BinlogSource>)>;

/// The tables of a create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    pub tables: Vec<String>,
    /// Tables that nobody named and that streams leave out for their names.
    pub internal: Vec<String>,
}

/// What the source has, and what the request says of it.
pub struct Choice<'a> {
    pub keyspace: &'a str,
    pub there: &'a [String],
    pub views: &'a BTreeSet<&'a str>,
    pub all: bool,
    pub include: &'a [String],
    pub exclude: &'a [String],
}

/// Chooses the tables of a create, as stock does: names are literal. What is named and cannot come is refused; stock leaves
/// out tables with names like Vitess's own without a word.
///
/// # Errors
/// Stock's texts for missing tables and for nothing to move; views and tables with internal names that were named.
pub fn choose_tables(choice: &Choice<'_>) -> Result<Chosen> {
    let Choice { there, views, all, include, exclude, .. } = choice;
    let known: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    let nothing = || {
        Error::precondition(
            Reason::NO_TABLES,
            "no tables to move",
            "give --all-tables, or --tables with names that --exclude-tables leaves",
        )
    };
    let mut chosen = if !include.is_empty() {
        choice.check_named(&known)?;
        include.to_vec()
    } else if *all {
        there.to_vec()
    } else {
        return Err(nothing());
    };
    let unknown = |t: &&str| !known.contains(t) && !is_internal(t) && !views.contains(t);
    choice.check_missing(exclude.iter().map(String::as_str).filter(unknown).collect())?;
    let (mut seen, exclude) = (BTreeSet::new(), exclude.iter().collect::<BTreeSet<_>>());
    chosen.retain(|table| !exclude.contains(table) && seen.insert(table.clone()));
    let (internal, tables): (Vec<String>, Vec<String>) = chosen.into_iter().partition(|table| is_internal(table));
    if tables.is_empty() { Err(nothing()) } else { Ok(Chosen { tables, internal }) }
}

impl Choice<'_> {
    /// Whether what was named is there and can come.
    fn check_named(&self, known: &BTreeSet<&str>) -> Result<()> {
        let exclude: BTreeSet<&String> = self.exclude.iter().collect();
        let named = || self.include.iter().filter(|table| !exclude.contains(table)).map(String::as_str);
        let internal: BTreeSet<&str> = named().filter(|t| is_internal(t)).collect();
        if !internal.is_empty() {
            let internal: Vec<&str> = internal.into_iter().collect();
            let text = format!(
                "tables with names like those that Vitess gives its own do not come over, its streams leave them out: {}",
                names::some(&internal, ", ")
            );
            let help = "leave them out of --tables, or rename them in the source (RENAME TABLE) first";
            return Err(Error::precondition(Reason::TABLE_INTERNAL, text, help));
        }
        let (views, missing): (Vec<&str>, Vec<&str>) =
            named().filter(|t| !known.contains(t)).partition(|t| self.views.contains(t));
        if !missing.is_empty() || views.is_empty() {
            return self.check_missing(missing);
        }
        let (keyspace, views) = (self.keyspace, names::some(&views, ","));
        let text =
            format!("table(s) not found in source keyspace {keyspace}: {views}: only tables come over, no views");
        let help = "leave views out of --tables, and make them on the target with ApplySchema";
        Err(Error::precondition(Reason::TABLE_IS_VIEW, text, help))
    }

    fn check_missing(&self, missing: Vec<&str>) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!("table(s) not found in source keyspace {}: {}", self.keyspace, names::some(&missing, ","));
        let help = "names are literal and case-sensitive; see GetSchema of the source";
        Err(Error::precondition(Reason::TABLE_MISSING, text, help))
    }
}

/// Plans the streams.
///
/// # Errors
/// The first of the [`problems`].
pub fn streams(input: &Input<'_>) -> Result<Sources> {
    if let Some((_, error)) = problems(input).into_iter().next() {
        return Err(error);
    }
    let vindexes = Vindexes::new(input);
    let reduce = !primary_vindexes_differ(input.source_vschema, input.target_vschema, input.tables);
    let target_tables = vschema::tables(input.target_vschema);
    let source_tables = vschema::tables(input.source_vschema);
    let mut plan = Sources::new();
    for target in input.target_shards {
        let (feeding, same_range) = feeding(input, reduce, target);
        let mut sources = Vec::new();
        for (at, source) in feeding.iter().enumerate() {
            let mut rules = Vec::new();
            for table in input.tables {
                let in_target = target_tables.get(table.as_str());
                let copied_everywhere = input.source_vschema.sharded
                    && source_tables.get(table.as_str()).is_some_and(|t| t.r#type == "reference");
                let filter = if copied_everywhere && at > 0 {
                    // every source shard holds the whole table: one of them is enough
                    streams::EXCLUDE.to_owned()
                } else if needs_predicate(input, in_target) && !same_range {
                    filters::with_predicate(&vindexes, table, in_target, target)?
                } else {
                    filters::plain(table)
                };
                rules.push(Rule { r#match: table.clone(), filter, ..Rule::default() });
            }
            sources.push(source_of(input, &source.name, rules));
        }
        plan.push((target.name.clone(), sources));
    }
    Ok(plan)
}

/// Source shards that feed a target shard, and whether it is one of the same range: then no predicate is needed.
fn feeding<'i>(input: &'i Input<'_>, reduce: bool, target: &ShardRange) -> (Vec<&'i ShardRange>, bool) {
    let touches = |source: &&ShardRange| !reduce || key_range::intersects(source.range.as_ref(), target.range.as_ref());
    let feeding: Vec<&ShardRange> = input.source_shards.iter().filter(touches).collect();
    let same = matches!(feeding.as_slice(), [one] if key_range::equal(one.range.as_ref(), target.range.as_ref()));
    (feeding, same)
}

/// Everything that would lose, double or misplace rows, and vindexes that the source cannot be told: what it is about, and
/// the refusal.
pub fn problems(input: &Input<'_>) -> Vec<(String, Error)> {
    let keyspace = input.target_keyspace;
    let mut found = Vec::new();
    if let Err(why) = key_range::partition(input.target_shards.iter().map(|s| s.range.as_ref())) {
        let text = format!("the serving shards of keyspace {keyspace} do not cover every row once: {why}");
        let help = format!("see FindAllShardsInKeyspace {keyspace}");
        found.push((format!("keyspace {keyspace}"), Error::precondition(Reason::SHARDS_NOT_A_PARTITION, text, help)));
    }
    if !input.target_vschema.sharded {
        found.extend(unsharded(input).map(|error| (format!("keyspace {keyspace}"), error)));
        return found;
    }
    let vindexes = Vindexes::new(input);
    let reduce = !primary_vindexes_differ(input.source_vschema, input.target_vschema, input.tables);
    let predicated = input.target_shards.iter().find(|target| !feeding(input, reduce, target).1);
    let known = vschema::tables(input.target_vschema);
    let mut unknown = BTreeSet::new();
    for table in input.tables {
        let Some(entry) = known.get(table.as_str()) else {
            let text = format!("table {table} not found in vschema for keyspace {keyspace}");
            let help = format!("add it with its primary vindex: ApplyVSchema --vschema-file <file> {keyspace}");
            found.push((format!("table {table}"), Error::precondition(Reason::TABLE_NOT_IN_VSCHEMA, text, help)));
            continue;
        };
        if !needs_predicate(input, Some(entry)) {
            continue;
        }
        let filter = match predicated {
            // the same vindex of several tables is one problem
            Some(_) if filters::unknown(&vindexes, table, entry).is_some_and(|name| !unknown.insert(name)) => continue,
            Some(shard) => filters::with_predicate(&vindexes, table, Some(entry), shard).map(drop),
            None => filters::has_vindex(table, entry),
        };
        found.extend(filter.err().map(|error| (format!("table {table}"), error)));
    }
    found
}

/// The vindexes by which filters tell rows to the target's shards, by table; tables without such a filter are missing.
pub fn filtering(input: &Input<'_>) -> BTreeMap<String, ColumnVindex> {
    let reduce = !primary_vindexes_differ(input.source_vschema, input.target_vschema, input.tables);
    if input.target_shards.iter().all(|target| feeding(input, reduce, target).1) {
        return BTreeMap::new();
    }
    let (vindexes, known) = (Vindexes::new(input), vschema::tables(input.target_vschema));
    let by = |table: &String| {
        let entry = known.get(table.as_str()).filter(|entry| needs_predicate(input, Some(entry)))?;
        Some((table.clone(), filters::vindex(&vindexes, table, entry)?.clone()))
    };
    input.tables.iter().filter_map(by).collect()
}

/// The entries that tables get in the target's unsharded vschema, in their order: sequence and reference tables of an
/// unsharded source stay what they are.
pub fn vschema_entries(source: &VSchema, tables: &[String]) -> Vec<(String, Table)> {
    let known = if source.sharded { BTreeMap::new() } else { vschema::tables(source) };
    let entry = |table: &String| {
        let kind = known.get(table.as_str()).map(|entry| entry.r#type.clone()).unwrap_or_default();
        (table.clone(), Table { r#type: kind, ..Table::default() })
    };
    tables.iter().map(entry).collect()
}

fn source_of(input: &Input<'_>, shard: &str, rules: Vec<Rule>) -> BinlogSource {
    let zone = input.source_time_zone;
    BinlogSource {
        keyspace: input.source_keyspace.to_owned(),
        shard: shard.to_owned(),
        filter: Some(Filter { rules, ..Filter::default() }),
        on_ddl: input.on_ddl.into(),
        stop_after_copy: input.stop_after_copy,
        external_cluster: input.mount.to_owned(),
        source_time_zone: zone.to_owned(),
        target_time_zone: if zone.is_empty() { String::new() } else { "UTC".into() },
        ..BinlogSource::default()
    }
}

fn needs_predicate(input: &Input<'_>, in_target: Option<&Table>) -> bool {
    input.target_vschema.sharded && in_target.is_none_or(|t| t.r#type != "reference")
}

/// Several shards under an unsharded vschema.
fn unsharded(input: &Input<'_>) -> Option<Error> {
    if input.target_shards.len() < 2 {
        return None;
    }
    let (keyspace, shards) = (input.target_keyspace, input.target_shards.len());
    let first = input.tables.first().map_or("", String::as_str);
    let text = format!(
        "keyspace {keyspace} has {shards} shards, but its vschema is not sharded: every row of table {first} (and of {} more) \
         would be copied to each shard",
        input.tables.len().saturating_sub(1)
    );
    let help = format!(
        "give it a sharded vschema with a primary vindex for each table first: ApplyVSchema --vschema-file <file> {keyspace}"
    );
    Some(Error::precondition(Reason::VSCHEMA_NOT_SHARDED, text, help))
}

/// Stock's rule for "the same row may live in differing ranges on both sides", in which case every source shard feeds
/// every target shard.
pub fn primary_vindexes_differ(source: &VSchema, target: &VSchema, tables: &[String]) -> bool {
    if source.sharded != target.sharded {
        return false;
    }
    let (source_vindexes, target_vindexes) = (vschema::vindexes(source), vschema::vindexes(target));
    let (source, target) = (vschema::tables(source), vschema::tables(target));
    for table in tables {
        let of = |tables: &BTreeMap<&str, Table>| {
            tables.get(table.as_str()).and_then(|t| t.column_vindexes.first().cloned())
        };
        let (Some(a), Some(b)) = (of(&source), of(&target)) else { return true };
        let columns = |v: &ColumnVindex| {
            let names = if v.columns.is_empty() { vec![v.column.clone()] } else { v.columns.clone() };
            names.into_iter().map(|c| c.to_lowercase()).collect::<Vec<_>>()
        };
        if columns(&a) != columns(&b) {
            return true;
        }
        match (source_vindexes.get(a.name.as_str()), target_vindexes.get(b.name.as_str())) {
            (None, None) => {}
            (Some(a), Some(b)) if a.r#type.eq_ignore_ascii_case(&b.r#type) && a.params == b.params => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests;
