//! What the other workflows of a keyspace need.

use std::collections::BTreeSet;

use crate::workflow::record::{Facts, Phase};
use crate::workflow::streams::{self, ShardWorkflow};

/// Tables of the other workflows of a keyspace.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Those that their streams or their records name.
    named: BTreeSet<String>,
    /// Those that they work on, so that writes must stay denied: they have streams, or a create or complete that goes on.
    at_work: BTreeSet<String>,
}

impl Others {
    /// The tables of all workflows but one. Records are keyspace, workflow and facts; those that cannot be read name nothing.
    pub fn of(
        keyspace: &str,
        workflow: &str,
        records: &[&(String, String, Result<Facts, String>)],
        rows: &[ShardWorkflow],
    ) -> Self {
        let mut others = Self::default();
        let brought = streams::brought(rows.iter().filter(|row| row.found.workflow != workflow));
        others.at_work.extend(brought.map(|(table, _, _)| table));
        let of_keyspace = records.iter().filter(|(of, name, _)| of == keyspace && name != workflow);
        for facts in of_keyspace.filter_map(|(_, _, facts)| facts.as_ref().ok()) {
            others.named.extend(facts.tables.iter().cloned());
            let goes_on = facts.phase == Phase::Creating || facts.completing;
            if goes_on && !facts.taken_back && !facts.handed_over {
                others.at_work.extend(facts.tables.iter().cloned());
            }
        }
        others.named.extend(others.at_work.iter().cloned());
        others
    }

    /// True for a table that another workflow's streams or record name.
    pub fn names(&self, table: &str) -> bool {
        self.named.contains(table)
    }

    /// True for a table that another workflow works on.
    pub fn work_on(&self, table: &str) -> bool {
        self.at_work.contains(table)
    }
}
