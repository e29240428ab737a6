//! What is published of a way back.

use serde::Serialize;

use super::{Problem, Stream, VDiff};
use crate::workflow::findings::Finding;

/// Where a way back is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackStage {
    /// Its record cannot be read.
    #[default]
    Unknown,
    /// The source knows the target as a mount; nothing streams.
    Prepared,
    /// Complete is opening it, or could not.
    Opening,
    /// Complete has handed the target over without it: there is no way back any more.
    Missed,
    /// What clients write to the target comes back.
    Running,
    /// Going back has begun: clients are kept from the target.
    Closing,
    /// The source has everything, and will serve.
    Returning,
    /// It is being taken away.
    Cancelling,
    /// The source serves again.
    Back,
    Cancelled,
    /// It is gone, and another program ended it: somebody went back, or cancelled.
    Ended,
}

impl BackStage {
    /// Every stage, in the order of a life.
    pub const ALL: [Self; 11] = [
        Self::Unknown,
        Self::Prepared,
        Self::Opening,
        Self::Missed,
        Self::Running,
        Self::Closing,
        Self::Returning,
        Self::Cancelling,
        Self::Back,
        Self::Cancelled,
        Self::Ended,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Prepared => "prepared",
            Self::Opening => "opening",
            Self::Missed => "missed",
            Self::Running => "running",
            Self::Closing => "closing",
            Self::Returning => "returning",
            Self::Cancelling => "cancelling",
            Self::Back => "back",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
        }
    }

    /// True when nothing of it is left.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Back | Self::Cancelled | Self::Ended)
    }
}

/// The way back of a migration.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WayBack {
    /// Of the migration: its target keyspace and its name.
    pub keyspace: String,
    pub workflow: String,
    /// Name of the mount that leads to the source.
    pub mount: String,
    pub source_keyspace: String,
    pub stage: BackStage,
    /// When this process first saw it.
    pub first_seen: i64,
    /// When it was prepared; `None` when that was not noted.
    pub prepared_at: Option<i64>,
    /// When complete handed the target over.
    pub opened_at: Option<i64>,
    /// When it was last read as a whole.
    pub last_success: Option<i64>,
    /// When it was found gone.
    pub ended_at: Option<i64>,
    /// Why it could not be read in the last round: all the rest is as of `last_success`.
    pub stale: Option<Problem>,
    /// `GO`, or `NO-GO (behind, 2 reasons)`: whether going back would be refused; empty when it is over.
    pub verdict: String,
    pub go: bool,
    /// What speaks against going back, and what only warns; what blocks comes first.
    pub findings: Vec<Finding>,
    /// Highest lag of a stream in seconds.
    pub max_lag: Option<i64>,
    /// Into the source: `shard` is the source's there, `source_shard` the target's.
    pub streams: Vec<Stream>,
    /// The last VDiff on the way back.
    pub vdiff: Option<VDiff>,
}
