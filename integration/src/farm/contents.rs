//! What is behind the tablets of one shard: names of tables, streams, diffs. Replicas have what their primary has.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use vtmigrated_proto::{
    binlogdata::VReplicationWorkflowState as State,
    tabletmanagerdata::{
        CreateVReplicationWorkflowRequest, ReadVReplicationWorkflowResponse, ReadVReplicationWorkflowsRequest,
        UpdateVReplicationWorkflowRequest,
    },
};

use super::{
    diff::Diff,
    statement::Which,
    stream::{Made, ROWS, Stream, seconds},
};

/// When the tables were made that are there from the beginning, in seconds since the epoch.
const LONG_AGO: u64 = 1_600_000_000;

/// Names that all shards of a farm share, each kept once.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashSet<Arc<str>>>);

impl Names {
    /// The kept text of a name.
    #[must_use]
    pub fn keep(&self, name: &str) -> Arc<str> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = names.get(name) {
            return Arc::clone(kept);
        }
        let kept = Arc::<str>::from(name);
        names.insert(Arc::clone(&kept));
        kept
    }
}

/// What is behind a shard, to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// The workflow of each stream.
    pub streams: Vec<String>,
    /// The workflow of each diff.
    pub diffs: Vec<String>,
}

/// Tables, streams and diffs of a shard.
#[derive(Debug, Default)]
pub struct Contents {
    pub db_name: String,
    /// Rows of each table.
    pub tables: BTreeMap<Arc<str>, u64>,
    /// When tables were made that were not there from the beginning; those that are gone may be among them.
    made: HashMap<Arc<str>, SystemTime>,
    pub streams: Vec<Stream>,
    pub diffs: Vec<Diff>,
    /// Grows with every change.
    pub version: u64,
    names: Arc<Names>,
    copy_time: Duration,
    last_id: i32,
}

impl Contents {
    /// An empty database. A stream takes `copy_time` to copy its tables.
    #[must_use]
    pub fn new(db_name: String, names: &Arc<Names>, copy_time: Duration) -> Self {
        Self { db_name, names: Arc::clone(names), copy_time, ..Self::default() }
    }

    /// Adds tables that have rows.
    pub fn fill(&mut self, tables: &[String]) {
        self.tables.extend(tables.iter().map(|table| (self.names.keep(table), ROWS)));
        self.version += 1;
    }

    /// All that is here.
    #[must_use]
    pub fn behind(&self) -> Behind {
        Behind {
            tables: self.tables.iter().map(|(name, rows)| (name.to_string(), *rows)).collect(),
            streams: self.streams.iter().map(|stream| stream.workflow().to_owned()).collect(),
            diffs: self.diffs.iter().map(|diff| diff.workflow.clone()).collect(),
        }
    }

    /// From now on there are these tables with so many rows, and nothing else.
    pub fn begin_anew(&mut self, tables: &[(&str, u64)]) {
        self.tables = tables.iter().map(|(name, rows)| (self.names.keep(name), *rows)).collect();
        self.made.clear();
        self.streams.clear();
        self.diffs.clear();
        self.version += 1;
    }

    /// Creates an empty table.
    ///
    /// # Errors
    /// MySQL's text when it is there.
    pub fn create_table(&mut self, table: &str, now: SystemTime) -> Result<(), String> {
        if self.tables.contains_key(table) {
            return Err(format!("Table '{table}' already exists (errno 1050) (sqlstate 42S01)"));
        }
        let table = self.names.keep(table);
        self.made.insert(Arc::clone(&table), now);
        self.tables.insert(table, 0);
        self.version += 1;
        Ok(())
    }

    /// When a table was made, in seconds since the epoch.
    #[must_use]
    pub fn made(&self, table: &str) -> u64 {
        self.made.get(table).map_or(LONG_AGO, |made| seconds(*made))
    }

    /// Inserts streams, stopped.
    pub fn insert(&mut self, request: CreateVReplicationWorkflowRequest, now: SystemTime) {
        let made = Arc::new(Made::of(&request));
        for source in request.binlog_source {
            self.last_id += 1;
            self.streams.push(Stream::new(self.last_id, &made, source, now));
        }
        self.version += 1;
    }

    /// Lets streams that copy go on.
    pub fn advance(&mut self, now: SystemTime) {
        for stream in self.streams.iter_mut().filter(|stream| stream.state == State::Copying) {
            let more = stream.advance(now, self.copy_time);
            for table in stream.copied(more) {
                if let Some(rows) = self.tables.get_mut(table) {
                    *rows = ROWS;
                }
            }
            self.version += 1;
        }
    }

    /// Deletes streams, with what they had left to copy; answers how many.
    pub fn delete(&mut self, which: &Which) -> usize {
        let before = self.streams.len();
        self.streams.retain(|stream| !which.has(stream));
        self.version += 1;
        before - self.streams.len()
    }

    /// Sets state and message of streams; answers how many.
    pub fn set(&mut self, which: &Which, state: Option<State>, message: Option<&str>, now: SystemTime) -> usize {
        let mut count = 0;
        for stream in self.streams.iter_mut().filter(|stream| which.has(stream)) {
            if let Some(message) = message {
                message.clone_into(&mut stream.message);
            }
            if let Some(state) = state {
                stream.set_state(state, now);
            }
            count += 1;
        }
        self.version += 1;
        self.advance(now);
        count
    }

    /// `UpdateVReplicationWorkflow`: answers how many streams it is about.
    ///
    /// # Errors
    /// The tablet's text for a frozen workflow that is to run.
    pub fn update(&mut self, request: &UpdateVReplicationWorkflowRequest, now: SystemTime) -> Result<usize, String> {
        if !request.config_overrides.is_empty() || !request.filter_rules.is_empty() {
            return Err("a light tablet keeps no overrides and no changed rules".to_owned());
        }
        let which = Which::Workflows(vec![request.workflow.clone()]);
        let state = request.state.and_then(|state| State::try_from(state).ok()).filter(|s| *s != State::Unknown);
        let message = request.message.as_deref();
        let frozen = |text: &str| text.eq_ignore_ascii_case("FROZEN");
        for stream in self.streams.iter_mut().filter(|stream| which.has(stream)) {
            if state == Some(State::Running) && (frozen(&stream.message) || message.is_some_and(frozen)) {
                return Err("cannot start a workflow when it is frozen".to_owned());
            }
            stream.update(request);
        }
        Ok(self.set(&which, state, message, now))
    }

    /// The workflows that a request asks for.
    #[must_use]
    pub fn told(
        &self,
        asked: &ReadVReplicationWorkflowsRequest,
        now: SystemTime,
    ) -> Vec<ReadVReplicationWorkflowResponse> {
        let any = |list: &[i32], value: i32| list.contains(&value);
        let wanted = |stream: &&Stream| {
            let (name, state) = (stream.workflow(), i32::from(stream.state));
            let includes = |list: &[String]| list.iter().any(|other| other == name);
            (asked.include_ids.is_empty() || any(&asked.include_ids, stream.id))
                && (asked.include_workflows.is_empty() || includes(&asked.include_workflows))
                && !includes(&asked.exclude_workflows)
                && (asked.include_states.is_empty() || any(&asked.include_states, state))
                && !any(&asked.exclude_states, state)
                && !(asked.exclude_frozen && stream.message == "FROZEN")
        };
        let mut found: Vec<ReadVReplicationWorkflowResponse> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for stream in self.streams.iter().filter(wanted) {
            let place = *places.entry(stream.workflow()).or_insert_with(|| {
                found.push(stream.told_workflow(&self.db_name));
                found.len() - 1
            });
            found[place].streams.push(stream.told(now));
        }
        found
    }
}

impl Which {
    fn has(&self, stream: &Stream) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&stream.id),
            Self::Workflows(names) => names.iter().any(|name| name == stream.workflow()),
        }
    }
}
