//! `VDiff`: start a comparison of both sides, show it, stop it, go on with it, forget it.

mod output;

use std::sync::Arc;

use serde::Serialize;
use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime;

use super::arguments::{self, shown};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Flag, Kind, Parsed, flag};
use super::{Error, Result, print};
use crate::context::Context;
use crate::server::vdiff as rpc;
use crate::vdiff::report::{self, State, Summary};

const ACTIONS: &[&str] = &["create", "show", "resume", "stop", "delete"];
const USAGE: &str = "usage: VDiff -- <keyspace>.<workflow> create|show|resume|stop|delete [all|last|<UUID>]";

pub const COMMANDS: &[Command] = &[Command {
    name: "VDiff",
    params: "[--source_cell=<cell>] [--target_cell=<cell>] [--tablet_types=in_order:RDONLY,REPLICA,PRIMARY] \
             [--limit=<rows>] [--tables=<t1,t2>] [--format=json] [--wait] [--verbose] <keyspace.workflow> \
             [<action: create, show, resume, stop or delete>] [<UUID> || all || last]",
    help: "Compares the rows of a workflow's tables on both sides, and shows the result.",
    flags: FLAGS,
    action: Action::Change(handler!(vdiff)),
}];

const FLAGS: &[Flag] = &[
    flag(Kind::List, "source_cell", "", "Cells to read the source from; all when empty"),
    flag(Kind::List, "target_cell", "", "Cells to read the target from; all when empty"),
    flag(Kind::Text, "tablet_types", "in_order:RDONLY,REPLICA,PRIMARY", "Types of the source's tablets to read from"),
    flag(Kind::Time, "filtered_replication_wait_time", "30s", "How long to wait for the streams of the workflow"),
    flag(Kind::Whole, "limit", "9223372036854775807", "Maximum number of rows to compare of a table"),
    flag(Kind::List, "tables", "", "Only these tables"),
    flag(Kind::Bool, "debug_query", "false", "Print a query for each difference"),
    flag(Kind::Bool, "only_pks", "false", "Print only the primary keys of rows that differ"),
    flag(Kind::Text, "format", "text", "text or json"),
    flag(
        Kind::Whole,
        "max_extra_rows_to_compare",
        "1000",
        "Maximum number of rows of one side that are compared once more",
    ),
    flag(Kind::Bool, "auto-retry", "true", "Retry by itself after temporary errors"),
    flag(Kind::Bool, "update-table-stats", "false", "Let MySQL count the rows first"),
    flag(Kind::Bool, "verbose", "false", "Also print tables without differences"),
    flag(Kind::Bool, "wait", "false", "With create and resume: wait until it ends"),
    flag(Kind::Time, "wait-update-interval", "1m", "How often to print the progress, with --wait"),
    flag(Kind::Bool, "checksum", "false", "No effect"),
    flag(Kind::Whole, "sample_pct", "100", "No effect"),
    flag(Kind::Bool, "v1", "false", "Not served: the old version"),
    flag(Kind::Bool, "v2", "true", "No effect: there is no other"),
];

struct Call {
    context: Arc<Context>,
    console: Console,
    args: Parsed,
    keyspace: String,
    workflow: String,
    argument: String,
}

async fn vdiff(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    if args.is_on("v1") {
        return Err(Error::not_served("VDiff --v1 is not served by vtmigrated"));
    }
    let (target, action, argument) = match args.rest.as_slice() {
        [target] => (target, "create".to_owned(), ""),
        [target, action] => (target, action.to_ascii_lowercase(), ""),
        [target, action, argument] => (target, action.to_ascii_lowercase(), argument.as_str()),
        _ => return Err(Error::usage(USAGE, "")),
    };
    if !ACTIONS.contains(&action.as_str()) {
        return Err(Error::usage(format!("invalid action '{}'; {USAGE}", shown(&action)), ""));
    }
    let (keyspace, workflow) = arguments::workflow(target)?;
    let argument = match (action.as_str(), argument) {
        // the older page shows without an argument
        ("show", "") => "last".to_owned(),
        ("create", argument) => argument.to_owned(),
        (other, "") => {
            let text = format!("can only {other} a specific vdiff, please provide a valid UUID");
            return Err(Error::usage(text, format!("view all with: VDiff -- {keyspace}.{workflow} show all")));
        }
        (_, argument) => argument.to_ascii_lowercase(),
    };
    if !matches!(args.text("format").to_ascii_lowercase().as_str(), "text" | "" | "json") {
        return Err(Error::usage(format!("bad format {}", shown(args.text("format"))), "use text or json"));
    }
    let call = Call { context, console, args, keyspace, workflow, argument };
    match action.as_str() {
        "create" => call.create().await,
        "show" => call.show().await,
        "resume" => call.resume().await,
        "stop" => call.stop().await,
        _ => call.delete().await,
    }
}

impl Call {
    async fn create(&self) -> Result<()> {
        let args = &self.args;
        if args.number("limit") <= 0 {
            let text = format!(
                "invalid --limit value ({}), maximum number of rows to compare needs to be greater than 0",
                args.number("limit")
            );
            return Err(Error::usage(text, ""));
        }
        let (types, in_order) = arguments::tablet_types(args.text("tablet_types"))?;
        let preference = match in_order {
            true => TabletSelectionPreference::Inorder,
            false => TabletSelectionPreference::Any,
        };
        let wait = args.time("filtered_replication_wait_time");
        let request = VDiffCreateRequest {
            workflow: self.workflow.clone(),
            target_keyspace: self.keyspace.clone(),
            uuid: self.argument.clone(),
            source_cells: args.list("source_cell"),
            target_cells: args.list("target_cell"),
            tablet_types: types.into_iter().map(Into::into).collect(),
            tablet_selection_preference: preference.into(),
            tables: args.list("tables"),
            limit: args.number("limit"),
            filtered_replication_wait_time: Some(vttime::Duration {
                seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(wait.subsec_nanos()).unwrap_or_default(),
            }),
            debug_query: args.is_on("debug_query"),
            only_p_ks: args.is_on("only_pks"),
            update_table_stats: args.is_on("update-table-stats"),
            max_extra_rows_to_compare: args.number("max_extra_rows_to_compare"),
            auto_retry: args.is_on("auto-retry"),
            max_report_sample_rows: 10,
            auto_start: Some(true),
            ..VDiffCreateRequest::default()
        };
        let uuid = rpc::create(Arc::clone(&self.context), request).await?.uuid;
        self.scheduled(uuid, "").await
    }

    async fn resume(&self) -> Result<()> {
        let request = VDiffResumeRequest {
            workflow: self.workflow.clone(),
            target_keyspace: self.keyspace.clone(),
            uuid: self.argument.clone(),
            target_shards: Vec::new(),
        };
        rpc::resume(Arc::clone(&self.context), request).await?;
        self.scheduled(self.argument.clone(), "to resume ").await
    }

    /// Says so, or waits for the end.
    async fn scheduled(&self, uuid: String, what: &str) -> Result<()> {
        if self.args.is_on("wait") {
            return tokio::select! {
                ended = self.ended(&uuid) => ended,
                () = self.console.gone() => Ok(()),
            };
        }
        match self.is_json() {
            true => self.console.print(print::pretty(&serde_json::json!({ "UUID": uuid }), b"\t")),
            false => self
                .console
                .print(format!("VDiff {uuid} scheduled {what}on target shards, use show to view progress\n")),
        }
        Ok(())
    }

    async fn ended(&self, uuid: &str) -> Result<()> {
        loop {
            tokio::time::sleep(self.args.time("wait-update-interval")).await;
            let answer = self.answer(uuid).await?;
            let summary = summary(&answer);
            self.print(&summary, &answer);
            let gives_up = summary.state == State::Error && !self.args.is_on("auto-retry");
            if gives_up || matches!(summary.state, State::Completed | State::Stopped) {
                return Ok(());
            }
        }
    }

    async fn show(&self) -> Result<()> {
        let answer = self.answer(&self.argument).await?;
        let Self { keyspace, workflow, .. } = self;
        if self.argument == "all" {
            let found = report::listings(&answer);
            self.console.print(match (self.is_json(), found.is_empty()) {
                (true, _) => print::pretty(&found, b"\t"),
                (false, true) => format!("No vdiffs found for {keyspace}.{workflow}\n"),
                (false, false) => {
                    let row = |l: report::Listing| vec![l.uuid, l.workflow, l.keyspace, l.shard, l.state];
                    let rows: Vec<Vec<String>> = found.into_iter().map(row).collect();
                    print::table(&["UUID", "Workflow", "Keyspace", "Shard", "State"], &rows)
                }
            });
            return Ok(());
        }
        let summary = summary(&answer);
        if summary.uuid.is_empty() {
            self.console.print(match self.is_json() {
                true => "{}\n".to_owned(),
                false => format!("No previous vdiff found for {keyspace}.{workflow}\n"),
            });
            return Ok(());
        }
        self.print(&summary, &answer);
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        let request = VDiffStopRequest {
            workflow: self.workflow.clone(),
            target_keyspace: self.keyspace.clone(),
            uuid: self.argument.clone(),
            target_shards: Vec::new(),
        };
        rpc::stop(Arc::clone(&self.context), request).await?;
        self.done("stop");
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        let request = VDiffDeleteRequest {
            workflow: self.workflow.clone(),
            target_keyspace: self.keyspace.clone(),
            arg: self.argument.clone(),
        };
        rpc::delete(Arc::clone(&self.context), request).await?;
        self.done("delete");
        Ok(())
    }

    fn done(&self, action: &str) {
        let uuid = if self.argument == "all" { "" } else { &self.argument };
        self.console.print(match self.is_json() {
            true => print::pretty(&Done { uuid, action, status: "completed" }, b"\t"),
            false => format!("The {action} action for vdiff {uuid} is completed on target shards\n"),
        });
    }

    async fn answer(&self, argument: &str) -> Result<VDiffShowResponse> {
        let request = VDiffShowRequest {
            workflow: self.workflow.clone(),
            target_keyspace: self.keyspace.clone(),
            arg: argument.to_owned(),
        };
        Ok(rpc::show(&self.context, request).await?)
    }

    fn print(&self, summary: &Summary, answer: &VDiffShowResponse) {
        let tables = summary.has_mismatch || self.args.is_on("verbose");
        self.console.print(match self.is_json() {
            true => {
                print::pretty(&output::json(&self.keyspace, &self.workflow, summary, tables.then_some(answer)), b"\t")
            }
            false => report::text(&self.keyspace, &self.workflow, summary, tables),
        });
    }

    fn is_json(&self) -> bool {
        self.args.text("format").eq_ignore_ascii_case("json")
    }
}

fn summary(answer: &VDiffShowResponse) -> Summary {
    Summary::of(answer, jiff::Timestamp::now().as_second())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Done<'a> {
    #[serde(rename = "UUID", skip_serializing_if = "str::is_empty")]
    uuid: &'a str,
    action: &'a str,
    status: &'a str,
}
