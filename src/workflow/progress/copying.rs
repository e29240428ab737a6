//! How far a stream is with its copy.

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use crate::workflow::record::TableSize;
use crate::workflow::streams;

/// Up to so many rows the last key tells more than the count of rows, which a stream saves every 30 s (Vitess 22.0.3).
const FEW: i64 = 5_000_000;

/// What is not done is never shown as whole.
const NOT_WHOLE: f64 = 0.9999;

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
