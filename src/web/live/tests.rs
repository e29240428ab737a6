use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tokio::sync::watch::{Sender, channel};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::context::Context;
use crate::error::{Reason, check};
use crate::watch::{
    BackStage, Copy, Migration, Mount, Point, Problem, Snapshot, Stage, Stream, Table, TableStage, VDiff, WayBack,
};
use crate::web::{Options, Policy};
use crate::workflow::findings::Finding;

/// Most bytes of a page, and of what is pushed at once.
const MOST: usize = 512 << 10;

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>`${7*7}`\u{202e}</svg>--><style>";

/// A migration that has everything, with as many tables and shards as wanted.
fn migration(name: &str, tables: usize, shards: usize) -> Migration {
    let table = |at: usize| Table {
        name: format!("{name}_table_{at:04}"),
        stage: [TableStage::Copying, TableStage::Pending, TableStage::Done][at % 3],
        rows_copied: 500_000,
        rows_total: 1_000_000,
        bytes_copied: 1 << 30,
        bytes_total: 1 << 31,
        percent: 50.0,
        rows_per_second: Some(1234.5),
        seconds_left: Some(405),
    };
    let problem =
        || Problem { reason: Reason::ERROR, cause: format!("{name} broke"), fix: format!("Workflow {name} start") };
    let stream = |at: usize| Stream {
        id: 1,
        source_shard: format!("{name}{:02x}-", at % 16),
        shard: format!("{name}{:02x}-", at),
        tablet: format!("{name}-0000000100"),
        state: if at.is_multiple_of(5) { "Error".into() } else { "Running".into() },
        lag: Some(3),
        message: name.into(),
        position: format!("{name}:1-5"),
        rows_copied: 77,
        tables_left: at % 2,
        problem: (at.is_multiple_of(5)).then(problem),
        history: (0..120).map(|at| Point { at: at * 10, lag: at % 7 }).collect(),
    };
    let vdiff = VDiff {
        uuid: name.into(),
        state: "started".into(),
        rows_compared: 5,
        rows: 10,
        has_mismatch: true,
        mismatches: vec![name.into()],
        errors: [(name.to_owned(), name.to_owned())].into(),
        shards: (0..shards).map(|at| (format!("{name}{at:02x}"), name.to_owned())).collect(),
        ..VDiff::default()
    };
    Migration {
        keyspace: name.into(),
        workflow: name.into(),
        mount: name.into(),
        source_keyspace: name.into(),
        stage: Stage::Copying,
        last_success: Some(1_800_000_000),
        stale: Some(problem()),
        traffic: name.into(),
        verdict: name.into(),
        findings: vec![Finding::new(&check::COLUMN_LOST, name, name, format!("do: Migrate {name}"))],
        max_lag: Some(3),
        copy: Copy { rows_copied: 5, rows_total: 10, percent: 50.0, tables, ..Copy::default() },
        tables: (0..tables).map(table).collect(),
        streams: (0..shards).map(stream).collect(),
        vdiff: Some(vdiff),
        ..Migration::default()
    }
}

/// Its way back, which has everything, too.
fn way_back(migration: &Migration) -> WayBack {
    WayBack {
        keyspace: migration.keyspace.clone(),
        workflow: migration.workflow.clone(),
        mount: migration.mount.clone(),
        source_keyspace: migration.source_keyspace.clone(),
        stage: BackStage::Running,
        prepared_at: Some(1_799_000_000),
        opened_at: Some(1_799_100_000),
        last_success: Some(1_800_000_000),
        stale: migration.stale.clone(),
        verdict: format!("NO-GO ({}, 1 reason)", migration.workflow),
        findings: migration.findings.clone(),
        max_lag: Some(5),
        streams: migration.streams.clone(),
        ..WayBack::default()
    }
}

/// These migrations; those that are over have a way back.
fn snapshot(sequence: u64, migrations: Vec<Migration>) -> Arc<Snapshot> {
    let mut ways_back: Vec<WayBack> = migrations.iter().filter(|known| known.stage.is_over()).map(way_back).collect();
    ways_back.sort_by_key(|known| (known.keyspace.clone(), known.workflow.clone()));
    let mounts = migrations.iter().map(|migration| Mount {
        name: migration.mount.clone(),
        server: migration.mount.clone(),
        root: migration.mount.clone(),
        cells: vec![migration.mount.clone()],
        used_by: vec![format!("{}.{}", migration.keyspace, migration.workflow)],
        problem: Some(Problem { reason: Reason::ERROR, cause: migration.mount.clone(), fix: migration.mount.clone() }),
        ..Mount::default()
    });
    Arc::new(Snapshot {
        sequence,
        taken_at: 1_800_000_000,
        interval: 10,
        problem: None,
        mounts: mounts.collect(),
        keyspaces: Vec::new(),
        migrations: migrations.into_iter().map(Arc::new).collect(),
        ways_back: ways_back.into_iter().map(Arc::new).collect(),
    })
}

async fn pages(first: Arc<Snapshot>, policy: Policy) -> (Arc<Pages>, Sender<Arc<Snapshot>>) {
    let (sender, seen) = channel(first);
    let pages = Pages {
        context: Arc::new(Context::of("memory", "test", "/r").await),
        options: Options { policy, ..Options::default() },
        started: Instant::now(),
        stopping: CancellationToken::new(),
        shadow: Arc::default(),
        callers: None,
        views: Arc::new(Views::new(seen, HOSTILE.into())),
    };
    (Arc::new(pages), sender)
}

async fn get_page(pages: &Arc<Pages>, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = crate::web::router(Pages::clone(pages)).oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn hostile_names_stay_text() {
    for stage in [Stage::Copying, Stage::Completed] {
        hostile_names_stay_text_in(Migration { stage, ..migration(HOSTILE, 3, 6) }).await;
    }
}

async fn hostile_names_stay_text_in(migration: Migration) {
    let (pages, _sender) = pages(snapshot(1, vec![migration]), Policy::AllowAll).await;
    let page = text::address(HOSTILE, HOSTILE);
    for path in ["/", page.as_str(), "/app/%3Cscript%3E/%22"] {
        let (status, headers, html) = get_page(&pages, path).await;
        assert_eq!(status == StatusCode::OK, !path.ends_with("%22"), "{path}");
        assert_eq!(headers["content-security-policy"], POLICY);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        for bad in ["<img", "<style", "alert(1)</", "\"'>", " style=\"", " onerror=\"", "javascript:"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
    }
    let (_, _, html) = get_page(&pages, &page).await;
    assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
    let (status, _, json) = get_page(&pages, &page.replace("/app/", "/api/migrations/")).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, json["workflow"].as_str()), (StatusCode::OK, Some(HOSTILE)));
    // events are single lines of JSON
    let (_, rendered) = pages.views.get(&View::Overview { page: 1 });
    for part in &rendered.parts {
        assert_eq!(part.event.iter().filter(|byte| **byte == b'\n').count(), 4);
    }
}

#[tokio::test]
async fn a_thousand_tables_on_64_shards_are_a_small_page() {
    let (pages, _sender) = pages(snapshot(1, vec![migration("import", 1000, 64)]), Policy::AllowAll).await;
    for path in ["/", "/app/import/import", "/app/import/import?page=20"] {
        let (status, _, html) = get_page(&pages, path).await;
        assert!(status == StatusCode::OK && html.len() < MOST, "{path}: {} bytes", html.len());
    }
    let mut found = std::collections::BTreeSet::new();
    for page in 1..=20 {
        let (_, _, html) = get_page(&pages, &format!("/app/import/import?page={page}")).await;
        let names = html.split("import_table_").skip(1).map(|rest| rest.chars().take(4).collect::<String>());
        found.extend(names);
    }
    assert_eq!(found.len(), 1000);
    let (_, rendered) =
        pages.views.get(&View::Migration { keyspace: "import".into(), workflow: "import".into(), page: 3 });
    assert!(rendered.parts.iter().map(|part| part.event.len()).sum::<usize>() < MOST);
    let many = (0..500).map(|at| migration(&format!("w{at}"), 2, 2)).collect();
    let (pages, _sender) = self::pages(snapshot(1, many), Policy::AllowAll).await;
    let (_, _, html) = get_page(&pages, "/?page=17").await;
    assert!(html.len() < MOST && html.contains("Page 17 of 17"), "{} bytes", html.len());
    let over = Migration { stage: Stage::Completed, ..migration("import", 1000, 64) };
    let (pages, _sender) = self::pages(snapshot(1, vec![over]), Policy::AllowAll).await;
    let (_, _, html) = get_page(&pages, "/app/import/import").await;
    assert!(html.len() < MOST && html.contains("The way back"), "{} bytes", html.len());
}

#[tokio::test]
async fn a_snapshot_is_rendered_once_for_all_who_look() {
    let (pages, sender) = pages(snapshot(1, vec![migration("a", 2, 2)]), Policy::AllowAll).await;
    let view = View::Migration { keyspace: "a".into(), workflow: "a".into(), page: 1 };
    let (_, first) = pages.views.get(&view);
    // pages that there are not are the nearest ones
    let (_, again) = pages.views.get(&View::Migration { keyspace: "a".into(), workflow: "a".into(), page: 99 });
    assert!(Arc::ptr_eq(&first, &again));
    let mut changed = migration("a", 2, 2);
    changed.tables[0].percent = 75.0;
    sender.send_replace(snapshot(2, vec![changed]));
    let (_, next) = pages.views.get(&view);
    let same = first.parts.iter().zip(&next.parts).filter(|(a, b)| a.hash == b.hash).count();
    assert_eq!(same, first.parts.len() - 1);
    assert_eq!(
        pages.views.get(&View::Migration { keyspace: "b".into(), workflow: "a".into(), page: 1 }).0,
        StatusCode::NOT_FOUND
    );
}

/// The next events of a listener, as many as come without a pause.
async fn news(events: &mut axum::body::BodyDataStream) -> String {
    let mut text = String::new();
    while let Ok(Some(some)) = tokio::time::timeout(Duration::from_millis(300), events.next()).await {
        text.push_str(std::str::from_utf8(&some.unwrap()).unwrap());
    }
    text
}

#[tokio::test]
async fn listeners_get_what_changed_until_the_end() {
    let (pages, sender) = pages(snapshot(1, vec![migration("a", 2, 2)]), Policy::AllowAll).await;
    let request = Request::get("/app/events/a/a?page=1").body(Body::empty()).unwrap();
    let response = crate::web::router(Pages::clone(&pages)).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = news(&mut events).await;
    assert_eq!(first.matches("event: part\n").count(), 8, "{first}");
    assert!(first.starts_with("retry: 2000\n\n") && first.ends_with("\n\n"), "{first}");
    let mut changed = migration("a", 2, 2);
    changed.tables[0].percent = 75.0;
    sender.send_replace(snapshot(2, vec![changed]));
    let second = news(&mut events).await;
    assert_eq!((second.matches("event: part\n").count(), second.matches("event: tick\n").count()), (1, 1), "{second}");
    assert!(second.contains("\"id\":\"tables\""), "{second}");
    sender.send_replace(snapshot(3, Vec::new()));
    assert!(news(&mut events).await.starts_with("event: gone\n"));
    let request = Request::get("/api/events").body(Body::empty()).unwrap();
    let response = crate::web::router(Pages::clone(&pages)).oneshot(request).await.unwrap();
    let mut summaries = response.into_body().into_data_stream();
    assert!(news(&mut summaries).await.contains("event: snapshot\ndata: {"));
    // the end of the program is the end of the events
    pages.stopping.cancel();
    assert!(
        tokio::time::timeout(Duration::from_secs(5), async { while events.next().await.is_some() {} }).await.is_ok()
    );
    // and there is room for so many only
    let all = u32::try_from(views::LISTENERS).unwrap();
    let _places = Arc::clone(&pages.views.places).acquire_many_owned(all).await.unwrap();
    assert_eq!(get_page(&pages, "/api/events").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn policies_hide_the_page_and_its_data() {
    let all = [
        "/",
        "/app/a/a",
        "/app/live.js",
        "/app/events",
        "/api/mounts",
        "/api/migrations",
        "/api/migrations/a/a",
        "/api/events",
    ];
    let (pages, _sender) = pages(snapshot(1, vec![migration("a", 2, 2)]), Policy::DenyAll).await;
    for path in all {
        let (status, _, text) = get_page(&pages, path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(text, "Access denied: not allowed: deny-all security_policy enforced\n");
    }
    let (pages, _sender) = self::pages(snapshot(1, vec![migration("a", 2, 2)]), Policy::ReadOnly).await;
    for path in ["/", "/app/a/a", "/api/mounts", "/api/migrations", "/api/migrations/a/a"] {
        assert_eq!(get_page(&pages, path).await.0, StatusCode::OK, "{path}");
    }
    let posted = Request::post("/").body(Body::empty()).unwrap();
    let posted = crate::web::router(Pages::clone(&pages)).oneshot(posted).await.unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_end_of_a_migration_and_a_server_that_does_not_watch_are_told() {
    let mut over = migration("a", 2, 2);
    (over.stage, over.ended_at) = (Stage::Completed, Some(1_800_000_000));
    let (pages, sender) = pages(snapshot(1, vec![over]), Policy::AllowAll).await;
    let (_, _, html) = get_page(&pages, "/app/a/a").await;
    assert!(html.contains("class=\"badge") && html.contains(">completed<"), "{html}");
    assert_eq!(html.matches("class=\"timeline\"").count(), 2, "its way back has a line of its own");
    assert!(html.contains("Stages of the way back") && html.contains("way-back status"), "{html}");
    let (_, _, json) = get_page(&pages, "/api/migrations/a/a").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["stage"], &json["way_back"]["stage"]), (&"completed".into(), &"running".into()), "{json}");
    let (_, _, json) = get_page(&pages, "/api/migrations").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["migrations"][0]["way_back"]["max_lag"], 5, "{json}");
    sender.send_replace(Arc::new(Snapshot::default()));
    let (_, _, html) = get_page(&pages, "/").await;
    assert!(html.contains("--watch-interval"), "{html}");
    let (status, _, json) = get_page(&pages, "/api/migrations/a/a").await;
    assert!(status == StatusCode::NOT_FOUND && json.contains("WORKFLOW_UNKNOWN"), "{json}");
}
