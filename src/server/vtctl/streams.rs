//! The streams of a workflow as the legacy commands show them.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::try_join;
use serde::Serialize;
use vtmigrated_proto::binlogdata::OnDdlAction;
use vtmigrated_proto::topodata::shard::TabletControl;
use vtmigrated_proto::vtctldata::Workflow;
use vtmigrated_proto::vtctldata::workflow::{ShardStream, Stream};
use vtmigrated_proto::vttime::Time;

use super::{Error, Result, print};
use crate::context::Context;
use crate::error::{Explain, Reason};
use crate::failure;
use crate::topo::json::Ordered;
use crate::topo::paths;
use crate::workflow::show;
use crate::workflow::streams::{FROZEN, Keyspace};

/// A workflow with what its streams' rows say besides.
pub struct Shown {
    pub workflow: Workflow,
    /// Seconds of the last heartbeat, by tablet and stream.
    heartbeats: BTreeMap<(String, i64), i64>,
}

impl Shown {
    /// Reads a workflow from all, or some, shards of a keyspace.
    ///
    /// # Errors
    /// NOT_FOUND when nothing of that name is there.
    pub async fn read(context: &Context, keyspace: &str, name: &str, shards: &[String]) -> Result<Self> {
        let query = show::Query {
            keyspace: keyspace.to_owned(),
            workflow: name.to_owned(),
            shards: shards.to_vec(),
            ..show::Query::default()
        };
        let names = [name.to_owned()];
        let rows = async {
            let keyspace = Keyspace::read(context, keyspace).await?;
            let rows = keyspace.workflows(context, &names).await?;
            Ok((keyspace, rows))
        };
        let (mut workflows, (on, rows)) = try_join(show::workflows(context, &query), rows).await?;
        let mut heartbeats = BTreeMap::new();
        for row in &rows {
            let alias = on.shards.get(row.shard).and_then(|shard| shard.primary.as_ref()).map(crate::tablet::alias);
            for stream in &row.found.streams {
                let key = (alias.clone().unwrap_or_default(), i64::from(stream.id));
                heartbeats.insert(key, seconds(stream.time_heartbeat.as_ref()));
            }
        }
        match workflows.pop() {
            Some(workflow) => Ok(Self { workflow, heartbeats }),
            None => {
                let text = format!("no streams found for workflow {name} in keyspace {keyspace}");
                let help = format!("see Workflow {keyspace} listall");
                Err(failure::Error::not_found(Reason::WORKFLOW_UNKNOWN, text, help).into())
            }
        }
    }

    /// Streams by `<shard>/<tablet>`, ascending.
    pub fn streams(&self) -> Vec<(&str, &Stream)> {
        let shards = self.shards().into_iter();
        shards.flat_map(|(key, shard)| shard.streams.iter().map(move |stream| (key, stream))).collect()
    }

    fn shards(&self) -> Vec<(&str, &ShardStream)> {
        let entries = self.workflow.shard_streams.iter();
        let mut shards: Vec<_> = entries.filter_map(|e| Some((e.key.as_str(), e.value.as_ref()?))).collect();
        shards.sort_by_key(|(key, _)| *key);
        shards
    }

    /// One line for each stream.
    pub fn details(&self, keyspace: &str) -> String {
        let name = &self.workflow.name;
        let mut text = format!("\nThe following vreplication streams exist for workflow {keyspace}.{name}:\n\n");
        for (on, stream) in self.streams() {
            let Stream { id, state, .. } = stream;
            text.push_str(&format!("id={id} on {on}: Status: {state}{}\n", self.detail(stream)));
        }
        text.push('\n');
        text
    }

    fn detail(&self, stream: &Stream) -> String {
        if stream.state == "Error" {
            return format!(": {}.", stream.message);
        }
        if stream.position.is_empty() {
            return ". VStream has not started.".into();
        }
        let transaction = seconds(stream.transaction_timestamp.as_ref());
        let heard = transaction.max(self.heartbeat(stream)).max(seconds(stream.time_updated.as_ref()));
        let time = jiff::Timestamp::from_second(transaction).ok().filter(|_| transaction > 0);
        let time = time.map(|time| format!(" Tx time: {}.", time.strftime("%a %b %e %H:%M:%S %Y")));
        format!(". VStream Lag: {}s.{}", now().saturating_sub(heard).max(0), time.unwrap_or_default())
    }

    fn heartbeat(&self, stream: &Stream) -> i64 {
        let alias = stream.tablet.as_ref().map(paths::alias_text).unwrap_or_default();
        self.heartbeats.get(&(alias, stream.id)).copied().unwrap_or_default()
    }

    /// The workflow as `Workflow … show` prints it.
    pub fn json(&self, keyspace: &str) -> String {
        let sources: Vec<_> = self.streams().into_iter().filter_map(|(_, stream)| stream.source()).collect();
        let mut source_shards: Vec<String> = sources.iter().map(|source| source.shard.clone()).collect();
        source_shards.sort();
        source_shards.dedup();
        let target = self.workflow.target.clone().unwrap_or_default();
        let last = sources.last();
        let on_ddl = sources.iter().map(|source| source.on_ddl()).find(|action| *action != OnDdlAction::Ignore);
        let shown = Json {
            workflow: self.workflow.name.clone(),
            source_location: Location {
                keyspace: last.map(|source| source.keyspace.clone()).unwrap_or_default(),
                shards: source_shards,
            },
            target_location: Location { keyspace: keyspace.to_owned(), shards: target.shards },
            max_v_replication_lag: self.workflow.max_v_replication_lag,
            max_v_replication_transaction_lag: self.workflow.max_v_replication_transaction_lag,
            frozen: self.streams().iter().any(|(_, stream)| stream.message == FROZEN),
            shard_statuses: self.shards().into_iter().map(|(key, shard)| (key, self.status(shard))).collect(),
            source_time_zone: last.map(|source| source.source_time_zone.clone()).unwrap_or_default(),
            target_time_zone: last.map(|source| source.target_time_zone.clone()).unwrap_or_default(),
            on_ddl: on_ddl.map(|action| action.as_str_name().to_owned()),
            defer_secondary_keys: self.workflow.defer_secondary_keys,
        };
        print::pretty(&shown, b"\t")
    }

    fn status(&self, shard: &ShardStream) -> Status {
        let control = |control: &TabletControl| print::embedded("topodata.Shard.TabletControl", control);
        let controls: Vec<Ordered> = shard.tablet_controls.iter().filter_map(control).collect();
        Status {
            primary_replication_statuses: shard.streams.iter().map(|stream| self.row(stream)).collect(),
            tablet_controls: Some(controls).filter(|controls| !controls.is_empty()),
            primary_is_serving: shard.is_primary_serving,
        }
    }

    fn row(&self, stream: &Stream) -> Row {
        let stream = stream.clone();
        let throttler = stream.throttler_status.clone().unwrap_or_default();
        let heartbeat = self.heartbeat(&stream);
        // the action has a field of its own
        let source = stream.source().map(|source| vtmigrated_proto::binlogdata::BinlogSource { on_ddl: 0, ..source });
        let states = stream.copy_states.into_iter();
        let states: Vec<CopyState> = states.map(|s| CopyState { table: s.table, last_pk: s.last_pk }).collect();
        Row {
            shard: stream.shard,
            tablet: stream.tablet.as_ref().map(paths::alias_text).unwrap_or_default(),
            id: stream.id,
            bls: source.and_then(|source| print::embedded("binlogdata.BinlogSource", &source)),
            pos: stream.position,
            stop_pos: stream.stop_position,
            state: stream.state,
            db_name: stream.db_name,
            transaction_timestamp: seconds(stream.transaction_timestamp.as_ref()),
            time_updated: seconds(stream.time_updated.as_ref()),
            time_heartbeat: heartbeat,
            time_throttled: seconds(throttler.time_throttled.as_ref()),
            component_throttled: throttler.component_throttled,
            message: stream.message,
            tags: stream.tags.join(","),
            workflow_type: self.workflow.workflow_type.clone(),
            workflow_sub_type: self.workflow.workflow_sub_type.clone(),
            copy_state: Some(states).filter(|states| !states.is_empty()),
            rows_copied: stream.rows_copied,
        }
    }
}

/// `workflow <keyspace>.<workflow> does not exist`, where the operation itself says that nothing is there.
pub fn existing<T>(result: failure::Result<T>, keyspace: &str, name: &str) -> Result<T> {
    result.map_err(|error| match error.reason() {
        Reason::WORKFLOW_UNKNOWN => Error::from(error.doing(format!("workflow {keyspace}.{name} does not exist"))),
        _ => error.into(),
    })
}

fn seconds(time: Option<&Time>) -> i64 {
    time.map_or(0, |time| time.seconds)
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Json<'a> {
    workflow: String,
    source_location: Location,
    target_location: Location,
    max_v_replication_lag: i64,
    max_v_replication_transaction_lag: i64,
    frozen: bool,
    shard_statuses: BTreeMap<&'a str, Status>,
    source_time_zone: String,
    target_time_zone: String,
    #[serde(rename = "OnDDL", skip_serializing_if = "Option::is_none")]
    on_ddl: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    defer_secondary_keys: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Location {
    keyspace: String,
    shards: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    primary_replication_statuses: Vec<Row>,
    tablet_controls: Option<Vec<Ordered>>,
    primary_is_serving: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    shard: String,
    tablet: String,
    #[serde(rename = "ID")]
    id: i64,
    bls: Option<Ordered>,
    pos: String,
    stop_pos: String,
    state: String,
    #[serde(rename = "DBName")]
    db_name: String,
    transaction_timestamp: i64,
    time_updated: i64,
    time_heartbeat: i64,
    time_throttled: i64,
    component_throttled: String,
    message: String,
    tags: String,
    workflow_type: String,
    workflow_sub_type: String,
    copy_state: Option<Vec<CopyState>>,
    rows_copied: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CopyState {
    table: String,
    #[serde(rename = "LastPK")]
    last_pk: String,
}
