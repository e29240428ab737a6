//! The legacy commands of a Migrate, from the first to the last, into a sharded keyspace.

use integration::{
    client::{self, Vtctl},
    cluster::Cluster,
    life::{Life, until},
};
use tonic::Code;

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40), KEY by_name (name));
    CREATE TABLE corder (id BIGINT NOT NULL PRIMARY KEY, price INT);
    INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL);
    INSERT INTO corder VALUES (1, 10), (2, 20), (3, 30), (4, 40);";
const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
    "customer": {"columnVindexes": [{"column": "id", "name": "hash"}]},
    "corder": {"columnVindexes": [{"column": "id", "name": "hash"}]}}}"#;
const TABLES: &[&str] = &["customer", "corder"];

/// What a command prints that succeeds.
async fn printed(client: &mut Vtctl, line: &str) -> String {
    let (printed, result) = client::run(client, line).await;
    result.unwrap_or_else(|status| panic!("{line}: {printed}{status:?}"));
    printed
}

/// How a command fails.
async fn refused(client: &mut Vtctl, line: &str) -> (Code, String) {
    let (printed, result) = client::run(client, line).await;
    let status = result.err().unwrap_or_else(|| panic!("{line}: {printed}"));
    (status.code(), status.message().to_owned())
}

/// Waits until a command prints a text.
async fn until_printed(client: &Vtctl, line: &str, text: &str) -> String {
    let last = tokio::sync::Mutex::new(String::new());
    until(line, async || {
        let (printed, result) = client::run(&mut client.clone(), line).await;
        *last.lock().await = printed.clone();
        match result {
            Ok(()) if printed.contains(text) => Ok(()),
            other => Err(format!("{printed} {other:?}")),
        }
    })
    .await
    .unwrap();
    last.into_inner()
}

async fn start() -> (Life, Vtctl) {
    let source = Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}").replicas(1);
    let target = Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).vschema("{}").first_uid(200);
    let life = Life::start(source, target).await.unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    let client = client::vtctl(&life.server.grpc_address().to_string()).await.unwrap();
    (life, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_older_page_brings_a_keyspace() {
    let (life, mut client) = start().await;
    let topo = format!(
        "-type vitess -topo_type etcd2 -topo_server {} -topo_root /vitess/global",
        life.source.etcd().address()
    );
    assert_eq!(printed(&mut client, &format!("Mount {topo} load")).await, "");
    assert_eq!(printed(&mut client, "Mount -- --list").await, "ext1,load\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), VSCHEMA).unwrap();
    let apply = format!("ApplyVSchema -- -vschema_file {} customer", file.path().display());
    assert!(printed(&mut client, &apply).await.starts_with("New VSchema object:\n"));

    // taken back once
    let created = printed(&mut client, "Migrate -all -auto_start=false -source load.commerce Create customer.wf").await;
    assert!(created.starts_with("Workflow has been created in Stopped state\nCreate was successful"), "{created}");
    let show = printed(&mut client, "Workflow Show customer.wf").await;
    assert!(show.contains("in_keyrange(`id`, 'hash', '-80')") && show.contains("\"State\": \"Stopped\""), "{show}");
    let cancelled = printed(&mut client, "Migrate Cancel customer.wf").await;
    let states = "Start State: Reads Not Switched. Writes Not Switched\nCurrent State: Workflow Not Found\n\n";
    assert_eq!(cancelled, format!("Cancel was successful for workflow customer.wf\n{states}"));
    life.expect_nothing_left("customer").await.unwrap();
    assert_eq!(printed(&mut client, "Workflow customer listall").await, "No workflows found in keyspace customer\n");

    let created = printed(&mut client, "Migrate -- --all --source=load.commerce Create customer.wf").await;
    assert!(created.starts_with("Waiting for workflow to start:\n"), "{created}");
    assert!(created.contains("\nWorkflow started successfully with 2 stream(s)\n"), "{created}");
    assert!(
        created.contains("\nThe following vreplication streams exist for workflow customer.wf:\n\nid="),
        "{created}"
    );
    let list = "Following workflow(s) found in keyspace customer: wf\n";
    assert_eq!(printed(&mut client, "Workflow customer listall").await, list);
    assert_eq!(printed(&mut client, "Workflow List customer").await, list);
    life.until_same("commerce", "customer", TABLES).await.unwrap();
    until_printed(&client, "Workflow -- customer.wf show", "\"State\": \"Running\"").await;
    let progress = printed(&mut client, "Migrate Progress customer.wf").await;
    assert!(progress.starts_with("\nCopy Progress (approx):\n\ncorder: rows copied "), "{progress}");
    assert!(progress.contains(" Status: Running. VStream Lag: "), "{progress}");
    assert_eq!(printed(&mut client, "Migrate customer.wf Status").await.lines().count(), progress.lines().count());
    assert!(
        printed(&mut client, "Migrate -- Show customer.wf").await.starts_with("\nThe following vreplication streams")
    );

    let rows = "+------------------+--------------+\n|      Tablet      | RowsAffected |\n+------------------+--------------+\n";
    let would = printed(&mut client, "Workflow --dry-run customer.wf stop").await;
    assert!(
        would.starts_with("The following streams in keyspace customer of workflow wf would be changed:\n\n+"),
        "{would}"
    );
    let stopped = printed(&mut client, "Workflow customer.wf stop").await;
    assert!(stopped.starts_with(rows) && stopped.contains("| zone1-0000000200 |            1 |\n"), "{stopped}");
    let (code, text) = refused(&mut client, "Migrate -- Complete customer.wf").await;
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    let updated = printed(&mut client, "Workflow --tablet-types=in_order:REPLICA,PRIMARY customer.wf update").await;
    assert!(updated.starts_with(rows), "{updated}");
    assert!(printed(&mut client, "Workflow Start customer.wf").await.starts_with(rows));
    until_printed(&client, "Migrate Show customer.wf", "Status: Running").await;

    compare(&mut client).await;
    let would = printed(&mut client, "Migrate --dry_run Complete customer.wf").await;
    assert!(would.starts_with("Dry Run results for Complete run at "), "{would}");
    assert!(would.contains("\nLock keyspace customer\n"), "{would}");
    let completed = printed(&mut client, "Migrate Complete customer.wf").await;
    assert_eq!(completed, format!("Complete was successful for workflow customer.wf\n{states}"));
    life.expect_nothing_left("customer").await.unwrap();
    life.expect_same("commerce", "customer", TABLES).await.unwrap();
    let (code, text) = refused(&mut client, "Migrate -- Cancel customer.wf").await;
    assert_eq!(code, Code::NotFound);
    assert!(text.starts_with("workflow customer.wf does not exist"), "{text}");
    assert_eq!(printed(&mut client, "Mount -- --unmount load").await, "");
    life.finish().await.unwrap();
}

/// A diff from its creation to its end.
async fn compare(client: &mut Vtctl) {
    let created = printed(client, "VDiff -- --tablet_types=in_order:REPLICA,PRIMARY customer.wf create").await;
    let uuid = created.strip_prefix("VDiff ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert_eq!(created, format!("VDiff {uuid} scheduled on target shards, use show to view progress\n"));
    let shown = until_printed(client, "VDiff -- customer.wf show last", "State:        completed\n").await;
    assert!(shown.starts_with(&format!("\nVDiff Summary for customer.wf ({uuid})\n")), "{shown}");
    assert!(shown.contains("\nRowsCompared: 8\nHasMismatch:  false\nStartedAt:    "), "{shown}");
    let json = printed(client, &format!("VDiff --format=json --verbose customer.wf show {uuid}")).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["Shards"], &json["TableSummary"]["customer"]["MatchingRows"]), (&"-80,80-".into(), &4.into()));
    let all = printed(client, "VDiff customer.wf show all").await;
    assert_eq!(all.matches(&uuid).count(), 2, "{all}");
    let deleted = printed(client, &format!("VDiff customer.wf delete {uuid}")).await;
    assert_eq!(deleted, format!("The delete action for vdiff {uuid} is completed on target shards\n"));
    let none = "No vdiffs found for customer.wf\n";
    assert_eq!(printed(client, "VDiff customer.wf show all").await, none);
    assert_eq!(printed(client, "VDiff customer.wf show").await, "No previous vdiff found for customer.wf\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_workflow_leaves_its_rows_and_names_of_tables_count() {
    let (life, mut client) = start().await;
    let vschema = VSCHEMA.split_whitespace().collect::<String>();
    printed(&mut client, &format!("ApplyVSchema -vschema {vschema} customer")).await;
    let create = "Migrate --tables customer,corder --exclude corder --cells zone1 --tablet_types primary --on-ddl stop \
                  --source ext1.commerce --timeout=30s Create customer.import";
    let created = printed(&mut client, create).await;
    assert!(created.contains("Workflow started successfully with 2 stream(s)"), "{created}");
    life.until_same("commerce", "customer", &["customer"]).await.unwrap();
    life.target.table("customer", "corder").await.unwrap_err();
    let show = printed(&mut client, "Workflow customer.import show").await;
    assert!(show.contains("\"OnDDL\": \"STOP\"") && !show.contains("on_ddl"), "{show}");
    let deleted = printed(&mut client, "Workflow customer.import delete").await;
    assert!(deleted.contains("| zone1-0000000200 |            1 |\n"), "{deleted}");
    life.expect_nothing_left("customer").await.unwrap();
    life.expect_same("commerce", "customer", &["customer"]).await.unwrap();
    life.finish().await.unwrap();
}
