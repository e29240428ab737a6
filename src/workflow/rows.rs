//! The statements that go to the workflow tables of a tablet, and their answers.

use std::collections::BTreeMap;

use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::query::QueryResult;

use crate::sql::{quote, rows};

/// Tables that are still to be copied, with the last key copied, for each stream id; the newest row of a table counts.
pub type CopyStates = BTreeMap<i64, Vec<(String, String)>>;

/// Reads the ids of the streams of a workflow; of all workflows of the database when `workflow` is empty.
pub fn streams(db_name: &str, workflow: &str) -> String {
    let only =
        if workflow.is_empty() { String::new() } else { format!(" and workflow = {}", quote::literal(workflow)) };
    format!("select id from _vt.vreplication where db_name = {}{only}", quote::literal(db_name))
}

/// Reads the copy states of these [`streams`].
pub fn copying(db_name: &str, workflow: &str) -> String {
    let streams = streams(db_name, workflow);
    format!(
        "select vrepl_id, table_name, lastpk from _vt.copy_state where vrepl_id in ({streams}) and id in \
         (select max(id) from _vt.copy_state where vrepl_id in ({streams}) group by vrepl_id, table_name)"
    )
}

/// Reads the tables that streams had left to copy which are gone: stream id, table.
pub const ORPHANED: &str = "select distinct vrepl_id, table_name from _vt.copy_state \
     where vrepl_id not in (select id from _vt.vreplication)";

/// Reads when each of these [`streams`] began to copy: stream id, epoch seconds.
pub fn copy_starts(db_name: &str, workflow: &str) -> String {
    format!(
        "select /*+ MAX_EXECUTION_TIME(2000) */ vrepl_id, unix_timestamp(min(created_at)) from _vt.vreplication_log \
         where vrepl_id in ({}) and type = 'Started Copy Phase' group by vrepl_id",
        streams(db_name, workflow)
    )
}

/// Decodes the answer to [`copying`], and to [`ORPHANED`].
pub fn copy_states(result: &QueryResult) -> CopyStates {
    let mut states = CopyStates::new();
    for row in rows::texts(result) {
        let mut row = row.into_iter();
        let (id, table, key) = (row.next().flatten(), row.next().flatten(), row.next().flatten());
        if let (Some(Ok(id)), Some(table)) = (id.map(|id| id.parse()), table) {
            states.entry(id).or_default().push((table, key.unwrap_or_default()));
        }
    }
    states.values_mut().for_each(|tables| tables.sort());
    states
}

/// Decodes two columns of numbers into a map; rows that are none are left out.
pub fn numbers(result: &QueryResult) -> BTreeMap<i64, f64> {
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?.parse().ok()?, row.next()?.parse().ok()?))
    };
    rows::texts(result).into_iter().filter_map(pair).collect()
}

/// Deletes the streams of a workflow, with their copy states.
pub fn delete_workflow(db_name: &str, workflow: &str) -> String {
    format!(
        "delete from _vt.vreplication where db_name = {} and workflow = {}",
        quote::literal(db_name),
        quote::literal(workflow)
    )
}

/// Deletes streams by id.
pub fn delete_streams(ids: &[i64]) -> String {
    format!("delete from _vt.vreplication where id in ({})", quote::ids(ids))
}

/// Starts or stops streams by id, and leaves others of their workflow as they are (Vitess 22.0.4 and 24.0.4, as a VDiff does it).
pub fn set_state(ids: &[i64], state: State) -> String {
    let state = quote::literal(state.as_str_name());
    format!("update _vt.vreplication set state = {state} where id in ({})", quote::ids(ids))
}

/// Reads what the tablet still has to do to the tables of a workflow (secondary keys that it dropped for the copy).
pub fn pending_actions(db_name: &str, workflow: &str) -> String {
    format!(
        "select pca.table_name, pca.action from _vt.post_copy_action as pca \
         join _vt.vreplication as vr on vr.id = pca.vrepl_id where vr.db_name = {} and vr.workflow = {}",
        quote::literal(db_name),
        quote::literal(workflow)
    )
}

/// The same of streams by id.
pub fn pending_actions_of(ids: &[i64]) -> String {
    format!(
        "select pca.table_name, pca.action from _vt.post_copy_action as pca where pca.vrepl_id in ({})",
        quote::ids(ids)
    )
}

/// The same of a workflow and of streams by id that are gone.
pub fn pending_actions_with(db_name: &str, workflow: &str, gone: &[i64]) -> String {
    format!(
        "select pca.table_name, pca.action from _vt.post_copy_action as pca \
         left join _vt.vreplication as vr on vr.id = pca.vrepl_id \
         where vr.db_name = {} and vr.workflow = {} or vr.id is null and pca.vrepl_id in ({})",
        quote::literal(db_name),
        quote::literal(workflow),
        quote::ids(gone)
    )
}

/// Deletes what streams by id have left in a sidecar table, such as `copy_state`, unless they are there.
pub fn forget(table: &str, ids: &[i64]) -> String {
    let ids = quote::ids(ids);
    format!("delete from _vt.{table} where vrepl_id in ({ids}) and vrepl_id not in (select id from _vt.vreplication)")
}

/// Deletes the notes of keys that were taken from a table.
pub fn forget_keys(table: &str) -> String {
    format!("delete from _vt.post_copy_action where table_name = {}", quote::literal(table))
}

/// UUIDs of the diffs of a workflow that a tablet works on, or tries again by itself (Vitess 22.0.4, `sqlGetVDiffsToRetry`).
pub fn diffs_under_way(keyspace: &str, workflow: &str) -> String {
    format!(
        "select vdiff_uuid from _vt.vdiff where keyspace = {} and workflow = {} and (state in ('pending', 'started') \
         or state = 'error' and json_unquote(json_extract(options, '$.core_options.auto_retry')) = 'true')",
        quote::literal(keyspace),
        quote::literal(workflow)
    )
}

/// The statements of [`pending_actions`]: table and SQL.
pub fn actions(result: &QueryResult) -> Vec<(String, String)> {
    let action = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        let (table, json) = (row.next()?, row.next()?);
        let action: serde_json::Value = serde_json::from_str(&json).ok()?;
        Some((table, action.get("task")?.as_str()?.to_owned()))
    };
    rows::texts(result).into_iter().filter_map(action).collect()
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::query::Row;

    use super::*;

    fn result(table: &[&[&str]]) -> QueryResult {
        let row = |cells: &&[&str]| Row {
            lengths: cells.iter().map(|c| i64::try_from(c.len()).unwrap()).collect(),
            values: cells.concat().into_bytes(),
        };
        QueryResult { rows: table.iter().map(row).collect(), ..QueryResult::default() }
    }

    #[test]
    fn copy_states_are_grouped_by_stream() {
        let states = copy_states(&result(&[&["2", "b", "k"], &["1", "t", ""], &["2", "a", ""]]));
        assert_eq!(states[&2], vec![("a".into(), String::new()), ("b".into(), "k".into())]);
        assert_eq!(states[&1].len(), 1);
        let orphaned = copy_states(&result(&[&["7", "t"]]));
        assert_eq!(orphaned[&7], vec![("t".into(), String::new())]);
        assert_eq!(numbers(&result(&[&["1", "17.5"], &["x", "1"]])), BTreeMap::from([(1, 17.5)]));
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(
            delete_workflow("vt_a", "it's"),
            "delete from _vt.vreplication where db_name = 'vt_a' and workflow = 'it\\'s'"
        );
        let of_workflow = "select id from _vt.vreplication where db_name = 'vt_a' and workflow = 'it\\'s'";
        assert_eq!(streams("vt_a", "it's"), of_workflow);
        assert_eq!(streams("vt_a", ""), "select id from _vt.vreplication where db_name = 'vt_a'");
        assert_eq!(copying("vt_a", "it's").matches(&format!("vrepl_id in ({of_workflow})")).count(), 2);
        assert!(copy_starts("vt_a", "it's").contains(&format!(" where vrepl_id in ({of_workflow}) and ")));
        assert!(pending_actions_with("vt_a", "w", &[1, 2]).ends_with(" or vr.id is null and pca.vrepl_id in (1, 2)"));
        assert!(forget("copy_state", &[1]).starts_with("delete from _vt.copy_state where vrepl_id in (1) and "));
        assert_eq!(forget_keys("it's"), "delete from _vt.post_copy_action where table_name = 'it\\'s'");
        assert!(pending_actions_of(&[1, 2]).ends_with(" where pca.vrepl_id in (1, 2)"));
        assert_eq!(delete_streams(&[1, 2]), "delete from _vt.vreplication where id in (1, 2)");
        let stopped = "update _vt.vreplication set state = 'Stopped' where id in (1, 2)";
        assert_eq!(set_state(&[1, 2], State::Stopped), stopped);
    }

    #[test]
    fn pending_actions_are_read_from_json() {
        let found = actions(&result(&[&["t", r#"{"type":1,"task":"alter table `t` add key (a)"}"#], &["u", "{}"]]));
        assert_eq!(found, vec![("t".into(), "alter table `t` add key (a)".into())]);
    }
}
