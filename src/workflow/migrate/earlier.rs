//! Records of earlier workflows: a workflow that somebody else ended leaves its record behind, and another one of the same
//! name, made by stock, is no business of it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::super::record::{Facts, Phase, Stored};
use super::super::streams::{self, OnShard};
use super::readiness::all_frozen;

/// A record, and whether it is of the workflow that the streams are of.
pub enum Whose {
    Own(Stored),
    Earlier(Stored),
}

/// Whose a record is. What it tells of a complete is left out as [`of`] does.
pub fn whose(mut stored: Stored, rows: &[OnShard]) -> Whose {
    match of(&stored.facts, rows) {
        None => Whose::Earlier(stored),
        Some(Cow::Borrowed(_)) => Whose::Own(stored),
        Some(Cow::Owned(facts)) => {
            stored.facts = facts;
            Whose::Own(stored)
        }
    }
}

/// The facts of a record as far as they are about these streams. `None` when the streams are another workflow's: they come
/// from another place, or bring not all of the record's tables.
///
/// Streams that are not stopped for good have not been handed over, whatever a complete has written into the record.
pub fn of<'f, 'r>(facts: &'f Facts, rows: impl IntoIterator<Item = &'r OnShard>) -> Option<Cow<'f, Facts>> {
    let rows: Vec<&OnShard> = rows.into_iter().filter(|row| !row.found.streams.is_empty()).collect();
    if rows.is_empty() {
        return Some(Cow::Borrowed(facts));
    }
    let sources = || rows.iter().flat_map(|row| &row.found.streams).filter_map(|stream| stream.bls.as_ref());
    let recorded: BTreeSet<&str> = facts.tables.iter().map(String::as_str).collect();
    let tables: Vec<String> = sources().flat_map(streams::tables).collect();
    let brought: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
    let from_there =
        sources().all(|source| source.external_cluster == facts.mount && source.keyspace == facts.source.0);
    // an interrupted create may have inserted less; somebody may have added rules by hand
    let all = recorded.is_subset(&brought) || facts.phase == Phase::Creating && brought.is_subset(&recorded);
    if !from_there || !all {
        return None;
    }
    if !facts.handed_over || rows.iter().all(|row| all_frozen(std::slice::from_ref(*row))) {
        return Some(Cow::Borrowed(facts));
    }
    Some(Cow::Owned(Facts { handed_over: false, completing: false, snapshot: false, ..facts.clone() }))
}
