//! What metrics say while a migration lives, by Prometheus and by OTLP.

use std::{net::SocketAddr, time::Duration};

use integration::{
    cluster::Cluster,
    collector::metrics::{Batch, Collector},
    life::{Life, MOUNT, WORKFLOW, migrate, until},
    process::Signal,
    server::Server,
};
use mysql_async::prelude::Queryable;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use vtmigrated_proto::vtctldata::{MountListRequest, VDiffCreateRequest};

use super::{promtool, scrape::Scrape};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(128), note TEXT);
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL, price DECIMAL(12, 2));
    SET SESSION cte_max_recursion_depth = 100000;
    INSERT INTO customer WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        SELECT i, CONCAT('user', i, '@example.com'), REPEAT('x', 300) FROM n;
    INSERT INTO corder WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        SELECT i, 1 + i % 3000, i / 100 FROM n;
    ANALYZE TABLE customer, corder;";
const SOURCE_VSCHEMA: &str = r#"{"tables": {"customer": {}, "corder": {}}}"#;
const TARGET_VSCHEMA: &str = r#"{
    "sharded": true,
    "vindexes": {"id_hash": {"type": "hash"}},
    "tables": {
        "customer": {"columnVindexes": [{"column": "id", "name": "id_hash"}]},
        "corder": {"columnVindexes": [{"column": "customer_id", "name": "id_hash"}]}
    }}"#;
/// A row that every copy has to insert: whoever holds it on the target holds the copy up.
const HELD_CUSTOMER: i64 = 2000;
const SHARDS: [&str; 2] = ["-80", "80-"];

/// `/metrics` of a server.
async fn page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

/// Name, labels and value of a series.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<f64>);

/// A server that watches closely and sends its metrics twice in a second, and whoever gets them.
struct Watcher {
    server: Server,
    collector: Collector,
}

impl Watcher {
    async fn start(life: &Life) -> Self {
        let collector = Collector::grpc().await.unwrap();
        let mut flags = life.target.topo_flags();
        flags.extend([
            "--watch-interval=500ms".to_owned(),
            "--otel-metrics".to_owned(),
            format!("--otel-endpoint={}", collector.address()),
            "--otel-insecure".to_owned(),
        ]);
        let environment = [("OTEL_METRIC_EXPORT_INTERVAL", "500"), ("OTEL_RESOURCE_ATTRIBUTES", "site=test")];
        Self { server: Server::start_with_environment(&flags, &environment).await.unwrap(), collector }
    }

    async fn scrape(&self) -> Scrape {
        Scrape::parse(&page(self.server.http_address()).await)
    }

    fn sent(&self) -> Batch {
        self.collector.newest().unwrap_or_default()
    }

    /// Waits until both ways say so. The expected series are named as Prometheus names them; `None`: there is none.
    async fn until(&self, what: &str, expected: &[Expected<'_>]) {
        until(what, async || {
            let (scrape, sent) = (self.scrape().await, self.sent());
            let mut wrong = Vec::new();
            for (name, labels, value) in expected {
                let pulled = scrape.value(name, labels);
                let pushed = sent.value(&otlp_name(name), labels);
                if pulled != *value || pushed != *value {
                    wrong.push(format!("{name}{labels:?} is {pulled:?} and {pushed:?} instead of {value:?}"));
                }
            }
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
        })
        .await
        .unwrap();
    }
}

/// The name that the meters have for one that Prometheus shows with its unit.
fn otlp_name(name: &str) -> String {
    name.strip_suffix("_seconds").or_else(|| name.strip_suffix("_bytes")).unwrap_or(name).replace('_', ".")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_measured_from_its_first_row_to_its_end() {
    let life = Life::start_with(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(SOURCE_VSCHEMA),
        Cluster::new("zone2").keyspace("customer", &SHARDS).vschema(TARGET_VSCHEMA).first_uid(200),
        &["--watch-interval=0"],
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let watcher = Watcher::start(&life).await;
    let mount: &[(&str, &str)] = &[("mount", MOUNT)];
    watcher.until("a mount that answers", &[("vtmigrated_mount_reachable", mount, Some(1.0))]).await;
    assert!(watcher.scrape().await.value("vtmigrated_mount_success_age_seconds", mount).unwrap() < 60.0);
    assert_eq!(watcher.scrape().await.labels("vtmigrated_workflow_stage"), None);

    let mut request = migrate("commerce", "customer");
    request.auto_start = false;
    life.create(request).await.unwrap();
    let held = hold_the_copy(&life).await;
    life.start_streams("customer").await.unwrap();
    watch_the_copy(&watcher).await;
    for mut conn in held {
        conn.query_drop("ROLLBACK").await.unwrap();
        conn.disconnect().await.unwrap();
    }
    life.until_running("customer").await.unwrap();
    watch_the_running(&life, &watcher).await;
    compare(&life, &watcher).await;

    life.source.etcd().kill().unwrap();
    watcher.until("a mount that does not answer", &[("vtmigrated_mount_reachable", mount, Some(0.0))]).await;
    life.source.etcd().restart().await.unwrap();
    watcher.until("a mount that answers again", &[("vtmigrated_mount_reachable", mount, Some(1.0))]).await;

    promtool::expect_good_metrics(&page(watcher.server.http_address()).await);
    let sent = watcher.sent();
    assert_eq!((sent.resource["service.name"].as_str(), sent.resource["site"].as_str()), ("vtmigrated", "test"));
    assert_eq!(
        (sent.units["vtmigrated.shard.lag"].as_str(), sent.units["rpc.client.call.duration"].as_str()),
        ("s", "s")
    );
    life.complete("customer").await.unwrap();
    gone(&watcher).await;
    drop(watcher);
    life.finish().await.unwrap();
}

/// Keeps the row that every copy has to insert.
async fn hold_the_copy(life: &Life) -> Vec<mysql_async::Conn> {
    let mut held = Vec::new();
    for shard in life.target.shards("customer") {
        let mut conn = shard.connect().await.unwrap();
        conn.query_drop(format!("BEGIN; INSERT INTO customer (id) VALUES ({HELD_CUSTOMER})")).await.unwrap();
        held.push(conn);
    }
    held
}

async fn watch_the_copy(watcher: &Watcher) {
    let workflow: &[(&str, &str)] = &[("keyspace", "customer"), ("workflow", WORKFLOW)];
    let stage = [("workflow", WORKFLOW), ("stage", "copying")];
    until("a copy on its way", async || {
        let scrape = watcher.scrape().await;
        let get = |name: &str| scrape.value(name, workflow).unwrap_or(-1.0);
        let (copied, expected) = (get("vtmigrated_workflow_rows_copied"), get("vtmigrated_workflow_rows_expected"));
        let (size, whole) =
            (get("vtmigrated_workflow_data_copied_bytes"), get("vtmigrated_workflow_data_expected_bytes"));
        let partly = copied > 0.0 && copied < expected && size > 0.0 && size < whole && expected > 4000.0;
        let copying = scrape.value("vtmigrated_workflow_stage", &stage) == Some(1.0);
        if partly && copying { Ok(()) } else { Err(format!("{copied} of {expected} rows, {size} of {whole} bytes")) }
    })
    .await
    .unwrap();
    watcher
        .until(
            "both shards copying",
            &[
                ("vtmigrated_workflow_stage", &stage, Some(1.0)),
                ("vtmigrated_shard_state", &[("shard", "-80"), ("state", "Copying")], Some(1.0)),
                ("vtmigrated_shard_state", &[("shard", "80-"), ("state", "Copying")], Some(1.0)),
                ("vtmigrated_workflow_tables", workflow, Some(2.0)),
                ("vtmigrated_workflow_ready", workflow, Some(0.0)),
                ("vtmigrated_mount_workflows", &[("mount", MOUNT)], Some(1.0)),
                ("vtmigrated_streams", &[("state", "Copying")], Some(2.0)),
            ],
        )
        .await;
}

async fn watch_the_running(life: &Life, watcher: &Watcher) {
    let workflow: &[(&str, &str)] = &[("keyspace", "customer"), ("workflow", WORKFLOW)];
    watcher
        .until(
            "everything copied",
            &[
                ("vtmigrated_workflow_stage", &[("workflow", WORKFLOW), ("stage", "running")], Some(1.0)),
                ("vtmigrated_workflow_stage", &[("workflow", WORKFLOW), ("stage", "copying")], None),
                ("vtmigrated_workflow_tables_copied", workflow, Some(2.0)),
                ("vtmigrated_workflow_ready", workflow, Some(1.0)),
                ("vtmigrated_shard_errors", &[("shard", "-80")], Some(0.0)),
                ("vtmigrated_shard_tables_left", &[("shard", "80-")], Some(0.0)),
                ("vtmigrated_vdiff_state", workflow, None),
            ],
        )
        .await;
    let scrape = watcher.scrape().await;
    let get = |name: &str| scrape.value(name, workflow);
    assert_eq!(get("vtmigrated_workflow_rows_copied"), get("vtmigrated_workflow_rows_expected"));
    assert_eq!(get("vtmigrated_workflow_data_copied_bytes"), get("vtmigrated_workflow_data_expected_bytes"));
    assert_eq!(get("vtmigrated_workflow_copy_time_left_seconds"), None);
    // a tablet tells the rows that it copied with its next position
    life.source.run("commerce", "UPDATE customer SET note = 'seen'").await.unwrap();
    until("lags and rows of the shards", async || {
        let scrape = watcher.scrape().await;
        let of = |name: &str, shard: &&str| scrape.value(name, &[("shard", *shard)]);
        let lags: Vec<_> = SHARDS.iter().map(|shard| of("vtmigrated_shard_lag_seconds", shard)).collect();
        let rows: f64 = SHARDS.iter().filter_map(|shard| of("vtmigrated_shard_rows_copied", shard)).sum();
        let near = lags.iter().all(|lag| lag.is_some_and(|lag| lag < 60.0));
        if near && (rows - 8000.0).abs() < f64::EPSILON { Ok(()) } else { Err(format!("{lags:?} {rows}")) }
    })
    .await
    .unwrap();
    for cluster in ["local", "mount"] {
        let calls = scrape.value("rpc_client_call_duration_seconds_count", &[("vitess_cluster", cluster)]);
        assert!(calls.is_some(), "no call to a tablet of {cluster}");
    }
}

/// One VDiff that finds nothing, one that finds a row.
async fn compare(life: &Life, watcher: &Watcher) {
    let workflow: &[(&str, &str)] = &[("keyspace", "customer"), ("workflow", WORKFLOW)];
    let diff = async |uuid: &str| {
        let request = VDiffCreateRequest {
            workflow: WORKFLOW.to_owned(),
            target_keyspace: "customer".to_owned(),
            uuid: uuid.to_owned(),
            limit: i64::MAX,
            max_report_sample_rows: 10,
            row_diff_column_truncate_at: 128,
            max_extra_rows_to_compare: 1000,
            auto_retry: true,
            tablet_types: vec![vtmigrated_proto::topodata::TabletType::Primary.into()],
            ..VDiffCreateRequest::default()
        };
        // the diff before it may be stopping the streams of a shard for a moment
        until("a VDiff that can begin", async || {
            life.client().v_diff_create(request.clone()).await.map(drop).map_err(|refused| refused.to_string())
        })
        .await
        .unwrap();
    };
    diff("00000000-0000-4000-8000-000000000001").await;
    watcher
        .until(
            "a VDiff without differences",
            &[
                ("vtmigrated_vdiff_state", &[("workflow", WORKFLOW), ("state", "completed")], Some(1.0)),
                ("vtmigrated_vdiff_mismatch", workflow, Some(0.0)),
                ("vtmigrated_vdiff_errors", workflow, Some(0.0)),
                ("vtmigrated_vdiff_rows_compared", workflow, Some(8000.0)),
                ("vtmigrated_workflow_stage", &[("workflow", WORKFLOW), ("stage", "diffed")], Some(1.0)),
            ],
        )
        .await;
    let mut conn = life.target.shard("customer", "-80").unwrap().connect().await.unwrap();
    conn.query_drop("UPDATE customer SET email = 'other' LIMIT 1").await.unwrap();
    diff("00000000-0000-4000-8000-000000000002").await;
    watcher
        .until(
            "a VDiff with a difference",
            &[
                ("vtmigrated_vdiff_mismatch", workflow, Some(1.0)),
                ("vtmigrated_vdiff_rows_differing", workflow, Some(1.0)),
                ("vtmigrated_workflow_ready", workflow, Some(0.0)),
            ],
        )
        .await;
    conn.query_drop("UPDATE customer SET email = CONCAT('user', id, '@example.com') WHERE email = 'other'")
        .await
        .unwrap();
    conn.disconnect().await.unwrap();
    diff("00000000-0000-4000-8000-000000000003").await;
    watcher.until("a VDiff without differences", &[("vtmigrated_workflow_ready", workflow, Some(1.0))]).await;
}

async fn gone(watcher: &Watcher) {
    let workflow: &[(&str, &str)] = &[("workflow", WORKFLOW)];
    let series = [
        "vtmigrated_workflow_stage",
        "vtmigrated_workflow_rows_copied",
        "vtmigrated_workflow_success_age_seconds",
        "vtmigrated_shard_lag_seconds",
        "vtmigrated_shard_state",
        "vtmigrated_vdiff_mismatch",
    ];
    watcher.until("no series of a migration that is over", &series.map(|name| (name, workflow, None))).await;
    watcher.until("its mount without it", &[("vtmigrated_mount_workflows", &[("mount", MOUNT)], Some(0.0))]).await;
}

#[tokio::test]
async fn the_last_metrics_are_sent_over_http_when_the_server_stops() {
    let collector = Collector::http().await.unwrap();
    let environment = [
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address())),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let server = Server::start_with_environment::<&str>(&[], &environment).await.unwrap();
    server.client().await.unwrap().mount_list(MountListRequest {}).await.unwrap();
    assert!(collector.newest().is_none());
    server.term().await.unwrap();
    let sent = collector.newest().unwrap();
    let labels = [("rpc.method", "vtctlservice.Vtctld/MountList"), ("rpc.response.status_code", "OK")];
    assert_eq!(sent.value("rpc.server.call.duration", &labels), Some(1.0));
}

#[tokio::test]
async fn a_collector_that_is_gone_or_silent_holds_nothing_up() {
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flags = ["--otel-metrics".to_owned(), format!("--otel-endpoint=http://{}", collector.local_addr().unwrap())];
    let environment = [("OTEL_METRIC_EXPORT_INTERVAL", "100"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let server = Server::start_with_environment(&flags, &environment).await.unwrap();
    let log = || server.process().log_tail();
    until("a word in the log", async || if log().contains("cannot send metrics") { Ok(()) } else { Err(log()) })
        .await
        .unwrap();
    server.client().await.unwrap().mount_list(MountListRequest {}).await.unwrap();
    assert!(page(server.http_address()).await.contains("rpc_server_call_duration_seconds_count"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(log().matches("cannot send metrics").count(), 1, "{}", log());
    server.process().signal(Signal::TERM).unwrap();
    until("its end", async || server.process().ended().map_err(|e| e.to_string())?.map(|_| ()).ok_or_else(log))
        .await
        .unwrap();
}
