//! Rules and VSchemas of the target's cluster that cannot be decoded, whoever has broken them.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use vtmigrated::watch;
use vtmigrated_proto::vtmigrated::FindLeftoversRequest;

use super::*;
use crate::migrate::ownership::rows;
use crate::support::{context, refusal};

const RULES: [&str; 4] =
    [paths::ROUTING_RULES, paths::SHARD_ROUTING_RULES, paths::KEYSPACE_ROUTING_RULES, paths::MIRROR_RULES];
const GARBAGE: [u8; 2] = [0xff, 0xff];
const KEEPS: &str = "Workflow --keyspace customer delete --workflow import --keep-data";

async fn break_rules(rig: &Rig) {
    for path in RULES {
        rig.lab.put(path, GARBAGE.to_vec()).await;
    }
}

async fn break_vschema(rig: &Rig) {
    rig.lab.put(&paths::vschema("customer"), GARBAGE.to_vec()).await;
}

/// Ids of what blocks complete, as the verdict tells them.
async fn blocking(rig: &Rig) -> Vec<String> {
    let findings = rig.verdict().await.unwrap().findings.into_iter();
    let blocking = findings.filter(|finding| finding.severity() == vtmigrated_proto::vtmigrated::Severity::Blocks);
    blocking.map(|finding| finding.id).collect()
}

#[tokio::test]
async fn rules_that_cannot_be_decoded_are_told_by_a_status_and_change_no_verdict() {
    let rig = Rig::start().await;
    rig.copied().await;
    let (before, blocks) = (rig.status().await.unwrap(), blocking(&rig).await);
    break_rules(&rig).await;
    let told = rig.status().await.unwrap();
    assert_eq!(told.shard_streams.len(), before.shard_streams.len());
    let (traffic, verdict) = told.traffic_state.split_once(". Complete: ").unwrap();
    assert!(traffic.starts_with("Reads Not Switched. Writes Unknown: bad topology data at "), "{traffic}");
    assert!(traffic.ends_with("ApplyRoutingRules --rules-file …"), "{traffic}");
    assert_eq!(Some(verdict), before.traffic_state.split_once(". Complete: ").map(|(_, verdict)| verdict));
    assert_eq!(blocking(&rig).await, blocks);
}

#[tokio::test]
async fn a_cancel_beside_routing_rules_that_cannot_be_decoded_names_two_ways_out() {
    for keep_data in [false, true] {
        let rig = Rig::start().await;
        rig.copied().await;
        break_rules(&rig).await;
        let before = rig.lab.stored().await;
        let (code, text) = refusal(rig.cancel(false).await);
        assert_eq!(code, Code::DataLoss, "{text}");
        let begins =
            "cannot delete workflow import in keyspace customer: routing rules may send writes to its tables: bad";
        assert!(text.starts_with(begins) && text.ends_with(KEEPS), "{text}");
        assert!(text.contains("ApplyRoutingRules --rules-file …; GetSrvVSchema tells"), "{text}");
        assert_eq!(rig.lab.stored().await, before);
        rig.target.iter().for_each(|primary| assert_eq!(primary.taken(), Vec::<String>::new()));
        if keep_data {
            let summary = rig.cancel(true).await.unwrap();
            assert!(
                summary.contains("; nobody looked whether routing rules send writes to its tables: bad"),
                "{summary}"
            );
            assert_eq!(rows(&rig), [10; 4]);
            rig.expect_clean(&["customer", "orders"]).await;
        } else {
            let request = ApplyRoutingRulesRequest { skip_rebuild: true, ..Default::default() };
            rig.lab.client.clone().apply_routing_rules(request).await.unwrap();
            // the other rules are broken still
            rig.cancel(false).await.unwrap();
            rig.expect_clean(&[]).await;
            let line = rig.create().await.unwrap();
            let words = "the record of the shard routing rules was left out: bad topology data at ";
            assert!(line.contains(words), "{line}");
        }
    }
}

#[tokio::test]
async fn a_vschema_that_cannot_be_decoded_keeps_a_workflow_from_completing_and_not_from_ending() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"vschema_tables": ["orders"]})).await;
    let mut expected = blocking(&rig).await;
    break_vschema(&rig).await;
    let fix = "ApplyVSchema --vschema-file … customer";
    let told = rig.status().await.unwrap();
    assert!(told.traffic_state.contains("Complete: NO-GO ("), "{}", told.traffic_state);
    expected.push("TOPO_BAD_DATA".to_owned());
    let mut found = blocking(&rig).await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let before = rig.lab.stored().await;
    let (code, text) = refusal(rig.complete().await);
    assert!(code == Code::DataLoss && text.contains("customer/VSchema") && text.ends_with(fix), "{text}");
    assert_eq!(rig.lab.stored().await, before);
    let (workflow, target_keyspace) = ("import".to_owned(), "customer".to_owned());
    let request = MoveTablesCompleteRequest { workflow, target_keyspace, ..Default::default() };
    let report = rig.lab.advisor.clone().dry_run_complete(request).await.unwrap().into_inner();
    let told = report.findings.iter().filter(|finding| finding.id == "TOPO_BAD_DATA").count();
    assert!(told == 1 && !report.clear, "{report:?}");
    rig.set_record(json!({"phase": "creating"})).await;
    let found = rig.leftovers().await;
    assert!(found.iter().any(|(id, cause)| id == "NOT_READ" && cause.contains("customer/VSchema")), "{found:?}");
    let summary = rig.cancel(false).await.unwrap();
    let left = "; entries of tables may be left in the VSchema (orders): bad topology data at ";
    assert!(summary.contains(left) && summary.contains(fix), "{summary}");
    rig.expect_clean(&[]).await;
}

#[tokio::test]
async fn watchers_see_migrations_beside_rules_and_a_vschema_that_cannot_be_decoded() {
    let rig = Rig::start().await;
    rig.copied().await;
    break_rules(&rig).await;
    break_vschema(&rig).await;
    let (stop, options) = (CancellationToken::new(), watch::Options { interval: Duration::from_millis(20) });
    let context = Arc::new(context(Arc::clone(&rig.lab.topo)));
    let mut seen = watch::start(context, &options, stop.clone());
    let _stop = stop.drop_guard();
    let there = |snapshot: &Arc<watch::Snapshot>| !snapshot.migrations.is_empty();
    let found = tokio::time::timeout(Duration::from_secs(60), seen.wait_for(there)).await.unwrap().unwrap();
    let snapshot = Arc::clone(&found);
    drop(found);
    assert!(snapshot.problem.is_none() && snapshot.keyspaces.is_empty(), "{snapshot:?}");
    let [import] = snapshot.migrations.as_slice() else { panic!("{:?}", snapshot.migrations) };
    assert!(import.stale.is_none() && !import.go, "{import:?}");
    assert!(import.traffic.contains("Writes Unknown: bad topology data at "), "{import:?}");
    assert!(import.findings.iter().any(|finding| finding.subject == "keyspace customer"), "{import:?}");
}

#[tokio::test]
async fn leftovers_of_other_keyspaces_are_told_beside_a_shard_record_that_cannot_be_decoded() {
    let rig = Rig::start().await;
    rig.create().await.unwrap();
    rig.forget_streams();
    rig.lab.put(&paths::keyspace("other"), Vec::new()).await;
    rig.lab.put(&paths::shard("other", "0"), GARBAGE.to_vec()).await;
    let find = async |keyspace: &str| {
        let request = FindLeftoversRequest { keyspace: keyspace.to_owned() };
        rig.lab.advisor.clone().find_leftovers(request).await
    };
    let found = find("").await.unwrap().into_inner().findings;
    let of =
        |id: &str| found.iter().filter(|found| found.id == id).map(|found| found.subject.clone()).collect::<Vec<_>>();
    assert_eq!(of("NOT_READ"), ["keyspace other"], "{found:?}");
    assert_eq!(of("RECORD_WITHOUT_STREAMS"), ["workflow customer.import"], "{found:?}");
    let refused = find("other").await.unwrap_err();
    assert!(refused.code() == Code::DataLoss && refused.message().contains("other/shards/0/Shard"), "{refused}");
}
