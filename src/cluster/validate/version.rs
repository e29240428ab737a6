//! Do all tablets run the version of the first primary?

use std::collections::BTreeMap;

use futures::future::{join, join_all, try_join};
use vtmigrated_proto::topodata::TabletAlias;

use super::Report;
use super::fleet::{Fleet, View, listing_failed, records};
use crate::cluster::{Error, Result, shown, tablet};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{Cells, paths, shard as shards};

/// Versions by alias.
type Versions = BTreeMap<String, Result<String>>;

/// Compares the tablets of a shard with its primary.
///
/// # Errors
/// A shard or a primary that cannot be read.
pub async fn version_shard(context: &Context, keyspace: &str, name: &str) -> Result<Vec<String>> {
    paths::check_name(keyspace)?;
    shards::parse_name(name)?;
    let (record, cells) = try_join(shards::get(context.topo.global(), keyspace, name), context.topo.cells())
        .await
        .map_err(|error| error.wrap(format!("GetShard({name}) failed")))?;
    let fleet = Fleet::read(&cells, keyspace, vec![(name.to_owned(), record.value)]).await;
    let Some(view) = fleet.shards.first() else { return Ok(Vec::new()) };
    let Some(primary) = view.primary() else {
        return Err(Error::precondition(Reason::NO_PRIMARY, format!("no primary in shard {keyspace}/{name}"), ""));
    };
    if let Some(error) = &view.partial {
        return Err(error.clone().wrap(format!("FindAllTabletAliasesInShard({keyspace}, {name}) failed")).into());
    }
    let mut versions = ask(context, &cells, &fleet).await;
    let text = paths::alias_text(primary);
    let reference = versions.remove(&text).unwrap_or_else(|| Ok(String::new()));
    let reference = reference.map_err(|error| error.doing(format!("GetVersion({text}) failed")))?;
    Ok(compare(view, primary, &reference, &reference, &versions))
}

/// Compares the tablets of a keyspace with the primary of its first shard.
///
/// # Errors
/// Bad names only.
pub async fn version_keyspace(context: &Context, keyspace: &str) -> Result<Report> {
    let (list, cells) = join(records(context, keyspace, &[]), context.topo.cells()).await;
    let list = match list {
        Ok(list) if list.is_empty() => return Ok(Report::of(format!("no shards in keyspace {keyspace}"))),
        Ok(list) => list,
        Err(error) => return Ok(Report::of(listing_failed(keyspace, error)?)),
    };
    let cells = cells?;
    let there = list.into_iter().filter_map(|(name, record)| Some((name, record.ok()?))).collect();
    let fleet = Fleet::read(&cells, keyspace, there).await;
    let Some(first) = fleet.shards.first() else { return Ok(Report::default()) };
    let Some(primary) = first.primary() else {
        return Ok(Report::of(format!("no primary in shard {}", first.full_name())));
    };
    let mut versions = ask(context, &cells, &fleet).await;
    let reference = match versions.remove(&paths::alias_text(primary)).unwrap_or_else(|| Ok(String::new())) {
        Ok(version) => version,
        Err(error) => {
            let text = format!("unable to get reference version of first shard's primary tablet: {error}");
            return Ok(Report::of(text));
        }
    };
    let shown = message(&reference);
    let results = fleet.shards.iter().map(|view| {
        let found = match &view.partial {
            Some(error) => vec![format!("unable to find tablet aliases in shard {}: {error}", view.name)],
            None => compare(view, primary, &reference, &shown, &versions),
        };
        (view.name.clone(), found)
    });
    Ok(Report::of_shards(results.collect()))
}

async fn ask(context: &Context, cells: &Cells, fleet: &Fleet) -> Versions {
    let aliases = fleet.shards.iter().flat_map(|view| &view.aliases);
    let calls = aliases.map(|alias| async move {
        let version = match fleet.tablet(cells, alias) {
            Ok(found) => tablet::version_of(context, found).await,
            Err(error) => Err(error.into()),
        };
        (paths::alias_text(alias), version)
    });
    join_all(calls).await.into_iter().collect()
}

/// `shown` is how the text names the reference.
fn compare(view: &View, primary: &TabletAlias, reference: &str, shown_as: &str, versions: &Versions) -> Vec<String> {
    let others = view.aliases.iter().filter(|alias| *alias != primary);
    let check = |alias: &TabletAlias| match versions.get(&paths::alias_text(alias))? {
        Ok(version) if version == reference => None,
        Ok(version) => {
            let (primary, replica) = (paths::alias_text(primary), paths::alias_text(alias));
            let version = message(version);
            Some(format!("primary {primary} version {shown_as} is different than replica {replica} version {version}"))
        }
        Err(error) => Some(format!("unable to get version for tablet {}: {error}", shown(alias))),
    };
    others.filter_map(check).collect()
}

/// A version as Go prints the answer that carries it.
fn message(version: &str) -> String {
    format!("version:\"{}\"", version.replace('\\', "\\\\").replace('"', "\\\""))
}
