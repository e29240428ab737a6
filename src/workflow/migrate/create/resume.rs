//! A create that was interrupted, and whether this one may go on with it.

use crate::error::Reason;
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::situation::{ClusterState, Left};
use crate::workflow::record::{Facts, Phase, earlier};
use crate::workflow::streams::{ShardWorkflow, TargetShard};
use crate::workflow::{Error, Result};

impl ClusterState {
    /// The facts of an interrupted create that this one goes on with; `None` for a fresh one.
    pub fn resumed(&self, arguments: &Arguments) -> Result<Option<Facts>> {
        let interrupted = self.interrupted();
        let (keyspace, workflow) = (&arguments.target_keyspace, &arguments.workflow);
        let cancel = format!("Migrate --target-keyspace {keyspace} --workflow {workflow} cancel");
        match interrupted {
            Some(facts) if facts.arguments == arguments.fingerprint() => {
                self.may_go_on(facts, (keyspace, workflow), &cancel)?;
                Ok(Some(self.with_own_tables(facts)))
            }
            Some(_) => {
                let text = format!(
                    "workflow {workflow} already exists in keyspace {keyspace}: a create with other arguments was interrupted"
                );
                Err(Error::exists(
                    Reason::WORKFLOW_EXISTS,
                    text,
                    format!("repeat it with the same arguments, or take it back with: {cancel}"),
                ))
            }
            None if self.rows.is_empty() => Ok(None),
            None => {
                let alias = |row: &ShardWorkflow| {
                    let shard = self.target.keyspace.shards.get(row.shard);
                    shard.and_then(|s| s.primary.as_ref()).map(crate::tablet::alias).unwrap_or_default()
                };
                let line =
                    |row| format!("workflow {workflow} already exists in keyspace {keyspace} on tablet {}", alias(row));
                let mut lines: Vec<String> = self.rows.iter().map(line).collect();
                lines.sort();
                Err(Error::exists(
                    Reason::WORKFLOW_EXISTS,
                    lines.join("\n"),
                    format!("choose another name, or end it with: {cancel}"),
                ))
            }
        }
    }

    /// Refuses to go on with an interrupted create.
    fn may_go_on(&self, facts: &Facts, (keyspace, workflow): (&str, &str), cancel: &str) -> Result<()> {
        if facts.taken_back || facts.cancelling {
            let text = match facts.taken_back {
                true => format!(
                    "an earlier create of workflow {workflow} in keyspace {keyspace} failed and was not wholly taken back"
                ),
                false => format!("a cancel of workflow {workflow} in keyspace {keyspace} was interrupted"),
            };
            return Err(Error::precondition(
                Reason::CREATE_HALF_TAKEN_BACK,
                text,
                format!("finish that with: {cancel}"),
            ));
        }
        if !self.is_about_all(facts) {
            let text = format!(
                "the shards of keyspace {keyspace} are not those that an interrupted create of workflow {workflow} worked on"
            );
            return Err(Error::precondition(Reason::SHARDS_CHANGED, text, format!("take it back with: {cancel}")));
        }
        if let Some((shard, table, why)) = self.written_meanwhile(facts) {
            let text = format!(
                "writes to {table} on shard {keyspace}/{shard} are not denied {why}, and streams of workflow {workflow} have \
                 filled it: clients may have written"
            );
            let help = format!(
                "look at its rows; to end the workflow and keep its tables: Workflow --keyspace {keyspace} delete \
                 --workflow {workflow} --keep-data"
            );
            return Err(Error::precondition(Reason::WRITES_NOT_DENIED, text, help));
        }
        Ok(())
    }

    /// The facts of an interrupted create. Those of one on a keyspace that was deleted since, with its streams, are none.
    fn interrupted(&self) -> Option<&Facts> {
        let facts = self.record.as_ref().map(|stored| &stored.facts).filter(|facts| facts.phase == Phase::Creating)?;
        earlier::of(facts, &self.target.keyspace, &self.rows)?;
        let about = |shard: &TargetShard| facts.may_be_about(&shard.name, shard.record.created);
        (!self.rows.is_empty() || self.target.keyspace.shards.iter().any(about)).then_some(facts)
    }

    /// A table that streams have begun to copy into and that clients could write to, although create had denied it, with its
    /// shard before and the reason behind it.
    fn written_meanwhile(&self, facts: &Facts) -> Option<(String, String, &'static str)> {
        let started = self.target.keyspace.shards.iter().enumerate().filter(|(at, _)| self.has_started(*at));
        started.into_iter().find_map(|(_, shard)| {
            let ours = facts.denied_on(&shard.name);
            let unaware = ours.first().filter(|_| self.unaware.contains(&shard.name));
            let (table, why) = match unaware {
                Some(table) => (table, "by its primary, or by one since, which was not refreshed when they were"),
                None => (shard.first_not_denied(ours)?, "any more"),
            };
            Some((shard.name.clone(), table.clone(), why))
        })
    }

    fn is_about_all(&self, facts: &Facts) -> bool {
        let shards = &self.target.keyspace.shards;
        let about = shards.iter().all(|shard| facts.may_be_about(&shard.name, shard.record.created));
        about && (facts.shards.is_empty() || facts.shards.len() == shards.len())
    }

    /// The facts of an interrupted create that goes on: it makes what is not there, and has made what is there only when its
    /// record says so and writes to it are denied still. Everything else is somebody's.
    fn with_own_tables(&self, stored: &Facts) -> Facts {
        let mut facts = stored.clone();
        for (shard, there) in self.target.keyspace.shards.iter().zip(&self.target_tables) {
            let left = Left::of(stored, shard);
            let own = |table: &&String| !there.contains_key(*table) || left.made.contains(*table);
            for (_, made) in facts.created_tables.iter_mut().filter(|(name, _)| *name == shard.name) {
                *made = stored.tables.iter().filter(own).cloned().collect();
            }
        }
        facts
    }
}
