//! What is around the calls: flags of the real program, its files, its HTTP pages, compression, pings.

mod secrets;

use std::{
    fs,
    net::SocketAddr,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
};

use integration::{client, life::until, process, server::Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, body::Body, codec::CompressionEncoding, transport::Channel};
use tower::Service;
use vtmigrated::snappy;
use vtmigrated_proto::{
    topodata::CellInfo,
    vtctldata::{AddCellInfoRequest, GetCellInfoNamesRequest, MountListRequest, MountShowRequest},
    vtctlservice::vtctld_client::VtctldClient,
};

/// Status, headers and body of a page.
async fn page(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn pages_tell_of_calls_flags_and_health() {
    let server = Server::start(&[
        "--pprof-http",
        "--opentsdb_uri=http://user:hidden@host/x",
        "--cell=zone1",
        "--watch-interval=0",
    ])
    .await
    .unwrap();
    let mut client = server.client().await.unwrap();
    client.mount_list(MountListRequest {}).await.unwrap();
    let missing = client.mount_show(MountShowRequest { name: "none".to_owned() }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let http = server.http_address();
    for path in ["/debug/health", "/healthz", "/readyz", "/debug/liveness", "/debug/status"] {
        let (status, head, _) = page(http, path).await;
        assert_eq!(status, 200, "{path}");
        assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    }
    let metrics = page(http, "/metrics").await.2;
    for (code, method) in [("OK", "MountList"), ("NOT_FOUND", "MountShow")] {
        let line = format!(
            "rpc_server_call_duration_seconds_count{{rpc_method=\"vtctlservice.Vtctld/{method}\",rpc_response_status_code=\"{code}\"}} 1"
        );
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    let vars: serde_json::Value = serde_json::from_str(&page(http, "/debug/vars").await.2).unwrap();
    assert_eq!(vars["TopologyConnOperations"]["Histograms"]["ListDir.global"]["Count"], 1, "{vars}");
    assert!(vars["cmdline"].to_string().contains("--opentsdb_uri=http://***@host/x"), "{vars}");
    let config = page(http, "/debug/config").await.2;
    assert!(config.contains("cell: \"zone1\"  # command line\n"), "{config}");
    assert!(config.contains("pprof-http: \"true\"  # command line, no effect\n"), "{config}");
    for text in [config, vars.to_string(), metrics, server.process().log_tail()] {
        assert!(!text.contains("hidden"), "{text}");
    }
    let named = "have no effect: --opentsdb-uri, --pprof-http";
    assert_eq!(server.process().log_tail().matches(named).count(), 1, "{}", server.process().log_tail());
}

#[tokio::test]
async fn the_file_gives_way_to_the_environment_and_that_to_flags() {
    let folder = process::folder("config").unwrap();
    let file = folder.path().join("vtctld.yaml");
    fs::write(&file, "cell: from-file\nsecurity_policy: deny-all\nservice_map: [grpc-vtctl]\n").unwrap();
    let flags = [format!("--config-file={}", file.display()), "--service_map=grpc-vtctld".to_owned()];
    let server = Server::start(&flags).await.unwrap();
    server.client().await.unwrap().mount_list(MountListRequest {}).await.unwrap();
    let (status, _, text) = page(server.http_address(), "/debug/health").await;
    assert_eq!((status, text.as_str()), (403, "Access denied: not allowed: deny-all security_policy enforced\n"));
    assert_eq!(page(server.http_address(), "/readyz").await.0, 200);
}

#[tokio::test]
async fn files_are_kept_as_stock_keeps_them() {
    let folder = process::folder("files").unwrap();
    let pid = folder.path().join("pid");
    let flags = [
        "--logtostderr=false".to_owned(),
        format!("--log_dir={}", folder.path().display()),
        format!("--pid_file={}", pid.display()),
        "--onterm_timeout=60s".to_owned(),
    ];
    let server = Server::start(&flags).await.unwrap();
    assert_eq!(fs::read_to_string(&pid).unwrap().trim(), server.process().pid().unwrap().to_string());
    let info = fs::read_to_string(folder.path().join("vtmigrated.INFO")).unwrap();
    assert!(
        info.lines().any(|line| line.starts_with('I') && line.contains("] serving gRPC server.address=")),
        "{info}"
    );
    assert!(!server.process().log_tail().contains("serving gRPC"), "{}", server.process().log_tail());
    // a call under way: the server ends after the last page that is asked for here, not before
    let stream = TcpStream::connect(server.grpc_address()).await.unwrap();
    let (send, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let driver = tokio::spawn(connection);
    let (_response, _body) = send.ready().await.unwrap().send_request(mount_list(), false).unwrap();
    pings.ping(h2::Ping::opaque()).await.unwrap();
    let http = server.http_address();
    let (ended, not_ready) = tokio::join!(server.term(), async {
        let asked = until("not ready", async || match page(http, "/readyz").await.0 {
            503 => Ok(()),
            status => Err(status),
        });
        let asked = asked.await;
        driver.abort();
        asked
    });
    not_ready.unwrap();
    assert!(ended.unwrap().success());
    assert!(!pid.exists());
}

#[tokio::test]
async fn lines_in_json_are_objects() {
    let server = Server::start(&["--log-format=json"]).await.unwrap();
    let missing = server.client().await.unwrap().mount_show(MountShowRequest { name: "none".to_owned() }).await;
    assert!(missing.is_err());
    let log = server.process().log_tail();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed = lines.iter().find(|line| line["error.code"] == "NotFound").unwrap_or_else(|| panic!("{log}"));
    assert_eq!(failed["rpc.method"], "vtctlservice.Vtctld/MountShow");
}

#[test]
fn wrong_flags_end_the_start_and_questions_are_answered() {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().map(|folder| folder.join("vtmigrated")).find(|path| path.is_file()).unwrap();
    let run = |flag: &str| Command::new(&program).arg(flag).output().unwrap();
    let wrong = run("--grpc_prot=1");
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--grpc-port"), "{wrong:?}");
    let unprotected = run("--grpc_auth_mode=static");
    assert!(!unprotected.status.success());
    let version = run("--version");
    assert!(version.status.success());
    assert!(version.stdout.starts_with(b"vtctld version Version: 24.0.4"), "{version:?}");
}

/// Many cells: an answer that is worth compressing.
async fn fill(client: &mut VtctldClient<Channel>) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0..200 {
        let name = format!("cell-with-a-long-name-{number:03}");
        let cell_info = Some(CellInfo { server_address: "x".to_owned(), root: "/x".to_owned() });
        client.add_cell_info(AddCellInfoRequest { name: name.clone(), cell_info }).await.unwrap();
        names.push(name);
    }
    names
}

#[tokio::test]
async fn answers_are_compressed_as_their_requests_were() {
    let server = Server::start::<&str>(&[]).await.unwrap();
    let mut plain = server.client().await.unwrap();
    let expected = fill(&mut plain).await;
    let list = GetCellInfoNamesRequest {};
    for (encoding, name) in [(CompressionEncoding::Gzip, "gzip"), (CompressionEncoding::Zstd, "zstd")] {
        let client = server.client().await.unwrap().accept_compressed(encoding);
        let uncompressed = client.clone().get_cell_info_names(list).await.unwrap();
        assert!(uncompressed.metadata().get("grpc-encoding").is_none(), "{uncompressed:?}");
        let answer = client.send_compressed(encoding).get_cell_info_names(list).await.unwrap();
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), name);
        assert_eq!(answer.into_inner().names, expected, "{name}");
    }
    let channel = client::channel(&server.grpc_address().to_string()).await.unwrap();
    let mut snappy = VtctldClient::new(Snappy(channel));
    let answer = snappy.get_cell_info_names(list).await.unwrap();
    assert_eq!(answer.metadata().get("x-was").unwrap(), "snappy");
    assert_eq!(answer.into_inner().names, expected);
    let missing = snappy.mount_show(MountShowRequest { name: "none".to_owned() }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

/// A client as stock's with `--grpc_compression=snappy`.
#[derive(Clone)]
struct Snappy(Channel);

type Answer = Result<http::Response<Body>, tonic::transport::Error>;

impl Service<http::Request<Body>> for Snappy {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.headers_mut().insert(snappy::ENCODING, snappy::header());
        request.headers_mut().insert(snappy::ACCEPT, snappy::header());
        let answer = self.0.call(request.map(snappy::compress));
        Box::pin(async move {
            let mut answer = answer.await?;
            if let Some(encoding) = answer.headers_mut().remove(snappy::ENCODING) {
                answer.headers_mut().insert("x-was", encoding);
            }
            Ok(answer.map(|body| snappy::decompress(body, client::MESSAGE_LIMIT)))
        })
    }
}

/// The head of a call.
fn mount_list() -> http::Request<()> {
    let request = http::Request::post("http://test/vtctlservice.Vtctld/MountList");
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

#[tokio::test]
async fn a_client_may_ping_without_any_call() {
    let server = Server::start::<&str>(&[]).await.unwrap();
    let stream = TcpStream::connect(server.grpc_address()).await.unwrap();
    let (send, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let driver = tokio::spawn(connection);
    // grpc-go strikes after two pings without a call; stock's clients send one every ten seconds
    for _ in 0..200 {
        pings.ping(h2::Ping::opaque()).await.unwrap();
    }
    let mut send = send.ready().await.unwrap();
    let (response, mut body) = send.send_request(mount_list(), false).unwrap();
    body.send_data(vec![0; 5].into(), true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    while response.body_mut().data().await.is_some() {}
    let trailers = response.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    driver.abort();
}
