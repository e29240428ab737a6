//! What status needs besides the streams.

use vtmigrated_proto::vschema::Keyspace as VSchema;

use crate::workflow::checks::complete::diffs::Diffs;
use crate::workflow::checks::complete::source::Source;
use crate::workflow::checks::stalled::Stalled;
use crate::workflow::record::TableSize;

/// What others than the streams say.
pub(in crate::workflow) struct StatusInputs<'a> {
    pub source: &'a std::result::Result<Source, String>,
    pub vschema: &'a VSchema,
    /// Sizes at create; none for workflows without them.
    pub sizes: &'a [TableSize],
    pub diffs: &'a Diffs,
    /// Only these shards are answered; all when empty.
    pub shards: &'a [String],
}

impl StatusInputs<'_> {
    /// Why a source shard does not tell where it is; `None` when it does, and when it was not asked.
    pub(super) fn silence(&self, shard: &str) -> Option<String> {
        match self.source {
            Err(why) => Some(why.clone()),
            Ok(source) if source.shards.is_empty() => None,
            Ok(source) => source.silence(shard),
        }
    }

    /// Why a stream gets nothing, though it runs.
    pub(super) fn stalled(&self, shard: &str, id: i32) -> Option<&Stalled> {
        let stalled = self.source.as_ref().ok()?.stalled.iter();
        stalled.into_iter().find(|stalled| (stalled.shard.as_str(), stalled.id) == (shard, id))
    }
}
