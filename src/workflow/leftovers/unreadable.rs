//! Records that cannot be read. They go by their keys only: a newer version may read them.

use std::collections::BTreeSet;

use vtmigrated_proto::binlogdata::VReplicationWorkflowType;

use super::clean::changed;
use super::tablets::KeyspaceAnswers;
use super::{Action, Leftover};
use crate::context::Context;
use crate::error::check;
use crate::topo::Lock;
use crate::workflow::Result;
use crate::workflow::findings::{Finding, Severity};
use crate::workflow::record::{self, unreadable};
use crate::workflow::streams::{Keyspace, ShardWorkflow, brought};

/// What there is to tell of a record that cannot be read. It can be cleaned where no stream of its workflow is left: nothing but
/// denied tables may be of it then.
pub fn judge(target: &Keyspace, workflow: &str, why: &str, seen: &KeyspaceAnswers) -> Leftover {
    let keyspace = target.name.as_str();
    let finding = |cause: String, fix: String| {
        let finding = Finding::new(&check::RECORD_UNREADABLE, format!("workflow {keyspace}.{workflow}"), cause, fix);
        Finding { severity: Severity::Warns, ..finding }
    };
    let cause = format!("its record cannot be read: {why}");
    if !seen.all_answered || has_streams(&seen.rows, workflow) {
        let fix = format!(
            "if no newer version goes on with it, end it and keep its tables: {}",
            unreadable::way_out((keyspace, workflow))
        );
        return Leftover::new(finding(cause, fix), None);
    }
    let others: BTreeSet<String> = brought(&seen.rows).map(|(table, _, _)| table).collect();
    let denied = unreadable::still_denied(target, |_, table| others.contains(table));
    let mut leftover = Leftover::new(finding(format!("{cause}; it has no streams{denied}"), String::new()), None);
    leftover.finding.fix =
        format!("if no newer version goes on with it: vtmigrated advise leftovers --clean --only '{}'", leftover.key());
    let (keyspace, workflow, why) = (keyspace.to_owned(), workflow.to_owned(), why.to_owned());
    leftover.action = Some(Action::Unreadable { keyspace, workflow, why });
    leftover
}

/// True when a Migrate of that name has streams; others are of no record.
fn has_streams(rows: &[ShardWorkflow], workflow: &str) -> bool {
    let is_ours = |row: &ShardWorkflow| row.found.workflow_type() == VReplicationWorkflowType::Migrate;
    rows.iter().any(|row| row.found.workflow == workflow && is_ours(row))
}

/// Deletes a record that still cannot be read, for the same reason, and whose workflow still has no streams.
///
/// # Errors
/// `LEFTOVER_CHANGED`, and those of the tablets and the topology.
pub async fn clean(context: &Context, (keyspace, workflow): (&str, &str), why: &str, lock: &Lock) -> Result<()> {
    let global = context.topo.global();
    let target = Keyspace::load(&context.topo, keyspace).await?;
    let rows = target.workflows(context, &[workflow.to_owned()]).await?;
    match record::look(global, keyspace, workflow).await? {
        Some(Err(kept)) if kept.why == why && !has_streams(&rows, workflow) => {
            record::delete_unreadable(global, (keyspace, workflow), &kept, lock).await
        }
        _ => Err(changed()),
    }
}
