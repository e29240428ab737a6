//! The first primary of a shard.

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::Server;
use tonic_types::StatusExt;
use vtmigrated::topo::{self, paths};
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::{Duration, Time};

use crate::support::manager::{Calls, Told, sorted, start_told, taken};
use crate::support::{HOSTILE, Lab, assert_refused, tablet};

const AHEAD: &str = "MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9";

fn alias(uid: u32) -> Option<TabletAlias> {
    Some(TabletAlias { cell: "zone1".into(), uid })
}

/// ks/0 with tablets t1, t2, … of these types, nobody primary.
async fn cluster(calls: &Calls, policy: &str, tablets: &[(TabletType, Told)]) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    for (at, (tablet_type, told)) in tablets.iter().enumerate() {
        let uid = u32::try_from(at).unwrap() + 1;
        let port = start_told(&format!("t{uid}"), calls, told.clone()).await;
        lab.add_tablet(&tablet("zone1", uid, "ks", "0", *tablet_type, port)).await;
    }
    let policy = SetKeyspaceDurabilityPolicyRequest { keyspace: "ks".into(), durability_policy: policy.into() };
    lab.client.set_keyspace_durability_policy(policy).await.unwrap();
    lab
}

fn elect(new: Option<TabletAlias>) -> PlannedReparentShardRequest {
    PlannedReparentShardRequest {
        keyspace: "ks".into(),
        shard: "0".into(),
        new_primary: new,
        ..PlannedReparentShardRequest::default()
    }
}

async fn assert_unlocked(lab: &Lab) {
    let locks = lab.topo.global().list(&format!("{}/locks", paths::shard_dir("ks", "0"))).await.unwrap();
    assert_eq!(locks, vec![]);
}

#[tokio::test]
async fn the_named_tablet_becomes_primary_and_the_others_follow() {
    let calls = Calls::default();
    let (replica, rdonly) = ((TabletType::Replica, Told::default()), (TabletType::Rdonly, Told::default()));
    let mut lab = cluster(&calls, "semi_sync", &[replica.clone(), replica, rdonly]).await;
    let done = lab.client.planned_reparent_shard(elect(alias(2))).await.unwrap().into_inner();
    assert_eq!((done.keyspace.as_str(), done.shard.as_str(), done.promoted_primary), ("ks", "0", alias(2)));
    let events: Vec<_> = done.events.iter().map(|event| event.value.as_str()).collect();
    assert_eq!(events[0], "elected new primary candidate zone1-0000000002");
    assert!(events.contains(&"populating reparent journal on new primary zone1-0000000002"), "{events:?}");
    let calls = taken(&calls);
    let place = |call: &str| calls.iter().position(|made| made == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    let position = Told::default().position;
    let init = place("t2 InitPrimary true");
    let journal = place(&format!("t2 PopulateReparentJournal PlannedReparentShard 2 {position}"));
    for reached in ["t1", "t2", "t3"] {
        assert!(place(&format!("{reached} GetGlobalStatusVars [\"Innodb_buffer_pool_pages_data\"]")) < init);
    }
    // a rdonly tablet acknowledges nothing under this policy
    assert!(init < place("t1 SetReplicationSource 2 true and waits"));
    assert!(init < place("t3 SetReplicationSource 2 false and waits"));
    assert!(init < journal && journal < place("t2 RefreshState"));
    assert_eq!(calls.len(), 8, "{calls:?}");
    assert_unlocked(&lab).await;
}

#[tokio::test]
async fn without_a_name_the_best_replica_is_chosen() {
    let calls = Calls::default();
    let told = |position, buffer_pool, backup, lag: u32| {
        (TabletType::Replica, Told { position, buffer_pool, backup, lag: Some(lag), ..Told::default() })
    };
    let behind = Told::default().position;
    let tablets = [
        told(behind, 900, false, 0),
        told(AHEAD, 10, false, 0),
        told(AHEAD, 20, false, 0),
        told(AHEAD, 30, true, 0),
        told(AHEAD, 40, false, 60),
        (TabletType::Spare, Told { position: AHEAD, buffer_pool: 50, ..Told::default() }),
    ];
    let mut lab = cluster(&calls, "none", &tablets).await;
    let request = PlannedReparentShardRequest {
        tolerable_replication_lag: Some(Duration { seconds: 30, nanos: 0 }),
        ..elect(None)
    };
    let done = lab.client.planned_reparent_shard(request.clone()).await.unwrap().into_inner();
    assert_eq!(done.promoted_primary, alias(3));
    let avoid = PlannedReparentShardRequest { avoid_primary: alias(3), ..request };
    let done = lab.client.planned_reparent_shard(avoid).await.unwrap().into_inner();
    assert_eq!(done.promoted_primary, alias(2));
    taken(&calls);
    // a server that never replicated says so with an error
    let fresh = "no replication status (errno 100) (sqlstate HY000)";
    let fresh = (TabletType::Replica, Told { fails: vec![("ReplicationStatus", fresh)], ..Told::default() });
    let mut lab = cluster(&calls, "none", &[fresh.clone(), fresh]).await;
    let done = lab.client.planned_reparent_shard(elect(None)).await.unwrap().into_inner();
    assert_eq!(done.promoted_primary, alias(1));
}

#[tokio::test]
async fn nobody_is_made_primary_who_cannot_be_one() {
    let calls = Calls::default();
    let one = [(TabletType::Replica, Told::default()), (TabletType::Spare, Told::default())];
    let mut lab = cluster(&calls, "semi_sync", &one).await;
    let text = "primary-elect tablet zone1-0000000001 won't be able to make forward progress on promotion";
    assert_refused(lab.client.planned_reparent_shard(elect(None)).await, Code::FailedPrecondition, text);
    let text = "cannot find a tablet to reparent to\nzone1-0000000001 does not match the new primary alias provided\n";
    assert_refused(lab.client.planned_reparent_shard(elect(alias(9))).await, Code::FailedPrecondition, text);
    let avoid = PlannedReparentShardRequest { avoid_primary: alias(1), ..elect(None) };
    let text = "cannot find a tablet to reparent to\nzone1-0000000001 matches the primary alias to avoid\nzone1-0000000002 is \
                not a replica";
    assert_refused(lab.client.planned_reparent_shard(avoid).await, Code::FailedPrecondition, text);
    let both = PlannedReparentShardRequest { avoid_primary: alias(1), ..elect(alias(1)) };
    let text = "primary-elect tablet zone1-0000000001 is the same as the tablet to avoid";
    assert_refused(lab.client.planned_reparent_shard(both).await, Code::FailedPrecondition, text);
    let expected = PlannedReparentShardRequest { expected_primary: alias(2), ..elect(None) };
    let text = "primary <nil> is not equal to expected alias zone1-0000000002";
    assert_refused(lab.client.planned_reparent_shard(expected).await, Code::FailedPrecondition, text);
    // all tablets must answer
    let no_tablet = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = no_tablet.local_addr().unwrap().port();
    tokio::spawn(async move { while no_tablet.accept().await.is_ok() {} });
    lab.add_tablet(&tablet("zone2", 7, "ks", "0", TabletType::Replica, port)).await;
    let text = format!("tablet zone2-0000000007 at 127.0.0.1:{port} cannot be reached for GetGlobalStatusVars");
    assert_refused(lab.client.planned_reparent_shard(elect(alias(1))).await, Code::Unavailable, &text);
    for name in HOSTILE {
        let request = PlannedReparentShardRequest { shard: (*name).into(), ..elect(None) };
        assert_refused(lab.client.planned_reparent_shard(request).await, Code::InvalidArgument, "");
    }
    let changed: Vec<_> = taken(&calls).into_iter().filter(|call| !call.contains("GetGlobalStatusVars")).collect();
    assert_eq!(changed, Vec::<String>::new());
    assert_unlocked(&lab).await;
}

#[tokio::test]
async fn a_primary_that_fails_ends_it_and_a_replica_that_fails_can_be_mended() {
    let calls = Calls::default();
    let failing = |method| Told { fails: vec![(method, "told to")], ..Told::default() };
    let tablets = [
        (TabletType::Replica, failing("InitPrimary")),
        (TabletType::Replica, failing("PopulateReparentJournal")),
        (TabletType::Replica, failing("SetReplicationSource")),
    ];
    let mut lab = cluster(&calls, "none", &tablets).await;
    let text =
        "primary-elect tablet zone1-0000000001 failed to be promoted to primary; please try again: TabletManager.";
    assert_refused(lab.client.planned_reparent_shard(elect(alias(1))).await, Code::Internal, text);
    assert!(!taken(&calls).iter().any(|call| call.contains("SetReplicationSource")));
    let text = "failed PopulateReparentJournal(primary=zone1-0000000002, ts=";
    assert_refused(lab.client.planned_reparent_shard(elect(alias(2))).await, Code::Internal, text);

    let tablets = [(TabletType::Replica, Told::default()), (TabletType::Replica, failing("SetReplicationSource"))];
    let mut lab = cluster(&calls, "none", &tablets).await;
    let text = "some replicas failed to reparent; retry PlannedReparentShard with the same new primary alias \
                (zone1-0000000001) to retry failed replicas: tablet zone1-0000000002 failed to \
                SetReplicationSource(zone1-0000000001): TabletManager.SetReplicationSource on t2: told to";
    assert_refused(lab.client.planned_reparent_shard(elect(alias(1))).await, Code::Internal, text);
    taken(&calls);
    // the tablet is primary now; the same command goes on from there
    let port = start_told("t1", &calls, Told::default()).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "0", TabletType::Primary, port)).await;
    let port = start_told("t2", &calls, Told::default()).await;
    lab.add_tablet(&tablet("zone1", 2, "ks", "0", TabletType::Replica, port)).await;
    let done = lab.client.planned_reparent_shard(elect(alias(1))).await.unwrap().into_inner();
    assert_eq!(done.promoted_primary, alias(1));
    let made = sorted(&calls);
    assert!(made.contains(&"t1 SetReadWrite".to_owned()) && !made.iter().any(|call| call.contains("InitPrimary")));
    assert!(made.contains(&"t2 SetReplicationSource 1 false and waits".to_owned()), "{made:?}");
}

#[tokio::test]
async fn a_shard_that_has_or_had_a_primary_is_left_alone() {
    let calls = Calls::default();
    let tablets = [(TabletType::Primary, Told::default()), (TabletType::Replica, Told::default())];
    let mut lab = cluster(&calls, "none", &tablets).await;
    for request in [elect(None), elect(alias(2))] {
        let status = lab.client.planned_reparent_shard(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().starts_with("vtctlservice.Vtctld/PlannedReparentShard "), "{}", status.message());
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, vtmigrated::error::Reason::NOT_FIRST_ELECTION.as_str());
    }
    // nobody is primary now, but somebody was
    let mut lab = cluster(&calls, "none", &[(TabletType::Replica, Told::default())]).await;
    let mut record = topo::shard::get(lab.topo.global(), "ks", "0").await.unwrap().value;
    record.primary_term_start_time = Some(Time { seconds: 9, nanoseconds: 0 });
    lab.put(&paths::shard("ks", "0"), prost::Message::encode_to_vec(&record)).await;
    let status = lab.client.planned_reparent_shard(elect(alias(1))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(taken(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn init_shard_primary_resets_all_and_makes_the_named_one_primary() {
    let calls = Calls::default();
    let tablets = [(TabletType::Replica, Told::default()), (TabletType::Replica, Told::default())];
    let mut lab = cluster(&calls, "semi_sync", &tablets).await;
    let request = |uid, force| InitShardPrimaryRequest {
        keyspace: "ks".into(),
        shard: "0".into(),
        primary_elect_tablet_alias: alias(uid),
        force,
        wait_replicas_timeout: None,
    };
    let text = "primary-elect tablet zone1-0000000001 is not the shard primary, use -force to proceed anyway";
    assert_refused(lab.client.init_shard_primary(request(1, false)).await, Code::FailedPrecondition, text);
    let text = "primary-elect tablet zone1-0000000009 is not in the shard";
    assert_refused(lab.client.init_shard_primary(request(9, true)).await, Code::FailedPrecondition, text);
    assert_eq!(taken(&calls), Vec::<String>::new());
    let done = lab.client.init_shard_primary(request(1, true)).await.unwrap().into_inner();
    let text = "primary-elect tablet zone1-0000000001 is not the shard primary, proceeding anyway as -force was used";
    assert!(done.events.iter().any(|event| event.value == text), "{:?}", done.events);
    let wanted = [
        "t1 Dba vt_ks: CREATE DATABASE IF NOT EXISTS `vt_ks` 1 false true".to_owned(),
        "t1 InitPrimary true".to_owned(),
        format!("t1 PopulateReparentJournal InitShardPrimary 1 {}", Told::default().position),
        "t1 RefreshState".to_owned(),
        "t1 ResetReplication".to_owned(),
        "t2 InitReplica 1 true".to_owned(),
        "t2 ResetReplication".to_owned(),
    ];
    assert_eq!(sorted(&calls), wanted);
    let record = topo::shard::get(lab.topo.global(), "ks", "0").await.unwrap().value;
    assert_eq!(record.primary_alias, alias(1));
    assert_unlocked(&lab).await;
    let broken = Told { fails: vec![("ResetReplication", "told to")], ..Told::default() };
    let port = start_told("t3", &calls, broken).await;
    lab.add_tablet(&tablet("zone1", 3, "ks", "0", TabletType::Replica, port)).await;
    let text = "tablet zone1-0000000003 ResetReplication failed (either fix it, or Scrap it): TabletManager.";
    assert_refused(lab.client.init_shard_primary(request(1, true)).await, Code::Internal, text);
    assert!(!taken(&calls).iter().any(|call| call.contains("InitPrimary")));
    let none = InitShardPrimaryRequest { primary_elect_tablet_alias: alias(1), ..Default::default() };
    assert_refused(lab.client.init_shard_primary(none).await, Code::InvalidArgument, "keyspace field is required");
}

#[tokio::test]
async fn tablets_that_were_just_started_are_waited_for() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, "none", &[(TabletType::Replica, Told::default())]).await;
    for (uid, first) in [(2, true), (3, false)] {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // nothing listens there yet
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        lab.add_tablet(&tablet("zone1", uid, "ks", "0", TabletType::Replica, port)).await;
        let started = async {
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            let incoming = TcpListenerStream::new(socket.listen(16).unwrap());
            let server = Server::builder().add_service(crate::support::manager::service(&format!("t{uid}"), &calls));
            tokio::spawn(server.serve_with_incoming(incoming));
        };
        let init = InitShardPrimaryRequest {
            keyspace: "ks".into(),
            shard: "0".into(),
            primary_elect_tablet_alias: alias(1),
            force: true,
            ..InitShardPrimaryRequest::default()
        };
        let mut client = lab.client.clone();
        let made = async {
            match first {
                true => client.planned_reparent_shard(elect(alias(1))).await.map(|_| ()),
                false => client.init_shard_primary(init).await.map(|_| ()),
            }
        };
        tokio::join!(made, started).0.unwrap();
        let wanted = if first { "GetGlobalStatusVars" } else { "ResetReplication" };
        let asked = taken(&calls);
        assert!(asked.iter().any(|call| call.starts_with(&format!("t{uid} {wanted}"))), "{asked:?}");
    }
}
