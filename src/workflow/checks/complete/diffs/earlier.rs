//! What earlier diffs found, and no later one has looked at again.

use vtmigrated_proto::query::QueryResult;

use crate::sql::{quote, rows};
use crate::workflow::settle;

/// Most tables that are read of a shard.
pub const MAX_TABLES: u64 = 1_000;

/// A table in which a diff found rows that differ, and that no later diff has compared to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub uuid: String,
    pub table: String,
}

/// The question for [`decode`], newest first.
///
/// A diff that is stopped says so of all its tables, also of those that it has compared (Vitess 22.0.4, `sqlUpdateVDiffStopped`);
/// its log tells them apart. Extra rows that a tablet cannot settle were compared, too: see [`settle`].
pub fn query(keyspace: &str, workflow: &str) -> String {
    format!(
        "select d.vdiff_uuid, t.table_name from _vt.vdiff_table as t join _vt.vdiff as d on d.id = t.vdiff_id \
         where d.keyspace = {keyspace} and d.workflow = {workflow} and t.mismatch = 1 and not exists (\
         select 1 from _vt.vdiff_table as lt join _vt.vdiff as ld on ld.id = lt.vdiff_id \
         where ld.keyspace = d.keyspace and ld.workflow = d.workflow and ld.db_name = d.db_name \
         and ld.id > d.id and lt.table_name = t.table_name and (lt.state = 'completed' or exists (\
         select 1 from _vt.vdiff_log as l where l.vdiff_id = ld.id and (\
         l.message = concat('completed: table ', quote(t.table_name)) \
         or instr(l.message, concat('Table ', t.table_name, {failure})) = 1)))) order by d.id desc limit {MAX_TABLES}",
        failure = quote::literal(&format!(" Error: {}", settle::FAILURE)),
        keyspace = quote::literal(keyspace),
        workflow = quote::literal(workflow)
    )
}

/// Reads an answer; rows of another shape are left out.
pub fn decode(answer: &QueryResult) -> Vec<Mismatch> {
    let row = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some(Mismatch { uuid: row.next()?.to_lowercase(), table: row.next()? })
    };
    rows::texts(answer).into_iter().filter_map(row).collect()
}
