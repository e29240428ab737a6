//! What vtgates and tablets are served from each cell: SrvKeyspace and SrvVSchema.

use bytes::Bytes;
use futures::future::{join_all, try_join_all, try_join3};
use prost::Message;
use vtmigrated_proto::topodata::srv_keyspace::KeyspacePartition;
use vtmigrated_proto::topodata::{
    Keyspace, KeyspaceType, Shard, ShardReference, ShardTabletControl, SrvKeyspace, TabletType,
};
use vtmigrated_proto::vschema::SrvVSchema;

use super::keyspace::{finish, lock};
use super::{Error, Result, cell};
use crate::context::Context;
use crate::error::Reason;
use crate::key_range;
use crate::topo::{self, Cells, Expect, Lock, Record, Write, keyspace, paths, shard, srv_keyspace, srv_vschema, wire};

/// Field number of `partitions` in a SrvKeyspace.
const PARTITIONS: u32 = 1;

/// A switch of the query service.
#[derive(Clone, Copy, Debug)]
pub struct QueryService {
    pub tablet_type: TabletType,
    pub disable: bool,
}

/// Rebuilds a keyspace's serving graph from its shards, in the named cells or in all, under the keyspace's lock.
///
/// What a deleted keyspace has left in the named cells is removed, and then its absence is the answer, as in stock.
pub async fn rebuild_keyspace(context: &Context, name: &str, cells: &[String], allow_partial: bool) -> Result<()> {
    let global = context.topo.global();
    match keyspace::get(global, name).await {
        Err(error) if error.is_no_node() => {
            if !cells.is_empty() {
                remove_leftovers(&cell::select(context, cells).await?, name).await?;
            }
            return Err(topo::Error::NoNode(format!("{}/", global.full(&paths::keyspace_dir(name)))).into());
        }
        other => other?,
    };
    cell::check_names(cells)?;
    let lock = lock(context, name, "RebuildKeyspace").await?;
    let rebuilt = rebuild_locked(context, name, cells, allow_partial, &lock).await;
    finish(rebuilt, lock).await
}

/// Rebuilds the SrvVSchema of the named cells or of all.
pub async fn rebuild_vschema(context: &Context, cells: &[String]) -> Result<()> {
    let cells = cell::select(context, cells).await?;
    Ok(srv_vschema::rebuild(context.topo.global(), &cells).await?)
}

/// The serving graph of a keyspace in each of the named cells or of all; an empty one where there is none.
pub async fn keyspaces(context: &Context, name: &str, cells: &[String]) -> Result<Vec<(String, SrvKeyspace)>> {
    paths::check_name(name)?;
    let cells = cell::select(context, cells).await?;
    let found = srv_keyspace::all(&cells, name).await?;
    Ok(found.into_iter().map(|(cell, graph)| (cell, graph.map(|record| record.value).unwrap_or_default())).collect())
}

/// Names of the keyspaces that each of the named cells or all of them serve.
pub async fn keyspace_names(context: &Context, cells: &[String]) -> Result<Vec<(String, Vec<String>)>> {
    let cells = cell::select(context, cells).await?;
    let reads = cells
        .iter()
        .map(|(cell, conn)| async move { Ok::<_, Error>((cell.to_owned(), srv_keyspace::names(conn).await?)) });
    try_join_all(reads).await
}

/// The SrvVSchema of one cell.
pub async fn vschema(context: &Context, cell: &str) -> Result<SrvVSchema> {
    cell::check_name(cell)?;
    Ok(srv_vschema::get(&context.topo.cell(cell).await?).await?.value)
}

/// The SrvVSchema of each cell, or of those of the named ones that exist; an empty one where there is none.
pub async fn vschemas(context: &Context, cells: &[String]) -> Result<Vec<(String, SrvVSchema)>> {
    let all = context.topo.cells().await?;
    let wanted: Vec<String> =
        all.names().filter(|name| cells.is_empty() || cells.iter().any(|c| c == name)).map(str::to_owned).collect();
    let found = srv_vschema::all(&all.only(&wanted)?).await?;
    Ok(found.into_iter().map(|(cell, vschema)| (cell, vschema.unwrap_or_default())).collect())
}

/// Removes the SrvVSchema of one cell.
pub async fn delete_vschema(context: &Context, cell: &str) -> Result<()> {
    if cell.is_empty() {
        return Err(Error::bad_argument("cell must be non-empty"));
    }
    cell::check_name(cell)?;
    Ok(context.topo.cell(cell).await?.remove(paths::SRV_VSCHEMA).await?)
}

/// Switches the query service of a shard's tablets of one type in the named cells or in all.
///
/// # Errors
/// Refused while the shard has denied tables, or when a frozen control would be lifted.
pub async fn set_query_service(
    context: &Context,
    keyspace: &str,
    (name, shard): (&str, &Shard),
    cells: &[String],
    change: QueryService,
    lock: &Lock,
) -> Result<()> {
    if shard.tablet_controls.iter().any(|control| !control.denied_tables.is_empty()) {
        let text =
            format!("cannot safely alter DisableQueryService as DeniedTables is set for shard {keyspace}/{name}");
        return Err(Error::precondition(Reason::DENIED_TABLES, text, "remove the denied tables first"));
    }
    let mut controls = shard.tablet_controls.iter();
    if !change.disable && controls.any(|control| control.tablet_type() == change.tablet_type && control.frozen) {
        let text =
            format!("migrate has gone past the point of no return, cannot re-enable serving for {keyspace}/{name}");
        return Err(Error::precondition(Reason::FROZEN, text, ""));
    }
    let cells = cell::select(context, cells).await?;
    lock.check().await?;
    let writes = cells.iter().map(|(_, conn)| async move {
        loop {
            let Some(graph) = srv_keyspace::find(conn, keyspace).await? else { return Ok(()) };
            let raw = with_query_service(&graph.raw, name, shard, change)
                .map_err(|detail| topo::Error::BadData { path: conn.full(&graph.path), detail })?;
            let write = Write::put(graph.path.clone(), raw, Expect::Version(graph.version));
            match conn.write_one(write, None).await {
                Err(topo::Error::BadVersion(_)) => {}
                other => return other.map(|_| ()),
            }
        }
    });
    join_all(writes).await.into_iter().collect::<topo::Result<Vec<()>>>()?;
    Ok(())
}

fn with_query_service(
    graph: &Bytes,
    name: &str,
    shard: &Shard,
    change: QueryService,
) -> std::result::Result<Vec<u8>, String> {
    wire::each(graph, PARTITIONS, |payload| {
        let mut partition = KeyspacePartition::decode(payload.clone()).map_err(|error| error.to_string())?;
        if partition.served_type() != change.tablet_type {
            return Ok(None);
        }
        let ours =
            |control: &&mut ShardTabletControl| key_range::equal(control.key_range.as_ref(), shard.key_range.as_ref());
        let mut found = false;
        for control in partition.shard_tablet_controls.iter_mut().filter(ours) {
            control.query_service_disabled = change.disable;
            found = true;
        }
        if !found {
            partition.shard_tablet_controls.push(ShardTabletControl {
                name: name.to_owned(),
                key_range: shard.key_range.clone(),
                query_service_disabled: change.disable,
            });
        }
        wire::over(payload, "topodata.SrvKeyspace.KeyspacePartition", &partition).map(Some)
    })
}

async fn rebuild_locked(
    context: &Context,
    name: &str,
    cells: &[String],
    allow_partial: bool,
    lock: &Lock,
) -> Result<()> {
    let global = context.topo.global();
    let reads = try_join3(keyspace::get(global, name), shard::all(global, name), context.topo.cells());
    let (record, shards, all) = reads.await?;
    let doing = "writing serving data failed";
    let cells = if cells.is_empty() { all } else { all.only(cells).map_err(|error| error.wrap(doing))? };
    let stored = srv_keyspace::all(&cells, name).await?;
    for (_, graph) in &stored {
        let partitions = graph.iter().flat_map(|graph| &graph.value.partitions);
        let disabled =
            |partition: &&KeyspacePartition| partition.shard_tablet_controls.iter().any(|c| c.query_service_disabled);
        if let Some(partition) = partitions.into_iter().find(disabled) {
            let text = format!(
                "can't rebuild serving keyspace while a migration is on going. TabletControls is set for partition {}",
                partition.served_type().as_str_name()
            );
            return Err(Error::precondition(Reason::QUERY_SERVICE_DISABLED, text, ""));
        }
    }
    let graph = graph(&record.value, &shards);
    let partial = allow_partial && record.value.keyspace_type() == KeyspaceType::Snapshot;
    if !partial {
        let cell = cells.names().next().unwrap_or_default();
        graph.partitions.iter().try_for_each(|partition| check_partition(cell, partition))?;
    }
    lock.check().await?;
    let (graph, record) = (&graph, &record);
    let writes = cells.iter().map(|(cell, conn)| {
        let old = stored.iter().find(|(of, _)| of == cell).and_then(|(_, old)| old.as_ref());
        async move { srv_keyspace::put(conn, name, &with_throttler(graph, old), (record, old)).await }
    });
    let written: topo::Result<Vec<()>> = join_all(writes).await.into_iter().collect();
    written.map_err(|error| error.wrap(doing))?;
    Ok(())
}

/// The serving graph of a keyspace: every serving shard, for each type that serves.
fn graph(keyspace: &Keyspace, shards: &[Record<Shard>]) -> SrvKeyspace {
    let serving = shards.iter().filter(|shard| shard.value.is_primary_serving);
    let mut references: Vec<ShardReference> = serving
        .map(|shard| ShardReference { name: shard::name(shard).to_owned(), key_range: shard.value.key_range.clone() })
        .collect();
    references.sort_by(|a, b| key_range::compare(a.key_range.as_ref(), b.key_range.as_ref()));
    let types = [TabletType::Primary, TabletType::Replica, TabletType::Rdonly];
    let partition = |tablet_type: TabletType| KeyspacePartition {
        served_type: tablet_type.into(),
        shard_references: references.clone(),
        shard_tablet_controls: Vec::new(),
    };
    let partitions = if references.is_empty() { Vec::new() } else { types.map(partition).to_vec() };
    SrvKeyspace {
        partitions,
        throttler_config: keyspace.throttler_config.clone(),
        query_throttler_config: keyspace.query_throttler_config.clone(),
    }
}

/// The graph with the query throttler that a cell has when the keyspace's record has none: it is set in either.
fn with_throttler(graph: &SrvKeyspace, old: Option<&Record<SrvKeyspace>>) -> SrvKeyspace {
    let stored = old.and_then(|old| old.value.query_throttler_config.clone());
    let query_throttler_config = graph.query_throttler_config.clone().or(stored);
    SrvKeyspace { query_throttler_config, ..graph.clone() }
}

/// The ranges of a partition must cover everything, each following the other.
fn check_partition(cell: &str, partition: &KeyspacePartition) -> Result<()> {
    let tablet_type = partition.served_type().as_str_name();
    let bad = |text: String| Error::precondition(Reason::SHARD_RANGES, text, "see FindAllShardsInKeyspace");
    let shards = &partition.shard_references;
    if shards.first().and_then(|shard| shard.key_range.as_ref()).is_some_and(|range| !range.start.is_empty()) {
        return Err(bad(format!("keyspace partition for {tablet_type} in cell {cell} does not start with min key")));
    }
    if shards.last().and_then(|shard| shard.key_range.as_ref()).is_some_and(|range| !range.end.is_empty()) {
        return Err(bad(format!("keyspace partition for {tablet_type} in cell {cell} does not end with max key")));
    }
    for (at, pair) in shards.windows(2).enumerate() {
        let (one, next) = (&pair[0], &pair[1]);
        let (Some(left), Some(right)) = (&one.key_range, &next.key_range) else {
            if one.key_range.is_none() && next.key_range.is_none() {
                continue;
            }
            return Err(bad(format!(
                "shards with inconsistent KeyRanges for {tablet_type} in cell {cell}. shards: {}, {}",
                one.name, next.name
            )));
        };
        if !key_range::contiguous(left, right) {
            let (end, start) = (key_range::hex(&left.end), key_range::hex(&right.start));
            return Err(bad(format!(
                "non-contiguous KeyRange values for {tablet_type} in cell {cell} at shard {at} to {}: {end} != {start}",
                at + 1
            )));
        }
    }
    Ok(())
}

async fn remove_leftovers(cells: &Cells, keyspace: &str) -> Result<()> {
    let removals = cells.iter().map(|(_, conn)| async move {
        let nodes = conn.list(&paths::keyspace_dir(keyspace)).await?;
        let writes = nodes.into_iter().map(|node| Write::delete(node.path, Expect::Any)).collect();
        conn.write(writes, None).await
    });
    try_join_all(removals).await?;
    Ok(())
}
