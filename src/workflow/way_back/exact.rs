//! What going back has to prove where the cut was not exact. The source may lack rows of the target then: what clients change in them
//! changes nothing there, and no stream tells.

use crate::context::Context;
use crate::error::check;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::names::back::{command, vdiff_command};
use crate::workflow::record::way_back::Facts;
use crate::workflow::{Error, Result};

/// What blocks going back until a VDiff has found both sides equal since clients have one of them only, or warns where the server was
/// told to go on without proofs. `equal_since` is when the last VDiff began, if it [found that](crate::workflow::checks::complete::diffs::equal_since).
pub(super) fn unproven(
    context: &Context,
    names: (&str, &str),
    facts: &Facts,
    equal_since: Option<i64>,
) -> Option<Finding> {
    // older versions did not note when it was opened
    let one_sided = facts.opened.max(facts.since);
    let is_exact = !facts.both_written && !facts.inexact;
    if is_exact || equal_since.is_some_and(|since| since >= one_sided) {
        return None;
    }
    let cause = "clients could write to the source after the target had read it for the last time, and no VDiff has found since that both \
                 have the same rows: going back would lose what clients of the target have changed in rows that the source lacks";
    let fix = format!(
        "compare the rows, and fix those that differ, before you go back: {} --wait; or stay with the target: {}",
        vdiff_command("create", names),
        command("cancel", names)
    );
    let subject = format!("workflow {}.{}", names.0, names.1);
    let severity = if context.options.allow_unfinished_complete { Severity::Warns } else { Severity::Blocks };
    Some(Finding { severity, ..Finding::new(&check::WAY_BACK_BOTH_WRITTEN, subject, cause, fix) })
}

/// The same as a refusal.
///
/// # Errors
/// `WAY_BACK_BOTH_WRITTEN`.
pub(super) fn refuse(context: &Context, names: (&str, &str), facts: &Facts, equal_since: Option<i64>) -> Result<()> {
    match unproven(context, names, facts, equal_since) {
        Some(Finding { severity: Severity::Blocks, id, cause, fix, .. }) => {
            let text = format!("cannot go back with workflow {}.{}: {cause}", names.0, names.1);
            Err(Error::precondition(id, text, fix))
        }
        warned => {
            warned.into_iter().for_each(|finding| tracing::warn!(check = finding.id.as_str(), "{}", finding.cause));
            Ok(())
        }
    }
}
