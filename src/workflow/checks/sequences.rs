//! Sequences that the target's vschema names: whether they are there, and whether they begin above what tables hold.

use std::collections::BTreeMap;

use vtmigrated_proto::vschema::Keyspace as VSchema;

use crate::error::check::Check;
use crate::sql::quote;
use crate::vschema;
use crate::workflow::findings::Finding;

/// A table whose ids come from a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub table: String,
    pub column: String,
    /// As the vschema names it.
    pub name: String,
}

/// What became of the search for a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The next value that it gives out.
    Next(u128),
    /// Why vtgate would not find it.
    Missing(String),
    /// Nobody could tell.
    Unknown,
}

/// The sequences of some tables; entries that name only a half are none.
pub fn of(vschema: &VSchema, tables: &[String]) -> Vec<Sequence> {
    let known = vschema::tables(vschema);
    let sequence = |table: &String| {
        let auto = known.get(table.as_str())?.auto_increment.as_ref()?;
        let whole = !auto.column.is_empty() && !auto.sequence.is_empty();
        whole.then(|| Sequence { table: table.clone(), column: auto.column.clone(), name: auto.sequence.clone() })
    };
    tables.iter().filter_map(sequence).collect()
}

/// Keyspace and table of a sequence, as vtgate finds them.
///
/// # Errors
/// Why it does not find them, in one sentence.
pub fn resolve(name: &str, vschemas: &BTreeMap<String, VSchema>) -> Result<(String, String), String> {
    let Some((keyspace, table)) = quote::table_name(name) else {
        return Err(format!("{name} is no name of a table"));
    };
    let has = |vschema: &VSchema| vschema.tables.iter().any(|entry| entry.key == table);
    if let Some(keyspace) = keyspace {
        let Some(vschema) = vschemas.get(&keyspace) else { return Err(format!("there is no keyspace {keyspace}")) };
        // vtgate takes any table of an unsharded keyspace for granted
        if vschema.sharded && !has(vschema) {
            return Err(format!("the vschema of keyspace {keyspace} has no table {table}"));
        }
        return Ok((keyspace, table));
    }
    let global = vschemas.iter().filter(|(_, vschema)| !vschema.require_explicit_routing && has(vschema));
    match global.map(|(keyspace, _)| keyspace).collect::<Vec<_>>().as_slice() {
        [] => Err("no keyspace has a table of that name in its vschema".to_owned()),
        [one] => Ok(((*one).clone(), table)),
        several => {
            let names = several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            Err(format!("several keyspaces have a table of that name: {names}"))
        }
    }
}

/// Sequences that vtgate would not find, and those that would give out ids that are taken. `greatest` is the highest value
/// of each table's column, as far as known.
pub fn judge(
    states: &[(Sequence, State)],
    greatest: &BTreeMap<String, u128>,
    (missing, low): (&Check, &Check),
) -> Vec<Finding> {
    let finding = |(Sequence { table, column, name }, state): &(Sequence, State)| {
        let subject = format!("table {table}");
        let taken = greatest.get(table).copied().unwrap_or(0);
        let from = taken.saturating_add(1);
        match state {
            State::Missing(why) => {
                let cause = format!("sequence {name} of column {column} of table {table} is not found: {why}");
                let fix = format!(
                    "make it in an unsharded keyspace (a table with the comment vitess_sequence, its next_id at least {from}, and \
                     its vschema entry of type sequence), or fix the name with ApplyVSchema"
                );
                Some(Finding::new(missing, subject, cause, fix))
            }
            State::Next(next) if *next <= taken => {
                let cause = format!(
                    "sequence {name} would give out ids that table {table} has already: its next_id is {next}, and {column} goes \
                     up to {taken}"
                );
                let fix = format!("set its next_id to {from} or above before writes begin");
                Some(Finding::new(low, subject, cause, fix))
            }
            State::Next(_) | State::Unknown => None,
        }
    };
    states.iter().filter_map(finding).collect()
}

/// Table and column of each sequence.
pub fn columns(sequences: &[Sequence]) -> Vec<(String, String)> {
    sequences.iter().map(|sequence| (sequence.table.clone(), sequence.column.clone())).collect()
}

#[cfg(test)]
mod tests;
