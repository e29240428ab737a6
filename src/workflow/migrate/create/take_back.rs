//! Taking back what a failed create made, by what is proven at that moment, not by what it had planned.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::super::super::record::{self, Facts};
use super::super::super::streams::{self, OnShard};
use super::super::super::{Error, Result};
use super::super::Found;
use super::super::cleanup::claim::{Claim, Kept, Known};
use super::super::cleanup::quiet::quieten;
use super::super::cleanup::{self, Removal, Traces};
use super::apply::Creation;
use super::rival::is_rival;

impl Creation<'_> {
    /// What becomes of a create that failed: it is taken back, unless it went on with streams that had begun to copy. That
    /// may be days of work, and what stopped it may pass.
    pub async fn failed(&self, facts: &Facts, error: Error) -> Error {
        let shards = 0..self.situation.target.keyspace.shards.len();
        if is_rival(&error) || !shards.into_iter().any(|shard| self.situation.has_started(shard)) {
            return self.take_back(facts, error).await;
        }
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        let help = format!(
            "run it again, and it goes on; or take all of it back with: Migrate --target-keyspace {keyspace} --workflow \
             {workflow} cancel"
        );
        Error::Interrupted { error: Box::new(error), help }
    }

    /// Takes back what this create made; answers the error to show. Nothing of it is under way any more, unless a tablet has
    /// fallen silent: then the record stays, so that a later cancel finds what that tablet may still make.
    pub async fn take_back(&self, facts: &Facts, error: Error) -> Error {
        let silent = error.is_silent();
        let undo = match self.undo(facts, &error, silent).await {
            Err(undo) => undo,
            Ok(_) if silent => {
                let text = "a tablet gave no answer and may still be at work; the record is kept";
                Error::precondition("CREATE_UNCERTAIN", text, "")
            }
            Ok(kept) if kept.is_empty() => return error,
            Ok(kept) => return left(error, &kept),
        };
        tracing::error!("a failed create was not wholly taken back: {undo}");
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        let help = format!("finish that with: Migrate --target-keyspace {keyspace} --workflow {workflow} cancel");
        Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
    }

    /// The tables, entries and streams of this name are somebody else's now: nothing is taken from them but what this create
    /// denied besides.
    async fn leave_to_rival(&self, facts: &Facts, found: &Found) -> Result<()> {
        let sources = found.rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref());
        let theirs: BTreeSet<String> = sources.flat_map(streams::tables).collect();
        let rest = |tables: &Vec<String>| tables.iter().filter(|table| !theirs.contains(*table)).cloned().collect();
        let denied: Vec<(String, Vec<String>)> =
            facts.denied_tables.iter().map(|(shard, tables)| (shard.clone(), rest(tables))).collect();
        // that some replicas have not heard of it is logged
        let _missed = cleanup::lift_denied(self.context, self.lock, &found.target, &denied).await?;
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        record::delete(self.context.topo.global(), keyspace, workflow, self.lock).await
    }

    /// Answers the tables that stay, for they are not proven to be this create's.
    async fn undo(&self, facts: &Facts, error: &Error, keep_record: bool) -> Result<Vec<Kept>> {
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        let global = self.context.topo.global();
        let mut facts = Facts { taken_back: true, ..facts.clone() };
        for made in self.made.iter() {
            facts.add_made(made.key(), made.value());
        }
        if let Some(stored) = record::find(global, keyspace, workflow).await? {
            record::put(global, (keyspace.as_str(), workflow.as_str()), &facts, stored.version, self.lock).await?;
        }
        let mut found = Found::read(self.context, keyspace, workflow).await?;
        let not_ours =
            self.situation.rows.is_empty() && !self.inserting.load(Ordering::Relaxed) && !found.rows.is_empty();
        if is_rival(error) || not_ours || found.earlier.is_some() {
            self.leave_to_rival(&facts, &found).await?;
            return Ok(Vec::new());
        }
        quieten(self.context, self.lock, &mut found, workflow).await?;
        let target = &found.target.keyspace;
        let rows: Vec<&OnShard> = found.rows.iter().collect();
        let known = Known { target, rows: &rows, facts: Some(&facts), tables: &facts.tables };
        let claim = Claim::read(self.context, known).await?;
        let with_rows = |at: usize| found.rows.iter().any(|row| row.shard == at);
        let shards = target.shards.iter().enumerate().filter(|(at, _)| with_rows(*at));
        let stays = |table: &&String| !claim.kept.iter().any(|kept| kept.table == **table);
        let traces = Traces {
            with_streams: shards.map(|(_, shard)| shard.name.clone()).collect(),
            vschema_tables: facts.vschema_tables.iter().filter(stays).cloned().collect(),
            tables: claim.tables,
            handed_over: false,
            // what that tablet may still make is not to be written to either
            denied: if keep_record { Vec::new() } else { found.denied() },
            mark: found.noting_streams(),
            keep_record,
        };
        let removal = Removal { context: self.context, lock: self.lock, found: &found, workflow, traces: &traces };
        let _missed = removal.run().await?;
        Ok([claim.kept, claim.left].concat())
    }
}

fn left(error: Error, kept: &[Kept]) -> Error {
    let texts: Vec<String> = kept.iter().map(ToString::to_string).collect();
    let text = format!("left as they are: {}", texts.join("; "));
    let help = "look at these tables, and drop those by hand that nobody needs".to_owned();
    let undo = Error::precondition("TABLES_NOT_OWNED", text, "");
    Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
}
