//! Streams of a way back that somebody stops and starts with the source's own vtctld, which changes their state and nothing else.

use serde_json::json;
use tonic::Code;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::vtmigrated::Severity;

use crate::support::assert_refused;
use crate::support::migrate_rig::Rig;
use crate::way_back::closing::closing;
use crate::way_back::commands::{copied, denied, found, give_up, go_back, opened, prepare, status, stored};

const NONE: [Vec<String>; 2] = [Vec::new(), Vec::new()];

/// `Workflow stop` or `start` of a stock vtctld of the source (Vitess 22.0.4 and 24.0.4): messages stay as they are.
fn set_state(rig: &Rig, state: State) {
    let mut contents = rig.source.contents();
    let streams = contents.workflows.iter_mut().flat_map(|workflow| &mut workflow.streams);
    streams.for_each(|stream| stream.state = state.into());
}

fn states(rig: &Rig) -> Vec<State> {
    rig.source.streams().iter().map(|stream| stream.state()).collect()
}

#[tokio::test]
async fn streams_that_are_stopped_are_told_with_the_command_and_nobody_goes_back_until_they_run() {
    let (rig, before) = opened().await;
    set_state(&rig, State::Stopped);
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("open", false), "{told:?}");
    assert_eq!(told.streams.iter().map(|stream| stream.state.as_str()).collect::<Vec<_>>(), ["Stopped"; 2]);
    let stopped = told.findings.iter().find(|finding| finding.id == "NOT_RUNNING").unwrap();
    assert_eq!(stopped.severity(), Severity::Blocks, "{told:?}");
    let command = "start it with: Workflow --keyspace commerce start --workflow import_back (in the source's cluster)";
    assert_eq!(stopped.fix, command);
    assert_eq!(found(&told, "WAY_BACK_STANDS"), None, "going back did not stop them: {told:?}");

    let text = "cannot go back with workflow customer.import: NOT_RUNNING";
    assert_refused(go_back(&rig).await, Code::FailedPrecondition, text);
    assert_eq!(rig.denied().await, NONE, "the target serves on");
    // as a server leaves it that dies when it has denied the target's tables
    closing(&rig).await;
    assert_refused(go_back(&rig).await, Code::FailedPrecondition, text);
    assert_eq!(rig.denied().await, NONE, "the target serves on");
    assert!(prepare(&rig).await.unwrap().summary.starts_with("the way back is open already"));
    assert_eq!(states(&rig), [State::Stopped; 2], "who has stopped them starts them");

    set_state(&rig, State::Running);
    assert!(status(&rig).await.unwrap().clear);
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn streams_that_are_stopped_while_somebody_goes_back_leave_clients_the_target() {
    let (rig, before) = opened().await;
    let permits = rig.target[0].holds("LOCK TABLES");
    let stopped = async {
        rig.target[0].was_asked("LOCK TABLES").await;
        set_state(&rig, State::Stopped);
        permits.add_permits(10);
    };
    let (answer, ()) = tokio::join!(go_back(&rig), stopped);
    let text = "cannot go back with workflow customer.import: NOT_RUNNING";
    assert_refused(answer, Code::FailedPrecondition, text);
    assert_eq!(rig.denied().await, NONE, "clients write to the target");
    assert_eq!(denied(&rig).await, ["customer", "orders"]);
    assert_eq!((status(&rig).await.unwrap().phase.as_str(), states(&rig)), ("open", vec![State::Stopped; 2]));
    set_state(&rig, State::Running);
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn streams_that_are_stopped_go_with_a_cancel() {
    let (rig, before) = opened().await;
    set_state(&rig, State::Stopped);
    give_up(&rig).await.unwrap();
    assert_eq!((stored(&rig).await, rig.source.streams()), (before, vec![]));
}

#[tokio::test]
async fn streams_that_somebody_has_started_before_complete_could_are_not_made_anew() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.source.contents().fails = vec!["Update Running"];
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; THE WAY BACK IS NOT OPEN YET: "), "{summary}");
    rig.source.contents().fails.clear();
    let ids = || rig.source.streams().iter().map(|stream| stream.id).collect::<Vec<_>>();
    let made = ids();
    // from here on they bring what clients write to the target
    set_state(&rig, State::Running);
    assert_eq!(status(&rig).await.unwrap().phase, "handed over");
    prepare(&rig).await.unwrap();
    assert_eq!((ids(), status(&rig).await.unwrap().phase.as_str()), (made, "open"));
    let record = rig.way_back().await.unwrap();
    assert_eq!(record["pairs"], json!([[["0"], ["-80", "80-"]]]));
}
