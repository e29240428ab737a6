//! What of a workflow's record is still there, is ours, and is used by nobody.

use std::collections::BTreeSet;
use std::fmt::Write;

use futures::future::join_all;
use vtmigrated_proto::topodata::Tablet;
use vtmigrated_proto::vschema::Keyspace as VSchema;

use super::super::migrate::create;
use super::super::record::Facts;
use super::super::streams::{self, Keyspace, OnShard};
use super::super::{Error, Result};
use super::Known;
use crate::context::Context;
use crate::sql::{quote, rows};
use crate::topo::shard;
use crate::{tablet, vschema};

/// Tables asked for in one statement.
const AT_ONCE: usize = 200;

/// Tables by shard.
type ByShard = Vec<(String, Vec<String>)>;

/// What is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Shards with streams.
    pub streams: Vec<String>,
    /// Empty tables that create made.
    pub tables: ByShard,
    /// Denied tables that create added.
    pub denied: ByShard,
    /// VSchema entries that create added, of tables that will be nowhere.
    pub vschema: Vec<String>,
}

/// Which of the tables that a record tells of are there, and which of those hold rows, by shard.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    there: ByShard,
    filled: ByShard,
}

fn of<'a>(list: &'a [(String, Vec<String>)], shard: &str) -> &'a [String] {
    list.iter().find(|(name, _)| name == shard).map(|(_, tables)| tables.as_slice()).unwrap_or_default()
}

impl Remains {
    /// Asks all primaries: two waves.
    pub async fn read(context: &Context, target: &Keyspace, facts: &Facts) -> Result<Self> {
        let asked = target.shards.iter().map(|shard| async move {
            let on = shard.primary()?;
            let there = existing(context, on, &facts.tables).await?;
            let made: Vec<&String> = facts.created_on(&shard.name).iter().filter(|t| there.contains(t)).collect();
            let mut filled = Vec::new();
            for answer in join_all(made.chunks(AT_ONCE).map(|some| create::with_rows(context, on, some))).await {
                filled.extend(answer?);
            }
            Ok::<_, Error>((shard.name.clone(), there, filled))
        });
        let mut remains = Self::default();
        for answer in join_all(asked).await {
            let (shard, there, filled) = answer?;
            remains.there.push((shard.clone(), there));
            remains.filled.push((shard, filled));
        }
        Ok(remains)
    }

    /// Tables that create made and that hold rows, on any shard.
    pub fn filled(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.filled.iter().flat_map(|(_, tables)| tables).collect();
        names.into_iter().cloned().collect()
    }
}

/// Those of some tables that a tablet's database has.
async fn existing(context: &Context, on: &Tablet, tables: &[String]) -> tablet::Result<Vec<String>> {
    let query = |tables: &[String]| {
        format!(
            "select table_name from information_schema.tables where table_schema = database() and table_name in ({})",
            quote::literals(tables.iter().map(String::as_str))
        )
    };
    let reads = tables.chunks(AT_ONCE).map(|some| context.tablets.read(on, query(some), some.len() as u64));
    let mut found = Vec::new();
    for read in join_all(reads).await {
        found.extend(rows::texts(&read?).into_iter().flatten().flatten());
    }
    found.sort();
    Ok(found)
}

/// Tables that other workflows of the keyspace use: those of their streams and of their records.
pub fn others(keyspace: &str, workflow: &str, records: &[&Known], rows: &[OnShard]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (of, name, facts) in records {
        if of == keyspace && name != workflow {
            used.extend(facts.iter().flat_map(|facts| facts.tables.iter().cloned()));
        }
    }
    for row in rows.iter().filter(|row| row.found.workflow != workflow) {
        let sources = row.found.streams.iter().filter_map(|stream| stream.bls.as_ref());
        used.extend(sources.flat_map(streams::tables));
    }
    used
}

impl Plan {
    /// What of a record is still there and used by nobody.
    pub fn new(
        target: &Keyspace,
        facts: &Facts,
        rows: &[&OnShard],
        remains: &Remains,
        others: &BTreeSet<String>,
        vschema: &VSchema,
    ) -> Self {
        let mut plan = Self::default();
        for (at, target_shard) in target.shards.iter().enumerate() {
            let name = &target_shard.name;
            if rows.iter().any(|row| row.shard == at) {
                plan.streams.push(name.clone());
            }
            let unused = |tables: &[String], keep: &dyn Fn(&String) -> bool| {
                let list = tables.iter().filter(|t| !others.contains(*t) && keep(t));
                list.cloned().collect::<Vec<_>>()
            };
            let (there, filled) = (of(&remains.there, name), of(&remains.filled, name));
            plan.tables
                .push((name.clone(), unused(facts.created_on(name), &|t| there.contains(t) && !filled.contains(t))));
            let denied = shard::denied(&target_shard.record.value);
            plan.denied.push((name.clone(), unused(facts.denied_on(name), &|t| denied.contains(t))));
        }
        plan.tables.retain(|(_, tables)| !tables.is_empty());
        plan.denied.retain(|(_, tables)| !tables.is_empty());
        let known = vschema::tables(vschema);
        let stays = |table: &String| {
            remains.there.iter().any(|(shard, there)| there.contains(table) && !of(&plan.tables, shard).contains(table))
        };
        let entries = facts.vschema_tables.iter();
        plan.vschema =
            entries.filter(|t| known.contains_key(t.as_str()) && !others.contains(*t) && !stays(t)).cloned().collect();
        plan
    }

    /// The plan in words.
    pub fn text(&self) -> String {
        let mut text = "its record is left".to_owned();
        if !self.streams.is_empty() {
            write!(text, "; streams on {}", self.streams.join(", ")).ok();
        }
        for (what, list) in [("empty tables that create made", &self.tables), ("denied tables", &self.denied)] {
            for (shard, tables) in list {
                write!(text, "; {what} on {shard}: {}", tables.join(", ")).ok();
            }
        }
        if !self.vschema.is_empty() {
            write!(text, "; vschema entries: {}", self.vschema.join(", ")).ok();
        }
        text
    }
}
