//! Ways back that nobody goes on with, and what of them the source's own server, a dead source or an older version makes of them.

use std::sync::Arc;

use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{Expect, Write, external_cluster, paths};
use vtmigrated::workflow::leftovers;
use vtmigrated_proto::topodata::{TabletType, TopoConfig};
use vtmigrated_proto::vtctldata::DeleteKeyspaceRequest;
use vtmigrated_proto::vtmigrated::{FindLeftoversRequest, Severity, WayBackRequest};

use crate::support::faulty_source::Switch;
use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{assert_refused, context, tablet};
use crate::way_back::closing::closing;
use crate::way_back::commands::{
    NAME, copied, denied, give_up, go_back, mount, named, opened, prepare, status, stored,
};

#[tokio::test]
async fn one_whose_keyspace_was_deleted_is_found_and_goes_by_the_command_that_is_told() {
    for (phase, by_stock) in
        [("prepared", true), ("open", true), ("open", false), ("closing", true), ("returned", true)]
    {
        let (rig, before) = copied().await;
        prepare(&rig).await.unwrap();
        if phase != "prepared" {
            rig.complete().await.unwrap();
        }
        rig.set_way_back(json!({"phase": phase})).await;
        // a stock vtctld knows of no records of ours
        let global = rig.lab.topo.global();
        for node in global.list(&paths::keyspace_dir("customer")).await.unwrap().into_iter().filter(|_| by_stock) {
            global.write_one(Write::delete(node.path, Expect::Any), None).await.unwrap();
        }
        if !by_stock {
            let delete = DeleteKeyspaceRequest { keyspace: "customer".into(), recursive: true, force: true };
            rig.lab.client.clone().delete_keyspace(delete).await.unwrap();
        }
        let request = FindLeftoversRequest { keyspace: "customer".into() };
        let report = rig.lab.advisor.clone().find_leftovers(request).await.unwrap().into_inner();
        let left = report.findings.iter().find(|found| found.id == "WAY_BACK_LEFT");
        let left = left.unwrap_or_else(|| panic!("{phase}: {report:?}"));
        assert_eq!(left.cause, "its keyspace is gone", "{phase}");
        let command = "take it away: vtmigrated way-back cancel --target-keyspace customer --workflow import";
        assert_eq!(left.fix, command, "{phase}");
        let told = status(&rig).await.unwrap();
        assert!(!told.clear && told.findings[0].id == "WAY_BACK_LEFT", "{phase}: {told:?}");

        give_up(&rig).await.unwrap();
        assert_eq!(stored(&rig).await, before, "{phase}");
        assert_eq!(rig.source.streams(), vec![], "{phase}");
        assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
    }
}

#[tokio::test]
async fn one_whose_source_is_gone_for_good_is_forgotten_when_somebody_says_so() {
    let switch = Switch::default();
    let rig = switch.rig().await;
    rig.copied().await;
    prepare(&rig).await.unwrap();
    rig.complete().await.unwrap();
    closing(&rig).await;
    switch.is_dead();
    let refused = give_up(&rig).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("--workflow import --forget-source"), "{refused:?}");
    let request = WayBackRequest { forget_source: true, ..named() };
    let told = rig.lab.way_back.clone().cancel(request).await.unwrap().into_inner();
    for text in ["delete --workflow import_back --keep-data", "--denied-tables customer,orders commerce/0", NAME] {
        assert!(told.summary.contains(text), "{text}: {told:?}");
    }
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn a_primary_of_the_source_that_is_dead_keeps_no_other_shard_denied() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let primary = |port: u16| tablet("src1", 1200, "commerce", "-80", TabletType::Primary, port);
    // nobody listens there
    rig.add_source_tablet(&primary(1)).await;
    // as a server leaves it that dies when it has denied the source's tables
    let tables = ["customer", "orders"];
    rig.set_way_back(json!({"phase": "noted", "source_denied": [[["0", "-80"], tables]]})).await;
    rig.deny_source(&tables).await;
    rig.deny_source_on("-80", &tables).await;
    let refused = give_up(&rig).await.unwrap_err();
    assert!(refused.message().contains("shard commerce/-80 is left as it is: "), "{refused:?}");
    assert_eq!(denied(&rig).await, Vec::<String>::new(), "clients have the other one");
    assert_eq!(rig.source_denied("-80").await, tables);
    assert_eq!(status(&rig).await.unwrap().phase, "cancelling");

    rig.add_source_tablet(&primary(MigrateTablet::default().start().await)).await;
    rig.deny_source_on("-80", &tables).await;
    give_up(&rig).await.unwrap();
    assert_eq!(rig.source_denied("-80").await, Vec::<String>::new());
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn one_whose_record_cannot_be_read_goes_by_the_command_that_is_told() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let forget = async || {
        let request = WayBackRequest { forget_record: true, ..named() };
        rig.lab.way_back.clone().cancel(request).await.map(tonic::Response::into_inner)
    };
    let text = "the record of the way back of workflow customer.import can be read: it is prepared";
    assert_refused(forget().await, Code::FailedPrecondition, text);
    rig.lab.put(&paths::way_back("customer", "import"), b"garbage".to_vec()).await;
    let command = "vtmigrated way-back cancel --target-keyspace customer --workflow import --forget-record";
    for answer in [status(&rig).await, prepare(&rig).await, go_back(&rig).await, give_up(&rig).await] {
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::DataLoss, "{refused:?}");
        assert!(refused.message().contains(command), "{refused:?}");
    }
    let request = FindLeftoversRequest { keyspace: "customer".into() };
    let report = rig.lab.advisor.clone().find_leftovers(request).await.unwrap().into_inner();
    let left = report.findings.iter().find(|found| found.subject == "way back of customer.import");
    assert!(left.is_some_and(|left| left.fix.contains(command)), "{report:?}");

    let told = forget().await.unwrap();
    for text in ["show --workflow import_back", "Mount unregister --name customer.import", "GetShard customer/"] {
        assert!(told.summary.contains(text), "{text}: {told:?}");
    }
    assert!(mount(&rig).await.is_some(), "nobody knows whose it is");
    let text = "workflow customer.import has no way back";
    assert_refused(status(&rig).await, Code::NotFound, text);
    assert_refused(forget().await, Code::NotFound, text);
    prepare(&rig).await.unwrap();
}

#[tokio::test]
async fn one_whose_mount_was_unregistered_tells_where_that_led() {
    let (rig, before) = opened().await;
    let path = paths::external_cluster("ext1");
    let global = rig.lab.topo.global();
    let kept = global.get(&path).await.unwrap().value;
    // as a stock vtctld does it, which knows of no ways back
    global.write_one(Write::delete(path.clone(), Expect::Any), None).await.unwrap();
    let command = "Mount register --name ext1 --topo-type memory --topo-server source --topo-root /vitess/global";
    let told = status(&rig).await.unwrap();
    let unknown = told.findings.iter().find(|found| found.id == "MOUNT_UNKNOWN").unwrap();
    assert!(!told.clear && unknown.fix.contains(command), "{told:?}");
    for answer in [go_back(&rig).await, give_up(&rig).await] {
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
        assert!(refused.message().contains(command), "{refused:?}");
    }
    rig.lab.put(&path, kept.to_vec()).await;
    give_up(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn one_whose_source_keyspace_was_deleted_goes_too() {
    let (rig, _) = opened().await;
    let source = rig.source_topology().await;
    for node in source.global().list(&paths::keyspace_dir("commerce")).await.unwrap() {
        source.global().write_one(Write::delete(node.path, Expect::Any), None).await.unwrap();
    }
    give_up(&rig).await.unwrap();
    assert_eq!(mount(&rig).await, None);
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn an_open_one_whose_mount_was_unregistered_in_the_source_is_told_and_mended_by_prepare() {
    let (rig, before) = opened().await;
    let config = mount(&rig).await;
    let source = rig.source_topology().await;
    let known = external_cluster::find(source.global(), NAME).await.unwrap().unwrap();
    external_cluster::delete(source.global(), NAME, known.version).await.unwrap();
    let told = status(&rig).await.unwrap();
    // positions of the target, without which nobody goes back, are asked of it
    assert!(!told.clear && told.findings.iter().any(|found| found.id == "SOURCE_UNREACHABLE"), "{told:?}");
    let lost = told.findings.iter().find(|found| found.id == "MOUNT_UNKNOWN").unwrap();
    assert_eq!(lost.severity(), Severity::Warns, "{told:?}");
    assert!(lost.fix.contains("way-back prepare"), "{lost:?}");
    let summary = prepare(&rig).await.unwrap().summary;
    assert!(summary.contains("; the source knows this cluster again"), "{summary}");
    assert_eq!(mount(&rig).await, config);
    let told = status(&rig).await.unwrap();
    assert!(!told.findings.iter().any(|found| found.id == "MOUNT_UNKNOWN"), "{told:?}");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

/// Names of mounts that nothing reads from, as the source's own server tells them.
async fn unused(rig: &Rig) -> Vec<String> {
    let found = leftovers::find(&context(Arc::new(rig.source_topology().await)), "").await.unwrap();
    let unused = found.into_iter().filter(|left| left.finding.id == "MOUNT_UNUSED");
    unused.map(|left| left.finding.subject).collect()
}

#[tokio::test]
async fn the_mount_of_one_that_is_prepared_is_not_told_as_unused() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    assert_eq!(unused(&rig).await, Vec::<String>::new());
    let config = mount(&rig).await.unwrap();
    let path = paths::way_back("customer", "import");
    let kept = rig.lab.topo.global().get(&path).await.unwrap().value;
    rig.lab.put(&path, b"garbage".to_vec()).await;
    assert_eq!(unused(&rig).await, Vec::<String>::new(), "nobody can read what it is for");
    rig.lab.put(&path, kept.to_vec()).await;
    give_up(&rig).await.unwrap();
    // one of the same name that nobody has prepared
    external_cluster::create(rig.source_topology().await.global(), NAME, config).await.unwrap();
    assert_eq!(unused(&rig).await, ["mount customer.import"]);
}

#[tokio::test]
async fn a_mount_that_somebody_else_in_the_source_reads_from_stays_and_is_told() {
    for goes_back in [true, false] {
        let (rig, _) = opened().await;
        rig.source.add_stream("other", 70, "customer", "parts");
        rig.source.contents().workflows[1].streams[0].bls.as_mut().unwrap().external_cluster = NAME.into();
        let told = if goes_back { go_back(&rig).await } else { give_up(&rig).await };
        let text = "; the mount customer.import in the source stays: others read from it: commerce.other; ";
        assert!(told.as_ref().unwrap().summary.contains(text), "{told:?}");
        assert!(mount(&rig).await.is_some());
        assert_eq!(rig.source.streams().len(), 1);
        assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
    }
}

#[tokio::test]
async fn a_mount_that_leads_somewhere_else_by_now_stays_and_is_told() {
    let (rig, _) = opened().await;
    let source = rig.source_topology().await;
    let known = external_cluster::find(source.global(), NAME).await.unwrap().unwrap();
    external_cluster::delete(source.global(), NAME, known.version).await.unwrap();
    let elsewhere = TopoConfig { topo_type: "memory".into(), server: "elsewhere".into(), root: "/r".into() };
    external_cluster::create(source.global(), NAME, elsewhere.clone()).await.unwrap();
    let told = give_up(&rig).await.unwrap();
    let text = "; the mount customer.import in the source stays: it leads to another topology now; ";
    assert!(told.summary.contains(text), "{told:?}");
    assert_eq!(mount(&rig).await, Some(elsewhere));
}

#[tokio::test]
async fn one_that_an_older_version_has_prepared_keeps_its_mount() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    let source = rig.source_topology().await;
    let known = external_cluster::find(source.global(), NAME).await.unwrap().unwrap();
    external_cluster::delete(source.global(), NAME, known.version).await.unwrap();
    external_cluster::create(source.global(), "older", known.value.topo_config.unwrap()).await.unwrap();
    rig.set_way_back(json!({"back_mount": "older"})).await;
    prepare(&rig).await.unwrap();
    assert_eq!(mount(&rig).await, None);
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
    let streams = rig.source.streams();
    assert_eq!(streams.len(), 2);
    assert!(streams.iter().all(|stream| stream.bls.as_ref().unwrap().external_cluster == "older"), "{streams:?}");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn the_status_of_one_that_is_prepared_names_a_source_that_does_not_answer() {
    let switch = Switch::default();
    let rig = switch.rig().await;
    rig.copied().await;
    prepare(&rig).await.unwrap();
    switch.is_dead();
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("prepared", false), "{told:?}");
    let silent = told.findings.iter().find(|found| found.id == "TOPO_UNREACHABLE");
    assert_eq!(silent.map(|found| found.subject.as_str()), Some("keyspace commerce of mount ext1"), "{told:?}");
    switch.works();
    assert!(status(&rig).await.unwrap().clear);
}
