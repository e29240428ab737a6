//! What clients and people at the tables do, and how machines fail: changes of what is behind the tablets.

use std::collections::BTreeSet;

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as StreamState;
use vtmigrated_proto::vttime::Time;

use crate::data::{Name, Owner, Row, Shard, Table, rules};
use crate::step::Position;
use crate::world::{SOURCE, State, TABLES, TARGET, other};

impl State {
    pub fn source_insert(&mut self, table: &str) {
        let (id, version) = (self.next_row, self.next_version());
        self.next_row += 1;
        self.source_change(table, id, Some(version));
    }

    pub fn source_change(&mut self, table: &str, id: i64, version: Option<u64>) {
        let Some(home) = self.home(SOURCE, id) else { return };
        if self.seats[&self.shards[&home].primary].denied.contains(table) {
            return;
        }
        let changed = self.next_version();
        self.changes.insert((table.to_owned(), id), version.unwrap_or(changed));
        self.shards.get_mut(&home).unwrap().write(table, id, version, changed);
    }

    /// A client of the target writes a row of its own, and one that is there, unless that is denied.
    pub fn client_writes(&mut self, table: &str) {
        if self.setup.way_back {
            return self.writes_on_target(table);
        }
        for name in self.serving(TARGET) {
            let primary = self.shards[&name].primary;
            if self.is_down(primary) || self.seats[&primary].denied.contains(table) {
                continue;
            }
            let version = self.next_version();
            let Some(there) = self.shards.get_mut(&name).unwrap().tables.get_mut(table) else { continue };
            let row = Row { version, owner: Owner::Client };
            if let Some(first) = there.rows.values_mut().next() {
                *first = row.clone();
            }
            let own = 1_000_000 + i64::try_from(version).unwrap();
            there.rows.insert(own, row);
        }
    }

    /// Clients of the source write: new rows, and one that is changed.
    pub fn source_writes(&mut self, rows: usize) {
        for number in 0..rows {
            self.source_insert(TABLES[number % TABLES.len()]);
        }
        self.change_first(|state| Some(state.next_version()));
    }

    pub fn source_deletes(&mut self) {
        self.change_first(|_| None);
    }

    fn change_first(&mut self, version: impl Fn(&mut Self) -> Option<u64>) {
        let first = self.serving(SOURCE).into_iter().find_map(|name| {
            let (table, of) = self.shards[&name].tables.iter().find(|(_, of)| !of.rows.is_empty())?;
            Some((table.clone(), *of.rows.keys().next()?))
        });
        if let Some((table, id)) = first {
            let version = version(self);
            self.source_change(&table, id, version);
        }
    }

    /// The tablets of the source's primaries end; their MySQL goes on.
    pub fn source_dies(&mut self) {
        self.down.extend(self.primaries(SOURCE));
    }

    /// The tablets of a keyspace's primaries take calls and do not answer.
    pub fn hangs(&mut self, keyspace: &str) {
        self.hung.extend(self.primaries(keyspace));
    }

    /// A shard's other tablet becomes its primary: which, and when.
    pub fn elect(&mut self, name: &Name) -> (u32, Option<Time>) {
        let term = self.term();
        let shard = self.shards.get_mut(name).unwrap();
        shard.primary = other(shard.primary);
        shard.elect(shard.primary);
        (shard.primary, term)
    }

    /// The target keyspace is gone, with its tablets and their MySQL.
    pub fn target_is_gone(&mut self) {
        self.shards.retain(|name, _| name.0 != TARGET);
        self.seats.retain(|_, seat| seat.shard.0 != TARGET);
        self.denied_by_others.clear();
        self.denied_by_stock.clear();
        self.denied_by_nobody.clear();
        self.dropped_by_users.clear();
    }

    pub fn heal(&mut self) {
        self.down.clear();
        self.hung.clear();
        self.source_topology_down = false;
        self.stalled = false;
    }

    /// Streams of the target's shards, changed by hand.
    pub fn each_stream(&mut self, run: impl Fn(&mut Shard, i32)) {
        for name in self.of(TARGET) {
            let Some(shard) = self.shards.get_mut(&name) else { continue };
            let ids: Vec<i32> = shard.streams.iter().map(|stream| stream.id).collect();
            ids.into_iter().for_each(|id| run(shard, id));
        }
    }

    /// Somebody writes a position into the row of a stream, and the tablet reads the row anew.
    pub fn position_edited(&mut self, number: usize, to: Position) {
        let Some((shard, id)) = self.stream(number) else { return };
        let copying = shard.copy.iter().any(|copy| copy.stream == id);
        let Some(stream) = shard.streams.iter().find(|stream| stream.id == id).cloned() else { return };
        let from = self.shards.get(&(stream.source.keyspace.clone(), stream.source.shard.clone()));
        let (Some(at), Some(from)) = (stream.at, from) else { return };
        let (at, position) = match to {
            // what was copied would miss what was changed until the rest is: a lie that nobody can see
            Position::Empty if copying => return,
            Position::Empty => (None, String::new()),
            Position::Garbled => (Some(at), "x".to_owned()),
            Position::Older(back) => {
                let at = at.saturating_sub(back).max(1);
                (Some(at), from.position(at))
            }
        };
        let Some((shard, _)) = self.stream(number) else { return };
        shard.streams.iter_mut().filter(|stream| stream.id == id).for_each(|stream| {
            stream.at = at;
            stream.position.clone_from(&position);
        });
        shard.set_state(id, stream.state);
    }

    /// Names of all tables of the target.
    pub fn tables_of_target(&self) -> BTreeSet<String> {
        self.of(TARGET).iter().flat_map(|name| self.shards[name].tables.keys().cloned()).collect()
    }

    /// The target's streams of a workflow: shards and ids.
    pub fn streams_of(&self, workflow: &str) -> Vec<(String, i32)> {
        let on = |name: Name| {
            let streams = self.shards[&name].streams.iter().filter(|stream| stream.workflow == workflow);
            streams.map(|stream| (name.1.clone(), stream.id)).collect::<Vec<_>>()
        };
        self.of(TARGET).into_iter().flat_map(on).collect()
    }

    /// The target's stream of this number, if there are so many.
    fn stream(&mut self, number: usize) -> Option<(&mut Shard, i32)> {
        let all: Vec<_> = self
            .of(TARGET)
            .into_iter()
            .flat_map(|name| {
                self.shards[&name].streams.iter().map(|s| s.id).map(move |id| (name.clone(), id)).collect::<Vec<_>>()
            })
            .collect();
        let (name, id) = all.get(number)?.clone();
        Some((self.shards.get_mut(&name)?, id))
    }

    /// A transaction cannot be applied.
    pub fn stream_fails(&mut self, number: usize) {
        if let Some((shard, id)) = self.stream(number)
            && let Some(stream) = shard.streams.iter_mut().find(|stream| stream.id == id)
            && stream.state == StreamState::Running
        {
            stream.state = StreamState::Error;
            stream.message = "Data too long for column 'v' at row 1 (errno 1406) (sqlstate 22001)".to_owned();
        }
    }

    pub fn stream_deleted(&mut self, number: usize) {
        if let Some((shard, id)) = self.stream(number) {
            let of = shard.streams.iter().find(|stream| stream.id == id).map(|stream| stream.workflow.clone());
            shard.delete_streams(|stream| stream.id == id);
            shard.forget_whose(&of.unwrap_or_default());
        }
    }

    pub fn streams_stopped(&mut self) {
        self.each_stream(|shard, id| shard.set_state(id, StreamState::Stopped));
    }

    pub fn streams_frozen(&mut self) {
        self.streams_stopped();
        self.each_stream(|shard, id| message(shard, id, "FROZEN"));
    }

    pub fn streams_thawed(&mut self) {
        self.each_stream(|shard, id| {
            message(shard, id, "");
            shard.set_state(id, StreamState::Running);
        });
    }

    /// Somebody makes a table on the target: nothing that a shard's record denies keeps them from it.
    pub fn user_makes_table(&mut self, table: &str) {
        let made = self.clock().0;
        for name in self.serving(TARGET) {
            if self.dropped_by_users.contains(&(name.clone(), table.to_owned())) {
                continue;
            }
            let of_user = Table { of_user: true, made, ..Table::default() };
            self.shards.get_mut(&name).unwrap().tables.entry(table.to_owned()).or_insert(of_user);
        }
    }

    /// Somebody drops a table on the target, whose ever it is.
    pub fn user_drops_table(&mut self, table: &str) {
        for name in self.serving(TARGET) {
            if self.shards.get_mut(&name).unwrap().tables.remove(table).is_some() {
                self.dropped_by_users.insert((name, table.to_owned()));
            }
        }
    }

    /// What a workflow brought is the users' from now on.
    pub fn hand_over(&mut self, workflow: &str) {
        let of_workflow = Owner::Workflow(workflow.to_owned());
        for name in self.of(TARGET) {
            let primary = self.shards[&name].primary;
            let denied = self.seats.get(&primary).map(|seat| seat.denied.clone()).unwrap_or_default();
            for (table_name, table) in &mut self.shards.get_mut(&name).unwrap().tables {
                table.handed_over = true;
                table.of_user |= !denied.contains(table_name);
                table
                    .rows
                    .values_mut()
                    .filter(|row| row.owner == of_workflow)
                    .for_each(|row| row.owner = Owner::Client);
            }
        }
    }

    /// Stock ends the workflow's streams; the denied tables stay.
    pub fn stock_deletes_streams(&mut self, workflow: &str, drop_tables: bool) -> Vec<String> {
        self.stock_deleted = true;
        let mut tables = Vec::new();
        for name in self.of(TARGET) {
            let shard = self.shards.get_mut(&name).unwrap();
            for stream in shard.streams.iter().filter(|stream| stream.workflow == workflow) {
                tables.extend(rules(&stream.source).into_iter().map(|(table, _)| table));
            }
            shard.delete_streams(|stream| stream.workflow == workflow);
            shard.forget_whose(workflow);
        }
        if drop_tables {
            for name in self.of(TARGET) {
                self.shards.get_mut(&name).unwrap().tables.retain(|table, _| !tables.contains(table));
            }
        } else if !tables.is_empty() {
            self.hand_over(workflow);
        }
        tables
    }
}

fn message(shard: &mut Shard, id: i32, text: &str) {
    if let Some(stream) = shard.streams.iter_mut().find(|stream| stream.id == id) {
        stream.message = text.to_owned();
    }
}
