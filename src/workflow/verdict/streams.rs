//! What the streams themselves say: states, copies, lag, positions.

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::super::migrate::rows::CopyStates;
use super::super::migrate::{FROZEN, status};
use super::super::preflight::{Finding, Severity, check};
use super::super::streams::{self, Keyspace, OnShard};
use super::source::Source;
use crate::gtid::{self, GtidSet};

/// A stream that has heard nothing of its source for so long is behind, in seconds.
const MAX_LAG: i64 = 30;
/// Part of the time that the source keeps its binlogs from which on a lag is a risk.
const RISKY_PART: i64 = 2;

/// Streams that are not stopped for good, with their shard's number and what the finding is about.
fn open<'a>(target: &'a Keyspace, rows: &'a [OnShard]) -> impl Iterator<Item = (usize, String, &'a Stream)> {
    let on_shard = move |row: &'a OnShard| {
        let shard = target.shards.get(row.shard).map(|s| s.name.as_str()).unwrap_or_default();
        let subject = move |stream: &Stream| format!("{}/{shard} stream {}", target.name, stream.id);
        row.found.streams.iter().map(move |stream| (row.shard, subject(stream), stream))
    };
    rows.iter().flat_map(on_shard).filter(|(_, _, stream)| stream.message != FROZEN.as_bytes())
}

/// Whether every stream runs and has copied all. Errors and silence only warn while the source cannot be asked: a dead
/// source makes them.
pub fn states(target: &Keyspace, rows: &[OnShard], copying: &[CopyStates], reachable: bool) -> Vec<Finding> {
    let mut found = missing(target, rows);
    let of_source = if reachable { Severity::Blocks } else { Severity::Warns };
    for (shard, subject, stream) in open(target, rows) {
        let left = copying.get(shard).and_then(|s| s.get(&i64::from(stream.id)));
        let message = streams::message(stream);
        let lag = status::lag(stream);
        let finding = match stream.state() {
            _ if left.is_some() || stream.pos.is_empty() => {
                let tables: Vec<&str> = left.into_iter().flatten().map(|(table, _)| table.as_str()).collect();
                let text = match tables.as_slice() {
                    [] => "copying has not begun".to_owned(),
                    tables => format!("copying is not over, left: {}", tables.join(", ")),
                };
                Finding::new(&check::COPYING, subject, text, "wait until Migrate status shows it Running")
            }
            State::Running if streams::shown_state(stream, false) == "Error" => {
                let mend = "mend what the message says; the stream goes on by itself";
                Finding { severity: of_source, ..Finding::new(&check::ERROR, subject, message, mend) }
            }
            State::Running if lag > MAX_LAG => {
                let text = format!("nothing heard of the source for {lag} s");
                Finding {
                    severity: of_source,
                    ..Finding::new(&check::BEHIND, subject, text, "wait until it catches up")
                }
            }
            State::Running => continue,
            // --stop-after-copy ends in this state
            State::Stopped if message.starts_with("Stopped after copy") => continue,
            state => {
                let text = format!("its state is {} ({message})", state.as_str_name());
                let workflow = rows.first().map(|row| row.found.workflow.as_str()).unwrap_or_default();
                let mend = format!("start it with: Workflow --keyspace {} start --workflow {workflow}", target.name);
                Finding::new(&check::NOT_RUNNING, subject, text, mend)
            }
        };
        found.push(finding);
    }
    found
}

/// Serving shards without a stream.
fn missing(target: &Keyspace, rows: &[OnShard]) -> Vec<Finding> {
    let has = |at: usize| rows.iter().any(|row| row.shard == at && !row.found.streams.is_empty());
    let bare =
        target.shards.iter().enumerate().filter(|(at, shard)| !has(*at) && shard.record.value.is_primary_serving);
    bare.map(|(_, shard)| {
        let mend = "cancel the workflow and create it again, or end it with Workflow delete --keep-data";
        let subject = format!("shard {}/{}", target.name, shard.name);
        Finding::new(&check::STREAM_MISSING, subject, "it has no stream of the workflow", mend)
    })
    .collect()
}

/// Streams that have not reached the source's position.
pub fn positions(target: &Keyspace, rows: &[OnShard], source: &Source) -> Vec<Finding> {
    let running = open(target, rows).filter(|(_, _, stream)| stream.state() == State::Running);
    running
        .filter_map(|(_, subject, stream)| {
            let wanted = &source.shard(shard_of(stream))?.position;
            let reached = reached(stream);
            let text = || format!("it has not reached the position of the source, {wanted}; it is at {reached}");
            (!reached.contains(wanted)).then(|| {
                Finding::new(&check::BEHIND, subject, text(), "wait until it catches up, or stop the writes there")
            })
        })
        .collect()
}

/// Streams whose next transactions the source has purged, or soon will.
///
/// The binlogs of the source's primaries are looked at. A stream that runs and hears of its source still has what it
/// needs, wherever it reads it.
pub fn binlogs(target: &Keyspace, rows: &[OnShard], source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (_, subject, stream) in open(target, rows).filter(|(_, _, stream)| !stream.pos.is_empty()) {
        let Some(shard) = source.shard(shard_of(stream)) else { continue };
        let (reached, lag) = (reached(stream), status::lag(stream));
        let well = stream.state() == State::Running && streams::shown_state(stream, false) != "Error" && lag <= MAX_LAG;
        if well || reached.contains(&shard.position) {
            continue;
        }
        match (&shard.purged, shard.keeps) {
            (Some(purged), _) if !reached.contains(purged) => {
                let text =
                    format!("the source's primary has purged binlogs up to {purged}; the stream is at {reached}");
                let mend = "if no other tablet of the source still has them, cancel the workflow and create it again";
                found.push(Finding::new(&check::GTID_PURGED, subject, text, mend));
            }
            (_, Some(keeps)) if keeps > 0 && lag > keeps / RISKY_PART => {
                let text = format!("it is {lag} s behind, and the source keeps its binlogs for {keeps} s");
                let mend = "get the stream going, or raise binlog_expire_logs_seconds on the source";
                found.push(Finding::new(&check::BINLOG_RISK, subject, text, mend));
            }
            _ => {}
        }
    }
    found
}

fn shard_of(stream: &Stream) -> &str {
    stream.bls.as_ref().map(|bls| bls.shard.as_str()).unwrap_or_default()
}

fn reached(stream: &Stream) -> GtidSet {
    gtid::stored(&stream.pos).and_then(|text| GtidSet::parse(&text)).unwrap_or_default()
}
