//! What the other workflows of a keyspace need.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::record::{Facts, Phase};
use super::super::super::streams::{self, OnShard};

/// Tables of the other workflows of a keyspace.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Those that their streams or their records name.
    named: BTreeSet<String>,
    /// Those that they work on, so that writes must stay denied: they have streams, or a create or complete that goes on. The
    /// value is the workflow.
    at_work: BTreeMap<String, String>,
}

impl Others {
    /// The tables of all workflows but one. Records are keyspace, workflow and facts; those that cannot be read name nothing.
    pub fn of(
        keyspace: &str,
        workflow: &str,
        records: &[&(String, String, Result<Facts, String>)],
        rows: &[OnShard],
    ) -> Self {
        let mut others = Self::default();
        for row in rows.iter().filter(|row| row.found.workflow != workflow) {
            let sources = row.found.streams.iter().filter_map(|stream| stream.bls.as_ref());
            others.work(sources.flat_map(streams::tables), &row.found.workflow);
        }
        let of_keyspace = records.iter().filter(|(of, name, _)| of == keyspace && name != workflow);
        for (_, name, facts) in of_keyspace {
            let Ok(facts) = facts else { continue };
            others.named.extend(facts.tables.iter().cloned());
            let goes_on = facts.phase == Phase::Creating || facts.completing;
            if goes_on && !facts.taken_back && !facts.handed_over {
                others.work(facts.tables.iter().cloned(), name);
            }
        }
        others.named.extend(others.at_work.keys().cloned());
        others
    }

    /// True for a table that another workflow's streams or record name.
    pub fn names(&self, table: &str) -> bool {
        self.named.contains(table)
    }

    /// The workflow that works on a table.
    pub fn at_work_on(&self, table: &str) -> Option<&str> {
        self.at_work.get(table).map(String::as_str)
    }

    fn work(&mut self, tables: impl Iterator<Item = String>, workflow: &str) {
        self.at_work.extend(tables.map(|table| (table, workflow.to_owned())));
    }
}
