//! What checks tell before anything is changed, alone and inside of create; and dry runs, whose steps are those that run.

mod letter_case;

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use integration::{
    cluster::{Cluster, Snapshot, topology::GLOBAL_ROOT},
    life::{Life, MOUNT, WORKFLOW, migrate},
};
use mysql_async::prelude::Queryable;
use tonic::{Code, Status};
use tracing::field::{Field, Visit};
use tracing_subscriber::{Layer, layer, prelude::*};
use vtmigrated::{
    context::{Context, Options},
    tablet::{self, Client},
    topo::{Dialer, EtcdOptions, Topo},
    workflow::{
        findings::{DryRun, Severity},
        migrate::{cancel, complete, create, dry_run},
        mount::examine,
        plan::arguments::Arguments,
    },
};
use vtmigrated_proto::{
    topodata::{TabletType, TopoConfig},
    vtctldata::{MigrateCreateRequest, MountRegisterRequest, MountUnregisterRequest},
};

const SCHEMA: &str = "
    CREATE TABLE table1 (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40));
    CREATE TABLE table2 (id BIGINT NOT NULL PRIMARY KEY, price INT);
    INSERT INTO table1 VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL);
    INSERT INTO table2 VALUES (1, 10), (2, 20), (3, 30), (4, 40);";

fn sharded(tables: &str) -> String {
    format!(r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}}, "tables": {{{tables}}}}}"#)
}

const TABLE1: &str = r#""table1": {"columnVindexes": [{"column": "id", "name": "hash"}]}"#;
const TABLE2: &str = r#""table2": {"columnVindexes": [{"column": "id", "name": "hash"}]}"#;

/// The server's handles, in this process: the checks are asked alone.
async fn context(life: &Life) -> Context {
    let dialer = Arc::new(Dialer::new(EtcdOptions::default()));
    let topo = Topo::open(dialer, "etcd2", &life.target.etcd().address(), GLOBAL_ROOT).await.unwrap();
    let tablets = Client::new(tablet::Options { max_message: 64 << 20, ..tablet::Options::default() });
    Context::new(Arc::new(topo), tablets, Options::default())
}

async fn dry(context: &Context, request: &MigrateCreateRequest) -> DryRun {
    dry_run::create(context, &Arguments::try_from(request.clone()).unwrap()).await
}

fn ids(run: &DryRun, severity: Severity) -> Vec<&'static str> {
    run.report.findings.iter().filter(|f| f.severity == severity).map(|f| f.id.as_str()).collect()
}

async fn everything(life: &Life) -> (Snapshot, Snapshot) {
    (life.source.snapshot().await.unwrap(), life.target.snapshot().await.unwrap())
}

async fn expect_unchanged(life: &Life, (source, target): &(Snapshot, Snapshot), what: &str) {
    let (source_now, target_now) = everything(life).await;
    let none: Vec<String> = Vec::new();
    assert_eq!(source.changes(&source_now), none, "source after {what}");
    assert_eq!(target.changes(&target_now), none, "target after {what}");
}

/// Steps as the executors log them.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        event.record(&mut Step(self));
    }
}

struct Step<'a>(&'a Steps);

impl Visit for Step<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "step" {
            self.0.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

/// Listens to all of this process, in which no other test runs steps: their servers are programs of their own.
static STEPS: LazyLock<Steps> = LazyLock::new(|| {
    let steps = Steps::default();
    tracing_subscriber::registry().with(steps.clone()).init();
    steps
});

/// The steps that ran since the last call.
fn ran() -> Vec<String> {
    std::mem::take(&mut STEPS.0.lock().unwrap())
}

/// The steps of a dry run without those of the locks.
fn between_locks(run: &DryRun) -> Vec<String> {
    let [first, steps @ .., last] = run.steps.as_slice() else { panic!("{run:?}") };
    assert!(first.starts_with("Lock ") && last.starts_with("Unlock "), "{run:?}");
    steps.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_errors_of_the_documentation_are_told_before_anything_is_made() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}").replicas(1),
        Cluster::new("zone2")
            .keyspace("sharded", &["-80", "80-"])
            .vschema(&sharded(TABLE2))
            .keyspace("novindex", &["-80", "80-"])
            .vschema(&sharded(&format!(r#"{TABLE2}, "table1": {{}}"#)))
            .keyspace("good", &["-80", "80-"])
            .vschema(&sharded(&format!("{TABLE1}, {TABLE2}")))
            .first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let context = context(&life).await;
    let before = everything(&life).await;
    let refused = async |request: &MigrateCreateRequest, id: &str, code: Code, text: &str| {
        let error = life.create(request.clone()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.message().starts_with(text), "{error:?}");
        let alone = dry(&context, request).await;
        let first = alone.report.blocking().next().unwrap();
        assert!(first.id == id && first.cause.starts_with(text) && !first.fix.is_empty(), "{first:?}");
        assert!(alone.steps.is_empty(), "{alone:?}");
        expect_unchanged(&life, &before, id).await;
    };
    let missing = "table table1 not found in vschema for keyspace sharded";
    refused(&migrate("commerce", "sharded"), "TABLE_NOT_IN_VSCHEMA", Code::FailedPrecondition, missing).await;
    let vindex = "table 'table1' does not have a primary vindex";
    refused(&migrate("commerce", "novindex"), "TABLE_WITHOUT_VINDEX", Code::FailedPrecondition, vindex).await;
    let keyspace = "failed to get list of shards for keyspace 'nosuch': FindAllShardsInKeyspace(nosuch): List: \
                    node doesn't exist: /vitess/global/keyspaces/nosuch/shards";
    refused(&migrate("nosuch", "good"), "TOPO_NODE_MISSING", Code::NotFound, keyspace).await;

    // `node doesn't exist` where it begins: at the mount
    let wrong = MountRegisterRequest { topo_root: "/vitess/wrong".into(), ..life.mount("ext2") };
    let error = life.client().mount_register(wrong).await.unwrap_err();
    let text = "node doesn't exist: /vitess/wrong/keyspaces";
    assert!(error.code() == Code::NotFound && error.message().starts_with(text), "{error:?}");
    let config =
        |root: &str| TopoConfig { topo_type: "etcd2".into(), server: life.source.etcd().address(), root: root.into() };
    let report = examine::examine(&context, &config("/vitess/wrong")).await;
    assert!(report.findings[0].id == "MOUNT_ROOT_MISSING" && report.findings[0].cause == text, "{report:?}");
    let report = examine::examine(&context, &config(GLOBAL_ROOT)).await;
    assert!(report.is_clear() && report.warnings().next().is_none(), "{report:?}");
    assert_eq!(report, examine::mounted(&context, MOUNT).await);

    // stuck at 0 %: nobody of the wanted types, then somebody who does not serve
    let with =
        |kind: TabletType| MigrateCreateRequest { tablet_types: vec![kind.into()], ..migrate("commerce", "good") };
    let nobody = "no tablet found to stream from in source shard commerce/0: ";
    refused(&with(TabletType::Rdonly), "NO_SOURCE_TABLET", Code::FailedPrecondition, nobody).await;
    let good = dry(&context, &with(TabletType::Replica)).await;
    assert!(good.report.is_clear(), "{good:?}");
    let replica = &life.source.shard("commerce", "0").unwrap().tablets()[1];
    replica.stop().await.unwrap();
    refused(&with(TabletType::Replica), "SOURCE_TABLET_NOT_SERVING", Code::FailedPrecondition, nobody).await;
    let report = examine::mounted(&context, MOUNT).await;
    assert_eq!(report.warnings().map(|f| f.id).collect::<Vec<_>>(), ["TABLET_UNREACHABLE"], "{report:?}");
    // the primary would do
    assert!(dry(&context, &migrate("commerce", "good")).await.report.is_clear());
    replica.restart().await.unwrap();

    several_things_at_once(&life, &before).await;
    a_primary_without_record(&life).await;
    life.finish().await.unwrap();
}

/// All that blocks is in one error, the first thing first.
async fn several_things_at_once(life: &Life, before: &(Snapshot, Snapshot)) {
    let mut request = migrate("commerce", "sharded");
    request.tablet_types = vec![TabletType::Rdonly.into()];
    request.source_time_zone = "Mars/Olympus".into();
    let error = life.create(request).await.unwrap_err();
    let message = error.message();
    assert!(
        message.starts_with("table table1 not found in vschema for keyspace sharded\nalso NO_SOURCE_TABLET"),
        "{message}"
    );
    assert!(message.contains("also TIME_ZONE_UNKNOWN"), "{message}");
    assert!(message.contains("\nTABLE_NOT_IN_VSCHEMA: add it with its primary vindex"), "{message}");
    expect_unchanged(life, before, "several refusals").await;
}

/// A shard whose primary has no tablet record is a state to be fixed, not something that was not found.
async fn a_primary_without_record(life: &Life) {
    let key = "/vitess/zone2/tablets/zone2-0000000200/Tablet";
    let record = life.target.etcd().dump(key).await.unwrap().remove(key).unwrap();
    let mut topology = life.target.etcd().connect().await.unwrap();
    topology.delete(key, None).await.unwrap();
    let text = format!("node doesn't exist: {key}");
    let error = life.create(migrate("commerce", "sharded")).await.unwrap_err();
    assert!(error.code() == Code::FailedPrecondition && error.message().contains(&text), "{error:?}");
    // no record says that a workflow uses the mount, and nothing runs where nobody answers
    life.client().mount_unregister(MountUnregisterRequest { name: MOUNT.to_owned() }).await.unwrap();
    life.client().mount_register(life.mount(MOUNT)).await.unwrap();
    topology.put(key, record, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_change_nothing_and_their_steps_are_those_that_run() {
    LazyLock::force(&STEPS);
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}").replicas(1),
        Cluster::new("zone2")
            .keyspace("customer", &["-80", "80-"])
            .vschema(&sharded(&format!("{TABLE1}, {TABLE2}")))
            .keyspace("whole", &["0"])
            .vschema("{}")
            .first_uid(200),
    )
    .await
    .unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let context = context(&life).await;
    for keyspace in ["customer", "whole"] {
        let before = everything(&life).await;
        let request = migrate("commerce", keyspace);
        let arguments = Arguments::try_from(request.clone()).unwrap();
        let planned = dry(&context, &request).await;
        assert_eq!(ids(&planned, Severity::Warns), Vec::<&str>::new(), "no false alarm: {planned:?}");
        assert!(planned.report.is_clear(), "{planned:?}");
        expect_unchanged(&life, &before, "the dry run of create").await;
        ran();
        create::create(&context, &arguments).await.unwrap();
        assert_eq!(ran(), between_locks(&planned));

        // the name is taken now, and nothing else is looked at
        let again = dry(&context, &request).await;
        assert_eq!(ids(&again, Severity::Blocks), ["WORKFLOW_EXISTS"], "{again:?}");
        life.until_running(keyspace).await.unwrap();
        let mut other = request.clone();
        other.workflow = "other".into();
        let blocked = ids(&dry(&context, &other).await, Severity::Blocks);
        assert!(blocked.contains(&"TABLE_IN_OTHER_WORKFLOW") && blocked.contains(&"TARGET_NOT_EMPTY"), "{blocked:?}");

        let (ending, running) = (
            |keep_data| cancel::Arguments {
                keyspace: keyspace.into(),
                workflow: WORKFLOW.into(),
                keep_data,
                shards: Vec::new(),
            },
            everything(&life).await,
        );
        let planned = dry_run::cancel(&context, &ending(false)).await;
        expect_topology_unchanged(&life, &running, "the dry run of cancel").await;
        ran();
        cancel::cancel(&context, &ending(false)).await.unwrap();
        assert_eq!(ran(), between_locks(&planned));
        expect_unchanged(&life, &before, "cancel").await;

        let nothing = dry_run::cancel(&context, &ending(true)).await;
        assert_eq!(ids(&nothing, Severity::Blocks), ["WORKFLOW_UNKNOWN"], "{nothing:?}");

        complete_as_planned(&life, &context, &arguments).await;
    }
    life.finish().await.unwrap();
}

async fn expect_topology_unchanged(life: &Life, (_, target): &(Snapshot, Snapshot), what: &str) {
    let now = life.target.snapshot().await.unwrap();
    let changes: Vec<String> = target.changes(&now).into_iter().filter(|change| change.starts_with("etcd ")).collect();
    assert_eq!(changes, Vec::<String>::new(), "{what}");
}

async fn complete_as_planned(life: &Life, context: &Context, arguments: &Arguments) {
    let keyspace = &arguments.target_keyspace;
    let waiting = Arguments { auto_start: false, ..arguments.clone() };
    create::create(context, &waiting).await.unwrap();
    let (dry_run, ignore_source) = (false, false);
    let ending = complete::Arguments { keyspace: keyspace.clone(), workflow: WORKFLOW.into(), dry_run, ignore_source };
    let early = dry_run::complete(context, &ending).await;
    assert!(ids(&early, Severity::Blocks).contains(&"COPYING") && early.steps.is_empty(), "{early:?}");
    complete::complete(context, &complete::Arguments { dry_run: true, ..ending.clone() }).await.unwrap_err();
    life.start_streams(keyspace).await.unwrap();
    life.until_running(keyspace).await.unwrap();
    life.until_same("commerce", keyspace, &["table1", "table2"]).await.unwrap();
    let running = everything(life).await;
    let mut planned = dry_run::complete(context, &ending).await;
    // a heartbeat may be on its way
    for _ in 0..50 {
        if planned.report.is_clear() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        planned = dry_run::complete(context, &ending).await;
    }
    // rows that were never compared are worth a word, and nothing else is
    let found: Vec<&str> = planned.report.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(found, ["VDIFF_NONE"], "{planned:?}");
    expect_topology_unchanged(life, &running, "the dry run of complete").await;
    let shown = complete::complete(context, &complete::Arguments { dry_run: true, ..ending.clone() }).await.unwrap();
    assert_eq!(shown.response.dry_run_results, planned.steps);
    ran();
    complete::complete(context, &ending).await.unwrap();
    assert_eq!(ran(), between_locks(&planned));
    life.expect_nothing_left(keyspace).await.unwrap();
    life.expect_same("commerce", keyspace, &["table1", "table2"]).await.unwrap();
}

/// What create is refused with while the MySQL of a cluster has a row image.
async fn refused_beside(life: &Life, cluster: &Cluster, image: &str) -> Status {
    let mut mysql = cluster.mysqld().unwrap().connect("").await.unwrap();
    mysql.query_drop(format!("SET GLOBAL binlog_row_image = '{image}'")).await.unwrap();
    let request = MigrateCreateRequest { include_tables: vec!["table1".into()], ..migrate("commerce", "customer") };
    let error = life.create(request).await.unwrap_err();
    mysql.query_drop("SET GLOBAL binlog_row_image = 'FULL'").await.unwrap();
    mysql.disconnect().await.unwrap();
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_over_as_it_is_is_told() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}"),
        Cluster::new("zone2")
            .keyspace("customer", &["-80", "80-"])
            .vschema(&sharded(&format!(
                r#"{TABLE1}, {TABLE2}, "bare": {{"columnVindexes": [{{"column": "name", "name": "hash"}}]}}"#
            )))
            .first_uid(200),
    )
    .await
    .unwrap();
    let source = "
        CREATE TABLE table1 (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40));
        CREATE TABLE table2 (id BIGINT NOT NULL PRIMARY KEY, price INT, KEY by_price (price), KEY by_half ((price / 2)),
                             CONSTRAINT to_table1 FOREIGN KEY (id) REFERENCES table1 (id));
        CREATE TABLE bare (name VARCHAR(40) NOT NULL);
        INSERT INTO table1 VALUES (41, 'one');
        CREATE VIEW dear AS SELECT id FROM table2 WHERE price > 100;
        CREATE TRIGGER lower_name BEFORE INSERT ON table1 FOR EACH ROW SET NEW.name = LOWER(NEW.name);
        CREATE PROCEDURE nothing() SELECT 1;
        CREATE EVENT daily ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1;";
    life.source.run("commerce", source).await.unwrap();
    let there = "CREATE TABLE table1 (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80)); \
                 CREATE TABLE table2 (id BIGINT NOT NULL PRIMARY KEY)";
    life.target.run("customer", there).await.unwrap();
    let context = context(&life).await;
    let before = everything(&life).await;
    let found = dry(&context, &migrate("commerce", "customer")).await;
    expect_unchanged(&life, &before, "the dry run").await;
    assert_eq!(ids(&found, Severity::Blocks), ["COLUMN_MISSING_ON_TARGET"], "{found:?}");
    let warned = [
        "AUTO_INCREMENT_SHARDED",
        "FUNCTIONAL_KEY",
        "VINDEX_COLUMN_TYPE",
        "DEFINITION_DIFFERS",
        "TABLE_WITHOUT_KEY",
        "NOT_MOVED",
    ];
    assert_eq!(ids(&found, Severity::Warns), warned, "{found:?}");
    let text = |id: &str| {
        let finding = found.report.findings.iter().find(|finding| finding.id == id).unwrap();
        format!("{} | {}", finding.cause, finding.fix)
    };
    assert!(text("AUTO_INCREMENT_SHARDED").contains("set its next_id to 42 or above"), "{found:?}");
    let stays = "1 event (daily), 1 procedure (nothing), 1 trigger (lower_name), 1 view (dear)";
    assert!(text("NOT_MOVED").contains(stays), "{found:?}");
    assert!(text("COLUMN_MISSING_ON_TARGET").contains("lacks columns that the source has: price"), "{found:?}");

    // the warnings are in the answer of a create that goes on
    let mut request = migrate("commerce", "customer");
    request.include_tables = vec!["table1".into()];
    let status = life.create(request).await.unwrap();
    assert!(status.traffic_state.contains("\nWarning AUTO_INCREMENT_SHARDED: column id of table table1"), "{status:?}");
    life.cancel("customer", false).await.unwrap();

    // the servers' settings: a binlog that streams cannot read, one beside which tablets run none; and one that is purged too early is
    // no matter here
    for (cluster, image, text) in [
        (&life.source, "MINIMAL", "source tablet zone1-0000000100 of commerce/0 has binlog_row_image MINIMAL"),
        (&life.target, "NOBLOB", "noblob binlog_row_image is not supported for Migrate"),
    ] {
        let error = refused_beside(&life, cluster, image).await;
        assert!(error.code() == Code::FailedPrecondition && error.message().starts_with(text), "{error:?}");
    }
    life.finish().await.unwrap();
}
