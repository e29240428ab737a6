//! Complete: check everything, stop the streams for good, hand the tables over, delete the streams last.

mod prove;
mod step;

use futures::future::{join, try_join};
use vtmigrated_proto::vtctldata::MoveTablesCompleteResponse;

use crate::context::{Context, End};
use crate::topo::{self, Lock};
use crate::workflow::checks::cells::told;
use crate::workflow::checks::complete::positions::is_snapshot;
use crate::workflow::findings::{DryRun, Finding, Report};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::reads::source::{self, AskedSource};
use crate::workflow::record::{self, Facts, Stored};
use crate::workflow::way_back::kept_out;
use crate::workflow::way_back::opening::{self, Opening};
use crate::workflow::writes::locks::{COMPLETE_ACTION, locks};
use crate::workflow::writes::refresh::{self, UnawareReplica};
use crate::workflow::writes::{delete, denied, freeze};
use crate::workflow::{Error, Result, names, readiness, removal};
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
    /// What it went on without, each in words: what would have blocked, had the caller not insisted, what could not be
    /// looked at, and replicas that do not know of it.
    pub remarks: Vec<String>,
}

/// What complete has to tell when it is done, for nothing else of the workflow is left to tell.
#[derive(Default)]
struct CompleteNotes {
    ignored: Vec<Finding>,
    unchecked: Vec<Finding>,
    missed: Vec<UnawareReplica>,
    /// Tables that stay denied to clients, in words.
    denied: String,
    /// Diffs under way that were stopped, for they start streams again.
    diffs: Vec<String>,
    /// What became of the way back; empty when none was prepared.
    way_back: String,
    /// A way back was prepared, and is not open.
    not_open: bool,
    /// Clients may write to the source, too, although its tables should be denied.
    on_both_sides: bool,
    /// What clients of the source wrote last may be there alone.
    inexact: bool,
    handing: Handing,
}

/// Whether clients may have the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Handing {
    #[default]
    No,
    /// The transaction was begun.
    Begun,
    Done,
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
        let found = ExistingWorkflow::read(context, keyspace, workflow).await?;
        refuse(&found, workflow)?;
        let response = dry_run_answer(keyspace, workflow, &found)?;
        if !found.handed_over() && !context.options.allow_unfinished_complete {
            readiness::refuse(context, &found, workflow, *ignore_source).await?;
        }
        return Ok(Completed { response, ..Completed::default() });
    }
    let locked = async {
        let lock = locks(context, keyspace, workflow, COMPLETE_ACTION).await?;
        let found = ExistingWorkflow::read(context, keyspace, workflow).await;
        Ok::<_, Error>((lock, found))
    };
    // the source is asked meanwhile: its position now is the one that the streams must have reached
    let (locked, source) = join(locked, source::source_by_record(context, keyspace, workflow)).await;
    let (lock, found) = locked?;
    let cells = found.as_ref().map(|found| found.target.keyspace.cells.clone()).unwrap_or_default();
    let result = match found {
        Ok(found) => {
            Box::pin(complete_locked(context, found, (keyspace, workflow), (source, *ignore_source), &lock)).await
        }
        Err(error) => Err(opening::left_denied(context, (keyspace, workflow), error).await),
    };
    lock.give_back("complete").await;
    context.changes.make();
    let done = result?;
    context.changes.end(keyspace, workflow, End::Completed);
    Ok(done.completed(keyspace, workflow, &told(&cells)))
}

impl CompleteNotes {
    /// The answer.
    fn completed(&self, keyspace: &str, workflow: &str, cells: &str) -> Completed {
        let texts = |findings: &[Finding]| {
            let texts = findings.iter().map(|f| format!("{} {}: {}", f.id, f.subject, f.cause));
            texts.collect::<Vec<_>>().join("; ")
        };
        let mut remarks = Vec::new();
        for (begins, text) in [
            ("ignored as --ignore-source-keyspace asks", texts(&self.ignored)),
            ("not looked at, for nobody told", texts(&self.unchecked)),
            ("stopped a VDiff that would have gone on", self.diffs.join(", ")),
            ("tables stay denied to clients", self.denied.clone()),
        ] {
            if !text.is_empty() {
                remarks.push(format!("{begins}: {text}"));
            }
        }
        let remarked: String = remarks.iter().map(|remark| format!("; {remark}")).collect();
        let missed = UnawareReplica::told(&self.missed, refresh::DENIES_STILL);
        let summary = format!(
            "Successfully completed the {workflow} workflow in the {keyspace} keyspace{remarked}{}{cells}{missed}",
            self.way_back
        );
        if self.not_open {
            remarks.push("the way back is not open".to_owned());
        }
        if self.on_both_sides {
            remarks.push("clients may write to both sides".to_owned());
        }
        if self.inexact {
            remarks.push("the cut was not exact".to_owned());
        }
        if !self.missed.is_empty() {
            let aliases: Vec<&str> = self.missed.iter().map(|missed| missed.alias.as_str()).collect();
            remarks.push(format!("not refreshed: {}", aliases.join(", ")));
        }
        Completed { response: MoveTablesCompleteResponse { summary, dry_run_results: Vec::new() }, remarks }
    }

    /// Whether a complete that failed has handed the target over; `None` when nobody can tell.
    async fn handed_over(&self, context: &Context, names: (&str, &str), error: &Error) -> Option<bool> {
        if self.handing != Handing::Begun {
            return Some(self.handing == Handing::Done);
        }
        let stored = record::find(context.topo.global(), names.0, names.1).await.ok()?;
        if stored.is_some_and(|stored| stored.facts.handed_over) {
            return Some(true);
        }
        nothing_written(error).then_some(false)
    }
}

/// True for the failure of a transaction that was not done, and will not be: one whose answer was lost may be yet.
fn nothing_written(error: &Error) -> bool {
    match error {
        Error::Refused { .. } => true,
        Error::Topo(error) => {
            error.is_no_node() || error.is_conflict() || matches!(error.root(), topo::Error::LockLost(_))
        }
        _ => false,
    }
}

async fn complete_locked(
    context: &Context,
    mut found: ExistingWorkflow,
    (keyspace, workflow): (&str, &str),
    (source, ignore_source): (Option<AskedSource>, bool),
    lock: &Lock,
) -> Result<CompleteNotes> {
    if let Err(error) = refuse(&found, workflow) {
        return Err(opening::left_denied(context, (keyspace, workflow), error).await);
    }
    let mut told = CompleteNotes { denied: found.stay_denied(), ..CompleteNotes::default() };
    let mut opening = match found.to_open() {
        Some(facts) => Some(Box::pin(Opening::begin(context, (keyspace, workflow), facts, Some(&found), lock)).await),
        None => None,
    };
    let asked = (source, ignore_source);
    let proven = Box::pin(prove::prove(context, &mut found, workflow, asked, lock, (&mut opening, &mut told))).await;
    if let Err(error) = proven {
        let Some(opening) = &mut opening else { return Err(error) };
        let error = Box::pin(given_up(error, opening, lock, (keyspace, workflow))).await;
        opening.end().await;
        return Err(error);
    }
    let done = Box::pin(run(context, &found, workflow, lock, (&mut opening, &mut told))).await;
    let done = match (done, &mut opening) {
        (Err(error), Some(opening)) => {
            let handed_over = match found.handed_over() {
                true => Some(true),
                false => told.handed_over(context, (keyspace, workflow), &error).await,
            };
            Err(match handed_over {
                Some(true) => opening::target_serves(error, (keyspace, workflow)),
                Some(false) => Box::pin(given_up(error, opening, lock, (keyspace, workflow))).await,
                None => opening::undecided(error, opening, (keyspace, workflow)),
            })
        }
        (done, _) => done,
    };
    told.way_back = match &mut opening {
        Some(opening) => {
            opening.end().await;
            opening.told()
        }
        None => opening::passed_over(found.way_back.as_ref(), (keyspace, workflow)),
    };
    told.not_open = !told.way_back.is_empty() && !opening.as_ref().is_some_and(Opening::is_open);
    told.on_both_sides = opening.as_ref().is_some_and(Opening::is_on_both_sides);
    told.inexact = opening.as_ref().is_some_and(Opening::is_inexact);
    done.map_err(|e| e.doing(format!("failed to finalize the {workflow} workflow in the {keyspace} keyspace")))?;
    Ok(told)
}

/// Refuses when there is nothing to complete, and when others work on the tables.
fn refuse(found: &ExistingWorkflow, workflow: &str) -> Result<()> {
    step::steps(found, workflow)?;
    if found.handed_over() { Ok(()) } else { found.refuse_shared("complete", workflow, false) }
}

/// A complete that failed before it handed the target over leaves clients the source.
async fn given_up(error: Error, opening: &mut Opening<'_>, lock: &Lock, names: (&str, &str)) -> Error {
    match opening.take_back(lock).await {
        Some(why) => opening::stays_denied(error, &why, names),
        None => error,
    }
}

async fn run(
    context: &Context,
    found: &ExistingWorkflow,
    workflow: &str,
    lock: &Lock,
    (opening, told): (&mut Option<Opening<'_>>, &mut CompleteNotes),
) -> Result<()> {
    for step in step::steps(found, workflow)? {
        tracing::info!(step = %step, "complete");
        let until = opening.as_ref().and_then(Opening::until);
        let hands_over = matches!(step, Step::LiftDenied { .. });
        if hands_over {
            if !found.handed_over() {
                kept_out::check(until)?;
            }
            told.handing = Handing::Begun;
        }
        // what hands the target over is not given up, and nothing that comes after it
        let until = until.filter(|_| told.handing == Handing::No);
        let taken = Box::pin(take(context, found, workflow, lock, (&step, opening, told)));
        kept_out::within(until, taken).await?;
        if hands_over {
            told.handing = Handing::Done;
        }
    }
    Ok(())
}

async fn take(
    context: &Context,
    found: &ExistingWorkflow,
    workflow: &str,
    lock: &Lock,
    (step, opening, told): (&Step, &mut Option<Opening<'_>>, &mut CompleteNotes),
) -> Result<()> {
    match (step, opening.as_mut()) {
        (Step::NotePositions { .. }, Some(opening)) => Box::pin(opening.note(&found.target.keyspace, lock)).await,
        (Step::OpenWayBack { .. }, Some(opening)) => Box::pin(opening.open(lock)).await,
        (Step::StartWayBack { .. }, Some(opening)) => Box::pin(opening.start(lock)).await,
        (step, opening) => Box::pin(execute(context, found, workflow, lock, (step, opening, told))).await?,
    }
    Ok(())
}

async fn execute(
    context: &Context,
    found: &ExistingWorkflow,
    workflow: &str,
    lock: &Lock,
    (step, opening, told): (&Step, Option<&mut Opening<'_>>, &mut CompleteNotes),
) -> Result<()> {
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
        Step::Freeze { .. } => {
            told.diffs = freeze::freeze(context, found, workflow, lock).await?;
            Ok(())
        }
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
        Step::RebuildServing { .. } => {
            let rebuilt = async { Ok(topo::srv_vschema::rebuild_reachable(global, &target.keyspace.cells).await?) };
            try_join(rebuilt, freeze::see_frozen(context, found, workflow)).await.map(drop)
        }
        Step::LiftDenied { .. } => {
            let mut mark = found.mark_handed_over(workflow, false)?;
            mark.extend(opening.and_then(Opening::handed));
            told.missed = denied::hand_over(context, lock, target, &found.denied(), mark).await?;
            Ok(())
        }
        Step::DeleteStreams { .. } => {
            if context.options.allow_unfinished_complete {
                removal::give_keys_back(context, lock, target, workflow).await?;
            }
            delete::delete_streams(context, lock, found, workflow).await?;
            removal::replaced::forget(context, lock, found, workflow, false).await
        }
        Step::DeleteRecord { .. } => record::delete(global, &target.keyspace.name, workflow, lock).await,
        // those of the way back, which is not there
        Step::NotePositions { .. } | Step::OpenWayBack { .. } | Step::StartWayBack { .. } => Ok(()),
    }
}

/// What complete would do, without locks and without changing anything.
///
/// # Errors
/// What keeps the target from being read, and a workflow that is not there.
pub async fn dry_run(context: &Context, arguments: &Arguments) -> Result<DryRun> {
    let Arguments { keyspace, workflow, ignore_source, .. } = arguments;
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let found = ExistingWorkflow::read(context, keyspace, workflow).await?;
    let mut report = Report::default();
    let begun = found.record.as_ref().is_some_and(|stored| stored.facts.completing);
    if (begun || !found.rows.is_empty()) && !found.handed_over() {
        report.extend(readiness::look(context, &found, workflow, *ignore_source).await?);
    }
    let steps = refuse(&found, workflow).and_then(|()| step::steps(&found, workflow));
    let known = report.findings.len();
    let steps = report.absorb(steps, format!("workflow {keyspace}.{workflow}"))?;
    report.forget_retold(known);
    let steps = steps.filter(|_| report.is_clear() || context.options.allow_unfinished_complete);
    let steps = steps.map(|steps| step::texts(&found, &steps)).unwrap_or_default();
    let verdict = if steps.is_empty() { "refused".to_owned() } else { format!("{} steps", steps.len()) };
    let summary = format!("Complete dry run results for workflow {keyspace}.{workflow}: {verdict}");
    Ok(DryRun { summary, steps, report })
}

/// The steps that complete would run, as the stock client prints them.
fn dry_run_answer(keyspace: &str, workflow: &str, found: &ExistingWorkflow) -> Result<MoveTablesCompleteResponse> {
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%d %b %y %H:%M UTC").to_string();
    Ok(MoveTablesCompleteResponse {
        summary: format!("Complete dry run results for workflow {keyspace}.{workflow} at {now}"),
        dry_run_results: step::texts(found, &step::steps(found, workflow)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn only_what_cannot_be_done_later_counts_as_not_done() {
        let place = || "x".to_owned();
        let not_done = [topo::Error::BadVersion(place()), topo::Error::NoNode(place()), topo::Error::LockLost(place())];
        assert!(not_done.into_iter().all(|error| nothing_written(&Error::Topo(error.wrap("a shard")))));
        assert!(nothing_written(&Error::precondition(Reason::PRIMARY_CHANGED, "another primary", "")));
        assert!(!nothing_written(&Error::Topo(topo::Error::Timeout(place()))));
        let lost = topo::Error::Backend { path: place(), detail: "connection reset".into() };
        assert!(!nothing_written(&Error::Topo(lost)));
    }
}
