//! What must hold after each step.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated::topo::{paths, shard};
use vtmigrated::workflow::record;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as StreamState;

use crate::data::{Owner, rules};
use crate::operations::{Outcome, SECOND, WORKFLOW};
use crate::step::Op;
use crate::world::{MOUNT, SOURCE, State, TABLES, TARGET, World};

/// The source when an operation was called.
pub struct Before {
    /// Versions by table and key.
    rows: BTreeMap<(String, i64), u64>,
    version: u64,
    /// By workflow: the version of the world up to which those of its streams have copied that stopped after their copy.
    snapshots: BTreeMap<String, u64>,
    /// Workflows whose complete had handed the tables over already, by their records.
    lifted: BTreeSet<&'static str>,
}

impl World {
    pub async fn before(&self) -> Before {
        let mut lifted = BTreeSet::new();
        for workflow in [WORKFLOW, SECOND] {
            let record = record::find(&self.global, TARGET, workflow).await.unwrap();
            if record.is_some_and(|stored| stored.facts.handed_over) {
                lifted.insert(workflow);
            }
        }
        let state = self.state();
        let rows = state.source_rows();
        Before { rows, version: state.version, snapshots: state.snapshots(), lifted }
    }

    /// Checks what an operation promises.
    pub async fn after(&self, op: Op, outcome: &Outcome, before: &Before) {
        let locks =
            self.global.list("").await.unwrap().into_iter().filter(|node| node.path.contains("/locks/")).count();
        if locks > 0 {
            self.state().violate(format!("{op:?} left {locks} locks"));
        }
        self.others_denied().await;
        if *outcome != Outcome::Done {
            return;
        }
        match op {
            Op::Create | Op::CreateSecond => self.created(op.workflow()).await,
            Op::Complete | Op::CompleteSecond => {
                if !before.lifted.contains(op.workflow()) {
                    self.completed(op.workflow(), before);
                }
                self.gone(op.workflow()).await;
                self.state().hand_over(op.workflow());
            }
            Op::CancelKeepingData | Op::CancelSecondKeepingData | Op::CompleteIgnoringSource => {
                self.gone(op.workflow()).await;
                self.state().hand_over(op.workflow());
            }
            Op::Cancel | Op::CancelSecond => self.gone(op.workflow()).await,
            Op::Unregister => self.unregistered().await,
            _ => {}
        }
    }

    /// A workflow is whole, and its tables hold nothing but what it copied.
    async fn created(&self, workflow: &str) {
        let shards = self.state().serving(TARGET);
        for name in &shards {
            let mut state = self.state();
            let denied = state.seats[&state.shards[name].primary].denied.clone();
            let sources: BTreeSet<String> = state.serving(SOURCE).into_iter().map(|(_, shard)| shard).collect();
            let shard = &state.shards[name];
            let streams: Vec<&str> = shard.streams.iter().map(|stream| stream.workflow.as_str()).collect();
            let mut wrong = Vec::new();
            if streams.iter().filter(|of| **of == workflow).count() < sources.len().min(1) {
                wrong.push(format!("create of {workflow} made no stream on {}", name.1));
            }
            for table in TABLES {
                let Some(found) = shard.tables.get(table) else {
                    wrong.push(format!("create of {workflow} made no table {table} on {}", name.1));
                    continue;
                };
                if !denied.contains(table) {
                    wrong.push(format!("create of {workflow} left {table} writable on {}", name.1));
                }
                let of_workflow = Owner::Workflow(workflow.to_owned());
                if found.rows.values().any(|row| row.owner != of_workflow) {
                    wrong.push(format!("create of {workflow} took {table} on {}, which has other rows", name.1));
                }
            }
            wrong.into_iter().for_each(|text| state.violate(text));
        }
    }

    /// The target has what the source had: when complete was called, or when the streams stopped after their copy, if they
    /// were to.
    pub fn completed(&self, workflow: &str, before: &Before) {
        let state = self.state();
        let snapshot = before.snapshots.get(workflow).copied();
        let until = snapshot.unwrap_or(before.version);
        let since =
            |key: &(String, i64)| snapshot.is_some_and(|until| state.changes.get(key).is_some_and(|at| *at > until));
        let (now, theirs) = (state.source_rows(), state.target_rows());
        let mut wrong = Vec::new();
        for ((table, id), version) in &before.rows {
            let key = (table.clone(), *id);
            match theirs.get(&key) {
                Some((_, Owner::Client)) => {}
                Some((found, _)) if found >= version => {}
                None if !now.contains_key(&key) => {}
                _ if since(&key) => {}
                None if state.dropped_by_users.iter().any(|(_, dropped)| dropped == table) => {}
                found => wrong.push(format!("complete lost row {id} of {table}: version {version}, target {found:?}")),
            }
        }
        for ((table, id), (_, owner)) in &theirs {
            let key = (table.clone(), *id);
            let gone_before = state.changes.get(&key).is_some_and(|at| *at <= before.version.min(until));
            if matches!(owner, Owner::Workflow(_))
                && !before.rows.contains_key(&key)
                && !now.contains_key(&key)
                && gone_before
            {
                wrong.push(format!("complete left row {id} of {table}, which the source had deleted"));
            }
        }
        let mut state = state;
        wrong.into_iter().for_each(|text| state.violate(text));
    }

    /// Nothing of a workflow is left, but a record of denied tables that another one works on: nothing else tells whose they are.
    async fn gone(&self, workflow: &str) {
        let mut left = self.left_of(&[workflow]).await;
        if self.is_needed(workflow).await {
            left.retain(|text| !text.starts_with("the record"));
        }
        let mut state = self.state();
        left.into_iter().for_each(|text| state.violate(format!("left of {workflow}: {text}")));
        for name in state.of(TARGET) {
            let diffs = state.shards[&name].diffs.iter().filter(|diff| diff.workflow == workflow).count();
            if diffs > 0 {
                state.violate(format!("left of {workflow}: {diffs} diffs on {}", name.1));
            }
        }
    }

    /// True when the record of a workflow tells of nothing but denied tables that streams of another one bring, which may write.
    async fn is_needed(&self, workflow: &str) -> bool {
        let Some(stored) = record::find(&self.global, TARGET, workflow).await.unwrap() else { return false };
        let facts = stored.facts;
        let state = self.state();
        let others = state.of(TARGET).into_iter().flat_map(|name| state.shards[&name].streams.clone());
        let others = others.filter(|stream| stream.workflow != workflow && stream.message != "FROZEN");
        let brought: BTreeSet<String> = others.flat_map(|of| rules(&of.source)).map(|(table, _)| table).collect();
        let only_denied = facts.created_tables.is_empty() && facts.vschema_tables.is_empty();
        only_denied && facts.denied_tables.iter().flat_map(|(_, tables)| tables).all(|table| brought.contains(table))
    }

    /// What there is of workflows.
    pub async fn left_of(&self, workflows: &[&str]) -> Vec<String> {
        let mut left = Vec::new();
        for workflow in workflows {
            let record = paths::workflow_record(TARGET, workflow);
            if self.global.get(&record).await.is_ok() {
                left.push(format!("the record of {workflow}"));
            }
        }
        let other_records = self.global.list(paths::WORKFLOW_RECORDS).await.unwrap().len();
        let shards = self.state().of(TARGET);
        for name in shards {
            // no command reaches tablets whose shard is not in the topology any more
            let Some(record) = self.record(TARGET, &name.1).await else { continue };
            let denied = shard::denied(&record);
            let state = self.state();
            let shard = &state.shards[&name];
            let on = &name.1;
            left.extend(
                shard
                    .streams
                    .iter()
                    .filter(|stream| workflows.contains(&stream.workflow.as_str()))
                    .map(|stream| format!("stream {} of {} on {on}", stream.id, stream.workflow)),
            );
            let is_theirs = |of: &String| workflows.contains(&of.as_str());
            let orphans = shard.orphans().filter(|copy| copy.workflow.as_ref().is_some_and(is_theirs));
            left.extend(orphans.map(|copy| format!("a copy state of {} on {on}", copy.table)));
            if other_records == 0 {
                let ours = |table: &&String| {
                    let of_nobody = state.denied_by_nobody.contains(&(name.clone(), (*table).clone()));
                    !of_nobody && !state.denied_by_others.contains(*table)
                };
                left.extend(denied.iter().filter(ours).map(|table| format!("{table} denied on {on}")));
                let acted = &state.seats[&shard.primary].denied;
                left.extend(acted.iter().filter(ours).map(|table| format!("{table} refused by the primary of {on}")));
            }
        }
        left
    }

    /// What there is of both workflows, and copy states that nothing tells whose they are.
    pub async fn left_at_all(&self) -> Vec<String> {
        let mut left = self.left_of(&[WORKFLOW, SECOND]).await;
        let state = self.state();
        for name in state.of(TARGET) {
            let of_nobody = state.shards[&name].orphans().filter(|copy| copy.workflow.is_none());
            left.extend(of_nobody.map(|copy| format!("a copy state of {} on {}", copy.table, name.1)));
        }
        left
    }

    /// What the topology has of a target keyspace that was deleted.
    pub async fn left_of_target(&self) -> Vec<String> {
        let cell = self.cell(TARGET).await;
        let mut left = self.global.list(&paths::keyspace_dir(TARGET)).await.unwrap();
        left.extend(self.global.list(&paths::workflow_records(TARGET)).await.unwrap());
        left.extend(cell.list(paths::TABLETS).await.unwrap());
        left.into_iter().map(|node| node.path).collect()
    }

    /// What others denied stays denied.
    async fn others_denied(&self) {
        let (shards, theirs) = {
            let state = self.state();
            (state.serving(TARGET), state.denied_by_others.clone())
        };
        for name in shards {
            let Some(record) = self.record(TARGET, &name.1).await else { continue };
            let denied = shard::denied(&record);
            for table in theirs.iter().filter(|table| !denied.contains(table)) {
                self.state().violate(format!("{table} is not denied on {} any more, which others had denied", name.1));
            }
        }
    }

    /// Whatever ran beside an unregister, no stream reads from a mount that is gone.
    pub async fn is_mounted(&self, done: [(Op, &Outcome); 2]) {
        let unregisters = |(op, outcome): &(Op, &Outcome)| *op == Op::Unregister && **outcome == Outcome::Done;
        if done.iter().any(unregisters) && self.global.get(&paths::external_cluster(MOUNT)).await.is_err() {
            self.unregistered().await;
        }
    }

    async fn unregistered(&self) {
        let used = self.left_of(&[WORKFLOW, SECOND]).await.into_iter().filter(|text| text.contains("stream")).count();
        if used > 0 {
            self.state().violate(format!("the mount was unregistered with {used} streams that read from it"));
        }
    }
}

impl State {
    fn snapshots(&self) -> BTreeMap<String, u64> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for name in self.of(TARGET) {
            let shard = &self.shards[&name];
            for stream in &shard.streams {
                let told = stream.message.starts_with("Stopped after copy") || stream.message == "FROZEN";
                let copied = !shard.copy.iter().any(|copy| copy.stream == stream.id);
                let stopped = stream.state == StreamState::Stopped && stream.source.stop_after_copy;
                let from = (stream.source.keyspace.clone(), stream.source.shard.clone());
                let (Some(at), Some(from)) = (stream.at, self.shards.get(&from)) else { continue };
                if stopped && told && copied && !stream.ran_on {
                    let when = from.log.get(at.wrapping_sub(1)).map_or(0, |event| event.when);
                    let of_workflow = found.entry(stream.workflow.clone()).or_insert(when);
                    *of_workflow = when.min(*of_workflow);
                }
            }
        }
        found
    }

    pub fn source_rows(&self) -> BTreeMap<(String, i64), u64> {
        let mut rows = BTreeMap::new();
        for name in self.serving(SOURCE) {
            for (table, found) in &self.shards[&name].tables {
                rows.extend(found.rows.iter().map(|(id, row)| ((table.clone(), *id), row.version)));
            }
        }
        rows
    }

    pub fn target_rows(&self) -> BTreeMap<(String, i64), (u64, Owner)> {
        let mut rows = BTreeMap::new();
        for name in self.serving(TARGET) {
            for (table, found) in &self.shards[&name].tables {
                rows.extend(
                    found.rows.iter().map(|(id, row)| ((table.clone(), *id), (row.version, row.owner.clone()))),
                );
            }
        }
        rows
    }
}
