//! The text of a stream's filters, and how a source tablet can be told a vindex of the target (S1).
//!
//! A source tablet looks a qualified vindex name up in its own cell's serving vschema. An unqualified name is looked up
//! in all keyspaces there; one that no keyspace has is taken as a vindex type and made without params (Vitess 22.0.3).

use std::collections::BTreeMap;

use vtmigrated_proto::vschema::{ColumnVindex, Keyspace as VSchema, Table, Vindex};

use super::served::{Served, can_be_qualified, computes, function, same};
use super::{Input, ShardRange};
use crate::error::Reason;
use crate::sql::quote;
use crate::workflow::{Error, Result};
use crate::{key_range, vschema};

/// Most tables and vindexes of a vschema that a command is made of as a whole.
const WHOLE: usize = 20;

/// What is known of vindexes on both sides.
pub struct Vindexes<'a> {
    source_keyspace: &'a str,
    target_keyspace: &'a str,
    source: &'a VSchema,
    target: BTreeMap<&'a str, Vindex>,
    /// How filters name each of the target's so that the source tablets compute the same keyspace ids; `None` for one that
    /// they cannot be told.
    references: BTreeMap<&'a str, Option<String>>,
}

impl<'a> Vindexes<'a> {
    /// Reads both sides through once.
    pub fn new(input: &Input<'a>) -> Self {
        let target = vschema::vindexes(input.target_vschema);
        let own = |name: &&'a str| (*name, Some(format!("{}.{name}", input.target_keyspace)));
        let references = match input.mount.is_empty() {
            true => target.keys().map(own).collect(),
            false => references(input, &target),
        };
        Self {
            source_keyspace: input.source_keyspace,
            target_keyspace: input.target_keyspace,
            source: input.source_vschema,
            target,
            references,
        }
    }

    /// How the filter names the target's vindex `name` so that the source tablets compute the same keyspace ids.
    fn reference(&self, name: &str, table: &str) -> Result<String> {
        let Some(wanted) = self.target.get(name) else {
            return Err(self.missing(name, table));
        };
        let reference = self.references.get(name).cloned().flatten();
        reference.ok_or_else(|| self.unknown(name, wanted, table))
    }

    fn missing(&self, name: &str, table: &str) -> Error {
        let text = format!("vindex {name} not found for table {table}");
        let help = format!("fix the vschema: ApplyVSchema --vschema-file <file> {}", self.target_keyspace);
        Error::precondition(Reason::VINDEX_MISSING, text, help)
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
        let add = format!("add the vindex to the source, in the cluster of keyspace {keyspace}");
        let help = if self.source.tables.len() + self.source.vindexes.len() <= WHOLE {
            let whole = shell_quote(&with_vindex(self.source, name, wanted));
            format!("{add}: vtctldclient ApplyVSchema --vschema {whole} {keyspace}")
        } else {
            let alone = with_vindex(&VSchema::default(), name, wanted);
            format!(
                "{add}: take its vschema (GetVSchema {keyspace}), put into it {alone}, and apply that: vtctldclient ApplyVSchema \
                 --vschema-file <file> {keyspace}"
            )
        };
        Error::precondition(Reason::VINDEX_UNKNOWN_AT_SOURCE, text, help)
    }
}

/// How the filters of a mounted source's streams name each vindex of the target.
fn references<'a>(input: &Input<'a>, target: &BTreeMap<&'a str, Vindex>) -> BTreeMap<&'a str, Option<String>> {
    let keyspace = input.source_keyspace;
    let own = vschema::vindexes(input.source_vschema);
    let served = Served::new(input.source_serving);
    let functions = served.functions();
    // the source keyspace has a vindex of this name, type and params, wherever its tablets look
    let known = |name: &str, wanted: &Vindex| {
        can_be_qualified(keyspace, name)
            && own.get(name).is_some_and(|vindex| same(vindex, wanted))
            && served.have(keyspace, name, wanted)
    };
    // the type alone says it all, and no keyspace of the source takes its name for something else
    let usable_as_type = |wanted: &Vindex| {
        let explicit = input.source_vschema.require_explicit_routing;
        computes(wanted)
            && wanted.params.is_empty()
            && own.get(wanted.r#type.as_str()).is_none_or(|vindex| explicit || same(vindex, wanted))
            && served.take_type(wanted)
    };
    let reference = |(name, wanted): (&&'a str, &Vindex)| {
        let reference = if known(name, wanted) {
            Some(format!("{keyspace}.{name}"))
        } else if usable_as_type(wanted) {
            Some(wanted.r#type.clone())
        } else {
            functions.get(&function(wanted)).cloned()
        };
        (*name, reference)
    };
    target.iter().map(reference).collect()
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

/// The vindex of a table's filter, by its name, when the source cannot be told it.
pub fn unknown<'t>(vindexes: &Vindexes<'_>, table: &str, in_target: &'t Table) -> Option<&'t str> {
    let name = vindex(vindexes, table, in_target)?.name.as_str();
    vindexes.references.get(name)?.is_none().then_some(name)
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
        Error::precondition(Reason::NO_USABLE_VINDEX, text, "its primary vindex must be a unique functional one")
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
    Error::precondition(Reason::TABLE_WITHOUT_VINDEX, text, help)
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
