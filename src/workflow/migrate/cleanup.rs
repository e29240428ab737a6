//! Taking a workflow away. Every step can be repeated; the rows go last but one, the record last.

mod step;

use futures::future::{join_all, try_join, try_join_all};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::{ExecuteFetchAsDbaRequest, UpdateVReplicationWorkflowRequest, VDiffRequest};
use vtmigrated_proto::topodata::Tablet;

use super::super::record::{self, Facts};
use super::super::streams::{Keyspace, TargetShard, WithReplicas};
use super::super::{Error, Result, refresh};
use super::rows;
use crate::context::Context;
use crate::sql::quote;
use crate::tablet::{self, db_name};
use crate::topo::shard::{self, Deny};
use crate::topo::{self, Lock, Record, Write};

pub use step::Step;

/// What becomes of the tables of a workflow on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Dropped: create made them.
    pub drop: Vec<String>,
    /// Emptied: they were there, empty, before.
    pub empty: Vec<String>,
}

/// What a workflow has on the target, and what becomes of it when it is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Shards that hold streams, by name.
    pub with_streams: Vec<String>,
    pub tables: Vec<(String, Tables)>,
    /// Entries to take out of the VSchema.
    pub vschema_tables: Vec<String>,
    /// Denied tables to lift, by shard.
    pub denied: Vec<(String, Vec<String>)>,
    /// True when tables stay and get back the keys that the copy took.
    pub restore_keys: bool,
}

impl Traces {
    /// All that create made; the tables that were there before are emptied.
    pub fn of(target: &Keyspace, facts: &Facts) -> Self {
        let tables = target.shards.iter().map(|shard| {
            let drop = facts.created_on(&shard.name).to_vec();
            let empty = facts.tables.iter().filter(|t| !drop.contains(t)).cloned().collect();
            (shard.name.clone(), Tables { drop, empty })
        });
        Self {
            with_streams: target.shards.iter().map(|shard| shard.name.clone()).collect(),
            tables: tables.collect(),
            vschema_tables: facts.vschema_tables.clone(),
            denied: facts.denied_tables.clone(),
            restore_keys: false,
        }
    }

    /// The steps that take it away, in their order: the streams go last but one, the record last.
    pub fn steps(&self, target: &Keyspace, workflow: &str) -> Vec<Step> {
        let all: Vec<String> = target.shards.iter().map(|shard| shard.name.clone()).collect();
        let mut steps = vec![Step::StopStreams { shards: self.with_streams.clone() }];
        let any = self.tables.iter().any(|(_, tables)| *tables != Tables::default());
        if any || self.restore_keys {
            let keys = self.restore_keys || self.tables.iter().any(|(_, tables)| !tables.empty.is_empty());
            steps.push(Step::SeeToTables { tables: self.tables.clone(), restore_keys: keys });
        }
        if !self.vschema_tables.is_empty() {
            steps.push(Step::TakeFromVSchema { keyspace: target.name.clone(), tables: self.vschema_tables.clone() });
        }
        let denied = self.denied.iter().filter(|(_, tables)| !tables.is_empty());
        steps.push(Step::LiftDenied { shards: denied.map(|(shard, _)| shard.clone()).collect() });
        steps.push(Step::DeleteStreams { shards: all });
        steps.push(Step::DeleteRecord { workflow: format!("{}.{workflow}", target.name) });
        steps
    }
}

/// A workflow that is being taken away from the target.
pub struct Removal<'a> {
    pub context: &'a Context,
    pub lock: &'a Lock,
    pub target: &'a WithReplicas,
    pub workflow: &'a str,
    pub traces: &'a Traces,
}

impl Removal<'_> {
    /// Runs the steps.
    pub async fn run(&self) -> Result<()> {
        for step in self.traces.steps(&self.target.keyspace, self.workflow) {
            tracing::info!(step = %step, "taking a workflow away");
            self.execute(&step).await?;
        }
        Ok(())
    }

    async fn execute(&self, step: &Step) -> Result<()> {
        let Self { context, lock, target, workflow, traces } = self;
        match step {
            Step::StopStreams { .. } => self.stop_streams().await,
            Step::SeeToTables { .. } => self.see_to_tables().await,
            Step::TakeFromVSchema { .. } => self.take_from_vschema().await,
            Step::LiftDenied { .. } => lift_denied(context, lock, target, &traces.denied).await,
            Step::DeleteStreams { .. } => delete_rows(context, lock, target, workflow).await,
            Step::DeleteRecord { .. } => {
                record::delete(context.topo.global(), &target.keyspace.name, workflow, lock).await
            }
        }
    }

    /// Stops the streams of [`Self::with_streams`].
    pub async fn stop_streams(&self) -> Result<()> {
        self.lock.check().await?;
        let request = state_change(self.workflow, State::Stopped, None);
        let shards = self.target.keyspace.shards.iter().filter(|s| self.traces.with_streams.contains(&s.name));
        each(shards, |_, tablet| {
            let request = request.clone();
            async move { self.context.tablets.update_v_replication_workflow(tablet, request).await.map(|_| ()) }
        })
        .await
    }

    async fn see_to_tables(&self) -> Result<()> {
        self.lock.check().await?;
        each(self.target.keyspace.shards.iter(), |shard, tablet| async move {
            let found = self.traces.tables.iter().find(|(name, _)| *name == shard.name);
            let tables = found.map(|(_, tables)| tables.clone()).unwrap_or_default();
            if self.traces.restore_keys || !tables.empty.is_empty() {
                self.restore(tablet, &tables).await?;
            }
            let db = quote::identifier(&db_name(tablet));
            let qualified = |table: &String| format!("{db}.{}", quote::identifier(table));
            let dropped: Vec<String> = tables.drop.iter().map(qualified).collect();
            let drop = (!dropped.is_empty()).then(|| format!("drop table if exists {}", dropped.join(", ")));
            let truncates = tables.empty.iter().map(|table| format!("truncate table {}", qualified(table)));
            try_join_all(drop.into_iter().chain(truncates).map(|query| self.run_sql(tablet, query))).await?;
            Ok(())
        })
        .await
    }

    /// Gives the tables that stay the keys back which the tablet took for the copy.
    async fn restore(&self, tablet: &Tablet, tables: &Tables) -> tablet::Result<()> {
        let query = rows::pending_actions(&db_name(tablet), self.workflow);
        let pending = rows::actions(&self.context.tablets.read(tablet, query, 100_000).await?);
        let staying = pending.into_iter().filter(|(table, _)| !tables.drop.contains(table));
        try_join_all(staying.map(|(table, sql)| async move {
            match self.run_sql(tablet, sql).await {
                // 1061: the key is there already
                Err(error) if error.to_string().contains("(errno 1061)") => {
                    tracing::info!(table, "the secondary keys were restored before");
                    Ok(())
                }
                other => other,
            }
        }))
        .await?;
        Ok(())
    }

    /// One statement as administrator; a table that is not there is none to care about.
    async fn run_sql(&self, tablet: &Tablet, query: String) -> tablet::Result<()> {
        let request = ExecuteFetchAsDbaRequest {
            query: query.into_bytes(),
            db_name: db_name(tablet),
            max_rows: 1,
            reload_schema: true,
            disable_foreign_key_checks: true,
            ..ExecuteFetchAsDbaRequest::default()
        };
        match self.context.tablets.execute_fetch_as_dba(tablet, request).await {
            Err(error) if error.is_missing_table() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn take_from_vschema(&self) -> Result<()> {
        let global = self.context.topo.global();
        let keyspace = &self.target.keyspace.name;
        let Some(record) = topo::vschema::find(global, keyspace).await? else { return Ok(()) };
        topo::vschema::remove_tables(global, record, &self.traces.vschema_tables, self.lock).await?;
        Ok(topo::srv_vschema::rebuild_reachable(global, &self.target.keyspace.cells).await?)
    }
}

/// Takes denied tables off the shards' records, then makes the tablets see it: two waves.
///
/// The tablets are refreshed even when nothing was left to take off: an earlier try may have ended in between.
pub async fn lift_denied(
    context: &Context,
    lock: &Lock,
    target: &WithReplicas,
    denied: &[(String, Vec<String>)],
) -> Result<()> {
    lift_denied_with(context, lock, target, denied, Vec::new()).await
}

/// The same with other writes in the transaction that takes the first of them off.
pub async fn lift_denied_with(
    context: &Context,
    lock: &Lock,
    target: &WithReplicas,
    denied: &[(String, Vec<String>)],
    also: Vec<Write>,
) -> Result<()> {
    let of = |name: &str| denied.iter().find(|(shard, _)| shard == name).map(|(_, t)| t.clone()).unwrap_or_default();
    let named = |name: &str| !of(name).is_empty();
    let records: Vec<Record<_>> =
        target.keyspace.shards.iter().filter(|s| named(&s.name)).map(|s| s.record.clone()).collect();
    shard::deny_tables_with(context.topo.global(), records, Deny::Remove, &of, also, lock).await?;
    refresh::shards(context, target, &named).await
}

/// Deletes the streams of a workflow and its diffs on every shard: one wave.
pub async fn delete_rows(context: &Context, lock: &Lock, target: &WithReplicas, workflow: &str) -> Result<()> {
    lock.check().await?;
    let keyspace = &target.keyspace.name;
    each(target.keyspace.shards.iter(), |_, tablet| async move {
        let query = rows::delete_workflow(&db_name(tablet), workflow);
        let diffs = VDiffRequest {
            keyspace: keyspace.clone(),
            workflow: workflow.to_owned(),
            action: "delete".into(),
            action_arg: "all".into(),
            ..VDiffRequest::default()
        };
        let diffs = async {
            if let Err(error) = context.tablets.v_diff(tablet, diffs).await {
                tracing::warn!("the diffs of the workflow were not deleted: {error}");
            }
            Ok(())
        };
        try_join(context.tablets.v_replication_exec(tablet, query), diffs).await.map(|_| ())
    })
    .await
}

/// Changes the state of a workflow and leaves cells and tablet types as they are.
pub fn state_change(workflow: &str, state: State, message: Option<&str>) -> UpdateVReplicationWorkflowRequest {
    UpdateVReplicationWorkflowRequest {
        workflow: workflow.to_owned(),
        // markers for "leave alone" (Vitess 22.0.3)
        cells: vec!["NULL".into()],
        tablet_types: vec![-1],
        // keeps the in_order hint, which an absent preference would drop
        tablet_selection_preference: Some(
            vtmigrated_proto::tabletmanagerdata::TabletSelectionPreference::Unknown.into(),
        ),
        state: Some(state.into()),
        message: message.map(str::to_owned),
        ..UpdateVReplicationWorkflowRequest::default()
    }
}

/// Runs something on the primary of each shard in parallel and folds the errors.
pub async fn each<'s, F>(
    shards: impl Iterator<Item = &'s TargetShard>,
    run: impl Fn(&'s TargetShard, &'s Tablet) -> F,
) -> Result<()>
where
    F: Future<Output = tablet::Result<()>>,
{
    let mut calls = Vec::new();
    for shard in shards {
        calls.push(run(shard, shard.primary()?));
    }
    let errors = join_all(calls).await.into_iter().filter_map(|done| done.err().map(Error::from)).collect();
    Error::several(errors).map_or(Ok(()), Err)
}
