use vtmigrated_proto::vschema::keyspace::{TablesEntry, VindexesEntry};
use vtmigrated_proto::vschema::{AutoIncrement, Table, Vindex};

use super::*;
use crate::sql::ddl;

fn vschema(vindexes: &[(&str, &str, &str, &str)], tables: &[(&str, &[(&str, &str)])]) -> VSchema {
    let vindex = |(name, kind, owner, behind): &(&str, &str, &str, &str)| VindexesEntry {
        key: (*name).to_owned(),
        value: Some(Vindex {
            r#type: (*kind).to_owned(),
            owner: (*owner).to_owned(),
            params: [("table".to_owned(), (*behind).to_owned())].into(),
        }),
    };
    let table = |(name, by): &(&str, &[(&str, &str)])| {
        let by = by.iter().map(|(vindex, column)| ColumnVindex {
            name: (*vindex).to_owned(),
            columns: vec![(*column).to_owned()],
            ..ColumnVindex::default()
        });
        TablesEntry {
            key: (*name).to_owned(),
            value: Some(Table { column_vindexes: by.collect(), ..Table::default() }),
        }
    };
    VSchema {
        sharded: true,
        vindexes: vindexes.iter().map(vindex).collect(),
        tables: tables.iter().map(table).collect(),
        ..VSchema::default()
    }
}

/// Ids of what blocks, and of what warns.
fn look(kind: &str, column: &str) -> Vec<&'static str> {
    let shape =
        ddl::shape("CREATE TABLE `t` (\n  `id` bigint NOT NULL,\n  `name` varchar(3),\n  PRIMARY KEY (`id`)\n)")
            .unwrap();
    let tables = ["t".to_owned()];
    let shapes = Shapes::from([("t".to_owned(), shape)]);
    let vschema = vschema(&[("v", kind, "", "")], &[("t", &[("v", column)])]);
    let by = vschema::tables(&vschema)["t"].column_vindexes[0].clone();
    let filtering = BTreeMap::from([("t".to_owned(), by)]);
    let found = columns(("customer", &vschema), &tables, (&shapes, &Shapes::new()), &filtering);
    found.into_iter().map(|finding| finding.id.as_str()).collect()
}

#[test]
fn columns_of_vindexes_exist_and_fit() {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("hash", "id", &[]),
        ("hash", "ID", &[]),
        ("xxhash", "name", &[]),
        ("hash", "name", &["VINDEX_COLUMN_TYPE"]),
        ("hash", "nosuch", &["VINDEX_COLUMN_MISSING"]),
        ("xxhash", "nosuch", &["VINDEX_COLUMN_MISSING"]),
    ];
    for (kind, column, wanted) in cases {
        assert_eq!(look(kind, column), wanted, "{kind}({column})");
    }
}

#[test]
fn only_the_columns_of_the_vindex_that_filters_must_come_from_the_source() {
    let shape = |columns: &str| ddl::shape(&format!("CREATE TABLE `t` (\n  `id` bigint NOT NULL{columns}\n)")).unwrap();
    let tables = ["t".to_owned()];
    let source = Shapes::from([("t".to_owned(), shape(""))]);
    let target = Shapes::from([("t".to_owned(), shape(",\n  `region` varchar(3)"))]);
    let vschema = vschema(&[("v", "hash", "", ""), ("r", "xxhash", "", "")], &[("t", &[("v", "id"), ("r", "region")])]);
    let by = |at: usize| vschema::tables(&vschema)["t"].column_vindexes[at].clone();
    let look = |on_target: &Shapes, filters: Option<usize>| {
        let filtering = filters.map(|at| ("t".to_owned(), by(at))).into_iter().collect();
        let found = columns(("customer", &vschema), &tables, (&source, on_target), &filtering);
        found.into_iter().map(|finding| (finding.id.as_str(), finding.severity)).collect::<Vec<_>>()
    };
    assert!(look(&target, Some(0)).is_empty());
    assert_eq!(look(&target, Some(1)), [("VINDEX_COLUMN_MISSING", Severity::Blocks)]);
    assert_eq!(look(&Shapes::new(), Some(0)), [("VINDEX_COLUMN_MISSING", Severity::Warns)]);
    assert!(look(&target, None).is_empty());
}

#[test]
fn lookups_come_with_their_owners_and_their_tables() {
    let vschema = vschema(
        &[("v", "hash", "", ""), ("by_name", "consistent_lookup_unique", "t", "customer.name_lookup")],
        &[("t", &[("v", "id"), ("by_name", "name")]), ("u", &[("v", "id"), ("by_name", "name")])],
    );
    let look = |tables: &[&str], there: &[&str]| {
        let tables: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
        let found = lookups("customer", &tables, &vschema, &there.iter().copied().collect());
        found.into_iter().map(|finding| finding.id).collect::<Vec<_>>()
    };
    assert!(look(&["t", "u", "name_lookup"], &[]).is_empty());
    assert!(look(&["u"], &["t"]).is_empty());
    assert_eq!(look(&["u"], &[]), ["LOOKUP_OWNER_LEFT_OUT"]);
    assert_eq!(look(&["t", "u"], &[]), ["LOOKUP_NOT_FILLED"]);
}

#[test]
fn the_table_behind_a_lookup_is_found_by_quoted_and_foreign_names() {
    let look = |behind: &str| {
        let vschema = vschema(
            &[("v", "hash", "", ""), ("l", "consistent_lookup_unique", "t", behind)],
            &[("t", &[("v", "id"), ("l", "name")])],
        );
        let tables = ["t", "user-lookup", "plain"].map(str::to_owned);
        lookups("my-customer", &tables, &vschema, &BTreeSet::new()).len()
    };
    for moved in ["plain", "`plain`", "`my-customer`.`user-lookup`", "`my-customer`.plain", "user-lookup"] {
        assert_eq!(look(moved), 0, "{moved}");
    }
    for other in ["lookup.plain", "`lookup`.`user-lookup`", "nosuch", ""] {
        assert_eq!(look(other), 1, "{other}");
    }
}

#[test]
fn sequences_that_do_not_come_along_are_named() {
    let mut source = vschema(&[], &[("t", &[]), ("u", &[]), ("own", &[])]);
    let counted = |sequence: &str| {
        let auto_increment = Some(AutoIncrement { column: "id".into(), sequence: sequence.into() });
        Some(Table { auto_increment, ..Table::default() })
    };
    source.tables[0].value = counted("`other`.seq");
    source.tables[1].value = counted("own");
    source.tables[2].value = Some(Table { r#type: "sequence".into(), ..Table::default() });
    let look = |tables: &[&str]| {
        let tables: Vec<String> = tables.iter().map(|t| (*t).to_owned()).collect();
        sequences_left("commerce", &tables, &source).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(look(&["t", "u", "own"]), ["`other`.seq"]);
    assert_eq!(look(&["u"]), ["own"]);
}

#[test]
fn sequences_are_seen() {
    let mut vschema = vschema(&[], &[("t", &[]), ("u", &[])]);
    assert!(sequenced(&vschema).is_empty());
    let auto_increment = Some(AutoIncrement { column: "id".into(), sequence: "seq".into() });
    vschema.tables[1].value = Some(Table { auto_increment, ..Table::default() });
    assert_eq!(sequenced(&vschema), BTreeSet::from(["u"]));
    for (column, sequence) in [("", "seq"), ("id", ""), ("", "")] {
        let half = Some(AutoIncrement { column: column.into(), sequence: sequence.into() });
        vschema.tables[1].value = Some(Table { auto_increment: half, ..Table::default() });
        assert!(sequenced(&vschema).is_empty(), "{column} {sequence}");
    }
}
