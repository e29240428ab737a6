//! What newer clients send in messages that are stored is stored, however it was compressed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost_reflect::Kind;
use vtmigrated::server::sent_message::KEPT;
use vtmigrated::topo::{Conn, json, paths, wire};
use vtmigrated_proto::topodata::{CellInfo, CellsAlias, KeyRange, TabletAlias, ThrottledAppRule};
use vtmigrated_proto::vschema::{
    KeyspaceRoutingRule, KeyspaceRoutingRules, RoutingRule, RoutingRules, ShardRoutingRule, ShardRoutingRules,
};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Time;

use crate::edge::unknown_fields::{count, enriched, lab, rich_vschema};
use crate::support::Lab;
use crate::support::raw_call::{self, Compressed};

/// A client of a newer version, which compresses its requests in one way.
struct Newer {
    lab: Lab,
    compressed: Compressed,
}

impl Newer {
    /// Calls an RPC with a request in which every level of the field `number`, a message called `name`, has a field of
    /// nobody; all of them must be in each of the records then.
    async fn sends(
        &self,
        rpc: &str,
        request: &impl Message,
        (number, name): (u32, &str),
        stored: &[(&Arc<dyn Conn>, String)],
    ) {
        let message = json::pool().unwrap().get_message_by_name(name).unwrap();
        let raw = Bytes::from(request.encode_to_vec());
        let rich = wire::each(&raw, number, |payload| Ok(Some(enriched(payload, &message)))).unwrap();
        let sent = count(&rich);
        assert!(sent > 0, "{rpc}");
        raw_call::vtctld(&self.lab, rpc, rich, self.compressed).await.unwrap();
        for (conn, path) in stored {
            let found = count(&conn.get(path).await.unwrap().value);
            assert_eq!(found, sent, "{rpc}, {:?}: {path}", self.compressed);
        }
    }

    async fn sends_routing(&self) {
        let global = self.lab.topo.global();
        let request =
            ApplyVSchemaRequest { keyspace: "ks".into(), v_schema: Some(rich_vschema()), ..Default::default() };
        self.sends("ApplyVSchema", &request, (5, "vschema.Keyspace"), &[(global, paths::vschema("ks"))]).await;
        let rule = RoutingRule { from_table: "t".into(), to_tables: vec!["ks.t".into()] };
        let routing_rules = Some(RoutingRules { rules: vec![rule] });
        let request = ApplyRoutingRulesRequest { routing_rules, ..Default::default() };
        self.sends(
            "ApplyRoutingRules",
            &request,
            (1, "vschema.RoutingRules"),
            &[(global, paths::ROUTING_RULES.to_owned())],
        )
        .await;
        let rule = ShardRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into(), shard: "0".into() };
        let shard_routing_rules = Some(ShardRoutingRules { rules: vec![rule] });
        let request = ApplyShardRoutingRulesRequest { shard_routing_rules, ..Default::default() };
        let stored = [(global, paths::SHARD_ROUTING_RULES.to_owned())];
        self.sends("ApplyShardRoutingRules", &request, (1, "vschema.ShardRoutingRules"), &stored).await;
        let rule = KeyspaceRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into() };
        let keyspace_routing_rules = Some(KeyspaceRoutingRules { rules: vec![rule] });
        let request = ApplyKeyspaceRoutingRulesRequest { keyspace_routing_rules, ..Default::default() };
        let stored = [(global, paths::KEYSPACE_ROUTING_RULES.to_owned())];
        self.sends("ApplyKeyspaceRoutingRules", &request, (1, "vschema.KeyspaceRoutingRules"), &stored).await;
    }

    async fn sends_cells(&self) {
        let global = self.lab.topo.global();
        let info = |address: &str| Some(CellInfo { server_address: address.into(), root: "/vitess/zone9".into() });
        let request = AddCellInfoRequest { name: "zone9".into(), cell_info: info("a:1") };
        let stored = [(global, paths::cell_info("zone9"))];
        self.sends("AddCellInfo", &request, (2, "topodata.CellInfo"), &stored).await;
        // one that is there, and one that is not
        let old = [(global, paths::cell_info("zone2"))];
        let request = UpdateCellInfoRequest { name: "zone2".into(), cell_info: info("b:1") };
        self.sends("UpdateCellInfo", &request, (2, "topodata.CellInfo"), &old).await;
        let new = [(global, paths::cell_info("zone8"))];
        let request = UpdateCellInfoRequest { name: "zone8".into(), cell_info: info("c:1") };
        self.sends("UpdateCellInfo", &request, (2, "topodata.CellInfo"), &new).await;
        let alias = |name: &str, cell: &str| UpdateCellsAliasRequest {
            name: name.into(),
            cells_alias: Some(CellsAlias { cells: vec![cell.into()] }),
        };
        let mut client = self.lab.client.clone();
        client.add_cells_alias(AddCellsAliasRequest { name: "old".into(), cells: vec!["zone1".into()] }).await.unwrap();
        let old = [(global, paths::cells_alias("old"))];
        self.sends("UpdateCellsAlias", &alias("old", "zone8"), (2, "topodata.CellsAlias"), &old).await;
        let new = [(global, paths::cells_alias("new"))];
        self.sends("UpdateCellsAlias", &alias("new", "zone9"), (2, "topodata.CellsAlias"), &new).await;
    }

    async fn sends_keyspaces_and_shards(&self) {
        let global = self.lab.topo.global();
        let snapshot_time = Some(Time { seconds: 5, nanoseconds: 0 });
        let mut request = CreateKeyspaceRequest { name: "snap".into(), snapshot_time, ..Default::default() };
        (request.r#type, request.base_keyspace) = (1, "ks".into());
        let stored = [(global, paths::keyspace("snap"))];
        self.sends("CreateKeyspace", &request, (9, "vttime.Time"), &stored).await;
        let request = SourceShardAddRequest {
            keyspace: "ks".into(),
            shard: "-80".into(),
            uid: 1,
            source_keyspace: "old".into(),
            source_shard: "0".into(),
            key_range: Some(KeyRange { start: vec![], end: vec![0x80] }),
            ..Default::default()
        };
        let stored = [(global, paths::shard("ks", "-80"))];
        self.sends("SourceShardAdd", &request, (6, "topodata.KeyRange"), &stored).await;
        let (zone1, graph) = (self.lab.cell("zone1").await, paths::shard_replication("ks", "-80"));
        let request = ShardReplicationAddRequest {
            keyspace: "ks".into(),
            shard: "-80".into(),
            tablet_alias: Some(TabletAlias { cell: "zone1".into(), uid: 9 }),
        };
        self.sends("ShardReplicationAdd", &request, (3, "topodata.TabletAlias"), &[(&zone1, graph)]).await;
    }

    async fn sends_throttlers(&self) {
        let mut client = self.lab.client.clone();
        let rebuild = RebuildKeyspaceGraphRequest { keyspace: "ks".into(), ..Default::default() };
        client.rebuild_keyspace_graph(rebuild).await.unwrap();
        let rule = ThrottledAppRule {
            name: "app".into(),
            ratio: 0.5,
            expires_at: Some(Time { seconds: i64::MAX / 2, nanoseconds: 0 }),
            exempt: false,
        };
        let request =
            UpdateThrottlerConfigRequest { keyspace: "ks".into(), throttled_app: Some(rule), ..Default::default() };
        let (zone1, zone2) = (self.lab.cell("zone1").await, self.lab.cell("zone2").await);
        let (record, served) = (paths::keyspace("ks"), paths::srv_keyspace("ks"));
        let stored = [(self.lab.topo.global(), record), (&zone1, served.clone()), (&zone2, served)];
        self.sends("UpdateThrottlerConfig", &request, (9, "topodata.ThrottledAppRule"), &stored).await;
    }
}

#[tokio::test]
async fn what_newer_clients_send_is_stored() {
    for compressed in [Compressed::Not, Compressed::Gzip, Compressed::Zstd, Compressed::Snappy] {
        let client = Newer { lab: lab().await, compressed };
        client.sends_throttlers().await;
        client.sends_routing().await;
        client.sends_keyspaces_and_shards().await;
        client.sends_cells().await;
    }
}

/// Messages that say where something is, how long it takes, or who asks.
const WORDS: [&str; 3] = ["topodata.TabletAlias", "vttime.Duration", "vtrpc.CallerID"];
/// Messages in requests that become a part of no record: they go to tablets, or to a stock vtctld, or are names.
const NOT_STORED: [(&str, &str); 14] = [
    ("Backup", "init_sql"),
    ("BackupShard", "init_sql"),
    ("ChangeTabletTags", "tags"),
    ("ConcludeTransaction", "participants"),
    ("DeleteShards", "shards"),
    ("ExecuteHook", "tablet_hook_request"),
    ("LookupVindexCreate", "vindex"),
    ("MaterializeCreate", "settings"),
    ("MoveTablesCreate", "workflow_options"),
    ("ReshardCreate", "workflow_options"),
    ("RestoreFromBackup", "backup_time"),
    ("RestoreFromBackup", "restore_to_timestamp"),
    ("WorkflowAddTables", "table_settings"),
    ("WorkflowUpdate", "tablet_request"),
];

#[test]
fn every_message_of_a_request_is_kept_or_becomes_a_part_of_no_record() {
    let service = json::pool().unwrap().get_service_by_name("vtctlservice.Vtctld").unwrap();
    let mut kept = BTreeSet::from(["ShardReplicationAdd".to_owned()]);
    let mut not_stored = BTreeSet::new();
    for method in service.methods() {
        for field in method.input().fields() {
            let Kind::Message(message) = field.kind() else { continue };
            let (rpc, field) = (method.name().to_owned(), field.name().to_owned());
            if WORDS.contains(&message.full_name()) {
                continue;
            }
            if NOT_STORED.contains(&(&*rpc, &*field)) {
                not_stored.insert((rpc, field));
            } else {
                kept.insert(rpc);
            }
        }
    }
    assert_eq!(kept, BTreeSet::from(KEPT.map(str::to_owned)));
    assert_eq!(not_stored.len(), NOT_STORED.len());
}
