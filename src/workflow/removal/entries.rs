//! Entries of tables in the target's VSchema: which of those that create added may go with their workflow.

use vtmigrated_proto::vschema::{Keyspace as VSchema, Table};

use crate::vschema;

/// Those of the tables whose entries are still what create wrote. A VSchema that became sharded has only what its users
/// know of it, so that stock takes nothing out of it either (Vitess 24.0.4, `dropParticipatingTablesFromKeyspace`); an entry
/// that says more than its table's type was changed by somebody.
pub fn removable<'t>(vschema: &VSchema, tables: impl IntoIterator<Item = &'t String>) -> Vec<String> {
    if vschema.sharded {
        return Vec::new();
    }
    let known = vschema::tables(vschema);
    let is_creates = |entry: &Table| *entry == Table { r#type: entry.r#type.clone(), ..Table::default() };
    let tables = tables.into_iter().filter(|table| known.get(table.as_str()).is_some_and(is_creates));
    tables.cloned().collect()
}

/// True when some of the tables have no entry in a VSchema from which entries are [removed](removable).
pub fn some_are_gone<'t>(vschema: &VSchema, tables: impl IntoIterator<Item = &'t String>) -> bool {
    let known = vschema::tables(vschema);
    !vschema.sharded && tables.into_iter().any(|table| !known.contains_key(table.as_str()))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::vschema::ColumnVindex;
    use vtmigrated_proto::vschema::keyspace::TablesEntry;

    use super::*;

    #[test]
    fn only_what_create_wrote_goes_and_only_from_an_unsharded_vschema() {
        let entry = |name: &str, table: Table| TablesEntry { key: name.into(), value: Some(table) };
        let sequence = Table { r#type: "sequence".into(), ..Table::default() };
        let by_id = ColumnVindex { column: "id".into(), name: "hash".into(), ..ColumnVindex::default() };
        let changed = Table { column_vindexes: vec![by_id], ..Table::default() };
        let pinned = Table { pinned: "00".into(), ..sequence.clone() };
        let tables = vec![
            entry("plain", Table::default()),
            entry("seq", sequence),
            entry("changed", changed),
            entry("pin", pinned),
        ];
        let vschema = VSchema { tables, ..VSchema::default() };
        let named = ["plain", "seq", "changed", "pin", "gone"].map(str::to_owned);
        assert_eq!(removable(&vschema, &named), ["plain", "seq"]);
        assert!(some_are_gone(&vschema, &named) && !some_are_gone(&vschema, &named[..4]));
        let sharded = VSchema { sharded: true, ..vschema };
        assert!(removable(&sharded, &named).is_empty() && !some_are_gone(&sharded, &named));
    }
}
