//! Lifting denied tables from the records of shards.

use vtmigrated_proto::topodata::Shard;

use super::refresh::{self, UnawareReplica};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::topo::shard::{self, Deny};
use crate::topo::{Lock, Record, Write};
use crate::workflow::streams::{Keyspace, KeyspaceTablets};
use crate::workflow::{Error, Result, record};

/// What is not so on another primary that a shard has got meanwhile, while something was ended.
pub const NOT_STOPPED: &str = "on which nobody saw the streams stopped; its tables stay denied to clients";
/// The same after clients got the tables.
pub const NOT_DELETED: &str = "on which nobody deleted the streams";
/// The same while a workflow was made.
pub const NOT_MADE: &str = "on which nobody made the tables and streams";

/// The shards' records as they were read.
pub fn as_read(keyspace: &Keyspace) -> Vec<Record<Shard>> {
    keyspace.shards.iter().map(|shard| shard.record.clone()).collect()
}

/// Takes denied tables that clients get off the shards' records, with other writes in the transaction that takes the first of
/// them off, and only while the primaries are those on which the streams were seen to stand.
///
/// # Errors
/// `PRIMARY_CHANGED`, with nothing lifted.
pub async fn hand_over(
    context: &Context,
    lock: &Lock,
    target: &KeyspaceTablets,
    denied: &[(String, Vec<String>)],
    also: Vec<Write>,
) -> Result<Vec<UnawareReplica>> {
    lift(context, lock, target, (as_read(&target.keyspace), also), denied, true).await
}

/// The records as they are now, when all shards have the primaries still that these name. `but` is what is not so on another one.
///
/// # Errors
/// `PRIMARY_CHANGED`, and those of the topology.
pub async fn with_primaries_kept(
    context: &Context,
    records: &[Record<Shard>],
    but: &str,
) -> Result<Vec<Record<Shard>>> {
    let fresh = shard::again(context.topo.global(), records).await?;
    let is_another = |(old, new): &(&Record<Shard>, &Record<Shard>)| !shard::has_same_primary(&old.value, &new.value);
    let Some((_, changed)) = records.iter().zip(&fresh).find(is_another) else { return Ok(fresh) };
    let text = format!("shard {} got another primary meanwhile, {but}", shard::name(changed));
    let help = "run the command again".into();
    Err(Error::Refused { code: Code::Aborted, reason: Reason::PRIMARY_CHANGED, text, help })
}

/// Takes denied tables off the shards' records, with other writes in the transaction that takes the first of them off; then
/// makes the tablets see it: two waves. Answers the replicas that did not.
///
/// The tablets are refreshed even when nothing was left to take off: an earlier try may have ended in between.
pub async fn lift_from(
    context: &Context,
    lock: &Lock,
    target: &KeyspaceTablets,
    changes: (Vec<Record<Shard>>, Vec<Write>),
    denied: &[(String, Vec<String>)],
) -> Result<Vec<UnawareReplica>> {
    lift(context, lock, target, changes, denied, false).await
}

/// The same; `on_same`: only while the primaries are those of these records.
pub async fn lift(
    context: &Context,
    lock: &Lock,
    target: &KeyspaceTablets,
    (mut records, also): (Vec<Record<Shard>>, Vec<Write>),
    denied: &[(String, Vec<String>)],
    on_same: bool,
) -> Result<Vec<UnawareReplica>> {
    let of = |name: &str| record::listed(denied, name);
    let named = |name: &str| !of(name).is_empty();
    let global = context.topo.global();
    records.retain(|record| named(shard::name(record)));
    while shard::deny_tables_once(global, &records, Deny::Remove, &of, also.clone(), lock).await?.is_none() {
        records = match on_same {
            true => with_primaries_kept(context, &records, NOT_STOPPED).await?,
            false => shard::again(global, &records).await?,
        };
    }
    refresh::shards(context, target, &named).await
}
