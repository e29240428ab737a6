//! The way back over the wire: what is refused, what can be repeated, and what complete tells when it cannot be opened.

use tonic::{Code, Status};
use vtmigrated::topo::{Expect, Write, external_cluster, paths};
use vtmigrated_proto::topodata::TopoConfig;
use vtmigrated_proto::vtctldata::MountUnregisterRequest;
use vtmigrated_proto::vtmigrated::{PrepareWayBackRequest, Severity, WayBackReport, WayBackRequest};

use crate::support::assert_refused;
use crate::support::migrate_rig::Rig;

pub const NAME: &str = "customer.import";

pub type Answer = Result<WayBackReport, Status>;

pub fn named() -> WayBackRequest {
    WayBackRequest { keyspace: "customer".into(), workflow: "import".into(), ..WayBackRequest::default() }
}

pub fn wanted() -> PrepareWayBackRequest {
    let WayBackRequest { keyspace, workflow, .. } = named();
    PrepareWayBackRequest { keyspace, workflow, ..PrepareWayBackRequest::default() }
}

pub async fn prepare(rig: &Rig) -> Answer {
    prepare_as(rig, wanted()).await
}

pub async fn prepare_as(rig: &Rig, request: PrepareWayBackRequest) -> Answer {
    Ok(rig.lab.way_back.clone().prepare(request).await?.into_inner())
}

pub async fn status(rig: &Rig) -> Answer {
    Ok(rig.lab.way_back.clone().status(named()).await?.into_inner())
}

pub async fn go_back(rig: &Rig) -> Answer {
    Ok(rig.lab.way_back.clone().complete(named()).await?.into_inner())
}

pub async fn give_up(rig: &Rig) -> Answer {
    Ok(rig.lab.way_back.clone().cancel(named()).await?.into_inner())
}

/// The mount of the target in the source.
pub async fn mount(rig: &Rig) -> Option<TopoConfig> {
    let source = rig.source_topology().await;
    external_cluster::find(source.global(), NAME).await.unwrap()?.value.topo_config
}

pub async fn denied(rig: &Rig) -> Vec<String> {
    rig.source_denied("0").await
}

/// Everything in the source's topology.
pub async fn stored(rig: &Rig) -> Vec<(String, Vec<u8>)> {
    let nodes = rig.source_topology().await.global().list("").await.unwrap();
    nodes.into_iter().map(|node| (node.path, node.value.to_vec())).collect()
}

/// A migration that may be completed, and the source as it was.
pub async fn copied() -> (Rig, Vec<(String, Vec<u8>)>) {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.source.taken();
    let before = stored(&rig).await;
    (rig, before)
}

/// A way back that is open, and the source as it was before.
pub async fn opened() -> (Rig, Vec<(String, Vec<u8>)>) {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    rig.complete().await.unwrap();
    (rig, before)
}

/// Severity of what a status tells by an id.
pub fn found(told: &WayBackReport, id: &str) -> Option<Severity> {
    told.findings.iter().find(|finding| finding.id == id).map(|finding| finding.severity())
}

#[tokio::test]
async fn names_that_are_none_and_workflows_that_are_not_there_are_refused() {
    let rig = Rig::start().await;
    let text = "no streams found in keyspace customer for import";
    assert_refused(prepare(&rig).await, Code::NotFound, text);
    for answer in [status(&rig).await, go_back(&rig).await, give_up(&rig).await] {
        assert_refused(answer, Code::NotFound, "workflow customer.import has no way back");
    }
    let request = PrepareWayBackRequest { workflow: "a/b".into(), ..wanted() };
    assert_refused(prepare_as(&rig, request).await, Code::InvalidArgument, "bad workflow name");
}

#[tokio::test]
async fn prepare_registers_a_mount_and_no_more_however_often_it_is_called() {
    let (rig, before) = copied().await;
    let dry = prepare_as(&rig, PrepareWayBackRequest { dry_run: true, ..wanted() }).await.unwrap();
    assert!(
        dry.clear && dry.steps.iter().any(|step| step.ends_with("stream into commerce/0 from -80, 80-")),
        "{dry:?}"
    );
    assert_eq!(stored(&rig).await, before);
    for _ in 0..2 {
        let told = prepare(&rig).await.unwrap();
        assert_eq!((told.phase.as_str(), told.clear), ("prepared", true), "{told:?}");
        assert!(told.summary.contains("complete will open 2 streams into commerce of ext1"), "{told:?}");
    }
    let config = mount(&rig).await.unwrap();
    assert_eq!((config.server.as_str(), config.root.as_str()), ("test", "/vitess/global"));
    assert_eq!(rig.source.taken(), Vec::<String>::new(), "no tablet of the source is asked to do something");
    assert!(status(&rig).await.unwrap().clear);
    assert_refused(
        go_back(&rig).await,
        Code::FailedPrecondition,
        "the way back of workflow customer.import is prepared",
    );
    let unregister = MountUnregisterRequest { name: "ext1".into() };
    let refused = rig.lab.client.clone().mount_unregister(unregister).await;
    assert_refused(refused, Code::FailedPrecondition, "mount ext1 is in use by: customer.import");
    give_up(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn a_target_that_was_written_to_and_a_mount_of_another_topology_are_refused() {
    let (rig, before) = copied().await;
    rig.deny(&["customer"]).await;
    let refused = prepare(&rig).await.unwrap_err();
    assert!(refused.message().contains("writes to orders were not denied"), "{refused:?}");
    assert_eq!(stored(&rig).await, before);
    rig.deny(&["customer", "orders"]).await;

    let other = TopoConfig { topo_type: "etcd2".into(), server: "x:1".into(), root: "/r".into() };
    let source = rig.source_topology().await;
    external_cluster::create(source.global(), NAME, other.clone()).await.unwrap();
    let text = "the source has a mount customer.import already";
    assert_refused(prepare(&rig).await, Code::AlreadyExists, text);
    assert_eq!(mount(&rig).await, Some(other));
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn a_table_of_the_target_whose_changes_tablets_cannot_stream_is_refused() {
    let (rig, before) = copied().await;
    rig.target[1].contents().lines = vec![("orders", "KEY `by_sum` ((`id` + 1))")];
    let refused = prepare(&rig).await.unwrap_err();
    for words in ["on the way back, ", "cannot determine table columns", "key by_sum", "drop the key in customer"] {
        assert!(refused.message().contains(words), "{words}: {refused:?}");
    }
    assert_eq!(stored(&rig).await, before);
    rig.target[1].contents().lines.clear();
    assert!(prepare(&rig).await.unwrap().clear);
}

#[tokio::test]
async fn complete_opens_it_and_going_back_leaves_nothing_in_the_source() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open: see vtmigrated way-back status"), "{summary}");
    assert_eq!(denied(&rig).await, ["customer", "orders"]);
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
    assert_eq!(rig.record().await, None);
    let calls = rig.source.taken();
    let at = |text: &str| {
        calls.iter().position(|call| call.starts_with(text)).unwrap_or_else(|| panic!("{text}: {calls:?}"))
    };
    assert!(at("RefreshState") < at("CreateVReplicationWorkflow"), "{calls:?}");
    assert!(at("CreateVReplicationWorkflow") < at("update _vt.vreplication set pos"), "{calls:?}");
    assert!(at("update _vt.vreplication set pos") < at("Update Running"), "{calls:?}");

    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.summary.as_str()), ("open", "GO"), "{told:?}");
    let from: Vec<_> = told.streams.iter().map(|s| (s.from_shard.as_str(), s.to_shard.as_str())).collect();
    assert_eq!(from, [("-80", "0"), ("80-", "0")]);
    assert!(prepare(&rig).await.unwrap().summary.starts_with("the way back is open already"));

    rig.target.iter().for_each(|primary| drop(primary.taken()));
    let told = go_back(&rig).await.unwrap();
    assert!(told.summary.starts_with("commerce of ext1 serves again"), "{told:?}");
    for primary in &rig.target {
        let locks = primary.taken().into_iter().filter(|call| call == "LOCK TABLES `customer` READ, `orders` READ");
        assert_eq!(locks.count(), 2);
    }
    assert_eq!(stored(&rig).await, before);
    assert_eq!(rig.source.streams(), vec![]);
    let both = ["customer".to_owned(), "orders".to_owned()];
    assert_eq!(rig.denied().await, [both.to_vec(), both.to_vec()], "the target's tables stay denied");
    assert_refused(go_back(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn what_complete_could_not_open_is_told_and_opened_by_prepare() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    rig.source.contents().fails = vec!["CreateVReplicationWorkflow"];
    let summary = rig.complete().await.unwrap();
    assert!(summary.starts_with("Successfully completed the import workflow"), "{summary}");
    assert!(summary.contains("; THE WAY BACK IS NOT OPEN YET: ") && summary.contains("way-back prepare"), "{summary}");
    assert!(!summary.contains("BOTH SIDES"), "{summary}");
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves");
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.clear), ("handed over", false));
    assert_refused(
        go_back(&rig).await,
        Code::FailedPrecondition,
        "the way back of workflow customer.import is handed over",
    );
    assert_refused(
        prepare(&rig).await,
        Code::FailedPrecondition,
        "the way back of workflow customer.import could not be opened",
    );
    rig.source.contents().fails.clear();
    prepare(&rig).await.unwrap();
    assert_eq!(status(&rig).await.unwrap().phase, "open");
    go_back(&rig).await.unwrap();
}

#[tokio::test]
async fn without_positions_there_is_no_way_back() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    rig.target[1].contents().fails = vec!["PrimaryPosition"];
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; THERE IS NO WAY BACK: ") && summary.contains("PrimaryPosition"), "{summary}");
    let told = status(&rig).await.unwrap();
    assert_eq!((told.phase.as_str(), told.findings[0].id.as_str()), ("missed", "WAY_BACK_MISSED"));
    assert_eq!(denied(&rig).await, Vec::<String>::new(), "clients of the source are let alone");
    for answer in [prepare(&rig).await, go_back(&rig).await] {
        assert_refused(answer, Code::FailedPrecondition, "workflow customer.import has no way back any more");
    }
    rig.set_way_back(serde_json::json!({"source_denied": [[["0"], ["customer"]]]})).await;
    let told = status(&rig).await.unwrap();
    assert!(told.findings[0].cause.ends_with("the source's tables stay denied to clients"), "{told:?}");
    give_up(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn nothing_is_written_to_another_source_than_the_one_that_was_prepared() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let kept = rig.mount_elsewhere().await;
    let text = "mount ext1 is not the one that the way back was prepared with";
    assert_refused(give_up(&rig).await, Code::FailedPrecondition, text);
    let told = status(&rig).await.unwrap();
    let changed = told.findings.iter().find(|found| found.id == "MOUNT_CHANGED");
    assert!(!told.clear && changed.is_some_and(|found| found.cause.starts_with(text)), "{told:?}");
    rig.lab.put(&paths::external_cluster("ext1"), kept).await;
    give_up(&rig).await.unwrap();
    assert_eq!(mount(&rig).await, None);
}

#[tokio::test]
async fn a_migration_that_is_cancelled_takes_its_way_back_along() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    let summary = rig.cancel(false).await.unwrap();
    assert!(summary.contains("; its way back is taken away, too"), "{summary}");
    assert_eq!(stored(&rig).await, before);
    assert_refused(status(&rig).await, Code::NotFound, "workflow customer.import has no way back");
}

#[tokio::test]
async fn a_migration_without_a_record_has_no_way_back() {
    let (rig, before) = copied().await;
    let delete = Write::delete(paths::workflow_record("customer", "import"), Expect::Any);
    rig.lab.topo.global().write_one(delete, None).await.unwrap();
    let refused = prepare(&rig).await.unwrap_err();
    assert!(refused.message().contains("made by a stock vtctld"), "{refused:?}");
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_fails_neither_complete_nor_cancel() {
    let (rig, before) = copied().await;
    rig.lab.put(&paths::way_back("customer", "import"), b"garbage".to_vec()).await;
    let summary = rig.complete().await.unwrap();
    assert!(summary.starts_with("Successfully completed the import workflow"), "{summary}");
    assert!(summary.contains("; THERE IS NO WAY BACK: its record cannot be read"), "{summary}");
    assert!(summary.contains("--workflow import --forget-record"), "{summary}");
    assert_eq!(stored(&rig).await, before);

    let (rig, before) = copied().await;
    rig.lab.put(&paths::way_back("customer", "import"), b"garbage".to_vec()).await;
    let summary = rig.cancel(false).await.unwrap();
    assert!(summary.contains("; its way back is left, for its record cannot be read"), "{summary}");
    assert!(summary.contains("--workflow import --forget-record"), "{summary}");
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_workflow_of_its_name_in_the_source_is_refused_and_left() {
    let (rig, before) = copied().await;
    rig.source.add_stream("import_back", 7, "elsewhere", "other");
    let text = "the source keyspace commerce has a workflow import_back that is none of this way back's";
    assert_refused(prepare(&rig).await, Code::AlreadyExists, text);
    rig.source.contents().workflows.clear();
    prepare(&rig).await.unwrap();
    rig.source.add_stream("import_back", 7, "elsewhere", "other");
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains(&format!("; THE WAY BACK IS NOT OPEN YET: {text}")), "{summary}");
    assert!(!summary.contains("BOTH SIDES") && !summary.contains("EXACT"), "{summary}");
    assert_eq!(denied(&rig).await, ["customer", "orders"], "what clients wrote there would stay there alone");
    give_up(&rig).await.unwrap();
    assert_eq!(rig.source.streams().len(), 1);
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn nobody_goes_back_without_a_stream_that_was_opened() {
    let (rig, _) = opened().await;
    rig.source.contents().workflows[0].streams.pop();
    let text = "the way back does not stand: shard commerce/0: there is no stream from shard 80-";
    assert_refused(go_back(&rig).await, Code::FailedPrecondition, text);
    let told = status(&rig).await.unwrap();
    assert!(!told.clear && told.findings.iter().any(|found| found.id == "WAY_BACK_STREAMS"), "{told:?}");
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves on");
    give_up(&rig).await.unwrap();
}

#[tokio::test]
async fn no_position_is_noted_of_a_target_that_clients_could_write_to() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    rig.deny(&["customer"]).await;
    let summary = rig.complete().await.unwrap();
    assert!(
        summary.contains("; THERE IS NO WAY BACK: shard customer/-80: writes to orders were not denied"),
        "{summary}"
    );
    assert_eq!(status(&rig).await.unwrap().phase, "missed");
    assert_eq!(denied(&rig).await, Vec::<String>::new());
    give_up(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn nobody_goes_back_before_a_complete_has_ended_that_would_open_the_target_again() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let kept = rig.record().await.unwrap();
    rig.complete().await.unwrap();
    // as a server leaves it that dies before its last step
    rig.lab.put(&paths::workflow_record("customer", "import"), kept.to_string().into_bytes()).await;
    rig.set_record(serde_json::json!({ "completing": true, "handed_over": true })).await;
    let text = "cannot go back with workflow customer.import: its complete has not ended";
    assert_refused(go_back(&rig).await, Code::FailedPrecondition, text);
    let told = status(&rig).await.unwrap();
    assert!(!told.clear && told.findings.iter().any(|found| found.id == "COMPLETE_HAS_BEGUN"), "{told:?}");
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()], "the target serves on");

    rig.complete().await.unwrap();
    assert_eq!(rig.record().await, None);
    go_back(&rig).await.unwrap();
    let both = ["customer".to_owned(), "orders".to_owned()];
    assert_eq!(rig.denied().await, [both.to_vec(), both.to_vec()]);
}

#[tokio::test]
async fn a_complete_that_fails_leaves_clients_the_source_that_an_earlier_one_had_denied() {
    let (rig, _) = copied().await;
    prepare(&rig).await.unwrap();
    let before = stored(&rig).await;
    // as a server leaves it that dies when it has denied the source's tables
    let tables = ["customer", "orders"];
    rig.set_way_back(serde_json::json!({"phase": "noted", "source_denied": [[["0"], tables]]})).await;
    rig.deny_source(&tables).await;

    rig.target[1].contents().fails = vec!["Update Stopped"];
    let failed = rig.complete().await.unwrap_err();
    assert!(failed.message().contains("told to fail: Update Stopped"), "{failed:?}");
    assert_eq!(stored(&rig).await, before);
    rig.target[1].contents().fails.clear();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
}

#[tokio::test]
async fn the_source_is_told_again_of_a_target_that_somebody_has_unregistered_there() {
    let (rig, before) = copied().await;
    prepare(&rig).await.unwrap();
    let told = mount(&rig).await.unwrap();
    let source = rig.source_topology().await;
    let known = external_cluster::find(source.global(), NAME).await.unwrap().unwrap();
    external_cluster::delete(source.global(), NAME, known.version).await.unwrap();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
    assert_eq!(mount(&rig).await, Some(told));
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}
