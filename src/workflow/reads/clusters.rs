//! Reading the source of a migration: the mounted cluster's topology.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{try_join, try_join4};
use vtmigrated_proto::topodata::{ExternalVitessCluster, Tablet};
use vtmigrated_proto::vschema::{Keyspace as VSchema, SrvVSchema};

use crate::context::Context;
use crate::error::Reason;
use crate::topo::cell::Aliases;
use crate::topo::{self, Record, Topo, external_cluster};
use crate::workflow::plan::ShardRange;
use crate::workflow::streams::{Keyspace, KeyspaceTablets};
use crate::workflow::{Error, Result};

/// A source keyspace as read at one moment: only its serving shards, sorted by key range.
pub struct Source {
    pub keyspace: Keyspace,
    /// Which making of the keyspace's record it is, as in [`topo::Node::created`].
    pub created: i64,
    pub vschema: VSchema,
    /// The serving vschema of each cell that has one.
    pub serving: Vec<SrvVSchema>,
    /// Every tablet of each shard.
    pub tablets: BTreeMap<String, Vec<Tablet>>,
    pub aliases: Aliases,
}

/// Reads a mount's record.
///
/// # Errors
/// Stock's `no vitess cluster found with name <name>`.
pub async fn mount(context: &Context, name: &str) -> Result<Record<ExternalVitessCluster>> {
    external_cluster::find(context.topo.global(), name).await?.ok_or_else(|| unknown(name))
}

/// There is no mount of this name.
pub fn unknown(name: &str) -> Error {
    Error::not_found(
        Reason::MOUNT_UNKNOWN,
        format!("no vitess cluster found with name {name}"),
        "see Mount list, or register it with Mount register",
    )
}

/// Opens a mounted cluster.
pub async fn open(context: &Context, name: &str, record: &ExternalVitessCluster) -> Result<Arc<Topo>> {
    Ok(context.mounts.open(name, record).await?)
}

/// Reads the source keyspace: three waves of round trips.
pub async fn source(topo: &Topo, keyspace: &str) -> Result<Source> {
    let shards = async {
        let shards = topo::shard::all(topo.global(), keyspace).await;
        shards.map_err(|e| e.wrap(format!("failed to get list of shards for keyspace '{keyspace}'")))
    };
    let vschema = topo::vschema::find(topo.global(), keyspace);
    let cells_and_serving = async {
        let (cells, aliases) = try_join(topo.cells(), Aliases::read(topo.global())).await?;
        let serving = topo::srv_vschema::decoded(&cells).await?;
        Ok::<_, topo::Error>((cells, aliases, serving))
    };
    let known = topo::keyspace::get(topo.global(), keyspace);
    let (shards, vschema, (cells, aliases, serving), Record { created, .. }) =
        match try_join4(shards, vschema, cells_and_serving, known).await {
            Ok(read) => read,
            // the missing keyspace is best named by its missing shards, as stock does
            Err(error) if error.is_no_node() => {
                let error = match topo::shard::all(topo.global(), keyspace).await {
                    Err(missing) => missing.wrap(format!("failed to get list of shards for keyspace '{keyspace}'")),
                    Ok(_) => error,
                };
                return Err(missing(error, "see GetKeyspaces of the mounted cluster, and Mount show for its root"));
            }
            Err(error) => return Err(error.into()),
        };
    let serving_shards = topo::shard::serving(shards);
    if serving_shards.is_empty() {
        let text = format!("{keyspace} has no serving shards");
        return Err(Error::precondition(Reason::NO_SERVING_SHARDS, text, "its shards need a primary that serves"));
    }
    let loaded = KeyspaceTablets::from_records(keyspace, serving_shards, cells).await?.in_use();
    Ok(Source {
        keyspace: loaded.keyspace,
        created,
        tablets: loaded.tablets,
        aliases,
        vschema: vschema.map(|record| record.value).unwrap_or_default(),
        serving: serving.into_iter().filter_map(|(_, found)| found).collect(),
    })
}

/// A record that is not there, with what to do about it; other errors stay as they are.
pub fn missing(error: topo::Error, help: impl Into<String>) -> Error {
    if error.is_no_node() { Error::not_found(Reason::TOPO_NODE_MISSING, error.to_string(), help) } else { error.into() }
}

/// Names and ranges of a keyspace's shards, in their order.
pub fn ranges(keyspace: &Keyspace) -> Vec<ShardRange> {
    let range =
        |s: &crate::workflow::streams::TargetShard| ShardRange { name: s.name.clone(), range: s.range().cloned() };
    keyspace.shards.iter().map(range).collect()
}
