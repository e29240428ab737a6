//! What is told of a workflow that complete may not end.

use std::collections::BTreeSet;

use crate::error::Reason;
use crate::workflow::checks::complete::is_of_the_source;
use crate::workflow::findings::{Finding, Severity, shown};
use crate::workflow::record::unreadable;
use crate::workflow::streams::Keyspace;
use crate::workflow::{Error, names};

/// So much of a help is told whatever else there is (`server/status.rs`), in bytes.
const TOLD: usize = 512;

/// The refusal for those reasons that block; what is told beside them need not. Of many some are told, the first one whole.
pub(super) fn refusal(target: &Keyspace, workflow: &str, reasons: Vec<&Finding>, beside: Vec<&Finding>) -> Error {
    let keyspace = &target.name;
    let reasons: Vec<&Finding> = reasons.into_iter().filter(|f| f.severity == Severity::Blocks).collect();
    let told: Vec<&Finding> = reasons.iter().chain(&beside).copied().collect();
    let cause = |(at, f): (usize, &&Finding)| if at == 0 { f.cause.clone() } else { shown(&f.cause) };
    let texts: Vec<String> = told.iter().enumerate().map(|of| format!("{}: {}", of.1.subject, cause(of))).collect();
    let mut seen = BTreeSet::new();
    let with_mend = told.iter().filter(|f| !f.fix.is_empty() && seen.insert((f.id, f.fix.as_str())));
    let mut help: Vec<String> = with_mend.take(names::NAMED).map(|f| format!("{}: {}", f.id, f.fix)).collect();
    // what loses nothing comes first; where that is long, or there is much to tell, the end is cut
    let ways_out = ways_out(workflow, keyspace, reasons.iter().all(|finding| is_of_the_source(finding)));
    let is_short = help.first().is_some_and(|first| first.len() + 1 + ways_out.len() <= TOLD);
    help.insert(usize::from(is_short), ways_out);
    Error::Blocked {
        reason: Reason::WORKFLOW_NOT_DONE,
        text: format!("cannot complete workflow {workflow} in keyspace {keyspace}: {}", names::some(&texts, "; ")),
        help: help.join("\n"),
        violations: told.iter().take(names::NAMED).map(|finding| finding.violation()).collect(),
    }
}

/// How a workflow is ended although something stands in the way.
fn ways_out(workflow: &str, keyspace: &str, all_of_the_source: bool) -> String {
    let end = format!("to end it as it is (rows may be missing): {}", unreadable::way_out((keyspace, workflow)));
    if !all_of_the_source {
        return end;
    }
    format!(
        "without that proof, as when the source is gone for good (rows may be missing): MoveTables --workflow {workflow} \
         --target-keyspace {keyspace} complete --ignore-source-keyspace\n{end}"
    )
}
