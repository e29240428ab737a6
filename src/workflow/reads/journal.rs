//! The primaries that a shard had, as its reparents are noted in its own MySQL.

use futures::future::join_all;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::sql::rows;
use crate::tablet;
use crate::workflow::record::Facts;
use crate::workflow::streams::{Keyspace, TargetShard};

/// Most reparents that are read.
const MOST: u64 = 10_000;
/// What clocks of hosts may differ by, in nanoseconds.
const MARGIN: i64 = 60_000_000_000;

/// True when the primary of a shard, or one that it had since create, may not have known that tables are denied, so that clients may
/// have written. One wave where it had others and some tablet may not know, else none.
///
/// vtctld and vtorc note each reparent (Vitess 22.0.4 and 24.0.4, `PopulateReparentJournal`): it is proven when the last one noted made
/// the present primary, and none made such a tablet.
pub async fn unaware(context: &Context, facts: &Facts, shard: &TargetShard) -> bool {
    if !facts.has_had_others(&shard.name, &shard.record.value) || facts.has_unaware_primary(shard) {
        return facts.has_unaware_primary(shard);
    }
    let Ok(primary) = shard.primary() else { return true };
    let since = facts.had_since(shard).saturating_sub(MARGIN);
    match read(context, primary, since).await {
        Ok(made) => {
            let is_whole = made.first() == Some(&tablet::alias(primary));
            !is_whole || made.iter().any(|alias| facts.is_suspect(shard, alias))
        }
        Err(error) => {
            tracing::warn!(vitess.shard = shard.name, "a shard does not tell which primaries it had: {error}");
            true
        }
    }
}

/// The names of the shards of which that is so.
pub async fn unaware_shards(context: &Context, facts: Option<&Facts>, target: &Keyspace) -> Vec<String> {
    let Some(facts) = facts else { return Vec::new() };
    let doubtful = target.shards.iter().filter(|shard| facts.may_have_had_unaware_primary(shard));
    let asked = doubtful.map(|shard| async move { unaware(context, facts, shard).await.then(|| shard.name.clone()) });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The tablets that reparents made primary, the last first.
async fn read(context: &Context, on: &Tablet, since: i64) -> tablet::Result<Vec<String>> {
    let query = format!(
        "select primary_alias from _vt.reparent_journal where time_created_ns > {} order by time_created_ns desc",
        since.max(0)
    );
    let made = rows::texts(&context.tablets.read(on, query, MOST).await?);
    Ok(made.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}
