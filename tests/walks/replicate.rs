//! Streams that copy and replicate, a little at a time.

use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowState as State};

use crate::data::{Event, Owner, Row, Shard, covers, place, rules};
use crate::world::State as World;

/// Rows copied, and transactions applied, at a time.
const AT_ONCE: usize = 2;

impl World {
    /// All running streams go on a little.
    pub fn tick(&mut self) {
        let with_streams = self.shards.iter().filter(|(_, shard)| !shard.streams.is_empty());
        let with_streams: Vec<_> = with_streams.map(|(name, _)| name.clone()).collect();
        for name in with_streams {
            let Some(mut shard) = self.shards.remove(&name) else { continue };
            if !self.is_down(shard.primary) {
                let ids: Vec<i32> = shard.streams.iter().map(|stream| stream.id).collect();
                for id in ids {
                    self.advance(&mut shard, id);
                }
            }
            self.shards.insert(name, shard);
        }
    }

    fn advance(&self, on: &mut Shard, id: i32) {
        let Some(at) = on.streams.iter().position(|stream| stream.id == id) else { return };
        if !matches!(on.streams[at].state, State::Running | State::Copying) {
            return;
        }
        let source = on.streams[at].source.clone();
        let from = self.shards.get(&(source.keyspace.clone(), source.shard.clone()));
        let Some(from) = from.filter(|from| !self.is_silent(from)) else {
            on.streams[at].message = "error picking tablet: connection refused".to_owned();
            on.streams[at].fresh = false;
            return;
        };
        if !on.streams[at].has_a_position() {
            on.streams[at].message = "error: could not decode the position".to_owned();
            on.streams[at].fresh = false;
            return;
        }
        on.streams[at].message.clear();
        on.streams[at].fresh = true;
        if self.stalled {
            return;
        }
        let done = match on.copy.iter().any(|state| state.stream == id) {
            true => copy(on, at, from),
            false => replicate(on, at, from),
        };
        if let Err(message) = done {
            on.streams[at].state = State::Error;
            on.streams[at].message = message;
        }
        follow(on, at, from, &source);
    }
}

/// Applies changes that the stream's filters let through, up to `to`, each with its position.
fn apply(on: &mut Shard, at: usize, from: &Shard, to: usize) -> Result<(), String> {
    let (begin, rules) = (on.streams[at].at.unwrap_or(to), rules(&on.streams[at].source));
    for (number, event) in from.log.get(begin..to).unwrap_or_default().iter().enumerate() {
        if rules.iter().any(|(name, range)| *name == event.table && covers(range, place(event.id)))
            && let Err(message) = change(on, at, event)
        {
            reach(on, at, from, begin + number);
            return Err(message);
        }
    }
    reach(on, at, from, to);
    Ok(())
}

fn change(on: &mut Shard, at: usize, event: &Event) -> Result<(), String> {
    let Event { table, id: row, version, insert, .. } = event;
    let stream = &on.streams[at];
    // what is not copied yet comes with the copy
    let left = on.copy.iter().find(|state| state.stream == stream.id && state.table == *table);
    if left.is_some_and(|state| state.last.is_none_or(|last| *row > last)) {
        return Ok(());
    }
    let owner = Owner::Workflow(stream.workflow.clone());
    let there = on.tables.get_mut(table).ok_or_else(|| missing(table))?;
    let changed = match version {
        Some(_) if *insert && there.rows.contains_key(row) => return Err(duplicate(table, *row)),
        // an update of a row that is not there changes nothing
        Some(_) if !insert && !there.rows.contains_key(row) => false,
        Some(version) => {
            there.rows.insert(*row, Row { version: *version, owner });
            true
        }
        None => there.rows.remove(row).is_some(),
    };
    if changed {
        on.log.push(event.clone());
    }
    Ok(())
}

fn reach(on: &mut Shard, at: usize, from: &Shard, to: usize) {
    on.streams[at].at = Some(to);
    on.streams[at].position = from.position(to);
}

fn missing(table: &str) -> String {
    format!("Table 'vt_customer.{table}' doesn't exist (errno 1146) (sqlstate 42S02)")
}

fn duplicate(table: &str, row: i64) -> String {
    format!("Duplicate entry '{row}' for key '{table}.PRIMARY' (errno 1062) (sqlstate 23000)")
}

fn replicate(on: &mut Shard, at: usize, from: &Shard) -> Result<(), String> {
    let begin = on.streams[at].at.unwrap_or_default();
    on.streams[at].ran_on = true;
    apply(on, at, from, (begin + AT_ONCE).min(from.log.len()))
}

/// Catches up, then copies the next rows of the first table that is left.
fn copy(on: &mut Shard, at: usize, from: &Shard) -> Result<(), String> {
    let id = on.streams[at].id;
    let owner = Owner::Workflow(on.streams[at].workflow.clone());
    on.streams[at].past_journal |= on.streams[at].at.is_none() && !from.successors.is_empty();
    apply(on, at, from, from.log.len())?;
    let Some(left) = on.copy.iter_mut().find(|state| state.stream == id) else { return Ok(()) };
    let rules = rules(&on.streams[at].source);
    let range = rules.iter().find(|(table, _)| *table == left.table).map_or("-", |(_, range)| range.as_str());
    let rows = from.tables.get(&left.table).map(|table| &table.rows).ok_or_else(|| missing(&left.table))?;
    let next = rows.iter().filter(|(row, _)| left.last.is_none_or(|last| **row > last) && covers(range, place(**row)));
    let next: Vec<(i64, u64)> = next.take(AT_ONCE).map(|(row, found)| (*row, found.version)).collect();
    let there = on.tables.get_mut(&left.table).ok_or_else(|| missing(&left.table))?;
    for (row, version) in &next {
        if there.rows.contains_key(row) {
            return Err(duplicate(&left.table, *row));
        }
        there.rows.insert(*row, Row { version: *version, owner: owner.clone() });
        left.last = Some(*row);
        let (table, when) = (left.table.clone(), *version);
        on.log.push(Event { table, id: *row, version: Some(*version), insert: true, when });
    }
    on.streams[at].rows_copied += next.len() as i64;
    if next.len() < AT_ONCE {
        let table = left.table.clone();
        on.copy.retain(|state| !(state.stream == id && state.table == table));
    }
    if !on.copy.iter().any(|state| state.stream == id) {
        let stops = on.streams[at].source.stop_after_copy;
        on.streams[at].state = if stops { State::Stopped } else { State::Running };
        on.streams[at].message = if stops { "Stopped after copy.".to_owned() } else { String::new() };
    }
    Ok(())
}

/// A stream at the end of a shard that was split goes on with the shards that took over, whatever it has left to copy.
fn follow(on: &mut Shard, at: usize, from: &Shard, source: &BinlogSource) {
    let stream = &on.streams[at];
    let meets_the_journal = match stream.state {
        State::Running => true,
        State::Copying => !stream.past_journal,
        _ => false,
    };
    if from.successors.is_empty() || !meets_the_journal || stream.at != Some(from.log.len()) {
        return;
    }
    let next = |(shard, events, position): &(String, usize, String)| {
        (BinlogSource { shard: shard.clone(), ..source.clone() }, *events, position.clone())
    };
    let (id, by) = (stream.id, from.successors.iter().map(next).collect());
    on.replace_stream(id, by);
}
