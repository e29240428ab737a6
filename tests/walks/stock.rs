//! `Migrate create` of a stock vtctld (Vitess 24.0.4): it takes locks only after its streams are there, and writes no record.

use std::collections::BTreeSet;

use vtmigrated::topo::paths;
use vtmigrated_proto::binlogdata::{
    BinlogSource, Filter, Rule, VReplicationWorkflowState as StreamState, VReplicationWorkflowType,
};
use vtmigrated_proto::tabletmanagerdata::CreateVReplicationWorkflowRequest;
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::vschema::keyspace::TablesEntry;

use crate::data::{Name, Table, covers};
use crate::world::{MOUNT, SOURCE, State, TABLES, TARGET, World};

impl World {
    /// Answers whether it made the workflow.
    pub async fn stock_create(&self, workflow: &str) -> bool {
        let is_mounted = self.global.get(&paths::external_cluster(MOUNT)).await.is_ok();
        if !is_mounted || !self.state().stock_may_create(workflow) {
            return false;
        }
        self.edit_vschema(|vschema| {
            for table in TABLES {
                if !vschema.tables.iter().any(|entry| entry.key == table) {
                    vschema.tables.push(TablesEntry { key: table.into(), value: Some(Default::default()) });
                }
            }
        })
        .await;
        if !self.state().stock_inserts(workflow) {
            return false;
        }
        let names = self.state().of(TARGET);
        for name in names {
            let denied: BTreeSet<String> = self.denied(&name.1).await.into_iter().collect();
            let more = TABLES.iter().filter(|table| !denied.contains(**table));
            self.state().denied_by_stock.extend(more.map(|table| (name.clone(), (*table).to_owned())));
        }
        self.edit_shards(|record| {
            let primary = i32::from(TabletType::Primary);
            if !record.tablet_controls.iter().any(|control| control.tablet_type == primary) {
                record.tablet_controls.push(TabletControl { tablet_type: primary, ..TabletControl::default() });
            }
            for control in record.tablet_controls.iter_mut().filter(|control| control.tablet_type == primary) {
                let denied: BTreeSet<String> = control.denied_tables.iter().cloned().collect();
                let more = TABLES.iter().filter(|table| !denied.contains(**table));
                control.denied_tables.extend(more.map(|table| (*table).to_owned()));
            }
        })
        .await;
        self.state().each_stream(|shard, id| {
            if shard.streams.iter().any(|stream| stream.id == id && stream.workflow == workflow) {
                shard.set_state(id, StreamState::Running);
            }
        });
        true
    }

    /// What stock denied for workflows that others have ended stays denied, and nothing tells whose that is.
    pub async fn forget_denials(&self) {
        let of_stock = self.state().denied_by_stock.clone();
        for (name, table) in of_stock {
            let is_there = self.state().shards.contains_key(&name);
            let stays = is_there && self.denied(&name.1).await.contains(&table);
            let mut state = self.state();
            let brought = state.brings(TARGET, &table);
            if stays && brought {
                continue;
            }
            state.denied_by_stock.remove(&(name.clone(), table.clone()));
            if stays {
                state.denied_by_nobody.insert((name, table));
            }
        }
    }
}

impl State {
    /// True when a stream of a keyspace brings a table.
    fn brings(&self, keyspace: &str, table: &str) -> bool {
        let streams = self.of(keyspace).into_iter().flat_map(|name| self.shards[&name].streams.clone());
        streams.into_iter().any(|stream| crate::data::rules(&stream.source).iter().any(|(name, _)| name == table))
    }

    /// All tablets that it asks answer, no stream of the name is there, and the source's tablets know the vindexes of the target.
    ///
    /// Stock does not look at the tables of other workflows. When two bring the same ones, nobody can tell their rows apart:
    /// that is left out.
    fn stock_may_create(&self, workflow: &str) -> bool {
        let silent = |uid: u32| self.is_down(uid) || self.hung.contains(&uid) || self.replaced.contains_key(&uid);
        let both = self.serving(SOURCE).into_iter().chain(self.serving(TARGET));
        let all_answer = both.into_iter().all(|name| !silent(self.shards[&name].primary));
        let is_named =
            self.of(TARGET).iter().any(|name| self.shards[name].streams.iter().any(|s| s.workflow == workflow));
        let is_shared = TABLES.iter().any(|table| self.brings(TARGET, table));
        let knows = self.setup.source_sharded || !self.setup.target_sharded;
        all_answer && knows && !is_named && !is_shared && !self.source_topology_down && self.replaced.is_empty()
    }

    /// Its tables, which must be empty where they are there, and its streams, stopped.
    fn stock_inserts(&mut self, workflow: &str) -> bool {
        let shards = self.serving(TARGET);
        let is_filled = |name: &Name| {
            let there = &self.shards[name].tables;
            TABLES.iter().any(|table| there.get(*table).is_some_and(|found| !found.rows.is_empty()))
        };
        if shards.iter().any(is_filled) {
            return false;
        }
        // it keeps no account of what was denied before
        let (before, made) = (std::mem::take(&mut self.denied_by_others), self.clock().0);
        self.dropped_by_users.clear();
        for name in &shards {
            self.denied_by_nobody.extend(before.iter().map(|table| (name.clone(), table.clone())));
            if self.setup.denied_before {
                self.denied_by_nobody.insert((name.clone(), TABLES[0].to_owned()));
            }
            let request = self.stock_request(workflow, name);
            let shard = self.shards.get_mut(name).unwrap();
            for table in TABLES {
                let table = shard.tables.entry(table.to_owned()).or_insert_with(|| Table { made, ..Table::default() });
                // a cancel of it drops all of its tables
                (table.of_user, table.handed_over) = (false, false);
            }
            shard.insert_streams(&request);
        }
        true
    }

    fn stock_request(&self, workflow: &str, target: &Name) -> CreateVReplicationWorkflowRequest {
        let meet = |a: &str, b: &str| (0..=u8::MAX).any(|place| covers(a, place) && covers(b, place));
        let from: Vec<Name> = self.serving(SOURCE).into_iter().filter(|name| meet(&name.1, &target.1)).collect();
        let same = from.len() == 1 && from[0].1 == target.1;
        let filter = |table: &str| match self.setup.target_sharded && !same {
            true => format!("select * from {table} where in_keyrange(id, '{SOURCE}.hash', '{}')", target.1),
            false => format!("select * from {table}"),
        };
        let rule = |table: &str| Rule { r#match: table.to_owned(), filter: filter(table), ..Rule::default() };
        let source = |name: &Name| BinlogSource {
            keyspace: SOURCE.into(),
            shard: name.1.clone(),
            external_cluster: MOUNT.into(),
            filter: Some(Filter { rules: TABLES.map(rule).to_vec(), ..Filter::default() }),
            stop_after_copy: self.setup.stop_after_copy,
            ..BinlogSource::default()
        };
        CreateVReplicationWorkflowRequest {
            workflow: workflow.to_owned(),
            binlog_source: from.iter().map(source).collect(),
            tablet_types: self.setup.tablet_types(),
            workflow_type: VReplicationWorkflowType::Migrate.into(),
            options: "{}".into(),
            ..CreateVReplicationWorkflowRequest::default()
        }
    }
}
