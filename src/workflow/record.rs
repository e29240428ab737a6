//! Recovery facts of one workflow: what `create` did that cannot be read off the cluster afterwards.
//!
//! Kept in the global topology at `internal/vtmigrated/<keyspace>/<workflow>/Record` as JSON (large ones in gzip), written before the first
//! side effect of create, removed last by complete and cancel. A workflow without a record was made by stock.

pub mod aware;
mod begun;
mod concerned;
pub(in crate::workflow) mod earlier;
pub mod made_at;
#[cfg(test)]
pub mod samples;
pub(super) mod text;
pub mod unreadable;
pub mod way_back;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::topo::{self, Conn, Expect, Lock, Node, Write, paths};
use crate::workflow::Result;
use crate::workflow::streams::Listed;
use aware::Reign;
use made_at::{MadeAt, Noted};
use unreadable::Unreadable;

pub use begun::has_begun;

/// How far create got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Side effects have begun; `create` with the same arguments goes on, `cancel` cleans.
    #[default]
    Creating,
    /// The workflow is whole.
    Created,
}

/// The facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub phase: Phase,
    /// The mount that the workflow reads from.
    pub mount: String,
    /// The source keyspace and its shards, so that complete can ask them before it has read a stream.
    #[serde(default)]
    pub source: (String, Vec<String>),
    /// Which making of the source keyspace's record create has read; older versions noted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_created: Option<i64>,
    /// Fingerprint of the arguments of create, so that a second one can be told to be the same.
    pub arguments: String,
    /// All tables of the workflow, in the order chosen.
    pub tables: Vec<String>,
    /// Those that create left out where it was to bring all of the source; `None` where some were named, and by older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Vec<String>>,
    /// Tables that create makes, for each target shard.
    #[serde(with = "text::by_shard")]
    pub created_tables: Vec<(String, Vec<String>)>,
    /// Entries that create adds to the target's VSchema.
    pub vschema_tables: Vec<String>,
    /// Denied tables that create adds, for each target shard.
    #[serde(with = "text::by_shard")]
    pub denied_tables: Vec<(String, Vec<String>)>,
    /// Which making of each target shard's record these facts are about ([`topo::Node::created`]). A keyspace or a shard
    /// that was deleted and made anew is another one, whatever its name.
    #[serde(default)]
    pub shards: Vec<(String, i64)>,
    /// Create failed and is being taken back: it cannot be gone on with, only cancelled.
    #[serde(default)]
    pub taken_back: bool,
    /// Cancel has begun to take tables away: the workflow can only be cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// When the tables of each shard had been made, in the order of [`Self::tables`], as cancel found it then: what is there and was
    /// made at another time is somebody else's. Older versions noted nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_at: MadeAt,
    /// Shards on which all tables were seen to, while the workflow was taken away: what is there since is somebody else's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen_to: Vec<String>,
    /// Complete has begun: streams are being stopped for good. Until [`Self::handed_over`] there is a way back.
    #[serde(default)]
    pub completing: bool,
    /// All streams had stopped after their copy, as they were to, when complete began: they do not go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
    /// Complete has lifted the denied tables, in the transaction that wrote this: clients may have written since. From
    /// here on the workflow can only be completed.
    #[serde(default)]
    pub handed_over: bool,
    /// It was a delete that keeps the data which lifted them, whatever was copied: from here on it can only be repeated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeping: bool,
    /// The streams, by shard and id, that there were when create ended, and those when complete or cancel began; none while
    /// create cannot have inserted any. `None` when that was not noted: from when create may insert streams until it ends,
    /// and by older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Listed>,
    /// Every source shard feeds every target shard, those too whose key ranges do not overlap.
    #[serde(default)]
    pub every_pair: bool,
    /// Tablets, by alias, that did not read their shards' records again when create had denied the tables, and cells whose
    /// tablets nobody could ask: one of these denies nothing should it become primary, whatever its shard's record says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unaware: Vec<String>,
    /// Tablets of such cells that have read them since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aware: Vec<String>,
    /// Tablets that nobody reached then, by alias, with the seconds and nanoseconds since the epoch at which, by their records, their
    /// programs had started. Such a program may have read its shard's record before; one that started later has read it since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starting: Vec<(String, (i64, i32))>,
    /// The primaries that the shards of those had that were not refreshed, and of those cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reigns: Vec<Reign>,
    /// Sizes of the source's tables; none when nobody could tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<TableSize>,
}

/// Size of a source table when the workflow was created: progress is measured against it, so that the figure never goes
/// backwards, whichever server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSize {
    pub table: String,
    /// Rows and bytes of all source shards together; estimates.
    pub rows: i64,
    pub bytes: i64,
    /// Smallest and largest value of the first column of the primary key, when that holds whole numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<(i64, i64)>,
}

/// The facts with the version they were read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub facts: Facts,
    pub version: i64,
}

impl Facts {
    /// True when create has begun and not ended well.
    pub fn is_unfinished(&self) -> bool {
        self.phase == Phase::Creating || self.taken_back
    }

    /// Whether a stream is among those that were noted; `None` when none could be.
    pub fn lists(&self, shard: &str, stream: i32) -> Option<bool> {
        let noted = self.streams.as_ref()?;
        Some(noted.iter().any(|(name, ids)| name == shard && ids.contains(&stream)))
    }

    /// The first of the streams that were noted on a shard.
    pub fn oldest_on(&self, shard: &str) -> Option<i32> {
        let noted = self.streams.iter().flatten().filter(|(name, _)| name == shard);
        noted.flat_map(|(_, ids)| ids.iter().copied()).min()
    }

    /// The streams that were noted, and those that there are now: of those that were replaced meanwhile rows may be left that name
    /// them by their ids only.
    pub fn noted_with(&self, now: Listed) -> Listed {
        let mut all: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for (shard, ids) in self.streams.clone().into_iter().flatten().chain(now) {
            all.entry(shard).or_default().extend(ids);
        }
        all.into_iter().map(|(shard, ids)| (shard, ids.into_iter().collect())).collect()
    }

    /// Tables that create made on a shard.
    pub fn created_on(&self, shard: &str) -> &[String] {
        lookup(&self.created_tables, shard)
    }

    /// What cancel noted of a shard's tables when it began.
    pub fn noted_on(&self, shard: &str) -> Noted<'_> {
        let of_shard = self.made_at.iter().find(|(name, _)| name == shard);
        Noted::new(&self.tables, of_shard.map(|(_, runs)| runs.as_slice()).unwrap_or_default())
    }

    /// Takes tables off those that create made on a shard: they are others' after all.
    pub fn forget_made(&mut self, shard: &str, others: impl Fn(&String) -> bool) {
        for (_, made) in self.created_tables.iter_mut().filter(|(name, _)| name == shard) {
            made.retain(|table| !others(table));
        }
    }

    /// Adds tables to those that create made on a shard.
    pub fn add_made(&mut self, shard: &str, tables: &[String]) {
        for (_, made) in self.created_tables.iter_mut().filter(|(name, _)| name == shard) {
            let known: BTreeSet<String> = made.iter().cloned().collect();
            made.extend(tables.iter().filter(|table| !known.contains(*table)).cloned());
        }
    }

    /// The facts of a workflow that has ended, and of which nothing is left but denied tables, by shard, that another one needs:
    /// nothing else tells whose they are.
    pub fn of_denied(&self, denied: Vec<(String, Vec<String>)>) -> Self {
        let named: BTreeSet<&String> = denied.iter().flat_map(|(_, tables)| tables).collect();
        Self {
            phase: Phase::Created,
            tables: named.into_iter().cloned().collect(),
            created_tables: Vec::new(),
            vschema_tables: Vec::new(),
            taken_back: false,
            cancelling: false,
            made_at: Vec::new(),
            seen_to: Vec::new(),
            completing: false,
            snapshot: false,
            handed_over: false,
            keeping: false,
            unaware: Vec::new(),
            starting: Vec::new(),
            reigns: Vec::new(),
            sizes: Vec::new(),
            denied_tables: denied,
            ..self.clone()
        }
    }

    /// Denied tables that create added on a shard.
    pub fn denied_on(&self, shard: &str) -> &[String] {
        lookup(&self.denied_tables, shard)
    }

    /// False when the facts are about another shard than the one of this name whose record was made so.
    pub fn may_be_about(&self, shard: &str, created: i64) -> bool {
        self.shards.is_empty() || self.is_about(shard, created)
    }

    /// False when the workflow's create had nothing to do with any shard of this name, whenever that was made.
    pub fn may_name_shard(&self, name: &str) -> bool {
        self.shards.is_empty() || self.shards.iter().any(|(shard, _)| shard == name)
    }

    /// True when the facts are about the shard of this name whose record was made so: false for one made anew, and for
    /// facts that do not say.
    pub fn is_about(&self, shard: &str, created: i64) -> bool {
        self.shards.iter().any(|(name, made)| name == shard && *made == created)
    }
}

fn lookup<'a>(list: &'a [(String, Vec<String>)], shard: &str) -> &'a [String] {
    list.iter().find(|(name, _)| name == shard).map(|(_, tables)| tables.as_slice()).unwrap_or_default()
}

/// What a list by shard has of a shard.
pub fn listed(lists: &[(String, Vec<String>)], shard: &str) -> Vec<String> {
    lookup(lists, shard).to_vec()
}

/// A record as it was read, or what is known of one that cannot be.
pub type Kept = std::result::Result<Stored, Unreadable>;

/// Reads the record of a workflow; `None` when there is none.
///
/// # Errors
/// Those of the topology.
pub async fn look(global: &Arc<dyn Conn>, keyspace: &str, workflow: &str) -> Result<Option<Kept>> {
    let node = global.find(&paths::workflow_record(keyspace, workflow)).await?;
    let kept = |Node { value, version, .. }| {
        text::read(&value).map(|facts| Stored { facts, version }).map_err(|why| Unreadable { why, version })
    };
    Ok(node.map(kept))
}

/// The same where nothing can be done without the facts.
///
/// # Errors
/// `RECORD_UNREADABLE`, and those of the topology.
pub async fn find(global: &Arc<dyn Conn>, keyspace: &str, workflow: &str) -> Result<Option<Stored>> {
    let kept = look(global, keyspace, workflow).await?.transpose();
    kept.map_err(|unreadable| unreadable::refusal(global, (keyspace, workflow), &unreadable.why))
}

/// The record, and the one that cannot be read: at most one of them is there.
pub fn apart(kept: Option<Kept>) -> (Option<Stored>, Option<Unreadable>) {
    match kept {
        Some(Ok(stored)) => (Some(stored), None),
        Some(Err(unreadable)) => (None, Some(unreadable)),
        None => (None, None),
    }
}

/// In the place of a version: there is no record. In ZooKeeper a new one has version 0.
pub const NONE: i64 = -1;

/// What must be there for a record to be written that was last seen at a version, or at [`NONE`].
fn expected(version: i64) -> Expect {
    if version == NONE { Expect::Absent } else { Expect::Version(version) }
}

/// Writes the record, expecting the version last seen ([`NONE`] when there was none); answers the new version.
pub async fn put(
    global: &Arc<dyn Conn>,
    (keyspace, workflow): (&str, &str),
    facts: &Facts,
    version: i64,
    guard: &Lock,
) -> Result<i64> {
    Ok(global.write_one(write((keyspace, workflow), facts, expected(version))?, Some(guard)).await?)
}

/// The record as a part of a transaction.
pub fn write((keyspace, workflow): (&str, &str), facts: &Facts, expect: Expect) -> Result<Write> {
    written(paths::workflow_record(keyspace, workflow), facts, expect)
}

/// Facts of any kind as a part of a transaction.
pub(super) fn written<F: Serialize>(path: String, facts: &F, expect: Expect) -> Result<Write> {
    let value = text::write(facts).map_err(|detail| topo::Error::BadData { path: path.clone(), detail })?;
    Ok(Write::put(path, value, expect))
}

/// Writes the record over the one that is there, whatever its version: the lock proves that nobody else writes it.
pub async fn replace(global: &Arc<dyn Conn>, names: (&str, &str), facts: &Facts, guard: &Lock) -> Result<()> {
    Ok(global.write_one(write(names, facts, Expect::Any)?, Some(guard)).await.map(|_| ())?)
}

/// Removes the record.
pub async fn delete(global: &Arc<dyn Conn>, keyspace: &str, workflow: &str, guard: &Lock) -> Result<()> {
    let write = Write::delete(paths::workflow_record(keyspace, workflow), Expect::Any);
    Ok(global.write_one(write, Some(guard)).await.map(|_| ())?)
}

/// Removes a record that cannot be read.
///
/// # Errors
/// One that somebody has written since it was looked at, and those of the topology.
pub async fn delete_unreadable(
    global: &Arc<dyn Conn>,
    (keyspace, workflow): (&str, &str),
    unreadable: &Unreadable,
    guard: &Lock,
) -> Result<()> {
    let expect = Expect::Version(unreadable.version);
    let write = Write::delete(paths::workflow_record(keyspace, workflow), expect);
    Ok(global.write_one(write, Some(guard)).await.map(|_| ())?)
}

/// Keyspace, workflow, and the facts that are kept of it, or why they cannot be read.
pub type Known<F = Facts> = (String, String, std::result::Result<F, String>);

/// All records.
pub async fn all(global: &Arc<dyn Conn>) -> Result<Vec<Known>> {
    Ok(known(&global.list(paths::WORKFLOW_RECORDS).await?))
}

/// The records among all that is kept of workflows.
pub fn known(nodes: &[Node]) -> Vec<Known> {
    known_of(nodes, paths::of_workflow_record)
}

/// What is kept at the paths that have a keyspace and a workflow by `names`.
pub(super) fn known_of<F: DeserializeOwned>(
    nodes: &[Node],
    names: impl Fn(&str) -> Option<(&str, &str)>,
) -> Vec<Known<F>> {
    let read = |node: &Node| {
        let (keyspace, workflow) = names(&node.path)?;
        Some((keyspace.to_owned(), workflow.to_owned(), text::read(&node.value)))
    };
    nodes.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_just_made_is_there_whatever_its_version() {
        assert_eq!([NONE, 0, 7].map(expected), [Expect::Absent, Expect::Version(0), Expect::Version(7)]);
    }
}
