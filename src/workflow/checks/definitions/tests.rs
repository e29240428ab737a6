use super::*;
use crate::error::{Check, Reason};
use crate::workflow::checks::samples::{PLAIN, definitions, names};

fn ids(found: &[Finding]) -> Vec<Reason> {
    found.iter().map(|finding| finding.id).collect()
}

#[test]
fn tables_are_on_every_source_shard_with_one_definition() {
    let with = |column: &str| PLAIN.replace("`c` int DEFAULT NULL", column);
    let key = PLAIN.replace("(`id`)\n)", "(`id`),\n  KEY `k` (`c`)\n)");
    type Named<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Named<'_>, &[&Check]); 5] = [
        (&[("t", PLAIN)], &[]),
        (&[("t", &PLAIN.replace("InnoDB", "InnoDB AUTO_INCREMENT=7"))], &[]),
        // another key copies all the same
        (&[("t", &key)], &[]),
        (&[("u", PLAIN)], &[&check::TABLE_MISSING_ON_SHARD]),
        (&[("t", &with("`d` int DEFAULT NULL"))], &[&check::TABLE_DIFFERS_BETWEEN_SHARDS]),
    ];
    for (other, wanted) in cases {
        let (first, other) = (definitions(&[("t", PLAIN), ("not asked for", PLAIN)]), definitions(other));
        let shards = [("commerce/-80".to_owned(), &first), ("commerce/80-".to_owned(), &other)];
        let found = between_shards(&names(&["t"]), &shards, &|_| true);
        assert_eq!(ids(&found), wanted.iter().map(|check| check.id).collect::<Vec<_>>(), "{found:?}");
        assert!(found.iter().all(|f| f.severity == Severity::Blocks && f.subject == "table t"));
    }
    let (first, second) = (definitions(&[("t", PLAIN)]), definitions(&[("t", PLAIN), ("u", PLAIN)]));
    let shards = [("commerce/-80".to_owned(), &first), ("commerce/80-".to_owned(), &second)];
    let found = between_shards(&names(&["nosuch", "t", "u"]), &shards, &|_| true);
    let told: Vec<&str> = found.iter().map(|finding| finding.cause.as_str()).collect();
    assert_eq!(told, ["table u not found in source shard commerce/-80: it is in commerce/80-"]);
}

#[test]
fn only_what_loses_values_of_a_shard_blocks() {
    let look = |first: &str, second: &str, made: bool| {
        let with = |column: &str| PLAIN.replace("`c` int DEFAULT NULL", column);
        let (first, second) = (definitions(&[("t", &with(first))]), definitions(&[("t", &with(second))]));
        let shards = [("commerce/-80".to_owned(), &first), ("commerce/80-".to_owned(), &second)];
        let found = between_shards(&names(&["t"]), &shards, &|_| made);
        found.first().map(|finding| finding.severity)
    };
    for (first, second, wanted) in [
        ("`c` int(11) DEFAULT NULL", "`c` int DEFAULT NULL", None),
        ("`c` varchar(9) CHARACTER SET utf8", "`c` varchar(9) CHARACTER SET utf8mb3", None),
        ("`c` int DEFAULT NULL COMMENT 'a'", "`c` int DEFAULT NULL COMMENT 'b, (c'", None),
        ("`c` int DEFAULT '0'", "`c` int DEFAULT '1'", Some(Severity::Warns)),
        ("`c` bigint DEFAULT NULL", "`c` int DEFAULT NULL", Some(Severity::Warns)),
        ("`c` int DEFAULT NULL", "`c` int NOT NULL", Some(Severity::Warns)),
        ("`c` int DEFAULT NULL,\n  `d` int DEFAULT NULL", "`c` int DEFAULT NULL", Some(Severity::Warns)),
        ("`c` int DEFAULT NULL", "`c` bigint DEFAULT NULL", Some(Severity::Blocks)),
        ("`c` int DEFAULT NULL", "`c` varchar(3)", Some(Severity::Blocks)),
        ("`c` int NOT NULL", "`c` int DEFAULT NULL", Some(Severity::Blocks)),
        ("`c` int GENERATED ALWAYS AS (1) STORED", "`c` int DEFAULT NULL", Some(Severity::Blocks)),
    ] {
        assert_eq!(look(first, second, true), wanted, "{first} / {second}");
        // the target's own table is what counts when it is there
        assert_eq!(look(first, second, false), wanted.map(|_| Severity::Warns), "{first} / {second}");
    }
}

#[test]
fn tables_that_are_there_already_are_compared() {
    let fk = PLAIN.replace("(`id`)\n)", "(`id`),\n  CONSTRAINT `f` FOREIGN KEY (`c`) REFERENCES `p` (`id`)\n)");
    let cases: [(&str, &str, &[&Check]); 9] = [
        (PLAIN, PLAIN, &[]),
        (&PLAIN.replace("InnoDB", "InnoDB AUTO_INCREMENT=7"), PLAIN, &[]),
        // create takes the source's foreign keys out
        (&fk, PLAIN, &[]),
        (PLAIN, &PLAIN.replace("  `c` int DEFAULT NULL,\n", ""), &[&check::COLUMN_MISSING_ON_TARGET]),
        (&PLAIN.replace("`c` int", "`c` int(11)"), PLAIN, &[]),
        // streams write generated columns too where the target does not compute them
        (
            &PLAIN.replace("  PRIMARY", "  `g` int GENERATED ALWAYS AS (`c`) VIRTUAL,\n  PRIMARY"),
            PLAIN,
            &[&check::COLUMN_MISSING_ON_TARGET],
        ),
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
        let found = on_target(&names(&["t"]), &[("commerce/0".to_owned(), &source)], &shards, true);
        assert_eq!(ids(&found), wanted.iter().map(|check| check.id).collect::<Vec<_>>(), "{target}");
    }
    let (source, there) =
        (definitions(&[("t", PLAIN)]), definitions(&[("t", &PLAIN.replace("`c` int", "`c` bigint"))]));
    let found =
        on_target(&names(&["t"]), &[("commerce/0".to_owned(), &source)], &[("customer/0".to_owned(), &there)], false);
    assert_eq!(
        found[0].cause,
        "table t is on target shard customer/0 already and differs from the source's in columns c"
    );
}
