//! What vtorc is told in the records of keyspaces and shards.

use vtmigrated_proto::topodata::{Keyspace, Shard};
use vtmigrated_proto::vtorcdata;

use super::Result;
use super::keyspace::{finish, lock};
use crate::context::Context;
use crate::topo::{self, Lock, keyspace, paths, shard};

/// Switches vtorc's emergency reparents of a shard off or on, under the keyspace's lock; without a shard, and for the only
/// shard of an unsharded keyspace, those of the keyspace.
pub async fn set_emergency_reparent(context: &Context, name: &str, shard: &str, disable: bool) -> Result<()> {
    paths::check_name(name)?;
    let lock = lock(context, name, "SetVtorcEmergencyReparent").await?;
    let written = async {
        if ["", "0", "-"].contains(&shard) {
            return of_keyspace(context, name, disable, &lock).await;
        }
        of_shard(context, name, shard, disable, &lock).await
    };
    let written = written.await;
    finish(written, lock).await
}

async fn of_keyspace(context: &Context, name: &str, disable: bool, lock: &Lock) -> Result<()> {
    let global = context.topo.global();
    let old = keyspace::get(global, name).await?;
    let vtorc_state = match old.value.vtorc_state {
        None if !disable => return Ok(()),
        _ => Some(vtorcdata::Keyspace { disable_emergency_reparent: disable }),
    };
    Ok(keyspace::update(global, &old, &Keyspace { vtorc_state, ..old.value.clone() }, lock).await?)
}

async fn of_shard(context: &Context, keyspace: &str, name: &str, disable: bool, lock: &Lock) -> Result<()> {
    let global = context.topo.global();
    loop {
        let old = shard::get(global, keyspace, name).await?;
        let vtorc_state = match old.value.vtorc_state {
            None if !disable => return Ok(()),
            _ => Some(vtorcdata::Shard { disable_emergency_reparent: disable }),
        };
        // tablets write their shard's record without the keyspace's lock
        match shard::update(global, &old, &Shard { vtorc_state, ..old.value.clone() }, lock).await {
            Err(topo::Error::BadVersion(_)) => {}
            other => return Ok(other?),
        }
    }
}
