//! Shards that do not serve, such as the old ones of a Reshard, on hosts that have crashed.

use super::*;

/// A rig with a shard that does not serve, overlaps one that does, and whose primary does not answer.
async fn with_dead_shard() -> Rig {
    let mut rig = rig(false).await;
    let shard = CreateShardRequest { keyspace: "customer".into(), shard_name: "80-c0".into(), ..Default::default() };
    let made = rig.lab.client.create_shard(shard).await.unwrap().into_inner();
    assert!(!made.shard.unwrap().shard.unwrap().is_primary_serving);
    rig.lab.add_tablet(&tablet("zone1", 1200, "customer", "80-c0", TabletType::Primary, 1)).await;
    rig
}

/// Each of these commands is refused, for the tablet does not answer, and the streams stay.
async fn expect_refused(rig: &Rig, commands: &[&str]) {
    for (name, answer) in all_commands(rig).await.into_iter().filter(|(name, _)| *name != "create") {
        if !commands.contains(&name) {
            assert!(answer.is_ok(), "{name}: {answer:?}");
            continue;
        }
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{name}: {refused}");
        assert!(refused.message().contains("zone1-0000001200"), "{name}: {refused}");
    }
    for primary in &rig.target {
        assert_eq!(primary.streams().len(), 1);
    }
}

#[tokio::test]
async fn a_shard_that_does_not_serve_and_does_not_answer_is_left_out_by_name() {
    let rig = with_dead_shard().await;
    for (name, answer) in all_commands(&rig).await {
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
    rig.create_from(TabletType::Replica).await.unwrap();
    let line = rig.status().await.unwrap().traffic_state;
    let words = "shard customer/80-c0, which does not serve, was left out: tablet zone1-0000001200";
    assert!(line.contains(words), "{line}");
    let told = rig.cancel(false).await.unwrap();
    assert!(told.contains(words), "{told}");
    // who asks for it by name is not told of others
    let (keyspace, workflow) = of_import();
    let shards = vec!["80-c0".to_owned()];
    let request = GetWorkflowsRequest { keyspace, workflow, shards, ..Default::default() };
    let refused = rig.lab.client.clone().get_workflows(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}

#[tokio::test]
async fn a_shard_that_a_record_lists_is_not_left_out() {
    let rig = with_dead_shard().await;
    rig.create_from(TabletType::Replica).await.unwrap();
    let mut shards = rig.record().await.unwrap()["shards"].as_array().unwrap().clone();
    shards.push(serde_json::json!(["80-c0", 1]));
    rig.set_record(serde_json::json!({ "shards": shards })).await;
    expect_refused(&rig, &["status", "show", "VDiff create", "complete", "cancel"]).await;
}

#[tokio::test]
async fn a_workflow_without_a_record_may_have_streams_on_a_shard_that_is_silent() {
    let rig = with_dead_shard().await;
    rig.create_from(TabletType::Replica).await.unwrap();
    rig.lab.topo.global().remove(&paths::workflow_record("customer", "import")).await.unwrap();
    expect_refused(&rig, &["VDiff create", "complete", "cancel"]).await;
    let (keyspace, workflow) = of_import();
    let state = Some(State::Stopped.into());
    let update_request = Some(vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest {
        workflow,
        state,
        ..Default::default()
    });
    let request = WorkflowUpdateRequest { keyspace, tablet_request: update_request };
    let refused = rig.lab.client.clone().workflow_update(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}

#[tokio::test]
async fn a_shard_that_serves_beside_others_and_whose_primary_was_shut_down_is_not_counted() {
    let mut rig = with_dead_shard().await;
    let record = shut_down(tablet("zone1", 1200, "customer", "80-c0", TabletType::Primary, 1));
    rig.lab.add_tablet(&record).await;
    let (keyspace, shard) = ("customer".to_owned(), "80-c0".to_owned());
    let serving = SetShardIsPrimaryServingRequest { keyspace, shard, is_serving: true };
    rig.lab.client.set_shard_is_primary_serving(serving).await.unwrap();
    for (name, answer) in all_commands(&rig).await {
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}
