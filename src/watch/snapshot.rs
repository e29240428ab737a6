//! What is published: plain data, serialisable, shared by all readers. Times are epoch seconds.

mod way_back;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
pub use way_back::{BackStage, WayBack};

use crate::error::{Explain, Reason};
use crate::failure;
use crate::workflow::findings::Finding;

/// Everything that was seen, as old as `taken_at` says; what could not be read anew is older and says so.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Grows with every snapshot of this process; 0: nothing was looked at yet.
    pub sequence: u64,
    pub taken_at: i64,
    /// Seconds between two rounds; 0: nobody watches.
    pub interval: u64,
    /// Why the own topology does not answer; everything else is stale then.
    pub problem: Option<Problem>,
    /// Ascending by name.
    pub mounts: Vec<Mount>,
    /// Keyspaces of the own cluster that could not be read, ascending by name.
    pub keyspaces: Vec<UnreadKeyspace>,
    /// Ascending by keyspace and workflow, those that ended among them.
    #[serde(serialize_with = "shared")]
    pub migrations: Vec<Arc<Migration>>,
    /// The same of ways back; to each there is a migration.
    #[serde(serialize_with = "shared")]
    pub ways_back: Vec<Arc<WayBack>>,
}

impl Snapshot {
    /// The way back of a migration, if it has one.
    pub fn way_back(&self, migration: &Migration) -> Option<&WayBack> {
        let wanted = (migration.keyspace.as_str(), migration.workflow.as_str());
        let order = |known: &Arc<WayBack>| (known.keyspace.as_str(), known.workflow.as_str()).cmp(&wanted);
        let at = self.ways_back.binary_search_by(order).ok()?;
        self.ways_back.get(at).map(AsRef::as_ref)
    }
}

fn shared<S: serde::Serializer, T: Serialize>(list: &[Arc<T>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(list.iter().map(AsRef::as_ref))
}

/// Something that went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Of the error, or of the finding.
    pub reason: Reason,
    pub cause: String,
    /// A command or a step; empty when the cause says it all.
    pub fix: String,
}

impl Problem {
    /// An error as a problem.
    pub fn of(error: &dyn Explain) -> Self {
        Self { reason: error.reason(), cause: error.to_string(), fix: error.help() }
    }

    /// Nothing was answered in time.
    pub fn late(seconds: u64) -> Self {
        Self {
            reason: Reason::DEADLINE,
            cause: format!("no answer within {seconds} s"),
            fix: "check that the topology and the tablets answer; the next round tries again".into(),
        }
    }
}

impl Default for Problem {
    /// One of which nothing is known.
    fn default() -> Self {
        Self { reason: Reason::ERROR, cause: String::new(), fix: String::new() }
    }
}

impl From<failure::Error> for Problem {
    fn from(error: failure::Error) -> Self {
        Self::of(&error)
    }
}

/// A mounted cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mount {
    pub name: String,
    /// As in `--topo-type`.
    pub topo_type: String,
    pub server: String,
    pub root: String,
    pub reachable: bool,
    /// Why it is not reachable.
    pub problem: Option<Problem>,
    pub checked_at: i64,
    /// When it was last reachable.
    pub last_success: Option<i64>,
    /// Names as of the last success.
    pub cells: Vec<String>,
    pub keyspaces: Vec<String>,
    /// `keyspace.workflow` of the migrations that read from it and have not ended.
    pub used_by: Vec<String>,
}

/// A keyspace that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnreadKeyspace {
    pub keyspace: String,
    pub problem: Problem,
    pub last_success: Option<i64>,
}

/// Where a migration is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its create is under way, or was interrupted.
    #[default]
    Creating,
    /// Something is still to be copied.
    Copying,
    /// Everything is copied; changes are followed.
    Running,
    /// The last VDiff compared all rows and found no difference.
    Diffed,
    /// Its complete has begun.
    Completing,
    Completed,
    Cancelled,
    /// It is gone, and another program ended it: completed or cancelled.
    Ended,
}

impl Stage {
    /// Every stage, in the order of a life.
    pub const ALL: [Self; 8] = [
        Self::Creating,
        Self::Copying,
        Self::Running,
        Self::Diffed,
        Self::Completing,
        Self::Completed,
        Self::Cancelled,
        Self::Ended,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Copying => "copying",
            Self::Running => "running",
            Self::Diffed => "diffed",
            Self::Completing => "completing",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
        }
    }

    /// True when nothing of the workflow is left in the cluster.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Ended)
    }
}

/// A workflow of type Migrate.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Migration {
    /// Of the target.
    pub keyspace: String,
    pub workflow: String,
    /// Name of the mount; empty when that is not known.
    pub mount: String,
    pub source_keyspace: String,
    pub stage: Stage,
    /// When this process first saw it.
    pub first_seen: i64,
    /// When it was last read as a whole.
    pub last_success: Option<i64>,
    /// When it was found gone.
    pub ended_at: Option<i64>,
    /// Why it could not be read in the last round: all the rest is as of `last_success`.
    pub stale: Option<Problem>,
    /// Stock's words on the traffic of its tables.
    pub traffic: String,
    /// `GO`, or `NO-GO (copying, 2 reasons)`: whether `complete` would be refused.
    pub verdict: String,
    pub go: bool,
    /// What speaks against `complete`, and what only warns; what blocks comes first.
    pub findings: Vec<Finding>,
    /// Highest lag of a stream in seconds; `None` while nothing was replicated.
    pub max_lag: Option<i64>,
    pub copy: Copy,
    /// Ascending by name.
    pub tables: Vec<Table>,
    /// Ascending by target shard, source shard and id.
    pub streams: Vec<Stream>,
    /// The last VDiff.
    pub vdiff: Option<VDiff>,
}

/// Progress of a copy. Rows and bytes are estimates, the copied ones never more than the total.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Copy {
    pub rows_copied: i64,
    pub rows_total: i64,
    pub bytes_copied: i64,
    pub bytes_total: i64,
    /// 0 to 100; 100 when everything is copied, never before.
    pub percent: f64,
    /// `None` when nothing is copied now.
    pub rows_per_second: Option<f64>,
    pub seconds_left: Option<i64>,
    pub tables_done: usize,
    pub tables: usize,
}

/// State of a table's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableStage {
    Copying,
    #[default]
    Pending,
    Done,
}

/// A table, all shards together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    pub name: String,
    pub stage: TableStage,
    pub rows_copied: i64,
    pub rows_total: i64,
    pub bytes_copied: i64,
    pub bytes_total: i64,
    pub percent: f64,
    pub rows_per_second: Option<f64>,
    pub seconds_left: Option<i64>,
}

/// From one source shard to one target shard.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stream {
    /// Unique on its tablet.
    pub id: i32,
    pub source_shard: String,
    /// Of the target.
    pub shard: String,
    /// Alias of the target's primary.
    pub tablet: String,
    /// As `Migrate status` shows it: `Copying`, `Running`, `Stopped`, `Error`, …
    pub state: String,
    /// Seconds between now and the last transaction or heartbeat; `None` while it copies or before it has started.
    pub lag: Option<i64>,
    /// The tablet's words.
    pub message: String,
    pub position: String,
    pub rows_copied: i64,
    pub tables_left: usize,
    /// What is wrong with it.
    pub problem: Option<Problem>,
    /// Lag over time, oldest first; bounded.
    pub history: Vec<Point>,
}

/// One look at a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Point {
    pub at: i64,
    pub lag: i64,
}

/// The last VDiff of a migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VDiff {
    pub uuid: String,
    /// `pending`, `started`, `stopped`, `completed` or `error`: the gravest of all shards; empty when a shard has none.
    pub state: String,
    pub rows_compared: i64,
    /// An estimate.
    pub rows: i64,
    /// True when a difference is known, whatever the state.
    pub has_mismatch: bool,
    /// Rows that differ or are on one side only, as counted so far.
    pub differing: i64,
    pub started_at: Option<i64>,
    pub completed_at: Option<i64>,
    /// Tables in which rows differ.
    pub mismatches: Vec<String>,
    /// What tablets say went wrong, by shard.
    pub errors: BTreeMap<String, String>,
    /// State by shard.
    pub shards: BTreeMap<String, String>,
    /// For people: `equal, 1200 rows compared, ended 2m ago`.
    pub sentence: String,
}

impl VDiff {
    /// True when all rows were compared and none differs.
    pub fn is_equal(&self) -> bool {
        self.state == "completed" && !self.has_mismatch
    }
}
