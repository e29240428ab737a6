//! `Workflow`: list, show, start, stop, change and delete workflows.

use std::collections::BTreeMap;
use std::sync::Arc;

use vtmigrated_proto::binlogdata::{OnDdlAction, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::{TabletSelectionPreference, UpdateVReplicationWorkflowRequest};
use vtmigrated_proto::vtctldata::*;

use super::arguments::{self, shown};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::streams::{Shown, existing};
use super::{Error, Result, print};
use crate::context::Context;
use crate::server::workflow as rpc;
use crate::topo::paths;
use crate::workflow::update;

const ACTIONS: &[&str] = &["start", "stop", "update", "delete", "show", "list", "listall", "tags"];
const USAGE: &str = "usage: Workflow [--shards <shards>] [--dry-run] [--cells] [--tablet-types] <keyspace>[.<workflow>] \
                     start/stop/update/delete/show/list/listall";

pub const COMMANDS: &[Command] = &[Command {
    name: "Workflow",
    params: "[--dry-run] [--shards=<shards>] [--cells=<cells>] [--tablet-types=<types>] [--on-ddl=<action>] \
             <keyspace>[.<workflow>] <action: start, stop, update, delete, show, list or listall>",
    help: "Shows the workflows of a keyspace and changes their streams. Deleting one keeps its tables and rows.",
    flags: &[
        flag(Kind::Bool, "dry-run", "false", "Only print which streams would be changed"),
        flag(Kind::List, "shards", "", "Only these shards; all when empty"),
        flag(Kind::List, "cells", "", "With update: cells or aliases of cells to read from"),
        flag(Kind::Text, "tablet-types", "", "With update: types of the source's tablets to read from"),
        flag(Kind::Text, "on-ddl", "", "With update: IGNORE, STOP, EXEC or EXEC_IGNORE"),
    ],
    action: Action::Change(handler!(workflow)),
}];

struct Call {
    context: Arc<Context>,
    console: Console,
    args: Parsed,
    keyspace: String,
    workflow: String,
}

async fn workflow(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let is_action = |text: &str| ACTIONS.iter().any(|action| action.eq_ignore_ascii_case(text));
    let (target, action) = match args.rest.as_slice() {
        [first, second, tags @ ..] if tags.len() <= 1 => match is_action(first) && !is_action(second) {
            // the order of the older page
            true => (second.clone(), first.to_ascii_lowercase()),
            false => (first.clone(), second.to_ascii_lowercase()),
        },
        _ => return Err(Error::usage(USAGE, "")),
    };
    if action == "tags" {
        return Err(Error::not_served("Workflow tags is not served by vtmigrated"));
    }
    if args.rest.len() != 2 {
        return Err(Error::usage(USAGE, ""));
    }
    if matches!(action.as_str(), "list" | "listall") {
        let keyspace = target.split_once('.').map_or(target.as_str(), |(keyspace, _)| keyspace);
        return list(&context, &console, keyspace).await;
    }
    let (keyspace, workflow) = arguments::workflow(&target)?;
    if workflow.is_empty() {
        return Err(Error::usage(format!("workflow has to be defined for action {}", shown(&action)), ""));
    }
    let call = Call { context, console, args, keyspace, workflow };
    match action.as_str() {
        "show" => {
            let found = call.shown().await?;
            call.console.print(found.json(&call.keyspace));
            Ok(())
        }
        "start" => call.change(State::Running).await,
        "stop" => call.change(State::Stopped).await,
        "update" => call.update().await,
        "delete" => call.delete().await,
        other => Err(Error::usage(format!("invalid action found: {}", shown(other)), USAGE)),
    }
}

async fn list(context: &Context, console: &Console, keyspace: &str) -> Result<()> {
    let request = GetWorkflowsRequest { keyspace: keyspace.to_owned(), ..GetWorkflowsRequest::default() };
    let found = rpc::get_workflows(context, request).await?.workflows;
    let names: Vec<String> = found.into_iter().map(|workflow| workflow.name).collect();
    match names.is_empty() {
        true => console.print(format!("No workflows found in keyspace {keyspace}\n")),
        false => console.print(format!("Following workflow(s) found in keyspace {keyspace}: {}\n", names.join(", "))),
    }
    Ok(())
}

impl Call {
    async fn change(&self, state: State) -> Result<()> {
        if self.args.is_on("dry-run") {
            return self.tell_streams().await;
        }
        let request = UpdateVReplicationWorkflowRequest { state: Some(state.into()), ..self.nothing() };
        self.run(request).await
    }

    async fn update(&self) -> Result<()> {
        let args = &self.args;
        let mut request = self.nothing();
        let mut told = String::new();
        if args.is_set("cells") {
            request.cells = args.list("cells");
            told.push_str(&format!("  cells={:?}\n", request.cells.join(",")));
        }
        if args.is_set("tablet-types") {
            let (types, in_order) = arguments::tablet_types(args.text("tablet-types"))?;
            let preference = if in_order { TabletSelectionPreference::Inorder } else { TabletSelectionPreference::Any };
            let names: Vec<&str> = types.iter().map(|kind| kind.as_str_name()).collect();
            told.push_str(&format!("  tablet_types={:?}\n", names.join(",")));
            request.tablet_selection_preference = Some(preference.into());
            request.tablet_types = types.into_iter().map(Into::into).collect();
        }
        if args.is_set("on-ddl") {
            let action = OnDdlAction::from_str_name(&args.text("on-ddl").to_ascii_uppercase()).ok_or_else(|| {
                let text = format!("invalid on-ddl action: {}", shown(args.text("on-ddl")));
                Error::usage(text, "use IGNORE, STOP, EXEC or EXEC_IGNORE")
            })?;
            told.push_str(&format!("  on_ddl={:?}\n", action.as_str_name()));
            request.on_ddl = Some(action.into());
        }
        if told.is_empty() {
            let text = "no updates were provided; use --cells, --tablet-types, or --on-ddl to specify new values";
            return Err(Error::usage(text, ""));
        }
        if args.is_on("dry-run") {
            self.console.print(format!("The following workflow fields will be updated:\n{told}"));
            return self.tell_tablets().await;
        }
        self.run(request).await
    }

    async fn run(&self, request: UpdateVReplicationWorkflowRequest) -> Result<()> {
        let changed = update::update(&self.context, &self.keyspace, request).await?;
        self.print_rows(changed.into_iter().map(|(alias, rows)| (paths::alias_text(&alias), rows)));
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        if self.args.is_on("dry-run") {
            return self.tell_streams().await;
        }
        if self.args.is_set("shards") {
            let help = "omit --shards: the streams of all shards belong together";
            return Err(Error::usage("a workflow cannot be deleted on some shards only", help));
        }
        let found = self.shown().await?;
        let mut streams: BTreeMap<String, u64> = BTreeMap::new();
        for (_, stream) in found.streams() {
            *streams.entry(stream.tablet.as_ref().map(paths::alias_text).unwrap_or_default()).or_default() += 1;
        }
        let request = WorkflowDeleteRequest {
            keyspace: self.keyspace.clone(),
            workflow: self.workflow.clone(),
            keep_data: true,
            ..WorkflowDeleteRequest::default()
        };
        let deleted = rpc::delete(Arc::clone(&self.context), request).await;
        existing(deleted, &self.keyspace, &self.workflow)?;
        self.print_rows(streams.into_iter());
        Ok(())
    }

    /// A change that changes nothing.
    fn nothing(&self) -> UpdateVReplicationWorkflowRequest {
        UpdateVReplicationWorkflowRequest {
            workflow: self.workflow.clone(),
            cells: vec!["NULL".into()],
            tablet_types: vec![-1],
            shards: self.args.list("shards"),
            ..UpdateVReplicationWorkflowRequest::default()
        }
    }

    async fn shown(&self) -> Result<Shown> {
        Shown::read(&self.context, &self.keyspace, &self.workflow, &self.args.list("shards")).await
    }

    async fn tell_streams(&self) -> Result<()> {
        let Self { keyspace, workflow, .. } = self;
        let found = self.shown().await?;
        let rows: Vec<Vec<String>> = found
            .streams()
            .into_iter()
            .map(|(on, s)| vec![on.into(), s.id.to_string(), s.state.clone(), s.db_name.clone(), s.position.clone()])
            .collect();
        let table = print::table(&["Tablet", "ID", "State", "DBName", "Current GTID"], &rows);
        let head = format!("The following streams in keyspace {keyspace} of workflow {workflow} would be changed:\n\n");
        self.console.print(format!("{head}{table}\n\n"));
        Ok(())
    }

    async fn tell_tablets(&self) -> Result<()> {
        let Self { keyspace, workflow, .. } = self;
        let found = self.shown().await?;
        let mut tablets: Vec<String> = Vec::new();
        for (on, _) in found.streams() {
            let (shard, alias) = on.rsplit_once('/').unwrap_or_default();
            tablets.push(format!("  {alias} ({keyspace}/{shard})\n"));
        }
        tablets.sort();
        tablets.dedup();
        let head = format!("On the following tablets in the {keyspace} keyspace for workflow {workflow}:\n");
        self.console.print(format!("{head}{}", tablets.concat()));
        Ok(())
    }

    fn print_rows(&self, changed: impl Iterator<Item = (String, u64)>) {
        let rows: Vec<Vec<String>> = changed.map(|(alias, rows)| vec![alias, rows.to_string()]).collect();
        match rows.is_empty() {
            true => self.console.print("no result returned\n"),
            false => self.console.print(print::table(&["Tablet", "RowsAffected"], &rows)),
        }
    }
}
