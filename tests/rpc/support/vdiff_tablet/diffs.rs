//! What the tablet does with its diffs, as a stock one does.

use tonic::Status;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};

use super::{Contents, Diff, SUMMARY, result};

fn summary(diff: &Diff) -> QueryResult {
    let row = |(table, state, report): &(String, String, String)| {
        let texts = [
            &diff.state,
            &diff.last_error,
            table,
            &diff.uuid,
            state,
            "10",
            "2026-11-22 01:00:00",
            "5",
            "",
            "0",
            report,
        ];
        texts.map(str::to_owned).to_vec()
    };
    let none = (String::new(), String::new(), String::new());
    let tables = if diff.tables.is_empty() { std::slice::from_ref(&none) } else { diff.tables.as_slice() };
    result(&SUMMARY, &tables.iter().map(row).collect::<Vec<_>>())
}

impl Contents {
    fn refused(&self, text: String) -> Status {
        Status::unknown(format!("TabletManager.VDiff on {}: {text}", self.alias))
    }

    pub fn perform(&mut self, request: &VDiffRequest) -> Result<VDiffResponse, Status> {
        self.requests.push(request.clone());
        if let Some((_, text)) = self.fails.iter().find(|(action, _)| *action == request.action) {
            return Err(self.refused(text.clone()));
        }
        let uuid = request.vdiff_uuid.clone();
        let alias = self.alias.clone();
        match request.action.as_str() {
            "create" => {
                if self.diffs.iter().any(|d| d.uuid.eq_ignore_ascii_case(&uuid)) {
                    return Err(self.refused(format!("vdiff with UUID {uuid} already exists on tablet {alias}")));
                }
                let core = request.options.clone().unwrap_or_default().core_options.unwrap_or_default();
                let stopped = core.auto_start == Some(false) && !self.ignores_auto_start;
                let state = if stopped { "stopped" } else { "started" }.to_owned();
                self.diffs.push(Diff { uuid: uuid.clone(), state, ..Diff::default() });
                Ok(VDiffResponse { id: 1, vdiff_uuid: uuid, ..VDiffResponse::default() })
            }
            "resume" => {
                let found = self.diffs.iter_mut().find(|d| d.uuid.eq_ignore_ascii_case(&uuid));
                match found {
                    Some(diff) if matches!(diff.state.as_str(), "stopped" | "completed") => {
                        diff.state = "pending".into();
                        Ok(VDiffResponse { id: 1, vdiff_uuid: uuid, ..VDiffResponse::default() })
                    }
                    Some(_) => {
                        Err(self
                            .refused(format!("no completed or stopped vdiff found for UUID {uuid} on tablet {alias}")))
                    }
                    None => Err(self.refused(format!("vdiff with UUID {uuid} not found on tablet {alias}"))),
                }
            }
            "stop" => {
                for diff in self.diffs.iter_mut().filter(|d| d.uuid == uuid && d.state != "completed") {
                    diff.state = "stopped".into();
                    diff.last_error.clear();
                    diff.tables.iter_mut().for_each(|t| t.1 = "stopped".into());
                }
                Ok(VDiffResponse::default())
            }
            "delete" if request.action_arg == "all" => {
                self.diffs.clear();
                Ok(VDiffResponse::default())
            }
            "delete" => {
                let before = self.diffs.len();
                self.diffs.retain(|d| !d.uuid.eq_ignore_ascii_case(&request.action_arg));
                if self.diffs.len() == before {
                    let text = format!("no vdiff found for UUID {} on tablet {alias}", request.action_arg);
                    return Err(self.refused(text));
                }
                Ok(VDiffResponse::default())
            }
            "show" => self.show(request),
            action => Err(self.refused(format!("action {action} not supported"))),
        }
    }

    fn show(&self, request: &VDiffRequest) -> Result<VDiffResponse, Status> {
        if request.action_arg == "all" {
            let rows: Vec<Vec<String>> =
                self.diffs.iter().map(|d| vec![d.uuid.clone(), request.workflow.clone(), d.state.clone()]).collect();
            let output = Some(result(&["vdiff_uuid", "workflow", "state"], &rows));
            return Ok(VDiffResponse { output, ..VDiffResponse::default() });
        }
        let found = match request.action_arg.as_str() {
            "last" => self.diffs.last(),
            uuid => self.diffs.iter().find(|d| d.uuid.eq_ignore_ascii_case(uuid)),
        };
        match found {
            Some(diff) => {
                let (vdiff_uuid, output) = (diff.uuid.to_lowercase(), Some(summary(diff)));
                Ok(VDiffResponse { vdiff_uuid, output, ..VDiffResponse::default() })
            }
            None if request.action_arg == "last" => Ok(VDiffResponse::default()),
            None => Err(self.refused(format!(
                "no vdiff found for UUID {} keyspace {} and workflow {} on tablet {}",
                request.action_arg, request.keyspace, request.workflow, self.alias
            ))),
        }
    }
}
