//! Secrets are planted wherever the program takes some; nothing that it shows may hold one.

use std::{fs, path::Path};

use integration::{collector::Collector, life::until, server::Server};
use tonic::{Code, Request, Status};
use vtmigrated_proto::{
    topodata::TabletAlias,
    vtctldata::{
        CreateKeyspaceRequest, EmergencyReparentShardRequest, ExecuteFetchAsDbaRequest, ExecuteVtctlCommandRequest,
        GetKeyspacesRequest, MountRegisterRequest,
    },
};

use super::page;

const PLANTED: &str = "planted-";

fn signed<T>(message: T, password: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("username", "ann".parse().unwrap());
    request.metadata_mut().insert("password", password.parse().unwrap());
    request
}

/// Writes the files that hold secrets; answers the flags that name them.
fn files(dir: &Path) -> Vec<String> {
    let settings = r#"{"elsewhere": {"servers": ["127.0.0.1:1"], "user": "vt", "password": "planted-etcd",
                       "consul_token": "planted-consul", "zk_auth": "digest:vt:planted-zk"}}"#;
    [
        ("grpc_auth_static_password_file", r#"[{"Username": "ann", "Password": "planted-password"}]"#),
        ("fallback-vtctld-static-client-creds", r#"{"Username": "vt", "Password": "planted-fallback"}"#),
        ("topo_zk_auth_file", "digest:vt:planted-zk-flag"),
        ("mount-settings", settings),
    ]
    .map(|(flag, text)| {
        let path = dir.join(flag);
        fs::write(&path, text).unwrap();
        format!("--{flag}={}", path.display())
    })
    .into()
}

/// Calls that carry secrets; answers the errors that they were told.
async fn calls(server: &Server) -> Vec<Status> {
    let mut client = server.client().await.unwrap();
    let mut told = Vec::new();

    client.get_keyspaces(signed(GetKeyspacesRequest {}, "planted-password")).await.unwrap();
    let create = CreateKeyspaceRequest { name: "ks".into(), ..Default::default() };
    client.create_keyspace(signed(create, "planted-password")).await.unwrap();
    let refused = client.get_keyspaces(signed(GetKeyspacesRequest {}, "planted-guess")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let fetch = ExecuteFetchAsDbaRequest {
        tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 1 }),
        query: "SET PASSWORD = 'planted-statement'".into(),
        ..Default::default()
    };
    told.push(client.execute_fetch_as_dba(signed(fetch, "planted-password")).await.unwrap_err());
    let register = MountRegisterRequest {
        topo_type: "etcd2".into(),
        topo_server: "127.0.0.1:1".into(),
        topo_root: "/vitess/global".into(),
        name: "elsewhere".into(),
    };
    told.push(client.mount_register(signed(register, "planted-password")).await.unwrap_err());
    let reparent = EmergencyReparentShardRequest { keyspace: "ks".into(), ..Default::default() };
    told.push(client.emergency_reparent_shard(signed(reparent, "planted-password")).await.unwrap_err());
    let mut older = integration::client::vtctl(&server.grpc_address().to_string()).await.unwrap();
    let args = ["ExecuteFetchAsDba", "zone1-1", "SET PASSWORD = 'planted-statement'"].map(str::to_owned).into();
    let command = ExecuteVtctlCommandRequest { args, action_timeout: 0 };
    told.push(older.execute_vtctl_command(signed(command, "planted-password")).await.unwrap_err());
    told.push(refused);
    told
}

#[tokio::test]
async fn no_secret_is_seen_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let collector = Collector::grpc().await.unwrap();
    let mut flags = files(dir.path());
    flags.extend(collector.flags());
    flags.extend(
        [
            "--grpc_auth_mode=static",
            "--http-callers=anybody",
            "--fallback-vtctld-server=127.0.0.1:1",
            "--opentsdb_uri=http://vt:planted-uri@host/x",
            "--watch-interval=1s",
            "--v=9",
            "--alsologtostderr",
            "--logtostderr=false",
        ]
        .map(str::to_owned),
    );
    flags.push(format!("--log_dir={}", logs.display()));
    let variables =
        [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=planted-header"), ("CONSUL_HTTP_TOKEN", "planted-token")];
    let server = Server::start_with_environment(&flags, &variables).await.unwrap();
    let told = calls(&server).await;
    let mut seen: Vec<(String, String)> = told.iter().map(|error| ("an error".into(), format!("{error:?}"))).collect();
    for path in [
        "/",
        "/metrics",
        "/debug/vars",
        "/debug/config",
        "/debug/status",
        "/debug/shadow",
        "/api/mounts",
        "/api/migrations",
    ] {
        let (status, head, body) = page(server.http_address(), path).await;
        assert_eq!(status, 200, "{path}: {body}");
        seen.push((path.into(), head + &body));
    }
    let pid = server.process().pid().unwrap();
    let listed = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    // whoever starts the program may put a password into an address: the flags of files are what it offers instead
    let listed = String::from_utf8_lossy(&listed).replace("planted-uri", "");
    seen.push(("the list of processes".into(), listed));
    let arrived = async || if collector.spans().is_empty() { Err("none") } else { Ok(()) };
    until("spans", arrived).await.unwrap();
    assert!(server.term().await.unwrap().success());
    seen.push(("spans".into(), format!("{:?}", collector.spans())));
    seen.push(("standard error".into(), fs::read_to_string(server.process().log_path()).unwrap()));
    for file in fs::read_dir(&logs).unwrap() {
        let path = file.unwrap().path();
        seen.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
    }
    assert!(
        seen.iter().any(|(_, text)| text.contains("] audit caller=\"ann\"") || text.contains("] audit caller=ann")),
        "the log was looked at"
    );
    for (place, text) in seen {
        let at = text.find(PLANTED).map(|at| text.get(at.saturating_sub(200)..(at + 40).min(text.len())));
        assert_eq!(at, None, "{place}");
    }
}
