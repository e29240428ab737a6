//! What all streams say of a table, folded into one state: pure, and for each table no more than a look at each stream.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Size, TableState};
use crate::workflow::record::TableSize;

pub use super::copying::Copying;

/// The streams of a workflow, and what their copies are measured against.
pub struct Folding<'a> {
    pub streams: Vec<Copying<'a>>,
    /// Sizes at create; none for workflows without them.
    pub sizes: &'a [TableSize],
    /// Whether every target shard gets all rows of a table.
    pub everywhere: &'a dyn Fn(&str) -> bool,
}

/// What the streams that have a table left say of it.
#[derive(Clone, Copy, Default)]
struct Left {
    /// Streams that have it left.
    streams: usize,
    /// Those of them that have begun to copy.
    begun: usize,
    /// Those that have copied nothing of it.
    untouched: usize,
    /// The sum of the parts that they have copied.
    parts: f64,
}

/// Streams that leave a table out.
#[derive(Clone, Copy, Default)]
struct Without {
    streams: usize,
    /// Those of them that have begun to copy.
    begun: usize,
}

impl Folding<'_> {
    /// The state of each of these tables. `present` tells the sizes of those that have none at create: here, and there.
    pub fn tables(
        &self,
        tables: &[String],
        present: &dyn Fn(&str) -> (Size, Option<Size>),
    ) -> BTreeMap<String, TableState> {
        let sizes: HashMap<&str, &TableSize> = self.sizes.iter().map(|size| (size.table.as_str(), size)).collect();
        let without = self.without();
        let left = self.left(&sizes);
        let begun = self.streams.iter().filter(|copying| copying.has_begun()).count();
        let started = begun == self.streams.len();
        let state = |table: &String| {
            let of = left.get(table.as_str()).copied().unwrap_or_default();
            let others = without.get(table.as_str()).copied().unwrap_or_default();
            let bringing = self.streams.len().saturating_sub(others.streams);
            let (here, there) = match sizes.get(table.as_str()) {
                Some(size) => {
                    let there = Size { rows: size.rows, bytes: size.bytes };
                    let parts = of.parts + float(begun.saturating_sub(others.begun + of.begun));
                    (there.part(parts / float(bringing.max(1))), Some(there))
                }
                None => present(table),
            };
            let (done, none) = (of.streams == 0, of.untouched == bringing);
            TableState { here, there, done: started && done, untouched: !started && done || none }
        };
        tables.iter().map(|table| (table.clone(), state(table))).collect()
    }

    /// Tables that streams leave out, with how many do.
    fn without(&self) -> HashMap<&str, Without> {
        let mut found: HashMap<&str, Without> = HashMap::new();
        for copying in &self.streams {
            for table in copying.excluded() {
                let without = found.entry(table).or_default();
                without.streams += 1;
                without.begun += usize::from(copying.has_begun());
            }
        }
        found
    }

    fn left(&self, sizes: &HashMap<&str, &TableSize>) -> HashMap<&str, Left> {
        let shards = self.streams.iter().filter_map(|copying| Some(copying.stream.bls.as_ref()?.shard.as_str()));
        let sources = shards.collect::<BTreeSet<_>>().len();
        let share = |table: &str| self.share(table, sources);
        let rows = |table: &str| sizes.get(table).map_or(0.0, |size| rows_at_create(size) * share(table));
        let total = self.sizes.iter().map(|size| rows(&size.table)).sum();
        let mut found: HashMap<&str, Left> = HashMap::new();
        for copying in &self.streams {
            let whole = copying.whole(total, &rows);
            for (table, last) in copying.left() {
                let left = found.entry(table).or_default();
                left.streams += 1;
                left.begun += usize::from(copying.has_begun());
                left.untouched += usize::from(last.is_empty());
                left.parts += sizes.get(table).map_or(0.0, |size| copying.part(size, last, whole, rows(table)));
            }
        }
        found
    }

    /// The part of a table's rows, summed over the source's shards, of which there are so many, that comes to one stream that
    /// brings it: each shard has the whole of a reference table.
    fn share(&self, table: &str, sources: usize) -> f64 {
        let parts = if (self.everywhere)(table) { sources } else { self.streams.len() };
        1.0 / float(parts.max(1))
    }
}

#[allow(clippy::cast_precision_loss, reason = "there are far fewer streams than 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn rows_at_create(size: &TableSize) -> f64 {
    size.rows as f64
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule};
    use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

    use super::*;
    use crate::workflow::streams::EXCLUDE;

    fn names(tables: &[&str]) -> Vec<String> {
        tables.iter().map(|table| (*table).to_owned()).collect()
    }

    fn left(tables: &[(&str, &str)]) -> Vec<(String, String)> {
        tables.iter().map(|(table, last)| ((*table).to_owned(), (*last).to_owned())).collect()
    }

    fn key(at: i64) -> String {
        format!("fields:{{name:\"id\" type:INT64}} rows:{{lengths:{} values:\"{at}\"}}", at.to_string().len())
    }

    fn size(table: &str) -> TableSize {
        TableSize { table: table.into(), rows: 100, bytes: 10_000, key: Some((1, 100)) }
    }

    /// The states that two streams fold to: `a` is done, `b` half copied by one, `c` waits for both.
    fn fold(sizes: &[TableSize], pos: &[u8]) -> BTreeMap<String, TableState> {
        let stream = Stream { pos: pos.to_vec(), ..Stream::default() };
        let (first, second) = (left(&[("b", &key(50)), ("c", "")]), left(&[("c", "")]));
        let streams = [&first, &second].map(|left| Copying { stream: &stream, left: Some(left) }).into();
        let folding = Folding { streams, sizes, everywhere: &|_| false };
        folding.tables(&names(&["a", "b", "c"]), &|_| (Size { rows: 7, bytes: 70 }, None))
    }

    #[test]
    fn tables_are_done_when_no_stream_has_them_left() {
        let states = fold(&["a", "b", "c"].map(size), b"x");
        let seen = |table: &str| (states[table].done, states[table].untouched, states[table].here.rows);
        assert_eq!((seen("a"), seen("b"), seen("c")), ((true, false, 100), (false, false, 75), (false, true, 0)));
        assert_eq!(states["b"].there, Some(Size { rows: 100, bytes: 10_000 }));
    }

    #[test]
    fn without_sizes_at_create_the_present_ones_count() {
        let states = fold(&[], b"x");
        assert_eq!((states["b"].here.rows, states["b"].there), (7, None));
        let unstarted = fold(&[], b"");
        assert!(unstarted["a"].untouched && !unstarted["a"].done);
    }

    #[test]
    fn a_stream_that_leaves_a_table_out_has_copied_nothing_of_it() {
        let rule = Rule { r#match: "zip".into(), filter: EXCLUDE.into(), ..Rule::default() };
        let filter = Some(Filter { rules: vec![rule], ..Filter::default() });
        let first = Stream { pos: b"x".to_vec(), ..Stream::default() };
        let other = Stream { bls: Some(BinlogSource { filter, ..BinlogSource::default() }), ..first.clone() };
        // one of four source shards brings a reference table
        let sizes = [size("zip")];
        let seen = |last: Option<&str>| {
            let of_first = last.map(|last| left(&[("zip", last)]));
            let mut streams = vec![Copying { stream: &first, left: of_first.as_ref() }];
            streams.extend((1..4).map(|_| Copying { stream: &other, left: None }));
            let folding = Folding { streams, sizes: &sizes, everywhere: &|_| true };
            let state = folding.tables(&names(&["zip"]), &|_| (Size::default(), None))["zip"];
            (state.done, state.untouched, state.here.rows)
        };
        assert_eq!(seen(Some("")), (false, true, 0));
        assert_eq!(seen(Some(&key(50))), (false, false, 50));
        assert_eq!(seen(None), (true, false, 100));
    }

    #[test]
    fn a_workflow_without_streams_has_begun_nothing() {
        let folding = Folding { streams: Vec::new(), sizes: &[], everywhere: &|_| false };
        let states = folding.tables(&names(&["a"]), &|_| (Size::default(), None));
        assert!(states["a"].untouched && states["a"].done);
    }
}
