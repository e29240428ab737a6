//! VSchemas as values: the vindex types, the rules that a VSchema must keep, and `alter vschema` statements.
//!
//! Pure computation; reading and writing the records is `topo::vschema`. A map of the wire is a list of entries here: of
//! two entries with the same key the last one counts, as for every protobuf reader.

pub mod ddl;
mod error;
pub mod validate;
pub mod vindex;

use std::collections::BTreeMap;

use vtmigrated_proto::vschema::{Keyspace, Table, Vindex};

pub use error::Error;

/// The vindexes of a keyspace by name.
pub fn vindexes(keyspace: &Keyspace) -> BTreeMap<&str, Vindex> {
    let entries = keyspace.vindexes.iter();
    entries.map(|entry| (entry.key.as_str(), entry.value.clone().unwrap_or_default())).collect()
}

/// The tables of a keyspace by name.
pub fn tables(keyspace: &Keyspace) -> BTreeMap<&str, Table> {
    let entries = keyspace.tables.iter();
    entries.map(|entry| (entry.key.as_str(), entry.value.clone().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests;
