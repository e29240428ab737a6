//! Topology in etcd 3.4 and later (`etcd2` in Vitess's words).

mod lease;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Client, Compare, CompareOp, ConnectOptions, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use futures::future::try_join_all;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};
use tracing::Instrument;

use super::access::{Access, Secret, Tls};
use super::conn::{Conn, Expect, Node, Write};
use super::error::NOT_ALLOWED;
use super::{Error, Lock, LockRequest, Result, paths};
use crate::error::with_cause;
use crate::{deadline, failpoint};

/// etcd refuses more operations in one transaction than its `--max-txn-ops`, 128 unless set.
const BATCH: usize = 100;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(6);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);
/// A listing may be larger than tonic's 4 MiB.
const MAX_MESSAGE: usize = 512 << 20;

/// A connection to the etcd servers of one topology.
pub(crate) struct Etcd {
    client: Client,
    server: String,
    root: String,
    /// Name and password, and whether they have been shown: the library itself renews the token that they gave.
    user: Option<(String, Secret)>,
    signed_in: OnceCell<()>,
}

impl Etcd {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// `server` is a comma-separated list of `host:port`.
    pub(crate) async fn open(server: &str, root: &str, access: Access) -> Result<Self> {
        let scheme = if access.tls.is_some() { "https" } else { "http" };
        let unreachable =
            |detail: String| Error::Unreachable { kind: "etcd2".into(), server: server.to_owned(), detail };
        let mut endpoints = Vec::new();
        for address in server.split(',').map(str::trim).filter(|a| !a.is_empty()) {
            let uri = if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") };
            let endpoint =
                Endpoint::from_shared(uri).map_err(|e| unreachable(format!("bad address {address}: {e}")))?;
            let endpoint =
                endpoint.tcp_nodelay(true).http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
            endpoints.push(endpoint);
        }
        let channel = channel(endpoints, access.tls).ok_or_else(|| unreachable("no address is given".into()))?;
        let options = ConnectOptions::new().with_auto_token_refresh(access.user.is_some());
        let client = Client::from_channel(etcd_client::Channel::Tonic(channel), Some(options))
            .await
            .map_err(|e| unreachable(with_cause(&e.to_string(), &e)))?;
        let (server, root) = (server.to_owned(), root.to_owned());
        Ok(Self { client, server, root, user: access.user, signed_in: OnceCell::new() })
    }

    fn key(&self, path: &str) -> String {
        paths::join(&self.root, path)
    }

    /// Runs one etcd call under the caller's deadline and in a span.
    async fn run<T>(
        &self,
        op: &'static str,
        key: &str,
        call: impl Future<Output = std::result::Result<T, etcd_client::Error>>,
    ) -> Result<T> {
        let span =
            tracing::info_span!("topo", vitess.topo.op = op, vitess.topo.path = key, server.address = %self.server);
        let call = async {
            self.sign_in().await?;
            call.await
        };
        match tokio::time::timeout(deadline::remaining(OPERATION_TIMEOUT), call.instrument(span)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.convert(&error, key)),
            Err(_) => Err(Error::Timeout(key.to_owned())),
        }
    }

    /// Shows name and password before the first call, when there are any.
    async fn sign_in(&self) -> std::result::Result<(), etcd_client::Error> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        let show = || {
            let mut client = self.client.clone();
            let user = Some((name.clone(), password.expose().to_owned()));
            async move { client.update_user(user).await }
        };
        self.signed_in.get_or_try_init(show).await.copied()
    }

    fn convert(&self, error: &etcd_client::Error, key: &str) -> Error {
        let unreachable =
            |detail: String| Error::Unreachable { kind: "etcd2".into(), server: self.server.clone(), detail };
        match error {
            // a status with a cause is not the server's: the connection broke, under whatever code
            etcd_client::Error::GRpcStatus(status) if status.source().is_some() => {
                unreachable(with_cause(status.message(), status))
            }
            etcd_client::Error::GRpcStatus(status) => match status.code() {
                tonic::Code::Unavailable | tonic::Code::Unknown => unreachable(with_cause(status.message(), status)),
                tonic::Code::DeadlineExceeded => Error::Timeout(key.to_owned()),
                tonic::Code::NotFound => Error::NoNode(key.to_owned()),
                tonic::Code::ResourceExhausted => Error::ResourceExhausted(key.to_owned()),
                tonic::Code::Cancelled => Error::Interrupted(key.to_owned()),
                _ if is_refusal(status.message()) => {
                    Error::Backend { path: key.to_owned(), detail: format!("{NOT_ALLOWED}: {}", status.message()) }
                }
                _ => Error::Backend { path: key.to_owned(), detail: status.message().to_owned() },
            },
            etcd_client::Error::TransportError(e) => unreachable(with_cause(&e.to_string(), e)),
            other => Error::Backend { path: key.to_owned(), detail: other.to_string() },
        }
    }

    async fn range(&self, op: &'static str, key: String, options: Option<GetOptions>) -> Result<Vec<KeyValue>> {
        let mut kv = self.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let mut response = match self.run(op, &key, kv.get(key.as_str(), options.clone())).await {
            // a kept connection may have broken since it was last used: a read is repeated once
            Err(Error::Unreachable { .. }) => self.run(op, &key, kv.get(key.as_str(), options)).await?,
            answered => answered?,
        };
        Ok(response.take_kvs())
    }

    fn node(&self, kv: KeyValue) -> Node {
        let version = kv.mod_revision();
        let (key, value) = kv.into_key_value();
        let key = String::from_utf8_lossy(&key).into_owned();
        let root = paths::join(&self.root, "");
        let path = key.strip_prefix(root.as_str()).unwrap_or(&key).trim_start_matches('/').to_owned();
        Node { path, value: Bytes::from(value), version }
    }

    /// One transaction. When it does not go through, the answer to the reads of its other branch says why.
    async fn write_batch(&self, writes: &[Write], guard: Option<&Lock>) -> Result<Vec<i64>> {
        let mut compares = Vec::new();
        let mut actions = Vec::new();
        let mut reads = Vec::new();
        let fences = guard.map(|lock| lock.fences.as_slice()).unwrap_or_default();
        for (key, revision) in fences {
            compares.push(Compare::create_revision(key.as_str(), CompareOp::Equal, *revision));
            reads.push(TxnOp::get(key.as_str(), Some(GetOptions::new().with_keys_only())));
        }
        for write in writes {
            let (path, expect) = write.parts();
            let key = self.key(path);
            match expect {
                Expect::Any => {}
                Expect::Absent => compares.push(Compare::version(key.as_str(), CompareOp::Equal, 0)),
                Expect::Version(v) => compares.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, v)),
            }
            reads.push(TxnOp::get(key.as_str(), Some(GetOptions::new().with_keys_only())));
            actions.push(match write {
                Write::Put { value, .. } => TxnOp::put(key, value.to_vec(), None),
                Write::Delete { .. } => TxnOp::delete(key, None),
            });
        }
        let first = writes.first().map(|w| self.key(w.parts().0)).unwrap_or_default();
        let txn = Txn::new().when(compares).and_then(actions).or_else(reads);
        let mut kv = self.client.kv_client();
        let response = failpoint::around(true, self.run("Write", &first, kv.txn(txn))).await?;
        if response.succeeded() {
            let revision = response.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
            return Ok(writes.iter().map(|w| if matches!(w, Write::Put { .. }) { revision } else { 0 }).collect());
        }
        Err(self.why_refused(&response.op_responses(), fences, writes))
    }

    fn why_refused(&self, reads: &[TxnOpResponse], fences: &[(String, i64)], writes: &[Write]) -> Error {
        let seen: Vec<Option<(i64, i64)>> = reads
            .iter()
            .map(|read| match read {
                TxnOpResponse::Get(get) => get.kvs().first().map(|kv| (kv.create_revision(), kv.mod_revision())),
                _ => None,
            })
            .collect();
        for ((key, revision), seen) in fences.iter().zip(&seen) {
            if seen.is_none_or(|(created, _)| created != *revision) {
                return Error::LockLost(key.clone());
            }
        }
        for (write, seen) in writes.iter().zip(seen.iter().skip(fences.len())) {
            let (path, expect) = write.parts();
            match (expect, seen) {
                (Expect::Absent, Some(_)) => return Error::NodeExists(self.key(path)),
                (Expect::Version(_), None) => return Error::NoNode(self.key(path)),
                (Expect::Version(v), Some((_, seen))) if v != *seen => return Error::BadVersion(self.key(path)),
                _ => {}
            }
        }
        Error::BadVersion(writes.first().map(|w| self.key(w.parts().0)).unwrap_or_default())
    }
}

#[async_trait]
impl Conn for Etcd {
    fn endpoint(&self) -> (&str, &str, &str) {
        ("etcd2", &self.server, &self.root)
    }

    async fn get(&self, path: &str) -> Result<Node> {
        let key = self.key(path);
        let kvs = self.range("Get", key.clone(), None).await?;
        kvs.into_iter().next().map(|kv| self.node(kv)).ok_or(Error::NoNode(key))
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        let batches = paths.chunks(BATCH).map(|batch| async move {
            let gets: Vec<TxnOp> = batch.iter().map(|path| TxnOp::get(self.key(path), None)).collect();
            let mut kv = self.client.kv_client().max_decoding_message_size(MAX_MESSAGE);
            let first = batch.first().map(|path| self.key(path)).unwrap_or_default();
            let response = self.run("GetMany", &first, kv.txn(Txn::new().and_then(gets))).await?;
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
        let kvs = self.range("List", key, Some(GetOptions::new().with_prefix())).await?;
        Ok(kvs.into_iter().map(|kv| self.node(kv)).collect())
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        let key = format!("{}/", self.key(dir).trim_end_matches('/'));
        let options = GetOptions::new().with_prefix().with_keys_only();
        let kvs = self.range("ListDir", key.clone(), Some(options)).await?;
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
        for batch in writes.chunks(BATCH) {
            versions.extend(self.write_batch(batch, guard).await?);
        }
        Ok(versions)
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        lease::take(self, request).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        let kvs = self.range("GetLease", self.key(path), Some(GetOptions::new().with_keys_only())).await?;
        Ok(kvs.first().is_none_or(|kv| kv.lease() != 0))
    }

    async fn probe(&self) -> Result<()> {
        let key = paths::join(&self.root, "");
        self.range("Probe", key, Some(GetOptions::new().with_keys_only().with_limit(1))).await.map(|_| ())
    }
}

/// Opens a connection as a trait object.
pub(crate) async fn open(server: &str, root: &str, access: Access) -> Result<Arc<dyn Conn>> {
    Ok(Arc::new(Etcd::open(server, root, access).await?))
}

/// What etcd 3.4 and later say of credentials that are missing or wrong, under several codes.
fn is_refusal(text: &str) -> bool {
    ["user name is empty", "authentication failed", "permission denied"].iter().any(|part| text.contains(part))
}

/// One channel to all servers; `None` without any. An address with `http://` is asked without TLS.
fn channel(endpoints: Vec<Endpoint>, tls: Option<Tls>) -> Option<Channel> {
    let first = endpoints.first()?.clone();
    let plain = endpoints.iter().any(|endpoint| endpoint.uri().scheme_str() == Some("http"));
    match tls {
        Some(tls) if !plain => {
            let servers = endpoints.iter().map(|endpoint| endpoint.uri().clone()).collect();
            let uri = format!("http://{}", first.uri().authority()?);
            let endpoint = Endpoint::from_shared(uri).ok()?.origin(first.uri().clone());
            let endpoint = endpoint.http2_keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
            Some(tls.connect_lazy_to(&endpoint, servers))
        }
        _ if endpoints.len() == 1 => Some(first.connect_timeout(CONNECT_TIMEOUT).connect_lazy()),
        _ => {
            Some(Channel::balance_list(endpoints.into_iter().map(|endpoint| endpoint.connect_timeout(CONNECT_TIMEOUT))))
        }
    }
}
