//! What watchers see of a keyspace's migrations: the reads of status, with what several workflows share read once. A way back is
//! looked at as the migration that it is to its source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{join_all, try_join3, try_join4};
use vtmigrated_proto::binlogdata::VReplicationWorkflowType;
use vtmigrated_proto::topodata::ExternalVitessCluster;
use vtmigrated_proto::vschema::{Keyspace as VSchema, RoutingRules};

use super::{SharedReads, StatusInputs, TargetStreams};
use crate::context::Context;
use crate::gtid::Position;
use crate::tablet;
use crate::topo::{self, Node, paths};
use crate::workflow::checks::complete;
use crate::workflow::checks::complete::diffs::Diffs;
use crate::workflow::checks::shared::{self, Others};
use crate::workflow::findings::Finding;
use crate::workflow::progress::{Overall, TableState};
use crate::workflow::reads::diffs;
use crate::workflow::record::{self, Facts, Phase, earlier, unreadable, way_back as back_record};
use crate::workflow::streams::{self, Keyspace, Origin, ShardWorkflow};
use crate::workflow::traffic::Rules;
use crate::workflow::{Error, Result, status};

/// Longest position kept, in characters.
const POSITION: usize = 400;

/// What is the same for all keyspaces.
pub struct Common {
    /// Names of all keyspaces, ascending.
    pub keyspaces: Vec<String>,
    mounts: Vec<Node>,
    rules: Rules,
    /// Keyspace, workflow and what create noted down.
    records: Vec<record::Known>,
    /// The same of ways back.
    pub ways_back: Vec<back_record::Known>,
}

impl Common {
    /// Reads it: one wave.
    pub async fn read(context: &Context) -> Result<Self> {
        let global = context.topo.global();
        let (keyspaces, mounts, rules, kept) = try_join4(
            async { Ok(topo::keyspace::names(global).await?) },
            async { Ok(global.list(paths::EXTERNAL_CLUSTERS).await?) },
            async { Ok(topo::routing_rules::look(global).await?) },
            async { Ok::<_, Error>(global.list(paths::WORKFLOW_RECORDS).await?) },
        )
        .await?;
        let (records, ways_back) = (record::known(&kept), back_record::known(&kept));
        Ok(Self { keyspaces, mounts, rules, records, ways_back })
    }

    /// Nothing but these mounts.
    pub(in crate::workflow) fn of_mounts(mounts: Vec<Node>) -> Self {
        let (rules, records) = (Ok(RoutingRules::default()), Vec::new());
        Self { keyspaces: Vec::new(), mounts, rules, records, ways_back: Vec::new() }
    }

    /// Names and records of all mounts, ascending. A record that cannot be read is one without a configuration.
    pub fn mounts(&self) -> impl Iterator<Item = (String, ExternalVitessCluster)> {
        self.mounts.iter().map(|node| {
            let name = node.path.rsplit('/').next().unwrap_or_default().to_owned();
            (name, prost::Message::decode(node.value.clone()).unwrap_or_default())
        })
    }

    /// True when a workflow of a keyspace has a record.
    pub fn has_record(&self, keyspace: &str) -> bool {
        self.records.iter().any(|(of, _, _)| of == keyspace)
    }

    /// The record of a mount.
    pub fn mount(&self, name: &str) -> Option<ExternalVitessCluster> {
        self.mounts().find(|(known, _)| known == name).map(|(_, record)| record)
    }

    /// True when the complete of a workflow has handed the target over and has not ended.
    pub fn is_handed_over(&self, keyspace: &str, workflow: &str) -> bool {
        self.facts(keyspace, workflow).is_some_and(|facts| facts.handed_over)
    }

    fn facts(&self, keyspace: &str, workflow: &str) -> Option<&Facts> {
        let found = self.records.iter().find(|(k, w, _)| k == keyspace && w == workflow)?;
        found.2.as_ref().ok()
    }

    /// Why the record of a workflow cannot be read; `None` when it can be, or is not there.
    fn unreadable(&self, keyspace: &str, workflow: &str) -> Option<&str> {
        let found = self.records.iter().find(|(k, w, _)| k == keyspace && w == workflow)?;
        found.2.as_ref().err().map(String::as_str)
    }
}

/// A migration at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub workflow: String,
    pub origin: Origin,
    pub streams: Vec<ObservedStream>,
    /// None when there is no stream yet.
    pub tables: BTreeMap<String, TableState>,
    pub overall: Overall,
    /// What speaks against complete, or only warns.
    pub findings: Vec<Finding>,
    /// Whether the columns of both sides were compared for that.
    pub compared: bool,
    pub traffic: String,
    pub diffs: Diffs,
    /// Create has begun and not ended well.
    pub creating: bool,
    /// Complete has begun.
    pub completing: bool,
}

/// A stream at one moment.
#[derive(Clone, Debug, Default)]
pub struct ObservedStream {
    pub id: i32,
    pub source_shard: String,
    pub shard: String,
    pub tablet: String,
    /// As status shows it.
    pub state: &'static str,
    pub message: String,
    /// Stopped for good by complete.
    pub frozen: bool,
    /// `None` while it copies, and before it has started.
    pub lag: Option<i64>,
    pub position: String,
    pub rows_copied: i64,
    pub tables_left: usize,
}

/// The migrations of a keyspace, ascending by name, or why one cannot be told: at most seven waves. `columns`: those of
/// both sides are compared, as status does.
///
/// # Errors
/// Every primary must answer: a part of a migration would look like a whole one.
pub async fn keyspace(
    context: &Context,
    name: &str,
    common: &Common,
    columns: bool,
) -> Result<Vec<(String, Result<Observed>)>> {
    let target = Keyspace::read(context, name).await?;
    let rows = target.workflows(context, &[]).await?;
    let others = of_others(&rows);
    let workflows = by_name(rows);
    let mut observed = unborn(context, name, common, &workflows);
    let known = |(workflow, rows): (&String, &Vec<ShardWorkflow>)| {
        let theirs = shared::told_of_another((name, workflow), rows);
        let shared = told_of_shared(&target, common, (workflow, rows), &others);
        let told: Vec<Finding> = theirs.into_iter().chain(shared).collect();
        (workflow.clone(), told)
    };
    let mut known: BTreeMap<String, Vec<Finding>> = workflows.iter().map(known).collect();
    observed.extend(migrations(context, &target, workflows, common, (columns, true)).await?);
    for (workflow, seen) in &mut observed {
        if let (Ok(seen), Some(known)) = (seen, known.remove(workflow.as_str())) {
            seen.findings.splice(..0, known);
        }
    }
    observed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(observed)
}

/// For each workflow of a keyspace the tables that running streams of others bring; none where it is alone.
fn of_others(rows: &[ShardWorkflow]) -> BTreeMap<String, Others> {
    let names: BTreeSet<&String> = rows.iter().map(|row| &row.found.workflow).collect();
    if names.len() < 2 {
        return BTreeMap::new();
    }
    let of = |name: &String| shared::others(rows.iter().filter(|row| row.found.workflow != *name));
    names.into_iter().map(|name| (name.clone(), of(name))).collect()
}

/// That others work on the tables of a workflow.
fn told_of_shared(
    target: &Keyspace,
    common: &Common,
    (workflow, rows): (&str, &[ShardWorkflow]),
    others: &BTreeMap<String, Others>,
) -> Option<Finding> {
    let others = others.get(workflow)?;
    let origin = streams::union(&rows.iter().collect::<Vec<_>>());
    let facts = common.facts(&target.name, workflow).and_then(|facts| earlier::of(facts, target, rows));
    shared::Known { target, rows, facts: facts.as_deref(), origin: &origin, others }.finding(workflow)
}

/// Workflows of type Migrate, by name.
pub(in crate::workflow) type Workflows = BTreeMap<String, Vec<ShardWorkflow>>;

/// Those among the workflows of a keyspace.
pub(in crate::workflow) fn by_name(rows: Vec<ShardWorkflow>) -> Workflows {
    let mut workflows = Workflows::new();
    for row in rows.into_iter().filter(|row| row.found.workflow_type() == VReplicationWorkflowType::Migrate) {
        workflows.entry(row.found.workflow.clone()).or_default().push(row);
    }
    workflows
}

/// Looks at workflows whose streams were read: at most four waves. `sizes`: those of both sides are read where no record tells them.
pub(in crate::workflow) async fn migrations(
    context: &Context,
    target: &Keyspace,
    workflows: Workflows,
    common: &Common,
    (columns, sizes): (bool, bool),
) -> Result<Vec<(String, Result<Observed>)>> {
    if workflows.is_empty() {
        return Ok(Vec::new());
    }
    let name = target.name.as_str();
    let facts = |workflow: &str, rows: &[ShardWorkflow]| earlier::of(common.facts(name, workflow)?, target, rows);
    let sized =
        |(workflow, rows): (&String, &Vec<ShardWorkflow>)| facts(workflow, rows).is_some_and(|f| !f.sizes.is_empty());
    let needs_sizes = sizes && !workflows.iter().all(sized);
    let (copying, serving, vschema) = try_join3(
        status::copies(context, target, "", needs_sizes),
        async { Ok(topo::srv_vschema::reachable(&target.cells).await) },
        async { Ok(topo::vschema::look(context.topo.global(), name).await?) },
    )
    .await?;
    let copying = Arc::new(copying);
    let vschema = vschema.map(|found| found.map(|record| record.value).unwrap_or_default());
    let (serving, vschema, facts) = (&serving, &vschema, &facts);
    let asked = workflows.into_iter().map(|(workflow, rows)| {
        let seen = TargetStreams { rows, copying: Arc::clone(&copying), needs_sizes };
        async move {
            let diffs = diffs::read(context, target, &workflow).await;
            let origin = seen.origin(&target.name).unwrap_or_default();
            let facts = facts(&workflow, &seen.rows);
            let diffs = diffs.settled(context, &origin, target, (&seen.rows, facts.as_deref())).await;
            let earlier = common.facts(name, &workflow).filter(|_| facts.is_none());
            let around = SharedReads {
                mounts: &common.mounts,
                rules: &common.rules,
                serving,
                diffs: &diffs,
                facts: facts.as_deref(),
                earlier,
                vschema: vschema.as_ref(),
                columns,
            };
            let mut observed = observe(context, target, &workflow, &seen, &around).await;
            if let (Ok(observed), Some(why)) = (&mut observed, common.unreadable(name, &workflow)) {
                let error = unreadable::refusal(context.topo.global(), (name, workflow.as_str()), why);
                observed.findings.push(Finding::of(&error, format!("workflow {workflow}")));
            }
            (workflow, observed)
        }
    });
    Ok(join_all(asked.collect::<Vec<_>>()).await)
}

/// Workflows that have a record and no stream: their create or their complete did not end, or nobody can read how far they are.
fn unborn(context: &Context, keyspace: &str, common: &Common, alive: &Workflows) -> Vec<(String, Result<Observed>)> {
    let mine = common.records.iter().filter(|(k, w, _)| k == keyspace && !alive.contains_key(w));
    mine.map(|(_, workflow, facts)| {
        let facts = match facts {
            Ok(facts) => facts,
            Err(why) => {
                let error = unreadable::refusal(context.topo.global(), (keyspace, workflow.as_str()), why);
                return (workflow.clone(), Err(error));
            }
        };
        let (source, shards) = facts.source.clone();
        let origin = Origin { keyspace: source, mount: facts.mount.clone(), shards, tables: facts.tables.clone() };
        let observed = Observed {
            workflow: workflow.clone(),
            origin,
            creating: facts.phase == Phase::Creating,
            completing: facts.completing,
            ..Observed::default()
        };
        (workflow.clone(), Ok(observed))
    })
    .collect()
}

async fn observe(
    context: &Context,
    target: &Keyspace,
    workflow: &str,
    seen: &TargetStreams,
    around: &SharedReads<'_>,
) -> Result<Observed> {
    let none = VSchema::default();
    let weighed = status::weigh(context, target, workflow, seen, around).await?;
    let sizes = around.facts.map(|facts| facts.sizes.as_slice()).unwrap_or_default();
    let vschema = around.vschema.unwrap_or(&none);
    let told = StatusInputs { source: &weighed.source, vschema, sizes, diffs: around.diffs, shards: &[] };
    let tables = seen.tables(&weighed.origin, &told);
    let overall = Overall::of(tables.values(), seen.seconds());
    let facts = around.facts;
    Ok(Observed {
        workflow: workflow.to_owned(),
        streams: streams(target, seen),
        tables,
        overall,
        findings: weighed.findings,
        compared: weighed.compared,
        traffic: weighed.traffic.to_string(),
        diffs: around.diffs.clone(),
        creating: facts.is_some_and(Facts::is_unfinished),
        completing: record::has_begun(&seen.rows, facts),
        origin: weighed.origin,
    })
}

fn streams(target: &Keyspace, seen: &TargetStreams) -> Vec<ObservedStream> {
    let mut found = Vec::new();
    for row in &seen.rows {
        let Some(shard) = target.shards.get(row.shard) else { continue };
        let states = seen.copying.get(row.shard).map(|copying| &copying.states);
        for stream in &row.found.streams {
            let left = states.and_then(|states| states.get(&i64::from(stream.id)));
            let replicates = left.is_none() && !stream.pos.is_empty();
            let position = Position::stored(&stream.pos).to_string();
            found.push(ObservedStream {
                id: stream.id,
                source_shard: stream.bls.as_ref().map(|bls| bls.shard.clone()).unwrap_or_default(),
                shard: shard.name.clone(),
                tablet: shard.primary.as_ref().map(tablet::alias).unwrap_or_default(),
                state: streams::shown_state(stream, left.is_some()),
                message: streams::message(stream),
                frozen: streams::is_frozen(stream),
                lag: replicates.then(|| streams::lag(stream)),
                position: position.chars().take(POSITION).collect(),
                rows_copied: stream.rows_copied,
                tables_left: left.map_or(0, Vec::len),
            });
        }
    }
    found.sort_by(|a, b| (&a.shard, &a.source_shard, a.id).cmp(&(&b.shard, &b.source_shard, b.id)));
    found
}

/// In short whether complete would refuse: `GO`, or `NO-GO (copying, 2 reasons)`.
pub fn verdict_of(findings: &[Finding]) -> String {
    complete::summary(findings)
}
