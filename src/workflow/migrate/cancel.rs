//! Cancel: the target as it was before create. With kept data it only ends the workflow.

use vtmigrated_proto::vschema::RoutingRules;
use vtmigrated_proto::vtctldata::WorkflowDeleteResponse;
use vtmigrated_proto::vtctldata::workflow_delete_response::TabletInfo;

use super::super::preflight::{DryRun, Report, told};
use super::super::{Error, Result, names, traffic};
use super::cleanup::{Removal, Tables, Traces};
use super::complete::Found;
use super::create::locks;
use super::{DELETE_ACTION, readiness};
use crate::context::{Context, End};
use crate::topo::{self, Lock};

/// What cancel was asked to do.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub keyspace: String,
    pub workflow: String,
    pub keep_data: bool,
}

/// Takes a workflow away. Repeating it after an interruption finishes the job.
pub async fn cancel(context: &Context, arguments: &Arguments) -> Result<WorkflowDeleteResponse> {
    let Arguments { keyspace, workflow, .. } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let lock = locks(context, keyspace, workflow, DELETE_ACTION).await?;
    let result = cancel_locked(context, arguments, &lock).await;
    if let Err(error) = lock.release().await {
        tracing::warn!("the locks of cancel were not given back: {error}");
    }
    match &result {
        Ok(_) => context.changes.end(keyspace, workflow, End::Cancelled),
        Err(_) => context.changes.make(),
    }
    result
}

/// What cancel would do, without locks and without changing anything.
///
/// # Errors
/// What keeps the target from being read, and a workflow that is not there.
pub async fn dry_run(context: &Context, arguments: &Arguments) -> Result<DryRun> {
    let Arguments { keyspace, workflow, .. } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let (found, rules) = read(context, arguments).await?;
    let mut report = Report::default();
    report.absorb(may_go(&found, &rules, arguments), format!("workflow {keyspace}.{workflow}"))?;
    let mut steps = Vec::new();
    if report.is_clear() {
        steps.push(format!("Lock workflow {keyspace}/{workflow} and keyspace {keyspace}"));
        let taken = traces(&found, arguments).steps(&found.target.keyspace, workflow);
        steps.extend(taken.iter().map(ToString::to_string));
        steps.push(format!("Unlock keyspace {keyspace} and workflow {keyspace}/{workflow}"));
    }
    let verdict = if report.is_clear() { format!("{} steps", steps.len()) } else { "refused".to_owned() };
    let summary = format!("Cancel dry run results for workflow {keyspace}.{workflow}: {verdict}");
    Ok(DryRun { summary, steps, report })
}

async fn read(context: &Context, arguments: &Arguments) -> Result<(Found, RoutingRules)> {
    let found = async { Found::read(context, &arguments.keyspace, &arguments.workflow).await };
    let rules = async { Ok(topo::routing_rules::get(context.topo.global()).await?) };
    futures::future::try_join(found, rules).await
}

/// Refuses what would lose rows that are the target's own.
fn may_go(found: &Found, rules: &RoutingRules, arguments: &Arguments) -> Result<()> {
    let Arguments { keyspace, workflow, keep_data } = arguments;
    let completing = found.record.as_ref().is_some_and(|stored| stored.facts.completing);
    if !keep_data && (completing || readiness::any_frozen(&found.rows)) {
        let text = format!(
            "cannot delete workflow {workflow} in keyspace {keyspace}: its complete has begun, and the tables may hold new rows"
        );
        let help = format!("finish it with: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
        return Err(Error::precondition("COMPLETE_HAS_BEGUN", text, help));
    }
    if traffic::writes_switched(&found.origin.keyspace, &found.origin.tables, rules) {
        let text = "cannot delete workflow because you have already switched write traffic";
        return Err(Error::precondition("WRITES_SWITCHED", text, "see GetRoutingRules"));
    }
    Ok(())
}

async fn cancel_locked(context: &Context, arguments: &Arguments, lock: &Lock) -> Result<WorkflowDeleteResponse> {
    let (found, rules) = read(context, arguments).await?;
    may_go(&found, &rules, arguments)?;
    let traces = traces(&found, arguments);
    Removal { context, lock, target: &found.target, workflow: &arguments.workflow, traces: &traces }.run().await?;
    let shards = found.target.keyspace.shards.iter().enumerate();
    let detail = |(at, shard): (usize, &super::super::streams::TargetShard)| TabletInfo {
        tablet: shard.record.value.primary_alias.clone(),
        deleted: found.rows.iter().any(|row| row.shard == at),
    };
    Ok(WorkflowDeleteResponse { summary: summary(&found, arguments), details: shards.map(detail).collect() })
}

fn traces(found: &Found, arguments: &Arguments) -> Traces {
    let target = &found.target.keyspace;
    let all = || Tables { drop: found.origin.tables.clone(), empty: Vec::new() };
    let mut traces = match &found.record {
        Some(stored) => Traces::of(target, &stored.facts),
        // made by stock: as stock would do it, and its denied tables too
        None => Traces {
            with_streams: Vec::new(),
            tables: target.shards.iter().map(|s| (s.name.clone(), all())).collect(),
            vschema_tables: match &found.vschema {
                Some(record) if !record.value.sharded => found.origin.tables.clone(),
                _ => Vec::new(),
            },
            denied: found.denied(),
            restore_keys: false,
        },
    };
    let with_rows = |at: usize| found.rows.iter().any(|row| row.shard == at);
    let shards = target.shards.iter().enumerate();
    traces.with_streams = shards.filter(|(at, _)| with_rows(*at)).map(|(_, shard)| shard.name.clone()).collect();
    if arguments.keep_data {
        traces.tables = Vec::new();
        traces.vschema_tables = Vec::new();
        traces.restore_keys = true;
    }
    traces
}

fn summary(found: &Found, arguments: &Arguments) -> String {
    let Arguments { keyspace, workflow, keep_data } = arguments;
    let tables = found.origin.tables.len();
    let data = if *keep_data { "kept" } else { "removed" };
    format!(
        "Successfully cancelled the {workflow} workflow in the {keyspace} keyspace ({tables} tables {data}){}",
        told(&found.target.keyspace.cells)
    )
}
