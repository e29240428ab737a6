//! Online schema changes: what tablets tell of them, and what they are told.

use std::collections::HashMap;

use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated_proto::query::{Field, QueryResult, Row};
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::schema_migration::{Status, Strategy};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtrpc::CallerId;
use vtmigrated_proto::vttime::{Duration, Time};

use crate::support::manager::{Calls, Told, sorted, start_told};
use crate::support::{HOSTILE, Lab, assert_refused, tablet};

const UUID: &str = "a0638f6b_ec7b_11ea_9bf8_000d3a9b8a9a";

/// ks with -80 (primary p1, replica r1) and 80- (primary p2).
async fn cluster(calls: &Calls, first: Told, second: Told) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    for (uid, name, shard, tablet_type, told) in [
        (1, "p1", "-80", TabletType::Primary, first),
        (2, "r1", "-80", TabletType::Replica, Told::default()),
        (3, "p2", "80-", TabletType::Primary, second),
    ] {
        let port = start_told(name, calls, told).await;
        lab.add_tablet(&tablet("zone1", uid, "ks", shard, tablet_type, port)).await;
    }
    lab
}

/// A tablet with rows of schema changes.
fn with(columns: &[&str], rows: &[&[&str]]) -> Told {
    let fields = columns.iter().map(|name| Field { name: (*name).to_owned(), ..Field::default() }).collect();
    let row = |values: &&[&str]| Row {
        lengths: values.iter().map(|value| i64::try_from(value.len()).unwrap()).collect(),
        values: values.concat().into_bytes(),
    };
    let found = QueryResult { fields, rows: rows.iter().map(row).collect(), ..QueryResult::default() };
    Told { found, ..Told::default() }
}

fn show(keyspace: &str) -> GetSchemaMigrationsRequest {
    // the client's defaults: ascending
    GetSchemaMigrationsRequest { keyspace: keyspace.into(), order: 1, ..GetSchemaMigrationsRequest::default() }
}

/// What a primary was asked, after the columns.
fn asked(calls: &Calls) -> Vec<String> {
    let ends = |call: String| {
        let (name, query) = call.split_once(" Dba vt_ks: select *, unix_timestamp(").unwrap();
        format!("{name}: {}", query.split_once(" from ").unwrap().1)
    };
    sorted(calls).into_iter().map(ends).collect()
}

#[tokio::test]
async fn all_primaries_tell_of_their_schema_changes() {
    let calls = Calls::default();
    let columns = ["migration_uuid", "shard", "strategy", "migration_status", "tablet", "completed_at", "progress"];
    let first = with(
        &columns,
        &[
            &["u1", "-80", "vitess", "complete", "zone1-0000000001", "1795687200.5", "100"],
            &["u2", "-80", "of the future", "review", "", "", "0"],
        ],
    );
    let second = with(&columns, &[&["u1", "80-", "direct", "running", "zone1-0000000003", "", "12.5"]]);
    let mut lab = cluster(&calls, first, second).await;
    let found = lab.client.get_schema_migrations(show("ks")).await.unwrap().into_inner().migrations;
    let names: Vec<_> = found.iter().map(|m| (m.uuid.as_str(), m.shard.as_str(), m.status())).collect();
    let wanted = [("u1", "-80", Status::Complete), ("u2", "-80", Status::Unknown), ("u1", "80-", Status::Running)];
    assert_eq!(names, wanted);
    assert_eq!(found[0].tablet, Some(TabletAlias { cell: "zone1".into(), uid: 1 }));
    assert_eq!(found[0].completed_at, Some(Time { seconds: 1_795_687_200, nanoseconds: 500_000_000 }));
    assert_eq!((found[0].strategy(), found[1].strategy, found[2].progress), (Strategy::Vitess, -1, 12.5));
    let all = "_vt.schema_migrations where migration_uuid like '%' order by `id` asc 10000 false false";
    assert_eq!(asked(&calls), [format!("p1: {all}"), format!("p2: {all}")]);
    let recent = GetSchemaMigrationsRequest {
        recent: Some(Duration { seconds: 60, nanos: 0 }),
        order: 2,
        limit: 5,
        skip: 2,
        ..show("ks")
    };
    lab.client.get_schema_migrations(recent).await.unwrap();
    let text =
        "_vt.schema_migrations where requested_timestamp > now() - interval 60 second order by `id` desc limit 2, 5";
    assert!(asked(&calls)[0].starts_with(&format!("p1: {text}")));
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let calls = Calls::default();
    let broken = Told { fails: vec![("Dba", "gone")], ..Told::default() };
    let mut lab = cluster(&calls, Told::default(), broken).await;
    let failed = lab.client.get_schema_migrations(show("ks")).await;
    assert_refused(failed, Code::Internal, "TabletManager.Dba on p2: gone");
    lab.add_tablet(&tablet("zone1", 3, "ks", "80-", TabletType::Primary, 1)).await;
    let failed = lab.client.get_schema_migrations(show("ks")).await;
    assert_refused(failed, Code::Unavailable, "tablet zone1-0000000003 at 127.0.0.1:1 cannot be reached for ");
    sorted(&calls);
    for (request, code, text) in [
        (
            GetSchemaMigrationsRequest { uuid: "x' or '1".into(), ..show("ks") },
            Code::InvalidArgument,
            "x' or '1 is not a valid UUID",
        ),
        (
            GetSchemaMigrationsRequest { status: 99, ..show("ks") },
            Code::InvalidArgument,
            "unknown status 99 of a schema ",
        ),
        (GetSchemaMigrationsRequest { order: 7, ..show("ks") }, Code::InvalidArgument, "unknown ordering 7"),
        (
            GetSchemaMigrationsRequest { recent: Some(Duration { seconds: -1, nanos: 0 }), ..show("ks") },
            Code::InvalidArgument,
            "error parsing duration: duration: seconds:-1",
        ),
        (show("nope"), Code::NotFound, "FindAllShardsInKeyspace(nope): List: node doesn't exist: "),
    ] {
        assert_refused(lab.client.get_schema_migrations(request).await, code, text);
    }
    for name in HOSTILE {
        assert_refused(lab.client.get_schema_migrations(show(name)).await, Code::InvalidArgument, "");
    }
    assert_eq!(sorted(&calls), Vec::<String>::new());
}

fn both(rows: u64) -> HashMap<String, u64> {
    ["-80", "80-"].map(|shard| (shard.to_owned(), rows)).into()
}

/// Calls an action; answers the rows affected.
macro_rules! act {
    ($lab:expr, $rpc:ident, $request:ident, $uuid:expr) => {{
        let request = $request { keyspace: "ks".into(), uuid: $uuid.into(), ..$request::default() };
        $lab.client.$rpc(request).await.map(|answer| answer.into_inner().rows_affected_by_shard)
    }};
}

#[tokio::test]
async fn every_action_runs_on_every_primary_and_on_no_replica() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Told::default(), Told::default()).await;
    let mut wanted = Vec::new();
    for (word, done) in [
        ("cancel", act!(lab, cancel_schema_migration, CancelSchemaMigrationRequest, UUID)),
        ("cleanup", act!(lab, cleanup_schema_migration, CleanupSchemaMigrationRequest, UUID)),
        ("complete", act!(lab, complete_schema_migration, CompleteSchemaMigrationRequest, UUID)),
        ("force_cutover", act!(lab, force_cut_over_schema_migration, ForceCutOverSchemaMigrationRequest, UUID)),
        ("launch", act!(lab, launch_schema_migration, LaunchSchemaMigrationRequest, UUID)),
        ("retry", act!(lab, retry_schema_migration, RetrySchemaMigrationRequest, UUID)),
    ] {
        assert_eq!(done.unwrap(), both(3), "{word}");
        wanted
            .extend(["p1", "p2"].map(|name| format!("{name} Query vt_ks: alter vitess_migration '{UUID}' {word} 10")));
    }
    wanted.sort();
    assert_eq!(sorted(&calls), wanted);
    let all = CancelSchemaMigrationRequest {
        keyspace: "ks".into(),
        uuid: "All".into(),
        caller_id: Some(CallerId { principal: "ann".into(), ..CallerId::default() }),
    };
    lab.client.cancel_schema_migration(all).await.unwrap();
    let wanted = ["p1", "p2"].map(|name| format!("{name} Query vt_ks: alter vitess_migration cancel all 10 by ann"));
    assert_eq!(sorted(&calls), wanted);
    let locks = lab.topo.global().list(&format!("{}/locks", paths::keyspace_dir("ks"))).await.unwrap();
    assert_eq!(locks, vec![]);
}

#[tokio::test]
async fn statements_of_apply_schema_about_them_go_through_the_query_service_and_reload_nothing() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Told::default(), Told::default()).await;
    let apply = |sql: &[&str]| ApplySchemaRequest {
        keyspace: "ks".into(),
        sql: sql.iter().map(|sql| (*sql).to_owned()).collect(),
        caller_id: Some(CallerId { principal: "ann".into(), ..CallerId::default() }),
        ..ApplySchemaRequest::default()
    };
    let launch = format!("alter vitess_migration '{UUID}' launch vitess_shards '-80'");
    let done = lab.client.apply_schema(apply(&[&launch])).await.unwrap().into_inner();
    assert_eq!(done.rows_affected_by_shard, both(3));
    let wanted = ["p1", "p2"].map(|name| format!("{name} Query vt_ks: {launch} 10 by ann"));
    let positions = ["p1", "p2"].map(|name| format!("{name} PrimaryPosition"));
    let mut wanted = [wanted, positions].concat();
    wanted.sort();
    assert_eq!(sorted(&calls), wanted);
    let done = lab.client.apply_schema(apply(&["drop table t", "alter vitess_migration complete all"])).await.unwrap();
    assert_eq!(done.into_inner().rows_affected_by_shard, both(5));
    assert!(sorted(&calls).contains(&"p1 ReloadSchema ".to_owned()));
    let throttle = "alter vitess_migration throttle all expire '1h'";
    for online in [throttle, &format!("revert vitess_migration '{UUID}'")] {
        let text = format!("this statement about online schema changes is not served by vtmigrated: {online}");
        let refused = lab.client.apply_schema(apply(&["drop table t", online])).await;
        assert_refused(refused, Code::Unimplemented, &text);
    }
    assert_eq!(sorted(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn shards_that_fail_are_told_with_those_that_did_not() {
    let calls = Calls::default();
    let broken = Told { fails: vec![("Query", "online ddl is disabled")], ..Told::default() };
    let mut lab = cluster(&calls, Told::default(), broken).await;
    let failed = act!(lab, complete_schema_migration, CompleteSchemaMigrationRequest, "all");
    let text = r#"schema change failed, ExecuteResult: {"FailedShards":[{"Shard":"80-","Err":"TabletManager.Query on p2: online ddl is disabled"}],"SuccessShards":[{"Shard":"-80""#;
    assert_refused(failed, Code::Internal, text);
    lab.add_tablet(&tablet("zone1", 3, "ks", "80-", TabletType::Primary, 1)).await;
    let failed = act!(lab, retry_schema_migration, RetrySchemaMigrationRequest, UUID);
    let text =
        r#"schema change failed, ExecuteResult: {"FailedShards":[{"Shard":"80-","Err":"tablet zone1-0000000003 "#;
    assert_refused(failed, Code::Unavailable, text);
}

#[tokio::test]
async fn what_no_tablet_would_take_reaches_none() {
    let calls = Calls::default();
    let mut lab = cluster(&calls, Told::default(), Told::default()).await;
    for uuid in ["", "x' cancel", "a0638f6b-ec7b-11ea-9bf8-000d3a9b8a9a", "%"] {
        let text = format!("{uuid} is not a valid UUID");
        let refused = act!(lab, cancel_schema_migration, CancelSchemaMigrationRequest, uuid);
        assert_refused(refused, Code::InvalidArgument, &text);
        let refused = act!(lab, launch_schema_migration, LaunchSchemaMigrationRequest, uuid);
        assert_refused(refused, Code::InvalidArgument, &text);
    }
    let text = "failed to parse sql: alter vitess_migration retry all, got error: ";
    let refused = act!(lab, retry_schema_migration, RetrySchemaMigrationRequest, "all");
    assert_refused(refused, Code::InvalidArgument, text);
    for name in HOSTILE {
        let request =
            CancelSchemaMigrationRequest { keyspace: (*name).into(), uuid: UUID.into(), ..Default::default() };
        assert_refused(lab.client.cancel_schema_migration(request).await, Code::InvalidArgument, "");
    }
    let missing = CancelSchemaMigrationRequest { keyspace: "nope".into(), uuid: UUID.into(), ..Default::default() };
    let text = "unable to get shards for keyspace: nope, error: ";
    assert_refused(lab.client.cancel_schema_migration(missing).await, Code::NotFound, text);
    assert_eq!(sorted(&calls), Vec::<String>::new());
}
