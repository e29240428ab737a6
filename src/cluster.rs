//! The cluster that this server looks after, besides its workflows: cells, keyspaces, shards, tablets, schemas, rules.
//!
//! Behaviour and texts are those of Vitess 22.0.3, with three differences everywhere: names are checked before anything
//! is read or written, several records are read in one round trip, and what is written keeps fields of newer programs.

pub mod backup;
pub mod cell;
pub mod durability;
pub mod graph;
pub mod keyspace;
pub mod path;
mod primary;
pub mod reload;
pub mod reparent;
pub mod replication;
pub mod rules;
pub mod schema;
pub mod schema_migration;
pub mod serving;
pub mod shard;
mod shard_cell;
mod shard_delete;
pub mod tablet;
pub mod throttler;
pub mod transaction;
pub mod validate;
pub mod vschema;
pub mod vtorc;

use std::time::SystemTime;

use futures::stream::{self, StreamExt};
use vtmigrated_proto::topodata::TabletAlias;
use vtmigrated_proto::vttime::Time;

pub use crate::failure::{Error, Result};

/// The answers of all calls in their order, so many calls at a time, or all failures.
async fn all<T, E>(calls: Vec<impl Future<Output = std::result::Result<T, E>>>, at_once: usize) -> Result<Vec<T>>
where
    Error: From<E>,
{
    let answers: Vec<_> = stream::iter(calls).buffered(at_once).collect().await;
    let (mut found, mut errors) = (Vec::with_capacity(answers.len()), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => found.push(answer),
            Err(error) => errors.push(Error::from(error)),
        }
    }
    Error::several(errors).map_or(Ok(found), Err)
}

/// A list as Go prints it: `[a b]`.
fn listed(names: &[String]) -> String {
    format!("[{}]", names.join(" "))
}

/// An alias as Go prints the message: `cell:"zone1" uid:100`.
fn shown(alias: &TabletAlias) -> String {
    format!("cell:\"{}\" uid:{}", alias.cell, alias.uid)
}

/// The present time.
fn now() -> Time {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    Time { seconds, nanoseconds: i32::try_from(now.subsec_nanos()).unwrap_or_default() }
}
