//! Status: streams of each shard, copy progress of each table. The source is asked too, but not needed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::{join_all, try_join, try_join4};
use vtmigrated_proto::query::QueryResult;
use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;
use vtmigrated_proto::topodata::{ExternalVitessCluster, Tablet};
use vtmigrated_proto::vschema::Keyspace as VSchema;
use vtmigrated_proto::vtctldata::WorkflowStatusResponse;
use vtmigrated_proto::vtctldata::workflow_status_response::{
    ShardStreamState, ShardStreams, ShardStreamsEntry, TableCopyStateEntry,
};

use super::super::streams::{self, Keyspace, OnShard, Origin};
use super::super::traffic::Traffic;
use super::super::{Error, Result, names};
use super::arguments::Arguments;
use super::gather;
use super::progress::{self, Overall, Size, Sizes, TableState};
use super::rows::{self, CopyStates};
use crate::context::Context;
use crate::{gtid, tablet, topo, vschema};

/// Bound of what status asks of the source.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The status of a workflow; at most six waves of round trips.
pub async fn status(
    context: &Context,
    keyspace: &str,
    workflow: &str,
    shards: &[String],
) -> Result<WorkflowStatusResponse> {
    names::check_keyspace("target", keyspace)?;
    names::check_workflow(workflow)?;
    let global = context.topo.global();
    let (target, mounts, rules, vschema) = try_join4(
        Keyspace::load(&context.topo, keyspace),
        async { Ok(global.list(topo::paths::EXTERNAL_CLUSTERS).await?) },
        async { Ok(topo::routing_rules::get(global).await?) },
        async { Ok(topo::vschema::find(global, keyspace).await?) },
    )
    .await?;
    if let Some(unknown) = shards.iter().find(|name| !target.shards.iter().any(|s| s.name == **name)) {
        let text = format!("shard {unknown} not found in keyspace {keyspace}");
        return Err(Error::not_found("SHARD_UNKNOWN", text, format!("see FindAllShardsInKeyspace {keyspace}")));
    }
    let serving = async { Ok(topo::srv_vschema::all(&target.cells).await?) };
    let (seen, serving) = try_join(Seen::read(context, &target, workflow), serving).await?;
    if seen.rows.is_empty() {
        return Err(missing(keyspace, workflow));
    }
    let origin = streams::origin(keyspace, &seen.rows.iter().collect::<Vec<_>>())?;
    let mount = mounts.iter().find(|node| node.path.rsplit('/').next() == Some(origin.mount.as_str()));
    let mount = mount.and_then(|node| prost::Message::decode(node.value.clone()).ok());
    let source = source_sizes(context, &origin, mount.as_ref()).await;
    let traffic = Traffic::of(&origin.keyspace, &origin.tables, &serving, &rules);
    let vschema = vschema.map(|record| record.value).unwrap_or_default();
    Ok(seen.answer(&target, &origin, source, &vschema, shards, &traffic.to_string()))
}

/// Stock's answer to a workflow that is not there.
pub fn missing(keyspace: &str, workflow: &str) -> Error {
    let text = format!("no streams found in keyspace {keyspace} for {workflow}");
    Error::not_found("WORKFLOW_UNKNOWN", text, format!("see Workflow --keyspace {keyspace} list"))
}

/// The status of a workflow that was just made: one wave, the source is not asked.
pub async fn of_created(context: &Context, arguments: &Arguments, target: &Keyspace) -> Result<WorkflowStatusResponse> {
    let seen = Seen::read(context, target, &arguments.workflow).await?;
    let origin = streams::origin(&target.name, &seen.rows.iter().collect::<Vec<_>>())?;
    let traffic = Traffic::default().to_string();
    Ok(seen.answer(target, &origin, Err(String::new()), &VSchema::default(), &[], &traffic))
}

/// What the target primaries say about a workflow.
struct Seen {
    rows: Vec<OnShard>,
    /// For each shard: tables to copy, begin of the copies, sizes of the tables.
    copying: Vec<(CopyStates, BTreeMap<i64, f64>, Sizes)>,
}

impl Seen {
    async fn read(context: &Context, target: &Keyspace, workflow: &str) -> Result<Self> {
        let names = [workflow.to_owned()];
        let rows = target.workflows(context, &names);
        let primaries = target.primaries()?;
        let copying = join_all(primaries.iter().map(|(_, tablet)| copying(context, tablet)));
        let (rows, copying) = try_join(rows, async { Ok(copying.await) }).await?;
        let mut read = Vec::new();
        let mut errors = Vec::new();
        for answer in copying {
            match answer {
                Ok(answer) => read.push(answer),
                Err(error) => errors.push(Error::from(error)),
            }
        }
        Error::several(errors).map_or(Ok(Self { rows, copying: read }), Err)
    }

    fn answer(
        &self,
        target: &Keyspace,
        origin: &Origin,
        source: std::result::Result<Sizes, String>,
        vschema: &VSchema,
        shards: &[String],
        traffic: &str,
    ) -> WorkflowStatusResponse {
        let tables = self.tables(origin, source.as_ref().ok(), vschema);
        let overall = Overall::of(tables.values(), self.seconds());
        let mut table_copy_state: Vec<TableCopyStateEntry> = Vec::new();
        for (table, state) in &tables {
            table_copy_state.push(TableCopyStateEntry { key: table.clone(), value: Some(state.copy_state()) });
        }
        let mut answered: BTreeMap<String, ShardStreams> = BTreeMap::new();
        for row in &self.rows {
            let Some(shard) = target.shards.get(row.shard).filter(|s| shards.is_empty() || shards.contains(&s.name))
            else {
                continue;
            };
            let states = self.copying.get(row.shard).map(|(states, _, _)| states);
            let streams = answered.entry(format!("{}/{}", target.name, shard.name)).or_default();
            for stream in &row.found.streams {
                let copying = states.is_some_and(|s| s.contains_key(&i64::from(stream.id)));
                let mut state = stream_state(stream, copying, &overall);
                state.tablet = shard.primary.as_ref().and_then(|t| t.alias.clone());
                if let Err(why) = source.as_ref()
                    && !why.is_empty()
                {
                    state.info = format!("{}; the source cannot be reached: {why}", state.info);
                }
                streams.streams.push(state);
            }
            streams.streams.sort_by_key(|s| s.id);
        }
        let entry = |(key, value)| ShardStreamsEntry { key, value: Some(value) };
        WorkflowStatusResponse {
            table_copy_state,
            shard_streams: answered.into_iter().map(entry).collect(),
            traffic_state: traffic.to_owned(),
        }
    }

    /// Each table of the workflow on both sides.
    fn tables(&self, origin: &Origin, source: Option<&Sizes>, vschema: &VSchema) -> BTreeMap<String, TableState> {
        let in_vschema = vschema::tables(vschema);
        let mut tables = BTreeMap::new();
        let started = self.rows.iter().flat_map(|r| &r.found.streams).all(|s| !s.pos.is_empty());
        for table in &origin.tables {
            let mut here = Size::default();
            let (mut left, mut begun) = (false, false);
            for (_, _, sizes) in &self.copying {
                let size = sizes.get(table).copied().unwrap_or_default();
                here = Size { rows: here.rows + size.rows, bytes: here.bytes + size.bytes };
            }
            for row in &self.rows {
                let states = self.copying.get(row.shard).map(|(states, _, _)| states);
                for stream in &row.found.streams {
                    let state = states.and_then(|s| s.get(&i64::from(stream.id)));
                    let state = state.and_then(|tables| tables.iter().find(|(name, _)| name == table));
                    left |= state.is_some();
                    begun |= state.is_none_or(|(_, key)| !key.is_empty());
                }
            }
            let copies = i64::try_from(self.copying.len().max(1)).unwrap_or(1);
            if in_vschema.get(table.as_str()).is_some_and(|t| t.r#type == "reference") {
                here = Size { rows: here.rows / copies, bytes: here.bytes / copies };
            }
            let there = source.map(|s| s.get(table).copied().unwrap_or_default());
            let state = TableState { here, there, done: started && !left, untouched: !started && !left || !begun };
            tables.insert(table.clone(), state);
        }
        tables
    }

    /// Seconds since the first stream of the workflow began to copy.
    fn seconds(&self) -> Option<f64> {
        let streams =
            self.rows.iter().flat_map(|row| row.found.streams.iter().map(move |s| (row.shard, i64::from(s.id))));
        let starts = streams.filter_map(|(shard, id)| self.copying.get(shard)?.1.get(&id).copied());
        let first = starts.fold(None, |first: Option<f64>, start| Some(first.map_or(start, |f| f.min(start))))?;
        Some((now().as_secs_f64() - first).max(0.0))
    }
}

async fn copying(context: &Context, on: &Tablet) -> tablet::Result<(CopyStates, BTreeMap<i64, f64>, Sizes)> {
    let states = context.tablets.v_replication_exec(on, rows::COPY_STATES.into());
    let starts = context.tablets.v_replication_exec(on, rows::COPY_STARTS.into());
    let sizes = async {
        // figures only: a tablet that cannot tell them still has a status
        Ok(progress::sizes(context, on).await.unwrap_or_else(|error| {
            tracing::warn!("no table sizes: {error}");
            Sizes::new()
        }))
    };
    let (states, starts, sizes): (QueryResult, QueryResult, Sizes) =
        futures::future::try_join3(states, starts, sizes).await?;
    Ok((rows::copy_states(&states), rows::numbers(&starts), sizes))
}

/// Sizes of the source's tables; the error is a text for people.
async fn source_sizes(
    context: &Context,
    origin: &Origin,
    mount: Option<&ExternalVitessCluster>,
) -> std::result::Result<Sizes, String> {
    let Some(mount) = mount else { return Err(format!("no vitess cluster found with name {}", origin.mount)) };
    let asked = async {
        let topo = gather::open(context, &origin.mount, mount).await.map_err(|e| e.to_string())?;
        let primaries = gather::primaries(&topo, &origin.keyspace, &origin.shards).await.map_err(|e| e.to_string())?;
        progress::total(context, &primaries).await.map_err(|e| e.to_string())
    };
    match tokio::time::timeout(SOURCE_TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", SOURCE_TIMEOUT.as_secs())),
    }
}

fn stream_state(stream: &Stream, copying: bool, overall: &Overall) -> ShardStreamState {
    let status = streams::shown_state(stream, copying);
    let position = gtid::stored(&stream.pos).and_then(|text| gtid::GtidSet::parse(&text));
    let source = stream.bls.as_ref().map(|bls| format!("{}/{}", bls.keyspace, bls.shard)).unwrap_or_default();
    let info = match (status, copying) {
        ("Error", _) => streams::message(stream),
        (_, true) => overall.text(),
        _ if stream.pos.is_empty() => "VStream has not started".into(),
        _ => lag_text(stream),
    };
    ShardStreamState {
        id: stream.id,
        tablet: None,
        source_shard: source,
        position: position.map(|set| set.to_string()).unwrap_or_default(),
        status: status.to_owned(),
        info,
    }
}

/// How far a running stream is behind, in seconds, and the time of the last transaction.
fn lag_text(stream: &Stream) -> String {
    let mut text = format!("VStream Lag: {}s", lag(stream));
    let transaction = stream.transaction_timestamp.as_ref().map_or(0, |t| t.seconds);
    if transaction > 0
        && let Ok(time) = jiff::Timestamp::from_second(transaction)
    {
        text = format!("{text}; Tx time: {}", time.strftime("%a %b %e %H:%M:%S %Y UTC"));
    }
    text
}

/// Seconds between now and the last thing heard from the source: a transaction, or a heartbeat when there is none.
pub fn lag(stream: &Stream) -> i64 {
    let seconds = |time: &Option<vtmigrated_proto::vttime::Time>| time.as_ref().map_or(0, |t| t.seconds);
    let (transaction, updated) = (seconds(&stream.transaction_timestamp), seconds(&stream.time_updated));
    let idle = transaction == 0 || (updated == seconds(&stream.time_heartbeat) && updated > transaction);
    let heard = if idle { updated } else { transaction };
    // a stream that never ran carries its creation time as digits, far in the future
    i64::try_from(now().as_secs()).unwrap_or(i64::MAX).saturating_sub(heard).max(0)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
