//! Types of tablets, who follows whom, where they are.

use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::manager::{Calls, Told, sorted, start, start_told};
use crate::support::{Lab, assert_refused, tablet};

fn alias(uid: u32) -> Option<TabletAlias> {
    Some(TabletAlias { cell: "zone1".into(), uid })
}

/// ks/0 with primary 1, replica 2 and rdonly 3; ks/1 with replica 4 and no primary. Acknowledgements are wanted.
async fn cluster(calls: &Calls) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["0", "1"]).await;
    for (uid, name, shard, tablet_type) in [
        (1, "p", "0", TabletType::Primary),
        (2, "r", "0", TabletType::Replica),
        (3, "o", "0", TabletType::Rdonly),
        (4, "x", "1", TabletType::Replica),
    ] {
        let port = start(name, calls).await;
        lab.add_tablet(&tablet("zone1", uid, "ks", shard, tablet_type, port)).await;
    }
    let policy = SetKeyspaceDurabilityPolicyRequest { keyspace: "ks".into(), durability_policy: "semi_sync".into() };
    lab.client.set_keyspace_durability_policy(policy).await.unwrap();
    lab
}

#[tokio::test]
async fn types_change_where_no_primary_is_touched() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let change = |uid, db_type: TabletType, dry_run| ChangeTabletTypeRequest {
        tablet_alias: alias(uid),
        db_type: db_type.into(),
        dry_run,
    };
    let dry = lab.client.change_tablet_type(change(2, TabletType::Rdonly, true)).await.unwrap().into_inner();
    assert_eq!(dry.before_tablet.unwrap().r#type(), TabletType::Replica);
    assert_eq!((dry.after_tablet.unwrap().r#type(), dry.was_dry_run), (TabletType::Rdonly, true));
    assert_eq!(sorted(&calls), Vec::<String>::new());
    let done = lab.client.change_tablet_type(change(2, TabletType::Rdonly, false)).await.unwrap().into_inner();
    assert_eq!((done.after_tablet.unwrap().alias, done.was_dry_run), (alias(2), false));
    lab.client.change_tablet_type(change(3, TabletType::Replica, false)).await.unwrap();
    // the new type decides about acknowledgements
    assert_eq!(sorted(&calls), ["o ChangeType REPLICA true", "r ChangeType RDONLY false"]);
    let text =
        r#"tablet cell:"zone1" uid:2 type change REPLICA -> PRIMARY is not an allowed transition for ChangeTabletType"#;
    let primary = lab.client.change_tablet_type(change(2, TabletType::Primary, true)).await;
    assert_refused(primary, Code::FailedPrecondition, text);
    let headless = lab.client.change_tablet_type(change(4, TabletType::Rdonly, false)).await;
    assert_refused(headless, Code::FailedPrecondition, "no primary tablet for shard ks/1");
    let odd = ChangeTabletTypeRequest { tablet_alias: alias(2), db_type: 99, dry_run: false };
    assert_refused(lab.client.change_tablet_type(odd).await, Code::InvalidArgument, "unknown tablet type 99");
    assert_eq!(sorted(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn replication_starts_stops_and_turns_to_the_primary() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    for uid in [2, 3] {
        lab.client.start_replication(StartReplicationRequest { tablet_alias: alias(uid) }).await.unwrap();
        lab.client.stop_replication(StopReplicationRequest { tablet_alias: alias(uid) }).await.unwrap();
    }
    let turned = lab.client.reparent_tablet(ReparentTabletRequest { tablet: alias(2) }).await.unwrap().into_inner();
    assert_eq!((turned.keyspace.as_str(), turned.shard.as_str(), turned.primary), ("ks", "0", alias(1)));
    let wanted = [
        "o StartReplication false",
        "o StopReplication",
        "r SetReplicationSource 1 true",
        "r StartReplication true",
        "r StopReplication",
    ];
    assert_eq!(sorted(&calls), wanted);
    let itself = lab.client.reparent_tablet(ReparentTabletRequest { tablet: alias(1) }).await;
    let text = "cannot ReparentTablet current shard primary (zone1-0000000001) onto itself";
    assert_refused(itself, Code::FailedPrecondition, text);
    let none = lab.client.start_replication(StartReplicationRequest::default()).await;
    assert_refused(none, Code::InvalidArgument, "StartReplication.TabletAlias is required");
    let none = lab.client.stop_replication(StopReplicationRequest::default()).await;
    assert_refused(none, Code::InvalidArgument, "StopReplication.TabletAlias is required");
    let none = lab.client.reparent_tablet(ReparentTabletRequest::default()).await;
    assert_refused(none, Code::InvalidArgument, "tablet alias must not be nil");
    let headless = lab.client.start_replication(StartReplicationRequest { tablet_alias: alias(4) }).await;
    assert_refused(headless, Code::FailedPrecondition, "no primary tablet for shard ks/1");
    // the record of the primary says something else than the shard's
    lab.cell("zone1").await.remove(&paths::tablet(&alias(1).unwrap())).await.unwrap();
    let lost = lab.client.start_replication(StartReplicationRequest { tablet_alias: alias(2) }).await;
    let text = "cannot lookup primary tablet zone1-0000000001 for shard ks/0: node doesn't exist: ";
    assert_refused(lost, Code::NotFound, text);
    assert_eq!(sorted(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn a_primary_made_by_others_is_made_known() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    let told = |uid| TabletExternallyReparentedRequest { tablet: alias(uid) };
    let known = lab.client.tablet_externally_reparented(told(2)).await.unwrap().into_inner();
    assert_eq!((known.keyspace.as_str(), known.shard.as_str()), ("ks", "0"));
    assert_eq!((known.new_primary, known.old_primary), (alias(2), alias(1)));
    assert_eq!(sorted(&calls), ["r ChangeType PRIMARY true"]);
    // its record says so already
    lab.client.tablet_externally_reparented(told(1)).await.unwrap();
    assert_eq!(sorted(&calls), Vec::<String>::new());
    let none = lab.client.tablet_externally_reparented(TabletExternallyReparentedRequest::default()).await;
    assert_refused(none, Code::InvalidArgument, "TabletExternallyReparentedRequest.Tablet must not be nil");
}

#[tokio::test]
async fn positions_are_those_of_all_who_answer() {
    let calls = Calls::default();
    let mut lab = cluster(&calls).await;
    // silent, and one that needs no position
    lab.add_tablet(&tablet("zone1", 5, "ks", "0", TabletType::Replica, 1)).await;
    lab.add_tablet(&tablet("zone1", 6, "ks", "0", TabletType::Drained, 1)).await;
    let request = ShardReplicationPositionsRequest { keyspace: "ks".into(), shard: "0".into() };
    let found = lab.client.shard_replication_positions(request.clone()).await.unwrap().into_inner();
    let position = Told::default().position;
    let statuses: Vec<_> =
        found.replication_statuses.iter().map(|e| (e.key.as_str(), e.value.clone().unwrap().position)).collect();
    assert_eq!(
        statuses,
        [
            ("zone1-0000000001", position.to_owned()),
            ("zone1-0000000002", position.to_owned()),
            ("zone1-0000000003", position.to_owned()),
            ("zone1-0000000005", String::new()),
        ]
    );
    assert_eq!(found.tablet_map.len(), 4);
    assert_eq!(sorted(&calls), ["o ReplicationStatus", "p PrimaryPosition", "r ReplicationStatus"]);
    let told = Told { fails: vec![("ReplicationStatus", "told to")], ..Told::default() };
    let port = start_told("bad", &calls, told).await;
    lab.add_tablet(&tablet("zone1", 7, "ks", "0", TabletType::Replica, port)).await;
    let failed = lab.client.shard_replication_positions(request).await;
    let text = "ReplicationStatus(zone1-0000000007) failed: TabletManager.ReplicationStatus on bad: told to";
    assert_refused(failed, Code::Internal, text);
    let missing = ShardReplicationPositionsRequest { keyspace: "ks".into(), shard: "9".into() };
    let text = "GetTabletMapForShard(ks, 9) failed: node doesn't exist: ";
    assert_refused(lab.client.shard_replication_positions(missing).await, Code::NotFound, text);
}
