//! Which shards of a keyspace matter to its workflows.

use vtmigrated_proto::topodata::KeyRange;

use super::{Keyspace, KeyspaceTablets, TargetShard};
use crate::error::Reason;
use crate::key_range;
use crate::workflow::{Error, Result};

impl TargetShard {
    /// True when its primary's record names a host.
    pub(in crate::workflow) fn is_alive(&self) -> bool {
        self.primary.as_ref().is_some_and(|tablet| !tablet.hostname.is_empty())
    }

    /// True for one to which clients are sent.
    pub fn serves(&self) -> bool {
        self.record.value.is_primary_serving
    }

    /// True when its range overlaps one of these.
    pub(in crate::workflow) fn overlaps(&self, ranges: &[Option<KeyRange>]) -> bool {
        ranges.iter().any(|range| key_range::intersects(range.as_ref(), self.range()))
    }
}

impl Keyspace {
    /// Without the shards that were made and never filled, or are left over: they have no primary (or it was shut down, and
    /// its record names no host), and either do not serve or overlap one that serves and has a primary.
    #[must_use]
    pub fn in_use(mut self) -> Self {
        let ranges = self.served();
        self.shards
            .retain(|shard| shard.is_alive() || shard.record.value.is_primary_serving && !shard.overlaps(&ranges));
        self
    }

    /// Ranges of the shards that serve and have a primary.
    pub(in crate::workflow) fn served(&self) -> Vec<Option<KeyRange>> {
        let serving = |shard: &&TargetShard| shard.record.value.is_primary_serving && shard.is_alive();
        self.shards.iter().filter(serving).map(|shard| shard.range().cloned()).collect()
    }

    /// Those of some tables to which clients can write, by shard.
    pub fn writable(&self, tables: &[String]) -> Vec<(String, Vec<String>)> {
        let on = self.shards.iter().zip(self.not_denied(tables)).filter(|(shard, _)| shard.serves());
        on.map(|(_, open)| open).filter(|(_, tables)| !tables.is_empty()).collect()
    }

    /// Refuses names of shards that the keyspace does not have.
    ///
    /// # Errors
    /// The first such name.
    pub fn check_shards(&self, shards: &[String]) -> Result<()> {
        let Some(unknown) = shards.iter().find(|name| !self.shards.iter().any(|shard| shard.name == **name)) else {
            return Ok(());
        };
        self.refuse_silent()?;
        let text = format!("shard {unknown} not found in keyspace {}", self.name);
        Err(Error::not_found(Reason::SHARD_UNKNOWN, text, format!("see FindAllShardsInKeyspace {}", self.name)))
    }

    /// Refuses where a shard was [left out](Keyspace::answering): for a workflow without a record, of which streams may be on it.
    ///
    /// # Errors
    /// That its primary gives no answer.
    pub fn refuse_silent(&self) -> Result<()> {
        self.refuse_silent_among(|_| true)
    }

    /// The same of those shards alone that something lists whose record is elsewhere, such as a way back of another keyspace's workflow.
    ///
    /// # Errors
    /// The same.
    pub fn refuse_silent_among(&self, is_listed: impl Fn(&str) -> bool) -> Result<()> {
        self.silent_among(is_listed).next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// These shards, where some were [left out](Keyspace::answering), and what there is to tell of each.
    pub fn silent_among(&self, is_listed: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, Error)> {
        let listed = self.silent.iter().filter(move |(shard, _)| is_listed(shard));
        listed.map(move |(shard, why)| (shard.clone(), Error::of_silent(&self.name, shard, why)))
    }
}

impl KeyspaceTablets {
    /// Without shards that are not [in use](Keyspace::in_use).
    #[must_use]
    pub fn in_use(self) -> Self {
        let Self { keyspace, mut tablets } = self;
        let keyspace = keyspace.in_use();
        tablets.retain(|name, _| keyspace.shards.iter().any(|shard| shard.name == *name));
        Self { keyspace, tablets }
    }

    /// Without shards that do not serve: no client reaches them, and they need not have the tables.
    #[must_use]
    pub fn serving(mut self) -> Self {
        self.keyspace.shards.retain(TargetShard::serves);
        self
    }
}
