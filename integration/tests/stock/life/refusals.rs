//! What is refused for the sake of the rows, how a user insists, and what clients may do meanwhile.

use std::time::Duration;

use integration::{
    cluster::Rows,
    life::SOURCE_VSCHEMA,
    stock::{self, Keyspace, MOUNT, Pair},
};

use crate::data::{ROWS, SCHEMA, TABLES, expect_same};

/// A row that no source has.
const WRITE: &str = "INSERT INTO customer (id, email) VALUES (900001, 'mine@example.com')";

/// A keyspace of one shard on either side, the workflow `import` between them, and all rows of the source copied.
pub async fn copied(pair: &Pair, from: &str, to: &str) -> (Keyspace, Keyspace) {
    let (source, target) =
        tokio::try_join!(pair.source.keyspace(from, &["0"]), pair.target.keyspace(to, &["0"])).unwrap();
    source.run(SCHEMA).await.unwrap();
    source.run(ROWS).await.unwrap();
    pair.source.apply_vschema(from, SOURCE_VSCHEMA).await.unwrap();
    pair.target.apply_vschema(to, SOURCE_VSCHEMA).await.unwrap();
    let import = pair.migration("import", from, to);
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    stock::until("the rows of the source", async || {
        for table in TABLES {
            let (left, right) = tokio::try_join!(source.table(table), target.table(table))?;
            left.expect_same(&right)?;
        }
        Ok::<_, stock::Error>(())
    })
    .await
    .unwrap();
    import.until_running().await.unwrap();
    (source, target)
}

async fn rows_of(keyspace: &Keyspace) -> Vec<Rows> {
    let mut all = Vec::new();
    for table in TABLES {
        all.push(keyspace.table(table).await.unwrap());
    }
    all
}

/// Fails unless every table has the rows that it had.
async fn expect_unchanged(keyspace: &Keyspace, before: &[Rows]) {
    for ((table, before), now) in TABLES.iter().zip(before).zip(rows_of(keyspace).await) {
        before.expect_same(&now).unwrap_or_else(|error| panic!("{table}: {error}"));
    }
}

/// The denied tables of the keyspace's only shard, sorted.
async fn denied(pair: &Pair, keyspace: &str) -> Vec<String> {
    let output = pair.target.vtctldclient(&["GetShard", &format!("{keyspace}/0")]).await.unwrap();
    assert!(output.ok(), "{output}");
    let record = output.json();
    let controls = record["shard"]["tablet_controls"].as_array().into_iter().flatten();
    let tables = controls.filter_map(|control| control["denied_tables"].as_array()).flatten();
    let mut tables: Vec<String> = tables.filter_map(|table| table.as_str()).map(str::to_owned).collect();
    tables.sort();
    tables
}

/// A client's write, which fails while the table is denied.
async fn write_through_vtgate(pair: &Pair, keyspace: &str) {
    stock::until("a write through vtgate", async || pair.target.query(keyspace, WRITE).await.map(drop)).await.unwrap();
}

/// How many customers a client sees through vtgate.
async fn customers(pair: &Pair, keyspace: &str) -> Result<Option<i64>, stock::Error> {
    let rows = pair.target.query(keyspace, "SELECT COUNT(*) FROM customer").await?;
    Ok(rows.first().and_then(|row| row.get::<i64, _>(0)))
}

/// Fails unless nothing is left of the workflow `import`.
async fn expect_gone(pair: &Pair, from: &str, to: &str) {
    let gone = pair.migration("import", from, to).migrate(&["status"]).await.unwrap();
    let text = format!("no streams found in keyspace {to} for import");
    assert!(!gone.ok() && gone.stderr.contains(&text), "{gone}");
    let again = pair.migration("import", from, to).migrate(&["cancel"]).await.unwrap();
    assert!(!again.ok() && again.stderr.contains(&text), "{again}");
    assert!(!again.stderr.contains("only its record is left"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_drops_nothing_of_a_workflow_that_a_stock_vtctld_has_deleted_and_whose_tables_are_in_use() {
    let pair = stock::pair().await.unwrap();
    let (_source, target) = copied(pair, "depot", "depot_new").await;
    assert_eq!(denied(pair, "depot_new").await, TABLES);

    // somebody ends it the stock way and puts the tables to use
    let vtctld = pair.target.stock_vtctld().await.unwrap();
    let delete = ["Workflow", "--keyspace", "depot_new", "delete", "--workflow", "import", "--keep-data"];
    vtctld.vtctldclient(&delete).await.unwrap().expect().unwrap();
    let streams = "SELECT id FROM _vt.vreplication WHERE workflow = 'import'";
    assert!(target.shards[0].rows(streams).await.unwrap().is_empty());
    let lift = ["SetShardTabletControl", "--remove", "depot_new/0", "primary"];
    vtctld.vtctldclient(&lift).await.unwrap().expect().unwrap();
    vtctld.vtctldclient(&["RefreshStateByShard", "depot_new/0"]).await.unwrap().expect().unwrap();
    write_through_vtgate(pair, "depot_new").await;
    let before = rows_of(&target).await;
    assert_eq!(before.iter().map(|table| table.rows.len()).collect::<Vec<_>>(), [1000, 1001, 3]);

    let import = pair.migration("import", "depot", "depot_new");
    let refused = import.migrate(&["cancel"]).await.unwrap();
    assert!(!refused.ok(), "{refused}");
    assert!(refused.stderr.contains("what tables hold cannot be proven to be its own"), "{refused}");
    for table in TABLES {
        let text = format!("{table} on shard 0: no stream of the workflow is there");
        assert!(refused.stderr.contains(&text), "{refused}");
    }
    let help = "Workflow --keyspace depot_new delete --workflow import --keep-data";
    assert!(refused.stderr.contains(help), "{refused}");
    expect_unchanged(&target, &before).await;
    assert_eq!(customers(pair, "depot_new").await.unwrap(), Some(1001));

    let kept = pair.target.vtctldclient(&delete).await.unwrap().expect().unwrap();
    assert!(kept.contains("Successfully cancelled the import workflow in the depot_new keyspace"), "{kept}");
    assert!(kept.contains("(3 tables kept)"), "{kept}");
    expect_unchanged(&target, &before).await;
    assert!(denied(pair, "depot_new").await.is_empty());
    expect_gone(pair, "depot", "depot_new").await;
    expect_unchanged(&target, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_is_refused_while_the_source_does_not_answer_and_goes_on_when_the_user_insists() {
    let pair = stock::pair().await.unwrap();
    let (source, target) = copied(pair, "harbour", "harbour_new").await;
    let import = pair.migration("import", "harbour", "harbour_new");
    let before = rows_of(&target).await;
    assert_eq!(denied(pair, "harbour_new").await, TABLES);

    // the tablet is gone, its MySQL is not, and neither are those who write to it
    source.shards[0].tablet.process().kill().unwrap();
    source.run("INSERT INTO customer VALUES (5000, 'late@example.com', NULL)").await.unwrap();
    let refused = import.migrate(&["complete"]).await.unwrap();
    assert!(!refused.ok(), "{refused}");
    assert!(refused.stderr.contains("cannot complete workflow import in keyspace harbour_new"), "{refused}");
    let who = format!("shard harbour/0 of mount {MOUNT}");
    assert!(refused.stderr.contains(&who), "{refused}");
    let help = "MoveTables --workflow import --target-keyspace harbour_new complete --ignore-source-keyspace";
    assert!(refused.stderr.contains(help), "{refused}");
    expect_unchanged(&target, &before).await;
    assert_eq!(denied(pair, "harbour_new").await, TABLES);
    let status = import.migrate(&["status"]).await.unwrap();
    assert!(status.ok(), "{status}");

    let insist: Vec<&str> = help.split(' ').collect();
    let done = pair.target.vtctldclient(&insist).await.unwrap().expect().unwrap();
    assert!(done.contains("Successfully completed the import workflow in the harbour_new keyspace"), "{done}");
    let (_, ignored) = done.split_once("ignored as --ignore-source-keyspace asks: ").unwrap();
    assert!(ignored.contains(&who), "{done}");
    expect_unchanged(&target, &before).await;
    assert!(denied(pair, "harbour_new").await.is_empty());
    expect_gone(pair, "harbour", "harbour_new").await;
    write_through_vtgate(pair, "harbour_new").await;
    assert_eq!(customers(pair, "harbour_new").await.unwrap(), Some(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_complete_clients_read_the_moved_tables_through_vtgate_and_cannot_write_them() {
    let pair = stock::pair().await.unwrap();
    let (source, target) = copied(pair, "library", "library_new").await;
    stock::until("a read through vtgate", async || customers(pair, "library_new").await.map(drop)).await.unwrap();
    assert_eq!(customers(pair, "library_new").await.unwrap(), Some(1000));
    let one = "SELECT email FROM customer WHERE id = 7";
    assert_eq!(pair.target.query("library_new", one).await.unwrap().len(), 1);

    let writes = [WRITE, "UPDATE customer SET note = 'mine' WHERE id = 7", "DELETE FROM customer WHERE id = 7"];
    for write in writes {
        let refused = pair.target.query("library_new", write).await.unwrap_err().to_string();
        assert!(refused.contains("enforce denied tables"), "{write}: {refused}");
    }
    expect_same(&source, &target, &TABLES).await;

    let import = pair.migration("import", "library", "library_new");
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
    expect_same(&source, &target, &TABLES).await;
    write_through_vtgate(pair, "library_new").await;
    assert_eq!(customers(pair, "library_new").await.unwrap(), Some(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_shut_down_is_named_and_one_that_came_back_is_read() {
    let pair = stock::pair().await.unwrap();
    let (source, _target) =
        tokio::try_join!(pair.source.keyspace("pier", &["0"]), pair.target.keyspace("pier_new", &["0"])).unwrap();
    source.run(SCHEMA).await.unwrap();
    pair.source.apply_vschema("pier", SOURCE_VSCHEMA).await.unwrap();
    pair.target.apply_vschema("pier_new", SOURCE_VSCHEMA).await.unwrap();
    let import = pair.migration("import", "pier", "pier_new");
    let tablet = &source.shards[0].tablet;
    tablet.process().terminate(Duration::from_secs(120)).await.unwrap();
    let record = pair.source.vtctldclient(&["GetTablet", tablet.alias()]).await.unwrap();
    assert!(record.ok() && record.json()["tablet_shutdown_time"].is_object(), "{record}");
    let refused = import.create(&["--all-tables"]).await.unwrap();
    let text = format!("tablet is shutdown: {}, the primary of shard pier/0", tablet.alias());
    assert!(!refused.ok() && refused.stderr.contains(&text), "{refused}");

    tablet.process().start_again().unwrap();
    tablet.ready().await.unwrap();
    stock::until("a create", async || import.create(&["--all-tables"]).await?.expect().map(drop)).await.unwrap();
    import.until_running().await.unwrap();
    import.migrate(&["cancel"]).await.unwrap().expect().unwrap();
    expect_gone(pair, "pier", "pier_new").await;
}
