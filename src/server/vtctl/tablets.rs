//! Tablets: read, list, ping, refresh.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::arguments::{alias, only, see, shard, shown, tablet_type};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::{Error, Result, print};
use crate::context::Context;
use crate::server::tablet as rpc;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "GetTablet",
        params: "<tablet alias>",
        help: "Prints the record of a tablet.",
        flags: &[],
        action: Action::Read(handler!(get)),
    },
    Command {
        name: "Ping",
        params: "<tablet alias>",
        help: "Asks a tablet whether it answers.",
        flags: &[],
        action: Action::Read(handler!(ping)),
    },
    Command {
        name: "RefreshState",
        params: "<tablet alias>",
        help: "Makes a tablet reload its record.",
        flags: &[],
        action: Action::Change(handler!(refresh_state)),
    },
    Command {
        name: "RefreshStateByShard",
        params: "[--cells=<cells>] <keyspace/shard>",
        help: "Makes the tablets of a shard reload their records.",
        flags: &[flag(Kind::List, "cells", "", "Only these cells")],
        action: Action::Change(handler!(refresh_state_by_shard)),
    },
    Command {
        name: "RunHealthCheck",
        params: "<tablet alias>",
        help: "Makes a tablet check its health.",
        flags: &[],
        action: Action::Change(handler!(run_health_check)),
    },
];

/// The commands that list tablets.
pub const LISTS: &[Command] = &[
    Command {
        name: "ListAllTablets",
        params: "[--keyspace=<keyspace>] [--tablet_type=<type>] [<cell1>,<cell2>,...]",
        help: "Lists all tablets, or those of some cells, one a line.",
        flags: &[
            flag(Kind::Text, "keyspace", "", "Only of this keyspace"),
            flag(Kind::Text, "tablet_type", "", "Only of this type"),
        ],
        action: Action::Read(handler!(list_all)),
    },
    Command {
        name: "ListTablets",
        params: "<tablet alias> ...",
        help: "Lists some tablets, one a line.",
        flags: &[],
        action: Action::Read(handler!(list)),
    },
];

async fn get(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let tablet_alias = Some(alias(only(&args, "tablet alias", "GetTablet")?)?);
    let found = rpc::get(&context, GetTabletRequest { tablet_alias }).await?;
    console.print(print::record("topodata.Tablet", &found.tablet.unwrap_or_default()));
    Ok(())
}

async fn ping(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let tablet_alias = Some(alias(only(&args, "tablet alias", "Ping")?)?);
    rpc::ping(&context, PingTabletRequest { tablet_alias }).await?;
    Ok(())
}

async fn refresh_state(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let tablet_alias = Some(alias(only(&args, "tablet alias", "RefreshState")?)?);
    rpc::refresh_state(context, RefreshStateRequest { tablet_alias }).await?;
    Ok(())
}

async fn refresh_state_by_shard(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let (keyspace, shard) = shard(only(&args, "keyspace/shard", "RefreshStateByShard")?)?;
    let request = RefreshStateByShardRequest { keyspace, shard, cells: args.list("cells") };
    let answer = rpc::refresh_state_by_shard(context, request).await?;
    if answer.is_partial_refresh {
        console.warn(answer.partial_refresh_details);
    }
    Ok(())
}

async fn run_health_check(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let tablet_alias = Some(alias(only(&args, "tablet alias", "RunHealthCheck")?)?);
    rpc::run_health_check(context, RunHealthCheckRequest { tablet_alias }).await?;
    Ok(())
}

async fn list_all(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let cells = match args.rest.as_slice() {
        [] => Vec::new(),
        [cells] => cells.split(',').map(str::to_owned).collect(),
        _ => return Err(Error::usage("ListAllTablets takes the cells as one argument", see("ListAllTablets"))),
    };
    let kind = args.text("tablet_type");
    let tablet_type = match kind {
        "" => 0,
        name => tablet_type(name)
            .map_err(|error| Error::usage(format!("invalid tablet type {}: {error}", shown(name)), ""))?
            .into(),
    };
    let keyspace = args.text("keyspace").to_owned();
    print(&context, &console, GetTabletsRequest { keyspace, cells, tablet_type, ..GetTabletsRequest::default() }).await
}

async fn list(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    if args.rest.is_empty() {
        let text = "the <tablet alias> argument is required for the ListTablets command";
        return Err(Error::usage(text, see("ListTablets")));
    }
    let tablet_aliases = args.rest.iter().map(|text| alias(text)).collect::<Result<_>>()?;
    print(&context, &console, GetTabletsRequest { tablet_aliases, ..GetTabletsRequest::default() }).await
}

async fn print(context: &Context, console: &Console, request: GetTabletsRequest) -> Result<()> {
    let found = rpc::list(context, request).await?.tablets;
    console.print(found.iter().map(print::tablet_line).collect::<String>());
    Ok(())
}
