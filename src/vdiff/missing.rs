//! Tables of a workflow that its source does not have any more.
//!
//! A target primary that is to compare such a table crashes, and crashes again at every start, for it takes unfinished
//! diffs up again (Vitess up to 22.0.3).

use std::collections::BTreeMap;

use futures::future::join_all;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::picking::Side;
use crate::context::Context;
use crate::sql::{quote, rows};
use crate::tablet;
use crate::workflow::{Error, Result};

/// Tables asked for in one statement.
const AT_ONCE: usize = 500;

/// Proves that no primary of the source lacks one of the tables: one wave. A primary that does not tell proves nothing.
///
/// # Errors
/// The tables that are not there, with the shards that lack them.
pub async fn check(context: &Context, source: &Side, tables: &[String]) -> Result<()> {
    // patterns of a workflow that stock made are no names
    let tables: Vec<&String> = tables.iter().filter(|table| !table.starts_with('/')).collect();
    let mut lacking: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let shards = source.tablets.iter().filter_map(|(shard, tablets)| {
        let primary = tablets.iter().find(|tablet| tablet.r#type() == TabletType::Primary)?;
        Some((shard, primary))
    });
    let asked = shards.map(|(shard, primary)| {
        let tables = &tables;
        async move { (shard, there(context, primary, tables).await) }
    });
    for (shard, answer) in join_all(asked).await {
        match answer {
            Ok(there) => {
                let missing = tables.iter().filter(|table| !there.contains(*table));
                missing.for_each(|table| lacking.entry(table).or_default().push(shard));
            }
            Err(error) => tracing::debug!("the tables of source shard {shard} were not looked at: {error}"),
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
    let names: Vec<String> = lacking.iter().map(text).collect();
    let text = format!("tables of the workflow are not in the source any more: {}", names.join(", "));
    let rest: Vec<&str> = tables.iter().map(|t| t.as_str()).filter(|table| !lacking.contains_key(table)).collect();
    let help = if rest.is_empty() {
        "there is nothing to compare them with".to_owned()
    } else {
        format!("compare the rest: --tables {}", rest.join(","))
    };
    Err(Error::precondition("SOURCE_TABLE_MISSING", text, help))
}

/// Those of some tables that a tablet's database has.
async fn there(context: &Context, on: &Tablet, tables: &[&String]) -> tablet::Result<Vec<String>> {
    let query = |tables: &[&String]| {
        format!(
            "select /*+ MAX_EXECUTION_TIME(4000) */ table_name from information_schema.tables \
             where table_schema = database() and table_name in ({})",
            quote::literals(tables.iter().map(|table| table.as_str()))
        )
    };
    let reads = tables.chunks(AT_ONCE).map(|some| context.tablets.read(on, query(some), some.len() as u64 + 1));
    let mut found = Vec::new();
    for read in join_all(reads).await {
        found.extend(rows::texts(&read?).into_iter().flatten().flatten());
    }
    Ok(found)
}
