use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;

async fn pages(policy: Policy, kind: &str, root: &str) -> Pages {
    let context = Context::of(kind, "127.0.0.1:1", root).await;
    let setting = Setting { name: "port".into(), value: "1\n2: 3".into(), origin: "file", has_effect: true };
    let options = Options {
        policy,
        settings: vec![setting],
        command_line: vec!["vtctld".into()],
        cell: "<script>alert(1)</script>".into(),
    };
    Pages {
        context: Arc::new(context),
        options,
        started: Instant::now(),
        stopping: CancellationToken::new(),
        shadow: Arc::default(),
    }
}

async fn get_page(pages: &Pages, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(pages.clone()).oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

const ALL: &[&str] = &[
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
