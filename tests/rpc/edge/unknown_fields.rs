//! What newer programs store in records, at any depth, stays whoever of us writes the record.

use bytes::Bytes;
use prost::Message;
use prost_reflect::MessageDescriptor;
use vtmigrated::topo::{Conn, Expect, Write, json, paths, wire};
use vtmigrated_proto::topodata::{
    CellInfo, CellsAlias, Keyspace, Shard, ThrottledAppRule, ThrottlerConfig,
    shard::{SourceShard, TabletControl},
    throttler_config::{AppCheckedMetricsEntry, MetricNames, ThrottledAppsEntry},
};
use vtmigrated_proto::topodata::{TabletAlias, TabletType};
use vtmigrated_proto::vschema::{
    self, AutoIncrement, Column, ColumnVindex, KeyspaceRoutingRules, RoutingRule, RoutingRules, Table, Vindex,
    keyspace::{TablesEntry, VindexesEntry},
};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtorcdata;
use vtmigrated_proto::vttime::Time;

use crate::support::migrate_rig::{Rig, SHARDS};
use crate::support::{Lab, tablet};

pub const NEWER: &[u8] = b"from a newer program";

/// The message with a field of nobody at every level.
pub fn enriched(message: &[u8], of: &MessageDescriptor) -> Vec<u8> {
    let mut rich = Vec::new();
    for field in wire::fields(&Bytes::copy_from_slice(message)).unwrap() {
        let inner = of.get_field(field.number).and_then(|known| known.kind().as_message().cloned());
        match (inner, &field.payload) {
            (Some(inner), Some(payload)) => wire::push(&mut rich, field.number, &enriched(payload, &inner)),
            _ => rich.extend_from_slice(&field.whole),
        }
    }
    wire::push(&mut rich, 99, NEWER);
    rich
}

/// How often the field of nobody is there.
pub fn count(message: &[u8]) -> usize {
    message.windows(NEWER.len()).filter(|part| *part == NEWER).count()
}

/// A record in which every level has a field of nobody.
struct Rich {
    conn: std::sync::Arc<dyn Conn>,
    path: String,
    before: usize,
}

impl Rich {
    /// Enriches a stored record.
    async fn stored(conn: &std::sync::Arc<dyn Conn>, path: String, name: &str) -> Self {
        let raw = conn.get(&path).await.unwrap().value;
        let raw = enriched(&raw, &json::pool().unwrap().get_message_by_name(name).unwrap());
        let before = count(&raw);
        conn.write_one(Write::put(path.clone(), raw, Expect::Any), None).await.unwrap();
        Self { conn: std::sync::Arc::clone(conn), path, before }
    }

    /// Stores a record, enriched.
    async fn put(lab: &Lab, path: String, name: &str, record: &impl Message) -> Self {
        lab.put(&path, record.encode_to_vec()).await;
        Self::stored(lab.topo.global(), path, name).await
    }

    async fn left(&self) -> usize {
        count(&self.conn.get(&self.path).await.unwrap().value)
    }

    /// Asserts that all of it is there but what went with `gone` messages.
    async fn kept(&self, after: &str, gone: usize) {
        assert_eq!(self.left().await + gone, self.before, "{} after {after}", self.path);
    }
}

fn throttler() -> ThrottlerConfig {
    let rule = ThrottledAppRule {
        name: "app".into(),
        ratio: 0.5,
        expires_at: Some(Time { seconds: i64::MAX / 2, nanoseconds: 0 }),
        exempt: false,
    };
    let names = MetricNames { names: vec!["lag".into()] };
    ThrottlerConfig {
        enabled: true,
        throttled_apps: vec![ThrottledAppsEntry { key: "app".into(), value: Some(rule) }],
        app_checked_metrics: vec![AppCheckedMetricsEntry { key: "app".into(), value: Some(names) }],
        metric_thresholds: [("lag".to_owned(), 5.0)].into(),
        ..ThrottlerConfig::default()
    }
}

/// A keyspace `ks` with a primary and a replica in the cells zone1 and zone2.
pub async fn lab() -> Lab {
    let mut lab = Lab::with_keyspace("ks", &["-80", "80-"]).await;
    lab.add_tablet(&tablet("zone1", 1, "ks", "-80", TabletType::Primary, 1)).await;
    lab.add_tablet(&tablet("zone2", 2, "ks", "-80", TabletType::Replica, 1)).await;
    lab
}

#[tokio::test]
async fn keyspaces() {
    let mut lab = lab().await;
    let record = Keyspace {
        durability_policy: "none".into(),
        throttler_config: Some(throttler()),
        vtorc_state: Some(vtorcdata::Keyspace { disable_emergency_reparent: true }),
        ..Keyspace::default()
    };
    let rich = Rich::put(&lab, paths::keyspace("ks"), "topodata.Keyspace", &record).await;
    assert_eq!(rich.before, 9);
    let policy = SetKeyspaceDurabilityPolicyRequest { keyspace: "ks".into(), durability_policy: "semi_sync".into() };
    lab.client.set_keyspace_durability_policy(policy).await.unwrap();
    rich.kept("SetKeyspaceDurabilityPolicy", 0).await;
    let vtorc = SetVtorcEmergencyReparentRequest { keyspace: "ks".into(), shard: String::new(), disable: false };
    lab.client.set_vtorc_emergency_reparent(vtorc).await.unwrap();
    rich.kept("SetVtorcEmergencyReparent", 0).await;
    let config = UpdateThrottlerConfigRequest { keyspace: "ks".into(), disable: true, ..Default::default() };
    lab.client.update_throttler_config(config).await.unwrap();
    rich.kept("UpdateThrottlerConfig", 0).await;
    let again = CreateKeyspaceRequest { name: "ks".into(), force: true, ..Default::default() };
    lab.client.create_keyspace(again).await.unwrap();
    rich.kept("CreateKeyspace --force", 0).await;
}

#[tokio::test]
async fn shards() {
    let mut lab = lab().await;
    let path = paths::shard("ks", "-80");
    let stored = Shard::decode(lab.topo.global().get(&path).await.unwrap().value).unwrap();
    let control = |kind: TabletType, denied: &[&str]| TabletControl {
        tablet_type: kind.into(),
        denied_tables: denied.iter().map(|table| (*table).to_owned()).collect(),
        ..TabletControl::default()
    };
    let record = Shard {
        source_shards: vec![SourceShard {
            uid: 1,
            shard: "0".into(),
            key_range: stored.key_range.clone(),
            ..Default::default()
        }],
        tablet_controls: vec![control(TabletType::Replica, &["x"]), control(TabletType::Primary, &["a", "b"])],
        vtorc_state: Some(vtorcdata::Shard { disable_emergency_reparent: true }),
        ..stored
    };
    let rich = Rich::put(&lab, path, "topodata.Shard", &record).await;
    assert_eq!(rich.before, 9);
    let serving = SetShardIsPrimaryServingRequest { keyspace: "ks".into(), shard: "-80".into(), is_serving: false };
    lab.client.set_shard_is_primary_serving(serving).await.unwrap();
    rich.kept("SetShardIsPrimaryServing", 0).await;
    let vtorc = SetVtorcEmergencyReparentRequest { keyspace: "ks".into(), shard: "-80".into(), disable: false };
    lab.client.set_vtorc_emergency_reparent(vtorc).await.unwrap();
    rich.kept("SetVtorcEmergencyReparent", 0).await;
    let deny = SetShardTabletControlRequest {
        keyspace: "ks".into(),
        shard: "-80".into(),
        tablet_type: TabletType::Primary.into(),
        denied_tables: vec!["c".into()],
        ..Default::default()
    };
    lab.client.set_shard_tablet_control(deny.clone()).await.unwrap();
    rich.kept("SetShardTabletControl", 0).await;
    let add = SourceShardAddRequest {
        keyspace: "ks".into(),
        shard: "-80".into(),
        uid: 2,
        source_keyspace: "old".into(),
        source_shard: "0".into(),
        ..Default::default()
    };
    lab.client.source_shard_add(add).await.unwrap();
    rich.kept("SourceShardAdd", 0).await;
    let delete = SourceShardDeleteRequest { keyspace: "ks".into(), shard: "-80".into(), uid: 1 };
    lab.client.source_shard_delete(delete).await.unwrap();
    rich.kept("SourceShardDelete", 2).await;
    let remove = SetShardTabletControlRequest { remove: true, denied_tables: vec![], ..deny };
    lab.client.set_shard_tablet_control(remove).await.unwrap();
    rich.kept("SetShardTabletControl --remove", 3).await;
    let aliases = vec![TabletAlias { cell: "zone1".into(), uid: 1 }];
    let delete = DeleteTabletsRequest { tablet_aliases: aliases, allow_primary: true };
    lab.client.delete_tablets(delete).await.unwrap();
    assert!(rich.left().await >= 4, "DeleteTablets leaves {}", rich.left().await);
}

#[tokio::test]
async fn shards_of_a_migration() {
    let mut rig = Rig::start().await;
    let mut rich = Vec::new();
    for shard in SHARDS {
        let path = paths::shard("customer", shard);
        let mut record = Shard::decode(rig.lab.topo.global().get(&path).await.unwrap().value).unwrap();
        let control = |kind: TabletType| TabletControl {
            tablet_type: kind.into(),
            denied_tables: vec!["other".into()],
            ..TabletControl::default()
        };
        record.tablet_controls = vec![control(TabletType::Replica), control(TabletType::Primary)];
        rich.push(Rich::put(&rig.lab, path, "topodata.Shard", &record).await);
    }
    rig.create().await.unwrap();
    for rich in &rich {
        rich.kept("Migrate create", 0).await;
    }
    rig.cancel(false).await.unwrap();
    for rich in &rich {
        rich.kept("Migrate cancel", 0).await;
    }
    rig.create().await.unwrap();
    let complete = MoveTablesCompleteRequest {
        workflow: "import".into(),
        target_keyspace: "customer".into(),
        ..Default::default()
    };
    rig.lab.client.move_tables_complete(complete).await.unwrap();
    for rich in &rich {
        rich.kept("Migrate complete", 0).await;
    }
}

pub fn rich_vschema() -> vschema::Keyspace {
    let by = |columns: &[&str], name: &str| ColumnVindex {
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        name: name.into(),
        ..ColumnVindex::default()
    };
    let table = Table {
        column_vindexes: vec![by(&["id"], "hash"), by(&["sku"], "md5")],
        auto_increment: Some(AutoIncrement { column: "id".into(), sequence: "seq".into() }),
        columns: vec![Column { name: "id".into(), ..Column::default() }],
        ..Table::default()
    };
    let vindex = |kind: &str| VindexesEntry {
        key: kind.into(),
        value: Some(Vindex { r#type: if kind == "md5" { "binary_md5" } else { kind }.into(), ..Vindex::default() }),
    };
    vschema::Keyspace {
        sharded: true,
        vindexes: vec![vindex("hash"), vindex("md5")],
        tables: vec![TablesEntry { key: "t".into(), value: Some(table) }],
        ..vschema::Keyspace::default()
    }
}

#[tokio::test]
async fn vschemas() {
    let mut lab = lab().await;
    let rich = Rich::put(&lab, paths::vschema("ks"), "vschema.Keyspace", &rich_vschema()).await;
    assert_eq!(rich.before, 11);
    for (sql, gone) in [
        ("alter vschema create vindex xx using xxhash", 0),
        ("alter vschema on u add vindex xx (id)", 0),
        ("alter vschema on t add vindex xx (other)", 0),
        ("alter vschema on t drop vindex md5", 1),
        ("alter vschema drop vindex md5", 3),
    ] {
        let apply = ApplyVSchemaRequest { keyspace: "ks".into(), sql: sql.into(), ..Default::default() };
        lab.client.apply_v_schema(apply).await.unwrap();
        rich.kept(sql, gone).await;
    }
    // what is served is what is stored
    for cell in ["zone1", "zone2"] {
        let served = lab.cell(cell).await.get(paths::SRV_VSCHEMA).await.unwrap().value;
        assert_eq!(count(&served), rich.left().await);
    }
}

#[tokio::test]
async fn serving_graphs() {
    let mut lab = lab().await;
    let rebuild = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    lab.client.rebuild_keyspace_graph(rebuild.clone()).await.unwrap();
    let conn = lab.cell("zone1").await;
    let rich = Rich::stored(&conn, paths::srv_keyspace("ks"), "topodata.SrvKeyspace").await;
    // the graph, three partitions with two shards and their ranges each
    assert_eq!(rich.before, 16);
    lab.client.rebuild_keyspace_graph(rebuild.clone()).await.unwrap();
    rich.kept("RebuildKeyspaceGraph", 0).await;
    let config = UpdateThrottlerConfigRequest { keyspace: "ks".into(), disable: true, ..Default::default() };
    lab.client.update_throttler_config(config).await.unwrap();
    rich.kept("UpdateThrottlerConfig", 0).await;
    let control = SetShardTabletControlRequest {
        keyspace: "ks".into(),
        shard: "-80".into(),
        tablet_type: TabletType::Replica.into(),
        disable_query_service: true,
        ..Default::default()
    };
    lab.client.set_shard_tablet_control(control.clone()).await.unwrap();
    rich.kept("SetShardTabletControl", 0).await;
    let off = SetShardTabletControlRequest { disable_query_service: false, ..control };
    lab.client.set_shard_tablet_control(off).await.unwrap();
    rich.kept("SetShardTabletControl", 0).await;
    // in each of three partitions a shard with its range
    let remove = RemoveShardCellRequest {
        keyspace: "ks".into(),
        shard_name: "80-".into(),
        cell: "zone1".into(),
        force: true,
        ..Default::default()
    };
    lab.client.remove_shard_cell(remove).await.unwrap();
    rich.kept("RemoveShardCell", 6).await;
}

#[tokio::test]
async fn a_keyspaces_throttler_is_served_as_it_is_stored() {
    let mut lab = lab().await;
    let keyspace = Keyspace { throttler_config: Some(throttler()), ..Keyspace::default() };
    let rich = Rich::put(&lab, paths::keyspace("ks"), "topodata.Keyspace", &keyspace).await;
    let rebuild = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
    for _ in 0..2 {
        lab.client.rebuild_keyspace_graph(rebuild.clone()).await.unwrap();
        let served = lab.cell("zone1").await.get(&paths::srv_keyspace("ks")).await.unwrap().value;
        // all but that of the keyspace itself
        assert_eq!(count(&served), rich.before - 1);
    }
}

#[tokio::test]
async fn cells_and_graphs() {
    let mut lab = lab().await;
    let alias = CellsAlias { cells: vec!["zone1".into()] };
    let rich = Rich::put(&lab, paths::cells_alias("east"), "topodata.CellsAlias", &alias).await;
    let both = CellsAlias { cells: vec!["zone1".into(), "zone2".into()] };
    let update = UpdateCellsAliasRequest { name: "east".into(), cells_alias: Some(both) };
    lab.client.update_cells_alias(update).await.unwrap();
    rich.kept("UpdateCellsAlias", 0).await;
    let info = CellInfo { server_address: "zone1".into(), root: "/vitess/zone1".into() };
    let rich = Rich::put(&lab, paths::cell_info("zone1"), "topodata.CellInfo", &info).await;
    let info = Some(CellInfo { server_address: "zone1b".into(), root: "/vitess/zone1".into() });
    let update = UpdateCellInfoRequest { name: "zone1".into(), cell_info: info };
    lab.client.update_cell_info(update).await.unwrap();
    rich.kept("UpdateCellInfo", 0).await;
    let conn = lab.cell("zone2").await;
    let rich = Rich::stored(&conn, paths::shard_replication("ks", "-80"), "topodata.ShardReplication").await;
    assert_eq!(rich.before, 3);
    let tablet_alias = Some(TabletAlias { cell: "zone2".into(), uid: 9 });
    let (keyspace, shard) = ("ks".to_owned(), "-80".to_owned());
    let add = ShardReplicationAddRequest {
        keyspace: keyspace.clone(),
        shard: shard.clone(),
        tablet_alias: tablet_alias.clone(),
    };
    lab.client.shard_replication_add(add).await.unwrap();
    rich.kept("ShardReplicationAdd", 0).await;
    let fix = ShardReplicationFixRequest { keyspace, shard, cell: "zone2".into() };
    lab.client.shard_replication_fix(fix).await.unwrap();
    rich.kept("ShardReplicationFix", 0).await;
}

#[tokio::test]
async fn rules_are_served_as_they_are_stored() {
    let mut lab = lab().await;
    let rule = RoutingRule { from_table: "t".into(), to_tables: vec!["ks.t".into()] };
    let rules = RoutingRules { rules: vec![rule] };
    let rich = Rich::put(&lab, paths::ROUTING_RULES.into(), "vschema.RoutingRules", &rules).await;
    lab.put(paths::KEYSPACE_ROUTING_RULES, KeyspaceRoutingRules::default().encode_to_vec()).await;
    lab.client.rebuild_v_schema_graph(RebuildVSchemaGraphRequest::default()).await.unwrap();
    let served = lab.cell("zone1").await.get(paths::SRV_VSCHEMA).await.unwrap().value;
    assert_eq!((count(&served), rich.before), (2, 2));
}
