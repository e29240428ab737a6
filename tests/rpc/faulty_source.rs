//! A mounted source whose topology server refuses writes, or is dead, when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use vtmigrated::context::Options;
use vtmigrated::server::router::Router;
use vtmigrated::topo::{Conn, Dialer, Error, EtcdOptions, Lock, LockRequest, Node, Result as TopoResult, Write};

use crate::migrate_rig::{Rig, SHARDS};
use crate::support::Lab;

const WORKS: u8 = 0;
const IS_READ_ONLY: u8 = 1;
const IS_DEAD: u8 = 2;

/// What the server does now.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    /// A migration's two clusters, with a source that does as the switch says. It works at first.
    pub async fn rig(&self) -> Rig {
        let switch = self.clone();
        let wrap = move |conn: Arc<dyn Conn>| -> Arc<dyn Conn> {
            if !conn.endpoint().1.starts_with("source") {
                return conn;
            }
            Arc::new(Faulty { conn, switch: switch.clone() })
        };
        let dialer = Dialer::new(EtcdOptions::default()).wrapping(Arc::new(wrap));
        let tablets = vtmigrated::tablet::Options::default();
        let lab = Lab::wired(Router::default(), Options::default(), dialer, tablets).await;
        let lab = lab.and_cells().await.and_keyspace("customer", &SHARDS).await;
        Rig::on(lab, &["customer", "orders"]).await
    }

    pub fn works(&self) {
        self.0.store(WORKS, Ordering::SeqCst);
    }

    pub fn is_read_only(&self) {
        self.0.store(IS_READ_ONLY, Ordering::SeqCst);
    }

    pub fn is_dead(&self) {
        self.0.store(IS_DEAD, Ordering::SeqCst);
    }

    fn reads(&self) -> TopoResult<()> {
        if self.0.load(Ordering::SeqCst) != IS_DEAD {
            return Ok(());
        }
        Err(Error::Unreachable { kind: "memory".into(), server: "source".into(), detail: "told to be dead".into() })
    }

    fn writes(&self, path: &str) -> TopoResult<()> {
        self.reads()?;
        if self.0.load(Ordering::SeqCst) == WORKS {
            return Ok(());
        }
        Err(Error::Backend { path: path.to_owned(), detail: "not allowed: told to refuse writes".into() })
    }
}

struct Faulty {
    conn: Arc<dyn Conn>,
    switch: Switch,
}

#[tonic::async_trait]
impl Conn for Faulty {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.conn.endpoint()
    }

    async fn get(&self, path: &str) -> TopoResult<Node> {
        self.switch.reads()?;
        self.conn.get(path).await
    }

    async fn get_many(&self, paths: Vec<String>) -> TopoResult<Vec<Option<Node>>> {
        self.switch.reads()?;
        self.conn.get_many(paths).await
    }

    async fn list(&self, dir: &str) -> TopoResult<Vec<Node>> {
        self.switch.reads()?;
        self.conn.list(dir).await
    }

    async fn list_dir(&self, dir: &str) -> TopoResult<Vec<String>> {
        self.switch.reads()?;
        self.conn.list_dir(dir).await
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> TopoResult<Vec<i64>> {
        let path = match writes.first() {
            Some(Write::Put { path, .. } | Write::Delete { path, .. }) => path.clone(),
            None => String::new(),
        };
        self.switch.writes(&path)?;
        self.conn.write(writes, guard).await
    }

    async fn lock(&self, request: LockRequest) -> TopoResult<Lock> {
        self.switch.writes(request.dirs.first().map_or("", |dir| dir.dir.as_str()))?;
        self.conn.lock(request).await
    }

    async fn has_lease(&self, path: &str) -> TopoResult<bool> {
        self.switch.reads()?;
        self.conn.has_lease(path).await
    }

    fn is_mounted(&self) -> bool {
        self.conn.is_mounted()
    }

    fn names_tablet(&self, address: &str) {
        self.conn.names_tablet(address);
    }

    async fn probe(&self) -> TopoResult<()> {
        self.switch.reads()?;
        self.conn.probe().await
    }
}
