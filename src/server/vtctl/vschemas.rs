//! `GetVSchema`, `ApplyVSchema`, `RebuildVSchemaGraph`.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::io::AsyncReadExt;
use vtmigrated_proto::vschema::Keyspace;
use vtmigrated_proto::vtctldata::*;

use super::arguments::{none, only, shown};
use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::{Error, Result, print};
use crate::context::Context;
use crate::server::{serving, vschema as rpc};
use crate::topo::json;
use crate::vschema::ddl;

/// Largest file that a command reads, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// A file that is not read in this time is none.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Help of a failure whose cause is in a file.
const IN_FILE: &str = "files are read on the server's host, and their contents are not shown";
/// What stock says when the serving graph stays as it is.
pub const SKIPPED: &str =
    "Skipping rebuild of SrvVSchema, will need to run RebuildVSchemaGraph for changes to take effect";

pub const COMMANDS: &[Command] = &[
    Command {
        name: "GetVSchema",
        params: "<keyspace>",
        help: "Prints the VSchema of a keyspace.",
        flags: &[],
        action: Action::Read(handler!(get)),
    },
    Command {
        name: "ApplyVSchema",
        params: "{--vschema=<JSON> || --vschema_file=<file> || --sql=<statement> || --sql_file=<file>} [--cells=<cells>] \
                 [--skip_rebuild] [--dry-run] <keyspace>",
        help: "Replaces or alters the VSchema of a keyspace and prints what it became. Files are read by the server.",
        flags: &[
            flag(Kind::Text, "vschema", "", "The VSchema as JSON"),
            flag(Kind::Text, "vschema_file", "", "A file with it, on the server's host"),
            flag(Kind::Text, "sql", "", "An alter vschema statement"),
            flag(Kind::Text, "sql_file", "", "A file with it, on the server's host"),
            flag(Kind::Bool, "dry-run", "false", "Only print what it would become"),
            flag(Kind::Bool, "skip_rebuild", "false", "Leave the serving graph as it is"),
            flag(Kind::List, "cells", "", "Rebuild the serving graph of these cells only"),
        ],
        action: Action::Change(handler!(apply)),
    },
    Command {
        name: "RebuildVSchemaGraph",
        params: "[--cells=<cells>]",
        help: "Rebuilds the serving graph of all cells, or of some.",
        flags: &[flag(Kind::List, "cells", "", "Only these cells")],
        action: Action::Change(handler!(rebuild)),
    },
];

async fn get(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let keyspace = only(&args, "keyspace", "GetVSchema")?.to_owned();
    let found = rpc::get(&context, GetVSchemaRequest { keyspace }).await?;
    console.print(print::document("vschema.Keyspace", &found.v_schema.unwrap_or_default()));
    Ok(())
}

async fn apply(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    let keyspace = only(&args, "keyspace", "ApplyVSchema")?.to_owned();
    let given = |name: &str| !args.text(name).is_empty();
    let by_sql = given("sql") || given("sql_file");
    let by_json = given("vschema") || given("vschema_file");
    let flags = "of the --sql, --sql_file, --vschema, or --vschema_file flags";
    let command = "when calling the ApplyVSchema command";
    let given = ["sql", "sql_file", "vschema", "vschema_file"].iter().filter(|name| given(name)).count();
    match given {
        0 => return Err(Error::usage(format!("one {flags} must be specified {command}"), "")),
        1 => {}
        _ => return Err(Error::usage(format!("only one {flags} may be specified {command}"), "")),
    }
    let file = match args.text("vschema_file") {
        "" => args.text("sql_file"),
        file => file,
    };
    let read = match file {
        "" => None,
        path => Some(read(path).await?),
    };
    let text = |inline: &str| read.clone().unwrap_or_else(|| args.text(inline).to_owned());
    let dry_run = args.is_on("dry-run");
    let mut request = ApplyVSchemaRequest {
        keyspace,
        skip_rebuild: args.is_on("skip_rebuild"),
        dry_run,
        cells: args.list("cells"),
        ..ApplyVSchemaRequest::default()
    };
    if by_json {
        let vschema: Keyspace = parse("vschema.Keyspace", &text("vschema"), "the VSchema")?;
        console.print(new_object(&vschema));
        request.v_schema = Some(vschema);
    } else if by_sql {
        request.sql = text("sql");
        if read.is_some() {
            ddl::check_quietly(&request.sql).map_err(|at| Error::usage(at, IN_FILE))?;
        }
    }
    let changed = rpc::apply(context, request).await?;
    if by_sql {
        console.print(new_object(&changed.v_schema.unwrap_or_default()));
    }
    let mut unknown = changed.unknown_vindex_params;
    unknown.sort_by(|a, b| a.key.cmp(&b.key));
    for vindex in unknown {
        for param in vindex.value.unwrap_or_default().params {
            console.warn(format!("Unknown parameter in vindex {}: {param}", vindex.key));
        }
    }
    if dry_run {
        console.print("Dry run: Skipping update of VSchema\n");
    } else if args.is_on("skip_rebuild") {
        console.warn(SKIPPED);
    }
    Ok(())
}

fn new_object(vschema: &Keyspace) -> String {
    format!("New VSchema object:\n{}{SKIPS}", print::document("vschema.Keyspace", vschema))
}

/// What stock says below an object that it has read.
pub const SKIPS: &str =
    "If this is not what you expected, check the input data (as JSON parsing will skip unexpected fields).\n";

async fn rebuild(context: Arc<Context>, _: Console, args: Parsed) -> Result<()> {
    none(&args, "RebuildVSchemaGraph")?;
    serving::rebuild_vschema(context, RebuildVSchemaGraphRequest { cells: args.list("cells") }).await?;
    Ok(())
}

/// A file of the server's host. The error is the same whatever the reason: callers are told nothing of files, not even which
/// there are, but what their own files hold.
pub async fn read(path: &str) -> Result<String> {
    let text = format!("open {}: no text file of at most {} MiB can be read there", shown(path), MAX_FILE >> 20);
    let read = tokio::time::timeout(READ_TIMEOUT, contents(path)).await;
    read.ok().flatten().ok_or_else(|| Error::usage(text, IN_FILE))
}

async fn contents(path: &str) -> Option<String> {
    // a pipe would wait for its writer
    if !tokio::fs::metadata(path).await.ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.ok()?;
    // the length of some files is not told before they are read
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text).await.ok()?;
    (u64::try_from(length).ok()? <= MAX_FILE).then_some(text)
}

/// A message from JSON; fields that are not known are left out.
pub fn parse<M: Message + Default>(name: &str, text: &str, what: &str) -> Result<M> {
    json::read(name, text).map_err(|at| Error::usage(format!("cannot read {what} as JSON{at}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_and_its_errors_tell_no_secrets() {
        let text = r#"{"sharded": true, "nope": 1, "vindexes": {"hash": {"type": "hash"}}, "tables": {"t": {}}}"#;
        let vschema: Keyspace = parse("vschema.Keyspace", text, "the VSchema").unwrap();
        assert!(vschema.sharded && vschema.tables[0].value.is_some());
        for bad in ["root:secret:0:0", r#"{"sharded": "secret"}"#, r#"{} secret"#] {
            let error = parse::<Keyspace>("vschema.Keyspace", bad, "the VSchema").unwrap_err().to_string();
            assert!(error.starts_with("cannot read the VSchema as JSON: line 1, column "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn nothing_is_told_of_files_that_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("binary"), [0xff, 0xfe]).unwrap();
        let large = std::fs::File::create(path("large")).unwrap();
        large.set_len(MAX_FILE + 1).unwrap();
        for bad in ["/nope/x", "/dev/zero", "/proc/self/mem", &path("."), &path("binary"), &path("large")] {
            let error = read(bad).await.unwrap_err().to_string();
            assert_eq!(error, format!("open {bad}: no text file of at most 16 MiB can be read there"));
        }
        std::fs::write(path("good"), "x").unwrap();
        assert_eq!(read(&path("good")).await.unwrap(), "x");
    }

    #[test]
    fn statements_of_files_fail_by_position() {
        for (secret, at) in [
            (r#"[{"Username":"ann","Password":"planted"}]"#, "at position 1"),
            ("planted:x:0:0", "at position 1"),
            ("", "query was empty"),
            ("alter vschema add planted", "syntax error at position 26"),
            ("alter vschema add table 'planted", "syntax error at position 25"),
            ("alter vschema drop `planted", "syntax error at position 20"),
        ] {
            let error = ddl::check_quietly(secret).unwrap_err();
            assert_eq!(error, format!("error parsing VSchema DDL statement: {at}"), "{secret}");
        }
        ddl::check_quietly("alter vschema add table t").unwrap();
    }
}
