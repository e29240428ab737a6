//! What must hold of a life that has ended: nothing of it is left, nothing is lost, nothing of others is gone.

use std::collections::BTreeMap;

use integration::{
    cluster::topology::GLOBAL_ROOT,
    farm::{Behind, Side},
};
use prost::Message;
use vtmigrated_proto::topodata::Shard;

use super::{
    life::{End, Life},
    world::{EXISTING, Keys, MINE, World},
};

/// What may be left, and is for the cleaner of leftovers.
#[derive(Clone, Copy, Default)]
pub struct Leavings {
    /// Empty tables that create had made and nothing proved to be its own.
    pub empty: usize,
    /// Diffs that a tablet did not delete.
    pub diffs: usize,
}

/// The place of a life after its end.
pub struct Place<'a> {
    /// Of the target.
    pub keyspace: &'a str,
    /// Keys of the target's topology.
    pub keys: &'a BTreeMap<String, Vec<u8>>,
    /// Shards of the keyspace.
    pub shards: &'a BTreeMap<String, Behind>,
    /// Shards of the source's keyspace.
    pub source: &'a BTreeMap<String, Behind>,
}

impl World {
    /// What is wrong with a life that has ended, in words, and what it has left that it may leave.
    pub fn judge(&self, life: &Life, end: &Result<End, String>, keys: &Keys) -> (Vec<String>, Leavings) {
        let (source, target) = (Side::Source.keyspace(life.number), Side::Target.keyspace(life.number));
        let shards = self.farm.cluster(Side::Target).behind(&target);
        let source_shards = self.farm.cluster(Side::Source).behind(&source);
        let before = &self.source[&source];
        let place = Place { keyspace: &target, keys: &keys.target, shards: &shards, source: &source_shards };
        let mut wrong = place.left();
        wrong.extend(place.lost(life.came_to(end), end));
        wrong.extend(place.of_users(life.existing));
        if *before != source_shards {
            wrong.push(format!("the source's shards are not as before: {source_shards:?}"));
        }
        if let Err(why) = end {
            wrong.push(format!("no way out: {why}"));
        }
        wrong.extend(life.told.iter().filter(|told| told.contains("does not end within")).cloned());
        (wrong, place.leavings(life.existing))
    }
}

impl Place<'_> {
    /// What is left of a workflow.
    pub fn left(&self) -> Vec<String> {
        let keyspace = self.keyspace;
        let records = format!("{GLOBAL_ROOT}/internal/vtmigrated/{keyspace}/");
        let shards = format!("{GLOBAL_ROOT}/keyspaces/{keyspace}/shards/");
        let mut left: Vec<String> = self.keys.keys().filter(|key| key.starts_with(&records)).cloned().collect();
        for (key, value) in self.keys.iter().filter(|(key, _)| key.starts_with(&shards) && key.ends_with("/Shard")) {
            let record = Shard::decode(value.as_slice()).unwrap();
            let denied = record.tablet_controls.iter().flat_map(|control| &control.denied_tables);
            left.extend(denied.map(|table| format!("{table} is denied by {key}")));
        }
        for (shard, found) in self.shards {
            left.extend(found.streams.iter().map(|workflow| format!("a stream of {workflow} on {shard}")));
        }
        left
    }

    /// What should be here and is not, or the other way round.
    pub fn lost(&self, accepted: Option<End>, end: &Result<End, String>) -> Vec<String> {
        let moved: Vec<&String> = self.source.values().flat_map(|shard| shard.tables.keys()).collect();
        let rows = |shard: &Behind, table: &String| shard.tables.get(table).copied().unwrap_or_default();
        let all = |which: &dyn Fn(u64) -> bool| {
            self.shards.values().all(|shard| moved.iter().all(|table| which(rows(shard, table))))
        };
        let (whole, none) = (all(&|rows| rows > 0), all(&|rows| rows == 0));
        let held = match accepted.or_else(|| end.as_ref().ok().copied()) {
            Some(End::Completed) => whole,
            Some(End::Cancelled) => none,
            // by a call whose answer was lost, or before anything was copied
            Some(End::Gone) => whole || none,
            Some(End::Kept) | None => true,
        };
        let tables: Vec<_> = self.shards.iter().map(|(name, shard)| (name, &shard.tables)).collect();
        if held { Vec::new() } else { vec![format!("accepted {accepted:?}, ended {end:?}, and there are {tables:?}")] }
    }

    /// Tables of a user's that are gone.
    pub fn of_users(&self, existing: bool) -> Vec<String> {
        let mut gone = Vec::new();
        for (name, shard) in self.shards {
            if shard.tables.get(MINE.0) != Some(&MINE.1) {
                gone.push(format!("the rows of {} on {name} are gone", MINE.0));
            }
            if existing && !shard.tables.contains_key(EXISTING) {
                gone.push(format!("{EXISTING} on {name}, which a user had made, is gone"));
            }
        }
        gone
    }

    fn leavings(&self, existing: bool) -> Leavings {
        let of_users = |table: &str| existing && table == EXISTING;
        let tables = self.shards.values().flat_map(|shard| &shard.tables);
        let empty = tables.filter(|(table, rows)| **rows == 0 && !of_users(table)).count();
        Leavings { empty, diffs: self.shards.values().map(|shard| shard.diffs.len()).sum() }
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::shard::TabletControl;

    use super::*;

    fn behind(tables: &[(&str, u64)]) -> Behind {
        let tables = tables.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect();
        Behind { tables, ..Behind::default() }
    }

    fn one(name: &str, shard: Behind) -> BTreeMap<String, Behind> {
        BTreeMap::from([(name.to_owned(), shard)])
    }

    #[test]
    fn what_is_left_is_seen() {
        let denied = TabletControl { denied_tables: vec!["t00000".into()], ..TabletControl::default() };
        let record = Shard { tablet_controls: vec![denied], ..Shard::default() };
        let keys = BTreeMap::from([
            (format!("{GLOBAL_ROOT}/internal/vtmigrated/customer/import/Record"), Vec::new()),
            (format!("{GLOBAL_ROOT}/keyspaces/customer/shards/-80/Shard"), record.encode_to_vec()),
            // of another life
            (format!("{GLOBAL_ROOT}/internal/vtmigrated/customer2/import/Record"), Vec::new()),
        ]);
        let shards = one("-80", Behind { streams: vec!["import".to_owned()], ..behind(&[MINE]) });
        let place = Place { keyspace: "customer", keys: &keys, shards: &shards, source: &BTreeMap::new() };
        assert_eq!(place.left().len(), 3, "{:?}", place.left());
        let nothing = BTreeMap::new();
        let place = Place { keyspace: "customer3", keys: &keys, shards: &nothing, source: &nothing };
        assert!(place.left().is_empty());
    }

    #[test]
    fn what_is_lost_is_seen() {
        let (keys, source) = (BTreeMap::new(), one("0", behind(&[("t00000", 1000), ("t00001", 1000)])));
        let lost = |tables: &[(&str, u64)], accepted, end: &Result<End, String>| {
            let shards = one("-80", behind(tables));
            Place { keyspace: "customer", keys: &keys, shards: &shards, source: &source }.lost(accepted, end).len()
        };
        let (whole, half) = ([("t00000", 1000), ("t00001", 1000), MINE], [("t00000", 1000), ("t00001", 0), MINE]);
        let gone = Ok(End::Gone);
        assert_eq!(lost(&whole, Some(End::Completed), &gone), 0);
        assert_eq!(lost(&half, Some(End::Completed), &gone), 1);
        assert_eq!(lost(&[MINE], Some(End::Completed), &gone), 1);
        assert_eq!(lost(&half, None, &gone), 1);
        assert_eq!(lost(&half, None, &Ok(End::Kept)), 0);
        assert_eq!(lost(&whole, Some(End::Cancelled), &gone), 1);
        assert_eq!(lost(&[("t00000", 0), MINE], Some(End::Cancelled), &gone), 0);
    }

    #[test]
    fn what_is_gone_of_users_is_seen() {
        let (keys, source) = (BTreeMap::new(), BTreeMap::new());
        let gone = |tables: &[(&str, u64)], existing| {
            let shards = one("-80", behind(tables));
            Place { keyspace: "customer", keys: &keys, shards: &shards, source: &source }.of_users(existing).len()
        };
        assert_eq!((gone(&[MINE], false), gone(&[MINE, (EXISTING, 0)], true)), (0, 0));
        assert_eq!((gone(&[(MINE.0, 0)], false), gone(&[MINE], true), gone(&[], true)), (1, 1, 2));
    }
}
