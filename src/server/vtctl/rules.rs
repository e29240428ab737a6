//! `GetRoutingRules`, `ApplyRoutingRules`.

use std::sync::Arc;

use vtmigrated_proto::vschema::RoutingRules;
use vtmigrated_proto::vtctldata::*;

use super::arguments::none;
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::vschemas::{SKIPPED, SKIPS, parse, read};
use super::{Result, print};
use crate::context::Context;
use crate::server::routing_rules as rpc;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "GetRoutingRules",
        params: "",
        help: "Prints the routing rules.",
        flags: &[],
        action: Action::Read(handler!(get)),
    },
    Command {
        name: "ApplyRoutingRules",
        params: "{--rules=<JSON> || --rules_file=<file>} [--cells=<cells>] [--skip_rebuild] [--dry-run]",
        help: "Replaces the routing rules. Files are read by the server.",
        flags: &[
            flag(Kind::Text, "rules", "", "The rules as JSON"),
            flag(Kind::Text, "rules_file", "", "A file with them, on the server's host"),
            flag(Kind::Bool, "skip_rebuild", "false", "Leave the serving graph as it is"),
            flag(Kind::Bool, "dry-run", "false", "Only print what would be stored"),
            flag(Kind::List, "cells", "", "Rebuild the serving graph of these cells only"),
        ],
        action: Action::Change(handler!(apply)),
    },
];

async fn get(context: Arc<Context>, console: Console, _: Parsed) -> Result<()> {
    let found = rpc::get(&context, GetRoutingRulesRequest {}).await?;
    console.print(print::document("vschema.RoutingRules", &found.routing_rules.unwrap_or_default()));
    Ok(())
}

async fn apply(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    none(&args, "ApplyRoutingRules")?;
    let text = match args.text("rules_file") {
        "" => args.text("rules").to_owned(),
        path => read(path).await?,
    };
    let rules: RoutingRules = parse("vschema.RoutingRules", &text, "the routing rules")?;
    let (dry_run, skip_rebuild) = (args.is_on("dry-run"), args.is_on("skip_rebuild"));
    let object = format!("New RoutingRules object:\n{}{SKIPS}", print::document("vschema.RoutingRules", &rules));
    match dry_run {
        true => console.print(format!("=== DRY RUN ===\n{object}=== (END) DRY RUN ===\n")),
        false => console.print(object),
    }
    if !dry_run {
        let request =
            ApplyRoutingRulesRequest { routing_rules: Some(rules), skip_rebuild, rebuild_cells: args.list("cells") };
        rpc::apply(context, request).await?;
    }
    if skip_rebuild {
        console.warn(format!("{}{SKIPPED}", if dry_run { "DRY RUN: " } else { "" }));
    }
    Ok(())
}
