//! Several servers, and others who do not ask us, work on one keyspace at the same moment: one wins, the others get a clear
//! error, and nothing is torn.

use std::time::Duration;

use crate::rig::{Answer, Rig, cancel, complete, create, status};
use etcd_client::PutOptions;
use integration::{
    cluster::topology::GLOBAL_ROOT,
    life::{WORKFLOW, streams},
};
use tonic::Code;
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowType},
    tabletmanagerdata::CreateVReplicationWorkflowRequest,
    topodata::TabletType,
};

const ROUNDS: usize = 6;

/// A refusal that tells what is the matter; never half of an answer.
fn refused<T: std::fmt::Debug>(answer: Answer<T>, codes: &[Code]) {
    let status = answer.unwrap_err();
    assert!(codes.contains(&status.code()), "{status:?}");
    let known = ["already exists", "no streams found", "its complete has begun", "cannot complete workflow"];
    assert!(known.iter().any(|text| status.message().contains(text)), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_keyspace() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let (one, other) = (rig.server("").await, rig.server("").await);
    for round in 0..ROUNDS {
        let what = format!("round {round}");
        let (first, second) = tokio::join!(create(&one), create(&other));
        assert!(first.is_ok() != second.is_ok(), "{what}: {first:?} {second:?}");
        refused(if first.is_ok() { second } else { first }, &[Code::AlreadyExists]);
        rig.until_copied(&one, &what).await;

        let (first, second) = tokio::join!(cancel(&one), cancel(&other));
        assert!(first.is_ok() != second.is_ok(), "{what}: {first:?} {second:?}");
        refused(if first.is_ok() { second } else { first }, &[Code::NotFound]);
        rig.expect_as(&before, &what).await;

        let late = async {
            tokio::time::sleep(Duration::from_millis(20 * round as u64)).await;
            cancel(&other).await
        };
        let (created, cancelled) = tokio::join!(create(&one), late);
        created.unwrap();
        match cancelled {
            Ok(()) => rig.expect_as(&before, &what).await,
            early => {
                refused(early, &[Code::NotFound]);
                rig.until_copied(&one, &what).await;
                cancel(&one).await.unwrap();
            }
        }
        rig.expect_as(&before, &what).await;

        create(&one).await.unwrap();
        rig.until_copied(&one, &what).await;
        let (completed, cancelled) = tokio::join!(complete(&one), cancel(&other));
        assert!(completed.is_ok() != cancelled.is_ok(), "{what}: {completed:?} {cancelled:?}");
        if completed.is_ok() {
            refused(cancelled, &[Code::NotFound, Code::FailedPrecondition]);
            rig.same_rows().await.unwrap();
            rig.target.run("customer", "DROP TABLE corder, customer, product").await.unwrap();
        } else {
            refused(completed, &[Code::NotFound]);
        }
        rig.expect_as(&before, &what).await;
    }
    drop((one, other));
    rig.finish().await;
}

/// Rows of the same workflow name, as a stock vtctld inserts them before it takes any lock.
async fn insert_as_stock(rig: &Rig, shard: &str) {
    let rule = Rule { r#match: "customer".to_owned(), filter: "select * from customer".to_owned(), ..Rule::default() };
    let source = BinlogSource {
        keyspace: "commerce".to_owned(),
        shard: "0".to_owned(),
        filter: Some(Filter { rules: vec![rule], ..Filter::default() }),
        external_cluster: integration::life::MOUNT.to_owned(),
        ..BinlogSource::default()
    };
    let request = CreateVReplicationWorkflowRequest {
        workflow: WORKFLOW.to_owned(),
        binlog_source: vec![source],
        cells: vec!["zone1".to_owned()],
        tablet_types: vec![TabletType::Primary.into()],
        workflow_type: VReplicationWorkflowType::Migrate.into(),
        options: "{}".to_owned(),
        ..CreateVReplicationWorkflowRequest::default()
    };
    let mut manager = rig.target.primary("customer", shard).unwrap().manager().await.unwrap();
    manager.create_v_replication_workflow(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rival_inserts_rows_of_the_same_name_in_the_middle_of_create() {
    let rig = Rig::start().await;
    // the record is written after the names were checked: the server waits there, before it makes anything
    let server = rig.waiting(3000).await;
    let creating = create(&server);
    let rival = async {
        rig.until_recorded().await;
        insert_as_stock(&rig, "-80").await;
    };
    let (created, ()) = tokio::join!(creating, rival);
    let refusal = created.unwrap_err();
    assert_eq!(refusal.code(), Code::AlreadyExists, "{refusal:?}");
    assert!(refusal.message().contains("another client created it at the same time"), "{refusal:?}");
    assert!(rig.record().await.is_none());
    // the rival's stream is there, and ours are gone
    let status = status(&server).await.unwrap();
    assert_eq!(streams(&status).len(), 1, "{status:?}");
    drop(server);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_holds_the_lock() {
    let rig = Rig::start().await;
    let before = rig.snapshot().await;
    let mut client = rig.target.etcd().connect().await.unwrap();
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let key = format!("{GLOBAL_ROOT}/keyspaces/customer/locks/{lease}");
    client.put(key, r#"{"Action": "stock"}"#, Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let mut flags = rig.flags();
    flags.push("--lock-timeout=1s".to_owned());
    let server = integration::server::Server::start(&flags).await.unwrap();
    let refusal = create(&server).await.unwrap_err();
    assert_eq!(refusal.code(), Code::DeadlineExceeded, "{refusal:?}");
    let text = format!("deadline exceeded: {GLOBAL_ROOT}/keyspaces/customer/locks");
    assert!(refusal.message().contains(&text), "{refusal:?}");
    assert!(refusal.message().contains("another operation holds this lock"), "{refusal:?}");
    assert_eq!(rig.locks().await.len(), 1, "our own keys are gone");
    client.lease_revoke(lease).await.unwrap();
    rig.expect_as(&before, "a create that got no lock").await;
    create(&server).await.unwrap();
    cancel(&server).await.unwrap();
    drop(server);
    rig.finish().await;
}
