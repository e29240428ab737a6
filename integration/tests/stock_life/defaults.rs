//! A user who gives no flags.

use integration::{
    life::{SOURCE_VSCHEMA, TARGET_VSCHEMA},
    stock,
};

use crate::data::{ROWS, SCHEMA, TABLES, expect_same, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_unsharded_keyspace_moves_to_two_shards_with_the_flags_of_a_user_who_gives_none() {
    let pair = stock::pair().await.unwrap();
    let (source, target) =
        tokio::try_join!(pair.source.keyspace("commerce", &["0"]), pair.target.keyspace("customer", &["-80", "80-"]))
            .unwrap();
    source.run(SCHEMA).await.unwrap();
    source.run(ROWS).await.unwrap();
    pair.source.apply_vschema("commerce", SOURCE_VSCHEMA).await.unwrap();
    pair.target.apply_vschema("customer", TARGET_VSCHEMA).await.unwrap();
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

    let insert = "INSERT INTO customer (id, email) VALUES (900001, 'first@example.com')";
    stock::until("a write through vtgate", async || pair.target.query("customer", insert).await.map(drop))
        .await
        .unwrap();
    let rows = pair.target.query("customer", "SELECT email FROM customer WHERE id = 900001").await.unwrap();
    assert_eq!(rows.len(), 1);
    let gone = import.migrate(&["status"]).await.unwrap();
    assert!(!gone.ok() && gone.stderr.contains("no streams found in keyspace customer for import"), "{gone}");
}
