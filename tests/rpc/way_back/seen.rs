//! A way back as the watcher sees it, for the status page and the metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use vtmigrated::watch::{self, BackStage, Receiver, Snapshot, Stage, WayBack};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;

use crate::support::context;
use crate::support::migrate_rig::Rig;
use crate::way_back::commands::{copied, give_up, go_back, prepare};
use crate::way_back::exact::add_dead_spare;

/// Longest time until something is seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that watches and does nothing else; it ends with the guard.
fn watching(rig: &Rig) -> (Receiver, DropGuard) {
    let context = context(Arc::clone(&rig.lab.topo));
    let (stop, options) = (CancellationToken::new(), watch::Options { interval: Duration::from_millis(20) });
    (watch::start(Arc::new(context), &options, stop.clone()), stop.drop_guard())
}

/// The first snapshot with such a way back, its migration and its mount.
async fn until(seen: &mut Receiver, what: &str, is: impl Fn(&WayBack) -> bool) -> Arc<Snapshot> {
    let whole = |snapshot: &Arc<Snapshot>| {
        let has_it = snapshot.ways_back.first().is_some_and(|known| is(known));
        has_it && !snapshot.migrations.is_empty() && !snapshot.mounts.is_empty()
    };
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(whole)).await;
    let found = found.unwrap_or_else(|_| panic!("never seen: {what}")).unwrap();
    Arc::clone(&found)
}

/// Prepared, and everything copied.
async fn prepared() -> Rig {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig
}

#[tokio::test]
async fn it_is_followed_from_prepare_to_its_end() {
    let rig = prepared().await;
    let (mut seen, _stop) = watching(&rig);
    let first = until(&mut seen, "prepared", |known| known.stage == BackStage::Prepared).await;
    let [migration] = first.migrations.as_slice() else { panic!("{:?}", first.migrations) };
    assert!(!migration.stage.is_over());
    let way_back = first.way_back(migration).unwrap();
    assert!(way_back.prepared_at.is_some() && way_back.opened_at.is_none() && way_back.streams.is_empty());
    assert_eq!(first.mounts[0].used_by, ["customer.import"], "once, as migration and way back");

    rig.complete().await.unwrap();
    let open = until(&mut seen, "open", |known| known.stage == BackStage::Running && !known.streams.is_empty()).await;
    let way_back = &open.ways_back[0];
    assert_eq!((way_back.verdict.as_str(), way_back.go, &way_back.stale), ("GO", true, &None), "{way_back:?}");
    let shards: Vec<_> = way_back.streams.iter().map(|s| (s.source_shard.as_str(), s.shard.as_str())).collect();
    assert_eq!(shards, [("-80", "0"), ("80-", "0")]);
    assert!(way_back.opened_at.is_some() && open.migrations.len() == 1);

    // a server that comes later tells of both, too
    let (mut later, _stop) = watching(&rig);
    let told = until(&mut later, "open, by another server", |known| !known.streams.is_empty()).await;
    assert_eq!((told.migrations[0].stage, told.migrations[0].workflow.as_str()), (Stage::Completed, "import"));
    assert_eq!(told.mounts[0].used_by, ["customer.import"]);

    go_back(&rig).await.unwrap();
    let over = until(&mut seen, "the end", |known| known.stage.is_over()).await;
    assert!(over.ways_back[0].ended_at.is_some() && over.ways_back[0].verdict.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_its_streams_is_told() {
    let rig = prepared().await;
    rig.complete().await.unwrap();
    let (mut seen, _stop) = watching(&rig);
    until(&mut seen, "open", |known| known.go).await;
    let lost = rig.source.contents().workflows[0].streams.pop().unwrap();
    let told = until(&mut seen, "a stream that is gone", |known| !known.go).await;
    let ids: Vec<_> = told.ways_back[0].findings.iter().map(|finding| finding.id.as_str()).collect();
    assert!(ids.contains(&"WAY_BACK_STREAMS"), "{ids:?}");
    rig.source.contents().workflows[0].streams.push(lost);
    until(&mut seen, "all streams again", |known| known.go).await;

    // streams that are stopped are in trouble
    rig.source.contents().workflows[0].streams.iter_mut().for_each(|stream| stream.state = State::Stopped.into());
    let stopped = until(&mut seen, "streams that are stopped", |known| !known.go).await;
    let reasons: Vec<_> = stopped.ways_back[0].streams.iter().filter_map(|stream| stream.problem.as_ref()).collect();
    assert_eq!(reasons.iter().map(|problem| problem.reason.as_str()).collect::<Vec<_>>(), ["NOT_RUNNING"; 2]);
    give_up(&rig).await.unwrap();
    until(&mut seen, "the end", |known| known.stage.is_over()).await;
}

#[tokio::test]
async fn what_complete_could_not_open_is_told_with_its_command() {
    let rig = prepared().await;
    rig.source.contents().fails = vec!["CreateVReplicationWorkflow"];
    rig.complete().await.unwrap();
    let (mut seen, _stop) = watching(&rig);
    let told = until(&mut seen, "one that is not open", |known| !known.findings.is_empty()).await;
    let way_back = &told.ways_back[0];
    assert_eq!(
        (way_back.stage, way_back.verdict.as_str()),
        (BackStage::Opening, "NO-GO (way back not open, 1 reason)")
    );
    assert!(way_back.findings[0].fix.contains("vtmigrated way-back prepare"), "{way_back:?}");
}

#[tokio::test]
async fn it_is_seen_beside_a_shard_of_the_source_that_does_not_serve_and_does_not_answer() {
    let rig = prepared().await;
    add_dead_spare(&rig).await;
    rig.complete().await.unwrap();
    let (mut seen, _stop) = watching(&rig);
    let open = until(&mut seen, "open", |known| known.go && !known.streams.is_empty()).await;
    assert_eq!((open.ways_back[0].verdict.as_str(), &open.ways_back[0].stale), ("GO", &None), "{:?}", open.ways_back);
}
