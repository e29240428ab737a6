//! Topology in ZooKeeper 3.5 and later (`zk2` in Vitess's words).
//!
//! A node is a directory when it has or had children, else a record: Vitess puts data into leaves only and denies them
//! children. Versions are ZooKeeper's, counted from 0 for each node: a record that was deleted and made again has the
//! versions of a new one, as for stock.

mod batch;
mod lock;
mod session;
mod tunnel;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{join_all, try_join};
use zookeeper_client::{Client, Error as ZkError, Stat};

use self::session::Sessions;
use super::access::Access;
use super::conn::{Conn, Node, Write};
use super::error::NOT_ALLOWED;
use super::{Error, Lock, LockRequest, Result, ZookeeperOptions, paths};

/// A connection to the ZooKeeper servers of one topology.
pub(crate) struct Zookeeper {
    sessions: Arc<Sessions>,
    root: String,
}

/// Prepares a connection; nothing is sent yet.
///
/// `server` is a comma-separated list of `host:port`; what stands behind a `|` are observers, which are not used.
pub(crate) fn open(server: &str, root: &str, access: Access, options: &ZookeeperOptions) -> Result<Arc<dyn Conn>> {
    Ok(Arc::new(Zookeeper { sessions: Arc::new(Sessions::new(server, access, options)?), root: root.to_owned() }))
}

impl Zookeeper {
    /// The node of a path; it begins with a slash whether or not the root does.
    fn key(&self, path: &str) -> String {
        let key = paths::join(&self.root, path);
        if key.starts_with('/') { key } else { format!("/{key}") }
    }

    fn node(&self, key: &str, data: Vec<u8>, stat: &Stat) -> Node {
        let root = self.key("");
        let path = key.strip_prefix(root.as_str()).unwrap_or(key).trim_start_matches('/').to_owned();
        Node { path, value: Bytes::from(data), version: stat.version.into(), created: stat.czxid }
    }

    /// A read; it is repeated once when a kept connection has broken since it was last used.
    async fn read<T, F>(&self, op: &'static str, key: &str, call: impl Fn(&Client) -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, ZkError>> + Send,
    {
        let mut again = true;
        loop {
            let client = self.sessions.client().await?;
            match self.sessions.run(op, key, &client, call(&client)).await {
                Err(ZkError::ConnectionLoss | ZkError::SessionExpired | ZkError::ClientClosed | ZkError::Custom(_))
                    if again =>
                {
                    again = false;
                }
                answered => return answered.map_err(|error| self.convert(key, error)),
            }
        }
    }

    /// A record, if there is one; directories are none.
    async fn find(&self, op: &'static str, key: &str) -> Result<Option<Node>> {
        match self.read(op, key, |client| client.get_data(key)).await {
            Ok((data, stat)) if is_record(&stat) => Ok(Some(self.node(key, data, &stat))),
            Ok(_) | Err(Error::NoNode(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of the nodes under one; none when it is not there.
    async fn children(&self, op: &'static str, key: &str) -> Result<Vec<String>> {
        match self.read(op, key, |client| client.get_children(key)).await {
            Ok((names, _)) => Ok(names),
            Err(Error::NoNode(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn convert(&self, key: &str, error: ZkError) -> Error {
        let backend = |detail: String| Error::Backend { path: key.to_owned(), detail };
        match error {
            ZkError::NoNode => Error::NoNode(key.to_owned()),
            ZkError::NodeExists => Error::NodeExists(key.to_owned()),
            ZkError::BadVersion => Error::BadVersion(key.to_owned()),
            ZkError::NotEmpty => Error::NotEmpty(key.to_owned()),
            ZkError::QuotaExceeded | ZkError::Throttled => Error::ResourceExhausted(key.to_owned()),
            ZkError::NoAuth | ZkError::AuthFailed | ZkError::InvalidAcl => backend(format!("{NOT_ALLOWED}: {error}")),
            ZkError::Timeout => Error::Timeout(key.to_owned()),
            ZkError::NoHosts
            | ZkError::ConnectionLoss
            | ZkError::SessionExpired
            | ZkError::SessionMoved
            | ZkError::ClientClosed
            | ZkError::NotReadOnly
            // what broke the connection: it was reset, or silent
            | ZkError::Custom(_) => self.sessions.unreachable(error.to_string()),
            other => backend(other.to_string()),
        }
    }
}

/// True for a leaf that never had children.
fn is_record(stat: &Stat) -> bool {
    stat.num_children == 0 && stat.cversion == 0
}

fn parent(key: &str) -> Option<&str> {
    key.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

#[async_trait]
impl Conn for Zookeeper {
    fn endpoint(&self) -> (&str, &str, &str) {
        ("zk2", self.sessions.server(), &self.root)
    }

    async fn get(&self, path: &str) -> Result<Node> {
        let key = self.key(path);
        self.find("Get", &key).await?.ok_or(Error::NoNode(key))
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        let keys: Vec<String> = paths.iter().map(|path| self.key(path)).collect();
        let reads: Vec<_> = keys.iter().map(|key| self.find("GetMany", key)).collect();
        join_all(reads).await.into_iter().collect()
    }

    /// One wave of round trips for each level under `dir`.
    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        let base = self.key(dir);
        let mut level: Vec<String> = self.children("List", &base).await?;
        level.iter_mut().for_each(|name| *name = paths::join(&base, name));
        let mut found = Vec::new();
        while !level.is_empty() {
            let reads: Vec<_> =
                level.iter().map(|key| try_join(self.find("List", key), self.children("List", key))).collect();
            let mut next = Vec::new();
            for (key, read) in level.iter().zip(join_all(reads).await) {
                let (record, names) = read?;
                found.extend(record);
                next.extend(names.iter().map(|name| paths::join(key, name)));
            }
            level = next;
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        let mut names = self.children("ListDir", &self.key(dir)).await?;
        names.sort();
        Ok(names)
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        batch::write(self, &writes, guard).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        lock::take(self, request).await
    }

    async fn has_lease(&self, _path: &str) -> Result<bool> {
        Ok(true)
    }

    async fn probe(&self) -> Result<()> {
        let key = self.key("");
        self.read("Probe", &key, |client| client.check_stat(&key)).await.map(|_| ())
    }
}
