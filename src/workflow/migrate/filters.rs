//! The text of a stream's filters, and how a source tablet can be told a vindex of the target (S1).
//!
//! A source tablet looks a qualified vindex name up in its own cell's serving vschema. An unqualified name is looked up
//! in all keyspaces there; one that no keyspace has is taken as a vindex type and made without params (Vitess 22.0.3).

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema, SrvVSchema, Table, Vindex};

use super::super::{Error, Result};
use super::plan::{Input, ShardRange};
use crate::sql::quote;
use crate::{key_range, vschema};

/// What is known of vindexes on both sides.
pub struct Vindexes<'a> {
    source_keyspace: &'a str,
    target_keyspace: &'a str,
    mounted: bool,
    source: &'a VSchema,
    serving: &'a [SrvVSchema],
    target: BTreeMap<&'a str, Vindex>,
}

impl<'a> Vindexes<'a> {
    pub fn new(input: &Input<'a>) -> Self {
        Self {
            source_keyspace: input.source_keyspace,
            target_keyspace: input.target_keyspace,
            mounted: !input.mount.is_empty(),
            source: input.source_vschema,
            serving: input.source_serving,
            target: vschema::vindexes(input.target_vschema),
        }
    }

    /// How the filter names the target's vindex `name` so that the source tablets compute the same keyspace ids.
    fn reference(&self, name: &str, table: &str) -> Result<String> {
        let Some(wanted) = self.target.get(name) else {
            return Err(self.missing(name, table));
        };
        if !self.mounted {
            return Ok(format!("{}.{name}", self.target_keyspace));
        }
        if can_be_qualified(self.source_keyspace, name) && self.known_at_source(name, wanted) {
            return Ok(format!("{}.{name}", self.source_keyspace));
        }
        if self.usable_as_type(wanted) {
            return Ok(wanted.r#type.clone());
        }
        self.elsewhere_at_source(wanted).ok_or_else(|| self.unknown(name, wanted, table))
    }

    fn missing(&self, name: &str, table: &str) -> Error {
        let text = format!("vindex {name} not found for table {table}");
        let help = format!("mend the vschema: ApplyVSchema --vschema-file <file> {}", self.target_keyspace);
        Error::precondition("VINDEX_MISSING", text, help)
    }

    /// The source keyspace has a vindex of this name, type and params, wherever its tablets look.
    fn known_at_source(&self, name: &str, wanted: &Vindex) -> bool {
        let same = |keyspace: &VSchema| vschema::vindexes(keyspace).get(name).is_some_and(|v| same(v, wanted));
        let served = self.serving.iter().all(|cell| {
            cell.keyspaces.iter().any(|k| k.key == self.source_keyspace && k.value.as_ref().is_some_and(same))
        });
        same(self.source) && served
    }

    /// The type alone says it all, and no keyspace of the source takes its name for something else.
    fn usable_as_type(&self, wanted: &Vindex) -> bool {
        let in_cell = |cell: &SrvVSchema| {
            let keyspaces = cell.keyspaces.iter().filter_map(|entry| entry.value.as_ref());
            self.free_in(keyspaces, wanted)
        };
        computes(wanted)
            && wanted.params.is_empty()
            && self.free_in(std::iter::once(self.source), wanted)
            && self.serving.iter().all(in_cell)
    }

    fn free_in<'k>(&self, keyspaces: impl Iterator<Item = &'k VSchema>, wanted: &Vindex) -> bool {
        // the vindexes of such a keyspace are found by their qualified names only
        let listed = keyspaces.filter(|k| !k.require_explicit_routing);
        let named: Vec<Vindex> = listed.filter_map(|k| vschema::vindexes(k).remove(wanted.r#type.as_str())).collect();
        match named.as_slice() {
            [] => true,
            [one] => same(one, wanted),
            _ => false,
        }
    }

    /// The first qualified name, by keyspace and vindex, under which every cell of the source has the same vindex.
    fn elsewhere_at_source(&self, wanted: &Vindex) -> Option<String> {
        let (first, others) = self.serving.split_first()?;
        let mut names = BTreeSet::new();
        for entry in first.keyspaces.iter().filter(|_| computes(wanted)) {
            let Some(keyspace) = &entry.value else { continue };
            let same = vschema::vindexes(keyspace).into_iter().filter(|(_, vindex)| same(vindex, wanted));
            let names_here = same.filter(|(name, _)| can_be_qualified(&entry.key, name));
            names.extend(names_here.map(|(name, _)| (entry.key.as_str(), name.to_owned())));
        }
        let everywhere = |(keyspace, name): &(&str, String)| {
            let has = |cell: &SrvVSchema| lookup(cell, keyspace, name).is_some_and(|vindex| same(&vindex, wanted));
            others.iter().all(has)
        };
        names.into_iter().find(everywhere).map(|(keyspace, name)| format!("{keyspace}.{name}"))
    }

    fn unknown(&self, name: &str, wanted: &Vindex, table: &str) -> Error {
        let keyspace = self.source_keyspace;
        let text = format!(
            "vindex {keyspace}.{name} not found: the source cannot compute the keyspace ids of table {table} \
             (vindex {name} of {}, type {}{})",
            self.target_keyspace,
            wanted.r#type,
            if wanted.params.is_empty() { "" } else { ", with params" }
        );
        let help = format!(
            "add the vindex to the source, in the cluster of keyspace {keyspace}: vtctldclient ApplyVSchema --vschema {} {keyspace}",
            shell_quote(&with_vindex(self.source, name, wanted))
        );
        Error::precondition("VINDEX_UNKNOWN_AT_SOURCE", text, help)
    }
}

/// The same function of the same values.
fn same(a: &Vindex, b: &Vindex) -> bool {
    a.r#type == b.r#type && a.params == b.params
}

/// A unique vindex that needs no lookup.
fn computes(vindex: &Vindex) -> bool {
    vschema::vindex::kind(&vindex.r#type).is_some_and(|kind| kind.unique && !kind.lookup)
}

/// Source tablets split the name at its dots, and take two parts at most.
fn can_be_qualified(keyspace: &str, name: &str) -> bool {
    !keyspace.is_empty() && !keyspace.contains('.') && !name.contains('.')
}

fn lookup(cell: &SrvVSchema, keyspace: &str, name: &str) -> Option<Vindex> {
    let entry = cell.keyspaces.iter().rfind(|entry| entry.key == keyspace)?;
    vschema::vindexes(entry.value.as_ref()?).remove(name)
}

/// Whether a name in a stored filter means the same as the target's vindex to the tablets of every source cell.
///
/// # Errors
/// What it means instead, in one sentence.
pub fn still_means(serving: &[SrvVSchema], reference: &str, wanted: &Vindex) -> std::result::Result<(), String> {
    for cell in serving {
        let found = match reference.split_once('.') {
            Some((keyspace, name)) => match lookup(cell, keyspace, name) {
                Some(found) => found,
                None => return Err(format!("vindex {reference} is not at the source any more")),
            },
            None => match unqualified(cell, reference).as_slice() {
                [] => Vindex { r#type: reference.to_owned(), ..Vindex::default() },
                [one] => one.clone(),
                _ => return Err(format!("several keyspaces of the source have a vindex called {reference} now")),
            },
        };
        if found.r#type != wanted.r#type {
            return Err(format!("to the source, vindex {reference} is of type {} now", found.r#type));
        }
        if !same(&found, wanted) {
            return Err(format!("to the source, vindex {reference} has other params now"));
        }
    }
    Ok(())
}

/// The vindexes that an unqualified name may mean.
fn unqualified(cell: &SrvVSchema, name: &str) -> Vec<Vindex> {
    let keyspaces = cell.keyspaces.iter().filter_map(|entry| entry.value.as_ref());
    let listed = keyspaces.filter(|keyspace| !keyspace.require_explicit_routing);
    listed.filter_map(|keyspace| vschema::vindexes(keyspace).remove(name)).collect()
}

/// `select * from <table>`.
pub fn plain(table: &str) -> String {
    format!("select * from {}", quote::identifier(table))
}

/// The filter of a table for one target shard.
pub fn with_predicate(
    vindexes: &Vindexes<'_>,
    table: &str,
    in_target: Option<&Table>,
    shard: &ShardRange,
) -> Result<String> {
    let listed = in_target.map(|t| t.column_vindexes.as_slice()).unwrap_or_default();
    let best = cheapest(vindexes, listed, table)?;
    let columns = if best.columns.is_empty() { std::slice::from_ref(&best.column) } else { &best.columns };
    let columns: Vec<String> = columns.iter().map(|c| quote::identifier(c)).collect();
    let reference = vindexes.reference(&best.name, table)?;
    let range = key_range::print(shard.range.as_ref());
    Ok(format!(
        "{} where in_keyrange({}, {}, {})",
        plain(table),
        columns.join(", "),
        quote::literal(&reference),
        quote::literal(&range)
    ))
}

/// The vindex by which a table's filter tells its rows to the target's shards; none when no filter can be made.
pub fn vindex<'t>(vindexes: &Vindexes<'_>, table: &str, in_target: &'t Table) -> Option<&'t ColumnVindex> {
    cheapest(vindexes, &in_target.column_vindexes, table).ok()
}

/// The unique vindex of lowest cost that needs no lookup; the first on a tie.
fn cheapest<'t>(vindexes: &Vindexes<'_>, listed: &'t [ColumnVindex], table: &str) -> Result<&'t ColumnVindex> {
    if listed.is_empty() {
        return Err(without_vindex(table));
    }
    let usable = listed.iter().filter_map(|candidate| {
        let vindex = vindexes.target.get(candidate.name.as_str())?;
        let kind = vschema::vindex::kind(&vindex.r#type)?;
        (kind.unique && !kind.lookup).then(|| (vschema::vindex::cost(vindex), candidate))
    });
    // min_by_key keeps the first of equal ones
    usable.min_by_key(|(cost, _)| *cost).map(|(_, candidate)| candidate).ok_or_else(|| {
        if let Some(unknown) = listed.iter().find(|by| !vindexes.target.contains_key(by.name.as_str())) {
            return vindexes.missing(&unknown.name, table);
        }
        let text = format!("could not find a vindex to compute keyspace id for table {table}");
        Error::precondition("NO_USABLE_VINDEX", text, "its primary vindex must be a unique functional one")
    })
}

/// Proves that a table has a vindex at all.
pub fn has_vindex(table: &str, in_target: &Table) -> Result<()> {
    let pinned = !in_target.pinned.is_empty();
    if in_target.column_vindexes.is_empty() && !pinned { Err(without_vindex(table)) } else { Ok(()) }
}

/// The text that MySQL clients of vtgate see later is repeated, for that is what users look for.
fn without_vindex(table: &str) -> Error {
    let text = format!(
        "table '{table}' does not have a primary vindex: vtgate would refuse to write it, and its rows could not be told to a shard"
    );
    let help = format!(
        "give it one with ApplyVSchema: alter vschema on {table} add vindex <vindex>(<column>), or make it a reference table"
    );
    Error::precondition("TABLE_WITHOUT_VINDEX", text, help)
}

/// The vschema with one more vindex, as JSON that `ApplyVSchema --vschema` reads.
fn with_vindex(keyspace: &VSchema, name: &str, vindex: &Vindex) -> String {
    use prost::Message;
    use vtmigrated_proto::vschema::keyspace::VindexesEntry;
    let mut keyspace = keyspace.clone();
    keyspace.vindexes.retain(|entry| entry.key != name);
    keyspace.vindexes.push(VindexesEntry { key: name.to_owned(), value: Some(vindex.clone()) });
    crate::topo::json::of("vschema.Keyspace", &keyspace.encode_to_vec()).unwrap_or_else(|| "<vschema>".into())
}

fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
