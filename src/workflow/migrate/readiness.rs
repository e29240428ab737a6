//! Whether a workflow can be completed: all streams running, copied, and at the source's position.

use std::time::{Duration, Instant};

use futures::future::join_all;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::PrimaryPositionRequest;

use super::super::preflight::{Finding, check};
use super::super::record::{self, Facts};
use super::super::streams::{self, Keyspace, OnShard, Origin};
use super::super::{Error, Result};
use super::rows::{self, CopyStates};
use super::{FROZEN, gather, status};
use crate::context::Context;
use crate::gtid::{self, GtidSet};

/// Bound of what is asked of the source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long streams may take to reach the position that the source had when complete was called.
const CATCH_UP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
/// A stream that has heard nothing of its source for so long is behind, in seconds.
const MAX_LAG: i64 = 30;

/// A reason against completing: what, and the text for people.
pub type Reason = (String, String, String);

/// Executed GTIDs of the source's primaries, by shard; the error is a text for people.
pub struct Positions(std::result::Result<Vec<(String, GtidSet)>, String>);

impl Positions {
    /// Asks the source that a workflow's record tells of; `None` when no record tells.
    pub async fn by_record(context: &Context, keyspace: &str, workflow: &str) -> Option<Self> {
        let stored = record::find(context.topo.global(), keyspace, workflow).await.ok().flatten()?;
        let Facts { mount, source: (source, shards), .. } = &stored.facts;
        if shards.is_empty() {
            return None;
        }
        Some(Self(source_positions(context, mount, source, shards).await))
    }
}

/// True when complete has begun: every stream is stopped for good.
pub fn all_frozen(rows: &[OnShard]) -> bool {
    let mut streams = rows.iter().flat_map(|row| &row.found.streams).peekable();
    streams.peek().is_some() && streams.all(|s| s.message == FROZEN.as_bytes() && s.state() == State::Stopped)
}

/// True when complete has begun on some stream.
pub fn any_frozen(rows: &[OnShard]) -> bool {
    rows.iter().flat_map(|row| &row.found.streams).any(|s| s.message == FROZEN.as_bytes())
}

/// Proves that everything is copied and applied up to the source's present position.
///
/// A source that cannot be reached is a warning when copying is over and the streams were healthy.
pub async fn check(
    context: &Context,
    target: &Keyspace,
    workflow: &str,
    origin: &Origin,
    positions: Option<Positions>,
) -> Result<()> {
    let source = async {
        match positions {
            Some(Positions(known)) => known,
            None => source_positions(context, &origin.mount, &origin.keyspace, &origin.shards).await,
        }
    };
    let states = copy_states(context, target);
    let names = [workflow.to_owned()];
    let (source, states, rows) = futures::future::join3(source, states, target.workflows(context, &names)).await;
    let (states, mut rows) = (states?, rows?);
    let reachable = match &source {
        Ok(_) => true,
        Err(why) => {
            tracing::warn!(vitess.workflow = workflow, "complete goes on without the source: {why}");
            false
        }
    };
    let reasons = state_reasons(target, &rows, &states, reachable);
    if !reasons.is_empty() {
        return Err(refusal(&target.name, workflow, reasons));
    }
    let Ok(positions) = source else { return Ok(()) };
    let until = Instant::now() + CATCH_UP;
    loop {
        let behind = position_reasons(target, &rows, &positions);
        if behind.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(refusal(&target.name, workflow, behind));
        }
        tokio::time::sleep(POLL).await;
        rows = target.workflows(context, &names).await?;
    }
}

/// The same at one moment, without waiting for anything: what stands in the way, and a source that cannot be asked.
pub async fn look(context: &Context, target: &Keyspace, workflow: &str, origin: &Origin) -> Result<Vec<Finding>> {
    let names = [workflow.to_owned()];
    let source = source_positions(context, &origin.mount, &origin.keyspace, &origin.shards);
    let (source, states, rows) =
        futures::future::join3(source, copy_states(context, target), target.workflows(context, &names)).await;
    let (states, rows) = (states?, rows?);
    let mut reasons = state_reasons(target, &rows, &states, source.is_ok());
    if let Ok(positions) = &source {
        reasons.extend(position_reasons(target, &rows, positions));
    }
    let mut found: Vec<Finding> = reasons.iter().map(|reason| finding(&target.name, workflow, reason)).collect();
    if let Err(why) = source {
        let cause = format!("the source cannot be asked for its position: {why}");
        let mend = "complete goes on without it when copying is over and the streams were healthy";
        let subject = format!("mount {}", origin.mount);
        found.push(Finding::new(&check::SOURCE_UNREACHABLE, subject, cause, mend));
    }
    Ok(found)
}

fn finding(keyspace: &str, workflow: &str, (kind, subject, text): &Reason) -> Finding {
    let checks = [check::COPYING, check::ERROR, check::BEHIND, check::NOT_RUNNING];
    let check = checks.into_iter().find(|check| check.id == kind).unwrap_or(check::NOT_RUNNING);
    let mend = match kind.as_str() {
        "COPYING" | "BEHIND" => format!("wait: Migrate --target-keyspace {keyspace} --workflow {workflow} status"),
        _ => format!("mend its cause, then: Workflow --keyspace {keyspace} start --workflow {workflow}"),
    };
    Finding::new(&check, subject, format!("cannot complete workflow {workflow} in keyspace {keyspace}: {text}"), mend)
}

fn refusal(keyspace: &str, workflow: &str, reasons: Vec<Reason>) -> Error {
    let texts: Vec<String> = reasons.iter().map(|(_, subject, text)| format!("{subject}: {text}")).collect();
    Error::Blocked {
        reason: "WORKFLOW_NOT_DONE",
        text: format!("cannot complete workflow {workflow} in keyspace {keyspace}: {}", texts.join("; ")),
        help: format!(
            "wait until Migrate status shows every stream Running and caught up; to end it all the same and keep the data: \
             Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data"
        ),
        violations: reasons,
    }
}

fn state_reasons(target: &Keyspace, rows: &[OnShard], states: &[CopyStates], reachable: bool) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for row in rows {
        let Some(shard) = target.shards.get(row.shard) else { continue };
        for stream in row.found.streams.iter().filter(|s| s.message != FROZEN.as_bytes()) {
            let subject = format!("{}/{} stream {}", target.name, shard.name, stream.id);
            let left = states.get(row.shard).and_then(|s| s.get(&i64::from(stream.id)));
            let mut say = |kind: &str, text: String| reasons.push((kind.to_owned(), subject.clone(), text));
            let message = streams::message(stream);
            match stream.state() {
                _ if left.is_some() || stream.pos.is_empty() => {
                    let tables: Vec<&str> = left.into_iter().flatten().map(|(table, _)| table.as_str()).collect();
                    let text = match tables.as_slice() {
                        [] => "copying has not begun".to_owned(),
                        tables => format!("copying is not over, left: {}", tables.join(", ")),
                    };
                    say("COPYING", text);
                }
                State::Running if streams::shown_state(stream, false) == "Error" && reachable => say("ERROR", message),
                State::Running if status::lag(stream) > MAX_LAG && reachable => {
                    say("BEHIND", format!("nothing heard of the source for {} s", status::lag(stream)));
                }
                State::Running => {}
                // --stop-after-copy ends in this state
                State::Stopped if message.starts_with("Stopped after copy") => {}
                state => say("NOT_RUNNING", format!("its state is {} ({message})", state.as_str_name())),
            }
        }
    }
    reasons
}

fn position_reasons(target: &Keyspace, rows: &[OnShard], positions: &[(String, GtidSet)]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for row in rows {
        let Some(shard) = target.shards.get(row.shard) else { continue };
        for stream in row.found.streams.iter().filter(|s| s.state() == State::Running) {
            let source = stream.bls.as_ref().map(|bls| bls.shard.as_str()).unwrap_or_default();
            let Some((_, wanted)) = positions.iter().find(|(name, _)| name == source) else { continue };
            let reached = gtid::stored(&stream.pos).and_then(|text| GtidSet::parse(&text)).unwrap_or_default();
            if !reached.contains(wanted) {
                let subject = format!("{}/{} stream {}", target.name, shard.name, stream.id);
                let text = format!("it has not reached the position of the source, {wanted}; it is at {reached}");
                reasons.push(("BEHIND".into(), subject, text));
            }
        }
    }
    reasons
}

/// Tables still to be copied, for each shard.
async fn copy_states(context: &Context, target: &Keyspace) -> Result<Vec<CopyStates>> {
    let primaries = target.primaries()?;
    let reads =
        primaries.iter().map(|(_, tablet)| context.tablets.v_replication_exec(tablet, rows::COPY_STATES.into()));
    let mut states = Vec::new();
    for read in join_all(reads).await {
        states.push(rows::copy_states(&read?));
    }
    Ok(states)
}

async fn source_positions(
    context: &Context,
    mount: &str,
    keyspace: &str,
    shards: &[String],
) -> std::result::Result<Vec<(String, GtidSet)>, String> {
    let asked = async {
        let record = gather::mount(context, mount).await.map_err(|e| e.to_string())?;
        let topo = gather::open(context, mount, &record.value).await.map_err(|e| e.to_string())?;
        let primaries = gather::primaries(&topo, keyspace, shards).await.map_err(|e| e.to_string())?;
        let calls = primaries.iter().map(|tablet| context.tablets.primary_position(tablet, PrimaryPositionRequest {}));
        let mut positions = Vec::new();
        for (answer, shard) in join_all(calls).await.into_iter().zip(shards) {
            let position = answer.map_err(|e| e.to_string())?.position;
            positions.push((shard.clone(), GtidSet::parse(&position)?));
        }
        Ok(positions)
    };
    match tokio::time::timeout(SOURCE_TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", SOURCE_TIMEOUT.as_secs())),
    }
}
