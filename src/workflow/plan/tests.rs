use proptest::prelude::{prop_assert_eq, proptest};
use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::srv_v_schema::KeyspacesEntry;
use vtmigrated_proto::vschema::{ColumnVindex, SrvVSchema, Vindex};

use super::*;
use crate::error::{Code, Explain};

fn shards(names: &[&str]) -> Vec<ShardRange> {
    names.iter().map(|n| ShardRange { name: (*n).to_owned(), range: key_range::parse(n).ok() }).collect()
}

fn vindex(kind: &str, params: &[(&str, &str)]) -> Vindex {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Vindex { r#type: kind.into(), params, ..Vindex::default() }
}

fn vschema(sharded: bool, vindexes: &[(&str, Vindex)], tables: &[(&str, Option<&str>)]) -> VSchema {
    let table = |(name, by): &(&str, Option<&str>)| {
        let table = match by {
            Some("reference") => Table { r#type: "reference".into(), ..Table::default() },
            Some(by) => Table {
                column_vindexes: vec![ColumnVindex {
                    column: "c_id".into(),
                    name: (*by).into(),
                    ..ColumnVindex::default()
                }],
                ..Table::default()
            },
            None => Table::default(),
        };
        TablesEntry { key: (*name).into(), value: Some(table) }
    };
    VSchema {
        sharded,
        vindexes: vindexes.iter().map(|(k, v)| VindexesEntry { key: (*k).into(), value: Some(v.clone()) }).collect(),
        tables: tables.iter().map(table).collect(),
        ..VSchema::default()
    }
}

fn sharded(kind: &str) -> VSchema {
    vschema(true, &[("v", vindex(kind, &[]))], &[("t", Some("v"))])
}

struct Case {
    source: Vec<ShardRange>,
    target: Vec<ShardRange>,
    tables: Vec<String>,
    source_vschema: VSchema,
    serving: Vec<SrvVSchema>,
    target_vschema: VSchema,
}

impl Case {
    fn new(source: &[&str], target: &[&str], source_vschema: VSchema, target_vschema: VSchema) -> Self {
        let serving = SrvVSchema {
            keyspaces: vec![KeyspacesEntry { key: "commerce".into(), value: Some(source_vschema.clone()) }],
            ..SrvVSchema::default()
        };
        Self {
            source: shards(source),
            target: shards(target),
            tables: vec!["t".into()],
            source_vschema,
            serving: vec![serving],
            target_vschema,
        }
    }

    /// One more keyspace of the source, in every cell.
    fn serve(&mut self, keyspace: &str, vschema: VSchema) {
        for cell in &mut self.serving {
            cell.keyspaces.push(KeyspacesEntry { key: keyspace.into(), value: Some(vschema.clone()) });
        }
    }

    fn plan(&self) -> Result<Sources> {
        streams(&self.input())
    }

    fn problems(&self) -> Vec<(String, Error)> {
        problems(&self.input())
    }

    fn input(&self) -> Input<'_> {
        Input {
            source_keyspace: "commerce",
            target_keyspace: "customer",
            mount: "ext1",
            source_shards: &self.source,
            target_shards: &self.target,
            tables: &self.tables,
            source_vschema: &self.source_vschema,
            source_serving: &self.serving,
            target_vschema: &self.target_vschema,
            on_ddl: OnDdlAction::Ignore,
            stop_after_copy: false,
            source_time_zone: "",
        }
    }

    /// `target<-source:filter` of the first table, in order.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (target, sources) in self.plan().unwrap() {
            for source in sources {
                let filter = &source.filter.as_ref().unwrap().rules[0].filter;
                lines.push(format!("{target}<-{}:{}", source.shard, filter.trim_start_matches("select * from `t`")));
            }
        }
        lines
    }
}

#[test]
fn an_unsharded_source_without_the_vindex_is_told_its_type() {
    let case = Case::new(&["0"], &["-80", "80-"], VSchema::default(), sharded("hash"));
    assert_eq!(
        case.lines(),
        ["-80<-0: where in_keyrange(`c_id`, 'hash', '-80')", "80-<-0: where in_keyrange(`c_id`, 'hash', '80-')"]
    );
}

#[test]
fn a_source_that_has_the_vindex_is_told_its_name() {
    let source = vschema(false, &[("v", vindex("hash", &[]))], &[("t", None)]);
    let case = Case::new(&["0"], &["-80", "80-"], source, sharded("hash"));
    assert_eq!(case.lines()[0], "-80<-0: where in_keyrange(`c_id`, 'commerce.v', '-80')");
}

#[test]
fn equal_shards_with_equal_vindexes_need_no_predicate() {
    let case = Case::new(&["-80", "80-"], &["-80", "80-"], sharded("xxhash"), sharded("xxhash"));
    assert_eq!(case.lines(), ["-80<--80:", "80-<-80-:"]);
}

#[test]
fn overlapping_shards_feed_those_that_they_intersect() {
    let case = Case::new(&["-55", "55-aa", "aa-"], &["-80", "80-"], sharded("xxhash"), sharded("xxhash"));
    let sources: Vec<String> = case.lines().iter().map(|l| l.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(sources, ["-80<--55", "-80<-55-aa", "80-<-55-aa", "80-<-aa-"]);
    assert!(case.lines().iter().all(|l| l.contains("in_keyrange(`c_id`, 'commerce.v', ")));
}

#[test]
fn differing_vindexes_let_every_source_feed_every_target() {
    let case = Case::new(&["-80", "80-"], &["-80", "80-"], sharded("xxhash"), sharded("hash"));
    assert_eq!(case.lines().len(), 4);
    assert!(case.lines().iter().all(|l| l.contains("in_keyrange(`c_id`, 'hash', ")), "{:?}", case.lines());
}

#[test]
fn a_sharded_source_into_one_shard_is_read_whole() {
    let case = Case::new(&["-80", "80-"], &["0"], sharded("xxhash"), vschema(false, &[], &[("t", None)]));
    assert_eq!(case.lines(), ["0<--80:", "0<-80-:"]);
}

#[test]
fn reference_tables_have_no_predicate_and_come_from_one_source_shard() {
    let reference = |s: VSchema| VSchema { tables: vschema(true, &[], &[("t", Some("reference"))]).tables, ..s };
    let unsharded = Case::new(&["0"], &["-80", "80-"], VSchema::default(), reference(sharded("hash")));
    assert_eq!(unsharded.lines(), ["-80<-0:", "80-<-0:"]);
    let both = Case::new(&["-80", "80-"], &["-80", "80-"], reference(sharded("hash")), reference(sharded("hash")));
    assert_eq!(both.lines(), ["-80<--80:", "-80<-80-:exclude", "80-<--80:", "80-<-80-:exclude"]);
}

#[test]
fn two_shards_without_a_sharded_vschema_are_refused() {
    let error = Case::new(&["0"], &["-80", "80-"], VSchema::default(), VSchema::default()).plan().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.to_string().starts_with("keyspace customer has 2 shards, but its vschema is not sharded"));
    assert!(error.help().contains("ApplyVSchema"));
}

#[test]
fn shards_that_are_no_partition_are_refused() {
    let error = Case::new(&["0"], &["-80"], VSchema::default(), sharded("hash")).plan().unwrap_err();
    assert_eq!(error.reason(), "SHARDS_NOT_A_PARTITION");
}

#[test]
fn tables_missing_in_the_vschema_are_named() {
    let mut case = Case::new(&["0"], &["-80", "80-"], VSchema::default(), sharded("hash"));
    case.tables.push("u".into());
    assert_eq!(case.plan().unwrap_err().to_string(), "table u not found in vschema for keyspace customer");
}

#[test]
fn a_vindex_that_the_source_cannot_be_told_prints_the_command() {
    let target = vschema(true, &[("m", vindex("numeric_static_map", &[("json", "{}")]))], &[("t", Some("m"))]);
    let error = Case::new(&["0"], &["-80", "80-"], VSchema::default(), target).plan().unwrap_err();
    assert!(error.to_string().starts_with("vindex commerce.m not found"), "{error}");
    let help = error.help();
    assert!(help.contains(r#""m":{"type":"numeric_static_map","params":{"json":"{}"}"#), "{help}");
    assert!(help.ends_with(" commerce"), "{help}");
    // of a large vschema the new entry alone is told
    let names: Vec<String> = (0..1000).map(|number| format!("t{number}")).collect();
    let many: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), None)).collect();
    let target = vschema(true, &[("m", vindex("numeric_static_map", &[("json", "{}")]))], &[("t", Some("m"))]);
    let case = Case::new(&["0"], &["-80", "80-"], vschema(false, &[], &many), target);
    let help = case.plan().unwrap_err().help();
    assert!(help.len() < 500 && help.contains(r#""m":{"type":"numeric_static_map","params":{"json":"{}"}"#), "{help}");
    assert!(help.ends_with("ApplyVSchema --vschema-file <file> commerce"), "{help}");
}

#[test]
fn a_type_name_that_is_taken_at_the_source_is_not_used() {
    // a vindex called hash that is something else: the source would send rows to the wrong shard
    let misleading = vschema(false, &[("hash", vindex("xxhash", &[]))], &[]);
    let case = Case::new(&["0"], &["-80", "80-"], misleading, sharded("hash"));
    assert_eq!(case.plan().unwrap_err().reason(), "VINDEX_UNKNOWN_AT_SOURCE");
    // the same name for the same thing in one other keyspace is fine; in two it is ambiguous, and one of them is named
    let mut case = Case::new(&["0"], &["-80", "80-"], VSchema::default(), sharded("hash"));
    let honest = vschema(false, &[("hash", vindex("hash", &[]))], &[]);
    case.serve("other", honest.clone());
    assert_eq!(case.lines()[0], "-80<-0: where in_keyrange(`c_id`, 'hash', '-80')");
    case.serve("third", honest.clone());
    assert_eq!(case.lines()[0], "-80<-0: where in_keyrange(`c_id`, 'other.hash', '-80')");
    // a keyspace that wants explicit routing does not take part in unqualified names
    let mut case = Case::new(&["0"], &["-80", "80-"], VSchema::default(), sharded("hash"));
    case.serve("other", honest.clone());
    case.serve("third", VSchema { require_explicit_routing: true, ..honest });
    assert_eq!(case.lines()[0], "-80<-0: where in_keyrange(`c_id`, 'hash', '-80')");
}

#[test]
fn a_vindex_with_params_is_told_by_the_name_that_another_keyspace_of_the_source_has_for_it() {
    let map = || vindex("numeric_static_map", &[("json", "{}")]);
    let target = vschema(true, &[("m", map())], &[("t", Some("m"))]);
    let mut case = Case::new(&["0"], &["-80", "80-"], VSchema::default(), target);
    case.serve("dotted.name", vschema(true, &[("m", map())], &[]));
    case.serve("other", vschema(true, &[("dotted.name", map()), ("m", vindex("hash", &[]))], &[]));
    assert_eq!(case.plan().unwrap_err().reason(), "VINDEX_UNKNOWN_AT_SOURCE");
    case.serve("third", vschema(true, &[("map", map())], &[]));
    assert_eq!(case.lines()[0], "-80<-0: where in_keyrange(`c_id`, 'third.map', '-80')");
    // it has to be the same in every cell
    case.serving.push(SrvVSchema::default());
    assert!(case.plan().is_err());
}

fn choose(all: bool, include: &[&str], exclude: &[&str]) -> Result<Chosen> {
    let there = ["a", "b", "_x_old", "_vt_HOLD_6ace8bcef73211ea87e9f875a4d24e90_20200915120410"].map(String::from);
    let strings = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    choose_tables(&Choice {
        keyspace: "commerce",
        there: &there,
        views: &BTreeSet::from(["v", "w"]),
        all,
        include: &strings(include),
        exclude: &strings(exclude),
    })
}

#[test]
fn tables_are_chosen_as_stock_chooses_them() {
    let tables = |all, include: &[&str], exclude: &[&str]| choose(all, include, exclude).unwrap().tables;
    assert_eq!(tables(true, &[], &[]), ["a", "b"]);
    assert_eq!(tables(true, &["b", "a", "b"], &[]), ["b", "a"]);
    assert_eq!(tables(true, &[], &["a"]), ["b"]);
    let refused = |all, include: &[&str], exclude: &[&str]| choose(all, include, exclude).unwrap_err().to_string();
    assert_eq!(refused(false, &["x", "y"], &[]), "table(s) not found in source keyspace commerce: x,y");
    assert_eq!(refused(true, &[], &["x"]), "table(s) not found in source keyspace commerce: x");
    let many: Vec<String> = (0..10_000).map(|number| format!("t{number}")).collect();
    let text = refused(false, &many.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert!(text.starts_with("table(s) not found in source keyspace commerce: t0,t1,"), "{text}");
    assert!(text.len() < 256 && text.ends_with(",and 9988 more"), "{text}");
    assert_eq!(refused(true, &[], &["a", "b"]), "no tables to move");
    assert_eq!(refused(false, &[], &[]), "no tables to move");
}

#[test]
fn what_cannot_come_is_refused_when_it_was_named_and_told_when_it_was_not() {
    let all = choose(true, &[], &[]).unwrap();
    assert_eq!(all.internal, ["_x_old", "_vt_HOLD_6ace8bcef73211ea87e9f875a4d24e90_20200915120410"]);
    assert!(choose(false, &["a"], &[]).unwrap().internal.is_empty());
    let named = choose(false, &["a", "_x_old"], &[]).unwrap_err();
    assert_eq!(named.reason(), "TABLE_INTERNAL");
    assert!(named.to_string().ends_with(": _x_old"), "{named}");
    assert_eq!(choose(false, &["_x_old"], &[]).unwrap_err().reason(), "TABLE_INTERNAL");
    assert_eq!(choose(true, &["a", "_x_old"], &["_x_old"]).unwrap().tables, ["a"]);

    let view = choose(false, &["a", "v"], &[]).unwrap_err();
    assert_eq!(view.reason(), "TABLE_IS_VIEW");
    assert!(view.to_string().starts_with("table(s) not found in source keyspace commerce: v"), "{view}");
    assert!(view.help().contains("ApplySchema"), "{}", view.help());
    assert_eq!(choose(false, &["x", "v"], &[]).unwrap_err().reason(), "TABLE_MISSING");
    assert_eq!(choose(true, &[], &["v", "w"]).unwrap().tables, ["a", "b"]);
}

#[test]
fn entries_keep_what_an_unsharded_source_says_of_its_tables() {
    let tables = ["r", "t", "absent"].map(str::to_owned);
    let kinds = |sharded: bool| -> Vec<(String, String)> {
        let source = vschema(sharded, &[], &[("t", None), ("r", Some("reference"))]);
        vschema_entries(&source, &tables).into_iter().map(|(name, entry)| (name, entry.r#type)).collect()
    };
    let wanted = |kind: &str| [("r", kind), ("t", ""), ("absent", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(kinds(false), wanted("reference"));
    assert_eq!(kinds(true), wanted(""));
}

/// Table and columns of a filter, as a parser reads them.
fn names_in(filter: &str) -> (String, Vec<String>) {
    use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SetExpr, Statement, TableFactor};
    let parsed = sqlparser::parser::Parser::parse_sql(&sqlparser::dialect::MySqlDialect {}, filter).unwrap();
    let [Statement::Query(query)] = parsed.as_slice() else { panic!("{filter}") };
    let SetExpr::Select(select) = query.body.as_ref() else { panic!("{filter}") };
    let TableFactor::Table { name, .. } = &select.from[0].relation else { panic!("{filter}") };
    let [part] = name.0.as_slice() else { panic!("{filter}") };
    let mut columns = Vec::new();
    if let Some(Expr::Function(call)) = &select.selection
        && let FunctionArguments::List(list) = &call.args
    {
        for argument in &list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(column))) = argument {
                columns.push(column.value.clone());
            }
        }
    }
    (part.as_ident().unwrap().value.clone(), columns)
}

fn filter_of(table: &str, columns: &[String]) -> String {
    let mut target = sharded("hash");
    target.tables[0].key = table.to_owned();
    let by = &mut target.tables[0].value.as_mut().unwrap().column_vindexes[0];
    by.column.clear();
    by.columns = columns.to_vec();
    let mut case = Case::new(&["0"], &["-80", "80-"], VSchema::default(), target);
    case.tables = vec![table.to_owned()];
    case.plan().unwrap()[0].1[0].filter.as_ref().unwrap().rules[0].filter.clone()
}

#[test]
fn names_are_quoted_always() {
    let wanted = "select * from `order` where in_keyrange(`a b`, 'hash', '-80')";
    assert_eq!(filter_of("order", &["a b".to_owned()]), wanted);
    let words =
        "now utc_date signal exit undo linear outfile revert leave loop _utf8 vindex vstream key select é a`b 1 %";
    for word in words.split(' ') {
        let filter = filter_of(word, &[word.to_owned()]);
        assert!(filter.starts_with(&format!("select * from `{}`", word.replace('`', "``"))), "{filter}");
        assert_eq!(names_in(&filter), (word.to_owned(), vec![word.to_owned()]), "{filter}");
    }
}

proptest! {
    /// Names that MySQL takes: any character of the first plane but NUL, no blank at the end.
    #[test]
    fn any_legal_name_comes_back_out_of_a_filter(
        table in "[\\x01-\u{d7ff}\u{e000}-\u{ffff}]{0,63}[a-z`.,%é表-]",
        columns in proptest::collection::vec("[\\x01-\u{d7ff}]{0,63}[a-z`'\\\\.,%é表-]", 1..3),
    ) {
        prop_assert_eq!(names_in(&filter_of(&table, &columns)), (table, columns));
    }
}

#[test]
fn all_problems_are_told_and_one_vindex_of_many_tables_is_one() {
    let mut target = vschema(
        true,
        &[("m", vindex("numeric_static_map", &[("json", "{}")])), ("l", vindex("lookup_unique", &[]))],
        &[("t", Some("m")), ("u", Some("m")), ("v", Some("l")), ("w", Some("nosuch")), ("bare", Some("m"))],
    );
    target.tables[4].value = Some(Table::default());
    let mut case = Case::new(&["0"], &["-80"], VSchema::default(), target);
    case.tables = ["t", "u", "v", "w", "bare", "absent"].map(str::to_owned).into();
    let found: Vec<_> = case.problems().iter().map(|(subject, e)| (subject.clone(), e.reason().as_str())).collect();
    let wanted = [
        ("keyspace customer", "SHARDS_NOT_A_PARTITION"),
        ("table t", "VINDEX_UNKNOWN_AT_SOURCE"),
        ("table v", "NO_USABLE_VINDEX"),
        ("table w", "VINDEX_MISSING"),
        ("table bare", "TABLE_WITHOUT_VINDEX"),
        ("table absent", "TABLE_NOT_IN_VSCHEMA"),
    ];
    assert_eq!(found, wanted.map(|(subject, id)| (subject.to_owned(), id)));

    // no filter is needed here, but vtgate will need the vindex
    let mut target = sharded("hash");
    target.tables[0].value = Some(Table::default());
    let bare = Case::new(&["0"], &["0"], sharded("hash"), target.clone()).problems();
    assert_eq!(bare[0].1.reason(), "TABLE_WITHOUT_VINDEX");
    target.tables[0].value = Some(Table { pinned: "00".into(), ..Table::default() });
    assert!(Case::new(&["0"], &["0"], sharded("hash"), target).problems().is_empty());
}
