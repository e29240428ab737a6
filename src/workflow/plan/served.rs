//! The vindexes of a source's cells as its tablets look them up, by name: read through once for any number of tables. Pure.

use std::collections::BTreeMap;

use vtmigrated_proto::vschema::{SrvVSchema, Vindex};

use crate::vschema;

/// The vindexes of one keyspace by name.
type ByName<'a> = BTreeMap<&'a str, Vindex>;
/// What a vindex computes: its type and its params.
type Function<'v> = (&'v str, BTreeMap<&'v str, &'v str>);

/// The vindexes that each cell of a source serves.
pub struct Served<'a> {
    cells: Vec<Cell<'a>>,
}

struct Cell<'a> {
    keyspaces: BTreeMap<&'a str, ByName<'a>>,
    /// Keyspaces by the names of those of their vindexes that an unqualified name may mean.
    unqualified: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Served<'a> {
    /// Those of some cells, by their serving vschemas.
    pub fn new(serving: &'a [SrvVSchema]) -> Self {
        Self { cells: serving.iter().map(Cell::new).collect() }
    }

    /// True when every cell has the same vindex under a qualified name.
    pub fn have(&self, keyspace: &str, name: &str, wanted: &Vindex) -> bool {
        self.cells.iter().all(|cell| cell.named(keyspace, name).is_some_and(|vindex| same(vindex, wanted)))
    }

    /// True when the type of a vindex, taken as an unqualified name, means the same vindex, or none, in every cell.
    pub fn take_type(&self, wanted: &Vindex) -> bool {
        self.cells.iter().all(|cell| match cell.meant(&wanted.r#type).as_slice() {
            [] => true,
            [one] => same(one, wanted),
            _ => false,
        })
    }

    /// For each function that computes keyspace ids the first qualified name, by keyspace and vindex, under which every cell
    /// has it.
    pub fn functions(&self) -> BTreeMap<Function<'_>, String> {
        let mut found = BTreeMap::new();
        let Some((first, others)) = self.cells.split_first() else { return found };
        for (keyspace, vindexes) in &first.keyspaces {
            for (name, vindex) in vindexes {
                let has = |cell: &Cell<'_>| cell.named(keyspace, name).is_some_and(|other| same(other, vindex));
                if computes(vindex) && can_be_qualified(keyspace, name) && others.iter().all(has) {
                    found.entry(function(vindex)).or_insert_with(|| format!("{keyspace}.{name}"));
                }
            }
        }
        found
    }

    /// Whether a name in a stored filter means the same as the target's vindex to the tablets of every cell.
    ///
    /// # Errors
    /// What it means instead, in one sentence.
    pub fn still_means(&self, reference: &str, wanted: &Vindex) -> Result<(), String> {
        for cell in &self.cells {
            let meant = match reference.split_once('.') {
                Some((keyspace, name)) => match cell.named(keyspace, name) {
                    Some(found) => vec![found],
                    None => return Err(format!("vindex {reference} is not at the source any more")),
                },
                None => cell.meant(reference),
            };
            let (found, has_params) = match meant.as_slice() {
                [] => (reference, !wanted.params.is_empty()),
                [one] => (one.r#type.as_str(), one.params != wanted.params),
                _ => return Err(format!("several keyspaces of the source have a vindex called {reference} now")),
            };
            if found != wanted.r#type {
                return Err(format!("to the source, vindex {reference} is of type {found} now"));
            }
            if has_params {
                return Err(format!("to the source, vindex {reference} has other params now"));
            }
        }
        Ok(())
    }
}

impl<'a> Cell<'a> {
    fn new(cell: &'a SrvVSchema) -> Self {
        // of two entries of one keyspace the last one counts
        let entries: BTreeMap<&str, _> = cell.keyspaces.iter().map(|e| (e.key.as_str(), e.value.as_ref())).collect();
        let mut found = Self { keyspaces: BTreeMap::new(), unqualified: BTreeMap::new() };
        for (keyspace, value) in entries {
            let Some(value) = value else { continue };
            let vindexes = vschema::vindexes(value);
            // the vindexes of such a keyspace are found by their qualified names only
            for name in vindexes.keys().filter(|_| !value.require_explicit_routing) {
                found.unqualified.entry(*name).or_default().push(keyspace);
            }
            found.keyspaces.insert(keyspace, vindexes);
        }
        found
    }

    /// The vindex of a qualified name.
    fn named(&self, keyspace: &str, name: &str) -> Option<&Vindex> {
        self.keyspaces.get(keyspace)?.get(name)
    }

    /// The vindexes that an unqualified name may mean.
    fn meant(&self, name: &str) -> Vec<&Vindex> {
        let keyspaces = self.unqualified.get(name).map(Vec::as_slice).unwrap_or_default();
        keyspaces.iter().filter_map(|keyspace| self.named(keyspace, name)).collect()
    }
}

/// What a vindex computes.
pub fn function(vindex: &Vindex) -> Function<'_> {
    let params = vindex.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    (vindex.r#type.as_str(), params.collect())
}

/// The same function of the same values.
pub fn same(a: &Vindex, b: &Vindex) -> bool {
    a.r#type == b.r#type && a.params == b.params
}

/// A unique vindex that needs no lookup.
pub fn computes(vindex: &Vindex) -> bool {
    vschema::vindex::kind(&vindex.r#type).is_some_and(|kind| kind.unique && !kind.lookup)
}

/// Source tablets split the name at its dots, and take two parts at most.
pub fn can_be_qualified(keyspace: &str, name: &str) -> bool {
    !keyspace.is_empty() && !keyspace.contains('.') && !name.contains('.')
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::vschema::Keyspace;
    use vtmigrated_proto::vschema::keyspace::VindexesEntry;
    use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;

    use super::*;

    fn vindex(kind: &str) -> Vindex {
        Vindex { r#type: kind.to_owned(), ..Vindex::default() }
    }

    /// Keyspace, vindex and its type.
    fn cell(named: &[(&str, &str, &str)]) -> SrvVSchema {
        let entry = |(keyspace, name, kind): &(&str, &str, &str)| {
            let vindexes = vec![VindexesEntry { key: (*name).to_owned(), value: Some(vindex(kind)) }];
            KeyspacesEntry { key: (*keyspace).to_owned(), value: Some(Keyspace { vindexes, ..Keyspace::default() }) }
        };
        SrvVSchema { keyspaces: named.iter().map(entry).collect(), ..SrvVSchema::default() }
    }

    #[test]
    fn functions_have_the_first_name_that_every_cell_knows() {
        let first = cell(&[("a", "h", "hash"), ("b", "h", "hash"), ("c", "x", "xxhash"), ("d.e", "n", "numeric")]);
        let cells = [first, cell(&[("a", "h", "xxhash"), ("b", "h", "hash"), ("c", "x", "xxhash")])];
        let served = Served::new(&cells);
        let functions = served.functions();
        let of = |kind: &str| functions.get(&function(&vindex(kind))).cloned();
        assert_eq!(
            [of("hash"), of("xxhash"), of("numeric"), of("nosuch")],
            [Some("b.h".to_owned()), Some("c.x".to_owned()), None, None]
        );
        assert!(served.have("b", "h", &vindex("hash")) && !served.have("a", "h", &vindex("hash")));
        assert!(Served::new(&[]).functions().is_empty());
    }

    #[test]
    fn of_two_entries_of_one_keyspace_the_last_one_counts() {
        let cells = [cell(&[("a", "hash", "xxhash"), ("a", "hash", "hash")])];
        let served = Served::new(&cells);
        assert!(served.take_type(&vindex("hash")) && served.have("a", "hash", &vindex("hash")));
        assert_eq!(served.still_means("hash", &vindex("hash")), Ok(()));
    }
}
