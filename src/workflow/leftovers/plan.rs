//! What of a workflow's record is still there, is ours, and is used by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use futures::future::join_all;
use vtmigrated_proto::vschema::Keyspace as VSchema;

use crate::context::Context;
use crate::workflow::record::Facts;
use crate::workflow::removal::claim::{self, Claim, ClaimInputs, KeptTable, TableContents};
use crate::workflow::removal::others::Others;
use crate::workflow::removal::{Tables, entries};
use crate::workflow::streams::{Keyspace, ShardWorkflow, has_copied};
use crate::workflow::{Result, names};

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
    pub kept: Vec<KeptTable>,
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
    held: BTreeMap<String, TableContents>,
}

impl Remains {
    /// Asks all primaries: two waves.
    pub async fn read(context: &Context, target: &Keyspace, facts: &Facts) -> Result<Self> {
        let asked = target.shards.iter().map(|shard| async move {
            let held = claim::look(context, shard.primary()?, &facts.tables).await?;
            Ok::<_, crate::workflow::Error>((shard.name.clone(), held))
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
pub fn have_copied(rows: &[&ShardWorkflow]) -> bool {
    rows.iter().flat_map(|row| &row.found.streams).any(has_copied)
}

impl Plan {
    /// What of a record is still there and used by nobody.
    pub fn new(
        target: &Keyspace,
        facts: &Facts,
        rows: &[&ShardWorkflow],
        remains: &Remains,
        others: &Others,
        vschema: &VSchema,
    ) -> Self {
        let claimed = ClaimInputs { target, rows, facts: Some(facts), tables: &facts.tables };
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
    ///
    /// Of many shards, and of many tables, some: the cleaner takes all.
    pub fn text(&self) -> String {
        let empty = |(shard, Tables { drop, drop_empty, .. }): &(String, Tables)| {
            (shard.clone(), drop.iter().chain(drop_empty).cloned().collect::<Vec<_>>())
        };
        let empty: ByShard = self.tables.iter().map(empty).collect();
        let parts = [
            listed("streams on ", &self.streams, ", "),
            on_shards("empty tables that create made on", "", &empty),
            on_shards("denied tables on", "", &self.denied),
            on_shards("denied tables on", " that another workflow works on", &self.shared),
            listed("vschema entries: ", &self.vschema, ", "),
            listed("these tables stay: ", &self.kept, "; "),
        ];
        let told = parts.into_iter().flatten().map(|part| format!("; {part}"));
        format!("its record is left{}", told.collect::<String>())
    }
}

/// Some of what there is, if there is any.
fn listed<T: Display>(what: &str, things: &[T], between: &str) -> Option<String> {
    (!things.is_empty()).then(|| format!("{what}{}", names::some(things, between)))
}

/// The same by shard.
fn on_shards(before: &str, after: &str, lists: &ByShard) -> Option<String> {
    let with_some = lists.iter().filter(|(_, tables)| !tables.is_empty());
    let line =
        |(shard, tables): &(String, Vec<String>)| format!("{before} {shard}{after}: {}", names::some(tables, ", "));
    listed("", &with_some.map(line).collect::<Vec<_>>(), "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_shards_and_tables_some_are_told() {
        let tables = |count: usize| (0..count).map(|number| format!("t{number}")).collect::<Vec<_>>();
        let made = |count: usize| Tables { drop: tables(1), drop_empty: tables(count), ..Tables::default() };
        let few = Plan {
            streams: vec!["-80".into()],
            tables: vec![("-80".into(), made(0)), ("80-".into(), Tables::default())],
            denied: vec![("80-".into(), tables(2))],
            shared: vec![("-80".into(), tables(1))],
            vschema: tables(1),
            ..Plan::default()
        };
        assert_eq!(
            few.text(),
            "its record is left; streams on -80; empty tables that create made on -80: t0; denied tables on 80-: t0, t1; denied tables \
             on -80 that another workflow works on: t0; vschema entries: t0"
        );
        assert_eq!(Plan::default().text(), "its record is left");
        let shards = || (0..64).map(|number| number.to_string());
        let many = Plan {
            streams: shards().collect(),
            tables: shards().map(|shard| (shard, made(10_000))).collect(),
            denied: shards().map(|shard| (shard, tables(10_000))).collect(),
            shared: shards().map(|shard| (shard, tables(10_000))).collect(),
            vschema: tables(10_000),
            ..Plan::default()
        };
        let text = many.text();
        assert!(text.len() < 8192 && text.contains("; and 52 more; denied tables on 0: t0, t1"), "{text}");
        assert!(text.ends_with("t11, and 9988 more"), "{text}");
    }
}
