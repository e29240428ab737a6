//! Commands of a migration beside more rows of other workflows than the engine of vreplication answers.

use vtmigrated_proto::vtctldata::*;

use crate::support::migrate_rig::Rig;

/// Of one workflow that is nobody's here.
const OTHER: i32 = 77;
/// More than the engine answers.
const MANY: i32 = 10_001;

/// How many tables each workflow has left, as the workflow or all of them are shown.
async fn left(rig: &Rig, workflow: &str) -> Vec<(String, usize)> {
    let request = GetWorkflowsRequest {
        keyspace: "customer".into(),
        workflow: workflow.into(),
        ..GetWorkflowsRequest::default()
    };
    let shown = rig.lab.client.clone().get_workflows(request).await.unwrap().into_inner().workflows;
    let states = |workflow: &Workflow| {
        let shards = workflow.shard_streams.iter().map(|entry| entry.value.as_ref().unwrap());
        shards.flat_map(|shard| &shard.streams).map(|stream| stream.copy_states.len()).sum::<usize>()
    };
    shown.iter().map(|workflow| (workflow.name.clone(), states(workflow))).collect()
}

#[tokio::test]
async fn what_another_workflow_copies_is_nobodys_business() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target[0].add_stream("other", OTHER, "elsewhere", "t0");
    let own = rig.target[0].streams()[0].id;
    let states = (0..MANY).map(|number| (OTHER, format!("t{number}"))).chain([(own, "orders".to_owned())]);
    rig.target[0].contents().copying = states.collect();

    let copying = rig.status().await.unwrap();
    let streams = copying.shard_streams.iter().flat_map(|entry| &entry.value.as_ref().unwrap().streams);
    assert_eq!(streams.filter(|stream| stream.status == "Copying").count(), 1, "{copying:?}");
    assert_eq!(left(&rig, "import").await, [("import".to_owned(), 1)]);
    assert_eq!(left(&rig, "").await, [("import".to_owned(), 1), ("other".to_owned(), 10_001)]);

    rig.target[0].contents().copying.pop();
    let diff = VDiffCreateRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        ..VDiffCreateRequest::default()
    };
    rig.lab.client.clone().v_diff_create(diff).await.unwrap();
    let dry_run = MoveTablesCompleteRequest { dry_run: true, ..MoveTablesCompleteRequest::default() };
    rig.complete_as(dry_run).await.unwrap();
}

#[tokio::test]
async fn streams_that_are_gone_are_not_asked_for_and_only_the_rate_needs_the_log() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target[0].contents().begun = (1000..1000 + MANY).collect();
    let told = rig.status().await.unwrap();
    rig.target[0].contents().fails = vec!["_vt.vreplication_log"];
    assert_eq!(rig.status().await.unwrap().traffic_state, told.traffic_state);
}
