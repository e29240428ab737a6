//! Tablets and the replication graph.

use tonic::Code;
use vtmigrated::topo::{paths, wire};
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Time;

use crate::support::manager::{Calls, sorted, start};
use crate::support::{HOSTILE, Lab, assert_refused, tablet};

fn alias(cell: &str, uid: u32) -> Option<TabletAlias> {
    Some(TabletAlias { cell: cell.into(), uid })
}

async fn listed(lab: &mut Lab, request: GetTabletsRequest) -> Vec<(u32, TabletType)> {
    let tablets = lab.client.get_tablets(request).await.unwrap().into_inner().tablets;
    tablets.iter().map(|t| (t.alias.as_ref().unwrap().uid, t.r#type())).collect()
}

/// ks/0 with primary 1 in zone1, replica 2 and old primary 3 in zone2; other/0 with primary 4 in zone1.
async fn cluster(port: u16) -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let request = CreateShardRequest {
        keyspace: "other".into(),
        shard_name: "0".into(),
        include_parent: true,
        ..CreateShardRequest::default()
    };
    lab.client.create_shard(request).await.unwrap();
    let mut old = tablet("zone2", 3, "ks", "0", TabletType::Primary, port);
    old.primary_term_start_time = Some(Time { seconds: 5, nanoseconds: 0 });
    lab.add_tablet(&old).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "0", TabletType::Primary, port)).await;
    lab.add_tablet(&tablet("zone2", 2, "ks", "0", TabletType::Replica, port)).await;
    lab.add_tablet(&tablet("zone1", 4, "other", "0", TabletType::Primary, port)).await;
    lab
}

#[tokio::test]
async fn tablets_are_listed_by_all_filters() {
    use TabletType::{Primary, Replica, Unknown};
    let mut lab = cluster(1).await;
    let all = GetTabletsRequest::default();
    assert_eq!(listed(&mut lab, all.clone()).await, [(1, Primary), (4, Primary), (2, Replica), (3, Unknown)]);
    let keyspace = GetTabletsRequest { keyspace: "ks".into(), ..all.clone() };
    assert_eq!(listed(&mut lab, keyspace.clone()).await, [(1, Primary), (2, Replica), (3, Unknown)]);
    let shard = GetTabletsRequest { shard: "0".into(), ..keyspace.clone() };
    assert_eq!(listed(&mut lab, shard.clone()).await, [(1, Primary), (2, Replica), (3, Unknown)]);
    let cells = GetTabletsRequest { cells: vec!["zone2".into()], ..all.clone() };
    assert_eq!(listed(&mut lab, cells).await, [(2, Replica), (3, Unknown)]);
    // by the shard's record, for the new primary is not among them
    let old = GetTabletsRequest { tablet_aliases: alias("zone2", 3).into_iter().collect(), ..all.clone() };
    assert_eq!(listed(&mut lab, old).await, [(3, Unknown)]);
    let primaries = GetTabletsRequest { cells: vec!["zone2".into()], tablet_type: Primary.into(), ..all.clone() };
    assert_eq!(listed(&mut lab, primaries).await, [(3, Unknown)]);
    let replicas = GetTabletsRequest { tablet_type: Replica.into(), ..all.clone() };
    assert_eq!(listed(&mut lab, replicas).await, [(2, Replica)]);
    let aliases = [alias("zone2", 2), alias("zone1", 99), alias("zone3", 1)].into_iter().flatten().collect();
    let aliases = GetTabletsRequest { tablet_aliases: aliases, ..all.clone() };
    assert_eq!(listed(&mut lab, aliases).await, [(2, Replica)]);
    let missing = GetTabletsRequest { shard: "-80".into(), ..keyspace };
    let text = "GetTabletMapForShard(ks, -80) failed: node doesn't exist: ";
    assert_refused(lab.client.get_tablets(missing).await, Code::NotFound, text);
}

#[tokio::test]
async fn a_cell_that_cannot_be_read_matters_to_strict_callers_only() {
    let mut lab = cluster(1).await;
    let one = GetTabletsRequest { cells: vec!["zone1".into(), "zone3".into()], ..GetTabletsRequest::default() };
    assert_eq!(listed(&mut lab, one.clone()).await.len(), 2);
    let text = "GetTabletsByCell(zone3) failed: node doesn't exist: /vitess/global/cells/zone3/CellInfo";
    assert_refused(lab.client.get_tablets(GetTabletsRequest { strict: true, ..one }).await, Code::NotFound, text);
    let none = GetTabletsRequest { cells: vec!["zone3".into()], ..GetTabletsRequest::default() };
    assert_refused(lab.client.get_tablets(none).await, Code::NotFound, text);
    // a record that cannot be decoded makes the shard's list a partial one
    let raw = b"\xff\xff".to_vec();
    let write = vtmigrated::topo::Write::put("tablets/zone2-0000000002/Tablet", raw, vtmigrated::topo::Expect::Any);
    lab.cell("zone2").await.write_one(write, None).await.unwrap();
    let shard = GetTabletsRequest { keyspace: "ks".into(), shard: "0".into(), ..GetTabletsRequest::default() };
    assert_eq!(listed(&mut lab, shard.clone()).await, [(1, TabletType::Primary), (3, TabletType::Unknown)]);
    let all = GetTabletsRequest::default();
    assert_eq!(
        listed(&mut lab, all).await,
        [(1, TabletType::Primary), (4, TabletType::Primary), (3, TabletType::Unknown)]
    );
    let text = "GetTabletMapForShard(ks, 0) failed: partial result: zone2";
    assert_refused(lab.client.get_tablets(GetTabletsRequest { strict: true, ..shard }).await, Code::Unavailable, text);
}

#[tokio::test]
async fn a_cell_whose_record_leads_nowhere_is_nobody_elses_trouble() {
    let mut lab = cluster(1).await;
    lab.put("cells/zone9/CellInfo", vec![0xff, 0xff]).await;
    lab.put("cells/zone8/CellInfo", vec![0xff]).await;
    assert_eq!(listed(&mut lab, GetTabletsRequest::default()).await.len(), 4);
    let shard = GetTabletsRequest { keyspace: "ks".into(), shard: "0".into(), ..GetTabletsRequest::default() };
    assert_eq!(listed(&mut lab, shard).await.len(), 3);
    let names = lab.client.get_cell_info_names(GetCellInfoNamesRequest {}).await.unwrap().into_inner().names;
    assert_eq!(names, ["zone1", "zone2", "zone8", "zone9"]);
    // who needs the cell is told, and the others are written all the same
    let rebuilt = lab.client.rebuild_v_schema_graph(RebuildVSchemaGraphRequest::default()).await;
    let text = rebuilt.unwrap_err().message().to_owned();
    assert!(text.starts_with("UpdateSrvVSchema(zone8, zone9): "), "{text}");
    assert!(text.contains("/vitess/global/cells/zone8/CellInfo"), "{text}");
    assert!(lab.cell("zone2").await.get("SrvVSchema").await.is_ok());
    let strict = GetTabletsRequest { strict: true, ..GetTabletsRequest::default() };
    let text = lab.client.get_tablets(strict).await.unwrap_err().message().to_owned();
    assert!(text.contains("zone8") || text.contains("zone9"), "{text}");
}

#[tokio::test]
async fn one_tablet_is_read_and_called() {
    let calls = Calls::default();
    let port = start("t", &calls).await;
    let mut lab = cluster(port).await;
    let got = lab.client.get_tablet(GetTabletRequest { tablet_alias: alias("zone1", 1) }).await.unwrap().into_inner();
    assert_eq!(got.tablet.unwrap().keyspace, "ks");
    let tablet_alias = alias("zone1", 1);
    lab.client.ping_tablet(PingTabletRequest { tablet_alias: tablet_alias.clone() }).await.unwrap();
    lab.client.refresh_state(RefreshStateRequest { tablet_alias: tablet_alias.clone() }).await.unwrap();
    lab.client.run_health_check(RunHealthCheckRequest { tablet_alias: tablet_alias.clone() }).await.unwrap();
    lab.client.reload_schema(ReloadSchemaRequest { tablet_alias: tablet_alias.clone() }).await.unwrap();
    let app = ExecuteFetchAsAppRequest {
        tablet_alias: tablet_alias.clone(),
        query: "select 1".into(),
        max_rows: 5,
        use_pool: true,
    };
    let result = lab.client.execute_fetch_as_app(app).await.unwrap().into_inner().result.unwrap();
    assert_eq!(result.rows_affected, 1);
    let dba = ExecuteFetchAsDbaRequest {
        tablet_alias: tablet_alias.clone(),
        query: "select 2".into(),
        max_rows: 6,
        disable_binlogs: true,
        reload_schema: true,
    };
    lab.client.execute_fetch_as_dba(dba.clone()).await.unwrap();
    let wanted = [
        "t App select 1 5",
        "t Dba vt_ks: select 2 6 true true",
        "t Ping",
        "t RefreshState",
        "t ReloadSchema ",
        "t RunHealthCheck",
    ];
    assert_eq!(sorted(&calls), wanted);
    let failed = lab.client.execute_fetch_as_dba(ExecuteFetchAsDbaRequest { query: "fail".into(), ..dba }).await;
    assert_refused(failed, Code::Internal, "TabletManager on t: told to");
}

#[tokio::test]
async fn a_shards_tablets_are_refreshed_and_the_dead_ones_told() {
    let calls = Calls::default();
    let port = start("t", &calls).await;
    let mut lab = cluster(port).await;
    let mut nowhere = tablet("zone1", 7, "ks", "0", TabletType::Spare, port);
    nowhere.hostname.clear();
    lab.add_tablet(&nowhere).await;
    let request = RefreshStateByShardRequest { keyspace: "ks".into(), shard: "0".into(), cells: vec![] };
    let done = lab.client.refresh_state_by_shard(request.clone()).await.unwrap().into_inner();
    assert!(!done.is_partial_refresh, "{}", done.partial_refresh_details);
    assert_eq!(sorted(&calls), ["t RefreshState"; 3]);
    let request = RefreshStateByShardRequest { cells: vec!["zone2".into()], ..request };
    lab.client.refresh_state_by_shard(request.clone()).await.unwrap();
    assert_eq!(sorted(&calls), ["t RefreshState"; 2]);
    lab.add_tablet(&tablet("zone2", 8, "ks", "0", TabletType::Replica, 1)).await;
    let done = lab.client.refresh_state_by_shard(request).await.unwrap().into_inner();
    assert!(done.is_partial_refresh);
    assert!(done.partial_refresh_details.starts_with("failed to refresh tablet zone2-0000000008: "));
}

#[tokio::test]
async fn the_replication_graph_is_read_and_edited() {
    let mut lab = cluster(1).await;
    let mut raw = lab.cell("zone2").await.get(&paths::shard_replication("ks", "0")).await.unwrap().value.to_vec();
    wire::push(&mut raw, 99, b"newer");
    let write = vtmigrated::topo::Write::put(paths::shard_replication("ks", "0"), raw, vtmigrated::topo::Expect::Any);
    lab.cell("zone2").await.write_one(write, None).await.unwrap();
    let add = ShardReplicationAddRequest { keyspace: "ks".into(), shard: "0".into(), tablet_alias: alias("zone2", 9) };
    lab.client.shard_replication_add(add.clone()).await.unwrap();
    lab.client.shard_replication_add(add).await.unwrap();
    let get = GetShardReplicationRequest { keyspace: "ks".into(), shard: "0".into(), cells: vec!["zone2".into()] };
    let uids = |found: GetShardReplicationResponse| -> Vec<u32> {
        let graph = found.shard_replication_by_cell.into_iter().next().unwrap().value.unwrap();
        graph.nodes.into_iter().map(|node| node.tablet_alias.unwrap().uid).collect()
    };
    let found = lab.client.get_shard_replication(get.clone()).await.unwrap().into_inner();
    assert_eq!(uids(found), [3, 2, 9]);
    let remove =
        ShardReplicationRemoveRequest { keyspace: "ks".into(), shard: "0".into(), tablet_alias: alias("zone2", 9) };
    lab.client.shard_replication_remove(remove).await.unwrap();
    assert_eq!(uids(lab.client.get_shard_replication(get.clone()).await.unwrap().into_inner()), [3, 2]);
    let raw = lab.cell("zone2").await.get(&paths::shard_replication("ks", "0")).await.unwrap().value;
    assert!(wire::fields(&raw).unwrap().iter().any(|field| field.number == 99));
    let missing = GetShardReplicationRequest { shard: "-80".into(), ..get };
    let text = "node doesn't exist: /vitess/zone2/keyspaces/ks/shards/-80/ShardReplication";
    assert_refused(lab.client.get_shard_replication(missing).await, Code::NotFound, text);
}

#[tokio::test]
async fn bad_input_is_refused() {
    let mut lab = cluster(1).await;
    let missing = lab.client.get_tablet(GetTabletRequest { tablet_alias: alias("zone1", 99) }).await;
    assert_refused(missing, Code::NotFound, "node doesn't exist: /vitess/zone1/tablets/zone1-0000000099/Tablet");
    let missing = lab.client.refresh_state(RefreshStateRequest { tablet_alias: alias("zone3", 1) }).await;
    assert_refused(missing, Code::NotFound, "failed to get tablet zone3-0000000001: node doesn't exist: ");
    let none = lab.client.refresh_state(RefreshStateRequest { tablet_alias: None }).await;
    assert_refused(none, Code::InvalidArgument, "RefreshState requires a tablet alias");
    let down = lab.client.ping_tablet(PingTabletRequest { tablet_alias: alias("zone1", 1) }).await;
    assert_refused(down, Code::Unavailable, "tablet zone1-0000000001 at 127.0.0.1:1 cannot be reached for Ping: ");
    let long = "x".repeat(65_536);
    for cell in HOSTILE.iter().copied().chain([long.as_str()]) {
        let tablet_alias = alias(cell, 1);
        let got = lab.client.get_tablet(GetTabletRequest { tablet_alias: tablet_alias.clone() }).await;
        assert_refused(got, Code::InvalidArgument, "");
        let request =
            ShardReplicationAddRequest { keyspace: "ks".into(), shard: "0".into(), tablet_alias: tablet_alias.clone() };
        assert_refused(lab.client.shard_replication_add(request).await, Code::InvalidArgument, "");
        let request = GetTabletsRequest { cells: vec![cell.into()], ..GetTabletsRequest::default() };
        assert_refused(lab.client.get_tablets(request).await, Code::InvalidArgument, "");
    }
    for request in [
        ExecuteFetchAsAppRequest { tablet_alias: alias("zone1", 1), query: " ".into(), ..Default::default() },
        ExecuteFetchAsAppRequest {
            tablet_alias: alias("zone1", 1),
            query: "x".into(),
            max_rows: -1,
            ..Default::default()
        },
        ExecuteFetchAsAppRequest { tablet_alias: None, query: "x".into(), ..Default::default() },
    ] {
        assert_refused(lab.client.execute_fetch_as_app(request).await, Code::InvalidArgument, "");
    }
}
