//! GO or NO-GO for `complete`, with the reasons.
//!
//! [`Evidence::judge`] is the one truth about what blocks: `complete` refuses on it, `status` shows it in short, and
//! [`verdict`] adds what only warns.

pub mod diff;
mod insist;
pub mod overrides;
pub(super) mod positions;
pub(in crate::workflow) mod replaced;
pub mod replicas;
pub mod schema;
pub mod source;
mod streams;
mod tables;

use futures::future::{join, join_all, join3, try_join4};
use serde::Serialize;
use vtmigrated_proto::vschema::Keyspace as VSchema;

use crate::context::Context;
use crate::error::check;
use crate::topo;
use crate::workflow::findings::{Finding, Report};
use crate::workflow::migrate::rows::CopyStates;
use crate::workflow::migrate::{Found, copy_states, readiness, recheck};
use crate::workflow::record::{self, Facts, way_back as back_record};
use crate::workflow::streams::now;
use crate::workflow::streams::{Keyspace, OnShard, Origin};
use crate::workflow::{Error, Result, names, preflight, way_back};
use diff::Diffs;
use positions::Positions;
use schema::Columns;
use source::Source;

pub use insist::{insist, is_of_the_source};
pub(in crate::workflow) use tables::{denied, stay_denied};

/// What helps where a tablet did not tell.
pub(in crate::workflow) const ASK_AGAIN: &str = "see that the shard's primary answers, then ask again";

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
    /// When it began, if it found [both sides equal](diff::equal_since).
    #[serde(skip)]
    pub equal_since: Option<i64>,
    pub report: Report,
}

/// What a judgement is made from, as read at about one moment.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub target: &'a Keyspace,
    pub workflow: &'a str,
    pub origin: &'a Origin,
    pub rows: &'a [OnShard],
    /// Tables still to be copied, for each shard.
    pub copying: &'a [CopyStates],
    /// The same of streams that are gone, whosever they were.
    pub orphaned: &'a [CopyStates],
    /// The error is a text for people.
    pub source: &'a std::result::Result<Source, String>,
    /// Columns of the target's shards; `None` when they were not asked for.
    pub columns: Option<&'a [(String, Columns)]>,
    pub diffs: &'a Diffs,
    pub facts: Option<&'a Facts>,
    /// A record of the workflow's name that is an earlier workflow's.
    pub earlier: Option<&'a Facts>,
    /// The target's vschema; `None` when it has none, an error when it cannot be decoded.
    pub vschema: std::result::Result<Option<&'a VSchema>, &'a topo::Error>,
}

impl Evidence<'_> {
    /// Everything that speaks against completing, and what else these facts tell. What blocks may be ignored when the
    /// caller insists: [`insist`]. Whether the streams have reached the source's position is apart, for that may be waited
    /// for: [`Self::behind`].
    pub fn judge(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.facts.is_some_and(|facts| facts.keeping) {
            let (keyspace, workflow) = (&self.target.name, self.workflow);
            let mend = format!("repeat it: Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data");
            let cause = "its delete with --keep-data has begun, and clients have its tables, copied or not";
            found.push(Finding::new(&check::CANCEL_HAS_BEGUN, format!("workflow {workflow}"), cause, mend));
        }
        if self.handed_over() {
            return found;
        }
        if self.facts.is_some_and(Facts::is_unfinished) {
            let keyspace = &self.target.name;
            let mend = format!(
                "repeat create with the same arguments, or take it back with: Migrate --target-keyspace {keyspace} --workflow {} cancel",
                self.workflow
            );
            let subject = format!("workflow {}", self.workflow);
            found.push(Finding::new(&check::CREATE_UNFINISHED, subject, "its create was interrupted", mend));
        }
        if self.facts.is_some_and(|facts| facts.cancelling) {
            let keyspace = &self.target.name;
            let mend = format!(
                "repeat it: Migrate --target-keyspace {keyspace} --workflow {0} cancel; or end it and keep its tables: Workflow \
                 --keyspace {keyspace} delete --workflow {0} --keep-data",
                self.workflow
            );
            let cause = "its cancel has begun, and rows of its tables are gone or may be";
            found.push(Finding::new(&check::CANCEL_HAS_BEGUN, format!("workflow {}", self.workflow), cause, mend));
        }
        found.extend(self.of_streams());
        let Positions { ahead, behind, .. } = self.positions();
        found.extend(ahead);
        found.extend(self.mount_changed());
        if let Ok(source) = self.source {
            found.extend(streams::binlogs(self.target, self.rows, source));
            let is_behind = |subject: &str| behind.iter().any(|finding| finding.subject == subject);
            found.extend(source.stalled.iter().map(|stalled| stalled.finding(is_behind)));
            if self.columns.is_some() && source.columns.is_none() {
                let subject = format!("source keyspace {}", self.origin.keyspace);
                let text = "its first shard did not tell the columns of its tables";
                found.push(Finding::new(&check::SCHEMA_UNKNOWN, subject, text, ASK_AGAIN));
            }
        }
        found.extend(diff::judge(self.workflow, &self.target.name, self.diffs, &self.origin.tables, now()));
        let theirs = self.source.as_ref().ok().and_then(|source| source.columns.as_ref());
        if let (Some(theirs), Some(ours)) = (theirs, self.columns) {
            found.extend(schema::drift(theirs, ours, &self.origin.tables));
        }
        found.extend(self.vindexes());
        found
    }

    /// The part of [`Self::judge`] that changes while complete waits: which streams there are, how they do, and what is
    /// not known of their positions.
    pub fn of_streams(&self) -> Vec<Finding> {
        let mut found = streams::missing(self.target, self.rows, self.source, self.facts);
        found.extend(streams::not_brought(self.target, self.rows, &self.origin.tables));
        found.extend(streams::states(self.target, self.rows, self.copying, self.source, self.facts, self.diffs));
        found.extend(replaced::findings(self));
        let positions = self.positions();
        found.extend(positions.unknown);
        found.extend(positions.snapshots);
        found
    }

    /// Whether the source that was asked is another one than create read, for its mount leads elsewhere, or its keyspace was made
    /// anew: where that one is tells nothing of what streams have read before.
    fn mount_changed(&self) -> Option<Finding> {
        let facts = self.facts.filter(|facts| facts.source.0 == self.origin.keyspace)?;
        preflight::mount_changed(facts, self.source.as_ref().ok()?.created)
    }

    /// Whether the streams still choose the rows that the target's vschema wants.
    fn vindexes(&self) -> Vec<Finding> {
        let target = match self.vschema {
            Ok(Some(target)) => target,
            Ok(None) => return Vec::new(),
            Err(why) => return vec![Finding::of(&Error::Topo(why.clone()), format!("keyspace {}", self.target.name))],
        };
        let serving = self.source.as_ref().map(|source| source.serving.as_slice()).unwrap_or_default();
        let sources = self.rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref());
        let against = recheck::Against { target, source_keyspace: &self.origin.keyspace, serving };
        recheck::vindexes(sources, &against)
    }

    /// Streams that have applied what the source has lost. It seems so, too, of one that went on after the source was asked: where
    /// streams were read later than that, it is to be asked once more.
    pub fn ahead(&self) -> Vec<Finding> {
        if self.handed_over() { Vec::new() } else { self.positions().ahead }
    }

    /// Streams that have not reached the position of the source.
    pub fn behind(&self) -> Vec<Finding> {
        if self.handed_over() { Vec::new() } else { self.positions().behind }
    }

    /// The same as warnings: complete waits for them.
    pub fn catching_up(&self) -> impl Iterator<Item = Finding> {
        let (id, severity) = (check::CATCHING_UP.id, check::CATCHING_UP.severity);
        self.behind().into_iter().map(move |finding| Finding { id, severity, ..finding })
    }

    fn positions(&self) -> Positions {
        Positions::of(self.target, self.rows, self.origin, self.source, self.facts)
    }

    /// True when complete has handed the tables over: nothing of the source is waited for any more.
    fn handed_over(&self) -> bool {
        self.facts.is_some_and(|facts| facts.handed_over)
    }
}

/// `GO`, or `NO-GO (copying, 2 reasons)`.
pub fn summary(findings: &[Finding]) -> String {
    let report = Report { findings: findings.to_vec() };
    let blocking: Vec<&Finding> = report.blocking().collect();
    match blocking.as_slice() {
        [] => "GO".into(),
        [only] => format!("NO-GO ({}, 1 reason)", word(only)),
        [first, ..] => format!("NO-GO ({}, {} reasons)", word(first), blocking.len()),
    }
}

fn word(finding: &Finding) -> String {
    finding.id.as_str().to_lowercase().replace('_', " ")
}

/// Columns of some tables on every shard that the workflow with these streams and this record [is about](Keyspace::concerned): one
/// wave. Shards that do not tell are findings.
pub async fn columns_of(
    context: &Context,
    target: &Keyspace,
    (rows, facts): (&[OnShard], Option<&Facts>),
    tables: &[String],
) -> (Vec<(String, Columns)>, Vec<Finding>) {
    let shards = target.concerned(rows, facts).into_iter().map(|(_, shard)| shard);
    let asked = shards.filter_map(|shard| Some((shard, shard.primary.as_ref()?)));
    let asked = asked.map(|(shard, on)| async move { (&shard.name, schema::columns(context, on, tables).await) });
    let (mut columns, mut silent) = (Vec::new(), Vec::new());
    for (shard, answer) in join_all(asked).await {
        match answer {
            Ok(answer) => columns.push((shard.clone(), answer)),
            Err(error) => {
                let subject = format!("shard {}/{shard}", target.name);
                silent.push(Finding::new(&check::SCHEMA_UNKNOWN, subject, error.to_string(), ASK_AGAIN));
            }
        }
    }
    (columns, silent)
}

/// Judges a workflow. Nothing is changed, nothing is locked.
///
/// # Errors
/// Stock's `no streams found in keyspace … for …`, and reads of the target that fail.
pub async fn verdict(context: &Context, keyspace: &str, workflow: &str) -> Result<Verdict> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let found = Found::read(context, keyspace, workflow).await?;
    let theirs = way_back::told_of_another((keyspace, workflow), &found.rows);
    let known = theirs.into_iter().chain(refusals(&found, workflow)).collect();
    judged(context, &found, workflow, known).await
}

/// What complete refuses before it looks at the streams' copies and positions.
fn refusals(found: &Found, workflow: &str) -> Vec<Finding> {
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
    let found = Found::read_way_back(context, facts, workflow).await?;
    judged(context, &found, workflow, Vec::new()).await
}

/// `known`: what else blocks it.
async fn judged(context: &Context, found: &Found, workflow: &str, known: Vec<Finding>) -> Result<Verdict> {
    let target = &found.target.keyspace;
    let facts = found.record.as_ref().map(|stored| &stored.facts);
    let begun = record::has_begun(&found.rows, facts);
    let ask = source::Ask {
        inventory: facts.is_some_and(|facts| facts.left_out.is_some()),
        streams: replicas::suspects(target, &found.rows, now()),
        ..readiness::asked(found)
    };
    let names = [workflow.to_owned()];
    let columns = columns_of(context, target, (&found.rows, facts), &found.origin.tables);
    let (source, (columns, silent), unread) =
        join3(source::read(context, &ask, None), columns, overrides::unread(context, target, &found.rows)).await;
    // after the source, so that its position can have been reached
    let diffs = async {
        let asked = diff::read(context, target, workflow).await;
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
    findings.extend(tables::added(&found.origin, facts, source.as_ref().ok().and_then(|told| told.inventory.as_ref())));
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
        vdiff: diff::sentence(&diffs, now()),
        equal_since: diff::equal_since(&diffs, &found.origin.tables),
        report,
    })
}

/// What only warns of the tables of a workflow: their denials, how vtgate finds them, and where it gets their ids.
async fn of_tables(context: &Context, found: &Found, columns: &[(String, Columns)]) -> Vec<Finding> {
    let (target, tables) = (&found.target.keyspace, &found.origin.tables);
    let facts = found.record.as_ref().map(|stored| &stored.facts);
    let vschema = found.vschema.as_ref().map(|record| record.value.clone()).unwrap_or_default();
    let mut findings = tables::denied(target, tables, facts);
    findings.extend(tables::unaware(target, found.unaware()));
    findings.extend(tables::unrouted(&vschema, tables));
    let missing = tables::without_sequence(&vschema, columns, tables);
    let named = tables::named_sequences(context, target, &vschema, tables);
    let (unnamed, named) = join(tables::sequences(context, target, &missing), named).await;
    findings.extend(unnamed.into_iter().chain(named));
    findings
}

#[cfg(test)]
mod tests;
