//! Locks shared with stock vtctld and vttablet: same keys, same value, same queueing; shorter leases.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use super::Result;

/// Locks to take, in order, under one lease.
#[derive(Clone, Debug)]
pub struct LockRequest {
    /// Directories; the keys are `<dir>/locks/<lease id in decimal>` (etcd), `<dir>/locks/<ten digits>` (ZooKeeper),
    /// `<dir>/Lock` (Consul).
    pub dirs: Vec<LockDir>,
    /// Stored as `Action`, for people who look at the key.
    pub action: String,
    /// Lifetime of the lease when this process dies.
    pub ttl: Duration,
    /// How long to wait for other holders.
    pub wait: Duration,
}

/// One directory to lock.
#[derive(Clone, Debug)]
pub struct LockDir {
    pub dir: String,
    /// The directory must hold a record, as a keyspace or shard lock needs.
    pub must_exist: bool,
}

impl LockRequest {
    /// A request with stock's waiting time of 45 s.
    pub fn new(action: impl Into<String>, ttl: Duration) -> Self {
        Self { dirs: Vec::new(), action: action.into(), ttl, wait: Duration::from_secs(45) }
    }

    /// Adds a named lock: nothing needs to be there.
    #[must_use]
    pub fn named(mut self, dir: impl Into<String>) -> Self {
        self.dirs.push(LockDir { dir: dir.into(), must_exist: false });
        self
    }

    /// Adds the lock of a record's directory.
    #[must_use]
    pub fn of(mut self, dir: impl Into<String>) -> Self {
        self.dirs.push(LockDir { dir: dir.into(), must_exist: true });
        self
    }

    /// The stored value: JSON with two blanks of indent and stock's keys in stock's order.
    pub(crate) fn contents(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Contents<'a> {
            action: &'a str,
            host_name: String,
            user_name: String,
            time: String,
            options: std::collections::BTreeMap<String, String>,
            status: &'static str,
        }
        let contents = Contents {
            action: &self.action,
            host_name: crate::host::name().unwrap_or_else(|| "unknown".into()),
            user_name: std::env::var("USER").unwrap_or_else(|_| "unknown".into()),
            time: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            options: std::collections::BTreeMap::new(),
            status: "Running",
        };
        serde_json::to_vec_pretty(&contents).unwrap_or_default()
    }
}

/// The lease under held locks, as a backend keeps it.
#[async_trait]
pub(crate) trait Lease: Send + Sync {
    /// Proves that the lease is alive; without a round trip when that was seen a moment ago.
    async fn check(&self) -> Result<()>;
    /// Name of the lease, for kinds that check it in a guarded write.
    #[cfg_attr(not(feature = "topo-consul"), expect(dead_code))]
    fn name(&self) -> &str {
        ""
    }
    /// Ends the lease, and with it the locks.
    async fn release(&self) -> Result<()>;
}

/// Held locks. Dropping it without [`Lock::release`] leaves them to the end of their lease.
pub struct Lock {
    /// Keys and what proves in a guarded write's own transaction that they are ours: etcd's creation revision, the version
    /// of a ZooKeeper node; nothing for Consul, where the lease's name does.
    pub(crate) fences: Vec<(String, i64)>,
    pub(crate) lease: Box<dyn Lease>,
}

impl Lock {
    /// Proves that the locks are still held. To be called before each tablet call that they protect; topology writes
    /// carry the lock instead.
    ///
    /// # Errors
    /// [`super::Error::LockLost`] when they are gone.
    pub async fn check(&self) -> Result<()> {
        self.lease.check().await
    }

    /// Gives the locks back.
    pub async fn release(self) -> Result<()> {
        self.lease.release().await
    }

    /// Gives the locks of something back. A failure to do so is only logged: the lease ends by itself.
    pub async fn give_back(self, whose: &str) {
        if let Err(error) = self.release().await {
            tracing::warn!("cannot release the locks of {whose}: {error}");
        }
    }
}
