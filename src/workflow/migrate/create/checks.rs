//! What create asks the target's MySQL before it writes anything.

use std::collections::BTreeSet;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::ExecuteFetchAsAppRequest;

use crate::context::Context;
use crate::error::Reason;
use crate::sql::{quote, rows};
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::filled::{self, Visibility};
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::{Error, Result, names};

/// Proves that tables which are there already hold no row, on those shards, given by index, that are `wanted`.
pub async fn tables_are_empty(
    context: &Context,
    situation: &ClusterState,
    tables: &[String],
    wanted: &(dyn Fn(usize) -> bool + Sync),
) -> Result<()> {
    let there = |at: usize| situation.target_tables.get(at);
    let existing =
        |at: usize| tables.iter().filter(move |table| there(at).is_some_and(|t| t.contains_key(*table))).cloned();
    are_empty(context, situation, Visibility::Committed, wanted, &|at| existing(at).collect()).await
}

/// Proves once more, now that clients cannot write any more, that tables hold no row, those that create has made among
/// them: somebody may have written since they were looked at.
pub async fn tables_stayed_empty(
    context: &Context,
    situation: &ClusterState,
    tables: &[String],
    wanted: &(dyn Fn(usize) -> bool + Sync),
) -> Result<()> {
    are_empty(context, situation, Visibility::UnderWay, wanted, &|_| tables.to_vec()).await
}

async fn are_empty(
    context: &Context,
    situation: &ClusterState,
    which: Visibility,
    wanted: &(dyn Fn(usize) -> bool + Sync),
    tables: &(dyn Fn(usize) -> Vec<String> + Sync),
) -> Result<()> {
    let keyspace = &situation.target.keyspace;
    let shards = keyspace.shards.iter().enumerate().filter(|(at, _)| wanted(*at));
    let asked =
        shards.map(|(at, shard)| async move { filled::filled(context, shard.primary()?, &tables(at), which).await });
    let mut full = BTreeSet::new();
    for answer in join_all(asked).await {
        let found = answer.map_err(|e| e.doing("failed to validate that all target tables are empty"))?;
        full.extend(found);
    }
    if full.is_empty() {
        return Ok(());
    }
    let full: Vec<String> = full.into_iter().collect();
    let text = format!(
        "failed to validate that all target tables are empty: non-empty tables found in target keyspace({}): {}",
        keyspace.name,
        names::some(&full, ", ")
    );
    let help = "a migration fills empty tables: empty or drop them, or leave them out with --exclude-tables";
    Err(Error::precondition(Reason::TARGET_NOT_EMPTY, text, help))
}

/// Proves that every target primary can convert from the source's time zone.
pub async fn time_zone(context: &Context, situation: &ClusterState, arguments: &Arguments) -> Result<()> {
    let zone = &arguments.source_time_zone;
    if zone.is_empty() {
        return Ok(());
    }
    let query = format!("select convert_tz('2006-01-02 15:04:05', {}, 'UTC')", quote::literal(zone));
    let primaries = situation.target.keyspace.primaries()?;
    let asked = primaries.iter().map(|(_, tablet)| async {
        let request = ExecuteFetchAsAppRequest { query: query.clone().into_bytes(), max_rows: 1 };
        let answer = context.tablets.execute_fetch_as_app(tablet, request).await?;
        let first = rows::texts(&answer.result.unwrap_or_default()).into_iter().flatten().next().flatten();
        if first.is_some() {
            return Ok(());
        }
        let text = format!(
            "unable to perform time_zone conversions from {zone} to UTC: either the specified source time zone is invalid \
             or the time zone tables have not been loaded on the {} tablet",
            crate::tablet::alias(tablet)
        );
        let help = "load them there with: mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql";
        Err(Error::precondition(Reason::TIME_ZONE_UNKNOWN, text, help))
    });
    Error::all(join_all(asked).await)
}
