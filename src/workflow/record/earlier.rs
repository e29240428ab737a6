//! Records of earlier workflows: a workflow that somebody else ended leaves its record behind, as does one whose cancel or
//! complete was cut off at its very end, and another one of the same name, made by stock, is no business of it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

use super::{Facts, Phase, Stored};
use crate::workflow::streams::{self, Keyspace, ShardWorkflow, all_frozen};

/// A record, and whether it is of the workflow that the streams are of.
pub enum Whose {
    Own(Stored),
    Earlier(Stored),
}

/// Whose a record is. What it tells of a complete is left out as [`of`] does.
pub fn whose(mut stored: Stored, target: &Keyspace, rows: &[ShardWorkflow]) -> Whose {
    match of(&stored.facts, target, rows) {
        None => Whose::Earlier(stored),
        Some(Cow::Borrowed(_)) => Whose::Own(stored),
        Some(Cow::Owned(facts)) => {
            stored.facts = facts;
            Whose::Own(stored)
        }
    }
}

/// The facts of a record as far as they are about these streams. `None` when the streams are another workflow's: they come
/// from another place and did not follow the tables there, bring not all of the record's tables, or [were made later](came_later).
///
/// Streams that are not stopped for good have not been handed over, whatever a complete has written into the record; nor
/// has a complete begun on streams that it did not note when it began, nor a cancel seen to their tables. Nor are they measured against the sizes that the
/// record tells then, for these may be of an earlier workflow, too.
pub fn of<'f, 'r>(
    facts: &'f Facts,
    target: &Keyspace,
    rows: impl IntoIterator<Item = &'r ShardWorkflow>,
) -> Option<Cow<'f, Facts>> {
    let rows: Vec<&ShardWorkflow> = rows.into_iter().filter(|row| !row.found.streams.is_empty()).collect();
    if rows.is_empty() {
        return Some(Cow::Borrowed(facts));
    }
    if !is_of_the_plan(facts, target, &rows) || came_later(facts, target, &rows) {
        return None;
    }
    let begun = facts.completing || facts.handed_over || !facts.seen_to.is_empty();
    let frozen = || rows.iter().all(|row| all_frozen(std::slice::from_ref(*row)));
    let noted = || streams_of(target, &rows).all(|(shard, stream)| facts.lists(shard, stream.id) != Some(false));
    if !begun || noted() && (!facts.handed_over || frozen()) {
        return Some(Cow::Borrowed(facts));
    }
    let (sizes, seen_to) = (Vec::new(), Vec::new());
    Some(Cow::Owned(Facts {
        handed_over: false,
        keeping: false,
        completing: false,
        snapshot: false,
        sizes,
        seen_to,
        ..facts.clone()
    }))
}

/// True when the streams come from where the record says and bring what it says.
///
/// Streams follow their tables to another keyspace when these are moved in the source: those that took over have a position and have
/// copied nothing, or were noted since (Vitess 22.0.4 and 24.0.4, `transitionJournal`).
fn is_of_the_plan(facts: &Facts, target: &Keyspace, rows: &[&ShardWorkflow]) -> bool {
    let sources = || rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref());
    let recorded: BTreeSet<&str> = facts.tables.iter().map(String::as_str).collect();
    let tables: Vec<String> = sources().flat_map(streams::tables).collect();
    let brought: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let took_over = |shard: &str, stream: &Stream| {
        facts.lists(shard, stream.id) == Some(true) || streams::may_have_taken_over(stream)
    };
    let from_there = streams_of(target, rows).all(|(shard, stream)| match &stream.bls {
        Some(source) if source.external_cluster != facts.mount => false,
        Some(source) => source.keyspace == facts.source.0 || took_over(shard, stream),
        None => true,
    });
    // an interrupted create may have inserted less; somebody may have added rules by hand
    let all = recorded.is_subset(&brought) || facts.phase == Phase::Creating && brought.is_subset(&recorded);
    from_there && all
}

/// True when it is proven that the streams were made after the record's workflow was gone: its shards are gone, or none of
/// its streams is left, and one of those that are there has copied rows itself. Whoever makes a workflow sees first that no
/// stream of its name is there; streams that take over when the source is resharded copy none (Vitess 22.0.4 and 24.0.4,
/// `transitionJournal`).
fn came_later(facts: &Facts, target: &Keyspace, rows: &[&ShardWorkflow]) -> bool {
    let about = || target.shards.iter().any(|shard| facts.is_about(&shard.name, shard.record.created));
    if !facts.shards.is_empty() && !about() {
        return true;
    }
    let gone = streams_of(target, rows).all(|(shard, stream)| facts.lists(shard, stream.id) == Some(false));
    gone && streams_of(target, rows).any(|(_, stream)| stream.rows_copied > 0)
}

/// The streams with their shards' names.
fn streams_of<'r>(target: &'r Keyspace, rows: &'r [&ShardWorkflow]) -> impl Iterator<Item = (&'r str, &'r Stream)> {
    let shard =
        move |row: &ShardWorkflow| target.shards.get(row.shard).map(|shard| shard.name.as_str()).unwrap_or_default();
    rows.iter().flat_map(move |row| row.found.streams.iter().map(move |stream| (shard(row), stream)))
}

#[cfg(test)]
mod tests;
