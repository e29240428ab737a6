//! Complete: check everything, stop the streams for good, hand the tables over, delete the streams last.

mod step;

use futures::future::join;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::vtctldata::MoveTablesCompleteResponse;

use super::super::preflight::{DryRun, Finding, Report, told};
use super::super::record::{self, Facts, Stored};
use super::super::streams::FROZEN;
use super::super::verdict::positions::is_snapshot;
use super::super::{Error, Result, names};
use super::cleanup::{self, state_change};
use super::create::locks;
use super::{COMPLETE_ACTION, Found, readiness};
use crate::context::{Context, End};
use crate::error::Code;
use crate::topo::{self, Expect, Lock};
use readiness::Asked;
use step::Step;

/// What complete was asked to do.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub keyspace: String,
    pub workflow: String,
    pub dry_run: bool,
    /// The caller insists: what only the source can prove is not waited for.
    pub ignore_source: bool,
}

/// What complete did.
#[derive(Clone, Debug, Default)]
pub struct Completed {
    pub response: MoveTablesCompleteResponse,
    /// What would have blocked, had the caller not insisted: check, subject, cause.
    pub ignored: Vec<String>,
}

/// Ends a workflow whose data is to stay. Repeating it after an interruption finishes the job.
///
/// # Errors
/// Refused with the reasons when something is not copied or not applied yet.
pub async fn complete(context: &Context, arguments: &Arguments) -> Result<Completed> {
    let Arguments { keyspace, workflow, dry_run, ignore_source } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    if *dry_run {
        let found = Found::read(context, keyspace, workflow).await?;
        let response = dry_run_answer(keyspace, workflow, &found)?;
        if !found.handed_over() && !context.options.allow_unfinished_complete {
            readiness::refuse(context, &found, workflow, *ignore_source).await?;
        }
        return Ok(Completed { response, ignored: Vec::new() });
    }
    let locked = async {
        let lock = locks(context, keyspace, workflow, COMPLETE_ACTION).await?;
        let found = Found::read(context, keyspace, workflow).await;
        Ok::<_, Error>((lock, found))
    };
    // the source is asked meanwhile: its position now is the one that the streams must have reached
    let (locked, source) = join(locked, readiness::source_by_record(context, keyspace, workflow)).await;
    let (lock, found) = locked?;
    let cells = found.as_ref().map(|found| found.target.keyspace.cells.clone()).unwrap_or_default();
    let result = match found {
        Ok(found) => complete_locked(context, found, workflow, (source, *ignore_source), &lock).await,
        Err(error) => Err(error),
    };
    if let Err(error) = lock.release().await {
        tracing::warn!("the locks of complete were not given back: {error}");
    }
    context.changes.make();
    let ignored = result?;
    context.changes.end(keyspace, workflow, End::Completed);
    Ok(completed(keyspace, workflow, &told(&cells), &ignored))
}

/// The answer. What was ignored stands in it, for nothing else of the workflow is left to tell.
fn completed(keyspace: &str, workflow: &str, cells: &str, ignored: &[Finding]) -> Completed {
    let ignored: Vec<String> = ignored.iter().map(|f| format!("{} {}: {}", f.id, f.subject, f.cause)).collect();
    let mut summary = format!("Successfully completed the {workflow} workflow in the {keyspace} keyspace{cells}");
    if !ignored.is_empty() {
        summary = format!("{summary}; ignored as --ignore-source-keyspace asks: {}", ignored.join("; "));
    }
    Completed { response: MoveTablesCompleteResponse { summary, dry_run_results: Vec::new() }, ignored }
}

async fn complete_locked(
    context: &Context,
    mut found: Found,
    workflow: &str,
    (source, ignore_source): (Option<Asked>, bool),
    lock: &Lock,
) -> Result<Vec<Finding>> {
    // that there is something to complete
    step::steps(&found, workflow)?;
    found.refuse_shared("complete", workflow, found.handed_over())?;
    let mut ignored = Vec::new();
    if !found.handed_over() && !context.options.allow_unfinished_complete {
        let ready = readiness::check(context, &mut found, workflow, (source, ignore_source), lock).await?;
        (found.rows, ignored) = (ready.rows, ready.ignored);
    }
    let keyspace = &found.target.keyspace.name;
    for step in step::steps(&found, workflow)? {
        tracing::info!(step = %step, "complete");
        let done = execute(context, &found, workflow, lock, &step).await;
        done.map_err(|e| e.doing(format!("failed to finalize the {workflow} workflow in the {keyspace} keyspace")))?;
    }
    Ok(ignored)
}

async fn execute(context: &Context, found: &Found, workflow: &str, lock: &Lock, step: &Step) -> Result<()> {
    let global = context.topo.global();
    let target = &found.target;
    match step {
        Step::MarkCompleting => match found.noting_streams() {
            Some(Stored { facts, version }) => {
                let mut streams = found.rows.iter().flat_map(|row| &row.found.streams);
                let snapshot = streams.all(|stream| is_snapshot(stream, Some(&facts)));
                let facts = Facts { completing: true, snapshot, ..facts };
                let names = (target.keyspace.name.as_str(), workflow);
                record::put(global, names, &facts, version, lock).await.map(|_| ())
            }
            None => Ok(()),
        },
        Step::Freeze { .. } => freeze(context, found, workflow, lock).await,
        Step::AddToVSchema => match found.vschema.clone() {
            Some(record) => {
                let tables: Vec<_> = found
                    .origin
                    .tables
                    .iter()
                    .map(|name| (name.clone(), vtmigrated_proto::vschema::Table::default()))
                    .collect();
                Ok(topo::vschema::add_tables(global, record, &tables, lock).await.map(|_| ())?)
            }
            None => Ok(()),
        },
        Step::RebuildServing { .. } => Ok(topo::srv_vschema::rebuild_reachable(global, &target.keyspace.cells).await?),
        Step::LiftDenied { .. } => {
            let mark =
                found.noting_streams().filter(|stored| !stored.facts.handed_over).map(|Stored { facts, .. }| {
                    let facts = Facts { completing: true, handed_over: true, ..facts };
                    record::write((target.keyspace.name.as_str(), workflow), &facts, Expect::Any)
                });
            let mark = mark.into_iter().collect::<Result<Vec<_>>>()?;
            cleanup::lift_denied_with(context, lock, target, &found.denied(), mark).await
        }
        Step::DeleteStreams { .. } if context.options.allow_unfinished_complete => {
            cleanup::give_keys_back(context, lock, target, workflow).await?;
            cleanup::delete_rows(context, lock, target, workflow).await
        }
        Step::DeleteStreams { .. } => cleanup::delete_rows(context, lock, target, workflow).await,
        Step::DeleteRecord { .. } => record::delete(global, &target.keyspace.name, workflow, lock).await,
    }
}

/// Stops every stream, marks it so that tablets refuse to start it, and sees that it is so.
async fn freeze(context: &Context, found: &Found, workflow: &str, lock: &Lock) -> Result<()> {
    let keyspace = &found.target.keyspace;
    lock.check().await?;
    let request = state_change(workflow, State::Stopped, Some(FROZEN));
    let with_streams = |at: usize| found.rows.iter().any(|row| row.shard == at);
    let shards = keyspace.shards.iter().enumerate().filter(|(at, _)| with_streams(*at)).map(|(_, shard)| shard);
    cleanup::each(shards, |_, tablet| {
        let request = request.clone();
        async move { context.tablets.update_v_replication_workflow(tablet, request).await.map(|_| ()) }
    })
    .await?;
    let rows = keyspace.workflows(context, &[workflow.to_owned()]).await?;
    let same = readiness::ids(&rows) == readiness::ids(&found.rows);
    if readiness::all_frozen(&rows) && same {
        return Ok(());
    }
    let text = if same { "a stream did not stay stopped" } else { "streams came or went meanwhile" }.to_owned();
    Err(Error::Refused { code: Code::Aborted, reason: "NOT_FROZEN", text, help: "run the command again".into() })
}

/// What complete would do, without locks and without changing anything.
///
/// # Errors
/// What keeps the target from being read, and a workflow that is not there.
pub async fn dry_run(context: &Context, arguments: &Arguments) -> Result<DryRun> {
    let Arguments { keyspace, workflow, ignore_source, .. } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let found = Found::read(context, keyspace, workflow).await?;
    let mut report = Report::default();
    let begun = found.record.as_ref().is_some_and(|stored| stored.facts.completing);
    if (begun || !found.rows.is_empty()) && !found.handed_over() {
        report.extend(readiness::look(context, &found, workflow, *ignore_source).await?);
    }
    let steps = step::steps(&found, workflow)
        .and_then(|steps| found.refuse_shared("complete", workflow, found.handed_over()).map(|()| steps));
    let steps = report.absorb(steps, format!("workflow {keyspace}.{workflow}"))?;
    let steps = steps.filter(|_| report.is_clear() || context.options.allow_unfinished_complete);
    let steps = steps.map(|steps| step::texts(keyspace, &steps)).unwrap_or_default();
    let verdict = if steps.is_empty() { "refused".to_owned() } else { format!("{} steps", steps.len()) };
    let summary = format!("Complete dry run results for workflow {keyspace}.{workflow}: {verdict}");
    Ok(DryRun { summary, steps, report })
}

/// The steps that complete would run, as the stock client prints them.
fn dry_run_answer(keyspace: &str, workflow: &str, found: &Found) -> Result<MoveTablesCompleteResponse> {
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%d %b %y %H:%M UTC").to_string();
    Ok(MoveTablesCompleteResponse {
        summary: format!("Complete dry run results for workflow {keyspace}.{workflow} at {now}"),
        dry_run_results: step::texts(keyspace, &step::steps(found, workflow)?),
    })
}
