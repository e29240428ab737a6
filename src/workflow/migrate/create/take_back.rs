//! Taking back what a failed create made, by what is proven at that moment, not by what it had planned.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::apply::Creation;
use super::rival::is_rival;
use crate::error::Reason;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::{self, Facts, Stored};
use crate::workflow::removal::claim::{Claim, ClaimInputs, KeptTable};
use crate::workflow::removal::ownership::Doubt;
use crate::workflow::removal::quiet::quieten;
use crate::workflow::removal::{CreatedObjects, Removal, entries};
use crate::workflow::streams::ShardWorkflow;
use crate::workflow::{Error, Result, names};

/// Tables by shard.
type ByShard = Vec<(String, Vec<String>)>;

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
                Error::precondition(Reason::CREATE_UNCERTAIN, text, "")
            }
            Ok(kept) if kept.is_empty() => return error,
            Ok(kept) => return left(error, &kept),
        };
        tracing::error!("a failed create was not wholly taken back: {undo}");
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        let help = format!("finish that with: Migrate --target-keyspace {keyspace} --workflow {workflow} cancel");
        Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
    }

    /// Answers the tables that stay, for they are not proven to be this create's. What others' streams bring is left to them,
    /// whether they are of this name or of another.
    async fn undo(&self, facts: &Facts, error: &Error, keep_record: bool) -> Result<Vec<KeptTable>> {
        let (keyspace, workflow) = (&self.arguments.target_keyspace, &self.arguments.workflow);
        let global = self.context.topo.global();
        let mut facts = Facts { taken_back: true, ..facts.clone() };
        for made in self.made.iter() {
            facts.add_made(made.key(), made.value());
        }
        let mut version = record::NONE;
        if let Some(stored) = record::find(global, keyspace, workflow).await? {
            let names = (keyspace.as_str(), workflow.as_str());
            version = record::put(global, names, &facts, stored.version, self.lock).await?;
        }
        let mut found = ExistingWorkflow::read(self.context, keyspace, workflow).await?;
        found.refuse_unread_vschema()?;
        let theirs = self.theirs(&found, error);
        if theirs.of_rival.is_none() {
            quieten(self.context, self.lock, &mut found, workflow).await?;
        }
        let keep_record = keep_record && theirs.of_rival.is_none();
        let tables: Vec<String> = facts.tables.iter().filter(|table| !theirs.have(table)).cloned().collect();
        let target = &found.target.keyspace;
        let rows: Vec<&ShardWorkflow> = found.rows.iter().collect();
        let known = ClaimInputs { target, rows: &rows, facts: Some(&facts), tables: &tables };
        let mut claim = Claim::read(self.context, known).await?;
        claim.left.extend(theirs.made(&facts));
        let staying: BTreeSet<&String> = claim.kept.iter().chain(&claim.left).map(|kept| &kept.table).collect();
        let going = facts.vschema_tables.iter().filter(|table| !theirs.have(table) && !staying.contains(table));
        let entries = found.vschema.as_ref().map(|record| entries::removable(&record.value, going)).unwrap_or_default();
        let with_rows = |at: usize| theirs.of_rival.is_none() && found.rows.iter().any(|row| row.shard == at);
        let shards = target.shards.iter().enumerate().filter(|(at, _)| with_rows(*at));
        let (denied, denied_for_others) = theirs.denied(&facts, &found);
        // a tablet that fell silent may still insert some, and those count as this create's, too
        let mark = found.noting_streams().filter(|_| theirs.of_rival.is_none() && !keep_record);
        let traces = CreatedObjects {
            with_streams: shards.map(|(_, shard)| shard.name.clone()).collect(),
            vschema_tables: entries,
            taken_from_vschema: false,
            tables: claim.tables,
            handed_over: false,
            // what that tablet may still make is not to be written to either
            denied: if keep_record { Vec::new() } else { denied },
            denied_for_others,
            mark: Some(mark.unwrap_or(Stored { facts, version })),
            streams_stay: theirs.of_rival.is_some(),
            keep_record,
        };
        let removal = Removal { context: self.context, lock: self.lock, found: &found, workflow, traces };
        // that some replicas have not heard of it is logged
        let _missed = removal.run().await?;
        Ok([claim.kept, claim.left].concat())
    }

    /// What is others' by now.
    fn theirs(&self, found: &ExistingWorkflow, error: &Error) -> Theirs {
        let came_before =
            self.situation.rows.is_empty() && !self.inserting.load(Ordering::Relaxed) && !found.rows.is_empty();
        let rival = is_rival(error) || came_before || found.earlier.is_some();
        Theirs {
            of_others: found.tables_of_others(),
            of_rival: rival.then(|| found.origin.tables.iter().cloned().collect()),
        }
    }
}

/// Tables of the target that others have by now, with their entries and denials.
struct Theirs {
    /// Those that streams of other workflows bring.
    of_others: BTreeSet<String>,
    /// Those that the streams of this name bring, where these are somebody else's.
    of_rival: Option<BTreeSet<String>>,
}

impl Theirs {
    fn have(&self, table: &str) -> bool {
        self.of_others.contains(table) || self.rival_has(table)
    }

    fn rival_has(&self, table: &str) -> bool {
        self.of_rival.as_ref().is_some_and(|tables| tables.contains(table))
    }

    /// Tables that this create made and that another workflow works on by now.
    fn made(&self, facts: &Facts) -> Vec<KeptTable> {
        let by_shard = facts.created_tables.iter();
        let made = by_shard.flat_map(|(shard, tables)| tables.iter().map(move |table| (shard, table)));
        let made = made.filter(|(_, table)| self.of_others.contains(*table));
        let kept = |(shard, table): (&String, &String)| (table.clone(), shard.clone());
        made.map(kept).map(|(table, shard)| KeptTable { table, shard, reason: Doubt::Shared }).collect()
    }

    /// Denied tables of this create, by shard: those to lift, and those that other workflows need.
    fn denied(&self, facts: &Facts, found: &ExistingWorkflow) -> (ByShard, ByShard) {
        if self.of_rival.is_none() {
            return (found.denied(), found.denied_for_others());
        }
        let by_shard = |wanted: &dyn Fn(&String) -> bool| -> ByShard {
            let of_shard = |tables: &[String]| tables.iter().filter(|table| wanted(table)).cloned().collect::<Vec<_>>();
            let tables = facts.denied_tables.iter().map(|(shard, tables)| (shard.clone(), of_shard(tables)));
            tables.filter(|(_, tables)| !tables.is_empty()).collect()
        };
        let of_others = |table: &String| self.of_others.contains(table) && !self.rival_has(table);
        (by_shard(&|table| !self.have(table)), by_shard(&of_others))
    }
}

fn left(error: Error, kept: &[KeptTable]) -> Error {
    let text = format!("left as they are: {}", names::some(kept, "; "));
    let help = "look at these tables, and drop those by hand that nobody needs".to_owned();
    let undo = Error::precondition(Reason::TABLES_NOT_OWNED, text, "");
    Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
}
