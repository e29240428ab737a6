use std::time::Duration;

use super::super::snapshot::Snapshot;
use super::super::state::State;
use super::*;
use crate::error::Reason;
use crate::error::check;
use crate::failure::Error;
use crate::workflow::status::observe::ObservedStream;

const T0: i64 = 1_800_000_000_000;
const PREPARED: i64 = 1_799_000_000;

/// What a state knows of the way back of `customer.import`.
struct Rig {
    state: State,
    changes: Changes,
    now: i64,
}

impl Rig {
    fn new() -> Self {
        Self { state: State::new(Duration::from_secs(10)), changes: Changes::default(), now: T0 }
    }

    /// The next round finds this record; the migration is gone.
    fn round(&mut self, record: Option<Record>) -> Snapshot {
        self.now += 10_000;
        self.state.found(&["customer".into()], &["ext1".into()], &self.changes, self.now);
        let records: Vec<Record> = record.into_iter().collect();
        self.state.ways_back.found(&records, |_, _| false, &self.changes, self.now);
        self.state.keyspace("customer", Vec::new(), &self.changes, self.now);
        self.state.snapshot(self.now)
    }

    /// The source tells this.
    fn read(&mut self, seen: std::result::Result<Result<Observed>, Problem>) -> Snapshot {
        let asked = [("customer".to_owned(), "import".to_owned())];
        let seen = seen.map(|seen| vec![(asked[0].clone(), seen)]);
        self.state.ways_back.read(&asked, seen, self.now);
        self.state.snapshot(self.now)
    }
}

fn record(phase: &str) -> Option<Record> {
    let since = if ["prepared", "noted"].contains(&phase) { 0 } else { PREPARED + 100 };
    let text = format!(
        r#"{{"phase":"{phase}","mount":"ext1","source":{{"topo_type":"","server":"","root":""}},"keyspace":"commerce",
            "tables":["t"],"back_mount":"customer.import","mount_made":true,"on_ddl":1,"prepared":{PREPARED},"since":{since},
            "why":"nobody told","target":{{"topo_type":"","server":"","root":""}}}}"#
    );
    Some(("customer".to_owned(), "import".to_owned(), Ok(serde_json::from_str(&text).unwrap())))
}

fn observed(lag: i64, findings: Vec<Finding>) -> Observed {
    let stream = ObservedStream {
        id: 1,
        source_shard: "-80".into(),
        shard: "0".into(),
        state: "Running",
        lag: Some(lag),
        ..ObservedStream::default()
    };
    Observed { workflow: "import_back".into(), streams: vec![stream], findings, ..Observed::default() }
}

fn only(snapshot: &Snapshot) -> &WayBack {
    let [migration] = snapshot.migrations.as_slice() else { panic!("{:?}", snapshot.migrations) };
    snapshot.way_back(migration).unwrap()
}

#[test]
fn a_life_is_followed_to_its_end() {
    for (end, expected) in [
        (Some(End::Completed), BackStage::Back),
        (Some(End::Cancelled), BackStage::Cancelled),
        (None, BackStage::Ended),
    ] {
        let mut rig = Rig::new();
        let seen = rig.round(record("prepared"));
        let prepared = only(&seen);
        assert_eq!(
            (prepared.stage, prepared.prepared_at, prepared.opened_at),
            (BackStage::Prepared, Some(PREPARED), None)
        );
        assert_eq!((prepared.verdict.as_str(), prepared.go), ("NO-GO (complete opens it)", false));
        assert_eq!(only(&rig.round(record("noted"))).stage, BackStage::Opening);
        let unread = rig.round(record("open"));
        assert_eq!((only(&unread).verdict.as_str(), only(&unread).go), ("NO-GO (not read yet)", false));
        for lag in [5, 3] {
            rig.read(Ok(Ok(observed(lag, Vec::new()))));
        }
        let seen = rig.round(record("open"));
        let open = only(&seen);
        assert_eq!((open.stage, open.max_lag, open.opened_at), (BackStage::Running, Some(3), Some(PREPARED + 100)));
        assert_eq!((open.verdict.as_str(), open.go, open.streams[0].history.len()), ("GO", true, 2));
        if let Some(end) = end {
            rig.changes.end_way_back("customer", "import", end);
        }
        let over = rig.round(None);
        assert_eq!((only(&over).stage, only(&over).ended_at), (expected, Some(rig.now / 1000)));
        assert_eq!((only(&over).go, only(&over).verdict.as_str()), (false, ""));
        // a day later both are forgotten
        rig.now += 86_500_000;
        rig.round(None);
        let forgotten = rig.round(None);
        assert!(forgotten.ways_back.is_empty() && forgotten.migrations.is_empty(), "{forgotten:?}");
    }
}

#[test]
fn one_that_was_returning_and_is_gone_went_back() {
    for (phase, expected) in
        [("returned", BackStage::Back), ("cancelling", BackStage::Cancelled), ("closing", BackStage::Ended)]
    {
        let mut rig = Rig::new();
        let before = rig.round(record(phase));
        assert!(!only(&before).stage.is_over());
        assert_eq!(only(&rig.round(None)).stage, expected, "{phase}");
    }
}

#[test]
fn what_its_record_and_its_streams_say_stands_in_one_verdict() {
    let mut rig = Rig::new();
    let missed = rig.round(record("missed"));
    assert_eq!(
        (only(&missed).verdict.as_str(), only(&missed).findings[0].id.as_str()),
        ("NO-GO (way back missed, 1 reason)", "WAY_BACK_MISSED")
    );
    let handed = rig.round(record("handed"));
    assert_eq!(only(&handed).verdict, "NO-GO (way back not open, 1 reason)");
    rig.round(record("open"));
    let behind = Finding::new(&check::BEHIND, "commerce/0 stream 1", "it is behind", "wait");
    let seen = rig.read(Ok(Ok(observed(400, vec![behind]))));
    assert_eq!((only(&seen).verdict.as_str(), only(&seen).go), ("NO-GO (behind, 1 reason)", false));
    assert_eq!(only(&seen).streams[0].problem.as_ref().map(|problem| problem.reason.as_str()), Some("BEHIND"));
    for phase in ["closing", "returned"] {
        let seen = rig.round(record(phase));
        let verdict = "NO-GO (going back has begun: run it again)";
        assert_eq!((only(&seen).verdict.as_str(), only(&seen).go), (verdict, false), "{phase}");
    }
}

#[test]
fn what_cannot_be_read_stays_and_is_marked() {
    let mut rig = Rig::new();
    rig.round(record("open"));
    let fresh = rig.read(Ok(Ok(observed(1, Vec::new()))));
    assert_eq!(only(&fresh).stale, None);
    let problem = Problem::late(15);
    let stale = rig.read(Err(problem.clone()));
    assert_eq!((only(&stale).stale.as_ref(), only(&stale).streams.len()), (Some(&problem), 1));
    let told = Error::not_found(Reason::MOUNT_UNKNOWN, "no vitess cluster found with name ext1", "");
    let stale = rig.read(Ok(Err(told)));
    assert_eq!(only(&stale).stale.as_ref().map(|problem| problem.reason.as_str()), Some("MOUNT_UNKNOWN"));
    let garbage = ("customer".to_owned(), "import".to_owned(), Err("garbage".to_owned()));
    let unread = rig.round(Some(garbage));
    assert_eq!(only(&unread).stale.as_ref().map(|problem| problem.reason.as_str()), Some("NOT_READ"));
    assert_eq!(only(&unread).stage, BackStage::Running, "as it was seen last");
    let again = rig.round(record("prepared"));
    assert_eq!((only(&again).stale.as_ref(), only(&again).stage), (None, BackStage::Prepared));
    rig.state.lost(&problem);
    assert_eq!(only(&rig.state.snapshot(rig.now)).stale.as_ref(), Some(&problem));
}

#[test]
fn a_migration_that_nobody_remembers_is_told_with_its_way_back() {
    for (phase, expected) in [("open", Stage::Completed), ("prepared", Stage::Ended)] {
        let mut rig = Rig::new();
        // nobody has looked whether the keyspace has it
        let records: Vec<Record> = record(phase).into_iter().collect();
        rig.state.ways_back.found(&records, |_, _| false, &rig.changes, rig.now);
        assert!(rig.state.snapshot(rig.now).migrations.is_empty());
        let seen = rig.round(record(phase));
        let migration = &seen.migrations[0];
        assert_eq!((migration.stage, migration.source_keyspace.as_str()), (expected, "commerce"), "{phase}");
    }
}

#[test]
fn a_mount_is_used_by_what_leads_into_it() {
    let mut rig = Rig::new();
    rig.state.mount(super::super::snapshot::Mount { name: "ext1".into(), ..Default::default() });
    let used = |snapshot: &Snapshot| snapshot.mounts[0].used_by.clone();
    assert_eq!(used(&rig.round(record("open"))), ["customer.import"]);
    assert_eq!(used(&rig.round(None)), Vec::<String>::new());
}
