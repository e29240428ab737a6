//! Tablets of today on MySQL 8.0.

use integration::{life::SOURCE_VSCHEMA, mysqld::Release, stock};

use crate::data::{ROWS, SCHEMA, TABLES, expect_same, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_moves_from_mysql_8_to_mysql_8_beside_writes() {
    let pair = stock::pair().await.unwrap();
    let (source, target) = tokio::try_join!(
        pair.source.keyspace_on(Release::V8, "barn", &["0"]),
        pair.target.keyspace_on(Release::V8, "barn_new", &["0"])
    )
    .unwrap();
    source.run(SCHEMA).await.unwrap();
    source.run(ROWS).await.unwrap();
    pair.source.apply_vschema("barn", SOURCE_VSCHEMA).await.unwrap();
    pair.target.apply_vschema("barn_new", SOURCE_VSCHEMA).await.unwrap();
    let import = pair.migration("import", "barn", "barn_new");
    let writer = write(&source).await;
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    assert!(writer.stop().await.unwrap() > 0);
    assert_eq!(import.compare().await.unwrap()["HasMismatch"], false);
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
    expect_same(&source, &target, &TABLES).await;
}
