//! Streams that get nothing, for their source tablet gets nothing.

use crate::error::check;
use crate::workflow::findings::{Finding, Severity};

/// A stream whose source tablet is in trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stalled {
    pub shard: String,
    pub id: i32,
    /// What a finding about it is about.
    pub subject: String,
    pub cause: String,
    pub fix: String,
    /// The tablet gets its changes, only late.
    pub late: bool,
}

impl Stalled {
    /// The finding that warns of it. It blocks where the stream can never reach its source: it is behind, and gets nothing.
    pub fn finding(&self, is_behind: impl Fn(&str) -> bool) -> Finding {
        let Self { subject, cause, fix, late, .. } = self;
        let found = Finding::new(&check::SOURCE_REPLICA_STALLED, subject.clone(), cause.clone(), fix.clone());
        let severity = if !late && is_behind(subject) { Severity::Blocks } else { found.severity };
        Finding { severity, ..found }
    }
}
