//! The operations' dry runs, with errors on the way as findings.

use super::{cancel as cancelling, complete as completing, create as creating};
use crate::context::Context;
use crate::workflow::Result;
use crate::workflow::findings::{DryRun, Report};
use crate::workflow::plan::arguments;

/// All checks of `Migrate create`, and the steps that it would run.
pub async fn create(context: &Context, arguments: &arguments::Arguments) -> DryRun {
    let of = format!("{}.{}", arguments.target_keyspace, arguments.workflow);
    told("Create", &of, creating::dry_run(context, arguments).await)
}

/// All checks of `Migrate complete`, and the steps that it would run. The streams are not waited for.
pub async fn complete(context: &Context, arguments: &completing::Arguments) -> DryRun {
    let of = format!("{}.{}", arguments.keyspace, arguments.workflow);
    told("Complete", &of, completing::dry_run(context, arguments).await)
}

/// All checks of `Migrate cancel`, and the steps that it would run.
pub async fn cancel(context: &Context, arguments: &cancelling::Arguments) -> DryRun {
    let of = format!("{}.{}", arguments.keyspace, arguments.workflow);
    told("Cancel", &of, cancelling::dry_run(context, arguments).await)
}

fn told(operation: &str, of: &str, result: Result<DryRun>) -> DryRun {
    result.unwrap_or_else(|error| DryRun {
        summary: format!("{operation} dry run results for workflow {of}: refused"),
        steps: Vec::new(),
        report: Report::of(&error, format!("workflow {of}")),
    })
}
