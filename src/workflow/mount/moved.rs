//! A mount in use whose cluster has another topology server, or other addresses of it, by now.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::topodata::{ExternalVitessCluster, TopoConfig};

use super::{in_use, users};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{Record, Topo, paths};
use crate::workflow::{Error, Result, record};

/// Lets a mount that is in use lead to where its cluster is by now. Nobody may read from it but workflows whose records tell which making
/// of the source keyspace's record create has read, and `topo`, which `config` names, has all of these.
///
/// # Errors
/// `taken` where nobody uses the mount; the same with who does where that is not proven; those of the topologies.
pub(super) async fn follow(
    context: &Context,
    name: &str,
    known: &Record<ExternalVitessCluster>,
    (config, topo): (TopoConfig, &Topo),
    taken: Error,
) -> Result<()> {
    let users = users::of(context, name)
        .await
        .map_err(|e| e.doing(format!("cannot tell whose workflows use the mount {name}, which leads elsewhere")))?;
    if users.is_empty() {
        return Err(taken);
    }
    if !has_sources(context, name, topo, &users).await? {
        let help = format!(
            "a mount in use is changed only to where the keyspaces are that its workflows read; {}",
            in_use(name, &users).err().map(|error| error.to_string()).unwrap_or_default()
        );
        return Err(Error::exists(Reason::MOUNT_EXISTS, taken.to_string(), help));
    }
    let global = context.topo.global();
    let value = ExternalVitessCluster { topo_config: Some(config) };
    global.write_one(known.over(global, "topodata.ExternalVitessCluster", &value)?, None).await?;
    tracing::info!(vitess.mount = name, "the mount leads to another topology of the same cluster from now on");
    context.mounts.close(name);
    context.changes.make();
    Ok(())
}

/// True where a topology has every source keyspace that the users of a mount read, as their creates have read it: two round trips,
/// however many they are.
async fn has_sources(context: &Context, name: &str, topo: &Topo, users: &[String]) -> Result<bool> {
    let records = record::all(context.topo.global()).await?;
    let mut read: BTreeMap<String, (&str, i64)> = BTreeMap::new();
    for (keyspace, workflow, facts) in &records {
        if let Ok(facts) = facts
            && facts.mount == name
            && let Some(created) = facts.source_created
        {
            read.insert(format!("{keyspace}.{workflow}"), (facts.source.0.as_str(), created));
        }
    }
    let wanted: Option<BTreeSet<(&str, i64)>> = users.iter().map(|user| read.get(user).copied()).collect();
    let Some(wanted) = wanted else { return Ok(false) };
    let asked = wanted.iter().map(|(source, _)| paths::keyspace(source)).collect();
    let found = topo.global().get_many(asked).await?;
    Ok(found.iter().zip(&wanted).all(|(node, (_, created))| node.as_ref().is_some_and(|node| node.created == *created)))
}
