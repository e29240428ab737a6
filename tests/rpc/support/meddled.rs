//! Connections to topologies that a test meddles with.

use std::sync::Arc;

use vtmigrated::context::Options;
use vtmigrated::server::router::Router;
use vtmigrated::topo::{Conn, Dialer, EtcdOptions, Lock, LockRequest, Node, Result, Write};

use crate::support::Lab;
use crate::support::migrate_rig::{Rig, SHARDS};

/// What a test does to what is asked of a connection; as it stands, nothing.
#[tonic::async_trait]
pub trait Meddle: Send + Sync + 'static {
    /// Before something is read.
    async fn reads(&self, _: &Arc<dyn Conn>) -> Result<()> {
        Ok(())
    }

    /// Before a lock is taken.
    async fn locks(&self, _: &Arc<dyn Conn>, _: &LockRequest) -> Result<()> {
        Ok(())
    }

    /// Before the connection is proven to work: the same as for a read.
    async fn probes(&self, conn: &Arc<dyn Conn>) -> Result<()> {
        self.reads(conn).await
    }

    /// In the place of a write.
    async fn write(&self, conn: &Arc<dyn Conn>, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        conn.write(writes, guard).await
    }
}

/// A migration's two clusters, with somebody who meddles with the connections to those servers that are meant, by address.
pub async fn rig<M: Meddle + Clone>(by: M, is_meant: fn(&str) -> bool) -> Rig {
    let wrap = move |conn: Arc<dyn Conn>| -> Arc<dyn Conn> {
        if !is_meant(conn.endpoint().1) {
            return conn;
        }
        Arc::new(Meddled { conn, by: by.clone() })
    };
    let dialer = Dialer::new(EtcdOptions::default()).wrapping(Arc::new(wrap));
    let tablets = vtmigrated::tablet::Options::default();
    let lab = Lab::wired(Router::default(), Options::default(), dialer, tablets).await;
    let lab = lab.and_cells().await.and_keyspace("customer", &SHARDS).await;
    Rig::on(lab, &["customer", "orders"]).await
}

/// A connection with which somebody meddles.
struct Meddled<M> {
    conn: Arc<dyn Conn>,
    by: M,
}

#[tonic::async_trait]
impl<M: Meddle> Conn for Meddled<M> {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.conn.endpoint()
    }

    async fn get(&self, path: &str) -> Result<Node> {
        self.by.reads(&self.conn).await?;
        self.conn.get(path).await
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        self.by.reads(&self.conn).await?;
        self.conn.get_many(paths).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        self.by.reads(&self.conn).await?;
        self.conn.list(dir).await
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        self.by.reads(&self.conn).await?;
        self.conn.list_dir(dir).await
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        self.by.write(&self.conn, writes, guard).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        self.by.locks(&self.conn, &request).await?;
        self.conn.lock(request).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        self.by.reads(&self.conn).await?;
        self.conn.has_lease(path).await
    }

    fn is_mounted(&self) -> bool {
        self.conn.is_mounted()
    }

    fn names_tablet(&self, address: &str) {
        self.conn.names_tablet(address);
    }

    async fn probe(&self) -> Result<()> {
        self.by.probes(&self.conn).await?;
        self.conn.probe().await
    }
}
