//! A way back as a server of the source sees it.

use std::sync::Arc;

use tonic::Code;
use vtmigrated::workflow::status as migrate;
use vtmigrated::workflow::status::observe::{self, Common};
use vtmigrated::workflow::status::verdict;
use vtmigrated_proto::vtctldata::{MoveTablesCompleteRequest, WorkflowDeleteRequest};

use crate::support::migrate_rig::Rig;
use crate::support::vdiff_tablet::POSITION;
use crate::support::{assert_refused, context};
use crate::way_back::commands::{go_back, opened, status};

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

#[tokio::test]
async fn it_is_no_go_to_a_server_of_the_source_that_would_refuse_to_complete_it() {
    let (rig, _) = opened().await;
    let source = context(Arc::new(rig.source_topology().await));
    let told = verdict::verdict(&source, "commerce", "import_back").await.unwrap();
    assert!(!told.go && told.summary.starts_with("NO-GO (way back of another, "), "{told:?}");
    let of_another = &told.report.findings[0];
    assert_eq!(
        (of_another.id.as_str(), of_another.subject.as_str()),
        ("WAY_BACK_OF_ANOTHER", "workflow commerce.import_back")
    );
    let command = "vtmigrated way-back complete --target-keyspace customer --workflow import";
    assert!(of_another.fix.contains(command), "{of_another:?}");

    let line = migrate::status(&source, "commerce", "import_back", &[]).await.unwrap().traffic_state;
    assert!(line.contains("Complete: NO-GO (way back of another, "), "{line}");
    let common = Common::read(&source).await.unwrap();
    let seen = observe::keyspace(&source, "commerce", &common, true).await.unwrap();
    let (_, seen) = seen.into_iter().find(|(workflow, _)| workflow == "import_back").unwrap();
    assert_eq!(seen.unwrap().findings[0].id, "WAY_BACK_OF_ANOTHER");

    // who decides is told the truth
    let told = status(&rig).await.unwrap();
    assert_eq!((told.summary.as_str(), told.clear), ("GO", true), "{told:?}");
    go_back(&rig).await.unwrap();
}
