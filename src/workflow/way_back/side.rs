//! What a way back does to the source: denied tables, streams, their start, and how each is taken back. Every step can be
//! repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;

use super::examine::Examined;
use super::plan;
use crate::context::Context;
use crate::deadline;
use crate::error::{Reason, check};
use crate::topo::{Lock, LockRequest, paths};
use crate::workflow::findings::Finding;
use crate::workflow::names::back::{self, command};
use crate::workflow::record::listed;
use crate::workflow::record::way_back::{Facts, Phase};
use crate::workflow::streams::{self, Keyspace, ShardWorkflow, TargetShard};
use crate::workflow::writes::delete;
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::writes::streams::{each, state_change};
use crate::workflow::{Error, Result, overrides};

/// How long a lock of the source is waited for: whoever waits keeps clients from writing.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How long the streams of a shard may take to go before the others are given to their clients: less than complete has for all of it.
const LEAVING: Duration = Duration::from_secs(8);

/// The source, to be written to.
pub struct Side<'a> {
    /// The source's cluster: see [`super::mirror::to_write`].
    pub mirror: &'a Context,
    pub examined: &'a Examined,
    /// Of the source keyspace and of the workflow there.
    pub lock: &'a Lock,
}

/// Takes the locks of the way back in the source: of the workflow there, and of its keyspace.
///
/// # Errors
/// Those of the topology; that somebody else has them.
pub async fn lock(mirror: &Context, keyspace: &str, back: &str, action: &str) -> Result<Lock> {
    take(mirror, named(mirror, keyspace, back, action).of(paths::keyspace_dir(keyspace)), keyspace).await
}

/// The same of the workflow alone: for the mount, or where the keyspace is gone.
///
/// # Errors
/// The same.
pub async fn lock_name(mirror: &Context, keyspace: &str, back: &str, action: &str) -> Result<Lock> {
    take(mirror, named(mirror, keyspace, back, action), keyspace).await
}

fn named(mirror: &Context, keyspace: &str, back: &str, action: &str) -> LockRequest {
    let wait = mirror.options.lock_timeout.min(LOCK_WAIT);
    LockRequest { wait, ..mirror.lock_request(action) }.named(paths::workflow_lock(keyspace, back))
}

async fn take(mirror: &Context, request: LockRequest, keyspace: &str) -> Result<Lock> {
    let locked = mirror.topo.global().lock(request).await;
    locked.map_err(|error| Error::Topo(error).doing(format!("failed to lock the source keyspace {keyspace}")))
}

/// True when no streams of the way back's name are there but its own.
///
/// # Errors
/// Its own and others' together.
pub fn are_ours(rows: &[ShardWorkflow], back: &str, facts: &Facts) -> Result<bool> {
    let streams = rows.iter().flat_map(|row| &row.found.streams);
    let ours: Vec<bool> = streams.map(|stream| plan::is_ours(stream, &facts.back_mount)).collect();
    let all = ours.iter().all(|ours| *ours);
    if !all && ours.contains(&true) { Err(taken(back, facts)) } else { Ok(all) }
}

/// The source has a workflow of the way back's name that is somebody else's.
pub fn taken(back: &str, facts: &Facts) -> Error {
    let keyspace = &facts.keyspace;
    let text = format!("the source keyspace {keyspace} has a workflow {back} that is none of this way back's");
    let help = format!("end it in the source's cluster first: Workflow --keyspace {keyspace} show --workflow {back}");
    Error::exists(Reason::WAY_BACK_NAME_TAKEN, text, help)
}

/// Shards of the source on which something was not done, and why.
pub type Left = Vec<(String, Error)>;

/// Deletes the streams of the way back and their diffs, and nobody else's of that name. Answers the shards where they may be still, so that
/// a primary that is down, or hangs, keeps nobody from the other shards.
///
/// # Errors
/// `WAY_BACK_NAME_TAKEN`; the lock is lost.
pub async fn delete_streams(
    mirror: &Context,
    lock: &Lock,
    source: &Keyspace,
    (back, facts): (&str, &Facts),
) -> Result<Left> {
    let until = deadline::now() + LEAVING;
    let (rows, silent) = deadline::within(Some(until), source.workflows_told(mirror, &[back.to_owned()])).await;
    let asked = source.shards.iter().enumerate();
    let (mut left, mut told) = (Left::new(), Vec::new());
    let mut silent: BTreeMap<usize, Error> = silent.into_iter().collect();
    for (at, shard) in asked {
        match silent.remove(&at) {
            Some(error) => left.push((shard.name.clone(), error)),
            None => told.push(shard),
        }
    }
    if !are_ours(&rows, back, facts)? {
        tracing::warn!(
            workflow = back,
            keyspace = facts.keyspace,
            "streams of another program have that name, and are kept"
        );
        return Ok(left);
    }
    lock.check().await?;
    let deleted = told.into_iter().map(|shard| async move {
        let deleted =
            async { Ok::<_, Error>(delete::delete_rows_on(mirror, shard.primary()?, (&source.name, back)).await?) };
        Some((shard.name.clone(), deleted.await.err()?))
    });
    let deleted = deadline::within(Some(until), join_all(deleted.collect::<Vec<_>>())).await;
    left.extend(deleted.into_iter().flatten());
    Ok(left)
}

impl Side<'_> {
    fn back(&self) -> &str {
        &self.examined.arguments.workflow
    }

    fn shards(&self) -> &[TargetShard] {
        &self.examined.situation.target.keyspace.shards
    }

    /// Denies clients' writes to the tables, where nobody denies them already, and makes the tablets see it. Answers the replicas
    /// that did not.
    pub async fn deny(&self, facts: &Facts) -> Result<Vec<UnawareReplica>> {
        let situation = &self.examined.situation;
        let of = |name: &str| listed(&facts.source_denied, name);
        situation.deny(self.mirror, &of, self.lock).await?;
        refresh::shards(self.mirror, &situation.target, &|_: &str| true).await
    }

    /// Makes the streams that are not there yet, stopped, and gives each the position that was noted. Those that are there go first
    /// where they may have been given another one, and where none has run: a call that was cut off may have made one twice.
    pub async fn place(&self, facts: &Facts) -> Result<()> {
        let there = self.ours(facts).await?;
        let streams = there.iter().flat_map(|row| &row.found.streams);
        let anew = facts.phase == Phase::Noted || plan::untouched(streams, &facts.positions);
        if anew && !there.is_empty() {
            delete::delete_rows(self.mirror, self.lock, &self.examined.situation.target, self.back()).await?;
        }
        self.lock.check().await?;
        let there = self.streams().await?;
        let Examined { arguments, situation, sources, cells, .. } = self.examined;
        situation.insert_streams(self.mirror, arguments, (sources, cells), &there).await?;
        let there = self.streams().await?;
        let placed = self.shards().iter().enumerate().map(|(at, shard)| self.give_positions(at, shard, &there, facts));
        Error::all(join_all(placed).await)
    }

    /// Starts the streams of [`Facts::pairs`], when all of them are there and none is before its position.
    pub async fn start(&self, facts: &Facts) -> Result<()> {
        let there = self.ours(facts).await?;
        let keyspace = &self.examined.situation.target.keyspace;
        stand(keyspace, &there, facts)?;
        self.lock.check().await?;
        let request = state_change(self.back(), State::Running, None);
        let shards = self.shards().iter();
        each(shards, |_, tablet| overrides::change(self.mirror, self.lock, tablet, request.clone())).await
    }

    async fn streams(&self) -> Result<Vec<ShardWorkflow>> {
        self.examined.situation.target.keyspace.workflows(self.mirror, &[self.back().to_owned()]).await
    }

    /// The same.
    ///
    /// # Errors
    /// `WAY_BACK_NAME_TAKEN` for streams of that name that are somebody else's.
    async fn ours(&self, facts: &Facts) -> Result<Vec<ShardWorkflow>> {
        let rows = self.streams().await?;
        if are_ours(&rows, self.back(), facts)? { Ok(rows) } else { Err(taken(self.back(), facts)) }
    }

    async fn give_positions(
        &self,
        at: usize,
        shard: &TargetShard,
        there: &[ShardWorkflow],
        facts: &Facts,
    ) -> Result<()> {
        let primary = shard.primary()?;
        let streams: Vec<_> = streams::on(there, at).collect();
        let unplaced = plan::unplaced(&streams, &facts.positions).map_err(|of| {
            let text = format!("no position was noted of shard {of}");
            Error::precondition(Reason::WAY_BACK_POSITION, text, "take the way back away: way-back cancel")
        })?;
        let calls = unplaced.into_iter().map(|(id, position)| async move {
            let query = plan::place(id, position);
            Ok(self.mirror.tablets.v_replication_exec(primary, query).await.map(drop)?)
        });
        Error::all(join_all(calls).await)
    }
}

/// What speaks against going back, that its streams do not tell themselves.
pub fn trouble(source: &Keyspace, rows: &[ShardWorkflow], names: (&str, &str), facts: &Facts) -> Vec<Finding> {
    let error = stand(source, rows, facts).err().filter(|_| facts.phase == Phase::Open);
    let subject = format!("workflow {}.{}", facts.keyspace, back::name(names.1));
    let broken = error.map(|error| Finding::of(&error, subject));
    broken.into_iter().chain(standing(rows, names, facts)).collect()
}

/// What there is to tell of streams of an open way back that going back has stopped for good: it failed, and they were to run on.
pub fn standing(rows: &[ShardWorkflow], names: (&str, &str), facts: &Facts) -> Option<Finding> {
    let back = back::name(names.1);
    let are_ours = || matches!(are_ours(rows, &back, facts), Ok(true));
    if facts.phase != Phase::Open || !streams::any_frozen(rows) || !are_ours() {
        return None;
    }
    let cause = "its streams were stopped for going back, which was given up: they stand, and the source falls behind";
    let fix = format!("let them run on: {}; or go back: {}", command("prepare", names), command("complete", names));
    Some(Finding::new(&check::WAY_BACK_STANDS, format!("workflow {}.{back}", facts.keyspace), cause, fix))
}

/// Proves that the streams of the way back are those that [`Facts::pairs`] tells, and none is before its noted position.
///
/// # Errors
/// `WAY_BACK_STREAMS`.
pub fn stand(source: &Keyspace, rows: &[ShardWorkflow], facts: &Facts) -> Result<()> {
    let bad = |shard: &str, why: String| {
        let text = format!("the way back does not stand: shard {}/{shard}: {why}", source.name);
        let help = "see Workflow show in the source's cluster; without that stream changes of the target are lost there: way-back \
                    cancel takes the way back away";
        Error::precondition(Reason::WAY_BACK_STREAMS, text, help)
    };
    if let Some((gone, _)) = facts.pairs.iter().find(|(name, _)| !source.shards.iter().any(|s| s.name == *name)) {
        return Err(bad(gone, "it is not there any more".to_owned()));
    }
    for (at, shard) in source.shards.iter().enumerate() {
        let planned = listed(&facts.pairs, &shard.name);
        let there: Vec<_> = streams::on(rows, at).collect();
        plan::stands(&planned, &there, &facts.positions).map_err(|why| bad(&shard.name, why))?;
    }
    Ok(())
}
