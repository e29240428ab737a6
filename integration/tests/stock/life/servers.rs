//! Two servers of ours beside each other, and one that dies in the middle of its work.

use integration::{
    life::TARGET_VSCHEMA,
    stock::{self, Output},
};

use crate::data::{ROWS, SCHEMA, TABLES, expect_same};

fn gone(output: &Output) -> bool {
    output.stderr.contains("no streams found in keyspace bazaar_new for import")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_finishes_what_a_killed_one_has_begun() {
    let pair = stock::pair().await.unwrap();
    let (source, target) =
        tokio::try_join!(pair.source.keyspace("bazaar", &["0"]), pair.target.keyspace("bazaar_new", &["-80", "80-"]))
            .unwrap();
    source.run(SCHEMA).await.unwrap();
    source.run(ROWS).await.unwrap();
    pair.target.apply_vschema("bazaar_new", TARGET_VSCHEMA).await.unwrap();
    let import = pair.migration("import", "bazaar", "bazaar_new");
    for step in [4, 9, 14] {
        let doomed = pair.target.another_server(&format!("effect={step}*off->return")).await.unwrap();
        let output = import.through(&doomed).create(&["--all-tables"]).await.unwrap();
        assert!(!output.ok(), "create outlived step {step}: {output}");
        let cancel = import.migrate(&["cancel"]).await.unwrap();
        assert!(cancel.ok() || gone(&cancel), "create killed at {step}: {cancel}");
        for shard in &target.shards {
            // those that were made and not noted any more: nothing proves whose they are, and the answer names them
            for left in shard.rows("SHOW TABLES").await.unwrap() {
                let table: String = left.get(0).unwrap();
                let named = format!("{table} on shard {}", shard.name);
                assert!(cancel.stdout.contains(&named), "create killed at {step}: {named}: {cancel}");
                assert!(shard.rows(&format!("SELECT 1 FROM {table} LIMIT 1")).await.unwrap().is_empty());
                shard.run(&format!("DROP TABLE {table}")).await.unwrap();
            }
        }
    }
    import.create(&["--all-tables"]).await.unwrap().expect().unwrap();
    let again = import.create(&["--all-tables"]).await.unwrap();
    assert!(!again.ok() && again.stderr.contains("already exists"), "{again}");
    let other = pair.target.another_server("").await.unwrap();
    import.through(&other).until_running().await.unwrap();
    let doomed = pair.target.another_server("effect=5*off->return").await.unwrap();
    let output = import.through(&doomed).migrate(&["complete"]).await.unwrap();
    assert!(!output.ok(), "complete outlived its kill: {output}");
    let (one, two) = (import.through(&other), import);
    let (one, two) = tokio::try_join!(one.migrate(&["complete"]), two.migrate(&["complete"])).unwrap();
    assert!(one.ok() || two.ok(), "{one}\n{two}");
    assert!((one.ok() || gone(&one)) && (two.ok() || gone(&two)), "{one}\n{two}");
    expect_same(&source, &target, &TABLES).await;
}
