//! Asks tablets what their streams have still to copy, and when they began.
//!
//! Their MySQL is asked: the engine of vreplication answers no more than 10,000 rows of all workflows together, and holds
//! its lock meanwhile (`VReplicationExec`, Vitess 22.0.4).

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::workflow::Result;
use crate::workflow::rows::{self, CopyStates};
use crate::workflow::streams::Keyspace;
use crate::{deadline, tablet};

/// Most tables left that are read of a tablet, each counted once for each stream.
const MAX_STATES: u64 = 1_000_000;
/// Most streams whose beginning is read of a tablet.
const MAX_STARTS: u64 = 100_000;
/// Bound of a tablet that does not tell when its streams began.
const STARTS_TIMEOUT: Duration = Duration::from_secs(3);

/// Tables that the streams of a workflow have left on a tablet; those of all workflows of its database when `workflow` is
/// empty.
///
/// # Errors
/// The tablet does not answer, or has more than a million.
pub async fn of(context: &Context, on: &Tablet, workflow: &str) -> tablet::Result<CopyStates> {
    let query = rows::copying(&tablet::db_name(on), workflow);
    Ok(rows::copy_states(&context.tablets.read(on, query, MAX_STATES).await?))
}

/// The same of all primaries of a keyspace, in the order of its shards: one wave.
///
/// # Errors
/// The first primary that does not answer, or is not there.
pub async fn of_all(context: &Context, target: &Keyspace, workflow: &str) -> Result<Vec<CopyStates>> {
    let primaries = target.primaries()?;
    all(join_all(primaries.iter().map(|(_, tablet)| of(context, tablet, workflow))).await)
}

fn all(answers: Vec<tablet::Result<CopyStates>>) -> Result<Vec<CopyStates>> {
    Ok(answers.into_iter().collect::<tablet::Result<Vec<_>>>()?)
}

/// Tables that streams had left on a tablet which are gone, whosever they were: tablets whose source is resharded delete streams
/// and leave their copy states (Vitess 22.0.4 and 24.0.4, `transitionJournal`).
///
/// # Errors
/// The tablet does not answer, or has more than a million.
pub async fn orphaned(context: &Context, on: &Tablet) -> tablet::Result<CopyStates> {
    Ok(rows::copy_states(&context.tablets.read(on, rows::ORPHANED.into(), MAX_STATES).await?))
}

/// The same of all primaries of a keyspace, in the order of its shards: one wave.
///
/// # Errors
/// The first primary that does not answer, or is not there.
pub async fn orphaned_of_all(context: &Context, target: &Keyspace) -> Result<Vec<CopyStates>> {
    let primaries = target.primaries()?;
    all(join_all(primaries.iter().map(|(_, tablet)| orphaned(context, tablet))).await)
}

/// When the streams of a workflow began to copy, epoch seconds by their ids; those of all workflows of the tablet's database
/// when `workflow` is empty. A tablet that does not tell has none: only the rate of the copy is made of it.
pub async fn starts(context: &Context, on: &Tablet, workflow: &str) -> BTreeMap<i64, f64> {
    let asked = context.tablets.read(on, rows::copy_starts(&tablet::db_name(on), workflow), MAX_STARTS);
    let until = deadline::now() + deadline::remaining(STARTS_TIMEOUT);
    match deadline::scope(Some(until), asked).await {
        Ok(answer) => rows::numbers(&answer),
        Err(error) => {
            tracing::warn!("it is not known when streams began to copy: {error}");
            BTreeMap::new()
        }
    }
}
