//! When the tables of a shard were made, as cancel notes it before it takes any of them away: whoever goes on with a cancel that
//! was cut off tells by it the workflow's tables from those that somebody has made since.
//!
//! It is MySQL's `create_time`, in whole seconds. All servers of a shard have the same: replicas take it from the statement.

use std::collections::BTreeMap;
use std::iter;

use serde::{Deserialize, Serialize};

/// Most runs of all shards together: topologies bound their values.
const MOST: usize = 2_048;
/// Past any difference of two times, in seconds.
const WIDEST: i64 = 1 << 40;
/// No second at all.
const NEVER: Span = (1, 0);

/// First and last of some seconds since the epoch.
type Span = (i64, i64);

/// A table when cancel began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Absent,
    /// Made at this second since the epoch, which was over.
    Made(i64),
    /// It was there, and nothing would tell it from one that is made later.
    Unclear,
}

/// Tables that follow each other in the record's list: how many, and the seconds in which they were made; `None` when they were
/// not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run(u32, Option<Span>);

/// The runs of each shard.
pub type MadeAt = Vec<(String, Vec<Run>)>;

/// A table of now beside the one of its name when a cancel began that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Same,
    /// It was not there then, or was made at another time.
    Another,
    /// Nothing tells.
    Unclear,
}

/// Notes the tables of each shard, in the order of the record's list. Each with its own second, unless that takes too much room:
/// then neighbours share the seconds from the first to the last of them.
pub fn note(shards: &[(String, Vec<Then>)]) -> MadeAt {
    let mut span = 0;
    loop {
        let noted: MadeAt = shards.iter().map(|(shard, tables)| (shard.clone(), runs(tables, span))).collect();
        let count: usize = noted.iter().map(|(_, runs)| runs.len()).sum();
        if count <= MOST || span > WIDEST {
            return noted;
        }
        span = span * 4 + 1;
    }
}

fn runs(tables: &[Then], span: i64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for table in tables {
        let made = match table {
            Then::Absent => None,
            Then::Made(at) => Some((*at, *at)),
            Then::Unclear => Some(NEVER),
        };
        let joined = runs.last().and_then(|last| last.with(made, span));
        match (joined, runs.last_mut()) {
            (Some(joined), Some(last)) => *last = joined,
            _ => runs.push(Run(1, made)),
        }
    }
    runs
}

impl Run {
    /// The run with one table more, unless that does not belong to it.
    fn with(self, made: Option<Span>, span: i64) -> Option<Self> {
        let Self(tables, of) = self;
        let both = match (of, made) {
            (Some((from, to)), Some((first, last))) if from <= to && first <= last => {
                let (from, to) = (from.min(first), to.max(last));
                (to.saturating_sub(from) <= span).then_some(Some((from, to)))?
            }
            _ => (of == made).then_some(of)?,
        };
        Some(Self(tables.checked_add(1)?, both))
    }
}

/// What is noted of a shard's tables, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted<'f>(BTreeMap<&'f str, Option<Span>>);

impl<'f> Noted<'f> {
    /// The runs of tables in this order; of tables past them nothing is noted.
    pub fn new(tables: &'f [String], runs: &[Run]) -> Self {
        let spans = runs.iter().flat_map(|Run(tables, made)| iter::repeat_n(*made, *tables as usize));
        Self(tables.iter().map(String::as_str).zip(spans).collect())
    }

    /// True for a table that was not there.
    pub fn was_absent(&self, table: &str) -> bool {
        matches!(self.0.get(table), Some(None))
    }

    /// Compares a table that is there now; `made` is when it was made, in seconds since the epoch, if MySQL tells it.
    pub fn compare(&self, table: &str, made: Option<i64>) -> Since {
        match (self.0.get(table), made) {
            (Some(None), _) => Since::Another,
            (Some(Some((from, to))), Some(at)) if from <= to => match (*from..=*to).contains(&at) {
                true => Since::Same,
                false => Since::Another,
            },
            _ => Since::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("t{number}")).collect()
    }

    #[test]
    fn each_table_is_told_from_one_that_was_made_at_another_second() {
        let then = [Then::Made(70), Then::Made(70), Then::Absent, Then::Made(71), Then::Unclear];
        let noted = note(&[("0".into(), then.to_vec())]);
        assert_eq!(serde_json::to_string(&noted).unwrap(), r#"[["0",[[2,[70,70]],[1,null],[1,[71,71]],[1,[1,0]]]]]"#);
        let tables = names(6);
        let noted = Noted::new(&tables, &noted[0].1);
        assert_eq!(noted.compare("t1", Some(70)), Since::Same);
        for (table, made) in [("t0", Some(69)), ("t1", Some(71)), ("t2", Some(70)), ("t2", None), ("t3", Some(70))] {
            assert_eq!(noted.compare(table, made), Since::Another, "{table} {made:?}");
        }
        // the last of them is past the runs
        for (table, made) in [("t0", None), ("t4", Some(1)), ("t4", Some(0)), ("t5", Some(70)), ("other", Some(70))] {
            assert_eq!(noted.compare(table, made), Since::Unclear, "{table} {made:?}");
        }
        assert!(noted.was_absent("t2") && !noted.was_absent("t3") && !noted.was_absent("t5"));
    }

    #[test]
    fn a_note_has_a_bound_and_what_is_made_later_is_another_table_still() {
        const AT: i64 = 1_700_000_000;
        let made = |shard: usize, table: usize| {
            let by_chance = i64::try_from((shard + 1) * (table + 7) * 7_919 % 100_003).unwrap();
            if shard == 0 { AT + by_chance } else { AT + i64::try_from(table / 40).unwrap() }
        };
        let shards: Vec<(String, Vec<Then>)> = (0..40)
            .map(|shard| (shard.to_string(), (0..4_000).map(|table| Then::Made(made(shard, table))).collect()))
            .collect();
        let noted = note(&shards);
        assert!(noted.iter().map(|(_, runs)| runs.len()).sum::<usize>() <= MOST);
        let tables = names(4_000);
        for (shard, (_, runs)) in noted.iter().enumerate() {
            let noted = Noted::new(&tables, runs);
            for (at, table) in tables.iter().enumerate() {
                assert_eq!(noted.compare(table, Some(made(shard, at))), Since::Same);
                assert_eq!(noted.compare(table, Some(AT + 100_003)), Since::Another);
            }
        }
    }

    #[test]
    fn runs_of_any_length_are_read() {
        let runs: Vec<Run> = serde_json::from_str("[[4294967295,null],[4294967295,[5,5]]]").unwrap();
        assert!(Noted::new(&names(2), &runs).was_absent("t1"));
        assert_eq!(Run(u32::MAX, None).with(None, 0), None);
        let note = note(&[("0".into(), vec![Then::Made(i64::MIN), Then::Made(i64::MAX)])]);
        assert_eq!(note[0].1.len(), 2);
    }
}
