//! Tablets of Vitess 22 to 24 on either side: what create tells them, and what an upgrade in the middle does.

use integration::{
    cluster::{Builder, Cluster},
    life::{Life, SOURCE_VSCHEMA, TARGET_VSCHEMA, WORKFLOW, change, migrate, streams, until},
};
use integration_tablet::Generation::{self, V22, V23, V24};
use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State, tabletmanagerdata::UpdateVReplicationWorkflowRequest,
    vtctldata::MoveTablesCompleteRequest,
};

const SCHEMA: &str = "
    CREATE TABLE customer (id BIGINT NOT NULL PRIMARY KEY, note VARCHAR(40));
    CREATE TABLE corder (id BIGINT NOT NULL PRIMARY KEY, customer_id BIGINT NOT NULL);
    CREATE TABLE product (sku VARBINARY(20) NOT NULL PRIMARY KEY);
    INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, NULL);
    INSERT INTO corder VALUES (1, 1), (2, 2), (3, 3), (4, 4);
    INSERT INTO product VALUES ('a'), ('b'), ('c'), ('d');";
const TABLES: [&str; 3] = ["customer", "corder", "product"];

fn source(generation: Generation) -> Builder {
    Cluster::new("zone1").keyspace("commerce", &["0"]).vschema(SOURCE_VSCHEMA).generation(generation)
}

fn target(generation: Generation) -> Builder {
    let target = Cluster::new("zone1").keyspace("customer", &["-80", "80-"]).vschema(TARGET_VSCHEMA);
    target.first_uid(200).generation(generation)
}

async fn start(from: Generation, to: Generation) -> Life {
    let life = Life::start(source(from), target(to)).await.unwrap();
    life.source.run("commerce", SCHEMA).await.unwrap();
    life
}

/// The config overrides of the workflow, ascending.
async fn overrides(life: &Life) -> Vec<(String, String)> {
    let options = life.workflows("customer").await.unwrap().remove(0).options.unwrap();
    let mut config: Vec<_> = options.config.into_iter().collect();
    config.sort_unstable();
    config
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharded_target_gets_its_overrides_as_both_sides_spell_them() {
    let mixed = pairs(&[]);
    let dashes = pairs(&[("vreplication-experimental-flags", "3")]);
    for (from, to, wanted) in [(V24, V24, &dashes), (V22, V24, &mixed), (V23, V22, &mixed)] {
        let life = start(from, to).await;
        let answer = life.create(migrate("commerce", "customer")).await.unwrap();
        let warned = answer.traffic_state.contains("BATCHING_STAYS");
        assert_eq!(warned, *wanted == mixed, "{from:?} to {to:?}: {}", answer.traffic_state);
        assert_eq!(overrides(&life).await, *wanted, "{from:?} to {to:?}");
        life.until_running("customer").await.unwrap();
        life.until_same("commerce", "customer", &TABLES).await.unwrap();
        life.complete("customer").await.unwrap();
        life.finish().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_the_middle_is_told_by_status_and_mended_by_a_start() {
    let life = start(V22, V22).await;
    life.create(migrate("commerce", "customer")).await.unwrap();
    life.until_running("customer").await.unwrap();
    assert_eq!(overrides(&life).await, pairs(&[("vreplication_experimental_flags", "3")]));
    // a client of 23 or later asks for its own spelling
    let update = UpdateVReplicationWorkflowRequest {
        config_overrides: [("vreplication-net-read-timeout".to_owned(), "200".to_owned())].into(),
        ..change(WORKFLOW)
    };
    life.update("customer", update).await.unwrap();
    let both = [("vreplication_experimental_flags", "3"), ("vreplication_net_read_timeout", "200")];
    assert_eq!(overrides(&life).await, pairs(&both));
    // the target first: its streams would see the new source refuse them, and say so
    for (cluster, keyspace) in [(&life.target, "customer"), (&life.source, "commerce")] {
        for shard in cluster.shards(keyspace) {
            shard.tablets()[0].restart_as(V24).await.unwrap();
        }
    }
    life.source.run("commerce", "INSERT INTO customer VALUES (5, 'later'), (6, 'later'), (7, 'later')").await.unwrap();
    let status = life.status("customer").await.unwrap();
    for stream in streams(&status) {
        assert_eq!(stream.status, "Running", "the row does not know");
        let told =
            "config override vreplication_experimental_flags, vreplication_net_read_timeout since its version changed";
        assert!(stream.info.contains(told), "{}", stream.info);
        assert!(stream.info.contains("Workflow --keyspace customer start --workflow import"), "{}", stream.info);
    }
    life.update(
        "customer",
        UpdateVReplicationWorkflowRequest { state: Some(State::Running.into()), ..change(WORKFLOW) },
    )
    .await
    .unwrap();
    let both = [("vreplication-experimental-flags", "3"), ("vreplication-net-read-timeout", "200")];
    assert_eq!(overrides(&life).await, pairs(&both));
    life.until_same("commerce", "customer", &TABLES).await.unwrap();
    let status = life.status("customer").await.unwrap();
    assert!(streams(&status).iter().all(|stream| !stream.info.contains("config override")), "{status:?}");
    until("the position", async || life.complete("customer").await.map(drop).map_err(|e| e.to_string())).await.unwrap();
    life.finish().await.unwrap();
}

/// A workflow that has caught up and whose target's tablets are of 24 since a moment ago.
async fn upgraded() -> Life {
    let life = start(V22, V22).await;
    life.create(migrate("commerce", "customer")).await.unwrap();
    life.until_running("customer").await.unwrap();
    let dry_run = async || {
        let request = MoveTablesCompleteRequest {
            workflow: WORKFLOW.to_owned(),
            target_keyspace: "customer".to_owned(),
            dry_run: true,
            ..MoveTablesCompleteRequest::default()
        };
        life.client().move_tables_complete(request).await.map(drop)
    };
    until("a migration that has caught up", dry_run).await.unwrap();
    for shard in life.target.shards("customer") {
        shard.tablets()[0].restart_as(V24).await.unwrap();
    }
    life
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upgrade_complete_stops_streams_whose_tablets_do_not_read_their_overrides() {
    let life = upgraded().await;
    life.complete("customer").await.unwrap();
    life.expect_same("commerce", "customer", &TABLES).await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upgrade_complete_tells_why_streams_are_behind_and_cancel_takes_them_away() {
    let life = upgraded().await;
    life.source.run("commerce", "INSERT INTO customer VALUES (5, 'later'), (6, 'later'), (7, 'later')").await.unwrap();
    let refused = life.complete("customer").await.unwrap_err();
    let (text, help) = refused.message().split_once('\n').unwrap();
    assert!(text.starts_with("cannot complete workflow import in keyspace customer: "), "{text}");
    for shard in ["-80", "80-"] {
        let told = format!(
            "shard customer/{shard}: its primary does not read config override vreplication_experimental_flags"
        );
        assert!(text.contains(&told), "{text}");
    }
    assert!(
        help.contains("OVERRIDES_UNREAD: spell it anew and start with: Workflow --keyspace customer start"),
        "{help}"
    );
    life.cancel("customer", false).await.unwrap();
    life.expect_nothing_left("customer").await.unwrap();
    life.finish().await.unwrap();
}
