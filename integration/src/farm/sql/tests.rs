use std::{sync::Arc, time::Duration};

use vtmigrated::sql::rows;
use vtmigrated::workflow::rows::{copying, delete_workflow};
use vtmigrated_proto::{
    binlogdata::{BinlogSource, Filter, Rule},
    tabletmanagerdata::{CreateVReplicationWorkflowRequest, ReadVReplicationWorkflowsRequest, VDiffRequest},
};

use super::*;
use crate::farm::statement::Which;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A workflow that copies two tables for ten seconds.
fn contents() -> Contents {
    let mut contents = Contents::new("vt_customer".into(), &Arc::default(), Duration::from_secs(10));
    for table in ["a", "b"] {
        contents.create_table(table, at(0)).unwrap();
    }
    let rule = |table: &str| Rule { r#match: table.into(), ..Rule::default() };
    let filter = Some(Filter { rules: vec![rule("a"), rule("b")], ..Filter::default() });
    let source = BinlogSource { keyspace: "commerce".into(), shard: "0".into(), filter, ..BinlogSource::default() };
    let request = CreateVReplicationWorkflowRequest {
        workflow: "w".into(),
        binlog_source: vec![source],
        ..CreateVReplicationWorkflowRequest::default()
    };
    contents.insert(request, at(0));
    contents
}

fn texts_of(contents: &mut Contents, query: &str) -> Vec<Vec<String>> {
    let answer = contents.run(query, 0, at(0)).unwrap();
    rows::texts(&answer).into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()
}

#[test]
fn a_table_has_rows_once_it_is_copied() {
    let mut contents = contents();
    let query =
        "select 0 from (select 1 from `a` limit 1) as t0 union all select 1 from (select 1 from `b` limit 1) as t1";
    assert!(texts_of(&mut contents, query).is_empty());
    contents.set(&Which::Workflows(vec!["w".into()]), Some(State::Running), None, at(0));
    let left = copying("vt_customer", "w");
    assert!(texts_of(&mut contents, &copying("vt_customer", "other")).is_empty());
    assert_eq!(texts_of(&mut contents, &left).len(), 2);
    contents.advance(at(6));
    assert_eq!(texts_of(&mut contents, query), [["0"]]);
    assert_eq!(texts_of(&mut contents, &left)[0][..2], ["1", "b"]);
    contents.advance(at(10));
    assert_eq!(texts_of(&mut contents, query), [["0"], ["1"]]);
    assert!(texts_of(&mut contents, &left).is_empty());
}

#[test]
fn rows_and_tables_go_as_told() {
    let mut contents = contents();
    assert!(contents.run("select 1 from `c` limit 1", 1, at(0)).unwrap_err().contains("errno 1146"));
    assert!(contents.run("drop table `vt_customer`.`c`", 1, at(0)).unwrap_err().contains("errno 1051"));
    contents.run("drop table if exists `vt_customer`.`a`, `vt_customer`.`c`", 1, at(0)).unwrap();
    assert_eq!(contents.tables.len(), 1);
    assert!(contents.run(&copying("vt_customer", ""), 1, at(0)).unwrap().rows.is_empty());
    assert_eq!(contents.run(&delete_workflow("vt_customer", "w"), 1, at(0)).unwrap().rows_affected, 1);
    assert!(contents.told(&ReadVReplicationWorkflowsRequest::default(), at(0)).is_empty());
    assert!(contents.run("select now()", 1, at(0)).unwrap_err().contains("does not know"));
}

#[test]
fn a_table_that_is_made_anew_is_of_another_second() {
    let mut contents = contents();
    contents.fill(&["old".to_owned()]);
    let query = "select table_name, unix_timestamp(create_time), unix_timestamp(now(6)) from information_schema.tables where \
                 table_schema = database() and table_name in ('a', 'old', 'gone')";
    let made = |contents: &mut Contents, now: u64| {
        let answer = contents.run(query, 0, at(now) + Duration::from_micros(7)).unwrap();
        let row = |row: Vec<Option<String>>| row.into_iter().flatten().collect::<Vec<_>>().join(" ");
        rows::texts(&answer).into_iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(made(&mut contents, 2), ["a 0 2.000007", "old 1600000000 2.000007"]);
    contents.run("drop table if exists `vt_customer`.`a`", 1, at(3)).unwrap();
    assert_eq!(made(&mut contents, 3), ["old 1600000000 3.000007"]);
    contents.create_table("a", at(4)).unwrap();
    assert_eq!(made(&mut contents, 5), ["a 4 5.000007", "old 1600000000 5.000007"]);
}

#[test]
fn answers_have_a_bound() {
    let mut contents = contents();
    let sizes = "select table_name, table_rows, data_length from information_schema.tables";
    assert!(contents.run(sizes, 1, at(0)).unwrap_err().starts_with("Row count exceeded 1 "));
    assert_eq!(contents.run(sizes, 2, at(0)).unwrap().rows.len(), 2);
}

#[test]
fn diffs_are_shown_when_they_were_started() {
    let mut contents = contents();
    let mut ask = |action: &str, arg: &str| {
        let (workflow, vdiff_uuid) = ("w".to_owned(), "u".to_owned());
        let (action, action_arg) = (action.to_owned(), arg.to_owned());
        let request = VDiffRequest { workflow, action, action_arg, vdiff_uuid, ..VDiffRequest::default() };
        contents.diff(&request, at(1))
    };
    ask("create", "").unwrap();
    assert!(ask("create", "").unwrap_err().contains("already exists"));
    let shown = ask("show", "last").unwrap();
    assert_eq!((shown.vdiff_uuid.as_str(), shown.output.unwrap().rows.len()), ("u", 2));
    ask("delete", "all").unwrap();
    assert!(ask("show", "last").unwrap().output.is_none());
}
