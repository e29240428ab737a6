//! A connection on which names are names: no path leads out of the place that it is built for. What it names as tablets is
//! trusted, or not.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Conn, Lock, LockRequest, Node, Result, TrustedTablets, Write, paths};

/// Asks [`paths::check`] about every path before a connection sees it.
pub(crate) struct CheckedConn {
    conn: Arc<dyn Conn>,
    /// None for topologies of strangers.
    trusted: Option<Arc<TrustedTablets>>,
}

impl CheckedConn {
    pub(crate) fn wrap(conn: Arc<dyn Conn>, trusted: Option<Arc<TrustedTablets>>) -> Arc<dyn Conn> {
        Arc::new(Self { conn, trusted })
    }
}

#[async_trait]
impl Conn for CheckedConn {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.conn.endpoint()
    }

    async fn get(&self, path: &str) -> Result<Node> {
        paths::check(path)?;
        self.conn.get(path).await
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        paths.iter().try_for_each(|path| paths::check(path))?;
        self.conn.get_many(paths).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        paths::check(dir)?;
        self.conn.list(dir).await
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        paths::check(dir)?;
        self.conn.list_dir(dir).await
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        writes.iter().try_for_each(|write| paths::check(write.parts().0))?;
        self.conn.write(writes, guard).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        request.dirs.iter().try_for_each(|dir| paths::check(&dir.dir))?;
        self.conn.lock(request).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        paths::check(path)?;
        self.conn.has_lease(path).await
    }

    fn is_mounted(&self) -> bool {
        self.conn.is_mounted()
    }

    fn names_tablet(&self, address: &str) {
        if let Some(trusted) = &self.trusted {
            trusted.add(address.to_owned());
        }
    }

    async fn probe(&self) -> Result<()> {
        self.conn.probe().await
    }
}
