//! The greatest values of AUTO_INCREMENT columns.

use std::collections::BTreeMap;

use vtmigrated_proto::topodata::Tablet;

use super::servers::{STATEMENTS_AT_ONCE, gently};
use crate::context::Context;
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::streams::Keyspace;

/// Tables asked for in one statement.
const AT_ONCE: usize = 200;

/// The greatest value of each of some columns, by table, as far as the shards tell it: one wave, more for very many tables.
pub async fn largest<'t>(
    context: &'t Context,
    target: &'t Keyspace,
    columns: &'t [(String, String)],
) -> BTreeMap<&'t str, i128> {
    let mut largest: BTreeMap<&str, i128> = BTreeMap::new();
    if columns.is_empty() {
        return largest;
    }
    let primaries: Vec<&Tablet> = target.shards.iter().filter_map(|shard| shard.primary.as_ref()).collect();
    let asked = gently(&primaries, (columns, AT_ONCE), STATEMENTS_AT_ONCE, |on, some| maxima(context, on, some));
    for (table, value) in asked.await.into_iter().filter_map(|(_, answer)| answer.ok()).flatten() {
        let known = largest.entry(table).or_insert(value);
        *known = (*known).max(value);
    }
    largest
}

async fn maxima<'t>(
    context: &'t Context,
    on: &'t Tablet,
    tables: &'t [(String, String)],
) -> tablet::Result<Vec<(&'t str, i128)>> {
    let ask = |(number, (table, column)): (usize, &(String, String))| {
        format!("(select {number}, max({}) from {})", quote::identifier(column), quote::identifier(table))
    };
    let asks: Vec<String> = tables.iter().enumerate().map(ask).collect();
    let query = format!("select * from ({}) as maxima", asks.join(" union all "));
    let answer = context.tablets.read(on, query, tables.len() as u64).await?;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        let (number, value) = (row.next()?.parse::<usize>().ok()?, row.next()?.parse().ok()?);
        Some((tables.get(number)?.0.as_str(), value))
    };
    Ok(rows::texts(&answer).into_iter().filter_map(pair).collect())
}
