use proptest::prelude::*;
use vtmigrated_proto::vschema::Column;

use super::*;
use crate::error::{Code, Explain};
use crate::vschema::tests::{keyspace, vindex};

fn on(column: &str, name: &str) -> ColumnVindex {
    ColumnVindex { column: column.into(), name: name.into(), columns: vec![] }
}

fn table(column_vindexes: Vec<ColumnVindex>) -> Table {
    Table { column_vindexes, ..Table::default() }
}

fn hashes() -> Vec<(&'static str, Vindex)> {
    let mut owned = vindex("consistent_lookup_unique", &[("from", "a, b"), ("table", "t_idx"), ("to", "id")]);
    owned.owner = "t".into();
    vec![
        ("h", vindex("hash", &[])),
        ("l", vindex("lookup", &[])),
        ("m", vindex("multicol", &[("column_count", "2")])),
        ("o", owned),
    ]
}

fn refusal(sharded: bool, table: Table) -> Error {
    rules(&keyspace(sharded, hashes(), vec![("t", table)])).unwrap_err()
}

#[test]
fn good_ones_pass() {
    let mut both = on("", "o");
    both.columns = vec!["a".into(), "b".into()];
    let good = table(vec![on("id", "h"), both, on("id", "l")]);
    assert_eq!(rules(&keyspace(true, hashes(), vec![("t", good)])), Ok(()));
    let mut multi = on("", "m");
    multi.columns = vec!["a".into(), "b".into()];
    assert_eq!(rules(&keyspace(true, hashes(), vec![("t", table(vec![multi]))])), Ok(()));
    let pinned = Table { pinned: "80ff".into(), r#type: "sequence".into(), ..Table::default() };
    let reference = Table { r#type: "reference".into(), source: "ks.t".into(), ..Table::default() };
    let tables = vec![("p", pinned), ("r", reference)];
    assert_eq!(build("ks", &keyspace(true, vec![], tables)), Ok(()));
    assert_eq!(rules(&keyspace(false, vec![], vec![("t", Table::default())])), Ok(()));
}

#[test]
fn halves_of_an_auto_increment_are_refused() {
    use vtmigrated_proto::vschema::AutoIncrement;
    let with = |column: &str, sequence: &str| {
        let auto_increment = Some(AutoIncrement { column: column.into(), sequence: sequence.into() });
        Table { auto_increment, ..table(vec![on("id", "h")]) }
    };
    assert_eq!(rules(&keyspace(true, hashes(), vec![("t", with("id", "seq"))])), Ok(()));
    for (column, sequence) in [("", ""), ("id", ""), ("", "seq")] {
        let error = refusal(true, with(column, sequence));
        assert_eq!(error.to_string(), "auto_increment of table t needs both a column and a sequence");
        assert_eq!((error.code(), error.reason().as_str()), (Code::InvalidArgument, "VSCHEMA_INVALID"));
        assert_eq!(refusal(false, Table { column_vindexes: vec![], ..with(column, sequence) }), error);
    }
}

#[test]
fn table_rules_have_stocks_texts_and_codes() {
    let of = |change: fn(&mut Table)| {
        let mut table = table(vec![on("id", "h")]);
        change(&mut table);
        refusal(true, table)
    };
    let error = of(|t| t.r#type = "view".into());
    assert_eq!((error.to_string().as_str(), error.code()), ("unidentified table type view", Code::NotFound));
    let error = of(|t| (t.r#type, t.source) = ("reference".into(), "a.b.c".into()));
    assert!(
        error.to_string().starts_with("invalid source \"a.b.c\" for reference table: t; invalid table name: 'a.b.c'")
    );
    let error = of(|t| t.r#type = "sequence".into());
    assert_eq!(error.to_string(), "sequence table has to be in an unsharded keyspace or must be pinned: t");
    assert_eq!(error.code(), Code::FailedPrecondition);
    let error = of(|t| t.pinned = "8g".into());
    assert_eq!(error.to_string(), "could not decode the keyspace id for pin: encoding/hex: invalid byte: U+0067 'g'");
    let error = of(|t| t.pinned = "8".into());
    assert_eq!(error.to_string(), "could not decode the keyspace id for pin: encoding/hex: odd length hex string");
    let error = of(|t| t.column_vindexes.clear());
    assert_eq!(error.to_string(), "missing primary col vindex for table: t");
    let column = |name: &str, default: &str| Column { name: name.into(), default: default.into(), ..Column::default() };
    let mut columns = table(vec![on("id", "h")]);
    columns.columns = vec![column("A", ""), column("a", "")];
    assert_eq!(refusal(true, columns.clone()).to_string(), "duplicate column name 'a' for table: t");
    columns.columns = vec![column("a", "1 +")];
    let text = "could not parse the 'a' column's default expression '1 +' for table 't'";
    assert_eq!(refusal(true, columns.clone()).to_string(), text);
    columns.columns = vec![column("a", "now() + interval 1 day"), column("b", "'x'")];
    assert_eq!(rules(&keyspace(true, hashes(), vec![("t", columns)])), Ok(()));
}

#[test]
fn column_vindex_rules_hold_in_unsharded_keyspaces_too() {
    let with = |columns: Vec<ColumnVindex>| refusal(false, table(columns)).to_string();
    assert_eq!(with(vec![on("id", "x")]), "vindex x not found for table t");
    let mut both = on("id", "h");
    both.columns = vec!["id".into()];
    assert_eq!(with(vec![both]), "can't use column and columns at the same time in vindex (h) and table (t)");
    assert_eq!(with(vec![on("", "h")]), "must specify at least one column for vindex (h) and table (t)");
    assert_eq!(with(vec![on("id", "l")]), "primary vindex l is not Unique for table t");
    assert_eq!(with(vec![on("id", "o")]), "primary vindex o cannot be owned for table t");
    let error = refusal(true, table(vec![on("id", "h"), on("id", "m")]));
    assert_eq!(error.to_string(), "multi-column vindex m should be a primary vindex for table t");
    assert_eq!(error.code(), Code::Unimplemented);
    let owner = "VT03029: column count does not match value count with the row for vindex 'o'";
    assert_eq!(with(vec![on("id", "h"), on("a", "o")]), owner);
}

#[test]
fn the_keyspace_is_named() {
    let error = build("customer", &keyspace(false, vec![("v", vindex("nosuch", &[]))], vec![])).unwrap_err();
    assert_eq!(error.to_string(), "BuildKeyspace(customer): vindexType \"nosuch\" not found");
}

proptest! {
    #[test]
    fn hostile_texts_never_panic(texts in proptest::collection::vec(".*", 8), sharded: bool) {
        let column = Column { name: texts[0].clone(), default: texts[1].clone(), ..Column::default() };
        let table = Table {
            r#type: if sharded { String::new() } else { texts[2].clone() },
            source: texts[3].clone(),
            pinned: texts[4].clone(),
            columns: vec![column],
            column_vindexes: vec![on(&texts[5], &texts[6])],
            ..Table::default()
        };
        let _ = build(&texts[7], &keyspace(sharded, vec![(texts[6].as_str(), vindex("hash", &[]))], vec![("t", table)]));
    }
}
