//! Which shards of a keyspace a workflow is about.

use std::collections::BTreeSet;

use super::Facts;
use crate::workflow::streams::{Keyspace, ShardWorkflow, TargetShard};

impl TargetShard {
    /// False for a shard that a workflow is not about: it does not serve, has no stream of it, and its record tells nothing of it.
    /// Such shards are being made beside those that serve, as a Reshard begins, or are left over: what their tables hold, or that
    /// they have none, says nothing of the workflow.
    fn is_concerned(&self, has_streams: bool, facts: Option<&Facts>) -> bool {
        let is_recorded = |facts: &Facts| facts.may_be_about(&self.name, self.record.created);
        self.record.value.is_primary_serving || has_streams || facts.is_some_and(is_recorded)
    }
}

impl Keyspace {
    /// The shards, with their places, that a workflow with these streams and this record is about, or may be.
    pub fn concerned<'r>(
        &self,
        rows: impl IntoIterator<Item = &'r ShardWorkflow>,
        facts: Option<&Facts>,
    ) -> Vec<(usize, &TargetShard)> {
        let with_streams: BTreeSet<usize> = rows.into_iter().map(|row| row.shard).collect();
        let shards = self.shards.iter().enumerate();
        shards.filter(|(at, shard)| shard.is_concerned(with_streams.contains(at), facts)).collect()
    }
}
