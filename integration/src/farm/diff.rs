//! Diffs of light tablets: they find every row the same, at once.

use std::time::SystemTime;

use vtmigrated::workflow::vdiff_summary::COLUMNS;
use vtmigrated_proto::{
    query::{QueryResult, Type},
    tabletmanagerdata::{VDiffRequest, VDiffResponse},
};

use super::{
    contents::Contents,
    result::{result, utc},
    stream::ROWS,
};

/// A row of `_vt.vdiff`.
#[derive(Clone, Debug)]
pub struct Diff {
    pub uuid: String,
    pub workflow: String,
    started: Option<SystemTime>,
    stopped: bool,
}

impl Diff {
    /// The state that the table has.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if self.started.is_some() && !self.stopped { "completed" } else { "stopped" }
    }
}

impl Contents {
    /// Answers `VDiff`.
    ///
    /// # Errors
    /// The tablet's texts (Vitess 22.0.3).
    pub fn diff(&mut self, request: &VDiffRequest, now: SystemTime) -> Result<VDiffResponse, String> {
        let VDiffRequest { workflow, action, action_arg, vdiff_uuid, .. } = request;
        let core = request.options.as_ref().and_then(|options| options.core_options.as_ref());
        let starts = core.and_then(|core| core.auto_start) != Some(false);
        let found = self.diffs.iter().position(|diff| diff.uuid == *vdiff_uuid);
        match action.as_str() {
            "create" if found.is_some() => return Err(format!("vdiff with UUID {vdiff_uuid} already exists")),
            "create" => self.diffs.push(Diff {
                uuid: vdiff_uuid.clone(),
                workflow: workflow.clone(),
                started: starts.then_some(now),
                stopped: false,
            }),
            "resume" | "stop" => {
                let at = found.ok_or_else(|| format!("vdiff with UUID {vdiff_uuid} not found"))?;
                let diff = &mut self.diffs[at];
                diff.stopped = action == "stop" && diff.started.is_none();
                if action == "resume" {
                    diff.started = Some(now);
                }
            }
            "delete" if action_arg == "all" => self.diffs.retain(|diff| diff.workflow != *workflow),
            "delete" => self.diffs.retain(|diff| diff.uuid != *action_arg),
            "show" => return Ok(self.show(workflow, action_arg)),
            _ => return Err(format!("action {action} not supported")),
        }
        let id = i64::try_from(self.diffs.len()).unwrap_or_default();
        Ok(VDiffResponse { id, vdiff_uuid: vdiff_uuid.clone(), ..VDiffResponse::default() })
    }

    fn show(&self, workflow: &str, which: &str) -> VDiffResponse {
        let mut of = self.diffs.iter().filter(|diff| diff.workflow == workflow);
        let found = match which {
            "last" => of.next_back(),
            "all" => {
                let row = |diff: &Diff| vec![diff.uuid.clone(), diff.workflow.clone(), diff.state().to_owned()];
                let columns = ["vdiff_uuid", "workflow", "state"].map(|name| (name, Type::Varchar));
                return VDiffResponse { output: Some(result(&columns, of.map(row))), ..VDiffResponse::default() };
            }
            uuid => of.find(|diff| diff.uuid == uuid),
        };
        let output = found.map(|diff| self.summary(diff));
        VDiffResponse { output, vdiff_uuid: found.map(|diff| diff.uuid.clone()).unwrap_or_default(), id: 0 }
    }

    /// One row for each table.
    fn summary(&self, diff: &Diff) -> QueryResult {
        let started = diff.started.map(utc).unwrap_or_default();
        let row = |table: &str| {
            let rows = if table.is_empty() { 0 } else { ROWS };
            let report = serde_json::json!({
                "TableName": table, "ProcessedRows": rows, "MatchingRows": rows, "MismatchedRows": 0,
                "ExtraRowsSource": 0, "ExtraRowsTarget": 0,
            });
            let (state, rows) = (diff.state(), rows.to_string());
            let of_table = [state, &rows, &started, &rows, &started, "0"].map(str::to_owned);
            let [state, rows, begun, compared, completed, mismatch] = of_table;
            let report = report.to_string();
            let (uuid, table) = (diff.uuid.clone(), table.to_owned());
            vec![state.clone(), String::new(), table, uuid, state, rows, begun, compared, completed, mismatch, report]
        };
        let streams = self.streams.iter().filter(|stream| stream.workflow() == diff.workflow);
        let first = streams.take(1).flat_map(|stream| stream.source.filter.iter().flat_map(|filter| &filter.rules));
        let tables: Vec<&str> = first.map(|rule| rule.r#match.as_str()).collect();
        let columns = COLUMNS.map(|name| (name, Type::Varchar));
        match diff.started {
            Some(_) => result(&columns, tables.into_iter().map(row)),
            None => result(&columns, [row("")]),
        }
    }
}
