//! Routing rules and mirror rules.

use prost::Message;
use tonic::Code;
use vtmigrated::topo::paths;
use vtmigrated_proto::vschema::*;
use vtmigrated_proto::vtctldata::*;

use crate::support::{Lab, assert_refused};

fn table_rules(from: &str) -> Option<RoutingRules> {
    Some(RoutingRules { rules: vec![RoutingRule { from_table: from.into(), to_tables: vec!["ks.t".into()] }] })
}

fn keyspace_rules(rules: &[(&str, &str)]) -> Option<KeyspaceRoutingRules> {
    let rule =
        |(from, to): &(&str, &str)| KeyspaceRoutingRule { from_keyspace: (*from).into(), to_keyspace: (*to).into() };
    Some(KeyspaceRoutingRules { rules: rules.iter().map(rule).collect() })
}

#[tokio::test]
async fn table_rules_are_replaced_and_served() {
    let mut lab = Lab::with_keyspace("ks", &[]).await;
    let request = ApplyRoutingRulesRequest { routing_rules: table_rules("t"), ..Default::default() };
    lab.client.apply_routing_rules(request).await.unwrap();
    let found = lab.client.get_routing_rules(GetRoutingRulesRequest {}).await.unwrap().into_inner().routing_rules;
    assert_eq!(found, table_rules("t"));
    let srv = lab.client.get_srv_v_schema(GetSrvVSchemaRequest { cell: "zone2".into() }).await.unwrap().into_inner();
    assert_eq!(srv.srv_v_schema.unwrap().routing_rules, table_rules("t"));

    let request = ApplyRoutingRulesRequest {
        routing_rules: Some(RoutingRules::default()),
        skip_rebuild: true,
        ..Default::default()
    };
    lab.client.apply_routing_rules(request).await.unwrap();
    assert!(lab.topo.global().get(paths::ROUTING_RULES).await.is_err());
    let srv = lab.client.get_srv_v_schema(GetSrvVSchemaRequest { cell: "zone2".into() }).await.unwrap().into_inner();
    assert_eq!(srv.srv_v_schema.unwrap().routing_rules, table_rules("t"));
}

#[tokio::test]
async fn shard_rules_are_replaced_and_served() {
    let mut lab = Lab::start().await;
    let rule = ShardRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into(), shard: "0".into() };
    let rules = Some(ShardRoutingRules { rules: vec![rule] });
    let request = ApplyShardRoutingRulesRequest { shard_routing_rules: rules.clone(), ..Default::default() };
    lab.client.apply_shard_routing_rules(request).await.unwrap();
    let found = lab.client.get_shard_routing_rules(GetShardRoutingRulesRequest {}).await.unwrap().into_inner();
    assert_eq!(found.shard_routing_rules, rules);
    lab.client.apply_shard_routing_rules(ApplyShardRoutingRulesRequest::default()).await.unwrap();
    let found = lab.client.get_shard_routing_rules(GetShardRoutingRulesRequest {}).await.unwrap().into_inner();
    assert_eq!(found.shard_routing_rules, Some(ShardRoutingRules::default()));
}

#[tokio::test]
async fn keyspace_rules_are_replaced_with_and_without_old_ones() {
    let mut lab = Lab::start().await;
    let get = |mut client: vtmigrated_proto::vtctlservice::vtctld_client::VtctldClient<_>| async move {
        let found = client.get_keyspace_routing_rules(GetKeyspaceRoutingRulesRequest {}).await.unwrap();
        found.into_inner().keyspace_routing_rules
    };
    assert_eq!(get(lab.client.clone()).await, None);
    let apply = |rules| ApplyKeyspaceRoutingRulesRequest { keyspace_routing_rules: rules, ..Default::default() };
    let request = apply(keyspace_rules(&[("b", "x"), ("a", "y"), ("b", "z")]));
    let stored = lab.client.apply_keyspace_routing_rules(request).await.unwrap().into_inner().keyspace_routing_rules;
    assert_eq!(stored, keyspace_rules(&[("a", "y"), ("b", "z")]));
    assert_eq!(get(lab.client.clone()).await, stored);
    lab.client.apply_keyspace_routing_rules(apply(None)).await.unwrap();
    assert_eq!(get(lab.client.clone()).await, Some(KeyspaceRoutingRules::default()));
    let locks = lab.topo.global().list("routing_rules/locks").await.unwrap();
    assert_eq!(locks, vec![]);
}

#[tokio::test]
async fn mirror_rules_are_read() {
    let mut lab = Lab::start().await;
    let rule = MirrorRule { from_table: "a".into(), to_table: "b".into(), percent: 2.5 };
    let rules = MirrorRules { rules: vec![rule] };
    lab.put(paths::MIRROR_RULES, rules.encode_to_vec()).await;
    let found = lab.client.get_mirror_rules(GetMirrorRulesRequest {}).await.unwrap().into_inner().mirror_rules;
    assert_eq!(found, Some(rules));
}

#[tokio::test]
async fn bad_input_is_refused_and_writes_nothing() {
    let mut lab = Lab::start().await;
    let before = lab.stored().await;
    let long = "x".repeat(65_536);
    for name in ["", "a\nb", "a\0b", long.as_str()] {
        let request = ApplyRoutingRulesRequest { routing_rules: table_rules(name), ..Default::default() };
        let text = "bad routing rule: its names are single lines of 1 to 1024 bytes";
        assert_refused(lab.client.apply_routing_rules(request).await, Code::InvalidArgument, text);
        let rules = keyspace_rules(&[(name, "b")]);
        let request = ApplyKeyspaceRoutingRulesRequest { keyspace_routing_rules: rules, ..Default::default() };
        assert_refused(lab.client.apply_keyspace_routing_rules(request).await, Code::InvalidArgument, text);
    }
    let request = ApplyRoutingRulesRequest {
        routing_rules: table_rules("t"),
        rebuild_cells: vec!["zone1".into(), "zone3".into()],
        skip_rebuild: false,
    };
    let text = "RebuildSrvVSchema([zone1 zone3]) failed: node doesn't exist: /vitess/global/cells/zone3/CellInfo";
    assert_refused(lab.client.apply_routing_rules(request).await, Code::NotFound, text);
    assert_eq!(lab.stored().await, before);
}
