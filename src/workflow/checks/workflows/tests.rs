use vtmigrated_proto::binlogdata::{BinlogSource, Filter, Rule};
use vtmigrated_proto::tabletmanagerdata::ReadVReplicationWorkflowResponse;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::topodata::{Shard, TabletType};

use super::*;
use crate::topo::{Cells, Record};
use crate::workflow::checks::servers::Answers;
use crate::workflow::record::{Facts, samples};
use crate::workflow::streams::TargetShard;

fn target(denied: &[&str]) -> Keyspace {
    let control = TabletControl {
        tablet_type: TabletType::Primary.into(),
        denied_tables: denied.iter().map(|table| (*table).to_owned()).collect(),
        ..TabletControl::default()
    };
    let value = Shard { tablet_controls: vec![control], ..Shard::default() };
    let record = Record {
        path: "keyspaces/customer/shards/0/Shard".into(),
        value,
        raw: Vec::new().into(),
        version: 1,
        created: 1,
    };
    let shard = TargetShard { name: "0".into(), record, primary: None, missing: String::new(), unread: None };
    Keyspace { name: "customer".into(), cells: Cells::default(), shards: vec![shard], silent: Vec::new() }
}

fn row(workflow: &str, table: &str, message: &str) -> ShardWorkflow {
    let rule = Rule { r#match: table.into(), ..Rule::default() };
    let filter = Filter { rules: vec![rule], ..Filter::default() };
    let source = BinlogSource { filter: Some(filter), ..BinlogSource::default() };
    let stream = Stream { bls: Some(source), message: message.into(), ..Stream::default() };
    let found =
        ReadVReplicationWorkflowResponse { workflow: workflow.into(), streams: vec![stream], ..Default::default() };
    ShardWorkflow { shard: 0, found }
}

#[test]
fn one_workflow_writes_a_table() {
    let tables = ["t".to_owned(), "u".to_owned()];
    let look = |rows: &[ShardWorkflow]| others_on_tables(&target(&[]), rows, "import", &tables);
    assert!(look(&[row("other", "v", ""), row("import", "t", ""), row("done", "t", "FROZEN")]).is_empty());
    let found = look(&[row("other", "t", ""), row("other", "t", "")]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].cause, "table t of keyspace customer is written by the streams of workflow other");
}

/// Nobody lets those of other kinds run on, nor those whose tables clients have.
#[test]
fn streams_of_a_migrate_that_were_stopped_for_good_may_run_on() {
    let tables = ["t".to_owned()];
    let frozen = |kind: VReplicationWorkflowType, message: &str| {
        let row = row("stands", "t", message);
        ShardWorkflow { found: ReadVReplicationWorkflowResponse { workflow_type: kind.into(), ..row.found }, ..row }
    };
    let look = |denied: &[&str], row: ShardWorkflow| others_on_tables(&target(denied), &[row], "import", &tables);
    let found = look(&["t"], frozen(VReplicationWorkflowType::Migrate, "FROZEN"));
    assert_eq!(found.len(), 1);
    let cause = "table t of keyspace customer is brought by workflow stands, whose streams were stopped for good and may run on";
    assert!(found[0].cause.starts_with(cause), "{found:?}");
    assert!(found[0].fix.contains("delete --workflow stands --keep-data; or leave the table out"), "{found:?}");
    assert!(look(&["u"], frozen(VReplicationWorkflowType::Migrate, "FROZEN")).is_empty());
    assert!(look(&["t"], frozen(VReplicationWorkflowType::MoveTables, "FROZEN")).is_empty());
    assert_eq!(look(&[], frozen(VReplicationWorkflowType::MoveTables, "")).len(), 1);
}

fn facts(phase: Phase, denied: &[&str]) -> Facts {
    let denied = denied.iter().map(|table| (*table).to_owned()).collect();
    Facts { denied_tables: vec![("0".into(), denied)], ..samples::facts(phase) }
}

#[test]
fn leftovers_are_told() {
    let record = |phase| Stored { facts: facts(phase, &[]), version: 1 };
    let (whole, begun) = (record(Phase::Created), record(Phase::Creating));
    assert_eq!(leftover_record("customer", "import", None, 0), None);
    assert_eq!(leftover_record("customer", "import", Some(&begun), 0), None);
    assert_eq!(leftover_record("customer", "import", Some(&whole), 1), None);
    let left = leftover_record("customer", "import", Some(&whole), 0).unwrap();
    assert_eq!(left.id, "LEFTOVER_RECORD");
    // what it advises never drops a table
    assert!(left.fix.ends_with("Workflow --keyspace customer delete --workflow import --keep-data"), "{left:?}");

    let server = |orphans: &[&str]| Server {
        shard: "customer/0".into(),
        alias: "zone1-0000000200".into(),
        candidate: false,
        answers: Ok(Answers { orphans: orphans.iter().map(|id| (*id).to_owned()).collect(), ..Answers::default() }),
    };
    assert!(leftover_copy_states(&[server(&[])]).is_empty());
    let found = leftover_copy_states(&[server(&["3", "4"])]);
    assert!(found[0].fix.ends_with("delete from _vt.copy_state where vrepl_id in (3, 4)"), "{found:?}");
    let many: Vec<String> = (0..15).map(|id| id.to_string()).collect();
    let found = leftover_copy_states(&[server(&many.iter().map(String::as_str).collect::<Vec<_>>())]);
    assert!(found[0].fix.ends_with("where vrepl_id not in (select id from _vt.vreplication)"), "{found:?}");
    assert!(found[0].cause.ends_with(", 11, and 3 more"), "{found:?}");
}

#[test]
fn a_source_that_is_another_one_than_create_has_read_is_told() {
    let of = |then: Option<i64>, now: Option<i64>| {
        mount_changed(&Facts { source_created: then, ..facts(Phase::Created, &[]) }, now)
    };
    for (then, now) in [(None, Some(7)), (Some(7), None), (Some(7), Some(7)), (None, None)] {
        assert_eq!(of(then, now), None);
    }
    let found = of(Some(7), Some(8)).unwrap();
    assert_eq!((found.id.as_str(), found.subject.as_str()), ("MOUNT_CHANGED", "mount ext1"));
    let cause = "mount ext1 does not lead to the keyspace commerce that create has read";
    assert!(found.cause.starts_with(cause), "{found:?}");
}

#[test]
fn denied_tables_of_others_are_told() {
    let tables = ["t".to_owned()];
    let none = facts(Phase::Creating, &[]);
    assert!(denied_already(&target(&["other"]), &tables, &none).is_empty());
    assert!(
        denied_already(&target(&["t"]), &tables, &facts(Phase::Creating, &["t"])).is_empty(),
        "denied by an earlier one"
    );
    let found = denied_already(&target(&["t", "other"]), &tables, &none);
    assert_eq!((found[0].id.as_str(), found[0].subject.as_str()), ("ALREADY_DENIED", "shard customer/0"));
    assert!(found[0].cause.ends_with(": t"), "{found:?}");

    let many: Vec<String> = (0..15).map(|number| format!("t{number:02}")).collect();
    let found = denied_already(&target(&many.iter().map(String::as_str).collect::<Vec<_>>()), &many, &none);
    assert!(found[0].cause.ends_with(": t00, t01, t02, t03, t04, t05, t06, t07, t08, t09, t10, t11, and 3 more"));
    assert!(found[0].fix.contains(" --denied-tables <these 15> customer/0 primary"), "{found:?}");
}
