//! Unregistering a mount: who uses it.

use std::time::Duration;

use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::*;

use crate::support::migrate_rig::Rig;
use crate::support::{assert_refused, tablet};

#[tokio::test]
async fn a_mount_goes_when_a_shard_that_does_not_use_it_is_down_and_a_keyspace_is_half_gone() {
    let rig = Rig::start().await;
    let mut lab = rig.lab;
    lab.put(&paths::vschema("gone"), Vec::new()).await;
    let request = CreateKeyspaceRequest { name: "dead".into(), ..CreateKeyspaceRequest::default() };
    lab.client.create_keyspace(request).await.unwrap();
    let request = CreateShardRequest { keyspace: "dead".into(), shard_name: "0".into(), ..Default::default() };
    lab.client.create_shard(request).await.unwrap();
    lab.add_tablet(&tablet("zone1", 2000, "dead", "0", TabletType::Primary, 1)).await;
    // a replica tells what streams its primary has
    let replica = crate::support::migrate_tablet::MigrateTablet::default();
    let port = replica.start().await;
    lab.add_tablet(&tablet("zone1", 2001, "dead", "0", TabletType::Replica, port)).await;
    let using = ReadVReplicationWorkflowResponse {
        workflow: "other".into(),
        streams: vec![crate::support::vdiff_tablet::stream(1, "ext1", "commerce", "0")],
        ..ReadVReplicationWorkflowResponse::default()
    };
    replica.contents().workflows.push(using);
    let unregister = MountUnregisterRequest { name: "ext1".into() };
    let text = "mount ext1 is in use by: dead.other";
    assert_refused(lab.client.mount_unregister(unregister.clone()).await, Code::FailedPrecondition, text);
    replica.contents().workflows.clear();
    lab.client.mount_unregister(unregister).await.unwrap();
    assert!(lab.topo.global().get(&paths::external_cluster("ext1")).await.is_err());
}

#[tokio::test]
async fn a_mount_that_a_create_begins_to_use_meanwhile_stays() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    let record = rig.record().await.unwrap().to_string().into_bytes();
    rig.cancel(false).await.unwrap();
    let mount = paths::external_cluster("ext1");
    let before = rig.lab.topo.global().get(&mount).await.unwrap().value;
    // a create writes its record after unregister has looked for users
    rig.target[0].contents().slow = vec![("ReadVReplicationWorkflows", Duration::from_millis(500))];
    let mut client = rig.lab.client.clone();
    let unregister = client.mount_unregister(MountUnregisterRequest { name: "ext1".into() });
    let begin = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        rig.lab.put(&paths::workflow_record("customer", "import"), record).await;
    };
    let (answer, ()) = tokio::join!(unregister, begin);
    assert_refused(answer, Code::FailedPrecondition, "mount ext1 is in use by: customer.import");
    assert_eq!(rig.lab.topo.global().get(&mount).await.unwrap().value, before);
}
