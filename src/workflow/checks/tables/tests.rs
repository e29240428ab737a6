use super::*;
use crate::workflow::checks::samples::{PLAIN, definitions, names};
use crate::workflow::checks::servers::Answers;
use crate::workflow::findings::Severity;

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
    assert_eq!(staying("commerce", &[server(&[])], &BTreeSet::new()), None);
    let servers = [server(&[("view", "a"), ("view", "b"), ("trigger", "t")]), server(&[("view", "a")])];
    let found = staying("commerce", &[], &BTreeSet::from(["seq".to_owned()])).unwrap();
    assert_eq!(found.cause, "these stay behind in the source: 1 sequence (seq)");
    let found = staying("commerce", &servers, &BTreeSet::new()).unwrap();
    assert_eq!(found.cause, "these stay behind in the source: 1 trigger (t), 2 views (a, b)");
    assert_eq!((found.id.as_str(), found.severity), ("NOT_MOVED", Severity::Warns));
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
fn counters_on_several_shards_need_a_sequence() {
    let counted = PLAIN.replace("NOT NULL", "NOT NULL AUTO_INCREMENT");
    let tables = names(&["counted", "t"]);
    let shapes = shapes(&tables, &definitions(&[("counted", &counted), ("t", PLAIN)]));
    let columns = auto_increment_columns(&tables, &shapes);
    assert_eq!(columns, [("counted".to_owned(), "id".to_owned())]);
    let found = auto_increment("customer", &columns, &BTreeMap::from([("counted".to_owned(), 41)]));
    assert!(found[0].fix.contains("set its next_id to 42 or above"), "{found:?}");
    let found = auto_increment("customer", &columns, &BTreeMap::new());
    assert!(found[0].fix.contains("a value above the highest one"), "{found:?}");
    assert!(auto_increment("customer", &[], &BTreeMap::new()).is_empty());
}
