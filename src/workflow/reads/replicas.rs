//! Streams that get nothing because the source tablet that they read from gets nothing.
//!
//! Asked only of streams that run, are behind their source's primary, and have seen no transaction for a while: others cost
//! nothing. The target tablet tells from which tablet a stream reads; where it does not, all that it may have picked count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{BoxFuture, join_all, join3};
use futures::{FutureExt, StreamExt};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::ReplicationStatusRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{Tablet, TabletAlias, TabletType};

use crate::context::Context;
use crate::gtid::Position;
use crate::topo::cell::Aliases;
use crate::topo::{self, Topo};
use crate::workflow::checks::complete::source::SourceShard;
use crate::workflow::checks::complete::streams::{shard_of, subject};
use crate::workflow::checks::replicas::{Replication, Trouble, trouble};
use crate::workflow::checks::stalled::Stalled;
use crate::workflow::plan::picking::Candidates;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow};
use crate::workflow::tablet_types::{cell, is_one_of};
use crate::{deadline, tablet};

/// A stream that has seen a transaction in the last so many seconds gets what there is.
const RECENT: i64 = 10;
/// Bound of what a target tablet is asked on its status port.
const PAGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Most tablets that are asked, and asked at once.
const MAX_TABLETS: usize = 100;
const AT_ONCE: usize = 20;

/// A stream that may get nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    subject: String,
    /// The target shard and the stream's id there.
    shard: String,
    id: i32,
    source_shard: String,
    position: Position,
    types: Vec<TabletType>,
    cells: Vec<String>,
    /// True while it copies, which takes as long as it takes.
    copying: bool,
    /// The primary on which it runs.
    on: Tablet,
    workflow: String,
}

/// The streams that say that they run, by what they say themselves, and have seen no transaction of late.
pub fn suspects(target: &Keyspace, rows: &[ShardWorkflow], now: i64) -> Vec<Suspect> {
    let mut found = Vec::new();
    for row in rows {
        let Some(shard) = target.shards.get(row.shard) else { continue };
        let Some(on) = &shard.primary else { continue };
        let silent = |stream: &&Stream| {
            let seen = stream.transaction_timestamp.as_ref().map_or(0, |time| time.seconds);
            matches!(stream.state(), State::Running | State::Copying)
                && streams::shown_state(stream, false) != "Error"
                && !stream.pos.is_empty()
                && now.saturating_sub(seen) > RECENT
        };
        for stream in row.found.streams.iter().filter(silent) {
            let cells = row.found.cells.split(',').map(str::trim).filter(|cell| !cell.is_empty());
            found.push(Suspect {
                subject: subject(target, &shard.name, stream),
                shard: shard.name.clone(),
                id: stream.id,
                source_shard: shard_of(stream).to_owned(),
                position: Position::stored(&stream.pos),
                types: row.found.tablet_types().collect(),
                cells: cells.map(str::to_owned).collect(),
                copying: stream.state() == State::Copying,
                on: on.clone(),
                workflow: row.found.workflow.clone(),
            });
        }
    }
    found
}

/// The source's topology, as far as it was read.
pub(super) struct SourceTopology<'a> {
    pub topo: &'a Topo,
    pub keyspace: &'a Keyspace,
    pub target: &'a str,
}

/// Looks at the tablets that suspects read from: no wave when all have reached their source's position, else three. What
/// takes longer than `within` is not told: a third of it for each wave.
pub(super) async fn look(
    context: &Context,
    around: &SourceTopology<'_>,
    suspects: &[Suspect],
    shards: &[SourceShard],
    within: Duration,
) -> Vec<Stalled> {
    let wanted = |suspect: &Suspect| {
        let shard = shards.iter().find(|shard| shard.name == suspect.source_shard)?;
        let wanted = shard.position.as_ref().ok()?;
        (suspect.position.contains(wanted) == Some(false)).then_some(wanted)
    };
    let behind: Vec<(&Suspect, &Position)> = suspects.iter().filter_map(|s| Some((s, wanted(s)?))).collect();
    if behind.is_empty() {
        return Vec::new();
    }
    judge(context, around, &behind, deadline::remaining(within) / 3).await
}

/// Work that is told how long it may take, and is taken for nothing when it takes longer.
async fn bounded<T: Default>(limit: Duration, work: impl Future<Output = T>) -> T {
    let work = deadline::scope(Some(deadline::now() + limit), work);
    // what asks tablets and cells answers in time by itself
    tokio::time::timeout(limit + limit / 4, work).await.unwrap_or_default()
}

async fn judge(
    context: &Context,
    around: &SourceTopology<'_>,
    behind: &[(&Suspect, &Position)],
    wave: Duration,
) -> Vec<Stalled> {
    let shards: BTreeSet<String> = behind.iter().map(|(suspect, _)| suspect.source_shard.clone()).collect();
    let aliases = bounded(wave, async { Aliases::read(around.topo.global()).await.unwrap_or_default() });
    let (tablets, aliases, pages) = join3(tablets(around.keyspace, shards, wave), aliases, pages(behind)).await;
    let read = read(around.keyspace, &tablets, &aliases, behind, &pages);
    let mut asked: BTreeMap<String, &Tablet> = BTreeMap::new();
    for tablet in read.iter().flat_map(|(_, tablets)| tablets) {
        asked.insert(tablet::alias(tablet), tablet);
    }
    let mut calls: Vec<BoxFuture<'_, (String, Replication)>> = Vec::new();
    for (alias, tablet) in asked.into_iter().take(MAX_TABLETS) {
        let until = deadline::now() + wave;
        calls.push(deadline::scope(Some(until), async move { (alias, ask(context, tablet).await) }).boxed());
    }
    let answers = futures::stream::iter(calls).buffer_unordered(AT_ONCE);
    let answers: BTreeMap<String, Replication> = answers.collect().await;
    let mut found = Vec::new();
    for ((suspect, wanted), (known, tablets)) in behind.iter().zip(&read) {
        let troubles: Vec<Trouble> = tablets
            .iter()
            .filter_map(|tablet| {
                let alias = tablet::alias(tablet);
                trouble(&alias, answers.get(&alias)?, Some(*wanted))
            })
            .collect();
        // it may well read from one that does, or from the primary
        let elsewhere = !*known && (troubles.len() < tablets.len() || may_read_primary(around, &aliases, suspect));
        if !elsewhere {
            found.extend(stalled(suspect, *known, &troubles, around.target));
        }
    }
    found
}

/// True when the stream may read from its source shard's primary.
fn may_read_primary(around: &SourceTopology<'_>, aliases: &Aliases, suspect: &Suspect) -> bool {
    let shard = around.keyspace.shards.iter().find(|shard| shard.name == suspect.source_shard);
    let Some(primary) = shard.and_then(|shard| shard.primary.as_ref()) else { return false };
    let (cells, none) = (around.keyspace.cells.names().collect(), BTreeMap::new());
    let candidates = Candidates { keyspace: &around.keyspace.name, tablets: &none, cells, aliases };
    let looked = candidates.looked_at(&suspect.cells, cell(&suspect.on));
    is_one_of(primary, &suspect.types) && looked.contains(cell(primary))
}

/// The tablets of some source shards that are no primaries.
async fn tablets(source: &Keyspace, shards: BTreeSet<String>, wave: Duration) -> BTreeMap<String, Vec<Tablet>> {
    let shards: Vec<&str> = shards.iter().map(String::as_str).collect();
    let graphs = bounded(wave, topo::tablet::replication(&source.cells, &source.name, &shards)).await;
    let aliases: Vec<TabletAlias> = graphs.values().flatten().cloned().collect();
    let records = bounded(wave, topo::tablet::reachable(&source.cells, &aliases)).await;
    let primaries: BTreeSet<String> = source
        .shards
        .iter()
        .filter_map(|s| s.record.value.primary_alias.as_ref())
        .map(topo::paths::alias_text)
        .collect();
    let mut found: BTreeMap<String, Vec<Tablet>> = BTreeMap::new();
    for (shard, graph) in graphs {
        let names: BTreeSet<String> = graph.iter().map(topo::paths::alias_text).collect();
        let replicas = names.into_iter().filter(|alias| !primaries.contains(alias));
        found.insert(shard, replicas.filter_map(|alias| records.tablets.get(&alias).cloned()).collect());
    }
    found
}

/// From which tablet each stream of a target primary reads, by the primary's alias; those that do not tell are not there.
async fn pages(behind: &[(&Suspect, &Position)]) -> BTreeMap<String, BTreeMap<i32, String>> {
    let primaries: BTreeMap<String, &Tablet> = behind.iter().map(|(s, _)| (tablet::alias(&s.on), &s.on)).collect();
    let asked = primaries.into_iter().take(MAX_TABLETS).map(|(alias, on)| async move {
        let told = tablet::source_tablets(on, PAGE_TIMEOUT).await;
        Some((alias, told.map_err(|why| tracing::debug!("source tablets of streams are not known: {why}")).ok()?))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The replicas that each stream reads from, or may read from; true when it is known.
fn read<'t>(
    source: &'t Keyspace,
    tablets: &'t BTreeMap<String, Vec<Tablet>>,
    aliases: &'t Aliases,
    behind: &[(&Suspect, &Position)],
    pages: &BTreeMap<String, BTreeMap<i32, String>>,
) -> Vec<(bool, Vec<&'t Tablet>)> {
    let cells = source.cells.names().collect();
    let candidates = Candidates { keyspace: &source.name, tablets, cells, aliases };
    behind.iter().map(|(suspect, _)| read_from(&candidates, suspect, pages)).collect()
}

/// The same of one stream.
fn read_from<'t>(
    candidates: &Candidates<'t>,
    suspect: &Suspect,
    pages: &BTreeMap<String, BTreeMap<i32, String>>,
) -> (bool, Vec<&'t Tablet>) {
    let there = candidates.tablets.get(&suspect.source_shard).map(Vec::as_slice).unwrap_or_default();
    let told = pages.get(&tablet::alias(&suspect.on)).and_then(|page| page.get(&suspect.id));
    if let Some(told) = told {
        return (true, there.iter().filter(|tablet| tablet::alias(tablet) == *told).collect());
    }
    let looked = candidates.looked_at(&suspect.cells, cell(&suspect.on));
    let fits = |tablet: &&Tablet| is_one_of(tablet, &suspect.types) && looked.contains(cell(tablet));
    (false, there.iter().filter(fits).collect())
}

/// What is told of one stream.
fn stalled(suspect: &Suspect, known: bool, troubles: &[Trouble], target: &str) -> Option<Stalled> {
    let late = troubles.iter().all(|trouble| trouble.late);
    if troubles.is_empty() || late && suspect.copying {
        return None;
    }
    let causes: Vec<&str> = troubles.iter().map(|trouble| trouble.cause.as_str()).collect();
    let mut fixes: Vec<String> = troubles.iter().map(|trouble| trouble.fix.clone()).collect();
    fixes.push(format!(
        "or let the streams read from the source's primaries: Workflow --keyspace {target} update --workflow {} --tablet-types primary",
        suspect.workflow
    ));
    let reads = if known { "it reads from" } else { "it may read from" };
    let (gets, itself) = if late { ("gets changes late", "is late") } else { ("gets nothing", "gets nothing") };
    Some(Stalled {
        shard: suspect.shard.clone(),
        id: suspect.id,
        subject: suspect.subject.clone(),
        cause: format!("it runs and {gets}, for {reads} a source tablet that {itself} itself: {}", causes.join("; ")),
        fix: fixes.join("; "),
        late,
    })
}

/// Asks one tablet that is no primary.
pub async fn ask(context: &Context, tablet: &Tablet) -> Replication {
    match context.tablets.replication_status(tablet, ReplicationStatusRequest {}).await {
        Ok(answer) => match answer.status {
            Some(status) => Replication::Told(Box::new(status)),
            None => Replication::Unknown("it told nothing of its replication".into()),
        },
        Err(error) if error.is_no_replica() => Replication::Absent,
        Err(error) => Replication::Unknown(error.to_string()),
    }
}
