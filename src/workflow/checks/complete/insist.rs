//! What complete goes on without when its caller insists (`--ignore-source-keyspace`): the proof that it needs of the source.

use crate::error::check::{self, Check};
use crate::workflow::findings::{Finding, Severity};

/// The checks that ask whether the target has all that the source has. Stock's option says that the source is of no
/// interest any more, as when it is gone: then nothing can answer them.
const OF_THE_SOURCE: &[Check] = &[
    check::STREAM_MISSING,
    check::NOT_RUNNING,
    check::ERROR,
    check::BEHIND,
    check::SOURCE_REPLICA_STALLED,
    check::GTID_PURGED,
    check::POSITION_UNKNOWN,
    check::POSITION_AHEAD,
    check::SOURCE_UNREACHABLE,
    check::MOUNT_CHANGED,
];

/// Findings after the caller insisted.
#[derive(Clone, Debug, Default)]
pub struct Insisted {
    /// What is left of them; what was ignored only warns.
    pub findings: Vec<Finding>,
    /// What would have blocked.
    pub ignored: Vec<Finding>,
}

/// True when complete goes on over a finding for a caller that insists.
pub fn is_of_the_source(finding: &Finding) -> bool {
    OF_THE_SOURCE.iter().any(|check| check.id == finding.id)
}

/// Lets what only the source could prove warn; without insisting, everything stays as it is.
pub fn insist(findings: Vec<Finding>, ignore_source: bool) -> Insisted {
    let mut insisted = Insisted::default();
    for finding in findings {
        if ignore_source && finding.severity == Severity::Blocks && is_of_the_source(&finding) {
            insisted.ignored.push(finding.clone());
            insisted.findings.push(Finding { severity: Severity::Warns, ..finding });
        } else {
            insisted.findings.push(finding);
        }
    }
    insisted
}
