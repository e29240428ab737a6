//! What cancel, the cleaner of leftovers and create take away: only what is proven at that moment to be the workflow's.

use std::time::Duration;

use prost::Message;
use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::topodata::{Shard, Tablet, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Time;

use crate::support::migrate_rig::{Rig, SHARDS};
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{assert_refused, refusal, tablet};

const TABLES: [&str; 2] = ["customer", "orders"];

pub fn rows(rig: &Rig) -> Vec<u64> {
    rig.target.iter().flat_map(|primary| primary.contents().tables.values().copied().collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn cancel_takes_everything_away_and_looks_at_no_row() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::NotFound, "{text}");
    assert!(text.starts_with("no streams found in keyspace customer for import\n"), "{text}");
    assert!(text.contains("RefreshStateByShard customer/-80, RefreshStateByShard customer/80-"), "{text}");
}

#[tokio::test]
async fn a_workflow_is_cancelled_while_it_begins_to_copy() {
    let rig = Rig::start().await;
    rig.target.iter().for_each(|primary| primary.contents().starts_slowly = true);
    rig.copied().await;
    assert!(rig.target.iter().all(|primary| primary.streams()[0].pos.is_empty()));
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn rows_without_a_stream_are_never_dropped() {
    let rig = Rig::start().await;
    rig.copied().await;
    // stock: Workflow delete --keep-data
    rig.forget_streams();
    let (code, text) = refusal(rig.complete().await);
    assert_eq!(code, Code::NotFound, "{text}");
    let left = "its record is left; take that away: Migrate --target-keyspace customer --workflow import cancel";
    assert_eq!(text, format!("no streams found in keyspace customer for import\n{left}"));
    for denied in [&TABLES[..], &[]] {
        rig.deny(denied).await;
        let (code, text) = refusal(rig.cancel(false).await);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        assert!(text.starts_with("no streams found in keyspace customer for import"), "{text}");
        assert!(text.contains("customer on shard -80: no stream of the workflow is there"), "{text}");
        assert!(text.contains("Workflow --keyspace customer delete --workflow import --keep-data"), "{text}");
        assert!(rig.record().await.is_some());
        assert_eq!(rows(&rig), [10; 4], "nothing is dropped or emptied");
        assert_eq!(rig.target[0].taken().iter().filter(|call| !call.starts_with("RefreshState")).count(), 0);
    }
    // and there is a way to a clean end
    rig.deny(&TABLES).await;
    rig.cancel(true).await.unwrap();
    rig.expect_clean(&TABLES).await;
    assert_eq!(rows(&rig), [10; 4]);
}

#[tokio::test]
async fn the_cleaner_leaves_tables_with_rows_and_says_so() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.forget_streams();
    let found = rig.leftovers().await;
    assert_eq!(found[0].0, "RECORD_WITHOUT_STREAMS", "{found:?}");
    assert!(found[0].1.contains("these tables stay: customer on shard -80: no stream of the workflow"), "{found:?}");
    rig.clean().await;
    rig.expect_clean(&TABLES).await;
    assert_eq!(rows(&rig), [10; 4]);
}

#[tokio::test]
async fn live_tables_that_happen_to_be_empty_are_not_dropped() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    for denied in [&TABLES[..], &[]] {
        rig.deny(denied).await;
        let planned = rig.record().await.unwrap();
        let text = rig.cancel(false).await.unwrap();
        assert!(text.contains("left, empty: customer on shard -80: no stream of the workflow is there"), "{text}");
        assert!(text.contains("(0 tables removed)"), "{text}");
        rig.expect_clean(&TABLES).await;
        rig.lab.put(&paths::workflow_record("customer", "import"), planned.to_string().into_bytes()).await;
    }
    rig.clean().await;
    rig.expect_clean(&TABLES).await;
}

#[tokio::test]
async fn an_interrupted_create_is_cancelled_without_streams() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating"})).await;
    rig.target[1].contents().tables.clear();
    rig.target[0].taken();
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    let calls = rig.target[0].taken();
    let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
    assert!(at("RefreshState") < at("drop table"), "the tablet knows first that clients may not write: {calls:?}");
}

#[tokio::test]
async fn the_cleaner_takes_an_interrupted_create_away_and_denies_nothing_for_good() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating"})).await;
    rig.deny(&[]).await;
    assert_eq!(rig.leftovers().await[0].0, "CREATE_INTERRUPTED");
    rig.clean().await;
    // clients could write to them: they may be anybody's
    rig.expect_clean(&TABLES).await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating", "created_tables": [["-80", ["orders"]], ["80-", TABLES]]})).await;
    rig.clean().await;
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (vec!["customer".to_owned()], vec![]));
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
}

#[tokio::test]
async fn the_cleaner_leaves_a_create_whose_streams_have_copied() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "creating", "created_tables": [["-80", []], ["80-", []]]})).await;
    rig.target.iter().for_each(|primary| primary.contents().tables.values_mut().for_each(|rows| *rows = 0));
    let found = rig.leftovers().await;
    assert_eq!(found[0].0, "CREATE_INTERRUPTED", "{found:?}");
    assert!(found[0].1.contains("its streams have begun to copy"), "{found:?}");
    rig.clean().await;
    assert!(rig.record().await.is_some() && rig.target[0].streams().len() == 1);
    assert_eq!(rig.denied().await[0], TABLES);
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&TABLES).await;
}

#[tokio::test]
async fn clients_may_have_written_where_the_denial_is_gone() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.deny(&["customer"]).await;
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with("cannot delete workflow import in keyspace customer"), "{text}");
    assert!(text.contains("orders on shard 80-: writes to it are not denied"), "{text}");
    assert!(!text.contains("customer on shard"), "{text}");
    assert_eq!(rows(&rig), [10; 4]);
    assert!(rig.target.iter().all(|primary| primary.streams()[0].state() == State::Running), "nothing has changed");
}

#[tokio::test]
async fn a_complete_that_has_begun_can_be_cancelled_until_it_hands_over() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"completing": true, "handed_over": true})).await;
    rig.target.iter().for_each(MigrateTablet::freeze);
    let text = "cannot delete workflow import in keyspace customer: its complete has begun";
    assert_refused(rig.cancel(false).await, Code::FailedPrecondition, text);
    rig.set_record(json!({"handed_over": false})).await;
    let denied = rig.denied().await;
    rig.deny(&[]).await;
    assert_refused(rig.cancel(false).await, Code::FailedPrecondition, text);
    assert_eq!(denied[0], TABLES);
    rig.deny(&TABLES).await;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn a_record_does_not_apply_to_a_keyspace_made_anew() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating"})).await;
    // as stock's DeleteKeyspace and CreateKeyspace do, which know of no record
    for shard in SHARDS {
        let path = paths::shard("customer", shard);
        let value = rig.lab.topo.global().get(&path).await.unwrap().value;
        let gone = Write::delete(path.clone(), Expect::Any);
        rig.lab.topo.global().write_one(gone, None).await.unwrap();
        rig.lab.put(&path, value.to_vec()).await;
    }
    let text = rig.cancel(false).await.unwrap();
    assert!(text.contains("left, empty: customer on shard -80"), "{text}");
    assert_eq!(rig.record().await, None);
    // what the new keyspace denies is none of the record's business
    assert_eq!(rig.denied().await[0], TABLES);
    assert_eq!(rig.target[0].tables(), TABLES);
}

#[tokio::test]
async fn a_row_that_comes_in_the_last_moment_is_seen() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.set_record(json!({"phase": "creating"})).await;
    rig.target[1].contents().written_at_refresh = Some("orders");
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::Aborted, "{text}");
    assert!(text.contains("orders on shard 80-"), "{text}");
    assert_eq!(rows(&rig), [0, 0, 0, 1]);
    assert_eq!(rig.denied().await[1], TABLES);
    assert_ne!(rig.record().await.unwrap()["cancelling"], true, "nothing was taken away");
    rig.target[1].fill("orders", 0);
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn tables_that_were_there_are_emptied_a_few_at_a_time_and_get_their_keys_last() {
    let tables: Vec<String> = (0..30).map(|number| format!("t{number:02}")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let rig = Rig::with(&tables).await;
    rig.target.iter().for_each(|primary| tables.iter().for_each(|table| primary.fill(table, 0)));
    rig.copied().await;
    for primary in &rig.target {
        let key = |table: &&str| ((*table).to_owned(), format!("alter table {table} add key by_id (id)"));
        primary.contents().actions = tables.iter().map(key).collect();
        primary.contents().most = 0;
        primary.contents().slow = vec![("truncate", Duration::from_millis(5))];
    }
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&tables).await;
    assert_eq!(rows(&rig), [0; 60]);
    for primary in &rig.target {
        assert!(primary.contents().most <= 4, "{} statements at once", primary.contents().most);
        let calls = primary.taken();
        let last_truncate = calls.iter().rposition(|call| call.starts_with("truncate")).unwrap();
        let first_key = calls.iter().position(|call| call.starts_with("alter table")).unwrap();
        assert!(last_truncate < first_key, "{calls:?}");
        assert_eq!(calls.iter().filter(|call| *call == "ReloadSchema").count(), 1, "{calls:?}");
        assert_eq!(calls.iter().filter(|call| call.starts_with("alter table")).count(), 30);
    }
}

#[tokio::test]
async fn a_record_is_not_cancelled_under_a_workflow_that_works_on_its_tables() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    for primary in &rig.target {
        primary.contents().workflows.iter_mut().for_each(|workflow| workflow.workflow = "again".into());
    }
    for keep_data in [false, true] {
        let (code, text) = refusal(rig.cancel(keep_data).await);
        assert_eq!(code, Code::FailedPrecondition, "{text}");
        assert!(text.contains("another workflow works on its tables: customer (again), orders (again)"), "{text}");
    }
    assert_eq!(
        (rig.target[0].tables(), rig.denied().await[0].clone()),
        (TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec())
    );
    rig.forget_streams();
    rig.cancel(true).await.unwrap();
    rig.expect_clean(&TABLES).await;
}

/// As when stock made the second one, which does not look at others.
#[tokio::test]
async fn of_two_workflows_on_the_same_tables_one_ends_with_kept_data_first() {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        let mut again = primary.contents().workflows[0].clone();
        again.workflow = "again".into();
        primary.contents().workflows.push(again);
    }
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("another workflow works on its tables: customer (again), orders (again)"), "{text}");
    assert!(text.contains("Workflow --keyspace customer delete --workflow again --keep-data"), "{text}");
    let dry_run = MoveTablesCompleteRequest { dry_run: true, ..MoveTablesCompleteRequest::default() };
    for answer in [rig.complete().await, rig.complete_as(dry_run).await.map(|done| done.summary)] {
        let (_, text) = refusal(answer);
        assert!(text.contains("another workflow works on its tables: customer (again), orders (again)"), "{text}");
    }
    let verdict = rig.verdict().await.unwrap();
    assert!(!verdict.clear && verdict.findings[0].id == "TABLES_SHARED", "{verdict:?}");
    let line = rig.status().await.unwrap().traffic_state;
    assert!(line.contains("Complete: NO-GO (tables shared, "), "{line}");
    rig.cancel(true).await.unwrap();
    let record = rig.record().await.unwrap();
    assert_eq!((&record["tables"], &record["handed_over"]), (&json!(TABLES), &json!(false)));
    assert!(rig.target.iter().all(|primary| primary.streams()[0].state() == State::Running), "those of again");
    assert_eq!(rig.denied().await, [TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec()]);
    assert_eq!(rows(&rig), [10; 4]);
    assert!(rig.leftovers().await[0].1.contains("that another workflow works on"));
    // when that one has ended, the cleaner lifts what is left
    rig.forget_streams();
    rig.clean().await;
    rig.expect_clean(&TABLES).await;
}

/// What was dropped on a tablet that is no primary any more may be there on the one that took over, whose streams run.
#[tokio::test]
async fn cancel_leaves_tables_denied_where_another_primary_has_taken_over_meanwhile() {
    let rig = Rig::start().await;
    rig.copied().await;
    let permits = rig.target[1].holds("drop table");
    let reparented = async {
        rig.target[1].was_asked("drop table").await;
        let shard = vtmigrated::topo::shard::get(rig.lab.topo.global(), "customer", "80-").await.unwrap();
        let primary_term_start_time = Some(Time { seconds: 1_900_000_000, nanoseconds: 0 });
        let record = Shard { primary_term_start_time, ..shard.value };
        rig.lab.put(&paths::shard("customer", "80-"), record.encode_to_vec()).await;
        permits.add_permits(1);
    };
    let (answer, ()) = tokio::join!(rig.cancel(false), reparented);
    let (code, text) = refusal(answer);
    assert_eq!(code, Code::Aborted, "{text}");
    assert!(text.contains("shard 80- got another primary meanwhile"), "{text}");
    assert_eq!(rig.denied().await, [TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec()]);
    let record = rig.record().await.unwrap();
    assert!(record["cancelling"] == true && record["seen_to"].is_null(), "{record}");
    assert!(rig.target.iter().all(|primary| !primary.streams().is_empty()));
    rig.target[1].contents().held = None;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

/// The streams of the tablet that takes over would go on.
#[tokio::test]
async fn nothing_is_ended_while_a_target_shard_is_reparented() {
    let mut rig = Rig::start().await;
    rig.copied().await;
    let port = MigrateTablet::default().start().await;
    let replica = tablet("zone2", 1001, "customer", "-80", TabletType::Replica, port);
    rig.lab.add_tablet(&replica).await;
    let cell = rig.lab.topo.cell("zone2").await.unwrap();
    let takes_over = async |seconds| {
        let mut record = Tablet { r#type: TabletType::Primary.into(), ..replica.clone() };
        record.primary_term_start_time = Some(Time { seconds, nanoseconds: 0 });
        let path = paths::tablet(record.alias.as_ref().unwrap());
        cell.write_one(Write::put(path, record.encode_to_vec(), Expect::Any), None).await.unwrap();
    };
    takes_over(20).await;
    let text = "shard -80 is being reparented: its record names zone1-0000001000 as the primary";
    assert_refused(rig.cancel(false).await, Code::FailedPrecondition, text);
    assert_refused(rig.cancel(true).await, Code::FailedPrecondition, text);
    assert_refused(rig.complete().await, Code::FailedPrecondition, text);
    assert_eq!((rig.target[0].taken(), rig.target[1].taken()), (vec![], vec![]));
    // one that was primary before
    takes_over(5).await;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn some_shards_of_a_workflow_are_not_cancelled_alone() {
    let rig = Rig::start().await;
    rig.copied().await;
    let request = WorkflowDeleteRequest { shards: vec!["-80".into()], ..WorkflowDeleteRequest::default() };
    let text = "cannot delete workflow import in keyspace customer on some of its shards";
    assert_refused(rig.delete(request).await, Code::InvalidArgument, text);
    assert_eq!(rows(&rig), [10; 4]);
    let shards = SHARDS.map(str::to_owned).to_vec();
    rig.delete(WorkflowDeleteRequest { shards, ..WorkflowDeleteRequest::default() }).await.unwrap();
    rig.expect_clean(&[]).await;
}
