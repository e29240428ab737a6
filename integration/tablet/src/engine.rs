//! The vreplication engine: one controller for each row of `vreplication` that belongs to this tablet's database.
//!
//! # Layout
//! - [`controller`] keeps one stream going; [`stream`] is one attempt of it
//! - [`copier`], [`keys`] and [`player`] are its phases; [`transaction`] what they write
//! - [`plan`], [`columns`], [`apply`] and [`literal`] turn rules and rows into SQL
//! - [`exec`] reads the statements that callers may run

pub mod apply;
pub mod columns;
pub mod controller;
pub mod copier;
pub mod db;
pub mod error;
pub mod exec;
pub mod fetch;
pub mod keys;
pub mod log;
pub mod plan;
pub mod player;
pub mod row;
pub mod source;
pub mod stream;
pub mod transaction;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mysql_async::Conn;
use tokio::sync::Mutex;
use tonic::Code;
use vtmigrated::topo::{Topo, external_cluster::Mounts};
use vtmigrated_proto::query::QueryResult;

use self::{
    controller::Controller,
    db::{Db, number},
    error::{Error, Result},
    exec::Plan,
    log::Kind,
};
use crate::{shared::Shared, sidecar, sql};

/// Waiting times. The defaults are stock's.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Between two attempts of a stream.
    pub retry_delay: Duration,
    /// Between two looks for a source tablet; after five of them the attempt fails.
    pub picker_delay: Duration,
    /// Longest run over the rows of one table.
    pub copy_phase_duration: Duration,
    /// How far behind tables copied earlier may be when the next one begins.
    pub lag_tolerance: Duration,
    /// Between two updates of `rows_copied` during a copy.
    pub rows_copied_interval: Duration,
    /// Between two removals of outdated rows of `copy_state`.
    pub copy_state_interval: Duration,
    /// Between two looks at the position of a stream that is waited for.
    pub position_poll: Duration,
    /// Between two looks for diffs that failed and are to be tried again.
    pub vdiff_retry_interval: Duration,
    /// Before each packet of rows after the first, as if the server were slow; none in stock.
    pub row_pause: Duration,
    /// Between two snapshots of a table whose diff takes longer than it may.
    pub vdiff_restart_delay: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            retry_delay: Duration::from_secs(5),
            picker_delay: Duration::from_secs(30),
            copy_phase_duration: Duration::from_secs(3600),
            lag_tolerance: Duration::from_secs(60),
            rows_copied_interval: Duration::from_secs(30),
            copy_state_interval: Duration::from_secs(75),
            position_poll: Duration::from_secs(1),
            vdiff_retry_interval: Duration::from_secs(30),
            row_pause: Duration::ZERO,
            vdiff_restart_delay: Duration::from_secs(30),
        }
    }
}

/// What controllers need of their tablet.
pub struct Context {
    pub shared: Arc<Shared>,
    pub topo: Arc<Topo>,
    pub mounts: Mounts,
    pub tuning: Tuning,
}

/// The engine of one tablet. Closed until [`Engine::open`].
pub struct Engine {
    context: Arc<Context>,
    /// `None` while closed. Held during every change of rows, so that controllers and rows agree.
    controllers: Mutex<Option<BTreeMap<i32, Controller>>>,
}

impl Engine {
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, controllers: Mutex::new(None) }
    }

    /// Starts a controller for each row of the own database. One that cannot be started is logged and stays idle.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn open(&self) -> Result<()> {
        let mut guard = self.controllers.lock().await;
        if guard.is_some() {
            return Ok(());
        }
        let mut db = Db::connect(&self.context.shared).await?;
        let rows = db
            .rows(format!(
                "select id from {}.vreplication where db_name = {}",
                sql::quote(&self.context.shared.options.sidecar_db),
                sql::string(&self.context.shared.options.db_name)
            ))
            .await?;
        let mut controllers = BTreeMap::new();
        for row in &rows {
            let id = number(row, 0);
            match Controller::start(&self.context, &mut db, id).await {
                Ok(controller) => {
                    controllers.insert(id, controller);
                }
                Err(error) => tracing::error!(stream = id, %error, "controller could not be initialized"),
            }
        }
        *guard = Some(controllers);
        db.close().await;
        Ok(())
    }

    /// Ends all controllers and waits for them. Rows stay as they are.
    pub async fn close(&self) {
        let controllers = self.controllers.lock().await.take();
        let stops = controllers.into_iter().flatten().map(|(_, controller)| controller.stop());
        futures::future::join_all(stops).await;
    }

    /// Aborts all controllers wherever they are, as the death of the process would.
    pub async fn kill(&self) {
        let controllers = self.controllers.lock().await.take();
        let kills = controllers.into_iter().flatten().map(|(_, controller)| controller.kill());
        futures::future::join_all(kills).await;
    }

    /// Runs a statement of a caller: selects as they are, changes of `vreplication` with the controllers of the rows stopped
    /// before and started from the changed rows.
    ///
    /// # Errors
    /// UNAVAILABLE while closed; statements that are not accepted; those of the server; and a controller that cannot be
    /// started: then the row is changed all the same.
    pub async fn exec(&self, sql: &str) -> Result<QueryResult> {
        let mut guard = self.controllers.lock().await;
        let Some(controllers) = guard.as_mut() else {
            return Err(Error::new(Code::Unavailable, "vreplication engine is closed"));
        };
        let options = &self.context.shared.options;
        let plan = exec::plan(&sidecar::rewrite(sql, &options.sidecar_db), &options.sidecar_db)?;
        let shared = &self.context.shared;
        let mut conn = shared.connect().await.map_err(|error| Error::connect(&error, options.mysql_port))?;
        // changes under this database are no changes of the keyspace
        let result = self.run(controllers, &mut conn, plan).await;
        // the session ends with the socket in any case
        let _ = conn.disconnect().await;
        result
    }

    async fn run(
        &self,
        controllers: &mut BTreeMap<i32, Controller>,
        conn: &mut Conn,
        plan: Plan,
    ) -> Result<QueryResult> {
        let name = sql::quote(&self.context.shared.options.sidecar_db);
        fetch::fetch(conn, format!("use {name}").as_bytes(), 1).await?;
        match plan {
            Plan::Pass { sql } => fetch::fetch(conn, sql.as_bytes(), 10_000).await,
            Plan::Insert { sql, rows } => {
                let result = fetch::fetch(conn, sql.as_bytes(), 1).await?;
                let first = i32::try_from(result.insert_id).ok().filter(|id| *id > 0);
                let first = first.ok_or_else(|| Error::unknown("insert failed to generate an id"))?;
                let step = fetch::fetch(conn, b"select @@session.auto_increment_increment", 1).await?;
                let step = fetch::first_number(&step).max(1);
                let mut db = Db::connect(&self.context.shared).await?;
                for id in (first..).step_by(usize::try_from(step).unwrap_or(1)).take(rows) {
                    let controller = Controller::start(&self.context, &mut db, id).await?;
                    controllers.insert(id, controller);
                    self.log_created(&mut db, id).await?;
                }
                db.close().await;
                Ok(result)
            }
            Plan::Update { selector, front } => self.update(controllers, conn, &selector, &front).await,
            Plan::Delete { selector } => self.delete(controllers, conn, &selector).await,
        }
    }

    async fn update(
        &self,
        controllers: &mut BTreeMap<i32, Controller>,
        conn: &mut Conn,
        selector: &str,
        front: &str,
    ) -> Result<QueryResult> {
        let ids = fetch::ids(conn, selector).await?;
        if ids.is_empty() {
            return Ok(QueryResult::default());
        }
        stop(controllers, &ids).await;
        let statement = format!("{front} where id in ({})", join(&ids));
        let result = fetch::fetch(conn, statement.as_bytes(), 10_000).await;
        let mut db = Db::connect(&self.context.shared).await?;
        for &id in &ids {
            controllers.insert(id, Controller::start(&self.context, &mut db, id).await?);
            if result.is_ok() {
                let state = self.state_of(&mut db, id).await?;
                log::write(&mut db, self.sidecar(), id, Kind::StateChanged, &state, "").await?;
            }
        }
        db.close().await;
        result
    }

    async fn delete(
        &self,
        controllers: &mut BTreeMap<i32, Controller>,
        conn: &mut Conn,
        selector: &str,
    ) -> Result<QueryResult> {
        let ids = fetch::ids(conn, selector).await?;
        if ids.is_empty() {
            return Ok(QueryResult::default());
        }
        let known: Vec<i32> = ids.iter().copied().filter(|id| controllers.contains_key(id)).collect();
        stop(controllers, &ids).await;
        let mut db = Db::connect(&self.context.shared).await?;
        for id in known {
            log::write(&mut db, self.sidecar(), id, Kind::StreamDeleted, "", "").await?;
        }
        db.close().await;
        let (name, ids) = (sql::quote(self.sidecar()), join(&ids));
        fetch::fetch(conn, b"begin", 1).await?;
        let delete = format!("delete from {name}.vreplication where id in ({ids})");
        let result = fetch::fetch(conn, delete.as_bytes(), 1).await?;
        for table in ["copy_state", "post_copy_action"] {
            let delete = format!("delete from {name}.{table} where vrepl_id in ({ids})");
            fetch::fetch(conn, delete.as_bytes(), 1).await?;
        }
        fetch::fetch(conn, b"commit", 1).await?;
        Ok(result)
    }

    async fn state_of(&self, db: &mut Db, id: i32) -> Result<String> {
        let name = sql::quote(self.sidecar());
        Ok(db.value(format!("select state from {name}.vreplication where id = {id}")).await?.unwrap_or_default())
    }

    /// All columns of the row as a JSON object of strings, NULL ones left out.
    async fn log_created(&self, db: &mut Db, id: i32) -> Result<()> {
        let columns = db
            .rows(format!(
                "select column_name from information_schema.columns where table_schema = {} and table_name = 'vreplication'",
                sql::string(self.sidecar())
            ))
            .await?;
        let names: Vec<String> = columns.iter().map(|row| db::text(row, 0)).collect();
        let quoted: Vec<String> = names.iter().map(|name| sql::quote(name)).collect();
        let table = sql::quote(self.sidecar());
        let rows = db.rows(format!("select {} from {table}.vreplication where id = {id}", quoted.join(", "))).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let values: BTreeMap<&String, String> = names
            .iter()
            .zip(row)
            .filter_map(|(name, value)| value.as_deref().map(|value| (name, db::lossy(value))))
            .collect();
        let message = serde_json::to_string(&values).map_err(|error| Error::unknown(error.to_string()))?;
        let state = self.state_of(db, id).await?;
        log::write(db, self.sidecar(), id, Kind::StreamCreated, &state, &message).await
    }

    fn sidecar(&self) -> &str {
        &self.context.shared.options.sidecar_db
    }
}

async fn stop(controllers: &mut BTreeMap<i32, Controller>, ids: &[i32]) {
    for id in ids {
        if let Some(controller) = controllers.remove(id) {
            controller.stop().await;
        }
    }
}

fn join(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
