//! InitShardPrimary: makes a tablet primary whatever the others hold. Deprecated by Vitess in favour of PlannedReparentShard.

use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::logutil::Event;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};

use super::journal::{Events, Journal, nanoseconds, once_it_runs, within};
use super::{State, WAIT_REPLICAS, held, refresh};
use crate::cluster::keyspace::finish;
use crate::cluster::{Error, Result, shard};
use crate::context::Context;
use crate::error::Reason;
use crate::sql::quote;
use crate::topo::{Lock, paths, shard as shards};

/// Who shall be primary.
#[derive(Clone, Debug)]
pub struct Init {
    pub keyspace: String,
    pub shard: String,
    pub primary: TabletAlias,
    /// Go on when another tablet is primary: its transactions are lost.
    pub force: bool,
    pub wait_replicas: Option<Duration>,
}

/// Makes a tablet primary and all others of the shard its replicas, after all of them have forgotten their replication and
/// their transactions. Under the shard's lock.
///
/// # Errors
/// Refused without `force` unless the records name this tablet, and no other, as primary.
pub async fn init_shard_primary(context: &Context, init: &Init) -> Result<Vec<Event>> {
    for (value, what) in [(&init.keyspace, "keyspace"), (&init.shard, "shard")] {
        if value.is_empty() {
            return Err(Error::bad_argument(format!("{what} field is required")));
        }
    }
    paths::check_name(&init.keyspace)?;
    shards::parse_name(&init.shard)?;
    let action = format!("InitShardPrimary({})", paths::alias_text(&init.primary));
    let lock = shard::lock(context, &init.keyspace, &init.shard, &action).await?;
    let done = init_locked(context, init, &lock).await;
    finish(done, lock).await
}

async fn init_locked(context: &Context, init: &Init, lock: &Lock) -> Result<Vec<Event>> {
    let state = State::read(context, &init.keyspace, &init.shard).await?;
    let name = paths::alias_text(&init.primary);
    let Some(primary) = state.tablets.iter().find(|tablet| tablet.alias.as_ref() == Some(&init.primary)) else {
        let text = format!("primary-elect tablet {name} is not in the shard");
        return Err(Error::precondition(Reason::NOT_IN_SHARD, text, ""));
    };
    let mut events = Events::default();
    check(init, &state, &mut events)?;
    let wait = init.wait_replicas.unwrap_or(WAIT_REPLICAS);
    for tablet in &state.tablets {
        events.info(format!("resetting replication on tablet {}", crate::tablet::alias(tablet)));
    }
    within(wait, reset(context, &state.tablets)).await?;
    held(lock).await?;
    events.info(format!("initializing primary on {name}"));
    let semi_sync = state.durability.primary_semi_sync();
    let position = context.tablets.init_primary(primary, manager::InitPrimaryRequest { semi_sync }).await?.position;
    held(lock).await?;
    events.info(format!("populating reparent journal on new primary {name}"));
    let created = nanoseconds();
    let calls = followers(context, &state, primary, &position, created);
    let journal = Journal { action: "InitShardPrimary", primary, position, wait };
    let failed = within(wait, journal.run(context, created, calls)).await;
    let failed = failed.map_err(|error| error.doing("failed to PopulateReparentJournal on primary"))?;
    let named = |shard: &mut vtmigrated_proto::topodata::Shard| {
        shard.primary_alias = Some(init.primary.clone());
        Ok(())
    };
    let updated = shard::update(context, &init.keyspace, &init.shard, lock, named).await;
    updated.map_err(|error| error.doing("failed to update shard primary record"))?;
    if let Some(error) = Error::several(failed) {
        return Err(error);
    }
    create_database(context, primary).await?;
    refresh(context, primary).await;
    Ok(events.0)
}

/// What stands against this primary; with `force` it is only told.
fn check(init: &Init, state: &State, events: &mut Events) -> Result<()> {
    let name = paths::alias_text(&init.primary);
    let is_primary = |tablet: &&Tablet| tablet.r#type() == TabletType::Primary;
    let primaries: Vec<_> =
        state.tablets.iter().filter(is_primary).filter_map(|tablet| tablet.alias.as_ref()).collect();
    for (wrong, what) in [
        (state.record.primary_alias.as_ref() != Some(&init.primary), "the shard primary"),
        (!primaries.contains(&&init.primary), "a primary in the shard"),
        (primaries.iter().any(|alias| **alias != init.primary), "the only primary in the shard"),
    ] {
        let text = format!("primary-elect tablet {name} is not {what}");
        match (wrong, init.force) {
            (false, _) => {}
            (true, true) => events.warn(format!("{text}, proceeding anyway as -force was used")),
            (true, false) => {
                let help = "a shard that never had a primary gets one with PlannedReparentShard";
                return Err(Error::precondition(
                    Reason::NOT_PRIMARY,
                    format!("{text}, use -force to proceed anyway"),
                    help,
                ));
            }
        }
    }
    Ok(())
}

async fn reset(context: &Context, tablets: &[Tablet]) -> Result<()> {
    let calls = tablets.iter().map(|tablet| async move {
        let alias = crate::tablet::alias(tablet);
        let doing = || format!("tablet {alias} ResetReplication failed (either fix it, or Scrap it)");
        let reset = || context.tablets.reset_replication(tablet, manager::ResetReplicationRequest {});
        let done = once_it_runs(reset).await;
        done.err().map(|error| Error::from(error).doing(doing()))
    });
    Error::several(join_all(calls).await.into_iter().flatten().collect()).map_or(Ok(()), Err)
}

fn followers<'a>(
    context: &'a Context,
    state: &'a State,
    primary: &Tablet,
    position: &str,
    created: i64,
) -> Vec<impl Future<Output = Result<()>> + use<'a>> {
    let others = state.tablets.iter().filter(|tablet| tablet.alias != primary.alias);
    let calls = others.map(|tablet| {
        let request = manager::InitReplicaRequest {
            parent: primary.alias.clone(),
            replication_position: position.to_owned(),
            time_created_ns: created,
            semi_sync: state.durability.replica_semi_sync(primary, tablet),
        };
        async move {
            let done = context.tablets.init_replica(tablet, request).await;
            let doing = || format!("tablet {} InitReplica failed", crate::tablet::alias(tablet));
            done.map(|_| ()).map_err(|error| Error::from(error).doing(doing()))
        }
    });
    calls.collect()
}

/// Makes the keyspace's database; replicas get it through replication.
async fn create_database(context: &Context, primary: &Tablet) -> Result<()> {
    let name = quote::identifier(&crate::tablet::db_name(primary));
    let request = manager::ExecuteFetchAsDbaRequest {
        query: format!("CREATE DATABASE IF NOT EXISTS {name}").into_bytes(),
        db_name: crate::tablet::db_name(primary),
        max_rows: 1,
        reload_schema: true,
        ..manager::ExecuteFetchAsDbaRequest::default()
    };
    let made = context.tablets.execute_fetch_as_dba(primary, request).await;
    made.map(|_| ()).map_err(|error| Error::from(error).doing("failed to create database"))
}
