//! Records that cannot be read, damaged or of a newer version: what goes on without them, and the ways out.

use serde_json::json;
use tonic::{Code, Status};
use vtmigrated::topo::paths;
use vtmigrated_proto::vtmigrated::VerdictRequest;

use crate::migrate_rig::Rig;
use crate::ownership::rows;
use crate::support::{Lab, refusal};

const TABLES: [&str; 2] = ["customer", "orders"];
const WAY_OUT: &str = "Workflow --keyspace customer delete --workflow import --keep-data";

/// A workflow has a record that nobody can read.
async fn spoil(lab: &Lab, workflow: &str) {
    lab.put(&paths::workflow_record("customer", workflow), b"garbage".to_vec()).await;
}

async fn verdict(rig: &Rig) -> Result<String, Status> {
    let request = VerdictRequest { keyspace: "customer".into(), workflow: "import".into() };
    Ok(rig.lab.advisor.clone().verdict(request).await?.into_inner().summary)
}

/// Asserts that all that needs the record is refused with the way out, and changes nothing.
async fn expect_refusals(rig: &Rig) {
    let before = rig.lab.stored().await;
    let answers = [
        ("cancel", rig.cancel(false).await),
        ("complete", rig.complete().await),
        ("create", rig.create().await),
        ("verdict", verdict(rig).await),
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
async fn of_a_newer_version_an_unknown_field_is_passed_over_and_an_unknown_phase_is_not() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.set_record(json!({"phase": "paused"})).await;
    expect_refusals(&rig).await;
    rig.set_record(json!({"phase": "created", "colour": {"of": ["the", "sky"]}})).await;
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
}
