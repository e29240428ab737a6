//! What an answer of create tells of warnings.

use serde_json::json;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{Shard, TabletType};

use super::*;
use crate::error::check;
use crate::topo::{Cells, Record};
use crate::workflow::checks::workflows::denied_already;
use crate::workflow::findings::Finding;
use crate::workflow::record::Facts;
use crate::workflow::streams::{Keyspace, TargetShard};

fn told(findings: Vec<Finding>) -> String {
    with_warnings(WorkflowStatusResponse::default(), &Report { findings }).traffic_state
}

#[test]
fn of_many_warnings_of_one_check_some_are_told() {
    let counted = |number: usize| {
        Finding::new(&check::AUTO_INCREMENT_SHARDED, format!("table t{number}"), format!("cause {number}"), "fix")
    };
    let other = Finding::new(&check::NOT_MOVED, "keyspace commerce", "views stay", "");
    let text = told((0..15).map(counted).chain([other]).collect());
    let lines: Vec<&str> = text.lines().collect();
    let last = [
        "Warning AUTO_INCREMENT_SHARDED: cause 11; fix",
        "Warning NOT_MOVED: views stay",
        "Warning AUTO_INCREMENT_SHARDED: and 3 more, which the server's log tells",
    ];
    assert_eq!(lines[12..], last, "{text}");
}

#[test]
fn an_answer_stays_small_however_many_tables_somebody_else_denies() {
    let tables: Vec<String> = (0..10_000).map(|number| format!("t{number:05}")).collect();
    let shard = |number: usize| {
        let control = TabletControl {
            tablet_type: TabletType::Primary.into(),
            denied_tables: tables.clone(),
            ..TabletControl::default()
        };
        let value = Shard { tablet_controls: vec![control], ..Shard::default() };
        let record = Record { path: String::new(), value, raw: bytes::Bytes::new(), version: 1, created: 1 };
        TargetShard { name: format!("s{number}"), record, primary: None, missing: String::new(), unread: None }
    };
    let target = Keyspace {
        name: "customer".into(),
        cells: Cells::default(),
        shards: (0..64).map(shard).collect(),
        silent: Vec::new(),
    };
    let facts: Facts = serde_json::from_value(json!({
        "phase": "creating", "mount": "ext1", "arguments": "", "tables": [], "created_tables": [],
        "vschema_tables": [], "denied_tables": [],
    }))
    .unwrap();
    let text = told(denied_already(&target, &tables, &facts));
    assert!(text.len() < 64 * 1024 && text.contains(", and 9988 more"), "{} bytes: {text}", text.len());
    assert!(text.ends_with("\nWarning ALREADY_DENIED: and 52 more, which the server's log tells"), "{text}");
}
