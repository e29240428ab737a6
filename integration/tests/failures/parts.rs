//! Parts of the clusters fail: a tablet, a topology, the server itself. Nothing hangs, every text names the part, and the
//! command that it names finishes the job.

use std::time::{Duration, Instant};

use crate::rig::{Rig, cancel, complete, complete_as, create, done_or_gone, status};
use integration::{
    life::until,
    proxy::{Link, Proxy},
    server::Server,
};
use tonic::Code;

/// Far above what anything here takes, and far below a wait for a timeout of the server.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_target_tablet_is_down() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let server = rig.server("").await;
    let high = rig.target.primary("customer", "80-").unwrap();
    high.kill().await;
    let start = Instant::now();
    let refusal = create(&server).await.unwrap_err();
    assert!(start.elapsed() < SOON);
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(refusal.message().contains("zone2-0000000210"), "{refusal:?}");
    high.restart().await.unwrap();
    rig.expect_as(&before, "a create that could not begin").await;

    create(&server).await.unwrap();
    rig.until_copied(&server, "both shards").await;
    high.kill().await;
    for refusal in [status(&server).await.unwrap_err(), complete(&server).await.unwrap_err()] {
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
        assert!(refusal.message().contains("zone2-0000000210"), "{refusal:?}");
    }
    assert!(cancel(&server).await.is_err());
    high.restart().await.unwrap();
    cancel(&server).await.unwrap();
    rig.expect_as(&before, "a cancel that was repeated").await;
    drop(server);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_tablet_dies_in_the_middle_of_create() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let high = rig.target.primary("customer", "80-").unwrap();
    // between the record and the first side effect on a tablet
    let server = rig.waiting(2000).await;
    let dying = async {
        rig.until_recorded().await;
        high.kill().await;
    };
    let (created, ()) = tokio::join!(create(&server), dying);
    let failure = created.unwrap_err();
    assert_eq!(failure.code(), Code::Unavailable, "{failure:?}");
    for part in
        ["zone2-0000000210", "could not be removed", "Migrate --target-keyspace customer --workflow import cancel"]
    {
        assert!(failure.message().contains(part), "{part}: {failure:?}");
    }
    let again = create(&server).await.unwrap_err();
    high.restart().await.unwrap();
    assert!(again.message().contains("zone2-0000000210"), "{again:?}");
    let again = create(&server).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again:?}");
    cancel(&server).await.unwrap();
    rig.expect_as(&before, "after the cancel").await;
    create(&server).await.unwrap();
    rig.until_copied(&server, "created at last").await;
    cancel(&server).await.unwrap();
    drop(server);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_targets_topology_is_cut() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let proxy = Proxy::start(rig.target.etcd().address().parse().unwrap()).await.unwrap();
    let mut flags: Vec<String> = rig.flags();
    flags.retain(|flag| !flag.starts_with("--topo_global_server_address"));
    flags.push(format!("--topo_global_server_address={}", proxy.address()));
    let server = Server::start_with_points(&flags, "effect=5*off->1*sleep(1500)").await.unwrap();
    let cutting = async {
        rig.until_recorded().await;
        proxy.set(Link::Cut);
    };
    let start = Instant::now();
    let (created, ()) = tokio::join!(create(&server), cutting);
    let failure = created.unwrap_err();
    assert!(start.elapsed() < 3 * SOON);
    assert!([Code::Unavailable, Code::Aborted, Code::DeadlineExceeded].contains(&failure.code()), "{failure:?}");
    proxy.set(Link::Open);
    drop(server);
    rig.end_leases().await;
    let server = rig.server("").await;
    done_or_gone(cancel(&server).await, "after the cut");
    // those that were made and not noted any more stay
    rig.drop_empty().await;
    rig.expect_as(&before, "after the cut").await;
    drop(server);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_dead() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let server = rig.server("").await;
    create(&server).await.unwrap();
    rig.until_copied(&server, "before").await;
    let source = rig.source.primary("commerce", "0").unwrap();
    source.kill().await;
    rig.source.etcd().kill().unwrap();
    let start = Instant::now();
    let seen = status(&server).await.unwrap();
    assert!(start.elapsed() < SOON);
    assert!(format!("{seen:?}").contains("the source cannot be reached"), "{seen:?}");
    // a cancel needs no source
    cancel(&server).await.unwrap();
    rig.expect_as(&before, "cancelled without the source").await;
    let start = Instant::now();
    let refusal = create(&server).await.unwrap_err();
    assert!(start.elapsed() < 2 * SOON);
    assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&refusal.code()), "{refusal:?}");
    assert!(refusal.message().contains(&rig.source.etcd().address()), "{refusal:?}");
    rig.expect_as(&before, "a create without the source").await;

    rig.source.etcd().restart().await.unwrap();
    // the connection may have kept one more refusal of the dead topology
    until("a refusal that names the source's tablet", async || {
        let refusal = create(&server).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
        if refusal.message().contains("zone1-0000000100") { Ok(()) } else { Err(refusal) }
    })
    .await
    .unwrap();
    source.restart().await.unwrap();
    create(&server).await.unwrap();
    rig.until_copied(&server, "the source is back").await;
    // everything is copied and applied, but nobody can prove it: the caller has to insist
    source.kill().await;
    let refusal = complete(&server).await.unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal:?}");
    assert!(refusal.message().contains("complete --ignore-source-keyspace"), "{refusal:?}");
    let summary = complete_as(&server, true).await.unwrap();
    assert!(summary.contains("ignored") && summary.contains("SOURCE_UNREACHABLE"), "{summary}");
    rig.same_rows().await.unwrap();
    drop(server);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_create_lets_it_end() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let server = rig.waiting(1000).await;
    let stopping = async {
        rig.until_recorded().await;
        server.term().await.unwrap()
    };
    let (_, ended) = tokio::join!(create(&server), stopping);
    assert!(ended.success(), "{ended:?}");
    assert!(rig.locks().await.is_empty());
    assert!(rig.record().await.unwrap().contains(r#""phase":"created""#));
    let server = rig.server("").await;
    rig.until_copied(&server, "created while stopping").await;
    cancel(&server).await.unwrap();
    rig.expect_as(&before, "after the cancel").await;
    drop(server);
    rig.finish().await;
}
