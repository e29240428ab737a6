//! The source's cluster as the one that is worked on: a context in which the source is the target of a migration, and the
//! target is its mount.

use std::sync::Arc;

use vtmigrated_proto::topodata::{ExternalVitessCluster, TopoConfig};

use crate::context::Context;
use crate::error::Reason;
use crate::topo::external_cluster;
use crate::topo::{Record, Topo};
use crate::workflow::reads::clusters;
use crate::workflow::record::way_back::{Config, Facts};
use crate::workflow::{Error, Result};

/// A context that reads the source's cluster; writes and locks are refused.
pub async fn to_read(context: &Context, facts: &Facts) -> Result<Context> {
    let record = mount(context, facts).await?;
    of_record(context, facts, &record.value).await
}

/// The same by a record of the mount that was read already.
pub async fn of_record(context: &Context, facts: &Facts, record: &ExternalVitessCluster) -> Result<Context> {
    check(facts, record.topo_config.as_ref().map(Config::from))?;
    let source = clusters::open(context, &facts.mount, record).await?;
    Ok(mirrored(context, facts, source))
}

/// A context that changes the source's cluster, with what `--mount-settings` has for its servers.
///
/// # Errors
/// `MOUNT_CHANGED` when the mount leads somewhere else than it did when the way back was prepared, `MOUNT_UNKNOWN` when it is gone.
pub async fn to_write(context: &Context, facts: &Facts) -> Result<Context> {
    let record = mount(context, facts).await?;
    check(facts, record.value.topo_config.as_ref().map(Config::from))?;
    let source = context.mounts.open_to_write(&facts.mount, &record.value).await?;
    Ok(mirrored(context, facts, Arc::new(source)))
}

/// Whether the source knows the target still: while nothing streams, a vtctld of the source lets anybody unregister the mount.
///
/// # Errors
/// `MOUNT_CHANGED` when the mount leads somewhere else now.
pub async fn is_known(mirror: &Context, facts: &Facts) -> Result<bool> {
    let (global, name) = (mirror.topo.global(), &facts.back_mount);
    let Some(known) = external_cluster::find(global, name).await? else { return Ok(false) };
    if known.value.topo_config == Some(TopoConfig::from(&facts.target)) {
        return Ok(true);
    }
    let text = format!("the source has another mount {name} now, which leads to another topology than this cluster's");
    let help =
        format!("unregister it in the source's cluster, and run the command again: Mount unregister --name {name}");
    Err(Error::precondition(Reason::MOUNT_CHANGED, text, help))
}

/// Looks whether the mount leads where it did when the way back was prepared; one that cannot be read proves nothing.
///
/// # Errors
/// `MOUNT_CHANGED` when it leads somewhere else now.
pub async fn see_unchanged(context: &Context, facts: &Facts) -> Result<()> {
    match mount(context, facts).await {
        Ok(record) => check(facts, record.value.topo_config.as_ref().map(Config::from)),
        Err(_) => Ok(()),
    }
}

fn check(facts: &Facts, now: Option<Config>) -> Result<()> {
    if now.as_ref() == Some(&facts.source) {
        return Ok(());
    }
    let Facts { mount, source: Config { topo_type, server, root }, .. } = facts;
    let text =
        format!("mount {mount} is not the one that the way back was prepared with ({topo_type} {server} {root})");
    Err(Error::precondition(Reason::MOUNT_CHANGED, text, format!("unregister it, and {}", as_it_was(facts))))
}

/// The record of the source's mount.
async fn mount(context: &Context, facts: &Facts) -> Result<Record<ExternalVitessCluster>> {
    let found = external_cluster::find(context.topo.global(), &facts.mount).await?;
    found.ok_or_else(|| unknown(facts))
}

/// The source's mount is gone: nobody else knows any more where it led.
pub fn unknown(facts: &Facts) -> Error {
    let text = format!("no vitess cluster found with name {}", facts.mount);
    Error::not_found(Reason::MOUNT_UNKNOWN, text, as_it_was(facts))
}

fn as_it_was(facts: &Facts) -> String {
    let Facts { mount, source: Config { topo_type, server, root }, .. } = facts;
    format!(
        "register it as it was, and run the command again: Mount register --name {mount} --topo-type {topo_type} --topo-server {server} \
         --topo-root {root}"
    )
}

fn mirrored(context: &Context, facts: &Facts, source: Arc<Topo>) -> Context {
    let mirror = Context::new(source, context.tablets.clone(), context.options.clone());
    // the target's topology is open already, and may be reached under another address from here than from the source
    mirror.mounts.keep(&facts.back_mount, (&facts.target).into(), Arc::clone(&context.topo));
    mirror
}
