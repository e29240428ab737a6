//! The demonstration with few rows runs to its end, and its comparison finds what is wrong.

use std::process::Stdio;

use integration::{
    cluster::Cluster,
    demo::{
        SOURCE, TARGET, compare,
        data::{self, Sizes},
    },
};

#[tokio::test]
async fn the_demonstration_ends_without_differences() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_integration-demo"));
    let output = command.args(["--rows", "500"]).stdin(Stdio::null()).output().await.unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    assert_eq!(text.lines().last(), Some("differences:     none"), "{text}{errors}");
    assert!(!text.contains('\x1b'), "escape sequences without a terminal: {text}");
}

#[tokio::test]
async fn lost_doubled_changed_and_misplaced_rows_are_found() {
    let (source, target) = tokio::try_join!(
        Cluster::new("zone1").keyspace(SOURCE, &["0"]).start(),
        Cluster::new("zone2").keyspace(TARGET, &["-80", "80-"]).first_uid(200).start(),
    )
    .unwrap();
    let sizes = Sizes::of(100);
    data::fill(&source, SOURCE, sizes).await.unwrap();
    // all rows on both shards: right for a reference table only
    data::fill(&target, TARGET, sizes).await.unwrap();
    let product = |sql: &'static str| async {
        target.shard(TARGET, "80-").unwrap().run(sql).await.unwrap();
        let compared = compare::all(&source, &target).await.unwrap();
        compared.into_iter().find(|table| table.table == "product").unwrap().differences
    };
    let compared = compare::all(&source, &target).await.unwrap();
    let of = |name: &str| compared.iter().find(|table| table.table == name).unwrap();
    assert_eq!(of("product").differences, Vec::<String>::new());
    for table in ["corder", "customer"] {
        let differences = &of(table).differences;
        assert!(differences[0].ends_with("rows of shard -80 belong to another shard"), "{differences:?}");
        assert!(differences[1].ends_with("rows of shard 80- belong to another shard"), "{differences:?}");
        assert!(differences[2].starts_with("0 rows only on the source:"), "{differences:?}");
        assert_eq!(differences.len(), 3);
    }
    let changed = product("UPDATE product SET price = 7 WHERE sku = 'SKU-1'").await;
    assert!(changed[0].starts_with("shard 80-: 1 rows only on the source:"), "{changed:?}");
    let lost = product("DELETE FROM product WHERE sku = 'SKU-1'").await;
    assert!(lost[0].contains("0 rows only on the target:"), "{lost:?}");
    target.finish().await.unwrap();
    source.finish().await.unwrap();
}
