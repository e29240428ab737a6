//! A way back as a server of the source sees it.

use tonic::Code;
use vtmigrated_proto::vtctldata::{MoveTablesCompleteRequest, WorkflowDeleteRequest};

use crate::migrate_rig::Rig;
use crate::support::assert_refused;
use crate::vdiff_tablet::POSITION;

#[tokio::test]
async fn it_is_not_ended_as_if_it_were_a_migration_whose_tables_may_go() {
    let rig = Rig::start().await;
    for primary in &rig.target {
        primary.fill("customer", 10);
        primary.add_stream("import_back", 7, "shop", "customer");
        let mut contents = primary.contents();
        let stream = &mut contents.workflows[0].streams[0];
        stream.pos = POSITION.into();
        stream.bls.as_mut().unwrap().external_cluster = "shop.import".into();
    }
    rig.deny(&["customer"]).await;
    let (keyspace, workflow) = ("customer".to_owned(), "import_back".to_owned());
    let request = WorkflowDeleteRequest { keyspace, workflow, ..WorkflowDeleteRequest::default() };
    let deleted = rig.lab.client.clone().workflow_delete(request.clone()).await;
    let text = "cannot delete workflow import_back in keyspace customer: it is the way back of shop.import";
    assert_refused(deleted, Code::FailedPrecondition, text);
    let request = MoveTablesCompleteRequest {
        target_keyspace: request.keyspace,
        workflow: request.workflow,
        ..MoveTablesCompleteRequest::default()
    };
    let completed = rig.lab.client.clone().move_tables_complete(request).await;
    let text = "cannot complete workflow import_back in keyspace customer: it is the way back of shop.import";
    assert_refused(completed, Code::FailedPrecondition, text);
    for primary in &rig.target {
        assert_eq!(primary.tables(), ["customer"]);
        assert_eq!(primary.streams().len(), 1);
    }
    assert_eq!(rig.denied().await, [["customer".to_owned()], ["customer".to_owned()]]);
}
