//! The side effects of create, in order, and how they are taken back.

use futures::future::{join, join_all, try_join3};
use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowState as State, VReplicationWorkflowType};
use vtmigrated_proto::tabletmanagerdata::{ApplySchemaRequest, CreateVReplicationWorkflowRequest};

use super::super::super::record::{self, Facts, Phase};
use super::super::super::streams::OnShard;
use super::super::super::{Error, Result, refresh};
use super::super::arguments::Arguments;
use super::super::cleanup::{self, Removal, state_change};
use super::super::{plan, rows, sizes};
use super::Situation;
use crate::context::Context;
use crate::sql::ddl;
use crate::topo::shard::{self, Deny};
use crate::topo::{self, Lock};

/// Switches the batching of changes off that makes stock tablets of 22.0.3 fail (S16).
const NO_BATCHING: &str = r#"{"config":{"vreplication_experimental_flags":"3"}}"#;

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

    /// Writes the facts before the first side effect; answers the record's version.
    pub async fn write_record(&self, facts: &Facts) -> Result<i64> {
        let known = self.situation.record.as_ref();
        match known {
            Some(stored) if stored.facts == *facts => Ok(stored.version),
            known => {
                let version = known.map_or(0, |stored| stored.version);
                record::put(self.context.topo.global(), self.names(), facts, version, self.lock).await
            }
        }
    }

    /// All side effects; each can be repeated.
    pub async fn run(&self, facts: &Facts, version: i64) -> Result<()> {
        self.lock.check().await?;
        let measured =
            sizes::measure(self.context, &self.situation.source.keyspace, &self.situation.source_tables, facts);
        let made = try_join3(self.create_tables(facts), self.deny(facts), self.add_to_vschema(facts));
        let (sizes, made) = join(measured, made).await;
        made?;
        self.lock.check().await?;
        let all = |_: &str| true;
        let refreshed = refresh::shards(self.context, &self.situation.target, &all);
        let rebuilt = async {
            let cells = &self.situation.target.keyspace.cells;
            Ok(topo::srv_vschema::rebuild(self.context.topo.global(), cells).await?)
        };
        let inserted = async {
            self.insert_streams().await?;
            self.no_rival().await
        };
        try_join3(inserted, refreshed, rebuilt).await?;
        if self.arguments.auto_start {
            self.start().await?;
        }
        let done = Facts { phase: Phase::Created, sizes, ..facts.clone() };
        record::put(self.context.topo.global(), self.names(), &done, version, self.lock).await.map(|_| ())
    }

    /// Creates the tables that a target shard lacks: one call for each shard.
    async fn create_tables(&self, facts: &Facts) -> Result<()> {
        let shards = self.situation.target.keyspace.shards.iter().zip(&self.situation.target_tables);
        let calls = shards.map(|(shard, there)| async move {
            let missing = facts.created_on(&shard.name).iter().filter(|table| !there.contains_key(*table));
            let statements = missing.map(|table| self.definition(table)).collect::<Result<Vec<_>>>()?;
            if statements.is_empty() {
                return Ok(());
            }
            let request = ApplySchemaRequest {
                sql: statements.join(";\n"),
                allow_replication: true,
                sql_mode: "NO_AUTO_VALUE_ON_ZERO".into(),
                disable_foreign_key_checks: true,
                ..ApplySchemaRequest::default()
            };
            self.context.tablets.apply_schema(shard.primary()?, request).await?;
            Ok(())
        });
        fold(join_all(calls).await)
    }

    /// The source's CREATE TABLE text, as it is or without its foreign keys.
    fn definition(&self, table: &str) -> Result<String> {
        let Some(found) = self.situation.source_tables.get(table).filter(|t| !t.schema.is_empty()) else {
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
        let denied = shard::deny_tables(self.context.topo.global(), records, Deny::Add, &of, self.lock).await;
        denied.map(|_| ()).map_err(|e| {
            Error::Topo(e).doing("failed to put initial denied tables entries in place on the target shards")
        })
    }

    async fn add_to_vschema(&self, facts: &Facts) -> Result<()> {
        if facts.vschema_tables.is_empty() {
            return Ok(());
        }
        let record = self.situation.target_vschema.clone();
        let global = self.context.topo.global();
        topo::vschema::add_tables(global, record, &facts.vschema_tables, self.lock).await?;
        Ok(())
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
            let request = self.insert_request(missing);
            self.context.tablets.create_v_replication_workflow(shard.primary()?, request).await?;
            Ok(())
        });
        fold(join_all(calls).await)
    }

    fn insert_request(&self, sources: Vec<BinlogSource>) -> CreateVReplicationWorkflowRequest {
        let arguments = self.arguments;
        let batching = self.context.options.keep_vplayer_batching || self.situation.target.keyspace.shards.len() < 2;
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
            options: if batching { "{}" } else { NO_BATCHING }.into(),
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
        self.lock.check().await?;
        let request = state_change(&self.arguments.workflow, State::Running, None);
        cleanup::each(self.situation.target.keyspace.shards.iter(), |_, tablet| {
            let request = request.clone();
            async move { self.context.tablets.update_v_replication_workflow(tablet, request).await.map(|_| ()) }
        })
        .await
        .map_err(|e| e.doing("failed to update workflow"))
    }

    /// Takes back what this create made; answers the error to show.
    pub async fn take_back(&self, facts: &Facts, error: Error) -> Error {
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
            Removal::from_facts(self.context, self.lock, &self.situation.target, workflow, facts).run().await
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
