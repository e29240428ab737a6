//! Config overrides that a stream's tablet does not read any more: it was upgraded past the renaming in Vitess 23, or taken
//! back behind it. Such a stream does not run, and its row goes on saying that it does.
//!
//! That alone keeps no complete from its work. One that has reached its source's position lacks nothing, and its tablet stops
//! it when it is told in its own spelling (`workflow::overrides::change`); one that has not blocks as `BEHIND`, and the refusal
//! names these findings with it, for they say why it will never get there.

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;

use crate::context::Context;
use crate::workflow::checks::overrides::finding;
use crate::workflow::findings::Finding;
use crate::workflow::overrides;
use crate::workflow::streams::{Keyspace, ShardWorkflow};

/// Shards whose primary does not read the overrides of the workflow: one wave, none when no override depends on its tablet.
pub async fn unread(context: &Context, target: &Keyspace, rows: &[ShardWorkflow]) -> Vec<Finding> {
    let is_open = |row: &&ShardWorkflow| {
        let ended = |state: State| matches!(state, State::Stopped | State::Error);
        row.found.streams.iter().any(|stream| !ended(stream.state()))
    };
    let asked = rows.iter().filter(is_open).filter_map(|row| {
        let shard = target.shards.get(row.shard)?;
        let stored = overrides::stored(&row.found.options);
        overrides::depend_on_spelling(&stored).then_some((row, shard, shard.primary.as_ref()?, stored))
    });
    let found = asked.map(|(row, shard, primary, stored)| async move {
        // a tablet that does not answer is told elsewhere
        let spelling = overrides::ask(context, primary).await.ok()?;
        let names = overrides::unread(&stored, spelling);
        (!names.is_empty()).then(|| finding(&target.name, &shard.name, &row.found.workflow, &names))
    });
    join_all(found).await.into_iter().flatten().collect()
}
