//! Taking a workflow away. Every step can be repeated; the rows go last but one, the record last.

pub mod adopt;
pub mod claim;
pub mod entries;
mod made;
pub mod others;
pub mod ownership;
pub mod quiet;
pub mod replaced;
mod step;
mod tables;

use std::collections::BTreeSet;

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::topodata::Shard;

use crate::context::Context;
use crate::topo::{self, Conn, Expect, Lock, Record, Write, shard};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::{self, Facts, Stored};
use crate::workflow::streams::{Keyspace, KeyspaceTablets};
use crate::workflow::writes::delete::delete_streams;
use crate::workflow::writes::denied::{NOT_STOPPED, as_read, hand_over, lift, with_primaries_kept};
use crate::workflow::writes::freeze;
use crate::workflow::writes::refresh::UnawareReplica;
use crate::workflow::writes::streams::{each, state_change};
use crate::workflow::{Error, Result, overrides};

pub use step::Step;
pub use tables::restore_keys_of;

/// What becomes of the tables of a workflow on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Dropped: create made them, and the streams filled them.
    pub drop: Vec<String>,
    /// Dropped while they are empty and denied: create made them.
    pub drop_empty: Vec<String>,
    /// Emptied: they were there, empty, before.
    pub empty: Vec<String>,
    /// Left as they are, with the keys that they have: they are not those that were there when a cancel began.
    pub anew: Vec<String>,
}

/// What a workflow has on the target, and what becomes of it when it is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreatedObjects {
    /// Shards that hold streams, by name.
    pub with_streams: Vec<String>,
    pub tables: Vec<(String, Tables)>,
    /// True when clients get the tables as they are: the streams are stopped for good before, and no way leads back after.
    pub handed_over: bool,
    /// Entries to take out of the VSchema.
    pub vschema_tables: Vec<String>,
    /// True when some are out of it already: who took them out may have been cut off before cells heard of it.
    pub taken_from_vschema: bool,
    /// Denied tables to lift, by shard.
    pub denied: Vec<(String, Vec<String>)>,
    /// The record. It tells that tables are being taken away before they are: whoever comes when this was cut off knows that
    /// rows may be gone, and of which streams.
    pub mark: Option<Stored>,
    /// Denied tables that stay, by shard, for other workflows need them: the record stays for these, and tells of nothing else.
    pub denied_for_others: Vec<(String, Vec<String>)>,
    /// True when the streams of the workflow's name are somebody else's, and stay.
    pub streams_stay: bool,
    /// True when the record stays: a tablet may still be at work on something that only a later look can find.
    pub keep_record: bool,
}

impl CreatedObjects {
    /// The steps that take it away, in their order: the streams go last but one, the record last.
    pub fn steps(&self, target: &Keyspace, workflow: &str) -> Vec<Step> {
        let all: Vec<String> = target.shards.iter().map(|shard| shard.name.clone()).collect();
        let shards = self.with_streams.clone();
        let mut steps = vec![if self.handed_over { Step::Freeze { shards } } else { Step::StopStreams { shards } }];
        let any = self.takes_tables();
        let secured = self.tables.iter().filter(|(_, tables)| !tables.drop_empty.is_empty());
        let secured: Vec<_> = secured.map(|(shard, tables)| (shard.clone(), tables.drop_empty.clone())).collect();
        if !secured.is_empty() {
            steps.push(Step::SecureEmpty { tables: secured });
        }
        // one whose create has not ended well can only be taken away: that it was tells whoever finds later streams
        let marks = |Stored { facts, .. }: &Stored| !facts.cancelling && (any || facts.is_unfinished());
        if !self.streams_stay && self.mark.as_ref().is_some_and(marks) {
            steps.push(Step::MarkCancelling);
        }
        // only the streams know which keys they took; they take those of all their tables before they have a position
        let restore_keys = !self.with_streams.is_empty();
        if any || restore_keys {
            steps.push(Step::SeeToTables { tables: self.tables.clone(), restore_keys });
        }
        if !self.vschema_tables.is_empty() {
            steps.push(Step::TakeFromVSchema { keyspace: target.name.clone(), tables: self.vschema_tables.clone() });
        } else if self.taken_from_vschema {
            steps.push(Step::RebuildServing { cells: target.cells.names().map(str::to_owned).collect() });
        }
        let denied = self.denied.iter().filter(|(_, tables)| !tables.is_empty());
        steps.push(Step::LiftDenied { shards: denied.map(|(shard, _)| shard.clone()).collect() });
        if !self.streams_stay {
            steps.push(Step::DeleteStreams { shards: all });
        }
        let named = || format!("{}.{workflow}", target.name);
        if !self.keep_record && self.mark.is_some() && !self.denied_for_others.is_empty() {
            steps.push(Step::ReduceRecord { workflow: named(), denied: self.denied_for_others.clone() });
        } else if !self.keep_record {
            steps.push(Step::DeleteRecord { workflow: named() });
        }
        steps
    }

    /// True when a table goes, or stays for it was made anew.
    pub fn takes_tables(&self) -> bool {
        self.tables.iter().any(|(_, tables)| *tables != Tables::default())
    }

    fn secures(&self) -> bool {
        self.tables.iter().any(|(_, tables)| !tables.drop_empty.is_empty())
    }
}

/// A workflow that is being taken away from the target.
pub struct Removal<'a> {
    pub context: &'a Context,
    pub lock: &'a Lock,
    pub found: &'a ExistingWorkflow,
    pub workflow: &'a str,
    pub traces: CreatedObjects,
}

impl Removal<'_> {
    fn target(&self) -> &KeyspaceTablets {
        &self.found.target
    }

    /// Runs the steps. Answers the replicas that have not heard that tables are not denied any more.
    pub async fn run(mut self) -> Result<Vec<UnawareReplica>> {
        let mut missed = Vec::new();
        let steps = self.traces.steps(&self.target().keyspace, self.workflow);
        let marks = steps.contains(&Step::MarkCancelling);
        for step in steps {
            tracing::info!(step = %step, "taking a workflow away");
            match step {
                Step::LiftDenied { .. } => missed.extend(self.lift_denied().await?),
                step @ (Step::StopStreams { .. } | Step::Freeze { .. }) if marks => {
                    self.execute(&step).await?;
                    // not beside it: streams that run alter tables themselves
                    let made_at = self.made_at().await?;
                    self.traces.note(made_at);
                }
                step => self.execute(&step).await?,
            }
        }
        Ok(missed)
    }

    async fn lift_denied(&self) -> Result<Vec<UnawareReplica>> {
        let Self { context, lock, found, workflow, traces } = self;
        let target = self.target();
        if traces.handed_over {
            freeze::see_frozen(context, found, workflow).await?;
            let mark = found.mark_handed_over(workflow, true)?;
            return hand_over(context, lock, target, &traces.denied, mark).await;
        }
        let mut records = as_read(&target.keyspace);
        if traces.secures() {
            // they were changed when tables were secured
            records = with_primaries_kept(context, &records, NOT_STOPPED).await?;
        }
        lift(context, lock, target, (records, self.seen_to()?), &traces.denied, true).await
    }

    async fn execute(&self, step: &Step) -> Result<()> {
        let Self { context, lock, found, workflow, .. } = self;
        let target = self.target();
        match step {
            Step::StopStreams { .. } => self.stop_streams().await,
            Step::Freeze { .. } => freeze::freeze(context, found, workflow, lock).await.map(drop),
            Step::MarkCancelling => self.mark_cancelling().await,
            Step::SecureEmpty { tables } => self.secure_empty(tables).await,
            Step::SeeToTables { .. } => self.see_to_tables().await,
            // that all tables were seen to is noted where they are lifted: another primary may have them still
            Step::TakeFromVSchema { .. } => {
                with_primaries_kept(context, &as_read(&target.keyspace), NOT_STOPPED).await?;
                self.take_from_vschema().await
            }
            Step::RebuildServing { .. } => self.rebuild_serving().await,
            Step::LiftDenied { .. } => self.lift_denied().await.map(drop),
            Step::DeleteStreams { .. } => {
                delete_streams(context, lock, found, workflow).await?;
                replaced::forget(context, lock, found, workflow, true).await
            }
            Step::ReduceRecord { denied, .. } => self.reduce_record(denied.clone()).await,
            Step::DeleteRecord { .. } => self.delete_record().await,
        }
    }

    /// Stops the streams of [`CreatedObjects::with_streams`].
    pub async fn stop_streams(&self) -> Result<()> {
        self.lock.check().await?;
        let request = state_change(self.workflow, State::Stopped, None);
        let shards = self.target().keyspace.shards.iter().filter(|s| self.traces.with_streams.contains(&s.name));
        each(shards, |_, tablet| overrides::change(self.context, self.lock, tablet, request.clone())).await
    }

    async fn mark_cancelling(&self) -> Result<()> {
        let Some(stored) = &self.traces.mark else { return Ok(()) };
        let facts = Facts { cancelling: true, ..stored.facts.clone() };
        let names = (self.target().keyspace.name.as_str(), self.workflow);
        record::put(self.context.topo.global(), names, &facts, stored.version, self.lock).await.map(|_| ())
    }

    /// The write by which the record says that all tables were seen to; none where no table goes, without a record, or while a
    /// tablet may still make some. Where the data is kept, tables of the workflow's own stay, which a cancel may still take.
    fn seen_to(&self) -> Result<Vec<Write>> {
        self.seen_to_on(self.target().keyspace.shards.iter().map(|shard| shard.name.clone()))
    }

    /// The same for some shards, besides those of which the record says so already. Who comes when this was cut off leaves alone
    /// what is there by then: a table that is made after its drop is denied by the shard's record only, until tablets read that.
    fn seen_to_on(&self, shards: impl Iterator<Item = String>) -> Result<Vec<Write>> {
        let traces = &self.traces;
        let notes = traces.takes_tables() && !traces.keep_record && !traces.handed_over;
        let Some(stored) = traces.mark.as_ref().filter(|_| notes) else { return Ok(Vec::new()) };
        let seen_to: BTreeSet<String> = stored.facts.seen_to.iter().cloned().chain(shards).collect();
        let facts = Facts { cancelling: true, seen_to: seen_to.into_iter().collect(), ..stored.facts.clone() };
        let names = (self.target().keyspace.name.as_str(), self.workflow);
        record::write(names, &facts, Expect::Any).map(|write| vec![write])
    }

    async fn write(&self, writes: Vec<Write>) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        Ok(self.context.topo.global().write(writes, Some(self.lock)).await.map(drop)?)
    }

    async fn reduce_record(&self, denied: Vec<(String, Vec<String>)>) -> Result<()> {
        let Some(stored) = &self.traces.mark else { return Ok(()) };
        let names = (self.target().keyspace.name.as_str(), self.workflow);
        record::replace(self.context.topo.global(), names, &stored.facts.of_denied(denied), self.lock).await
    }

    async fn delete_record(&self) -> Result<()> {
        let (global, keyspace) = (self.context.topo.global(), self.target().keyspace.name.as_str());
        match &self.found.unreadable {
            Some(kept) => record::delete_unreadable(global, (keyspace, self.workflow), kept, self.lock).await,
            None => record::delete(global, keyspace, self.workflow, self.lock).await,
        }
    }

    async fn take_from_vschema(&self) -> Result<()> {
        let global = self.context.topo.global();
        let keyspace = &self.target().keyspace.name;
        let Some(record) = topo::vschema::find(global, keyspace).await? else { return Ok(()) };
        let entries = entries::removable(&record.value, &self.traces.vschema_tables);
        topo::vschema::remove_tables(global, record, &entries, self.lock).await?;
        self.rebuild_serving().await
    }

    async fn rebuild_serving(&self) -> Result<()> {
        let cells = &self.target().keyspace.cells;
        Ok(topo::srv_vschema::rebuild_reachable(self.context.topo.global(), cells).await?)
    }
}

/// The shards' records as they are now.
async fn read_again(global: &std::sync::Arc<dyn Conn>, keyspace: &Keyspace) -> Result<Vec<Record<Shard>>> {
    Ok(shard::all(global, &keyspace.name).await?)
}

/// Builds the secondary keys that the tablets took from tables and have not given back, for the copy was not finished: only
/// the streams know of them.
pub async fn give_keys_back(context: &Context, lock: &Lock, target: &KeyspaceTablets, workflow: &str) -> Result<()> {
    lock.check().await?;
    let given = target.keyspace.shards.iter().map(|shard| async move {
        let primary = shard.primary()?;
        tables::restore_keys(context, primary, workflow).await
    });
    Error::all(join_all(given).await)
}
