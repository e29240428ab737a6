//! What is answered where a workflow has no streams.

use crate::error::Reason;
use crate::workflow::streams::{Keyspace, TargetShard};
use crate::workflow::{Error, names};

/// Stock's answer to a workflow that is not there. A record that is left of it holds denied tables and locks others out until cancel.
pub fn missing(keyspace: &str, workflow: &str, has_record: bool) -> Error {
    let help = if has_record {
        format!("its record is left; take that away: Migrate --target-keyspace {keyspace} --workflow {workflow} cancel")
    } else {
        format!("see Workflow --keyspace {keyspace} list")
    };
    no_streams(keyspace, workflow, help)
}

/// The same to whoever wants to end it. Where an end was cut off before all tablets had read that tables are not denied any more, and
/// somebody else has deleted the streams, nothing tells of it but clients that are refused.
pub fn nothing_to_end(target: &Keyspace, workflow: &str) -> Error {
    let keyspace = &target.name;
    let refresh = |shard: &TargetShard| format!("RefreshStateByShard {keyspace}/{}", shard.name);
    let refresh: Vec<String> = target.shards.iter().map(refresh).collect();
    let help = format!(
        "see Workflow --keyspace {keyspace} list; if tablets refuse clients its tables although no shard denies them: {}",
        names::some(&refresh, ", ")
    );
    no_streams(keyspace, workflow, help)
}

fn no_streams(keyspace: &str, workflow: &str, help: String) -> Error {
    let text = format!("no streams found in keyspace {keyspace} for {workflow}");
    Error::not_found(Reason::WORKFLOW_UNKNOWN, text, help)
}
