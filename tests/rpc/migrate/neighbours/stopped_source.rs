//! A primary of the source that was shut down.

use super::*;

#[tokio::test]
async fn a_source_primary_that_was_shut_down_keeps_a_complete_and_nothing_that_a_replica_can_do() {
    let rig = rig(false).await;
    rig.create_from(TabletType::Replica).await.unwrap();
    stop(&rig, true).await;
    let words = "tablet is shutdown: src1-0000000100, the primary of shard commerce/0";
    let streams = rig.status().await.unwrap().shard_streams.into_iter().flat_map(|entry| entry.value.unwrap().streams);
    let told: Vec<String> = streams.map(|stream| stream.info).collect();
    assert!(told.len() == 2 && told.iter().all(|info| info.contains(words)), "{told:?}");
    let (keyspace, workflow) = of_import();
    let diff = VDiffCreateRequest { workflow, target_keyspace: keyspace, ..Default::default() };
    rig.lab.client.clone().v_diff_create(diff).await.unwrap();
    let refused = rig.complete().await.unwrap_err();
    for words in [words, "complete --ignore-source-keyspace"] {
        assert!(refused.message().contains(words), "{words}: {refused}");
    }
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}
