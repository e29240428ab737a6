//! The statements that our server sends to tablets. One that is not known is a violation: the model has to learn it.

use std::collections::BTreeSet;

use vtmigrated::gtid::GtidSet;
use vtmigrated::sql::rows;
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as StreamState;
use vtmigrated_proto::query::{Field, QueryResult};
use vtmigrated_proto::tabletmanagerdata::{VDiffRequest, VDiffResponse};

use crate::data::{Diff, DiffTable, Name, Owner, Shard, Stream, covers, place, rules};
use crate::step::Op;
use crate::upset::caller;
use crate::way_back::give_position;
use crate::world::State;

/// A result set.
fn result(columns: &[&str], values: &[Vec<String>]) -> QueryResult {
    let field = |name: &&str| Field { name: (*name).into(), ..Field::default() };
    let row = |values: &Vec<String>| rows::row(values.iter().map(|v| Some(v.as_bytes())));
    QueryResult {
        fields: columns.iter().map(field).collect(),
        rows: values.iter().map(row).collect(),
        ..QueryResult::default()
    }
}

fn plain(values: &[Vec<String>]) -> QueryResult {
    result(&["a", "b", "c", "d", "e", "f"][..values.first().map_or(1, Vec::len)], values)
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// What stands between quotes of a kind, in order.
pub fn quoted(query: &str, quote: char) -> Vec<String> {
    query.split(quote).skip(1).step_by(2).map(str::to_owned).collect()
}

/// Runs a statement on a shard.
pub fn run(state: &mut State, shard: &mut Shard, name: &Name, query: &str) -> Result<QueryResult, String> {
    let lower = query.trim().to_lowercase();
    if lower.starts_with("select") {
        return read(state, shard, name, &lower, query);
    }
    if lower.starts_with("delete from _vt.vreplication ") {
        still_copying(state, shard, name, query);
        let count = if let Some((_, list)) = lower.split_once("id in (") {
            let ids: BTreeSet<i32> =
                list.trim_end_matches(')').split(',').filter_map(|id| id.trim().parse().ok()).collect();
            shard.delete_streams(|stream| ids.contains(&stream.id))
        } else {
            let names = quoted(query, '\'');
            shard.delete_streams(|stream| names.contains(&stream.workflow))
        };
        return Ok(QueryResult { rows_affected: count as u64, ..QueryResult::default() });
    }
    if lower.starts_with("delete from _vt.copy_state where vrepl_id ") {
        let ids: BTreeSet<i32> = shard.streams.iter().map(|stream| stream.id).collect();
        let named = lower.split_once("vrepl_id in (").and_then(|(_, list)| list.split(')').next());
        let named: Option<Vec<i32>> = named.map(|list| list.split(", ").filter_map(|id| id.parse().ok()).collect());
        let is_named = |id: &i32| named.as_ref().is_none_or(|named| named.contains(id));
        shard.copy.retain(|copy| ids.contains(&copy.stream) || !is_named(&copy.stream));
        return Ok(QueryResult::default());
    }
    if ["_vt.post_copy_action", "_vt.vdiff_table", "_vt.vdiff_log"]
        .iter()
        .any(|of| lower.starts_with(&format!("delete from {of}")))
    {
        return Ok(QueryResult::default());
    }
    if lower.starts_with("drop table if exists") || lower.starts_with("truncate table") {
        for table in quoted(query, '`').into_iter().filter(|table| !table.starts_with("vt_")) {
            remove(state, shard, name, &table, lower.starts_with("drop"))?;
        }
        return Ok(QueryResult::default());
    }
    if let Some(rest) = query.trim().strip_prefix("update _vt.vreplication set pos = ") {
        return give_position(state, shard, rest);
    }
    if let Some(rest) = query.trim().strip_prefix("update _vt.vreplication set state = ") {
        return set_state(shard, rest);
    }
    // no transaction is under way between two calls
    if lower.starts_with("lock tables") {
        return Ok(QueryResult::default());
    }
    state.violate(format!("the model does not know the statement: {query}"));
    Err("unknown statement".to_owned())
}

/// Starts or stops streams by id.
fn set_state(shard: &mut Shard, rest: &str) -> Result<QueryResult, String> {
    let (state, ids) = rest.split_once(" where id in (").ok_or("no ids")?;
    let state = StreamState::from_str_name(state.trim_matches('\'')).ok_or("no state")?;
    let ids: Vec<i32> = ids.trim_end_matches(')').split(',').filter_map(|id| id.trim().parse().ok()).collect();
    ids.iter().for_each(|id| shard.set_state(*id, state));
    Ok(QueryResult { rows_affected: ids.len() as u64, ..QueryResult::default() })
}

/// Drops or empties a table: no row of a client may go, and no table of a user's.
fn remove(state: &mut State, shard: &mut Shard, name: &Name, table: &str, drop: bool) -> Result<(), String> {
    let Some(found) = shard.tables.get_mut(table) else {
        return if drop { Ok(()) } else { Err(missing(table)) };
    };
    let verb = if drop { "dropped" } else { "emptied" };
    let of_clients = found.rows.values().filter(|row| row.owner == Owner::Client).count();
    let of_others = found.rows.values().filter(|row| is_of_another(&row.owner, &shard.streams)).count();
    if of_others > 0 {
        state.violate(format!("{verb} {table} on {}/{} with {of_others} rows of another workflow", name.0, name.1));
    }
    if of_clients > 0 {
        state.violate(format!("{verb} {table} on {}/{} with {of_clients} rows of clients", name.0, name.1));
    } else if drop && found.of_user {
        state.violate(format!("{verb} {table} on {}/{}, which create did not make", name.0, name.1));
    }
    found.rows.clear();
    if drop {
        shard.tables.remove(table);
    }
    Ok(())
}

/// Whether a row was copied by another workflow than the one that is at work; the cleaner may take what nothing copies.
fn is_of_another(owner: &Owner, streams: &[Stream]) -> bool {
    let Owner::Workflow(of) = owner else { return false };
    match caller() {
        Some(Op::Clean) => streams.iter().any(|stream| stream.workflow == *of),
        Some(op) => op.workflow() != of,
        None => false,
    }
}

/// Complete waits for the copy, whatever the caller insists on.
fn still_copying(state: &mut State, shard: &Shard, name: &Name, query: &str) {
    let Some(op @ (Op::Complete | Op::CompleteSecond | Op::CompleteIgnoringSource)) = caller() else { return };
    let streams = shard.streams.iter().filter(|stream| stream.workflow == op.workflow());
    // what a stream had left whose place another one took nobody has copied either
    let ids: BTreeSet<i32> = streams.flat_map(|s| s.replaces.iter().copied().chain([s.id])).collect();
    let left = shard.copy.iter().filter(|copy| ids.contains(&copy.stream)).count();
    if left > 0 {
        state.violate(format!("{op:?} on {} deletes streams with {left} tables to copy: {query}", name.1));
    }
}

fn missing(table: &str) -> String {
    format!("Table 'vt_customer.{table}' doesn't exist (errno 1146) (sqlstate 42S02)")
}

fn read(state: &mut State, shard: &mut Shard, name: &Name, lower: &str, query: &str) -> Result<QueryResult, String> {
    if lower.starts_with("select count(*) from _vt.copy_state") {
        let orphans = orphans(shard).len().to_string();
        return Ok(plain(&[texts(&[&orphans]), texts(&["0"]), texts(&["0"]), texts(&["0"])]));
    }
    if lower.contains("performance_schema.global_variables") {
        return Ok(variables(shard, lower));
    }
    if lower.starts_with("select distinct vrepl_id, table_name from _vt.copy_state") {
        return Ok(orphaned(shard));
    }
    if lower.contains("from _vt.copy_state") {
        return Ok(copy_states(shard, query));
    }
    if lower.starts_with("select workflow, source from _vt.vreplication") {
        let source = |of: &crate::data::Stream| format!("external_cluster:\"{}\"", of.source.external_cluster);
        let row = |of: &crate::data::Stream| vec![of.workflow.clone(), source(of)];
        return Ok(plain(&shard.streams.iter().map(row).collect::<Vec<_>>()));
    }
    // a diff compares all tables at once: none is under way, and a later one says all that an earlier one said
    if lower.starts_with("select vdiff_uuid from _vt.vdiff where") || lower.contains("from _vt.vdiff_table as t join") {
        return Ok(QueryResult::default());
    }
    if lower.contains("from _vt.vdiff where") {
        let live: BTreeSet<&String> = shard.streams.iter().map(|stream| &stream.workflow).collect();
        let orphaned = shard.diffs.iter().filter(|diff| !live.contains(&diff.workflow));
        let row = |diff: &Diff| vec![diff.uuid.clone(), diff.workflow.clone(), diff.state.clone()];
        return Ok(plain(&orphaned.map(row).collect::<Vec<_>>()));
    }
    // reparents of the model are like those that are not noted
    let empty = ["_vt.post_copy_action", "_vt.vreplication_log", "_vt.vdiff_log", "_vt.reparent_journal"];
    if empty.iter().any(|table| lower.contains(table)) {
        return Ok(QueryResult::default());
    }
    if lower.contains("information_schema.columns") {
        let wanted = quoted(query, '\'');
        let tables = shard.tables.keys().filter(|table| wanted.contains(table));
        let columns = |table: &String| ["id", "v"].map(|column| texts(&[table, column, "bigint", "NO", "", ""]));
        return Ok(plain(&tables.flat_map(columns).collect::<Vec<_>>()));
    }
    if lower.contains("innodb_tablestats") {
        return Ok(QueryResult::default());
    }
    if lower.starts_with("select table_name, unix_timestamp(create_time), unix_timestamp(now(6)) from") {
        let (wanted, (now, micros)) = (quoted(query, '\''), state.clock());
        let there = shard.tables.iter().filter(|(table, _)| wanted.contains(table));
        let row = |(table, found): (&String, &crate::data::Table)| {
            vec![table.clone(), found.made.to_string(), format!("{now}.{micros:06}")]
        };
        return Ok(plain(&there.map(row).collect::<Vec<_>>()));
    }
    if lower.contains("information_schema.tables") {
        let row =
            |(table, found): (&String, &crate::data::Table)| texts(&[table, &found.rows.len().to_string(), "16384"]);
        return Ok(plain(&shard.tables.iter().map(row).collect::<Vec<_>>()));
    }
    if lower.contains("limit 1") {
        return with_rows(shard, query);
    }
    if lower.contains("as bounds") {
        return Ok(QueryResult::default());
    }
    state.violate(format!("the model does not know the statement, sent to {}/{}: {query}", name.0, name.1));
    Err("unknown statement".to_owned())
}

/// Tables that streams have left: those of a workflow, or of all when the statement names none.
fn copy_states(shard: &Shard, query: &str) -> QueryResult {
    let names = quoted(query, '\'');
    let all = !query.contains(" and workflow = ");
    let is_meant = |stream: &&Stream| all || names.contains(&stream.workflow);
    let ids: BTreeSet<i32> = shard.streams.iter().filter(is_meant).map(|stream| stream.id).collect();
    let state = |c: &crate::data::CopyState| {
        let last = c.last.map(|last| last.to_string());
        let last = last.map_or_else(String::new, |last| {
            format!("fields:{{name:\"id\" type:INT64}} rows:{{lengths:{} values:\"{last}\"}}", last.len())
        });
        vec![c.stream.to_string(), c.table.clone(), last]
    };
    let states = shard.copy.iter().filter(|c| ids.contains(&c.stream)).map(state);
    result(&["vrepl_id", "table_name", "lastpk"], &states.collect::<Vec<_>>())
}

/// Tables that streams had left which are gone.
fn orphaned(shard: &Shard) -> QueryResult {
    let states = shard.orphans().map(|copy| vec![copy.stream.to_string(), copy.table.clone()]);
    result(&["vrepl_id", "table_name"], &states.collect::<Vec<_>>())
}

fn orphans(shard: &Shard) -> Vec<i32> {
    shard.orphans().map(|copy| copy.stream).collect()
}

fn variables(shard: &Shard, lower: &str) -> QueryResult {
    if lower.starts_with("select variable_name") {
        return plain(&[texts(&["gtid_purged", ""]), texts(&["binlog_expire_logs_seconds", "2592000"])]);
    }
    let of = [
        ("version", "8.0.30"),
        ("log_bin", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("gtid_mode", "ON"),
        ("binlog_expire_logs_seconds", "2592000"),
    ];
    let mut values: Vec<_> = of.iter().map(|(name, value)| texts(&["variable", name, value])).collect();
    if lower.contains("_vt.copy_state") {
        values.extend(orphans(shard).iter().map(|id| texts(&["copy_state", &id.to_string(), ""])));
    }
    plain(&values)
}

/// `select 0 from (select 1 from `t` limit 1) as t0 union all …`
fn with_rows(shard: &Shard, query: &str) -> Result<QueryResult, String> {
    let mut filled = Vec::new();
    for (number, table) in quoted(query, '`').iter().enumerate() {
        let found = shard.tables.get(table).ok_or_else(|| missing(table))?;
        if !found.rows.is_empty() {
            filled.push(vec![number.to_string()]);
        }
    }
    Ok(plain(&filled))
}

impl State {
    /// Whether a stream has reached a position.
    pub fn waits(&self, shard: &Shard, id: i32, position: &str) -> Result<bool, String> {
        let stream = shard.streams.iter().find(|stream| stream.id == id);
        let stream = stream.ok_or_else(|| format!("vreplication stream {id} not found"))?;
        let (reached, wanted) = (GtidSet::parse(&stream.position)?, GtidSet::parse(position)?);
        if reached.contains(&wanted) {
            return Ok(true);
        }
        if stream.state == StreamState::Stopped {
            let (at, message) = (&stream.position, &stream.message);
            return Err(format!(
                "replication has stopped at {at} before reaching position {position}, message: {message}"
            ));
        }
        Ok(false)
    }
}

/// Diffs compare at once, when they are started.
pub fn vdiff(state: &State, shard: &mut Shard, request: &VDiffRequest) -> Result<VDiffResponse, String> {
    let (uuid, workflow) = (request.vdiff_uuid.clone(), request.workflow.clone());
    match request.action.as_str() {
        "create" => {
            let stopped = "stopped".to_owned();
            shard.diffs.push(Diff { uuid: uuid.clone(), workflow, state: stopped, tables: Vec::new() });
        }
        "resume" => {
            let tables = compare(state, shard, &workflow);
            let found = shard.diffs.iter_mut().find(|diff| diff.uuid == uuid);
            let diff = found.ok_or_else(|| format!("vdiff with UUID {uuid} not found"))?;
            diff.tables = tables;
            diff.state = "completed".to_owned();
        }
        "delete" if request.action_arg == "all" => shard.diffs.retain(|diff| diff.workflow != workflow),
        "delete" => shard.diffs.retain(|diff| diff.uuid != request.action_arg),
        "show" => {
            let last = shard.diffs.iter().rev().find(|diff| diff.workflow == workflow);
            let output = last.map(summary);
            let vdiff_uuid = last.map(|diff| diff.uuid.clone()).unwrap_or_default();
            return Ok(VDiffResponse { vdiff_uuid, output, ..VDiffResponse::default() });
        }
        _ => {}
    }
    Ok(VDiffResponse { id: 1, vdiff_uuid: uuid, ..VDiffResponse::default() })
}

/// The rows of the streams' sources against those that are here, at their positions.
fn compare(state: &State, shard: &Shard, workflow: &str) -> Vec<DiffTable> {
    let mut tables: Vec<DiffTable> = Vec::new();
    for stream in shard.streams.iter().filter(|stream| stream.workflow == workflow) {
        let from = (stream.source.keyspace.clone(), stream.source.shard.clone());
        let Some(from) = state.shards.get(&from) else { continue };
        if stream.at != Some(from.log.len()) {
            continue;
        }
        for (name, range) in rules(&stream.source) {
            let (Some(theirs), Some(ours)) = (from.tables.get(&name), shard.tables.get(&name)) else { continue };
            let theirs = theirs.rows.iter().filter(|(id, _)| covers(&range, place(**id)));
            let differs =
                |(id, row): &(&i64, &crate::data::Row)| ours.rows.get(id).map(|r| r.version) != Some(row.version);
            let (compared, differing) = (theirs.clone().count(), theirs.filter(differs).count());
            tables.push(DiffTable { name, compared: compared as i64, differing: differing as i64 });
        }
    }
    tables
}

fn summary(diff: &Diff) -> QueryResult {
    let row = |table: Option<&DiffTable>| {
        let (name, compared, differing) = table.map_or(("", 0, 0), |t| (t.name.as_str(), t.compared, t.differing));
        let report = serde_json::json!({
            "TableName": name, "ProcessedRows": compared, "MatchingRows": compared - differing,
            "MismatchedRows": differing, "ExtraRowsSource": 0, "ExtraRowsTarget": 0,
        });
        let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let mismatch = if differing > 0 { "1" } else { "0" };
        let compared = compared.to_string();
        let state = diff.state.as_str();
        texts(&[state, "", name, &diff.uuid, state, &compared, &now, &compared, &now, mismatch, &report.to_string()])
    };
    let rows: Vec<Vec<String>> = match diff.tables.as_slice() {
        [] => vec![row(None)],
        tables => tables.iter().map(|table| row(Some(table))).collect(),
    };
    result(&vtmigrated::workflow::vdiff_summary::COLUMNS, &rows)
}
