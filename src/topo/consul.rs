//! Topology in Consul's key-value store (`consul` in Vitess's words), by its HTTP API.
//!
//! Keys have no slash at their beginning: stock's root is `vitess/global`, and a slash before it is left out. Versions are
//! the `ModifyIndex`; a put that changes nothing keeps it.

mod http;
mod lock;
mod txn;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use http::Http;
use serde::Deserialize;

use super::access::Access;
use super::conn::{Conn, Node, Write};
use super::{ConsulOptions, Error, Lock, LockRequest, Result, paths};

const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests under way at once of one [`Conn::get_many`].
const PARALLEL: usize = 32;

/// A connection to the Consul agents of one topology.
struct Connection(Arc<Consul>);

/// What connection and leases share.
struct Consul {
    http: Http,
    root: String,
    options: ConsulOptions,
}

/// Prepares a connection; nothing is sent yet.
///
/// `server` is a comma-separated list of `host:port` or URLs of agents: the next is asked when one does not answer.
pub(crate) fn open(server: &str, root: &str, access: Access, options: &ConsulOptions) -> Result<Arc<dyn Conn>> {
    let http = Http::new(server, access)?;
    let consul = Consul { http, root: root.to_owned(), options: options.clone() };
    Ok(Arc::new(Connection(Arc::new(consul))))
}

/// A stored pair as Consul shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    /// Base64; null for an empty value.
    value: Option<String>,
    #[serde(default)]
    session: Option<String>,
    modify_index: i64,
    create_index: i64,
}

impl Consul {
    /// The key of a path, as it is stored.
    fn key(&self, path: &str) -> String {
        paths::join(&self.root, path).trim_start_matches('/').to_owned()
    }

    /// The same for texts, with the root as it was given.
    fn full(&self, path: &str) -> String {
        paths::join(&self.root, path)
    }

    fn node(&self, pair: Pair) -> Result<Node> {
        let value = BASE64.decode(pair.value.unwrap_or_default());
        let value = value.map_err(|e| Error::Backend { path: pair.key.clone(), detail: format!("bad answer: {e}") })?;
        let root = self.key("");
        let path = pair.key.strip_prefix(root.as_str()).unwrap_or(&pair.key).trim_start_matches('/').to_owned();
        Ok(Node { path, value: Bytes::from(value), version: pair.modify_index, created: pair.create_index })
    }

    /// A prefix that ends with a slash; empty for everything.
    fn prefix(&self, dir: &str) -> String {
        let key = self.key(dir);
        if key.is_empty() { key } else { format!("{}/", key.trim_end_matches('/')) }
    }

    async fn find(&self, op: &'static str, path: &str) -> Result<Option<Node>> {
        let pairs: Option<Vec<Pair>> = self.http.read(op, &http::kv(&self.key(path), ""), &self.full(path)).await?;
        pairs.and_then(|pairs| pairs.into_iter().next()).map(|pair| self.node(pair)).transpose()
    }

    /// Keys directly under a directory; those that end with a slash have more under them.
    async fn keys(&self, op: &'static str, dir: &str) -> Result<Vec<String>> {
        let target = http::kv(&self.prefix(dir), "keys=true&separator=/");
        Ok(self.http.read(op, &target, &self.full(dir)).await?.unwrap_or_default())
    }
}

#[async_trait]
impl Conn for Connection {
    fn endpoint(&self) -> (&str, &str, &str) {
        ("consul", self.0.http.server(), &self.0.root)
    }

    async fn get(&self, path: &str) -> Result<Node> {
        self.0.find("Get", path).await?.ok_or_else(|| Error::NoNode(self.0.full(path)))
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        let mut found = Vec::with_capacity(paths.len());
        let mut waiting = paths.iter();
        let mut reads = FuturesOrdered::new();
        loop {
            while reads.len() < PARALLEL {
                let Some(path) = waiting.next() else { break };
                reads.push_back(self.0.find("GetMany", path));
            }
            match reads.next().await {
                Some(read) => found.push(read?),
                None => return Ok(found),
            }
        }
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        let target = http::kv(&self.0.prefix(dir), "recurse=true");
        let pairs: Vec<Pair> = self.0.http.read("List", &target, &self.0.full(dir)).await?.unwrap_or_default();
        let mut nodes = pairs.into_iter().map(|pair| self.0.node(pair)).collect::<Result<Vec<_>>>()?;
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(nodes)
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        let prefix = self.0.prefix(dir);
        let keys = self.0.keys("ListDir", dir).await?;
        let names = keys.iter().filter_map(|key| key.strip_prefix(prefix.as_str())?.split('/').next());
        let mut names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        txn::write(&self.0, &writes, guard).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        lock::take(&self.0, request).await
    }

    async fn has_lease(&self, _path: &str) -> Result<bool> {
        Ok(true)
    }

    async fn probe(&self) -> Result<()> {
        self.0.keys("Probe", "").await.map(|_| ())
    }
}
