//! Making tablets read their shard records again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::RefreshStateRequest;
use vtmigrated_proto::topodata::{Shard, Tablet};

use crate::context::Context;
use crate::topo::tablet::began;
use crate::topo::{self, Lock, LockRequest, paths};
use crate::workflow::record::{self, Facts, Known};
use crate::workflow::streams::{Keyspace, KeyspaceTablets};
use crate::workflow::{Error, Result};
use crate::{deadline, tablet};

/// Bound of all calls together, as in stock.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A replica that did not read its shard's record again. It goes by what it read last, also when it becomes primary: a tablet
/// reads the record when it starts and when it is told to, not when it is promoted (Vitess 22.0.4 and 24.0.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnawareReplica {
    pub alias: String,
    /// False for one that nobody reached at its address: it reads the record when it starts, or is starting and has read it.
    pub runs: bool,
    /// When its program started, by its record, in seconds and nanoseconds since the epoch; older tablets do not tell.
    pub started: Option<(i64, i32)>,
    cause: String,
    /// Whose replicas they are where nobody can name them, for `alias` is their cell, which is out of reach.
    all_of: Option<String>,
}

impl UnawareReplica {
    fn of(tablet: &Tablet, error: &tablet::Error) -> Self {
        tracing::warn!("a replica was not refreshed: {error}");
        let started = began(tablet.tablet_start_time.as_ref());
        let (alias, runs) = (tablet::alias(tablet), !error.is_not_running());
        Self { alias, runs, started, cause: error.to_string(), all_of: None }
    }

    /// Those that a keyspace may have in cells which were out of reach so far.
    pub fn of_cells(keyspace: &Keyspace) -> Vec<Self> {
        let of = |(alias, why): (String, topo::Error)| {
            let (cause, all_of) = (why.to_string(), Some(keyspace.name.clone()));
            Self { alias, runs: true, started: None, cause, all_of }
        };
        keyspace.cells.left_out().into_iter().map(of).collect()
    }

    /// What is wrong until then, and the way to fix it, as one line for each replica.
    pub fn told(missed: &[Self], until: &str) -> String {
        let line = |Self { alias, cause, all_of, .. }: &Self| match all_of {
            None => {
                format!(
                    "\n{alias} was not refreshed ({cause}): {until}\nwhen it answers again, run: RefreshState {alias}"
                )
            }
            Some(keyspace) => format!(
                "\na replica of {keyspace} in cell {alias}, should there be one, was not refreshed ({cause}): {until}\nwhen the cell \
                 answers again, run for each shard: RefreshStateByShard --cells {alias} {keyspace}/<shard>"
            ),
        };
        missed.iter().map(line).collect()
    }
}

/// The name of the lock under which a record is told that a tablet was refreshed.
const HEARD: &str = "RefreshState";
/// How long the caller of a refresh waits for it: an end of the workflow may hold it for as long as keys take to build.
const HEARD_WAIT: Duration = Duration::from_secs(2);

/// What holds of a replica that missed a lift of denied tables.
pub const DENIES_STILL: &str = "should it become primary, it refuses clients the tables of the workflow";

/// What holds of a replica that missed that tables are denied.
pub const DENIES_NOT_YET: &str = "should it become primary, clients can write to the tables of the workflow";

/// The records of workflows, as [`heard`] has to know them before tablets are refreshed; none when they cannot be read.
pub async fn known(context: &Context) -> Vec<Known> {
    let mut known = record::all(context.topo.global()).await.unwrap_or_else(|error| {
        tracing::warn!("the records of workflows will not tell that tablets were refreshed: {error}");
        Vec::new()
    });
    // the others name no tablet, and may be large
    let names_some = |facts: &Facts| !facts.unaware.is_empty() || !facts.starting.is_empty();
    known.retain(|(_, _, facts)| facts.as_ref().is_ok_and(names_some));
    known
}

/// Takes tablets of one shard that have just read its record off those that workflows' records, as they were before, tell to be
/// unaware of denied tables: a create that denies some meanwhile may have come too late for them. Not a primary: clients may have
/// written to it before.
///
/// # Errors
/// Those of the topology.
pub async fn heard(context: &Context, known: &[Known], tablets: &[Tablet]) -> Result<()> {
    let Some(Tablet { keyspace, shard, .. }) = tablets.first() else { return Ok(()) };
    let global = context.topo.global();
    let names = |facts: &Facts| tablets.iter().any(|tablet| facts.may_be_unaware(&tablet::alias(tablet), cell(tablet)));
    let of_keyspace = known.iter().filter(|(of, _, _)| of == keyspace);
    let readable = of_keyspace.filter_map(|(_, workflow, facts)| Some((workflow.as_str(), facts.as_ref().ok()?)));
    let naming: Vec<(&str, &Facts)> = readable.filter(|&(_, facts)| names(facts)).collect();
    if naming.is_empty() {
        return Ok(());
    }
    let record = topo::shard::get(global, keyspace, shard).await?.value;
    let replicas: Vec<&Tablet> = tablets.iter().filter(|tablet| tablet.alias != record.primary_alias).collect();
    if replicas.is_empty() {
        return Ok(());
    }
    for (workflow, before) in naming {
        let request = LockRequest { wait: HEARD_WAIT, ..context.lock_request(HEARD) };
        let lock = global.lock(request.named(paths::workflow_lock(keyspace, workflow))).await?;
        let done = make_aware(context, (keyspace, workflow), before, (shard, &record, &replicas), &lock).await;
        if let Err(error) = lock.release().await {
            tracing::warn!("the lock of a workflow was not given back: {error}");
        }
        done?;
    }
    Ok(())
}

async fn make_aware(
    context: &Context,
    workflow: (&str, &str),
    before: &Facts,
    (shard, record, replicas): (&str, &Shard, &[&Tablet]),
    lock: &Lock,
) -> Result<()> {
    let global = context.topo.global();
    let Some(stored) = record::find(global, workflow.0, workflow.1).await? else { return Ok(()) };
    let mut facts = stored.facts;
    let Facts { unaware, aware, starting, reigns, .. } = facts.clone();
    if facts != (Facts { unaware, aware, starting, reigns, ..before.clone() }) {
        tracing::warn!(
            workflow = workflow.1,
            "its record has changed while tablets were refreshed: refresh them again"
        );
        return Ok(());
    }
    for tablet in replicas {
        facts.make_aware((shard, record), &tablet::alias(tablet), cell(tablet));
    }
    record::put(global, workflow, &facts, stored.version, lock).await.map(drop)
}

/// The cell of a tablet; empty for a record without an alias.
pub fn cell(tablet: &Tablet) -> &str {
    tablet.alias.as_ref().map(|alias| alias.cell.as_str()).unwrap_or_default()
}

/// Refreshes every tablet of the named shards in parallel: one wave. Answers the replicas that did not do it.
///
/// # Errors
/// A primary that cannot be refreshed, for denied tables act on primaries.
pub async fn shards(
    context: &Context,
    keyspace: &KeyspaceTablets,
    wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<UnawareReplica>> {
    let mut asked = Vec::new();
    for shard in keyspace.keyspace.shards.iter().filter(|s| wanted(&s.name)) {
        let primary = shard.primary.as_ref().map(tablet::alias).unwrap_or_default();
        let tablets = keyspace.tablets.get(&shard.name).into_iter().flatten();
        asked.extend(tablets.map(|tablet| (tablet, tablet::alias(tablet) == primary)));
    }
    let (mut errors, mut missed) = (Vec::new(), Vec::new());
    for (tablet, is_primary, error) in refused(context, asked).await {
        match is_primary {
            true => errors.push(Error::from(error)),
            false => missed.push(UnawareReplica::of(tablet, &error)),
        }
    }
    Error::several(errors).map_or(Ok(missed), Err)
}

/// Refreshes once more those of `missed` that [`shards`] did not reach at their addresses, and those replicas that have come since
/// `before` was read: three waves, two where there are none. Answers all that have not read their shards' records by now.
///
/// A tablet reads its shard's record first, then registers itself, waits for its MySQL and for its replication, and only then can be
/// called (Vitess 22.0.4 and 24.0.4, `TabletManager.Start`): one that does all this while tables are denied may not know of it.
pub async fn rest(context: &Context, before: &KeyspaceTablets, missed: Vec<UnawareReplica>) -> Vec<UnawareReplica> {
    let now = before.tablets_now().await;
    let (mut left, unreached): (Vec<UnawareReplica>, Vec<UnawareReplica>) =
        missed.into_iter().partition(|missed| missed.runs);
    let unreached: BTreeSet<String> = unreached.into_iter().map(|missed| missed.alias).collect();
    let mut asked = Vec::new();
    for shard in &before.keyspace.shards {
        let primary = shard.primary.as_ref().map(tablet::alias).unwrap_or_default();
        let [old, fresh] = [&before.tablets, &now].map(|tablets| by_alias(tablets.get(&shard.name)));
        let mut all = old.clone();
        all.extend(fresh);
        for (alias, tablet) in all.into_iter().filter(|(alias, _)| *alias != primary) {
            match old.get(&alias) {
                None => asked.push((tablet, true)),
                Some(known) if unreached.contains(&alias) => asked.push((tablet, *known != tablet)),
                Some(_) => {}
            }
        }
    }
    for (tablet, has_registered, error) in refused(context, asked).await {
        let mut missed = UnawareReplica::of(tablet, &error);
        // it is starting, and nothing will tell whether it is started anew
        missed.runs |= has_registered && missed.started.is_none();
        left.push(missed);
    }
    left
}

fn by_alias(tablets: Option<&Vec<Tablet>>) -> BTreeMap<String, &Tablet> {
    tablets.into_iter().flatten().map(|tablet| (tablet::alias(tablet), tablet)).collect()
}

/// Makes tablets read their shards' records again: one wave. Answers those that did not, with what is marked of each.
async fn refused<'t>(context: &Context, asked: Vec<(&'t Tablet, bool)>) -> Vec<(&'t Tablet, bool, tablet::Error)> {
    let mut calls = Vec::new();
    for (tablet, mark) in asked {
        calls.push(async move {
            let call = context.tablets.refresh_state(tablet, RefreshStateRequest {});
            let answer = deadline::within(Some(deadline::now() + TIMEOUT), call).await;
            Some((tablet, mark, answer.err()?))
        });
    }
    join_all(calls).await.into_iter().flatten().collect()
}
