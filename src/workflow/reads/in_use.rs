//! The shards of a keyspace that matter to its workflows: those in use, less those that are silent and that no record lists.

use std::time::Duration;

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::PingRequest;

use crate::context::Context;
use crate::topo::paths;
use crate::workflow::streams::{Keyspace, ShardAliases, TargetShard};
use crate::workflow::{Result, record};
use crate::{deadline, tablet};

/// Bound of the question whether the primary of a shard that does not serve answers.
const ASKED: Duration = Duration::from_secs(5);

impl Keyspace {
    /// All shards in use, as [`Self::load`] reads them, without those that are [left out](Self::answering).
    pub async fn read(context: &Context, keyspace: &str) -> Result<Self> {
        Self::load(&context.topo, keyspace).await?.answering(context).await
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

impl ShardAliases {
    /// Without shards that are not [in use](Keyspace::in_use), or that are [left out](Keyspace::answering).
    pub async fn in_use(mut self, context: &Context) -> Result<Self> {
        self.keyspace = self.keyspace.in_use().answering(context).await?;
        Ok(self)
    }
}
