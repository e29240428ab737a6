//! A connection whose operations are measured, and whose reads wait for each other when there are too many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry::KeyValue;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Conn, Error, Expect, Lock, LockRequest, Node, Result, Write, paths};
use crate::deadline;
use crate::error::Explain;
use crate::telemetry::{metrics, traces};

/// Names of spans begin so; the operation follows.
const SPAN: &str = "topo ";
/// As many reads as may ever wait: their callers bound the time.
const READ_TIMEOUT: Duration = Duration::from_secs(3600);

/// Wraps a connection.
pub(crate) struct MeasuredConn {
    conn: Arc<dyn Conn>,
    /// `global` or the name of a cell; after `mount/` for mounted clusters.
    cell: Arc<str>,
    reads: Semaphore,
    /// What traces tell of every operation, ready to be shared.
    about: [KeyValue; 2],
}

impl MeasuredConn {
    /// `reads` are allowed at once (`--topo_read_concurrency`).
    pub(crate) fn wrap(conn: Arc<dyn Conn>, cell: String, reads: usize) -> Arc<dyn Conn> {
        let cell = Arc::<str>::from(cell);
        let about = [
            KeyValue::new("vitess.topo.cell", Arc::clone(&cell)),
            KeyValue::new("server.address", Arc::<str>::from(conn.endpoint().1)),
        ];
        Arc::new(Self { conn, cell, reads: Semaphore::new(reads.clamp(1, Semaphore::MAX_PERMITS)), about })
    }

    /// A place among the reads.
    async fn place(&self, operation: &'static str, path: &str) -> Result<SemaphorePermit<'_>> {
        // there is one, unless the server is very busy
        if let Ok(place) = self.reads.try_acquire() {
            metrics::topology_read_wait(operation, &self.cell, Duration::ZERO);
            return Ok(place);
        }
        let start = Instant::now();
        let place = tokio::time::timeout(deadline::remaining(READ_TIMEOUT), self.reads.acquire()).await;
        metrics::topology_read_wait(operation, &self.cell, start.elapsed());
        let late = || Error::Timeout(paths::join(self.conn.endpoint().2, path));
        // nobody closes the semaphore
        place.ok().and_then(std::result::Result::ok).ok_or_else(late)
    }

    /// `name` is that of the span.
    async fn measure<T>(
        &self,
        name: &'static str,
        path: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let operation = name.strip_prefix(SPAN).unwrap_or(name);
        let start = Instant::now();
        let mut told = traces::child(name, || self.told(operation, path));
        let result = work.await;
        metrics::topology_operation(operation, &self.cell, start.elapsed(), result.is_err());
        match &result {
            // that there is nothing is an answer
            Err(error) if !error.is_no_node() => told.failed(error.reason().as_str()),
            _ => {}
        }
        result
    }

    /// What traces tell of an operation. Of several paths it is the first.
    fn told(&self, operation: &'static str, path: &str) -> Vec<KeyValue> {
        let path = paths::join(self.conn.endpoint().2, path);
        let own = [KeyValue::new("vitess.topo.op", operation), KeyValue::new("vitess.topo.path", path)];
        own.into_iter().chain(self.about.iter().cloned()).collect()
    }
}

#[async_trait]
impl Conn for MeasuredConn {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.conn.endpoint()
    }

    async fn get(&self, path: &str) -> Result<Node> {
        let _place = self.place("Get", path).await?;
        self.measure("topo Get", path, self.conn.get(path)).await
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        let first = paths.first().cloned().unwrap_or_default();
        let _place = self.place("GetMany", &first).await?;
        self.measure("topo GetMany", &first, self.conn.get_many(paths)).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        let _place = self.place("List", dir).await?;
        self.measure("topo List", dir, self.conn.list(dir)).await
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        let _place = self.place("ListDir", dir).await?;
        self.measure("topo ListDir", dir, self.conn.list_dir(dir)).await
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        let name = match writes.as_slice() {
            [Write::Put { expect: Expect::Absent, .. }] => "topo Create",
            [Write::Put { .. }] => "topo Update",
            [Write::Delete { .. }] => "topo Delete",
            _ => "topo Write",
        };
        let first = writes.first().map(|write| write.parts().0.to_owned()).unwrap_or_default();
        self.measure(name, &first, self.conn.write(writes, guard)).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        let first = request.dirs.first().map(|dir| dir.dir.clone()).unwrap_or_default();
        self.measure("topo Lock", &first, self.conn.lock(request)).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        let _place = self.place("GetLease", path).await?;
        self.measure("topo GetLease", path, self.conn.has_lease(path)).await
    }

    fn is_mounted(&self) -> bool {
        self.cell.starts_with("mount/")
    }

    fn names_tablet(&self, address: &str) {
        self.conn.names_tablet(address);
    }

    async fn probe(&self) -> Result<()> {
        self.measure("topo Probe", "", self.conn.probe()).await
    }
}
