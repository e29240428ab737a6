//! A connection on which names are names: no path leads out of the place that it is built for.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Conn, Lock, LockRequest, Node, Result, Write, paths};

/// Asks [`paths::check`] about every path before a connection sees it.
pub(crate) struct Checked(Arc<dyn Conn>);

impl Checked {
    pub(crate) fn wrap(conn: Arc<dyn Conn>) -> Arc<dyn Conn> {
        Arc::new(Self(conn))
    }
}

#[async_trait]
impl Conn for Checked {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.0.endpoint()
    }

    async fn get(&self, path: &str) -> Result<Node> {
        paths::check(path)?;
        self.0.get(path).await
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        paths.iter().try_for_each(|path| paths::check(path))?;
        self.0.get_many(paths).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        paths::check(dir)?;
        self.0.list(dir).await
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        paths::check(dir)?;
        self.0.list_dir(dir).await
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        writes.iter().try_for_each(|write| paths::check(write.parts().0))?;
        self.0.write(writes, guard).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        request.dirs.iter().try_for_each(|dir| paths::check(&dir.dir))?;
        self.0.lock(request).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        paths::check(path)?;
        self.0.has_lease(path).await
    }

    fn is_mounted(&self) -> bool {
        self.0.is_mounted()
    }

    async fn probe(&self) -> Result<()> {
        self.0.probe().await
    }
}
