use super::*;
use crate::sql::ddl;

fn shapes(of: &[(&str, &str)]) -> Shapes {
    let shape = |(name, inside): &(&str, &str)| {
        let text = format!(
            "CREATE TABLE `{name}` (\n  `id` bigint NOT NULL,\n  `a` bigint DEFAULT NULL,\n  `b` bigint DEFAULT NULL{inside}\n)"
        );
        ((*name).to_owned(), ddl::shape(&text).unwrap())
    };
    of.iter().map(shape).collect()
}

fn look(of: &[(&str, &str)], others: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let tables: Vec<String> = of.iter().map(|(name, _)| (*name).to_owned()).collect();
    deferred(&tables, &shapes(of), &shapes(others)).into_iter().map(|f| (f.id.as_str(), f.subject)).collect()
}

const PK: &str = ",\n  PRIMARY KEY (`id`)";
const FK: &str = ",\n  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`id`)";

#[test]
fn foreign_keys_come_over_with_the_defaults_of_the_client() {
    let parent = ("p", PK);
    for keys in [
        ",\n  KEY `f` (`a`)",
        ",\n  UNIQUE KEY `other` (`b`),\n  KEY `f` (`A`)",
        ",\n  KEY `more` (`a`,`b`),\n  KEY `f` (`a`)",
        ",\n  KEY `expression` ((`a` + 1)),\n  FULLTEXT KEY `t` (`b`),\n  KEY `f` (`a`)",
    ] {
        assert_eq!(look(&[parent, ("c", &format!("{PK}{keys}{FK}"))], &[]), [], "{keys}");
    }
    // the primary key serves too
    assert_eq!(look(&[parent, ("c", &format!(",\n  PRIMARY KEY (`a`,`id`),\n  KEY `k` (`a`,`b`){FK}"))], &[]), []);
    assert_eq!(look(&[("t", ",\n  PRIMARY KEY (`id`),\n  KEY `k` (`a`)")], &[]), []);
}

#[test]
fn keys_that_mysql_keeps_are_not_deferred() {
    let refused = |table: &str| vec![("FOREIGN_KEYS_DEFERRED", format!("table {table}"))];
    let parent = ("p", PK);
    // the only key that begins with the foreign key's column is longer than it
    assert_eq!(look(&[parent, ("c", &format!("{PK},\n  KEY `more` (`a`,`b`){FK}"))], &[]), refused("c"));
    // a unique key of the parent that a child points to, be the child moved or there
    let parent = ("p", ",\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`b`)");
    let child = format!("{PK},\n  KEY `f` (`a`),\n  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `p` (`b`)");
    assert_eq!(look(&[parent, ("c", &child)], &[]), refused("p"));
    assert_eq!(look(&[parent], &[("c", &child)]), refused("p"));
    assert_eq!(look(&[parent], &[("c", &child.replace("`p`", "`elsewhere`.`p`"))]), []);
}

#[test]
fn the_key_of_a_counter_is_not_deferred() {
    let counter = |keys: &str| {
        let text =
            format!("CREATE TABLE `t` (\n  `id` bigint NOT NULL,\n  `n` bigint NOT NULL AUTO_INCREMENT,\n{keys}\n)");
        let shapes = Shapes::from([("t".to_owned(), ddl::shape(&text).unwrap())]);
        deferred(&["t".to_owned()], &shapes, &Shapes::new()).into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    assert!(counter("  PRIMARY KEY (`n`,`id`),\n  KEY `n` (`n`)").is_empty());
    assert_eq!(counter("  PRIMARY KEY (`id`),\n  KEY `n` (`n`)"), ["AUTO_INCREMENT_KEY_DEFERRED"]);
}

#[test]
fn parents_come_with_their_children() {
    let of = [("p", PK), ("c", &format!("{PK},\n  KEY `f` (`a`){FK}"))];
    let look = |tables: &[&str], there: &[&str]| {
        let tables: Vec<String> = tables.iter().map(|t| (*t).to_owned()).collect();
        parents(&tables, &shapes(&of), &there.iter().copied().collect()).into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    assert!(look(&["c", "p"], &[]).is_empty());
    assert!(look(&["c"], &["p"]).is_empty());
    assert_eq!(look(&["c"], &[]), ["FOREIGN_KEY_PARENT_MISSING"]);
}

#[test]
fn rows_that_foreign_keys_change_are_told() {
    let look = |named: &[&str], key: &str, dropped: bool| {
        let child = format!("{PK},\n  KEY `f` (`a`){key}");
        let tables: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        let shapes = shapes(&[("p", PK), ("c", &child)]);
        let managed = VSchema { foreign_key_mode: ForeignKeyMode::Managed.into(), ..VSchema::default() };
        assert!(cascading(&tables, &shapes, &managed, dropped).is_empty(), "vtgate changes the rows itself");
        let found = cascading(&tables, &shapes, &VSchema::default(), dropped);
        found.into_iter().map(|finding| (finding.id.as_str(), finding.subject, finding.cause)).collect::<Vec<_>>()
    };
    assert_eq!(look(&["p", "c"], FK, false), []);
    assert_eq!(look(&["p", "c"], FK, true), []);
    let cascade = format!("{FK} ON DELETE CASCADE");
    let told = |named: &[&str], dropped: bool| {
        let found = look(named, &cascade, dropped);
        assert_eq!((found.len(), found[0].0, found[0].1.as_str()), (1, "CASCADE_NOT_STREAMED", "table c"));
        found[0].2.clone()
    };
    let cause = "MySQL changes rows of table c with those of p (on delete cascade), and writes that into no binlog before 9.6: ";
    assert_eq!(told(&["p", "c"], false), format!("{cause}until the copy is over, the target keeps them as they were"));
    // the target's MySQL never does it
    for (named, dropped) in [(&["p", "c"][..], true), (&["c"][..], false)] {
        assert_eq!(told(named, dropped), format!("{cause}the target keeps them as they were"));
    }
}
