//! What is done to the keyspace that streams write to, by a create and by a way back alike.

use futures::future::join_all;
use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowType};
use vtmigrated_proto::tabletmanagerdata::CreateVReplicationWorkflowRequest;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::topo::shard::{self, Deny};
use crate::topo::{self, Lock};
use crate::workflow::checks::batching;
use crate::workflow::plan::Sources;
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::streams::{self, ShardWorkflow};
use crate::workflow::{Error, Result};

impl ClusterState {
    /// Denies clients tables on each target shard; reads pass where all tablets can tell them from writes.
    pub async fn deny(
        &self,
        context: &Context,
        tables: &(dyn Fn(&str) -> Vec<String> + Sync),
        lock: &Lock,
    ) -> topo::Result<()> {
        let records = self.target.keyspace.shards.iter().map(|shard| shard.record.clone()).collect();
        let change = if batching::reads_pass(self.sides()) { Deny::AddForWrites } else { Deny::Add };
        shard::deny_tables(context.topo.global(), records, change, tables, lock).await.map(drop)
    }

    /// Inserts the planned streams that are not among those that are there, stopped: one call for each shard.
    pub async fn insert_streams(
        &self,
        context: &Context,
        arguments: &Arguments,
        (sources, cells): (&Sources, &[String]),
        there: &[ShardWorkflow],
    ) -> Result<()> {
        let shards = self.target.keyspace.shards.iter().enumerate();
        let calls = shards.map(|(at, shard)| async move {
            let missing = missing(self.planned(sources, &shard.name), streams::on(there, at));
            if missing.is_empty() {
                return Ok(());
            }
            let primary = shard.primary()?;
            let request = CreateVReplicationWorkflowRequest {
                binlog_source: missing,
                cells: cells.to_vec(),
                ..self.insert_request(context, arguments, primary)
            };
            context.tablets.create_v_replication_workflow(primary, request).await?;
            Ok(())
        });
        Error::all(join_all(calls).await)
    }

    fn insert_request(
        &self,
        context: &Context,
        arguments: &Arguments,
        primary: &Tablet,
    ) -> CreateVReplicationWorkflowRequest {
        let keep = context.options.keep_vplayer_batching;
        CreateVReplicationWorkflowRequest {
            workflow: arguments.workflow.clone(),
            tablet_types: arguments.tablet_types.iter().map(|kind| (*kind).into()).collect(),
            tablet_selection_preference: arguments.preference.into(),
            workflow_type: VReplicationWorkflowType::Migrate.into(),
            defer_secondary_keys: arguments.defer_secondary_keys,
            auto_start: arguments.auto_start,
            stop_after_copy: arguments.stop_after_copy,
            options: batching::of(primary, self.sides(), &arguments.tablet_types, keep).options(),
            ..CreateVReplicationWorkflowRequest::default()
        }
    }
}

/// The planned streams of a target shard that are not there yet. There is one for each source shard that it reads.
fn missing<'s>(planned: &[BinlogSource], there: impl Iterator<Item = &'s Stream>) -> Vec<BinlogSource> {
    let there: Vec<&str> = there.filter_map(|stream| Some(stream.bls.as_ref()?.shard.as_str())).collect();
    planned.iter().filter(|source| !there.contains(&source.shard.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_made_once() {
        let source = |shard: &str| BinlogSource { shard: shard.into(), ..BinlogSource::default() };
        let low = Stream { bls: Some(source("-80")), ..Stream::default() };
        assert_eq!(missing(&[source("-80"), source("80-")], [&low].into_iter()), [source("80-")]);
    }
}
