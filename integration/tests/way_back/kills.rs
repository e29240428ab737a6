//! The server dies before and after each side effect on either cluster: the next one finishes the job, no row is lost or doubled,
//! and at no moment may clients write to both sides.

use integration::{
    client,
    cluster::{Cluster, Snapshot, topology::GLOBAL_ROOT},
    life::{MOUNT, WORKFLOW, until},
    server::Server,
};
use prost::Message;
use tonic::Code;
use vtmigrated_proto::{
    topodata::Shard,
    vtctldata::SetShardTabletControlRequest,
    vtmigrated::{PrepareWayBackRequest, WayBackReport, WayBackRequest, way_back_client::WayBackClient},
};

use crate::rig::{Answer, Rig, client as vtctld, complete, create, died, done_or_gone};

/// More places than any operation has.
const MOST: usize = 200;

/// Where the server dies: at every sixth place, or every so many as `WAY_BACK_KILLS_EVERY` says (1 takes half an hour).
fn numbers() -> impl Iterator<Item = usize> {
    let every = std::env::var("WAY_BACK_KILLS_EVERY").ok().map_or(6, |text| text.parse().unwrap());
    (1..MOST).step_by(every)
}

async fn way_back(server: &Server) -> Answer<WayBackClient<tonic::transport::Channel>> {
    let channel = client::channel(&server.grpc_address().to_string()).await;
    Ok(WayBackClient::new(channel.map_err(|e| tonic::Status::unavailable(e.to_string()))?))
}

fn request() -> WayBackRequest {
    WayBackRequest { keyspace: "customer".to_owned(), workflow: WORKFLOW.to_owned() }
}

async fn prepare(server: &Server) -> Answer<WayBackReport> {
    let WayBackRequest { keyspace, workflow } = request();
    let request = PrepareWayBackRequest { keyspace, workflow, ..PrepareWayBackRequest::default() };
    way_back(server).await?.prepare(request).await.map(tonic::Response::into_inner)
}

async fn status(server: &Server) -> Answer<WayBackReport> {
    way_back(server).await?.status(request()).await.map(tonic::Response::into_inner)
}

async fn go_back(server: &Server) -> Answer<WayBackReport> {
    way_back(server).await?.complete(request()).await.map(tonic::Response::into_inner)
}

async fn give_up(server: &Server) -> Answer<WayBackReport> {
    way_back(server).await?.cancel(request()).await.map(tonic::Response::into_inner)
}

/// Success, or that there is no way back any more.
fn gone(answer: &Answer<WayBackReport>) -> bool {
    answer.as_ref().is_err_and(|status| status.code() == Code::NotFound && status.message().contains("has no way back"))
}

/// Repeats a command until it succeeds, or until there is nothing left for it to do: the locks of a dead server live for a
/// moment longer.
async fn repeat(what: &str, command: impl AsyncFn() -> Answer<WayBackReport>) {
    until(what, async || {
        let answer = command().await;
        if answer.is_ok() || gone(&answer) { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
}

/// Whether clients may write to the table customer on some shard of a keyspace.
async fn writable(cluster: &Cluster, keyspace: &str) -> bool {
    let dump = cluster.etcd().dump(&format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/shards/")).await.unwrap();
    let shards = dump.iter().filter(|(key, _)| key.ends_with("/Shard"));
    let open = |value: &[u8]| {
        let controls = Shard::decode(value).unwrap().tablet_controls;
        !controls.iter().any(|control| control.denied_tables.iter().any(|table| table == "customer"))
    };
    shards.into_iter().any(|(_, value)| open(value))
}

async fn expect_one_side(rig: &Rig, what: &str) {
    let (source, target) = (writable(&rig.source, "commerce").await, writable(&rig.target, "customer").await);
    assert!(!(source && target), "{what}: clients may write to both sides");
}

/// A row that only the target has, written there as by a client.
async fn write(rig: &Rig, id: usize) {
    let shard = rig.target.primary("customer", "80-").unwrap();
    shard.execute(&format!("INSERT INTO customer VALUES ({id}, 'of the target')")).await.unwrap();
    shard.execute("UPDATE customer SET email = CONCAT('t', id) WHERE id % 7 = 0").await.unwrap();
}

/// The migration, copied, with its way back prepared.
async fn prepared(rig: &Rig, server: &Server, what: &str) {
    create(server).await.unwrap();
    rig.until_copied(server, what).await;
    prepare(server).await.unwrap();
}

/// Opened by complete, or by a repeated prepare.
async fn until_open(server: &Server, what: &str) {
    until(&format!("{what}: open"), async || {
        let told = status(server).await.map_err(|e| e.to_string())?;
        match told.phase.as_str() {
            "open" => Ok(()),
            "handed over" => prepare(server).await.map(drop).map_err(|e| e.to_string()),
            _ => Err(format!("{told:?}")),
        }
    })
    .await
    .unwrap();
}

/// The target as it was before the migration.
async fn clean(rig: &Rig, server: &Server) {
    for shard in ["-80", "80-"] {
        let request = SetShardTabletControlRequest {
            keyspace: "customer".to_owned(),
            shard: shard.to_owned(),
            tablet_type: vtmigrated_proto::topodata::TabletType::Primary.into(),
            remove: true,
            ..SetShardTabletControlRequest::default()
        };
        vtctld(server).await.unwrap().set_shard_tablet_control(request).await.unwrap();
    }
    rig.target.run("customer", "DROP TABLE corder, customer, product").await.unwrap();
}

/// Nothing of the way back is left in the source, whose rows may be others.
async fn expect_source_as(rig: &Rig, before: &Snapshot, what: &str) {
    let changes = before.changes(&rig.source.snapshot().await.unwrap());
    // a lock of a server that is dead goes with its lease
    let ours = |change: &String| !change.starts_with("vt_") && !change.contains("/locks/");
    let of_us: Vec<_> = changes.into_iter().filter(ours).collect();
    assert!(of_us.is_empty(), "{what}: the source is not as before:\n{}", of_us.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_survives_a_kill_at_every_step_of_complete() {
    let rig = Rig::start().await;
    let (before, source) = (rig.snapshot().await, rig.source.snapshot().await.unwrap());
    for number in numbers() {
        let what = format!("complete killed at {number}");
        let server = rig.server("").await;
        prepared(&rig, &server, &what).await;
        let dead = rig.killed(number, &what, complete).await;
        if dead {
            rig.end_leases().await;
            expect_one_side(&rig, &what).await;
            until(&what, async || match complete(&server).await {
                Err(status) if status.code() != Code::NotFound => Err(format!("{status:?}")),
                answer => {
                    done_or_gone(answer, &what);
                    Ok(())
                }
            })
            .await
            .unwrap();
        }
        until_open(&server, &what).await;
        expect_one_side(&rig, &what).await;
        write(&rig, 100_000 + number).await;
        repeat(&format!("{what}: back"), async || go_back(&server).await).await;
        rig.same_rows().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        expect_source_as(&rig, &source, &what).await;
        clean(&rig, &server).await;
        rig.expect_as(&before, &what).await;
        if !dead {
            assert!(number > 30, "only {number} places: is vtmigrated built with the feature failpoints?");
            println!("complete with a way back has about {number} places");
            return rig.finish().await;
        }
    }
    panic!("no end after {MOST} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_survives_a_kill_at_every_step() {
    let rig = Rig::start().await;
    let (before, source) = (rig.snapshot().await, rig.source.snapshot().await.unwrap());
    for number in numbers() {
        let what = format!("going back killed at {number}");
        let server = rig.server("").await;
        prepared(&rig, &server, &what).await;
        complete(&server).await.unwrap();
        until_open(&server, &what).await;
        write(&rig, 100_000 + number).await;
        let dead = rig.killed(number, &what, go_back).await;
        if dead {
            rig.end_leases().await;
            expect_one_side(&rig, &what).await;
            repeat(&what, async || go_back(&server).await).await;
        }
        rig.same_rows().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(writable(&rig.source, "commerce").await && !writable(&rig.target, "customer").await, "{what}");
        expect_source_as(&rig, &source, &what).await;
        clean(&rig, &server).await;
        rig.expect_as(&before, &what).await;
        if !dead {
            assert!(number > 20, "only {number} places: is vtmigrated built with the feature failpoints?");
            println!("going back has about {number} places");
            return rig.finish().await;
        }
    }
    panic!("no end after {MOST} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn prepare_and_cancel_survive_a_kill_at_every_step() {
    let rig = Rig::start().await;
    let source = rig.source.snapshot().await.unwrap();
    let server = rig.server("").await;
    create(&server).await.unwrap();
    rig.until_copied(&server, "before the kills").await;
    for (time, number) in numbers().enumerate() {
        let what = format!("prepare killed at {number}");
        let dead = rig.killed(number, &what, prepare).await;
        if dead {
            rig.end_leases().await;
            // every other time prepare goes on before it is taken back
            if time % 2 == 1 {
                repeat(&what, async || prepare(&server).await).await;
            }
        }
        repeat(&format!("{what}: cancelled"), async || give_up(&server).await).await;
        expect_source_as(&rig, &source, &what).await;
        if !dead {
            assert!(number > 7, "only {number} places: is vtmigrated built with the feature failpoints?");
            println!("prepare has about {number} places");
            break;
        }
    }

    prepare(&server).await.unwrap();
    complete(&server).await.unwrap();
    until_open(&server, "before the kills of cancel").await;
    for number in numbers() {
        let what = format!("cancel killed at {number}");
        let doomed = rig.doomed(number).await;
        let answer = give_up(&doomed).await;
        let dead = died(&doomed, answer.is_ok()).await;
        if !dead {
            assert!(answer.is_ok() || gone(&answer), "{what}, which the server outlived: {answer:?}");
            break;
        }
        rig.end_leases().await;
    }
    repeat("cancelled", async || give_up(&server).await).await;
    expect_source_as(&rig, &source, "cancelled").await;
    assert!(writable(&rig.source, "commerce").await && writable(&rig.target, "customer").await);
    assert!(!rig.source.etcd().dump("").await.unwrap().keys().any(|key| key.contains("ExternalClusters")));
    let known = rig.target.etcd().dump(&format!("{GLOBAL_ROOT}/ExternalClusters/vitess/{MOUNT}")).await.unwrap();
    assert_eq!(known.len(), 1);
    rig.finish().await;
}
