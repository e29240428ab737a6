//! The tables of a workflow: which they are, which of them it denied to clients, and on which others work, too.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Reason, check};
use crate::workflow::findings::Finding;
use crate::workflow::names::back::{self, command};
use crate::workflow::names::{self};
use crate::workflow::record::Facts;
use crate::workflow::streams::{self, Keyspace, Origin, ShardWorkflow};
use crate::workflow::{Error, Result};

/// Tables that running streams of other workflows bring, with the workflow.
pub type Others = BTreeMap<String, String>;

/// Those that some streams of other workflows bring.
pub fn others<'r>(rows: impl IntoIterator<Item = &'r ShardWorkflow>) -> Others {
    let running = streams::brought(rows).filter(|(_, _, stream)| !streams::is_frozen(stream));
    running.map(|(table, workflow, _)| (table, workflow.to_owned())).collect()
}

/// What is known of a workflow, and of the others of its keyspace.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub target: &'a Keyspace,
    pub rows: &'a [ShardWorkflow],
    pub facts: Option<&'a Facts>,
    pub origin: &'a Origin,
    pub others: &'a Others,
}

impl Known<'_> {
    /// All tables that the record and the streams name.
    pub fn tables(&self) -> Vec<String> {
        let mut tables = self.facts.map(|facts| facts.tables.clone()).unwrap_or_default();
        let known: BTreeSet<String> = tables.iter().cloned().collect();
        tables.extend(self.origin.tables.iter().filter(|table| !known.contains(*table)).cloned());
        tables
    }

    /// True when a record is about one of the shards as they are now.
    pub fn is_about_some(&self, facts: &Facts) -> bool {
        self.target.shards.iter().any(|shard| facts.may_be_about(&shard.name, shard.record.created))
    }

    /// Denied tables that the workflow put on each shard.
    pub fn denied_ever(&self) -> Vec<(String, Vec<String>)> {
        let shards = self.target.shards.iter();
        match self.facts {
            Some(facts) if self.rows.is_empty() || self.is_about_some(facts) => {
                let recorded: BTreeSet<&String> = facts.tables.iter().collect();
                let others = self.origin.tables.iter().filter(|table| !recorded.contains(table));
                let of = |name: &str| facts.denied_on(name).iter().chain(others.clone()).cloned().collect();
                let about = shards.filter(|shard| facts.may_be_about(&shard.name, shard.record.created));
                about.map(|shard| (shard.name.clone(), of(&shard.name))).collect()
            }
            _ => shards.map(|shard| (shard.name.clone(), self.origin.tables.clone())).collect(),
        }
    }

    /// Refuses to end a workflow of whose tables others bring some: they would go, or be written to. What its own streams bring,
    /// too, may be left to them (`leaves_own`) where the data is kept, for there must be a way out, and after the handover.
    ///
    /// # Errors
    /// `TABLES_SHARED`.
    pub fn refuse(&self, doing: &str, workflow: &str, leaves_own: bool) -> Result<()> {
        if self.others.is_empty() {
            return Ok(());
        }
        let keyspace = &self.target.name;
        let own: BTreeSet<&String> = self.origin.tables.iter().filter(|_| !self.rows.is_empty()).collect();
        let denied = self.denied_ever().into_iter().flat_map(|(_, tables)| tables);
        let tables: BTreeSet<String> = self.tables().into_iter().chain(denied).collect();
        let of_others = tables.iter().filter(|table| self.others.contains_key(*table));
        let shared: Vec<&String> = of_others.filter(|table| !(leaves_own && own.contains(table))).collect();
        if shared.is_empty() {
            return Ok(());
        }
        let named = |table: &&String| Some(format!("{table} ({})", self.others.get(*table)?));
        let named: Vec<String> = shared.iter().filter_map(named).collect();
        let text = format!(
            "cannot {doing} workflow {workflow} in keyspace {keyspace}: another workflow works on its tables: {}",
            names::some(&named, ", ")
        );
        let help = match shared.iter().any(|table| own.contains(table)) {
            true => format!(
                "end the other one and keep its tables, then repeat this: Workflow --keyspace {keyspace} delete --workflow \
                 {} --keep-data",
                shared
                    .iter()
                    .filter(|table| own.contains(**table))
                    .find_map(|table| self.others.get(*table))
                    .map_or("", |w| w)
            ),
            false => "complete or cancel that one first, then repeat this".to_owned(),
        };
        Err(Error::precondition(Reason::TABLES_SHARED, text, help))
    }

    /// The same as what speaks against completing the workflow, unless it has handed its tables over.
    pub fn finding(&self, workflow: &str) -> Option<Finding> {
        if self.facts.is_some_and(|facts| facts.handed_over) {
            return None;
        }
        let error = self.refuse("complete", workflow, false).err()?;
        Some(Finding::of(&error, format!("workflow {workflow}")))
    }
}

/// What others have to do with a workflow that speaks against completing it: it is the way back of another cluster's, or they work on its
/// tables.
pub fn of_neighbours(
    (target, workflow): (&Keyspace, &str),
    rows: &[ShardWorkflow],
    facts: Option<&Facts>,
    (origin, others): (&Origin, &[ShardWorkflow]),
) -> Vec<Finding> {
    let theirs = told_of_another((&target.name, workflow), rows);
    let others = self::others(others);
    let shared = Known { target, rows, facts, origin, others: &others }.finding(workflow);
    theirs.into_iter().chain(shared).collect()
}

/// What there is to tell of a workflow that is the way back of another cluster's migration, to a server of the cluster that it leads
/// to: it is not ended as if it were a migration itself. `rows` are its streams.
pub fn told_of_another((keyspace, workflow): (&str, &str), rows: &[ShardWorkflow]) -> Option<Finding> {
    let mut streams = rows.iter().flat_map(|row| &row.found.streams);
    let of = streams.find_map(|stream| back::whose(stream, workflow))?;
    let cause = format!("it is the way back of {}.{}, and the tables are the keyspace's own", of.0, of.1);
    let fix = format!(
        "decide in that cluster: {}, or {}; when that cluster is gone: Workflow --keyspace {keyspace} delete --workflow {workflow} \
         --keep-data",
        command("complete", of),
        command("cancel", of)
    );
    Some(Finding::new(&check::WAY_BACK_OF_ANOTHER, format!("workflow {keyspace}.{workflow}"), cause, fix))
}
