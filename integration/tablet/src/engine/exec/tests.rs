use super::*;

fn refused(sql: &str) -> String {
    plan(sql, "_vt").unwrap_err().to_string()
}

#[test]
fn selects_of_four_tables_pass() {
    let sql = "select vrepl_id, table_name, lastpk from _vt.copy_state where vrepl_id in (1) and id in (select max(id) from _vt.copy_state where vrepl_id in (1) group by vrepl_id, table_name)";
    assert_eq!(plan(sql, "_vt").unwrap(), Plan::Pass { sql: sql.to_owned() });
    assert_eq!(refused("select 1 from _vt.vdiff"), "invalid table name: vdiff");
    assert_eq!(refused("select 1 from vreplication"), "invalid database name: ");
    assert_eq!(refused("select 1 from other.vreplication"), "invalid database name: other");
    assert!(refused("drop table _vt.vreplication").starts_with("unsupported construct: "));
}

#[test]
fn changes_find_their_rows_first() {
    let sql = r"update _vt.vreplication set state = 'Running', message = 'it\'s \\ where' where id in (1, 2) and db_name = 'vt_c'";
    assert_eq!(
        plan(sql, "_vt").unwrap(),
        Plan::Update {
            selector: "select id from `_vt`.vreplication where id in (1, 2) and db_name = 'vt_c'".into(),
            front: r"update _vt.vreplication set state = 'Running', message = 'it\'s \\ where'".into()
        }
    );
    let sql = "delete from _vt.vreplication where db_name = 'vt_c' and workflow = 'w'";
    assert_eq!(
        plan(sql, "_vt").unwrap(),
        Plan::Delete { selector: "select id from `_vt`.vreplication where db_name = 'vt_c' and workflow = 'w'".into() }
    );
}

#[test]
fn ids_are_the_servers() {
    assert_eq!(
        plan("insert into _vt.vreplication (workflow, pos) values ('a', ''), ('b', '')", "_vt").unwrap(),
        Plan::Insert {
            sql: "insert into _vt.vreplication (workflow, pos) values ('a', ''), ('b', '')".into(),
            rows: 2
        }
    );
    assert!(refused("insert into _vt.vreplication (id) values (1)").starts_with("id should not have a value: "));
    assert!(refused("update _vt.vreplication set id = 2 where id = 1").starts_with("id cannot be changed: "));
    assert_eq!(refused("insert into _vt.copy_state (id) values (1)"), "invalid table name: copy_state");
}

#[test]
fn writes_must_name_id_or_workflow() {
    let text = refused("update _vt.vreplication set pos = '' where id > 5");
    assert!(text.starts_with(
        "unsafe WHERE clause in update without the /*vt+ ALLOW_UNSAFE_VREPLICATION_WRITE */ comment directive: "
    ));
    assert!(text.ends_with("should be using = or in with at least one of the following columns: id, workflow"));
    assert!(refused("delete from _vt.vreplication").starts_with("unsafe WHERE clause in delete"));
    assert!(plan("delete /*vt+ ALLOW_UNSAFE_VREPLICATION_WRITE */ from _vt.vreplication", "_vt").is_ok());
}
