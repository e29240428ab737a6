//! GetWorkflows: everything that the primaries of a keyspace know about its workflows. No mount is opened.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::{join, join_all, try_join};
use vtmigrated_proto::binlogdata::VReplicationWorkflowState as State;
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream as Row;
use vtmigrated_proto::tabletmanagerdata::{ReadVReplicationWorkflowResponse, ReadVReplicationWorkflowsRequest};
use vtmigrated_proto::vtctldata::workflow::stream::{CopyState, Log, ThrottlerStatus};
use vtmigrated_proto::vtctldata::workflow::{ReplicationLocation, ShardStream, ShardStreamsEntry, Stream};
use vtmigrated_proto::vtctldata::{ShardedAutoIncrementHandling, Workflow, WorkflowOptions};
use vtmigrated_proto::vttime::Time;

use crate::context::Context;
use crate::error::Reason;
use crate::gtid::Position;
use crate::sql::rows as sql_rows;
use crate::tablet::{self, as_sent};
use crate::topo;
use crate::workflow::reads::copy_states;
use crate::workflow::rows::{self, CopyStates};
use crate::workflow::streams::{self, Keyspace, TargetShard};
use crate::workflow::{Error, Result, names};

/// What to show.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub keyspace: String,
    /// Only this one; all when empty.
    pub workflow: String,
    pub active_only: bool,
    pub include_logs: bool,
    /// Only these shards; all when empty.
    pub shards: Vec<String>,
}

/// What one shard's primary knows.
struct ShardWorkflow {
    workflows: Vec<as_sent::Workflow>,
    beside: Beside,
}

/// What it knows besides the streams.
struct Beside {
    copying: CopyStates,
    /// None when they were not asked for.
    logs: Option<std::result::Result<BTreeMap<i64, Vec<Log>>, String>>,
}

/// That a shard has no primary, as stock says it here.
fn in_words_of_show(keyspace: &Keyspace, error: Error) -> Error {
    match (error, keyspace.shards.iter().find(|shard| shard.primary().is_err())) {
        (Error::Refused { code, reason: reason @ Reason::SHARD_WITHOUT_PRIMARY, help, .. }, Some(shard)) => {
            let text = format!("no primary found for shard {}/{}", keyspace.name, shard.name);
            Error::Refused { code, reason, help, text }
        }
        (other, _) => other,
    }
}

/// The workflows of a keyspace, ascending by name; three waves of round trips.
pub async fn workflows(context: &Context, query: &Query) -> Result<Vec<Workflow>> {
    names::check_keyspace("target", &query.keyspace)?;
    let keyspace = load(context, query).await?;
    let primaries = keyspace.primaries().map_err(|error| in_words_of_show(&keyspace, error))?;
    let asked = primaries.iter().map(|(_, tablet)| ask(context, tablet, query));
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => found.push(answer),
            Err(error) => errors.push(Error::from(error)),
        }
    }
    if let Some(error) = Error::several(errors) {
        return Err(error);
    }
    let shown = assemble(&keyspace, found)?;
    if shown.is_empty() {
        keyspace.refuse_silent()?;
    }
    Ok(shown)
}

async fn load(context: &Context, query: &Query) -> Result<Keyspace> {
    let missing = |error: topo::Error| {
        if !error.is_no_node() {
            return Error::Topo(error);
        }
        let path = format!("{}/", topo::paths::shards_dir(&query.keyspace));
        Error::Topo(topo::Error::NoNode(format!("{}/", context.topo.global().full(&path))))
    };
    let shards = async { topo::shard::all(context.topo.global(), &query.keyspace).await.map_err(missing) };
    let (mut shards, cells) = try_join(shards, async { Ok(context.topo.cells().await?) }).await?;
    if shards.is_empty() {
        let text = format!("no shards found in keyspace {}", query.keyspace);
        return Err(Error::not_found(Reason::NO_SHARDS, text, "create one with CreateShard"));
    }
    if !query.shards.is_empty() {
        let known = |name: &&String| shards.iter().any(|s| topo::shard::name(s) == name.as_str());
        if let Some(unknown) = query.shards.iter().find(|name| !known(name)) {
            let text = format!("shard {unknown} not found in keyspace {}", query.keyspace);
            return Err(Error::not_found(
                Reason::SHARD_UNKNOWN,
                text,
                format!("see FindAllShardsInKeyspace {}", query.keyspace),
            ));
        }
        shards.retain(|s| query.shards.iter().any(|name| name == topo::shard::name(s)));
    }
    let keyspace = Keyspace::with_primaries(&query.keyspace, shards, cells).await?.in_use();
    // a shard that is asked for by name is not left out
    if query.shards.is_empty() { keyspace.answering(context).await } else { Ok(keyspace) }
}

async fn ask(
    context: &Context,
    on: &vtmigrated_proto::topodata::Tablet,
    query: &Query,
) -> tablet::Result<ShardWorkflow> {
    let request = ReadVReplicationWorkflowsRequest {
        include_workflows: Some(query.workflow.clone()).filter(|w| !w.is_empty()).into_iter().collect(),
        exclude_states: if query.active_only { vec![State::Stopped.into()] } else { Vec::new() },
        ..ReadVReplicationWorkflowsRequest::default()
    };
    let workflows = context.tablets.workflows_as_sent(on, &request);
    let copying = copy_states::of(context, on, &query.workflow);
    let logs = async {
        if !query.include_logs {
            return None;
        }
        let sql = log_query(&tablet::db_name(on), &query.workflow);
        Some(context.tablets.v_replication_exec(on, sql).await.map(|r| logs(&r)).map_err(|e| e.to_string()))
    };
    let (answers, logs) = join(try_join(workflows, copying), logs).await;
    let (workflows, copying) = answers?;
    Ok(ShardWorkflow { workflows, beside: Beside { copying, logs } })
}

fn log_query(db_name: &str, workflow: &str) -> String {
    format!(
        "select id, vrepl_id, type, state, message, created_at, updated_at, `count` from _vt.vreplication_log \
         where vrepl_id in ({}) order by vrepl_id asc, id asc",
        rows::streams(db_name, workflow)
    )
}

/// Log rows by stream; rows that are none are left out.
pub fn logs(result: &QueryResult) -> BTreeMap<i64, Vec<Log>> {
    let mut found: BTreeMap<i64, Vec<Log>> = BTreeMap::new();
    for row in sql_rows::texts(result) {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (Ok(id), Ok(stream_id)) = (next().parse(), next().parse::<i64>()) else { continue };
        let log = Log {
            id,
            stream_id,
            r#type: next(),
            state: next(),
            message: next(),
            created_at: time(&next()),
            updated_at: time(&next()),
            count: next().parse().unwrap_or_default(),
        };
        found.entry(stream_id).or_default().push(log);
    }
    found
}

/// A MySQL date and time in UTC.
fn time(text: &str) -> Option<Time> {
    Some(Time { seconds: sql_rows::epoch_seconds(text)?, nanoseconds: 0 })
}

fn assemble(keyspace: &Keyspace, found: Vec<ShardWorkflow>) -> Result<Vec<Workflow>> {
    let mut workflows: BTreeMap<String, Workflow> = BTreeMap::new();
    for (shard, ShardWorkflow { workflows: on_shard, beside }) in keyspace.shards.iter().zip(found) {
        for as_sent::Workflow { found, streams } in on_shard.into_iter().filter(|w| !w.streams.is_empty()) {
            let workflow = workflows.entry(found.workflow.clone()).or_insert_with(|| Workflow {
                name: found.workflow.clone(),
                target: Some(ReplicationLocation { keyspace: keyspace.name.clone(), shards: Vec::new() }),
                workflow_type: found.workflow_type().as_str_name().into(),
                workflow_sub_type: found.workflow_sub_type().as_str_name().into(),
                defer_secondary_keys: found.defer_secondary_keys,
                options: options(&found.options),
                ..Workflow::default()
            });
            add_shard(workflow, shard, (&found, streams), &beside)?;
        }
    }
    for workflow in workflows.values_mut() {
        for location in [&mut workflow.source, &mut workflow.target].into_iter().flatten() {
            location.shards.sort();
            location.shards.dedup();
        }
    }
    Ok(workflows.into_values().collect())
}

fn add_shard(
    workflow: &mut Workflow,
    shard: &TargetShard,
    (found, rows): (&ReadVReplicationWorkflowResponse, Vec<as_sent::Stream>),
    beside: &Beside,
) -> Result<()> {
    let primary = shard.primary()?;
    if let Some(target) = &mut workflow.target {
        target.shards.push(shard.name.clone());
    }
    let mut streams = Vec::new();
    for as_sent::Stream { row, source } in rows {
        if let Some(source) = &source {
            let location = workflow
                .source
                .get_or_insert_with(|| ReplicationLocation { keyspace: source.keyspace.clone(), shards: Vec::new() });
            // a location is of one keyspace: where others come in, too, the streams tell it
            if location.keyspace == source.keyspace {
                location.shards.push(source.shard.clone());
            }
        }
        let states = beside.copying.get(&i64::from(row.id));
        let (lag, transaction_lag) = lags(&row, states.is_some());
        workflow.max_v_replication_lag = workflow.max_v_replication_lag.max(lag);
        workflow.max_v_replication_transaction_lag = workflow.max_v_replication_transaction_lag.max(transaction_lag);
        let mut stream = stream(shard, primary, found, &row, states);
        stream.binlog_source = source.map(|source| source.message);
        match &beside.logs {
            Some(Ok(logs)) => stream.logs = logs.get(&stream.id).cloned().unwrap_or_default(),
            Some(Err(why)) => stream.log_fetch_error.clone_from(why),
            None => {}
        }
        streams.push(stream);
    }
    streams.sort_by_key(|s| s.id);
    let value = ShardStream {
        streams,
        tablet_controls: shard.record.value.tablet_controls.clone(),
        is_primary_serving: shard.record.value.is_primary_serving,
    };
    let key = format!("{}/{}", shard.name, tablet::alias(primary));
    workflow.shard_streams.push(ShardStreamsEntry { key, value: Some(value) });
    Ok(())
}

fn stream(
    shard: &TargetShard,
    primary: &vtmigrated_proto::topodata::Tablet,
    rows: &ReadVReplicationWorkflowResponse,
    row: &Row,
    states: Option<&Vec<(String, String)>>,
) -> Stream {
    let copy_state = |(table, last_pk): &(String, String)| CopyState {
        table: table.clone(),
        last_pk: last_pk.clone(),
        stream_id: i64::from(row.id),
    };
    Stream {
        id: i64::from(row.id),
        shard: shard.name.clone(),
        tablet: primary.alias.clone(),
        position: Position::stored(&row.pos).to_string(),
        stop_position: row.stop_pos.clone(),
        state: streams::shown_state(row, states.is_some()).into(),
        db_name: tablet::db_name(primary),
        transaction_timestamp: Some(row.transaction_timestamp.unwrap_or_default()),
        time_updated: Some(row.time_updated.unwrap_or_default()),
        message: streams::message(row),
        copy_states: states.into_iter().flatten().map(copy_state).collect(),
        // stock splits an empty column into one empty text
        tags: rows.tags.split(',').map(str::to_owned).collect(),
        rows_copied: row.rows_copied,
        throttler_status: Some(ThrottlerStatus {
            component_throttled: row.component_throttled.clone(),
            time_throttled: Some(row.time_throttled.unwrap_or_default()),
        }),
        tablet_types: rows.tablet_types.clone(),
        tablet_selection_preference: rows.tablet_selection_preference,
        cells: rows.cells.split(',').map(|cell| cell.trim().to_owned()).collect(),
        ..Stream::default()
    }
}

/// Seconds since the stream's row was written, and since its last transaction (the largest number while it copies).
fn lags(row: &Row, copying: bool) -> (i64, i64) {
    let now =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    let updated = row.time_updated.map_or(0, |t| t.seconds);
    let transaction = if copying { i64::MAX } else { crate::workflow::streams::lag(row) };
    (now.saturating_sub(updated).max(0), transaction)
}

/// The options column; `{}` is present and empty.
pub fn options(json: &str) -> Option<WorkflowOptions> {
    if json.trim().is_empty() {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| value.get(name)).and_then(|v| v.as_str());
        found.unwrap_or_default().to_owned()
    };
    let list = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| value.get(name)).and_then(|v| v.as_array());
        found.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    // Go writes the number
    let handling =
        ["sharded_auto_increment_handling", "shardedAutoIncrementHandling"].iter().find_map(|n| value.get(n));
    let handling = handling.and_then(|value| match value.as_str() {
        Some(name) => ShardedAutoIncrementHandling::from_str_name(name).map(i32::from),
        None => value.as_i64().and_then(|number| i32::try_from(number).ok()),
    });
    let config = value.get("config").and_then(|v| v.as_object());
    let config = config.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    Some(WorkflowOptions {
        tenant_id: text(["tenant_id", "tenantId"]),
        shards: list(["shards", "shards"]),
        sharded_auto_increment_handling: handling.unwrap_or_default(),
        config: config.collect(),
        global_keyspace: text(["global_keyspace", "globalKeyspace"]),
        lookup_vindexes: list(["lookup_vindexes", "lookupVindexes"]),
    })
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::BinlogSource;

    use super::*;

    #[test]
    fn an_empty_source_is_not_the_same_as_none() {
        let stream = Stream { binlog_source: Some(bytes::Bytes::new()), ..Stream::default() };
        assert_eq!(prost::Message::encode_to_vec(&stream), b"\x22\x00");
        assert_eq!((stream.source(), Stream::default().source()), (Some(BinlogSource::default()), None));
    }

    #[test]
    fn options_are_read_as_go_and_as_protobuf_write_them() {
        let replace = ShardedAutoIncrementHandling::Replace;
        for json in [r#"{"sharded_auto_increment_handling": 2}"#, r#"{"shardedAutoIncrementHandling": "REPLACE"}"#] {
            assert_eq!(options(json).unwrap().sharded_auto_increment_handling(), replace, "{json}");
        }
        assert_eq!(options("{}"), Some(WorkflowOptions::default()));
        assert_eq!(options(" "), None);
    }
}
