//! GO or NO-GO for `complete`, with the reasons.

use futures::future::{join, join3, try_join4};
use serde::Serialize;
use vtmigrated_proto::vschema::Keyspace as VSchema;

use crate::context::Context;
use crate::error::check;
use crate::workflow::checks::complete::columns::Columns;
use crate::workflow::checks::complete::{Evidence, diffs, summary, tables as table_findings};
use crate::workflow::checks::{sequences, shared};
use crate::workflow::findings::{Finding, Report};
use crate::workflow::reads::columns::columns_of;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::reads::servers::auto_increments;
use crate::workflow::reads::{
    copy_states, diffs as diff_reads, maxima, overrides as override_reads, replicas, sequences as sequence_reads,
    source,
};
use crate::workflow::record::{self, way_back as back_record};
use crate::workflow::streams::{Keyspace, now};
use crate::workflow::{Error, Result, names};

/// The answer to "can this be completed now?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub keyspace: String,
    pub workflow: String,
    /// True when `complete` would not refuse.
    pub go: bool,
    /// `GO`, or `NO-GO (copying, 2 reasons)`.
    pub summary: String,
    /// What the last VDiff found, in one sentence.
    pub vdiff: String,
    /// When it began, if it found [both sides equal](diffs::equal_since).
    #[serde(skip)]
    pub equal_since: Option<i64>,
    pub report: Report,
}

/// Judges a workflow. Nothing is changed, nothing is locked.
///
/// # Errors
/// Stock's `no streams found in keyspace … for …`, and reads of the target that fail.
pub async fn verdict(context: &Context, keyspace: &str, workflow: &str) -> Result<Verdict> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let found = ExistingWorkflow::read(context, keyspace, workflow).await?;
    let theirs = shared::told_of_another((keyspace, workflow), &found.rows);
    let known = theirs.into_iter().chain(refusals(&found, workflow)).collect();
    judged(context, &found, workflow, known).await
}

/// What complete refuses before it looks at the streams' copies and positions.
fn refusals(found: &ExistingWorkflow, workflow: &str) -> Vec<Finding> {
    if found.handed_over() {
        return Vec::new();
    }
    let refused = [found.refuse_disagreement(workflow), found.refuse_shared("complete", workflow, false)];
    let errors = refused.into_iter().filter_map(Result::err);
    errors.map(|error| Finding::of(&error, format!("workflow {workflow}"))).collect()
}

/// The same of a way back of this name, as what it is to the source's cluster, which `context` is of: it is completed by its own command, so
/// that it is another cluster's does not block.
///
/// # Errors
/// The same.
pub(in crate::workflow) async fn of_way_back(
    context: &Context,
    facts: &back_record::Facts,
    workflow: &str,
) -> Result<Verdict> {
    names::check_keyspace("target", &facts.keyspace)?;
    names::check_workflow(workflow)?;
    let found = ExistingWorkflow::read_way_back(context, facts, workflow).await?;
    judged(context, &found, workflow, Vec::new()).await
}

/// `known`: what else blocks it.
async fn judged(context: &Context, found: &ExistingWorkflow, workflow: &str, known: Vec<Finding>) -> Result<Verdict> {
    let target = &found.target.keyspace;
    let facts = found.record.as_ref().map(|stored| &stored.facts);
    let begun = record::has_begun(&found.rows, facts);
    let ask = source::Ask {
        inventory: facts.is_some_and(|facts| facts.left_out.is_some()),
        streams: replicas::suspects(target, &found.rows, now()),
        ..source::asked(found)
    };
    let names = [workflow.to_owned()];
    let columns = columns_of(context, target, (&found.rows, facts), &found.origin.tables);
    let (source, (columns, silent), unread) =
        join3(source::read(context, &ask, None), columns, override_reads::unread(context, target, &found.rows)).await;
    // after the source, so that its position can have been reached
    let diffs = async {
        let asked = diff_reads::read(context, target, workflow).await;
        Ok::<_, Error>(asked.settled(context, &found.origin, target, (&found.rows, facts)).await)
    };
    let states = copy_states::of_all(context, target, workflow);
    let orphaned = copy_states::orphaned_of_all(context, target);
    let (rows, states, orphaned, diffs) = try_join4(target.workflows(context, &names), states, orphaned, diffs).await?;
    let evidence = Evidence {
        target,
        workflow,
        origin: &found.origin,
        rows: &rows,
        copying: &states,
        orphaned: &orphaned,
        source: &source,
        columns: Some(&columns),
        diffs: &diffs,
        facts,
        earlier: found.earlier.as_ref().map(|stored| &stored.facts),
        vschema: found.judged_vschema(),
    };
    let again =
        if evidence.ahead().is_empty() { None } else { Some(Box::pin(source::read(context, &ask, None)).await) };
    let source = again.as_ref().unwrap_or(&source);
    let evidence = Evidence { source, ..evidence };
    let mut findings: Vec<Finding> = known.into_iter().chain(evidence.judge()).collect();
    findings.extend(evidence.catching_up());
    findings.extend(silent);
    findings.extend(unread);
    findings.extend(table_findings::added(
        &found.origin,
        facts,
        source.as_ref().ok().and_then(|told| told.inventory.as_ref()),
    ));
    findings.extend(of_tables(context, found, &columns).await);
    // what blocks comes first, in the order found
    findings.sort_by_key(|finding| finding.severity);
    let report = Report { findings };
    Ok(Verdict {
        keyspace: target.name.clone(),
        workflow: workflow.to_owned(),
        go: report.is_clear(),
        summary: if begun && report.is_clear() {
            "GO (complete has begun: run it again)".into()
        } else {
            summary(&report.findings)
        },
        vdiff: diffs::sentence(&diffs, now()),
        equal_since: diffs::equal_since(&diffs, &found.origin.tables),
        report,
    })
}

/// What only warns of the tables of a workflow: their denials, how vtgate finds them, and where it gets their ids.
async fn of_tables(context: &Context, found: &ExistingWorkflow, columns: &[(String, Columns)]) -> Vec<Finding> {
    let (target, tables) = (&found.target.keyspace, &found.origin.tables);
    let facts = found.record.as_ref().map(|stored| &stored.facts);
    let vschema = found.vschema.as_ref().map(|record| record.value.clone()).unwrap_or_default();
    let mut findings = table_findings::denied(target, tables, facts);
    findings.extend(table_findings::unaware(target, found.unaware()));
    findings.extend(table_findings::unrouted(&vschema, tables));
    let missing = table_findings::without_sequence(&vschema, columns, tables);
    let named = named_sequences(context, target, &vschema, tables);
    let (largest, named) = join(maxima::largest(context, target, &missing), named).await;
    findings.extend(table_findings::sequence_missing(&missing, &largest).into_iter().chain(named));
    findings
}

/// Whether the sequences that the vschema names are there, and begin above what the target holds: at most four waves.
async fn named_sequences(context: &Context, target: &Keyspace, vschema: &VSchema, tables: &[String]) -> Vec<Finding> {
    let named = sequences::of(vschema, tables);
    let columns = sequences::columns(&named);
    let (states, greatest) =
        join(sequence_reads::look(context, &named), auto_increments(context, target, &columns)).await;
    sequences::judge(&states, &greatest, (&check::SEQUENCE_MISSING, &check::SEQUENCE_LOW))
}
