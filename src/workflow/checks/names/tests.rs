use super::*;
use crate::workflow::checks::samples::names;
use crate::workflow::checks::servers::Answers;

fn server(case: &str, views: &[&str]) -> Server {
    Server {
        shard: "customer/80-".into(),
        alias: "zone1-0000000300".into(),
        candidate: false,
        answers: Ok(Answers {
            variables: BTreeMap::from([(LETTER_CASE.to_owned(), case.to_owned())]),
            inventory: views.iter().map(|name| ("view".to_owned(), (*name).to_owned())).collect(),
            ..Answers::default()
        }),
    }
}

#[test]
fn names_are_measured_as_tablets_keep_them() {
    assert!(unfit(&names(&["a", "é".repeat(64).as_str(), "a/b", "%"])).is_empty());
    let found = unfit(&names(&["表".repeat(43).as_str(), "/a", "a`b", "`c`"]));
    assert_eq!(found.iter().map(|f| f.id).collect::<Vec<_>>(), ["TABLE_NAME_UNFIT"; 4]);
    assert!(found[0].cause.contains("129 bytes") && found[1].cause.contains("slash"), "{found:?}");
    assert!(found[2..].iter().all(|finding| finding.cause.contains("back-quote")), "{found:?}");
}

#[test]
fn a_target_with_a_back_quote_in_a_name_runs_no_stream() {
    let there = |of: &[&str]| of.iter().map(|name| ((*name).to_owned(), Default::default())).collect::<Definitions>();
    assert_eq!(unreadable("customer", &[there(&["a"]), there(&["b c", "it's"])]), None);
    let found = unreadable("customer", &[there(&["b`", "x"]), there(&["`a`", "b`"])]).unwrap();
    assert_eq!((found.id.as_str(), found.subject.as_str()), ("TARGET_NAME_UNREADABLE", "table `a`"));
    assert!(found.cause.ends_with("every stream ends: `a`, b`"), "{found:?}");
}

#[test]
fn what_stays_behind_for_its_name_is_told() {
    assert_eq!(left_out("commerce", &[]), None);
    let found = left_out("commerce", &names(&["_prices_old"])).unwrap();
    assert!(found.cause.ends_with(": _prices_old") && found.id == "INTERNAL_LEFT_OUT", "{found:?}");
}

#[test]
fn a_view_of_the_target_stands_in_the_way_of_a_table() {
    let look = |tables: &[&str], servers: &[Server]| {
        views_in_the_way(&names(tables), servers).into_iter().map(|f| f.cause).collect::<Vec<_>>()
    };
    let servers = [server("0", &[]), server("0", &["corder"])];
    let found = look(&["customer", "corder"], &servers);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("Table 'corder' already exists: on target shard customer/80- it is a view"),
        "{found:?}"
    );
    assert!(look(&["Corder"], &servers).is_empty());
    let found = look(&["Corder", "corder"], &[server("1", &["CORDER"])]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("Table 'Corder' already exists"), "{found:?}");
}

#[test]
fn letter_case_is_compared_where_it_matters() {
    let look = |tables: &[&str], case: &str, deferred| {
        let found = letter_case(&names(tables), &[server(case, &[])], &BTreeSet::new(), deferred);
        found.into_iter().map(|f| f.cause).collect::<Vec<_>>()
    };
    assert!(look(&["a", "B"], "0", true).is_empty());
    assert!(look(&["a", "b"], "1", true).is_empty());
    assert!(look(&["t", "T"], "0", false).is_empty());
    assert!(look(&["t", "T"], "0", true)[0].contains("differ in letter case only"));
    let folded = look(&["t", "T"], "1", false);
    assert_eq!(folded.len(), 2, "{folded:?}");
    assert!(folded[0].contains("are one for target tablet") && folded[1].ends_with(": T"), "{folded:?}");
}

#[test]
fn a_table_of_the_target_may_differ_in_letter_case_only() {
    let look = |there: &[&'static str], case: &str, deferred| {
        letter_case(&names(&["orders", "customer"]), &[server(case, &[])], &there.iter().copied().collect(), deferred)
    };
    let found = look(&["Orders", "customer", "Other"], "0", true);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].id.as_str(), found[0].subject.as_str()), ("LETTER_CASE", "table orders"));
    assert!(found[0].cause.starts_with("tables orders, Orders differ in letter case only"), "{found:?}");
    assert!(look(&["Orders"], "0", false).is_empty());
    // there they are one
    assert!(look(&["Orders"], "2", true).is_empty());
    assert!(look(&["orders", "customer"], "0", true).is_empty());
}
