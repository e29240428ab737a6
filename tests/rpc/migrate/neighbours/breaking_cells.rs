//! Cells that break while a migration is under way, and what puts right what was left out.

use futures::future::{join, join_all};
use prost::Message;
use serde_json::json;
use vtmigrated::topo::Expect;
use vtmigrated::workflow::reads::source::{self, Ask};
use vtmigrated_proto::vschema::keyspace::TablesEntry;
use vtmigrated_proto::vschema::{Keyspace as VSchema, Table};
use vtmigrated_proto::vttime::Time;

use super::breakage::{ALL, Broken, OF_TARGET, TABLES, World};
use super::*;
use crate::support::migrate_tablet::MigrateTablet;

/// Cells that no command needs, one of each side.
const BESIDE: [&str; 2] = ["zone2", "src2"];

/// Whether a text tells what to do once zone2 is back.
fn has_fix(text: &str) -> bool {
    text.contains("RebuildVSchemaGraph --cells zone2")
}

async fn completes_beside(broken: Broken) {
    let world = World::start().await;
    let rig = &world.rig;
    rig.copied().await;
    world.forgets("zone2").await;
    world.breaks(&BESIDE, broken).await;
    // of a silent one each would wait some seconds for it
    if broken != Broken::Silent {
        let line = rig.status().await.unwrap().traffic_state;
        assert_eq!(line.contains("cell zone2 was left out: "), broken != Broken::Full, "{broken:?}: {line}");
        for (name, answer) in [
            ("show", world.show().await),
            ("stop", world.update(State::Stopped).await),
            ("start", world.update(State::Running).await),
            ("VDiff", world.diff().await),
            ("verdict", rig.verdict().await.map(drop)),
        ] {
            assert!(answer.is_ok(), "{broken:?} {name}: {answer:?}");
        }
    }
    let summary = rig.complete().await.unwrap_or_else(|status| panic!("{broken:?}: {status}"));
    assert!(has_fix(&summary), "{broken:?}: {summary}");
    rig.expect_clean(&TABLES).await;
    world.are_back(&BESIDE).await;
    assert_eq!(world.served("zone2").await, None, "{broken:?}");
    world.rebuild(&["zone2"]).await;
    world.expect_served().await;
}

async fn cancels_beside(broken: Broken) {
    let world = World::start().await;
    let rig = &world.rig;
    rig.copied().await;
    world.forgets("zone2").await;
    world.breaks(&BESIDE, broken).await;
    let summary = rig.cancel(false).await.unwrap_or_else(|status| panic!("{broken:?}: {status}"));
    // nothing is written to a cell
    assert_eq!(has_fix(&summary), broken != Broken::Full, "{broken:?}: {summary}");
    rig.expect_clean(&[]).await;
    world.are_back(&BESIDE).await;
    let line = rig.create().await.unwrap();
    assert!(!line.contains("CELL_UNREACHABLE"), "{broken:?}: {line}");
    world.expect_served().await;
}

#[tokio::test]
async fn cells_that_break_under_way_are_left_out_by_name_until_they_are_back() {
    join(join_all(ALL.map(completes_beside)), join_all(ALL.map(cancels_beside))).await;
}

#[tokio::test]
async fn a_cell_that_breaks_while_a_create_runs_is_told_with_what_to_do() {
    for broken in [Broken::Dead, Broken::Full] {
        let world = World::start().await;
        world.forgets("zone2").await;
        let (created, ()) = tokio::join!(world.rig.create(), world.breaks_at("ApplySchema", "zone2", broken));
        let line = created.unwrap();
        assert!(line.contains("Warning CELL_UNREACHABLE: cell zone2") && has_fix(&line), "{broken:?}: {line}");
        world.are_back(&["zone2"]).await;
        assert_eq!(world.served("zone2").await, None);
        world.rebuild(&["zone2"]).await;
        world.expect_served().await;
    }
}

#[tokio::test]
async fn a_cell_that_breaks_while_a_complete_runs_is_written_when_that_is_repeated() {
    for broken in [Broken::Dead, Broken::Full] {
        let world = World::start().await;
        let rig = &world.rig;
        rig.copied().await;
        world.forgets("zone2").await;
        rig.target[1].contents().fails = vec!["delete from _vt.vreplication"];
        let (completed, ()) = tokio::join!(rig.complete(), world.breaks_at("Update Stopped", "zone2", broken));
        let refused = completed.unwrap_err();
        assert!(refused.message().contains("told to fail"), "{broken:?}: {refused}");
        assert_eq!(rig.record().await.unwrap()["handed_over"], true, "what was done stays done");
        world.are_back(&["zone2"]).await;
        rig.target[1].contents().fails.clear();
        let summary = rig.complete().await.unwrap();
        assert!(!has_fix(&summary), "{broken:?}: {summary}");
        rig.expect_clean(&TABLES).await;
        world.expect_served().await;
    }
}

#[tokio::test]
async fn a_command_that_can_write_to_no_cell_changes_nothing_for_clients_and_can_be_repeated() {
    let world = World::start().await;
    let rig = &world.rig;
    world.breaks(&OF_TARGET, Broken::Full).await;
    let refused = rig.create().await.unwrap_err();
    assert!(refused.message().contains("database space exceeded"), "{refused}");
    rig.expect_clean(&[]).await;
    world.are_back(&OF_TARGET).await;
    rig.copied().await;
    world.breaks(&OF_TARGET, Broken::Full).await;
    let refused = rig.complete().await.unwrap_err();
    assert!(refused.message().contains("database space exceeded"), "{refused}");
    assert_eq!(rig.record().await.unwrap()["handed_over"], false);
    assert_eq!(rig.denied().await, [TABLES, TABLES].map(|tables| tables.map(str::to_owned).to_vec()));
    world.are_back(&OF_TARGET).await;
    rig.complete().await.unwrap();
    rig.expect_clean(&TABLES).await;
    world.expect_served().await;
}

#[tokio::test]
async fn entries_that_a_cancel_took_out_of_the_vschema_leave_the_cells_when_that_is_repeated() {
    // no cell takes writes; one does, and the cancel is cut off later
    for (cells, fails) in [(&OF_TARGET[..], vec![]), (&OF_TARGET[1..], vec!["delete from _vt.vreplication"])] {
        let world = World::start().await;
        let rig = &world.rig;
        rig.create().await.unwrap();
        let entry = |name: &str| TablesEntry { key: name.into(), value: Some(Table::default()) };
        let vschema = VSchema { tables: TABLES.map(entry).to_vec(), ..VSchema::default() };
        rig.lab.put(&paths::vschema("customer"), vschema.encode_to_vec()).await;
        rig.set_record(json!({"vschema_tables": TABLES})).await;
        world.rebuild(&OF_TARGET).await;
        world.breaks(cells, Broken::Full).await;
        rig.target[1].contents().fails = fails;
        rig.cancel(false).await.unwrap_err();
        world.are_back(cells).await;
        assert_eq!(world.served("zone2").await, Some(TABLES.map(str::to_owned).to_vec()));
        rig.target[1].contents().fails.clear();
        rig.cancel(false).await.unwrap();
        rig.expect_clean(&[]).await;
        for cell in OF_TARGET {
            assert_eq!(world.served(cell).await, Some(Vec::new()), "{cell}");
        }
    }
}

#[tokio::test]
async fn commands_that_need_a_cell_of_the_target_that_broke_change_nothing_until_it_is_back() {
    for broken in [Broken::Dead, Broken::Foreign, Broken::Nowhere, Broken::Garbled] {
        let world = World::start().await;
        let rig = &world.rig;
        rig.copied().await;
        let streams = rig.target.each_ref().map(MigrateTablet::streams);
        world.breaks(&["zone1"], broken).await;
        for (name, answer) in [
            ("status", rig.status().await.map(drop)),
            ("show", world.show().await),
            ("stop", world.update(State::Stopped).await),
            ("VDiff", world.diff().await),
            ("complete", rig.complete().await.map(drop)),
            ("cancel", rig.cancel(false).await.map(drop)),
        ] {
            let refused = answer.expect_err(name);
            let words = "the primary of shard -80 is in a cell that is out of reach: ";
            assert!(refused.message().contains(words), "{broken:?} {name}: {refused}");
        }
        assert_eq!(rig.target.each_ref().map(MigrateTablet::streams), streams);
        assert!(rig.target.iter().all(|primary| primary.taken().is_empty()) && !world.was_diffed());
        world.are_back(&["zone1"]).await;
        rig.complete().await.unwrap();
        rig.expect_clean(&TABLES).await;
    }
}

#[tokio::test]
async fn a_cell_of_the_source_that_broke_with_what_streams_read_keeps_no_status_and_no_cancel() {
    for broken in [Broken::Dead, Broken::Foreign, Broken::Nowhere, Broken::Garbled] {
        let world = World::start().await;
        let rig = &world.rig;
        rig.copied().await;
        world.breaks(&["src1"], broken).await;
        let status = rig.status().await.unwrap();
        let streams: Vec<_> = status.shard_streams.into_iter().flat_map(|entry| entry.value.unwrap().streams).collect();
        let words = "the source cannot be reached: the primary of shard 0 is in a cell that is out of reach: ";
        assert!(streams.len() == 2 && streams.iter().all(|stream| stream.info.contains(words)), "{streams:?}");
        world.show().await.unwrap();
        world.diff().await.unwrap_err();
        let refused = rig.complete().await.unwrap_err();
        assert!(refused.message().contains("complete --ignore-source-keyspace"), "{broken:?}: {refused}");
        assert!(!world.was_diffed() && rig.target.iter().all(|primary| primary.taken().is_empty()));
        if broken == Broken::Dead {
            rig.cancel(false).await.unwrap();
            rig.expect_clean(&[]).await;
            continue;
        }
        world.are_back(&["src1"]).await;
        rig.complete().await.unwrap();
        rig.expect_clean(&TABLES).await;
    }
}

#[tokio::test]
async fn a_silent_cell_of_the_source_hides_no_reparent_in_another_one() {
    let world = World::start().await;
    let rig = &world.rig;
    // a tablet has become primary, and the record of its shard does not say so yet
    let topology = rig.source_topology().await;
    let path = paths::shard("commerce", "0");
    let before = topology.global().get(&path).await.unwrap().value;
    let primary_term_start_time = Some(Time { seconds: 20, nanoseconds: 0 });
    let later = tablet("src1", 101, "commerce", "0", TabletType::Primary, 1);
    rig.add_source_tablet(&Tablet { primary_term_start_time, ..later }).await;
    topology.global().write_one(Write::put(path, before, Expect::Any), None).await.unwrap();
    world.breaks(&["src2"], Broken::Silent).await;
    let within = Duration::from_secs(2);
    let ask = Ask { mount: "ext1".into(), keyspace: "commerce".into(), within, ..Ask::default() };
    let context = crate::support::context(Arc::clone(&rig.lab.topo));
    let silence = source::read(&context, &ask, None).await.unwrap().silence("0").unwrap_or_default();
    let words =
        "shard 0 is being reparented: its record names src1-0000000100 as the primary, and src1-0000000101 says";
    assert!(silence.starts_with(words), "{silence}");
}

#[tokio::test]
async fn a_cell_of_the_source_that_says_nothing_hides_the_positions_of_its_own_shards_alone() {
    let world = World::start().await;
    let rig = &world.rig;
    rig.part_source().await;
    rig.add_source_tablet(&tablet("src2", 301, "commerce", "80-", TabletType::Primary, 1)).await;
    world.breaks(&["src2"], Broken::Silent).await;
    let within = Duration::from_secs(2);
    let ask = Ask { mount: "ext1".into(), keyspace: "commerce".into(), within, ..Ask::default() };
    let context = crate::support::context(Arc::clone(&rig.lab.topo));
    let source = source::read(&context, &ask, None).await.unwrap();
    assert_eq!(source.silence("-80"), None);
    assert!(source.silence("80-").is_some_and(|why| why.contains("src2")), "{source:?}");
}
