//! VDiff: what show answers.

use tonic::Code;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::*;

use crate::support::vdiff_rig::Rig;
use crate::support::vdiff_tablet::{Diff, result};
use crate::support::{assert_refused, refusal, tablet};
use crate::vdiff::{OTHER, UUID};

pub const ERROR: &str = "failed to reconcile extra rows: node doesn't exist: /vitess/global/keyspaces/commerce/VSchema";

#[tokio::test]
async fn show_answers_for_all_shards_or_says_which_does_not() {
    let mut rig = Rig::start().await;
    let none = rig.show("last").await.unwrap();
    assert!(none.values().all(|answer| answer.output.is_none()));
    let table = |name: &str| (name.to_owned(), "completed".to_owned(), String::new());
    let tables = vec![table("orders"), table("customer")];
    rig.give(&Diff { uuid: UUID.into(), state: "completed".into(), tables, ..Diff::default() });
    for arg in ["last", UUID, &UUID.to_uppercase()] {
        let shown = rig.show(arg).await.unwrap();
        assert_eq!(shown.keys().collect::<Vec<_>>(), ["-80", "80-"]);
        for answer in shown.values() {
            assert_eq!(answer.vdiff_uuid, UUID);
            let rows = vtmigrated::vdiff::report::rows(answer.output.as_ref().unwrap());
            assert_eq!(rows.iter().map(|row| row.table_name.as_str()).collect::<Vec<_>>(), ["customer", "orders"]);
        }
    }
    assert_eq!(rig.show("all").await.unwrap()["80-"].output.as_ref().unwrap().rows.len(), 1);
    let unknown = refusal(rig.show(OTHER).await);
    let line = |alias: &str| {
        format!(
            "TabletManager.VDiff on {alias}: no vdiff found for UUID {OTHER} keyspace customer and workflow import on \
             tablet {alias}"
        )
    };
    let lines = [line("zone1-0000001000"), line("zone1-0000001100")].join("\n");
    assert_eq!((unknown.0, unknown.1.starts_with(&lines)), (Code::NotFound, true), "{}", unknown.1);
    assert_refused(rig.show("x").await, Code::InvalidArgument, "action argument x not supported\nuse all, last");
    rig.primaries[0].set(|c| c.diffs.push(Diff { uuid: OTHER.into(), ..Diff::default() }));
    let text = format!("the last vdiff is not the same on all shards: -80 has {OTHER}, 80- has {UUID}\n");
    assert_refused(rig.show("last").await, Code::FailedPrecondition, &text);
    rig.primaries[1].set(|c| c.fails = vec![("show".into(), "vdiff engine is closed".into())]);
    let text = "TabletManager.VDiff on zone1-0000001100: vdiff engine is closed\nthe primary of customer/80- is still";
    assert_refused(rig.show(UUID).await, Code::Unavailable, text);
}

#[tokio::test]
async fn a_primary_that_is_gone_is_named_with_its_shard() {
    let mut rig = Rig::start().await;
    rig.lab
        .client
        .create_shard(CreateShardRequest {
            keyspace: "customer".into(),
            shard_name: "90-a0".into(),
            ..CreateShardRequest::default()
        })
        .await
        .unwrap();
    // nothing listens there
    rig.lab.add_tablet(&tablet("zone1", 1200, "customer", "90-a0", TabletType::Primary, 1)).await;
    let (code, message) = refusal(rig.show("last").await);
    assert_eq!(code, Code::Unavailable, "{message}");
    assert!(message.starts_with("tablet zone1-0000001200 at 127.0.0.1:1 cannot be reached for Ping: "), "{message}");
    assert!(message.contains("(primary of the target shard customer/90-a0)"), "{message}");
}

/// The log of a shard of two tables: the first one ended in the error, the other one was compared.
pub fn log(uuid: &str, [failed, compared]: [&str; 2]) -> vtmigrated_proto::query::QueryResult {
    let options = r#"{"core_options":{"auto_retry":true,"max_extra_rows_to_compare":1000}}"#;
    let line = |message: &str, last: i64| {
        vec![uuid.into(), options.into(), message.to_owned(), "1".into(), last.to_string(), "1795309200".into()]
    };
    let table =
        |name: &str| vec![uuid.into(), String::new(), format!("table {name}"), "0".into(), "0".into(), "0".into()];
    let lines = [
        line(&format!("completed: table '{compared}'"), 1),
        line(&format!("Table {failed} Error: {ERROR}"), 2),
        line(&format!("Error: {ERROR}"), 3),
        table(failed),
        table(compared),
    ];
    result(&["vdiff_uuid", "options", "message", "times", "last_id", "at"], &lines)
}

#[tokio::test]
async fn a_difference_that_the_tablet_cannot_finish_is_an_answer() {
    let mut rig = Rig::start().await;
    let report = r#"{"TableName":"t","ProcessedRows":4,"MatchingRows":3,"ExtraRowsTarget":1,"ExtraRowsTargetSample":[{"Row":{"id":"9"}}]}"#;
    // as a stock vtctld stores it when it is typed so
    let uuid = UUID.to_uppercase();
    let diff = |state: &str, error: &str, of_t: &str| Diff {
        uuid: uuid.clone(),
        state: state.into(),
        last_error: error.into(),
        tables: vec![("t".into(), of_t.into(), report.into()), ("u".into(), "completed".into(), "{}".into())],
    };
    rig.primaries[0].set(|c| {
        c.diffs.push(diff("error", ERROR, "error"));
        c.log = log(&UUID.to_uppercase(), ["t", "u"]);
    });
    rig.primaries[1].set(|c| c.diffs.push(diff("completed", "", "completed")));
    let all = rig.show("all").await.unwrap();
    let state = |shard: &str| {
        let output = all[shard].output.as_ref().unwrap();
        vtmigrated::sql::rows::texts(output)[0][2].clone().unwrap()
    };
    assert_eq!((state("-80").as_str(), state("80-").as_str()), ("completed", "completed"));
    assert_eq!(rig.taken(), [vec!["show", "stop"], vec!["show"]]);
    // the tablet has stopped it: the error is gone, the answer stays
    assert_eq!(rig.primaries[0].diffs(), [(UUID.to_uppercase(), "stopped".to_owned())]);
    for _ in 0..2 {
        let shown = rig.show(UUID).await.unwrap();
        let rows = vtmigrated::vdiff::report::rows(shown["-80"].output.as_ref().unwrap());
        for row in &rows {
            assert_eq!((row.vdiff_state.as_str(), row.table_state.as_str()), ("completed", "completed"));
            assert_eq!((row.last_error.as_str(), row.completed_at.is_empty()), ("", false));
        }
        assert_eq!(rows.iter().map(|row| row.has_mismatch).collect::<Vec<_>>(), [true, false]);
        assert_eq!(rig.taken(), [["show"], ["show"]]);
    }
}
