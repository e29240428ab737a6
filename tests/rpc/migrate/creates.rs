//! Creates that fail, are taken back, are interrupted and go on.

use std::time::Duration;

use serde_json::json;
use tonic::Code;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::{assert_refused, refusal};

const TABLES: [&str; 2] = ["customer", "orders"];

#[tokio::test]
async fn what_is_taken_back_is_not_under_way_any_more() {
    let rig = Rig::start().await;
    rig.target[0].contents().slow = vec![("ApplySchema", Duration::from_millis(300))];
    rig.target[1].contents().fails = vec!["ApplySchema"];
    rig.create().await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.expect_clean(&[]).await;

    rig.target[0].contents().slow = vec![("CreateVReplicationWorkflow", Duration::from_millis(300))];
    rig.target[1].contents().fails = vec!["CreateVReplicationWorkflow"];
    rig.create().await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.expect_clean(&[]).await;

    rig.target.iter().for_each(|primary| primary.contents().fails.clear());
    rig.create().await.unwrap();
}

#[tokio::test]
async fn what_another_workflow_works_on_by_now_stays_and_stays_denied() {
    let rig = Rig::start().await;
    rig.target[1].contents().slow = vec![("ApplySchema", Duration::from_millis(100))];
    rig.target[1].contents().fails = vec!["ApplySchema"];
    let other = async {
        rig.target[1].was_asked("ApplySchema").await;
        rig.target[0].add_stream("again", 77, "commerce", "orders");
    };
    let (answer, ()) = tokio::join!(rig.create(), other);
    let (_, text) = refusal(answer);
    assert!(text.contains("orders on shard -80: another workflow works on it"), "{text}");
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (vec!["orders".to_owned()], vec![]));
    assert_eq!(rig.denied().await, [vec!["orders".to_owned()], vec!["orders".to_owned()]]);
    let record = rig.record().await.unwrap();
    assert_eq!((&record["tables"], &record["phase"]), (&json!(["orders"]), &json!("created")));
    assert_eq!(record["denied_tables"], json!([[["-80", "80-"], ["orders"]]]));
    // when that one has ended, the cleaner lifts it
    rig.forget_streams();
    rig.target[0].contents().tables.clear();
    rig.clean().await;
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn beside_a_rival_a_create_takes_back_what_is_its_own() {
    let rig = Rig::start().await;
    rig.target[1].contents().slow = vec![("CreateVReplicationWorkflow", Duration::from_millis(100))];
    rig.target[1].contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    let rival = async {
        rig.target[1].was_asked("CreateVReplicationWorkflow").await;
        rig.target[0].add_stream("import", 77, "elsewhere", "orders");
    };
    let (answer, ()) = tokio::join!(rig.create(), rival);
    let text = "workflow import already exists in keyspace customer: another client created it at the same time";
    assert_refused(answer, Code::AlreadyExists, text);
    assert_eq!(
        (rig.target[0].tables(), rig.target[1].tables()),
        (vec!["orders".to_owned()], vec!["orders".to_owned()])
    );
    assert_eq!(rig.denied().await, [vec!["orders".to_owned()], vec!["orders".to_owned()]]);
    assert_eq!(rig.record().await, None);
    let calls = rig.target[1].taken();
    let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
    assert!(at("alter table orders add key") < at("delete from _vt.vreplication"), "{calls:?}");
    let left: Vec<i32> = rig.target.iter().flat_map(|primary| primary.streams()).map(|stream| stream.id).collect();
    assert_eq!(left, [77]);
}

#[tokio::test]
async fn a_table_that_somebody_else_made_stays_when_create_is_taken_back() {
    let rig = Rig::start().await;
    rig.target[0].contents().made_before_ddl = vec![("orders", 7)];
    let (_, text) = refusal(rig.create().await);
    assert!(text.contains("Table 'orders' already exists"), "{text}");
    assert!(text.contains("left as they are: orders on shard -80"), "{text}");
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (vec!["orders".to_owned()], vec![]));
    assert_eq!(rig.target[0].contents().tables["orders"], 7);
    assert_eq!(rig.record().await, None);
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
}

/// The statements of a shard are one request, of which the rest is not run when one fails.
#[tokio::test]
async fn what_comes_after_a_table_that_was_there_is_not_creates_either() {
    let rig = Rig::start().await;
    rig.target[0].contents().made_before_ddl = vec![("customer", 0), ("orders", 0)];
    let (_, text) = refusal(rig.create().await);
    assert!(text.contains("Table 'customer' already exists"), "{text}");
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (TABLES.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(rig.record().await, None);
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
}

/// A tablet denies only tables that are there when it reads its shard's record.
#[tokio::test]
async fn tablets_hear_of_the_denial_when_the_tables_are_there_and_before_any_stream() {
    for there in [false, true] {
        let rig = Rig::start().await;
        if there {
            TABLES.iter().for_each(|table| rig.target[0].fill(table, 0));
        }
        rig.create().await.unwrap();
        let calls = rig.target[0].taken();
        let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
        assert!(there || at("ApplySchema") < at("RefreshState"), "{calls:?}");
        assert!(at("RefreshState") < at("CreateVReplicationWorkflow"), "{calls:?}");
        rig.cancel(false).await.unwrap();
        let left = if there { TABLES.map(str::to_owned).to_vec() } else { Vec::new() };
        assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (left, vec![]));
    }
}

#[tokio::test]
async fn a_create_of_a_keyspace_that_was_made_anew_begins_afresh() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating", "shards": [["-80", 1], ["80-", 2]]})).await;
    rig.deny(&[]).await;
    rig.target.iter().for_each(|primary| primary.contents().tables.clear());
    rig.create().await.unwrap();
    assert_eq!(rig.denied().await, [TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec()]);
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_create_of_which_one_shard_was_made_anew_is_refused() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    let mut shards = rig.record().await.unwrap()["shards"].clone();
    shards[1][1] = json!(7);
    rig.set_record(json!({"phase": "creating", "shards": shards})).await;
    let text = "the shards of keyspace customer are not those that an interrupted create of workflow import worked on";
    assert_refused(rig.create().await, Code::FailedPrecondition, text);
}

/// Its streams would go on in tables that were dropped under them.
#[tokio::test]
async fn a_create_does_not_go_on_where_a_cancel_has_begun() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "creating"})).await;
    rig.target[1].contents().fails = vec!["drop table"];
    rig.cancel(false).await.unwrap_err();
    assert_eq!(rig.record().await.unwrap()["cancelling"], true);
    let text = "a cancel of workflow import in keyspace customer was interrupted";
    assert_refused(rig.create().await, Code::FailedPrecondition, text);
    assert_eq!(rig.target[0].tables(), Vec::<String>::new());
    rig.target[1].contents().fails.clear();
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    rig.create().await.unwrap();
}

#[tokio::test]
async fn tables_that_the_source_got_since_are_told_when_create_goes_on() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.set_record(json!({"phase": "creating"})).await;
    rig.source.fill("parts", 1);
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("the source has tables that it had not when create began: parts"), "{text}");
}

#[tokio::test]
async fn a_create_does_not_go_on_where_clients_could_write_to_what_its_streams_fill() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "creating"})).await;
    // somebody lifts it, and a client writes
    rig.deny(&["customer"]).await;
    rig.target[1].fill("orders", 11);
    let text =
        "writes to orders on shard customer/-80 are not denied any more, and streams of workflow import have filled it";
    assert_refused(rig.create().await, Code::FailedPrecondition, text);
    assert_eq!((rig.target[0].taken(), rig.target[1].taken()), (vec![], vec![]));
    assert_eq!(rig.denied().await[0], ["customer"]);
    // and the way out that it names keeps the row
    rig.cancel(true).await.unwrap();
    rig.expect_clean(&TABLES).await;
    assert_eq!(rows(&rig), [10, 10, 10, 11]);
}

#[tokio::test]
async fn a_create_that_goes_on_denies_again_what_its_streams_have_not_begun_to_fill() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.set_record(json!({"phase": "creating"})).await;
    for primary in &rig.target {
        for stream in &mut primary.contents().workflows[0].streams {
            (stream.state, stream.pos) = (State::Stopped.into(), Vec::new());
        }
    }
    rig.deny(&["customer"]).await;
    rig.create().await.unwrap();
    assert_eq!(rig.denied().await, [TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec()]);
}

/// Stock takes no lock before its streams are there: they come between the looks that create takes for them.
#[tokio::test]
async fn streams_of_a_rival_keep_their_tables_and_the_denial_of_these() {
    for (at, words) in [
        ("CreateVReplicationWorkflow", "another client created it at the same time"),
        ("ApplySchema", "told to fail: ApplySchema"),
    ] {
        let rig = Rig::start().await;
        rig.target[0].contents().rival = Some((at, vec!["orders"]));
        if at == "ApplySchema" {
            rig.target[1].contents().fails = vec!["ApplySchema"];
        }
        let (_, text) = refusal(rig.create().await);
        assert!(text.contains(words), "{text}");
        let left = rig.target[0].streams();
        assert_eq!((left.len(), left[0].state(), rig.target[1].streams().len()), (1, State::Running, 0), "{at}");
        assert_eq!(left[0].bls.as_ref().unwrap().filter.as_ref().unwrap().rules[0].filter, "select * from orders");
        assert_eq!(rig.target[0].tables(), ["orders"], "{at}: what only this create made goes");
        assert_eq!(rig.denied().await, [["orders"], ["orders"]], "{at}");
        assert_eq!(rig.record().await, None, "{at}");
    }
}

#[tokio::test]
async fn a_repeated_create_refuses_rows_that_no_stream_copied() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating"})).await;
    rig.target[1].fill("orders", 3);
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("non-empty tables found in target keyspace(customer): orders"), "{text}");
    assert_eq!(rows(&rig), [0, 0, 0, 3]);
    rig.target[1].fill("orders", 0);
    rig.create().await.unwrap();
    assert_eq!(rig.record().await.unwrap()["phase"], "created");
    // where its streams have copied, rows are no finding
    rig.copied_again().await;
    rig.create().await.unwrap();
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

impl Rig {
    async fn copied_again(&self) {
        self.set_record(json!({"phase": "creating"})).await;
        for primary in &self.target {
            primary.contents().tables.values_mut().for_each(|rows| *rows = 10);
        }
    }
}

#[tokio::test]
async fn a_create_that_goes_on_and_fails_leaves_what_was_copied() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "creating"})).await;
    let mut before = rig.record().await;
    // which there are is noted when a create ends
    before.as_mut().unwrap().as_object_mut().unwrap().remove("streams");
    rig.target[1].contents().fails = vec!["RefreshState"];
    let (_, text) = refusal(rig.create().await);
    assert!(text.contains("told to fail: RefreshState"), "{text}");
    assert!(text.contains("run it again, and it goes on"), "{text}");
    assert_eq!((rows(&rig), rig.record().await), (vec![10; 4], before));
    assert!(rig.target.iter().all(|primary| primary.streams()[0].state() == State::Running));
    assert_eq!(rig.denied().await[0], TABLES);
    rig.target[1].contents().fails.clear();
    rig.create().await.unwrap();
    assert_eq!(rig.record().await.unwrap()["phase"], "created");
}

#[tokio::test]
async fn what_an_earlier_workflow_denied_is_carried_over() {
    let rig = Rig::start().await;
    rig.copied().await;
    // stock: Workflow delete, which leaves the denied tables
    rig.forget_streams();
    rig.target.iter().for_each(|primary| primary.contents().tables.clear());
    let answer = rig.create().await.unwrap();
    assert!(answer.contains("LEFTOVER_RECORD") && !answer.contains("ALREADY_DENIED"), "{answer}");
    assert_eq!(rig.denied().await, [TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec()]);
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_table_that_a_user_made_in_the_place_of_an_earlier_workflows_is_the_users() {
    let rig = Rig::start().await;
    rig.copied().await;
    // stock: Workflow delete, which leaves the denied tables; then CREATE TABLE
    rig.forget_streams();
    rig.target.iter().for_each(|primary| primary.contents().tables.values_mut().for_each(|rows| *rows = 0));
    rig.create().await.unwrap();
    assert_eq!(rig.record().await.unwrap()["created_tables"], json!([[["-80", "80-"], []]]));
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&TABLES).await;
}

#[tokio::test]
async fn a_create_does_not_go_on_when_tables_went_under_its_streams() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "creating"})).await;
    rig.target[1].contents().tables.remove("orders");
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("have copied to shard customer/80-, and tables are not there any more: orders"), "{text}");
    assert!(rig.target.iter().all(|primary| primary.taken().is_empty()), "nothing is changed");
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_changed_plan_is_no_rival() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.set_record(json!({"phase": "creating"})).await;
    let before = rig.record().await;
    for stream in rig.target[1].contents().workflows.iter_mut().flat_map(|workflow| &mut workflow.streams) {
        // Workflow update --on-ddl EXEC
        stream.bls.as_mut().unwrap().on_ddl = vtmigrated_proto::binlogdata::OnDdlAction::Exec.into();
    }
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(
        text.contains("on shard customer/80- from commerce/0") && text.contains("on-ddl was EXEC, now IGNORE"),
        "{text}"
    );
    assert_eq!((rig.record().await, rig.target[0].streams().len()), (before, 1), "nothing is deleted");
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_source_without_gtids_is_read_by_places_in_its_binlogs() {
    let rig = Rig::start().await;
    rig.source.contents().variables = vec![("gtid_mode", "OFF")];
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("has gtid_mode OFF, and streams need GTIDs"), "{text}");
    // vttablet --db-flavor FilePos
    rig.source.contents().position = Some("FilePos/binlog.000009:44");
    rig.create().await.unwrap();
}

#[tokio::test]
async fn a_create_whose_status_cannot_be_read_has_succeeded() {
    let rig = Rig::start().await;
    rig.target[0].contents().fails = vec!["_vt.copy_state"];
    let answer = rig.create().await.unwrap();
    assert!(answer.contains("The workflow is created. Warning STATUS_NOT_READ"), "{answer}");
    assert_eq!(rig.record().await.unwrap()["phase"], "created");
}
