//! Shards of the target that a workflow is not about: they are being made beside those that serve, or are left over.

use prost::Message;
use serde_json::json;
use tonic::Code;
use vtmigrated::topo::{self, paths};
use vtmigrated_proto::topodata::{Shard, TabletType};

use crate::migrate::ownership::rows;
use crate::support::migrate_rig::Rig;
use crate::support::migrate_tablet::MigrateTablet;
use crate::support::{refusal, tablet};
use crate::way_back::commands::{copied, go_back, prepare, stored};
use crate::way_back::vdiff::compared;

const TABLES: [&str; 2] = ["customer", "orders"];

/// A shard with a primary, as a Reshard begins: it overlaps one that serves, and does not serve itself.
async fn add_spare(rig: &mut Rig) -> MigrateTablet {
    let spare = MigrateTablet::default();
    add_spare_at(rig, spare.start().await).await;
    spare
}

/// The same, with its primary at a port.
async fn add_spare_at(rig: &mut Rig, port: u16) {
    let record = Shard { key_range: topo::shard::parse_name("-40").unwrap(), ..Shard::default() };
    rig.lab.put(&paths::shard("customer", "-40"), record.encode_to_vec()).await;
    rig.lab.add_tablet(&tablet("zone1", 1200, "customer", "-40", TabletType::Primary, port)).await;
}

#[tokio::test]
async fn a_shard_that_does_not_serve_yet_needs_no_tables_for_a_complete() {
    let mut rig = Rig::start().await;
    rig.copied().await;
    let spare = add_spare(&mut rig).await;
    for tablet in [&rig.source, &rig.target[0], &rig.target[1], &spare] {
        tablet.contents().counts_ids = true;
    }
    // nor does it matter whether its tablets know what is denied on others
    rig.set_record(json!({"unaware": ["zone1-0000001200"]})).await;
    let told = rig.verdict().await.unwrap().findings;
    assert!(told.iter().all(|finding| finding.id != "DENIED_MISSING"), "{told:?}");
    rig.complete().await.unwrap();
    rig.expect_clean(&TABLES).await;
    assert_eq!((rows(&rig), spare.tables()), (vec![10; 4], vec![]));
}

/// Nobody can lock tables that it does not have, and no stream begins at its position.
#[tokio::test]
async fn a_shard_that_does_not_serve_yet_keeps_nobody_from_a_way_back_nor_from_going_it() {
    let (mut rig, before) = copied().await;
    let spare = add_spare(&mut rig).await;
    spare.contents().fails = vec!["LOCK TABLES", "PrimaryPosition"];
    prepare(&rig).await.unwrap();
    let summary = rig.complete().await.unwrap();
    assert!(summary.contains("; the way back is open"), "{summary}");
    go_back(&rig).await.unwrap();
    assert_eq!(stored(&rig).await, before);
}

#[tokio::test]
async fn a_table_that_is_lost_on_a_shard_that_serves_keeps_a_complete() {
    let rig = Rig::start().await;
    rig.copied().await;
    for tablet in [&rig.source, &rig.target[0], &rig.target[1]] {
        tablet.contents().counts_ids = true;
    }
    rig.target[1].contents().drop_table("orders");
    let (code, text) = refusal(rig.complete().await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("it is not there on 80-"), "{text}");
}

#[tokio::test]
async fn rows_on_a_shard_that_does_not_serve_yet_keep_no_cancel_and_stay() {
    let mut rig = Rig::start().await;
    rig.copied().await;
    let spare = add_spare(&mut rig).await;
    spare.fill("orders", 5);
    rig.cancel(false).await.unwrap();
    rig.expect_clean(&[]).await;
    assert_eq!(spare.contents().tables["orders"], 5);
    let changes = |call: &String| ["drop", "truncate", "alter"].iter().any(|word| call.starts_with(word));
    assert!(!spare.taken().iter().any(changes));
}

/// Its record tells of it, so it is the workflow's.
#[tokio::test]
async fn rows_on_a_shard_of_the_workflow_that_serves_no_more_keep_a_cancel() {
    let rig = Rig::start().await;
    rig.copied().await;
    rig.forget_streams();
    let mut record = topo::shard::get(rig.lab.topo.global(), "customer", "-80").await.unwrap().value;
    record.is_primary_serving = false;
    rig.lab.put(&paths::shard("customer", "-80"), record.encode_to_vec()).await;
    let (code, text) = refusal(rig.cancel(false).await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("orders on shard -80: no stream of the workflow is there"), "{text}");
    assert_eq!(rows(&rig), [10; 4]);
}

/// What is said of the workflow's VDiff, and the findings about it but for its age.
async fn of_vdiff(rig: &Rig) -> (String, Vec<(String, String)>) {
    let told = rig.verdict().await.unwrap();
    let about = told.findings.into_iter().filter(|found| found.id.starts_with("VDIFF") && found.id != "VDIFF_OLD");
    (told.vdiff, about.map(|found| (found.id, found.cause)).collect())
}

#[tokio::test]
async fn a_vdiff_compares_nothing_on_a_shard_that_does_not_serve_yet() {
    let mut rig = Rig::start().await;
    rig.copied().await;
    add_spare(&mut rig).await;
    compared(&rig.target[0], "completed", 0);
    let unfinished = ("VDIFF_UNFINISHED".to_owned(), "it is not completed: 80- has none".to_owned());
    assert_eq!(of_vdiff(&rig).await.1, [unfinished]);
    compared(&rig.target[1], "completed", 0);
    let (told, about) = of_vdiff(&rig).await;
    assert_eq!(about, []);
    assert!(told.starts_with("equal, 40 rows compared"), "{told}");
}

/// An old one of a Reshard, on a host that has crashed.
#[tokio::test]
async fn what_streams_left_is_cleaned_beside_a_shard_that_does_not_serve_and_does_not_answer() {
    let mut rig = Rig::start().await;
    rig.copied().await;
    // nobody listens there
    add_spare_at(&mut rig, 1).await;
    rig.target[0].contents().copying = vec![(5, "customer".into())];
    let told: Vec<String> = rig.leftovers().await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(told, ["NOT_READ", "COPY_STATE_ORPHANED"], "which shard was not asked is told");
    rig.clean().await;
    assert_eq!(rig.target[0].contents().copying, []);
}
