//! Status: streams of each shard, copy progress of each table. The source is asked too, but not needed.

mod copying;
mod inputs;
pub mod observe;
pub(in crate::workflow) mod overrides;
mod stream;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::{join, try_join, try_join3, try_join5};
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::ExternalVitessCluster;
use vtmigrated_proto::vschema::{Keyspace as VSchema, SrvVSchema};
use vtmigrated_proto::vtctldata::WorkflowStatusResponse;
use vtmigrated_proto::vtctldata::workflow_status_response::{ShardStreams, ShardStreamsEntry, TableCopyStateEntry};

use crate::context::Context;
use crate::topo::{self, Node};
use crate::vschema;
use crate::workflow::checks::complete::columns::Columns;
use crate::workflow::checks::complete::diffs::Diffs;
use crate::workflow::checks::complete::source::Source;
use crate::workflow::checks::complete::{self, Evidence};
use crate::workflow::checks::{shared, workflow_type};
use crate::workflow::findings::Finding;
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::progress::copying::Copying;
use crate::workflow::progress::folding::Folding;
use crate::workflow::progress::{Overall, Size, TableState};
use crate::workflow::reads::source::{self, Ask};
use crate::workflow::reads::{columns, diffs, overrides as override_reads, replicas};
use crate::workflow::record::unreadable::{self, Unreadable};
use crate::workflow::record::{self, Facts, Kept, Stored, earlier};
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::{self, Keyspace, Origin, ShardWorkflow};
use crate::workflow::traffic::{Rules, Traffic};
use crate::workflow::{Result, names};
use copying::ShardCopies;
use stream::stream_state;

pub use crate::workflow::checks::absent::{missing, nothing_to_end};
pub use crate::workflow::streams::lag;
use copying::copies;
pub(super) use inputs::StatusInputs;

/// Bound of what status asks of the source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The status of a workflow; at most six waves of round trips, and one more beside the record of an earlier workflow. Rules and a
/// VSchema that cannot be decoded are told in it.
pub async fn status(
    context: &Context,
    keyspace: &str,
    workflow: &str,
    shards: &[String],
) -> Result<WorkflowStatusResponse> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let global = context.topo.global();
    let (target, mounts, rules, vschema, (stored, unreadable)) = try_join5(
        Keyspace::read(context, keyspace),
        async { Ok(global.list(topo::paths::EXTERNAL_CLUSTERS).await?) },
        async { Ok(topo::routing_rules::look(global).await?) },
        async { Ok(topo::vschema::look(global, keyspace).await?) },
        async { Ok(readable(record::look(global, keyspace, workflow).await)) },
    )
    .await?;
    target.check_shards(shards)?;
    let serving = async { Ok(topo::srv_vschema::reachable(&target.cells).await) };
    let sized = stored.as_ref().is_some_and(|stored| !stored.facts.sizes.is_empty());
    let read = TargetStreams::read_beside(context, &target, workflow, !sized);
    let diffs = async { Ok(diffs::read(context, &target, workflow).await) };
    let ((mut seen, others), diffs, serving) = try_join3(read, diffs, serving).await?;
    let unreadable = unreadable.map(|kept| unreadable::refusal(global, (keyspace, workflow), &kept.why));
    if seen.rows.is_empty() {
        if stored.is_none() && unreadable.is_none() {
            target.refuse_silent()?;
        }
        return Err(unreadable.unwrap_or_else(|| missing(keyspace, workflow, stored.is_some())));
    }
    workflow_type::check(keyspace, workflow, &seen.rows)?;
    let facts = stored.as_ref().and_then(|stored| earlier::of(&stored.facts, &target, &seen.rows));
    let facts = facts.as_deref();
    let sizes = facts.map(|facts| facts.sizes.as_slice()).unwrap_or_default();
    if sizes.is_empty() && !seen.needs_sizes {
        // those that the record tells are of an earlier workflow
        seen = TargetStreams {
            copying: Arc::new(copies(context, &target, workflow, true).await?),
            needs_sizes: true,
            ..seen
        };
    }
    let diffs = diffs.settled(context, &seen.origin(keyspace)?, &target, (&seen.rows, facts)).await;
    let vschema = vschema.map(|found| found.map(|record| record.value).unwrap_or_default());
    let around = SharedReads {
        mounts: &mounts,
        rules: &rules,
        serving: &serving,
        diffs: &diffs,
        facts,
        earlier: stored.as_ref().map(|stored| &stored.facts).filter(|_| facts.is_none()),
        vschema: vschema.as_ref(),
        columns: true,
    };
    let mut weighed = weigh(context, &target, workflow, &seen, &around).await?;
    weighed.findings.extend(unreadable.map(|error| Finding::of(&error, format!("workflow {workflow}"))));
    let first = shared::of_neighbours((&target, workflow), &seen.rows, facts, (&weighed.origin, &others));
    weighed.findings.splice(..0, first);
    let verdict = complete::summary(&weighed.findings);
    let vschema = vschema.unwrap_or_default();
    let told = StatusInputs { source: &weighed.source, vschema: &vschema, sizes, diffs: &diffs, shards };
    let line = format!("{}. Complete: {verdict}{}", weighed.traffic, left_out(&target));
    let mut answer = seen.answer(&target, &weighed.origin, &told, &line);
    overrides::tell(&weighed.findings, &mut answer);
    Ok(answer)
}

/// What was left out, for the traffic line; empty when all could be reached.
fn left_out(target: &Keyspace) -> String {
    let cells = target.cells.left_out().into_iter().map(|(cell, why)| format!("cell {cell} was left out: {why}"));
    let all: Vec<String> = cells.chain(target.cells.passed_over()).collect();
    if all.is_empty() { String::new() } else { format!(". {}", all.join("; ")) }
}

/// What is around a workflow.
pub(super) struct SharedReads<'a> {
    /// The records of all mounts.
    pub mounts: &'a [Node],
    pub rules: &'a Rules,
    /// The serving vschema of each cell.
    pub serving: &'a [(String, Option<SrvVSchema>)],
    pub diffs: &'a Diffs,
    pub facts: Option<&'a Facts>,
    /// A record of the workflow's name that is an earlier workflow's.
    pub earlier: Option<&'a Facts>,
    /// The target's vschema, or why it cannot be decoded.
    pub vschema: std::result::Result<&'a VSchema, &'a topo::Error>,
    /// Whether the columns of both sides are compared once nothing is left to copy.
    pub columns: bool,
}

/// A workflow as it was judged.
pub(super) struct JudgedWorkflow {
    pub origin: Origin,
    pub source: std::result::Result<Source, String>,
    pub traffic: Traffic,
    pub findings: Vec<Finding>,
    /// Whether columns were compared.
    pub compared: bool,
}

/// Asks the source of a workflow, and judges: at most three waves.
pub(super) async fn weigh(
    context: &Context,
    target: &Keyspace,
    workflow: &str,
    seen: &TargetStreams,
    around: &SharedReads<'_>,
) -> Result<JudgedWorkflow> {
    let origin = seen.origin(&target.name)?;
    let mount = around.mounts.iter().find(|node| node.path.rsplit('/').next() == Some(origin.mount.as_str()));
    let mount = mount.and_then(|node| prost::Message::decode(node.value.clone()).ok());
    let sides = sides(context, target, (&origin, around.facts), mount.as_ref(), seen, around.columns);
    let ((source, columns), unread) = join(sides, override_reads::unread(context, target, &seen.rows)).await;
    let traffic = Traffic::of(&origin.keyspace, &origin.tables, around.serving, around.rules);
    let copying: Vec<CopyStates> = seen.copying.iter().map(|copying| copying.states.clone()).collect();
    let orphaned: Vec<CopyStates> = seen.copying.iter().map(|copying| copying.orphaned.clone()).collect();
    let evidence = Evidence {
        target,
        workflow,
        origin: &origin,
        rows: &seen.rows,
        copying: &copying,
        orphaned: &orphaned,
        source: &source,
        columns: columns.as_deref(),
        diffs: around.diffs,
        facts: around.facts,
        earlier: around.earlier,
        vschema: around.vschema.map(Some),
    };
    let mut findings = evidence.judge();
    findings.extend(unread);
    Ok(JudgedWorkflow { traffic, findings, compared: columns.is_some(), source, origin })
}

/// What the source says, and, once nothing is left to copy, the columns of both sides.
async fn sides(
    context: &Context,
    target: &Keyspace,
    (origin, facts): (&Origin, Option<&Facts>),
    mount: Option<&ExternalVitessCluster>,
    seen: &TargetStreams,
    columns: bool,
) -> (std::result::Result<Source, String>, Option<Vec<(String, Columns)>>) {
    let ask = columns && !seen.is_copying();
    let tables = if ask { origin.tables.clone() } else { Vec::new() };
    let source = async {
        if mount.is_none() {
            return Err(format!("no vitess cluster found with name {}", origin.mount));
        }
        let ask = Ask {
            mount: origin.mount.clone(),
            keyspace: origin.keyspace.clone(),
            shards: source::shards_to_ask(origin, facts),
            tables: tables.clone(),
            sizes: seen.needs_sizes,
            inventory: false,
            streams: replicas::suspects(target, &seen.rows, streams::now()),
            target: target.name.clone(),
            within: SOURCE_TIMEOUT,
        };
        source::read(context, &ask, mount).await
    };
    let columns = async {
        if tables.is_empty() {
            return None;
        }
        Some(columns::columns_of(context, target, (&seen.rows, facts), &tables).await.0)
    };
    join(source, columns).await
}

/// The status of a workflow that was just made: one wave, the source is not asked.
pub async fn of_created(context: &Context, arguments: &Arguments, target: &Keyspace) -> Result<WorkflowStatusResponse> {
    let seen = TargetStreams::read(context, target, &arguments.workflow, true).await?;
    let origin = streams::origin(&target.name, &seen.rows.iter().collect::<Vec<_>>())?;
    let traffic = Traffic::default().to_string();
    let source = Ok(Source::default());
    let told =
        StatusInputs { source: &source, vschema: &VSchema::default(), sizes: &[], diffs: &Diffs::new(), shards: &[] };
    Ok(seen.answer(target, &origin, &told, &traffic))
}

/// A record that cannot be read is none to measure against; a status without it is better than none.
fn readable(found: Result<Option<Kept>>) -> (Option<Stored>, Option<Unreadable>) {
    record::apart(found.unwrap_or_else(|error| {
        tracing::warn!("the workflow's record cannot be read: {error}");
        None
    }))
}

/// What the target primaries say about a workflow.
pub(super) struct TargetStreams {
    pub rows: Vec<ShardWorkflow>,
    /// For each shard.
    pub copying: Arc<Vec<ShardCopies>>,
    /// No sizes at create are known: the present ones are needed.
    pub needs_sizes: bool,
}

impl TargetStreams {
    async fn read(context: &Context, target: &Keyspace, workflow: &str, needs_sizes: bool) -> Result<Self> {
        let names = [workflow.to_owned()];
        let rows = target.workflows(context, &names);
        let (rows, copying) = try_join(rows, copies(context, target, workflow, needs_sizes)).await?;
        Ok(Self { rows, copying: Arc::new(copying), needs_sizes })
    }

    /// The same, and the streams of the keyspace's other workflows.
    async fn read_beside(
        context: &Context,
        target: &Keyspace,
        workflow: &str,
        needs_sizes: bool,
    ) -> Result<(Self, Vec<ShardWorkflow>)> {
        let rows = target.workflows(context, &[]);
        let (rows, copying) = try_join(rows, copies(context, target, workflow, needs_sizes)).await?;
        let (rows, others) = rows.into_iter().partition(|row: &ShardWorkflow| row.found.workflow == workflow);
        Ok((Self { rows, copying: Arc::new(copying), needs_sizes }, others))
    }

    /// Where the workflow's streams come from.
    pub fn origin(&self, keyspace: &str) -> Result<Origin> {
        streams::origin(keyspace, &self.rows.iter().collect::<Vec<_>>())
    }

    /// True while a stream of the workflow has tables left.
    pub fn is_copying(&self) -> bool {
        self.streams().any(|copying| copying.left.is_some())
    }

    fn answer(
        &self,
        target: &Keyspace,
        origin: &Origin,
        told: &StatusInputs<'_>,
        traffic: &str,
    ) -> WorkflowStatusResponse {
        let tables = self.tables(origin, told);
        let overall = Overall::of(tables.values(), self.seconds());
        let mut table_copy_state: Vec<TableCopyStateEntry> = Vec::new();
        for (table, state) in &tables {
            table_copy_state.push(TableCopyStateEntry { key: table.clone(), value: Some(state.copy_state()) });
        }
        let mut answered: BTreeMap<String, ShardStreams> = BTreeMap::new();
        for row in &self.rows {
            let wanted = |name: &String| told.shards.is_empty() || told.shards.contains(name);
            let Some(shard) = target.shards.get(row.shard).filter(|s| wanted(&s.name)) else { continue };
            let states = self.copying.get(row.shard).map(|copying| &copying.states);
            let diff =
                told.diffs.iter().find(|(name, _)| *name == shard.name).and_then(|(_, d)| d.as_ref().ok()?.as_ref());
            let diff = diff.and_then(|diff| diff.progress_text(streams::now()));
            let streams = answered.entry(format!("{}/{}", target.name, shard.name)).or_default();
            for stream in &row.found.streams {
                let copying = states.is_some_and(|s| s.contains_key(&i64::from(stream.id)));
                let mut state = stream_state(stream, copying, &overall);
                state.tablet = shard.primary.as_ref().and_then(|t| t.alias.clone());
                if let Some(diff) = &diff {
                    state.info = format!("{}; {diff}", state.info);
                }
                let source = stream.bls.as_ref().map(|bls| bls.shard.as_str()).unwrap_or_default();
                if let Some(stalled) = told.stalled(&shard.name, stream.id) {
                    state.info = format!("{}; {}", state.info, stalled.cause);
                }
                if let Some(why) = told.silence(source) {
                    state.info = format!("{}; the source cannot be reached: {why}", state.info);
                }
                streams.streams.push(state);
            }
            streams.streams.sort_by_key(|s| s.id);
        }
        let entry = |(key, value)| ShardStreamsEntry { key, value: Some(value) };
        WorkflowStatusResponse {
            table_copy_state,
            shard_streams: answered.into_iter().map(entry).collect(),
            traffic_state: traffic.to_owned(),
        }
    }

    /// Each stream with its shard's number and the tables it has left.
    fn streams(&self) -> impl Iterator<Item = Copying<'_>> {
        self.rows.iter().flat_map(|row| {
            let states = self.copying.get(row.shard).map(|copying| &copying.states);
            let left = move |stream: &Stream| states.and_then(|s| s.get(&i64::from(stream.id)));
            row.found.streams.iter().map(move |stream| Copying { stream, left: left(stream) })
        })
    }

    /// Each table of the workflow on both sides.
    pub fn tables(&self, origin: &Origin, told: &StatusInputs<'_>) -> BTreeMap<String, TableState> {
        let in_vschema = vschema::tables(told.vschema);
        let everywhere = |table: &str| in_vschema.get(table).is_some_and(|t| t.r#type == "reference");
        let source = told.source.as_ref().ok();
        let present = |table: &str| self.present(table, source, everywhere(table));
        let folded = Folding { streams: self.streams().collect(), sizes: told.sizes, everywhere: &everywhere };
        folded.tables(&origin.tables, &present)
    }

    /// A table as both sides estimate it now.
    fn present(&self, table: &str, source: Option<&Source>, everywhere: bool) -> (Size, Option<Size>) {
        let mut here = Size::default();
        for copying in self.copying.iter() {
            let size = copying.sizes.get(table).copied().unwrap_or_default();
            here = Size { rows: here.rows.saturating_add(size.rows), bytes: here.bytes.saturating_add(size.bytes) };
        }
        if everywhere {
            let copies = i64::try_from(self.copying.len().max(1)).unwrap_or(1);
            here = Size { rows: here.rows / copies, bytes: here.bytes / copies };
        }
        let sizes = source.and_then(|source| source.sizes.as_ref());
        (here, sizes.map(|sizes| sizes.get(table).copied().unwrap_or_default()))
    }

    /// Seconds since the first stream of the workflow began to copy.
    pub fn seconds(&self) -> Option<f64> {
        let streams =
            self.rows.iter().flat_map(|row| row.found.streams.iter().map(move |s| (row.shard, i64::from(s.id))));
        let starts = streams.filter_map(|(shard, id)| self.copying.get(shard)?.starts.get(&id).copied());
        let first = starts.fold(None, |first: Option<f64>, start| Some(first.map_or(start, |f| f.min(start))))?;
        Some((now().as_secs_f64() - first).max(0.0))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
