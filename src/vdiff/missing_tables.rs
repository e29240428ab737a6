//! Tables of a workflow that its source does not have any more.
//!
//! A target primary that is to compare such a table crashes, and crashes again at every start, for it takes unfinished
//! diffs up again (Vitess up to 22.0.3).

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::future::join_all;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::tablet_picker::Side;
use crate::context::Context;
use crate::error::Reason;
use crate::failure::{Error, Result};
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::names;
use crate::workflow::reads::servers::few;
use crate::workflow::streams::{self, ShardWorkflow};

/// Tables asked for in one statement.
const AT_ONCE: usize = 500;

/// Tables by the source shard that streams bring them from. A Reshard brings a reference table from one shard only.
pub fn brought(rows: &[ShardWorkflow]) -> BTreeMap<String, BTreeSet<String>> {
    let mut brought: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for bls in rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref()) {
        // patterns of a workflow that stock made are no names
        let tables = streams::included(bls).filter(|table| !table.starts_with('/')).map(str::to_owned);
        brought.entry(bls.shard.clone()).or_default().extend(tables);
    }
    brought
}

/// Proves that no primary of the source lacks one of the tables that streams bring from its shard, or of `only` if that
/// names some: one wave, more for very many tables. A primary that does not tell proves nothing.
///
/// # Errors
/// The tables that are not there, with the shards that lack them.
pub async fn check(
    context: &Context,
    source: &Side,
    brought: &BTreeMap<String, BTreeSet<String>>,
    only: &[String],
) -> Result<()> {
    let only: BTreeSet<&String> = only.iter().collect();
    let compared = |table: &&String| only.is_empty() || only.contains(*table);
    let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let shards = source.tablets.iter().filter_map(|(shard, tablets)| {
        let primary = tablets.iter().find(|tablet| tablet.r#type() == TabletType::Primary)?;
        let tables: Vec<&String> = brought.get(shard)?.iter().filter(compared).collect();
        Some((shard, primary, tables))
    });
    let asked = shards.map(|(shard, primary, tables)| async move {
        let there = there(context, primary, &tables).await;
        (shard, tables, there)
    });
    for (shard, tables, answer) in join_all(asked).await {
        match answer {
            Ok(there) => {
                let missing = tables.into_iter().filter(|table| !there.contains(*table));
                missing.for_each(|table| lacking.entry(table).or_default().push(shard));
            }
            Err(error) => tracing::debug!("cannot check the tables of source shard {shard}: {error}"),
        }
    }
    if lacking.is_empty() {
        return Ok(());
    }
    let keyspace = &source.keyspace;
    let text = |(table, shards): (&&str, &Vec<&str>)| {
        let shards: Vec<String> = shards.iter().map(|shard| format!("{keyspace}/{shard}")).collect();
        format!("{table} (not on {})", shards.join(", "))
    };
    let named: Vec<String> = lacking.iter().map(text).collect();
    let text = format!("tables of the workflow are no longer in the source: {}", names::some(&named, ", "));
    let all: BTreeSet<&str> = brought.values().flatten().filter(compared).map(String::as_str).collect();
    let rest: Vec<&str> = all.into_iter().filter(|table| !lacking.contains_key(table)).collect();
    let help = if rest.is_empty() {
        "there is nothing to compare them with".to_owned()
    } else {
        format!("compare the rest: --tables {}", names::argument(&rest))
    };
    Err(Error::precondition(Reason::SOURCE_TABLE_MISSING, text, help))
}

/// Those of some tables that a tablet's database has.
async fn there(context: &Context, on: &Tablet, tables: &[&String]) -> tablet::Result<BTreeSet<String>> {
    let query = |tables: &[&String]| {
        format!(
            "select /*+ MAX_EXECUTION_TIME(4000) */ table_name from information_schema.tables \
             where table_schema = database() and table_name in ({})",
            quote::literals(tables.iter().map(|table| table.as_str()))
        )
    };
    let mut reads = Vec::new();
    for some in tables.chunks(AT_ONCE) {
        reads.push(context.tablets.read(on, query(some), some.len() as u64 + 1).boxed());
    }
    Ok(few(reads).await?.iter().flat_map(rows::texts).flatten().flatten().collect())
}
