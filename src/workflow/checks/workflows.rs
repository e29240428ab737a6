//! What other workflows, and earlier ones, have to do with the tables.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::binlogdata::VReplicationWorkflowType;

use super::servers::Server;
use crate::error::check;
use crate::workflow::findings::Finding;
use crate::workflow::names;
use crate::workflow::record::{Facts, Phase, Stored};
use crate::workflow::streams::{Keyspace, ShardWorkflow, TargetShard, brought, is_frozen};

/// Streams of other workflows that write one of the tables on the target. Those that are stopped for good write no more, but those of a
/// Migrate may run on as long as clients are denied the table.
pub fn others_on_tables(target: &Keyspace, rows: &[ShardWorkflow], workflow: &str, tables: &[String]) -> Vec<Finding> {
    let mut found: BTreeMap<(String, String), Finding> = BTreeMap::new();
    let tables: BTreeSet<&String> = tables.iter().collect();
    for row in rows.iter().filter(|row| row.found.workflow != workflow) {
        let is_migrate = row.found.workflow_type() == VReplicationWorkflowType::Migrate;
        let shard = target.shards.get(row.shard).filter(|_| is_migrate);
        let denied = shard.map(TargetShard::denied).unwrap_or_default();
        for (table, name, stream) in brought([row]).filter(|(table, _, _)| tables.contains(table)) {
            let frozen = is_frozen(stream);
            if !frozen || denied.contains(&table) {
                let finding = in_other_workflow(&target.name, &table, name, frozen);
                found.entry((table, name.to_owned())).or_insert(finding);
            }
        }
    }
    found.into_values().collect()
}

fn in_other_workflow(keyspace: &str, table: &str, name: &str, frozen: bool) -> Finding {
    let (cause, fix) = match frozen {
        true => (
            format!(
                "table {table} of keyspace {keyspace} is brought by workflow {name}, whose streams were stopped for good and may run on \
                 while clients are denied the table"
            ),
            format!(
                "finish that workflow, or end it and keep its tables: Migrate --target-keyspace {keyspace} --workflow {name} complete, \
                 Workflow --keyspace {keyspace} delete --workflow {name} --keep-data"
            ),
        ),
        false => (
            format!("table {table} of keyspace {keyspace} is written by the streams of workflow {name}"),
            format!("end that workflow first: Workflow --keyspace {keyspace} show --workflow {name}"),
        ),
    };
    let fix = format!("{fix}; or leave the table out with --exclude-tables");
    Finding::new(&check::TABLE_IN_OTHER_WORKFLOW, format!("table {table}"), cause, fix)
}

/// A record of this name that no stream belongs to.
pub fn leftover_record(keyspace: &str, workflow: &str, record: Option<&Stored>, rows: usize) -> Option<Finding> {
    record.filter(|stored| stored.facts.phase == Phase::Created && rows == 0)?;
    let cause = format!("an earlier workflow {workflow} of keyspace {keyspace} left its record, and no stream");
    let fix = format!(
        "create writes it anew and takes over what the earlier one denied; to be rid of it instead, and keep all tables: Workflow \
         --keyspace {keyspace} delete --workflow {workflow} --keep-data"
    );
    Some(Finding::new(&check::LEFTOVER_RECORD, format!("workflow {keyspace}.{workflow}"), cause, fix))
}

/// The source of a workflow when it is not the one that its create has read: `created` tells which making of the keyspace's record
/// there is now, as in [`crate::topo::Node::created`].
pub fn mount_changed(facts: &Facts, created: Option<i64>) -> Option<Finding> {
    let (then, now) = (facts.source_created?, created?);
    if then == now {
        return None;
    }
    let (mount, keyspace) = (&facts.mount, &facts.source.0);
    let cause = format!(
        "mount {mount} does not lead to the keyspace {keyspace} that create has read: it is another cluster's, or was deleted \
         and made anew, and where it is tells nothing of what the streams have read"
    );
    let fix = "let the mount lead to where it led then (Mount show, Mount register), or cancel the workflow and create it \
                again";
    Some(Finding::new(&check::MOUNT_CHANGED, format!("mount {mount}"), cause, fix))
}

/// Copy states without a stream.
pub fn leftover_copy_states(servers: &[Server]) -> Vec<Finding> {
    let orphans = |server: &Server| {
        let ids = &server.answers.as_ref().ok()?.orphans;
        let cause =
            format!("tablet {} keeps copy states of streams that are gone: {}", server.alias, names::some(ids, ", "));
        let which = match ids.len() {
            0..=names::NAMED => format!("in ({})", ids.join(", ")),
            _ => "not in (select id from _vt.vreplication)".to_owned(),
        };
        let fix = format!(
            "cancel first the workflow that complete refuses for them (COPYING), if there is one; then delete them in its MySQL: \
             delete from _vt.copy_state where vrepl_id {which}"
        );
        let subject = format!("tablet {}", server.alias);
        (!ids.is_empty()).then(|| Finding::new(&check::LEFTOVER_COPY_STATE, subject, cause, fix))
    };
    servers.iter().filter_map(orphans).collect()
}

/// Tables that are denied on the target before create denies them, less those whose denial is the workflow's by its facts.
pub fn denied_already(target: &Keyspace, tables: &[String], facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for shard in &target.shards {
        let ours: BTreeSet<&String> = facts.denied_on(&shard.name).iter().collect();
        let denied = shard.denied();
        let others = tables.iter().filter(|table| denied.contains(*table) && !ours.contains(table));
        let denied: Vec<&str> = others.map(String::as_str).collect();
        if denied.is_empty() {
            continue;
        }
        let (keyspace, name) = (&target.name, &shard.name);
        let cause = format!(
            "shard {keyspace}/{name} denies writes to tables of this workflow already: {}",
            names::some(&denied, ", ")
        );
        let fix = format!(
            "complete will leave that as it is; to lift it: SetShardTabletControl --remove --denied-tables {} {keyspace}/{name} \
             primary",
            names::argument(&denied)
        );
        found.push(Finding::new(&check::ALREADY_DENIED, format!("shard {keyspace}/{name}"), cause, fix));
    }
    found
}

#[cfg(test)]
mod tests;
