//! Create: check everything, write the record, then tables, streams, start. What a failed create made is taken back.

mod apply;
mod checks;
mod denial;
mod examine;
mod resume;
mod rival;
mod step;
mod take_back;
mod target;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use dashmap::DashMap;
use futures::future::{join3, try_join};
use vtmigrated_proto::vtctldata::WorkflowStatusResponse;

use crate::context::Context;
use crate::error::{Explain, Reason};
use crate::topo::{self, Lock, Topo};
use crate::workflow::checks::batching;
use crate::workflow::checks::cells::{left_out, passed_over};
use crate::workflow::findings::{DryRun, Report};
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::clusters;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::writes::locks::{CREATE_ACTION, locks};
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::{Error, Result, names, status};
use examine::Examined;

/// Makes and, when asked, starts a workflow; answers its status, with what the checks warn of in the traffic line.
///
/// A create that was interrupted goes on when it is repeated with the same arguments.
///
/// # Errors
/// Everything that would lose, double or misplace rows is refused before anything is written.
pub async fn create(context: &Context, arguments: &Arguments) -> Result<WorkflowStatusResponse> {
    let mount = precheck(context, arguments).await?;
    let lock = locks(context, &arguments.target_keyspace, &arguments.workflow, CREATE_ACTION).await?;
    let result = create_locked(context, arguments, &mount, &lock).await;
    lock.give_back("create").await;
    context.changes.make();
    result
}

/// What create would do, without locks and without changing anything.
///
/// # Errors
/// What keeps the clusters from being read.
pub async fn dry_run(context: &Context, arguments: &Arguments) -> Result<DryRun> {
    let mount = precheck(context, arguments).await?;
    let examined = examine::examine(context, arguments, &mount).await?;
    let Examined { situation, facts, sources, report, .. } = &examined;
    let (keyspace, workflow) = (&arguments.target_keyspace, &arguments.workflow);
    let mut steps = Vec::new();
    if report.is_clear() {
        let stages = step::stages(arguments, situation, facts, sources);
        steps.push(format!("Lock workflow {keyspace}/{workflow} and keyspace {keyspace}"));
        steps.extend(stages.iter().flatten().map(ToString::to_string));
        steps.push(format!("Unlock keyspace {keyspace} and workflow {keyspace}/{workflow}"));
    }
    let verdict = if report.is_clear() { format!("{} steps", steps.len()) } else { "refused".to_owned() };
    let summary = format!("Create dry run results for workflow {keyspace}.{workflow}: {verdict}");
    Ok(DryRun { summary, steps, report: examined.report })
}

/// What can be refused without a lock: one wave.
async fn precheck(context: &Context, arguments: &Arguments) -> Result<Arc<Topo>> {
    let keyspace = &arguments.target_keyspace;
    let help = format!(
        "make the keyspace if it is not in GetKeyspaces, and give it a vschema: ApplyVSchema --vschema-file <file> {keyspace}"
    );
    let vschema = async {
        topo::vschema::get(context.topo.global(), keyspace).await.map_err(|error| clusters::missing(error, help))
    };
    let (mount, _) = try_join(clusters::mount(context, &arguments.mount), vschema).await?;
    clusters::open(context, &arguments.mount, &mount.value).await
}

async fn create_locked(
    context: &Context,
    arguments: &Arguments,
    mount: &Topo,
    lock: &Lock,
) -> Result<WorkflowStatusResponse> {
    let examined = examine::examine(context, arguments, mount).await?;
    let Examined { situation, facts, sources, cells, report } = &examined;
    report.refuse()?;
    report.log("Migrate create");
    let creation = apply::Creation {
        context,
        arguments,
        lock,
        situation,
        sources,
        cells,
        made: DashMap::new(),
        inserting: AtomicBool::new(false),
        inserted: OnceLock::new(),
        missed: Mutex::default(),
    };
    creation.run(facts).await?;
    let answer = status::of_created(context, arguments, &situation.target.keyspace);
    // stock may have looked before our streams were there, and inserted its own after they were
    let (answer, rival, kept) = join3(answer, creation.no_rival(), creation.has_its_primaries()).await;
    match rival {
        Err(error) if rival::is_rival(&error) => return Err(creation.take_back(facts, error).await),
        Err(error) => tracing::warn!("nobody could tell whether streams of the same name were added: {error}"),
        Ok(_) => {}
    }
    let mut answer = answer.unwrap_or_else(unread);
    if let Err(error) = kept {
        let fix =
            "see with Migrate status whether its streams are there and run; if not, cancel it and create it again";
        answer.traffic_state.push_str(&format!("\nWarning {}: {error}; {fix}", error.reason()));
    }
    answer.traffic_state.push_str(&batching::reads_text(situation.sides()));
    answer.traffic_state.push_str(&UnawareReplica::told(&creation.missed(), refresh::DENIES_NOT_YET));
    answer.traffic_state.push_str(&passed_over(&situation.target.keyspace.cells));
    Ok(with_warnings(answer, &with_late_cells(report, situation)))
}

/// The report with the cells of the target that were there when it was made and have been left out since.
fn with_late_cells(report: &Report, situation: &ClusterState) -> Report {
    let mut report = report.clone();
    let mut late = left_out(&situation.target.keyspace.cells, "target");
    late.retain(|late| !report.findings.contains(late));
    report.extend(late);
    report
}

/// The answer of a create that has done its work, when its status cannot be read.
fn unread(error: Error) -> WorkflowStatusResponse {
    let traffic_state =
        format!("The workflow is created. Warning {}: its status could not be read: {error}", Reason::STATUS_NOT_READ);
    WorkflowStatusResponse { traffic_state, ..WorkflowStatusResponse::default() }
}

/// The traffic line is the one text of the answer that is free. `vtctldclient Migrate create` prints nothing of it (22.0.4 and 24.0.4): people
/// have the dry run and the log. Each warning says what to do; of many of one check some are told, and all of them in the log.
fn with_warnings(mut answer: WorkflowStatusResponse, report: &Report) -> WorkflowStatusResponse {
    let mut times: BTreeMap<Reason, usize> = BTreeMap::new();
    for warning in report.warnings() {
        let times = times.entry(warning.id).or_default();
        *times += 1;
        if *times > names::NAMED {
            continue;
        }
        answer.traffic_state.push_str(&format!("\nWarning {}: {}", warning.id, warning.cause));
        if !warning.fix.is_empty() {
            answer.traffic_state.push_str(&format!("; {}", warning.fix));
        }
    }
    for (id, times) in times.into_iter().filter(|(_, times)| *times > names::NAMED) {
        let more = times - names::NAMED;
        answer.traffic_state.push_str(&format!("\nWarning {id}: and {more} more, which the server's log tells"));
    }
    answer
}

#[cfg(test)]
mod tests;
