//! Tables that users have made anew while a cancel was cut off: they stay, and what was the workflow's goes.

use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{Expect, Write};

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::refusal;

const TABLES: [&str; 2] = ["customer", "orders"];

/// A cancel that has dropped the tables of -80, and none of 80-, when its server ends.
async fn cut_off(rig: &Rig) {
    rig.target[1].contents().fails = vec!["drop table"];
    rig.cancel(false).await.unwrap_err();
    rig.target[1].contents().fails.clear();
    // that server would have noted that it has seen to -80
    rig.set_record(json!({"seen_to": []})).await;
    assert_eq!((rig.target[0].tables(), rig.record().await.unwrap()["cancelling"].clone()), (vec![], json!(true)));
}

/// What cancel says of a table that stays.
fn is_left(text: &str, table: &str, shard: &str) -> bool {
    text.contains(&format!(
        "{table} on shard {shard}: a cancel that was cut off had begun before somebody made or altered it"
    ))
}

#[tokio::test]
async fn the_only_table_of_a_workflow_is_not_dropped_when_it_was_made_anew() {
    let rig = Rig::with(&["orders"]).await;
    rig.copied().await;
    cut_off(&rig).await;
    rig.target[0].make_anew("orders", 5);
    let text = rig.cancel(false).await.unwrap();
    assert!(text.contains("; left: ") && is_left(&text, "orders", "-80") && !text.contains("80-"), "{text}");
    assert_eq!((rows(&rig), rig.target[1].tables()), (vec![5], vec![]));
    assert_eq!((rig.record().await, rig.denied().await), (None, [Vec::<String>::new(), Vec::new()]));
}

#[tokio::test]
async fn all_tables_that_were_made_anew_stay_whether_the_cancel_had_dropped_them_or_not() {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        primary.contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    }
    cut_off(&rig).await;
    for primary in &rig.target {
        TABLES.iter().for_each(|table| primary.make_anew(table, 7));
        primary.taken();
    }
    // whoever repeats it is cut off, too
    rig.target[0].contents().fails = vec!["delete from _vt.vreplication"];
    rig.cancel(false).await.unwrap_err();
    rig.target[0].contents().fails.clear();
    rig.set_record(json!({"seen_to": []})).await;
    let text = rig.cancel(false).await.unwrap();
    assert!(TABLES.iter().all(|table| ["-80", "80-"].iter().all(|shard| is_left(&text, table, shard))), "{text}");
    assert_eq!(rows(&rig), [7; 4]);
    let changes = |call: &String| ["drop", "truncate", "alter"].iter().any(|word| call.starts_with(word));
    assert!(rig.target.iter().all(|primary| !primary.taken().iter().any(changes)), "they have keys of their own");
    rig.expect_clean(&TABLES).await;
}

#[tokio::test]
async fn an_end_that_keeps_the_data_alters_no_table_that_was_made_anew() {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        let key = |table: &str| (table.to_owned(), format!("alter table {table} add unique key by_id (id)"));
        primary.contents().actions = TABLES.map(key).to_vec();
    }
    cut_off(&rig).await;
    for primary in &rig.target {
        primary.make_anew("orders", 7);
        primary.taken();
    }
    // and is repeated once clients have the tables
    rig.target[0].contents().fails = vec!["delete from _vt.vreplication"];
    rig.cancel(true).await.unwrap_err();
    assert_eq!(rig.record().await.unwrap()["handed_over"], true);
    rig.target[0].contents().fails.clear();
    rig.cancel(true).await.unwrap();
    let calls = [rig.target[0].taken(), rig.target[1].taken()];
    let altered =
        |at: usize, table: &str| calls[at].iter().any(|call| call.starts_with(&format!("alter table {table}")));
    assert!(altered(1, "customer") && !altered(0, "orders") && !altered(1, "orders"), "{calls:?}");
    assert_eq!(rows(&rig), [7, 10, 7]);
    assert_eq!((rig.record().await, rig.denied().await), (None, [Vec::<String>::new(), Vec::new()]));
}

#[tokio::test]
async fn a_table_that_was_gone_before_the_first_cancel_keeps_no_other_one_there() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target.iter().for_each(|primary| primary.contents().drop_table("customer"));
    cut_off(&rig).await;
    assert_eq!(rig.target[1].tables(), ["orders"]);
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_table_that_was_gone_before_the_first_cancel_is_somebodys_when_it_is_there_again() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target.iter().for_each(|primary| primary.contents().drop_table("customer"));
    cut_off(&rig).await;
    rig.target[1].make_anew("customer", 3);
    let text = rig.cancel(false).await.unwrap();
    assert!(is_left(&text, "customer", "80-") && !text.contains("orders on shard"), "{text}");
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (vec![], vec!["customer".to_owned()]));
    assert_eq!(rows(&rig), [3]);
}

/// The tables of two statements, of which the second is cut off, and then those of others.
#[tokio::test]
async fn a_cancel_of_many_tables_that_is_cut_off_twice_takes_all_that_is_its_own() {
    let tables: Vec<String> = (0..600).map(|number| format!("t{number:03}")).collect();
    let rig = Rig::with(&tables.iter().map(String::as_str).collect::<Vec<_>>()).await;
    rig.copied().await;
    let primary = &rig.target[0];
    primary.contents().fails = vec!["`t501`"];
    rig.cancel(false).await.unwrap_err();
    assert_eq!(primary.tables(), tables[500..]);
    primary.make_anew("t003", 5);
    rig.cancel(false).await.unwrap_err();
    primary.contents().fails.clear();
    let text = rig.cancel(false).await.unwrap();
    assert!(is_left(&text, "t003", "-80"), "{text}");
    assert_eq!((rows(&rig), primary.tables()), (vec![5], vec!["t003".to_owned()]));
}

/// The record is of a server that noted nothing.
#[tokio::test]
async fn without_a_note_all_that_is_there_after_a_cancel_was_cut_off_stays() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"cancelling": true})).await;
    rig.target[1].contents().drop_table("orders");
    let text = rig.cancel(false).await.unwrap();
    for left in ["customer on shard -80", "orders on shard -80", "customer on shard 80-"] {
        let told = format!("{left}: a cancel that was cut off has not noted when it was made");
        assert!(text.contains(&told), "{told}: {text}");
    }
    assert_eq!((rows(&rig), rig.target[1].tables()), (vec![10; 3], vec!["customer".to_owned()]));
    assert_eq!((rig.record().await, rig.denied().await), (None, [Vec::<String>::new(), Vec::new()]));
}

#[tokio::test]
async fn the_cleaner_leaves_an_empty_table_that_was_made_anew() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating"})).await;
    cut_off(&rig).await;
    rig.target[0].make_anew("orders", 0);
    let found = rig.leftovers().await;
    assert!(is_left(&found[0].1, "orders", "-80"), "{found:?}");
    rig.clean().await;
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (vec!["orders".to_owned()], vec![]));
    assert_eq!((rig.record().await, rig.denied().await), (None, [Vec::<String>::new(), Vec::new()]));
}

/// Some engines empty a table by making it anew.
#[tokio::test]
async fn tables_that_were_there_get_their_keys_when_a_cancel_is_cut_off_after_it_emptied_them() {
    let rig = Rig::start().await;
    rig.target.iter().for_each(|primary| TABLES.iter().for_each(|table| primary.fill(table, 0)));
    rig.copied().await;
    for primary in &rig.target {
        let key = |table: &str| (table.to_owned(), format!("alter table {table} add key by_id (id)"));
        let mut contents = primary.contents();
        contents.actions = TABLES.map(key).to_vec();
        contents.fails = vec!["alter table orders"];
    }
    rig.cancel(false).await.unwrap_err();
    assert_eq!(rows(&rig), [0; 4]);
    for primary in &rig.target {
        primary.contents().fails.clear();
        primary.taken();
    }
    // and somebody writes into one that he has made anew
    rig.target[0].make_anew("customer", 4);
    let text = rig.cancel(false).await.unwrap();
    assert!(is_left(&text, "customer", "-80") && !text.contains("orders on shard"), "{text}");
    for (primary, keys) in rig.target.iter().zip([&TABLES[1..], &TABLES]) {
        let calls = primary.taken();
        let given: Vec<&String> = calls.iter().filter(|call| call.starts_with("alter table")).collect();
        assert!(
            given.len() == keys.len() && keys.iter().all(|key| given.iter().any(|call| call.contains(key))),
            "{calls:?}"
        );
        assert!(!calls.iter().any(|call| call.starts_with("truncate") || call.starts_with("drop")), "{calls:?}");
    }
    assert_eq!(rows(&rig), [4, 0, 0, 0]);
    rig.expect_clean(&TABLES).await;
}

/// A table that somebody would make in the same second would look like it.
#[tokio::test]
async fn a_table_that_was_made_a_moment_ago_is_told_from_one_that_is_made_after_it() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target.iter().for_each(|primary| primary.contents().hurries = true);
    cut_off(&rig).await;
    rig.target[0].make_anew("orders", 5);
    rig.cancel(false).await.unwrap();
    assert_eq!((rows(&rig), rig.target[1].tables()), (vec![5], vec![]));
}

/// Whoever has the lock by then may have ended the workflow, and users may have made its tables anew.
#[tokio::test]
async fn a_cancel_that_has_lost_its_lock_takes_no_more_tables() {
    let tables: Vec<String> = (0..30).map(|number| format!("t{number:02}")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let rig = Rig::with(&tables).await;
    rig.target.iter().for_each(|primary| tables.iter().for_each(|table| primary.fill(table, 0)));
    rig.copied().await;
    let permits = rig.target[0].holds("truncate table");
    let lost = async {
        rig.target[0].was_asked("truncate table").await;
        for node in rig.lab.stored().await.into_iter().filter(|node| node.path.contains("/locks/")) {
            rig.lab.topo.global().write_one(Write::delete(node.path, Expect::Any), None).await.unwrap();
        }
        permits.add_permits(tables.len());
    };
    let (answer, ()) = tokio::join!(rig.cancel(false), lost);
    let (code, text) = refusal(answer);
    assert!(code == Code::Aborted && text.starts_with("the lock "), "{text}");
    let emptied = rig.target[0].taken().iter().filter(|call| call.starts_with("truncate table")).count();
    assert!(emptied <= 4, "{emptied} were emptied without a lock, or before it was lost");
    rig.target[0].contents().held = None;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&tables).await;
    assert_eq!(rows(&rig), [0; 60]);
}
