//! Records that cannot be read: damaged ones, and those of a newer version. Whatever needs what they tell is refused; what else
//! there is of their workflows can be ended without them, and the data kept.

use std::sync::Arc;

use super::super::streams::{Keyspace, TargetShard};
use super::super::{Error, names};
use crate::error::Code;
use crate::topo::{self, Conn, paths};

/// What stands behind the name of a workflow whose record cannot be read, where workflows are listed.
pub const MARK: &str = "(its record cannot be read)";

/// A record that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Why, in the words of the decoder.
    pub why: String,
    /// The version that it was read at.
    pub version: i64,
}

/// The command that ends a workflow without its record; the names are those of keyspace and workflow.
pub fn way_out((keyspace, workflow): (&str, &str)) -> String {
    format!("Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data")
}

/// What is said to whoever needs the record of a keyspace's workflow: `RECORD_UNREADABLE`, with the way out.
pub fn refusal(global: &Arc<dyn Conn>, names: (&str, &str), why: &str) -> Error {
    let path = global.full(&paths::workflow_record(names.0, names.1));
    let text = topo::Error::BadData { path, detail: why.to_owned() }.to_string();
    let help = format!(
        "if a newer version wrote this record, let that go on; else end the workflow and keep its tables: {}",
        way_out(names)
    );
    Error::Refused { code: Code::DataLoss, reason: "RECORD_UNREADABLE", text, help }
}

/// The denied tables of shards that are not `known` to be somebody's, and the commands that lift them, to be put behind another
/// text; empty when there are none. Only the record would tell whether they are its workflow's.
pub fn still_denied(target: &Keyspace, known: impl Fn(&TargetShard, &String) -> bool) -> String {
    let lifting = |shard: &TargetShard| {
        let denied = shard.denied();
        let tables: Vec<&str> = denied.iter().filter(|table| !known(shard, table)).map(String::as_str).collect();
        let (tables, keyspace, shard) = (tables.join(","), &target.name, &shard.name);
        let command = format!("SetShardTabletControl --denied-tables {tables} --remove {keyspace}/{shard} primary");
        (!tables.is_empty()).then_some(command)
    };
    let commands: Vec<String> = target.shards.iter().filter_map(lifting).collect();
    if commands.is_empty() {
        return String::new();
    }
    format!(
        "; tables stay denied, for nothing tells whose they are; if no workflow needs that: {}",
        names::some(&commands, "; ")
    )
}
