//! What stock programs and operators do to the clusters meanwhile.

use prost::Message;
use vtmigrated::topo::{Expect, Write, paths, shard};
use vtmigrated::workflow::record;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{Shard as Record, TabletType};
use vtmigrated_proto::vschema::Keyspace as VSchema;
use vtmigrated_proto::vttime::Time;

use crate::data::{Name, covers, place};
use crate::operations::{SECOND, WORKFLOW};
use crate::world::{SOURCE, TABLES, TARGET, World, alias, chosen, other, put, tablet};

impl World {
    /// A shard's replica becomes its primary.
    pub async fn reparent(&self, keyspace: &str, number: usize) {
        let Some(name) = self.state().serving(keyspace).into_iter().nth(number) else { return };
        let (elected, term) = self.state().elect(&name);
        self.write_primary(&name, elected, term).await;
        self.refresh(elected).await;
    }

    /// The records of a shard and its tablets say who is primary, and who is not.
    async fn write_primary(&self, (keyspace, shard): &Name, primary: u32, term: Option<Time>) {
        self.state().replaced.retain(|uid, _| *uid != primary && *uid != other(primary));
        let Some(mut record) = self.record(keyspace, shard).await else { return };
        record.primary_alias = Some(alias(primary));
        record.primary_term_start_time = term;
        self.put(keyspace, &paths::shard(keyspace, shard), &record).await;
        let cell = self.cell(keyspace).await;
        for (uid, kind, term) in [(primary, TabletType::Primary, term), (other(primary), TabletType::Replica, None)] {
            let path = paths::tablet(&alias(uid));
            // a tablet whose record is gone ends, and makes none anew (Vitess 22.0.4 and 24.0.4, `publishStateLocked`)
            if cell.get(&path).await.is_ok() {
                put(&cell, &path, &tablet(uid, keyspace, shard, kind, term)).await;
            }
        }
    }

    /// A tablet of the source takes over and writes that in its own record only; the old primary knows nothing of it.
    pub async fn source_fails_over(&self, number: usize) {
        let Some(name) = self.state().serving(SOURCE).into_iter().nth(number) else { return };
        let (elected, term) = {
            let mut state = self.state();
            let (old, events) = (state.shards[&name].primary, state.shards[&name].log.len());
            if state.replaced.contains_key(&other(old)) {
                return;
            }
            state.replaced.insert(old, events);
            state.elect(&name)
        };
        let record = tablet(elected, SOURCE, &name.1, TabletType::Primary, term);
        put(&self.cell(SOURCE).await, &paths::tablet(&alias(elected)), &record).await;
    }

    /// What is silent answers again, and those that took over write their shards' records.
    pub async fn heal(&self) {
        let replaced: Vec<(Name, u32)> = {
            let mut state = self.state();
            state.heal();
            let replaced = std::mem::take(&mut state.replaced);
            let name = |uid: &u32| state.seats.get(uid).map(|seat| (seat.shard.clone(), other(*uid)));
            replaced.keys().filter_map(name).filter(|(name, _)| state.shards.contains_key(name)).collect()
        };
        for (name, primary) in replaced {
            let term = self.state().term();
            self.write_primary(&name, primary, term).await;
        }
    }

    /// The leases of all locks end.
    pub async fn lose_leases(&self) {
        for conn in [&self.global, &self.source] {
            for node in conn.list("").await.unwrap() {
                if node.path.contains("/locks/") {
                    conn.write_one(Write::delete(node.path, Expect::Any), None).await.unwrap();
                }
            }
        }
    }

    /// `Workflow delete` of a stock vtctld.
    pub async fn stock_delete(&self, workflow: &str, keep_data: bool) {
        let tables = self.state().stock_deletes_streams(workflow, !keep_data);
        if !keep_data {
            self.edit_vschema(|vschema| vschema.tables.retain(|entry| !tables.contains(&entry.key))).await;
        }
    }

    /// `Migrate complete` of a stock vtctld: it asks nothing. For a sharded target it fails after this.
    pub async fn stock_complete(&self, workflow: &str) {
        self.state().stock_deletes_streams(workflow, false);
    }

    pub async fn edit_vschema(&self, edit: impl FnOnce(&mut VSchema)) {
        let path = paths::vschema(TARGET);
        let mut vschema = VSchema::decode(self.global.get(&path).await.unwrap().value).unwrap();
        if !vschema.sharded {
            edit(&mut vschema);
            self.put(TARGET, &path, &vschema).await;
        }
    }

    /// Users make tables. One that they dropped before a cancel of its workflow began they do not make again: nothing would tell it
    /// from the workflow's.
    pub async fn users_make_tables(&self, which: usize) {
        let mut is_told = true;
        for workflow in [WORKFLOW, SECOND] {
            let facts = record::find(&self.global, TARGET, workflow).await.unwrap().map(|stored| stored.facts);
            let streams = self.state().streams_of(workflow);
            is_told &= match facts {
                Some(facts) => {
                    let is_noted = |(shard, id): &(String, i32)| facts.lists(shard, *id) == Some(true);
                    facts.cancelling && streams.iter().all(is_noted)
                }
                None => streams.is_empty(),
            };
        }
        let mut state = self.state();
        if is_told {
            state.dropped_by_users.clear();
        }
        chosen(which).for_each(|table| state.user_makes_table(table));
    }

    /// The target keyspace is deleted as stock does it, and made anew with other tablets.
    pub async fn keyspace_anew(&self) {
        if !self.state().has_room() {
            return;
        }
        let cell = self.cell(TARGET).await;
        let old: Vec<u32> = {
            let mut state = self.state();
            let old = state.seats.iter().filter(|(_, seat)| seat.shard.0 == TARGET).map(|(uid, _)| *uid).collect();
            state.target_is_gone();
            old
        };
        for uid in old {
            cell.write_one(Write::delete(paths::tablet(&alias(uid)), Expect::Any), None).await.unwrap();
        }
        for conn in [&self.global, &cell] {
            for node in conn.list(&paths::keyspace_dir(TARGET)).await.unwrap() {
                conn.write_one(Write::delete(node.path, Expect::Any), None).await.unwrap();
            }
        }
        self.make_target_anew().await;
    }

    pub async fn make_target_anew(&self) {
        let sharded = self.state().setup.target_sharded;
        self.make_keyspace(TARGET, sharded).await;
    }

    /// The first serving shard of the source is split.
    pub async fn reshard_source(&self) {
        let (old, room) = {
            let state = self.state();
            (state.serving(SOURCE).into_iter().next(), state.has_room())
        };
        let Some(old) = old.filter(|_| room) else { return };
        let halves: [&str; 2] = match old.1.as_str() {
            "0" => ["-80", "80-"],
            "-80" => ["-40", "40-80"],
            "80-" => ["80-c0", "c0-"],
            _ => return,
        };
        for half in halves {
            let primary = {
                let mut state = self.state();
                let primary = state.make_shard(SOURCE, half);
                let tables = state.shards[&old].tables.clone();
                let new = state.shards.get_mut(&(SOURCE.to_owned(), half.to_owned())).unwrap();
                new.tables = tables;
                new.tables.values_mut().for_each(|table| table.rows.retain(|id, _| covers(half, place(*id))));
                let journal = (half.to_owned(), new.log.len(), new.position(new.log.len()));
                let old = state.shards.get_mut(&old).unwrap();
                old.successors.push(journal);
                old.serving = false;
                primary
            };
            self.make_records(SOURCE, half, primary).await;
        }
        let mut record = self.record(SOURCE, &old.1).await.unwrap();
        record.is_primary_serving = false;
        self.put(SOURCE, &paths::shard(SOURCE, &old.1), &record).await;
    }

    /// The source's shards that serve no more are deleted.
    pub async fn old_shards_deleted(&self) {
        let old = {
            let state = self.state();
            state.of(SOURCE).into_iter().filter(|name| !state.shards[name].serving).collect::<Vec<_>>()
        };
        for name in old {
            self.state().shards.remove(&name);
            let path = paths::shard(SOURCE, &name.1);
            self.source.write_one(Write::delete(path, Expect::Any), None).await.unwrap();
        }
    }

    /// Somebody denies a table before anything else happens.
    pub async fn deny_before(&self) {
        self.state().denied_by_others.insert(TABLES[0].to_owned());
        self.edit_shards(|record| {
            let denied_tables = vec![TABLES[0].to_owned()];
            let control =
                TabletControl { tablet_type: TabletType::Primary.into(), denied_tables, ..TabletControl::default() };
            record.tablet_controls.push(control);
        })
        .await;
    }

    /// Somebody lifts all denied tables of the target.
    pub async fn lifted_by_hand(&self) {
        self.state().denied_by_others.clear();
        self.edit_shards(|record| record.tablet_controls.clear()).await;
    }

    pub async fn edit_shards(&self, edit: impl Fn(&mut Record)) {
        let shards = self.state().of(TARGET);
        for name in shards {
            let Some(mut record) = self.record(TARGET, &name.1).await else { continue };
            edit(&mut record);
            self.put(TARGET, &paths::shard(TARGET, &name.1), &record).await;
            let primary = self.state().shards[&name].primary;
            self.refresh(primary).await;
        }
    }

    /// The target's primaries read their shards' records again.
    pub async fn refresh_target(&self) {
        let primaries = self.state().primaries(TARGET);
        for primary in primaries {
            self.refresh(primary).await;
        }
    }

    /// Tables that are denied on a shard, by its record.
    pub async fn denied(&self, name: &str) -> Vec<String> {
        self.record(TARGET, name).await.as_ref().map(shard::denied).unwrap_or_default()
    }
}
