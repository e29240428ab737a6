//! A replica that streams read from, and that gets nothing itself.

use integration::{
    life::SOURCE_VSCHEMA,
    stock::{self, MOUNT, Output, Pair},
};

use crate::data::{ROWS, SCHEMA, TABLES, expect_same};

/// What our program advises about the keyspace `quay_new`.
async fn advised(pair: &Pair, question: &[&str]) -> Output {
    let about = ["--target-keyspace", "quay_new"];
    pair.target.vtmigrated(&[&["advise"][..], question, &about].concat()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_is_seen_by_status_verdict_and_preflight() {
    let pair = stock::pair().await.unwrap();
    let (source, target) =
        tokio::try_join!(pair.source.keyspace("quay", &["0"]), pair.target.keyspace("quay_new", &["0"])).unwrap();
    source.run(SCHEMA).await.unwrap();
    source.run(ROWS).await.unwrap();
    pair.source.apply_vschema("quay", SOURCE_VSCHEMA).await.unwrap();
    pair.target.apply_vschema("quay_new", SOURCE_VSCHEMA).await.unwrap();
    let replica = pair.source.replica(&source, "0").await.unwrap();
    stock::until("the rows on the replica", async || {
        let rows = replica.mysqld().rows("vt_quay", "SELECT sku FROM product").await;
        let rows = rows.map_err(|error| error.to_string())?;
        if rows.len() == 3 { Ok(()) } else { Err(format!("{} rows", rows.len())) }
    })
    .await
    .unwrap();
    let import = pair.migration("import", "quay", "quay_new");
    stock::until("a create", async || {
        import.create(&["--all-tables", "--tablet-types", "replica"]).await?.expect().map(drop)
    })
    .await
    .unwrap();
    import.until_running().await.unwrap();

    let stopped = pair.source.vtctldclient(&["StopReplication", replica.alias()]).await.unwrap();
    assert!(stopped.ok(), "{stopped}");
    source.run("INSERT INTO customer VALUES (5000, 'late@example.com', NULL)").await.unwrap();
    let stands = format!("tablet {} does not replicate", replica.alias());
    // a stream that had a transaction a moment ago is in no trouble
    stock::until("a verdict of the replica", async || {
        let verdict = advised(pair, &["verdict", "--workflow", "import"]).await;
        let told = ["SOURCE_REPLICA_STALLED", &stands, "StartReplication"].iter().all(|w| verdict.stdout.contains(w));
        if told && verdict.status == Some(3) { Ok(()) } else { Err(verdict.to_string()) }
    })
    .await
    .unwrap();
    let status = import.migrate(&["status", "--format", "json"]).await.unwrap();
    assert!(status.ok() && status.stdout.contains(&stands), "{status}");
    assert!(status.stdout.contains("Complete: NO-GO"), "{status}");
    let create = ["dry-run", "create", "--workflow", "other", "--source-keyspace", "quay", "--mount-name", MOUNT];
    let dry = advised(pair, &[&create[..], &["--all-tables", "--tablet-types", "replica"]].concat()).await;
    assert!(dry.stdout.contains("SOURCE_TABLET_STALLED") && dry.stdout.contains(&stands), "{dry}");

    let started = pair.source.vtctldclient(&["StartReplication", replica.alias()]).await.unwrap();
    assert!(started.ok(), "{started}");
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
    expect_same(&source, &target, &TABLES).await;
}
