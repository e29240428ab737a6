//! Cancel: the source as it was before prepare. Repeating it after an interruption finishes the job.

use vtmigrated_proto::topodata::TopoConfig;

use super::{Answer, check_names, end, is_gone, kept_out, mirror, out_of_turn, side, stored};
use crate::context::{Context, End};
use crate::deadline;
use crate::error::{Code, Explain};
use crate::topo::{self, Lock, external_cluster, paths};
use crate::workflow::names::back::{self, command};
use crate::workflow::names::{self};
use crate::workflow::record::way_back::{self as back_record, Facts, Phase};
use crate::workflow::streams::{KeyspaceTablets, ShardAliases};
use crate::workflow::writes::denied;
use crate::workflow::writes::locks::locks;
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::{Error, Result, mount};

/// The name under which locks are taken.
const ACTION: &str = "WayBackCancel";

/// Takes a way back away: streams, denied tables, the mount in the source's topology, its record. Also one whose target keyspace, or
/// source keyspace, was deleted.
///
/// With `forget_source` nothing is asked of the source, which is gone for good: the target alone is opened, whatever the phase, and the
/// answer tells what stays in the source.
///
/// # Errors
/// Refused once the source serves again; what keeps the clusters from being changed.
pub async fn cancel(context: &Context, names: (&str, &str), forget_source: bool) -> Result<Answer> {
    check_names(names)?;
    let gone = is_gone(context, names.0).await?;
    let lock = held(context, names, ACTION, gone).await?;
    let cancelled = async {
        let facts = stored(context, names).await?;
        let facts = if gone { without_target(facts) } else { facts };
        if forget_source {
            return forgotten(context, names, facts, &lock).await;
        }
        taken_away(context, names, facts, &lock).await
    };
    let cancelled = cancelled.await;
    lock.give_back("a way back").await;
    context.changes.make();
    let (missed, stays) = cancelled?;
    let missed = UnawareReplica::told(&missed, refresh::DENIES_STILL);
    let summary = format!("the way back of workflow {}.{} is cancelled{stays}{missed}", names.0, names.1);
    Ok(Answer { clear: true, summary, ..Answer::default() })
}

/// The locks of a workflow whose keyspace may be `gone`: that has none then.
pub(super) async fn held(context: &Context, names: (&str, &str), action: &str, gone: bool) -> Result<Lock> {
    if !gone {
        return locks(context, names.0, names.1, action).await;
    }
    let request = context.lock_request(action).named(paths::workflow_lock(names.0, names.1));
    Ok(context.topo.global().lock(request).await?)
}

/// What is left of a way back whose target keyspace is gone: nothing is denied there, and only the source can serve.
fn without_target(facts: Facts) -> Facts {
    let phase = if facts.phase == Phase::Returned { Phase::Cancelling } else { facts.phase };
    Facts { phase, target_denied: Vec::new(), ..facts }
}

/// The same under locks that are held. Answers the replicas that do not know that tables are not denied any more, and what there is to tell
/// of a mount that stays.
pub async fn taken_away(
    context: &Context,
    names: (&str, &str),
    facts: Facts,
    lock: &Lock,
) -> Result<(Vec<UnawareReplica>, String)> {
    if facts.phase == Phase::Returned {
        let help = format!("the source serves already; finish going back: {}", command("complete", names));
        return Err(out_of_turn(names, &facts, help));
    }
    // where the target waits to be opened, that goes first
    if facts.target_denied.is_empty() {
        mirror::see_unchanged(context, &facts).await?;
    }
    let touched = facts.phase != Phase::Prepared;
    let mut facts = Facts { phase: Phase::Cancelling, ..facts };
    back_record::put(context.topo.global(), names, &mut facts, lock).await?;
    let mut missed = open_target(context, names.0, &facts, lock).await?;
    let out = async {
        let mirror = mirror::to_write(context, &facts).await?;
        out_of_source(&mirror, &facts, &back::name(names.1), touched).await
    };
    let (of_source, stays) = out.await.map_err(|error| silent(names, error))?;
    missed.extend(of_source);
    end(context, names, End::Cancelled, lock).await?;
    Ok((missed, stays))
}

/// The same without the source. Answers, too, what stays there.
async fn forgotten(
    context: &Context,
    names: (&str, &str),
    facts: Facts,
    lock: &Lock,
) -> Result<(Vec<UnawareReplica>, String)> {
    let stays = stays(&facts, &back::name(names.1));
    let mut facts = Facts { phase: Phase::Cancelling, ..facts };
    back_record::put(context.topo.global(), names, &mut facts, lock).await?;
    let missed = open_target(context, names.0, &facts, lock).await?;
    end(context, names, End::Cancelled, lock).await?;
    tracing::warn!("the source of the way back of workflow {}.{} is forgotten{stays}", names.0, names.1);
    Ok((missed, stays))
}

/// What stays in a source that nothing is taken out of, with the commands that do that there.
fn stays(facts: &Facts, back: &str) -> String {
    let Facts { keyspace, mount, back_mount, .. } = facts;
    let mut commands = Vec::new();
    if facts.phase != Phase::Prepared {
        commands
            .push(format!("Workflow --keyspace {keyspace} delete --workflow {back} --keep-data --keep-routing-rules"));
    }
    for (shard, tables) in facts.source_denied.iter().filter(|(_, tables)| !tables.is_empty()) {
        let tables = tables.join(",");
        commands.push(format!("SetShardTabletControl --remove --denied-tables {tables} {keyspace}/{shard} primary"));
    }
    if facts.mount_made {
        commands.push(format!("Mount unregister --name {back_mount}"));
    }
    if commands.is_empty() {
        return String::new();
    }
    let commands = commands.join("; ");
    format!(
        "; what it has in {keyspace} of {mount} stays: should that cluster come back, take it away there: {commands}"
    )
}

/// A source that does not answer, with the way to do without it.
fn silent(names: (&str, &str), error: Error) -> Error {
    let code = error.code();
    if !matches!(code, Code::Unavailable | Code::DeadlineExceeded) {
        return error;
    }
    let forget = format!("if the source is gone for good: {} --forget-source", command("cancel", names));
    let help = Some(error.help()).filter(|help| !help.is_empty());
    let help = help.map_or_else(|| forget.clone(), |help| format!("{help}; {forget}"));
    Error::Refused { code, reason: error.reason(), text: error.to_string(), help }
}

/// Lifts what going back has denied on the target.
async fn open_target(context: &Context, keyspace: &str, facts: &Facts, lock: &Lock) -> Result<Vec<UnawareReplica>> {
    if facts.target_denied.is_empty() {
        return Ok(Vec::new());
    }
    let target = read(context, keyspace).await?;
    lift(context, lock, &target, &facts.target_denied).await
}

/// Takes everything out of the source under its locks; where the keyspace is gone, or was never touched, that is the mount alone.
async fn out_of_source(
    mirror: &Context,
    facts: &Facts,
    back: &str,
    touched: bool,
) -> Result<(Vec<UnawareReplica>, String)> {
    let streamed = touched && !is_gone(mirror, &facts.keyspace).await?;
    let held = match streamed {
        true => side::lock(mirror, &facts.keyspace, back, ACTION).await?,
        false => side::lock_name(mirror, &facts.keyspace, back, ACTION).await?,
    };
    let left = async {
        let missed = if streamed { leave_source(mirror, facts, back, &held).await? } else { Vec::new() };
        let stays = forget_mount(mirror, facts, &held).await?;
        Ok::<_, Error>((missed, stays))
    };
    // clients may be kept from its tables until then
    let left = deadline::within(Some(kept_out::until()), Box::pin(left)).await;
    held.give_back("the source").await;
    left
}

/// Ends the streams, then lets clients write to the source's tables, on each shard that it can be done on.
///
/// # Errors
/// Also that a shard does not answer on which the way back has denied tables, or has streams: that is left as it is, and the others are
/// not.
pub(super) async fn leave_source(
    mirror: &Context,
    facts: &Facts,
    back: &str,
    lock: &Lock,
) -> Result<Vec<UnawareReplica>> {
    let source = read(mirror, &facts.keyspace).await?;
    let mut left = side::delete_streams(mirror, lock, &source.keyspace, (back, facts)).await?;
    left.extend(source.keyspace.silent_among(|shard| facts.is_on(shard)));
    let is_left = |shard: &String| left.iter().any(|(name, _)| name == shard);
    let denied = facts.source_denied.iter().filter(|(shard, _)| !is_left(shard));
    let lifted = lift(mirror, lock, &source, &denied.cloned().collect::<Vec<_>>()).await;
    let (missed, refused) = match lifted {
        Ok(missed) => (missed, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let of_shard =
        |(shard, error): (String, Error)| error.doing(format!("shard {}/{shard} is left as it is", facts.keyspace));
    let errors = left.into_iter().map(of_shard).chain(refused).collect();
    Error::several(errors).map_or(Ok(missed), Err)
}

/// Takes denied tables off a keyspace's shards, as they are now, and makes the tablets see it. Answers the replicas that did
/// not, also those that may be in cells out of reach.
pub(super) async fn lift(
    context: &Context,
    lock: &Lock,
    keyspace: &KeyspaceTablets,
    denied: &[(String, Vec<String>)],
) -> Result<Vec<UnawareReplica>> {
    let records = topo::shard::all(context.topo.global(), &keyspace.keyspace.name).await?;
    let mut missed = denied::lift_from(context, lock, keyspace, (records, Vec::new()), denied).await?;
    if denied.iter().any(|(_, tables)| !tables.is_empty()) {
        missed.extend(UnawareReplica::of_cells(&keyspace.keyspace));
    }
    Ok(missed)
}

/// A keyspace with all its tablets, without shards that are [left out](crate::workflow::streams::Keyspace::answering): those keep nobody
/// from having a side back.
pub(super) async fn read(context: &Context, keyspace: &str) -> Result<KeyspaceTablets> {
    let global = context.topo.global();
    let (shards, cells) = futures::future::try_join(topo::shard::all(global, keyspace), context.topo.cells()).await?;
    let graphed = ShardAliases::read(keyspace, shards, cells).await?.in_use(context).await?;
    let tablets = graphed.tablets().await?;
    Ok(KeyspaceTablets { keyspace: graphed.keyspace, tablets })
}

/// Unregisters the target in the source's topology, when prepare had registered it, it is the same still, and nobody else reads from it.
/// Answers why it stays otherwise, where somebody should know. `held` are locks there.
pub(super) async fn forget_mount(mirror: &Context, facts: &Facts, held: &Lock) -> Result<String> {
    let (global, name) = (mirror.topo.global(), &facts.back_mount);
    let Some(known) = external_cluster::find(global, name).await?.filter(|_| facts.mount_made) else {
        return Ok(String::new());
    };
    let stays = |why: String| {
        let unregister = format!("Mount unregister --name {name}");
        format!("; the mount {name} in the source stays: {why}; when nobody needs it, in that cluster: {unregister}")
    };
    if known.value.topo_config.as_ref() != Some(&TopoConfig::from(&facts.target)) {
        return Ok(stays("it leads to another topology now".to_owned()));
    }
    match mount::used_by(mirror, name).await {
        Ok(users) if users.is_empty() => {}
        Ok(users) => return Ok(stays(format!("others read from it: {}", names::some(&users, ", ")))),
        // that may be so for ever
        Err(error) if mount::is_unknown(&error) || matches!(&error, Error::Topo(why) if why.is_bad_data()) => {
            return Ok(stays(format!("nobody could tell whether others read from it: {error}")));
        }
        Err(error) => return Err(error),
    }
    match external_cluster::delete_guarded(global, name, known.version, held).await {
        Err(error) if error.is_no_node() => {}
        other => other?,
    }
    Ok(String::new())
}
