//! What is behind a shard when a farm starts.

use std::{sync::Arc, time::SystemTime};

use vtmigrated::{key_range, sql::quote};
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Filter, Rule, VReplicationWorkflowState as State, VReplicationWorkflowType},
    tabletmanagerdata::{CreateVReplicationWorkflowRequest, TabletSelectionPreference},
    topodata::TabletType,
};

use super::{
    Settings,
    contents::{Contents, Names},
    shape::Side,
    statement::Which,
};

/// The contents of a shard of a keyspace: in the source all tables, in the target those of the workflows that are there.
#[must_use]
pub fn contents(settings: &Settings, side: Side, keyspace: usize, shard: &str, names: &Arc<Names>) -> Contents {
    let shape = &settings.shape;
    let mut contents = Contents::new(format!("vt_{}", side.keyspace(keyspace)), names, settings.copy_time);
    if side == Side::Source {
        contents.fill(&shape.all_tables());
        return contents;
    }
    // they are done with their copy
    let now = SystemTime::now();
    let begun = now.checked_sub(settings.copy_time).unwrap_or(now);
    for (number, workflow) in shape.moves().into_iter().enumerate() {
        let tables = shape.moved_tables(number);
        contents.fill(&tables);
        let mount = settings.mount_of(keyspace * shape.workflows + number);
        let source = |from: &String| source(&mount, keyspace, from, shard, &tables);
        let sources = shape.shards_of(Side::Source);
        let request = CreateVReplicationWorkflowRequest {
            workflow: workflow.clone(),
            binlog_source: sources.iter().filter(|from| feeds(from, shard)).map(source).collect(),
            cells: vec![Side::Source.cell().to_owned()],
            tablet_types: vec![TabletType::Replica.into(), TabletType::Primary.into()],
            tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
            workflow_type: VReplicationWorkflowType::Migrate.into(),
            options: "{}".to_owned(),
            ..CreateVReplicationWorkflowRequest::default()
        };
        contents.insert(request, begun);
        contents.set(&Which::Workflows(vec![workflow]), Some(State::Running), None, begun);
    }
    contents.advance(now);
    contents
}

/// Whether rows of a source shard belong to a target shard.
fn feeds(source: &str, target: &str) -> bool {
    let range = |shard: &str| key_range::parse(shard).ok();
    key_range::intersects(range(source).as_ref(), range(target).as_ref())
}

/// A stream's source as stock's create writes it (Vitess 24.0.4).
fn source(mount: &str, keyspace: usize, from: &str, to: &str, tables: &[String]) -> BinlogSource {
    let keyspace = Side::Source.keyspace(keyspace);
    let rule = |table: &String| {
        let name = quote::identifier(table);
        let all = format!("select * from {name}");
        let filter = if from == to { all } else { format!("{all} where in_keyrange(id, '{keyspace}.hash', '{to}')") };
        Rule { r#match: table.clone(), filter, ..Rule::default() }
    };
    BinlogSource {
        shard: from.to_owned(),
        filter: Some(Filter { rules: tables.iter().map(rule).collect(), ..Filter::default() }),
        external_cluster: mount.to_owned(),
        keyspace,
        ..BinlogSource::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowsRequest;

    use super::*;
    use crate::farm::Shape;

    #[test]
    fn workflows_that_are_there_run_from_each_shard_that_feeds_them() {
        let shape = Shape { shards: 2, source_shards: Some(4), tables: 3, workflows: 2, ..Shape::default() };
        let settings = Settings { shape, copy_time: Duration::from_secs(60), ..Settings::default() };
        let contents = contents(&settings, Side::Target, 0, "80-", &Arc::default());
        let told = contents.told(&ReadVReplicationWorkflowsRequest::default(), SystemTime::now());
        assert_eq!(told.iter().map(|of| of.workflow.as_str()).collect::<Vec<_>>(), ["moved000", "moved001"]);
        let shards: Vec<_> = told[0].streams.iter().map(|s| s.bls.as_ref().unwrap().shard.as_str()).collect();
        assert_eq!(shards, ["80-c0", "c0-"]);
        assert!(told.iter().flat_map(|of| &of.streams).all(|s| s.bls.as_ref().unwrap().external_cluster == "ext1"));
        assert!(told.iter().flat_map(|of| &of.streams).all(|stream| stream.state() == State::Running));
        assert!(contents.tables.values().all(|rows| *rows > 0));
        assert_eq!(contents.tables.len(), 6);
    }

    #[test]
    fn workflows_take_turns_with_the_mounts() {
        let shape = Shape { keyspaces: 2, tables: 1, workflows: 2, ..Shape::default() };
        let settings = Settings { shape, mounts: 3, ..Settings::default() };
        let mounts = |keyspace| {
            let contents = contents(&settings, Side::Target, keyspace, "80-", &Arc::default());
            contents.streams.iter().map(|stream| stream.source.external_cluster.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            (mounts(0), mounts(1)),
            (vec!["ext1".into(), "ext1-2".into()], vec!["ext1-3".into(), "ext1".into()])
        );
    }
}
