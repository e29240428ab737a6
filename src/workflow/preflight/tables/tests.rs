use super::super::servers::Answers;
use super::super::{Check, Severity};
use super::*;

const PLAIN: &str =
    "CREATE TABLE `t` (\n  `id` bigint NOT NULL,\n  `c` int DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB";

fn definitions(of: &[(&str, &str)]) -> Definitions {
    let definition = |(name, schema): &(&str, &str)| {
        let schema = (*schema).to_owned();
        ((*name).to_owned(), TableDefinition { name: (*name).to_owned(), schema, ..TableDefinition::default() })
    };
    of.iter().map(definition).collect()
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

fn ids(found: &[Finding]) -> Vec<&'static str> {
    found.iter().map(|finding| finding.id).collect()
}

#[test]
fn tables_are_on_every_source_shard_with_one_definition() {
    let with = |column: &str| PLAIN.replace("`c` int DEFAULT NULL", column);
    let key = PLAIN.replace("(`id`)\n)", "(`id`),\n  KEY `k` (`c`)\n)");
    type Named<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Named<'_>, &[&Check]); 6] = [
        (&[("t", PLAIN)], &[]),
        (&[("t", &PLAIN.replace("InnoDB", "InnoDB AUTO_INCREMENT=7"))], &[]),
        // another key copies all the same
        (&[("t", &key)], &[]),
        (&[("u", PLAIN)], &[&check::TABLE_MISSING_ON_SHARD]),
        (&[("t", &with("`c` varchar(3)"))], &[&check::TABLE_DIFFERS_BETWEEN_SHARDS]),
        (&[("t", &with("`d` int DEFAULT NULL"))], &[&check::TABLE_DIFFERS_BETWEEN_SHARDS]),
    ];
    for (other, wanted) in cases {
        let (first, other) = (definitions(&[("t", PLAIN), ("not asked for", PLAIN)]), definitions(other));
        let shards = [("commerce/-80".to_owned(), &first), ("commerce/80-".to_owned(), &other)];
        let found = between_shards(&names(&["t"]), &shards);
        assert_eq!(ids(&found), wanted.iter().map(|check| check.id).collect::<Vec<_>>(), "{found:?}");
        assert!(found.iter().all(|f| f.severity == Severity::Blocks && f.subject == "table t"));
    }
}

#[test]
fn tables_that_are_there_already_are_compared() {
    let fk = PLAIN.replace("(`id`)\n)", "(`id`),\n  CONSTRAINT `f` FOREIGN KEY (`c`) REFERENCES `p` (`id`)\n)");
    let cases: [(&str, &str, &[&Check]); 7] = [
        (PLAIN, PLAIN, &[]),
        (&PLAIN.replace("InnoDB", "InnoDB AUTO_INCREMENT=7"), PLAIN, &[]),
        // create takes the source's foreign keys out
        (&fk, PLAIN, &[]),
        (PLAIN, &PLAIN.replace("  `c` int DEFAULT NULL,\n", ""), &[&check::COLUMN_MISSING_ON_TARGET]),
        (PLAIN, &PLAIN.replace("`c` int", "`c` bigint"), &[&check::DEFINITION_DIFFERS]),
        (PLAIN, &PLAIN.replace("(`id`)\n", "(`id`),\n  KEY `k` (`c`)\n"), &[&check::DEFINITION_DIFFERS]),
        // the target may have more columns
        (PLAIN, &PLAIN.replace("  PRIMARY", "  `more` int DEFAULT NULL,\n  PRIMARY"), &[&check::DEFINITION_DIFFERS]),
    ];
    for (source, target, wanted) in cases {
        let (source, there) = (definitions(&[("t", source)]), definitions(&[("t", target)]));
        let none = Definitions::new();
        // the same difference on two shards is one finding
        let shards = [
            ("customer/-55".to_owned(), &there),
            ("customer/55-aa".to_owned(), &there),
            ("customer/aa-".to_owned(), &none),
        ];
        let found = on_target(&names(&["t"]), &source, &shards, true);
        assert_eq!(ids(&found), wanted.iter().map(|check| check.id).collect::<Vec<_>>(), "{target}");
    }
    let (source, there) =
        (definitions(&[("t", PLAIN)]), definitions(&[("t", &PLAIN.replace("`c` int", "`c` bigint"))]));
    let found = on_target(&names(&["t"]), &source, &[("customer/0".to_owned(), &there)], false);
    assert_eq!(
        found[0].cause,
        "table t is on target shard customer/0 already and differs from the source's in columns c"
    );
}

#[test]
fn what_is_no_table_stays_behind() {
    let server = |inventory: &[(&str, &str)]| Server {
        shard: "commerce/0".into(),
        alias: "zone1-0000000100".into(),
        candidate: true,
        answers: Ok(Answers {
            inventory: inventory.iter().map(|(kind, name)| ((*kind).to_owned(), (*name).to_owned())).collect(),
            ..Answers::default()
        }),
    };
    assert_eq!(staying("commerce", &[server(&[])]), None);
    let servers = [server(&[("view", "a"), ("view", "b"), ("trigger", "t")]), server(&[("view", "a")])];
    let found = staying("commerce", &servers).unwrap();
    assert_eq!(found.cause, "these stay behind in the source: 1 trigger (t), 2 views (a, b)");
    assert_eq!((found.id, found.severity), ("NOT_MOVED", Severity::Warns));
}

#[test]
fn keys_are_wanted() {
    let bare = PLAIN.replace(",\n  PRIMARY KEY (`id`)", "");
    let tables = names(&["bare", "t", "unique"]);
    let unique = PLAIN.replace("PRIMARY KEY (`id`)", "UNIQUE KEY `u` (`id`)");
    let good = definitions(&[("t", PLAIN), ("unique", &unique)]);
    assert_eq!(without_key(&tables, &shapes(&tables, &good)), None);
    let bad = definitions(&[("t", PLAIN), ("bare", &bare)]);
    let found = without_key(&tables, &shapes(&tables, &bad)).unwrap();
    assert!(found.cause.ends_with(": bare") && found.id == "TABLE_WITHOUT_KEY", "{found:?}");
}

#[test]
fn foreign_keys_go_with_their_parents_and_keep_their_indexes() {
    let child = PLAIN.replace(
        "(`id`)\n)",
        "(`id`),\n  KEY `c` (`c`),\n  CONSTRAINT `f` FOREIGN KEY (`c`) REFERENCES `parent` (`id`)\n)",
    );
    let all = definitions(&[("t", PLAIN), ("child", &child), ("parent", PLAIN)]);
    let look = |tables: &[&str], there: &[&str], deferred| {
        let tables = names(tables);
        ids(&foreign_keys(&tables, &shapes(&tables, &all), &there.iter().copied().collect(), deferred))
    };
    assert!(look(&["t", "child", "parent"], &[], false).is_empty());
    assert!(look(&["t"], &[], true).is_empty());
    assert!(look(&["child"], &["parent"], false).is_empty());
    assert_eq!(look(&["child", "parent"], &[], true), ["FOREIGN_KEYS_DEFERRED"]);
    assert_eq!(look(&["child"], &[], false), ["FOREIGN_KEY_PARENT_MISSING"]);
}

#[test]
fn counters_on_several_shards_need_a_sequence() {
    let counted = PLAIN.replace("NOT NULL", "NOT NULL AUTO_INCREMENT");
    let tables = names(&["counted", "t"]);
    let shapes = shapes(&tables, &definitions(&[("counted", &counted), ("t", PLAIN)]));
    let columns = auto_increment_columns(&tables, &shapes);
    assert_eq!(columns, [("counted".to_owned(), "id".to_owned())]);
    let found = auto_increment("customer", &columns, &BTreeMap::from([("counted".to_owned(), 41)]));
    assert!(found[0].mend.contains("set its next_id to 42 or above"), "{found:?}");
    let found = auto_increment("customer", &columns, &BTreeMap::new());
    assert!(found[0].mend.contains("a value above the highest one"), "{found:?}");
    assert!(auto_increment("customer", &[], &BTreeMap::new()).is_empty());
}
