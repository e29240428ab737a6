//! What is taken out of the topology: tablets, cells of shards, wrong graph entries; and the sources of shards.

use prost::Message;
use tonic::Code;
use vtmigrated::topo::{self, Expect, Write, paths};
use vtmigrated_proto::topodata::shard_replication_error::Type as Problem;
use vtmigrated_proto::topodata::{ShardReplication, TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;

use crate::support::{HOSTILE, Lab, assert_refused, tablet};

fn alias(cell: &str, uid: u32) -> TabletAlias {
    TabletAlias { cell: cell.into(), uid }
}

/// ks/0: primary 1 and replica 2 in zone1, replica 3 in zone2; ks/1 without tablets. Both serve in both cells.
async fn cluster() -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "-80", TabletType::Primary, 1)).await;
    lab.add_tablet(&tablet("zone1", 2, "ks", "-80", TabletType::Replica, 1)).await;
    lab.add_tablet(&tablet("zone2", 3, "ks", "-80", TabletType::Replica, 1)).await;
    let rebuild = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    lab.client.rebuild_keyspace_graph(rebuild).await.unwrap();
    lab
}

async fn left(lab: &Lab, cell: &str) -> Vec<String> {
    lab.cell(cell).await.list("").await.unwrap().into_iter().map(|node| node.path).collect()
}

async fn graph(lab: &Lab, cell: &str) -> Vec<TabletAlias> {
    let node = lab.cell(cell).await.get(&paths::shard_replication("ks", "-80")).await.unwrap();
    ShardReplication::decode(node.value).unwrap().nodes.into_iter().filter_map(|node| node.tablet_alias).collect()
}

async fn served(lab: &Lab, cell: &str) -> Option<Vec<String>> {
    let graph = topo::srv_keyspace::find(&lab.cell(cell).await, "ks").await.unwrap()?.value;
    let partition = graph.partitions.into_iter().next().unwrap();
    Some(partition.shard_references.into_iter().map(|shard| shard.name).collect())
}

#[tokio::test]
async fn tablets_go_with_their_graph_entries() {
    let mut lab = cluster().await;
    let both = vec![alias("zone1", 2), alias("zone2", 3), alias("zone1", 2)];
    lab.client.delete_tablets(DeleteTabletsRequest { tablet_aliases: both, allow_primary: false }).await.unwrap();
    assert_eq!((graph(&lab, "zone1").await, graph(&lab, "zone2").await), (vec![alias("zone1", 1)], vec![]));
    assert!(!left(&lab, "zone1").await.contains(&"tablets/zone1-0000000002/Tablet".to_owned()));
    assert!(!left(&lab, "zone2").await.iter().any(|path| path.starts_with("tablets/")));
    let primary = DeleteTabletsRequest { tablet_aliases: vec![alias("zone1", 1)], allow_primary: true };
    lab.client.delete_tablets(primary).await.unwrap();
    let record = topo::shard::get(lab.topo.global(), "ks", "-80").await.unwrap().value;
    assert_eq!(record.primary_alias, None);
    assert!(record.primary_term_start_time.unwrap().seconds > 1_000_000);
    assert_eq!(graph(&lab, "zone1").await, vec![]);
    let locks = lab.topo.global().list(&format!("{}/locks", paths::shard_dir("ks", "-80"))).await.unwrap();
    assert_eq!(locks, vec![]);
}

#[tokio::test]
async fn nothing_is_deleted_when_one_tablet_must_stay() {
    let mut lab = cluster().await;
    let before = left(&lab, "zone1").await;
    let request = |uids: &[u32]| DeleteTabletsRequest {
        tablet_aliases: uids.iter().map(|uid| alias("zone1", *uid)).collect(),
        allow_primary: false,
    };
    let text = "cannot delete tablet zone1-0000000001 as it is a primary, pass AllowPrimary = true";
    assert_refused(lab.client.delete_tablets(request(&[2, 1])).await, Code::FailedPrecondition, text);
    let text = "node doesn't exist: /vitess/zone1/tablets/zone1-0000000009/Tablet";
    assert_refused(lab.client.delete_tablets(request(&[2, 9])).await, Code::NotFound, text);
    let nowhere = DeleteTabletsRequest { tablet_aliases: vec![alias("zone9", 1)], allow_primary: false };
    assert_refused(lab.client.delete_tablets(nowhere).await, Code::NotFound, "node doesn't exist: ");
    assert_eq!(left(&lab, "zone1").await, before);
    lab.client.delete_tablets(DeleteTabletsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_cell_is_taken_from_a_shard_with_all_that_is_there() {
    let mut lab = cluster().await;
    let remove = |cell: &str, shard: &str, recursive| RemoveShardCellRequest {
        keyspace: "ks".into(),
        shard_name: shard.into(),
        cell: cell.into(),
        recursive,
        force: false,
    };
    let text = "cannot remove cell zone1; shard primary zone1-0000000001 is in cell";
    assert_refused(lab.client.remove_shard_cell(remove("zone1", "-80", true)).await, Code::FailedPrecondition, text);
    let text = "cell zone2 has 1 possible tablets in replication graph";
    assert_refused(lab.client.remove_shard_cell(remove("zone2", "-80", false)).await, Code::FailedPrecondition, text);
    assert_eq!(served(&lab, "zone2").await.unwrap(), ["-80", "80-"]);
    lab.client.remove_shard_cell(remove("zone2", "-80", true)).await.unwrap();
    assert_eq!(served(&lab, "zone2").await.unwrap(), ["80-"]);
    assert_eq!(served(&lab, "zone1").await.unwrap(), ["-80", "80-"]);
    let found = left(&lab, "zone2").await;
    assert!(!found.iter().any(|path| path.starts_with("tablets/") || path.ends_with("ShardReplication")), "{found:?}");
    let text = "shard ks/-80 does not have serving cell zone2";
    assert_refused(lab.client.remove_shard_cell(remove("zone2", "-80", true)).await, Code::FailedPrecondition, text);
    let text = "shard ks/80- does not have serving cell zone9";
    assert_refused(lab.client.remove_shard_cell(remove("zone9", "80-", true)).await, Code::FailedPrecondition, text);
    for name in HOSTILE {
        assert_refused(lab.client.remove_shard_cell(remove(name, "-80", true)).await, Code::InvalidArgument, "");
        assert_refused(lab.client.remove_shard_cell(remove("zone2", name, true)).await, Code::InvalidArgument, "");
    }
}

#[tokio::test]
async fn a_cell_is_taken_from_a_whole_keyspace_or_from_none_of_it() {
    let mut lab = cluster().await;
    let remove = |cell: &str| RemoveKeyspaceCellRequest {
        keyspace: "ks".into(),
        cell: cell.into(),
        recursive: true,
        force: false,
    };
    let text = "cannot remove cell zone1 from shard ks/-80: cannot remove cell zone1; shard primary ";
    assert_refused(lab.client.remove_keyspace_cell(remove("zone1")).await, Code::FailedPrecondition, text);
    assert_eq!(served(&lab, "zone1").await.unwrap(), ["-80", "80-"]);
    lab.client.remove_keyspace_cell(remove("zone2")).await.unwrap();
    assert_eq!(served(&lab, "zone2").await, None);
    assert!(!left(&lab, "zone2").await.iter().any(|path| path.starts_with("tablets/")));
    let missing = RemoveKeyspaceCellRequest { keyspace: "nope".into(), ..remove("zone2") };
    let text = "node doesn't exist: /vitess/global/keyspaces/nope/shards/";
    assert_refused(lab.client.remove_keyspace_cell(missing).await, Code::NotFound, text);
}

#[tokio::test]
async fn a_graph_is_mended_one_entry_at_a_time() {
    let mut lab = cluster().await;
    let mut odd = tablet("zone2", 4, "ks", "80-", TabletType::Replica, 1);
    lab.add_tablet(&odd).await;
    for uid in [4, 5] {
        let add = ShardReplicationAddRequest {
            keyspace: "ks".into(),
            shard: "-80".into(),
            tablet_alias: Some(alias("zone2", uid)),
        };
        lab.client.shard_replication_add(add).await.unwrap();
    }
    let fix = ShardReplicationFixRequest { keyspace: "ks".into(), shard: "-80".into(), cell: "zone2".into() };
    let mut problems = Vec::new();
    for _ in 0..3 {
        let error = lab.client.shard_replication_fix(fix.clone()).await.unwrap().into_inner().error;
        problems.push(error.map(|error| (error.r#type(), error.tablet_alias.unwrap().uid)));
    }
    assert_eq!(problems, [Some((Problem::TopologyMismatch, 4)), Some((Problem::NotFound, 5)), None]);
    assert_eq!(graph(&lab, "zone2").await, [alias("zone2", 3)]);
    // a tablet of another cell does not belong here, whatever its record says
    odd = tablet("zone1", 6, "ks", "-80", TabletType::Replica, 1);
    lab.add_tablet(&odd).await;
    let raw = ShardReplication {
        nodes: vec![vtmigrated_proto::topodata::shard_replication::Node { tablet_alias: odd.alias }],
    };
    let write = Write::put(paths::shard_replication("ks", "-80"), raw.encode_to_vec(), Expect::Any);
    lab.cell("zone2").await.write_one(write, None).await.unwrap();
    let error = lab.client.shard_replication_fix(fix.clone()).await.unwrap().into_inner().error.unwrap();
    assert_eq!((error.r#type(), error.tablet_alias.unwrap()), (Problem::TopologyMismatch, alias("zone1", 6)));
    assert_eq!(graph(&lab, "zone2").await, vec![]);
    assert_eq!(graph(&lab, "zone1").await.len(), 3);
    let missing = ShardReplicationFixRequest { shard: "80-".into(), cell: "zone1".into(), ..fix };
    assert_refused(lab.client.shard_replication_fix(missing).await, Code::NotFound, "node doesn't exist: ");
}

#[tokio::test]
async fn source_shards_come_and_go_by_their_number() {
    let mut lab = cluster().await;
    let add = |uid, source_shard: &str| SourceShardAddRequest {
        keyspace: "ks".into(),
        shard: "80-".into(),
        uid,
        source_keyspace: "old".into(),
        source_shard: source_shard.into(),
        tables: vec!["t".into()],
        ..SourceShardAddRequest::default()
    };
    let added = lab.client.source_shard_add(add(1, "0")).await.unwrap().into_inner().shard.unwrap();
    assert_eq!((added.source_shards[0].keyspace.as_str(), added.source_shards[0].tables.len()), ("old", 1));
    // the number is in use
    assert_eq!(lab.client.source_shard_add(add(1, "1")).await.unwrap().into_inner().shard, None);
    let delete = |uid| SourceShardDeleteRequest { keyspace: "ks".into(), shard: "80-".into(), uid };
    assert_eq!(lab.client.source_shard_delete(delete(2)).await.unwrap().into_inner().shard, None);
    let stored = topo::shard::get(lab.topo.global(), "ks", "80-").await.unwrap().value;
    assert_eq!((stored.source_shards.len(), stored.source_shards[0].shard.as_str()), (1, "0"));
    let deleted = lab.client.source_shard_delete(delete(1)).await.unwrap().into_inner().shard.unwrap();
    assert_eq!(deleted.source_shards, vec![]);
    assert_refused(lab.client.source_shard_add(add(1, "a/b")).await, Code::InvalidArgument, "source shard: ");
    let missing = SourceShardDeleteRequest { shard: "0".into(), ..delete(1) };
    assert_refused(lab.client.source_shard_delete(missing).await, Code::NotFound, "node doesn't exist: ");
}
