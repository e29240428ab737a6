//! Whether complete may go on: what the verdict finds blocking, and the source's position reached.

mod refusal;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join5;

use crate::context::Context;
use crate::deadline;
use crate::error::check;
use crate::topo::Lock;
use crate::workflow::checks::complete::columns::Columns;
use crate::workflow::checks::complete::diffs::{self, Diffs};
use crate::workflow::checks::complete::source::Source;
use crate::workflow::checks::complete::{Evidence, insist};
use crate::workflow::findings::{Finding, Report, Severity};
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::reads::source::{self, Ask, AskedSource, asked};
use crate::workflow::reads::{columns, copy_states, diffs as diff_reads, overrides as override_reads, replicas};
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::{self, Keyspace, ShardWorkflow, any_frozen, ids};
use crate::workflow::writes::thaw;
use crate::workflow::{Error, Result};
use refusal::refusal;

/// How long streams may take to reach the position that the source had when complete was called.
const CATCH_UP: Duration = Duration::from_secs(30);
/// The same once more while clients can write to neither side: a moment ago the streams had all of it.
const CATCH_UP_DENIED: Duration = Duration::from_secs(10);
/// Bound of all that is asked and waited for then.
const DENIED: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// What target and source say at about one moment.
struct CompletionEvidence {
    source: std::result::Result<Source, String>,
    states: Vec<CopyStates>,
    /// Of streams that are gone.
    orphaned: Vec<CopyStates>,
    rows: Vec<ShardWorkflow>,
    diffs: Diffs,
    columns: Vec<(String, Columns)>,
    /// Target shards that did not tell their columns.
    silent: Vec<Finding>,
}

impl CompletionEvidence {
    /// One wave when the source is known, else as many as it takes to ask it. It is asked once more where streams seem to have
    /// applied what it has lost.
    async fn read(
        context: &Context,
        found: &ExistingWorkflow,
        workflow: &str,
        known: Option<AskedSource>,
    ) -> Result<Self> {
        let target = &found.target.keyspace;
        let origin = &found.origin;
        let facts = found.record.as_ref().map(|stored| &stored.facts);
        let names = [workflow.to_owned()];
        let diffs = async {
            let asked = diff_reads::read(context, target, workflow).await;
            asked.settled(context, origin, target, (&found.rows, facts)).await
        };
        let on_target = join5(
            copy_states::of_all(context, target, workflow),
            copy_states::orphaned_of_all(context, target),
            target.workflows(context, &names),
            diffs,
            columns::columns_of(context, target, (&found.rows, facts), &origin.tables),
        );
        let (told, on_target) = futures::future::join(source(context, found, known), on_target).await;
        let (states, orphaned, rows, diffs, (columns, silent)) = on_target;
        let (states, orphaned, rows) = (states?, orphaned?, rows?);
        let mut seen = Self { source: told, states, orphaned, rows, diffs, columns, silent };
        if !seen.evidence(found, workflow).ahead().is_empty() {
            // they may have gone on since it was asked
            seen.source = Box::pin(source(context, found, None)).await;
        }
        Ok(seen)
    }

    fn evidence<'a>(&'a self, found: &'a ExistingWorkflow, workflow: &'a str) -> Evidence<'a> {
        Evidence {
            target: &found.target.keyspace,
            workflow,
            origin: &found.origin,
            rows: &self.rows,
            copying: &self.states,
            orphaned: &self.orphaned,
            source: &self.source,
            columns: Some(&self.columns),
            diffs: &self.diffs,
            facts: found.record.as_ref().map(|stored| &stored.facts),
            earlier: found.earlier.as_ref().map(|stored| &stored.facts),
            vschema: found.judged_vschema(),
        }
    }
}

/// What the source says: what is known already, when it is of the streams' source and of all their shards.
async fn source(
    context: &Context,
    found: &ExistingWorkflow,
    known: Option<AskedSource>,
) -> std::result::Result<Source, String> {
    let streams = replicas::suspects(&found.target.keyspace, &found.rows, streams::now());
    let ask = Ask { streams, ..asked(found) };
    let covers = |known: &AskedSource| {
        let has = |name: &String| known.answer.as_ref().map_or(true, |source| source.shard(name).is_some());
        let tables: BTreeSet<&String> = known.ask.tables.iter().collect();
        (&known.ask.mount, &known.ask.keyspace) == (&ask.mount, &ask.keyspace)
            && ask.shards.iter().all(has)
            && ask.tables.iter().all(|table| tables.contains(table))
    };
    match known {
        Some(known) if covers(&known) => known.answer,
        _ => source::read(context, &ask, None).await,
    }
}

/// A workflow that may be completed.
#[derive(Default)]
pub struct Ready {
    /// Its streams as they were judged.
    pub rows: Vec<ShardWorkflow>,
    /// What would have blocked, had the caller not insisted.
    pub ignored: Vec<Finding>,
    /// What nobody told.
    pub unchecked: Vec<Finding>,
    /// When the last VDiff began, if it found [both sides equal](diffs::equal_since).
    pub equal_since: Option<i64>,
}

/// Proves that nothing blocks, and that everything is applied up to the position that the source had in this call.
///
/// Streams that an earlier complete stopped for good and that are behind run on for it, for nobody could write to the
/// target yet. A caller that insists (`ignore_source`) is spared what only the source can prove, but streams that are
/// well are waited for all the same.
///
/// # Errors
/// Refused with everything that blocks.
pub async fn check(
    context: &Context,
    found: &mut ExistingWorkflow,
    workflow: &str,
    (known, ignore_source): (Option<AskedSource>, bool),
    lock: &Lock,
) -> Result<Ready> {
    prove(context, found, workflow, (known, ignore_source, CATCH_UP), lock).await
}

/// The same once more while clients can write to neither side, which takes half a minute at most.
///
/// # Errors
/// The same; what does not answer in that time.
pub async fn check_denied(
    context: &Context,
    found: &mut ExistingWorkflow,
    workflow: &str,
    ignore_source: bool,
    lock: &Lock,
) -> Result<Ready> {
    let until = deadline::now() + deadline::remaining(DENIED);
    let proving = prove(context, found, workflow, (None, ignore_source, CATCH_UP_DENIED), lock);
    deadline::scope(Some(until), Box::pin(proving)).await
}

async fn prove(
    context: &Context,
    found: &mut ExistingWorkflow,
    workflow: &str,
    (known, ignore_source, within): (Option<AskedSource>, bool, Duration),
    lock: &Lock,
) -> Result<Ready> {
    let seen = CompletionEvidence::read(context, found, workflow, known).await?;
    let first = seen.evidence(found, workflow);
    let (mut all, behind) = (first.judge(), first.behind());
    all.extend(seen.silent.iter().cloned());
    let judged = insist(all, ignore_source);
    let report = Report { findings: judged.findings };
    if report.blocking().any(|finding| !may_wait(finding)) {
        let reasons = report.blocking().chain(&behind).collect();
        return Err(refused(context, (first.target, &seen.rows), workflow, reasons).await);
    }
    report.log("Migrate complete");
    let unchecked = report.findings.iter().filter(|f| f.severity == Severity::Unchecked).cloned().collect();
    let equal_since = diffs::equal_since(&seen.diffs, &found.origin.tables);
    if report.is_clear() && behind.is_empty() {
        return Ok(Ready { rows: seen.rows, ignored: judged.ignored, unchecked, equal_since });
    }
    if !behind.is_empty() && any_frozen(&seen.rows) && found.may_run_on() {
        thaw::run_on(context, found, workflow, lock).await?;
    }
    let (rows, ignored) = wait(context, found, workflow, &seen, (ignore_source, within)).await?;
    let mut all_ignored = judged.ignored;
    all_ignored.retain(|finding| is_ignored_still(finding, &ignored));
    all_ignored.extend(ignored);
    Ok(Ready { rows, ignored: all_ignored, unchecked, equal_since })
}

/// Waits until every stream has reached its source's position, and looks at everything again that may change meanwhile.
/// Answers the streams, and what was ignored.
async fn wait(
    context: &Context,
    found: &ExistingWorkflow,
    workflow: &str,
    seen: &CompletionEvidence,
    (ignore_source, within): (bool, Duration),
) -> Result<(Vec<ShardWorkflow>, Vec<Finding>)> {
    let target = &found.target.keyspace;
    let names = [workflow.to_owned()];
    let evidence = seen.evidence(found, workflow);
    let until = deadline::now() + within;
    let known = ids(&seen.rows);
    loop {
        let rows = target.workflows(context, &names).await?;
        let now = Evidence { rows: &rows, ..evidence };
        let mut all = now.of_streams();
        all.extend(vanished(&target.name, workflow, &known, &rows));
        let of_streams = insist(all, ignore_source);
        let behind = now.behind();
        let report = Report { findings: of_streams.findings };
        let blocking: Vec<&Finding> = report.blocking().chain(&behind).collect();
        let in_vain = blocking.iter().any(|finding| !may_wait(finding));
        let given_up = |of: &Finding| of_streams.ignored.iter().any(|f| f.subject == of.subject && !may_wait(f));
        let over = deadline::now() >= until;
        if blocking.is_empty() || (ignore_source && !in_vain && (over || behind.iter().all(given_up))) {
            let ignored = of_streams.ignored.into_iter().chain(behind).collect();
            return Ok((rows, ignored));
        }
        if in_vain {
            return Err(refused(context, (target, &rows), workflow, blocking).await);
        }
        if over {
            let why = stalled(context, found, &rows, &behind).await;
            let reasons = blocking.into_iter().chain(&why).collect();
            return Err(refused(context, (target, &rows), workflow, reasons).await);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Why streams that did not reach their source's position cannot: what they read from gets nothing itself. Nothing when the
/// source does not tell.
async fn stalled(
    context: &Context,
    found: &ExistingWorkflow,
    rows: &[ShardWorkflow],
    behind: &[Finding],
) -> Vec<Finding> {
    if behind.is_empty() {
        return Vec::new();
    }
    let streams = replicas::suspects(&found.target.keyspace, rows, streams::now());
    let ask = Ask { streams, tables: Vec::new(), ..asked(found) };
    let stalled = source::read(context, &ask, None).await.map(|source| source.stalled).unwrap_or_default();
    let is_behind = |subject: &str| behind.iter().any(|finding| finding.subject == subject);
    stalled.iter().map(|stalled| stalled.finding(is_behind)).collect()
}

/// True for what time alone may fix.
fn may_wait(finding: &Finding) -> bool {
    [check::BEHIND.id, check::SOURCE_REPLICA_STALLED.id].contains(&finding.id)
}

/// True for what says that the source is not what the streams have read any more.
fn is_of_another_source(finding: &Finding) -> bool {
    [check::POSITION_AHEAD.id, check::MOUNT_CHANGED.id].contains(&finding.id)
}

/// True for what was ignored and is not looked at again while complete waits, unless its stream has nothing to ignore any more.
fn is_ignored_still(finding: &Finding, last: &[Finding]) -> bool {
    let says_why = [check::GTID_PURGED.id, check::SOURCE_REPLICA_STALLED.id].contains(&finding.id);
    is_of_another_source(finding) || says_why && last.iter().any(|of| of.subject == finding.subject)
}

/// Streams that were there when complete was called and are not any more.
fn vanished(keyspace: &str, workflow: &str, known: &BTreeSet<(usize, i32)>, rows: &[ShardWorkflow]) -> Option<Finding> {
    let gone: Vec<String> = known.difference(&ids(rows)).map(|(_, id)| id.to_string()).collect();
    if gone.is_empty() {
        return None;
    }
    let text = format!("streams went away while complete waited for them: {}", gone.join(", "));
    let fix = format!("see Workflow --keyspace {keyspace} show --workflow {workflow}, and run complete again");
    Some(Finding::new(&check::STREAM_MISSING, format!("workflow {keyspace}.{workflow}"), text, fix))
}

/// The same at one moment, without waiting for anything: what stands in the way, and what is worth a warning.
pub async fn look(
    context: &Context,
    found: &ExistingWorkflow,
    workflow: &str,
    ignore_source: bool,
) -> Result<Vec<Finding>> {
    let seen = CompletionEvidence::read(context, found, workflow, None).await?;
    let evidence = seen.evidence(found, workflow);
    let mut findings = insist(evidence.judge(), ignore_source).findings;
    findings.extend(seen.silent.iter().cloned());
    findings.extend(evidence.catching_up());
    findings.extend(override_reads::unread(context, &found.target.keyspace, &seen.rows).await);
    Ok(findings)
}

/// Refuses with what stands in the way at this moment.
///
/// # Errors
/// The refusal, and reads of the target that fail.
pub async fn refuse(context: &Context, found: &ExistingWorkflow, workflow: &str, ignore_source: bool) -> Result<()> {
    let report = Report { findings: look(context, found, workflow, ignore_source).await? };
    if report.is_clear() {
        return Ok(());
    }
    let unread = report.findings.iter().filter(|finding| finding.id == check::OVERRIDES_UNREAD.id).collect();
    Err(refusal(&found.target.keyspace, workflow, report.blocking().collect(), unread))
}

/// The refusal. Where streams are behind, overrides that their tablets do not read are told with it: nothing else would say why.
async fn refused(
    context: &Context,
    (target, rows): (&Keyspace, &[ShardWorkflow]),
    workflow: &str,
    reasons: Vec<&Finding>,
) -> Error {
    let is_behind = reasons.iter().any(|finding| finding.id == check::BEHIND.id);
    let unread = if is_behind { override_reads::unread(context, target, rows).await } else { Vec::new() };
    refusal(target, workflow, reasons, unread.iter().collect())
}

#[cfg(test)]
mod tests;
