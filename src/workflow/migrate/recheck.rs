//! Whether stored filters still choose the rows that the target's vschema wants: what create proved of vindexes, again.
//!
//! A source tablet looks the vindex of a filter up whenever it plans a stream anew, and at each change of its vschema
//! (Vitess 22.0.3). A vindex that came to mean something else sends rows to the wrong shard without an error. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};
use vtmigrated_proto::binlogdata::{BinlogSource, Rule};
use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema, SrvVSchema, Table, Vindex};

use super::super::preflight::{Finding, check};
use super::super::streams;
use super::filters;
use crate::vschema;

/// Both sides as they are now.
pub struct Against<'a> {
    /// The target's vschema.
    pub target: &'a VSchema,
    pub source_keyspace: &'a str,
    /// The serving vschemas of the source's cells, as far as they could be read.
    pub serving: &'a [SrvVSchema],
}

/// What a filter computes keyspace ids with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
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
    let (tables, target) = (vschema::tables(against.target), vschema::vindexes(against.target));
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    let of_mounts = sources.filter(|source| !source.external_cluster.is_empty());
    for rule in of_mounts.flat_map(|source| source.filter.iter().flat_map(|filter| &filter.rules)) {
        // those of other target shards differ in the range alone, which is last
        let without_range = rule.filter.rsplit_once(", '").map_or(rule.filter.as_str(), |(filter, _)| filter);
        if rule.filter == streams::EXCLUDE || !seen.insert((rule.r#match.as_str(), without_range)) {
            continue;
        }
        let predicate = predicate(&rule.filter);
        let entry = tables.get(rule.r#match.as_str());
        let changed = match &predicate {
            Some(predicate) => against.filtered(predicate, entry, &target),
            None => against.whole(rule, entry, &target),
        };
        if let Err(why) = changed {
            found.entry(rule.r#match.clone()).or_insert(why);
        }
    }
    let finding = |(table, why): (String, String)| {
        let mend = "put it back as it was when the workflow was created (ApplyVSchema), then compare the rows with VDiff; or \
                    cancel the workflow and create it again";
        let cause = format!("the streams choose the rows of table {table} by another vindex than the target: {why}");
        Finding::new(&check::VINDEX_CHANGED, format!("table {table}"), cause, mend)
    };
    found.into_iter().map(finding).collect()
}

type Changed = Result<(), String>;

impl Against<'_> {
    fn filtered(&self, stored: &Predicate, entry: Option<&Table>, target: &BTreeMap<&str, Vindex>) -> Changed {
        if !self.target.sharded {
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
        for wanted in by.filter_map(|by| target.get(by.name.as_str())) {
            changed = filters::still_means(self.serving, &stored.vindex, wanted);
            if changed.is_ok() {
                break;
            }
        }
        changed
    }

    /// A rule without a predicate: of an unsharded target, a reference table, or a shard of the same range whose rows have
    /// the same vindex on both sides.
    fn whole(&self, rule: &Rule, entry: Option<&Table>, target: &BTreeMap<&str, Vindex>) -> Changed {
        if !self.target.sharded || entry.is_some_and(|entry| entry.r#type == "reference") {
            return Ok(());
        }
        let Some(wanted) = entry.and_then(|entry| entry.column_vindexes.first()) else { return Ok(()) };
        for cell in self.serving {
            let Some(source) = cell.keyspaces.iter().rfind(|entry| entry.key == self.source_keyspace) else { continue };
            let Some(source) = source.value.as_ref().filter(|source| source.sharded) else { continue };
            let there = vschema::tables(source).remove(rule.r#match.as_str());
            let Some(there) = there.and_then(|table| table.column_vindexes.first().cloned()) else { continue };
            let function = |vindexes: &BTreeMap<&str, Vindex>, by: &ColumnVindex| {
                let columns: Vec<String> = columns(by).iter().map(|column| column.to_lowercase()).collect();
                vindexes.get(by.name.as_str()).map(|vindex| (vindex.r#type.clone(), vindex.params.clone(), columns))
            };
            if function(&vschema::vindexes(source), &there) != function(target, wanted) {
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
