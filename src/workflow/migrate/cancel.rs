//! Cancel: the target as it was before create. With kept data it only ends the workflow.

use vtmigrated_proto::vtctldata::WorkflowDeleteResponse;
use vtmigrated_proto::vtctldata::workflow_delete_response::TabletInfo;

use super::super::{Error, Result, names, traffic};
use super::cleanup::{Removal, Tables};
use super::complete::Found;
use super::create::locks;
use super::{DELETE_ACTION, readiness};
use crate::context::Context;
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
    result
}

async fn cancel_locked(context: &Context, arguments: &Arguments, lock: &Lock) -> Result<WorkflowDeleteResponse> {
    let Arguments { keyspace, workflow, keep_data } = arguments;
    let found = async { Found::read(context, keyspace, workflow).await };
    let rules = async { Ok(topo::routing_rules::get(context.topo.global()).await?) };
    let (found, rules) = futures::future::try_join(found, rules).await?;
    let completing = found.record.as_ref().is_some_and(|stored| stored.facts.completing);
    if !keep_data && (completing || readiness::any_frozen(&found.rows)) {
        let text = format!(
            "cannot delete workflow {workflow} in keyspace {keyspace}: its complete has begun, and the tables may hold new rows"
        );
        let help = format!("finish it with: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
        return Err(Error::precondition("COMPLETE_HAS_BEGUN", text, help));
    }
    if traffic::writes_switched(&found.origin.keyspace, &found.origin.tables, &rules) {
        let text = "cannot delete workflow because you have already switched write traffic";
        return Err(Error::precondition("WRITES_SWITCHED", text, "see GetRoutingRules"));
    }
    removal(context, &found, arguments, lock).run().await?;
    let shards = found.target.keyspace.shards.iter().enumerate();
    let detail = |(at, shard): (usize, &super::super::streams::TargetShard)| TabletInfo {
        tablet: shard.record.value.primary_alias.clone(),
        deleted: found.rows.iter().any(|row| row.shard == at),
    };
    Ok(WorkflowDeleteResponse { summary: summary(&found, arguments), details: shards.map(detail).collect() })
}

fn removal<'a>(context: &'a Context, found: &'a Found, arguments: &'a Arguments, lock: &'a Lock) -> Removal<'a> {
    let shards = found.target.keyspace.shards.iter();
    let mut removal = match &found.record {
        Some(stored) => Removal::from_facts(context, lock, &found.target, &arguments.workflow, &stored.facts),
        // made by stock: as stock would do it, and its denied tables too
        None => Removal {
            context,
            lock,
            target: &found.target,
            workflow: &arguments.workflow,
            with_streams: Vec::new(),
            tables: shards
                .clone()
                .map(|s| (s.name.clone(), Tables { drop: found.origin.tables.clone(), empty: Vec::new() }))
                .collect(),
            vschema_tables: match &found.vschema {
                Some(record) if !record.value.sharded => found.origin.tables.clone(),
                _ => Vec::new(),
            },
            denied: found.denied(),
            restore_keys: false,
        },
    };
    let with_rows = |at: usize| found.rows.iter().any(|row| row.shard == at);
    removal.with_streams =
        shards.enumerate().filter(|(at, _)| with_rows(*at)).map(|(_, shard)| shard.name.clone()).collect();
    if arguments.keep_data {
        removal.tables = Vec::new();
        removal.vschema_tables = Vec::new();
        removal.restore_keys = true;
    }
    removal
}

fn summary(found: &Found, arguments: &Arguments) -> String {
    let Arguments { keyspace, workflow, keep_data } = arguments;
    let tables = found.origin.tables.len();
    let data = if *keep_data { "kept" } else { "removed" };
    format!("Successfully cancelled the {workflow} workflow in the {keyspace} keyspace ({tables} tables {data})")
}
