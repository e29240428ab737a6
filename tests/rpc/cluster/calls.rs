//! Calls to one tablet that answer what the tablet answers.

use std::collections::HashMap;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tonic::Code;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Duration;

use crate::support::manager::{Calls, Told, sorted, start_told};
use crate::support::{Lab, assert_refused, tablet};

/// Starts an HTTP server with a page of variables. Answers its port.
pub async fn version_page(revision: &str) -> i32 {
    let page = format!(
        r#"{{"BuildHost":"h","BuildUser":"u","BuildTimestamp":17,"BuildGitRev":"{revision}","cmdline":["x"],"Uptime":1.5}}"#
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/debug/vars", get(move || async move { page }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    i32::from(port)
}

const ALIAS: fn() -> Option<TabletAlias> = || Some(TabletAlias { cell: "zone1".into(), uid: 1 });

async fn lab(calls: &Calls, told: Told) -> Lab {
    let port = start_told("t", calls, told).await;
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let mut one = tablet("zone1", 1, "ks", "0", TabletType::Replica, port);
    one.tags = [("a".to_owned(), "1".to_owned())].into();
    one.port_map.insert("vt".into(), version_page("abc").await);
    lab.add_tablet(&one).await;
    lab
}

#[tokio::test]
async fn a_tablet_tells_what_it_is_asked() {
    let calls = Calls::default();
    let mut lab = lab(&calls, Told::default()).await;
    let status = lab.client.get_full_status(GetFullStatusRequest { tablet_alias: ALIAS() }).await.unwrap().into_inner();
    assert_eq!(status.status.unwrap().server_uuid, "t");
    let found = lab.client.get_permissions(GetPermissionsRequest { tablet_alias: ALIAS() }).await.unwrap().into_inner();
    assert_eq!(found.permissions.unwrap().user_permissions[0].user, "root");
    let version = lab.client.get_version(GetVersionRequest { tablet_alias: ALIAS() }).await.unwrap().into_inner();
    assert_eq!(version.version, "{h u 17 abc}");
    let check = CheckThrottlerRequest {
        tablet_alias: ALIAS(),
        app_name: "app".into(),
        scope: "shard".into(),
        skip_request_heartbeats: true,
        ok_if_not_exists: false,
    };
    let answer = lab.client.check_throttler(check).await.unwrap().into_inner();
    assert_eq!((answer.tablet_alias, answer.check.unwrap().threshold), (ALIAS(), 5.0));
    let status = GetThrottlerStatusRequest { tablet_alias: ALIAS() };
    assert!(lab.client.get_throttler_status(status).await.unwrap().into_inner().status.unwrap().is_enabled);
    let wanted = ["t CheckThrottler app shard true false", "t FullStatus", "t GetPermissions", "t GetThrottlerStatus"];
    assert_eq!(sorted(&calls), wanted);
}

#[tokio::test]
async fn a_tablet_does_what_it_is_told() {
    let calls = Calls::default();
    let mut lab = lab(&calls, Told::default()).await;
    for writable in [true, false] {
        lab.client.set_writable(SetWritableRequest { tablet_alias: ALIAS(), writable }).await.unwrap();
    }
    let sleep = SleepTabletRequest { tablet_alias: ALIAS(), duration: Some(Duration { seconds: 2, nanos: 5 }) };
    lab.client.sleep_tablet(sleep).await.unwrap();
    lab.client.sleep_tablet(SleepTabletRequest { tablet_alias: ALIAS(), duration: None }).await.unwrap();
    let tags: HashMap<String, String> = [("b".to_owned(), "2".to_owned())].into();
    let change = ChangeTabletTagsRequest { tablet_alias: ALIAS(), tags: tags.clone(), replace: true };
    let changed = lab.client.change_tablet_tags(change).await.unwrap().into_inner();
    assert_eq!(changed.before_tags, [("a".to_owned(), "1".to_owned())].into());
    assert_eq!(changed.after_tags, tags);
    let hook = manager::ExecuteHookRequest { name: "h".into(), parameters: vec!["-x".into()], ..Default::default() };
    let hook = ExecuteHookRequest { tablet_alias: ALIAS(), tablet_hook_request: Some(hook) };
    let result = lab.client.execute_hook(hook).await.unwrap().into_inner().hook_result.unwrap();
    assert_eq!((result.exit_status, result.stdout.as_str(), result.stderr.as_str()), (3, "out", "err"));
    let multi = ExecuteMultiFetchAsDbaRequest {
        tablet_alias: ALIAS(),
        sql: "select 1; select 2".into(),
        max_rows: 3,
        ..ExecuteMultiFetchAsDbaRequest::default()
    };
    let results = lab.client.execute_multi_fetch_as_dba(multi.clone()).await.unwrap().into_inner().results;
    assert_eq!(results[0].rows_affected, 2);
    let wanted = [
        r#"t ChangeTags {"b": "2"} true"#,
        r#"t ExecuteHook h ["-x"]"#,
        "t Multi vt_ks: select 1; select 2",
        "t SetReadOnly",
        "t SetReadWrite",
        "t Sleep 15000000000",
        "t Sleep 2000000005",
    ];
    assert_eq!(sorted(&calls), wanted);
    let rows = ExecuteMultiFetchAsDbaRequest { max_rows: -1, ..multi };
    assert_refused(lab.client.execute_multi_fetch_as_dba(rows).await, Code::InvalidArgument, "max_rows is negative");
    assert_eq!(sorted(&calls), Vec::<String>::new());
}

#[tokio::test]
async fn what_mysql_refuses_has_the_code_of_its_error() {
    let text = "Table 'vt_ks.t' doesn't exist (errno 1146) (sqlstate 42S02) during query: select 1 from t";
    let syntax = "You have an error in your SQL syntax (errno 1064) (sqlstate 42000) during query: x";
    let told = Told { fails: vec![("Dba", text), ("App", syntax), ("SetReadWrite", syntax)], ..Told::default() };
    let mut lab = lab(&Calls::default(), told).await;
    let dba = ExecuteFetchAsDbaRequest { tablet_alias: ALIAS(), query: "x".into(), ..Default::default() };
    let text = format!("TabletManager.Dba on t: {text}");
    assert_refused(lab.client.execute_fetch_as_dba(dba).await, Code::NotFound, &text);
    let app = ExecuteFetchAsAppRequest { tablet_alias: ALIAS(), query: "x".into(), ..Default::default() };
    assert_refused(lab.client.execute_fetch_as_app(app).await, Code::InvalidArgument, "TabletManager.App on t: You");
    // this statement was not the caller's
    let writable = lab.client.set_writable(SetWritableRequest { tablet_alias: ALIAS(), writable: true }).await;
    assert_refused(writable, Code::Internal, "TabletManager.SetReadWrite on t: You have");
}

#[tokio::test]
async fn calls_that_make_no_sense_reach_no_tablet() {
    let calls = Calls::default();
    let mut lab = lab(&calls, Told::default()).await;
    let hook = |name: &str| ExecuteHookRequest {
        tablet_alias: ALIAS(),
        tablet_hook_request: Some(manager::ExecuteHookRequest { name: name.into(), ..Default::default() }),
    };
    let text = "hook name cannot contain a '/'; was ../x";
    assert_refused(lab.client.execute_hook(hook("../x")).await, Code::FailedPrecondition, text);
    assert_refused(lab.client.execute_hook(hook("..")).await, Code::InvalidArgument, "the hook must be");
    let none = ExecuteHookRequest { tablet_alias: ALIAS(), tablet_hook_request: None };
    assert_refused(lab.client.execute_hook(none).await, Code::InvalidArgument, "TabletHookRequest cannot be nil");
    let none = lab.client.set_writable(SetWritableRequest::default()).await;
    assert_refused(none, Code::InvalidArgument, "SetWritable.TabletAlias is required");
    for duration in [Duration { seconds: -1, nanos: 0 }, Duration { seconds: i64::MAX, nanos: 0 }] {
        let sleep = SleepTabletRequest { tablet_alias: ALIAS(), duration: Some(duration) };
        assert_refused(lab.client.sleep_tablet(sleep).await, Code::InvalidArgument, "duration: seconds:");
    }
    let missing = Some(TabletAlias { cell: "zone1".into(), uid: 9 });
    let text = "node doesn't exist: /vitess/zone1/tablets/zone1-0000000009/Tablet";
    let status = lab.client.get_full_status(GetFullStatusRequest { tablet_alias: missing.clone() }).await;
    assert_refused(status, Code::NotFound, text);
    let permissions = lab.client.get_permissions(GetPermissionsRequest { tablet_alias: missing }).await;
    assert_refused(permissions, Code::NotFound, r#"Failed to get tablet cell:"zone1" uid:9: node doesn't exist: "#);
    assert_eq!(sorted(&calls), Vec::<String>::new());
    // nobody listens where the record says
    let mut silent = tablet("zone1", 2, "ks", "0", TabletType::Replica, 1);
    silent.port_map.insert("vt".into(), 1);
    lab.add_tablet(&silent).await;
    let silent = Some(TabletAlias { cell: "zone1".into(), uid: 2 });
    let version = lab.client.get_version(GetVersionRequest { tablet_alias: silent }).await;
    assert_refused(
        version,
        Code::Unavailable,
        "tablet zone1-0000000002 at 127.0.0.1:1 cannot be reached for /debug/vars",
    );
}
