//! The server dies before and after each side effect of create, complete and cancel: the next one finishes the job, or
//! takes it back without a trace. No row is lost or doubled.

use crate::rig::{self, Rig, cancel, complete, create, died, done_or_gone};
use tonic::Code;

/// More places than any operation has.
const MOST: usize = 200;
/// Most places of create between its tables and the note of them: before and after each of the calls in between.
const MOST_LEFT: usize = 12;

/// Lets every fourth dead server's lease run out by itself.
async fn bury(rig: &Rig, number: usize) {
    if !number.is_multiple_of(4) {
        rig.end_leases().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn create_survives_a_kill_at_every_step() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    // kills after tables were made and before that was noted: nothing proves then whose they are, and cancel leaves them
    let mut left = Vec::new();
    for number in 1..MOST {
        let what = format!("create killed at {number}");
        let server = rig.doomed(number).await;
        let answer = create(&server).await;
        if !died(&server, answer.is_ok()).await {
            assert!(answer.is_ok(), "{what}, which the server outlived: {answer:?}");
            assert!(number > 20, "only {number} places: is vtmigrated built with the feature failpoints?");
            rig.until_copied(&server, &what).await;
            // the doomed one would die of what cancel does
            cancel(&rig.server("").await).await.unwrap();
            rig.expect_as(&before, &what).await;
            println!("create has {} places, tables are left by {left:?}", number - 1);
            assert!(left.len() <= MOST_LEFT, "{left:?}");
            return rig.finish().await;
        }
        bury(&rig, number).await;
        let server = rig.server("").await;
        if number % 2 == 1 {
            let whole = rig.record().await.is_some_and(|record| record.contains(r#""phase":"created""#));
            match create(&server).await {
                Ok(_) => assert!(!whole, "{what}: a whole workflow was created again"),
                Err(status) => assert!(whole && status.code() == Code::AlreadyExists, "{what}: {status:?}"),
            }
            let row = format!("INSERT INTO customer VALUES ({}, 'new')", 1000 + number);
            rig.source.run("commerce", &row).await.unwrap();
            rig.until_copied(&server, &what).await;
            cancel(&server).await.unwrap();
        } else {
            done_or_gone(cancel(&server).await, &what);
        }
        if rig.drop_empty().await > 0 {
            left.push(number);
        }
        rig.expect_as(&before, &what).await;
    }
    panic!("no end after {MOST} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_survives_a_kill_at_every_step() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    for number in 1..MOST {
        let what = format!("complete killed at {number}");
        let server = rig.server("").await;
        create(&server).await.unwrap();
        rig.until_copied(&server, &what).await;
        let dead = rig.killed(number, &what, complete).await;
        if dead {
            bury(&rig, number).await;
            done_or_gone(complete(&server).await, &what);
        }
        rig.same_rows().await.unwrap();
        for shard in ["-80", "80-"] {
            let primary = rig.target.primary("customer", shard).unwrap();
            primary.execute("UPDATE customer SET email = 'written' WHERE id > 0").await.unwrap();
        }
        done_or_gone(cancel(&server).await, &what);
        rig.target.run("customer", "DROP TABLE corder, customer, product").await.unwrap();
        rig.expect_as(&before, &what).await;
        if !dead {
            assert!(number > 20, "only {number} places: is vtmigrated built with the feature failpoints?");
            println!("complete has {} places", number - 1);
            return rig.finish().await;
        }
    }
    panic!("no end after {MOST} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_survives_a_kill_at_every_step() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    for number in 1..MOST {
        let what = format!("cancel killed at {number}");
        let server = rig.server("").await;
        create(&server).await.unwrap();
        if number % 2 == 1 {
            rig.until_copied(&server, &what).await;
        }
        let dead = rig.killed(number, &what, cancel).await;
        if dead {
            bury(&rig, number).await;
            done_or_gone(cancel(&server).await, &what);
        }
        rig.expect_as(&before, &what).await;
        if !dead {
            assert!(number > 20, "only {number} places: is vtmigrated built with the feature failpoints?");
            println!("cancel has {} places", number - 1);
            return rig.finish().await;
        }
    }
    panic!("no end after {MOST} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_twice() {
    let rig = Rig::start().await;
    let server = rig.server("").await;
    for command in [complete(&server).await, cancel(&server).await] {
        let status = command.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        assert_eq!(status.message().lines().next().unwrap(), "no streams found in keyspace customer for import");
    }
    create(&server).await.unwrap();
    let again = create(&server).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists, "{again:?}");
    for alias in ["zone2-0000000200", "zone2-0000000210"] {
        let line = format!("workflow import already exists in keyspace customer on tablet {alias}");
        assert!(again.message().contains(&line), "{again:?}");
    }
    let mut other = rig::request();
    other.defer_secondary_keys = false;
    assert_eq!(rig::create_as(&server, other).await.unwrap_err().code(), Code::AlreadyExists);
    rig.until_copied(&server, "after the refused creates").await;

    cancel(&server).await.unwrap();
    assert_eq!(cancel(&server).await.unwrap_err().code(), Code::NotFound);
    create(&server).await.unwrap();
    rig.until_copied(&server, "created again").await;
    complete(&server).await.unwrap();
    let again = complete(&server).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again:?}");
    assert!(again.message().starts_with("no streams found in keyspace customer for import"), "{again:?}");
    rig.same_rows().await.unwrap();
    rig.finish().await;
}
