//! Callers and roles.

use std::sync::LazyLock;

use tonic::{Code, Request};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtctlservice::vtctl_client::VtctlClient;
use vtmigrated_proto::vtmigrated::advisor_client::AdvisorClient;
use vtmigrated_proto::vtmigrated::way_back_client::WayBackClient;
use vtmigrated_proto::vtmigrated::{CleanLeftoversRequest, WayBackRequest};

use super::Server;
use crate::support::Log;
use crate::support::pki::{Pki, flag};
use crate::support::stock::Stock;

fn signed<T>(message: T, user: &str, password: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("username", user.parse().unwrap());
    request.metadata_mut().insert("password", password.parse().unwrap());
    request
}

/// Writes the files of users and roles; answers the flags that name them.
pub fn guarded(dir: &tempfile::TempDir, users: &str, roles: &str) -> Vec<String> {
    std::fs::write(dir.path().join("users.json"), users).unwrap();
    std::fs::write(dir.path().join("roles.json"), roles).unwrap();
    vec![
        "--grpc_auth_mode=static".into(),
        flag("grpc_auth_static_password_file", dir.path().join("users.json")),
        flag("grpc-roles-file", dir.path().join("roles.json")),
    ]
}

#[tokio::test]
async fn callers_need_their_password_and_a_role() {
    let dir = tempfile::tempdir().unwrap();
    let users = r#"[{"Username":"ann","Password":"a-secret"},{"Username":"rob","Password":"b-secret"},{"Username":"eve","Password":"c-secret"}]"#;
    let flags = guarded(&dir, users, r#"{"callers":{"ann":"admin","rob":"read"}}"#);
    let server = Server::start(&flags).await;
    let mut client = server.client(None).await;
    let nobody = client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap_err();
    assert_eq!((nobody.code(), nobody.message()), (Code::Unauthenticated, "username and password must be provided"));
    let wrong = client.get_keyspaces(signed(GetKeyspacesRequest {}, "ann", "b-secret")).await.unwrap_err();
    let text = "auth failure: caller \"ann\" provided invalid credentials";
    assert_eq!((wrong.code(), wrong.message()), (Code::PermissionDenied, text));
    client.get_keyspaces(signed(GetKeyspacesRequest {}, "rob", "b-secret")).await.unwrap();
    let create = CreateKeyspaceRequest { name: "ks".into(), ..Default::default() };
    let refused = client.create_keyspace(signed(create.clone(), "rob", "b-secret")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let text = "caller \"rob\" has the role read, and vtctlservice.Vtctld/CreateKeyspace needs admin";
    assert!(refused.message().starts_with(text), "{}", refused.message());
    let stranger = client.get_keyspaces(signed(GetKeyspacesRequest {}, "eve", "c-secret")).await.unwrap_err();
    assert!(stranger.message().starts_with("caller \"eve\" has the role none"), "{}", stranger.message());
    client.create_keyspace(signed(create, "ann", "a-secret")).await.unwrap();
    let found = client.get_keyspaces(signed(GetKeyspacesRequest {}, "rob", "b-secret")).await.unwrap().into_inner();
    assert_eq!(found.keyspaces.len(), 1, "what was refused did nothing, what was allowed did");
}

#[tokio::test]
async fn certificates_name_callers() {
    let pki = Pki::new();
    for (name, serial) in [("server", 1), ("ops", 2), ("guest", 3)] {
        pki.issue(name, serial);
    }
    let flags = [
        pki.flags(),
        vec![
            flag("grpc_ca", pki.path("ca.pem")),
            "--grpc_auth_mode=mtls".into(),
            "--grpc_auth_mtls_allowed_substrings=CN=nobody:CN=ops,O=vt\\, inc".into(),
        ],
    ]
    .concat();
    let server = Server::start(&flags).await;
    server.client(Some(pki.showing("ops"))).await.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    let mut guest = server.client(Some(pki.showing("guest"))).await;
    let refused = guest.get_keyspaces(GetKeyspacesRequest {}).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "client certificate not authorized"));
}

#[tokio::test]
async fn only_the_verified_certificate_names_a_caller() {
    let pki = Pki::new();
    for (name, serial) in [("server", 1), ("ops", 2), ("app", 3)] {
        pki.issue(name, serial);
    }
    pki.append_unsigned("app", "ops");
    let mut flags = vec![flag("grpc_ca", pki.path("ca.pem")), "--grpc_auth_mode=mtls".into()];
    flags.push("--grpc_auth_mtls_allowed_substrings=CN=ops".into());
    let server = Server::start(&[pki.flags(), flags].concat()).await;
    server.client(Some(pki.showing("ops"))).await.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
    let mut app = server.client(Some(pki.showing("app"))).await;
    let refused = app.get_keyspaces(GetKeyspacesRequest {}).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "client certificate not authorized"));
}

#[tokio::test]
async fn passwords_are_for_this_server_and_go_no_further() {
    let (dir, stock) = (tempfile::tempdir().unwrap(), Stock::start(None).await);
    let users = r#"[{"Username":"ann","Password":"a-secret"}]"#;
    let mut flags = guarded(&dir, users, r#"{"callers":{"ann":"admin"}}"#);
    flags.push(format!("--fallback-vtctld-server={}", stock.address));
    let server = Server::start(&flags).await;
    let reparent = EmergencyReparentShardRequest { keyspace: "ks".into(), ..Default::default() };
    let mut client = server.client(None).await;
    client.emergency_reparent_shard(signed(reparent, "ann", "a-secret")).await.unwrap();
    let seen = stock.seen.last();
    assert!(seen.get("username").is_some() && seen.get("password").is_none(), "{seen:?}");
}

/// The log of the process. Tests beside write into it too.
fn log() -> &'static Log {
    static LOG: LazyLock<Log> = LazyLock::new(|| {
        let log = Log::default();
        let writer = log.clone();
        let format = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let only = tracing_subscriber::filter::Targets::new().with_target("vtmigrated", tracing::Level::INFO);
        tracing_subscriber::registry().with(only).with(format).try_init().unwrap();
        log
    });
    &LOG
}

#[tokio::test]
async fn changes_and_refusals_leave_a_line_without_secrets() {
    let log = log();
    let dir = tempfile::tempdir().unwrap();
    let users =
        r#"[{"Username":"audited-admin","Password":"a-hidden"},{"Username":"audited-reader","Password":"b-hidden"}]"#;
    let mut flags = guarded(&dir, users, r#"{"default":"read","callers":{"audited-admin":"admin"}}"#);
    // nobody listens there
    flags.push("--fallback-vtctld-server=127.0.0.1:1".into());
    let server = Server::start(&flags).await;
    let mut client = server.client(None).await;
    let create = CreateKeyspaceRequest { name: "audited".into(), ..Default::default() };
    client.create_keyspace(signed(create.clone(), "audited-admin", "a-hidden")).await.unwrap();
    client.create_keyspace(signed(create.clone(), "audited-admin", "a-hidden")).await.unwrap_err();
    client.create_keyspace(signed(create, "audited-reader", "b-hidden")).await.unwrap_err();
    client.get_keyspaces(signed(GetKeyspacesRequest {}, "audited-reader", "b-hidden")).await.unwrap();
    client.get_keyspaces(signed(GetKeyspacesRequest {}, "audited-reader", "x-hidden")).await.unwrap_err();
    let reparent =
        EmergencyReparentShardRequest { keyspace: "audited".into(), shard: "-80".into(), ..Default::default() };
    client.emergency_reparent_shard(signed(reparent, "audited-admin", "a-hidden")).await.unwrap_err();
    let mut older = VtctlClient::new(server.endpoint(None).connect().await.unwrap());
    for args in [vec!["DeleteKeyspace", "audited"], vec!["GetKeyspaces"]] {
        let mut events = older.execute_vtctl_command(command(&args)).await.unwrap().into_inner();
        while events.message().await.unwrap().is_some() {}
    }
    // of those that are offered to another server, one line each
    older.execute_vtctl_command(command(&["Backup", "--", "--token=a-hidden", "zone1-100"])).await.unwrap_err();
    older.execute_vtctl_command(command(&["Workflow", "audited.wf", "tags"])).await.unwrap_err();
    let ddl = ApplySchemaRequest {
        keyspace: "audited".into(),
        ddl_strategy: "vitess".into(),
        sql: vec!["drop table a-hidden".into()],
        ..Default::default()
    };
    client.apply_schema(signed(ddl, "audited-admin", "a-hidden")).await.unwrap_err();
    // of the other services
    let channel = server.endpoint(None).connect().await.unwrap();
    let clean = CleanLeftoversRequest { keyspace: "audited".into(), keys: vec!["x".into()] };
    AdvisorClient::new(channel.clone()).clean_leftovers(signed(clean, "audited-admin", "a-hidden")).await.unwrap_err();
    let back = WayBackRequest { keyspace: "audited".into(), workflow: "wf".into(), ..Default::default() };
    WayBackClient::new(channel).complete(signed(back, "audited-reader", "b-hidden")).await.unwrap_err();
    let text = log.text();
    let ours = |line: &&str| line.contains("vtmigrated::audit") && line.contains("audited-");
    let lines: Vec<&str> = text.lines().filter(ours).collect();
    let holds = |line: &str, parts: &[&str]| assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    assert_eq!(lines.len(), 10, "{text}");
    holds(
        lines[0],
        &["caller=\"audited-admin\"", "127.0.0.1:", "Vtctld/CreateKeyspace", "name=audited", "outcome=\"OK\""],
    );
    holds(lines[1], &["caller=\"audited-admin\"", "outcome=\"ALREADY_EXISTS\""]);
    holds(lines[2], &["caller=\"audited-reader\"", "outcome=\"PERMISSION_DENIED\""]);
    let forwarded = ["Vtctld/EmergencyReparentShard", "on=\"keyspace=audited shard=-80\"", "forwarded to 127.0.0.1:1"];
    holds(lines[3], &forwarded);
    holds(lines[3], &["outcome=\"UNAVAILABLE\""]);
    holds(lines[4], &["Vtctl/ExecuteVtctlCommand", "on=\"DeleteKeyspace audited\"", "outcome=\"OK\""]);
    for (line, on) in [(5, "Backup zone1-100"), (6, "Workflow audited.wf tags"), (7, "keyspace=audited")] {
        holds(lines[line], &[&format!("on=\"{on}\""), "forwarded to 127.0.0.1:1", "outcome=\"UNAVAILABLE\""]);
    }
    holds(lines[7], &["Vtctld/ApplySchema"]);
    holds(lines[8], &["vtmigrated.Advisor/CleanLeftovers", "on=\"keyspace=audited keys=x\"", "outcome=\"NOT_FOUND\""]);
    holds(lines[9], &["vtmigrated.WayBack/Complete", "caller=\"audited-reader\"", "outcome=\"PERMISSION_DENIED\""]);
    assert!(!text.contains("-hidden"), "{text}");
}

fn command(args: &[&str]) -> Request<ExecuteVtctlCommandRequest> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    signed(ExecuteVtctlCommandRequest { args, action_timeout: 0 }, "audited-admin", "a-hidden")
}
