use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::{Keyspace, Table, Vindex};

use super::*;
use crate::error::{Code, Explain};

/// A vindex of that type with params.
pub(super) fn vindex(type_name: &str, params: &[(&str, &str)]) -> Vindex {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Vindex { r#type: type_name.into(), params, owner: String::new() }
}

/// A VSchema of those vindexes and tables.
pub(super) fn keyspace(sharded: bool, vindexes: Vec<(&str, Vindex)>, tables: Vec<(&str, Table)>) -> Keyspace {
    let vindexes = vindexes.into_iter().map(|(key, value)| VindexesEntry { key: key.into(), value: Some(value) });
    let tables = tables.into_iter().map(|(key, value)| TablesEntry { key: key.into(), value: Some(value) });
    Keyspace { sharded, vindexes: vindexes.collect(), tables: tables.collect(), ..Keyspace::default() }
}

#[test]
fn of_two_entries_with_one_key_the_last_counts() {
    let twice = keyspace(false, vec![("v", vindex("nosuch", &[])), ("v", vindex("hash", &[]))], vec![]);
    assert_eq!(vindexes(&twice)["v"].r#type, "hash");
    assert_eq!(validate::rules(&twice), Ok(()));
}

#[test]
fn an_entry_without_a_value_is_an_empty_one() {
    let mut bare = Keyspace::default();
    bare.tables.push(TablesEntry { key: "t".into(), value: None });
    assert_eq!(tables(&bare)["t"], Table::default());
    assert_eq!(validate::rules(&bare), Ok(()));
}

#[test]
fn codes_are_asked_of_the_innermost_error() {
    let inner = Box::new(Error::MissingPrimaryVindex("t".into()));
    let error = Error::Build { keyspace: "ks".into(), inner };
    assert_eq!(error.to_string(), "BuildKeyspace(ks): missing primary col vindex for table: t");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.reason(), "VSCHEMA_INVALID");
    assert!(error.help().contains("column_vindexes"));
    assert_eq!(Error::TableType("x".into()).code(), Code::NotFound);
}
