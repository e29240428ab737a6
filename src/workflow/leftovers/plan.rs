//! What of a workflow's record is still there, is ours, and is used by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use futures::future::join_all;
use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::super::migrate::cleanup::claim::{self, Claim, Held, Kept, Known as Claimed};
use super::super::migrate::cleanup::others::Others;
use super::super::migrate::cleanup::{Tables, entries};
use super::super::record::Facts;
use super::super::streams::{Keyspace, OnShard, has_copied};
use super::super::{Result, names};
use crate::context::Context;

/// Tables by shard.
type ByShard = Vec<(String, Vec<String>)>;

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Shards with streams.
    pub streams: Vec<String>,
    /// Empty tables that create made, and those that were made anew.
    pub tables: Vec<(String, Tables)>,
    /// Tables that stay, for nothing proves that they are the workflow's.
    pub kept: Vec<Kept>,
    /// Denied tables that create added.
    pub denied: ByShard,
    /// Those of them that another workflow works on: only this record tells whose they are, so it must stay.
    pub shared: ByShard,
    /// VSchema entries that create added, of tables that will be nowhere.
    pub vschema: Vec<String>,
}

/// Which of the tables that a record tells of are there, and which of those hold rows, by shard.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    held: BTreeMap<String, Held>,
}

impl Remains {
    /// Asks all primaries: two waves.
    pub async fn read(context: &Context, target: &Keyspace, facts: &Facts) -> Result<Self> {
        let asked = target.shards.iter().map(|shard| async move {
            let held = claim::look(context, shard.primary()?, &facts.tables).await?;
            Ok::<_, super::super::Error>((shard.name.clone(), held))
        });
        let held = join_all(asked).await.into_iter().collect::<Result<_>>()?;
        Ok(Self { held })
    }

    /// Tables that create made and that hold rows, on any shard.
    pub fn filled(&self, facts: &Facts) -> Vec<String> {
        let made = self.held.iter().flat_map(|(shard, held)| {
            let made: BTreeSet<&String> = facts.created_on(shard).iter().collect();
            held.filled.iter().filter(move |table| made.contains(table))
        });
        made.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    fn is_there(&self, shard: &str, table: &str) -> bool {
        self.held.get(shard).is_some_and(|held| held.is_there(table))
    }
}

/// True when one of some streams has copied something, or may have.
pub fn have_copied(rows: &[&OnShard]) -> bool {
    rows.iter().flat_map(|row| &row.found.streams).any(has_copied)
}

impl Plan {
    /// What of a record is still there and used by nobody.
    pub fn new(
        target: &Keyspace,
        facts: &Facts,
        rows: &[&OnShard],
        remains: &Remains,
        others: &Others,
        vschema: &VSchema,
    ) -> Self {
        let claimed = Claimed { target, rows, facts: Some(facts), tables: &facts.tables };
        let claim = Claim::of(claimed, &remains.held);
        let kept = claim.kept.into_iter().chain(claim.left).collect();
        let mut plan = Self { kept, ..Self::default() };
        let unused = |tables: Vec<String>| tables.into_iter().filter(|table| !others.names(table)).collect();
        for (shard, tables) in claim.tables {
            let (drop, drop_empty) = (unused(tables.drop), unused(tables.drop_empty));
            let tables = Tables { drop, drop_empty, anew: tables.anew, ..Tables::default() };
            if tables != Tables::default() {
                plan.tables.push((shard, tables));
            }
        }
        for (at, target_shard) in target.shards.iter().enumerate() {
            let name = &target_shard.name;
            if rows.iter().any(|row| row.shard == at) {
                plan.streams.push(name.clone());
            }
            let denied = target_shard.denied();
            let about = facts.may_be_about(name, target_shard.record.created);
            let ours = facts.denied_on(name).iter().filter(|table| about && denied.contains(*table));
            let (shared, ours): (Vec<_>, Vec<_>) = ours.cloned().partition(|table| others.work_on(table));
            for (tables, of) in [(ours, &mut plan.denied), (shared, &mut plan.shared)] {
                if !tables.is_empty() {
                    of.push((name.clone(), tables));
                }
            }
        }
        plan.vschema = plan.entries(target, facts, remains, others, vschema);
        plan
    }

    /// VSchema entries that create added, of tables that will be nowhere.
    fn entries(
        &self,
        target: &Keyspace,
        facts: &Facts,
        remains: &Remains,
        others: &Others,
        vschema: &VSchema,
    ) -> Vec<String> {
        if !target.shards.iter().any(|shard| facts.may_be_about(&shard.name, shard.record.created)) {
            return Vec::new();
        }
        let goes = |shard: &str| {
            let of = self.tables.iter().filter(|(name, _)| name == shard);
            of.flat_map(|(_, tables)| tables.drop.iter().chain(&tables.drop_empty)).collect::<BTreeSet<_>>()
        };
        let going: Vec<(&String, BTreeSet<&String>)> =
            target.shards.iter().map(|shard| (&shard.name, goes(&shard.name))).collect();
        let stays =
            |table: &String| going.iter().any(|(shard, goes)| remains.is_there(shard, table) && !goes.contains(table));
        entries::removable(vschema, facts.vschema_tables.iter().filter(|table| !others.names(table) && !stays(table)))
    }

    /// Tables whose denial is to be lifted. Those too that the shards' records do not deny any more: their tablets may have
    /// been told nothing of that.
    pub fn to_lift(&self, target: &Keyspace, facts: &Facts) -> ByShard {
        let about = target.shards.iter().filter(|shard| facts.may_be_about(&shard.name, shard.record.created));
        about.map(|shard| (shard.name.clone(), facts.denied_on(&shard.name).to_vec())).collect()
    }

    /// The plan in words.
    pub fn text(&self) -> String {
        let mut text = "its record is left".to_owned();
        if !self.streams.is_empty() {
            write!(text, "; streams on {}", self.streams.join(", ")).ok();
        }
        for (shard, Tables { drop, drop_empty, .. }) in &self.tables {
            let tables: Vec<&str> = drop.iter().chain(drop_empty).map(String::as_str).collect();
            if !tables.is_empty() {
                write!(text, "; empty tables that create made on {shard}: {}", tables.join(", ")).ok();
            }
        }
        for (shard, tables) in &self.denied {
            write!(text, "; denied tables on {shard}: {}", tables.join(", ")).ok();
        }
        for (shard, tables) in &self.shared {
            write!(text, "; denied tables on {shard} that another workflow works on: {}", tables.join(", ")).ok();
        }
        if !self.vschema.is_empty() {
            write!(text, "; vschema entries: {}", self.vschema.join(", ")).ok();
        }
        if !self.kept.is_empty() {
            write!(text, "; these tables stay: {}", names::some(&self.kept, "; ")).ok();
        }
        text
    }
}
