//! Which shards of a keyspace matter to its workflows.

use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::PingRequest;
use vtmigrated_proto::topodata::KeyRange;

use super::{Graphed, Keyspace, TargetShard, WithReplicas};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::paths;
use crate::workflow::{Error, Result, record};
use crate::{deadline, key_range, tablet};

/// Bound of the question whether the primary of a shard that does not serve answers.
const ASKED: Duration = Duration::from_secs(5);

impl TargetShard {
    /// True when its primary's record names a host.
    fn is_alive(&self) -> bool {
        self.primary.as_ref().is_some_and(|tablet| !tablet.hostname.is_empty())
    }

    /// True for one to which clients are sent.
    pub fn serves(&self) -> bool {
        self.record.value.is_primary_serving
    }

    fn overlaps(&self, ranges: &[Option<KeyRange>]) -> bool {
        ranges.iter().any(|range| key_range::intersects(range.as_ref(), self.range()))
    }
}

impl Keyspace {
    /// All shards in use, as [`Self::load`] reads them, without those that are [left out](Self::answering).
    pub async fn read(context: &Context, keyspace: &str) -> Result<Self> {
        Self::load(&context.topo, keyspace).await?.answering(context).await
    }

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
    fn served(&self) -> Vec<Option<KeyRange>> {
        let serving = |shard: &&TargetShard| shard.record.value.is_primary_serving && shard.is_alive();
        self.shards.iter().filter(serving).map(|shard| shard.range().cloned()).collect()
    }

    /// Without the shards that do not serve, overlap ones that do, and whose primary gives no answer, such as the old ones of a
    /// Reshard on hosts that have crashed. [`Cells::passed_over`](crate::topo::Cells::passed_over) names them. Where the record of
    /// a workflow of the keyspace lists such a shard, or cannot be read, the shard stays.
    ///
    /// Create makes streams, tables and denials on shards that serve, and its record lists them all; so does a stock create,
    /// which has no record: see [`Self::refuse_silent`]. Others make streams on shards that do not serve: Reshard its own, and,
    /// stopped, copies of those of its source while it switches, which run only once the shard serves (Vitess 22.0.4,
    /// `stream_migrator.go`). Neither brings anything to what clients read or write.
    ///
    /// One wave where there are shards of that kind, else none; another one when such a shard is silent.
    pub async fn answering(mut self, context: &Context) -> Result<Self> {
        let ranges = self.served();
        let is_spare = |shard: &&TargetShard| !shard.record.value.is_primary_serving && shard.overlaps(&ranges);
        let asked = self.shards.iter().filter(is_spare).map(|shard| silence(context, shard));
        let silent: Vec<(String, tablet::Error)> = join_all(asked).await.into_iter().flatten().collect();
        if silent.is_empty() {
            return Ok(self);
        }
        let nodes = context.topo.global().list(&paths::workflow_records(&self.name)).await?;
        let records = record::known(&nodes);
        let is_listed = |shard: &str| {
            let mut facts = records.iter().map(|(_, _, facts)| facts.as_ref());
            facts.any(|facts| facts.map_or(true, |facts| facts.may_name_shard(shard)))
        };
        for (shard, why) in silent.into_iter().filter(|(shard, _)| !is_listed(shard)) {
            self.cells.pass_over(format!("shard {}/{shard}, which does not serve,", self.name), why.to_string());
            self.shards.retain(|known| known.name != shard);
            self.silent.push((shard, why));
        }
        Ok(self)
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

    /// Refuses where a shard was [left out](Self::answering): for a workflow without a record, of which streams may be on it.
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

    /// These shards, where some were [left out](Self::answering), and what there is to tell of each.
    pub fn silent_among(&self, is_listed: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, Error)> {
        let listed = self.silent.iter().filter(move |(shard, _)| is_listed(shard));
        listed.map(move |(shard, why)| (shard.clone(), Error::of_silent(&self.name, shard, why)))
    }

    /// The same unless the workflow has a record: one round trip where a shard was left out.
    ///
    /// # Errors
    /// As [`Self::refuse_silent`], and a record that cannot be read.
    pub async fn refuse_unrecorded(&self, context: &Context, workflow: &str) -> Result<()> {
        if self.silent.is_empty() || record::find(context.topo.global(), &self.name, workflow).await?.is_some() {
            return Ok(());
        }
        self.refuse_silent()
    }
}

/// A shard whose primary gives no answer, and why; `None` when it does, or cannot be asked.
async fn silence(context: &Context, shard: &TargetShard) -> Option<(String, tablet::Error)> {
    let until = deadline::now() + deadline::remaining(ASKED);
    let asked = context.tablets.ping(shard.primary().ok()?, PingRequest { payload: "in use".into() });
    let error = deadline::scope(Some(until), asked).await.err()?;
    error.is_silent().then(|| (shard.name.clone(), error))
}

impl Graphed {
    /// Without shards that are not [in use](Keyspace::in_use), or that are [left out](Keyspace::answering).
    pub async fn in_use(self, context: &Context) -> Result<Self> {
        Ok(Self { keyspace: self.keyspace.in_use().answering(context).await?, ..self })
    }
}

impl WithReplicas {
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
