//! What the streams themselves say: which there are, their states, copies, lag.

use std::collections::BTreeSet;

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::KeyRange;

use super::diffs::{Diff, Diffs};
use super::positions::{Reach, is_snapshot, is_turned_away, reach};
use super::source::Source;
use crate::error::check;
use crate::gtid::{GtidSet, Position};
use crate::key_range;
use crate::topo::shard::parse_name;
use crate::workflow::checks::overrides::refused_by_source;
use crate::workflow::findings::Finding;
use crate::workflow::names;
use crate::workflow::record::Facts;
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow, is_frozen};

/// A stream that has heard nothing of its source for so long is behind, in seconds.
const MAX_LAG: i64 = 30;
/// Part of the time that the source keeps its binlogs from which on a lag is a risk.
const RISKY_PART: i64 = 2;

/// What a finding about a stream is about.
pub fn subject(target: &Keyspace, shard: &str, stream: &Stream) -> String {
    format!("{}/{shard} stream {}", target.name, stream.id)
}

/// Every stream with its shard's number and what a finding about it is about.
pub fn all<'a>(target: &'a Keyspace, rows: &'a [ShardWorkflow]) -> impl Iterator<Item = (usize, String, &'a Stream)> {
    let on_shard = move |row: &'a ShardWorkflow| {
        let shard = target.shards.get(row.shard).map(|s| s.name.as_str()).unwrap_or_default();
        row.found.streams.iter().map(move |stream| (row.shard, subject(target, shard, stream), stream))
    };
    rows.iter().flat_map(on_shard)
}

/// Those that are not stopped for good.
fn open<'a>(target: &'a Keyspace, rows: &'a [ShardWorkflow]) -> impl Iterator<Item = (usize, String, &'a Stream)> {
    all(target, rows).filter(|(_, _, stream)| !is_frozen(stream))
}

/// Whether every stream runs and has copied all. Those that are stopped for good need not run; that they have copied all
/// does not follow from it: a person, or a complete that was allowed to, may have stopped them before.
pub fn states(
    target: &Keyspace,
    rows: &[ShardWorkflow],
    copying: &[CopyStates],
    source: &Result<Source, String>,
    facts: Option<&Facts>,
    diffs: &Diffs,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (shard, subject, stream) in all(target, rows) {
        let frozen = is_frozen(stream);
        let left = copying.get(shard).and_then(|s| s.get(&i64::from(stream.id)));
        let message = streams::message(stream);
        let lag = streams::lag(stream);
        let finding = match stream.state() {
            _ if left.is_some() || stream.pos.is_empty() => {
                let tables: Vec<&str> = left.into_iter().flatten().map(|(table, _)| table.as_str()).collect();
                let text = match tables.as_slice() {
                    [] => "copying has not begun".to_owned(),
                    tables => format!("copying is not over, left: {}", names::some(tables, ", ")),
                };
                let fix = match frozen {
                    false => "wait until Migrate status shows it Running".to_owned(),
                    true => start(target, rows),
                };
                Finding::new(&check::COPYING, subject, text, fix)
            }
            _ if frozen => continue,
            State::Running if streams::shown_state(stream, false) == "Error" => {
                let otherwise = || if is_turned_away(stream) { TURNED_AWAY } else { BY_ITSELF }.to_owned();
                let fix = refused_by_source(&target.name, name_of(rows), &message).unwrap_or_else(otherwise);
                Finding::new(&check::ERROR, subject, message, fix)
            }
            // one that has reached its source's position may have nothing to hear
            State::Running if lag > MAX_LAG && reach(stream, source, facts) != Reach::Reached => {
                let text = format!("nothing heard of the source for {lag} s");
                Finding::new(&check::BEHIND, subject, text, "wait until it catches up")
            }
            State::Running => continue,
            _ if is_snapshot(stream, facts) => continue,
            state if is_paused(stream, state, diff_on(target, shard, diffs)) => {
                let text = format!("a VDiff has stopped it for a moment ({message})");
                let fix = "wait: the VDiff starts it again by itself";
                Finding::new(&check::PAUSED_FOR_VDIFF, subject, text, fix)
            }
            state => {
                let text = format!("its state is {} ({message})", state.as_str_name());
                let refused = refused_by_source(&target.name, name_of(rows), &message);
                let fix = match refused {
                    Some(fix) => fix,
                    None if stands_at_a_journal(stream) => ANEW.to_owned(),
                    None => start(target, rows),
                };
                Finding::new(&check::NOT_RUNNING, subject, text, fix)
            }
        };
        found.push(finding);
    }
    found
}

/// What helps a stream with an error that it tries again after.
const BY_ITSELF: &str = "fix what the message says; the stream goes on by itself";
/// The same of one that has more than the tablet which it wanted to read from.
const TURNED_AWAY: &str = "where that source tablet only lags, the stream goes on by itself; one whose source was restored from a \
                           backup must not: cancel the workflow and create it again";

/// What helps a stream that cannot follow its source.
const ANEW: &str =
    "cancel the workflow and create it again: started as it is, it comes to the same journal of the source and stops";

/// True for a stream that met the journal of a resharding or of moved tables and could not follow: only some of its tables were moved,
/// or of shards that were merged it reads only some (Vitess 22.0.4 and 24.0.4, `vplayer.go`, `registerJournal`).
fn stands_at_a_journal(stream: &Stream) -> bool {
    let message = stream.message.as_slice();
    [b"unable to handle journal event".as_slice(), b"cannot redirect on journal"]
        .iter()
        .any(|of| message.starts_with(of))
}

fn start(target: &Keyspace, rows: &[ShardWorkflow]) -> String {
    format!("start it with: Workflow --keyspace {} start --workflow {}", target.name, name_of(rows))
}

/// Whether the filter of some stream asks a vindex for the rows of its shard.
pub fn choose_rows(rows: &[ShardWorkflow]) -> bool {
    let streams = rows.iter().flat_map(|row| &row.found.streams);
    let filters = streams.filter_map(|stream| stream.bls.as_ref()?.filter.as_ref());
    filters.flat_map(|filter| &filter.rules).any(|rule| rule.filter.contains("in_keyrange("))
}

/// The workflow's name.
fn name_of(rows: &[ShardWorkflow]) -> &str {
    rows.first().map(|row| row.found.workflow.as_str()).unwrap_or_default()
}

/// The last diff on a shard.
fn diff_on<'d>(target: &Keyspace, shard: usize, diffs: &'d Diffs) -> Option<&'d Diff> {
    let name = &target.shards.get(shard)?.name;
    diffs.iter().find(|(on, _)| on == name)?.1.as_ref().ok()?.as_ref()
}

/// True for a stream that a VDiff under way has stopped: it does so while it opens its snapshots, lets the stream run up to
/// a position, and then starts it for good (Vitess 22.0.3). One whose diff has ended was left behind, which is trouble.
fn is_paused(stream: &Stream, state: State, diff: Option<&Diff>) -> bool {
    let message = stream.message.as_slice();
    let theirs = message == b"for vdiff"
        || !stream.stop_pos.is_empty()
            && (message.starts_with(b"Stopped at position") || message.starts_with(b"Stop position"));
    state == State::Stopped && theirs && diff.is_some_and(Diff::is_under_way)
}

/// The source's shards that streams are to be there for, with their ranges: those that serve, else those of the record.
fn feeding(source: &Result<Source, String>, facts: Option<&Facts>) -> Vec<(String, Option<KeyRange>)> {
    let shards = source.as_ref().map(|source| source.shards.as_slice()).unwrap_or_default();
    let serving = shards.iter().filter(|shard| shard.serves);
    let serving: Vec<_> = serving.map(|shard| (shard.name.clone(), shard.range.clone())).collect();
    if !serving.is_empty() {
        return serving;
    }
    let of_record = facts.iter().flat_map(|facts| &facts.source.1);
    of_record.filter_map(|name| Some((name.clone(), parse_name(name).ok()?))).collect()
}

/// Streams that should be there and are not: each serving target shard needs one for each source shard whose range
/// overlaps its own, or for every one when the rows of one range may live in any other.
pub fn missing(
    target: &Keyspace,
    rows: &[ShardWorkflow],
    source: &Result<Source, String>,
    facts: Option<&Facts>,
) -> Vec<Finding> {
    let feeding = feeding(source, facts);
    let every_pair = facts.is_some_and(|facts| facts.every_pair);
    let mut found = Vec::new();
    let serving = target.shards.iter().enumerate().filter(|(_, shard)| shard.record.value.is_primary_serving);
    for (at, shard) in serving {
        let mut mine = rows.iter().filter(|row| row.shard == at).flat_map(|row| &row.found.streams).peekable();
        let text = if mine.peek().is_none() {
            "it has no stream of the workflow".to_owned()
        } else {
            let from: Vec<&str> = mine.map(shard_of).collect();
            let needed = feeding.iter().filter(|(name, range)| {
                !from.contains(&name.as_str()) && (every_pair || key_range::intersects(range.as_ref(), shard.range()))
            });
            let lacking: Vec<&str> = needed.map(|(name, _)| name.as_str()).collect();
            if lacking.is_empty() {
                continue;
            }
            format!("it has no stream of the source's {}", lacking.join(", "))
        };
        let fix = "cancel the workflow and create it again, or end it with Workflow delete --keep-data";
        let subject = format!("shard {}/{}", target.name, shard.name);
        found.push(Finding::new(&check::STREAM_MISSING, subject, text, fix));
    }
    found
}

/// Tables that no stream of a serving target shard brings. Of several streams into a shard one brings a reference table, and
/// the others leave it out; when shards of the source are merged or split, its tablets give all new streams the rules of one
/// of the old ones (Vitess 22.0.4, `transitionJournal`), so that it may be in none.
pub fn not_brought(target: &Keyspace, rows: &[ShardWorkflow], tables: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    let serving = target.shards.iter().enumerate().filter(|(_, shard)| shard.record.value.is_primary_serving);
    for (at, shard) in serving {
        let mine = rows.iter().filter(|row| row.shard == at).flat_map(|row| &row.found.streams);
        let sources: Vec<_> = mine.filter_map(|stream| stream.bls.as_ref()).collect();
        if sources.is_empty() {
            // which is a finding of its own
            continue;
        }
        let brought: BTreeSet<&str> = sources.iter().flat_map(|source| streams::included(source)).collect();
        let left_out: Vec<&str> = tables.iter().map(String::as_str).filter(|table| !brought.contains(table)).collect();
        if !left_out.is_empty() {
            let subject = format!("shard {}/{}", target.name, shard.name);
            let text = format!("none of its streams brings {}", names::some(&left_out, ", "));
            let fix = "cancel the workflow and create it again, or copy these tables by hand and end it with Workflow \
                        delete --keep-data";
            found.push(Finding::new(&check::TABLE_NOT_BROUGHT, subject, text, fix));
        }
    }
    found
}

/// Streams whose next transactions the source has purged, or soon will.
///
/// The binlogs of the source's primaries are looked at. A stream that runs and hears of its source still has what it
/// needs, wherever it reads it.
pub fn binlogs(target: &Keyspace, rows: &[ShardWorkflow], source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let reading = |stream: &Stream| !stream.pos.is_empty() && !is_snapshot(stream, None);
    for (_, subject, stream) in open(target, rows).filter(|(_, _, stream)| reading(stream)) {
        let (Some(shard), Position::Gtids(reached)) = (source.shard(shard_of(stream)), Position::stored(&stream.pos))
        else {
            continue;
        };
        let lag = streams::lag(stream);
        let well = stream.state() == State::Running && streams::shown_state(stream, false) != "Error" && lag <= MAX_LAG;
        if well || is_reached(&reached, &shard.position) {
            continue;
        }
        match (&shard.purged, shard.keeps) {
            (Some(purged), _) if !reached.contains(purged) => {
                let text =
                    format!("the source's primary has purged binlogs up to {purged}; the stream is at {reached}");
                let fix = "if no other tablet of the source still has them, cancel the workflow and create it again";
                found.push(Finding::new(&check::GTID_PURGED, subject, text, fix));
            }
            (_, Some(keeps)) if keeps > 0 && lag > keeps / RISKY_PART => {
                let text = format!("it is {lag} s behind, and the source keeps its binlogs for {keeps} s");
                let fix = "get the stream going, or raise binlog_expire_logs_seconds on the source";
                found.push(Finding::new(&check::BINLOG_RISK, subject, text, fix));
            }
            _ => {}
        }
    }
    found
}

fn is_reached(reached: &GtidSet, wanted: &Result<Position, String>) -> bool {
    matches!(wanted, Ok(Position::Gtids(wanted)) if reached.contains(wanted))
}

/// The source shard that a stream reads.
pub fn shard_of(stream: &Stream) -> &str {
    stream.bls.as_ref().map(|bls| bls.shard.as_str()).unwrap_or_default()
}
