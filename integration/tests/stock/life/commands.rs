//! Every command on the way of a migration, with no flag but those that the client insists on.

use integration::{
    cluster::topology::GLOBAL_ROOT,
    stock::{self, Keyspace, MOUNT, Pair},
};
use serde_json::{Value, json};

use super::refusals::copied;

/// What a command of the client against the target prints.
async fn run(pair: &Pair, args: &[&str]) -> String {
    pair.target.vtctldclient(args).await.unwrap().expect().unwrap()
}

async fn json_of(pair: &Pair, args: &[&str]) -> Value {
    let text = run(pair, args).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
}

/// The only stream of the only workflow that a command shows.
fn stream(shown: &Value) -> &Value {
    assert_eq!(shown["workflows"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["workflows"][0]["name"], "import", "{shown}");
    let shards = shown["workflows"][0]["shard_streams"].as_object().unwrap();
    let streams: Vec<&Value> = shards.values().filter_map(|shard| shard["streams"].as_array()).flatten().collect();
    assert_eq!(streams.len(), 1, "{shown}");
    streams[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_registered_listed_shown_and_unregistered() {
    let pair = stock::pair().await.unwrap();
    let address = pair.source.etcd().address();
    let place = ["--topo-type", "etcd2", "--topo-server", &address, "--topo-root", GLOBAL_ROOT];
    let registered = run(pair, &[&["Mount", "register", "--name", "other"][..], &place].concat()).await;
    assert_eq!(registered, "Mount other registered successfully\n");
    let names = |list: &Value| list["names"].as_array().cloned().unwrap_or_default();
    let list = names(&json_of(pair, &["Mount", "list"]).await);
    assert!(list.contains(&json!("other")) && list.contains(&json!(MOUNT)), "{list:?}");
    let wanted = json!({"topo_type": "etcd2", "topo_server": address, "topo_root": GLOBAL_ROOT, "name": "other"});
    assert_eq!(json_of(pair, &["Mount", "show", "--name", "other"]).await, wanted);
    let unregistered = run(pair, &["Mount", "unregister", "--name", "other"]).await;
    assert_eq!(unregistered, "Mount other unregistered successfully\n");
    let list = names(&json_of(pair, &["Mount", "list"]).await);
    assert!(!list.contains(&json!("other")) && list.contains(&json!(MOUNT)), "{list:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_listed_shown_stopped_started_updated_compared_and_deleted() {
    let pair = stock::pair().await.unwrap();
    let (_source, target) = copied(pair, "attic", "attic_new").await;
    let import = pair.migration("import", "attic", "attic_new");
    let workflow = ["Workflow", "--keyspace", "attic_new"];
    let of = |action: &'static str| [workflow[0], workflow[1], workflow[2], action, "--workflow", "import"];

    let status = import.migrate(&["status"]).await.unwrap().expect().unwrap();
    assert!(status.contains("Traffic State: "), "{status}");
    assert_eq!(json_of(pair, &[&workflow[..], &["list"]].concat()).await, json!(["import"]));
    let shown = json_of(pair, &of("show")).await;
    assert_eq!(stream(&shown)["state"], "Running", "{shown}");
    let shown: Value = import.migrate(&["show"]).await.unwrap().json();
    assert_eq!(stream(&shown)["state"], "Running", "{shown}");
    assert_eq!(stream(&json_of(pair, &["GetWorkflows", "attic_new"]).await)["state"], "Running");

    run(pair, &of("stop")).await;
    let shown = json_of(pair, &of("show")).await;
    assert_eq!(stream(&shown)["state"], "Stopped", "{shown}");
    let refused = import.migrate(&["complete"]).await.unwrap();
    let insist = "MoveTables --workflow import --target-keyspace attic_new complete --ignore-source-keyspace";
    for words in ["its state is Stopped", insist, "Workflow --keyspace attic_new start --workflow import"] {
        assert!(!refused.ok() && refused.stderr.contains(words), "{words}: {refused}");
    }
    run(pair, &of("start")).await;
    import.until_running().await.unwrap();
    // the client sends no update of nothing
    run(pair, &[&of("update")[..], &["--on-ddl", "stop"]].concat()).await;
    let shown = json_of(pair, &of("show")).await;
    assert_eq!(stream(&shown)["binlog_source"]["on_ddl"], "STOP", "{shown}");
    import.until_running().await.unwrap();

    compare(pair, &target).await;

    run(pair, &of("delete")).await;
    assert!(target.shards[0].rows("SHOW TABLES").await.unwrap().is_empty());
    assert_eq!(json_of(pair, &[&workflow[..], &["list"]].concat()).await, json!([]));
    made_anew(pair, &target).await;
}

/// The only table of a workflow, which a user makes anew while its cancel is cut off, stays.
async fn made_anew(pair: &Pair, target: &Keyspace) {
    let import = pair.migration("import", "attic", "attic_new");
    import.create(&["--tables", "product"]).await.unwrap().expect().unwrap();
    import.until_running().await.unwrap();
    let target = &target.shards[0];
    let tables = async || target.rows("SHOW TABLES").await.unwrap().len();
    assert_eq!(tables().await, 1);
    // after the lease, the lock, the streams and the record it has dropped the table
    let doomed = pair.target.another_server("effect=9*off->return").await.unwrap();
    let output = import.through(&doomed).migrate(&["cancel"]).await.unwrap();
    assert!(!output.ok() && tables().await == 0, "cancel outlived its kill, or was not so far: {output}");
    target.run("CREATE TABLE product (id BIGINT PRIMARY KEY); INSERT INTO product VALUES (7)").await.unwrap();
    let cancelled = import.migrate(&["cancel"]).await.unwrap().expect().unwrap();
    let left = "left: product on shard 0: a cancel that was cut off had begun before somebody made or altered it";
    assert!(cancelled.contains(left), "{cancelled}");
    assert_eq!(target.rows("SELECT id FROM product").await.unwrap().len(), 1);
    assert_eq!(json_of(pair, &["Workflow", "--keyspace", "attic_new", "list"]).await, json!([]));
}

/// A diff that finds nothing is stopped, resumed and deleted; one that finds rows of the target only is shown.
async fn compare(pair: &Pair, target: &Keyspace) {
    let import = pair.migration("import", "attic", "attic_new");
    let vdiff = async |action: &[&str]| import.vdiff(action).await.unwrap().expect().unwrap();
    let created = async || {
        let text = vdiff(&["create"]).await;
        text.split_whitespace().nth(1).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let completed = async |uuid: &str| {
        let show = async || {
            let shown = vdiff(&["show", uuid]).await;
            if shown.contains("State:        completed") { Ok(()) } else { Err(shown) }
        };
        stock::until("a VDiff that is over", show).await.unwrap();
        vdiff(&["show", "last"]).await
    };

    let equal = created().await;
    let shown = completed(&equal).await;
    assert!(shown.contains(&format!("VDiff Summary for attic_new.import ({equal})")), "{shown}");
    assert!(shown.contains("HasMismatch:  false"), "{shown}");
    assert!(shown.contains("RowsCompared: 2003"), "{shown}");
    assert_eq!(vdiff(&["stop", &equal]).await, "VDiff stop completed\n");
    assert_eq!(vdiff(&["resume", &equal]).await, "VDiff resume scheduled\n");
    assert!(completed(&equal).await.contains("HasMismatch:  false"));

    // with a row that differs, too: for extra rows alone tablets try for ever to find the mounted source's vschema in their own
    // topology
    target
        .run(
            "INSERT INTO customer (id, email) VALUES (0, 'mine'), (900001, 'mine'), (900002, 'mine');
             UPDATE customer SET email = 'mine' WHERE id = 1",
        )
        .await
        .unwrap();
    let different = created().await;
    let shown = completed(&different).await;
    assert!(shown.contains("HasMismatch:  true") && shown.contains("ExtraRowsTarget:  3"), "{shown}");
    let report = vdiff(&["show", &different, "--format", "json"]).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    let samples = report["Reports"]["customer"]["0"]["ExtraRowsTargetSample"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&Value> = samples.iter().map(|sample| &sample["Row"]["id"]).collect();
    assert_eq!(ids, ["0", "900001", "900002"], "{report}");

    let all = vdiff(&["show", "all"]).await;
    assert!(all.contains(&equal) && all.contains(&different), "{all}");
    assert_eq!(vdiff(&["delete", &equal]).await, "VDiff delete completed\n");
    let all = vdiff(&["show", "all"]).await;
    assert!(!all.contains(&equal) && all.contains(&different), "{all}");
    vdiff(&["delete", "all"]).await;
    let none = vdiff(&["show", "last"]).await;
    assert_eq!(none, "No previous vdiff found for attic_new.import\n");
}
