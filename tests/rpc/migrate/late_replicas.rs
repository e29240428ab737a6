//! Replicas that start while a create, or a way back, denies tables: a tablet reads its shard's record before anybody can call it.

use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, paths};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
use vtmigrated_proto::topodata::{Tablet, TabletType};
use vtmigrated_proto::vtctldata::{RefreshStateRequest, WorkflowUpdateRequest};
use vtmigrated_proto::vtmigrated::PrepareWayBackRequest;
use vtmigrated_proto::vttime::Time;

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{refusal, tablet};
use crate::way_back::commands as way_back;

/// At this port nobody listens.
const NOWHERE: u16 = 1;
const REFRESH: &str = "when it answers again, run: RefreshState zone1-0000001001";

fn replica(port: u16) -> Tablet {
    tablet("zone1", 1001, "customer", "-80", TabletType::Replica, port)
}

/// Creates; a tablet registers itself while the first primary is at work on something. What the answer tells.
async fn create_while(rig: &mut Rig, call: &'static str, late: &Tablet) -> String {
    let permits = rig.target[0].holds(call);
    let (mut client, request) = (rig.lab.client.clone(), Rig::request(&["src1"], TabletType::Primary));
    let creating = tokio::spawn(async move { client.migrate_create(request).await });
    rig.target[0].was_asked(call).await;
    rig.lab.add_tablet(late).await;
    rig.target[0].contents().held = None;
    permits.add_permits(1);
    creating.await.unwrap().unwrap().into_inner().traffic_state
}

/// The streams of the first shard have copied, and the replica becomes its primary, which is there from now on.
async fn take_over(rig: &mut Rig, replica: Tablet) {
    ["customer", "orders"].iter().for_each(|table| rig.target[0].fill(table, 10));
    let port = i32::from(rig.target[0].start().await);
    let primary_term_start_time = Some(Time { seconds: 20, nanoseconds: 0 });
    let port_map = [("grpc".to_owned(), port)].into();
    let primary = Tablet { r#type: TabletType::Primary.into(), primary_term_start_time, port_map, ..replica };
    rig.lab.add_tablet(&primary).await;
}

async fn refuses_to_drop(rig: &Rig) {
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("customer on shard -80: its shard's primary was not refreshed"), "{text}");
    assert_eq!(rows(rig), [10, 10, 0, 0]);
}

#[tokio::test]
async fn a_replica_that_can_be_called_before_the_streams_start_is_refreshed() {
    for (known, call) in [(false, "ApplySchema"), (true, "RefreshState")] {
        let mut rig = Rig::start().await;
        if known {
            rig.lab.add_tablet(&replica(NOWHERE)).await;
        }
        let late = MigrateTablet::default();
        let port = late.start().await;
        let answer = create_while(&mut rig, call, &replica(port)).await;
        assert!(!answer.contains("was not refreshed"), "{answer}");
        assert_eq!(late.taken(), ["RefreshState"]);
        let record = rig.record().await.unwrap();
        assert_eq!((&record["unaware"], &record["starting"]), (&json!(null), &json!(null)));
        take_over(&mut rig, replica(port)).await;
        rig.cancel(false).await.unwrap();
        rig.expect_clean(&[]).await;
    }
}

#[tokio::test]
async fn a_replica_that_registers_meanwhile_and_is_not_refreshed_denies_nothing() {
    for is_busy in [true, false] {
        let mut rig = Rig::start().await;
        let late = MigrateTablet::default();
        late.contents().fails = vec!["RefreshState"];
        let port = if is_busy { late.start().await } else { NOWHERE };
        let answer = create_while(&mut rig, "ApplySchema", &replica(port)).await;
        assert!(answer.contains(REFRESH), "{answer}");
        assert_eq!(rig.record().await.unwrap()["unaware"], json!(["zone1-0000001001"]));
        take_over(&mut rig, replica(port)).await;
        refuses_to_drop(&rig).await;
    }
}

/// The record of a newer tablet tells when it started: one that has started anew has read its shard's record since.
#[tokio::test]
async fn a_replica_that_was_starting_denies_nothing_until_it_starts_anew_or_is_refreshed() {
    let since = |seconds: i64, port: u16| {
        let tablet_start_time = Some(Time { seconds, nanoseconds: 5 });
        Tablet { tablet_start_time, ..replica(port) }
    };
    for (start, is_refreshed) in [(70, false), (71, false), (70, true)] {
        let mut rig = Rig::start().await;
        rig.lab.add_tablet(&since(70, NOWHERE)).await;
        let answer = rig.create().await.unwrap();
        assert!(answer.contains(REFRESH), "{answer}");
        let record = rig.record().await.unwrap();
        let starting = json!([["zone1-0000001001", [70, 5]]]);
        assert_eq!((&record["unaware"], &record["starting"]), (&json!(null), &starting));
        if is_refreshed {
            let replica = since(70, MigrateTablet::default().start().await);
            rig.lab.add_tablet(&replica).await;
            let request = RefreshStateRequest { tablet_alias: replica.alias };
            rig.lab.client.refresh_state(request).await.unwrap();
            assert_eq!(rig.record().await.unwrap()["starting"], json!(null));
        }
        take_over(&mut rig, since(start, NOWHERE)).await;
        if start == 70 && !is_refreshed {
            refuses_to_drop(&rig).await;
        } else {
            rig.cancel(false).await.unwrap();
            rig.expect_clean(&[]).await;
        }
    }
}

/// Clients could write to the tables while it was primary. What proves that it never was are the reparents that its shard has noted.
#[tokio::test]
async fn a_replica_that_was_not_refreshed_and_may_have_been_primary_since_denied_nothing() {
    let (first, third) = ("zone1-0000001000", "zone1-0000001002");
    for (journal, is_proven) in [
        (vec![], false),
        (vec![first, "zone1-0000001001"], false),
        (vec![third, first], false),
        (vec![first, third], true),
    ] {
        let mut rig = Rig::start().await;
        let busy = MigrateTablet::default();
        busy.contents().fails = vec!["RefreshState"];
        let late = replica(busy.start().await);
        rig.lab.add_tablet(&late).await;
        rig.create().await.unwrap();
        assert_eq!(rig.record().await.unwrap()["unaware"], json!(["zone1-0000001001"]));
        take_over(&mut rig, late.clone()).await;
        // and is a replica again, and refreshed
        let primary_term_start_time = Some(Time { seconds: 30, nanoseconds: 0 });
        let primary = tablet("zone1", 1000, "customer", "-80", TabletType::Primary, rig.target[0].start().await);
        rig.lab.add_tablet(&Tablet { primary_term_start_time, ..primary }).await;
        rig.lab.add_tablet(&late).await;
        busy.contents().fails.clear();
        rig.lab.client.refresh_state(RefreshStateRequest { tablet_alias: late.alias }).await.unwrap();
        assert_eq!(rig.record().await.unwrap()["unaware"], json!(null));
        rig.target[0].contents().journal = journal;
        let told = rig.verdict().await.unwrap().findings;
        let is_told = told.iter().any(|f| f.id == "DENIED_MISSING" && f.subject == "shard customer/-80");
        assert_eq!(is_told, !is_proven, "{told:?}");
        if is_proven {
            rig.cancel(false).await.unwrap();
            rig.expect_clean(&[]).await;
        } else {
            refuses_to_drop(&rig).await;
            goes_nowhere(&rig).await;
        }
    }
}

/// Clients may have written: the rows do not come back, and no stream goes on over them.
async fn goes_nowhere(rig: &Rig) {
    let request = PrepareWayBackRequest { dry_run: true, ..way_back::wanted() };
    let told = way_back::prepare_as(rig, request).await.unwrap();
    assert!(way_back::found(&told, "WAY_BACK_TARGET_WRITTEN").is_some(), "{told:?}");
    rig.set_record(json!({"phase": "creating"})).await;
    let (_, text) = refusal(rig.create().await);
    let begins = "writes to customer on shard customer/-80 are not denied by its primary, or by one since";
    assert!(text.starts_with(begins), "{text}");
    rig.set_record(json!({"phase": "created", "completing": true})).await;
    rig.target.iter().for_each(MigrateTablet::freeze);
    let tablet_request = UpdateVReplicationWorkflowRequest {
        workflow: "import".into(),
        state: Some(State::Running.into()),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let request = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(tablet_request) };
    let (_, text) = refusal(rig.lab.client.clone().workflow_update(request).await);
    let begins =
        "cannot start a workflow when it is frozen: the primary of shard customer/-80, or one since create, did not";
    assert!(text.starts_with(begins), "{text}");
}

/// Whether an answer names a replica that may not know of denied tables.
fn names(answer: &str, alias: &str) -> bool {
    answer.contains(&format!("{alias} was not refreshed"))
}

#[tokio::test]
async fn a_replica_of_the_source_that_starts_while_a_way_back_is_opened_is_refreshed_or_named() {
    for is_reached in [true, false] {
        let (rig, _) = way_back::copied().await;
        way_back::prepare(&rig).await.unwrap();
        let late = MigrateTablet::default();
        let port = if is_reached { late.start().await } else { NOWHERE };
        let replica = tablet("src1", 101, "commerce", "0", TabletType::Replica, port);
        // the source's tables are denied by then
        let permits = rig.source.holds("CreateVReplicationWorkflow");
        let registered = async {
            rig.source.was_asked("CreateVReplicationWorkflow").await;
            rig.add_source_tablet(&replica).await;
            permits.add_permits(10);
        };
        let (answer, ()) = tokio::join!(rig.complete(), registered);
        let answer = answer.unwrap();
        assert!(answer.contains("; the way back is open"), "{answer}");
        assert_eq!(names(&answer, "src1-0000000101"), !is_reached, "{answer}");
        assert_eq!(late.taken(), if is_reached { vec!["RefreshState"] } else { vec![] });
    }
}

#[tokio::test]
async fn a_replica_of_the_target_that_starts_while_somebody_goes_back_is_refreshed_or_named() {
    for is_reached in [true, false] {
        let (mut rig, _) = way_back::opened().await;
        let late = MigrateTablet::default();
        let port = if is_reached { late.start().await } else { NOWHERE };
        // the target's tables are denied by then
        let permits = rig.target[0].holds("LOCK TABLES");
        let mut client = rig.lab.way_back.clone();
        let going = tokio::spawn(async move { client.complete(way_back::named()).await });
        rig.target[0].was_asked("LOCK TABLES").await;
        rig.lab.add_tablet(&replica(port)).await;
        permits.add_permits(10);
        let answer = going.await.unwrap().unwrap().into_inner().summary;
        assert_eq!(names(&answer, "zone1-0000001001"), !is_reached, "{answer}");
        assert_eq!(late.taken(), if is_reached { vec!["RefreshState"] } else { vec![] });
    }
}

#[tokio::test]
async fn replicas_in_cells_that_are_out_of_reach_while_a_way_back_denies_or_lifts_are_named_by_their_cell() {
    // the record of such a cell leads nowhere
    let nowhere = |cell: &str| Write::put(paths::cell_info(cell), vec![0xff_u8, 0xff], Expect::Any);
    let (rig, _) = way_back::copied().await;
    rig.source_topology().await.global().write_one(nowhere("src9"), None).await.unwrap();
    way_back::prepare(&rig).await.unwrap();
    let answer = rig.complete().await.unwrap();
    for text in [
        "; the way back is open",
        "a replica of commerce in cell src9, should there be one, was not refreshed (",
        "should it become primary, clients can write to tables of the source, and these writes are lost",
        "RefreshStateByShard --cells src9 commerce/<shard>",
    ] {
        assert!(answer.contains(text), "{text}: {answer}");
    }
    rig.lab.topo.global().write_one(nowhere("zone9"), None).await.unwrap();
    let answer = way_back::go_back(&rig).await.unwrap().summary;
    for (keyspace, cell, until) in [
        ("commerce", "src9", "it refuses clients the tables of the workflow"),
        ("customer", "zone9", "clients can write to the tables of the workflow"),
    ] {
        let named = format!("a replica of {keyspace} in cell {cell}, should there be one, was not refreshed (");
        let told = answer.lines().find(|line| line.starts_with(&named));
        assert!(told.is_some_and(|line| line.ends_with(until)), "{keyspace}: {answer}");
    }
}
