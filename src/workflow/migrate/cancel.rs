//! Cancel: the target as it was before create. With kept data it only ends the workflow.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::try_join;
use vtmigrated_proto::vtctldata::WorkflowDeleteResponse;
use vtmigrated_proto::vtctldata::workflow_delete_response::TabletInfo;

use crate::context::{Context, End};
use crate::error::{Code, Explain, Reason, Violation};
use crate::topo::{self, Lock};
use crate::workflow::checks::cells::told;
use crate::workflow::findings::{DryRun, Report};
use crate::workflow::names::{self, back};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::way_back::Phase;
use crate::workflow::record::{self, Facts, unreadable};
use crate::workflow::removal::claim::{Claim, ClaimInputs, KeptTable};
use crate::workflow::removal::ownership::Doubt;
use crate::workflow::removal::quiet::{quieten, restart};
use crate::workflow::removal::{CreatedObjects, Removal, Tables, adopt, entries};
use crate::workflow::streams::ShardWorkflow;
use crate::workflow::traffic::{self, Rules};
use crate::workflow::writes::locks::{DELETE_ACTION, locks};
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::{Error, Result, way_back};

/// How long the source may take to let a way back go.
const WAY_BACK: Duration = Duration::from_secs(20);

/// What cancel was asked to do.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub keyspace: String,
    pub workflow: String,
    pub keep_data: bool,
    /// Empty, or all of the target's shards.
    pub shards: Vec<String>,
}

/// Takes a workflow away. Repeating it after an interruption finishes the job.
///
/// # Errors
/// Refused, with nothing changed, when a table would go that is not proven to be the workflow's: see
/// [`crate::workflow::removal::ownership`].
pub async fn cancel(context: &Context, arguments: &Arguments) -> Result<WorkflowDeleteResponse> {
    let Arguments { keyspace, workflow, .. } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let lock = locks(context, keyspace, workflow, DELETE_ACTION).await?;
    let result = match cancel_locked(context, arguments, &lock).await {
        Err(error) => Err(way_back::opening::left_denied(context, (keyspace, workflow), error).await),
        cancelled => cancelled,
    };
    lock.give_back("cancel").await;
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
    let planned = plan(context, &found, &rules, arguments).await;
    let planned = report.absorb(planned, format!("workflow {keyspace}.{workflow}"))?;
    let mut steps = Vec::new();
    if let Some(Planned { traces, .. }) = planned {
        steps.push(format!("Lock workflow {keyspace}/{workflow} and keyspace {keyspace}"));
        steps.extend(traces.steps(&found.target.keyspace, workflow).iter().map(ToString::to_string));
        steps.push(format!("Unlock keyspace {keyspace} and workflow {keyspace}/{workflow}"));
    }
    let verdict = if report.is_clear() { format!("{} steps", steps.len()) } else { "refused".to_owned() };
    let summary = format!("Cancel dry run results for workflow {keyspace}.{workflow}: {verdict}");
    Ok(DryRun { summary, steps, report })
}

/// Where the data is kept a record that cannot be read is none: there must be a way out.
async fn read(context: &Context, arguments: &Arguments) -> Result<(ExistingWorkflow, Rules)> {
    let Arguments { keyspace, workflow, keep_data, .. } = arguments;
    let found = async {
        match *keep_data {
            true => ExistingWorkflow::look(context, keyspace, workflow).await,
            false => ExistingWorkflow::read(context, keyspace, workflow).await,
        }
    };
    let rules = async { Ok(topo::routing_rules::look(context.topo.global()).await?) };
    try_join(found, rules).await
}

/// What a cancel takes away, and what it leaves.
struct Planned {
    traces: CreatedObjects,
    /// Tables that stay, for nothing proves whose they are: empty ones, and those that somebody made anew meanwhile.
    left: Vec<KeptTable>,
}

/// What is taken away.
///
/// # Errors
/// Refuses what would lose rows that are not proven to be the workflow's.
async fn plan(context: &Context, found: &ExistingWorkflow, rules: &Rules, arguments: &Arguments) -> Result<Planned> {
    let Arguments { keyspace, workflow, keep_data, shards } = arguments;
    let target = &found.target.keyspace;
    if !shards.is_empty() && target.shards.iter().any(|shard| !shards.contains(&shard.name)) {
        let text = format!("cannot delete workflow {workflow} in keyspace {keyspace} on some of its shards");
        let help = "the rest would be half a workflow: leave --shards out";
        return Err(Error::invalid(Reason::SHARDS_OF_WORKFLOW, text, help));
    }
    refuse_switched(found, rules, arguments)?;
    found.refuse_shared("delete", workflow, *keep_data)?;
    if *keep_data {
        let tables = made_anew(context, found).await?;
        return Ok(Planned { traces: traces(found, tables, &[], true), left: Vec::new() });
    }
    found.refuse_way_back("delete", workflow)?;
    let facts = found.record.as_ref().map(|stored| &stored.facts);
    if let Some(facts) = facts.filter(|facts| facts.handed_over) {
        return Err(if facts.keeping { keeps_data(keyspace, workflow) } else { has_begun(keyspace, workflow) });
    }
    let rows: Vec<&ShardWorkflow> = found.rows.iter().collect();
    let tables = found.tables();
    let known = ClaimInputs { target, rows: &rows, facts, tables: &tables };
    let claim = Claim::read(context, known).await?;
    if claim.kept.is_empty() {
        let mut traces = traces(found, claim.tables, &claim.left, false);
        if traces.takes_tables() {
            traces.mark = traces.mark.or(adopt::adopted(context, found, workflow).await?);
        }
        return Ok(Planned { traces, left: claim.left });
    }
    let completing = record::has_begun(&found.rows, facts);
    Err(if completing { has_begun(keyspace, workflow) } else { not_owned(found, arguments, &claim.kept) })
}

/// Refuses to end a workflow to whose tables routing rules send writes, and, unless the data is kept, one of which nobody can tell that.
fn refuse_switched(found: &ExistingWorkflow, rules: &Rules, arguments: &Arguments) -> Result<()> {
    let Arguments { keyspace, workflow, keep_data, .. } = arguments;
    match traffic::writes_switched(&found.origin.keyspace, &found.origin.tables, rules) {
        Ok(true) => {
            let text = "cannot delete workflow because you have already switched write traffic";
            let help = "see GetRoutingRules; take the rules of its tables out with ApplyRoutingRules, or complete it";
            Err(Error::precondition(Reason::WRITES_SWITCHED, text, help))
        }
        Err(why) if !*keep_data => {
            let text = format!(
                "cannot delete workflow {workflow} in keyspace {keyspace}: routing rules may send writes to its tables: {why}"
            );
            let help = format!(
                "{}; GetSrvVSchema tells those that a cell serves; or end the workflow and keep its tables: {}",
                why.help(),
                unreadable::way_out((keyspace, workflow))
            );
            Err(Error::Refused { code: Code::DataLoss, reason: Reason::RULES_UNREADABLE, text, help })
        }
        _ => Ok(()),
    }
}

/// Tables, by shard, that somebody has made anew since a cancel began that was cut off: they have keys of their own.
///
/// # Errors
/// A tablet that has to tell when its tables were made and does not.
async fn made_anew(context: &Context, found: &ExistingWorkflow) -> Result<Vec<(String, Tables)>> {
    let facts = found.record.as_ref().map(|stored| &stored.facts);
    // only streams tell of keys that are owed
    let cut_off = facts.filter(|facts| facts.cancelling && !found.rows.is_empty());
    let Some(facts) = cut_off else { return Ok(Vec::new()) };
    // they are that, too, when the data was handed over meanwhile
    let facts = Facts { handed_over: false, ..facts.clone() };
    let rows: Vec<&ShardWorkflow> = found.rows.iter().collect();
    let tables = found.tables();
    let known = ClaimInputs { target: &found.target.keyspace, rows: &rows, facts: Some(&facts), tables: &tables };
    let only = |(shard, Tables { anew, .. }): (String, Tables)| (shard, Tables { anew, ..Tables::default() });
    Ok(Claim::of_kept(context, known).await?.tables.into_iter().map(only).collect())
}

fn has_begun(keyspace: &str, workflow: &str) -> Error {
    let text = format!(
        "cannot delete workflow {workflow} in keyspace {keyspace}: its complete has begun, and the tables may hold new rows"
    );
    let help = format!("finish it with: Migrate --target-keyspace {keyspace} --workflow {workflow} complete");
    Error::precondition(Reason::COMPLETE_HAS_BEGUN, text, help)
}

fn keeps_data(keyspace: &str, workflow: &str) -> Error {
    let text = format!(
        "cannot delete workflow {workflow} in keyspace {keyspace}: its delete with --keep-data has begun, and clients have its tables"
    );
    let help = format!("repeat that: {}", unreadable::way_out((keyspace, workflow)));
    Error::precondition(Reason::DELETE_HAS_BEGUN, text, help)
}

fn not_owned(found: &ExistingWorkflow, Arguments { keyspace, workflow, .. }: &Arguments, kept: &[KeptTable]) -> Error {
    let begins = if found.rows.is_empty() {
        format!("no streams found in keyspace {keyspace} for {workflow}: only its record is left")
    } else {
        format!("cannot delete workflow {workflow} in keyspace {keyspace}")
    };
    let text = format!("{begins}, and what tables hold cannot be proven to be its own: {}", names::some(kept, "; "));
    let help = format!(
        "to end it and keep its tables: Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data; then drop \
         by hand what nobody needs"
    );
    let violation = |kept: &KeptTable| {
        let subject = format!("table {} on shard {keyspace}/{}", kept.table, kept.shard);
        Violation { reason: Reason::TABLES_NOT_OWNED, subject, text: kept.reason.to_string() }
    };
    let violations = kept.iter().take(names::NAMED).map(violation).collect();
    Error::Blocked { reason: Reason::TABLES_NOT_OWNED, text, help, violations }
}

async fn cancel_locked(context: &Context, arguments: &Arguments, lock: &Lock) -> Result<WorkflowDeleteResponse> {
    let (mut found, rules) = read(context, arguments).await?;
    let workflow = &arguments.workflow;
    let stopped = if arguments.keep_data { Vec::new() } else { quieten(context, lock, &mut found, workflow).await? };
    let planned = match plan(context, &found, &rules, arguments).await {
        Err(refusal) if !stopped.is_empty() => {
            return Err(match restart(context, lock, &found, workflow, &stopped).await {
                Err(error) => Error::NotRestarted { refusal: Box::new(refusal), error: Box::new(error) },
                Ok(()) => refusal,
            });
        }
        planned => planned?,
    };
    let Planned { traces, left } = planned;
    let removal = Removal { context, lock, found: &found, workflow: &arguments.workflow, traces };
    let missed = UnawareReplica::told(&removal.run().await?, refresh::DENIES_STILL);
    let way_back = without_way_back(context, &found, arguments, lock).await;
    let shards = found.target.keyspace.shards.iter().enumerate();
    let detail = |(at, shard): (usize, &crate::workflow::streams::TargetShard)| TabletInfo {
        tablet: shard.record.value.primary_alias.clone(),
        deleted: found.rows.iter().any(|row| row.shard == at),
    };
    let passed_over = passed_over(&found, &rules, arguments);
    let denied = if arguments.keep_data { found.stay_denied() } else { String::new() };
    let denied = if denied.is_empty() { denied } else { format!("; tables stay denied to clients: {denied}") };
    let summary = format!("{}{passed_over}{denied}{way_back}{missed}", summary(&found, arguments, &left));
    Ok(WorkflowDeleteResponse { summary, details: shards.map(detail).collect() })
}

/// Takes away the way back that was prepared for the workflow, unless the target was handed over: then it is on its own. Also what is left
/// of one whose cancel was cut off. What goes wrong is told.
async fn without_way_back(context: &Context, found: &ExistingWorkflow, arguments: &Arguments, lock: &Lock) -> String {
    let names = (arguments.keyspace.as_str(), arguments.workflow.as_str());
    let facts = match &found.way_back {
        Some(Ok(facts)) if matches!(facts.phase, Phase::Prepared | Phase::Noted | Phase::Cancelling) => facts,
        Some(Err(why)) => {
            let command = back::forget_command(names);
            return format!("; its way back is left, for its record cannot be read: {why}; to take it away: {command}");
        }
        _ => return String::new(),
    };
    let taken = tokio::time::timeout(WAY_BACK, way_back::cancel::taken_away(context, names, facts.clone(), lock)).await;
    let why = match taken {
        Ok(Ok((missed, stays))) => {
            return format!(
                "; its way back is taken away, too{stays}{}",
                UnawareReplica::told(&missed, refresh::DENIES_STILL)
            );
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the source did not answer within {} s", WAY_BACK.as_secs()),
    };
    let command = back::command("cancel", names);
    format!("; its way back is left in the source: {why}; to take it away: {command}")
}

/// What is told of rules and of a VSchema that cannot be decoded and that the cancel went on without; empty when there are none.
fn passed_over(found: &ExistingWorkflow, rules: &Rules, arguments: &Arguments) -> String {
    let mut told = String::new();
    if let Err(why) = rules {
        told.push_str(&format!(
            "; nobody looked whether routing rules send writes to its tables: {why}; {}",
            why.help()
        ));
    }
    let added = names::some(added(found, arguments.keep_data), ", ");
    if let Some(why) = found.unread_vschema.as_ref().filter(|_| !added.is_empty()) {
        told.push_str(&format!("; entries of tables may be left in the VSchema ({added}): {why}; {}", why.help()));
    }
    told
}

/// Entries of tables that the workflow may have added to the VSchema, and that go with it.
fn added(found: &ExistingWorkflow, keep_data: bool) -> &[String] {
    match &found.record {
        _ if keep_data => &[],
        Some(stored) if found.is_about_some(&stored.facts) || !found.rows.is_empty() => {
            stored.facts.vschema_tables.as_slice()
        }
        Some(_) => &[],
        // made by stock: as stock would do it
        None => found.origin.tables.as_slice(),
    }
}

fn traces(
    found: &ExistingWorkflow,
    tables: Vec<(String, Tables)>,
    left: &[KeptTable],
    keep_data: bool,
) -> CreatedObjects {
    let with_rows = |at: usize| found.rows.iter().any(|row| row.shard == at);
    let shards = found.target.keyspace.shards.iter().enumerate();
    let left: BTreeSet<&String> = left.iter().map(|left| &left.table).collect();
    let added: Vec<&String> = added(found, keep_data).iter().filter(|table| !left.contains(table)).collect();
    let vschema = found.vschema.as_ref().map(|record| &record.value);
    let vschema_tables = vschema.map(|vschema| entries::removable(vschema, added.iter().copied()));
    CreatedObjects {
        with_streams: shards.filter(|(at, _)| with_rows(*at)).map(|(_, shard)| shard.name.clone()).collect(),
        tables,
        handed_over: keep_data,
        vschema_tables: vschema_tables.unwrap_or_default(),
        taken_from_vschema: vschema.is_some_and(|vschema| entries::some_are_gone(vschema, added)),
        denied: found.denied(),
        denied_for_others: found.denied_for_others(),
        streams_stay: false,
        mark: found.noting_streams(),
        keep_record: found.keeps_earlier(),
    }
}

fn summary(found: &ExistingWorkflow, arguments: &Arguments, left: &[KeptTable]) -> String {
    let Arguments { keyspace, workflow, keep_data, .. } = arguments;
    let staying: BTreeSet<&String> = left.iter().map(|left| &left.table).collect();
    let tables = found.origin.tables.iter().filter(|table| *keep_data || !staying.contains(table)).count();
    let data = if *keep_data { "kept" } else { "removed" };
    let is_anew = |left: &&KeptTable| matches!(left.reason, Doubt::MadeSince | Doubt::NotNoted);
    let (anew, empty): (Vec<&KeptTable>, Vec<&KeptTable>) = left.iter().partition(is_anew);
    let left = [("left, empty", empty), ("left", anew)].map(|(what, tables)| match tables.is_empty() {
        true => String::new(),
        false => format!("; {what}: {}", names::some(&tables, "; ")),
    });
    format!(
        "Successfully cancelled the {workflow} workflow in the {keyspace} keyspace ({tables} tables {data}){}{}{}",
        left.concat(),
        found.without_record(),
        told(&found.target.keyspace.cells)
    )
}
