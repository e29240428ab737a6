//! Backups: taken by a tablet, by the best one of a shard, and brought back.

use std::sync::Arc;
use std::time::Duration as Time;

use tokio::sync::Notify;
use tonic::{Code, Request, Status, Streaming};
use vtmigrated::context::Options;
use vtmigrated_proto::tabletmanagerdata::backup_request::InitSql;
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime;
use vtmigrated_proto::vttime::Duration;

use crate::support::manager::{Calls, End, Told, sorted, start_told, taken};
use crate::support::{Lab, assert_refused, tablet};

fn alias(uid: u32) -> Option<TabletAlias> {
    Some(TabletAlias { cell: "zone1".into(), uid })
}

/// ks/0 with these tablets, named `t<uid>`.
async fn cluster(calls: &Calls, tablets: Vec<(u32, TabletType, Told)>) -> Lab {
    cluster_with(Options::default(), calls, tablets).await
}

async fn cluster_with(options: Options, calls: &Calls, tablets: Vec<(u32, TabletType, Told)>) -> Lab {
    let mut lab = Lab::with_keyspace_and(options, "ks", &["0"]).await;
    for (uid, tablet_type, told) in tablets {
        let port = start_told(&format!("t{uid}"), calls, told).await;
        lab.add_tablet(&tablet("zone1", uid, "ks", "0", tablet_type, port)).await;
    }
    lab
}

fn plain(uid: u32, tablet_type: TabletType) -> (u32, TabletType, Told) {
    (uid, tablet_type, Told::default())
}

fn lagging(uid: u32, tablet_type: TabletType, lag: Option<u32>) -> (u32, TabletType, Told) {
    (uid, tablet_type, Told { lag, ..Told::default() })
}

/// What the stock client sends when no flag is given.
fn backup(uid: u32) -> BackupRequest {
    BackupRequest {
        tablet_alias: alias(uid),
        concurrency: 4,
        mysql_shutdown_timeout: Some(Duration { seconds: 300, nanos: 0 }),
        init_sql: Some(InitSql { timeout: Some(Duration::default()), ..InitSql::default() }),
        ..BackupRequest::default()
    }
}

fn backup_shard(shard: &str) -> BackupShardRequest {
    let BackupRequest { concurrency, mysql_shutdown_timeout, init_sql, .. } = backup(1);
    BackupShardRequest {
        keyspace: "ks".into(),
        shard: shard.into(),
        concurrency,
        mysql_shutdown_timeout,
        init_sql,
        ..BackupShardRequest::default()
    }
}

fn restore(uid: u32) -> RestoreFromBackupRequest {
    RestoreFromBackupRequest {
        tablet_alias: alias(uid),
        // the zero time of Go
        restore_to_timestamp: Some(vttime::Time { seconds: -62_135_596_800, nanoseconds: 0 }),
        ..RestoreFromBackupRequest::default()
    }
}

/// All events, and how they ended.
async fn all<T>(answer: Result<tonic::Response<Streaming<T>>, Status>) -> (Vec<T>, Result<(), Status>) {
    let mut events = Vec::new();
    let mut stream = match answer {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (events, Err(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, Ok(())),
            Err(status) => return (events, Err(status)),
        }
    }
}

/// Waits until the tablets were called so.
async fn called(calls: &Calls, wanted: &str) {
    let until = tokio::time::Instant::now() + Time::from_secs(30);
    while !calls.lock().unwrap().iter().any(|call| call == wanted) {
        assert!(tokio::time::Instant::now() < until, "{wanted}: {:?}", calls.lock().unwrap());
        tokio::time::sleep(Time::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_tablet_tells_how_its_backup_goes() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, vec![plain(1, TabletType::Primary), plain(2, TabletType::Replica)]).await;
    let (events, end) = all(lab.client.backup(backup(2)).await).await;
    end.unwrap();
    let told: Vec<_> = events.iter().map(|event| event.event.clone().unwrap().value).collect();
    assert_eq!(told, ["begin", "end"]);
    assert_eq!(events[0].tablet_alias, alias(2));
    assert_eq!((events[0].keyspace.as_str(), events[0].shard.as_str()), ("ks", "0"));
    assert_eq!(taken(&calls), ["t2 Backup 4 false [] false [] 300 []"]);
    let full = BackupRequest {
        allow_primary: true,
        incremental_from_pos: "auto".into(),
        upgrade_safe: true,
        backup_engine: Some("xtrabackup".into()),
        init_sql: Some(InitSql {
            queries: vec!["flush logs".into()],
            tablet_types: vec![TabletType::Replica.into()],
            timeout: Some(Duration { seconds: 1, nanos: 0 }),
            fail_on_error: true,
        }),
        // tablets with no number would wait for ever
        concurrency: 0,
        ..backup(1)
    };
    all(lab.client.backup(full).await).await.1.unwrap();
    assert_eq!(taken(&calls), ["t1 Backup 4 true [auto] true [xtrabackup] 300 [flush logs]"]);
}

#[tokio::test]
async fn a_backup_fails_as_the_tablet_says() {
    let calls = Calls::default();
    let told = Told { log: vec!["begin"], end: End::Failed("disk full"), ..Told::default() };
    let early = Told { fails: vec![("Backup", "a backup is already running")], ..Told::default() };
    let mut lab = cluster(&calls, vec![(1, TabletType::Replica, told), (2, TabletType::Replica, early)]).await;
    let (events, end) = all(lab.client.backup(backup(1)).await).await;
    assert_eq!(events.len(), 1);
    assert_refused(end, Code::Internal, "TabletManager.Backup on t1: disk full");
    let (events, end) = all(lab.client.backup(backup(2)).await).await;
    assert_eq!(events.len(), 0);
    assert_refused(end, Code::Internal, "TabletManager.Backup on t2: a backup is already running");
    lab.add_tablet(&tablet("zone1", 3, "ks", "0", TabletType::Replica, 1)).await;
    let text = "tablet zone1-0000000003 at 127.0.0.1:1 cannot be reached for ";
    assert_refused(all(lab.client.backup(backup(3)).await).await.1, Code::Unavailable, &format!("{text}Backup"));
    let restored = all(lab.client.restore_from_backup(restore(3)).await).await.1;
    assert_refused(restored, Code::Unavailable, &format!("{text}RestoreFromBackup"));
}

#[tokio::test]
async fn bad_requests_reach_no_tablet() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, vec![plain(1, TabletType::Primary), plain(2, TabletType::Replica)]).await;
    let sql = |tablet_types: Vec<i32>, timeout| {
        let queries = vec!["select 1".to_owned()];
        BackupRequest { init_sql: Some(InitSql { queries, tablet_types, timeout, fail_on_error: false }), ..backup(2) }
    };
    let minus = Some(Duration { seconds: -1, nanos: 0 });
    for (request, code, text) in [
        (BackupRequest { tablet_alias: None, ..backup(2) }, Code::InvalidArgument, "a tablet alias is required"),
        (backup(9), Code::NotFound, "node doesn't exist: /vitess/zone1/tablets/zone1-0000000009/Tablet"),
        (
            backup(1),
            Code::FailedPrecondition,
            "TabletManager.Backup on zone1-0000000001: type PRIMARY cannot take backup. if you really need to do this, ",
        ),
        (BackupRequest { mysql_shutdown_timeout: minus, ..backup(2) }, Code::InvalidArgument, "duration: seconds:-1"),
        (sql(vec![], minus), Code::InvalidArgument, "duration: seconds:-1"),
        (sql(vec![], None), Code::InvalidArgument, "backup init SQL queries provided but no tablet types"),
        (sql(vec![2], None), Code::InvalidArgument, "backup init SQL queries provided but no timeout provided"),
    ] {
        assert_refused(all(lab.client.backup(request).await).await.1, code, text);
    }
    let both = RestoreFromBackupRequest {
        restore_to_pos: "MySQL56/x:1".into(),
        restore_to_timestamp: Some(vttime::Time { seconds: 5, nanoseconds: 0 }),
        ..restore(2)
    };
    let none = RestoreFromBackupRequest { tablet_alias: None, ..restore(2) };
    let primary = "TabletManager.RestoreFromBackup on zone1-0000000001: type PRIMARY cannot restore from backup, ";
    for (request, code, text) in [
        (both, Code::InvalidArgument, "--restore-to-pos and --restore-to-timestamp are mutually exclusive"),
        (none, Code::InvalidArgument, "a tablet alias is required"),
        (restore(9), Code::NotFound, "node doesn't exist: "),
        (restore(1), Code::FailedPrecondition, primary),
    ] {
        assert_refused(all(lab.client.restore_from_backup(request).await).await.1, code, text);
    }
    let shard = all(lab.client.backup_shard(backup_shard("9")).await).await.1;
    assert_refused(shard, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/ks/shards/9/Shard");
    let shard = all(lab.client.backup_shard(backup_shard("../0")).await).await.1;
    assert_refused(shard, Code::InvalidArgument, "invalid character . in name ../0");
    assert_eq!(sorted(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn the_replica_that_lags_least_takes_the_backup_of_its_shard() {
    let calls = Calls::default();
    let tablets = vec![
        plain(1, TabletType::Primary),
        lagging(2, TabletType::Replica, Some(9)),
        lagging(3, TabletType::Rdonly, Some(3)),
        lagging(4, TabletType::Spare, None),
        lagging(5, TabletType::Drained, Some(0)),
        (6, TabletType::Replica, Told { fails: vec![("ReplicationStatus", "told to")], ..Told::default() }),
    ];
    let mut lab = cluster(&calls, tablets).await;
    // before all others, and silent
    lab.add_tablet(&tablet("zone1", 0, "ks", "0", TabletType::Replica, 1)).await;
    let (events, end) = all(lab.client.backup_shard(backup_shard("0")).await).await;
    end.unwrap();
    assert_eq!((events.len(), events[1].tablet_alias.clone()), (2, alias(3)));
    let mut done = taken(&calls);
    assert_eq!(done.pop().unwrap(), "t3 Backup 4 false [] false [] 300 []");
    done.sort();
    assert_eq!(done, ["t2", "t3", "t4", "t6"].map(|name| format!("{name} ReplicationStatus")));
}

#[tokio::test]
async fn the_primary_takes_it_only_when_there_is_no_replica_and_it_may() {
    let calls = Calls::default();
    let tablets = vec![plain(1, TabletType::Primary), lagging(2, TabletType::Replica, None)];
    let mut lab = cluster(&calls, tablets).await;
    let refused = all(lab.client.backup_shard(backup_shard("0")).await).await.1;
    let text = "no tablet available for backup: zone1-0000000002 is not replicating\na REPLICA, RDONLY or SPARE tablet of ks/0";
    assert_refused(refused, Code::FailedPrecondition, text);
    assert_eq!(sorted(&calls), ["t2 ReplicationStatus"]);
    let allowed = BackupShardRequest { allow_primary: true, ..backup_shard("0") };
    let (events, end) = all(lab.client.backup_shard(allowed).await).await;
    end.unwrap();
    assert_eq!(events[0].tablet_alias, alias(1));
    assert_eq!(taken(&calls).pop().unwrap(), "t1 Backup 4 true [] false [] 300 []");
}

#[tokio::test]
async fn a_backup_ends_when_its_caller_goes_away() {
    let calls = Calls::default();
    let endless = |log: &[&'static str]| Told { log: log.to_vec(), end: End::Never, ..Told::default() };
    let tablets = vec![(1, TabletType::Replica, endless(&["begin"])), (2, TabletType::Replica, endless(&[]))];
    let mut lab = cluster(&calls, tablets).await;
    let mut stream = lab.client.backup(backup(1)).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().event.unwrap().value, "begin");
    drop(stream);
    called(&calls, "t1 Backup was left").await;
    // a tablet that says nothing at all
    let mut request = Request::new(backup(2));
    request.set_timeout(Time::from_millis(300));
    let (_, end) = all(lab.client.backup(request).await).await;
    let code = end.unwrap_err().code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code}");
    called(&calls, "t2 Backup was left").await;
}

#[tokio::test]
async fn a_restored_tablet_follows_the_primary_of_its_shard() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, vec![plain(1, TabletType::Primary), plain(2, TabletType::Replica)]).await;
    let policy = SetKeyspaceDurabilityPolicyRequest { keyspace: "ks".into(), durability_policy: "semi_sync".into() };
    lab.client.set_keyspace_durability_policy(policy).await.unwrap();
    let (events, end) = all(lab.client.restore_from_backup(restore(2)).await).await;
    end.unwrap();
    assert_eq!((events.len(), events[0].tablet_alias.clone(), events[0].shard.as_str()), (2, alias(2), "0"));
    assert_eq!(taken(&calls), ["t2 RestoreFromBackup 0 [] false []", "t2 SetReplicationSource 1 true"]);
    // a dry run changes nothing, and data of an earlier point in time stay
    let to_time = vttime::Time { seconds: 5, nanoseconds: 0 };
    for request in [
        RestoreFromBackupRequest { dry_run: true, ..restore(2) },
        RestoreFromBackupRequest { restore_to_pos: "MySQL56/x:1".into(), ..restore(2) },
        RestoreFromBackupRequest { restore_to_timestamp: Some(to_time), ..restore(2) },
    ] {
        all(lab.client.restore_from_backup(request).await).await.1.unwrap();
        let done = taken(&calls);
        assert!(done.len() == 1 && done[0].starts_with("t2 RestoreFromBackup "), "{done:?}");
    }
}

#[tokio::test]
async fn what_a_restored_tablet_follows_is_left_alone_where_it_must_be() {
    let calls = Calls::default();
    let passive = Options { disable_active_reparents: true, ..Options::default() };
    let tablets = || vec![plain(1, TabletType::Primary), plain(2, TabletType::Replica)];
    let mut lab = cluster_with(passive, &calls, tablets()).await;
    all(lab.client.restore_from_backup(restore(2)).await).await.1.unwrap();
    assert_eq!(taken(&calls), ["t2 RestoreFromBackup 0 [] false []"]);
    // nobody to follow
    let mut lab = cluster(&calls, vec![plain(2, TabletType::Replica)]).await;
    all(lab.client.restore_from_backup(restore(2)).await).await.1.unwrap();
    assert_eq!(taken(&calls), ["t2 RestoreFromBackup 0 [] false []"]);
    let broken = Told { fails: vec![("SetReplicationSource", "told to")], ..Told::default() };
    let mut lab = cluster(&calls, vec![plain(1, TabletType::Primary), (2, TabletType::Replica, broken)]).await;
    let failed = all(lab.client.restore_from_backup(restore(2)).await).await.1;
    let text = "the backup was restored on zone1-0000000002, but the tablet may not be replicating: TabletManager.SetReplicationSource on";
    assert_refused(failed, Code::Internal, text);
}

#[tokio::test]
async fn a_restore_goes_on_when_its_caller_goes_away() {
    let calls = Calls::default();
    let done = Arc::new(Notify::new());
    let told = Told { log: vec!["begin"], end: End::When(Arc::clone(&done)), ..Told::default() };
    let mut lab = cluster(&calls, vec![plain(1, TabletType::Primary), (2, TabletType::Replica, told)]).await;
    let mut stream = lab.client.restore_from_backup(restore(2)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    // the server has seen that nobody listens when it has answered another call
    lab.client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    done.notify_one();
    called(&calls, "t2 SetReplicationSource 1 false").await;
}
