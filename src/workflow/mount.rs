//! Mounted clusters: register, show, list, unregister.

use std::time::Duration;

use futures::future::{join, join_all};
use vtmigrated_proto::topodata::TopoConfig;

use super::{Error, Result, streams};
use crate::context::Context;
use crate::error::Code;
use crate::topo::{self, Topo, external_cluster, paths};

/// Bound of everything that register asks of the other cluster.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest mount name.
const MAX_NAME: usize = 64;

/// Stores a mount after proving that its topology answers and holds a cluster.
///
/// Registering the same mount again is a success. Two round trips.
pub async fn register(context: &Context, name: &str, config: TopoConfig) -> Result<()> {
    check_name(name)?;
    check_config(&config)?;
    let topo = context.mounts.unkept(name, &config).await?;
    let global = context.topo.global();
    let (known, probe) = join(external_cluster::find(global, name), probe(&topo)).await;
    let known = known.map_err(|e| e.wrap("failed to get external vitess cluster in MountRegister"))?;
    if let Some(known) = known {
        return same_or_taken(name, &known.value.topo_config.unwrap_or_default(), &config);
    }
    if let Err(error) = probe {
        if !context.options.allow_unreachable_mounts {
            return Err(error);
        }
        tracing::warn!(vitess.mount = name, "mount registered although its topology was not proved: {error}");
    }
    match external_cluster::create(global, name, config.clone()).await {
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
    let users = streams::users_of_mount(context, name)
        .await
        .map_err(|e| e.doing(format!("cannot tell whether workflows use the mount {name}")))?;
    if !users.is_empty() {
        let help =
            "complete or cancel them first: Migrate --target-keyspace <keyspace> --workflow <workflow> complete|cancel";
        let text = format!("mount {name} is in use by: {}", users.join(", "));
        return Err(Error::precondition("MOUNT_IN_USE", text, help));
    }
    external_cluster::delete(global, name, found.version).await?;
    context.mounts.close(name);
    Ok(())
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
        "MOUNT_UNKNOWN",
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
    Err(Error::exists("MOUNT_EXISTS", text, format!("unregister it first: Mount unregister --name {name}")))
}

fn check_name(name: &str) -> Result<()> {
    let bad = |why: &str| {
        let shown: String = name.chars().take(MAX_NAME).filter(|c| !c.is_control()).collect();
        Error::invalid("BAD_NAME", format!("bad mount name {shown:?}: {why}"), "use letters, digits, '-', '_' and '.'")
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
    let bad = |what: &str| Error::invalid("BAD_MOUNT", format!("bad mount: {what}"), "");
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

/// Proves that a topology answers and that its root holds a cluster; cells that do not answer are a warning.
async fn probe(topo: &Topo) -> Result<()> {
    let global = topo.global();
    let (kind, server, root) = global.endpoint();
    let asked = join(global.list_dir(paths::KEYSPACES), topo.cells());
    let Ok((keyspaces, cells)) = tokio::time::timeout(PROBE_TIMEOUT, asked).await else {
        let detail = format!("no answer within {} s", PROBE_TIMEOUT.as_secs());
        return Err(topo::Error::Unreachable { kind: kind.into(), server: server.into(), detail }.into());
    };
    let (keyspaces, cells) = (keyspaces?, cells?);
    if keyspaces.is_empty() && cells.is_empty() {
        return Err(empty_root(topo, root).await);
    }
    let probes = cells.iter().map(|(name, conn)| async move {
        match tokio::time::timeout(PROBE_TIMEOUT, conn.probe()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(vitess.cell = name, "a cell of the mounted cluster does not answer: {error}")
            }
            Err(_) => tracing::warn!(vitess.cell = name, "a cell of the mounted cluster does not answer in time"),
        }
    });
    join_all(probes).await;
    Ok(())
}

/// The answer to a root that holds nothing: what other roots there are.
async fn empty_root(topo: &Topo, root: &str) -> Error {
    let missing = topo::Error::NoNode(topo.global().full(paths::KEYSPACES));
    let mut help = format!("the root {root} holds neither keyspaces nor cells; check --topo-root");
    let parent = root
        .trim_end_matches('/')
        .rsplit_once('/')
        .map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
    if let Ok(conn) = topo.other_root(parent).await {
        let names = tokio::time::timeout(PROBE_TIMEOUT, conn.list_dir("")).await;
        let names = names.ok().and_then(std::result::Result::ok).unwrap_or_default();
        if !names.is_empty() {
            let found: Vec<String> = names.iter().take(10).map(|name| paths::join(parent, name)).collect();
            help = format!("{help}; found at this server: {}", found.join(", "));
        }
    }
    Error::Refused { code: Code::NotFound, reason: "MOUNT_ROOT_MISSING", text: missing.to_string(), help }
}
