//! A way back as what its VDiffs take it for: a workflow of the source's cluster.

use super::{check_names, mirror, out_of_turn, stored};
use crate::context::Context;
use crate::error::{Explain, Reason};
use crate::workflow::names::back::{self, command};
use crate::workflow::record::way_back::Phase;
use crate::workflow::{Error, Result};

/// The workflow that a way back is in the source's cluster.
pub struct Reversed {
    /// The source's cluster, whose topology is only read.
    pub mirror: Context,
    /// The source keyspace.
    pub keyspace: String,
    pub workflow: String,
    /// The shards that it is on.
    pub shards: Vec<String>,
}

/// The workflow of a way back. What is to be compared (`to_compare`) must go on: one that is open.
///
/// # Errors
/// `WAY_BACK_UNKNOWN`, `WAY_BACK_PHASE`, `MOUNT_CHANGED`.
pub async fn reversed(context: &Context, names: (&str, &str), to_compare: bool) -> Result<Reversed> {
    check_names(names)?;
    let facts = stored(context, names).await?;
    if to_compare && facts.phase != Phase::Open {
        return Err(out_of_turn(names, &facts, format!("see {}", command("status", names))));
    }
    let mirror = mirror::to_read(context, &facts).await?;
    let shards = facts.shards().map(str::to_owned).collect();
    Ok(Reversed { mirror, keyspace: facts.keyspace, workflow: back::name(names.1), shards })
}

/// An error of such a workflow, with commands for the way back where its own would end it in the source's cluster.
pub fn explained(names: (&str, &str), error: Error) -> Error {
    let help = match error.reason() {
        Reason::FROZEN => format!(
            "its streams were stopped for going back: run that again: {}; or let them run on: {}; or stay with the target: {}",
            command("complete", names),
            command("prepare", names),
            command("cancel", names)
        ),
        Reason::WORKFLOW_UNKNOWN => format!("see {}", command("status", names)),
        _ => return error,
    };
    Error::Refused { code: error.code(), reason: error.reason(), text: error.to_string(), help }
}
