//! The side effects of create, in order, and how they are taken back.

use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::{join, join_all, try_join_all};
use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowState as State, VReplicationWorkflowType};
use vtmigrated_proto::tabletmanagerdata::{ApplySchemaRequest, CreateVReplicationWorkflowRequest};
use vtmigrated_proto::topodata::Tablet;

use super::super::super::record::{self, Facts, Phase, TableSize};
use super::super::super::streams::OnShard;
use super::super::super::{Error, Result, refresh};
use super::super::arguments::Arguments;
use super::super::cleanup::{self, Removal, Traces, state_change};
use super::super::{plan, rows, sizes};
use super::batching;
use super::situation::Situation;
use super::step::{self, Step};
use crate::context::Context;
use crate::sql::ddl;
use crate::topo::shard::{self, Deny};
use crate::topo::{self, Lock};

/// A create whose checks have passed.
pub struct Creation<'a> {
    pub context: &'a Context,
    pub arguments: &'a Arguments,
    pub lock: &'a Lock,
    pub situation: &'a Situation,
    pub sources: &'a plan::Sources,
    /// Cells in which the streams look for a source tablet; empty for the target tablets' own.
    pub cells: &'a [String],
}

impl Creation<'_> {
    fn names(&self) -> (&str, &str) {
        (&self.arguments.target_keyspace, &self.arguments.workflow)
    }

    /// Runs the steps, stage by stage; each can be repeated. What was made is taken back when one fails.
    pub async fn run(&self, facts: &Facts) -> Result<()> {
        let version = AtomicI64::new(self.situation.record.as_ref().map_or(0, |stored| stored.version));
        let stages = step::stages(self.arguments, self.situation, facts, self.sources);
        let Some((first, rest)) = stages.split_first() else { return Ok(()) };
        // as long as the record is not written, nothing is there to be taken back
        self.stage(first, facts, &version).await?;
        let mut facts = facts.clone();
        for (number, stage) in rest.iter().enumerate() {
            let measured = async { if number == 0 { self.measure(&facts).await } else { facts.sizes.clone() } };
            let (sizes, done) = join(measured, self.stage(stage, &facts, &version)).await;
            if let Err(error) = done {
                return Err(self.take_back(&facts, error).await);
            }
            facts.sizes = sizes;
        }
        Ok(())
    }

    /// What the copy is measured against; the record gets it when the workflow is whole.
    async fn measure(&self, facts: &Facts) -> Vec<TableSize> {
        sizes::measure(self.context, &self.situation.source.keyspace, self.situation.first_source(), facts).await
    }

    async fn stage(&self, steps: &[Step], facts: &Facts, version: &AtomicI64) -> Result<()> {
        // what only writes to the topology carries the lock in its own transaction
        if !matches!(steps, [Step::WriteRecord { .. } | Step::MarkWhole]) {
            self.lock.check().await?;
        }
        try_join_all(steps.iter().map(|step| self.execute(step, facts, version))).await.map(|_| ())
    }

    /// `version` is that of the record.
    async fn execute(&self, step: &Step, facts: &Facts, version: &AtomicI64) -> Result<()> {
        tracing::info!(step = %step, "Migrate create");
        match step {
            Step::WriteRecord { .. } => {
                if self.situation.record.as_ref().is_none_or(|stored| stored.facts != *facts) {
                    self.put(facts, version).await?;
                }
                Ok(())
            }
            Step::CreateTables { shard, tables } => self.create_tables(shard, tables).await,
            Step::DenyTables { .. } => self.deny(facts).await,
            Step::AddToVSchema { tables, .. } => {
                let record = self.situation.target_vschema.clone();
                topo::vschema::add_tables(self.context.topo.global(), record, tables, self.lock).await?;
                Ok(())
            }
            Step::InsertStreams { .. } => {
                self.insert_streams().await?;
                self.no_rival().await
            }
            Step::RefreshTablets { .. } => refresh::shards(self.context, &self.situation.target, &|_: &str| true).await,
            Step::RebuildServing { .. } => {
                let cells = &self.situation.target.keyspace.cells;
                Ok(topo::srv_vschema::rebuild_reachable(self.context.topo.global(), cells).await?)
            }
            Step::StartStreams { .. } => self.start().await,
            Step::MarkWhole => self.put(&Facts { phase: Phase::Created, ..facts.clone() }, version).await,
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
        self.context.tablets.apply_schema(shard.primary()?, request).await?;
        Ok(())
    }

    /// The source's CREATE TABLE text, as it is or without its foreign keys.
    fn definition(&self, table: &str) -> Result<String> {
        let Some(found) = self.situation.source_table(table).filter(|t| !t.schema.is_empty()) else {
            let text = format!("source table {table} does not exist");
            return Err(Error::precondition("TABLE_MISSING", text, "it was there a moment ago: run the command again"));
        };
        if !self.arguments.drop_foreign_keys {
            return Ok(found.schema.clone());
        }
        ddl::without_foreign_keys(&found.schema).map_err(|detail| {
            let text = format!("cannot take the foreign keys out of table {table}: {detail}");
            Error::precondition(
                "DDL_UNREADABLE",
                text,
                "create the table on the target by hand, then run the command again",
            )
        })
    }

    async fn deny(&self, facts: &Facts) -> Result<()> {
        let records = self.situation.target.keyspace.shards.iter().map(|s| s.record.clone()).collect();
        let of = |name: &str| {
            let mut tables = facts.denied_on(name).to_vec();
            tables.sort();
            tables
        };
        let change = if batching::reads_pass(self.situation) { Deny::AddForWrites } else { Deny::Add };
        let denied = shard::deny_tables(self.context.topo.global(), records, change, &of, self.lock).await;
        denied.map(|_| ()).map_err(|e| {
            Error::Topo(e).doing("failed to put initial denied tables entries in place on the target shards")
        })
    }

    /// Inserts the streams that are not there yet, stopped: one call for each shard.
    async fn insert_streams(&self) -> Result<()> {
        let shards = self.situation.target.keyspace.shards.iter().enumerate();
        let calls = shards.map(|(at, shard)| async move {
            let there: Vec<&str> = self.rows_on(&self.situation.rows, at).map(|source| source.shard.as_str()).collect();
            let planned = self.situation.planned(self.sources, &shard.name).iter();
            let missing: Vec<BinlogSource> = planned.filter(|s| !there.contains(&s.shard.as_str())).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            let primary = shard.primary()?;
            let request = self.insert_request(primary, missing);
            self.context.tablets.create_v_replication_workflow(primary, request).await?;
            Ok(())
        });
        fold(join_all(calls).await)
    }

    fn insert_request(&self, primary: &Tablet, sources: Vec<BinlogSource>) -> CreateVReplicationWorkflowRequest {
        let arguments = self.arguments;
        let keep = self.context.options.keep_vplayer_batching;
        let batching = batching::of(primary, self.situation, &arguments.tablet_types, keep);
        CreateVReplicationWorkflowRequest {
            workflow: arguments.workflow.clone(),
            binlog_source: sources,
            cells: self.cells.to_vec(),
            tablet_types: arguments.tablet_types.iter().map(|t| (*t).into()).collect(),
            tablet_selection_preference: arguments.preference.into(),
            workflow_type: VReplicationWorkflowType::Migrate.into(),
            defer_secondary_keys: arguments.defer_secondary_keys,
            auto_start: arguments.auto_start,
            stop_after_copy: arguments.stop_after_copy,
            options: batching.options(),
            ..CreateVReplicationWorkflowRequest::default()
        }
    }

    fn rows_on<'r>(&self, rows: &'r [OnShard], shard: usize) -> impl Iterator<Item = &'r BinlogSource> {
        rows.iter()
            .filter(move |row| row.shard == shard)
            .flat_map(|row| &row.found.streams)
            .filter_map(|s| s.bls.as_ref())
    }

    /// Stock takes its locks only after its rows exist: when it worked under the same name meanwhile, our rows go.
    async fn no_rival(&self) -> Result<()> {
        let keyspace = &self.situation.target.keyspace;
        let rows = keyspace.workflows(self.context, std::slice::from_ref(&self.arguments.workflow)).await?;
        let mut ours: Vec<(usize, Vec<i64>)> = Vec::new();
        let mut rival = false;
        for (at, shard) in keyspace.shards.iter().enumerate() {
            let mut wanted: Vec<&BinlogSource> = self.situation.planned(self.sources, &shard.name).iter().collect();
            let mut ids = Vec::new();
            for stream in rows.iter().filter(|row| row.shard == at).flat_map(|row| &row.found.streams) {
                match wanted.iter().position(|source| stream.bls.as_ref().is_some_and(|bls| same_source(bls, source))) {
                    Some(found) => {
                        wanted.swap_remove(found);
                        ids.push(i64::from(stream.id));
                    }
                    None => rival = true,
                }
            }
            ours.push((at, ids));
        }
        if !rival {
            return Ok(());
        }
        for (at, ids) in ours.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            if let Some(tablet) = keyspace.shards.get(at).and_then(|s| s.primary.as_ref()) {
                self.context.tablets.v_replication_exec(tablet, rows::delete_streams(&ids)).await?;
            }
        }
        let (keyspace, workflow) = self.names();
        let text = format!(
            "workflow {workflow} already exists in keyspace {keyspace}: somebody else created it at the same moment"
        );
        Err(Error::exists(RIVAL, text, "choose another name, or wait until that create has ended"))
    }

    async fn start(&self) -> Result<()> {
        let request = state_change(&self.arguments.workflow, State::Running, None);
        cleanup::each(self.situation.target.keyspace.shards.iter(), |_, tablet| {
            let request = request.clone();
            async move { self.context.tablets.update_v_replication_workflow(tablet, request).await.map(|_| ()) }
        })
        .await
        .map_err(|e| e.doing("failed to update workflow"))
    }

    /// Takes back what this create made; answers the error to show.
    async fn take_back(&self, facts: &Facts, error: Error) -> Error {
        let rival = matches!(&error, Error::Refused { reason, .. } if *reason == RIVAL);
        let (keyspace, workflow) = self.names();
        let undone = async {
            let global = self.context.topo.global();
            if rival {
                // the tables, entries and streams of this name are the rival's now
                return record::delete(global, keyspace, workflow, self.lock).await;
            }
            if let Some(stored) = record::find(global, keyspace, workflow).await? {
                let marked = Facts { taken_back: true, ..facts.clone() };
                record::put(global, self.names(), &marked, stored.version, self.lock).await?;
            }
            let target = &self.situation.target;
            let traces = Traces::of(&target.keyspace, facts);
            Removal { context: self.context, lock: self.lock, target, workflow, traces: &traces }.run().await
        };
        match undone.await {
            Ok(()) => error,
            Err(undo) => {
                tracing::error!("a failed create was not wholly taken back: {undo}");
                let help =
                    format!("finish that with: Migrate --target-keyspace {keyspace} --workflow {workflow} cancel");
                Error::HalfTakenBack { error: Box::new(error), undo: Box::new(undo), help }
            }
        }
    }
}

const RIVAL: &str = "WORKFLOW_RIVAL";

/// The same stream, whatever order the tablet keeps its rules in.
fn same_source(a: &BinlogSource, b: &BinlogSource) -> bool {
    let sorted = |source: &BinlogSource| {
        let mut source = source.clone();
        if let Some(filter) = &mut source.filter {
            filter.rules.sort_by(|a, b| (&a.r#match, &a.filter).cmp(&(&b.r#match, &b.filter)));
        }
        source
    };
    sorted(a) == sorted(b)
}

fn fold(results: Vec<Result<()>>) -> Result<()> {
    Error::several(results.into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)
}
