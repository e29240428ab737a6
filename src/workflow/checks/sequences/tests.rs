use vtmigrated_proto::vschema::keyspace::TablesEntry;
use vtmigrated_proto::vschema::{AutoIncrement, Table};

use super::*;
use crate::error::check;

fn vschema(sharded: bool, tables: &[&str]) -> VSchema {
    let entry = |name: &&str| TablesEntry { key: (*name).to_owned(), value: Some(Table::default()) };
    VSchema { sharded, tables: tables.iter().map(entry).collect(), ..VSchema::default() }
}

#[test]
fn sequences_are_found_as_vtgate_finds_them() {
    let mut vschemas = BTreeMap::from([
        ("customer".to_owned(), vschema(true, &["customer"])),
        ("main".to_owned(), vschema(false, &["seq", "both"])),
        ("my-lookup".to_owned(), vschema(false, &["both", "a-seq"])),
    ]);
    let place = |keyspace: &str, table: &str| Ok((keyspace.to_owned(), table.to_owned()));
    assert_eq!(resolve("seq", &vschemas), place("main", "seq"));
    assert_eq!(resolve("main.tracked", &vschemas), place("main", "tracked"));
    assert_eq!(resolve("`my-lookup`.`a-seq`", &vschemas), place("my-lookup", "a-seq"));
    let why = |name: &str| resolve(name, &vschemas).unwrap_err();
    assert_eq!(why("nosuch"), "no keyspace has a table of that name in its vschema");
    assert_eq!(why("both"), "several keyspaces have a table of that name: main, my-lookup");
    assert_eq!(why("gone.seq"), "there is no keyspace gone");
    assert_eq!(why("customer.seq"), "the vschema of keyspace customer has no table seq");
    assert_eq!(why("a.b.c"), "a.b.c is no name of a table");
    if let Some(main) = vschemas.get_mut("main") {
        main.require_explicit_routing = true;
    }
    assert_eq!(resolve("both", &vschemas), place("my-lookup", "both"));
}

#[test]
fn sequences_that_are_missing_or_too_low_are_told_with_the_value_to_set() {
    let of = |state: State| {
        let sequence = Sequence { table: "t".into(), column: "id".into(), name: "main.seq".into() };
        let greatest = BTreeMap::from([("t".to_owned(), 41)]);
        judge(&[(sequence, state)], &greatest, (&check::SEQUENCE_UNKNOWN, &check::SEQUENCE_BEHIND))
    };
    assert!(of(State::Next(42)).is_empty() && of(State::Unknown).is_empty());
    let low = of(State::Next(41));
    assert_eq!(low[0].id, "SEQUENCE_BEHIND");
    assert!(low[0].fix.contains("42 or above"), "{low:?}");
    let missing = of(State::Missing("there is no keyspace main".into()));
    assert_eq!(missing[0].id, "SEQUENCE_UNKNOWN");
    assert!(missing[0].cause.ends_with("is not found: there is no keyspace main"), "{missing:?}");
}

#[test]
fn halves_of_an_auto_increment_are_no_sequence() {
    let mut vschema = vschema(true, &["t"]);
    let mut with = |column: &str, sequence: &str| {
        let auto_increment = Some(AutoIncrement { column: column.into(), sequence: sequence.into() });
        vschema.tables[0].value = Some(Table { auto_increment, ..Table::default() });
        of(&vschema, &["t".to_owned(), "u".to_owned()]).len()
    };
    assert_eq!((with("id", "seq"), with("", "seq"), with("id", ""), with("", "")), (1, 0, 0, 0));
}
