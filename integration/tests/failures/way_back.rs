//! The server dies before and after each side effect on either cluster: another one, or one that is started then, finishes the job or
//! takes it back, no row is lost or doubled, and at no moment may clients write to both sides.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// Where the server dies, each with how often one has died before: at every sixth place, or every so many as `WAY_BACK_KILLS_EVERY`
/// says (1 takes half an hour). The first one is another one each day, so that CI comes to all of them within a week;
/// `WAY_BACK_KILLS_FROM` chooses it.
fn numbers() -> impl Iterator<Item = (usize, usize)> {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let every = setting("WAY_BACK_KILLS_EVERY").unwrap_or(6);
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let from = setting("WAY_BACK_KILLS_FROM").unwrap_or(1 + usize::try_from(days).unwrap() % every);
    println!("kills at every {every} places from {from}: WAY_BACK_KILLS_EVERY={every} WAY_BACK_KILLS_FROM={from}");
    (from..MOST).step_by(every).enumerate()
}

/// Who goes on after a server has died: the other one, or one that is started then.
async fn heir(rig: &Rig, other: Server, time: usize) -> Server {
    if time.is_multiple_of(2) { other } else { rig.server("").await }
}

async fn way_back(server: &Server) -> Answer<WayBackClient<tonic::transport::Channel>> {
    let channel = client::channel(&server.grpc_address().to_string()).await;
    Ok(WayBackClient::new(channel.map_err(|e| tonic::Status::unavailable(e.to_string()))?))
}

fn request() -> WayBackRequest {
    WayBackRequest { keyspace: "customer".to_owned(), workflow: WORKFLOW.to_owned(), ..WayBackRequest::default() }
}

async fn prepare(server: &Server) -> Answer<WayBackReport> {
    let WayBackRequest { keyspace, workflow, .. } = request();
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

/// Stays with the target, unless the source serves already; answers whether it does.
async fn stays(server: &Server, what: &str) -> bool {
    let too_late = Cell::new(false);
    until(&format!("{what}: cancelled"), async || {
        let answer = give_up(server).await;
        let returned = answer.as_ref().is_err_and(|status| status.message().contains("is returned"));
        too_late.set(returned || gone(&answer));
        if answer.is_ok() || too_late.get() { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    !too_late.get()
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
    let denied: &[&str] = if writable(&rig.target, "customer").await { &[] } else { &["-80", "80-"] };
    for shard in denied {
        let request = SetShardTabletControlRequest {
            keyspace: "customer".to_owned(),
            shard: (*shard).to_owned(),
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
    for (time, number) in numbers() {
        let what = format!("complete killed at {number}");
        let mut server = rig.server("").await;
        prepared(&rig, &server, &what).await;
        let dead = rig.killed(number, &what, complete).await;
        // every third time nobody wants the way back any more
        let given_up = dead && time % 3 == 2;
        if dead {
            rig.end_leases().await;
            expect_one_side(&rig, &what).await;
            server = heir(&rig, server, time).await;
            if given_up {
                repeat(&format!("{what}: cancelled"), async || give_up(&server).await).await;
            }
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
        if given_up {
            assert!(writable(&rig.source, "commerce").await && writable(&rig.target, "customer").await, "{what}");
        } else {
            until_open(&server, &what).await;
            expect_one_side(&rig, &what).await;
            write(&rig, 100_000 + number).await;
            repeat(&format!("{what}: back"), async || go_back(&server).await).await;
        }
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
    for (time, number) in numbers() {
        let what = format!("going back killed at {number}");
        let mut server = rig.server("").await;
        prepared(&rig, &server, &what).await;
        complete(&server).await.unwrap();
        until_open(&server, &what).await;
        write(&rig, 100_000 + number).await;
        let dead = rig.killed(number, &what, go_back).await;
        let mut stayed = false;
        if dead {
            rig.end_leases().await;
            expect_one_side(&rig, &what).await;
            server = heir(&rig, server, time).await;
            // every third time somebody thinks better of it
            stayed = time % 3 == 2 && stays(&server, &what).await;
            if !stayed {
                repeat(&what, async || go_back(&server).await).await;
            }
        }
        // who stays has the target's rows, and what the source had got of them
        if !stayed {
            rig.same_rows().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        assert!(writable(&rig.source, "commerce").await, "{what}");
        assert_eq!(writable(&rig.target, "customer").await, stayed, "{what}");
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
    for (time, number) in numbers() {
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
    for (_, number) in numbers() {
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
