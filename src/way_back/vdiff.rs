//! VDiffs of a way back, from the command line.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use tonic::transport::Channel;
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vtmigrated::way_back_client::WayBackClient;
use vtmigrated_proto::vtmigrated::{WayBackDiff, way_back_diff};

use crate::advise::{self, Error};
use crate::cli::advise::{Format, WorkflowArgs};
use crate::cli::way_back::{CreateVdiff, OneVdiff, ShowVdiff, Vdiff};

/// How often a diff that is waited for is looked at.
const POLL: Duration = Duration::from_secs(2);
/// Rows of each kind that a table's report samples: as the stock client asks for.
const SAMPLES: i64 = 10;

/// The answer as text, and whether it is yes.
pub(super) async fn ask(
    client: &mut WayBackClient<Channel>,
    asked: Vdiff,
    format: Format,
) -> Result<(String, bool), Error> {
    match asked {
        Vdiff::Create(create) => {
            let (of, wait) = (create.of.clone(), create.wait);
            let uuid = client.v_diff_create(request(create)?).await?.into_inner().uuid;
            if wait { ended(client, of, uuid, format).await } else { Ok((done("create", &uuid, format), true)) }
        }
        Vdiff::Show(ShowVdiff { of, uuid }) => {
            let diff = show(client, &of, &uuid).await?;
            Ok((shown(&diff, format), is_fine(&diff)))
        }
        Vdiff::Stop(OneVdiff { of: WorkflowArgs { target_keyspace, workflow }, uuid }) => {
            let told = done("stop", &uuid, format);
            let request = VDiffStopRequest { target_keyspace, workflow, uuid, ..VDiffStopRequest::default() };
            client.v_diff_stop(request).await?;
            Ok((told, true))
        }
        Vdiff::Resume(OneVdiff { of: WorkflowArgs { target_keyspace, workflow }, uuid }) => {
            let told = done("resume", &uuid, format);
            let request = VDiffResumeRequest { target_keyspace, workflow, uuid, ..VDiffResumeRequest::default() };
            client.v_diff_resume(request).await?;
            Ok((told, true))
        }
        Vdiff::Delete(OneVdiff { of: WorkflowArgs { target_keyspace, workflow }, uuid: arg }) => {
            let told = done("delete", &arg, format);
            client.v_diff_delete(VDiffDeleteRequest { target_keyspace, workflow, arg }).await?;
            Ok((told, true))
        }
    }
}

/// With the defaults of the stock client.
fn request(create: CreateVdiff) -> Result<VDiffCreateRequest, Error> {
    Ok(VDiffCreateRequest {
        target_keyspace: create.of.target_keyspace,
        workflow: create.of.workflow,
        uuid: create.uuid,
        tables: create.tables,
        tablet_types: advise::tablet_types(&create.tablet_types)?,
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        max_extra_rows_to_compare: create.max_extra_rows_to_compare,
        max_report_sample_rows: SAMPLES,
        auto_retry: true,
        auto_start: Some(true),
        ..VDiffCreateRequest::default()
    })
}

async fn show(client: &mut WayBackClient<Channel>, of: &WorkflowArgs, arg: &str) -> Result<WayBackDiff, Error> {
    let WorkflowArgs { target_keyspace, workflow } = of.clone();
    let request = VDiffShowRequest { target_keyspace, workflow, arg: arg.to_owned() };
    Ok(client.v_diff_show(request).await?.into_inner())
}

/// Waits for the end of a diff: it was completed or stopped, or stands in an error.
async fn ended(
    client: &mut WayBackClient<Channel>,
    of: WorkflowArgs,
    uuid: String,
    format: Format,
) -> Result<(String, bool), Error> {
    loop {
        tokio::time::sleep(POLL).await;
        let diff = show(client, &of, &uuid).await?;
        if matches!(diff.state.as_str(), "completed" | "stopped" | "error") {
            return Ok((shown(&diff, format), is_fine(&diff) && diff.state == "completed"));
        }
    }
}

/// False when rows differ, or when it failed.
fn is_fine(diff: &WayBackDiff) -> bool {
    !diff.has_mismatch && diff.state != "error"
}

fn done(action: &str, uuid: &str, format: Format) -> String {
    match (format, action) {
        (Format::Json, _) => advise::pretty(&json!({ "uuid": uuid, "action": action })),
        (Format::Text, "create") => format!("VDiff {uuid} of the way back was created: follow it with show"),
        (Format::Text, _) => format!("VDiff {uuid} of the way back: {action} is done"),
    }
}

fn shown(diff: &WayBackDiff, format: Format) -> String {
    if format == Format::Text {
        return text(diff);
    }
    if !diff.listed.is_empty() {
        let one = |l: &way_back_diff::Listed| json!({ "uuid": l.uuid, "shard": l.shard, "state": l.state });
        return advise::pretty(&json!({ "vdiffs": diff.listed.iter().map(one).collect::<Vec<_>>() }));
    }
    let shard = |s: &way_back_diff::Shard| json!({ "shard": s.shard, "state": s.state, "error": s.error });
    let table = |t: &way_back_diff::Table| {
        json!({
            "name": t.name,
            "state": t.state,
            "rows_compared": t.rows_compared,
            "matching_rows": t.matching_rows,
            "mismatched_rows": t.mismatched_rows,
            "only_in_target": t.only_in_target,
            "only_in_source": t.only_in_source,
            "has_mismatch": t.has_mismatch,
        })
    };
    advise::pretty(&json!({
        "uuid": diff.uuid,
        "state": diff.state,
        "has_mismatch": diff.has_mismatch,
        "rows_compared": diff.rows_compared,
        "started_at": diff.started_at,
        "completed_at": diff.completed_at,
        "percent": diff.percent,
        "seconds_left": diff.seconds_left,
        "shards": diff.shards.iter().map(shard).collect::<Vec<_>>(),
        "tables": diff.tables.iter().map(table).collect::<Vec<_>>(),
    }))
}

fn text(diff: &WayBackDiff) -> String {
    if !diff.listed.is_empty() {
        let line = |l: &way_back_diff::Listed| format!("{} on {}: {}", l.uuid, l.shard, l.state);
        return diff.listed.iter().map(line).collect::<Vec<_>>().join("\n");
    }
    if diff.uuid.is_empty() {
        return "there is no VDiff of the way back".to_owned();
    }
    let rows = match (diff.has_mismatch, diff.state.as_str()) {
        (true, _) => "rows differ",
        (false, "completed") => "all rows are equal",
        (false, _) => "no row differs so far",
    };
    let state = if diff.state.is_empty() { "unknown" } else { diff.state.as_str() };
    let mut text =
        format!("VDiff {} of the way back: {state}, {} rows compared, {rows}", diff.uuid, diff.rows_compared);
    if diff.state == "started" {
        write!(text, ", {:.0}% (estimate)", diff.percent).ok();
    }
    for shard in diff.shards.iter().filter(|shard| !shard.error.is_empty() || shard.state != diff.state) {
        write!(text, "\nshard {}: {} {}", shard.shard, shard.state, shard.error).ok();
    }
    for table in diff.tables.iter().filter(|table| table.has_mismatch) {
        let way_back_diff::Table { name, mismatched_rows, only_in_target, only_in_source, .. } = table;
        write!(
            text,
            "\ntable {name}: {mismatched_rows} rows differ, {only_in_target} are only in the target, {only_in_source} only in the \
             source"
        )
        .ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_tells_what_differs_and_on_which_side_rows_are() {
        let table = way_back_diff::Table {
            name: "orders".into(),
            mismatched_rows: 1,
            only_in_target: 2,
            has_mismatch: true,
            ..way_back_diff::Table::default()
        };
        let shard = |state: &str, error: &str| way_back_diff::Shard {
            shard: "0".into(),
            state: state.into(),
            error: error.into(),
        };
        let diff = WayBackDiff {
            uuid: "u".into(),
            state: "completed".into(),
            has_mismatch: true,
            rows_compared: 9,
            shards: vec![shard("completed", "")],
            tables: vec![table, way_back_diff::Table { name: "equal".into(), ..way_back_diff::Table::default() }],
            ..WayBackDiff::default()
        };
        let lines = [
            "VDiff u of the way back: completed, 9 rows compared, rows differ",
            "table orders: 1 rows differ, 2 are only in the target, 0 only in the source",
        ];
        assert_eq!((shown(&diff, Format::Text), is_fine(&diff)), (lines.join("\n"), false));
        let json: serde_json::Value = serde_json::from_str(&shown(&diff, Format::Json)).unwrap();
        assert_eq!(json["tables"][0]["only_in_target"], 2);

        let failed = WayBackDiff {
            state: "error".into(),
            has_mismatch: false,
            shards: vec![shard("error", "no tablet")],
            tables: Vec::new(),
            ..diff
        };
        let lines =
            ["VDiff u of the way back: error, 9 rows compared, no row differs so far", "shard 0: error no tablet"];
        assert_eq!((shown(&failed, Format::Text), is_fine(&failed)), (lines.join("\n"), false));
        let none = WayBackDiff::default();
        assert_eq!((shown(&none, Format::Text).as_str(), is_fine(&none)), ("there is no VDiff of the way back", true));
        let listed = way_back_diff::Listed { uuid: "u".into(), shard: "0".into(), state: "stopped".into() };
        let all = WayBackDiff { listed: vec![listed], ..WayBackDiff::default() };
        assert_eq!(shown(&all, Format::Text), "u on 0: stopped");
    }
}
