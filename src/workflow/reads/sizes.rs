//! The sizes of the source's tables at create, against which the copy is measured, and how far a stream is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join;
use vtmigrated_proto::tabletmanagerdata::TableDefinition;
use vtmigrated_proto::topodata::Tablet;

use super::servers::gently;
use super::sizes_now;
use crate::context::Context;
use crate::sql::{ddl, quote, rows};
use crate::workflow::record::{Facts, TableSize};
use crate::workflow::streams::Keyspace;
use crate::{deadline, tablet};

/// Tables asked for in one statement.
const AT_ONCE: usize = 200;
/// Such statements that one server of the source is asked at a time, beside the two for its sizes.
const STATEMENTS_AT_ONCE: usize = 2;
/// Bound of all questions for key bounds together: what is not told by then only makes progress coarser.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Sizes and key bounds of the workflow's tables, in their order: one wave, more for very many tables. Empty when the
/// source does not tell: progress is then measured against its present sizes.
pub async fn measure(
    context: &Context,
    source: &Keyspace,
    definitions: &BTreeMap<String, TableDefinition>,
    facts: &Facts,
) -> Vec<TableSize> {
    let primaries: Vec<Tablet> = source.shards.iter().filter_map(|shard| shard.primary.clone()).collect();
    let keyed: Vec<(String, String)> = facts
        .tables
        .iter()
        .filter_map(|table| Some((table.clone(), whole_number_key(definitions.get(table)?)?)))
        .collect();
    let servers: Vec<&Tablet> = primaries.iter().collect();
    let asked = gently(&servers, (&keyed, AT_ONCE), STATEMENTS_AT_ONCE, |on, some| bounds(context, on, some));
    let until = deadline::now() + deadline::remaining(TIMEOUT);
    let bounds = deadline::scope(Some(until), asked);
    let (sizes, bounds) = join(sizes_now::total(context, &primaries), bounds).await;
    let sizes = match sizes {
        Ok(sizes) => sizes,
        Err(error) => {
            tracing::warn!("the source does not tell the sizes of its tables: {error}");
            return Vec::new();
        }
    };
    let mut keys: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (table, (low, high)) in bounds.into_iter().filter_map(|(_, answer)| answer.ok()).flatten() {
        let known = keys.entry(table).or_insert((low, high));
        *known = (known.0.min(low), known.1.max(high));
    }
    let size = |table: &String| {
        let size = sizes.get(table).copied().unwrap_or_default();
        TableSize { table: table.clone(), rows: size.rows, bytes: size.bytes, key: keys.get(table).copied() }
    };
    facts.tables.iter().map(size).collect()
}

/// The first column of a primary key that begins with whole numbers.
fn whole_number_key(table: &TableDefinition) -> Option<String> {
    let shape = ddl::shape(&table.schema).ok()?;
    let name = shape.primary.first()?;
    shape.column(name)?.kind.is_integer().then(|| name.clone())
}

type Bounds = Vec<(String, (i64, i64))>;

async fn bounds(context: &Context, on: &Tablet, tables: &[(String, String)]) -> tablet::Result<Bounds> {
    let ask = |(number, (table, column)): (usize, &(String, String))| {
        let column = quote::identifier(column);
        format!("(select {number} as n, min({column}) as low, max({column}) as high from {})", quote::identifier(table))
    };
    let asks: Vec<String> = tables.iter().enumerate().map(ask).collect();
    let query = format!("select * from ({}) as bounds", asks.join(" union all "));
    let answer = context.tablets.read(on, query, tables.len() as u64).await?;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        let table = tables.get(row.next()?.parse::<usize>().ok()?)?;
        Some((table.0.clone(), (row.next()?.parse().ok()?, row.next()?.parse().ok()?)))
    };
    Ok(rows::texts(&answer).into_iter().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_tells_whether_its_key_begins_with_whole_numbers() {
        let first = |columns: &str| {
            let schema = format!("CREATE TABLE `t` (\n  {columns}\n)");
            whole_number_key(&TableDefinition { schema, ..TableDefinition::default() })
        };
        let two = "`a` varchar(9) NOT NULL,\n  `b``c` bigint unsigned NOT NULL,\n  PRIMARY KEY (`b``c`,`a`)";
        assert_eq!(first(two).as_deref(), Some("b`c"));
        for (kind, is_known) in [
            ("tinyint(1)", true),
            ("int(11)", true),
            ("mediumint unsigned", true),
            ("varchar(9)", false),
            ("decimal(10,0)", false),
            ("year", false),
            ("bit(8)", false),
        ] {
            let known = first(&format!("`i` {kind} NOT NULL,\n  PRIMARY KEY (`i`)"));
            assert_eq!(known.is_some(), is_known, "{kind}");
        }
        assert_eq!(first("`i` int NOT NULL,\n  UNIQUE KEY `u` (`i`)"), None);
        assert_eq!(whole_number_key(&TableDefinition::default()), None);
    }
}
