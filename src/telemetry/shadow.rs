//! What shadow mode has found since the start.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What came of one call that was asked in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same,
    Different,
    /// The fallback did not answer.
    Failed,
    /// Too many at once, compressed, too long, or the caller went away.
    Skipped,
}

/// Calls of one RPC by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub same: u64,
    pub different: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// Calls by RPC and outcome.
#[derive(Debug, Default)]
pub struct Counts(Mutex<BTreeMap<String, Count>>);

impl Counts {
    /// Counts one call.
    pub fn add(&self, rpc: &str, outcome: Outcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(rpc.to_owned()).or_default();
        let number = match outcome {
            Outcome::Same => &mut count.same,
            Outcome::Different => &mut count.different,
            Outcome::Failed => &mut count.failed,
            Outcome::Skipped => &mut count.skipped,
        };
        *number += 1;
    }

    /// All counts, ascending by RPC.
    pub fn all(&self) -> BTreeMap<String, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
