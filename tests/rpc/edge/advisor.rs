//! The Advisor: what is asked changes nothing, what is cleaned is what was reported.

use tonic::Code;
use vtmigrated_proto::topodata::{ExternalVitessCluster, TopoConfig};
use vtmigrated_proto::vtctldata::{MigrateCreateRequest, MountRegisterRequest};
use vtmigrated_proto::vtmigrated::{
    CleanLeftoversRequest, CleanLeftoversResponse, FindLeftoversRequest, Report, VerdictRequest,
};

use crate::support::{Lab, assert_refused};

const RECORD: &str = r#"{"phase":"created","mount":"ext1","arguments":"","tables":["t"],"created_tables":[],
    "vschema_tables":[],"denied_tables":[]}"#;

async fn find(lab: &mut Lab, keyspace: &str) -> Report {
    lab.advisor.find_leftovers(FindLeftoversRequest { keyspace: keyspace.into() }).await.unwrap().into_inner()
}

async fn clean(lab: &mut Lab, keys: Vec<String>) -> CleanLeftoversResponse {
    lab.advisor.clean_leftovers(CleanLeftoversRequest { keyspace: String::new(), keys }).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_verdict_needs_a_workflow() {
    let mut lab = Lab::with_keyspace("customer", &[]).await;
    let request = |workflow: &str| VerdictRequest { keyspace: "customer".into(), workflow: workflow.into() };
    let text = "no streams found in keyspace customer for import";
    assert_refused(lab.advisor.verdict(request("import")).await, Code::NotFound, text);
    assert_refused(lab.advisor.verdict(request("a/b")).await, Code::InvalidArgument, "bad workflow name");
}

#[tokio::test]
async fn records_without_keyspace_and_unused_mounts_are_found_and_only_the_first_cleaned() {
    let mut lab = Lab::start().await;
    assert!(find(&mut lab, "").await.clear);
    let config = TopoConfig { topo_type: "memory".into(), server: "x".into(), root: "/r".into() };
    let mount = prost::Message::encode_to_vec(&ExternalVitessCluster { topo_config: Some(config) });
    lab.put("ExternalClusters/vitess/ext2", mount).await;
    lab.put("internal/vtmigrated/gone/import/Record", RECORD.into()).await;
    let before = lab.stored().await;
    let report = find(&mut lab, "").await;
    let found: Vec<(&str, &str, bool)> =
        report.findings.iter().map(|f| (f.id.as_str(), f.subject.as_str(), f.cleanable)).collect();
    assert_eq!(found, [("RECORD_OF_NO_KEYSPACE", "workflow gone.import", true), ("MOUNT_UNUSED", "mount ext2", false)]);
    assert_eq!(report.summary, "2 found, 1 can be cleaned");
    assert_eq!(lab.stored().await, before, "a report changed something");
    assert_eq!(find(&mut lab, "gone").await.findings.len(), 1);

    let kept = clean(&mut lab, vec!["MOUNT_UNUSED mount ext2".into(), "X nothing".into()]).await;
    assert!(kept.leftovers.len() == 2 && kept.leftovers.iter().all(|l| !l.kept.is_empty()), "{kept:?}");
    assert_eq!(lab.stored().await, before);
    let cleaned = clean(&mut lab, Vec::new()).await;
    assert!(cleaned.leftovers.len() == 1 && cleaned.leftovers[0].kept.is_empty(), "{cleaned:?}");
    assert_eq!(find(&mut lab, "").await.findings.len(), 1);
    assert!(clean(&mut lab, Vec::new()).await.leftovers.is_empty());
    let request = FindLeftoversRequest { keyspace: "nowhere".into() };
    assert_refused(lab.advisor.find_leftovers(request).await, Code::NotFound, "keyspace nowhere does not exist");
}

#[tokio::test]
async fn dry_runs_and_preflights_tell_what_is_missing_and_change_nothing() {
    let mut lab = Lab::with_keyspace("customer", &["0"]).await;
    let before = lab.stored().await;
    let mount = MountRegisterRequest { name: "ext1".into(), ..MountRegisterRequest::default() };
    let report = lab.advisor.preflight_mount(mount).await.unwrap().into_inner();
    assert!(!report.clear && report.findings[0].id == "MOUNT_UNKNOWN", "{report:?}");
    let create = MigrateCreateRequest {
        workflow: "import".into(),
        source_keyspace: "commerce".into(),
        target_keyspace: "customer".into(),
        mount_name: "ext1".into(),
        all_tables: true,
        ..MigrateCreateRequest::default()
    };
    let report = lab.advisor.dry_run_create(create).await.unwrap().into_inner();
    assert!(!report.clear && report.steps.is_empty() && !report.findings.is_empty(), "{report:?}");
    assert_eq!(lab.stored().await, before);
}
