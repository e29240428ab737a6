//! Mounted clusters: register, show, list, unregister.

pub mod examine;
mod moved;
mod users;

use futures::future::join;
use vtmigrated_proto::topodata::TopoConfig;

use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, external_cluster, paths};
use crate::workflow::findings::Report;
use crate::workflow::reads::mount::probe;
use crate::workflow::record::unreadable;
use crate::workflow::{Error, Result};

pub(super) use users::{is_unknown, of as used_by};

/// Longest mount name.
const MAX_NAME: usize = 64;

/// Stores a mount after proving that its topology answers and holds a cluster.
///
/// Registering the same mount again is a success; one in use follows its cluster to another topology. Three waves of round trips;
/// tablets are dialled in the last one, for what they say only warns.
pub async fn register(context: &Context, name: &str, config: TopoConfig) -> Result<()> {
    check_name(name)?;
    check_config(&config)?;
    let topo = context.mounts.unkept(name, &config).await?;
    let global = context.topo.global();
    let (known, probed) = join(external_cluster::find(global, name), probe(&topo)).await;
    let known = known.map_err(|e| e.wrap("failed to get external vitess cluster in MountRegister"))?;
    if let Some(known) = known {
        return match same_or_taken(name, &known.value.topo_config.clone().unwrap_or_default(), &config) {
            Err(taken) => moved::follow(context, name, &known, (config, &topo), taken).await,
            same => same,
        };
    }
    match probed.refuse(&topo) {
        Ok(report) => report.log("Mount register"),
        Err(error) if context.options.allow_unreachable_mounts => {
            tracing::warn!(vitess.mount = name, "mount registered although its topology was not proved: {error}");
        }
        Err(error) => return Err(error),
    }
    let created = external_cluster::create(global, name, config.clone());
    let (created, dialled) = join(created, probed.dial(context)).await;
    Report { findings: dialled }.log("Mount register");
    context.changes.make();
    match created {
        Err(topo::Error::NodeExists(_)) => {
            let known = external_cluster::get(global, name).await?;
            same_or_taken(name, &known.value.topo_config.unwrap_or_default(), &config)
        }
        other => Ok(other?),
    }
}

/// Removes a mount that no workflow uses.
pub async fn unregister(context: &Context, name: &str) -> Result<()> {
    let global = context.topo.global();
    let found = external_cluster::find(global, name)
        .await
        .map_err(|e| e.wrap("failed to get external vitess cluster in MountUnregister"))?
        .ok_or_else(|| unknown(name))?;
    let users = users::of(context, name)
        .await
        .map_err(|e| e.doing(format!("cannot tell whether workflows use the mount {name}")))?;
    in_use(name, &users)?;
    external_cluster::delete(global, name, found.version).await?;
    // a create writes its record and then looks for its mount: one of the two notices the other
    let begun = users::mounted(&global.list(paths::WORKFLOW_RECORDS).await?, name);
    if !begun.is_empty() {
        external_cluster::create(global, name, found.value.topo_config.unwrap_or_default()).await?;
        return in_use(name, &begun);
    }
    context.mounts.close(name);
    context.changes.make();
    Ok(())
}

fn in_use(name: &str, users: &[String]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let mut help = "complete or cancel them first: Migrate --target-keyspace <keyspace> --workflow <workflow> complete|cancel; a way back: \
         vtmigrated way-back complete|cancel --target-keyspace <keyspace> --workflow <workflow>; where its topology has moved: Mount \
         register it again, as it is now"
        .to_owned();
    if users.iter().any(|user| user.ends_with(unreadable::MARK)) {
        let way_out = unreadable::way_out(("<keyspace>", "<workflow>"));
        help = format!(
            "{help}; one whose record cannot be read: {way_out}; where it has no streams, or its keyspace is gone, what \
             vtmigrated advise leftovers says"
        );
    }
    let text = format!("mount {name} is in use by: {}", users.join(", "));
    Err(Error::precondition(Reason::MOUNT_IN_USE, text, help))
}

/// What is stored about a mount.
pub async fn show(context: &Context, name: &str) -> Result<TopoConfig> {
    let found = external_cluster::find(context.topo.global(), name)
        .await
        .map_err(|e| e.wrap("failed to get external vitess cluster in MountShow"))?;
    Ok(found.ok_or_else(|| unknown(name))?.value.topo_config.unwrap_or_default())
}

/// Names of all mounts, ascending.
pub async fn list(context: &Context) -> Result<Vec<String>> {
    external_cluster::names(context.topo.global())
        .await
        .map_err(|e| e.wrap("failed to get external vitess cluster in MountList").into())
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(MAX_NAME).collect();
    Error::not_found(
        Reason::MOUNT_UNKNOWN,
        format!("there is no vitess cluster named {shown}"),
        "see Mount list for those that are",
    )
}

fn same_or_taken(name: &str, known: &TopoConfig, config: &TopoConfig) -> Result<()> {
    if known == config {
        return Ok(());
    }
    let TopoConfig { topo_type, server, root } = known;
    let text = format!("mount {name} is already registered ({topo_type} {server} {root})");
    Err(Error::exists(Reason::MOUNT_EXISTS, text, format!("unregister it first: Mount unregister --name {name}")))
}

fn check_name(name: &str) -> Result<()> {
    let bad = |why: &str| {
        let shown: String = name.chars().take(MAX_NAME).filter(|c| !c.is_control()).collect();
        Error::invalid(
            Reason::BAD_NAME,
            format!("bad mount name {shown:?}: {why}"),
            "use letters, digits, '-', '_' and '.'",
        )
    };
    if name.is_empty() {
        return Err(bad("it is empty"));
    }
    if name.len() > MAX_NAME {
        return Err(bad("it is longer than 64 bytes"));
    }
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !plain || name.starts_with('.') {
        return Err(bad("it would not be safe as a part of a topology path"));
    }
    Ok(())
}

fn check_config(config: &TopoConfig) -> Result<()> {
    let bad = |what: &str| Error::invalid(Reason::BAD_MOUNT, format!("bad mount: {what}"), "");
    if config.server.trim().is_empty() {
        return Err(bad("the topology server is empty; give --topo-server host:port"));
    }
    if config.root.is_empty() {
        return Err(bad("the topology root is empty; give --topo-root, such as /vitess/global"));
    }
    if [&config.server, &config.root, &config.topo_type]
        .iter()
        .any(|s| s.len() > 4096 || s.chars().any(char::is_control))
    {
        return Err(bad("type, server and root are single lines of at most 4096 bytes"));
    }
    Ok(())
}
