//! Calls that are not served here pass through to another server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tonic::body::Body;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};
use vtmigrated::server::fallback::{Credentials, Fallback, Options};
use vtmigrated::server::router::Router;
use vtmigrated::telemetry::shadow::Counts;
use vtmigrated::tls::Files;
use vtmigrated_proto::topodata::{CellInfo, TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::pki::Pki;
use crate::support::stock::{LARGE, Stock, echo};
use crate::support::{Lab, assert_refused, refusal, tablet};

/// Options that name a fallback and nothing else.
pub fn options(address: &str) -> Options {
    Options {
        address: address.to_owned(),
        tls: None,
        credentials: None,
        rpcs: BTreeSet::new(),
        shadow: BTreeSet::new(),
        max_message: 16 << 20,
    }
}

/// The same for a server that forwards backups, too.
fn with_backups(address: &str) -> Options {
    Options { rpcs: BTreeSet::from(["Backup".to_owned()]), ..options(address) }
}

/// A server with that fallback.
async fn lab(options: Options) -> Lab {
    let fallback = Fallback::new(options, Arc::new(Counts::default())).unwrap();
    Lab::routed(Router::new(Some(Arc::new(fallback)))).await
}

fn reparent(keyspace: &str) -> EmergencyReparentShardRequest {
    EmergencyReparentShardRequest { keyspace: keyspace.into(), shard: "-80".into(), ..Default::default() }
}

fn backup(cell: &str) -> BackupRequest {
    BackupRequest { tablet_alias: Some(TabletAlias { cell: cell.into(), uid: 1 }), ..Default::default() }
}

#[tokio::test]
async fn unary_calls_pass_with_metadata_both_ways() {
    let stock = Stock::start(None).await;
    let mut lab = lab(options(&stock.address)).await;
    let mut request = Request::new(reparent("ks"));
    request
        .metadata_mut()
        .insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
    request.metadata_mut().insert("username", "caller".parse().unwrap());
    request.metadata_mut().insert_bin("data-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
    request.set_timeout(Duration::from_secs(600));
    let answer = lab.client.emergency_reparent_shard(request).await.unwrap();
    assert_eq!(answer.metadata().get("header").unwrap(), "h");
    assert_eq!((answer.get_ref().keyspace.as_str(), answer.get_ref().shard.as_str()), ("ks", "-80"));
    let seen = stock.seen.last();
    assert_eq!(seen.get("traceparent").unwrap(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(seen.get("username").unwrap(), "caller");
    assert_eq!(seen.get_bin("data-bin").unwrap().to_bytes().unwrap().as_ref(), [0, 255]);
    assert_eq!(seen.get("grpc-timeout").unwrap(), "600000m");
}

#[tokio::test]
async fn errors_pass_with_code_text_details_and_trailers() {
    let stock = Stock::start(None).await;
    let mut lab = lab(options(&stock.address)).await;
    let status = lab.client.emergency_reparent_shard(reparent("fail")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no candidate: é\n%"));
    assert_eq!(status.get_details_error_info().unwrap().reason, "NO_CANDIDATE");
    assert_eq!(status.metadata().get("trailer").unwrap(), "t");
}

#[tokio::test]
async fn streams_pass_and_end_as_they_end_there() {
    let stock = Stock::start(None).await;
    let mut lab = lab(with_backups(&stock.address)).await;
    for (cell, end) in [("zone1", None), ("fail", Some("disk full"))] {
        let mut stream = lab.client.backup(backup(cell)).await.unwrap().into_inner();
        for shard in ["1", "2", "3"] {
            assert_eq!(stream.message().await.unwrap().unwrap().shard, shard);
        }
        match (stream.message().await, end) {
            (Ok(None), None) => {}
            (Err(status), Some(text)) => assert_eq!((status.code(), status.message()), (Code::Aborted, text)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn callers_that_go_away_end_their_calls_there() {
    let stock = Stock::start(None).await;
    let mut lab = lab(with_backups(&stock.address)).await;
    let mut stream = lab.client.backup(backup("endless")).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(stock.seen.cancelled().await, "stream");

    let mut client = lab.client.clone();
    let call = tokio::spawn(async move { client.emergency_reparent_shard(reparent("slow")).await });
    while stock.seen.metadata.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    call.abort();
    assert_eq!(stock.seen.cancelled().await, "unary");

    let mut request = Request::new(reparent("slow"));
    request.set_timeout(Duration::from_millis(200));
    let status = lab.client.emergency_reparent_shard(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    assert_eq!(stock.seen.cancelled().await, "unary");
}

#[tokio::test]
async fn messages_larger_than_our_limit_pass() {
    let stock = Stock::start(None).await;
    let lab = lab(options(&stock.address)).await;
    let mut client = lab.client.clone().max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
    let request = MoveTablesCreateRequest { on_ddl: "y".repeat(LARGE), ..Default::default() };
    let answer = client.move_tables_create(request).await.unwrap().into_inner();
    assert_eq!(answer.traffic_state.len(), LARGE);
}

#[tokio::test]
async fn bodies_are_not_looked_at() {
    let lab = lab(options(&echo().await)).await;
    // a message that says it is compressed, and is none
    let body = Bytes::from_static(b"\x01\x00\x00\x00\x04\x1f\x8b\x08\xff");
    let request = http::Request::post("http://x/vtctlservice.Vtctld/RpcOfTheFuture")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", "gzip")
        .header("grpc-accept-encoding", "snappy,gzip")
        .header("data-bin", "AP8")
        .body(Body::new(Full::new(body.clone())))
        .unwrap();
    let mut channel = lab.channel.clone();
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("grpc-encoding").as_deref(), Some("gzip"));
    assert_eq!(header("grpc-accept-encoding").as_deref(), Some("snappy,gzip"));
    assert_eq!(header("data-bin").as_deref(), Some("AP8"));
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap().get("path").unwrap(), "/vtctlservice.Vtctld/RpcOfTheFuture");
    assert_eq!(whole.to_bytes(), body);
}

#[tokio::test]
async fn without_a_fallback_the_rpc_and_the_flag_are_named() {
    let mut lab = Lab::empty().await;
    let (code, text) = refusal(lab.client.emergency_reparent_shard(reparent("ks")).await);
    assert_eq!(code, Code::Unimplemented);
    assert!(text.contains("vtctlservice.Vtctld/EmergencyReparentShard") && text.contains("--fallback-vtctld-server"));
    let request =
        ApplySchemaRequest { ddl_strategy: "vitess".into(), sql: vec!["drop table t".into()], ..Default::default() };
    let status = lab.client.apply_schema(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("--fallback-vtctld-server"), "{status:?}");
    assert!(status.metadata().get("vtmigrated-forward").is_none(), "{status:?}");
}

#[tokio::test]
async fn a_dead_fallback_is_unavailable_and_a_revived_one_is_found() {
    let stock = Stock::start(None).await;
    let address = stock.address.clone();
    let mut lab = lab(with_backups(&address)).await;
    lab.client.emergency_reparent_shard(reparent("ks")).await.unwrap();
    let mut endless = lab.client.backup(backup("endless")).await.unwrap().into_inner();
    endless.message().await.unwrap().unwrap();
    drop(stock);
    let dead = format!("the vtctld {address} (--fallback-vtctld-server) does not answer: ");
    let mut answer = lab.client.emergency_reparent_shard(reparent("ks")).await;
    // a server that stops lets its connections end by themselves
    while answer.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = lab.client.emergency_reparent_shard(reparent("ks")).await;
    }
    assert_refused(answer, Code::Unavailable, &dead);
    // what is served here does not need it
    lab.client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap();
}

#[tokio::test]
async fn cases_that_are_not_ours_are_forwarded_with_the_same_request() {
    let stock = Stock::start(None).await;
    let mut lab = lab(options(&stock.address)).await;
    let ddl = |strategy: &str| ApplySchemaRequest {
        keyspace: "ks".into(),
        ddl_strategy: strategy.into(),
        sql: vec!["drop table t".into()],
        ..Default::default()
    };
    assert_eq!(lab.client.apply_schema(ddl("vitess")).await.unwrap().into_inner().uuid_list, ["drop table t"]);
    assert_refused(
        lab.client.apply_schema(ddl("direct")).await,
        Code::NotFound,
        "unable to get shards for keyspace: ks",
    );
    let request = WorkflowSwitchTrafficRequest { workflow: "wf".into(), ..Default::default() };
    assert_eq!(lab.client.workflow_switch_traffic(request).await.unwrap().into_inner().summary, "switched wf");
    let cell_info = Some(CellInfo { server_address: "zone1".into(), root: "/vitess/zone1".into() });
    lab.client.add_cell_info(AddCellInfoRequest { name: "zone1".into(), cell_info }).await.unwrap();
    lab.client.create_keyspace(CreateKeyspaceRequest { name: "ks".into(), ..Default::default() }).await.unwrap();
    let shard = CreateShardRequest { keyspace: "ks".into(), shard_name: "0".into(), ..Default::default() };
    lab.client.create_shard(shard).await.unwrap();
    lab.add_tablet(&tablet("zone1", 100, "ks", "0", TabletType::Primary, 1)).await;
    let again = PlannedReparentShardRequest { keyspace: "ks".into(), shard: "0".into(), ..Default::default() };
    let answer = lab.client.planned_reparent_shard(again).await.unwrap().into_inner();
    assert_eq!(answer.keyspace, "stock reparents ks");
    let large = ApplySchemaRequest { sql: vec!["x".repeat(LARGE)], ..ddl("vitess") };
    assert_eq!(refusal(lab.client.apply_schema(large).await).0, Code::ResourceExhausted);

    assert_eq!(lab.printed("Backup zone1-100").await, "stock runs Backup zone1-100\n");
    assert_eq!(lab.printed("Workflow -- ks.wf tags a").await, "stock runs Workflow -- ks.wf tags a\n");
    assert_eq!(lab.printed("GetKeyspaces").await, "ks\n");
}

#[tokio::test]
async fn chosen_rpcs_go_there_although_they_are_served_here() {
    let stock = Stock::start(None).await;
    let rpcs = BTreeSet::from(["GetKeyspaces".to_owned()]);
    let mut lab = lab(Options { rpcs, ..options(&stock.address) }).await;
    let found = lab.client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap().into_inner().keyspaces;
    assert_eq!(found[0].name, "theirs");
    assert_refused(
        lab.client.mount_show(MountShowRequest { name: "x".into() }).await,
        Code::NotFound,
        "there is no vitess cluster named x",
    );
}

#[tokio::test]
async fn a_call_is_forwarded_once() {
    // a fallback that has a fallback, as it would be if an address led back
    let stock = Stock::start(None).await;
    let second = lab(options(&stock.address)).await;
    let mut request = Request::new(reparent("ks"));
    request.metadata_mut().insert("vtmigrated-forwarded", "1".parse().unwrap());
    let text = "vtctlservice.Vtctld/EmergencyReparentShard was forwarded already: --fallback-vtctld-server leads back";
    assert_refused(second.client.clone().emergency_reparent_shard(request).await, Code::FailedPrecondition, text);
}

#[tokio::test]
async fn tls_and_credentials_are_its_own() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let pki = Pki::new();
    pki.issue_for("stock.example", "server", 1);
    pki.issue("client", 2);
    let identity = Identity::from_pem(pki.text("server.pem"), pki.text("server.key"));
    let authority = Certificate::from_pem(pki.text("ca.pem"));
    let stock = Stock::start(Some(ServerTlsConfig::new().identity(identity).client_ca_root(authority))).await;
    let shown = Some((pki.path("client.pem"), pki.path("client.key")));
    let files = |server_name: &str, identity| Files {
        ca: Some(pki.path("ca.pem")),
        identity,
        server_name: Some(server_name.to_owned()),
    };
    let tls = |files: Files| Some(files.load().unwrap());
    let credentials = Credentials::new("vtmigrated", "secret");
    let mut proved =
        lab(Options { tls: tls(files("stock.example", shown.clone())), credentials, ..options(&stock.address) }).await;
    let mut request = Request::new(reparent("ks"));
    request.metadata_mut().insert("username", "caller".parse().unwrap());
    proved.client.emergency_reparent_shard(request).await.unwrap();
    assert_eq!(stock.seen.last().get("username").unwrap(), "vtmigrated");
    assert_eq!(stock.seen.last().get("password").unwrap(), "secret");

    let wrong_name = tls(files("other.example", shown));
    let no_certificate = tls(files("stock.example", None));
    for tls in [wrong_name, no_certificate, None] {
        let mut refused = lab(Options { tls, ..options(&stock.address) }).await;
        let status: Status = refused.client.emergency_reparent_shard(reparent("ks")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains(&stock.address), "{status:?}");
    }
}
