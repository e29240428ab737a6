//! Cancels that are refused, or cut off, and what they leave as it was.

use tonic::Code;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use crate::support::migrate_rig::Rig;
use crate::support::refusal;

/// The tablet has another stream of the workflow, which an operator has stopped.
#[tokio::test]
async fn a_refused_cancel_leaves_a_stream_alone_that_was_stopped_beside_others() {
    let rig = Rig::start().await;
    rig.copied().await;
    {
        let mut contents = rig.target[1].contents();
        let streams = &mut contents.workflows[0].streams;
        let stopped = Stream { id: 99, state: State::Stopped.into(), ..streams[0].clone() };
        streams.push(stopped);
        streams.iter_mut().for_each(|stream| stream.pos.clear());
    }
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    let cause = "customer on shard 80-: it holds rows, and the workflow's streams have copied none";
    assert!(text.contains(cause), "{text}");
    let states: Vec<(i32, State)> = rig.target[1].streams().iter().map(|s| (s.id, s.state())).collect();
    assert_eq!(states, [(1, State::Running), (99, State::Stopped)]);
    let calls = rig.target[1].taken();
    let of_streams: Vec<&String> = calls.iter().filter(|call| call.contains("pdate ")).collect();
    let set = |state: &str| format!("update _vt.vreplication set state = '{state}' where id in (1)");
    assert_eq!(of_streams, [&set("Stopped"), &set("Running")]);
    assert!(rig.target[0].taken().iter().all(|call| !call.contains("pdate ")));
}
