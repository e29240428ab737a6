//! Do all tablets have the schema of the first primary, and does the VSchema know its tables?

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all, try_join};
use vtmigrated_proto::tabletmanagerdata::SchemaDefinition;
use vtmigrated_proto::topodata::{Shard, TabletAlias};

use super::fleet::{Fleet, View, listing_failed, records};
use super::{Report, schema_diff};
use crate::cluster::{Error, Result, listed, shown};
use crate::context::Context;
use crate::sql::is_internal;
use crate::tablet::GetSchema;
use crate::topo::{self, Cells, paths, vschema as vschemas};

/// What to compare.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// All when empty.
    pub shards: Vec<String>,
    pub exclude_tables: Vec<String>,
    pub include_views: bool,
    /// Say nothing of shards without a primary.
    pub skip_no_primary: bool,
    /// First look whether the VSchema knows all tables; if not, that is the whole answer.
    pub include_vschema: bool,
}

/// Schemas by alias.
type Schemas = BTreeMap<String, Result<SchemaDefinition>>;
/// What was found in each shard.
type Findings = BTreeMap<String, Vec<String>>;

/// Compares the tablets of a keyspace with the primary of its first shard.
///
/// # Errors
/// Bad names, and a VSchema that cannot be read.
pub async fn schemas(context: &Context, keyspace: &str, options: &Options) -> Result<Report> {
    let (list, cells) = join(records(context, keyspace, &options.shards), context.topo.cells()).await;
    let list = match list {
        Ok(list) => list,
        Err(error) => return Ok(Report::of(listing_failed(keyspace, error)?)),
    };
    let cells = cells?;
    let (there, mut findings) = split(keyspace, list);
    let all = async { Ok::<_, Error>(Fleet::read(&cells, keyspace, there).await) };
    let (fleet, known) = try_join(all, known_tables(context, keyspace, options.include_vschema)).await?;
    let primaries: Vec<&TabletAlias> = fleet.shards.iter().filter_map(View::primary).collect();
    let mut schemas = read(context, &cells, &fleet, &primaries, options).await;
    if let Some(known) = known {
        let mut unknown = findings.clone();
        for view in &fleet.shards {
            let found = check_vschema(view, &schemas, &known, options);
            unknown.entry(view.name.clone()).or_default().extend(found);
        }
        if unknown.values().any(|found| !found.is_empty()) {
            return Ok(Report::of_shards(unknown.into_iter().collect()));
        }
    }
    let others: Vec<&TabletAlias> = fleet
        .shards
        .iter()
        .filter(|view| view.primary().is_some() && view.partial.is_none())
        .flat_map(|view| &view.aliases)
        .filter(|alias| !schemas.contains_key(&paths::alias_text(alias)))
        .collect();
    schemas.extend(read(context, &cells, &fleet, &others, options).await);
    let reference = fleet.shards.iter().filter_map(View::primary).map(paths::alias_text);
    let reference = reference.into_iter().find_map(|alias| {
        let schema = schemas.get(&alias)?.as_ref().ok()?;
        Some((alias, schema))
    });
    for view in &fleet.shards {
        let found = check_shard(view, &schemas, reference.as_ref(), options);
        findings.entry(view.name.clone()).or_default().extend(found);
    }
    Ok(Report::of_shards(findings.into_iter().collect()))
}

/// Looks for tables of the named shards' primaries that the VSchema does not know.
///
/// # Errors
/// Bad names, and a VSchema that cannot be read.
pub async fn vschema(context: &Context, keyspace: &str, options: &Options) -> Result<Report> {
    let known = known_tables(context, keyspace, true).await?.unwrap_or_default();
    if options.shards.is_empty() {
        return Ok(Report::default());
    }
    let (list, cells) =
        try_join(records(context, keyspace, &options.shards), async { Ok(context.topo.cells().await?) }).await?;
    let (there, mut findings) = split(keyspace, list);
    let fleet = Fleet::read(&cells, keyspace, there).await;
    let primaries: Vec<&TabletAlias> = fleet.shards.iter().filter_map(View::primary).collect();
    let schemas = read(context, &cells, &fleet, &primaries, options).await;
    for view in &fleet.shards {
        findings.entry(view.name.clone()).or_default().extend(check_vschema(view, &schemas, &known, options));
    }
    Ok(Report::of_shards(findings.into_iter().collect()))
}

/// The shards that are there, and what is found of all of them so far.
fn split(keyspace: &str, list: Vec<(String, topo::Result<Shard>)>) -> (Vec<(String, Shard)>, Findings) {
    let mut there = Vec::new();
    let mut findings = Findings::new();
    for (name, record) in list {
        let found = findings.entry(name.clone()).or_default();
        match record {
            Ok(record) => there.push((name, record)),
            Err(error) => found.push(format!("GetShard({keyspace}, {name}) failed: {error}")),
        }
    }
    (there, findings)
}

async fn known_tables(context: &Context, keyspace: &str, wanted: bool) -> Result<Option<BTreeSet<String>>> {
    if !wanted {
        return Ok(None);
    }
    paths::check_name(keyspace)?;
    let doing = || format!("GetVSchema({keyspace}) failed");
    let vschema = vschemas::get(context.topo.global(), keyspace).await.map_err(|error| error.wrap(doing()))?;
    Ok(Some(vschema.value.tables.into_iter().map(|table| table.key).collect()))
}

/// Reads schemas, all at once.
async fn read(context: &Context, cells: &Cells, fleet: &Fleet, aliases: &[&TabletAlias], options: &Options) -> Schemas {
    let calls = aliases.iter().map(|alias| async move {
        let what = GetSchema {
            exclude_tables: options.exclude_tables.clone(),
            include_views: options.include_views,
            ..GetSchema::default()
        };
        let schema = match fleet.tablet(cells, alias) {
            Ok(tablet) => context.tablets.get_schema(tablet, what).await.map_err(Error::from),
            Err(error) => Err(error.wrap(format!("GetTablet({}) failed", shown(alias))).into()),
        };
        (paths::alias_text(alias), schema)
    });
    join_all(calls).await.into_iter().collect()
}

fn check_vschema(view: &View, schemas: &Schemas, known: &BTreeSet<String>, options: &Options) -> Vec<String> {
    let full_name = view.full_name();
    let Some(primary) = view.primary() else { return vec![format!("no primary in shard {full_name}")] };
    match schemas.get(&paths::alias_text(primary)) {
        Some(Ok(schema)) => {
            let tables = schema.table_definitions.iter().map(|table| &table.name);
            let unknown: Vec<String> =
                tables.filter(|name| !known.contains(*name) && !is_internal(name)).cloned().collect();
            if unknown.is_empty() {
                return Vec::new();
            }
            vec![format!("{full_name} has tables that are not in the vschema: {}", listed(&unknown))]
        }
        Some(Err(error)) => vec![format!("{} ({full_name}) failed: {error}", call(primary, options))],
        None => Vec::new(),
    }
}

fn check_shard(
    view: &View,
    schemas: &Schemas,
    reference: Option<&(String, &SchemaDefinition)>,
    options: &Options,
) -> Vec<String> {
    if view.primary().is_none() {
        let text = format!("no primary in shard {}", view.full_name());
        return if options.skip_no_primary { Vec::new() } else { vec![text] };
    }
    if let Some(error) = &view.partial {
        let (keyspace, name) = (&view.keyspace, &view.name);
        return vec![format!("FindAllTabletAliasesInShard({keyspace}, {name}) failed: {error}")];
    }
    let mut results = Vec::new();
    for alias in &view.aliases {
        let text = paths::alias_text(alias);
        match (schemas.get(&text), reference) {
            (Some(Err(error)), _) => results.push(format!("{} failed: {error}", call(alias, options))),
            (Some(Ok(schema)), Some((name, reference))) if *name != text => {
                results.extend(schema_diff::diff((name, reference), (&text, schema)));
            }
            _ => {}
        }
    }
    results
}

/// The call that read a schema, as the texts have it.
fn call(alias: &TabletAlias, options: &Options) -> String {
    format!("GetSchema({}, nil, {}, {})", shown(alias), listed(&options.exclude_tables), options.include_views)
}
