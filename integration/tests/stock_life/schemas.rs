//! What schemas of real applications hold.

use integration::{mysqld::Release, stock};

use crate::data::expect_same;

const SCHEMA: &str = "
    SET SESSION sql_mode = '';
    CREATE TABLE parent (id INT NOT NULL PRIMARY KEY, name VARCHAR(20) NOT NULL);
    CREATE TABLE child (id INT NOT NULL PRIMARY KEY, parent_id INT NOT NULL,
        CONSTRAINT of_parent FOREIGN KEY (parent_id) REFERENCES parent (id));
    CREATE TABLE computed (id INT NOT NULL PRIMARY KEY, a INT, twice INT AS (a * 2) STORED, half INT AS (a / 2) VIRTUAL,
        KEY by_twice (twice));
    CREATE TABLE article (id INT NOT NULL PRIMARY KEY, body TEXT, FULLTEXT KEY words (body));
    CREATE TABLE event (id INT NOT NULL, day DATE NOT NULL, PRIMARY KEY (id, day))
        PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (50), PARTITION high VALUES LESS THAN MAXVALUE);
    CREATE TABLE zero (id INT NOT NULL PRIMARY KEY, day DATE NOT NULL DEFAULT '0000-00-00',
        moment DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00');
    CREATE TABLE `order` (`key` INT NOT NULL PRIMARY KEY, `select` VARCHAR(20), `group` INT);
    CREATE TABLE `größe_日本` (`schlüssel` INT NOT NULL PRIMARY KEY, `wert` VARCHAR(20) CHARACTER SET utf8mb4);
    INSERT INTO parent VALUES (1, 'one'), (2, 'two');
    INSERT INTO child VALUES (1, 1), (2, 2), (3, 1);
    INSERT INTO computed (id, a) VALUES (1, 10), (2, NULL), (3, 7);
    INSERT INTO article VALUES (1, 'the quick brown fox'), (2, NULL);
    INSERT INTO event VALUES (1, '2026-01-01'), (99, '2026-12-31');
    INSERT INTO zero VALUES (1, '0000-00-00', '0000-00-00 00:00:00'), (2, '2026-00-10', '2026-01-01 10:00:00');
    INSERT INTO `order` VALUES (1, 'a', 2), (2, NULL, NULL);
    INSERT INTO `größe_日本` VALUES (1, 'ä'), (2, '😀');";
const TABLES: [&str; 8] = ["parent", "child", "computed", "article", "event", "zero", "order", "größe_日本"];
/// What goes on on the source after the copy.
const LATER: &str = "
    SET SESSION sql_mode = '';
    INSERT INTO parent VALUES (3, 'three'); INSERT INTO child VALUES (4, 3);
    UPDATE computed SET a = 8 WHERE id = 1; DELETE FROM event WHERE id = 1;
    INSERT INTO zero (id) VALUES (3); UPDATE `order` SET `select` = 'b', `group` = 3;
    UPDATE `größe_日本` SET `wert` = 'ß' WHERE `schlüssel` = 2; INSERT INTO article VALUES (3, 'lazy dog');";

#[tokio::test(flavor = "multi_thread")]
async fn keys_partitions_generated_columns_and_odd_names_move_from_mysql_8_and_a_changed_row_is_found() {
    let pair = stock::pair().await.unwrap();
    let (source, target) = tokio::try_join!(
        pair.source.keyspace_on(Release::V8, "shop", &["0"]),
        pair.target.keyspace("shop_new", &["0"])
    )
    .unwrap();
    source.run(SCHEMA).await.unwrap();
    let import = pair.migration("odd", "shop", "shop_new");
    let create = import.create(&["--all-tables", "--tablet-types", "PRIMARY"]);
    create.await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    source.run(LATER).await.unwrap();
    assert_eq!(import.compare().await.unwrap()["HasMismatch"], false);

    target.run("UPDATE `order` SET `select` = 'changed' WHERE `key` = 2").await.unwrap();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], true, "{difference}");

    import.migrate(&["cancel"]).await.unwrap().expect().unwrap();
    let left = target.shards[0].rows("SHOW TABLES").await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    // and again, to the end
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
    expect_same(&source, &target, &TABLES).await;
}
