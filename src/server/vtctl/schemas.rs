//! `GetSchema` and the commands that make tablets read theirs again.

use std::sync::Arc;

use vtmigrated_proto::vtctldata::*;

use super::arguments::{alias, only, shard};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Flag, Kind, Parsed, flag};
use super::{Result, print};
use crate::context::Context;
use crate::server::{schema, tablet};

const CONCURRENCY: Flag = flag(Kind::Whole, "concurrency", "10", "How many tablets at a time");
const INCLUDE_PRIMARY: Flag = flag(Kind::Bool, "include_primary", "true", "Primaries, too");

pub const COMMANDS: &[Command] = &[
    Command {
        name: "GetSchema",
        params: "[--tables=<t1,t2>] [--exclude_tables=<t1,t2>] [--include-views] [--table_names_only] <tablet alias>",
        help: "Prints the tables of a tablet.",
        flags: &[
            flag(Kind::List, "tables", "", "Only these: names, or regular expressions between slashes"),
            flag(Kind::List, "exclude_tables", "", "Not these: names, or regular expressions between slashes"),
            flag(Kind::Bool, "include-views", "false", "Views, too"),
            flag(Kind::Bool, "table_names_only", "false", "Only the names, one a line"),
            flag(Kind::Bool, "table_sizes_only", "false", "Only the sizes"),
            flag(Kind::Bool, "table_schema_only", "false", "Neither columns nor fields"),
        ],
        action: Action::Read(handler!(get)),
    },
    Command {
        name: "ReloadSchema",
        params: "<tablet alias>",
        help: "Makes a tablet reload its schema.",
        flags: &[],
        action: Action::Change(handler!(reload)),
    },
    Command {
        name: "ReloadSchemaShard",
        params: "[--concurrency=10] [--include_primary=true] <keyspace/shard>",
        help: "Makes the tablets of a shard reload their schemas.",
        flags: &[CONCURRENCY, INCLUDE_PRIMARY],
        action: Action::Change(handler!(reload_shard)),
    },
    Command {
        name: "ReloadSchemaKeyspace",
        params: "[--concurrency=10] [--include_primary=true] <keyspace>",
        help: "Makes the tablets of a keyspace reload their schemas.",
        flags: &[CONCURRENCY, INCLUDE_PRIMARY],
        action: Action::Change(handler!(reload_keyspace)),
    },
];

async fn get(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let names_only = args.is_on("table_names_only");
    let request = GetSchemaRequest {
        tablet_alias: Some(alias(only(&args, "tablet alias", "GetSchema")?)?),
        tables: args.list("tables"),
        exclude_tables: args.list("exclude_tables"),
        include_views: args.is_on("include-views"),
        table_names_only: names_only,
        table_sizes_only: args.is_on("table_sizes_only"),
        table_schema_only: args.is_on("table_schema_only"),
    };
    let found = schema::get(&context, request).await?.schema.unwrap_or_default();
    if names_only {
        console.print(found.table_definitions.iter().map(|table| format!("{}\n", table.name)).collect::<String>());
    } else {
        console.print(print::record("tabletmanagerdata.SchemaDefinition", &found));
    }
    Ok(())
}

async fn reload(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    let tablet_alias = Some(alias(only(&args, "tablet alias", "ReloadSchema")?)?);
    tablet::reload_schema(context, ReloadSchemaRequest { tablet_alias }).await?;
    Ok(())
}

async fn reload_shard(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let (keyspace, shard) = shard(only(&args, "keyspace/shard", "ReloadSchemaShard")?)?;
    let request = ReloadSchemaShardRequest {
        keyspace,
        shard,
        include_primary: args.is_on("include_primary"),
        concurrency: concurrency(&args),
        ..ReloadSchemaShardRequest::default()
    };
    let events = tablet::reload_schema_shard(context, request).await?.events;
    events.into_iter().for_each(|event| console.event(event));
    Ok(())
}

async fn reload_keyspace(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let request = ReloadSchemaKeyspaceRequest {
        keyspace: only(&args, "keyspace", "ReloadSchemaKeyspace")?.to_owned(),
        include_primary: args.is_on("include_primary"),
        concurrency: concurrency(&args),
        ..ReloadSchemaKeyspaceRequest::default()
    };
    let events = tablet::reload_schema_keyspace(context, request).await?.events;
    events.into_iter().for_each(|event| console.event(event));
    Ok(())
}

fn concurrency(args: &Parsed) -> i32 {
    i32::try_from(args.number("concurrency")).unwrap_or_default()
}
