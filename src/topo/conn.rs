//! One connection to a topology server, under one root.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Lock, LockRequest, Result};

/// A stored record. `path` is relative to the connection's root; `version` changes with every write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub path: String,
    pub value: Bytes,
    pub version: i64,
    /// Which making of the key this is: a key that was deleted and made anew has another number.
    pub created: i64,
}

/// What must be true of a key before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything; the key may be absent.
    Any,
    /// The key is absent.
    Absent,
    /// The key has this version.
    Version(i64),
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put { path: String, value: Bytes, expect: Expect },
    Delete { path: String, expect: Expect },
}

impl Write {
    /// A put that needs `expect`.
    pub fn put(path: impl Into<String>, value: impl Into<Bytes>, expect: Expect) -> Self {
        Self::Put { path: path.into(), value: value.into(), expect }
    }

    /// A delete; with [`Expect::Any`] an absent key is no error.
    pub fn delete(path: impl Into<String>, expect: Expect) -> Self {
        Self::Delete { path: path.into(), expect }
    }

    pub(crate) fn parts(&self) -> (&str, Expect) {
        match self {
            Self::Put { path, expect, .. } | Self::Delete { path, expect } => (path, *expect),
        }
    }
}

/// Operations of a topology server. Every method is one round trip unless it says otherwise.
#[async_trait]
pub trait Conn: Send + Sync + 'static {
    /// Kind as in `--topo_implementation`, server address and root, for texts.
    fn endpoint(&self) -> (&str, &str, &str);

    /// Reads one record. [`super::Error::NoNode`] when absent.
    async fn get(&self, path: &str) -> Result<Node>;

    /// Reads records, each absent one as `None`, in the order asked; one round trip for each 100 paths, in parallel.
    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>>;

    /// All records under `dir` (any depth), ascending by path; empty when there are none. ZooKeeper needs one wave of round
    /// trips for each level.
    async fn list(&self, dir: &str) -> Result<Vec<Node>>;

    /// Names directly under `dir`, ascending, without duplicates; empty when there are none.
    async fn list_dir(&self, dir: &str) -> Result<Vec<String>>;

    /// Applies all changes, or none. Larger batches are applied in parts: 100 changes at a time; etcd also 1 MB (less when the
    /// server refuses that), ZooKeeper 900 kB, and Consul 64 operations (a change is one or two, each lock of the guard is one) and 350 kB.
    ///
    /// With `guard`, only while that lock is held: [`super::Error::LockLost`] otherwise. The error of an unmet [`Expect`]
    /// names the first such path. Answers the new version of each change (0 for deletes).
    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>>;

    /// Takes the locks of `request` in order, all under one lease. Two round trips when nobody else holds one.
    async fn lock(&self, request: LockRequest) -> Result<Lock>;

    /// Whether the key of a lock ends with its holder; a lock without a lease stays until somebody deletes it. True when
    /// the key is not there, and where locks cannot outlive their holder.
    async fn has_lease(&self, path: &str) -> Result<bool>;

    /// True when the topology is a mounted cluster's.
    fn is_mounted(&self) -> bool {
        false
    }

    /// Hears of a tablet's address (`host:port`) in a record of this topology: see [`super::TrustedTablets`].
    fn names_tablet(&self, _address: &str) {}

    /// A bounded read that proves that the server answers.
    async fn probe(&self) -> Result<()>;
}

/// Single-record forms of [`Conn::write`].
impl dyn Conn {
    /// Creates a record. [`super::Error::NodeExists`] when it is there.
    pub async fn create(&self, path: &str, value: Vec<u8>) -> Result<i64> {
        self.write_one(Write::put(path, value, Expect::Absent), None).await
    }

    /// Writes one change.
    pub async fn write_one(&self, write: Write, guard: Option<&Lock>) -> Result<i64> {
        Ok(self.write(vec![write], guard).await?.first().copied().unwrap_or_default())
    }

    /// Reads a record; `None` when it is not there.
    pub async fn find(&self, path: &str) -> Result<Option<Node>> {
        match self.get(path).await {
            Ok(node) => Ok(Some(node)),
            Err(error) if error.is_no_node() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a record. [`super::Error::NoNode`] when it is not there. Two round trips.
    pub async fn remove(&self, path: &str) -> Result<()> {
        loop {
            let node = self.get(path).await?;
            match self.write_one(Write::delete(path, Expect::Version(node.version)), None).await {
                Err(super::Error::BadVersion(_)) => {}
                other => return other.map(|_| ()),
            }
        }
    }

    /// The full key of a path, as error texts show it.
    pub fn full(&self, path: &str) -> String {
        super::paths::join(self.endpoint().2, path)
    }
}
