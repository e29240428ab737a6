//! The HTTP port has the callers and roles of the gRPC port.

use std::sync::Arc;

use base64::Engine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vtmigrated::tls::Files;

use super::Server;
use super::callers::guarded;
use crate::support::pki::{Pki, flag};

/// Pages that are for those who may read.
const GUARDED: &[&str] = &[
    "/",
    "/app",
    "/app/x/y",
    "/app/events",
    "/debug/status",
    "/debug/config",
    "/debug/shadow",
    "/api/mounts",
    "/api/migrations",
    "/api/leftovers",
    "/api/verdict/x/y",
    "/api/preflight/mount/x",
    "/api/dry-run/complete/x/y",
];
/// Pages that tell supervisors how the program is.
const OPEN: &[&str] = &["/healthz", "/readyz", "/debug/liveness", "/debug/health", "/debug/vars", "/metrics"];

/// Asks for a page; answers its status and what came with it, at most the first part of what has no end.
async fn ask(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str, user: Option<&str>) -> (u16, String) {
    let basic = |user| base64::engine::general_purpose::STANDARD.encode(format!("{user}:secret"));
    let signed = user.map(|user| format!("Authorization: Basic {}\r\n", basic(user))).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{signed}\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4000];
    let mut have = 0;
    while have < answer.len() && !answer[..have].starts_with(b"HTTP/1.1 200") {
        match io.read(&mut answer[have..]).await {
            Ok(0) | Err(_) => break,
            Ok(read) => have += read,
        }
    }
    let text = String::from_utf8_lossy(&answer[..have]).into_owned();
    (text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(), text)
}

async fn plain(server: &Server, path: &str, user: Option<&str>) -> (u16, String) {
    ask(TcpStream::connect(("127.0.0.1", server.http)).await.unwrap(), path, user).await
}

/// The same over TLS, showing a certificate.
async fn over_tls(server: &Server, pki: &Pki, shown: &str, path: &str, user: Option<&str>) -> (u16, String) {
    let identity = Some((pki.path(&format!("{shown}.pem")), pki.path(&format!("{shown}.key"))));
    let files = Files { ca: Some(pki.path("ca.pem")), identity, server_name: None };
    let config = ClientConfig::clone(&files.load().unwrap().config());
    let stream = TcpStream::connect(("127.0.0.1", server.http)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    ask(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap(), path, user).await
}

fn users(dir: &tempfile::TempDir) -> Vec<String> {
    let users = r#"[{"Username":"rob","Password":"secret"},{"Username":"eve","Password":"secret"}]"#;
    guarded(dir, users, r#"{"callers":{"rob":"read"}}"#)
}

#[tokio::test]
async fn pages_ask_for_the_password_and_the_role_that_calls_ask_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&users(&dir)).await;
    for path in GUARDED {
        let (status, text) = plain(&server, path, None).await;
        assert_eq!(status, 401, "{path}");
        assert!(text.to_lowercase().contains("www-authenticate: basic"), "{text}");
        assert!(text.contains("Access denied: username and password must be provided"), "{text}");
        let (status, text) = plain(&server, path, Some("eve")).await;
        assert_eq!(status, 403, "{path}");
        assert!(text.contains("caller \"eve\" has the role none, and a page needs read"), "{text}");
        assert_eq!(plain(&server, path, Some("nobody")).await.0, 401, "{path}");
        assert!(!matches!(plain(&server, path, Some("rob")).await.0, 0 | 401 | 403), "{path}");
    }
    for path in OPEN {
        assert_eq!(plain(&server, path, None).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn pages_are_open_when_calls_are_and_when_a_flag_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start(&[]).await;
    let told = Server::start(&[users(&dir), vec!["--http-callers=anybody".into()]].concat()).await;
    for server in [&open, &told] {
        for path in GUARDED.iter().chain(OPEN) {
            assert!(!matches!(plain(server, path, None).await.0, 0 | 401 | 403), "{path}");
        }
    }
}

#[tokio::test]
async fn certificates_open_pages_over_tls() {
    let pki = Pki::new();
    for (name, serial) in [("server", 1), ("ops", 2), ("guest", 3)] {
        pki.issue(name, serial);
    }
    let mut flags = vec![flag("grpc_ca", pki.path("ca.pem")), "--grpc_auth_mode=mtls".into()];
    flags.push("--grpc_auth_mtls_allowed_substrings=CN=ops".into());
    let server = Server::start(&[pki.flags(), flags].concat()).await;
    for path in ["/app", "/debug/status", "/api/mounts"] {
        assert_eq!(over_tls(&server, &pki, "ops", path, None).await.0, 200, "{path}");
        assert_eq!(over_tls(&server, &pki, "guest", path, None).await.0, 403, "{path}");
        let (status, text) = plain(&server, path, None).await;
        assert_eq!(status, 403, "{path}");
        assert!(text.contains("Access denied: not connected via TLS"), "{text}");
    }
    assert_eq!(plain(&server, "/readyz", None).await.0, 200);
}

#[tokio::test]
async fn pages_ask_for_the_certificate_that_every_call_must_show() {
    let pki = Pki::new();
    for (name, serial) in [("server", 1), ("anyone", 2)] {
        pki.issue(name, serial);
    }
    let dir = tempfile::tempdir().unwrap();
    let certified = [pki.flags(), vec![flag("grpc_ca", pki.path("ca.pem"))]].concat();
    let open = Server::start(&certified).await;
    let signed = Server::start(&[certified.clone(), users(&dir)].concat()).await;
    for (server, user) in [(&open, None), (&signed, Some("rob"))] {
        for path in ["/app", "/debug/status", "/api/mounts"] {
            let (status, text) = plain(server, path, user).await;
            assert_eq!(status, 403, "{path}");
            assert!(text.contains("Access denied: not connected via TLS"), "{text}");
            assert_eq!(over_tls(server, &pki, "anyone", path, user).await.0, 200, "{path}");
        }
        assert_eq!(plain(server, "/readyz", None).await.0, 200);
    }
    assert_eq!(over_tls(&signed, &pki, "anyone", "/app", None).await.0, 401);
    // calls are open to clients without TLS, and so are pages
    let optional = Server::start(&[certified, vec!["--grpc_enable_optional_tls".into()]].concat()).await;
    assert_eq!(plain(&optional, "/app", None).await.0, 200);
}

#[tokio::test]
async fn probes_are_answered_when_connections_are_used_up() {
    // both ends of each are files of this process
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let server = Server::start(&[]).await;
    let mut held = Vec::new();
    for _ in 0..1024 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.http)).await.unwrap();
        stream.write_all(b"GET /app HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        held.push(stream);
    }
    for _ in 0..3 {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(plain(&server, path, None).await.0, 200, "{path}");
        }
        assert_eq!(plain(&server, "/app", None).await.0, 503);
    }
}
