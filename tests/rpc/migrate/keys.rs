//! Secondary keys that tablets took for the copy: what ends of a workflow do where MySQL does not build them.

use tonic::Code;

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::refusal;

const TABLES: [&str; 2] = ["customer", "orders"];

/// A workflow whose first target shard owes keys to the table orders. What fails there, fails with the number that the statement has.
async fn owing(added: &str, fails: &'static str) -> Rig {
    let rig = Rig::start().await;
    rig.copied().await;
    {
        let mut contents = rig.target[0].contents();
        contents.actions = vec![("orders".into(), format!("alter table orders {added}"))];
        contents.fails = vec![fails];
    }
    rig
}

/// The statements that were run on the first shard to build keys.
fn built(rig: &Rig) -> Vec<String> {
    rig.target[0].taken().into_iter().filter(|call| call.starts_with("alter")).collect()
}

#[tokio::test]
async fn a_unique_key_that_rows_break_keeps_no_workflow_from_ending() {
    let rig = owing("add unique key by_b (b) comment '(errno 1062) (sqlstate 23000)'", "alter table orders").await;
    let without = "ExecuteFetchAsDBA zone1-0000001000 \"delete from _vt.post_copy_action where table_name = 'orders'\"";
    for _ in 0..2 {
        let (code, text) = refusal(rig.cancel(true).await);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        let of_table = "(secondary keys that were taken from table orders for the copy)\nfix what MySQL says";
        assert!(text.contains(of_table) && text.contains(without), "{text}");
    }
    // as that says
    rig.target[0].contents().actions.clear();
    rig.cancel(true).await.unwrap();
    assert_eq!(rows(&rig), [10; 4]);
    rig.expect_clean(&TABLES).await;
}

/// MySQL adds none of several keys when one of them is there.
#[tokio::test]
async fn where_somebody_has_made_one_key_by_hand_or_dropped_its_column_the_others_are_given_back() {
    for number in ["1061) (sqlstate 42000", "1072) (sqlstate 42000"] {
        let (a, b) = ("add key by_a (a)", format!("add unique key by_b (a, b) comment '(errno {number})'"));
        let rig = owing(&format!("{a}, {b}"), "add key by_a (a), add").await;
        rig.cancel(true).await.unwrap();
        let expected = [format!("{a}, {b}"), a.to_owned(), b].map(|added| format!("alter table orders {added}"));
        assert_eq!(built(&rig), expected);
        rig.expect_clean(&TABLES).await;
    }
}

#[tokio::test]
async fn a_key_that_is_there_and_alone_is_not_built_again() {
    let rig = owing("add key by_a (a) comment '(errno 1061) (sqlstate 42000)'", "alter table orders").await;
    rig.cancel(true).await.unwrap();
    assert_eq!(built(&rig).len(), 1);
    rig.expect_clean(&TABLES).await;
}
