//! What cells serve.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::arguments::{both, only};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::Parsed;
use super::{Error, Result, print};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::server::serving as rpc;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "GetSrvKeyspaceNames",
        params: "<cell>",
        help: "Lists the keyspaces that a cell serves.",
        flags: &[],
        action: Action::Read(handler!(names)),
    },
    Command {
        name: "GetSrvKeyspace",
        params: "<cell> <keyspace>",
        help: "Prints how a cell serves a keyspace.",
        flags: &[],
        action: Action::Read(handler!(keyspace)),
    },
    Command {
        name: "GetSrvVSchema",
        params: "<cell>",
        help: "Prints the VSchemas and rules that a cell serves.",
        flags: &[],
        action: Action::Read(handler!(vschema)),
    },
];

async fn names(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let cell = only(&args, "cell", "GetSrvKeyspaceNames")?.to_owned();
    let found = rpc::keyspace_names(&context, GetSrvKeyspaceNamesRequest { cells: vec![cell.clone()] }).await?.names;
    let names = found.into_iter().filter(|entry| entry.key == cell).flat_map(|e| e.value.unwrap_or_default().names);
    console.print(names.map(|name| format!("{name}\n")).collect::<String>());
    Ok(())
}

async fn keyspace(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let (cell, keyspace) = both(&args, ["cell", "keyspace"], "GetSrvKeyspace")?;
    let request = GetSrvKeyspacesRequest { keyspace: keyspace.to_owned(), cells: vec![cell.to_owned()] };
    let found = rpc::keyspaces(&context, request).await?.srv_keyspaces;
    let served = found.into_iter().find(|entry| entry.key == cell).and_then(|entry| entry.value);
    // a cell that does not serve it has an empty record
    let Some(served) = served.filter(|served| !served.partitions.is_empty()) else {
        let text = format!("missing keyspace {keyspace:?} in cell {cell:?}");
        let help = format!("RebuildKeyspaceGraph {keyspace}");
        return Err(Error::failed(Code::NotFound, Reason::NOT_SERVED, text, help));
    };
    console.print(print::record("topodata.SrvKeyspace", &served));
    Ok(())
}

async fn vschema(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let cell = only(&args, "cell", "GetSrvVSchema")?.to_owned();
    let found = rpc::vschema(&context, GetSrvVSchemaRequest { cell }).await?.srv_v_schema.unwrap_or_default();
    console.print(print::record("vschema.SrvVSchema", &found));
    Ok(())
}
