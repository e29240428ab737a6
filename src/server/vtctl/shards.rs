//! Shards: create, read, delete, flags.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::arguments::{both, only, see, shard, shown, tablet_type};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::{Error, Result, print};
use crate::context::Context;
use crate::server::{shard as rpc, tablet};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "CreateShard",
        params: "[--force] [--parent] <keyspace/shard>",
        help: "Creates a shard.",
        flags: &[
            flag(Kind::Bool, "force", "false", "Do not fail if it already exists"),
            flag(Kind::Bool, "parent", "false", "Also create the keyspace if it does not exist"),
        ],
        action: Action::Change(handler!(create)),
    },
    Command {
        name: "GetShard",
        params: "<keyspace/shard>",
        help: "Prints the record of a shard.",
        flags: &[],
        action: Action::Read(handler!(get)),
    },
    Command {
        name: "ListShardTablets",
        params: "<keyspace/shard>",
        help: "Lists the tablets of a shard, one a line.",
        flags: &[],
        action: Action::Read(handler!(tablets)),
    },
    Command {
        name: "SetShardIsPrimaryServing",
        params: "<keyspace/shard> <is_serving>",
        help: "Sets whether the primary of a shard serves.",
        flags: &[],
        action: Action::Change(handler!(set_primary_serving)),
    },
    Command {
        name: "SetShardTabletControl",
        params: "[--cells=<cells>] [--denied_tables=<t1,t2>] [--remove] [--disable_query_service] <keyspace/shard> <tablet type>",
        help: "Sets or removes denied tables of a shard, or switches its query service.",
        flags: &[
            flag(Kind::List, "cells", "", "Only these cells"),
            flag(Kind::List, "denied_tables", "", "Tables to deny"),
            flag(Kind::Bool, "remove", "false", "Remove instead"),
            flag(Kind::Bool, "disable_query_service", "false", "Switch the query service off"),
        ],
        action: Action::Change(handler!(set_tablet_control)),
    },
    Command {
        name: "DeleteShard",
        params: "[--recursive] [--even_if_serving] <keyspace/shard> ...",
        help: "Deletes shards that have no tablets, or those with their tablets' records.",
        flags: &[
            flag(Kind::Bool, "recursive", "false", "Tablet records, too"),
            flag(Kind::Bool, "even_if_serving", "false", "Also shards that serve"),
        ],
        action: Action::Change(handler!(delete)),
    },
];

async fn create(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let (keyspace, shard_name) = shard(only(&args, "keyspace/shard", "CreateShard")?)?;
    let name = format!("{keyspace}/{shard_name}");
    let force = args.is_on("force");
    let request = CreateShardRequest { keyspace, shard_name, force, include_parent: args.is_on("parent") };
    if rpc::create(context, request).await?.shard_already_exists {
        console.info(format!("shard {name} already exists (ignoring error with --force)"));
    }
    Ok(())
}

async fn get(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let (keyspace, shard_name) = shard(only(&args, "keyspace/shard", "GetShard")?)?;
    let found = rpc::get(&context, GetShardRequest { keyspace, shard_name }).await?.shard.unwrap_or_default();
    console.print(print::record("topodata.Shard", &found.shard.unwrap_or_default()));
    Ok(())
}

async fn tablets(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let (keyspace, shard) = shard(only(&args, "keyspace/shard", "ListShardTablets")?)?;
    let request = GetTabletsRequest { keyspace, shard, ..GetTabletsRequest::default() };
    let found = tablet::list(&context, request).await?.tablets;
    console.print(found.iter().map(print::tablet_line).collect::<String>());
    Ok(())
}

async fn set_primary_serving(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let (target, serving) = both(&args, ["keyspace/shard", "is_serving"], "SetShardIsPrimaryServing")?;
    let (keyspace, shard) = shard(target)?;
    let is_serving = match serving.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => true,
        "false" | "f" | "0" => false,
        _ => return Err(Error::usage(format!("bad value for is_serving: {}", shown(serving)), "use true or false")),
    };
    rpc::set_primary_serving(context, SetShardIsPrimaryServingRequest { keyspace, shard, is_serving }).await?;
    Ok(())
}

async fn set_tablet_control(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let (target, kind) = both(&args, ["keyspace/shard", "tablet type"], "SetShardTabletControl")?;
    let (keyspace, shard) = shard(target)?;
    let request = SetShardTabletControlRequest {
        keyspace,
        shard,
        tablet_type: tablet_type(kind)?.into(),
        cells: args.list("cells"),
        denied_tables: args.list("denied_tables"),
        disable_query_service: args.is_on("disable_query_service"),
        remove: args.is_on("remove"),
    };
    rpc::set_tablet_control(context, request).await?;
    Ok(())
}

async fn delete(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    if args.rest.is_empty() {
        let text = "the <keyspace/shard> argument must be used to identify at least one keyspace and shard when calling the DeleteShard command";
        return Err(Error::usage(text, see("DeleteShard")));
    }
    let named = args.rest.iter().map(|text| {
        let (keyspace, name) = shard(text)?;
        Ok(Shard { keyspace, name, ..Shard::default() })
    });
    let request = DeleteShardsRequest {
        shards: named.collect::<Result<_>>()?,
        recursive: args.is_on("recursive"),
        even_if_serving: args.is_on("even_if_serving"),
        force: false,
    };
    rpc::delete(context, request).await?;
    Ok(())
}
