//! Workflows that are no Migrate are a stock vtctld's work: what tells so does nothing before.

use tonic::{Code, Status};
use vtmigrated_proto::binlogdata::VReplicationWorkflowType as Kind;
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;
use vtmigrated_proto::vtctldata::*;

use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{assert_refused, refusal};

/// What each shard's primary has of workflows, made those of another type.
fn turned_into(rig: &Rig, kind: Kind) -> Vec<Vec<ReadVReplicationWorkflowResponse>> {
    let workflows = |primary: &MigrateTablet| {
        let mut contents = primary.contents();
        contents.workflows.iter_mut().for_each(|workflow| workflow.workflow_type = kind.into());
        contents.workflows.clone()
    };
    rig.target.iter().map(workflows).collect()
}

async fn add_tables(rig: &Rig) -> Result<(), Status> {
    let (keyspace, workflow) = ("customer".into(), "import".into());
    let request = WorkflowAddTablesRequest { keyspace, workflow, ..WorkflowAddTablesRequest::default() };
    rig.lab.client.clone().workflow_add_tables(request).await.map(drop)
}

#[tokio::test]
async fn workflows_of_other_types_are_left_to_a_stock_vtctld_as_they_are() {
    let rig = Rig::start().await;
    rig.copied().await;
    let stored = rig.lab.stored().await;
    for kind in [Kind::MoveTables, Kind::Reshard, Kind::Materialize, Kind::CreateLookupIndex] {
        let before = turned_into(&rig, kind);
        let name = kind.as_str_name();
        let text =
            format!("workflow import in keyspace customer is a {name}, which vtmigrated does not serve\nname a stock");
        assert_refused(rig.status().await, Code::Unimplemented, &text);
        assert_refused(rig.complete().await, Code::Unimplemented, &text);
        for keep_data in [false, true] {
            assert_refused(rig.cancel(keep_data).await, Code::Unimplemented, &text);
        }
        assert_refused(add_tables(&rig).await, Code::Unimplemented, &text);
        assert_eq!(turned_into(&rig, kind), before, "{name}");
        assert_eq!(rig.lab.stored().await, stored, "{name}");
    }
}

#[tokio::test]
async fn a_migrate_takes_no_more_tables() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    let text = "cannot add tables for workflow type Migrate\nmake another Migrate workflow";
    assert_refused(add_tables(&rig).await, Code::FailedPrecondition, text);
    rig.forget_streams();
    assert_eq!(refusal(add_tables(&rig).await).0, Code::NotFound);
}
