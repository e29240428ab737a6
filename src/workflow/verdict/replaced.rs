//! Streams that are gone and had not copied all.
//!
//! When the source is resharded, or moves the tables to another of its keyspaces, the target's tablets replace streams by others
//! that go on from the position of the source's journal, whatever was left to copy; what tells of it are copy states without a
//! stream (Vitess 22.0.4 and 24.0.4, `transitionJournal`). Pure.

use std::collections::BTreeSet;

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::super::migrate::rows::CopyStates;
use super::super::preflight::{Finding, check};
use super::super::record::Facts;
use super::super::streams;
use super::super::{names, way_back};
use super::Evidence;

/// What tells which streams were a workflow's.
#[derive(Clone, Copy)]
pub struct Noted<'a> {
    /// Its record.
    pub facts: Option<&'a Facts>,
    /// A record of its name that is an earlier workflow's.
    pub earlier: Option<&'a Facts>,
    /// Its tables.
    pub tables: &'a [String],
}

/// What a workflow's streams had left to copy that are gone from a shard: their ids, and these tables. `present` are the streams that
/// it has there.
///
/// Those that its record lists are its own. Those that an earlier record lists, or, without a list, that name a table of its, are
/// so where a stream goes on that has copied nothing itself.
pub fn left<'o>(
    (shard, workflow): (&str, &str),
    present: &[&Stream],
    orphaned: &'o CopyStates,
    noted: Noted<'_>,
) -> Vec<(i64, Vec<&'o str>)> {
    if orphaned.is_empty() {
        return Vec::new();
    }
    let took_over = present.iter().any(|stream| may_have_taken_over(stream, workflow));
    let tables: BTreeSet<&str> = noted.tables.iter().map(String::as_str).collect();
    let lists = |facts: Option<&Facts>, id: i64| facts?.lists(shard, i32::try_from(id).ok()?);
    let is_own = |id: i64, left: &[(String, String)]| match (lists(noted.facts, id), lists(noted.earlier, id)) {
        (Some(is_listed), _) => is_listed,
        (None, Some(is_listed)) => is_listed && took_over,
        (None, None) => took_over && left.iter().any(|(table, _)| tables.contains(table.as_str())),
    };
    let own = orphaned.iter().filter(|(id, left)| is_own(**id, left));
    own.map(|(id, left)| (*id, left.iter().map(|(table, _)| table.as_str()).collect())).collect()
}

/// True for a stream that goes on where another one was, or may: it has a position and has copied nothing. Those of a way back begin
/// so.
fn may_have_taken_over(stream: &Stream, workflow: &str) -> bool {
    !stream.pos.is_empty() && stream.rows_copied == 0 && way_back::plan::whose(stream, workflow).is_none()
}

/// The same of all shards, as findings.
pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Evidence { target, workflow, rows, orphaned, facts, earlier, origin, .. } = *evidence;
    let noted = Noted { facts, earlier, tables: &origin.tables };
    let mut found = Vec::new();
    for (at, (shard, orphaned)) in target.shards.iter().zip(orphaned).enumerate() {
        let present: Vec<&Stream> = streams::on(rows, at).collect();
        for (id, tables) in left((shard.name.as_str(), workflow), &present, orphaned, noted) {
            let text = format!(
                "its copy was not over when it was replaced, as streams are when the source is resharded; left: {}",
                names::some(&tables, ", ")
            );
            let mend = "cancel the workflow and create it again: the streams that took over copy nothing";
            let subject = format!("{}/{} stream {id}", target.name, shard.name);
            found.push(Finding::new(&check::COPYING, subject, text, mend));
        }
    }
    found
}
