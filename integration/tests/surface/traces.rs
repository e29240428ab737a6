//! Traces of a whole migration, as a collector gets them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use integration::{
    cluster::Cluster,
    collector::{Collector, Span, tree},
    life::{Life, MOUNT, WORKFLOW, migrate, until},
    process::Signal,
    server::Server,
};
use tokio::net::TcpListener;
use tonic::Request;
use vtmigrated_proto::{
    tabletmanagerdata::TabletSelectionPreference,
    topodata::TabletType,
    vtctldata::{
        MountListRequest, MountShowRequest, MoveTablesCompleteRequest, VDiffCreateRequest, VDiffShowRequest,
        WorkflowDeleteRequest, WorkflowStatusRequest,
    },
};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, email VARCHAR(128));
    CREATE TABLE corder (order_id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL);
    INSERT INTO customer VALUES (1, 'planted-literal'), (2, 'b'), (3, 'c'), (4, 'd');
    INSERT INTO corder VALUES (1, 1), (2, 2), (3, 3), (4, 4);";
const SOURCE_VSCHEMA: &str = r#"{"tables": {"customer": {}, "corder": {}}}"#;
const TARGET_VSCHEMA: &str = r#"{
    "sharded": true,
    "vindexes": {"id_hash": {"type": "hash"}},
    "tables": {
        "customer": {"columnVindexes": [{"column": "id", "name": "id_hash"}]},
        "corder": {"columnVindexes": [{"column": "customer_id", "name": "id_hash"}]}
    }}"#;
/// Of the caller of every call.
const CALLER: &str = "b7ad6b7169203331";

/// Calls with a trace of their own each, by name.
#[derive(Default)]
struct Calls(BTreeMap<&'static str, String>);

impl Calls {
    /// The same name again replaces the trace before.
    fn request<T>(&mut self, name: &'static str, message: T) -> Request<T> {
        let trace = format!("{:032x}", 0x1000 + self.0.len());
        let mut request = traced(message, &trace, true);
        request.metadata_mut().insert("tracestate", "vendor=opaque".parse().unwrap());
        self.0.insert(name, trace);
        request
    }
}

fn traced<T>(message: T, trace: &str, sampled: bool) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{trace}-{CALLER}-0{}", u8::from(sampled));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_migration_is_one_trace_through_both_clusters() {
    let collector = Collector::grpc().await.unwrap();
    let life = Life::start_unmounted(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(SOURCE_VSCHEMA).replicas(1),
        Cluster::new("zone2").keyspace("customer", &["-80", "80-"]).vschema(TARGET_VSCHEMA).first_uid(200),
        &collector.flags(),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let calls = migration(&life).await;
    assert!(life.server.term().await.unwrap().success());
    let spans = collector.spans();
    print(&spans, &calls);
    for (name, trace) in &calls.0 {
        one_tree(&spans, name, trace);
    }
    both_clusters(&spans, &calls);
    steps(&spans, &calls);
    seen_by_tablets(&life, &spans).await;
    nothing_private(&spans);
    life.finish().await.unwrap();
}

/// Register, create, cancel, create, status, VDiff, complete.
async fn migration(life: &Life) -> Calls {
    let mut calls = Calls::default();
    let mut client = life.client();
    client.mount_register(calls.request("register", life.mount(MOUNT))).await.unwrap();
    client.migrate_create(calls.request("create", migrate("commerce", "customer"))).await.unwrap();
    let (keyspace, workflow) = (|| "customer".to_owned(), || WORKFLOW.to_owned());
    let delete =
        WorkflowDeleteRequest { keyspace: keyspace(), workflow: workflow(), ..WorkflowDeleteRequest::default() };
    client.workflow_delete(calls.request("cancel", delete)).await.unwrap();
    client.migrate_create(migrate("commerce", "customer")).await.unwrap();
    life.until_running("customer").await.unwrap();
    let status =
        WorkflowStatusRequest { keyspace: keyspace(), workflow: workflow(), ..WorkflowStatusRequest::default() };
    client.workflow_status(calls.request("status", status)).await.unwrap();
    let diff = VDiffCreateRequest {
        workflow: workflow(),
        target_keyspace: keyspace(),
        tablet_types: [TabletType::Replica, TabletType::Primary].map(Into::into).to_vec(),
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        limit: i64::MAX,
        max_extra_rows_to_compare: 1000,
        max_report_sample_rows: 10,
        ..VDiffCreateRequest::default()
    };
    let uuid = client.v_diff_create(calls.request("vdiff create", diff)).await.unwrap().into_inner().uuid;
    let show = VDiffShowRequest { workflow: workflow(), target_keyspace: keyspace(), arg: uuid };
    until("a diff that ended", async || {
        let shown = life.client().v_diff_show(show.clone()).await.map_err(|e| e.to_string())?.into_inner();
        let outputs = shown.tablet_responses.iter().filter_map(|entry| entry.value.as_ref()?.output.as_ref());
        // the state is the first column
        let states: Vec<_> = outputs.filter_map(|output| output.rows.first()?.values.get(..9)).collect();
        if states == [b"completed"; 2] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await
    .unwrap();
    client.v_diff_show(calls.request("vdiff show", show.clone())).await.unwrap();
    let complete = MoveTablesCompleteRequest {
        workflow: workflow(),
        target_keyspace: keyspace(),
        ..MoveTablesCompleteRequest::default()
    };
    client.move_tables_complete(calls.request("complete", complete)).await.unwrap();
    calls
}

/// Writes the trees beside the other output of tests.
fn print(spans: &[Span], calls: &Calls) {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    let mut calls: Vec<_> = calls.0.iter().collect();
    calls.sort_by_key(|(_, trace)| (*trace).clone());
    let text: String = calls.iter().map(|(name, trace)| format!("{name}: {}\n", tree(spans, trace))).collect();
    let path = folder.join("span-tree.txt");
    fs::write(&path, text).unwrap();
    println!("the span tree is in {}", path.display());
}

fn of<'a>(spans: &'a [Span], trace: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.trace == trace).collect()
}

/// One server span below the caller's, and everything else below that.
fn one_tree(spans: &[Span], name: &str, trace: &str) {
    let spans = of(spans, trace);
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == "server").collect();
    let [server] = servers.as_slice() else { panic!("{name}: {servers:?}") };
    assert_eq!((server.parent.as_str(), server.state.as_str()), (CALLER, "vendor=opaque"), "{name}");
    assert_eq!(server.get("rpc.system.name"), "grpc", "{name}");
    assert_eq!(server.get("rpc.method"), server.name, "{name}");
    assert_eq!(server.get("rpc.response.status_code"), "OK", "{name}");
    assert_eq!(server.get("client.address"), "127.0.0.1", "{name}");
    assert_eq!(server.resource["service.name"], "vtmigrated");
    if name != "register" {
        assert_eq!((server.get("vitess.keyspace"), server.get("vitess.workflow")), ("customer", WORKFLOW), "{name}");
    }
    for span in spans.iter().filter(|span| span.kind != "server") {
        assert_eq!((span.parent.as_str(), span.kind), (server.id.as_str(), "client"), "{name}: {span:?}");
        assert!(span.start >= server.start && span.end <= server.end, "{name}: {span:?}");
        // tablets before 23 do not know these calls
        let is_error = span.get("rpc.response.status_code") == "UNIMPLEMENTED";
        let unknown = ["/ValidateVReplicationPermissions", "/GetMaxValueForSequences"];
        let is_unknown = unknown.iter().any(|name| span.name.ends_with(name));
        assert_eq!((span.is_error, is_unknown), (is_error, is_error), "{span:?}");
        if span.name.starts_with("topo ") {
            assert!(span.get("vitess.topo.path").starts_with('/'), "{name}: {span:?}");
        } else {
            assert_eq!(span.get("rpc.method"), span.name, "{name}: {span:?}");
            let about = ["vitess.keyspace", "vitess.shard", "vitess.tablet.alias", "server.address", "server.port"];
            assert!(about.iter().all(|attribute| !span.get(attribute).is_empty()), "{name}: {span:?}");
        }
    }
}

/// What each call reaches: the topologies by their cells, the tablets by theirs.
fn both_clusters(spans: &[Span], calls: &Calls) {
    let reached = |call: &str| -> BTreeSet<&str> {
        let cell = |span: &&Span| span.get("vitess.tablet.alias").split('-').next().map(str::to_owned);
        let spans = of(spans, &calls.0[call]);
        let tablets = spans.iter().filter_map(cell).filter(|cell| !cell.is_empty());
        let tablets: BTreeSet<String> = tablets.collect();
        let topologies = spans.iter().map(|span| span.get("vitess.topo.cell"));
        let known = ["global", "zone2", "mount/global", "mount/zone1"];
        let known = known.into_iter().filter(|cell| topologies.clone().any(|seen| seen == *cell));
        known
            .chain(["zone1", "zone2"].iter().filter(|cell| tablets.contains(**cell)).map(|cell| match *cell {
                "zone1" => "tablets of zone1",
                _ => "tablets of zone2",
            }))
            .collect()
    };
    let all =
        BTreeSet::from(["global", "zone2", "mount/global", "mount/zone1", "tablets of zone1", "tablets of zone2"]);
    assert_eq!(reached("create"), all);
    assert_eq!(reached("complete"), all);
    let known = BTreeSet::from(["global", "mount/global", "mount/zone1", "tablets of zone1"]);
    assert_eq!(reached("register"), known);
    for call in ["status", "vdiff create"] {
        assert!(reached(call).is_superset(&BTreeSet::from(["mount/global", "tablets of zone2"])), "{call}");
    }
    let names = |call: &str| -> BTreeSet<String> {
        of(spans, &calls.0[call]).into_iter().map(|span| span.name.clone()).collect()
    };
    let manager = |method: &str| format!("tabletmanagerservice.TabletManager/{method}");
    for call in ["create", "cancel", "complete"] {
        assert!(names(call).is_superset(&["topo Lock", "topo Unlock"].map(str::to_owned).into()), "{call}");
    }
    let made = ["ApplySchema", "CreateVReplicationWorkflow", "GetSchema", "RefreshState"].map(manager);
    assert!(names("create").is_superset(&made.into()), "{:?}", names("create"));
    assert!(names("vdiff create").contains("queryservice.Query/StreamHealth"));
}

fn steps(spans: &[Span], calls: &Calls) {
    let of = |call: &str| -> Vec<(String, String)> {
        let server = of(spans, &calls.0[call]).into_iter().find(|span| span.kind == "server").unwrap();
        server.events.clone()
    };
    let first = |call: &str| of(call).first().cloned().unwrap();
    assert_eq!(first("create"), ("Migrate create".into(), "Write the record of workflow customer.import".into()));
    assert_eq!(of("create").last().unwrap().1, "Mark the record: the workflow is whole");
    assert_eq!(first("complete").1, "Mark the record: complete has begun");
    assert_eq!(of("complete").last().unwrap().1, "Delete the record of workflow customer.import");
    assert_eq!(first("cancel"), ("taking a workflow away".into(), "Stop the streams on shards: -80, 80-".into()));
    assert!(of("status").is_empty());
}

/// Each call that a tablet of either cluster got carries the context of the span of that call, and none is missing.
async fn seen_by_tablets(life: &Life, spans: &[Span]) {
    let mut seen = BTreeSet::new();
    let mut clusters = 0;
    for cluster in [&life.source, &life.target] {
        let before = seen.len();
        for shard in cluster.shards("commerce").into_iter().chain(cluster.shards("customer")) {
            for tablet in shard.tablets() {
                seen.extend(tablet.traced().await);
            }
        }
        clusters += usize::from(seen.len() > before);
    }
    assert_eq!(clusters, 2);
    let calls = spans.iter().filter(|span| !span.get("vitess.tablet.alias").is_empty());
    let sent: BTreeSet<(String, String)> = calls.map(|span| (span.name.clone(), span.context())).collect();
    assert_eq!(seen, sent);
}

fn nothing_private(spans: &[Span]) {
    for span in spans {
        let events = span.events.iter().flat_map(|(name, step)| [name, step]);
        for text in span.attributes.values().chain(events) {
            let lower = text.to_lowercase();
            let statement = ["select ", "insert into ", "create table "].iter().any(|word| lower.starts_with(word));
            assert!(!statement && !text.contains("planted-literal"), "{span:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_with_all_that_the_environment_says() {
    let collector = Collector::http().await.unwrap();
    let endpoint = format!("http://{}", collector.address());
    let environment = [
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
    ];
    let server = Server::start_with_environment::<&str>(&["--log-format=json"], &environment).await.unwrap();
    let mut client = server.client().await.unwrap();
    let (sampled, other) = ("0af7651916cd43dd8448eb211c80319c", "0af7651916cd43dd8448eb211c80319d");
    client.mount_list(traced(MountListRequest {}, sampled, true)).await.unwrap();
    client.mount_list(MountListRequest {}).await.unwrap();
    let missing = MountShowRequest { name: "none".to_owned() };
    client.mount_show(traced(missing, other, false)).await.unwrap_err();
    assert!(server.term().await.unwrap().success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert!(spans.iter().all(|span| span.trace == sampled), "{spans:?}");
    assert_eq!(spans[0].resource["service.name"], "mine");
    assert_eq!(spans[0].resource["deployment.environment.name"], "test");
    assert_eq!(collector.headers()["x-team"], "blue");
    let log = server.process().log_tail();
    // the first may be cut
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let failed = lines.filter(|line| line["message"].as_str().unwrap().starts_with("call failed")).collect::<Vec<_>>();
    assert_eq!(failed[0]["trace_id"], other, "{log}");
    assert_eq!(failed[0]["vitess.mount"], "none", "{log}");
}

/// A collector that takes connections and never answers, and one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_but_spans_is_lost() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [silent.local_addr().unwrap().to_string(), gone.local_addr().unwrap().to_string()];
    drop(gone);
    for (address, protocol) in addresses.iter().zip(["grpc", "http/protobuf"]) {
        let flags = [
            "--tracer=opentelemetry".to_owned(),
            "--tracing-sampling-rate=1".to_owned(),
            format!("--otel-endpoint={address}"),
            "--otel-insecure".to_owned(),
            format!("--otel-protocol={protocol}"),
        ];
        let environment = [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
        let server = Server::start_with_environment(&flags, &environment).await.unwrap();
        let mut client = server.client().await.unwrap();
        let told = || server.process().log_tail().matches("cannot send traces").count();
        until("a line about the collector", async || {
            client.clone().mount_list(MountListRequest {}).await.map_err(|e| e.to_string())?;
            if told() > 0 { Ok(()) } else { Err("nothing told") }.map_err(str::to_owned)
        })
        .await
        .unwrap();
        // more than wait in the queue
        for _ in 0..5_000 {
            client.mount_list(MountListRequest {}).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(told(), 1, "{}", server.process().log_tail());
        server.process().signal(Signal::TERM).unwrap();
        assert!(server.term().await.unwrap().success());
    }
    drop(silent);
}
