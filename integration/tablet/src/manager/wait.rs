//! Positions, and waiting for them.

use std::time::{Duration, Instant};

use tonic::Request;
use vtmigrated_proto::tabletmanagerdata as data;

use crate::{
    engine::{
        Context,
        db::{Db, text},
        error::{Error, Result},
        row::STOPPED,
    },
    gtid::GtidSet,
    sql,
};

/// Everything that the server has executed.
pub async fn position(context: &Context) -> Result<String> {
    let mut db = Db::connect(&context.shared).await?;
    let executed = db.value("select @@global.gtid_executed").await;
    db.close().await;
    let executed = GtidSet::parse(&executed?.unwrap_or_default()).map_err(|error| Error::unknown(error.to_string()))?;
    Ok(executed.position())
}

/// The time that the caller gives, from its `grpc-timeout`.
pub fn timeout_of<T>(request: &Request<T>) -> Option<Duration> {
    let text = request.metadata().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value.checked_mul(3600)?)),
        "M" => Some(Duration::from_secs(value.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// Waits until the server has executed a position.
pub async fn server(
    context: &Context,
    position: &str,
    timeout: Option<Duration>,
) -> Result<data::WaitForPositionResponse> {
    let target = parse(position)?;
    let set = sql::string(&target.to_string());
    let limit = timeout.map(|limit| format!(", {}", limit.as_secs_f64())).unwrap_or_default();
    let mut db = Db::connect(&context.shared).await?;
    let waited = db.value(format!("select wait_for_executed_gtid_set({set}{limit})")).await;
    db.close().await;
    match waited?.as_deref() {
        Some("0") => Ok(data::WaitForPositionResponse {}),
        _ => Err(Error::unknown(format!("timed out waiting for position {target}"))),
    }
}

/// ReloadSchema: nothing is kept that could be old; only the wait remains.
pub async fn reload_schema(
    context: &Context,
    request: &data::ReloadSchemaRequest,
) -> Result<data::ReloadSchemaResponse> {
    if !request.wait_position.is_empty() {
        server(context, &request.wait_position, None).await?;
    }
    Ok(data::ReloadSchemaResponse {})
}

/// Waits until a stream has reached a position.
pub async fn stream(
    context: &Context,
    request: &data::VReplicationWaitForPosRequest,
    timeout: Option<Duration>,
) -> Result<data::VReplicationWaitForPosResponse> {
    let target = parse(&request.position)?;
    let mut db = Db::connect(&context.shared).await?;
    let result = poll(context, &mut db, request.id, &target, timeout).await;
    db.close().await;
    result.map(|()| data::VReplicationWaitForPosResponse {})
}

async fn poll(context: &Context, db: &mut Db, id: i32, target: &GtidSet, timeout: Option<Duration>) -> Result<()> {
    let started = Instant::now();
    let name = sql::quote(&context.shared.options.sidecar_db);
    let sql = format!("select ifnull(uncompress(pos), pos), state, message from {name}.vreplication where id = {id}");
    loop {
        let rows = db.rows(&sql).await?;
        let row = rows.first().ok_or_else(|| Error::unknown(format!("vreplication stream {id} not found")))?;
        let pos = parse(&text(row, 0))?;
        if pos.contains(target) {
            return Ok(());
        }
        if text(row, 1) == STOPPED {
            let message = text(row, 2);
            return Err(Error::unknown(format!(
                "replication has stopped at {pos} before reaching position {target}, message: {message}"
            )));
        }
        if let Some(timeout) = timeout.filter(|timeout| started.elapsed() >= *timeout) {
            return Err(Error::unknown(format!(
                "error waiting for pos: {target}, last pos: {pos}: context deadline exceeded, wait time: {timeout:?}: \
                 possibly no tablets are available to stream in the source keyspace for your cell and tablet_types setting"
            )));
        }
        tokio::time::sleep(context.tuning.position_poll).await;
    }
}

fn parse(position: &str) -> Result<GtidSet> {
    GtidSet::parse_position(position).map_err(|error| Error::unknown(error.to_string()))
}
