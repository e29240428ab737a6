//! Shards.

use tonic::Code;
use vtmigrated::topo::{self, paths, wire};
use vtmigrated_proto::topodata::{KeyRange, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::{HOSTILE, Lab, assert_refused, tablet};

fn new(keyspace: &str, shard: &str) -> CreateShardRequest {
    CreateShardRequest { keyspace: keyspace.into(), shard_name: shard.into(), ..CreateShardRequest::default() }
}

fn at(name: &str) -> Shard {
    Shard { keyspace: "ks".into(), name: name.into(), shard: None }
}

fn control(denied_tables: &[&str]) -> SetShardTabletControlRequest {
    SetShardTabletControlRequest {
        keyspace: "ks".into(),
        shard: "0".into(),
        tablet_type: TabletType::Primary.into(),
        denied_tables: denied_tables.iter().map(|t| (*t).into()).collect(),
        ..SetShardTabletControlRequest::default()
    }
}

#[tokio::test]
async fn shards_serve_unless_they_overlap() {
    let mut lab = Lab::with_keyspace("ks", &["-80"]).await;
    let made = lab.client.create_shard(new("ks", "80-")).await.unwrap().into_inner();
    assert!(!made.shard_already_exists);
    assert_eq!(made.keyspace.unwrap().name, "ks");
    let shard = made.shard.unwrap();
    assert_eq!((shard.keyspace.as_str(), shard.name.as_str()), ("ks", "80-"));
    let record = shard.shard.unwrap();
    assert_eq!(record.key_range, Some(KeyRange { start: vec![0x80], end: vec![] }));
    assert!(record.is_primary_serving);
    for overlapping in ["40-c0", "0"] {
        let made = lab.client.create_shard(new("ks", overlapping)).await.unwrap().into_inner();
        assert!(!made.shard.unwrap().shard.unwrap().is_primary_serving, "{overlapping}");
    }
    let request = FindAllShardsInKeyspaceRequest { keyspace: "ks".into() };
    let all = lab.client.find_all_shards_in_keyspace(request).await.unwrap().into_inner().shards;
    assert_eq!(all.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["-80", "0", "40-c0", "80-"]);
    assert!(all.iter().all(|e| e.value.as_ref().unwrap().name == e.key));
}

#[tokio::test]
async fn a_shard_can_bring_its_keyspace() {
    let mut lab = Lab::start().await;
    let text = "node doesn't exist: /vitess/global/keyspaces/ks/";
    assert_refused(lab.client.create_shard(new("ks", "0")).await, Code::NotFound, text);
    let request = CreateShardRequest { include_parent: true, ..new("ks", "0") };
    let made = lab.client.create_shard(request.clone()).await.unwrap().into_inner();
    assert_eq!(made.shard.unwrap().shard.unwrap().key_range, None);
    let text = "node already exists: /vitess/global/keyspaces/ks/Keyspace";
    assert_refused(lab.client.create_shard(request.clone()).await, Code::AlreadyExists, text);
    let text = "node already exists: /vitess/global/keyspaces/ks/shards/0/Shard";
    assert_refused(lab.client.create_shard(new("ks", "0")).await, Code::AlreadyExists, text);
    let again = lab.client.create_shard(CreateShardRequest { force: true, ..request }).await.unwrap().into_inner();
    assert!(again.shard_already_exists);
    let get = GetShardRequest { keyspace: "ks".into(), shard_name: "0".into() };
    assert!(lab.client.get_shard(get).await.unwrap().into_inner().shard.unwrap().shard.unwrap().is_primary_serving);
    let get = GetShardRequest { keyspace: "ks".into(), shard_name: "-80".into() };
    let text = "node doesn't exist: /vitess/global/keyspaces/ks/shards/-80/Shard";
    assert_refused(lab.client.get_shard(get).await, Code::NotFound, text);
    let missing = FindAllShardsInKeyspaceRequest { keyspace: "nope".into() };
    let text = "FindAllShardsInKeyspace(nope): List: node doesn't exist: /vitess/global/keyspaces/nope/shards";
    assert_refused(lab.client.find_all_shards_in_keyspace(missing).await, Code::NotFound, text);
}

#[tokio::test]
async fn a_shard_that_serves_or_has_tablets_is_kept() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "0", TabletType::Primary, 1)).await;
    lab.add_tablet(&tablet("zone2", 2, "ks", "0", TabletType::Replica, 1)).await;
    let rebuild = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    lab.client.rebuild_keyspace_graph(rebuild).await.unwrap();
    let delete = DeleteShardsRequest { shards: vec![at("0")], ..DeleteShardsRequest::default() };
    let text = "shard ks/0 is still serving; cannot delete it; use EvenIfServing = true to delete anyway";
    assert_refused(lab.client.delete_shards(delete.clone()).await, Code::FailedPrecondition, text);
    let delete = DeleteShardsRequest { even_if_serving: true, ..delete };
    let text = "Shard ks/0 still hase 1 tablets in cell zone1; use Recursive = true or remove them manually";
    assert_refused(lab.client.delete_shards(delete.clone()).await, Code::FailedPrecondition, text);
    assert_eq!(lab.cell("zone2").await.list("tablets").await.unwrap().len(), 1);
    lab.client.delete_shards(DeleteShardsRequest { recursive: true, ..delete.clone() }).await.unwrap();
    assert!(topo::shard::all(lab.topo.global(), "ks").await.unwrap().is_empty());
    for cell in ["zone1", "zone2"] {
        let conn = lab.cell(cell).await;
        assert_eq!(conn.list("tablets").await.unwrap(), vec![]);
        assert_eq!(conn.list(&paths::shards_dir("ks")).await.unwrap(), vec![]);
    }
    let text =
        "failed to lock ks/0; if you really want to delete this shard, re-run with Force=true: node doesn't exist";
    assert_refused(lab.client.delete_shards(delete.clone()).await, Code::NotFound, text);
    lab.client.delete_shards(DeleteShardsRequest { force: true, ..delete }).await.unwrap();
}

#[tokio::test]
async fn without_a_replication_graph_the_cells_tablets_are_looked_through() {
    let mut lab = Lab::with_keyspace("ks", &["0", "-"]).await;
    for (uid, shard) in [(1, "0"), (2, "-")] {
        lab.add_tablet(&tablet("zone1", uid, "ks", shard, TabletType::Replica, 1)).await;
    }
    lab.cell("zone1").await.remove(&paths::shard_replication("ks", "0")).await.unwrap();
    let delete = DeleteShardsRequest { shards: vec![at("0")], recursive: true, ..DeleteShardsRequest::default() };
    lab.client.delete_shards(delete).await.unwrap();
    let left = lab.cell("zone1").await.list("tablets").await.unwrap();
    assert_eq!(left.iter().map(|n| n.path.as_str()).collect::<Vec<_>>(), ["tablets/zone1-0000000002/Tablet"]);
}

#[tokio::test]
async fn the_serving_flag_is_set_and_newer_fields_stay() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let mut raw = lab.topo.global().get(&paths::shard("ks", "0")).await.unwrap().value.to_vec();
    wire::push(&mut raw, 99, b"newer");
    lab.put(&paths::shard("ks", "0"), raw).await;
    let set = |shard: &str, is_serving| SetShardIsPrimaryServingRequest {
        keyspace: "ks".into(),
        shard: shard.into(),
        is_serving,
    };
    let done = lab.client.set_shard_is_primary_serving(set("0", false)).await.unwrap().into_inner();
    assert!(!done.shard.unwrap().is_primary_serving);
    let record = topo::shard::get(lab.topo.global(), "ks", "0").await.unwrap();
    assert!(!record.value.is_primary_serving);
    assert!(wire::fields(&record.raw).unwrap().iter().any(|field| field.number == 99));
    let missing = lab.client.set_shard_is_primary_serving(set("1", false)).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/global/keyspaces/ks/shards/1/Shard");
    let locks = lab.topo.global().list(&format!("{}/locks", paths::keyspace_dir("ks"))).await.unwrap();
    assert_eq!(locks, vec![]);
}

#[tokio::test]
async fn tablet_controls_have_three_forms() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let rebuild = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    lab.client.rebuild_keyspace_graph(rebuild.clone()).await.unwrap();
    let denied = lab.client.set_shard_tablet_control(control(&["a", "b"])).await.unwrap().into_inner().shard.unwrap();
    assert_eq!(denied.tablet_controls[0].denied_tables, ["a", "b"]);
    let query = SetShardTabletControlRequest { disable_query_service: true, ..control(&[]) };
    let text = "cannot safely alter DisableQueryService as DeniedTables is set for shard ks/0";
    assert_refused(lab.client.set_shard_tablet_control(query.clone()).await, Code::FailedPrecondition, text);
    let remove = SetShardTabletControlRequest { remove: true, ..control(&["a"]) };
    let left = lab.client.set_shard_tablet_control(remove).await.unwrap().into_inner().shard.unwrap();
    assert_eq!(left.tablet_controls[0].denied_tables, ["b"]);
    let remove = SetShardTabletControlRequest { remove: true, ..control(&[]) };
    let left = lab.client.set_shard_tablet_control(remove).await.unwrap().into_inner().shard.unwrap();
    assert_eq!(left.tablet_controls, vec![]);

    lab.client.set_shard_tablet_control(query.clone()).await.unwrap();
    let graph = topo::srv_keyspace::find(&lab.cell("zone2").await, "ks").await.unwrap().unwrap().value;
    let disabled = |tablet_type: TabletType| {
        let partition = graph.partitions.iter().find(|p| p.served_type() == tablet_type).unwrap();
        partition.shard_tablet_controls.iter().any(|c| c.query_service_disabled)
    };
    assert!(disabled(TabletType::Primary) && !disabled(TabletType::Replica));
    let text = "can't rebuild serving keyspace while a migration is on going. TabletControls is set for partition ";
    assert_refused(lab.client.rebuild_keyspace_graph(rebuild.clone()).await, Code::FailedPrecondition, text);
    let enable = SetShardTabletControlRequest { disable_query_service: false, ..query };
    lab.client.set_shard_tablet_control(enable).await.unwrap();
    lab.client.rebuild_keyspace_graph(rebuild).await.unwrap();
}

#[tokio::test]
async fn bad_input_is_refused_and_writes_nothing() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let before = lab.stored().await;
    let long = "x".repeat(65_536);
    for name in HOSTILE.iter().copied().chain([long.as_str(), "-80-", "x-", "-8", "c0-80"]) {
        let request = CreateShardRequest { include_parent: true, force: true, ..new("ks2", name) };
        assert_refused(lab.client.create_shard(request).await, Code::InvalidArgument, "");
        let request = GetShardRequest { keyspace: "ks".into(), shard_name: name.into() };
        assert_refused(lab.client.get_shard(request).await, Code::InvalidArgument, "");
        let request =
            DeleteShardsRequest { shards: vec![at(name)], recursive: true, even_if_serving: true, force: true };
        assert_refused(lab.client.delete_shards(request).await, Code::InvalidArgument, "");
        let request = SetShardTabletControlRequest { shard: name.into(), ..control(&["a"]) };
        assert_refused(lab.client.set_shard_tablet_control(request).await, Code::InvalidArgument, "");
    }
    for name in HOSTILE {
        let request = CreateShardRequest { include_parent: true, ..new(name, "0") };
        assert_refused(lab.client.create_shard(request).await, Code::InvalidArgument, "");
        let request = FindAllShardsInKeyspaceRequest { keyspace: (*name).into() };
        assert_refused(lab.client.find_all_shards_in_keyspace(request).await, Code::InvalidArgument, "");
    }
    for request in [
        SetShardTabletControlRequest { tablet_type: 99, ..control(&["a"]) },
        SetShardTabletControlRequest { cells: vec!["zone1".into()], ..control(&["a"]) },
        SetShardTabletControlRequest { cells: vec!["../x".into()], ..control(&["a"]) },
        control(&[""]),
        control(&["a\nb"]),
        control(&[long.as_str()]),
    ] {
        assert_refused(lab.client.set_shard_tablet_control(request).await, Code::InvalidArgument, "");
    }
    assert_eq!(lab.stored().await, before);
}
