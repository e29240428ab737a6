//! The copy phase: one table after the other, each from a snapshot, with the changes in between.

use std::{collections::BTreeMap, time::Instant};

use tonic::Streaming;
use vtmigrated_proto::{
    binlogdata::VStreamRowsResponse,
    query::{Field, QueryResult, Row},
};

use super::{
    apply::{LastKey, TablePlan},
    db::{lossy, text},
    error::{Error, Result},
    keys,
    log::Kind,
    plan::TableRule,
    player::{self, End, Goal},
    row::{COPYING, STOPPED},
    stream::Stream,
    transaction::Transaction,
};
use crate::{gtid::GtidSet, prototext, sql};

/// Lists the tables to copy, and drops secondary keys if that was asked for.
///
/// # Errors
/// Those of the server, and rules that cannot be planned.
pub async fn init_tables(stream: &mut Stream) -> Result<()> {
    let rules = stream.rules()?;
    if rules.is_empty() {
        return stream.set_state(STOPPED, "There is nothing to replicate").await;
    }
    let tables: Vec<String> = rules.into_keys().collect();
    let values: Vec<String> = tables.iter().map(|t| format!("({}, {})", stream.id, sql::string(t))).collect();
    let mut transaction = Transaction::default();
    let insert =
        format!("insert into {}(vrepl_id, table_name) values {}", stream.table("copy_state"), values.join(", "));
    transaction.add(&mut stream.db, insert).await?;
    let state = stream.state_statement(COPYING, "");
    transaction.add(&mut stream.db, state).await?;
    transaction.flush(&mut stream.db).await?;
    let listed = list_copies(stream, &tables).await;
    if listed.is_err() {
        transaction.rollback(&mut stream.db).await?;
        return listed;
    }
    transaction.commit(&mut stream.db).await
}

/// Within the open transaction of [`init_tables`]; keys are dropped on another connection, for that would commit it.
async fn list_copies(stream: &mut Stream, tables: &[String]) -> Result<()> {
    let count = tables.len();
    stream.note_state(COPYING, "").await?;
    stream.log(Kind::CopyStarted, &format!("Copy phase started for {count} table(s)")).await?;
    if !stream.row.defer_secondary_keys || !stream.row.may_defer_keys() {
        return Ok(());
    }
    let message = format!("Copy phase temporarily dropping secondary keys for {count} table(s)");
    stream.log(Kind::CopyStarted, &message).await?;
    for table in tables {
        keys::stash(stream, table).await?;
    }
    let message = format!(
        "Copy phase finished dropping secondary keys and saving post copy actions to restore them for {count} table(s)"
    );
    stream.log(Kind::CopyStarted, &message).await
}

/// Brings what was copied so far up to date, then copies the next table, or as much of it as there is time for.
///
/// # Errors
/// Those of the source and of the server.
pub async fn copy_next(stream: &mut Stream) -> Result<()> {
    let uncopied = uncopied(stream).await?;
    let Some(table) = uncopied.keys().next().cloned() else {
        return Err(Error::unknown("unexpected: there are no tables to copy"));
    };
    // a position exists as soon as the first table has begun
    if !stream.row.pos.is_empty() && player::play(stream, uncopied.clone(), Goal::CaughtUp).await? == End::Cancelled {
        return Ok(());
    }
    copy_table(stream, &table, uncopied).await
}

/// Tables with rows in `copy_state`, with their newest last key.
async fn uncopied(stream: &mut Stream) -> Result<BTreeMap<String, Option<LastKey>>> {
    let table = stream.table("copy_state");
    let rows = stream
        .db
        .rows(format!(
            "select table_name, lastpk from {table} where vrepl_id = {} and id in \
             (select max(id) from {table} group by vrepl_id, table_name) order by table_name",
            stream.id
        ))
        .await?;
    let mut uncopied = BTreeMap::new();
    for row in rows {
        let last = match row.get(1).and_then(Option::as_deref).filter(|last| !last.is_empty()) {
            Some(last) => {
                let result = prototext::decode(last).map_err(|error| Error::unknown(error.to_string()))?;
                Some(LastKey { result })
            }
            None => None,
        };
        uncopied.insert(text(&row, 0), last);
    }
    Ok(uncopied)
}

async fn copy_table(stream: &mut Stream, table: &str, uncopied: BTreeMap<String, Option<LastKey>>) -> Result<()> {
    let rule = stream.rules()?.remove(table);
    let rule = rule.ok_or_else(|| Error::unknown(format!("plan not found for table: {table}")))?;
    let last = uncopied.get(table).cloned().flatten().map(|last| last.result);
    let deadline = tokio::time::Instant::now() + stream.tuning.copy_phase_duration;
    let rows = stream.source.rows(&rule.query, last).await?;
    let mut copy =
        Copy { rule, uncopied, deadline, begun: None, rows_saved_at: Instant::now(), collected_at: Instant::now() };
    if !copy.run(stream, rows).await? {
        return Ok(());
    }
    keys::restore(stream, table)
        .await
        .map_err(|error| error.wrap(format!("failed to execute post copy actions for table {table:?}")))?;
    let (states, actions) = (stream.table("copy_state"), stream.table("post_copy_action"));
    let statement = format!(
        "delete cs, pca from {states} as cs left join {actions} as pca on cs.vrepl_id=pca.vrepl_id \
         and cs.table_name=pca.table_name where cs.vrepl_id={} and cs.table_name={}",
        stream.id,
        sql::string(table)
    );
    stream.db.run(statement).await?;
    Ok(())
}

/// One run over a table's rows.
struct Copy {
    rule: TableRule,
    uncopied: BTreeMap<String, Option<LastKey>>,
    deadline: tokio::time::Instant,
    /// Since the first packet: how to insert, and the fields of the key.
    begun: Option<(TablePlan, Vec<Field>)>,
    rows_saved_at: Instant,
    collected_at: Instant,
}

impl Copy {
    /// True when the source sent the last row; false when the time is over or the stream has to end.
    async fn run(&mut self, stream: &mut Stream, mut rows: Streaming<VStreamRowsResponse>) -> Result<bool> {
        loop {
            let cancel = stream.cancel.clone();
            let packet = tokio::select! {
                () = cancel.cancelled() => return Ok(false),
                () = tokio::time::sleep_until(self.deadline) => return Ok(false),
                packet = rows.message() => packet.map_err(|status| Error::from_tablet(&status))?,
            };
            let Some(packet) = packet else {
                let begun = self.begun.is_some();
                return if begun {
                    Ok(true)
                } else {
                    Err(Error::unknown("expecting field event first, got: end of stream"))
                };
            };
            if packet.throttled {
                stream.throttled("rowstreamer", &packet.throttled_reason).await?;
            } else if packet.heartbeat {
                stream.heartbeat().await?;
            } else if self.begun.is_none() {
                if !self.begin(stream, &packet).await? {
                    return Ok(false);
                }
                self.insert(stream, &packet).await?;
            } else {
                self.insert(stream, &packet).await?;
            }
        }
    }

    /// Brings the tables copied before to the position of this table's snapshot. False when the stream has to end.
    async fn begin(&mut self, stream: &mut Stream, packet: &VStreamRowsResponse) -> Result<bool> {
        if packet.fields.is_empty() {
            return Err(Error::unknown("expecting field event first, got: rows"));
        }
        let snapshot = GtidSet::parse_position(&packet.gtid).map_err(|error| Error::unknown(error.to_string()))?;
        stream.reload().await?;
        if stream.row.pos.is_empty() {
            let statement = stream.position_statement(&snapshot, 0);
            stream.db.run(statement).await?;
        } else if player::play(stream, self.uncopied.clone(), Goal::Position(snapshot)).await? == End::Cancelled {
            return Ok(false);
        }
        let table = stream.tables.get(&self.rule.target).cloned().unwrap_or_default();
        let plan = TablePlan::new(&self.rule, &table, &packet.fields, None, &stream.zones())
            .map_err(|error| error.wrap(format!("failed to build replication plan for {} table", self.rule.source)))?;
        self.begun = Some((plan, packet.pkfields.clone()));
        Ok(true)
    }

    /// Rows and the key that was reached, in one transaction.
    async fn insert(&mut self, stream: &mut Stream, packet: &VStreamRowsResponse) -> Result<()> {
        let Some((plan, key)) = self.begun.as_ref().filter(|_| !packet.rows.is_empty()) else { return Ok(()) };
        let insert = plan.insert_rows(&packet.rows)?;
        let state = copy_state(stream, &self.rule.target, key, packet.lastpk.clone())?;
        let mut transaction = Transaction::default();
        transaction.add(&mut stream.db, insert).await.map_err(failed_insert)?;
        transaction.add(&mut stream.db, state).await.map_err(failed_insert)?;
        transaction.commit(&mut stream.db).await.map_err(failed_insert)?;
        stream.rows_copied += u64::try_from(packet.rows.len()).unwrap_or_default();
        self.housekeeping(stream).await
    }

    async fn housekeeping(&mut self, stream: &mut Stream) -> Result<()> {
        if self.rows_saved_at.elapsed() >= stream.tuning.rows_copied_interval {
            self.rows_saved_at = Instant::now();
            let table = stream.table("vreplication");
            let statement = format!("update {table} set rows_copied={} where id={}", stream.rows_copied, stream.id);
            stream.db.run(statement).await?;
        }
        if self.collected_at.elapsed() >= stream.tuning.copy_state_interval {
            self.collected_at = Instant::now();
            let table = stream.table("copy_state");
            let of = format!("vrepl_id = {} and table_name = {}", stream.id, sql::string(&self.rule.target));
            let statement = format!(
                "delete from {table} where {of} and id < \
                 (select newest from (select max(id) as newest from {table} where {of}) as states)"
            );
            stream.db.run(statement).await?;
        }
        Ok(())
    }
}

fn failed_insert(error: Error) -> Error {
    error.wrap("failed inserting rows").wrap("task error")
}

fn copy_state(stream: &Stream, table: &str, key: &[Field], last: Option<Row>) -> Result<Vec<u8>> {
    let result = QueryResult { fields: key.to_vec(), rows: last.into_iter().collect(), ..QueryResult::default() };
    let last = prototext::encode(&result).map_err(|error| Error::unknown(error.to_string()))?;
    let statement = format!(
        "insert into {} (lastpk, vrepl_id, table_name) values ({}, {}, {})",
        stream.table("copy_state"),
        sql::string(&last),
        stream.id,
        sql::string(&lossy(table.as_bytes()))
    );
    Ok(statement.into_bytes())
}
