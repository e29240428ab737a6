//! Tablets: their records, and calls to one of them.

mod call;
mod delete;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join_all, try_join};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::{Shard, ShardReplication, Tablet, TabletAlias, TabletType};

pub use self::call::{
    change_tags, fetch_multi_as_dba, full_status, hook, permissions, read_permissions, set_writable, sleep,
};
pub use self::delete::delete;
pub use self::version::{of_tablet as version_of, version};
use super::{Error, Result, cell};
use crate::context::Context;
use crate::topo::{self, Cells, Record, paths, shard, tablet};

/// Which tablets to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub keyspace: String,
    pub shard: String,
    /// All when empty.
    pub cells: Vec<String>,
    /// These only, whatever the keyspace and shard.
    pub aliases: Vec<TabletAlias>,
    /// All when `UNKNOWN`.
    pub tablet_type: i32,
    /// Fail when a cell cannot be read, instead of leaving its tablets out.
    pub strict: bool,
}

/// A statement for one tablet.
#[derive(Clone, Debug, Default)]
pub struct Statement {
    pub query: String,
    pub max_rows: i64,
    pub disable_binlogs: bool,
    pub reload_schema: bool,
}

/// The alias of a request.
///
/// # Errors
/// Refused when it is not there, or names no cell.
pub fn alias(alias: Option<TabletAlias>) -> Result<TabletAlias> {
    let alias = alias.ok_or_else(|| Error::bad_argument("a tablet alias is required"))?;
    cell::check_name(&alias.cell)?;
    Ok(alias)
}

/// One tablet's record. Two round trips.
pub async fn get(context: &Context, alias: &TabletAlias) -> Result<Tablet> {
    let conn = context.topo.cell(&alias.cell).await?;
    Ok(tablet::read(&conn, alias).await?)
}

/// Tablets, ascending by alias. A primary that is not the latest one of its shard is of type `UNKNOWN`.
pub async fn list(context: &Context, filter: Filter) -> Result<Vec<Tablet>> {
    let Ok(wanted) = TabletType::try_from(filter.tablet_type) else {
        return Err(Error::bad_argument(format!("unknown tablet type {}", filter.tablet_type)));
    };
    let of_type = |tablet: &Tablet| wanted == TabletType::Unknown || tablet.r#type() == wanted;
    let mut is_part = !filter.aliases.is_empty() || !filter.cells.is_empty();
    let mut tablets = if !filter.aliases.is_empty() {
        let cells = context.topo.cells().await?;
        let (found, partial) = read(&cells, &filter.aliases).await;
        let aliases: Vec<String> = filter.aliases.iter().map(paths::alias_text).collect();
        whole(partial, filter.strict, || format!("GetTabletMap({}) failed", super::listed(&aliases)))?;
        found
    } else if !filter.keyspace.is_empty() && !filter.shard.is_empty() {
        let doing = || format!("GetTabletMapForShard({}, {}) failed", filter.keyspace, filter.shard);
        let read = of_shard(context, &filter.keyspace, &filter.shard, &[]).await;
        let (found, partial) = read.map_err(|error| error.doing(doing()))?;
        is_part |= partial.is_some();
        whole(partial, filter.strict, doing)?;
        found
    } else {
        let (found, all) = of_cells(context, &filter).await?;
        is_part |= !all;
        found
    };
    // as in stock, a stale primary is still found by the type that its record has
    tablets.retain(of_type);
    mark_stale_primaries(&mut tablets);
    if is_part {
        mark_replaced_primaries(context, &mut tablets).await;
    }
    tablets.sort_by_key(crate::tablet::alias);
    Ok(tablets)
}

/// The tablets of a shard, over the named cells or all: its primary and those of its replication graph. When some cell
/// could not be read, its error comes along.
///
/// # Errors
/// Those of reading the shard's record.
pub async fn of_shard(
    context: &Context,
    keyspace: &str,
    name: &str,
    cells: &[String],
) -> Result<(Vec<Tablet>, Option<topo::Error>)> {
    let (_, tablets, partial) = shard_with_tablets(context, keyspace, name, cells).await?;
    Ok((tablets, partial))
}

/// The same with the shard's record.
pub(super) async fn shard_with_tablets(
    context: &Context,
    keyspace: &str,
    name: &str,
    cells: &[String],
) -> Result<(Shard, Vec<Tablet>, Option<topo::Error>)> {
    cell::check_names(cells)?;
    let (record, all) = try_join(shard::get(context.topo.global(), keyspace, name), context.topo.cells()).await?;
    let cells = if cells.is_empty() { all } else { all.only(cells)? };
    let (aliases, partial) = aliases_of_shard(&cells, keyspace, name, &record.value).await;
    let (tablets, missing) = read(&cells, &aliases).await;
    Ok((record.value, tablets, partial.or(missing)))
}

/// Asks a tablet for an echo.
pub async fn ping(context: &Context, alias: &TabletAlias) -> Result<()> {
    let tablet = get(context, alias).await?;
    context.tablets.ping(&tablet, manager::PingRequest { payload: "payload".into() }).await?;
    Ok(())
}

/// Makes a tablet reload its record.
pub async fn refresh_state(context: &Context, alias: &TabletAlias) -> Result<Tablet> {
    let doing = || format!("failed to get tablet {}", paths::alias_text(alias));
    let tablet = get(context, alias).await.map_err(|error| error.doing(doing()))?;
    context.tablets.refresh_state(&tablet, manager::RefreshStateRequest {}).await?;
    Ok(tablet)
}

/// What became of a refresh of a shard's tablets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Refreshed {
    /// Those that did it, and whose own records say that they are of the shard.
    pub tablets: Vec<Tablet>,
    /// What went wrong with others, if anything did: a line for each.
    pub problems: Option<String>,
}

/// Makes the tablets of a shard reload their records.
pub async fn refresh_state_by_shard(
    context: &Context,
    keyspace: &str,
    name: &str,
    cells: &[String],
) -> Result<Refreshed> {
    for (value, what) in [(keyspace, "keyspace"), (name, "shard")] {
        if value.is_empty() {
            return Err(Error::bad_argument(format!("RefreshStateByShard requires a {what}")));
        }
    }
    let (tablets, partial) = of_shard(context, keyspace, name, cells)
        .await
        .map_err(|error| error.doing(format!("failed to get shard {keyspace}/{name}/")))?;
    let mut problems: Vec<String> = partial
        .into_iter()
        .map(|error| format!("got partial results from topo server for shard {keyspace}/{name}: {error}"))
        .collect();
    let calls = tablets.into_iter().filter(|tablet| !tablet.hostname.is_empty()).map(|tablet| async move {
        let refreshed = context.tablets.refresh_state(&tablet, manager::RefreshStateRequest {}).await;
        (tablet, refreshed)
    });
    let mut refreshed = Vec::new();
    for (tablet, answer) in join_all(calls).await {
        match answer {
            Ok(_) if (tablet.keyspace.as_str(), tablet.shard.as_str()) == (keyspace, name) => refreshed.push(tablet),
            // the replication graph names it, but it is of another shard by now
            Ok(_) => {}
            Err(error) => problems.push(format!("failed to refresh tablet {}: {error}", crate::tablet::alias(&tablet))),
        }
    }
    Ok(Refreshed { tablets: refreshed, problems: (!problems.is_empty()).then(|| problems.join("\n")) })
}

/// Asks a tablet to check its health.
pub async fn run_health_check(context: &Context, alias: &TabletAlias) -> Result<()> {
    let tablet = get(context, alias).await?;
    context.tablets.run_health_check(&tablet, manager::RunHealthCheckRequest {}).await?;
    Ok(())
}

/// Runs a statement as the application user.
pub async fn fetch_as_app(context: &Context, alias: &TabletAlias, statement: Statement) -> Result<QueryResult> {
    let max_rows = max_rows(&statement)?;
    let tablet = get(context, alias).await?;
    let request = manager::ExecuteFetchAsAppRequest { query: statement.query.into_bytes(), max_rows };
    Ok(context.tablets.execute_fetch_as_app(&tablet, request).await?.result.unwrap_or_default())
}

/// Runs a statement as the administrator.
pub async fn fetch_as_dba(context: &Context, alias: &TabletAlias, statement: Statement) -> Result<QueryResult> {
    let max_rows = max_rows(&statement)?;
    let tablet = get(context, alias).await?;
    let request = manager::ExecuteFetchAsDbaRequest {
        query: statement.query.into_bytes(),
        db_name: crate::tablet::db_name(&tablet),
        max_rows,
        disable_binlogs: statement.disable_binlogs,
        reload_schema: statement.reload_schema,
        ..manager::ExecuteFetchAsDbaRequest::default()
    };
    Ok(context.tablets.execute_fetch_as_dba(&tablet, request).await?.result.unwrap_or_default())
}

pub(super) fn max_rows(statement: &Statement) -> Result<u64> {
    if statement.query.trim().is_empty() {
        return Err(Error::bad_argument("the query is empty"));
    }
    u64::try_from(statement.max_rows).map_err(|_| Error::bad_argument("max_rows is negative"))
}

/// The primary, if it is in one of the cells, and what the cells' replication graphs name.
async fn aliases_of_shard(
    cells: &Cells,
    keyspace: &str,
    name: &str,
    record: &Shard,
) -> (Vec<TabletAlias>, Option<topo::Error>) {
    let path = &paths::shard_replication(keyspace, name);
    // one that cannot be decoded takes nothing but itself away
    let reads = cells.iter().map(|(cell, conn)| async move {
        let node = cells.ask(cell, conn.get_many(vec![path.clone()])).await?.into_iter().flatten().next();
        node.map(|node| Record::<ShardReplication>::decode(node, conn)).transpose()
    });
    let primary = record.primary_alias.iter().filter(|alias| cells.names().any(|cell| cell == alias.cell));
    let mut found: BTreeMap<String, TabletAlias> =
        primary.map(|alias| (paths::alias_text(alias), alias.clone())).collect();
    let mut partial = None;
    for read in join_all(reads).await {
        match read {
            Ok(graph) => {
                let nodes = graph.map(|record| record.value.nodes).unwrap_or_default();
                let aliases = nodes.into_iter().filter_map(|node| node.tablet_alias);
                found.extend(aliases.map(|alias| (paths::alias_text(&alias), alias)));
            }
            Err(error) => {
                tracing::warn!(
                    vitess.keyspace = keyspace,
                    vitess.shard = name,
                    "cannot read a replication graph: {error}"
                );
                partial = Some(topo::Error::PartialResult(name.to_owned()));
            }
        }
    }
    (found.into_values().collect(), partial)
}

/// Reads tablets, one round trip for each cell, all cells in parallel. Missing ones and those of unknown cells are left
/// out; a cell that cannot be read makes the result a partial one.
pub(super) async fn read(cells: &Cells, aliases: &[TabletAlias]) -> (Vec<Tablet>, Option<topo::Error>) {
    let names: BTreeSet<&str> = aliases.iter().map(|alias| alias.cell.as_str()).collect();
    let reads = names.into_iter().filter(|cell| cells.conn(cell).is_ok()).map(|cell| async move {
        let ours: Vec<TabletAlias> = aliases.iter().filter(|alias| alias.cell == cell).cloned().collect();
        (cell, cells.ask(cell, tablet::get_readable(cells, &ours)).await)
    });
    let mut tablets = Vec::new();
    let mut partial = None;
    for (cell, read) in join_all(reads).await {
        match read {
            Ok(found) => {
                tablets.extend(found.tablets.into_values());
                if !found.undecodable.is_empty() {
                    partial = Some(topo::Error::PartialResult(cell.to_owned()));
                }
            }
            Err(error) => {
                tracing::warn!(vitess.cell = cell, "cannot read the tablets of a cell: {error}");
                partial = Some(topo::Error::PartialResult(cell.to_owned()));
            }
        }
    }
    (tablets, partial)
}

/// All tablets of the filter's cells and keyspace, and whether every cell was read.
async fn of_cells(context: &Context, filter: &Filter) -> Result<(Vec<Tablet>, bool)> {
    cell::check_names(&filter.cells)?;
    let cells = context.topo.cells().await?;
    let names: Vec<&str> = if filter.cells.is_empty() {
        cells.names().collect()
    } else {
        filter.cells.iter().map(String::as_str).collect()
    };
    let reads = names.iter().map(|cell| {
        let read = cells.ask(cell, tablet::readable_in_cell(&cells, cell));
        async move { read.await.map_err(|error| error.wrap(format!("GetTabletsByCell({cell}) failed"))) }
    });
    let mut found = Vec::new();
    let (mut errors, mut silent) = (Vec::new(), 0);
    for read in join_all(reads).await {
        match read {
            Ok((records, unread)) => {
                found.extend(records.into_iter().map(|record| record.value));
                errors.extend(unread);
            }
            Err(error) => {
                errors.push(error);
                silent += 1;
            }
        }
    }
    let all = errors.is_empty();
    let failed = !all && (filter.strict || silent == names.len());
    match errors.into_iter().next() {
        Some(error) if failed => return Err(error.into()),
        Some(error) => tracing::warn!("skipping the tablets of a cell: {error}"),
        None => {}
    }
    found.retain(|tablet| filter.keyspace.is_empty() || tablet.keyspace == filter.keyspace);
    Ok((found, all))
}

fn whole(partial: Option<topo::Error>, strict: bool, doing: impl Fn() -> String) -> Result<()> {
    match partial {
        Some(error) if strict => Err(error.wrap(doing()).into()),
        _ => Ok(()),
    }
}

fn mark_stale_primaries(tablets: &mut [Tablet]) {
    let term = |tablet: &Tablet| tablet::began(tablet.primary_term_start_time.as_ref());
    let mut latest = BTreeMap::new();
    for tablet in tablets.iter().filter(|tablet| tablet.r#type() == TabletType::Primary) {
        let known = latest.entry((tablet.keyspace.clone(), tablet.shard.clone())).or_insert(term(tablet));
        *known = (*known).max(term(tablet));
    }
    for tablet in tablets.iter_mut().filter(|tablet| tablet.r#type() == TabletType::Primary) {
        if latest.get(&(tablet.keyspace.clone(), tablet.shard.clone())).is_some_and(|known| term(tablet) < *known) {
            tablet.r#type = TabletType::Unknown.into();
        }
    }
}

/// The same where not all tablets of a shard are there to compare: by the shards' records. One that cannot be read changes
/// nothing. One round trip.
async fn mark_replaced_primaries(context: &Context, tablets: &mut [Tablet]) {
    let primaries: Vec<&mut Tablet> =
        tablets.iter_mut().filter(|tablet| tablet.r#type() == TabletType::Primary).collect();
    let global = context.topo.global();
    let wanted = primaries.iter().map(|tablet| paths::shard(&tablet.keyspace, &tablet.shard)).collect();
    let Ok(nodes) = global.get_many(wanted).await else { return };
    for (tablet, node) in primaries.into_iter().zip(nodes) {
        let Some(Ok(record)) = node.map(|node| Record::<Shard>::decode(node, global)) else { continue };
        let term = tablet::began(record.value.primary_term_start_time.as_ref());
        let newer = term > tablet::began(tablet.primary_term_start_time.as_ref());
        if newer && record.value.primary_alias.is_some() && record.value.primary_alias != tablet.alias {
            tablet.r#type = TabletType::Unknown.into();
        }
    }
}

/// A tablet's record, with stock's `GetTablet(…) failed` text when there is none.
pub(super) async fn get_named(context: &Context, alias: &TabletAlias) -> Result<Tablet> {
    get(context, alias).await.map_err(|error| error.doing(format!("GetTablet({}) failed", paths::alias_text(alias))))
}
