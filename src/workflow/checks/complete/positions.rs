//! Whether what the streams have applied contains what the source's primaries had: the proof that complete needs.

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::source::Source;
use super::streams::{all, shard_of};
use crate::error::check;
use crate::gtid::{GtidSet, Position};
use crate::workflow::findings::Finding;
use crate::workflow::record::Facts;
use crate::workflow::streams::{Keyspace, Origin, ShardWorkflow, is_frozen};

/// Where a stream is, against its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has applied all that the source's primary had.
    Reached,
    /// It has not; the first is what the primary had.
    Behind(Position, Position),
    /// Nobody can tell: why.
    Unknown(String),
    /// The source does not tell where it is.
    Silent,
    /// It was to stop after its copy, and did: it is not meant to go on.
    Snapshot,
}

/// The same of all streams of a workflow, as findings.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// What is not known: it blocks.
    pub unknown: Vec<Finding>,
    /// Streams that have not reached their source's position: complete waits for them.
    pub behind: Vec<Finding>,
    /// Streams that stopped after their copy, as they were asked to.
    pub snapshots: Vec<Finding>,
    /// Streams that have applied what their source has lost: it blocks.
    pub ahead: Vec<Finding>,
}

/// True for a stream that was to stop after its copy, and did. One that complete has stopped for good may have run on before;
/// the record tells.
pub fn is_snapshot(stream: &Stream, facts: Option<&Facts>) -> bool {
    let asked = stream.bls.as_ref().is_some_and(|bls| bls.stop_after_copy);
    let message = stream.message.as_slice();
    asked
        && stream.state() == State::Stopped
        && (message.starts_with(b"Stopped after copy")
            || (is_frozen(stream) && facts.is_none_or(|facts| facts.completing && facts.snapshot)))
}

/// Where a stream is.
pub fn reach(stream: &Stream, source: &Result<Source, String>, facts: Option<&Facts>) -> Reach {
    let shard = source.as_ref().ok().and_then(|source| source.shard(shard_of(stream)));
    let reached = Position::stored(&stream.pos);
    match shard.map(|shard| &shard.position) {
        Some(Ok(wanted)) => match reached.contains(wanted) {
            Some(true) => Reach::Reached,
            _ if is_snapshot(stream, facts) => Reach::Snapshot,
            Some(false) => Reach::Behind(wanted.clone(), reached),
            None => {
                let text = format!("its position, {reached}, cannot be compared with the source's, {wanted}");
                Reach::Unknown(text)
            }
        },
        _ if is_snapshot(stream, facts) => Reach::Snapshot,
        Some(Err(_)) => Reach::Silent,
        None if source.is_err() => Reach::Silent,
        None => Reach::Unknown(format!("the source's shard {} was not asked for its position", shard_of(stream))),
    }
}

/// What helps where positions are of two kinds.
const UNCOMPARED: &str = "see gtid_mode of the source's MySQL servers; where it is another one than when the copy began: cancel the \
                          workflow and create it again";

/// What source tablets say to a stream that has more than they have (Vitess 22.0.4 and 24.0.4, `uvstreamer.go`).
const MISMATCH: &[u8] = b"GTIDSet Mismatch";

/// True for a stream that the tablet which it wanted to read from has turned away, for it has more than that.
pub(super) fn is_turned_away(stream: &Stream) -> bool {
    stream.message.windows(MISMATCH.len()).any(|part| part == MISMATCH)
}

/// The transactions that a stream has applied and that its source's primary does not have: the source was restored from a
/// backup, or failed over and lost them. `None` where nothing tells of any.
///
/// What the primary writes itself it may have written since it was asked, unless the stream was turned away: that one stands. Nor
/// does it tell anything that the primary knows no transaction at all of a server: a replica may have some of its own.
fn lost(stream: &Stream, source: &Result<Source, String>) -> Option<GtidSet> {
    let shard = source.as_ref().ok()?.shard(shard_of(stream))?;
    let lost = Position::stored(&stream.pos).lost_in(shard.position.as_ref().ok()?);
    let lost = match (&shard.server, is_turned_away(stream)) {
        (_, true) => lost,
        (Some(own), false) => lost.without_server(own),
        (None, false) => return None,
    };
    (lost != GtidSet::default()).then_some(lost)
}

/// The same as a finding.
fn ahead(subject: &str, stream: &Stream, source: &Result<Source, String>) -> Option<Finding> {
    let text = format!(
        "it has applied transactions that the source's primary does not have: {}; the source was restored, or failed over and lost \
         them, and what it has written in their place the stream passes over; or a replica that it read from wrote them itself",
        lost(stream, source)?
    );
    let fix = "run the command again; if it says the same, do not wait until the stream goes on by itself: cancel the workflow and \
                create it again, with --tablet-types primary where a replica wrote them";
    Some(Finding::new(&check::POSITION_AHEAD, subject, text, fix))
}

impl Positions {
    /// Compares every stream that has begun, those among them that are stopped for good.
    pub fn of(
        target: &Keyspace,
        rows: &[ShardWorkflow],
        origin: &Origin,
        source: &Result<Source, String>,
        facts: Option<&Facts>,
    ) -> Self {
        let mut found = Self::default();
        let mut silent: Vec<&str> = Vec::new();
        let mut all_snapshots = true;
        for (_, subject, stream) in all(target, rows) {
            let reach = reach(stream, source, facts);
            all_snapshots &= reach == Reach::Snapshot;
            if stream.pos.is_empty() {
                // its copy has not begun, which says more
                continue;
            }
            found.ahead.extend(ahead(&subject, stream, source));
            match reach {
                Reach::Reached => {}
                Reach::Snapshot => {
                    let text =
                        "it stopped after its copy, as it was asked to: it has nothing that the source wrote since";
                    let fix = "nothing, if it is meant so; else cancel the workflow and create it again";
                    found.snapshots.push(Finding::new(&check::STOPPED_AFTER_COPY, subject, text, fix));
                }
                Reach::Behind(wanted, reached) => {
                    let text = format!("it has not reached the position of the source, {wanted}; it is at {reached}");
                    let fix = "wait until it catches up, or stop the writes there";
                    found.behind.push(Finding::new(&check::BEHIND, subject, text, fix));
                }
                Reach::Unknown(why) => {
                    found.unknown.push(Finding::new(&check::POSITION_UNKNOWN, subject, why, UNCOMPARED));
                }
                Reach::Silent if !silent.contains(&shard_of(stream)) => silent.push(shard_of(stream)),
                Reach::Silent => {}
            }
        }
        let unreachable = |subject: String, why: String| {
            let fix = "complete needs the position of the source's primaries: see that they answer";
            Finding::new(&check::SOURCE_UNREACHABLE, subject, why, fix)
        };
        match source {
            Err(why) if !all_snapshots || rows.is_empty() => {
                let subject = format!("keyspace {} of mount {}", origin.keyspace, origin.mount);
                found.unknown.push(unreachable(subject, why.clone()));
            }
            Err(_) => {}
            Ok(source) => found.unknown.extend(silent.into_iter().map(|shard| {
                let subject = format!("shard {}/{shard} of mount {}", origin.keyspace, origin.mount);
                unreachable(subject, source.silence(shard).unwrap_or_default())
            })),
        }
        found
    }
}
