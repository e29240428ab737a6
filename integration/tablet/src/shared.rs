//! What the parts of one tablet hold in common: connections, the type and the serving state, denied tables, vschema.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, prelude::Queryable};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vtmigrated_proto::{topodata::TabletType, vschema::SrvVSchema};

use crate::options::Options;

/// What the health stream reports. A change is seen by every open stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub tablet_type: TabletType,
    pub serving: bool,
    /// Seconds since 1970; 0 when not primary.
    pub primary_term_start: i64,
}

/// Held in an `Arc` by the manager, the query service and the vreplication engine of a tablet.
#[derive(Debug)]
pub struct Shared {
    pub options: Options,
    /// Connections whose default database is the tablet's. Session variables are the server's own.
    pub pool: Pool,
    /// Tables that the query service refuses, from the shard record's `tablet_controls`.
    pub denied: RwLock<HashSet<String>>,
    /// Held while the topology is read again.
    pub refreshing: tokio::sync::Mutex<()>,
    /// The serving vschema of the tablet's own cell, set by whoever watches the topology.
    pub vschema: RwLock<Option<SrvVSchema>>,
    /// Before each packet of rows after the first.
    pub row_pause: Duration,
    /// Calls that came with the context of a trace: method (`service/method`) and `traceparent`.
    pub traced: Mutex<Vec<(String, String)>>,
    /// Cancelled once, when the tablet ends: every stream ends then.
    pub shutdown: CancellationToken,
    state: watch::Sender<State>,
}

impl Shared {
    /// Connects lazily: no query is sent here.
    #[must_use]
    pub fn new(options: Options, shutdown: CancellationToken) -> Self {
        let constraints = PoolConstraints::new(0, 20).unwrap_or_default();
        let pool = Pool::new(
            connection_options(&options)
                .db_name(Some(options.db_name.clone()))
                .pool_opts(PoolOpts::default().with_constraints(constraints)),
        );
        let state = State { tablet_type: options.tablet_type, serving: true, primary_term_start: 0 };
        Self {
            options,
            pool,
            denied: RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
            vschema: RwLock::default(),
            row_pause: Duration::ZERO,
            traced: Mutex::default(),
            shutdown,
            state: watch::Sender::new(state),
        }
    }

    /// Remembers the context of a call's trace.
    pub fn see<B>(&self, request: &http::Request<B>) {
        if let Some(Ok(parent)) = request.headers().get("traceparent").map(http::HeaderValue::to_str) {
            let method = request.uri().path().trim_start_matches('/').to_owned();
            self.traced.lock().unwrap_or_else(PoisonError::into_inner).push((method, parent.to_owned()));
        }
    }

    /// Makes the tablet's database if the server does not have it; nothing is written to the binlog otherwise.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn create_database(&self) -> mysql_async::Result<()> {
        let mut conn = Conn::new(connection_options(&self.options)).await?;
        let name = &self.options.db_name;
        let found: Option<String> = conn
            .exec_first("select schema_name from information_schema.schemata where schema_name = ?", (name,))
            .await?;
        if found.is_none() {
            conn.query_drop(format!("create database if not exists `{name}`")).await?;
        }
        conn.disconnect().await
    }

    /// A connection of its own outside the pool, with the tablet's database as default: for snapshots, locks, binlogs.
    ///
    /// # Errors
    /// Those of the server.
    pub async fn connect(&self) -> mysql_async::Result<Conn> {
        let options: Opts = connection_options(&self.options).db_name(Some(self.options.db_name.clone())).into();
        Conn::new(options).await
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Follows the state; the first value is the present one.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Changes the state; watchers wake only when it differs.
    pub fn set_state(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    /// The vschema of the own cell as last set; an empty one before.
    #[must_use]
    pub fn vschema(&self) -> SrvVSchema {
        self.vschema.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    pub fn set_vschema(&self, vschema: SrvVSchema) {
        *self.vschema.write().unwrap_or_else(PoisonError::into_inner) = Some(vschema);
    }

    #[must_use]
    pub fn is_denied(&self, table: &str) -> bool {
        self.denied.read().unwrap_or_else(PoisonError::into_inner).contains(table)
    }

    pub fn set_denied(&self, tables: impl IntoIterator<Item = String>) {
        *self.denied.write().unwrap_or_else(PoisonError::into_inner) = tables.into_iter().collect();
    }
}

/// Ends a MySQL connection by `kill` when dropped. A server notices only late that nobody reads a binlog or a long result.
#[derive(Debug)]
pub struct KillGuard {
    shared: Arc<Shared>,
    connection: Option<u32>,
}

impl KillGuard {
    #[must_use]
    pub fn new(shared: &Arc<Shared>, conn: &Conn) -> Self {
        Self { shared: Arc::clone(shared), connection: Some(conn.id()) }
    }

    /// The connection has ended by itself.
    pub fn disarm(mut self) {
        self.connection = None;
    }
}

impl Drop for KillGuard {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let pool = self.shared.pool.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let killed = async { pool.get_conn().await?.query_drop(format!("kill {connection}")).await };
                if let Err(error) = killed.await {
                    tracing::debug!(connection, %error, "connection was not killed");
                }
            });
        }
    }
}

/// A failed statement as Vitess writes it: `<message> (errno 1146) (sqlstate 42S02) during query: <sql>`.
#[must_use]
pub fn mysql_error(error: &mysql_async::Error, sql: &str) -> String {
    match error {
        mysql_async::Error::Server(error) => {
            let mysql_async::ServerError { code, message, state } = error;
            format!("{message} (errno {code}) (sqlstate {state}) during query: {sql}")
        }
        other => format!("{other} during query: {sql}"),
    }
}

/// TCP only, without the queries that a client would otherwise send to learn the server's limits.
fn connection_options(options: &Options) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(options.mysql_port)
        .user(Some(options.mysql_user.clone()))
        .prefer_socket(false)
        .tcp_nodelay(true)
        .max_allowed_packet(Some(1 << 30))
        .wait_timeout(Some(28_800))
}
