//! Whether streams are stopped for good, and which there are.

use std::collections::BTreeSet;

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::ShardWorkflow;

/// Message of streams that complete has stopped for good; tablets refuse to start them (Vitess 22.0.3).
pub const FROZEN: &str = "FROZEN";

/// True for a stream with the message that makes tablets refuse to start it.
pub fn is_frozen(stream: &Stream) -> bool {
    stream.message == FROZEN.as_bytes()
}

/// True when complete has begun: every stream is stopped for good.
pub fn all_frozen(rows: &[ShardWorkflow]) -> bool {
    let mut streams = rows.iter().flat_map(|row| &row.found.streams).peekable();
    streams.peek().is_some() && streams.all(|s| is_frozen(s) && s.state() == State::Stopped)
}

/// True when complete has begun on some stream.
pub fn any_frozen<'r>(rows: impl IntoIterator<Item = &'r ShardWorkflow>) -> bool {
    rows.into_iter().flat_map(|row| &row.found.streams).any(is_frozen)
}

/// Shard numbers and ids of streams.
pub fn ids(rows: &[ShardWorkflow]) -> BTreeSet<(usize, i32)> {
    rows.iter().flat_map(|row| row.found.streams.iter().map(|stream| (row.shard, stream.id))).collect()
}
