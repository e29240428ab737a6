use vtmigrated::workflow::rows;

use super::*;

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(number, table)| ((*number).to_owned(), (*table).to_owned())).collect()
}

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn our_reads_of_workflow_tables_are_known() {
    for (workflow, known) in [("w", Some("w".to_owned())), ("", None)] {
        let states = Statement::CopyStates { workflow: known.clone(), streams: vec![] };
        assert_eq!(recognise(&rows::copying("vt_a", workflow)), Some(states));
        assert_eq!(recognise(&rows::copy_starts("vt_a", workflow)), Some(Statement::CopyStarts(known)));
    }
    assert_eq!(recognise(rows::ORPHANED), Some(Statement::Nothing));
    assert_eq!(recognise(&rows::pending_actions("vt_a", "w")), Some(Statement::Nothing));
    assert_eq!(recognise(&rows::pending_actions_of(&[1, 2])), Some(Statement::Nothing));
    assert_eq!(recognise(&rows::pending_actions_with("vt_a", "w", &[1, 2])), Some(Statement::Nothing));
    assert_eq!(recognise(&rows::forget("copy_state", &[1, 2])), Some(Statement::Nothing));
    assert_eq!(recognise(&rows::diffs_under_way("a", "w")), Some(Statement::Nothing));
    let logs = "select id, vrepl_id, type, state, message, created_at, updated_at, `count` from _vt.vreplication_log \
                where vrepl_id in (select id from _vt.vreplication where db_name = 'vt_a' and workflow = 'it\\'s') \
                order by vrepl_id asc, id asc";
    assert_eq!(recognise(logs), Some(Statement::Logs { workflow: Some("it's".into()), streams: vec![] }));
    let sources = "select workflow, source from _vt.vreplication";
    assert_eq!(recognise(sources), Some(Statement::Sources));
}

#[test]
fn reads_of_stock_are_known() {
    let copying = "select vrepl_id, table_name, lastpk from _vt.copy_state where vrepl_id in (1, 2) and id in \
                   (select max(id) from _vt.copy_state where vrepl_id in (1, 2) group by vrepl_id, table_name)";
    assert_eq!(recognise(copying), Some(Statement::CopyStates { workflow: None, streams: vec![1, 2] }));
    let ids = "select id from _vt.vreplication where db_name = 'vt_a' and workflow = 'w'";
    assert_eq!(recognise(ids), Some(Statement::Ids(Some("w".into()))));
    let logs = |of: &str| {
        format!(
            "select id, vrepl_id, `type`, state, message, created_at, updated_at, `count` from _vt.vreplication_log \
             where vrepl_id {of} order by vrepl_id asc, id asc"
        )
    };
    let logged = |streams| Some(Statement::Logs { workflow: None, streams });
    assert_eq!(recognise(&logs("in (3, 14)")), logged(vec![3, 14]));
    assert_eq!(recognise(&logs("= 3")), logged(vec![3]));
    assert_eq!(recognise("select 1 from `t` limit 1"), Some(Statement::Filled(pairs(&[("1", "t")]))));
}

#[test]
fn parts_of_unions_are_numbered() {
    let filled = "select 0 from (select 1 from `a` limit 1 lock in share mode) as t0 union all select 1 from (select 1 from `b` \
                  limit 1) as t1";
    assert_eq!(recognise(filled), Some(Statement::Filled(pairs(&[("0", "a"), ("1", "b")]))));
    let bounds = "select * from ((select 0 as n, min(`id`) as low, max(`id`) as high from `a`) union all (select 1 as n, \
                  min(`id`) as low, max(`id`) as high from `b`)) as bounds";
    assert_eq!(recognise(bounds), Some(Statement::Bounds(pairs(&[("0", "a"), ("1", "b")]))));
    let greatest = "select 0, max(`id`) from `a` union all select 1, max(`id`) from `b`";
    assert_eq!(recognise(greatest), Some(Statement::Greatest(pairs(&[("0", "a"), ("1", "b")]))));
    let maxima = "select * from ((select 0, max(`id`) from `a`)) as maxima";
    assert_eq!(recognise(maxima), Some(Statement::Greatest(pairs(&[("0", "a")]))));
}

#[test]
fn streams_are_changed_by_id_or_workflow() {
    let of = |statement: Option<Statement>| match statement {
        Some(Statement::DeleteStreams(which)) => which,
        other => panic!("{other:?}"),
    };
    assert_eq!(of(recognise(&rows::delete_streams(&[7, 8]))), Which::Ids(vec![7, 8]));
    assert_eq!(of(recognise(&rows::delete_workflow("vt_a", "w"))), Which::Workflows(texts(&["w"])));
    let frozen = "update _vt.vreplication set message = 'FROZEN' where db_name='vt_a' and workflow='w'";
    let which = Which::Workflows(texts(&["w"]));
    let expected = Statement::SetStreams { which: which.clone(), state: None, message: Some("FROZEN".into()) };
    assert_eq!(recognise(frozen), Some(expected));
    let running = "update _vt.vreplication set state='Running', message='' where db_name='vt_a' and workflow='w'";
    let expected = Statement::SetStreams { which, state: Some("Running".into()), message: Some(String::new()) };
    assert_eq!(recognise(running), Some(expected));
}

#[test]
fn tables_are_named_with_and_without_their_database() {
    let drop = |query: &str| match recognise(query) {
        Some(Statement::Drop { tables, if_exists }) => (tables, if_exists),
        other => panic!("{other:?}"),
    };
    assert_eq!(drop("drop table if exists `vt_a`.`t`, `vt_a`.`u`"), (texts(&["t", "u"]), true));
    assert_eq!(drop("drop table `vt_a`.`t`"), (texts(&["t"]), false));
    assert_eq!(recognise("truncate table `vt_a`.`t`"), Some(Statement::Truncate(texts(&["t"]))));
    let names =
        "select table_name from information_schema.tables where table_schema = database() and table_name in ('a', 'b')";
    assert_eq!(recognise(names), Some(Statement::Names(texts(&["a", "b"]))));
    let made = "select table_name, unix_timestamp(create_time), unix_timestamp(now(6)) from information_schema.tables where \
                table_schema = database() and table_name in ('a', 'b')";
    assert_eq!(recognise(made), Some(Statement::Made(texts(&["a", "b"]))));
}

#[test]
fn what_is_not_known_is_told() {
    for query in ["", "select now()", "insert into t values (1)", "drop database a", "update t set a = 1"] {
        assert_eq!(recognise(query), None, "{query}");
    }
}
