//! Topology in etcd 3.4 and later (`etcd2` in Vitess's words).

mod lease;
mod members;
mod txn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{GetOptions, GetResponse, KeyValue, Txn, TxnOp, TxnOpResponse};
use futures::future::try_join_all;

use self::members::{Member, Members};
use self::txn::Batch;
use super::access::Access;
use super::conn::{Conn, Node, Write};
use super::error::TOO_LARGE;
use super::{Error, Lock, LockRequest, Result, paths};
use crate::failpoint;

/// etcd refuses more operations in one transaction than its `--max-txn-ops`, 128 unless set.
const BATCH: usize = 100;
/// etcd refuses requests of more than its `--max-request-bytes`, 1.5 MiB unless set.
const BATCH_BYTES: usize = 1_000_000;

/// A connection to the etcd servers of one topology.
pub(crate) struct Etcd {
    members: Arc<Members>,
    root: String,
    /// The root as keys begin with it.
    base: String,
}

impl Etcd {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// `server` is a comma-separated list of `host:port`.
    pub(crate) async fn open(server: &str, root: &str, access: Access) -> Result<Self> {
        let members = Arc::new(Members::open(server, access).await?);
        Ok(Self { members, root: root.to_owned(), base: paths::join(root, "") })
    }

    fn key(&self, path: &str) -> String {
        paths::join(&self.root, path)
    }

    async fn range(&self, op: &'static str, key: &str, options: Option<GetOptions>) -> Result<Vec<KeyValue>> {
        Ok(self.read(op, key, options).await?.take_kvs())
    }

    async fn read(&self, op: &'static str, key: &str, options: Option<GetOptions>) -> Result<GetResponse> {
        let ask = |member: Arc<Member>, _| {
            let options = options.clone();
            async move { member.kv().get(key, options).await }
        };
        self.members.read(op, key, ask).await
    }

    fn node(&self, kv: KeyValue) -> Node {
        let (version, created) = (kv.mod_revision(), kv.create_revision());
        let (key, value) = kv.into_key_value();
        let key = String::from_utf8_lossy(&key);
        let path = key.strip_prefix(self.base.as_str()).unwrap_or(&key).trim_start_matches('/').to_owned();
        Node { path, value: Bytes::from(value), version, created }
    }

    /// One transaction. Refused as too large, its halves are tried: etcd's bound is a setting of the server.
    async fn write_batch(&self, writes: &[Write], guard: Option<&Lock>) -> Result<Vec<i64>> {
        let fences = guard.map(|lock| lock.fences.as_slice()).unwrap_or_default();
        let batch = Batch::new(writes, fences, |path| self.key(path));
        let first = batch.first().to_owned();
        let repeated = AtomicBool::new(false);
        let ask = |member: Arc<Member>, again| {
            repeated.fetch_or(again, Ordering::AcqRel);
            let txn = batch.txn();
            async move { member.kv().txn(txn).await }
        };
        match failpoint::around(true, self.members.ask("Write", &first, ask)).await {
            Ok(response) => batch.outcome(&response, repeated.load(Ordering::Acquire)),
            Err(Error::Backend { detail, .. }) if writes.len() > 1 && detail.contains(TOO_LARGE) => {
                let (front, back) = writes.split_at(writes.len() / 2);
                let mut versions = Box::pin(self.write_batch(front, guard)).await?;
                versions.extend(Box::pin(self.write_batch(back, guard)).await?);
                Ok(versions)
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Conn for Etcd {
    fn endpoint(&self) -> (&str, &str, &str) {
        ("etcd2", self.members.server(), &self.root)
    }

    async fn get(&self, path: &str) -> Result<Node> {
        let key = self.key(path);
        let kvs = self.range("Get", &key, None).await?;
        kvs.into_iter().next().map(|kv| self.node(kv)).ok_or(Error::NoNode(key))
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        let batches = paths.chunks(BATCH).map(|batch| async move {
            let gets: Vec<TxnOp> = batch.iter().map(|path| TxnOp::get(self.key(path), None)).collect();
            let first = batch.first().map(|path| self.key(path)).unwrap_or_default();
            let ask = |member: Arc<Member>, _| {
                let txn = Txn::new().and_then(gets.clone());
                async move { member.kv().txn(txn).await }
            };
            let response = self.members.read("GetMany", &first, ask).await?;
            let found = response.op_responses().into_iter().map(|answer| match answer {
                TxnOpResponse::Get(mut get) => get.take_kvs().into_iter().next().map(|kv| self.node(kv)),
                _ => None,
            });
            Ok::<_, Error>(found.collect::<Vec<_>>())
        });
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        let key = format!("{}/", self.key(dir).trim_end_matches('/'));
        let kvs = self.range("List", &key, Some(GetOptions::new().with_prefix())).await?;
        Ok(kvs.into_iter().map(|kv| self.node(kv)).collect())
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        let key = format!("{}/", self.key(dir).trim_end_matches('/'));
        let options = GetOptions::new().with_prefix().with_keys_only();
        let kvs = self.range("ListDir", &key, Some(options)).await?;
        let mut names: Vec<String> = Vec::new();
        for kv in kvs {
            let text = String::from_utf8_lossy(kv.key()).into_owned();
            let name = text.get(key.len()..).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        let mut versions = Vec::with_capacity(writes.len());
        for batch in txn::batches(&writes, BATCH, BATCH_BYTES) {
            versions.extend(self.write_batch(batch, guard).await?);
        }
        Ok(versions)
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        lease::take(self, request).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        let kvs = self.range("GetLease", &self.key(path), Some(GetOptions::new().with_keys_only())).await?;
        Ok(kvs.first().is_none_or(|kv| kv.lease() != 0))
    }

    async fn probe(&self) -> Result<()> {
        let key = &self.base;
        self.range("Probe", key, Some(GetOptions::new().with_keys_only().with_limit(1))).await.map(|_| ())
    }
}

/// Opens a connection as a trait object.
pub(crate) async fn open(server: &str, root: &str, access: Access) -> Result<Arc<dyn Conn>> {
    Ok(Arc::new(Etcd::open(server, root, access).await?))
}
