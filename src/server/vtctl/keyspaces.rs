//! Keyspaces: create, read, delete, rebuild.

use std::sync::Arc;

use vtmigrated_proto::topodata;
use vtmigrated_proto::vtctldata::*;

use super::arguments::{only, see};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::{Error, Result, print};
use crate::context::Context;
use crate::server::{keyspace, serving, shard};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "CreateKeyspace",
        params: "[--force] [--durability-policy=<policy>] [--sidecar-db-name=<name>] [--allow_empty_vschema] <keyspace name>",
        help: "Creates a keyspace.",
        flags: &[
            flag(Kind::Bool, "force", "false", "Do not fail if it already exists"),
            flag(Kind::Bool, "allow_empty_vschema", "false", "Leave it without a VSchema"),
            flag(Kind::Text, "durability-policy", "none", "How safe a write must be, such as semi_sync"),
            flag(Kind::Text, "sidecar-db-name", "_vt", "Database of the tablets' own tables"),
            flag(Kind::Text, "keyspace_type", "", "NORMAL; snapshots are for a stock vtctld"),
            flag(Kind::Text, "base_keyspace", "", "For snapshots"),
            flag(Kind::Text, "snapshot_time", "", "For snapshots"),
        ],
        action: Action::Change(handler!(create)),
    },
    Command {
        name: "DeleteKeyspace",
        params: "[--recursive] <keyspace>",
        help: "Deletes a keyspace that has no shards, or that and everything in it.",
        flags: &[flag(Kind::Bool, "recursive", "false", "Its shards and tablet records, too")],
        action: Action::Change(handler!(delete)),
    },
    Command {
        name: "GetKeyspace",
        params: "<keyspace>",
        help: "Prints the record of a keyspace.",
        flags: &[],
        action: Action::Read(handler!(get)),
    },
    Command {
        name: "GetKeyspaces",
        params: "",
        help: "Lists the names of all keyspaces.",
        flags: &[],
        action: Action::Read(handler!(names)),
    },
    Command {
        name: "FindAllShardsInKeyspace",
        params: "<keyspace>",
        help: "Prints the records of a keyspace's shards.",
        flags: &[],
        action: Action::Read(handler!(shards)),
    },
    Command {
        name: "RebuildKeyspaceGraph",
        params: "[--cells=<cells>] [--allow_partial] <keyspace> ...",
        help: "Rebuilds the serving graph of keyspaces from their shards.",
        flags: &[
            flag(Kind::List, "cells", "", "Only these cells"),
            flag(Kind::Bool, "allow_partial", "false", "A snapshot may lack shards"),
        ],
        action: Action::Change(handler!(rebuild)),
    },
];

async fn create(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let name = only(&args, "keyspace name", "CreateKeyspace")?.to_owned();
    if args.text("keyspace_type").eq_ignore_ascii_case("snapshot") {
        return Err(Error::not_served("CreateKeyspace of a snapshot is not served by vtmigrated"));
    }
    let request = CreateKeyspaceRequest {
        name,
        force: args.is_on("force"),
        allow_empty_v_schema: args.is_on("allow_empty_vschema"),
        durability_policy: args.text("durability-policy").to_owned(),
        sidecar_db_name: args.text("sidecar-db-name").to_owned(),
        ..CreateKeyspaceRequest::default()
    };
    keyspace::create(context, request).await?;
    Ok(())
}

async fn delete(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let keyspace = only(&args, "keyspace", "DeleteKeyspace")?.to_owned();
    let recursive = args.is_on("recursive");
    keyspace::delete(context, DeleteKeyspaceRequest { keyspace, recursive, force: false }).await?;
    Ok(())
}

async fn get(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let keyspace = only(&args, "keyspace", "GetKeyspace")?.to_owned();
    let found = keyspace::get(&context, GetKeyspaceRequest { keyspace }).await?.keyspace.unwrap_or_default();
    console.print(print::record("topodata.Keyspace", &found.keyspace.unwrap_or_default()));
    Ok(())
}

async fn names(context: Arc<Context>, console: Console, _: Parsed) -> Result<()> {
    let found = keyspace::all(&context, GetKeyspacesRequest {}).await?.keyspaces;
    let names: Vec<String> = found.into_iter().map(|keyspace| keyspace.name).collect();
    console.print(format!("{}\n", names.join("\n")));
    Ok(())
}

async fn shards(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let keyspace = only(&args, "keyspace", "FindAllShardsInKeyspace")?.to_owned();
    let found = shard::all(&context, FindAllShardsInKeyspaceRequest { keyspace }).await?.shards;
    let record = |entry: find_all_shards_in_keyspace_response::ShardsEntry| -> (String, topodata::Shard) {
        (entry.key, entry.value.unwrap_or_default().shard.unwrap_or_default())
    };
    let mut records: Vec<_> = found.into_iter().map(record).collect();
    records.sort_by(|a, b| a.0.cmp(&b.0));
    console.print(print::records("topodata.Shard", records));
    Ok(())
}

async fn rebuild(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    if args.rest.is_empty() {
        let text = "the <keyspace> argument must be used to specify at least one keyspace when calling the RebuildKeyspaceGraph command";
        return Err(Error::usage(text, see("RebuildKeyspaceGraph")));
    }
    for keyspace in &args.rest {
        let request = RebuildKeyspaceGraphRequest {
            keyspace: keyspace.clone(),
            cells: args.list("cells"),
            allow_partial: args.is_on("allow_partial"),
        };
        serving::rebuild_keyspace(Arc::clone(&context), request).await?;
    }
    Ok(())
}
