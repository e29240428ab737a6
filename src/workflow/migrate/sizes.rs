//! The sizes of the source's tables at create, against which the copy is measured, and how far a stream is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join;
use vtmigrated_proto::query::Type;
use vtmigrated_proto::tabletmanagerdata::TableDefinition;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Tablet;

use super::super::preflight::gently;
use super::super::record::{Facts, TableSize};
use super::super::streams::Keyspace;
use super::progress;
use crate::context::Context;
use crate::sql::{quote, rows};
use crate::{deadline, tablet};

/// Tables asked for in one statement.
const AT_ONCE: usize = 200;
/// Such statements that one server of the source is asked at a time, beside the two for its sizes.
const STATEMENTS_AT_ONCE: usize = 2;
/// Bound of all questions for key bounds together: what is not told by then only makes progress coarser.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Up to so many rows the last key tells more than the count of rows, which a stream saves every 30 s (Vitess 22.0.3).
const FEW: i64 = 5_000_000;
/// What is not done is never shown as whole.
const NOT_WHOLE: f64 = 0.9999;

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
    let (sizes, bounds) = join(progress::total(context, &primaries), bounds).await;
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
    let name = table.primary_key_columns.first()?;
    let field = table.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
    let whole = matches!(
        field.r#type(),
        Type::Int8
            | Type::Uint8
            | Type::Int16
            | Type::Uint16
            | Type::Int24
            | Type::Uint24
            | Type::Int32
            | Type::Uint32
            | Type::Int64
            | Type::Uint64
    );
    whole.then(|| name.clone())
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

/// What one stream has to copy, and how far it is.
pub struct Copying<'a> {
    pub stream: &'a Stream,
    /// Tables left with their last keys.
    pub left: Option<&'a Vec<(String, String)>>,
}

impl Copying<'_> {
    /// The part of a table that the stream has copied, 0 to 1. It never shrinks while the copy goes on: tables end, last
    /// keys and counts of copied rows only grow, and the sizes are those of create.
    ///
    /// `share` is the part of each table's rows that comes to this stream.
    pub fn part(&self, size: &TableSize, sizes: &[TableSize], share: &dyn Fn(&str) -> f64) -> f64 {
        let left = |table: &str| self.left.into_iter().flatten().find(|(name, _)| name == table);
        let Some((_, last)) = left(&size.table) else {
            return if self.stream.pos.is_empty() { 0.0 } else { 1.0 };
        };
        if last.is_empty() {
            return 0.0;
        }
        let rows = |size: &TableSize| float(size.rows) * share(&size.table);
        let before: f64 = sizes.iter().filter(|other| left(&other.table).is_none()).map(rows).sum();
        let of_table = rows(size);
        let by_rows = if of_table > 0.0 { (float(self.stream.rows_copied) - before) / of_table } else { 0.0 };
        let by_key = match (size.key, first_key(last)) {
            (Some((low, high)), Some(at)) if size.rows <= FEW && high >= low => {
                float(at.saturating_sub(low).saturating_add(1)) / float(high.saturating_sub(low).saturating_add(1))
            }
            _ => 0.0,
        };
        by_rows.max(by_key).clamp(0.0, NOT_WHOLE)
    }
}

/// The first value of a last key, which is a query result in prototext (Vitess 22.0.3).
fn first_key(last: &str) -> Option<i64> {
    let after = |name: &str| {
        let at = last.rfind("rows:").or_else(|| last.rfind("rows"))?;
        let rest = last.get(at..)?;
        let rest = rest.get(rest.find(name)? + name.len()..)?;
        Some(rest.trim_start_matches([':', ' ', '[', '"', '\'']))
    };
    let length: usize = after("lengths")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    after("values")?.get(..length)?.parse().ok()
}

#[allow(clippy::cast_precision_loss)]
fn float(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(table: &str, rows: i64, key: Option<(i64, i64)>) -> TableSize {
        TableSize { table: table.into(), rows, bytes: rows * 100, key }
    }

    fn key(at: i64) -> String {
        let text = at.to_string();
        format!("fields:{{name:\"id\" type:INT64}}  rows:{{lengths:{} values:\"{text}\"}}", text.len())
    }

    #[test]
    fn last_keys_are_read_leniently() {
        assert_eq!(first_key(&key(1234)), Some(1234));
        assert_eq!(first_key(&key(-7)), Some(-7));
        let two = r#"fields:{name:"id" type:INT64} fields:{name:"b" type:VARCHAR} rows: {lengths: 2  lengths: 3  values: "42abc"}"#;
        assert_eq!(first_key(two), Some(42));
        assert_eq!(first_key(r#"fields:{name:"sku"} rows:{lengths:3 values:"abc"}"#), None);
        assert_eq!(first_key(""), None);
    }

    #[test]
    fn the_better_known_of_key_and_rows_counts() {
        let sizes = [size("a", 100, None), size("b", 1000, Some((1, 2000)))];
        let share = |_: &str| 0.5;
        let part = |rows_copied: i64, last: &str| {
            let stream = Stream { pos: b"x".to_vec(), rows_copied, ..Stream::default() };
            let left = vec![("b".to_owned(), last.to_owned())];
            let copying = Copying { stream: &stream, left: Some(&left) };
            (copying.part(&sizes[0], &sizes, &share), copying.part(&sizes[1], &sizes, &share))
        };
        assert_eq!(part(0, ""), (1.0, 0.0));
        assert_eq!(part(0, &key(500)), (1.0, 0.25));
        // 50 of a, 300 of the 500 that come to this stream
        assert_eq!(part(350, &key(500)), (1.0, 0.6));
        assert_eq!(part(9999, &key(1)).1, NOT_WHOLE);
        let stream = Stream::default();
        assert!(Copying { stream: &stream, left: None }.part(&sizes[0], &sizes, &share).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn parts_only_grow(steps in proptest::collection::vec((0_i64..50, 0_i64..100), 1..40), rows in 0_i64..2000) {
            let sizes = [size("b", rows, Some((1, 1000)))];
            let (mut at, mut copied, mut before) = (0, 0, 0.0);
            for (keys, more) in steps {
                at += keys;
                copied += more;
                let stream = Stream { pos: b"x".to_vec(), rows_copied: copied, ..Stream::default() };
                let left = vec![("b".to_owned(), key(at))];
                let part = Copying { stream: &stream, left: Some(&left) }.part(&sizes[0], &sizes, &|_| 1.0);
                prop_assert!(part >= before && part < 1.0);
                before = part;
            }
        }

        #[test]
        fn hostile_keys_never_panic(text in "\\PC{0,80}") {
            let _ = first_key(&format!("rows{text}lengths:{text}values:{text}"));
            let _ = first_key(&text);
        }
    }
}
