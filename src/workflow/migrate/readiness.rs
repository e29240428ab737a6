//! Whether complete may go on: what the verdict finds blocking, and the source's position reached.

use std::time::{Duration, Instant};

use futures::future::join4;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;

use super::super::preflight::{Finding, Report};
use super::super::record::{self, Facts};
use super::super::streams::OnShard;
use super::super::verdict::diff::{self, Diffs};
use super::super::verdict::schema::Columns;
use super::super::verdict::source::{self, Ask, Source};
use super::super::verdict::{self, Evidence};
use super::super::{Error, Result};
use super::rows::CopyStates;
use super::{FROZEN, Found};
use crate::context::Context;

/// Bound of what is asked of the source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long streams may take to reach the position that the source had when complete was called.
const CATCH_UP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// Asks the source that a workflow's record tells of; `None` when no record tells.
pub async fn source_by_record(
    context: &Context,
    keyspace: &str,
    workflow: &str,
) -> Option<std::result::Result<Source, String>> {
    let stored = record::find(context.topo.global(), keyspace, workflow).await.ok().flatten()?;
    let Facts { mount, source: (keyspace, shards), tables, .. } = stored.facts;
    if shards.is_empty() {
        return None;
    }
    let ask = Ask { mount, keyspace, shards, tables, sizes: false, within: SOURCE_TIMEOUT };
    Some(source::read(context, &ask, None).await)
}

/// True when complete has begun: every stream is stopped for good.
pub fn all_frozen(rows: &[OnShard]) -> bool {
    let mut streams = rows.iter().flat_map(|row| &row.found.streams).peekable();
    streams.peek().is_some() && streams.all(|s| s.message == FROZEN.as_bytes() && s.state() == State::Stopped)
}

/// True when complete has begun on some stream.
pub fn any_frozen(rows: &[OnShard]) -> bool {
    rows.iter().flat_map(|row| &row.found.streams).any(|s| s.message == FROZEN.as_bytes())
}

/// What target and source say at about one moment.
struct Seen {
    source: std::result::Result<Source, String>,
    states: Vec<CopyStates>,
    rows: Vec<OnShard>,
    diffs: Diffs,
    columns: Vec<(String, Columns)>,
}

impl Seen {
    /// One wave when the source is known, else as many as it takes to ask it.
    async fn read(
        context: &Context,
        found: &Found,
        workflow: &str,
        known: Option<std::result::Result<Source, String>>,
    ) -> Result<Self> {
        let target = &found.target.keyspace;
        let origin = &found.origin;
        let source = async {
            match known {
                Some(known) => known,
                None => {
                    let ask = Ask {
                        mount: origin.mount.clone(),
                        keyspace: origin.keyspace.clone(),
                        shards: origin.shards.clone(),
                        tables: origin.tables.clone(),
                        sizes: false,
                        within: SOURCE_TIMEOUT,
                    };
                    source::read(context, &ask, None).await
                }
            }
        };
        let names = [workflow.to_owned()];
        let on_target = join4(
            verdict::copying(context, target),
            target.workflows(context, &names),
            diff::read(context, target, workflow),
            verdict::columns_of(context, target, &origin.tables),
        );
        let (source, (states, rows, diffs, (columns, _))) = futures::future::join(source, on_target).await;
        Ok(Self { source, states: states?, rows: rows?, diffs, columns })
    }

    fn evidence<'a>(&'a self, found: &'a Found, workflow: &'a str) -> Evidence<'a> {
        Evidence {
            target: &found.target.keyspace,
            workflow,
            origin: &found.origin,
            rows: &self.rows,
            copying: &self.states,
            source: &self.source,
            columns: Some(&self.columns),
            diffs: &self.diffs,
            facts: found.record.as_ref().map(|stored| &stored.facts),
        }
    }
}

/// Proves that nothing blocks, and that everything is applied up to the source's present position.
///
/// A source that cannot be reached is a warning when copying is over and the streams were healthy.
pub async fn check(
    context: &Context,
    found: &Found,
    workflow: &str,
    known: Option<std::result::Result<Source, String>>,
) -> Result<()> {
    let keyspace = &found.target.keyspace;
    let seen = Seen::read(context, found, workflow, known).await?;
    let evidence = seen.evidence(found, workflow);
    let report = Report { findings: evidence.judge() };
    if !report.is_clear() {
        return Err(refusal(&keyspace.name, workflow, report.blocking()));
    }
    report.log("Migrate complete");
    let names = [workflow.to_owned()];
    let until = Instant::now() + CATCH_UP;
    let mut behind = evidence.behind();
    while !behind.is_empty() {
        if Instant::now() >= until {
            return Err(refusal(&keyspace.name, workflow, behind.iter()));
        }
        tokio::time::sleep(POLL).await;
        let rows = keyspace.workflows(context, &names).await?;
        behind = Evidence { rows: &rows, ..evidence }.behind();
    }
    Ok(())
}

/// The same at one moment, without waiting for anything: what stands in the way, and what is worth a warning.
pub async fn look(context: &Context, found: &Found, workflow: &str) -> Result<Vec<Finding>> {
    let seen = Seen::read(context, found, workflow, None).await?;
    let evidence = seen.evidence(found, workflow);
    let mut findings = evidence.judge();
    findings.extend(evidence.catching_up());
    Ok(findings)
}

fn refusal<'f>(keyspace: &str, workflow: &str, reasons: impl Iterator<Item = &'f Finding>) -> Error {
    let reasons: Vec<&Finding> = reasons.collect();
    let texts: Vec<String> = reasons.iter().map(|f| format!("{}: {}", f.subject, f.cause)).collect();
    let mut mends: Vec<String> = Vec::new();
    for finding in reasons.iter().filter(|f| !f.mend.is_empty()) {
        let mend = format!("{}: {}", finding.id, finding.mend);
        if !mends.contains(&mend) {
            mends.push(mend);
        }
    }
    mends.push(format!(
        "to end it all the same and keep the data: Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data"
    ));
    Error::Blocked {
        reason: "WORKFLOW_NOT_DONE",
        text: format!("cannot complete workflow {workflow} in keyspace {keyspace}: {}", texts.join("; ")),
        help: mends.join("\n"),
        violations: reasons.iter().map(|f| (f.id.to_owned(), f.subject.clone(), f.cause.clone())).collect(),
    }
}
