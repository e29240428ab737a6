//! Tablets that may not know that create denied tables: whether one of them is a shard's primary, or may have been since.

use serde::{Deserialize, Serialize};
use vtmigrated_proto::topodata::Shard;

use super::Facts;
use crate::tablet;
use crate::topo::paths;
use crate::topo::tablet::began;
use crate::workflow::streams::{KeyspaceTablets, TargetShard};

/// The primary that a shard had when a tablet that is of it, or may be, was found not to know: it may have been primary since when
/// the shard has another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// The tablet's alias, or a cell whose tablets nobody could ask.
    unaware: String,
    shard: String,
    /// The primary's alias, and since when it was primary, in seconds and nanoseconds since the epoch.
    primary: String,
    since: Option<(i64, i32)>,
}

impl Reign {
    /// The primaries that the shards of some tablets have, by aliases and cells; and those `known` ones that are over, for clients may
    /// have written since, whatever their tablets know by now.
    pub fn all(target: &KeyspaceTablets, unaware: &[String], known: &[Self]) -> Vec<Self> {
        let has = |shard: &TargetShard, alias: &String| {
            let tablets = target.tablets.get(&shard.name).into_iter().flatten();
            tablets.map(tablet::alias).any(|known| known == *alias)
        };
        let shards = &target.keyspace.shards;
        let is_over = |reign: &&Self| {
            let shard = shards.iter().find(|shard| shard.name == reign.shard);
            shard.is_some_and(|shard| reign.is_over(&shard.record.value))
        };
        let mut all: Vec<Self> = known.iter().filter(is_over).cloned().collect();
        for name in unaware {
            // those of a cell, and one that has come since, may be of any
            let is_known = shards.iter().any(|shard| has(shard, name));
            let theirs = shards.iter().filter(|shard| !is_known || has(shard, name));
            all.extend(theirs.map(|shard| Self::of(name, &shard.name, &shard.record.value)));
        }
        all
    }

    fn of(unaware: &str, shard: &str, record: &Shard) -> Self {
        Self {
            unaware: unaware.to_owned(),
            shard: shard.to_owned(),
            primary: record.primary_alias.as_ref().map(paths::alias_text).unwrap_or_default(),
            since: began(record.primary_term_start_time.as_ref()),
        }
    }

    fn is_over(&self, record: &Shard) -> bool {
        *self != Self::of(&self.unaware, &self.shard, record)
    }
}

impl Facts {
    /// True when the present primary of a shard is not known to have read that create denied the tables.
    pub fn has_unaware_primary(&self, shard: &TargetShard) -> bool {
        let Some(primary) = &shard.record.value.primary_alias else { return false };
        let alias = paths::alias_text(primary);
        let started = shard.primary.as_ref().and_then(|tablet| began(tablet.tablet_start_time.as_ref()));
        let is_the_same = |(known, then): &(String, (i64, i32))| *known == alias && started == Some(*then);
        self.is_unaware(&alias, &primary.cell) || self.starting.iter().any(is_the_same)
    }

    /// The same of those, too, that may have been primary since create, so that clients may have written. A tablet that was not
    /// refreshed may; one that nobody reached then has read its shard's record when it started.
    pub fn may_have_had_unaware_primary(&self, shard: &TargetShard) -> bool {
        self.has_unaware_primary(shard) || self.has_had_others(&shard.name, &shard.record.value)
    }

    /// True when a shard has another primary, or has one anew, since one of its tablets was found not to know of denied tables, and
    /// before that one knew.
    pub fn has_had_others(&self, shard: &str, record: &Shard) -> bool {
        self.over(shard, record).next().is_some()
    }

    /// Since when such a shard had the first of the primaries that it had then, in nanoseconds since the epoch.
    pub fn had_since(&self, shard: &TargetShard) -> i64 {
        let over = self.over(&shard.name, &shard.record.value);
        let nanos = |(seconds, nanos): (i64, i32)| seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into());
        over.map(|reign| reign.since.map_or(0, nanos)).min().unwrap_or_default()
    }

    /// True for a tablet that clients may have written to if it was primary of such a shard.
    pub fn is_suspect(&self, shard: &TargetShard, alias: &str) -> bool {
        let cell = alias.rsplit_once('-').map_or("", |(cell, _)| cell);
        let mut over = self.over(&shard.name, &shard.record.value);
        over.any(|reign| self.is_meant(&reign.unaware, alias, cell))
    }

    fn over<'f>(&'f self, shard: &'f str, record: &'f Shard) -> impl Iterator<Item = &'f Reign> {
        self.reigns.iter().filter(move |reign| reign.shard == shard && reign.is_over(record))
    }

    /// True for a tablet that has not read that tables are denied, or may not have, unless it has started since.
    pub fn may_be_unaware(&self, alias: &str, cell: &str) -> bool {
        self.is_unaware(alias, cell) || self.starting.iter().any(|(starting, _)| starting == alias)
    }

    fn is_unaware(&self, alias: &str, cell: &str) -> bool {
        self.unaware.iter().any(|unaware| self.is_meant(unaware, alias, cell))
    }

    /// True when a name of who is not known to know is a tablet's, or that of its cell and the tablet is not known to know.
    fn is_meant(&self, name: &str, alias: &str, cell: &str) -> bool {
        name == alias || name == cell && !self.aware.iter().any(|aware| aware == alias)
    }

    /// Notes that a tablet has read the record of its shard, which is this. What it let clients write if it was primary meanwhile is
    /// written.
    pub fn make_aware(&mut self, (shard, record): (&str, &Shard), alias: &str, cell: &str) {
        self.unaware.retain(|unaware| unaware != alias);
        self.reigns.retain(|reign| reign.unaware != alias || reign.shard == shard && reign.is_over(record));
        self.starting.retain(|(starting, _)| starting != alias);
        if self.is_unaware(alias, cell) {
            let of_cell = self.over(shard, record).find(|reign| reign.unaware == cell).cloned();
            self.reigns.extend(of_cell.map(|reign| Reign { unaware: alias.to_owned(), ..reign }));
            self.aware.push(alias.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vtmigrated_proto::topodata::TabletAlias;
    use vtmigrated_proto::vttime::Time;

    use super::*;

    fn shard(primary: u32, seconds: i64) -> Shard {
        Shard {
            primary_alias: Some(TabletAlias { cell: "zone1".into(), uid: primary }),
            primary_term_start_time: Some(Time { seconds, nanoseconds: 0 }),
            ..Shard::default()
        }
    }

    fn facts(unaware: &[&str]) -> Facts {
        let reign = |name: &&str| Reign::of(name, "-80", &shard(100, 5));
        let json = json!({
            "phase": "created", "mount": "ext1", "arguments": "", "tables": [], "created_tables": [], "vschema_tables": [],
            "denied_tables": [], "unaware": unaware, "reigns": unaware.iter().map(reign).collect::<Vec<_>>(),
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_tablet_that_is_refreshed_while_its_shard_had_no_other_primary_let_nobody_write() {
        let mut facts = facts(&["zone1-0000000101", "zone9"]);
        assert!(!facts.has_had_others("-80", &shard(100, 5)) && !facts.has_had_others("80-", &shard(100, 7)));
        assert!(facts.has_had_others("-80", &shard(100, 7)) && facts.has_had_others("-80", &shard(102, 5)));
        facts.make_aware(("-80", &shard(100, 5)), "zone1-0000000101", "zone1");
        facts.make_aware(("-80", &shard(100, 5)), "zone9-0000000900", "zone9");
        assert_eq!((facts.unaware.as_slice(), facts.reigns.len()), (["zone9".to_owned()].as_slice(), 1));
    }

    #[test]
    fn one_that_is_refreshed_later_may_have_been_primary_before() {
        let mut facts = facts(&["zone1-0000000101", "zone9"]);
        facts.make_aware(("-80", &shard(100, 7)), "zone1-0000000101", "zone1");
        facts.make_aware(("-80", &shard(100, 7)), "zone9-0000000900", "zone9");
        assert_eq!((&facts.unaware, &facts.aware), (&vec!["zone9".to_owned()], &vec!["zone9-0000000900".to_owned()]));
        let names: Vec<&str> = facts.reigns.iter().map(|reign| reign.unaware.as_str()).collect();
        assert_eq!(names, ["zone1-0000000101", "zone9", "zone9-0000000900"]);
        let read: Facts = serde_json::from_value(serde_json::to_value(&facts).unwrap()).unwrap();
        assert_eq!(read, facts);
    }
}
