//! The ends of a workflow: what goes with it, what stays for others, and the ways back and on when one is cut off.

use std::time::Duration;

use prost::Message;
use serde_json::json;
use tonic::Code;
use vtmigrated::context::Options;
use vtmigrated::topo::paths;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vschema::keyspace::TablesEntry;
use vtmigrated_proto::vschema::{Keyspace as VSchema, Table};
use vtmigrated_proto::vtctldata::*;

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::{Rig, SHARDS};
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{assert_refused, refusal, tablet};

const TABLES: [&str; 2] = ["customer", "orders"];

/// A tablet takes the keys of all tables of a stream before the stream has a position.
#[tokio::test]
async fn keys_that_were_taken_before_a_row_was_copied_are_given_back() {
    for end in ["cancel", "take-back", "clean"] {
        let rig = Rig::start().await;
        rig.target.iter().for_each(|primary| TABLES.iter().for_each(|table| primary.fill(table, 0)));
        if end == "take-back" {
            rig.target[1].contents().fails = vec!["Update Running"];
        } else {
            rig.create().await.unwrap();
        }
        for primary in &rig.target {
            primary.taken();
            let mut contents = primary.contents();
            contents.actions = vec![("orders".into(), "alter table orders add unique key by_id (id)".into())];
            contents.workflows.iter_mut().flat_map(|w| &mut w.streams).for_each(|stream| stream.pos.clear());
        }
        match end {
            "cancel" => drop(rig.cancel(false).await.unwrap()),
            "clean" => {
                rig.set_record(json!({"phase": "creating"})).await;
                rig.clean().await;
            }
            _ => drop(rig.create().await.unwrap_err()),
        }
        rig.expect_clean(&TABLES).await;
        let calls = rig.target[1].taken();
        let at = |text: &str| calls.iter().position(|call| call.starts_with(text));
        let given_back = at("alter table orders add unique key").unwrap_or_else(|| panic!("{end}: {calls:?}"));
        assert!(given_back < at("delete from _vt.vreplication").unwrap(), "{end}: {calls:?}");
        assert!(at("truncate").is_none(), "{end}: {calls:?}");
    }
}

/// A replication graph may name tablets that are of another shard by now, whose primary is another one.
#[tokio::test]
async fn a_stray_tablet_makes_no_primary_aware() {
    let mut rig = Rig::start().await;
    let of = |uid, shard, kind, port| tablet("zone1", uid, "customer", shard, kind, port);
    let busy = MigrateTablet::default();
    busy.contents().fails = vec!["RefreshState"];
    rig.lab.add_tablet(&of(1001, "-80", TabletType::Replica, busy.start().await)).await;
    rig.create().await.unwrap();
    let (port, other_port) = (rig.target[0].start().await, rig.target[1].start().await);
    rig.lab.add_tablet(&of(1001, "-80", TabletType::Primary, port)).await;
    let stray = of(500, "80-", TabletType::Replica, other_port);
    rig.lab.add_tablet(&stray).await;
    let (keyspace, shard, tablet_alias) = ("customer".to_owned(), "-80".to_owned(), stray.alias);
    let request = ShardReplicationAddRequest { keyspace: keyspace.clone(), shard: shard.clone(), tablet_alias };
    rig.lab.client.shard_replication_add(request).await.unwrap();
    let request = RefreshStateByShardRequest { keyspace, shard, ..Default::default() };
    rig.lab.client.refresh_state_by_shard(request).await.unwrap();
    assert_eq!(rig.record().await.unwrap()["unaware"], json!(["zone1-0000001001"]));
}

/// A refresh that began before create denied its tables tells nothing of them.
#[tokio::test]
async fn a_refresh_from_before_a_create_makes_no_tablet_aware_of_it() {
    let mut rig = Rig::start().await;
    let busy = MigrateTablet::default();
    let replica = tablet("zone1", 1001, "customer", "-80", TabletType::Replica, busy.start().await);
    rig.lab.add_tablet(&replica).await;
    busy.contents().slow = vec![("RefreshState", Duration::from_secs(1))];
    let (mut client, tablet_alias) = (rig.lab.client.clone(), replica.alias);
    let refreshing = tokio::spawn(async move { client.refresh_state(RefreshStateRequest { tablet_alias }).await });
    busy.was_asked("RefreshState").await;
    {
        let mut contents = busy.contents();
        contents.slow.clear();
        contents.fails = vec!["RefreshState"];
    }
    rig.create().await.unwrap();
    refreshing.await.unwrap().unwrap();
    assert_eq!(rig.record().await.unwrap()["unaware"], json!(["zone1-0000001001"]));
}

#[tokio::test]
async fn keys_of_tables_that_go_are_not_given_back() {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        primary.contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    }
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    assert!(rig.target.iter().all(|primary| primary.taken().iter().all(|call| !call.starts_with("alter"))));
}

/// A tablet reads its shard's record when it is told to, not when it becomes primary.
#[tokio::test]
async fn a_primary_that_was_not_refreshed_at_create_denies_nothing() {
    let mut rig = Rig::start().await;
    let replica = |kind, port| tablet("zone1", 1001, "customer", "-80", kind, port);
    let busy = MigrateTablet::default();
    busy.contents().fails = vec!["RefreshState"];
    rig.lab.add_tablet(&replica(TabletType::Replica, busy.start().await)).await;
    rig.copied().await;
    assert_eq!(rig.record().await.unwrap()["unaware"], json!(["zone1-0000001001"]));
    let port = rig.target[0].start().await;
    rig.lab.add_tablet(&replica(TabletType::Primary, port)).await;
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("customer on shard -80: its shard's primary was not refreshed"), "{text}");
    assert!(!text.contains("on shard 80-"), "{text}");
    assert_eq!(rows(&rig), [10; 4]);
    rig.set_record(json!({"phase": "creating"})).await;
    let (code, text) = refusal(rig.create().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with("writes to customer on shard customer/-80 are not denied by its primary"), "{text}");
    rig.set_record(json!({"phase": "created"})).await;
    rig.target[0].contents().tables.values_mut().for_each(|rows| *rows = 0);
    let text = rig.cancel(false).await.unwrap();
    assert!(text.contains("left, empty: customer on shard -80: its shard's primary"), "{text}");
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (TABLES.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(rig.record().await, None);
}

/// One that did not run reads its shard's record when it starts; one that was busy is refreshed later, as create's answer says.
#[tokio::test]
async fn a_replica_that_has_read_its_shards_record_since_may_become_primary() {
    for (down, by_shard) in [(true, false), (false, false), (false, true)] {
        let mut rig = Rig::start().await;
        let busy = MigrateTablet::default();
        busy.contents().fails = vec!["RefreshState"];
        let port = if down { 1 } else { busy.start().await };
        let replica = |kind, port| tablet("zone1", 1001, "customer", "-80", kind, port);
        rig.lab.add_tablet(&replica(TabletType::Replica, port)).await;
        let answer = rig.create().await.unwrap();
        assert!(answer.contains("when it answers again, run: RefreshState zone1-0000001001"), "{answer}");
        if !down {
            busy.contents().fails.clear();
            let tablet_alias = replica(TabletType::Replica, port).alias;
            if by_shard {
                let (keyspace, shard) = ("customer".to_owned(), "-80".to_owned());
                let request = RefreshStateByShardRequest { keyspace, shard, ..Default::default() };
                rig.lab.client.refresh_state_by_shard(request).await.unwrap();
            } else {
                rig.lab.client.refresh_state(RefreshStateRequest { tablet_alias }).await.unwrap();
            }
        }
        assert_eq!(rig.record().await.unwrap()["unaware"], json!(null));
        rig.target[0].fill("orders", 10);
        let port = rig.target[0].start().await;
        rig.lab.add_tablet(&replica(TabletType::Primary, port)).await;
        rig.cancel(false).await.unwrap();
        rig.expect_clean(&[]).await;
    }
}

#[tokio::test]
async fn an_end_that_keeps_the_data_has_no_way_back_once_clients_can_write() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target[1].contents().fails = vec!["delete from _vt.vreplication"];
    rig.cancel(true).await.unwrap_err();
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
    assert_eq!(rig.record().await.unwrap()["handed_over"], true);
    let stream = &rig.target[1].streams()[0];
    assert_eq!((stream.state(), stream.message.as_slice()), (State::Stopped, b"FROZEN".as_slice()));
    let tablet_request = UpdateVReplicationWorkflowRequest {
        workflow: "import".into(),
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        state: Some(State::Running.into()),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let request = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(tablet_request) };
    let started = rig.lab.client.clone().workflow_update(request).await;
    assert_refused(started, Code::FailedPrecondition, "cannot start a workflow when it is frozen");
    let completed = rig.complete().await;
    let text = "cannot complete workflow import in keyspace customer: its delete with --keep-data has begun";
    assert_refused(completed, Code::FailedPrecondition, text);
    let text = "cannot delete workflow import in keyspace customer: its delete with --keep-data has begun";
    let (code, refused) = refusal(rig.cancel(false).await);
    assert!(code == Code::FailedPrecondition && refused.starts_with(text), "{refused}");
    assert!(
        refused.ends_with("repeat that: Workflow --keyspace customer delete --workflow import --keep-data"),
        "{refused}"
    );
    assert_eq!(rows(&rig), [10; 4]);
    rig.target[1].contents().fails.clear();
    rig.cancel(true).await.unwrap();
    rig.expect_clean(&TABLES).await;
    assert_eq!(rows(&rig), [10; 4]);
}

#[tokio::test]
async fn an_end_that_keeps_the_data_can_be_gone_back_on_while_clients_cannot_write() {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        primary.contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    }
    rig.target[1].contents().fails = vec!["alter table"];
    rig.cancel(true).await.unwrap_err();
    assert_eq!(
        (rig.denied().await[0].clone(), rig.record().await.unwrap()["handed_over"].clone()),
        (TABLES.map(str::to_owned).to_vec(), json!(false))
    );
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn entries_of_a_vschema_go_only_where_create_wrote_them_and_their_tables_go() {
    let entries = async |rig: &Rig| {
        let vschema = vtmigrated::topo::vschema::get(rig.lab.topo.global(), "customer").await.unwrap().value;
        vschema.tables.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };
    // the vschema became sharded since create wrote to it
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"vschema_tables": TABLES})).await;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    assert_eq!(entries(&rig).await, TABLES);
    // unsharded: of tables that go, and of tables that stay
    for (left, expected) in [(false, &[][..]), (true, &TABLES)] {
        let rig = Rig::start().await;
        rig.create().await.unwrap();
        let entry = |name: &str| TablesEntry { key: name.into(), value: Some(Table::default()) };
        let vschema = VSchema { tables: TABLES.map(entry).to_vec(), ..VSchema::default() };
        rig.lab.put(&paths::vschema("customer"), vschema.encode_to_vec()).await;
        rig.set_record(json!({"vschema_tables": TABLES})).await;
        if left {
            rig.forget_streams();
        }
        rig.cancel(false).await.unwrap();
        rig.expect_clean(expected).await;
        assert_eq!(entries(&rig).await, expected);
    }
}

/// A tablet that starts, or is refreshed, denies only tables that are there.
#[tokio::test]
async fn a_table_that_is_made_anew_after_its_drop_is_not_taken_by_a_repeated_cancel() {
    let rig = Rig::start().await;
    rig.copied().await;
    for primary in &rig.target {
        primary.contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    }
    rig.target[1].contents().fails = vec!["drop table"];
    rig.cancel(false).await.unwrap_err();
    assert_eq!(rig.record().await.unwrap()["seen_to"], json!(["-80"]));
    rig.target[0].fill("orders", 5);
    rig.target[1].contents().fails.clear();
    rig.target[0].taken();
    rig.cancel(false).await.unwrap();
    assert_eq!((rows(&rig), rig.target[1].tables()), (vec![5], vec![]));
    assert!(rig.target[0].taken().iter().all(|call| !call.starts_with("alter")), "it has keys of its own");
    assert_eq!((rig.record().await, rig.denied().await), (None, [Vec::<String>::new(), Vec::new()]));
}

/// The record is of a server that noted nothing of them.
#[tokio::test]
async fn tables_of_which_nothing_tells_whose_they_are_stay_and_get_their_keys_back() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"cancelling": true})).await;
    for primary in &rig.target {
        let mut contents = primary.contents();
        contents.tables.remove("customer");
        contents.actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    }
    let text = rig.cancel(false).await.unwrap();
    assert!(text.contains("; left: orders on shard -80: a cancel that was cut off has not noted"), "{text}");
    assert!(rig.target.iter().all(|primary| primary.taken().iter().any(|call| call.starts_with("alter table orders"))));
    rig.expect_clean(&["orders"]).await;
}

#[tokio::test]
async fn tables_are_noted_as_seen_to_when_the_denial_is_lifted() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target[1].contents().fails = vec!["delete from _vt.vreplication"];
    rig.cancel(false).await.unwrap_err();
    assert_eq!(rig.record().await.unwrap()["seen_to"], json!(SHARDS));
    rig.target[1].fill("orders", 5);
    rig.target[1].contents().fails.clear();
    rig.cancel(false).await.unwrap();
    assert_eq!((rows(&rig), rig.record().await), (vec![5], None));
}

/// A stream that an operator stopped, and one that has not begun to copy: the cancel is refused.
#[tokio::test]
async fn a_refused_cancel_starts_only_what_it_stopped() {
    let rig = Rig::start().await;
    rig.copied().await;
    let change = |at: usize, run: fn(&mut Stream)| {
        rig.target[at].contents().workflows.iter_mut().flat_map(|w| &mut w.streams).for_each(run);
    };
    change(0, |stream| stream.state = State::Stopped.into());
    change(1, |stream| stream.pos.clear());
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(
        text.contains("customer on shard 80-: it holds rows, and the workflow's streams have copied none"),
        "{text}"
    );
    let states: Vec<State> = rig.target.iter().map(|primary| primary.streams()[0].state()).collect();
    assert_eq!(states, [State::Stopped, State::Running]);
    assert!(rig.target[0].taken().iter().all(|call| !call.starts_with("Update")));
    change(1, |stream| stream.pos.clear());
    rig.target[1].contents().fails = vec!["Update Running"];
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with("cannot delete workflow import in keyspace customer"), "{text}");
    assert!(text.contains("could not be started again: ") && text.contains("told to fail: Update Running"), "{text}");
}

#[tokio::test]
async fn a_workflow_whose_streams_disagree_can_be_ended() {
    let rig = Rig::start().await;
    rig.copied().await;
    for stream in rig.target[1].contents().workflows.iter_mut().flat_map(|workflow| &mut workflow.streams) {
        let rules = &mut stream.bls.as_mut().unwrap().filter.as_mut().unwrap().rules;
        rules.retain(|rule| rule.r#match == "customer");
    }
    let (code, text) = refusal(rig.complete().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with("table lists are mismatched across streams: [customer orders] vs [customer]"), "{text}");
    assert!(text.contains("Workflow --keyspace customer delete --workflow import --keep-data"), "{text}");
    let (_, text) = refusal(rig.cancel(false).await);
    assert!(text.contains("orders on shard 80-: no stream of the workflow is there"), "{text}");
    assert_eq!(rows(&rig), [10; 4]);
    rig.target[1].contents().tables.remove("orders");
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    // and with what it has copied
    rig.copied().await;
    for stream in rig.target[1].contents().workflows.iter_mut().flat_map(|workflow| &mut workflow.streams) {
        stream.bls.as_mut().unwrap().keyspace = "elsewhere".into();
    }
    rig.cancel(true).await.unwrap();
    assert_eq!((rows(&rig), rig.target[0].streams(), rig.target[1].streams()), (vec![10; 4], vec![], vec![]));
}

#[tokio::test]
async fn the_keys_of_a_copy_that_complete_cuts_off_are_given_back() {
    let options = Options { allow_unfinished_complete: true, ..Options::default() };
    let rig = Rig::with_options(&TABLES, options).await;
    rig.copied().await;
    for primary in &rig.target {
        primary.contents().actions = vec![("orders".into(), "alter table orders add key by_id (id)".into())];
    }
    rig.complete().await.unwrap();
    rig.expect_clean(&TABLES).await;
    for primary in &rig.target {
        let calls = primary.taken();
        let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
        assert!(at("alter table orders add key") < at("delete from _vt.vreplication"), "{calls:?}");
    }
}
