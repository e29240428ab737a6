//! Cells: create, read, change, delete.

use std::sync::Arc;

use vtmigrated_proto::topodata::CellInfo;
use vtmigrated_proto::vtctldata::*;

use super::arguments::{none, only};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Flag, Kind, Parsed, flag};
use super::{Result, print};
use crate::context::Context;
use crate::server::cell as rpc;

const SERVER_ADDRESS: Flag = flag(Kind::Text, "server_address", "", "Addresses of the cell's topology servers");
const ROOT: Flag = flag(Kind::Text, "root", "", "Root of the cell's topology");

pub const COMMANDS: &[Command] = &[
    Command {
        name: "AddCellInfo",
        params: "[--server_address <addr>] [--root <root>] <cell>",
        help: "Registers a cell with its topology.",
        flags: &[SERVER_ADDRESS, ROOT],
        action: Action::Change(handler!(add)),
    },
    Command {
        name: "UpdateCellInfo",
        params: "[--server_address <addr>] [--root <root>] <cell>",
        help: "Changes the given fields of a cell, or registers it.",
        flags: &[SERVER_ADDRESS, ROOT],
        action: Action::Change(handler!(update)),
    },
    Command {
        name: "DeleteCellInfo",
        params: "[--force] <cell>",
        help: "Deletes the record of a cell that no shard uses.",
        flags: &[flag(Kind::Bool, "force", "false", "Even if its topology cannot be reached")],
        action: Action::Change(handler!(delete)),
    },
    Command {
        name: "GetCellInfoNames",
        params: "",
        help: "Lists the names of all cells.",
        flags: &[],
        action: Action::Read(handler!(names)),
    },
    Command {
        name: "GetCellInfo",
        params: "<cell>",
        help: "Prints the record of a cell.",
        flags: &[],
        action: Action::Read(handler!(get)),
    },
];

fn info(args: &Parsed) -> Option<CellInfo> {
    Some(CellInfo { server_address: args.text("server_address").to_owned(), root: args.text("root").to_owned() })
}

async fn add(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let name = only(&args, "cell", "AddCellInfo")?.to_owned();
    rpc::add(context, AddCellInfoRequest { name, cell_info: info(&args) }).await?;
    Ok(())
}

async fn update(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let name = only(&args, "cell", "UpdateCellInfo")?.to_owned();
    rpc::update(context, UpdateCellInfoRequest { name, cell_info: info(&args) }).await?;
    Ok(())
}

async fn delete(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let name = only(&args, "cell", "DeleteCellInfo")?.to_owned();
    rpc::delete(context, DeleteCellInfoRequest { name, force: args.is_on("force") }).await?;
    Ok(())
}

async fn names(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    none(&args, "GetCellInfoNames")?;
    let names = rpc::names(&context, GetCellInfoNamesRequest {}).await?.names;
    console.print(format!("{}\n", names.join("\n")));
    Ok(())
}

async fn get(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let cell = only(&args, "cell", "GetCellInfo")?.to_owned();
    let found = rpc::get(&context, GetCellInfoRequest { cell }).await?.cell_info.unwrap_or_default();
    console.print(print::record("topodata.CellInfo", &found));
    Ok(())
}
