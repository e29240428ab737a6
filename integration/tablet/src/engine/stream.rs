//! One stream at work: its connection, its row, and what it writes there.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_util::sync::CancellationToken;

use super::{
    Tuning,
    apply::Zones,
    columns::{self, Table},
    copier,
    db::Db,
    error::{Error, Result, truncate_message},
    log::{self, Kind},
    plan,
    player::{self, Goal},
    row::{self, COPYING, ERROR, RUNNING, STOPPED, StreamRow},
    source::SourceTablet,
};
use crate::{gtid::GtidSet, shared::Shared, sql};

/// Everything one attempt of a stream works with.
pub struct Stream {
    pub shared: Arc<Shared>,
    pub tuning: Tuning,
    pub id: i32,
    pub db: Db,
    pub source: SourceTablet,
    /// Cancelled when the stream has to end; between statements it is obeyed, never within one.
    pub cancel: CancellationToken,
    /// The row as last read.
    pub row: StreamRow,
    /// The state as last written.
    pub state: String,
    pub rows_copied: u64,
    pub tables: BTreeMap<String, Table>,
}

impl Stream {
    /// Copies and replicates until it is cancelled, stopped or fails.
    ///
    /// # Errors
    /// Whatever the stream should show in its message.
    pub async fn replicate(&mut self) -> Result<()> {
        self.tables = columns::read(&mut self.db, &self.shared.options.db_name).await?;
        self.rows_copied = self.rows_copied.max(self.row.rows_copied);
        while !self.cancel.is_cancelled() {
            self.reload().await?;
            self.check_row_image().await?;
            if self.row.is_idle() {
                return Ok(());
            }
            if self.row.tables_to_copy != 0 {
                self.db.run("set @@session.foreign_key_checks = 0").await?;
                copier::copy_next(self).await?;
                self.reload().await?;
                if self.row.tables_to_copy == 0 {
                    let message = format!("Copy phase completed at gtid {}", self.row.pos);
                    self.log(Kind::CopyEnded, &message).await?;
                }
            } else if self.row.pos.is_empty() {
                copier::init_tables(self).await?;
            } else if self.row.source.stop_after_copy {
                return self.set_state(STOPPED, "Stopped after copy.").await;
            } else {
                self.db.run("set @@session.foreign_key_checks = @@global.foreign_key_checks").await?;
                self.set_state(RUNNING, "").await?;
                let stop = Some(self.row.stop_pos.clone()).filter(|stop| !stop.is_empty());
                return player::play(self, BTreeMap::new(), Goal::Forever { stop }).await.map(|_| ());
            }
        }
        Ok(())
    }

    /// Reads the row again.
    ///
    /// # Errors
    /// As [`row::read`].
    pub async fn reload(&mut self) -> Result<()> {
        self.row = row::read(&mut self.db, &self.shared.options.sidecar_db, self.id).await?;
        Ok(())
    }

    /// Name of a sidecar table with its database.
    #[must_use]
    pub fn table(&self, name: &str) -> String {
        format!("{}.{name}", sql::quote(&self.shared.options.sidecar_db))
    }

    /// The plans of this stream's tables, by target name.
    ///
    /// # Errors
    /// Rules that cannot be planned.
    pub fn rules(&self) -> Result<BTreeMap<String, plan::TableRule>> {
        plan::rules(&self.filter(), &self.tables)
    }

    /// The filter of the source.
    #[must_use]
    pub fn filter(&self) -> vtmigrated_proto::binlogdata::Filter {
        self.row.source.filter.clone().unwrap_or_default()
    }

    /// The time zones of the source.
    #[must_use]
    pub fn zones(&self) -> Zones {
        Zones { source: self.row.source.source_time_zone.clone(), target: self.row.source.target_time_zone.clone() }
    }

    /// Writes state and message; the log gets a row when the state changed.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn set_state(&mut self, state: &str, message: &str) -> Result<()> {
        let statement = self.state_statement(state, message);
        self.db.run(&statement).await.map_err(|error| error.wrap(format!("could not set state: {statement}")))?;
        self.note_state(state, message).await
    }

    /// The statement of [`Stream::set_state`], for a transaction; [`Stream::note_state`] has to follow.
    #[must_use]
    pub fn state_statement(&self, state: &str, message: &str) -> String {
        format!(
            "update {} set state={}, message={} where id={}",
            self.table("vreplication"),
            sql::string(state),
            sql::string(&truncate_message(message)),
            self.id
        )
    }

    /// Logs a state that was written.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn note_state(&mut self, state: &str, message: &str) -> Result<()> {
        if self.state == state {
            return Ok(());
        }
        self.state = state.to_owned();
        self.log(Kind::StateChanged, message).await
    }

    /// Shows a failure in the row's message and in the log; the state stays.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn set_message(&mut self, message: &str) -> Result<()> {
        let message = truncate_message(message);
        let table = self.table("vreplication");
        write_message(&mut self.db, &table, self.id, &message).await?;
        self.log(Kind::Message, &message).await
    }

    /// Ends the stream for good.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn set_error(&mut self, message: &str) -> Result<()> {
        self.set_state(ERROR, message).await
    }

    /// Writes a log row with the present state.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn log(&mut self, kind: Kind, message: &str) -> Result<()> {
        let state = if self.state.is_empty() { COPYING } else { &self.state };
        log::write(&mut self.db, &self.shared.options.sidecar_db, self.id, kind, state, message).await
    }

    /// The statement that saves a position. It belongs into the transaction that made it true.
    #[must_use]
    pub fn position_statement(&self, pos: &GtidSet, event_time: i64) -> String {
        let event_time = if event_time == 0 { String::new() } else { format!(", transaction_timestamp={event_time}") };
        format!(
            "update {} set pos={}, time_updated={}{event_time}, rows_copied={}, message='' where id={}",
            self.table("vreplication"),
            sql::string(&pos.position()),
            now(),
            self.rows_copied,
            self.id
        )
    }

    /// Shows that the source is alive though nothing happens.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn heartbeat(&mut self) -> Result<()> {
        let now = now();
        let table = self.table("vreplication");
        self.db
            .run(format!("update {table} set time_updated={now}, time_heartbeat={now} where id={}", self.id))
            .await?;
        Ok(())
    }

    /// Shows that the source holds the stream back.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn throttled(&mut self, component: &str, reason: &str) -> Result<()> {
        let now = now();
        let statement = format!(
            "update {} set time_updated={now}, time_throttled={now}, component_throttled={}, reason_throttled={} \
             where id={}",
            self.table("vreplication"),
            sql::string(component),
            sql::string(&truncate_message(reason)),
            self.id
        );
        self.db.run(statement).await?;
        Ok(())
    }

    async fn check_row_image(&mut self) -> Result<()> {
        let image = self.db.value("select @@binlog_row_image").await?.unwrap_or_default().to_lowercase();
        match image.as_str() {
            "full" => Ok(()),
            "noblob" => {
                let kind = vtmigrated_proto::binlogdata::VReplicationWorkflowType::try_from(self.row.workflow_type);
                let kind = kind.map(|kind| kind.as_str_name()).unwrap_or_default();
                Err(Error::unknown(format!("noblob binlog_row_image is not supported for {kind}")))
            }
            other => Err(Error::unknown(format!("{other} binlog_row_image is not supported by Vitess VReplication"))),
        }
    }
}

/// Writes only the message of a row.
///
/// # Errors
/// Those of the server.
pub async fn write_message(db: &mut Db, table: &str, id: i32, message: &str) -> Result<()> {
    let statement = format!("update {table} set message={} where id={id}", sql::string(&truncate_message(message)));
    db.run(&statement).await.map_err(|error| error.wrap(format!("could not set message: {statement}")))?;
    Ok(())
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or_default()
}
