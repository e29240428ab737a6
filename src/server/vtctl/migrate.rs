//! `Migrate`: the older words for create, status, complete and cancel. They run the same plans as the newer ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference;
use vtmigrated_proto::vtctldata::*;

use super::arguments::{self, shown};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Flag, Kind, Parsed, flag};
use super::streams::{Shown, existing};
use super::{Error, Result};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::server::{migrate as rpc, workflow as workflow_rpc};
use crate::workflow::traffic::Traffic;

/// How often a workflow that was made is looked at until it has started.
const POLL: Duration = Duration::from_secs(1);
/// The state of a workflow that is gone.
const GONE: &str = "Workflow Not Found";

const ACTIONS: &[&str] =
    &["create", "complete", "cancel", "show", "progress", "status", "switchtraffic", "reversetraffic"];

pub const COMMANDS: &[Command] = &[Command {
    name: "Migrate",
    params: "[--source=<cluster>.<keyspace>] [--all | --tables=<t1,t2>] [--exclude=<t1,t2>] [--cells=<cells>] \
             [--tablet_types=<types>] [--auto_start] [--stop_after_copy] [--on-ddl=<action>] [--timeout=<time>] \
             [--keep_data] [--dry_run] <action: Create, Show, Progress, Status, Complete or Cancel> <keyspace.workflow>",
    help: "Moves tables from a mounted cluster into a keyspace of this one.",
    flags: FLAGS,
    action: Action::Change(handler!(migrate)),
}];

const FLAGS: &[Flag] = &[
    flag(Kind::Text, "source", "", "Source: <mounted cluster>.<keyspace>"),
    flag(Kind::Text, "tables", "", "The tables to move, separated by commas"),
    flag(Kind::Bool, "all", "false", "Move all tables"),
    flag(Kind::List, "exclude", "", "Tables to leave out, with --all"),
    flag(Kind::List, "cells", "", "Cells or aliases of cells to read from"),
    flag(Kind::Text, "tablet_types", "in_order:REPLICA,PRIMARY", "Types of the source's tablets to read from"),
    flag(Kind::Bool, "auto_start", "true", "Start the streams at once"),
    flag(Kind::Bool, "stop_after_copy", "false", "Stop the streams when everything is copied"),
    flag(
        Kind::Text,
        "on-ddl",
        "IGNORE",
        "What to do when the source's schema changes: IGNORE, STOP, EXEC, EXEC_IGNORE",
    ),
    flag(Kind::Bool, "defer-secondary-keys", "true", "Add secondary keys when a table is copied"),
    flag(Kind::Bool, "drop_foreign_keys", "false", "Omit foreign keys"),
    flag(Kind::Text, "source_time_zone", "", "Time zone of the source's DATETIME values"),
    flag(Kind::Time, "timeout", "30s", "How long Create waits for the streams to start"),
    flag(Kind::Bool, "dry_run", "false", "Complete only prints what it would do"),
    flag(Kind::Bool, "keep_data", "false", "Cancel keeps the tables and their rows"),
    flag(Kind::Bool, "no-routing-rules", "false", "No effect: a Migrate has no routing rules"),
    flag(Kind::Bool, "keep_routing_rules", "false", "No effect: a Migrate has no routing rules"),
    flag(Kind::Bool, "rename_tables", "false", "No effect: the source is not touched"),
    flag(Kind::Bool, "reverse_replication", "true", "No effect: a Migrate has no traffic to switch"),
    flag(Kind::Time, "max_replication_lag_allowed", "30s", "No effect: a Migrate has no traffic to switch"),
    flag(Kind::Bool, "initialize-target-sequences", "false", "No effect: a Migrate has no traffic to switch"),
    flag(Kind::Bool, "skip_schema_copy", "false", "No effect: for Reshard"),
    flag(Kind::Text, "target_shards", "", "No effect: for Reshard"),
    flag(Kind::List, "source_shards", "", "Not for Migrate: every shard is read"),
    flag(Kind::List, "shards", "", "Not for Migrate: every shard takes part"),
    flag(Kind::Bool, "atomic-copy", "false", "Not for Migrate"),
    flag(Kind::Bool, "v1", "false", "Not for Migrate"),
    flag(Kind::Bool, "v2", "true", "No effect: there is no other"),
];

/// A call of the command.
struct Call {
    context: Arc<Context>,
    console: Console,
    args: Parsed,
    /// The action as it was typed.
    action: String,
    keyspace: String,
    workflow: String,
}

async fn migrate(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let [first, second] = args.rest.as_slice() else {
        return Err(Error::usage("two arguments are needed: action, keyspace.workflow", "see help Migrate"));
    };
    let is_action = |text: &str| ACTIONS.iter().any(|action| action.eq_ignore_ascii_case(text));
    // either may come first
    let (action, target) = if !is_action(first) && is_action(second) { (second, first) } else { (first, second) };
    let action = action.clone();
    let word = action.to_ascii_lowercase();
    let invalid = || format!("invalid action for Migrate: {}", shown(&word));
    match word.as_str() {
        "switchtraffic" | "reversetraffic" => {
            let help = "a Migrate has no traffic to switch: send writes to the target when Complete has ended it";
            return Err(Error::usage(invalid(), help));
        }
        known if is_action(known) => {}
        _ => {
            let help = "use Create, Show, Progress, Status, Complete or Cancel";
            return Err(Error::usage(invalid(), help));
        }
    }
    let (keyspace, workflow) = arguments::workflow(target)?;
    for (name, given) in [
        ("atomic-copy", args.is_on("atomic-copy")),
        ("v1", args.is_on("v1")),
        ("source_shards", args.is_set("source_shards")),
        ("shards", args.is_set("shards")),
    ] {
        if given {
            return Err(Error::usage(format!("--{name} is not for Migrate"), "omit it"));
        }
    }
    if args.is_on("dry_run") && word != "complete" {
        let text = format!(
            "--dry_run is only supported for SwitchTraffic, ReverseTraffic and Complete, not for {}",
            shown(&action)
        );
        return Err(Error::usage(text, ""));
    }
    let call = Call { context, console, args, action, keyspace, workflow };
    match word.as_str() {
        "create" => call.create().await,
        "complete" => call.complete().await,
        "cancel" => call.cancel().await,
        "show" => call.print_details().await,
        _ => call.progress().await,
    }
}

impl Call {
    async fn create(&self) -> Result<()> {
        rpc::create(Arc::clone(&self.context), self.request()?).await?;
        if !self.args.is_on("auto_start") {
            self.console.print("Workflow has been created in Stopped state\n");
            self.print_success(GONE, &Traffic::default().to_string());
            return Ok(());
        }
        self.console.print("Waiting for workflow to start:\n");
        tokio::select! {
            started = self.started() => started,
            () = self.console.gone() => Ok(()),
        }
    }

    fn request(&self) -> Result<MigrateCreateRequest> {
        let args = &self.args;
        let on_ddl = args.text("on-ddl").to_ascii_uppercase();
        if vtmigrated_proto::binlogdata::OnDdlAction::from_str_name(&on_ddl).is_none() {
            let text = format!("invalid value for on-ddl: {}", shown(&on_ddl));
            return Err(Error::usage(text, "use IGNORE, STOP, EXEC or EXEC_IGNORE"));
        }
        let source = args.text("source");
        if source.is_empty() {
            return Err(Error::usage("source keyspace is not specified", "give --source <mounted cluster>.<keyspace>"));
        }
        let Some((mount_name, source_keyspace)) = source.split_once('.').filter(|(_, rest)| !rest.contains('.')) else {
            let text = format!("invalid format for external source cluster: {}", shown(source));
            return Err(Error::usage(text, "give --source <mounted cluster>.<keyspace>"));
        };
        let include_tables = tables(args.text("tables"))?;
        if include_tables.is_empty() && !args.is_on("all") {
            return Err(Error::usage("no tables specified to move", "give --all, or --tables with their names"));
        }
        let (types, in_order) = arguments::tablet_types(args.text("tablet_types"))?;
        let preference = match in_order {
            true => TabletSelectionPreference::Inorder,
            false => TabletSelectionPreference::Any,
        };
        Ok(MigrateCreateRequest {
            workflow: self.workflow.clone(),
            source_keyspace: source_keyspace.to_owned(),
            target_keyspace: self.keyspace.clone(),
            mount_name: mount_name.to_owned(),
            cells: args.list("cells"),
            tablet_types: types.into_iter().map(Into::into).collect(),
            tablet_selection_preference: preference.into(),
            all_tables: args.is_on("all"),
            include_tables,
            exclude_tables: args.list("exclude"),
            source_time_zone: args.text("source_time_zone").to_owned(),
            on_ddl,
            stop_after_copy: args.is_on("stop_after_copy"),
            drop_foreign_keys: args.is_on("drop_foreign_keys"),
            defer_secondary_keys: args.is_on("defer-secondary-keys"),
            auto_start: args.is_on("auto_start"),
            no_routing_rules: args.is_on("no-routing-rules"),
        })
    }

    /// Waits until every stream has begun.
    async fn started(&self) -> Result<()> {
        let timeout = self.args.time("timeout");
        let until = Instant::now().checked_add(timeout);
        loop {
            let shown = self.shown().await?;
            let streams = shown.streams();
            let broken: Vec<_> = streams.iter().filter(|(_, s)| s.message.starts_with("Error:")).collect();
            if !broken.is_empty() {
                self.console.print("Found problems with the streams created for this workflow:\n");
                for (on, stream) in broken {
                    let tablet = on.rsplit('/').next().unwrap_or_default();
                    let line = format!("\tTablet: {tablet}, Id: {} :: {}\n", stream.id, stream.message);
                    self.console.print(line);
                }
                let help = format!("see Workflow {}.{} show", self.keyspace, self.workflow);
                let text = "errors starting workflow";
                return Err(Error::failed(Code::FailedPrecondition, Reason::STREAM_ERROR, text, help));
            }
            let begun = |state: &str| matches!(state, "Running" | "Copying" | "Stopped");
            let started = streams.iter().filter(|(_, s)| !s.position.is_empty() && begun(&s.state)).count();
            if started == streams.len() {
                self.console.print(format!("\nWorkflow started successfully with {started} stream(s)\n"));
                self.console.print(shown.details(&self.keyspace));
                return Ok(());
            }
            self.console.print(format!("{}% ... ", 100 * started / streams.len().max(1)));
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(self.not_started(timeout));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn not_started(&self, timeout: Duration) -> Error {
        let Self { keyspace, workflow, .. } = self;
        let timeout = humantime::format_duration(timeout).to_string().replace(' ', "");
        self.console.print(format!(
            "\nThe workflow did not start within {timeout}. The workflow may simply be slow to start or there may be an issue.\n\
             Check the status using the 'Workflow {keyspace}.{workflow} show' client command for details.\n"
        ));
        let help = format!("it continues by itself: see Workflow {keyspace}.{workflow} show");
        let text = "timed out waiting for workflow to start";
        Error::failed(Code::DeadlineExceeded, Reason::NOT_STARTED, text, help)
    }

    async fn complete(&self) -> Result<()> {
        let dry_run = self.args.is_on("dry_run");
        let request = MoveTablesCompleteRequest {
            workflow: self.workflow.clone(),
            target_keyspace: self.keyspace.clone(),
            keep_data: self.args.is_on("keep_data"),
            keep_routing_rules: self.args.is_on("keep_routing_rules"),
            rename_tables: self.args.is_on("rename_tables"),
            dry_run,
            ..MoveTablesCompleteRequest::default()
        };
        let answer = rpc::complete(Arc::clone(&self.context), request).await;
        let answer = existing(answer, &self.keyspace, &self.workflow)?;
        if dry_run {
            let now = jiff::Timestamp::now().strftime("%d %b %y %H:%M UTC").to_string();
            let parameters = self.args.rest.join(" ");
            let head = format!("Dry Run results for {} run at {now}\nParameters: {parameters}\n\n", self.action);
            self.console.print(format!("{head}{}\n", answer.dry_run_results.join("\n")));
            return Ok(());
        }
        self.print_success(&Traffic::default().to_string(), GONE);
        Ok(())
    }

    async fn cancel(&self) -> Result<()> {
        let request = WorkflowDeleteRequest {
            keyspace: self.keyspace.clone(),
            workflow: self.workflow.clone(),
            keep_data: self.args.is_on("keep_data"),
            ..WorkflowDeleteRequest::default()
        };
        let answer = workflow_rpc::delete(Arc::clone(&self.context), request).await;
        existing(answer, &self.keyspace, &self.workflow)?;
        self.print_success(&Traffic::default().to_string(), GONE);
        Ok(())
    }

    async fn progress(&self) -> Result<()> {
        let request = WorkflowStatusRequest {
            keyspace: self.keyspace.clone(),
            workflow: self.workflow.clone(),
            ..WorkflowStatusRequest::default()
        };
        let status = workflow_rpc::status(&self.context, request).await;
        let status = existing(status, &self.keyspace, &self.workflow)?;
        let mut tables: Vec<_> = status.table_copy_state.into_iter().collect();
        tables.sort_by(|a, b| a.key.cmp(&b.key));
        let mut text = String::from("\nCopy Progress (approx):\n\n");
        for table in tables {
            let state = table.value.unwrap_or_default();
            text.push_str(&format!(
                "{}: rows copied {}/{} ({:.0}%), size copied {}/{} ({:.0}%)\n",
                table.key,
                state.rows_copied,
                state.rows_total,
                state.rows_percentage,
                state.bytes_copied,
                state.bytes_total,
                state.bytes_percentage
            ));
        }
        text.push('\n');
        self.console.print(text);
        self.print_details().await
    }

    async fn print_details(&self) -> Result<()> {
        self.console.print(self.shown().await?.details(&self.keyspace));
        Ok(())
    }

    async fn shown(&self) -> Result<Shown> {
        Shown::read(&self.context, &self.keyspace, &self.workflow, &[]).await
    }

    fn print_success(&self, before: &str, after: &str) {
        let Self { action, keyspace, workflow, .. } = self;
        self.console.print(format!(
            "{action} was successful for workflow {keyspace}.{workflow}\nStart State: {before}\nCurrent State: {after}\n\n"
        ));
    }
}

/// Names of tables, or an object whose keys they are.
fn tables(text: &str) -> Result<Vec<String>> {
    if !text.trim_start().starts_with('{') {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        return Ok(names.map(str::to_owned).collect());
    }
    let specs: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|error| {
        Error::usage(format!("--tables is no table spec: {error}"), "give names separated by commas")
    })?;
    match specs.iter().find(|(_, spec)| spec.as_object().is_none_or(|spec| !spec.is_empty())) {
        None => Ok(specs.into_iter().map(|(name, _)| name).collect()),
        Some((name, _)) => {
            let text = format!("the table spec of {} is not empty", shown(name));
            let help = "give the target's VSchema with ApplyVSchema, then name the tables only";
            Err(Error::usage(text, help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_names_or_empty_specs() {
        assert_eq!(tables("a, b,").unwrap(), ["a", "b"]);
        assert_eq!(tables(r#"{"a": {}, "b": {}}"#).unwrap(), ["a", "b"]);
        assert!(tables("").unwrap().is_empty());
        let refusal = tables(r#"{"a": {"column_vindexes": []}}"#).unwrap_err();
        assert_eq!(refusal.to_string(), "the table spec of a is not empty");
        assert!(tables("{").is_err());
    }
}
