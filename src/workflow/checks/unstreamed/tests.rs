use vtmigrated_proto::tabletmanagerdata::TableDefinition;

use super::*;
use crate::workflow::checks::servers::Answers;
use crate::workflow::checks::tables::shapes;

fn definitions(of: &[(&str, &str)]) -> Definitions {
    let definition = |(name, parts): &(&str, &str)| {
        let schema = format!("CREATE TABLE `{name}` (\n  `id` bigint NOT NULL,\n  {parts}\n) ENGINE=InnoDB");
        ((*name).to_owned(), TableDefinition { name: (*name).to_owned(), schema, ..TableDefinition::default() })
    };
    of.iter().map(definition).collect()
}

fn all(of: &[&str]) -> Vec<String> {
    of.iter().map(|name| (*name).to_owned()).collect()
}

fn server(candidate: bool, version: Option<&str>) -> Server {
    let variables = version.map(|version| ("version".to_owned(), version.to_owned()));
    Server {
        shard: "commerce/0".into(),
        alias: "zone1-0000000100".into(),
        candidate,
        answers: Ok(Answers { variables: variables.into_iter().collect(), ..Answers::default() }),
    }
}

#[test]
fn keys_with_expressions_are_told_for_tables_that_move() {
    let plain = "`c` int DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  KEY `k` (`c` DESC,`id`)";
    let first = definitions(&[
        ("plain", plain),
        ("sorted", "PRIMARY KEY (`id`),\n  KEY `by_word` ((lower(`b`)),`c` DESC),\n  KEY `by_sum` ((`a` + `c`))"),
        ("stays", "PRIMARY KEY (`id`),\n  KEY `k` ((`id` * 2))"),
        (
            "computed",
            "`twice` int GENERATED ALWAYS AS ((`id` * 2)) VIRTUAL,\n  PRIMARY KEY (`id`),\n  KEY `t` (`twice`)",
        ),
        ("checked", "PRIMARY KEY (`id`),\n  CONSTRAINT `positive` CHECK ((`id` > 0))"),
    ]);
    // definitions of shards may differ in keys
    let second = definitions(&[("plain", "KEY `own` (`id`,(`c` + 1))"), ("sorted", "KEY `by_sum` ((`a` + `c`))")]);
    let shards = [("commerce/-80".to_owned(), &first), ("commerce/80-".to_owned(), &second)];
    let tables = all(&["plain", "sorted", "computed", "checked"]);
    let found = keys(&tables, &shards);
    let told: Vec<_> = found.iter().map(|f| (f.id.as_str(), f.severity, f.subject.as_str())).collect();
    let warns = Severity::Warns;
    assert_eq!(told, [("FUNCTIONAL_KEY", warns, "table plain"), ("FUNCTIONAL_KEY", warns, "table sorted")]);
    assert!(found[0].cause.starts_with("cannot determine table columns: ") && found[0].cause.ends_with(" key own"));
    assert!(found[1].cause.ends_with(" keys by_sum, by_word"), "{found:?}");
    for words in ["drop the key in the source before create", "--exclude-tables"] {
        assert!(found[1].fix.contains(words), "{found:?}");
    }
    assert!(keys(&tables, &shards[..0]).is_empty());
}

#[test]
fn keys_of_arrays_are_told_for_every_table_of_the_source() {
    let arrays =
        "`doc` json DEFAULT NULL,\n  KEY `zips` ((cast(json_extract(`doc`,_utf8mb4'$.zip') as unsigned array)))";
    let there = definitions(&[("moved", arrays), ("stays", arrays), ("text", "`array` int COMMENT 'no array)'")]);
    let found = keys(&all(&["moved", "text"]), &[("commerce/0".to_owned(), &there)]);
    let told: Vec<_> = found.iter().map(|f| (f.id.as_str(), f.severity, f.subject.as_str())).collect();
    let warns = Severity::Warns;
    assert_eq!(told, [("MULTI_VALUED_KEY", warns, "table moved"), ("MULTI_VALUED_KEY", warns, "table stays")]);
    assert!(found[1].cause.contains("table stays, moved or not") && found[1].cause.ends_with(" key zips"), "{found:?}");
}

#[test]
fn names_that_mysql_reserves_and_tablets_do_not_quote_block_where_nobody_can_read_the_rows() {
    let there = definitions(&[
        ("plain", "`select` int,\n  `cubes` int,\n  PRIMARY KEY (`id`)"),
        ("sizes", "`Cube` int,\n  PRIMARY KEY (`id`)"),
        ("dual", "PRIMARY KEY (`id`)"),
    ]);
    let tables = all(&["dual", "plain", "sizes"]);
    let look = |source: &[(bool, Option<&str>)], target: &str, newer: bool| {
        let source = source.iter().map(|(candidate, version)| server(*candidate, *version)).collect();
        let servers = Servers { source, target: vec![server(false, Some(target))] };
        let found = names(&tables, &shapes(&tables, &there), &servers, newer);
        found.into_iter().map(|f| (f.subject, f.severity)).collect::<Vec<_>>()
    };
    let (blocks, warns) = (Severity::Blocks, Severity::Warns);
    let told = |dual, sizes| vec![("table dual".to_owned(), dual), ("table sizes".to_owned(), sizes)];
    assert_eq!(look(&[(true, Some("8.0.36-28"))], "9.7.4", false), told(blocks, blocks));
    // 5.7 does not reserve it, and reads it; the target may not be able to write it
    assert_eq!(look(&[(true, Some("5.7.44-log"))], "8.4.3", false), told(blocks, warns));
    assert_eq!(look(&[(true, Some("5.7.44-log"))], "5.7.44", false), told(blocks, warns)[..1]);
    // one of those that streams may pick is enough
    assert_eq!(look(&[(true, Some("8.0.36")), (true, Some("5.7.44"))], "8.4.3", false), told(blocks, warns));
    assert_eq!(look(&[(true, Some("8.0.36")), (false, Some("5.7.44"))], "8.4.3", false), told(blocks, blocks));
    // what is not known only warns
    for version in [None, Some("10.11.6-MariaDB"), Some("what")] {
        assert_eq!(look(&[(true, version)], "8.4.3", false), told(warns, warns), "{version:?}");
    }
    assert_eq!(look(&[], "8.4.3", false), told(warns, warns));
    assert_eq!(look(&[(true, Some("8.0.36"))], "8.4.3", true), told(warns, warns));
}
