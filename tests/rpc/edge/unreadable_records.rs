//! Records that cannot be read, damaged or of a newer version: what goes on without them, and the ways out.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use vtmigrated::topo::paths;
use vtmigrated::watch;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::CleanLeftoversRequest;

use crate::migrate::complete;
use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::{Lab, context, refusal};

const TABLES: [&str; 2] = ["customer", "orders"];
const WAY_OUT: &str = "Workflow --keyspace customer delete --workflow import --keep-data";
/// The key of the leftover of the workflow that [`spoil`] gives a record without streams.
const KEY: &str = "RECORD_UNREADABLE workflow customer.other";
/// Longest time until something is seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A workflow has a record that nobody can read.
async fn spoil(lab: &Lab, workflow: &str) {
    lab.put(&paths::workflow_record("customer", workflow), b"garbage".to_vec()).await;
}

/// Why a leftover is there still after it was to be cleaned; empty when it is gone.
async fn clean(rig: &Rig, key: &str) -> String {
    let request = CleanLeftoversRequest { keyspace: "customer".into(), keys: vec![key.into()] };
    let answer = rig.lab.advisor.clone().clean_leftovers(request).await.unwrap().into_inner();
    let [cleaned] = answer.leftovers.as_slice() else { panic!("{answer:?}") };
    assert_eq!(cleaned.key, key);
    cleaned.kept.clone()
}

async fn unregister(rig: &Rig) -> Result<(), Status> {
    let request = MountUnregisterRequest { name: "ext1".into() };
    rig.lab.client.clone().mount_unregister(request).await.map(drop)
}

/// Asserts that all that needs the record is refused with the way out, and changes nothing.
async fn expect_refusals(rig: &Rig) {
    let before = rig.lab.stored().await;
    let answers = [
        ("cancel", rig.cancel(false).await),
        ("complete", rig.complete().await),
        ("create", rig.create().await),
        ("verdict", rig.verdict().await.map(|report| report.summary)),
    ];
    for (name, answer) in answers {
        let (code, text) = refusal(answer);
        assert_eq!(code, Code::DataLoss, "{name}: {text}");
        assert!(text.contains("internal/vtmigrated/customer/import/Record: "), "{name}: {text}");
        assert!(text.ends_with(WAY_OUT), "{name}: {text}");
    }
    assert_eq!(rig.lab.stored().await, before);
}

#[tokio::test]
async fn a_workflow_without_a_record_that_can_be_read_ends_with_its_data_kept() {
    let rig = Rig::start().await;
    rig.copied().await;
    spoil(&rig.lab, "import").await;
    expect_refusals(&rig).await;
    rig.target.iter().for_each(|primary| assert_eq!(primary.taken(), Vec::<String>::new()));
    let told = rig.status().await.unwrap();
    assert_eq!((told.table_copy_state.len(), told.shard_streams.len()), (2, 2));
    assert!(told.traffic_state.contains("Complete: NO-GO ("), "{}", told.traffic_state);
    let found = rig.leftovers().await;
    assert!(found.len() == 1 && found[0].0 == "RECORD_UNREADABLE", "{found:?}");
    let kept = clean(&rig, "RECORD_UNREADABLE workflow customer.import").await;
    assert!(kept.ends_with(WAY_OUT), "{kept}");

    let summary = rig.cancel(true).await.unwrap();
    assert!(summary.contains("; its record, which cannot be read ("), "{summary}");
    assert!(!summary.contains("stay denied"), "{summary}");
    assert_eq!(rows(&rig), [10; 4]);
    rig.expect_clean(&TABLES).await;
    assert!(rig.leftovers().await.is_empty());
    unregister(&rig).await.unwrap();
}

/// Stock's `Workflow delete` takes the streams and leaves the denied tables.
#[tokio::test]
async fn what_is_denied_without_streams_and_record_is_named() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.forget_streams();
    spoil(&rig.lab, "import").await;
    let (code, text) = refusal(rig.status().await);
    assert_eq!(code, Code::DataLoss, "{text}");
    assert!(text.ends_with(WAY_OUT), "{text}");
    let summary = rig.cancel(true).await.unwrap();
    for shard in ["-80", "80-"] {
        let lift = format!("SetShardTabletControl --denied-tables customer,orders --remove customer/{shard} primary");
        assert!(summary.contains(&lift), "{summary}");
    }
    assert_eq!(rows(&rig), [10; 4]);
    assert!(rig.record().await.is_none());
    // they are still what nobody may write to
    assert_eq!(rig.denied().await, [TABLES.map(str::to_owned).to_vec(), TABLES.map(str::to_owned).to_vec()]);
    // and the name is free
    rig.deny(&[]).await;
    rig.target.iter().for_each(|primary| primary.contents().tables.values_mut().for_each(|rows| *rows = 0));
    rig.create().await.unwrap();
}

#[tokio::test]
async fn an_end_without_a_record_is_repeated_when_it_was_cut_off() {
    let rig = Rig::start().await;
    rig.copied().await;
    spoil(&rig.lab, "import").await;
    rig.target[1].contents().fails = vec!["delete from _vt.vreplication"];
    rig.cancel(true).await.unwrap_err();
    assert_eq!(rig.denied().await, [Vec::<String>::new(), Vec::new()]);
    rig.target[1].contents().fails.clear();
    expect_refusals(&rig).await;
    rig.cancel(true).await.unwrap();
    assert_eq!(rows(&rig), [10; 4]);
    rig.expect_clean(&TABLES).await;
}

#[tokio::test]
async fn a_mount_can_be_unregistered_once_the_record_is_cleaned_by_its_key() {
    let rig = Rig::start().await;
    rig.deny(&["x"]).await;
    spoil(&rig.lab, "other").await;
    let (code, text) = refusal(unregister(&rig).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.starts_with("mount ext1 is in use by: customer.other (its record cannot be read)\n"), "{text}");
    assert!(text.contains("delete --workflow <workflow> --keep-data"), "{text}");
    assert!(text.contains("vtmigrated advise leftovers"), "{text}");
    let found = rig.leftovers().await;
    let [(id, cause)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(id, "RECORD_UNREADABLE");
    let lift = "SetShardTabletControl --denied-tables x --remove customer/-80 primary";
    assert!(cause.starts_with("its record cannot be read: ") && cause.contains(lift), "{cause}");
    // not with all the others
    rig.clean().await;
    assert_eq!(rig.leftovers().await, found);
    assert_eq!(clean(&rig, KEY).await, "");
    assert!(rig.leftovers().await.is_empty());
    unregister(&rig).await.unwrap();
    assert_eq!(rig.denied().await[0], ["x"]);
}

#[tokio::test]
async fn the_record_of_a_workflow_changes_no_answer_of_another() {
    let (alone, beside) = (Rig::start().await, Rig::start().await);
    spoil(&beside.lab, "other").await;
    for rig in [&alone, &beside] {
        rig.copied().await;
    }
    let told = async |rig: &Rig| {
        let words = |text: String| text.replace(|c: char| c.is_ascii_digit(), "");
        let status = rig.status().await.unwrap();
        let tables = status.table_copy_state.len();
        (words(status.traffic_state), tables, words(rig.verdict().await.unwrap().summary))
    };
    assert_eq!(told(&alone).await, told(&beside).await);
    assert_eq!(alone.cancel(false).await.unwrap(), beside.cancel(false).await.unwrap());
    beside.expect_clean(&[]).await;

    let stream = || complete::running(100);
    let rig = complete::rig([stream(), stream()], json!({})).await;
    spoil(&rig.lab, "other").await;
    complete::complete(&rig, false).await.unwrap();
    assert!(!complete::denied(&rig).await && complete::record(&rig).await.is_none());
}

/// Of a workflow with streams, and of one without.
#[tokio::test]
async fn lists_and_watchers_answer_beside_such_records() {
    let rig = Rig::start().await;
    rig.copied().await;
    spoil(&rig.lab, "import").await;
    spoil(&rig.lab, "other").await;
    for workflow in ["", "import"] {
        let request =
            GetWorkflowsRequest { keyspace: "customer".into(), workflow: workflow.into(), ..Default::default() };
        let shown = rig.lab.client.clone().get_workflows(request).await.unwrap().into_inner().workflows;
        assert_eq!(shown.iter().map(|workflow| workflow.name.as_str()).collect::<Vec<_>>(), ["import"]);
    }
    let (stop, options) = (CancellationToken::new(), watch::Options { interval: Duration::from_millis(20) });
    let context = Arc::new(context(Arc::clone(&rig.lab.topo)));
    let mut seen = watch::start(context, &options, stop.clone());
    let _stop = stop.drop_guard();
    let both = |snapshot: &Arc<watch::Snapshot>| snapshot.migrations.len() == 2;
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(both)).await.unwrap().unwrap();
    let snapshot = Arc::clone(&found);
    drop(found);
    let [import, other] = snapshot.migrations.as_slice() else { panic!("{:?}", snapshot.migrations) };
    assert!(import.stale.is_none() && !import.go, "{import:?}");
    assert!(import.findings.iter().any(|finding| finding.id == "RECORD_UNREADABLE"), "{import:?}");
    assert_eq!((import.workflow.as_str(), other.workflow.as_str()), ("import", "other"));
    let stale = other.stale.as_ref().unwrap();
    assert_eq!(stale.reason, "RECORD_UNREADABLE");
    assert!(stale.fix.contains("delete --workflow other --keep-data"), "{stale:?}");
    assert!(snapshot.keyspaces.is_empty(), "{:?}", snapshot.keyspaces);
}

#[tokio::test]
async fn of_a_newer_version_an_unknown_field_is_passed_over_and_what_must_be_known_is_not() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "paused"})).await;
    expect_refusals(&rig).await;
    rig.set_record(json!({"phase": "created", "colour": {"of": ["the", "sky"]}, "needs": ["colour"]})).await;
    expect_refusals(&rig).await;
    rig.set_record(json!({"needs": []})).await;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}
