//! A user who gives no flags.

use integration::stock;

use crate::data::{TABLES, commerce_and_customer, expect_same, write, write_first_through_vtgate};

#[tokio::test(flavor = "multi_thread")]
async fn an_unsharded_keyspace_moves_to_two_shards_with_the_flags_of_a_user_who_gives_none() {
    let pair = stock::pair().await.unwrap();
    let (source, target) = commerce_and_customer(pair).await;
    let writer = write(&source).await;

    let import = pair.migration("import", "commerce", "customer");
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], false, "{difference}");
    assert!(writer.is_running());
    assert!(writer.stop().await.unwrap() > 5);
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
    expect_same(&source, &target, &TABLES).await;

    write_first_through_vtgate(pair).await;
    let rows = pair.target.query("customer", "SELECT email FROM customer WHERE id = 900001").await.unwrap();
    assert_eq!(rows.len(), 1);
    let gone = import.migrate(&["status"]).await.unwrap();
    assert!(!gone.ok() && gone.stderr.contains("no streams found in keyspace customer for import"), "{gone}");
}
