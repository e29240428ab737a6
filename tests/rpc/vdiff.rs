//! VDiff: create on all shards or none, show, stop, resume, delete.

pub mod show;

use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::*;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Duration;

use crate::support::vdiff_rig::Rig;
use crate::support::vdiff_tablet::{Diff, stream};
use crate::support::{assert_refused, refusal};

pub const UUID: &str = "5d52e12b-1f43-4b7c-9c46-0d2f5f9a7d10";
pub const OTHER: &str = "00000000-0000-4000-8000-000000000001";

fn create() -> VDiffCreateRequest {
    VDiffCreateRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        uuid: UUID.into(),
        ..VDiffCreateRequest::default()
    }
}

#[tokio::test]
async fn every_option_reaches_the_tablets_and_all_shards_are_made_before_one_is_started() {
    let mut rig = Rig::start().await.with_replicas().await;
    let request = VDiffCreateRequest {
        uuid: format!(" {} ", UUID.to_uppercase()),
        target_cells: vec!["zone1".into(), "zone2".into()],
        tablet_types: vec![TabletType::Replica.into(), TabletType::Primary.into()],
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        tables: vec!["orders".into(), "customer".into()],
        limit: 7,
        filtered_replication_wait_time: Some(Duration { seconds: 61, nanos: 0 }),
        debug_query: true,
        only_p_ks: true,
        update_table_stats: true,
        max_extra_rows_to_compare: 11,
        wait: true,
        auto_retry: true,
        verbose: true,
        max_report_sample_rows: 12,
        max_diff_duration: Some(Duration { seconds: 90, nanos: 0 }),
        row_diff_column_truncate_at: 13,
        auto_start: Some(true),
        ..create()
    };
    assert_eq!(rig.lab.client.v_diff_create(request).await.unwrap().into_inner().uuid, UUID);
    let options = VDiffOptions {
        picker_options: Some(VDiffPickerOptions {
            tablet_types: "in_order:replica,primary".into(),
            source_cell: "src1,src2".into(),
            target_cell: "zone1,zone2".into(),
        }),
        core_options: Some(VDiffCoreOptions {
            tables: "orders,customer".into(),
            auto_retry: true,
            max_rows: 7,
            timeout_seconds: 61,
            max_extra_rows_to_compare: 11,
            update_table_stats: true,
            max_diff_seconds: 90,
            auto_start: Some(false),
            ..VDiffCoreOptions::default()
        }),
        report_options: Some(VDiffReportOptions {
            only_pks: true,
            debug_query: true,
            max_sample_rows: 12,
            row_diff_column_truncate_at: 13,
            ..VDiffReportOptions::default()
        }),
    };
    let of_action = |action: &str, options: Option<VDiffOptions>| VDiffRequest {
        keyspace: "customer".into(),
        workflow: "import".into(),
        action: action.into(),
        vdiff_uuid: UUID.into(),
        options,
        ..VDiffRequest::default()
    };
    for primary in &rig.primaries {
        assert_eq!(primary.taken(), [of_action("create", Some(options.clone())), of_action("resume", None)]);
        assert_eq!(primary.diffs(), [(UUID.to_owned(), "pending".to_owned())]);
    }
}

#[tokio::test]
async fn cells_of_a_mounted_source_are_those_that_have_the_types() {
    let mut rig = Rig::start().await.with_replicas().await;
    let replica = vec![TabletType::Replica.into()];
    for (tablet_types, cells, sent) in
        [(replica.clone(), vec![], "src2"), (vec![], vec![], "src1,src2"), (replica, vec!["src2".to_owned()], "src2")]
    {
        let request = VDiffCreateRequest { tablet_types, source_cells: cells, uuid: String::new(), ..create() };
        rig.lab.client.v_diff_create(request).await.unwrap();
        for primary in &rig.primaries {
            let picker = primary.taken()[0].options.clone().unwrap().picker_options.unwrap();
            assert_eq!((picker.source_cell.as_str(), picker.target_cell.as_str()), (sent, ""));
        }
    }
}

#[tokio::test]
async fn a_diff_is_left_stopped_when_asked_and_old_tablets_start_by_themselves() {
    let mut rig = Rig::start().await;
    rig.lab.client.v_diff_create(VDiffCreateRequest { auto_start: Some(false), ..create() }).await.unwrap();
    assert_eq!(rig.taken(), [["create"], ["create"]]);
    assert_eq!(rig.primaries[0].diffs(), [(UUID.to_owned(), "stopped".to_owned())]);
    rig.primaries[1].set(|c| c.ignores_auto_start = true);
    rig.lab.client.v_diff_create(VDiffCreateRequest { uuid: OTHER.into(), ..create() }).await.unwrap();
    assert_eq!(rig.primaries[0].diffs()[1], (OTHER.to_owned(), "pending".to_owned()));
    assert_eq!(rig.primaries[1].diffs()[1], (OTHER.to_owned(), "started".to_owned()));
}

#[tokio::test]
async fn a_workflow_that_is_not_running_is_refused_before_anything_is_asked() {
    let mut rig = Rig::start().await;
    let text = "not all streams are running in workflow customer.import: customer/80- stream 1 is ";
    rig.primaries[1].set(|c| c.copying = vec![1]);
    let (code, message) = refusal(rig.lab.client.v_diff_create(create()).await);
    assert_eq!(
        (code, message),
        (Code::FailedPrecondition, format!("{text}Copying\nwait until the copy is done: see Migrate status"))
    );
    rig.primaries[1].set(|c| c.copying.clear());
    rig.primaries[1].set(|c| c.streams[0].pos.clear());
    let waiting = format!("{text}Running: its copy has not started\nwait until the copy is done");
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::FailedPrecondition, &waiting);
    rig.primaries[1].set(|c| c.streams = vec![stream(1, "ext1", "commerce", "0")]);
    for (state, message, shown) in [
        (State::Stopped, "", "Stopped\nstart it with Workflow start"),
        (State::Stopped, "for vdiff", "Stopped: for vdiff\nanother VDiff is being set up"),
        (State::Running, "some Error", "Error: some Error\nfix what"),
    ] {
        rig.primaries[1].set(|c| {
            c.streams[0].state = state.into();
            c.streams[0].message = message.into();
        });
        let refused = rig.lab.client.v_diff_create(create()).await;
        assert_refused(refused, Code::FailedPrecondition, &format!("{text}{shown}"));
    }
    rig.primaries[1].set(|c| {
        c.streams[0].state = State::Stopped.into();
        c.streams[0].message = "FROZEN".into();
    });
    let text = "invalid VDiff run: writes have been already been switched for workflow customer.import";
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::FailedPrecondition, text);
    rig.primaries[1].set(|c| c.streams = vec![stream(1, "ext1", "commerce", "0")]);

    let unknown = VDiffCreateRequest { workflow: "nowf".into(), ..create() };
    let text = "no streams found in keyspace customer for nowf";
    assert_refused(rig.lab.client.v_diff_create(unknown).await, Code::NotFound, text);
    let unknown = VDiffCreateRequest { target_keyspace: "nokk".into(), ..create() };
    let text = "FindAllShardsInKeyspace(nokk): List: node doesn't exist: /vitess/global/keyspaces/nokk/shards";
    assert_refused(rig.lab.client.v_diff_create(unknown).await, Code::NotFound, text);
    let unknown = VDiffCreateRequest { tables: vec!["customer".into(), "nosuch".into()], ..create() };
    let text =
        "no tables found to diff: nosuch is not a table of workflow customer.import\nits tables are customer, orders";
    assert_refused(rig.lab.client.v_diff_create(unknown).await, Code::NotFound, text);
    let bad = VDiffCreateRequest { uuid: "abc".into(), workflow: "nowf".into(), ..create() };
    let text = "invalid UUID provided: abc: invalid UUID length: 3";
    assert_refused(rig.lab.client.v_diff_create(bad).await, Code::InvalidArgument, text);
    let bad = VDiffCreateRequest { limit: -1, ..create() };
    assert_refused(rig.lab.client.v_diff_create(bad).await, Code::InvalidArgument, "--limit must be a positive value");
    rig.lab.topo.global().remove(&paths::external_cluster("ext1")).await.unwrap();
    let text = "no vitess cluster found with name ext1";
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::NotFound, text);
    assert_eq!(rig.taken(), [[""; 0]; 2]);
}

#[tokio::test]
async fn a_table_that_the_source_has_lost_is_refused_before_tablets_crash_on_it() {
    let mut rig = Rig::start().await;
    rig.source[0].set(|c| c.gone = vec!["orders".into()]);
    let text = "tables of the workflow are no longer in the source: orders (not on commerce/0)\n\
                compare the rest: --tables customer";
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::FailedPrecondition, text);
    assert_eq!(rig.taken(), [[""; 0]; 2]);
    let rest = VDiffCreateRequest { tables: vec!["customer".into()], ..create() };
    rig.lab.client.v_diff_create(rest).await.unwrap();
}

#[tokio::test]
async fn a_source_shard_needs_no_table_that_its_streams_leave_out() {
    let mut rig = Rig::start().await;
    rig.source[0].set(|c| c.gone = vec!["orders".into()]);
    // as a Reshard brings reference tables from one of its source's shards (Vitess 24.0.4)
    for primary in &rig.primaries {
        primary.set(|c| {
            let rules = c.streams.iter_mut().flat_map(|s| &mut s.bls).flat_map(|bls| &mut bls.filter);
            for rule in rules.flat_map(|filter| &mut filter.rules).filter(|rule| rule.r#match == "orders") {
                rule.filter = "exclude".into();
            }
        });
    }
    rig.lab.client.v_diff_create(create()).await.unwrap();
}

#[tokio::test]
async fn a_shard_without_a_tablet_to_pick_is_refused_with_those_that_there_are() {
    let mut rig = Rig::start().await;
    let replica = VDiffCreateRequest { tablet_types: vec![TabletType::Replica.into()], ..create() };
    let text = "no tablet found to compare rows from in target shard customer/-80: tablet types replica, cells all; its \
                tablets are zone1-0000001000 (primary)\n\
                also NO_TABLET_TO_COMPARE (target shard customer/80-): no tablet found to compare rows from in target shard \
                customer/80-: tablet types replica, cells all; its tablets are zone1-0000001100 (primary)\n\
                NO_TABLET_TO_COMPARE: use --tablet-types primary";
    assert_refused(rig.lab.client.v_diff_create(replica.clone()).await, Code::FailedPrecondition, text);
    let rdonly = VDiffCreateRequest { tablet_types: vec![TabletType::Rdonly.into()], ..create() };
    let text = "no tablet found to compare rows from in source shard commerce/0: tablet types rdonly, cells all; its \
                tablets are src1-0000000100 (primary), src2-0000000101 (replica)\nalso NO_TABLET_TO_COMPARE (target shard ";
    let (code, message) = refusal(rig.lab.client.v_diff_create(rdonly).await);
    assert!(code == Code::FailedPrecondition && message.starts_with(text), "{message}");
    assert_eq!(message.matches("no tablet found to compare rows from").count(), 3, "{message}");
    assert!(message.contains("\nNO_TABLET_TO_COMPARE: use --tablet-types replica,primary\n"), "{message}");

    let mut rig = rig.with_replicas().await;
    let elsewhere = VDiffCreateRequest { target_cells: vec!["zone1".into()], ..replica.clone() };
    let (code, message) = refusal(rig.lab.client.v_diff_create(elsewhere).await);
    assert_eq!(
        (code, message.ends_with("\nNO_TABLET_TO_COMPARE: use --target-cells zone2")),
        (Code::FailedPrecondition, true),
        "{message}"
    );
    let elsewhere = VDiffCreateRequest { source_cells: vec!["src1".into()], ..replica.clone() };
    let (code, message) = refusal(rig.lab.client.v_diff_create(elsewhere).await);
    assert_eq!((code, message.ends_with("\nuse --source-cells src2")), (Code::FailedPrecondition, true), "{message}");

    rig.source[1].set(|c| c.ill = "replication is stopped".into());
    let text = "no healthy tablet found to compare rows from in source shard commerce/0: src2-0000000101 (replica): \
                replication is stopped\n";
    assert_refused(rig.lab.client.v_diff_create(replica.clone()).await, Code::FailedPrecondition, text);
    assert_eq!(rig.taken(), [[""; 0]; 2]);
    let two =
        VDiffCreateRequest { tablet_types: vec![TabletType::Replica.into(), TabletType::Primary.into()], ..create() };
    rig.lab.client.v_diff_create(two).await.unwrap();
}

#[tokio::test]
async fn what_fails_on_one_shard_is_taken_back_on_the_others() {
    let mut rig = Rig::start().await;
    rig.primaries[1].set(|c| c.fails = vec![("create".into(), "disk is full".into())]);
    let text = "TabletManager.VDiff on zone1-0000001100: disk is full";
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::Internal, text);
    assert_eq!(rig.taken(), [vec!["create", "delete"], vec!["create"]]);
    assert_eq!(rig.primaries[0].diffs(), []);
    rig.primaries[1].set(|c| c.fails = vec![("resume".into(), "vdiff engine is closed".into())]);
    let text = "TabletManager.VDiff on zone1-0000001100: vdiff engine is closed";
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::Unavailable, text);
    assert_eq!(rig.taken(), [["create", "resume", "delete"]; 2]);
    assert_eq!((rig.primaries[0].diffs(), rig.primaries[1].diffs()), (vec![], vec![]));
    // what cannot be taken back is told
    rig.primaries[0].set(|c| c.fails = vec![("delete".into(), "no".into())]);
    let (_, message) = refusal(rig.lab.client.v_diff_create(create()).await);
    assert!(message.contains("could not be removed: TabletManager.VDiff on zone1-0000001000: no"), "{message}");
    assert!(message.ends_with(&format!("VDiff delete {UUID}")), "{message}");
}

#[tokio::test]
async fn a_uuid_that_is_there_is_left_alone() {
    let mut rig = Rig::start().await;
    let there = Diff { uuid: UUID.into(), state: "completed".into(), ..Diff::default() };
    rig.primaries[1].set(|c| c.diffs.push(there.clone()));
    let text = format!(
        "TabletManager.VDiff on zone1-0000001100: vdiff with UUID {UUID} already exists on tablet zone1-0000001100\n\
         see VDiff show with this UUID; if its create was interrupted, VDiff delete it, then create it again"
    );
    assert_refused(rig.lab.client.v_diff_create(create()).await, Code::AlreadyExists, &text);
    assert_eq!(rig.primaries[0].diffs(), []);
    assert_eq!(rig.primaries[1].diffs(), [(UUID.to_owned(), "completed".to_owned())]);
    rig.taken();
    // the way out that the help names: delete of what only one shard has, then create again
    let request =
        VDiffDeleteRequest { workflow: "import".into(), target_keyspace: "customer".into(), arg: UUID.to_uppercase() };
    rig.lab.client.v_diff_delete(request.clone()).await.unwrap();
    rig.lab.client.v_diff_create(create()).await.unwrap();
    let twice = refusal(rig.lab.client.v_diff_create(create()).await);
    let line = |alias: &str| {
        format!("TabletManager.VDiff on {alias}: vdiff with UUID {UUID} already exists on tablet {alias}")
    };
    let lines = [line("zone1-0000001000"), line("zone1-0000001100")].join("\n");
    assert_eq!((twice.0, twice.1.starts_with(&lines)), (Code::AlreadyExists, true), "{}", twice.1);
    rig.lab.client.v_diff_delete(request.clone()).await.unwrap();
    let text = format!("TabletManager.VDiff on zone1-0000001000: no vdiff found for UUID {UUID} on tablet");
    assert_refused(rig.lab.client.v_diff_delete(request.clone()).await, Code::NotFound, &text);
    rig.give(&there);
    rig.lab.client.v_diff_delete(VDiffDeleteRequest { arg: "ALL".into(), ..request.clone() }).await.unwrap();
    assert_eq!(rig.primaries[1].diffs(), []);
    let bad = VDiffDeleteRequest { arg: "last".into(), ..request };
    assert_refused(
        rig.lab.client.v_diff_delete(bad).await,
        Code::InvalidArgument,
        "action argument last not supported",
    );
}

#[tokio::test]
async fn stop_and_resume_reach_the_chosen_shards_in_the_spelling_that_is_stored() {
    let mut rig = Rig::start().await;
    let stored = UUID.to_uppercase();
    rig.give(&Diff { uuid: stored.clone(), state: "started".into(), ..Diff::default() });
    let stop = VDiffStopRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        uuid: UUID.into(),
        target_shards: vec!["80-".into()],
    };
    rig.lab.client.v_diff_stop(stop.clone()).await.unwrap();
    assert_eq!(rig.primaries[0].diffs(), [(stored.clone(), "started".to_owned())]);
    assert_eq!(rig.primaries[1].diffs(), [(stored.clone(), "stopped".to_owned())]);
    let bad = VDiffStopRequest { target_shards: vec!["40-80".into()], ..stop.clone() };
    let text = "specified target shard 40-80 not a valid target for workflow import";
    assert_refused(rig.lab.client.v_diff_stop(bad).await, Code::InvalidArgument, text);
    let bad = VDiffStopRequest { uuid: "abc".into(), ..stop.clone() };
    assert_refused(rig.lab.client.v_diff_stop(bad).await, Code::InvalidArgument, "invalid UUID provided: abc");
    let bad = VDiffStopRequest { uuid: OTHER.into(), ..stop };
    assert_refused(
        rig.lab.client.v_diff_stop(bad).await,
        Code::NotFound,
        "TabletManager.VDiff on zone1-0000001100: no vdiff",
    );

    let resume = VDiffResumeRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        uuid: UUID.into(),
        target_shards: vec![],
    };
    // one shard still runs
    let text = format!(
        "TabletManager.VDiff on zone1-0000001000: no completed or stopped vdiff found for UUID {stored} on tablet \
         zone1-0000001000\nit is already running"
    );
    assert_refused(rig.lab.client.v_diff_resume(resume.clone()).await, Code::FailedPrecondition, &text);
    rig.taken();
    // one that failed is stopped first
    rig.primaries[0].set(|c| c.diffs[0].state = "error".into());
    rig.primaries[1].set(|c| c.diffs[0].state = "completed".into());
    rig.lab.client.v_diff_resume(resume).await.unwrap();
    assert_eq!(rig.taken(), [vec!["show", "stop", "resume"], vec!["show", "resume"]]);
    assert_eq!(rig.primaries[0].diffs(), [(stored, "pending".to_owned())]);
}
