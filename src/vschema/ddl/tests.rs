use proptest::prelude::*;

use super::*;
use crate::error::{Code, Explain};
use crate::vschema::tests::{keyspace, vindex};
use crate::vschema::{tables, vindexes};

fn after(old: &Keyspace, statements: &[&str]) -> Keyspace {
    statements.iter().fold(old.clone(), |vschema, sql| apply("ks", &vschema, sql).unwrap())
}

fn refusal(old: &Keyspace, sql: &str) -> (String, Code) {
    let error = apply("ks", old, sql).unwrap_err();
    (error.root().to_string(), error.code())
}

fn sharded() -> Keyspace {
    after(
        &Keyspace::default(),
        &[
            "alter vschema create vindex h using hash",
            "ALTER /* a comment */ VSCHEMA ON other.t ADD VINDEX h (id);",
            "alter vschema on t add vindex l (`a b`, c) using lookup with owner=t, table='ks.t_idx', from=`c1`, to=x.y, n=7",
        ],
    )
}

#[test]
fn vindexes_come_with_their_tables() {
    let vschema = sharded();
    assert!(vschema.sharded);
    let l = &vindexes(&vschema)["l"];
    assert_eq!((l.r#type.as_str(), l.owner.as_str()), ("lookup", "t"));
    let params = [("table", "ks.t_idx"), ("from", "c1"), ("to", "x.y"), ("n", "7")];
    assert_eq!(l.params, params.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let columns = &tables(&vschema)["t"].column_vindexes;
    assert_eq!(columns[0], ColumnVindex { name: "h".into(), columns: vec!["id".into()], ..ColumnVindex::default() });
    assert_eq!(columns[1].columns, vec!["a b".to_owned(), "c".into()]);

    let less = after(&vschema, &["alter vschema on t drop vindex l", "alter vschema drop vindex l"]);
    assert_eq!(vindexes(&less).keys().collect::<Vec<_>>(), vec![&"h"]);
    let least = after(&less, &["alter vschema on t drop vindex h"]);
    assert!(least.tables.is_empty());
}

#[test]
fn vindex_statements_that_do_not_fit_are_refused() {
    let vschema = sharded();
    let text = |sql: &str| refusal(&vschema, sql).0;
    assert_eq!(text("alter vschema create vindex h using hash"), "vindex h already exists in keyspace ks");
    assert_eq!(text("alter vschema drop vindex x"), "vindex x does not exists in keyspace ks");
    assert_eq!(text("alter vschema drop vindex h"), "can not drop vindex cause h still defined on table t");
    assert_eq!(text("alter vschema on u add vindex x (id)"), "vindex x does not exist in keyspace ks");
    assert_eq!(text("alter vschema on t add vindex h (id)"), "vindex h already defined on table t");
    assert_eq!(text("alter vschema on u add vindex h (id) using xxhash"), "vindex h defined with type hash not xxhash");
    let owner = "alter vschema on u add vindex h (id) using hash with owner=u";
    assert_eq!(text(owner), "vindex h defined with owner  not u");
    let params = "alter vschema on u add vindex h (id) using hash with a=1";
    assert_eq!(text(params), "vindex h defined with different parameters");
    assert_eq!(text("alter vschema on u drop vindex h"), "table ks.u not defined in vschema");
    assert_eq!(text("alter vschema on t drop vindex x"), "vindex x not defined in table ks.t");
    assert_eq!(refusal(&vschema, "alter vschema create vindex h").1, Code::AlreadyExists);
    assert_eq!(refusal(&vschema, "alter vschema drop vindex x").1, Code::NotFound);
    assert_eq!(refusal(&vschema, "alter vschema drop vindex h").1, Code::FailedPrecondition);
}

#[test]
fn tables_and_sequences_come_and_go() {
    let start = Keyspace::default();
    let vschema = after(&start, &["alter vschema add table x.t", "alter vschema add sequence `my seq`"]);
    assert!(!vschema.sharded);
    assert_eq!(tables(&vschema)["t"], Table::default());
    assert_eq!(tables(&vschema)["my seq"].r#type, "sequence");
    let text = |sql: &str| refusal(&vschema, sql).0;
    assert_eq!(text("alter vschema add table t"), "vschema already contains table t in keyspace ks");
    assert_eq!(text("alter vschema add sequence t"), "vschema already contains sequence t in keyspace ks");
    assert_eq!(text("alter vschema drop table u"), "vschema does not contain table u in keyspace ks");
    assert_eq!(text("alter vschema drop sequence u"), "vschema does not contain sequence u in keyspace ks");
    let text = |sql: &str| refusal(&sharded(), sql).0;
    assert_eq!(text("alter vschema add table u"), "add vschema table: unsupported on sharded keyspace ks");
    assert_eq!(text("alter vschema add sequence u"), "add sequence table: unsupported on sharded keyspace ks");
    assert_eq!(text("alter vschema drop sequence u"), "drop sequence table: unsupported on sharded keyspace ks");
    let none = after(&vschema, &["alter vschema drop table t", "alter vschema drop sequence `my seq`"]);
    assert_eq!(none, Keyspace::default());
}

#[test]
fn auto_increments_come_and_go() {
    let vschema = after(&sharded(), &["alter vschema on t add auto_increment id using lookup_ks.`my-seq`"]);
    let auto = tables(&vschema)["t"].auto_increment.clone().unwrap();
    assert_eq!((auto.column.as_str(), auto.sequence.as_str()), ("id", "lookup_ks.`my-seq`"));
    let again = refusal(&vschema, "alter vschema on t add auto_increment id using s").0;
    assert!(again.starts_with("vschema already contains auto inc ") && again.ends_with("on table t in keyspace ks"));
    let missing = "vschema does not contain table u in keyspace ks";
    assert_eq!(refusal(&vschema, "alter vschema on u add auto_increment id using s").0, missing);
    assert_eq!(refusal(&vschema, "alter vschema on u drop auto_increment").0, missing);
    let none = "vschema does not contain auto increment <nil> on table t in keyspace ks";
    assert_eq!(refusal(&sharded(), "alter vschema on t drop auto_increment").0, none);
    assert_eq!(after(&vschema, &["alter vschema on t drop auto_increment"]), sharded());
}

#[test]
fn what_is_no_statement_is_refused_with_stocks_texts() {
    let text = |sql: &str| apply("ks", &Keyspace::default(), sql).unwrap_err().to_string();
    let parse = |sql: &str| text(sql).strip_prefix(&format!("Parse({sql}): ")).unwrap().to_owned();
    let other = "error parsing VSchema DDL statement `create table t(id int)`";
    assert_eq!(text("create table t(id int)"), other);
    assert_eq!(parse("alter vschema foo"), "syntax error at position 18 near 'foo'");
    assert_eq!(parse("alter vschema foo bar"), "syntax error at position 18 near 'foo'");
    assert_eq!(parse("alter vschema\nadd\ttable"), "syntax error at position 24");
    assert_eq!(parse("alter vschema add table t; x"), "Expected a single statement");
    assert_eq!(parse("alter vschema add table ``"), "syntax error at position 27");
    assert_eq!(parse(" "), "query was empty");
    assert!(parse("alter vschema add table `x").starts_with("syntax error at position "));
    let mark = text("alter vschema drop table u");
    assert!(mark.starts_with("ApplyVSchemaDDL(ks,<nil>,alter vschema drop table u): vschema does not contain"));
    let huge = text(&format!("alter vschema drop table {}", "x".repeat(65_536)));
    assert!(huge.len() < 70_000, "{}", huge.len());
}

#[test]
fn of_entries_with_one_key_the_last_counts_and_of_ten_thousand_tables_all_stay() {
    let pinned = |name: &str, pin: &str| (name.to_owned(), Table { pinned: pin.into(), ..Table::default() });
    let named = ["a", "b", "a"].into_iter().zip(["00", "01", "02"]).map(|(name, pin)| pinned(name, pin));
    let all: Vec<(String, Table)> = named.chain((0..10_000).map(|at| pinned(&format!("t{at}"), "03"))).collect();
    let old = keyspace(true, vec![], all.iter().map(|(name, table)| (name.as_str(), table.clone())).collect());
    let new = after(&old, &["alter vschema drop table t9999"]);
    assert_eq!(new.tables.len(), 10_001);
    let first: Vec<(&str, &str)> =
        new.tables.iter().take(2).map(|e| (e.key.as_str(), e.value.as_ref().unwrap().pinned.as_str())).collect();
    assert_eq!(first, [("a", "02"), ("b", "01")]);
}

#[test]
fn what_a_statement_does_not_touch_stays() {
    let mut old = keyspace(true, vec![("h", vindex("hash", &[]))], vec![("t", Table::default())]);
    old.require_explicit_routing = true;
    old.foreign_key_mode = 2;
    let new = after(&old, &["alter vschema create vindex x using xxhash"]);
    assert!(new.require_explicit_routing && new.sharded);
    assert_eq!((new.foreign_key_mode, &new.tables), (2, &old.tables));
}

proptest! {
    #[test]
    fn hostile_statements_never_panic(sql in ".*", tail in ".*") {
        let _ = apply("ks", &sharded(), &sql);
        for head in ["alter vschema ", "alter vschema on t add vindex ", "alter vschema create vindex `v` with "] {
            let _ = apply("ks", &sharded(), &format!("{head}{tail}"));
        }
    }
}
