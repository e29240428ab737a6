//! Keyspaces: create, change, delete.

use bytes::Bytes;
use futures::future::try_join_all;
use vtmigrated_proto::topodata::{Keyspace, KeyspaceType};
use vtmigrated_proto::vschema;

use super::durability::Durability;
use super::{Error, Result, shard_delete};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::topo::{self, Expect, Lock, Write, keyspace, paths, srv_vschema};

/// A keyspace to be made.
#[derive(Clone, Debug, Default)]
pub struct New {
    pub name: String,
    pub record: Keyspace,
    /// The record as it was sent, as far as parts of it are stored as they are.
    pub sent: Option<Bytes>,
    /// Go on when there is one of that name.
    pub force: bool,
    /// Make no VSchema record.
    pub without_vschema: bool,
}

/// Makes a keyspace with an empty VSchema and rebuilds the SrvVSchemas. Answers the record as it is stored.
///
/// Without any cell there is nothing to rebuild (stock fails then, after the keyspace was made).
pub async fn create(context: &Context, new: New) -> Result<Keyspace> {
    check(&new)?;
    let global = context.topo.global();
    let record = match keyspace::create(global, &new.name, &new.record, new.sent.as_ref()).await {
        Ok(()) => new.record,
        Err(topo::Error::NodeExists(_)) if new.force => keyspace::get(global, &new.name).await?.value,
        Err(error) => return Err(error.into()),
    };
    if !new.without_vschema {
        let empty = vschema::Keyspace::default();
        match topo::vschema::put(global, &new.name, &empty, Expect::Absent, None).await {
            Ok(_) | Err(topo::Error::NodeExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if record.keyspace_type() == KeyspaceType::Snapshot {
        copy_vschema(context, &record.base_keyspace, &new.name).await?;
    }
    let rebuilt = async { srv_vschema::rebuild(global, &context.topo.cells().await?).await };
    rebuilt.await.map_err(|error| error.wrap("RebuildSrvVSchema([])"))?;
    Ok(record)
}

/// One keyspace's record.
pub async fn get(context: &Context, name: &str) -> Result<Keyspace> {
    Ok(keyspace::get(context.topo.global(), name).await?.value)
}

/// Sets the durability policy, under the keyspace's lock.
pub async fn set_durability_policy(context: &Context, name: &str, policy: &str) -> Result<Keyspace> {
    paths::check_name(name).map_err(|error| error.wrap("GetKeyspace"))?;
    check_policy(policy)?;
    let lock = lock(context, name, "SetKeyspaceDurabilityPolicy").await?;
    let changed = async {
        let old = keyspace::get(context.topo.global(), name).await?;
        let record = Keyspace { durability_policy: policy.to_owned(), ..old.value.clone() };
        keyspace::update(context.topo.global(), &old, &record, &lock).await?;
        Ok::<_, Error>(record)
    };
    finish(changed.await, lock).await
}

/// Deletes a keyspace with its VSchema, its serving graph and the records of its workflows; with `recursive` its shards and their tablets too. With
/// `force` it goes on without the lock when that cannot be had, and where there are ways back, whose records stay.
pub async fn delete(context: &Context, name: &str, recursive: bool, force: bool) -> Result<()> {
    paths::check_name(name)?;
    let lock = match lock(context, name, "DeleteKeyspace").await {
        Ok(lock) => Some(lock),
        Err(error) if force => {
            tracing::warn!(vitess.keyspace = name, "deleting a keyspace that could not be locked: {error}");
            None
        }
        Err(error) => {
            let doing =
                format!("failed to lock {name}; if you really want to delete this keyspace, re-run with Force=true");
            return Err(error.doing(doing));
        }
    };
    let deleted = delete_locked(context, name, recursive, force, lock.as_ref()).await;
    match lock {
        Some(lock) => finish(deleted, lock).await,
        None => deleted,
    }
}

/// Takes a keyspace's lock.
pub(super) async fn lock(context: &Context, keyspace: &str, action: &str) -> Result<Lock> {
    let request = context.lock_request(action).of(paths::keyspace_dir(keyspace));
    Ok(context.topo.global().lock(request).await?)
}

/// Gives a lock back. A failure to do so is only logged: the lease ends by itself.
pub(super) async fn finish<T>(done: Result<T>, lock: Lock) -> Result<T> {
    if let Err(error) = lock.release().await {
        tracing::warn!("cannot release a lock: {error}");
    }
    done
}

async fn delete_locked(
    context: &Context,
    name: &str,
    recursive: bool,
    force: bool,
    guard: Option<&Lock>,
) -> Result<()> {
    let global = context.topo.global();
    let shards = global.list_dir(&paths::shards_dir(name)).await?;
    if !shards.is_empty() && !recursive {
        let text =
            format!("keyspace {name} still has {} shards; use Recursive=true or remove them manually", shards.len());
        return Err(Error::precondition(Reason::KEYSPACE_HAS_SHARDS, text, format!("shards: {}", shards.join(", "))));
    }
    if topo::Record::<Keyspace>::find(global, &paths::keyspace(name)).await?.is_none() && shards.is_empty() {
        return Err(topo::Error::NoNode(global.full(&paths::keyspace(name))).into());
    }
    if !force {
        refuse_ways_back(context, name).await?;
    }
    let options = shard_delete::Options { recursive: true, even_if_serving: true, force };
    for shard in &shards {
        let deleted = shard_delete::delete(context, name, shard, options).await;
        deleted.map_err(|error| error.doing(format!("cannot delete shard {name}/{shard}")))?;
    }
    let cells = context.topo.cells().await?;
    let serving = cells.iter().map(|(cell, conn)| async move {
        let write = Write::delete(paths::srv_keyspace(name), Expect::Any);
        if let Err(error) = conn.write_one(write, None).await {
            tracing::warn!(vitess.cell = cell, vitess.keyspace = name, "cannot delete the serving graph: {error}");
        }
        Ok::<_, Error>(())
    });
    try_join_all(serving).await?;
    // the records of its workflows go with it: they must not apply to a keyspace of the same name that is made later. Not those of ways
    // back: nothing else tells what these have in other clusters, and who cancels them takes it away
    let of_workflows = global.list(&paths::workflow_records(name)).await?.into_iter().map(|node| node.path);
    let of_workflows = of_workflows.filter(|path| paths::of_way_back(path).is_none());
    let records = [paths::keyspace(name), paths::vschema(name)].into_iter().chain(of_workflows);
    let writes = records.map(|path| Write::delete(path, Expect::Any)).collect();
    global.write(writes, guard).await?;
    Ok(())
}

/// Refuses while there are ways back: only their records tell what they have denied and made in other clusters.
async fn refuse_ways_back(context: &Context, name: &str) -> Result<()> {
    let records = context.topo.global().list(&paths::workflow_records(name)).await?;
    let workflows: Vec<&str> = records.iter().filter_map(|node| Some(paths::of_way_back(&node.path)?.1)).collect();
    let Some(first) = workflows.first() else { return Ok(()) };
    let text = format!("keyspace {name} has ways back into other clusters, of workflows: {}", workflows.join(", "));
    let help = format!(
        "cancel them first: vtmigrated way-back cancel --target-keyspace {name} --workflow {first}; with Force=true, \
         the denied tables and everything else that they created there stay until you run that command; run it \
         before you create a keyspace of this name again"
    );
    Err(Error::precondition(Reason::WAY_BACK_EXISTS, text, help))
}

fn check(new: &New) -> Result<()> {
    paths::check_name(&new.name).map_err(|error| error.wrap("CreateKeyspace"))?;
    let record = &new.record;
    match KeyspaceType::try_from(record.keyspace_type) {
        Ok(KeyspaceType::Normal) => {}
        Ok(KeyspaceType::Snapshot) if record.base_keyspace.is_empty() => {
            return Err(Error::bad_argument("BaseKeyspace is required for SNAPSHOT keyspaces"));
        }
        Ok(KeyspaceType::Snapshot) if record.snapshot_time.is_none() => {
            return Err(Error::bad_argument("SnapshotTime is required for SNAPSHOT keyspaces"));
        }
        Ok(KeyspaceType::Snapshot) => {}
        Err(_) => return Err(Error::bad_argument(format!("unknown keyspace type {}", record.keyspace_type))),
    }
    if !record.base_keyspace.is_empty() {
        paths::check_name(&record.base_keyspace).map_err(|error| error.wrap("BaseKeyspace"))?;
    }
    if !record.durability_policy.is_empty() {
        check_policy(&record.durability_policy)?;
    }
    if !record.sidecar_db_name.is_empty() {
        paths::check_name(&record.sidecar_db_name).map_err(|error| error.wrap("SidecarDbName"))?;
    }
    Ok(())
}

fn check_policy(policy: &str) -> Result<()> {
    if Durability::parse(policy).is_some() {
        return Ok(());
    }
    let shown: String = policy.chars().take(64).collect();
    let text = format!("durability policy <{shown}> is not a valid policy. Please register it as a policy first");
    let help = format!("policies: {}", Durability::NAMES.join(", "));
    Err(Error::refused(Code::InvalidArgument, Reason::DURABILITY_POLICY, text, help))
}

/// Gives a snapshot keyspace its base's VSchema, to be routed to only when named. Without a base an empty one.
async fn copy_vschema(context: &Context, base: &str, name: &str) -> Result<()> {
    let global = context.topo.global();
    let mut raw = match topo::vschema::find(global, base).await? {
        Some(record) => record.raw.to_vec(),
        None => Vec::new(),
    };
    // field 4, require_explicit_routing: of two values of one field the last counts
    raw.extend_from_slice(&[0x20, 1]);
    global.write_one(Write::put(paths::vschema(name), raw, Expect::Any), None).await?;
    Ok(())
}
