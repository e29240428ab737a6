//! The source's cluster as the one that is worked on: a context in which the source is the target of a migration, and the
//! target is its mount.

use std::sync::Arc;

use super::super::migrate::gather;
use super::super::{Error, Result};
use super::record::{Config, Facts};
use crate::context::{Changes, Context};
use crate::topo::Topo;
use crate::topo::external_cluster::Mounts;

/// A context that reads the source's cluster; writes and locks are refused.
pub async fn to_read(context: &Context, facts: &Facts) -> Result<Context> {
    let record = gather::mount(context, &facts.mount).await?;
    check(facts, record.value.topo_config.as_ref().map(Config::from))?;
    let source = gather::open(context, &facts.mount, &record.value).await?;
    Ok(mirrored(context, facts, source))
}

/// A context that changes the source's cluster, with what `--mount-settings` has for its servers.
///
/// # Errors
/// `MOUNT_CHANGED` when the mount leads somewhere else than it did when the way back was prepared.
pub async fn to_write(context: &Context, facts: &Facts) -> Result<Context> {
    let record = gather::mount(context, &facts.mount).await?;
    check(facts, record.value.topo_config.as_ref().map(Config::from))?;
    let source = context.mounts.open_to_write(&facts.mount, &record.value).await?;
    Ok(mirrored(context, facts, Arc::new(source)))
}

fn check(facts: &Facts, now: Option<Config>) -> Result<()> {
    if now.as_ref() == Some(&facts.source) {
        return Ok(());
    }
    let Facts { mount, source: Config { topo_type, server, root }, .. } = facts;
    let text =
        format!("mount {mount} is not the one that the way back was prepared with ({topo_type} {server} {root})");
    Err(Error::precondition("MOUNT_CHANGED", text, "register it as it was, and run the command again"))
}

fn mirrored(context: &Context, facts: &Facts, source: Arc<Topo>) -> Context {
    let mounts = Mounts::new(Arc::clone(context.topo.dialer()));
    // the target's topology is open already, and may be reached under another address from here than from the source
    mounts.keep(&facts.back_mount, (&facts.target).into(), Arc::clone(&context.topo));
    Context {
        topo: source,
        mounts,
        tablets: context.tablets.clone(),
        options: context.options.clone(),
        changes: Changes::default(),
    }
}
