//! What lives behind light tablets: tables, streams, binlogs. As much of vreplication as a vtctld can tell apart
//! (Vitess 22.0.3).

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::binlogdata::{BinlogSource, VReplicationWorkflowState as State};
use vtmigrated_proto::tabletmanagerdata::CreateVReplicationWorkflowRequest;

/// Keyspace and shard.
pub type Name = (String, String);

/// Who wrote a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Client,
    /// The streams of this workflow.
    Workflow(String),
}

#[derive(Clone, Debug)]
pub struct Row {
    /// Grows with every change in the world.
    pub version: u64,
    pub owner: Owner,
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Made by a user, or a user's by now.
    pub of_user: bool,
    /// A workflow was ended that had made it: it is a user's as soon as clients can write to it.
    pub handed_over: bool,
    /// When it was made, in seconds by the clock of its MySQL.
    pub made: i64,
    pub rows: BTreeMap<i64, Row>,
}

/// A change of one row; `None` deletes it.
#[derive(Clone, Debug)]
pub struct Event {
    pub table: String,
    pub id: i64,
    pub version: Option<u64>,
    /// The row is a new one.
    pub insert: bool,
    /// The version of the world when it happened.
    pub when: u64,
}

#[derive(Clone, Debug)]
pub struct Stream {
    pub id: i32,
    pub workflow: String,
    pub source: BinlogSource,
    pub state: State,
    pub message: String,
    /// Events applied of the source shard's log; `None` before the copy.
    pub at: Option<usize>,
    /// The same as tablets store it.
    pub position: String,
    pub rows_copied: i64,
    /// It was to stop after its copy, and has applied something since.
    pub ran_on: bool,
    /// Heard of its source a moment ago.
    pub fresh: bool,
    pub made_by: CreateVReplicationWorkflowRequest,
    /// Streams whose places it took, one after the other.
    pub replaces: Vec<i32>,
    /// It began behind the source's journal, and never meets it while it copies.
    pub past_journal: bool,
}

/// A table that a stream still has to copy.
#[derive(Clone, Debug)]
pub struct CopyState {
    pub stream: i32,
    pub table: String,
    pub last: Option<i64>,
    /// Whose it is; `None` when somebody else has deleted the streams that tell.
    pub workflow: Option<String>,
}

/// One table's part of a diff.
#[derive(Clone, Debug)]
pub struct DiffTable {
    pub name: String,
    pub compared: i64,
    pub differing: i64,
}

#[derive(Clone, Debug)]
pub struct Diff {
    pub uuid: String,
    pub workflow: String,
    pub state: String,
    pub tables: Vec<DiffTable>,
}

/// The MySQL of one shard: its replicas have the same.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    pub tables: BTreeMap<String, Table>,
    pub streams: Vec<Stream>,
    pub copy: Vec<CopyState>,
    pub diffs: Vec<Diff>,
    pub log: Vec<Event>,
    /// Server and the number of events before its first.
    servers: Vec<(String, usize)>,
    /// Shards that took over, with their numbers of events and positions then.
    pub successors: Vec<(String, usize, String)>,
    pub primary: u32,
    pub serving: bool,
    last_id: i32,
}

/// A row's place among keyspace ids, whatever the vindex: it is the same on both sides.
pub fn place(id: i64) -> u8 {
    u8::try_from(id.wrapping_mul(97).rem_euclid(256)).unwrap()
}

/// Whether a shard's or a filter's range has a place.
pub fn covers(range: &str, place: u8) -> bool {
    let Some((start, end)) = range.split_once('-') else { return true };
    let bound = |text: &str| u16::from_str_radix(text, 16).ok();
    bound(start).is_none_or(|start| u16::from(place) >= start) && bound(end).is_none_or(|end| u16::from(place) < end)
}

/// Tables of a stream with the ranges of their filters.
pub fn rules(source: &BinlogSource) -> Vec<(String, String)> {
    let rules = source.filter.iter().flat_map(|filter| &filter.rules);
    let range = |filter: &str| match filter.rsplit_once("in_keyrange(") {
        Some((_, call)) => call.rsplit('\'').nth(1).unwrap_or("-").to_owned(),
        None => "-".to_owned(),
    };
    rules.map(|rule| (rule.r#match.clone(), range(&rule.filter))).collect()
}

impl Stream {
    /// False when somebody wrote something into its row that is no position.
    pub fn has_a_position(&self) -> bool {
        self.position.is_empty() || self.position.starts_with("MySQL56/")
    }
}

impl Shard {
    pub fn new(server: u32, primary: u32) -> Self {
        let mut shard = Self { primary, serving: true, ..Self::default() };
        shard.elect(server);
        shard.log.push(Event { table: String::new(), id: 0, version: None, insert: false, when: 0 });
        shard
    }

    /// From now on transactions are numbered by another server.
    pub fn elect(&mut self, server: u32) {
        self.servers.push((format!("{server:08x}-71ca-11e1-9e33-c80aa9429562"), self.log.len()));
    }

    /// The position after the first `events` of the log.
    pub fn position(&self, events: usize) -> String {
        let mut parts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (number, (server, from)) in self.servers.iter().enumerate() {
            let to = self.servers.get(number + 1).map_or(self.log.len(), |next| next.1).min(events);
            if to > *from {
                // numbers of a server that comes back go on, since all of its log is older
                parts.entry(server).or_default().push(format!("{}-{to}", from + 1));
            }
        }
        let parts: Vec<String> = parts.into_iter().map(|(server, of)| format!("{server}:{}", of.join(":"))).collect();
        format!("MySQL56/{}", parts.join(","))
    }

    /// A client's transaction.
    pub fn write(&mut self, table: &str, id: i64, version: Option<u64>, when: u64) {
        let Some(there) = self.tables.get_mut(table) else { return };
        let before = match version {
            Some(version) => there.rows.insert(id, Row { version, owner: Owner::Client }),
            None => there.rows.remove(&id),
        };
        let insert = version.is_some() && before.is_none();
        self.log.push(Event { table: table.to_owned(), id, version, insert, when });
    }

    pub fn insert_streams(&mut self, request: &CreateVReplicationWorkflowRequest) {
        for source in &request.binlog_source {
            self.insert_stream(request, source.clone(), State::Stopped, None, String::new());
        }
    }

    pub fn insert_stream(
        &mut self,
        made_by: &CreateVReplicationWorkflowRequest,
        source: BinlogSource,
        state: State,
        at: Option<usize>,
        position: String,
    ) {
        self.last_id += 1;
        self.streams.push(Stream {
            id: self.last_id,
            workflow: made_by.workflow.clone(),
            source,
            state,
            message: String::new(),
            at,
            position,
            rows_copied: 0,
            ran_on: false,
            fresh: true,
            made_by: made_by.clone(),
            replaces: Vec::new(),
            past_journal: false,
        });
    }

    /// A stream goes, and others take its place that go on from these events and positions: its copy states stay (Vitess 22.0.4 and
    /// 24.0.4, `transitionJournal`).
    pub fn replace_stream(&mut self, id: i32, by: Vec<(BinlogSource, usize, String)>) {
        let Some(at) = self.streams.iter().position(|stream| stream.id == id) else { return };
        let old = self.streams.remove(at);
        for (source, events, position) in by {
            self.insert_stream(&old.made_by, source, State::Running, Some(events), position);
            let replaces = [&old.replaces[..], &[id]].concat();
            self.streams.last_mut().unwrap().replaces = replaces;
        }
    }

    /// Others have deleted streams of a workflow: nothing tells any more whose copy states of replaced ones are.
    pub fn forget_whose(&mut self, workflow: &str) {
        let ids: BTreeSet<i32> = self.streams.iter().map(|stream| stream.id).collect();
        let theirs = |copy: &&mut CopyState| copy.workflow.as_deref() == Some(workflow) && !ids.contains(&copy.stream);
        self.copy.iter_mut().filter(theirs).for_each(|copy| copy.workflow = None);
    }

    pub fn delete_streams(&mut self, wanted: impl Fn(&Stream) -> bool) -> usize {
        let gone: BTreeSet<i32> = self.streams.iter().filter_map(|of| wanted(of).then_some(of.id)).collect();
        self.streams.retain(|stream| !gone.contains(&stream.id));
        // the engine takes them with the stream
        self.copy.retain(|state| !gone.contains(&state.stream));
        gone.len()
    }

    /// Copy states whose stream is gone.
    pub fn orphans(&self) -> impl Iterator<Item = &CopyState> {
        let ids: BTreeSet<i32> = self.streams.iter().map(|stream| stream.id).collect();
        self.copy.iter().filter(move |copy| !ids.contains(&copy.stream))
    }

    /// Sets a stream's state as the engine does.
    pub fn set_state(&mut self, id: i32, state: State) {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) else { return };
        let begins = state == State::Running && stream.at.is_none() && !self.copy.iter().any(|c| c.stream == id);
        let workflow = stream.workflow.clone();
        if begins {
            let of = |table| CopyState { stream: id, table, last: None, workflow: Some(workflow.clone()) };
            self.copy.extend(rules(&stream.source).into_iter().map(|(table, _)| of(table)));
            // it copies all itself
            stream.replaces.clear();
        }
        let copying = self.copy.iter().any(|c| c.stream == id);
        stream.state = if state == State::Running && copying { State::Copying } else { state };
        if begins {
            self.forget_whose(&workflow);
        }
    }
}
