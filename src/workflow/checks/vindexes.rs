//! Whether stored filters still choose the rows that the target's vschema wants: what create proved of vindexes, again.
//!
//! A source tablet looks the vindex of a filter up whenever it plans a stream anew, and at each change of its vschema
//! (Vitess 22.0.3). A vindex that came to mean something else sends rows to the wrong shard without an error. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};
use vtmigrated_proto::binlogdata::{BinlogSource, Rule};
use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema, SrvVSchema, Table, Vindex};

use crate::error::check;
use crate::vschema;
use crate::workflow::findings::Finding;
use crate::workflow::plan::served::{Served, same};
use crate::workflow::streams;

/// Both sides as they are now.
pub struct Against<'a> {
    /// The target's vschema.
    pub target: &'a VSchema,
    /// The keyspace that the streams read.
    pub source_keyspace: &'a str,
    /// The serving vschemas of the source's cells, as far as they could be read.
    pub serving: &'a [SrvVSchema],
}

/// What a filter computes keyspace ids with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    /// Its columns, in the order of the filter.
    pub columns: Vec<String>,
    /// A vindex by its qualified or unqualified name, or a vindex type.
    pub vindex: String,
}

/// The `in_keyrange(<columns>, '<vindex>', '<range>')` of a filter; `None` when it has none of that form.
pub fn predicate(filter: &str) -> Option<Predicate> {
    let tokens = Tokenizer::new(&MySqlDialect {}, filter).tokenize().ok()?;
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_) | Token::Comma));
    tokens.find(
        |t| matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("in_keyrange")),
    )?;
    let mut columns = Vec::new();
    let mut texts = Vec::new();
    for token in tokens.skip(1) {
        match token {
            Token::Word(word) if texts.is_empty() => columns.push(word.value),
            Token::SingleQuotedString(text) => texts.push(text),
            Token::RParen => break,
            _ => return None,
        }
    }
    match texts.as_slice() {
        [vindex, _] if !columns.is_empty() => Some(Predicate { columns, vindex: vindex.clone() }),
        _ => None,
    }
}

/// Tables whose rows the stored rules would send elsewhere than the target's vschema wants them: one finding for each.
pub fn vindexes<'s>(sources: impl Iterator<Item = &'s BinlogSource>, against: &Against<'_>) -> Vec<Finding> {
    let sides = Sides::new(against);
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    let of_mounts = sources.filter(|source| !source.external_cluster.is_empty());
    for rule in of_mounts.flat_map(|source| source.filter.iter().flat_map(|filter| &filter.rules)) {
        // those of other target shards differ in the range alone, which is last
        let without_range = rule.filter.rsplit_once(", '").map_or(rule.filter.as_str(), |(filter, _)| filter);
        if rule.filter == streams::EXCLUDE || !seen.insert((rule.r#match.as_str(), without_range)) {
            continue;
        }
        let entry = sides.tables.get(rule.r#match.as_str());
        let changed = match predicate(&rule.filter) {
            Some(predicate) => sides.filtered(&predicate, entry),
            None => sides.whole(rule, entry),
        };
        if let Err(why) = changed {
            found.entry(rule.r#match.clone()).or_insert(why);
        }
    }
    let finding = |(table, why): (String, String)| {
        let fix = "put it back as it was when the workflow was created (ApplyVSchema), then compare the rows with VDiff; or \
                    cancel the workflow and create it again";
        let cause = format!("the streams choose the rows of table {table} by another vindex than the target: {why}");
        Finding::new(&check::VINDEX_CHANGED, format!("table {table}"), cause, fix)
    };
    found.into_iter().map(finding).collect()
}

type Changed = Result<(), String>;

type Tables<'a> = BTreeMap<&'a str, Table>;
type Vindexes<'a> = BTreeMap<&'a str, Vindex>;

/// Both sides by name, read through once for all rules.
struct Sides<'a> {
    /// The target's vschema is sharded.
    sharded: bool,
    tables: Tables<'a>,
    vindexes: Vindexes<'a>,
    served: Served<'a>,
    /// The source keyspace in each cell where it is sharded.
    source: Vec<(Tables<'a>, Vindexes<'a>)>,
}

impl<'a> Sides<'a> {
    fn new(against: &Against<'a>) -> Self {
        let of_cell = |cell: &'a SrvVSchema| {
            let entry = cell.keyspaces.iter().rfind(|entry| entry.key == against.source_keyspace)?;
            let source = entry.value.as_ref().filter(|source| source.sharded)?;
            Some((vschema::tables(source), vschema::vindexes(source)))
        };
        Self {
            sharded: against.target.sharded,
            tables: vschema::tables(against.target),
            vindexes: vschema::vindexes(against.target),
            served: Served::new(against.serving),
            source: against.serving.iter().filter_map(of_cell).collect(),
        }
    }

    fn filtered(&self, stored: &Predicate, entry: Option<&Table>) -> Changed {
        if !self.sharded {
            return Err("the target's vschema is not sharded any more".to_owned());
        }
        let Some(entry) = entry else { return Err("the target's vschema does not have the table any more".to_owned()) };
        if entry.r#type == "reference" {
            return Err("it is a reference table of the target now".to_owned());
        }
        let by = entry.column_vindexes.iter().filter(|by| {
            let same = |(a, b): (&String, &String)| a.eq_ignore_ascii_case(b);
            let columns = columns(by);
            columns.len() == stored.columns.len() && columns.iter().zip(&stored.columns).all(same)
        });
        // all vindexes of a table that compute keyspace ids compute the same ones
        let mut changed = Err(format!("the target has no vindex on {} any more", stored.columns.join(", ")));
        for wanted in by.filter_map(|by| self.vindexes.get(by.name.as_str())) {
            changed = self.served.still_means(&stored.vindex, wanted);
            if changed.is_ok() {
                break;
            }
        }
        changed
    }

    /// A rule without a predicate: of an unsharded target, a reference table, or a shard of the same range whose rows have
    /// the same vindex on both sides.
    fn whole(&self, rule: &Rule, entry: Option<&Table>) -> Changed {
        if !self.sharded || entry.is_some_and(|entry| entry.r#type == "reference") {
            return Ok(());
        }
        let Some(wanted) = entry.and_then(|entry| entry.column_vindexes.first()) else { return Ok(()) };
        let lower = |by: &ColumnVindex| columns(by).iter().map(|column| column.to_lowercase()).collect::<Vec<_>>();
        for (tables, vindexes) in &self.source {
            let there = tables.get(rule.r#match.as_str()).and_then(|table| table.column_vindexes.first());
            let Some(there) = there else { continue };
            let is_same = match (vindexes.get(there.name.as_str()), self.vindexes.get(wanted.name.as_str())) {
                (Some(a), Some(b)) => same(a, b) && lower(there) == lower(wanted),
                (a, b) => a.is_none() && b.is_none(),
            };
            if !is_same {
                return Err("source and target have other primary vindexes for it now".to_owned());
            }
        }
        Ok(())
    }
}

fn columns(by: &ColumnVindex) -> &[String] {
    if by.columns.is_empty() { std::slice::from_ref(&by.column) } else { &by.columns }
}

#[cfg(test)]
mod tests;
