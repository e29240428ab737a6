//! Rows of one table at one position (`VStreamRows`): what a copy and a diff read.

mod select;

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use mysql_async::{Conn, Row as MysqlRow, Value, prelude::Queryable};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tonic::Status;
use vtmigrated_proto::{
    binlogdata::{VStreamRowsRequest, VStreamRowsResponse},
    query::Row,
};

use crate::{
    filter::{self, Plan, Query},
    gtid::GtidSet,
    query_service::status,
    schema,
    shared::{KillGuard, Shared, mysql_error},
    sql,
    value::{self, Cell},
};

/// Bytes of row values after which a packet is sent.
pub const PACKET: usize = 250_000;

const HEARTBEAT: Duration = Duration::from_secs(10);

/// Where responses go; closed when the client has left.
pub type Sender = mpsc::Sender<Result<VStreamRowsResponse, Status>>;

/// Streams the rows that the query selects, in key order, from one consistent snapshot: first fields, key fields and the
/// snapshot's GTIDs, then packets of rows, each with the key of the last row that was looked at.
///
/// # Errors
/// Those of the filter, the position's and the server's; before or in the middle of the stream.
pub async fn run(shared: &Arc<Shared>, request: VStreamRowsRequest, out: &Sender) -> Result<(), Status> {
    let query = filter::parse(&request.query).map_err(status::of_filter)?;
    let mut conn = shared.connect().await.map_err(|error| unknown(&error, "connect"))?;
    let guard = KillGuard::new(shared, &conn);
    let plan = plan(shared, &mut conn, &query).await?;
    let after = request.lastpk.as_ref().and_then(|lastpk| lastpk.rows.first()).map(value::from_row).transpose();
    let after = after.map_err(|error| Status::unknown(error.to_string()))?;
    let sql =
        select::sql(&plan.table, &query.zones, after.as_deref()).map_err(|error| Status::unknown(error.to_string()))?;
    let gtid = snapshot(shared, &mut conn, &plan.table.name).await?;
    let first = VStreamRowsResponse {
        fields: plan.fields(),
        pkfields: plan.table.key_fields(),
        gtid: gtid.position(),
        ..VStreamRowsResponse::default()
    };
    if out.send(Ok(first)).await.is_err() {
        return Ok(());
    }
    copy(shared, &mut conn, &plan, &sql, out).await?;
    guard.disarm();
    conn.disconnect().await.map_err(|error| unknown(&error, "disconnect"))
}

async fn plan(shared: &Shared, conn: &mut Conn, query: &Query) -> Result<Plan, Status> {
    let table = schema::read_table(conn, &shared.options.db_name, &query.table).await;
    let table = table.map_err(|error| unknown(&error, "read schema"))?;
    let missing = || Status::unknown(format!("table {} not found in vttablet schema", query.table));
    let table = table.ok_or_else(missing)?;
    filter::plan(query, table, &shared.vschema(), &shared.options.keyspace).map_err(status::of_filter)
}

/// Opens the snapshot while a second connection keeps writers off the table, so that the GTIDs read there are those of the
/// snapshot as far as this table is concerned.
async fn snapshot(shared: &Arc<Shared>, conn: &mut Conn, table: &str) -> Result<GtidSet, Status> {
    let lock = format!("lock tables {} read", sql::quote(table));
    let mut locker = shared.connect().await.map_err(|error| unknown(&error, "connect"))?;
    let guard = KillGuard::new(shared, &locker);
    run_all(&mut locker, &[&lock]).await?;
    let sql = "select @@global.gtid_executed";
    let executed: Option<String> = locker.query_first(sql).await.map_err(|error| unknown(&error, sql))?;
    let session = [
        "set names 'binary'",
        "set @@session.time_zone = '+00:00', @@session.net_read_timeout = 300, @@session.net_write_timeout = 600",
        "set session transaction isolation level repeatable read",
        "start transaction with consistent snapshot, read only",
    ];
    run_all(conn, &session).await?;
    run_all(&mut locker, &["unlock tables"]).await?;
    guard.disarm();
    locker.disconnect().await.map_err(|error| unknown(&error, "disconnect"))?;
    GtidSet::parse(&executed.unwrap_or_default()).map_err(|error| Status::unknown(error.to_string()))
}

async fn run_all(conn: &mut Conn, statements: &[&str]) -> Result<(), Status> {
    for sql in statements {
        conn.query_drop(*sql).await.map_err(|error| unknown(&error, sql))?;
    }
    Ok(())
}

/// Rows that wait for their packet.
#[derive(Default)]
struct Packet {
    rows: Vec<Row>,
    bytes: usize,
    lastpk: Option<Row>,
}

async fn copy(shared: &Shared, conn: &mut Conn, plan: &Plan, sql: &str, out: &Sender) -> Result<(), Status> {
    let failed = |error: mysql_async::Error| unknown(&error, sql);
    let mut rows = conn.query_stream::<MysqlRow, _>(sql).await.map_err(failed)?;
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut packet = Packet::default();
    loop {
        tokio::select! {
            row = rows.try_next() => match row.map_err(failed)? {
                Some(row) => {
                    add(&mut packet, plan, &cells(row))?;
                    if packet.bytes >= PACKET {
                        if send(&mut packet, out).await.is_err() {
                            return Ok(());
                        }
                        tokio::time::sleep(shared.row_pause).await;
                    }
                }
                None => break,
            },
            _ = heartbeat.tick() => {
                let beat = VStreamRowsResponse { heartbeat: true, ..VStreamRowsResponse::default() };
                if out.send(Ok(beat)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    drop(rows);
    if !packet.rows.is_empty() {
        // A client that has left needs no last packet.
        let _gone = send(&mut packet, out).await;
    }
    Ok(())
}

fn cells(row: MysqlRow) -> Vec<Cell> {
    let cell = |value| match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    };
    row.unwrap().into_iter().map(cell).collect()
}

fn add(packet: &mut Packet, plan: &Plan, cells: &[Cell]) -> Result<(), Status> {
    if plan.matches(cells).map_err(status::of_filter)? {
        let row = plan.project(cells);
        packet.bytes += row.values.len();
        packet.rows.push(row);
    }
    packet.lastpk = Some(value::to_row(plan.table.key.iter().filter_map(|&n| cells.get(n))));
    Ok(())
}

async fn send(packet: &mut Packet, out: &Sender) -> Result<(), ()> {
    let Packet { rows, lastpk, .. } = std::mem::take(packet);
    let response = VStreamRowsResponse { rows, lastpk, ..VStreamRowsResponse::default() };
    out.send(Ok(response)).await.map_err(|_| ())
}

fn unknown(error: &mysql_async::Error, sql: &str) -> Status {
    Status::unknown(mysql_error(error, sql))
}
