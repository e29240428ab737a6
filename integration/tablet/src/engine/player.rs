//! Applies the source's events, each transaction together with the position after it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt};
use tonic::Streaming;
use vtmigrated_proto::binlogdata::{OnDdlAction, RowEvent, VEvent, VEventType, VStreamResponse};

use super::{
    apply::{LastKey, TablePlan},
    error::{Error, Result},
    plan::{self, TableRule},
    row::{RUNNING, STOPPED},
    stream::{Stream, now},
    transaction::Transaction,
};
use crate::gtid::GtidSet;

/// When to end.
#[derive(Clone, Debug)]
pub enum Goal {
    /// Never, or at a position that was asked for: then the stream is stopped.
    Forever { stop: Option<GtidSet> },
    /// Less than the tolerated lag behind.
    CaughtUp,
    /// This position is reached.
    Position(GtidSet),
}

/// Why it ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Cancelled,
    Reached,
}

/// Bit of a row event's flags: the transaction ran without foreign key checks.
const NO_FOREIGN_KEY_CHECKS: u32 = 2;
/// Bounds of what is taken from the stream at once.
const RELAY_ITEMS: usize = 5_000;
const RELAY_BYTES: usize = 250_000;
const IDLE: Duration = Duration::from_millis(1_100);

/// Streams from the position in the row. `uncopied` are the tables still to be copied: those without a last key are left
/// alone, the others are changed only up to it.
///
/// # Errors
/// Those of the source and of the target's server.
pub async fn play(stream: &mut Stream, uncopied: BTreeMap<String, Option<LastKey>>, goal: Goal) -> Result<End> {
    let start = stream.row.pos.clone();
    let stop = match &goal {
        Goal::Forever { stop } => stop.clone(),
        Goal::CaughtUp => None,
        Goal::Position(position) => Some(position.clone()),
    };
    if let Some(stop) = stop.as_ref().filter(|stop| start.contains(stop)) {
        if matches!(goal, Goal::Forever { .. }) {
            let message = format!("Stop position {stop} already reached: {start}");
            stream.set_state(STOPPED, &message).await?;
        }
        return Ok(End::Reached);
    }
    let mut rules = stream.rules()?;
    rules.retain(|table, _| !matches!(uncopied.get(table), Some(None)));
    let filter = plan::event_filter(&stream.filter(), rules.values());
    let events = stream.source.events(start.position(), filter).await?;
    let mut player = Player {
        goal,
        stop,
        pos: start,
        rules: rules.into_values().map(|rule| (rule.source.clone(), rule)).collect(),
        uncopied,
        plans: HashMap::new(),
        transaction: Transaction::default(),
        batched: stream.state == RUNNING,
        key_checks: None,
        unsaved: None,
        saved_at: Instant::now(),
        throttled_at: None,
        lag: None,
        ended: false,
    };
    let end = player.run(stream, events).await;
    // what is not committed is done again from the saved position
    let rolled_back = player.transaction.rollback(&mut stream.db).await;
    let end = end?;
    rolled_back?;
    Ok(end)
}

struct Player {
    goal: Goal,
    stop: Option<GtidSet>,
    pos: GtidSet,
    /// By source table.
    rules: BTreeMap<String, TableRule>,
    uncopied: BTreeMap<String, Option<LastKey>>,
    plans: HashMap<String, TablePlan>,
    transaction: Transaction,
    /// Statements wait for the commit; else for the end of their event, so that errors name their table.
    batched: bool,
    key_checks: Option<bool>,
    /// Time of an empty transaction whose position is not saved yet.
    unsaved: Option<i64>,
    saved_at: Instant,
    throttled_at: Option<Instant>,
    /// Seconds behind, once known.
    lag: Option<i64>,
    ended: bool,
}

impl Player {
    async fn run(&mut self, stream: &mut Stream, mut events: Streaming<VStreamResponse>) -> Result<End> {
        loop {
            let cancel = stream.cancel.clone();
            let (batch, failure) = tokio::select! {
                () = cancel.cancelled() => return Ok(End::Cancelled),
                fetched = fetch(&mut events) => fetched,
            };
            if self.saved_at.elapsed() >= Duration::from_secs(1)
                && let Some(time) = self.unsaved.filter(|_| !self.transaction.is_open())
            {
                self.save(stream, time).await?;
            }
            self.apply_batch(stream, &batch).await?;
            if self.ended {
                return Ok(End::Reached);
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            let tolerance = i64::try_from(stream.tuning.lag_tolerance.as_secs()).unwrap_or(i64::MAX);
            let caught_up = matches!(self.goal, Goal::CaughtUp) && self.lag.is_some_and(|lag| lag < tolerance);
            if caught_up && !self.transaction.is_open() {
                return Ok(End::Reached);
            }
        }
    }

    async fn apply_batch(&mut self, stream: &mut Stream, batch: &[VEvent]) -> Result<()> {
        for (index, event) in batch.iter().enumerate() {
            if event.timestamp != 0 && !(event.r#type() == VEventType::Heartbeat && event.throttled) {
                self.lag = Some(event.current_time / 1_000_000_000 - event.timestamp);
            }
            let mut must_save = false;
            if event.r#type() == VEventType::Commit {
                must_save = self.stop.as_ref().is_some_and(|stop| self.pos.contains(stop));
                // several transactions of the source become one
                if !must_save && another_commit_follows(&batch[index + 1..]) {
                    continue;
                }
            }
            self.apply(stream, event, must_save)
                .await
                .map_err(|error| error.wrap(context(event, &batch[index + 1..])))?;
            if self.ended {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn apply(&mut self, stream: &mut Stream, event: &VEvent, must_save: bool) -> Result<()> {
        match event.r#type() {
            VEventType::Gtid => {
                self.pos = GtidSet::parse_position(&event.gtid).map_err(|error| Error::unknown(error.to_string()))?;
                self.unsaved = None;
            }
            VEventType::Field => self.plan_table(stream, event)?,
            VEventType::Row => {
                let row = event.row_event.as_ref().ok_or_else(|| Error::unknown("ROW event without rows"))?;
                self.apply_rows(stream, row).await?;
            }
            VEventType::Commit if must_save || self.transaction.is_open() => {
                self.commit(stream, event.timestamp).await?
            }
            VEventType::Commit => self.unsaved = Some(event.timestamp),
            VEventType::Other => self.save(stream, event.timestamp).await?,
            VEventType::Ddl => self.apply_ddl(stream, event).await?,
            VEventType::Heartbeat => self.heartbeat(stream, event).await?,
            VEventType::Insert | VEventType::Update | VEventType::Delete | VEventType::Replace => {
                return Err(Error::unknown("filter rules are not supported for SBR replication"));
            }
            VEventType::Journal => {
                let message = "cannot redirect on journal: not supported by this tablet";
                stream.set_state(STOPPED, message).await?;
                self.ended = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn plan_table(&mut self, stream: &Stream, event: &VEvent) -> Result<()> {
        let field = event.field_event.as_ref().ok_or_else(|| Error::unknown("FIELD event without fields"))?;
        let rule = self
            .rules
            .get(&field.table_name)
            .ok_or_else(|| Error::unknown(format!("unexpected field event for table {}", field.table_name)))?;
        let table = stream.tables.get(&rule.target).cloned().unwrap_or_default();
        let last = self.uncopied.get(&rule.target).and_then(Option::as_ref);
        let plan = TablePlan::new(rule, &table, &field.fields, last, &stream.zones())
            .map_err(|error| error.wrap(format!("failed to build replication plan for {} table", field.table_name)))?;
        self.plans.insert(field.table_name.clone(), plan);
        Ok(())
    }

    async fn apply_rows(&mut self, stream: &mut Stream, event: &RowEvent) -> Result<()> {
        let plan = self
            .plans
            .get(&event.table_name)
            .ok_or_else(|| Error::unknown(format!("unexpected event on table {}", event.table_name)))?;
        let statements = plan.changes(&event.row_changes)?;
        self.transaction.begin();
        let checks = event.flags & NO_FOREIGN_KEY_CHECKS == 0;
        if self.batched && self.key_checks != Some(checks) {
            let statement = format!("set @@session.foreign_key_checks={}", u8::from(checks));
            self.transaction.add(&mut stream.db, statement).await?;
            self.key_checks = Some(checks);
        }
        for statement in statements {
            self.transaction.add(&mut stream.db, statement).await?;
        }
        if self.batched { Ok(()) } else { self.transaction.flush(&mut stream.db).await }
    }

    async fn commit(&mut self, stream: &mut Stream, time: i64) -> Result<()> {
        let position = stream.position_statement(&self.pos, time);
        self.transaction.add(&mut stream.db, position).await?;
        let reached = self.stop.clone().filter(|stop| self.pos.contains(stop));
        let message = reached.map(|stop| format!("Stopped at position {stop}"));
        let stops = message.as_deref().filter(|_| matches!(self.goal, Goal::Forever { .. }));
        if let Some(message) = stops {
            let state = stream.state_statement(STOPPED, message);
            self.transaction.add(&mut stream.db, state).await?;
        }
        self.transaction.commit(&mut stream.db).await?;
        if let Some(message) = stops {
            stream.note_state(STOPPED, message).await?;
        }
        self.ended |= message.is_some();
        self.note_saved();
        Ok(())
    }

    /// Saves the position in a transaction of its own.
    async fn save(&mut self, stream: &mut Stream, time: i64) -> Result<()> {
        if self.transaction.is_open() {
            return Err(Error::unknown("internal error: vplayer is in a transaction on event"));
        }
        self.commit(stream, time).await
    }

    fn note_saved(&mut self) {
        self.unsaved = None;
        self.saved_at = Instant::now();
    }

    async fn apply_ddl(&mut self, stream: &mut Stream, event: &VEvent) -> Result<()> {
        match stream.row.source.on_ddl() {
            OnDdlAction::Ignore => {}
            OnDdlAction::Stop => {
                let message = format!("Stopped at DDL {}", event.statement);
                let position = stream.position_statement(&self.pos, event.timestamp);
                self.transaction.add(&mut stream.db, position).await?;
                let state = stream.state_statement(STOPPED, &message);
                self.transaction.add(&mut stream.db, state).await?;
                self.transaction.commit(&mut stream.db).await?;
                self.ended = true;
                return stream.note_state(STOPPED, &message).await;
            }
            OnDdlAction::Exec => {
                stream.db.run(&event.statement).await?;
            }
            OnDdlAction::ExecIgnore => {
                if let Err(error) = stream.db.run(&event.statement).await {
                    tracing::info!(stream = stream.id, %error, "ignoring the error of a ddl statement");
                }
            }
        }
        self.save(stream, event.timestamp).await
    }

    async fn heartbeat(&mut self, stream: &mut Stream, event: &VEvent) -> Result<()> {
        let due = |at: Option<Instant>| at.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        if event.throttled {
            if due(self.throttled_at) {
                self.throttled_at = Some(Instant::now());
                stream.throttled("vstreamer", &event.throttled_reason).await?;
            }
            self.lag = self.lag.map(|lag| lag.max(now() - event.timestamp));
        }
        if self.transaction.is_open() {
            return Ok(());
        }
        stream.heartbeat().await
    }
}

/// At least one response; more when they are already there; and the stream's end after them. Empty when the source was
/// silent for a while.
async fn fetch(events: &mut Streaming<VStreamResponse>) -> (Vec<VEvent>, Option<Error>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let Ok(mut response) = tokio::time::timeout(IDLE, events.next()).await else { return (batch, None) };
    loop {
        match response {
            Some(Ok(response)) => {
                bytes += response.events.iter().map(event_bytes).sum::<usize>();
                batch.extend(response.events);
            }
            Some(Err(status)) => return (batch, Some(Error::from_tablet(&status))),
            None => return (batch, Some(Error::unknown("vstream ended"))),
        }
        if batch.len() >= RELAY_ITEMS || bytes >= RELAY_BYTES {
            return (batch, None);
        }
        response = match events.next().now_or_never() {
            Some(response) => response,
            None => return (batch, None),
        };
    }
}

fn event_bytes(event: &VEvent) -> usize {
    let change = |row: &Option<vtmigrated_proto::query::Row>| row.as_ref().map_or(0, |row| row.values.len());
    event.row_event.iter().flat_map(|event| &event.row_changes).map(|c| change(&c.before) + change(&c.after)).sum()
}

fn another_commit_follows(rest: &[VEvent]) -> bool {
    let decides = |event: &&VEvent| {
        matches!(event.r#type(), VEventType::Commit | VEventType::Ddl | VEventType::Other | VEventType::Journal)
    };
    rest.iter().find(decides).is_some_and(|event| event.r#type() == VEventType::Commit)
}

/// `error applying event for table t while processing position p`, as far as known.
fn context(event: &VEvent, rest: &[VEvent]) -> String {
    let field = event.field_event.as_ref().map(|event| &event.table_name);
    let table = field.or_else(|| event.row_event.as_ref().map(|event| &event.table_name));
    let table = table.map(|table| format!(" for table {table}")).unwrap_or_default();
    let gtid = rest.iter().find(|event| event.r#type() == VEventType::Gtid).map(|event| event.gtid.as_str());
    let gtid = gtid.map(|gtid| format!(" while processing position {}", gtid.trim_start_matches("MySQL56/")));
    format!("error applying event{table}{}", gtid.unwrap_or_default())
}
