use proptest::prelude::{prop_assert_eq, proptest};
use vtmigrated_proto::binlogdata::Filter;
use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;

use super::*;
use crate::sql::quote;

fn vschema(vindexes: &[(&str, &str)], by: Option<(&str, &str)>) -> VSchema {
    let vindex = |(name, kind): &(&str, &str)| VindexesEntry {
        key: (*name).to_owned(),
        value: Some(Vindex { r#type: (*kind).to_owned(), ..Vindex::default() }),
    };
    let table = |(name, column): (&str, &str)| {
        let by = ColumnVindex { column: column.to_owned(), name: name.to_owned(), ..ColumnVindex::default() };
        TablesEntry { key: "t".into(), value: Some(Table { column_vindexes: vec![by], ..Table::default() }) }
    };
    VSchema {
        sharded: true,
        vindexes: vindexes.iter().map(vindex).collect(),
        tables: by.map(table).into_iter().collect(),
        ..VSchema::default()
    }
}

fn serving(keyspaces: &[(&str, VSchema)]) -> SrvVSchema {
    let entry = |(name, value): &(&str, VSchema)| KeyspacesEntry { key: (*name).into(), value: Some(value.clone()) };
    SrvVSchema { keyspaces: keyspaces.iter().map(entry).collect(), ..SrvVSchema::default() }
}

fn look(filter: &str, target: &VSchema, source: &[(&str, VSchema)]) -> Vec<String> {
    let rule = Rule { r#match: "t".into(), filter: filter.into(), ..Rule::default() };
    let source_of = BinlogSource {
        external_cluster: "ext1".into(),
        filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
        ..BinlogSource::default()
    };
    // two streams with the same rule are one finding
    let sources = [source_of.clone(), source_of];
    let cells = [serving(source), serving(source)];
    let against = Against { target, source_keyspace: "commerce", serving: &cells };
    vindexes(sources.iter(), &against).into_iter().map(|finding| finding.cause).collect()
}

const BY_TYPE: &str = "select * from `t` where in_keyrange(`id`, 'hash', '-80')";
const BY_NAME: &str = "select * from t where in_keyrange(id, 'other.h', '-80')";
const WHOLE: &str = "select * from `t`";

#[test]
fn what_create_proved_still_holds() {
    let target = vschema(&[("v", "hash")], Some(("v", "ID")));
    let hash = || vschema(&[("h", "hash"), ("hash", "hash")], None);
    assert!(look(BY_TYPE, &target, &[("commerce", VSchema::default())]).is_empty());
    assert!(look(BY_TYPE, &target, &[("other", hash())]).is_empty());
    assert!(look(BY_NAME, &target, &[("other", hash()), ("third", hash())]).is_empty());
    assert!(look("exclude", &target, &[]).is_empty());
    assert!(look(WHOLE, &target, &[("commerce", vschema(&[("x", "hash")], Some(("x", "id"))))]).is_empty());
    assert!(look(WHOLE, &VSchema::default(), &[]).is_empty());
}

#[test]
fn a_vindex_of_the_same_name_and_another_type_at_the_source_is_told() {
    let target = vschema(&[("v", "hash")], Some(("v", "id")));
    let told = |filter: &str, source: &[(&str, VSchema)]| {
        let found = look(filter, &target, source);
        assert_eq!(found.len(), 1, "{filter}: {found:?}");
        found[0].split_once("the target: ").unwrap().1.to_owned()
    };
    let other = |kind: &str| vschema(&[("hash", kind), ("h", kind)], None);
    assert_eq!(told(BY_TYPE, &[("late", other("xxhash"))]), "to the source, vindex hash is of type xxhash now");
    assert_eq!(
        told(BY_TYPE, &[("late", other("hash")), ("later", other("hash"))]),
        "several keyspaces of the source have a vindex called hash now"
    );
    assert_eq!(told(BY_NAME, &[("other", other("xxhash"))]), "to the source, vindex other.h is of type xxhash now");
    assert_eq!(told(BY_NAME, &[("third", other("hash"))]), "vindex other.h is not at the source any more");
    let whole = [("commerce", vschema(&[("x", "xxhash")], Some(("x", "id"))))];
    assert_eq!(told(WHOLE, &whole), "source and target have other primary vindexes for it now");
}

#[test]
fn each_table_of_a_stream_is_judged_by_its_own_entry() {
    let named = |name: &str, by: &str| {
        let by = ColumnVindex { column: "id".into(), name: by.into(), ..ColumnVindex::default() };
        TablesEntry { key: name.into(), value: Some(Table { column_vindexes: vec![by], ..Table::default() }) }
    };
    let tables = |by: &str| -> Vec<TablesEntry> {
        (0..100).map(|number| named(&format!("t{number:02}"), if number == 7 { by } else { "h" })).collect()
    };
    let both = vschema(&[("h", "hash"), ("x", "xxhash")], None);
    let (target, source) = (VSchema { tables: tables("h"), ..both.clone() }, VSchema { tables: tables("x"), ..both });
    let rule = |entry: &TablesEntry| Rule {
        r#match: entry.key.clone(),
        filter: format!("select * from `{}`", entry.key),
        ..Rule::default()
    };
    let rules = target.tables.iter().map(rule).collect();
    let stream = BinlogSource {
        external_cluster: "ext1".into(),
        filter: Some(Filter { rules, ..Filter::default() }),
        ..BinlogSource::default()
    };
    let cells = [serving(&[("commerce", source)])];
    let against = Against { target: &target, source_keyspace: "commerce", serving: &cells };
    let found = vindexes([stream].iter(), &against);
    assert_eq!(found.iter().map(|finding| finding.subject.as_str()).collect::<Vec<_>>(), ["table t07"]);
}

#[test]
fn a_changed_vschema_of_the_target_is_told() {
    let told = |target: &VSchema| look(BY_TYPE, target, &[]).len();
    assert_eq!(told(&vschema(&[("v", "hash")], Some(("v", "id")))), 0);
    // no cell of the source could be read: what is known of the target is judged all the same
    assert_eq!(told(&vschema(&[("v", "hash")], Some(("v", "other")))), 1);
    assert_eq!(told(&vschema(&[("v", "hash")], None)), 1);
    assert_eq!(told(&VSchema::default()), 1);
    let target = vschema(&[("v", "xxhash")], Some(("v", "id")));
    assert_eq!(look(BY_TYPE, &target, &[("commerce", VSchema::default())]).len(), 1);
}

proptest! {
    #[test]
    fn any_names_come_back_out_of_a_predicate(
        columns in proptest::collection::vec("[^\\x00]{1,64}", 1..4),
        vindex in "[^\\x00]{1,64}",
    ) {
        let quoted: Vec<String> = columns.iter().map(|column| quote::identifier(column)).collect();
        let filter = format!("select * from `t` where in_keyrange({}, {}, '-80')", quoted.join(", "), quote::literal(&vindex));
        prop_assert_eq!(predicate(&filter), Some(Predicate { columns, vindex }));
    }

    #[test]
    fn hostile_filters_never_panic(filter in "\\PC{0,80}") {
        predicate(&filter);
        predicate(&format!("in_keyrange({filter}"));
    }
}
