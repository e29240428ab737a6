//! The proof that nothing of the source is lost, and, for a way back, that clients cannot write there any more when it is made.

use super::{CompleteNotes, ExistingWorkflow, step};
use crate::context::Context;
use crate::topo::Lock;
use crate::workflow::reads::source::AskedSource;
use crate::workflow::way_back::kept_out;
use crate::workflow::way_back::opening::Opening;
use crate::workflow::{Result, readiness};

/// Proves that the streams have all that the source has, unless the target has it already. For a way back that is to be opened the cut is
/// exact: when that is proven clients are kept from the source, and it is proven once more, for which they are kept waiting a shorter
/// time.
///
/// # Errors
/// Refused with what blocks; the denial is there still.
pub(super) async fn prove(
    context: &Context,
    found: &mut ExistingWorkflow,
    workflow: &str,
    (source, ignore_source): (Option<AskedSource>, bool),
    lock: &Lock,
    (opening, told): (&mut Option<Opening<'_>>, &mut CompleteNotes),
) -> Result<()> {
    if found.handed_over() {
        return Ok(());
    }
    // what the source had before it was read for the way back is of a while ago
    let source = source.filter(|_| opening.is_none());
    let until = opening.as_ref().and_then(Opening::until);
    let proven = ready(context, found, workflow, (source, ignore_source, false), lock, told);
    kept_out::within(until, Box::pin(proven)).await?;
    let Some(opening) = opening else { return Ok(()) };
    if let Some(step) = step::denial(found) {
        tracing::info!(step, "complete");
    }
    if Box::pin(opening.deny(lock)).await {
        let proven = ready(context, found, workflow, (None, ignore_source, true), lock, told);
        kept_out::within(opening.until(), Box::pin(proven)).await?;
    }
    if context.options.allow_unfinished_complete || !told.ignored.is_empty() {
        opening.goes_on_unproven();
    }
    Ok(())
}

async fn ready(
    context: &Context,
    found: &mut ExistingWorkflow,
    workflow: &str,
    (source, ignore_source, is_denied): (Option<AskedSource>, bool, bool),
    lock: &Lock,
    told: &mut CompleteNotes,
) -> Result<()> {
    if context.options.allow_unfinished_complete {
        return Ok(());
    }
    let ready = match is_denied {
        false => Box::pin(readiness::check(context, found, workflow, (source, ignore_source), lock)).await?,
        true => Box::pin(readiness::check_denied(context, found, workflow, ignore_source, lock)).await?,
    };
    (found.rows, told.ignored, told.unchecked) = (ready.rows, ready.ignored, ready.unchecked);
    Ok(())
}
