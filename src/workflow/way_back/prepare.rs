//! Prepare: check everything, then let the source know the target as a mount. After complete it opens what complete could not.

use vtmigrated_proto::binlogdata::OnDdlAction;
use vtmigrated_proto::topodata::TopoConfig;

use super::examine::{Examined, examine, migration};
use super::opening::{self, Opening};
use super::{Answer, check_names, complete, mirror, namesakes, out_of_turn, side};
use crate::context::Context;
use crate::error::{Reason, check};
use crate::topo::{self, Lock, external_cluster};
use crate::workflow::findings::{Finding, Report};
use crate::workflow::names;
use crate::workflow::names::back::{self, command};
use crate::workflow::plan::arguments::on_ddl;
use crate::workflow::reads::clusters;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::way_back::{self as back_record, Config, Facts, Phase};
use crate::workflow::streams::{self, Keyspace};
use crate::workflow::writes::locks::locks;
use crate::workflow::{Error, Result};

/// The name under which locks are taken.
const ACTION: &str = "WayBackPrepare";
const LOOPBACK: [&str; 3] = ["localhost", "127.", "[::1]"];

/// What prepare was asked to do.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    pub keyspace: String,
    pub workflow: String,
    /// Address under which the source's tablets reach the target's topology server; empty: that of this server.
    pub topo_server: String,
    /// Empty: STOP.
    pub on_ddl: String,
    pub dry_run: bool,
}

/// Prepares a way back. The same again is a success.
///
/// # Errors
/// Refused, with nothing written, with everything that stands in the way.
pub async fn prepare(context: &Context, arguments: &Arguments) -> Result<Answer> {
    let names = (arguments.keyspace.as_str(), arguments.workflow.as_str());
    check_names(names)?;
    if arguments.dry_run {
        let found = ExistingWorkflow::read(context, names.0, names.1).await?;
        let (facts, examined, report) = Box::pin(look(context, &found, arguments)).await?;
        return Ok(dry(names, &facts, &examined, report));
    }
    let lock = locks(context, names.0, names.1, ACTION).await?;
    let prepared = Box::pin(locked(context, arguments, &lock)).await;
    lock.give_back("a way back").await;
    context.changes.make();
    prepared
}

async fn locked(context: &Context, arguments: &Arguments, lock: &Lock) -> Result<Answer> {
    let names = (arguments.keyspace.as_str(), arguments.workflow.as_str());
    let stored = back_record::find(context.topo.global(), names.0, names.1).await?;
    match &stored {
        Some(facts) if matches!(facts.phase, Phase::Handed | Phase::Open) => {
            return Box::pin(handed_over(context, names, facts, lock)).await;
        }
        Some(facts) if facts.phase != Phase::Prepared => {
            let help = match facts.phase {
                Phase::Noted => format!(
                    "complete has begun: Migrate --target-keyspace {} --workflow {} complete; if that migration is over: {}",
                    names.0,
                    names.1,
                    command("cancel", names)
                ),
                Phase::Closing | Phase::Returned => format!("finish going back: {}", command("complete", names)),
                _ => format!("take it away first: {}", command("cancel", names)),
            };
            return Err(out_of_turn(names, facts, help));
        }
        _ => {}
    }
    let found = ExistingWorkflow::read(context, names.0, names.1).await?;
    let (mut facts, examined, report) = Box::pin(look(context, &found, arguments)).await?;
    if let Some(stored) = stored.as_ref().filter(|stored| !is_same(stored, &facts)) {
        return Err(other(names, stored));
    }
    report.refuse()?;
    report.log("way-back prepare");
    let mirror = mirror::to_write(context, &facts).await?;
    // proves that the keyspace's records can be written, before anything is
    let held = side::lock(&mirror, &facts.keyspace, &back::name(names.1), ACTION).await?;
    let registered = Box::pin(register(context, &mirror, names, (&mut facts, stored.as_ref()), (lock, &held))).await;
    held.give_back("the source").await;
    registered?;
    let streams: usize = examined.sources.iter().map(|(_, sources)| sources.len()).sum();
    let summary = format!(
        "the way back of workflow {}.{} is prepared: complete will open {streams} streams into {} of {}; DDL of {} {}",
        names.0,
        names.1,
        facts.keyspace,
        facts.mount,
        names.0,
        at_ddl(&facts)
    );
    Ok(Answer { phase: facts.phase.word(), clear: true, summary, report, ..Answer::default() })
}

/// Writes the record, and lets the source know the target. `stored` is what an earlier prepare has written; the locks are the
/// target's and the source's.
async fn register(
    context: &Context,
    mirror: &Context,
    names: (&str, &str),
    (facts, stored): (&mut Facts, Option<&Facts>),
    (lock, held): (&Lock, &Lock),
) -> Result<()> {
    let known = external_cluster::find(mirror.topo.global(), &facts.back_mount).await?;
    let theirs = known.and_then(|record| record.value.topo_config);
    if let Some(theirs) = theirs.as_ref().filter(|theirs| **theirs != TopoConfig::from(&facts.target)) {
        return Err(taken(&facts.back_mount, theirs));
    }
    facts.mount_made = theirs.is_none() || stored.is_some_and(|stored| stored.mount_made);
    facts.version = stored.and_then(|stored| stored.version);
    back_record::put(context.topo.global(), names, facts, lock).await?;
    if theirs.is_none() {
        let (name, target) = (&facts.back_mount, (&facts.target).into());
        if let Err(error) = external_cluster::create_guarded(mirror.topo.global(), name, target, held).await {
            return Err(not_made(context, names, facts, (error, stored.is_none()), lock).await);
        }
    }
    Ok(())
}

/// Whether a way back that was prepared before is this one.
fn is_same(stored: &Facts, facts: &Facts) -> bool {
    let source = |facts: &Facts| (facts.mount.clone(), facts.source.clone(), facts.keyspace.clone());
    source(stored) == source(facts) && stored.target == facts.target && stored.is_for(&facts.streams)
}

fn other(names: (&str, &str), stored: &Facts) -> Error {
    let Config { topo_type, server, root } = &stored.target;
    let text = format!(
        "workflow {}.{} has a way back already, of another migration of that name or with another address of this cluster's topology \
         ({topo_type} {server} {root})",
        names.0, names.1
    );
    Error::exists(Reason::WAY_BACK_EXISTS, text, format!("take it away first: {}", command("cancel", names)))
}

/// The source did not take the mount: without it the record is of nothing, unless an earlier prepare had made it.
async fn not_made(
    context: &Context,
    names: (&str, &str),
    facts: &Facts,
    (error, fresh): (topo::Error, bool),
    lock: &Lock,
) -> Error {
    // whether a write whose answer was lost was done is not known: cancel takes the mount away
    let nothing_done = !error.is_unreachable();
    if fresh
        && nothing_done
        && let Err(left) = back_record::delete(context.topo.global(), names, lock).await
    {
        tracing::warn!("the record of a way back is left: {left}");
    }
    let doing = format!("the mount {} could not be registered in the source's topology", facts.back_mount);
    Error::Topo(error).doing(doing)
}

fn taken(name: &str, theirs: &TopoConfig) -> Error {
    let TopoConfig { topo_type, server, root } = theirs;
    let text = format!("the source has a mount {name} already, of another topology ({topo_type} {server} {root})");
    Error::exists(
        Reason::MOUNT_EXISTS,
        text,
        format!("unregister it in the source's cluster: Mount unregister --name {name}"),
    )
}

/// Everything that is known without a lock.
async fn look(context: &Context, found: &ExistingWorkflow, arguments: &Arguments) -> Result<(Facts, Examined, Report)> {
    let facts = facts(context, found, arguments).await?;
    let mirror = mirror::to_read(context, &facts).await?;
    let names = (arguments.keyspace.as_str(), arguments.workflow.as_str());
    let mut examined = Box::pin(examine(context, &mirror, names, &facts)).await?;
    let mut report = Report::default();
    report.extend(migration(found, &arguments.workflow));
    report.extend(namesakes::here(context, names, &facts).await?);
    report.extend(namesakes::elsewhere(&mirror, names, &facts).await?);
    report.extend(std::mem::take(&mut examined.report.findings));
    report.extend(read_only(&examined));
    let hosts = examined.situation.target.tablets.values().flatten().map(|tablet| tablet.hostname.as_str());
    report.extend(local(&facts.target.server, hosts));
    Ok((facts, examined, report))
}

/// Primaries of the source whose MySQL takes no writes.
fn read_only(examined: &Examined) -> Vec<Finding> {
    let told = examined.situation.asked.servers.target.iter();
    let told = told.filter_map(|server| Some((server, server.answers.as_ref().ok()?)));
    let is_on = |value: &String| matches!(value.to_uppercase().as_str(), "ON" | "1");
    let closed = told.filter(|(_, answers)| {
        ["read_only", "super_read_only"].iter().any(|name| answers.variables.get(*name).is_some_and(is_on))
    });
    let finding = |alias: &String, shard: &String| {
        let cause =
            format!("the MySQL of {alias}, the primary of shard {shard}, is read-only: streams cannot write to it");
        let fix =
            format!("let it take writes, and run the command again: SetWritable {alias} true, in the source's cluster");
        Finding::new(&check::WAY_BACK_READ_ONLY, format!("tablet {alias}"), cause, fix)
    };
    closed.map(|(server, _)| finding(&server.alias, &server.shard)).collect()
}

/// What DDL of the target does to the streams, in words.
fn at_ddl(facts: &Facts) -> &'static str {
    match OnDdlAction::try_from(facts.on_ddl) {
        Ok(OnDdlAction::Ignore) => "is passed over",
        Ok(OnDdlAction::Exec) => "is done in the source, too",
        Ok(OnDdlAction::ExecIgnore) => "is done in the source, too, and passed over where that fails",
        Ok(OnDdlAction::Stop) | Err(_) => "stops them",
    }
}

/// The facts of a way back that is to be prepared.
async fn facts(context: &Context, found: &ExistingWorkflow, arguments: &Arguments) -> Result<Facts> {
    let Arguments { keyspace, workflow, topo_server, on_ddl: wanted, .. } = arguments;
    let origin = &found.origin;
    let mount = clusters::mount(context, &origin.mount).await?;
    let source = mount.value.topo_config.as_ref().map(Config::from).unwrap_or_default();
    let (kind, server, root) = context.topo.global().endpoint();
    let server = if topo_server.is_empty() { server } else { topo_server };
    let kept = found.way_back.as_ref().and_then(|kept| kept.as_ref().ok());
    let prepared = kept.map(|kept| kept.prepared).filter(|at| *at > 0).unwrap_or_else(streams::now);
    // a server that reaches its topology by another address prepares the same again
    let known = kept.filter(|_| topo_server.is_empty());
    if topo::address::check(kind, topo_server).is_err() {
        let text = "bad topology server: a host and a port are expected, or several with commas between them";
        return Err(Error::invalid(Reason::BAD_ADDRESS, text, "name the address with --topo-server"));
    }
    let mut zones = found.rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref());
    Ok(Facts {
        phase: Phase::Prepared,
        mount: origin.mount.clone(),
        source,
        keyspace: origin.keyspace.clone(),
        tables: origin.tables.clone(),
        streams: streams::list(&found.target.keyspace, &found.rows),
        // one that is prepared keeps the name that it has
        back_mount: kept.map_or_else(|| back::mount(keyspace, workflow), |kept| kept.back_mount.clone()),
        target: known.map_or_else(
            || Config { topo_type: kind.to_owned(), server: server.to_owned(), root: root.to_owned() },
            |known| known.target.clone(),
        ),
        mount_made: false,
        on_ddl: on_ddl(if wanted.is_empty() { "STOP" } else { wanted })?.into(),
        time_zone: zones.next().map(|bls| bls.source_time_zone.clone()).unwrap_or_default(),
        positions: Vec::new(),
        pairs: Vec::new(),
        source_denied: Vec::new(),
        target_denied: Vec::new(),
        both_written: false,
        inexact: false,
        prepared,
        since: 0,
        opened: 0,
        why: String::new(),
        version: None,
    })
}

/// A loopback address means another server to tablets on other hosts.
fn local<'h>(server: &str, hosts: impl Iterator<Item = &'h str>) -> Option<Finding> {
    let is_local = |host: &str| LOOPBACK.iter().any(|loopback| host.starts_with(loopback)) || host == "::1";
    let mut far = hosts.filter(|host| !is_local(host));
    let far = far.next().filter(|_| server.split(',').any(is_local))?;
    let cause =
        format!("the source's tablets would look for the target's topology at {server}, and one of them is on {far}");
    let fix = "name the address under which they reach it: --topo-server";
    Some(Finding::new(&check::WAY_BACK_TOPO_LOCAL, format!("topology {server}"), cause, fix))
}

fn dry(names: (&str, &str), facts: &Facts, examined: &Examined, report: Report) -> Answer {
    let clear = report.is_clear();
    let mut steps = Vec::new();
    if clear {
        let Facts { back_mount, mount, keyspace, .. } = facts;
        steps.push(format!("Write the record of the way back of workflow {}.{}", names.0, names.1));
        steps.push(format!("Register this cluster as mount {back_mount} in the topology of {mount}"));
        for (shard, tables) in examined.to_deny().into_iter().filter(|(_, tables)| !tables.is_empty()) {
            steps.push(format!(
                "At complete: deny writes of clients on {keyspace}/{shard}: {}",
                names::some(&tables, ", ")
            ));
        }
        steps.push("At complete: note the positions of the target's primaries".to_owned());
        for (shard, sources) in &examined.sources {
            let from: Vec<&str> = sources.iter().map(|source| source.shard.as_str()).collect();
            steps.push(format!("At complete: stream into {keyspace}/{shard} from {}", names::some(&from, ", ")));
        }
        steps.push(format!("From then on: DDL of {} {}", names.0, at_ddl(facts).replace("them", "the streams")));
    }
    let verdict = if clear { format!("{} steps", steps.len()) } else { "refused".to_owned() };
    let summary = format!("Prepare dry run results for the way back of workflow {}.{}: {verdict}", names.0, names.1);
    Answer { clear, summary, report, steps, ..Answer::default() }
}

/// What is left to do once complete has handed the target over.
///
/// # Errors
/// `WAY_BACK_EXISTS` where the target has streams of a later migration of that name.
async fn handed_over(context: &Context, names: (&str, &str), facts: &Facts, lock: &Lock) -> Result<Answer> {
    let target = Keyspace::read(context, names.0).await?;
    target.refuse_silent_among(|shard| facts.streams.iter().any(|(name, _)| name == shard))?;
    let rows = target.workflows(context, &[names.1.to_owned()]).await?;
    let there = streams::list(&target, &rows);
    let is_own = facts.is_for(&there);
    let any = there.iter().any(|(_, ids)| !ids.is_empty());
    // records of older versions do not tell their streams
    if any && !is_own && !facts.streams.is_empty() {
        return Err(other(names, facts));
    }
    match facts.phase {
        Phase::Handed if is_own => Err(unfinished(names)),
        Phase::Handed => Box::pin(open(context, names, facts, lock)).await,
        _ => Box::pin(go_on(context, names, facts, lock)).await,
    }
}

/// Lets the streams of an open way back run on that going back has stopped and that were to run on after its failure, and the source know
/// a target that somebody has unregistered there.
async fn go_on(context: &Context, names: (&str, &str), facts: &Facts, lock: &Lock) -> Result<Answer> {
    let back = back::name(names.1);
    let mirror = mirror::to_read(context, facts).await?;
    let known = mirror::is_known(&mirror, facts).await?;
    let source = Keyspace::read(&mirror, &facts.keyspace).await?;
    source.refuse_silent_among(|shard| facts.is_on(shard))?;
    let rows = source.workflows(&mirror, std::slice::from_ref(&back)).await?;
    let stood = side::standing(&rows, names, facts).is_some();
    let mut again = String::new();
    if !known {
        let mirror = mirror::to_write(context, facts).await?;
        opening::tell_again(context, &mirror, names, facts, lock).await?;
        again = format!(
            "; the source knows this cluster again: streams that hear nothing of it run on once they are stopped and started in the \
             source's cluster: Workflow --keyspace {0} stop --workflow {back}, Workflow --keyspace {0} start --workflow {back}",
            facts.keyspace
        );
    }
    if stood {
        let mirror = mirror::to_write(context, facts).await?;
        let held = side::lock(&mirror, &facts.keyspace, &back, ACTION).await?;
        let ran = Box::pin(complete::run_on(&mirror, (&back, facts), &held)).await;
        held.give_back("the source").await;
        ran?;
    }
    let what = if stood { "is open, and its streams run on" } else { "is open already" };
    let summary = format!("the way back {what}: see {}{again}", command("status", names));
    Ok(Answer { phase: facts.phase.word(), clear: true, summary, ..Answer::default() })
}

/// Opens a way back that complete left half open.
async fn open(context: &Context, names: (&str, &str), facts: &Facts, lock: &Lock) -> Result<Answer> {
    let mut opening = Box::pin(Opening::begin(context, names, facts, None, lock)).await;
    Box::pin(opening.open(lock)).await;
    Box::pin(opening.start(lock)).await;
    opening.end().await;
    if let Some(why) = opening.trouble() {
        let text = format!("the way back of workflow {}.{} could not be opened: {why}", names.0, names.1);
        return Err(Error::precondition(Reason::WAY_BACK_NOT_OPEN, text, "fix that, and run the command again"));
    }
    let summary = format!("the way back of workflow {}.{} is open{}", names.0, names.1, opening.missed());
    Ok(Answer { phase: Phase::Open.word(), clear: true, summary, ..Answer::default() })
}

/// Streams of the migration are there: complete stopped them for good, and a diff may start them again, which would bring older
/// changes back.
fn unfinished(names: (&str, &str)) -> Error {
    let text = format!("the way back of workflow {}.{} is not opened: its complete has not ended", names.0, names.1);
    let help = format!("finish it: Migrate --target-keyspace {} --workflow {} complete", names.0, names.1);
    Error::precondition(Reason::WAY_BACK_NOT_OPEN, text, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_is_told_when_tablets_are_elsewhere() {
        let found = |server: &str, hosts: &[&str]| local(server, hosts.iter().copied()).is_some();
        assert!(found("localhost:2379", &["127.0.0.1", "tablet7"]) && found("etcd:1,127.0.0.1:2379", &["tablet7"]));
        assert!(!found("localhost:2379", &["localhost", "127.0.0.1", "::1"]));
        assert!(!found("etcd:2379", &["tablet7"]));
    }
}
