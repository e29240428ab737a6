//! The same move between generations of Vitess's own programs; `life.rs` has that from 24 to 24.

use crate::data::{TABLES, commerce_and_customer, expect_same, write, write_first_through_vtgate};
use integration::stock::{self, Admin, Cluster, Generation, Pair};

/// An unsharded keyspace moves to two shards while it is written to, with the flags of a user who gives none; both clients
/// are of their cluster's generation. The target's tablets get more flags.
async fn moves(source: Generation, target: Generation, flags: &[&str]) {
    let pair = Pair::start(source, target, flags).await.unwrap();
    let (source, target) = commerce_and_customer(&pair).await;
    let import = pair.migration("import", "commerce", "customer");

    // there and back
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    import.migrate(&["cancel"]).await.unwrap().expect().unwrap();
    for shard in &target.shards {
        assert!(shard.rows("SHOW TABLES").await.unwrap().is_empty());
    }

    // and to the end
    let writer = write(&source).await;
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    expect_shown_by_vtadmin(&pair.target).await;
    assert!(writer.stop().await.unwrap() > 0);
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], false, "{difference}");
    // one of the shards has it, and no write of the source touches it
    target.run("UPDATE product SET description = 'changed' WHERE sku = ''").await.unwrap();
    let difference = import.compare().await.unwrap();
    assert_eq!(difference["HasMismatch"], true, "{difference}");
    source.run("UPDATE product SET description = 'again' WHERE sku = ''").await.unwrap();
    stock::until("a VDiff without mismatch", async || match import.compare().await {
        Ok(difference) if difference["HasMismatch"] == false => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    stock::until("a migration that has caught up", async || import.complete().await.map(drop)).await.unwrap();
    expect_same(&source, &target, &TABLES).await;
    write_first_through_vtgate(&pair).await;
}

/// VTAdmin of the target's generation shows the keyspace, its vschema and the workflow, stops and starts it. That of 22 names no `:authority` in its
/// requests.
async fn expect_shown_by_vtadmin(target: &Cluster) {
    let admin = Admin::start(target).await.unwrap();
    let keyspaces = admin.get("/api/keyspaces").await.unwrap();
    let keyspace = &keyspaces["keyspaces"][0];
    assert_eq!(keyspace["keyspace"]["name"], "customer", "{keyspaces}");
    assert!(keyspace["shards"]["80-"].is_object(), "{keyspaces}");
    let vschema = admin.get("/api/vschema/local/customer").await.unwrap();
    assert_eq!(vschema["v_schema"]["sharded"], true, "{vschema}");
    let cells = admin.get("/api/cells").await.unwrap();
    assert_eq!(cells["cell_infos"][0]["name"], target.cell(), "{cells}");
    let workflow = admin.get("/api/workflow/local/customer/import").await.unwrap();
    assert_eq!(workflow["workflow"]["workflow_type"], "Migrate", "{workflow}");
    assert_eq!(workflow["workflow"]["shard_streams"].as_object().unwrap().len(), 2, "{workflow}");
    // the VDiffs that follow need what streams know of cells and tablet types
    for (order, state) in [("stop", "Stopped"), ("start", "Running")] {
        admin.get(&format!("/api/workflow/local/customer/import/{order}")).await.unwrap();
        stock::until(state, async || {
            let shown = admin.get("/api/workflow/local/customer/import/status").await.unwrap().to_string();
            let found = shown.matches(&format!("\"status\":\"{state}\"")).count();
            if found == 2 { Ok(()) } else { Err(shown) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_22_to_22() {
    moves(Generation::V22, Generation::V22, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_22_to_24() {
    moves(Generation::V22, Generation::V24, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_24_to_22() {
    // as BATCHING_STAYS tells: the tablets of either side do not read the other's name of that override
    moves(Generation::V24, Generation::V22, &["--vreplication-experimental-flags=3"]).await;
}
