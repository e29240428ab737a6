//! The side effects of create, in order, and how they are taken back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use dashmap::DashMap;
use futures::future::{join, join_all, join4};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::ApplySchemaRequest;
use vtmigrated_proto::topodata::Tablet;

use super::checks;
use super::step::{self, Step};
use crate::context::Context;
use crate::error::Reason;
use crate::sql::ddl;
use crate::tablet;
use crate::topo::{self, Lock};
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::reads::{clusters, sizes};
use crate::workflow::record::aware::Reign;
use crate::workflow::record::{self, Facts, Phase, TableSize};
use crate::workflow::removal::claim;
use crate::workflow::streams::Listed;
use crate::workflow::writes::denied;
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::writes::streams::{each, state_change};
use crate::workflow::{Error, Result, overrides, plan};

/// A create whose checks have passed.
pub struct Creation<'a> {
    pub context: &'a Context,
    pub arguments: &'a Arguments,
    pub lock: &'a Lock,
    pub situation: &'a ClusterState,
    pub sources: &'a plan::Sources,
    /// Cells in which the streams look for a source tablet; empty for the target tablets' own.
    pub cells: &'a [String],
    /// Tables that were made, by shard.
    pub made: DashMap<String, Vec<String>>,
    /// True once streams are being inserted: those that are there before are not of this create.
    pub inserting: AtomicBool,
    /// The streams, once they are.
    pub inserted: OnceLock<Listed>,
    /// Replicas that have not heard that tables are denied.
    pub missed: Mutex<Vec<UnawareReplica>>,
}

impl Creation<'_> {
    fn names(&self) -> (&str, &str) {
        (&self.arguments.target_keyspace, &self.arguments.workflow)
    }

    /// Replicas that have not heard that tables are denied.
    pub fn missed(&self) -> Vec<UnawareReplica> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_missed(&self, missed: Vec<UnawareReplica>) {
        *self.missed.lock().unwrap_or_else(PoisonError::into_inner) = missed;
    }

    /// Runs the steps, stage by stage; each can be repeated. What was made is taken back when one fails.
    pub async fn run(&self, planned: &Facts) -> Result<()> {
        let version = AtomicI64::new(self.situation.record.as_ref().map_or(record::NONE, |stored| stored.version));
        let stages = step::stages(self.arguments, self.situation, planned, self.sources);
        let Some((first, rest)) = stages.split_first() else { return Ok(()) };
        let mut facts = self.situation.without_claims(planned);
        // none can be there before the tables that are to be made are claimed
        facts.streams = (facts != *planned && self.situation.rows.is_empty()).then(Vec::new);
        // as long as the record is not written, nothing is there to be taken back
        self.stage(first, &facts, &version).await?;
        let mut before = first;
        for (number, stage) in rest.iter().enumerate() {
            let mut next = facts.clone();
            if stage.contains(&Step::ClaimTables) {
                next.created_tables.clone_from(&planned.created_tables);
                next.streams = None;
            }
            let measured = async { if number == 0 { self.measure(&facts).await } else { facts.sizes.clone() } };
            let mounted = async { if number == 0 { self.is_mounted().await } else { Ok(()) } };
            let staged = self.stage_after(before, stage, &next, &version);
            // as late as it may be gone back on
            let is_last = rest.get(number + 1).is_some_and(|stage| stage.contains(&Step::MarkWhole));
            let kept = async { if is_last { self.has_its_primaries().await } else { Ok(()) } };
            let (sizes, done, mounted, kept) = join4(measured, staged, mounted, kept).await;
            if let Err(error) = Error::all(vec![done, mounted, kept]) {
                return Err(self.failed(&facts, error).await);
            }
            facts = Facts { sizes, ..next };
            if stage.iter().any(|step| matches!(step, Step::RefreshTablets { .. } | Step::RefreshRest { .. }))
                && let Err(error) = self.note_unaware(&mut facts, &version).await
            {
                return Err(self.failed(&facts, error).await);
            }
            before = stage;
        }
        Ok(())
    }

    /// Notes in the record, before any stream can copy, which tablets do not know, or may not, that tables are denied.
    async fn note_unaware(&self, facts: &mut Facts, version: &AtomicI64) -> Result<()> {
        let (target, missed) = (&self.situation.target, self.missed());
        let cells: Vec<String> = target.keyspace.cells.left_out().into_iter().map(|(cell, _)| cell).collect();
        let (running, unreached): (Vec<&UnawareReplica>, Vec<&UnawareReplica>) =
            missed.iter().partition(|missed| missed.runs);
        let unaware = running.into_iter().map(|missed| missed.alias.clone()).chain(cells.iter().cloned());
        let unaware: Vec<String> = unaware.collect();
        let starting = unreached.into_iter().filter_map(|missed| Some((missed.alias.clone(), missed.started?)));
        let starting: Vec<_> = starting.collect();
        let reigns = Reign::all(target, &unaware, &facts.reigns);
        if (&unaware, &starting, &reigns) == (&facts.unaware, &facts.starting, &facts.reigns) {
            return Ok(());
        }
        // a cell may fall silent after its tablets were refreshed
        let of_cells = |tablet: &&Tablet| cells.iter().any(|cell| cell == refresh::cell(tablet));
        let known = target.tablets.values().flatten().filter(of_cells).map(tablet::alias);
        let aware = known.filter(|alias| !missed.iter().any(|missed| missed.alias == *alias));
        let aware: Vec<String> = aware.collect();
        (facts.unaware, facts.aware, facts.starting, facts.reigns) = (unaware, aware, starting, reigns);
        self.put(facts, version).await
    }

    /// Sees that the mount is there still, once the record says that it is used: unregister looks at the records again after
    /// it has taken a mount away, so one of the two notices the other.
    async fn is_mounted(&self) -> Result<()> {
        clusters::mount(self.context, &self.arguments.mount).await.map(|_| ())
    }

    /// Sees that the shards have the primaries still on which this create works: a tablet that another one has replaced may answer all
    /// the same.
    ///
    /// # Errors
    /// `PRIMARY_CHANGED`, and those of the topology.
    pub async fn has_its_primaries(&self) -> Result<()> {
        let records = denied::as_read(&self.situation.target.keyspace);
        denied::with_primaries_kept(self.context, &records, denied::NOT_MADE).await.map(drop)
    }

    /// What the copy is measured against; the record gets it when the workflow is whole.
    async fn measure(&self, facts: &Facts) -> Vec<TableSize> {
        sizes::measure(self.context, &self.situation.source.keyspace, self.situation.first_source(), facts).await
    }

    async fn stage_after(&self, before: &[Step], steps: &[Step], facts: &Facts, version: &AtomicI64) -> Result<()> {
        // a stage that only writes to the topology proves the lock, for itself and for the next one
        if steps.iter().any(Step::needs_lock) && !before.iter().all(Step::proves_lock) {
            self.lock.check().await?;
        }
        self.stage(steps, facts, version).await
    }

    async fn stage(&self, steps: &[Step], facts: &Facts, version: &AtomicI64) -> Result<()> {
        // all are waited for: what is to be taken back must not be under way any more
        Error::all(join_all(steps.iter().map(|step| self.execute(step, facts, version))).await)
    }

    /// `version` is that of the record.
    async fn execute(&self, step: &Step, facts: &Facts, version: &AtomicI64) -> Result<()> {
        tracing::info!(step = %step, "Migrate create");
        match step {
            Step::WriteRecord { .. } | Step::ClaimTables => self.put(facts, version).await,
            Step::CreateTables { shard, tables } => self.create_tables(shard, tables).await,
            Step::DenyTables { .. } => self.deny(facts).await,
            Step::AddToVSchema { .. } => {
                let record = self.situation.target_vschema.clone();
                let entries = plan::vschema_entries(&self.situation.source.vschema, &facts.vschema_tables);
                topo::vschema::add_tables(self.context.topo.global(), record, &entries, self.lock).await?;
                Ok(())
            }
            Step::InsertStreams { .. } => {
                self.inserting.store(true, Ordering::Relaxed);
                let Self { context, arguments, situation, sources, cells, .. } = self;
                situation.insert_streams(context, arguments, (sources, cells), &situation.rows).await?;
                let streams = self.no_rival().await?;
                self.inserted.set(streams).ok();
                Ok(())
            }
            Step::RefreshTablets { .. } => {
                self.note_missed(refresh::shards(self.context, &self.situation.target, &|_: &str| true).await?);
                Ok(())
            }
            Step::ReloadSchemas { shards } => self.reload_schemas(shards).await,
            Step::RefreshRest { .. } => {
                let rest = refresh::rest(self.context, &self.situation.target, self.missed());
                let (missed, denied) = join(rest, self.see_denied(facts)).await;
                self.note_missed(missed);
                denied
            }
            Step::SeeEmpty { .. } => {
                let untouched = |at: usize| !self.situation.has_started(at);
                checks::tables_stayed_empty(self.context, self.situation, &facts.tables, &untouched).await
            }
            Step::RebuildServing { .. } => {
                let cells = &self.situation.target.keyspace.cells;
                Ok(topo::srv_vschema::rebuild_reachable(self.context.topo.global(), cells).await?)
            }
            Step::StartStreams { .. } => self.start().await,
            Step::MarkWhole => {
                let streams = self.inserted.get().cloned();
                self.put(&Facts { phase: Phase::Created, streams, ..facts.clone() }, version).await
            }
        }
    }

    async fn put(&self, facts: &Facts, version: &AtomicI64) -> Result<()> {
        let known = version.load(Ordering::Relaxed);
        let written = record::put(self.context.topo.global(), self.names(), facts, known, self.lock).await?;
        version.store(written, Ordering::Relaxed);
        Ok(())
    }

    async fn create_tables(&self, shard: &str, tables: &[String]) -> Result<()> {
        let Some(shard) = self.situation.target.keyspace.shards.iter().find(|s| s.name == shard) else { return Ok(()) };
        let statements = tables.iter().map(|table| self.definition(table)).collect::<Result<Vec<_>>>()?;
        let request = ApplySchemaRequest {
            sql: statements.join(";\n"),
            allow_replication: true,
            sql_mode: "NO_AUTO_VALUE_ON_ZERO".into(),
            disable_foreign_key_checks: true,
            ..ApplySchemaRequest::default()
        };
        let on = shard.primary()?;
        let answer = self.context.tablets.apply_schema(on, request).await;
        let made = match &answer {
            Ok(_) => tables.to_vec(),
            Err(error) => self.made_before(on, tables, error).await,
        };
        self.made.insert(shard.name.clone(), made);
        Ok(answer.map(|_| ())?)
    }

    /// Those of the tables that statements have made of which one failed: the others come after it.
    async fn made_before(&self, on: &Tablet, tables: &[String], error: &tablet::Error) -> Vec<String> {
        // a tablet that says nothing may still be at work; what is no error of MySQL's came before the first statement
        if !error.is_of_mysql() {
            return Vec::new();
        }
        // the table is there, and not by create's doing
        if error.is_existing_table() {
            let failed = tables.iter().position(|table| error.says_exists(table));
            return tables.iter().take(failed.unwrap_or_default()).cloned().collect();
        }
        let held = match claim::look(self.context, on, tables).await {
            Ok(held) => held,
            Err(why) => {
                tracing::warn!("nobody can tell which tables were made: {why}");
                return Vec::new();
            }
        };
        tables.iter().take_while(|table| held.is_there(table)).cloned().collect()
    }

    /// The source's CREATE TABLE text, as it is or without its foreign keys.
    fn definition(&self, table: &str) -> Result<String> {
        let Some(found) = self.situation.source_table(table).filter(|t| !t.schema.is_empty()) else {
            let text = format!("source table {table} does not exist");
            return Err(Error::precondition(
                Reason::TABLE_MISSING,
                text,
                "it was there a moment ago: run the command again",
            ));
        };
        if !self.arguments.drop_foreign_keys {
            return Ok(found.schema.clone());
        }
        ddl::without_foreign_keys(&found.schema).map_err(|detail| {
            let text = format!("cannot take the foreign keys out of table {table}: {detail}");
            Error::precondition(
                Reason::DDL_UNREADABLE,
                text,
                "create the table on the target by hand, then run the command again",
            )
        })
    }

    async fn deny(&self, facts: &Facts) -> Result<()> {
        let of = |name: &str| {
            let mut tables = facts.denied_on(name).to_vec();
            tables.sort();
            tables
        };
        self.situation.deny(self.context, &of, self.lock).await.map_err(|e| {
            Error::Topo(e).doing("failed to put initial denied tables entries in place on the target shards")
        })
    }

    async fn start(&self) -> Result<()> {
        let request = state_change(&self.arguments.workflow, State::Running, None);
        let shards = self.situation.target.keyspace.shards.iter();
        each(shards, |_, tablet| overrides::change(self.context, self.lock, tablet, request.clone()))
            .await
            .map_err(|e| e.doing("failed to update workflow"))
    }
}
