//! The sizes of the source's tables at create, against which the copy is measured, and how far a stream is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join;
use vtmigrated_proto::tabletmanagerdata::TableDefinition;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Tablet;

use super::progress;
use crate::context::Context;
use crate::sql::{ddl, quote, rows};
use crate::workflow::preflight::gently;
use crate::workflow::record::{Facts, TableSize};
use crate::workflow::streams::{self, Keyspace};
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

/// What one stream has to copy, and how far it is.
pub struct Copying<'a> {
    pub stream: &'a Stream,
    /// Tables left with their last keys.
    pub left: Option<&'a Vec<(String, String)>>,
}

impl Copying<'_> {
    /// Tables left, each with its last key; that is empty while nothing of the table is copied.
    pub fn left(&self) -> impl Iterator<Item = (&str, &str)> {
        self.left.into_iter().flatten().map(|(table, last)| (table.as_str(), last.as_str()))
    }

    /// Tables of the workflow that the stream does not bring: each source shard has the whole of a reference table.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.stream.bls.iter().flat_map(streams::excluded)
    }

    /// True once the copy has begun.
    pub fn has_begun(&self) -> bool {
        !self.stream.pos.is_empty()
    }

    /// Rows of the tables that the stream has copied whole: what is not left of the `total` of all rows, and is not left out.
    /// `rows` tells those of a table.
    pub fn whole(&self, total: f64, rows: &dyn Fn(&str) -> f64) -> f64 {
        let others = self.left().map(|(table, _)| table).chain(self.excluded());
        total - others.map(rows).sum::<f64>()
    }

    /// The part of a table that is left which the stream has copied, from 0 to less than 1. It never shrinks while the copy
    /// goes on: last keys and counts of copied rows only grow, and the sizes are those of create.
    ///
    /// `whole` is what [`Self::whole`] says, `rows` are those of the table that come to this stream.
    pub fn part(&self, size: &TableSize, last: &str, whole: f64, rows: f64) -> f64 {
        if last.is_empty() {
            return 0.0;
        }
        let by_rows = if rows > 0.0 { (float(self.stream.rows_copied) - whole) / rows } else { 0.0 };
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

    /// The part of a table that is left, with so many rows copied before and now.
    fn part(size: &TableSize, whole: f64, rows_copied: i64, last: &str) -> f64 {
        let stream = Stream { pos: b"x".to_vec(), rows_copied, ..Stream::default() };
        Copying { stream: &stream, left: None }.part(size, last, whole, float(size.rows) * 0.5)
    }

    #[test]
    fn the_better_known_of_key_and_rows_counts() {
        let size = size("b", 1000, Some((1, 2000)));
        let part = |rows_copied: i64, last: &str| part(&size, 50.0, rows_copied, last);
        assert!(part(0, "").abs() < f64::EPSILON);
        assert!((part(0, &key(500)) - 0.25).abs() < f64::EPSILON);
        // 50 of what came before, 300 of the 500 that come to this stream
        assert!((part(350, &key(500)) - 0.6).abs() < f64::EPSILON);
        assert!((part(9999, &key(1)) - NOT_WHOLE).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_left_is_not_whole() {
        let (stream, left) = (Stream::default(), vec![("b".to_owned(), key(1))]);
        let copying = Copying { stream: &stream, left: Some(&left) };
        let rows = |table: &str| if table == "b" { 500.0 } else { 50.0 };
        assert!((copying.whole(550.0, &rows) - 50.0).abs() < f64::EPSILON);
        assert!(!copying.has_begun());
    }

    proptest! {
        #[test]
        fn parts_only_grow(steps in proptest::collection::vec((0_i64..50, 0_i64..100), 1..40), rows in 0_i64..2000) {
            let size = size("b", rows, Some((1, 1000)));
            let (mut at, mut copied, mut before) = (0, 0, 0.0);
            for (keys, more) in steps {
                at += keys;
                copied += more;
                let part = part(&size, 0.0, copied, &key(at));
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
