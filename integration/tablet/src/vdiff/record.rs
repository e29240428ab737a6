//! Records of diffs in the sidecar database: `vdiff`, `vdiff_table` and `vdiff_log`.

use super::{options::Options, report::Report};
use crate::{
    engine::{
        db::{Db, TextRow, number, text},
        error::{Error, Result},
    },
    options, sql,
};

/// States of a diff on this shard and of its tables.
pub(super) const PENDING: &str = "pending";
pub(super) const STARTED: &str = "started";
pub(super) const STOPPED: &str = "stopped";
pub(super) const COMPLETED: &str = "completed";
pub(super) const ERROR: &str = "error";

/// A row of `vdiff`, as far as a controller needs it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub id: i64,
    pub uuid: String,
    pub workflow: String,
    pub state: String,
    pub options: Options,
}

/// What is saved of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct TableRecord {
    /// Text form of a `VDiffTableLastPK`; empty before the first row.
    pub lastpk: Vec<u8>,
    pub mismatch: bool,
    pub report: Report,
}

/// Reads and writes records; each method is one statement unless it says otherwise, and fails as the server does.
pub(super) struct Records {
    /// The database, quoted.
    name: String,
}

impl Records {
    pub(super) fn new(options: &options::Options) -> Self {
        Self { name: sql::quote(&options.sidecar_db) }
    }

    /// Name of a sidecar table with its database.
    pub(super) fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    pub(super) async fn get(&self, db: &mut Db, id: i64) -> Result<Option<Record>> {
        Ok(self.select(db, &format!("id = {id}")).await?.pop().map(|(record, _)| record))
    }

    /// Those that neither ended nor were stopped.
    pub(super) async fn to_run(&self, db: &mut Db) -> Result<Vec<Record>> {
        let found = self.select(db, "state in ('started', 'pending')").await?;
        Ok(found.into_iter().map(|(record, _)| record).collect())
    }

    /// Those that failed and are to be tried again, each with its last error.
    pub(super) async fn failed(&self, db: &mut Db) -> Result<Vec<(Record, String)>> {
        let retried = "json_unquote(json_extract(options, '$.core_options.auto_retry')) = 'true'";
        self.select(db, &format!("state = 'error' and {retried}")).await
    }

    async fn select(&self, db: &mut Db, condition: &str) -> Result<Vec<(Record, String)>> {
        let sql = format!(
            "select id, vdiff_uuid, workflow, state, options, last_error from {}.vdiff where {condition}",
            self.name
        );
        db.rows(sql).await?.iter().map(record).collect()
    }

    /// A failed diff and all its tables are pending again.
    pub(super) async fn retry(&self, db: &mut Db, id: i64) -> Result<()> {
        let name = &self.name;
        db.run(format!(
            "update {name}.vdiff as vd left join {name}.vdiff_table as vdt on vd.id = vdt.vdiff_id \
             set vd.state = 'pending', vd.last_error = '', vdt.state = 'pending' \
             where vd.id = {id} and (vd.state = 'error' or vdt.state = 'error')"
        ))
        .await?;
        Ok(())
    }

    /// Writes a diff's state; two statements.
    pub(super) async fn set_state(&self, db: &mut Db, id: i64, state: &str, error: &str) -> Result<()> {
        let time = match state {
            STARTED => ", started_at = utc_timestamp()",
            COMPLETED => ", completed_at = utc_timestamp()",
            _ => "",
        };
        db.run(format!(
            "update {}.vdiff set state = {}, last_error = left({}, 1024){time} where id = {id}",
            self.name,
            sql::string(state),
            sql::string(error)
        ))
        .await?;
        self.log(db, id, &format!("State changed to: {state}")).await;
        Ok(())
    }

    /// After the controller has ended because somebody asked for it; up to two statements. A completed diff stays so, and
    /// one without tables stays as it is.
    pub(super) async fn set_stopped(&self, db: &mut Db, id: i64) -> Result<()> {
        let name = &self.name;
        let changed = db
            .run(format!(
                "update {name}.vdiff as vd, {name}.vdiff_table as vdt \
                 set vd.state = 'stopped', vdt.state = 'stopped', vd.last_error = '' \
                 where vd.id = vdt.vdiff_id and vd.id = {id} and vd.state != 'completed'"
            ))
            .await?;
        if changed > 0 {
            self.log(db, id, &format!("State changed to: {STOPPED} (by user request)")).await;
        }
        Ok(())
    }

    /// A row of the log. One that cannot be written stops nothing.
    pub(super) async fn log(&self, db: &mut Db, id: i64, message: &str) {
        let sql =
            format!("insert into {}.vdiff_log(vdiff_id, message) values ({id}, {})", self.name, sql::string(message));
        if let Err(error) = db.run(sql).await {
            tracing::error!(vdiff = id, %error, "error inserting into vdiff_log");
        }
    }

    pub(super) async fn get_table(&self, db: &mut Db, id: i64, table: &str) -> Result<Option<TableRecord>> {
        let sql = format!(
            "select lastpk, mismatch, report from {}.vdiff_table where vdiff_id = {id} and table_name = {}",
            self.name,
            sql::string(table)
        );
        let rows = db.rows(sql).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let report = text(row, 2);
        let report = if report.is_empty() { "{}" } else { &report };
        Ok(Some(TableRecord {
            lastpk: row.first().cloned().flatten().unwrap_or_default(),
            mismatch: number::<u8>(row, 1) != 0,
            report: serde_json::from_str(report).map_err(|error| Error::unknown(error.to_string()))?,
        }))
    }

    /// Makes a table's row, or gives the one that is there a new estimate; two statements.
    pub(super) async fn put_table(&self, db: &mut Db, id: i64, table: &str, rows: i64) -> Result<()> {
        let (name, table) = (&self.name, sql::string(table));
        let sql = format!("select table_name from {name}.vdiff_table where vdiff_id = {id} and table_name = {table}");
        let sql = if db.rows(sql).await?.is_empty() {
            format!(
                "insert into {name}.vdiff_table(vdiff_id, table_name, state, table_rows) \
                 values ({id}, {table}, '{PENDING}', {rows})"
            )
        } else {
            format!("update {name}.vdiff_table set table_rows = {rows} where vdiff_id = {id} and table_name = {table}")
        };
        db.run(sql).await?;
        Ok(())
    }

    /// Writes a table's state and, when there is one, its final report; two statements.
    pub(super) async fn set_table_state(
        &self,
        db: &mut Db,
        id: i64,
        table: &str,
        state: &str,
        report: Option<&Report>,
    ) -> Result<()> {
        let report = match report {
            None => String::new(),
            Some(report) => format!(", {}", progress(report)?),
        };
        let set = format!("state = {}{report}", sql::string(state));
        self.update_table(db, id, table, &set).await?;
        self.log(db, id, &format!("{state}: table {}", sql::string(table))).await;
        Ok(())
    }

    pub(super) async fn set_mismatch(&self, db: &mut Db, id: i64, table: &str) -> Result<()> {
        self.update_table(db, id, table, "mismatch = true").await
    }

    /// Saves how far a table is. `lastpk` is `None` before the first row.
    pub(super) async fn set_progress(
        &self,
        db: &mut Db,
        id: i64,
        table: &str,
        report: &Report,
        lastpk: Option<&str>,
    ) -> Result<()> {
        let lastpk = lastpk.map(|lastpk| format!(", lastpk = {}", sql::string(lastpk))).unwrap_or_default();
        let set = format!("{}{lastpk}", progress(report)?);
        self.update_table(db, id, table, &set).await
    }

    async fn update_table(&self, db: &mut Db, id: i64, table: &str, set: &str) -> Result<()> {
        let name = &self.name;
        let sql = format!(
            "update {name}.vdiff_table set {set} where vdiff_id = {id} and table_name = {}",
            sql::string(table)
        );
        db.run(sql).await?;
        Ok(())
    }

    /// Completes the diff if all its tables are; up to three statements.
    pub(super) async fn complete_if_done(&self, db: &mut Db, id: i64) -> Result<()> {
        let name = &self.name;
        let sql = format!("select table_name from {name}.vdiff_table where vdiff_id = {id} and state != '{COMPLETED}'");
        if db.rows(sql).await?.is_empty() {
            self.set_state(db, id, COMPLETED, "").await?;
        }
        Ok(())
    }
}

fn progress(report: &Report) -> Result<String> {
    let text = serde_json::to_string(report).map_err(|error| Error::unknown(error.to_string()))?;
    Ok(format!("rows_compared = {}, report = {}", report.processed_rows, sql::string(&text)))
}

fn record(row: &TextRow) -> Result<(Record, String)> {
    let options = text(row, 4);
    let options = if options.is_empty() { "{}" } else { &options };
    let record = Record {
        id: number(row, 0),
        uuid: text(row, 1),
        workflow: text(row, 2),
        state: text(row, 3).to_lowercase(),
        options: serde_json::from_str(options).map_err(|error| Error::unknown(error.to_string()))?,
    };
    Ok((record, text(row, 5)))
}
