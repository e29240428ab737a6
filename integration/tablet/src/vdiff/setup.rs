//! Opens both sides of a table at one position: the streams are stopped, the sources read, the streams run up to where
//! those reads began, the target read, and the streams run on.

use std::{collections::BTreeMap, time::Duration};

use futures::future::{join_all, try_join};
use tonic::Request;
use vtmigrated::topo::{Lock, LockRequest, paths};
use vtmigrated_proto::{
    query::QueryResult,
    tabletmanagerdata::{VReplicationWaitForPosRequest, WaitForPositionRequest},
    topodata::Tablet,
};

use super::{
    controller::Run,
    order::Order,
    plan::{TablePlan, dial, of_status},
    rows::{Merged, ShardRows},
    workflow::{Workflow, condition},
};
use crate::{
    engine::{
        db::{Db, number, text},
        error::{Error, Result},
    },
    gtid::GtidSet,
    manager::wait,
    picker::Picker,
    sql,
};

/// Life of the workflow's lock when this process dies.
const LEASE: Duration = Duration::from_secs(5);
/// For starting the streams again.
const RESTART: Duration = Duration::from_secs(60);

/// Both sides of a table, at one position.
pub(super) struct Snapshots {
    pub source: Merged,
    pub target: Merged,
}

/// One source shard of the table's rows.
struct Source {
    shard: String,
    stream: i32,
    /// Where the stream is stopped.
    position: String,
}

/// Opens both sides after the given keys. Only one diff of the tablet does so at a time, and nobody else changes the
/// workflow meanwhile. The streams run again when this returns, also when it fails.
///
/// # Errors
/// The workflow's lock is not to be had in 45 s; streams that have no position; tablets that fail or do not reach a position
/// in time. There is no bound for finding tablets.
pub(super) async fn open(
    run: &Run,
    workflow: &Workflow,
    plan: &TablePlan,
    after: (Option<QueryResult>, Option<QueryResult>),
) -> Result<Snapshots> {
    let parts = &run.parts;
    let _snapshot = run.unless_cancelled(async { Ok(parts.snapshot.lock().await) }).await?;
    let mut db = Db::connect(&parts.context.shared).await?;
    let lock = lock(run).await?;
    let result = match stop_streams(run, workflow, &mut db).await {
        Err(error) => Err(error),
        Ok(sources) => {
            let opened = run.unless_cancelled(open_all(run, workflow, plan, &sources, after)).await;
            restart_streams(run).await;
            opened
        }
    };
    if let Err(error) = lock.release().await {
        tracing::error!(workflow = run.workflow, %error, "unlocking the workflow failed");
    }
    db.close().await;
    result
}

/// The lock that vtctld takes, too, for changes of the workflow.
async fn lock(run: &Run) -> Result<Lock> {
    let context = &run.parts.context;
    let dir = paths::workflow_lock(&context.shared.options.keyspace, &run.workflow);
    let global = std::sync::Arc::clone(context.topo.global());
    // a request that nobody waits for any more must still give back what it gets
    let (got, wanted) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let lock = global.lock(LockRequest::new("vdiff", LEASE).named(dir)).await;
        if let Err(Ok(unwanted)) = got.send(lock)
            && let Err(error) = unwanted.release().await
        {
            tracing::error!(%error, "unlocking a workflow failed");
        }
    });
    let wanted = async { wanted.await.map_err(|error| Error::unknown(error.to_string())) };
    run.unless_cancelled(wanted).await?.map_err(|error| Error::unknown(error.to_string()))
}

/// Stops the workflow's streams and reads where they are. As in stock they stay stopped when one has no position.
async fn stop_streams(run: &Run, workflow: &Workflow, db: &mut Db) -> Result<Vec<Source>> {
    run.check()?;
    let condition = condition(run);
    let stop = format!("update _vt.vreplication set state = 'Stopped', message='for vdiff' where {condition}");
    run.parts.streams.exec(&stop).await?;
    let sql = format!(
        "select id, ifnull(uncompress(pos), pos) from {} where {condition}",
        run.parts.records.table("vreplication")
    );
    let mut positions = BTreeMap::new();
    for row in db.rows(sql).await? {
        let (id, position) = (number::<i32>(&row, 0), text(&row, 1));
        let parsed = GtidSet::parse_position(&position).map_err(|error| Error::unknown(error.to_string()))?;
        if parsed.is_empty() {
            return Err(Error::unknown(format!("stream {id} has not started on tablet {}", run.tablet())));
        }
        positions.insert(id, position);
    }
    let source = |(shard, stream): (&String, &i32)| {
        let position = positions.remove(stream);
        let gone = || Error::unknown(format!("vreplication stream {stream} not found"));
        Ok(Source { shard: shard.clone(), stream: *stream, position: position.ok_or_else(gone)? })
    };
    workflow.sources.iter().map(source).collect()
}

async fn open_all(
    run: &Run,
    workflow: &Workflow,
    plan: &TablePlan,
    sources: &[Source],
    (after_source, after_target): (Option<QueryResult>, Option<QueryResult>),
) -> Result<Snapshots> {
    let shared = &run.parts.context.shared;
    let seconds = u64::try_from(run.options.core_options.timeout_seconds).unwrap_or_default();
    let timeout = Duration::from_secs(seconds);
    let (tablets, target) = pick(run, workflow, sources).await?;
    let waits = sources.iter().zip(&tablets).map(|(source, tablet)| reach(tablet, &source.position, timeout));
    all(join_all(waits).await)?;
    let who = run.tablet();
    let opens = tablets.iter().map(|tablet| ShardRows::open(tablet, &plan.source_query, after_source.clone(), &who));
    let opened = all(join_all(opens).await)?;
    let syncs = sources.iter().zip(&opened).map(|(source, rows)| sync(run, source, &rows.position, timeout));
    all(join_all(syncs).await)?;
    let target = ShardRows::open(&target, &plan.target_query, after_target, &who).await?;
    let (of_source, of_target) = try_join(Order::new(shared, plan), Order::new(shared, plan)).await?;
    Ok(Snapshots { source: Merged::new(opened, of_source), target: Merged::new(vec![target], of_target) })
}

/// A tablet for each source shard, and one of the own shard.
async fn pick(run: &Run, workflow: &Workflow, sources: &[Source]) -> Result<(Vec<Tablet>, Tablet)> {
    let (context, options) = (&run.parts.context, &run.options.picker_options);
    let topo = workflow.topo(run).await?;
    let picker = |source: &Source| {
        let shard = (workflow.keyspace.as_str(), source.shard.as_str());
        Picker::over(context, topo.clone(), shard, &options.source_cell, &options.tablet_types)
    };
    let pickers = sources.iter().map(picker).collect::<Result<Vec<_>>>()?;
    let own = &context.shared.options;
    let shard = (own.keyspace.as_str(), own.shard.as_str());
    let own = Picker::over(context, context.topo.clone(), shard, &options.target_cell, &options.tablet_types)?;
    Ok(tokio::join!(join_all(pickers.iter().map(Picker::pick_at_last)), own.pick_at_last()))
}

/// Waits until a source tablet, which may be a replica, has what the stream has.
async fn reach(tablet: &Tablet, position: &str, timeout: Duration) -> Result<()> {
    let alias = paths::alias_text(&tablet.alias.clone().unwrap_or_default());
    let waited = async {
        let mut request = Request::new(WaitForPositionRequest { position: position.to_owned() });
        request.set_timeout(timeout);
        let answer = dial(tablet).await?.wait_for_position(request).await;
        answer.map(drop).map_err(|status| of_status(&status))
    };
    waited.await.map_err(|error| error.wrap(format!("WaitForPosition for tablet {alias}")))
}

/// Runs a stream up to where its source's snapshot began.
async fn sync(run: &Run, source: &Source, position: &str, timeout: Duration) -> Result<()> {
    let id = source.stream;
    let statement = format!(
        "update _vt.vreplication set state='Running', stop_pos={}, message='synchronizing for vdiff' where id={id}",
        sql::string(position)
    );
    run.parts.streams.exec(&statement).await?;
    let request = VReplicationWaitForPosRequest { id, position: position.to_owned() };
    let waited = wait::stream(&run.parts.context, &request, Some(timeout)).await;
    waited.map(drop).map_err(|error| error.wrap(format!("WaitForPosition for stream id {id}")))
}

/// Three attempts; a failure is only logged.
async fn restart_streams(run: &Run) {
    let statement =
        format!("update _vt.vreplication set state='Running', message='', stop_pos='' where {}", condition(run));
    let restarted = async {
        let mut last = Ok(());
        for _ in 0..3 {
            last = run.parts.streams.exec(&statement).await.map(drop);
            if last.as_ref().err().is_none_or(|error| !super::controller::is_ephemeral(&error.to_string())) {
                break;
            }
        }
        last
    };
    match tokio::time::timeout(RESTART, restarted).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(workflow = run.workflow, %error, "error restarting target streams"),
        Err(_) => tracing::error!(workflow = run.workflow, "target streams could not be restarted in time"),
    }
}

/// All answers, or all failures in one text.
fn all<T>(results: Vec<Result<T>>) -> Result<Vec<T>> {
    let (good, mut bad) = results.into_iter().fold((Vec::new(), Vec::new()), |(mut good, mut bad), result| {
        match result {
            Ok(value) => good.push(value),
            Err(error) => bad.push(error),
        }
        (good, bad)
    });
    match bad.len() {
        0 => Ok(good),
        1 => Err(bad.remove(0)),
        _ => {
            let mut texts: Vec<String> = bad.iter().map(ToString::to_string).collect();
            texts.sort();
            Err(Error::new(bad[0].code(), texts.join("\n")))
        }
    }
}
