use super::*;

const ALIAS: &str = "src2-0000000101";
const RUNNING: i32 = 3;

fn position(to: u64) -> String {
    format!("MySQL56/3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{to}")
}

/// A replica that runs, and is at a transaction.
fn runs(to: u64) -> Status {
    Status {
        position: position(to),
        source_host: "db1".into(),
        source_port: 3306,
        io_state: RUNNING,
        sql_state: RUNNING,
        ..Status::default()
    }
}

fn told(status: Status, wanted: Option<u64>) -> Option<Trouble> {
    let wanted = wanted.map(|to| Position::parse(&position(to)));
    trouble(ALIAS, &Replication::Told(Box::new(status)), wanted.as_ref())
}

#[test]
fn replicas_that_replicate_are_no_trouble() {
    let well = [
        runs(100),
        Status { replication_lag_seconds: 1, ..runs(99) },
        Status { replication_lag_seconds: MAX_LAG, ..runs(10) },
        // the clock says what it likes: it has everything
        Status { replication_lag_seconds: 4000, ..runs(100) },
        // it has just lost its source, and tries again
        Status { io_state: CONNECTING, replication_lag_unknown: true, ..runs(90) },
        // a version that tells states of its own
        Status { io_state: 0, sql_state: 0, ..runs(100) },
    ];
    for status in well {
        assert_eq!(told(status.clone(), Some(100)), None, "{status:?}");
    }
    assert_eq!(trouble(ALIAS, &Replication::Unknown("no answer".into()), None), None);
}

#[test]
fn what_is_wrong_is_told_with_the_command_that_helps() {
    let sql = "Could not execute Write_rows event; Duplicate entry '7'; Error_code: 1062";
    let io = "error connecting to source 'repl@db1:3306': Can't connect (111)";
    let cases = [
        (
            Status { io_state: STOPPED, sql_state: STOPPED, ..runs(100) },
            "does not replicate: its SQL thread is stopped; its IO thread is stopped",
            "StartReplication src2-0000000101",
        ),
        (
            Status { io_state: STOPPED, sql_state: STOPPED, backup_running: true, ..runs(9) },
            "(a backup is running there)",
            "StartReplication src2-0000000101",
        ),
        (
            Status { sql_state: STOPPED, last_sql_error: sql.into(), ..runs(9) },
            "its SQL thread is stopped: Could not execute Write_rows event; Duplicate entry '7'",
            "fix what the error says, then in the source's cluster: StartReplication src2-0000000101",
        ),
        (
            Status { io_state: CONNECTING, last_io_error: io.into(), replication_lag_unknown: true, ..runs(9) },
            "its IO thread does not reach db1:3306: error connecting to source 'repl@db1:3306'",
            "ReparentTablet src2-0000000101",
        ),
        (
            Status { replication_lag_seconds: 3700, sql_delay: 3600, ..runs(9) },
            "is 3700 s behind its primary, 3600 s of them on purpose",
            "wait until it catches up",
        ),
    ];
    for (status, cause, fix) in cases {
        let found = told(status, Some(100)).unwrap();
        assert!(found.cause.contains(&format!("tablet {ALIAS} ")) && found.cause.contains(cause), "{found:?}");
        assert!(found.fix.contains(fix), "{found:?}");
    }
    let found = trouble(ALIAS, &Replication::Absent, None).unwrap();
    assert!(found.cause.contains("has no source") && found.fix.contains("ReparentTablet"), "{found:?}");
}

#[test]
fn create_is_told_of_tablets_that_would_be_picked() {
    let of = |uid, cell: &str, kind: TabletType| Tablet {
        alias: Some(vtmigrated_proto::topodata::TabletAlias { cell: cell.into(), uid }),
        hostname: "h".into(),
        r#type: kind.into(),
        ..Tablet::default()
    };
    let kinds = [(1, "a", TabletType::Replica), (2, "b", TabletType::Replica), (3, "a", TabletType::Rdonly)];
    let list: Vec<Tablet> = kinds.into_iter().map(|(uid, cell, kind)| of(uid, cell, kind)).collect();
    let stopped = Replication::Told(Box::new(Status { io_state: STOPPED, sql_state: STOPPED, ..runs(1) }));
    let replication: BTreeMap<_, _> = list.iter().map(|tablet| (tablet::alias(tablet), stopped.clone())).collect();
    let tablets = BTreeMap::from([("0".to_owned(), list.clone())]);
    let look = |health: &BTreeMap<String, Health>| {
        let looked = BTreeSet::from(["a"]);
        let found = at_create(&tablets, health, &replication, &[TabletType::Replica], &looked);
        found.into_iter().map(|finding| (finding.id.as_str(), finding.subject)).collect::<Vec<_>>()
    };
    assert_eq!(look(&BTreeMap::new()), [("SOURCE_TABLET_STALLED", "tablet a-0000000001".to_owned())]);
    let ill = BTreeMap::from([("a-0000000001".to_owned(), Health::NotServing("replication is not running".into()))]);
    assert_eq!(look(&ill), []);
}
