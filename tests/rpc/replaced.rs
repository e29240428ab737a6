//! Streams that the tablets of the target replaced while they copied, for the source was resharded.

use crate::migrate_rig::Rig;
use crate::support::refusal;

/// A workflow whose streams were replaced while they copied the table customer.
async fn replaced() -> Rig {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        let mut contents = primary.contents();
        let id = contents.workflows[0].streams[0].id;
        contents.copying = vec![(id, "customer".into())];
        contents.workflows[0].streams[0].id = id + 8;
    }
    rig
}

/// What streams that are gone had left, on all shards.
fn left(rig: &Rig) -> usize {
    rig.target.iter().map(|primary| primary.contents().copying.len()).sum()
}

#[tokio::test]
async fn the_proof_of_a_half_copy_is_not_cleaned_while_the_workflow_is_there() {
    let rig = replaced().await;
    for (id, cause) in rig.leftovers().await {
        assert_eq!(id, "COPY_STATE_ORPHANED");
        assert!(
            cause.ends_with("streams of workflow import were replaced while they copied, and nothing else tells of it")
        );
    }
    assert_eq!(rig.leftovers().await.len(), 2);
    rig.clean().await;
    assert_eq!(left(&rig), 2);
    let (_, text) = refusal(rig.complete().await);
    assert!(text.contains("customer/-80 stream 1: its copy was not over when it was replaced"), "{text}");
    // what another workflow has left is cleaned beside it
    rig.target[0].contents().copying.push((5, "customer".into()));
    rig.target[1].contents().copying = vec![(5, "customer".into())];
    rig.clean().await;
    assert_eq!(left(&rig), 2);
    rig.forget_streams();
    rig.clean().await;
    assert_eq!(left(&rig), 0);
}
