//! What blocks `complete`, and what only warns.
//!
//! [`Evidence::judge`] is the one truth about what blocks: `complete` refuses on it, `status` shows it in short, and the
//! verdict adds what only warns.

pub mod columns;
pub mod diffs;
mod insist;
pub(in crate::workflow) mod positions;
pub(in crate::workflow) mod replaced;
pub mod source;
pub(in crate::workflow) mod streams;
pub(in crate::workflow) mod tables;

use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::{vindexes, workflows};
use crate::error::check;
use crate::topo;
use crate::workflow::Error;
use crate::workflow::findings::{Finding, Report};
use crate::workflow::record::Facts;
use crate::workflow::rows::CopyStates;
use crate::workflow::streams::{Keyspace, Origin, ShardWorkflow, now};
use columns::Columns;
use diffs::Diffs;
use positions::Positions;
use source::Source;

pub use insist::{insist, is_of_the_source};
pub(in crate::workflow) use tables::{denied, stay_denied};

/// What helps where a tablet did not tell.
pub(in crate::workflow) const ASK_AGAIN: &str = "see that the shard's primary answers, then ask again";

/// What a judgement is made from, as read at about one moment.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub target: &'a Keyspace,
    pub workflow: &'a str,
    pub origin: &'a Origin,
    pub rows: &'a [ShardWorkflow],
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
            let fix = format!("repeat it: Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data");
            let cause = "its delete with --keep-data has begun, and clients have its tables, copied or not";
            found.push(Finding::new(&check::CANCEL_HAS_BEGUN, format!("workflow {workflow}"), cause, fix));
        }
        if self.handed_over() {
            return found;
        }
        if self.facts.is_some_and(Facts::is_unfinished) {
            let keyspace = &self.target.name;
            let fix = format!(
                "repeat create with the same arguments, or take it back with: Migrate --target-keyspace {keyspace} --workflow {} cancel",
                self.workflow
            );
            let subject = format!("workflow {}", self.workflow);
            found.push(Finding::new(&check::CREATE_UNFINISHED, subject, "its create was interrupted", fix));
        }
        if self.facts.is_some_and(|facts| facts.cancelling) {
            found.push(cancel_has_begun(&self.target.name, self.workflow));
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
        found.extend(diffs::judge(self.workflow, &self.target.name, self.diffs, &self.origin.tables, now()));
        let theirs = self.source.as_ref().ok().and_then(|source| source.columns.as_ref());
        if let (Some(theirs), Some(ours)) = (theirs, self.columns) {
            found.extend(columns::drift(theirs, ours, &self.origin.tables));
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
        workflows::mount_changed(facts, self.source.as_ref().ok()?.created)
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
        let against = vindexes::Against { target, source_keyspace: &self.origin.keyspace, serving };
        let mut found = vindexes::vindexes(sources, &against);
        if streams::choose_rows(self.rows) {
            let unread = self.source.as_ref().map(|source| source.unread.as_slice()).unwrap_or_default();
            found.extend(unread.iter().map(|(cell, why)| {
                let subject = format!("cell {cell} of mount {}", self.origin.mount);
                let text = format!("whether its tablets read the streams' vindexes as before is not known: {why}");
                Finding::new(
                    &check::VINDEX_UNREAD,
                    subject,
                    text,
                    "see that the topology of the cell answers, then ask again",
                )
            }));
        }
        found
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

/// A cancel of the workflow was begun and not finished.
pub fn cancel_has_begun(keyspace: &str, workflow: &str) -> Finding {
    let fix = format!(
        "repeat it: Migrate --target-keyspace {keyspace} --workflow {workflow} cancel; or end it and keep its tables: Workflow \
         --keyspace {keyspace} delete --workflow {workflow} --keep-data"
    );
    let cause = "its cancel has begun, and rows of its tables are gone or may be";
    Finding::new(&check::CANCEL_HAS_BEGUN, format!("workflow {workflow}"), cause, fix)
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

#[cfg(test)]
mod tests;
