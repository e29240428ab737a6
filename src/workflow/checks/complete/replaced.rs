//! Streams that are gone and had not copied all.
//!
//! When the source is resharded, or moves the tables to another of its keyspaces, the target's tablets replace streams by others
//! that go on from the position of the source's journal, whatever was left to copy; what tells of it are copy states without a
//! stream (Vitess 22.0.4 and 24.0.4, `transitionJournal`). Pure.

use std::collections::BTreeSet;

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::Evidence;
use crate::error::check;
use crate::tablet;
use crate::workflow::findings::Finding;
use crate::workflow::names::{self, back};
use crate::workflow::record::Facts;
use crate::workflow::rows::{CopyStates, forget};
use crate::workflow::streams::{self, TargetShard};

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

/// What a stream had left to copy that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left<'o> {
    /// Id of the stream.
    pub id: i64,
    pub tables: Vec<&'o str>,
    /// The workflow's record lists it. Without that an earlier workflow may have left it, and a stream that has copied nothing may have
    /// found its tables empty.
    pub is_listed: bool,
}

/// What a workflow's streams had left to copy that are gone from a shard. `present` are the streams that it has there.
///
/// Those that its record lists are its own. Those that an earlier record lists are so where a stream has come later that has copied
/// nothing itself, as are those that name a table of its and that no record lists: but for what is older than all streams that a record
/// lists, for tablets number streams in the order in which they are made.
pub fn left<'o>(
    (shard, workflow): (&TargetShard, &str),
    present: &[&Stream],
    orphaned: &'o CopyStates,
    noted: Noted<'_>,
) -> Vec<Left<'o>> {
    if orphaned.is_empty() {
        return Vec::new();
    }
    // streams of a way back begin so
    let goes_on = |stream: &&Stream| streams::may_have_taken_over(stream) && back::whose(stream, workflow).is_none();
    let newest = present.iter().filter(|stream| goes_on(stream)).map(|stream| i64::from(stream.id)).max();
    let took_over = |id: i64| newest.is_some_and(|newest| newest > id);
    let tables: BTreeSet<&str> = noted.tables.iter().map(String::as_str).collect();
    let lists = |facts: Option<&Facts>, id: i64| facts?.lists(&shard.name, i32::try_from(id).ok()?);
    let record = noted.facts.or(noted.earlier).filter(|facts| facts.may_be_about(&shard.name, shard.record.created));
    let oldest = record.and_then(|facts| facts.oldest_on(&shard.name));
    let is_older = |id: i64| oldest.is_some_and(|oldest| id < i64::from(oldest));
    let is_own = |id: i64, left: &[(String, String)]| match (lists(noted.facts, id), lists(noted.earlier, id)) {
        (Some(true), _) => true,
        (_, Some(true)) => took_over(id),
        // a record says nothing of streams that were made after it
        _ => took_over(id) && !is_older(id) && left.iter().any(|(table, _)| tables.contains(table.as_str())),
    };
    let own = orphaned.iter().filter(|(id, left)| is_own(**id, left));
    let told = |(id, left): (&i64, &'o Vec<(String, String)>)| Left {
        id: *id,
        tables: left.iter().map(|(table, _)| table.as_str()).collect(),
        is_listed: lists(noted.facts, *id) == Some(true),
    };
    own.map(told).collect()
}

/// The same of all shards, as findings.
pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Evidence { target, workflow, rows, orphaned, facts, earlier, origin, .. } = *evidence;
    let noted = Noted { facts, earlier, tables: &origin.tables };
    let mut found = Vec::new();
    for (at, (shard, orphaned)) in target.shards.iter().zip(orphaned).enumerate() {
        let present: Vec<&Stream> = streams::on(rows, at).collect();
        for left in left((shard, workflow), &present, orphaned, noted) {
            let subject = format!("{}/{} stream {}", target.name, shard.name, left.id);
            let tables = names::some(&left.tables, ", ");
            let or = match left.is_listed {
                true => "",
                false => ", or it was an earlier workflow's, for no record of this one lists it",
            };
            let text = format!(
                "its copy was not over when it was replaced, as streams are when the source is resharded{or}; left: {tables}"
            );
            let fix = if left.is_listed { ANEW.to_owned() } else { doubtful(shard, left.id) };
            found.push(Finding::new(&check::COPYING, subject, text, fix));
        }
    }
    found
}

/// The way out for a workflow whose streams may have been replaced.
const ANEW: &str = "cancel the workflow and create it again: the streams that took over copy nothing";

/// The same where the rows may be an earlier workflow's: no cleaner takes them while a workflow is there that may need them.
fn doubtful(shard: &TargetShard, id: i64) -> String {
    let on = shard.primary.as_ref().map_or_else(|| format!("<primary of {}>", shard.name), tablet::alias);
    let query = forget("copy_state", &[id]);
    format!(
        "compare the rows with VDiff: when nothing differs the tables are whole, and an earlier workflow has left this: \
         ExecuteFetchAsDBA {on} \"{query}\"; else {ANEW}"
    )
}
