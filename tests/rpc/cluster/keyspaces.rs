//! Keyspaces.

use prost::Message;
use tonic::Code;
use vtmigrated::topo::{self, LockRequest, paths, wire};
use vtmigrated_proto::topodata::{self, KeyspaceType, TabletType};
use vtmigrated_proto::vschema;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Time;

use crate::support::{HOSTILE, Lab, assert_refused, tablet};

fn named(name: &str) -> CreateKeyspaceRequest {
    CreateKeyspaceRequest { name: name.into(), ..CreateKeyspaceRequest::default() }
}

#[tokio::test]
async fn a_keyspace_comes_with_vschema_and_srv_vschema() {
    let mut lab = Lab::start().await;
    let request = CreateKeyspaceRequest { durability_policy: "semi_sync".into(), ..named("commerce") };
    let made = lab.client.create_keyspace(request).await.unwrap().into_inner().keyspace.unwrap();
    assert_eq!(made.name, "commerce");
    assert_eq!(made.keyspace.unwrap().durability_policy, "semi_sync");
    let vschema = lab.topo.global().get(&paths::vschema("commerce")).await.unwrap();
    assert!(vschema.value.is_empty());
    for cell in ["zone1", "zone2"] {
        let raw = lab.cell(cell).await.get(paths::SRV_VSCHEMA).await.unwrap().value;
        // an empty keyspace, and the rules that Go readers need
        assert_eq!(raw.as_ref(), b"\x0a\x0c\x0a\x08commerce\x12\x00\x12\x00\x1a\x00\x2a\x00");
    }
    let text = "node already exists: /vitess/global/keyspaces/commerce/Keyspace";
    assert_refused(lab.client.create_keyspace(named("commerce")).await, Code::AlreadyExists, text);
    let request = CreateKeyspaceRequest { force: true, ..named("commerce") };
    let again = lab.client.create_keyspace(request).await.unwrap().into_inner().keyspace.unwrap();
    assert_eq!(again.keyspace.unwrap().durability_policy, "semi_sync");
}

#[tokio::test]
async fn a_keyspace_can_be_made_before_any_cell() {
    let mut lab = Lab::empty().await;
    let request = CreateKeyspaceRequest { allow_empty_v_schema: true, ..named("ks") };
    lab.client.create_keyspace(request).await.unwrap();
    assert!(topo::vschema::find(lab.topo.global(), "ks").await.unwrap().is_none());
}

#[tokio::test]
async fn a_snapshot_has_its_bases_vschema() {
    let mut lab = Lab::with_keyspace("base", &[]).await;
    let mut raw = Vec::new();
    wire::push(&mut raw, 3, &wire::map_entry("t", &[]));
    wire::push(&mut raw, 99, b"newer");
    lab.put(&paths::vschema("base"), raw).await;
    let snapshot = CreateKeyspaceRequest { r#type: KeyspaceType::Snapshot.into(), ..named("snap") };
    let text = "BaseKeyspace is required for SNAPSHOT keyspaces";
    assert_refused(lab.client.create_keyspace(snapshot.clone()).await, Code::InvalidArgument, text);
    let snapshot = CreateKeyspaceRequest { base_keyspace: "base".into(), ..snapshot };
    let text = "SnapshotTime is required for SNAPSHOT keyspaces";
    assert_refused(lab.client.create_keyspace(snapshot.clone()).await, Code::InvalidArgument, text);
    let snapshot = CreateKeyspaceRequest { snapshot_time: Some(Time { seconds: 1, nanoseconds: 0 }), ..snapshot };
    lab.client.create_keyspace(snapshot).await.unwrap();
    let record = topo::vschema::get(lab.topo.global(), "snap").await.unwrap();
    assert!(record.value.require_explicit_routing);
    assert_eq!(record.value.tables[0].key, "t");
    assert!(wire::fields(&record.raw).unwrap().iter().any(|field| field.number == 99));
}

#[tokio::test]
async fn keyspaces_are_read_one_by_one_and_all_at_once() {
    let mut lab = Lab::with_keyspace("b", &[]).await;
    lab.client.create_keyspace(named("a")).await.unwrap();
    let found = lab.client.get_keyspaces(GetKeyspacesRequest {}).await.unwrap().into_inner().keyspaces;
    assert_eq!(found.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let one = lab.client.get_keyspace(GetKeyspaceRequest { keyspace: "a".into() }).await.unwrap().into_inner();
    assert_eq!(one.keyspace.as_ref(), found.first());
    let missing = lab.client.get_keyspace(GetKeyspaceRequest { keyspace: "c".into() }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/c/Keyspace");
    lab.put(&paths::keyspace("a"), b"\xff\xff".to_vec()).await;
    let garbage = lab.client.get_keyspaces(GetKeyspacesRequest {}).await;
    assert_refused(garbage, Code::DataLoss, "bad topology data at /vitess/global/keyspaces/a/Keyspace: ");
}

#[tokio::test]
async fn the_durability_policy_is_set_under_the_lock() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let mut raw = lab.topo.global().get(&paths::keyspace("ks")).await.unwrap().value.to_vec();
    wire::push(&mut raw, 99, b"newer");
    lab.put(&paths::keyspace("ks"), raw).await;
    let set =
        |policy: &str| SetKeyspaceDurabilityPolicyRequest { keyspace: "ks".into(), durability_policy: policy.into() };
    let done = lab.client.set_keyspace_durability_policy(set("cross_cell")).await.unwrap().into_inner();
    assert_eq!(done.keyspace.unwrap().durability_policy, "cross_cell");
    let raw = lab.topo.global().get(&paths::keyspace("ks")).await.unwrap().value;
    assert!(wire::fields(&raw).unwrap().iter().any(|field| field.number == 99));
    let bad = lab.client.set_keyspace_durability_policy(set("bold")).await;
    assert_refused(bad, Code::InvalidArgument, "durability policy <bold> is not a valid policy. ");

    let held = LockRequest::new("test", std::time::Duration::from_secs(30)).of(paths::keyspace_dir("ks"));
    let held = lab.topo.global().lock(held).await.unwrap();
    let busy = lab.client.set_keyspace_durability_policy(set("none")).await;
    assert_refused(busy, Code::DeadlineExceeded, "deadline exceeded: /vitess/global/keyspaces/ks/locks");
    held.release().await.unwrap();
    lab.client.set_keyspace_durability_policy(set("none")).await.unwrap();
}

#[tokio::test]
async fn emergency_reparents_of_vtorc_are_switched_for_a_keyspace_or_a_shard() {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    let stored = async |lab: &Lab, path: String| lab.topo.global().get(&path).await.unwrap();
    let disabled = async |lab: &Lab| {
        let keyspace = topodata::Keyspace::decode(stored(lab, paths::keyspace("ks")).await.value).unwrap();
        let shard = topodata::Shard::decode(stored(lab, paths::shard("ks", "-80")).await.value).unwrap();
        (
            keyspace.vtorc_state.map(|state| state.disable_emergency_reparent),
            shard.vtorc_state.map(|state| state.disable_emergency_reparent),
        )
    };
    for path in [paths::keyspace("ks"), paths::shard("ks", "-80")] {
        let mut raw = stored(&lab, path.clone()).await.value.to_vec();
        wire::push(&mut raw, 99, b"newer");
        lab.put(&path, raw).await;
    }
    let steps = [
        ("", false, (None, None)),
        ("-80", false, (None, None)),
        ("-", true, (Some(true), None)),
        ("-80", true, (Some(true), Some(true))),
        ("0", false, (Some(false), Some(true))),
        ("-80", false, (Some(false), Some(false))),
    ];
    for (shard, disable, wanted) in steps {
        let request = SetVtorcEmergencyReparentRequest { keyspace: "ks".into(), shard: shard.into(), disable };
        lab.client.set_vtorc_emergency_reparent(request).await.unwrap();
        assert_eq!(disabled(&lab).await, wanted, "{shard} {disable}");
    }
    for path in [paths::keyspace("ks"), paths::shard("ks", "-80")] {
        assert!(wire::fields(&stored(&lab, path).await.value).unwrap().iter().any(|field| field.number == 99));
    }
    let unknown = |keyspace: &str, shard: &str| SetVtorcEmergencyReparentRequest {
        keyspace: keyspace.into(),
        shard: shard.into(),
        disable: true,
    };
    let refused = lab.client.set_vtorc_emergency_reparent(unknown("nosuch", "")).await;
    assert_refused(refused, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/nosuch");
    let refused = lab.client.set_vtorc_emergency_reparent(unknown("ks", "40-80")).await;
    assert_refused(refused, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/ks/shards/40-80/Shard");
}

#[tokio::test]
async fn a_keyspace_with_shards_goes_only_recursively() {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "-80", TabletType::Primary, 1)).await;
    let request = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    lab.client.rebuild_keyspace_graph(request).await.unwrap();
    let delete = |recursive| DeleteKeyspaceRequest { keyspace: "ks".into(), recursive, force: false };
    let text = "keyspace ks still has 2 shards; use Recursive=true or remove them manually";
    assert_refused(lab.client.delete_keyspace(delete(false)).await, Code::FailedPrecondition, text);
    lab.client.delete_keyspace(delete(true)).await.unwrap();
    let left = lab.topo.global().list(paths::KEYSPACES).await.unwrap();
    assert_eq!(left, vec![]);
    for cell in ["zone1", "zone2"] {
        let names: Vec<String> =
            lab.cell(cell).await.list("").await.unwrap().into_iter().map(|node| node.path).collect();
        assert_eq!(names, [paths::SRV_VSCHEMA]);
    }
    let text =
        "failed to lock ks; if you really want to delete this keyspace, re-run with Force=true: node doesn't exist: ";
    assert_refused(lab.client.delete_keyspace(delete(true)).await, Code::NotFound, text);
    let forced = DeleteKeyspaceRequest { force: true, ..delete(true) };
    assert_refused(lab.client.delete_keyspace(forced).await, Code::NotFound, "node doesn't exist: ");
}

#[tokio::test]
async fn the_records_of_a_keyspaces_workflows_go_with_it() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    for (keyspace, workflow) in [("ks", "import"), ("ks", "second"), ("ks2", "import")] {
        lab.put(&paths::workflow_record(keyspace, workflow), b"{}".to_vec()).await;
    }
    let request = DeleteKeyspaceRequest { keyspace: "ks".into(), recursive: true, force: false };
    lab.client.delete_keyspace(request).await.unwrap();
    let left = lab.topo.global().list(paths::WORKFLOW_RECORDS).await.unwrap().into_iter().map(|node| node.path);
    assert_eq!(left.collect::<Vec<_>>(), [paths::workflow_record("ks2", "import")]);
}

#[tokio::test]
async fn a_keyspace_with_a_way_back_goes_only_by_force_and_leaves_the_record_of_what_that_has_elsewhere() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    lab.put(&paths::way_back("ks", "import"), b"{}".to_vec()).await;
    lab.put(&paths::workflow_record("ks", "import"), b"{}".to_vec()).await;
    let delete = |force| DeleteKeyspaceRequest { keyspace: "ks".into(), recursive: true, force };
    let text = "keyspace ks has ways back into other clusters, of workflows: import";
    assert_refused(lab.client.delete_keyspace(delete(false)).await, Code::FailedPrecondition, text);
    lab.client.delete_keyspace(delete(true)).await.unwrap();
    let left = lab.topo.global().list(paths::WORKFLOW_RECORDS).await.unwrap().into_iter().map(|node| node.path);
    assert_eq!(left.collect::<Vec<_>>(), [paths::way_back("ks", "import")]);
}

#[tokio::test]
async fn bad_input_is_refused_and_writes_nothing() {
    let mut lab = Lab::start().await;
    let before = lab.stored().await;
    let long = "x".repeat(65_536);
    for name in HOSTILE.iter().copied().chain([long.as_str()]) {
        assert_refused(lab.client.create_keyspace(named(name)).await, Code::InvalidArgument, "CreateKeyspace: ");
        let get = lab.client.get_keyspace(GetKeyspaceRequest { keyspace: name.into() }).await;
        assert_refused(get, Code::InvalidArgument, "GetKeyspace: ");
        let request = DeleteKeyspaceRequest { keyspace: name.into(), recursive: true, force: true };
        assert_refused(lab.client.delete_keyspace(request).await, Code::InvalidArgument, "");
    }
    for request in [
        CreateKeyspaceRequest { r#type: 7, ..named("ks") },
        CreateKeyspaceRequest { durability_policy: long.clone(), ..named("ks") },
        CreateKeyspaceRequest { sidecar_db_name: "a`b".into(), ..named("ks") },
        CreateKeyspaceRequest { base_keyspace: "../x".into(), ..named("ks") },
    ] {
        assert_refused(lab.client.create_keyspace(request).await, Code::InvalidArgument, "");
    }
    assert_eq!(lab.stored().await, before);
    assert_eq!(vschema::Keyspace::default().tables, vec![]);
}
