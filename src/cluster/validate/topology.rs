//! Do the records of shards, tablets and replication graphs agree, and do the tablets answer?

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all, try_join};
use vtmigrated_proto::topodata::{Shard, Tablet, TabletAlias, TabletType};

use super::Report;
use super::fleet::{Fleet, View, listing_failed, records};
use super::replication::ask;
use crate::cluster::{Result, shown};
use crate::context::Context;
use crate::topo::{self, Cells, keyspace as keyspaces, paths, shard as shards, tablet as tablets};

/// Checks all keyspaces, and all tablets of the cells that they have tablets in. Answers what is wrong in no keyspace, and
/// the report of each keyspace.
pub async fn all(context: &Context, ping: bool) -> Result<(Vec<String>, Vec<(String, Report)>)> {
    let (names, cells) = join(keyspaces::names(context.topo.global()), context.topo.cells()).await;
    let names = match names {
        Ok(names) => names,
        Err(error) => return Ok((vec![format!("GetKeyspaces failed: {error}")], Vec::new())),
    };
    let cells = cells?;
    let mut results = Vec::new();
    let mut reports = BTreeMap::new();
    let mut found: Vec<(String, String, Shard)> = Vec::new();
    let lists = join_all(names.iter().map(|name| records(context, name, &[]))).await;
    for (name, list) in names.iter().zip(lists) {
        let mut report = Report::default();
        match list {
            Ok(list) if list.is_empty() => report = Report::of(format!("no shards found in keyspace {name}")),
            Ok(list) => {
                let there = list.into_iter().filter_map(|(shard, record)| Some((name.clone(), shard, record.ok()?)));
                found.extend(there);
            }
            Err(error) => {
                let text = format!("TopologyServer.GetShardNames({name}) failed: {error}");
                report = Report::of(text.clone());
                results.push(text);
            }
        }
        reports.insert(name.clone(), report);
    }
    let mut fleet = Fleet::without_tablets(&cells, found).await;
    let used: BTreeSet<String> =
        fleet.shards.iter().flat_map(|view| &view.aliases).map(|alias| alias.cell.clone()).collect();
    let listed = join_all(used.iter().map(|cell| tablets::in_cell(&cells, cell))).await;
    for (cell, listed) in used.iter().zip(listed) {
        match listed {
            Ok(listed) => {
                let entries = listed.into_iter().map(|record| record.value);
                fleet.tablets.extend(entries.map(|tablet| (crate::tablet::alias(&tablet), tablet)));
            }
            Err(error) => results.push(format!("TopologyServer.GetTabletsByCell({cell}) failed: {error}")),
        }
    }
    add_graphs(&cells, &mut fleet).await;
    let checks = fleet.tablets.values().filter_map(|tablet| tablet.alias.as_ref());
    results.extend(checks.filter_map(|alias| check_tablet(&cells, &fleet, alias)));
    let found = check_shards(context, &cells, &fleet, ping).await;
    for (view, problems) in fleet.shards.iter().zip(found) {
        reports.entry(view.keyspace.clone()).or_default().by_shard.push((view.name.clone(), problems));
    }
    Ok((results, reports.into_iter().collect()))
}

/// Checks all shards of a keyspace.
///
/// # Errors
/// Bad names only.
pub async fn keyspace(context: &Context, keyspace: &str, ping: bool) -> Result<Report> {
    let (list, cells) = join(records(context, keyspace, &[]), context.topo.cells()).await;
    let list = match list {
        Ok(list) if list.is_empty() => return Ok(Report::of(format!("no shards found in keyspace {keyspace}"))),
        Ok(list) => list,
        Err(error) => return Ok(Report::of(listing_failed(keyspace, error)?)),
    };
    let cells = cells?;
    let there = list.into_iter().filter_map(|(name, record)| Some((name, record.ok()?))).collect();
    let mut fleet = Fleet::read(&cells, keyspace, there).await;
    add_graphs(&cells, &mut fleet).await;
    let found = check_shards(context, &cells, &fleet, ping).await;
    let by_shard = fleet.shards.iter().map(|view| view.name.clone()).zip(found).collect();
    Ok(Report { results: Vec::new(), by_shard })
}

/// Checks one shard.
///
/// # Errors
/// Bad names only.
pub async fn shard(context: &Context, keyspace: &str, name: &str, ping: bool) -> Result<Vec<String>> {
    paths::check_name(keyspace)?;
    shards::parse_name(name)?;
    let read = try_join(shards::get(context.topo.global(), keyspace, name), context.topo.cells());
    let (record, cells) = match read.await {
        Ok(read) => read,
        Err(error) => return Ok(vec![format!("TopologyServer.GetShard({keyspace}, {name}) failed: {error}")]),
    };
    let mut fleet = Fleet::read(&cells, keyspace, vec![(name.to_owned(), record.value)]).await;
    add_graphs(&cells, &mut fleet).await;
    Ok(check_shards(context, &cells, &fleet, ping).await.into_iter().flatten().collect())
}

/// Reads the graphs that tablets should be in and that were not read with their shards.
async fn add_graphs(cells: &Cells, fleet: &mut Fleet) {
    let home = |tablet: &Tablet| {
        let cell = tablet.alias.as_ref()?.cell.clone();
        Some((cell, tablet.keyspace.clone(), tablet.shard.clone()))
    };
    let wanted = fleet.tablets.values().filter_map(home).collect();
    fleet.graphs.add(cells, wanted).await;
}

async fn check_shards(context: &Context, cells: &Cells, fleet: &Fleet, ping: bool) -> Vec<Vec<String>> {
    let checks = fleet.shards.iter().map(|view| async move {
        if let Some(error) = &view.partial {
            let (keyspace, name) = (&view.keyspace, &view.name);
            return vec![format!("TopologyServer.FindAllTabletAliasesInShard({keyspace}, {name}) failed: {error}")];
        }
        let mut results = check_records(fleet, view);
        results.extend(view.aliases.iter().filter_map(|alias| check_tablet(cells, fleet, alias)));
        if ping {
            results.extend(ask(context, fleet, view).await);
        }
        results
    });
    join_all(checks).await
}

/// Is there exactly one primary, and the one that the shard's record names?
fn check_records(fleet: &Fleet, view: &View) -> Vec<String> {
    let full_name = view.full_name();
    let mut results = Vec::new();
    let mut primary: Option<&TabletAlias> = None;
    for alias in &view.aliases {
        let text = paths::alias_text(alias);
        let Some(tablet) = fleet.tablets.get(&text) else {
            results.push(format!("tablet {text} not found in map"));
            continue;
        };
        match primary {
            _ if tablet.r#type() != TabletType::Primary => {}
            None => primary = Some(alias),
            Some(first) => {
                let first = paths::alias_text(first);
                results.push(format!("shard {full_name} already has primary {first} but found other primary {text}"));
            }
        }
    }
    match (primary, &view.record.primary_alias) {
        (None, _) => results.push(format!("no primary for shard {full_name}")),
        (Some(found), Some(expected)) if found == expected => {}
        (Some(found), expected) => {
            let expected = expected.as_ref().map_or_else(|| "<nil>".to_owned(), paths::alias_text);
            let found = paths::alias_text(found);
            results.push(format!("primary mismatch for shard {full_name}: found {found}, expected {expected}"));
        }
    }
    results
}

/// Has a tablet a record, and is it in its graph?
fn check_tablet(cells: &Cells, fleet: &Fleet, alias: &TabletAlias) -> Option<String> {
    let cell = &alias.cell;
    let checked = fleet.tablet(cells, alias).and_then(|tablet| {
        let key = (cell.clone(), tablet.keyspace.clone(), tablet.shard.clone());
        let path = paths::shard_replication(&tablet.keyspace, &tablet.shard);
        let Some(graph) = fleet.graphs.get(&key)? else {
            return Err(topo::Error::NoNode(cells.conn(cell)?.full(&path)));
        };
        if graph.nodes.iter().any(|node| node.tablet_alias.as_ref() == Some(alias)) {
            return Ok(());
        }
        let alias = shown(alias);
        let doing = format!("tablet {alias} not found in cell {cell} shard replication");
        Err(topo::Error::NoNode(alias).wrap(doing))
    });
    checked.err().map(|error| format!("topo.Validate({}) failed: {error}", paths::alias_text(alias)))
}
