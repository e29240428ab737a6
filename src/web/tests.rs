use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;

async fn pages(policy: Policy, kind: &str, root: &str) -> Pages {
    // nobody listens there
    pages_at(policy, kind, "127.0.0.1:1", root).await
}

async fn pages_at(policy: Policy, kind: &str, server: &str, root: &str) -> Pages {
    let context = Context::of(kind, server, root).await;
    let setting = Setting { name: "port".into(), value: "1\n2: 3".into(), origin: "file", has_effect: true };
    let options = Options {
        policy,
        open: false,
        settings: vec![setting],
        command_line: vec!["vtctld".into()],
        cell: "<script>alert(1)</script>".into(),
    };
    let seen = tokio::sync::watch::channel(Arc::new(crate::watch::Snapshot::default())).1;
    let views = Arc::new(Views::new(seen, "memory <i>test</i>".into()));
    let (context, stopping) = (Arc::new(context), CancellationToken::new());
    Pages { context, options, started: Instant::now(), stopping, shadow: Arc::default(), callers: None, views }
}

async fn get_page(pages: &Pages, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(pages.clone()).oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

const ALL: &[&str] = &[
    "/",
    "/app",
    "/app/style.css",
    "/app/live.js",
    "/app/icon.svg",
    "/api/mounts",
    "/api/migrations",
    "/debug/health",
    "/debug/status",
    "/debug/status.css",
    "/debug/vars",
    "/debug/config",
    "/debug/shadow",
    "/debug/liveness",
    "/metrics",
    "/healthz",
    "/readyz",
];

#[tokio::test]
async fn every_page_answers_with_headers_that_guard_it() {
    let pages = pages(Policy::AllowAll, "memory", "/<b>root</b>").await;
    for path in ALL.iter().chain(&["/nowhere"]) {
        let (status, headers, _) = get_page(&pages, path).await;
        assert_eq!(status == StatusCode::OK, *path != "/nowhere", "{path}");
        for name in ["content-security-policy", "x-content-type-options", "x-frame-options", "cache-control"] {
            assert!(headers.contains_key(name), "{path}: {name}");
        }
    }
    let (_, _, status) = get_page(&pages, "/debug/status").await;
    assert!(status.contains("&lt;script&gt;") && status.contains("/&lt;b&gt;root"), "{status}");
    assert!(!status.contains("<script>"), "{status}");
    let (_, _, config) = get_page(&pages, "/debug/config").await;
    assert_eq!(config, "port: \"1\\n2: 3\"  # file\n");
}

#[tokio::test]
async fn policies_hide_what_stocks_hide() {
    let open = ["/healthz", "/readyz", "/debug/liveness", "/debug/vars", "/metrics"];
    for (policy, hidden) in [(Policy::ReadOnly, false), (Policy::DenyAll, true)] {
        let pages = pages(policy, "memory", "/r").await;
        for path in ALL {
            let (status, _, text) = get_page(&pages, path).await;
            let expected = hidden && !open.contains(path);
            assert_eq!(status == StatusCode::FORBIDDEN, expected, "{policy:?} {path}");
            if expected {
                assert_eq!(text, "Access denied: not allowed: deny-all security_policy enforced\n");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_and_one_without_topology_is_not_healthy() {
    let stopping = pages(Policy::AllowAll, "memory", "/r").await;
    stopping.stopping.cancel();
    assert_eq!(get_page(&stopping, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get_page(&stopping, "/debug/health").await.0, StatusCode::OK);
    let cut_off = pages(Policy::AllowAll, "etcd2", "/r").await;
    for (path, expected) in [("/debug/health", 503), ("/readyz", 503), ("/healthz", 200), ("/debug/status", 200)] {
        let answer = tokio::time::timeout(Duration::from_secs(20), get_page(&cut_off, path)).await.unwrap();
        assert_eq!(answer.0.as_u16(), expected, "{path}");
    }
}

#[tokio::test]
async fn work_for_api_that_does_not_end_keeps_neither_pages_nor_probes() {
    // takes connections, and answers nothing
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let router = router(pages_at(Policy::AllowAll, "etcd2", &server, "/r").await);
    let ask = |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        tokio::spawn(router.clone().oneshot(request))
    };
    let working: Vec<_> = (0..8).map(|_| ask("/api/leftovers")).collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let busy = ["/api/leftovers", "/api/verdict/ks/wf", "/api/dry-run/cancel/ks/wf"].map(|path| (path, 503));
    let served = ["/healthz", "/debug/liveness", "/metrics", "/app", "/api/mounts"];
    for (path, expected) in busy.into_iter().chain(served.map(|path| (path, 200))) {
        assert_eq!(ask(path).await.unwrap().unwrap().status().as_u16(), expected, "{path}");
    }
    assert!(working.iter().all(|asked| !asked.is_finished()));
}

#[tokio::test]
async fn clients_that_are_slow_to_ask_are_hung_up_on_and_others_are_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    let pages = pages(Policy::AllowAll, "memory", "/").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, None, pages, ended.clone()));
    let mut slow = Vec::new();
    for start in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "].repeat(100) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let mut endless = TcpStream::connect(address).await.unwrap();
    let header = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}", "x".repeat(1 << 20));
    // the server may hang up in the middle of it
    endless.write_all(header.as_bytes()).await.ok();
    slow.push(endless);
    let mut good = TcpStream::connect(address).await.unwrap();
    good.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    good.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for mut stream in slow {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{rest:?}");
    }
    ended.cancel();
    serving.await.unwrap();
}

/// Addresses with names in them, as the routes have them.
const NAMED: &[&str] = &[
    "/app/{keyspace}/{workflow}",
    "/app/events/{keyspace}/{workflow}",
    "/api/migrations/{keyspace}/{workflow}",
    "/api/verdict/{keyspace}/{workflow}",
    "/api/preflight/mount/{name}",
    "/api/dry-run/complete/{keyspace}/{workflow}",
    "/api/dry-run/cancel/{keyspace}/{workflow}",
    "/api/leftovers?keyspace={keyspace}",
    "/api/preflight/create?all-tables=true&workflow={}&target-keyspace={}&source-keyspace={}&mount-name={}&cells={}",
    "/api/dry-run/create?tables={}&workflow=w&target-keyspace=victim&source-keyspace={}&mount-name={}&cells={}",
];

#[tokio::test]
async fn hostile_names_in_addresses_change_and_show_nothing() {
    use vtmigrated_proto::topodata::{ExternalVitessCluster, Keyspace, TopoConfig};

    const MARK: &str = "planted-mark";
    for route in
        [include_str!("api.rs"), include_str!("live.rs")].iter().flat_map(|file| file.split(".route(\"").skip(1))
    {
        let route = route.split('"').next().unwrap();
        assert!(!route.contains('{') || NAMED.contains(&route), "{route} is not tried");
    }
    let pages = pages(Policy::AllowAll, "memory", "/vitess/global").await;
    let whole = pages.context.topo.dialer().open("memory", "127.0.0.1:1", "/").await.unwrap();
    let keyspace = Keyspace { base_keyspace: MARK.into(), ..Keyspace::default() };
    let config = TopoConfig { topo_type: MARK.into(), server: MARK.into(), root: MARK.into() };
    let mount = ExternalVitessCluster { topo_config: Some(config) };
    for root in ["vitess/global", "other/global"] {
        whole
            .create(&format!("{root}/keyspaces/victim/Keyspace"), prost::Message::encode_to_vec(&keyspace))
            .await
            .unwrap();
    }
    whole.create("other/global/ExternalClusters/vitess/victim", prost::Message::encode_to_vec(&mount)).await.unwrap();
    let before = whole.list("").await.unwrap();
    let hostile = [
        "../../../../other/global/ExternalClusters/vitess/victim",
        "../../../../other/global/keyspaces/victim",
        "../victim",
        "./victim",
        "victim/Keyspace",
        "..",
        ".",
        "/",
        "victim/",
    ];
    for address in NAMED {
        for name in hostile {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let parts: Vec<&str> = address.split(['{', '}']).collect();
            let path: String =
                parts.iter().enumerate().map(|(at, part)| if at % 2 == 0 { *part } else { &encoded }).collect();
            let (status, _, text) = get_page(&pages, &path).await;
            assert!(!text.contains(MARK), "{address} {name}: {status} {text}");
            assert_eq!(whole.list("").await.unwrap(), before, "{address} {name}");
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_name_becomes_markup(name in "[<>&\"'/=a-z \\n\u{0}\u{e9}-]{0,40}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (page, config, refused) = runtime.block_on(async {
            let mut pages = pages(Policy::AllowAll, "memory", &name).await;
            pages.options.cell.clone_from(&name);
            pages.options.settings[0].value.clone_from(&name);
            let path: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let (_, headers, refused) = get_page(&pages, &format!("/api/verdict/{path}/{path}")).await;
            let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
            let page = get_page(&pages, "/debug/status").await.2;
            (page, get_page(&pages, "/debug/config").await.2, (kind, refused))
        });
        let empty = runtime.block_on(async {
            let mut pages = pages(Policy::AllowAll, "memory", "").await;
            pages.options.cell.clear();
            get_page(&pages, "/debug/status").await.2
        });
        // names add no tag, and none ends the attribute or the cell that it stands in
        for mark in ["<", ">", "\""] {
            proptest::prop_assert_eq!(page.matches(mark).count(), empty.matches(mark).count(), "{}", page);
        }
        proptest::prop_assert_eq!(config.lines().count(), 1, "{}", config);
        // what is not JSON is text to every browser
        let (kind, refused) = refused;
        let json = serde_json::from_str::<serde_json::Value>(&refused).is_ok();
        let kind = kind.unwrap_or_default();
        proptest::prop_assert!(if json { kind == "application/json" } else { !kind.contains("html") }, "{} {}", kind, refused);
    }
}
