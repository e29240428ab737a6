use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use tokio_util::sync::CancellationToken;
use vtmigrated_proto::topodata::CellInfo;

use super::Options;
use super::snapshot::*;
use super::state::State;
use crate::context::{Changes, Context, End};
use crate::error::Reason;
use crate::error::check;
use crate::failure::{Error, Result};
use crate::topo::{Dialer, EtcdOptions, Topo, Wrap, paths};
use crate::workflow::checks::complete::diffs::{Diff, DiffTable};
use crate::workflow::findings::Finding;
use crate::workflow::progress::{Size, TableState};
use crate::workflow::status::observe::{Observed, ObservedStream};
use crate::workflow::streams::Origin;

const T0: i64 = 1_800_000_000_000;

fn table(copied: i64, done: bool) -> TableState {
    let size = |rows: i64| Size { rows, bytes: rows * 100 };
    TableState { here: size(copied), there: Some(size(1000)), done, untouched: copied == 0 }
}

fn stream(shard: &str, lag: Option<i64>) -> ObservedStream {
    ObservedStream {
        id: 1,
        source_shard: "0".into(),
        shard: shard.into(),
        state: if lag.is_some() { "Running" } else { "Copying" },
        lag,
        tables_left: usize::from(lag.is_none()),
        ..ObservedStream::default()
    }
}

fn observed(copied: i64, done: bool) -> Observed {
    let lag = done.then_some(2);
    Observed {
        workflow: "import".into(),
        origin: Origin { keyspace: "commerce".into(), mount: "ext1".into(), ..Origin::default() },
        streams: vec![stream("-80", lag), stream("80-", lag)],
        tables: BTreeMap::from([("corder".to_owned(), table(copied, done))]),
        ..Observed::default()
    }
}

fn one(observed: Result<Observed>) -> Vec<(String, Result<Observed>)> {
    vec![("import".to_owned(), observed)]
}

struct Rig {
    state: State,
    changes: Changes,
    now: i64,
}

impl Rig {
    fn new() -> Self {
        Self { state: State::new(Duration::from_secs(10)), changes: Changes::default(), now: T0 }
    }

    /// The next round finds this in `customer`.
    fn round(&mut self, found: Vec<(String, Result<Observed>)>) -> Snapshot {
        self.now += 10_000;
        self.state.found(&["customer".into()], &["ext1".into()], &self.changes, self.now);
        self.state.keyspace("customer", found, &self.changes, self.now);
        self.state.snapshot(self.now)
    }
}

fn stage(snapshot: &Snapshot) -> Stage {
    snapshot.migrations[0].stage
}

#[test]
fn a_life_is_followed_to_its_end() {
    for (end, expected) in
        [(Some(End::Completed), Stage::Completed), (Some(End::Cancelled), Stage::Cancelled), (None, Stage::Ended)]
    {
        let mut rig = Rig::new();
        let unborn = Observed { creating: true, streams: Vec::new(), ..observed(0, false) };
        assert_eq!(stage(&rig.round(one(Ok(unborn)))), Stage::Creating);
        rig.round(one(Ok(observed(100, false))));
        let copying = rig.round(one(Ok(observed(600, false))));
        assert_eq!(stage(&copying), Stage::Copying);
        let migration = &copying.migrations[0];
        assert_eq!(migration.tables[0].rows_per_second, Some(50.0));
        assert_eq!((migration.tables[0].seconds_left, migration.copy.seconds_left), (Some(8), Some(14)));
        assert!((migration.copy.percent - 60.0).abs() < 0.01 && migration.max_lag.is_none());
        let running = rig.round(one(Ok(observed(1000, true))));
        assert_eq!((stage(&running), running.migrations[0].max_lag), (Stage::Running, Some(2)));
        assert_eq!(running.migrations[0].first_seen, copying.migrations[0].first_seen);
        let running = rig.round(one(Ok(observed(1000, true))));
        assert_eq!(running.migrations[0].streams[1].history.len(), 2);
        if let Some(end) = end {
            rig.changes.end("customer", "import", end);
        }
        let over = rig.round(Vec::new());
        assert_eq!((stage(&over), over.migrations[0].ended_at), (expected, Some(rig.now / 1000)));
        assert!((over.migrations[0].copy.percent - 100.0).abs() < f64::EPSILON);
        // another one of the same name begins anew
        let again = rig.round(one(Ok(observed(100, false))));
        assert_eq!((stage(&again), again.migrations[0].first_seen), (Stage::Copying, rig.now / 1000));
    }
}

#[test]
fn one_that_was_completing_and_is_gone_was_completed() {
    let mut rig = Rig::new();
    let completing = rig.round(one(Ok(Observed { completing: true, ..observed(1000, true) })));
    assert_eq!(stage(&completing), Stage::Completing);
    assert!(rig.state.has_migrations("customer") && rig.state.has_migrations("never read"));
    // its streams are deleted before its record
    let bare = rig.round(one(Ok(Observed { workflow: "import".into(), completing: true, ..Observed::default() })));
    let (seen, now) = (&completing.migrations[0], &bare.migrations[0]);
    assert_eq!((stage(&bare), &now.copy), (Stage::Completing, &seen.copy));
    assert_eq!((now.tables.len(), now.streams.len()), (seen.tables.len(), seen.streams.len()));
    assert_eq!(stage(&rig.round(Vec::new())), Stage::Completed);
    assert!(!rig.state.has_migrations("customer"));
    // a day later it is forgotten
    rig.now += 86_500_000;
    assert!(rig.round(Vec::new()).migrations.is_empty());
}

#[test]
fn what_cannot_be_read_stays_and_is_marked() {
    let mut rig = Rig::new();
    let fresh = rig.round(one(Ok(observed(500, false))));
    rig.state.mount(Mount { name: "ext1".into(), reachable: true, cells: vec!["c".into()], ..Mount::default() });
    let problem = Problem::late(15);
    rig.state.unread("customer", &problem);
    let stale = rig.state.snapshot(rig.now);
    assert_eq!(stale.keyspaces[0].problem, problem);
    assert_eq!(stale.keyspaces[0].last_success, Some(rig.now / 1000));
    assert_eq!(stale.migrations[0].stale.as_ref(), Some(&problem));
    assert_eq!(stale.migrations[0].copy, fresh.migrations[0].copy);
    assert_eq!(stale.mounts[0].used_by, ["customer.import"]);
    // the mount goes away: what was known of it stays
    rig.state.mount(Mount { name: "ext1".into(), problem: Some(Problem::late(5)), ..Mount::default() });
    assert_eq!(rig.state.snapshot(rig.now).mounts[0].cells, ["c"]);
    // the own topology too
    rig.state.lost(&Problem::late(15));
    let lost = rig.state.snapshot(rig.now);
    assert!(lost.problem.is_some() && lost.migrations[0].stale.is_some() && lost.sequence > stale.sequence);
    // and back
    let back = rig.round(one(Ok(observed(600, false))));
    assert!(back.problem.is_none() && back.keyspaces.is_empty() && back.migrations[0].stale.is_none());
    // one workflow of several that cannot be told
    let odd = rig.round(one(Err(Error::precondition(Reason::STREAMS_DISAGREE, "no", ""))));
    assert_eq!(odd.migrations[0].stale.as_ref().unwrap().reason, "STREAMS_DISAGREE");
    assert_eq!(odd.migrations[0].tables.len(), 1);
    // a keyspace that is gone
    rig.state.found(&[], &[], &rig.changes, rig.now);
    assert_eq!(stage(&rig.state.snapshot(rig.now)), Stage::Ended);
}

#[test]
fn differences_of_columns_stay_until_they_are_compared_again() {
    let mut rig = Rig::new();
    let drift = Finding::new(&check::COLUMN_LOST, "table corder", "a column is missing", "ALTER TABLE");
    let found = |compared: bool, findings: Vec<Finding>| Observed { compared, findings, ..observed(1000, true) };
    rig.round(one(Ok(found(true, vec![drift.clone()]))));
    let between = rig.round(one(Ok(found(false, Vec::new()))));
    assert_eq!(between.migrations[0].findings, [drift]);
    assert!(!between.migrations[0].go && between.migrations[0].verdict == "NO-GO (column lost, 1 reason)");
    let fixed = rig.round(one(Ok(found(true, Vec::new()))));
    assert!(fixed.migrations[0].go && fixed.migrations[0].findings.is_empty());
}

#[test]
fn troubles_of_streams_have_a_cause_and_a_command() {
    let mut rig = Rig::new();
    let stopped = Finding::new(&check::NOT_RUNNING, "customer/80- stream 1", "its state is Stopped ()", "start it");
    let copying = Finding::new(&check::COPYING, "customer/-80 stream 1", "left: corder", "wait");
    let mut broken = observed(500, false);
    broken.streams[0].state = "Error";
    broken.streams[0].message = "error: duplicate entry".into();
    broken.findings = vec![copying, stopped];
    let snapshot = rig.round(one(Ok(broken)));
    let streams = &snapshot.migrations[0].streams;
    let told = |at: usize| streams[at].problem.as_ref().map(|p| (p.reason.as_str(), p.cause.as_str())).unwrap();
    assert_eq!(told(0), ("ERROR", "error: duplicate entry"));
    assert_eq!(told(1), ("NOT_RUNNING", "its state is Stopped ()"));
}

#[test]
fn diffs_of_shards_are_folded() {
    let diff = |uuid: &str, state: &str, differing: i64| {
        let table = DiffTable { name: "t".into(), rows: 100, compared: 100, differing, ..DiffTable::default() };
        let completed = (state == "completed").then_some(20);
        Ok(Some(Diff {
            uuid: uuid.into(),
            state: state.into(),
            started: Some(10),
            completed,
            tables: vec![table],
            ..Diff::default()
        }))
    };
    let told = |diffs: [std::result::Result<Option<Diff>, String>; 2]| {
        let mut rig = Rig::new();
        let diffs = ["-80", "80-"].map(str::to_owned).into_iter().zip(diffs).collect();
        let snapshot = rig.round(one(Ok(Observed { diffs, ..observed(1000, true) })));
        (snapshot.migrations[0].stage, snapshot.migrations[0].vdiff.clone())
    };
    let (stage, equal) = told([diff("u", "completed", 0), diff("u", "completed", 0)]);
    let equal = equal.unwrap();
    assert_eq!((stage, equal.rows_compared, equal.completed_at), (Stage::Diffed, 200, Some(20)));
    let (stage, differs) = told([diff("u", "completed", 0), diff("u", "completed", 3)]);
    let differs = differs.unwrap();
    assert!(differs.has_mismatch && stage == Stage::Running);
    assert_eq!((differs.differing, differs.mismatches.as_slice()), (3, ["t".to_owned()].as_slice()));
    let (_, running) = told([diff("u", "completed", 0), diff("u", "started", 1)]);
    assert_eq!(running.map(|vdiff| (vdiff.state, vdiff.has_mismatch)), Some(("started".into(), false)));
    let (stage, half) = told([diff("u", "completed", 0), Ok(None)]);
    assert_eq!((stage, half.unwrap().state.as_str()), (Stage::Running, ""));
    assert!(told([Ok(None), Err("down".into())]).1.is_none());
}

#[tokio::test]
async fn an_empty_cluster_has_an_empty_snapshot() {
    let context = std::sync::Arc::new(crate::context::Context::of("memory", "test", "/vitess/global").await);
    let options = Options { interval: Duration::from_secs(3600) };
    let stopping = tokio_util::sync::CancellationToken::new();
    let mut seen = super::start(std::sync::Arc::clone(&context), &options, stopping.clone());
    let first = seen.wait_for(|snapshot| snapshot.sequence > 0).await.unwrap().clone();
    assert!(first.problem.is_none() && first.migrations.is_empty() && first.interval == 3600);
    // a change is looked at without waiting for the next round
    context.changes.make();
    seen.wait_for(|snapshot| snapshot.sequence > first.sequence).await.unwrap();
    stopping.cancel();
    seen.changed().await.unwrap_err();
    let off = super::start(context, &Options { interval: Duration::ZERO }, stopping);
    assert_eq!(off.borrow().sequence, 0);
}

#[tokio::test]
async fn what_panics_in_a_round_ends_no_later_one() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    // the global topology opens, its cell does not at first
    let wrap: Wrap = Arc::new(move |conn| {
        assert_ne!(count.fetch_add(1, Ordering::Relaxed), 1, "planted");
        conn
    });
    let dialer = Arc::new(Dialer::new(EtcdOptions::default()).wrapping(wrap));
    let topo = Topo::open(dialer, "memory", "test", "/vitess/global").await.unwrap();
    let cell = CellInfo { server_address: "zone1".into(), root: "/vitess/zone1".into() };
    topo.global().create(&paths::cell_info("zone1"), cell.encode_to_vec()).await.unwrap();
    topo.global().create(&paths::keyspace("ks"), Vec::new()).await.unwrap();
    let context = Context { topo: Arc::new(topo), ..Context::of("memory", "other", "/vitess/global").await };
    let options = Options { interval: Duration::from_millis(10) };
    let mut seen = super::start(Arc::new(context), &options, CancellationToken::new());
    while opened.load(Ordering::Relaxed) <= 2 {
        seen.changed().await.unwrap();
    }
    let last = seen.borrow().clone();
    assert!(last.problem.is_none() && last.sequence > 1, "{last:?}");
}
