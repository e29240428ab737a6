//! One light tablet: a place in the topology, what is behind it, and the faults that it was told to have.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use tokio::sync::watch;
use tonic::Status;
use vtmigrated::topo::paths;
use vtmigrated_proto::{
    query::{RealtimeStats, StreamHealthResponse, Target},
    topodata::{TabletAlias, TabletType},
};

use super::{calls::Calls, contents::Contents};

/// For so long an answer that nothing has changed is given again. The times in it are as old.
const KEPT: Duration = Duration::from_secs(5);
/// Reads that are asked for again and again, and large.
const KEEPS: [&str; 2] = ["ReadVReplicationWorkflow", "ReadVReplicationWorkflows"];

/// What a tablet does to calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Each call takes so long, and the little it takes anyway.
    pub delay_ms: u64,
    /// Each call fails with this text once it is done.
    pub error: Option<String>,
    /// Calls are taken, and not gone on with before this ends.
    pub hang: bool,
    /// Only these methods; all when empty.
    pub methods: Vec<String>,
}

/// Where a tablet is.
#[derive(Clone, Debug)]
pub struct Seat {
    pub alias: TabletAlias,
    pub keyspace: String,
    pub shard: String,
    pub kind: TabletType,
    /// Where its shard is in its binlog, for ever.
    pub position: String,
}

/// An answer, and what it was when it was given.
struct Kept {
    version: u64,
    at: Instant,
    answer: Bytes,
}

/// A tablet.
pub struct Tablet {
    pub seat: Seat,
    contents: Arc<Mutex<Contents>>,
    faults: watch::Sender<Faults>,
    /// Milliseconds that its clock is ahead.
    clock: AtomicI64,
    calls: Arc<Calls>,
    kept: Mutex<HashMap<(String, Bytes), Kept>>,
    /// Statements under way.
    running: AtomicUsize,
}

/// A statement under way, whether somebody waits for it or not.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tablet {
    /// A tablet without faults.
    #[must_use]
    pub fn new(seat: Seat, contents: &Arc<Mutex<Contents>>, calls: &Arc<Calls>) -> Self {
        Self {
            seat,
            contents: Arc::clone(contents),
            faults: watch::Sender::default(),
            clock: AtomicI64::new(0),
            calls: Arc::clone(calls),
            kept: Mutex::default(),
            running: AtomicUsize::new(0),
        }
    }

    /// The alias as texts have it.
    #[must_use]
    pub fn alias(&self) -> String {
        paths::alias_text(&self.seat.alias)
    }

    /// Whether a text names it: by its alias, its keyspace, `keyspace/shard`, its cell, or `*`.
    pub(super) fn is_meant(&self, by: &str) -> bool {
        let Seat { alias, keyspace, shard, .. } = &self.seat;
        let of_shard = by.split_once('/') == Some((keyspace.as_str(), shard.as_str()));
        of_shard || by == "*" || by == alias.cell || by == keyspace || by == self.alias()
    }

    /// From now on it has these faults.
    pub fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// From now on its clock is so many milliseconds ahead.
    pub fn set_clock(&self, ahead: i64) {
        self.clock.store(ahead, Ordering::Relaxed);
    }

    /// The time by its clock.
    pub(super) fn now(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.clock.load(Ordering::Relaxed));
        let by = Duration::from_millis(ahead.unsigned_abs());
        let by_its_clock = if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        by_its_clock.unwrap_or(now)
    }

    /// Answers a call of its manager.
    ///
    /// # Errors
    /// The faults it has, and what a tablet refuses; methods that a Migrate has no use for.
    pub async fn answer(&self, method: &str, request: Bytes) -> Result<Bytes, Status> {
        self.calls.count(method);
        let of_sql = method.starts_with("Execute") || method == "VReplicationExec";
        let _running = of_sql.then(|| self.run());
        let fault = self.fault(method).await;
        let answer = self.answered(method, request);
        // what fails is done all the same, as it is when a connection breaks
        fault.map_or(answer, Err)
    }

    /// Answers `StreamHealth`.
    ///
    /// # Errors
    /// The faults it has.
    pub async fn health(&self) -> Result<Bytes, Status> {
        self.calls.count("StreamHealth");
        if let Some(fault) = self.fault("StreamHealth").await {
            return Err(fault);
        }
        let Seat { alias, keyspace, shard, kind, .. } = &self.seat;
        let target = Target {
            keyspace: keyspace.clone(),
            shard: shard.clone(),
            tablet_type: (*kind).into(),
            ..Target::default()
        };
        let health = StreamHealthResponse {
            target: Some(target),
            serving: true,
            realtime_stats: Some(RealtimeStats::default()),
            tablet_alias: Some(alias.clone()),
            ..StreamHealthResponse::default()
        };
        Ok(health.encode_to_vec().into())
    }

    /// Answers a client's statement: the tables of a migration are denied.
    ///
    /// # Errors
    /// Always.
    pub async fn execute(&self) -> Result<Bytes, Status> {
        self.calls.count("Execute");
        let fault = self.fault("Execute").await;
        Err(fault.unwrap_or_else(|| Status::failed_precondition("disallowed due to rule: enforce denied tables")))
    }

    /// Runs something on what is behind it.
    pub(super) fn on<T>(&self, run: impl FnOnce(&mut Contents, SystemTime) -> T) -> T {
        let (mut contents, now) = (self.contents(), self.now());
        contents.advance(now);
        run(&mut contents, now)
    }

    /// An error of the tablet's manager: all of them have the code Unknown (Vitess 22.0.3).
    pub(super) fn failed(&self, method: &str, why: &str) -> Status {
        Status::unknown(format!("TabletManager.{method} on {}: {why}", self.alias()))
    }

    /// One statement more, until the answer is dropped.
    fn run(&self) -> Running<'_> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.calls.statements(&self.seat, running);
        Running(&self.running)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as told; answers the error that the call is to end with.
    async fn fault(&self, method: &str) -> Option<Status> {
        let meant = |faults: &Faults| faults.methods.is_empty() || faults.methods.iter().any(|of| of == method);
        let mut changes = self.faults.subscribe();
        let lasting = changes.wait_for(|faults| !(faults.hang && meant(faults))).await.map(|faults| faults.clone());
        // the tablet outlives its calls
        let faults = lasting.unwrap_or_default();
        if !meant(&faults) {
            return None;
        }
        if faults.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(faults.delay_ms)).await;
        }
        faults.error.map(|why| self.failed(method, &why))
    }

    /// The answer to a call: of reads that are kept the one from before, while nothing has changed it.
    fn answered(&self, method: &str, request: Bytes) -> Result<Bytes, Status> {
        if !KEEPS.contains(&method) {
            return self.manage(method, &request);
        }
        let version = self.on(|contents, _| contents.version);
        let holds = |kept: &Kept| kept.version == version && kept.at.elapsed() < KEPT;
        let asked = (method.to_owned(), request);
        if let Some(found) = self.kept().get(&asked).filter(|kept| holds(kept)) {
            return Ok(found.answer.clone());
        }
        let answer = self.manage(method, &asked.1)?;
        let mut kept = self.kept();
        kept.retain(|_, other| holds(other));
        kept.insert(asked, Kept { version, at: Instant::now(), answer: answer.clone() });
        Ok(answer)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<(String, Bytes), Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::PingRequest;

    use super::*;

    fn tablet() -> Tablet {
        let seat = Seat {
            alias: TabletAlias { cell: "zone1".into(), uid: 100 },
            keyspace: "commerce".into(),
            shard: "0".into(),
            kind: TabletType::Primary,
            position: String::new(),
        };
        Tablet::new(seat, &Arc::default(), &Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_goes_on_once_it_may() {
        let tablet = Arc::new(tablet());
        tablet.set(Faults { hang: true, ..Faults::default() });
        let asked = Arc::clone(&tablet);
        let call =
            tokio::spawn(async move { asked.answer("Ping", PingRequest::default().encode_to_vec().into()).await });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!call.is_finished());
        tablet.set(Faults::default());
        assert!(call.await.unwrap().is_ok());
    }

    #[test]
    fn clocks_jump_both_ways() {
        let (tablet, hour) = (tablet(), 3_600_000);
        tablet.set_clock(hour);
        assert!(tablet.now() > SystemTime::now() + Duration::from_secs(3000));
        tablet.set_clock(-hour);
        assert!(tablet.now() < SystemTime::now());
    }
}
