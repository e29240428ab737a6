//! A cancel that was cut off: nothing but a cancel, or an end that keeps the tables, goes on from there.

use tonic::Code;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::UpdateVReplicationWorkflowRequest;
use vtmigrated_proto::vtctldata::{MoveTablesCompleteRequest, WorkflowUpdateRequest};

use crate::support::migrate_rig::Rig;
use crate::support::{assert_refused, refusal};

const TABLES: [&str; 2] = ["customer", "orders"];

#[tokio::test]
async fn a_workflow_whose_cancel_was_cut_off_can_only_be_cancelled() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.target[1].contents().fails = vec!["drop table"];
    rig.cancel(false).await.unwrap_err();
    assert_eq!(rig.record().await.unwrap()["cancelling"], true);
    assert_eq!((rig.target[0].tables(), rig.target[1].tables()), (Vec::new(), TABLES.map(str::to_owned).to_vec()));
    let insisting = MoveTablesCompleteRequest { ignore_source_keyspace: true, ..MoveTablesCompleteRequest::default() };
    let (code, text) = refusal(rig.complete_as(insisting).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("its cancel has begun, and rows of its tables are gone or may be"), "{text}");
    let tablet_request = UpdateVReplicationWorkflowRequest {
        workflow: "import".into(),
        state: Some(State::Running.into()),
        ..UpdateVReplicationWorkflowRequest::default()
    };
    let request = WorkflowUpdateRequest { keyspace: "customer".into(), tablet_request: Some(tablet_request) };
    let started = rig.lab.client.clone().workflow_update(request).await;
    assert_refused(
        started,
        Code::FailedPrecondition,
        "cannot start workflow import in keyspace customer: its cancel has begun",
    );
    rig.target[1].contents().fails.clear();
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}
