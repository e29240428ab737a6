//! One stream of a light tablet. It moves no rows: its copy takes a set time, then it is where its source is.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use vtmigrated_proto::{
    binlogdata::{BinlogSource, VReplicationWorkflowState as State},
    tabletmanagerdata::{
        CreateVReplicationWorkflowRequest, ReadVReplicationWorkflowResponse, TabletSelectionPreference,
        UpdateVReplicationWorkflowRequest, read_v_replication_workflow_response as told,
    },
    topodata::TabletType,
    vttime::Time,
};

use super::position;

/// Rows of every table of a source shard, and of every table that was copied.
pub const ROWS: u64 = 1000;

/// What the streams of one creation share.
#[derive(Clone, Debug, Default)]
pub struct Made {
    workflow: String,
    cells: String,
    tablet_types: Vec<i32>,
    preference: i32,
    kind: i32,
    subkind: i32,
    defers_keys: bool,
    options: String,
}

/// A row of `_vt.vreplication`.
#[derive(Clone, Debug)]
pub struct Stream {
    pub id: i32,
    pub state: State,
    pub message: String,
    pub source: Arc<BinlogSource>,
    made: Arc<Made>,
    created: SystemTime,
    /// When the copy began; none before.
    begun: Option<SystemTime>,
    /// Tables copied, in the order of the rules.
    copied: usize,
}

impl Made {
    /// Of a request.
    #[must_use]
    pub fn of(request: &CreateVReplicationWorkflowRequest) -> Self {
        Self {
            workflow: request.workflow.clone(),
            cells: request.cells.join(","),
            tablet_types: request.tablet_types.clone(),
            preference: request.tablet_selection_preference,
            kind: request.workflow_type,
            subkind: request.workflow_sub_type,
            defers_keys: request.defer_secondary_keys,
            options: request.options.clone(),
        }
    }
}

impl Stream {
    /// A stopped stream that has copied nothing.
    #[must_use]
    pub fn new(id: i32, made: &Arc<Made>, source: BinlogSource, now: SystemTime) -> Self {
        Self {
            id,
            state: State::Stopped,
            message: String::new(),
            source: Arc::new(source),
            made: Arc::clone(made),
            created: now,
            begun: None,
            copied: 0,
        }
    }

    /// The workflow that it belongs to.
    #[must_use]
    pub fn workflow(&self) -> &str {
        &self.made.workflow
    }

    /// Sets its state as the engine does: a stream that has not copied begins with that.
    pub fn set_state(&mut self, state: State, now: SystemTime) {
        let copies = state == State::Running && !self.is_copied();
        if copies && self.begun.is_none() {
            self.begun = Some(now);
        }
        self.state = if copies { State::Copying } else { state };
    }

    /// Changes what a request of `Workflow update` names (Vitess 22.0.3: simulated NULLs leave things alone).
    pub fn update(&mut self, request: &UpdateVReplicationWorkflowRequest) {
        let made = Arc::make_mut(&mut self.made);
        if request.cells != ["NULL"] {
            made.cells = request.cells.join(",");
        }
        if request.tablet_types != [TabletType::Unknown as i32] && request.tablet_types != [-1] {
            made.tablet_types.clone_from(&request.tablet_types);
        }
        let unknown = TabletSelectionPreference::Unknown as i32;
        made.preference = request.tablet_selection_preference.filter(|of| *of != unknown).unwrap_or(made.preference);
        if let Some(on_ddl) = request.on_ddl.filter(|on_ddl| *on_ddl >= 0 && *on_ddl != self.source.on_ddl) {
            Arc::make_mut(&mut self.source).on_ddl = on_ddl;
        }
    }

    /// Goes on with a copy that takes `whole` in all; answers how many tables of the rules are copied now that were not.
    pub fn advance(&mut self, now: SystemTime, whole: Duration) -> usize {
        let (Some(begun), State::Copying) = (self.begun, self.state) else { return 0 };
        let tables = self.tables();
        // a clock that went back does not keep a copy from its end
        let since = now.duration_since(begun).unwrap_or(whole);
        let part = if whole.is_zero() { 1.0 } else { since.as_secs_f64() / whole.as_secs_f64() };
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let copied = ((tables as f64 * part.min(1.0)) as usize).max(self.copied);
        let more = copied - self.copied;
        self.copied = copied;
        if self.is_copied() {
            let stops = self.source.stop_after_copy;
            self.state = if stops { State::Stopped } else { State::Running };
            self.message = if stops { "Stopped after copy.".to_owned() } else { String::new() };
        }
        more
    }

    /// Tables of its rules that were copied last, newest last.
    pub fn copied(&self, last: usize) -> impl Iterator<Item = &str> {
        let first = self.copied.saturating_sub(last);
        self.rules().skip(first).take(self.copied - first)
    }

    /// Tables that are left; the first of them has its last key.
    pub fn left(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let left = self.rules().skip(self.copied).enumerate();
        let some = if self.begun.is_some() { usize::MAX } else { 0 };
        left.take(some).map(|(at, table)| (table, (at == 0).then_some(ROWS / 2)))
    }

    /// When its copy began.
    #[must_use]
    pub fn begun(&self) -> Option<SystemTime> {
        self.begun
    }

    /// Rows of its log: kind, state, message, time.
    #[must_use]
    pub fn log(&self) -> Vec<(&'static str, &'static str, String, SystemTime)> {
        let mut log = vec![("Stream Created", "Stopped", String::new(), self.created)];
        if let Some(begun) = self.begun {
            let text = format!("Copy phase started for {} table(s)", self.tables());
            log.push(("Started Copy Phase", "Copying", text, begun));
            if self.is_copied() {
                log.push(("State Changed", "Running", String::new(), begun));
            }
        }
        log
    }

    /// As `ReadVReplicationWorkflow` tells it.
    #[must_use]
    pub fn told(&self, now: SystemTime) -> told::Stream {
        let heard = self.begun.filter(|_| self.state != State::Stopped).map(|_| time(now));
        let heard = heard.or_else(|| self.begun.map(time));
        let began = self.begun.is_some() && (self.copied > 0 || self.is_copied());
        told::Stream {
            id: self.id,
            bls: Some((*self.source).clone()),
            pos: if began { position(&self.source.keyspace, &self.source.shard).into_bytes() } else { Vec::new() },
            state: self.state.into(),
            message: self.message.clone().into_bytes(),
            rows_copied: i64::try_from(self.copied).unwrap_or_default() * i64::try_from(ROWS).unwrap_or_default(),
            time_updated: heard.or_else(|| Some(time(self.created))),
            time_heartbeat: heard,
            transaction_timestamp: heard,
            ..told::Stream::default()
        }
    }

    /// What the answer says of all streams of its workflow, without any.
    #[must_use]
    pub fn told_workflow(&self, db_name: &str) -> ReadVReplicationWorkflowResponse {
        ReadVReplicationWorkflowResponse {
            workflow: self.made.workflow.clone(),
            cells: self.made.cells.clone(),
            tablet_types: self.made.tablet_types.clone(),
            tablet_selection_preference: self.made.preference,
            db_name: db_name.to_owned(),
            workflow_type: self.made.kind,
            workflow_sub_type: self.made.subkind,
            defer_secondary_keys: self.made.defers_keys,
            options: self.made.options.clone(),
            ..ReadVReplicationWorkflowResponse::default()
        }
    }

    fn rules(&self) -> impl Iterator<Item = &str> {
        self.source.filter.iter().flat_map(|filter| &filter.rules).map(|rule| rule.r#match.as_str())
    }

    fn tables(&self) -> usize {
        self.source.filter.as_ref().map_or(0, |filter| filter.rules.len())
    }

    fn is_copied(&self) -> bool {
        self.begun.is_some() && self.copied == self.tables()
    }
}

/// Seconds since the epoch.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(at: SystemTime) -> Time {
    Time { seconds: i64::try_from(seconds(at)).unwrap_or(i64::MAX), nanoseconds: 0 }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::{Filter, Rule};

    use super::*;

    fn stream() -> Stream {
        let rule = |table: &str| Rule { r#match: table.into(), ..Rule::default() };
        let filter = Some(Filter { rules: vec![rule("a"), rule("b")], ..Filter::default() });
        let source = BinlogSource { keyspace: "k".into(), shard: "0".into(), filter, ..BinlogSource::default() };
        Stream::new(1, &Arc::default(), source, UNIX_EPOCH)
    }

    #[test]
    fn a_copy_goes_on_with_the_time() {
        let mut stream = stream();
        let (whole, at) = (Duration::from_secs(10), |seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((stream.advance(at(5), whole), stream.left().count()), (0, 0));
        stream.set_state(State::Running, at(10));
        assert_eq!((stream.state, stream.left().count()), (State::Copying, 2));
        assert!(stream.told(at(10)).pos.is_empty());
        assert_eq!(stream.advance(at(16), whole), 1);
        assert_eq!(stream.copied(1).collect::<Vec<_>>(), ["a"]);
        assert_eq!(stream.left().collect::<Vec<_>>(), [("b", Some(ROWS / 2))]);
        stream.set_state(State::Stopped, at(17));
        assert_eq!(stream.advance(at(30), whole), 0);
        stream.set_state(State::Running, at(30));
        assert_eq!(stream.advance(at(30), whole), 1);
        assert_eq!((stream.state, stream.left().count()), (State::Running, 0));
        assert_eq!(stream.told(at(30)).pos, position("k", "0").into_bytes());
    }

    #[test]
    fn a_copy_that_takes_no_time_ends_at_once() {
        let mut stream = stream();
        stream.set_state(State::Running, UNIX_EPOCH);
        assert_eq!(stream.advance(UNIX_EPOCH, Duration::ZERO), 2);
        assert_eq!(stream.state, State::Running);
    }
}
