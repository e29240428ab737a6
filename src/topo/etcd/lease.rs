//! Locks in etcd: a key under a lease; whoever has the oldest key of a directory holds its lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use etcd_client::{Client, Compare, CompareOp, EventType, GetOptions, PutOptions, Txn, TxnOp, WatchOptions};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::super::lock::{Lease, Lock, LockRequest};
use super::super::{Error, Result};
use super::Etcd;
use crate::failpoint;
use crate::telemetry::traces;

const RELEASE_TIMEOUT: Duration = Duration::from_secs(15);

/// Takes the locks of `request`.
///
/// When nobody holds or waits for any of them, one transaction takes all. Else they are queued for one after the other,
/// each as soon as the one before is held, so that two callers never wait for each other.
pub(super) async fn take(etcd: &Etcd, request: LockRequest) -> Result<Lock> {
    let first = request.dirs.first().map(|d| etcd.key(&d.dir)).unwrap_or_default();
    let waiting_for = format!("{first}/locks");
    let mut leases = etcd.client.lease_client();
    let ttl = i64::try_from(request.ttl.as_secs().max(1)).unwrap_or(30);
    let grant = etcd.run("LeaseGrant", &waiting_for, leases.grant(ttl, None));
    let granted = failpoint::around(true, grant).await?;
    let lease = EtcdLease::start(etcd.client.clone(), granted.id(), request.ttl, waiting_for);
    let taken = match take_all(etcd, &request, granted.id()).await {
        Ok(Some(fences)) => Ok(fences),
        Ok(None) => take_in_turn(etcd, &request, granted.id()).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(fences) => Ok(Lock { fences, lease: Box::new(lease) }),
        Err(error) => {
            lease.release().await.ok();
            Err(error)
        }
    }
}

/// One transaction for all locks; `None` when somebody else is there.
async fn take_all(etcd: &Etcd, request: &LockRequest, lease: i64) -> Result<Option<Vec<(String, i64)>>> {
    let mut compares = Vec::new();
    let mut puts = Vec::new();
    let mut reads = Vec::new();
    let mut keys = Vec::new();
    for dir in &request.dirs {
        let base = etcd.key(&dir.dir);
        let prefix = format!("{base}/locks/");
        compares.push(Compare::create_revision(prefix.as_str(), CompareOp::Equal, 0).with_prefix());
        let key = format!("{prefix}{lease}");
        puts.push(TxnOp::put(key.as_str(), request.contents(), Some(PutOptions::new().with_lease(lease))));
        let record = GetOptions::new().with_prefix().with_keys_only().with_limit(1);
        let looked = TxnOp::get(format!("{base}/"), Some(record));
        // the directory is read before the key is put into it
        puts.insert(reads.len(), looked.clone());
        reads.push(looked);
        keys.push(key);
    }
    let first = keys.first().cloned().unwrap_or_default();
    let mut kv = etcd.client.kv_client();
    let txn = Txn::new().when(compares).and_then(puts).or_else(reads);
    let response = failpoint::around(true, etcd.run("Lock", &first, kv.txn(txn))).await?;
    for (dir, answer) in request.dirs.iter().zip(response.op_responses()) {
        let empty = matches!(answer, etcd_client::TxnOpResponse::Get(get) if get.kvs().is_empty());
        if dir.must_exist && empty {
            return Err(Error::NoNode(format!("{}/", etcd.key(&dir.dir))));
        }
    }
    if !response.succeeded() {
        return Ok(None);
    }
    let revision = response.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
    Ok(Some(keys.into_iter().map(|key| (key, revision)).collect()))
}

/// One lock after the other, waiting in each queue.
async fn take_in_turn(etcd: &Etcd, request: &LockRequest, lease: i64) -> Result<Vec<(String, i64)>> {
    let until = Instant::now() + crate::deadline::remaining(request.wait);
    let mut fences = Vec::new();
    for dir in &request.dirs {
        let locks = format!("{}/locks", etcd.key(&dir.dir));
        let key = format!("{locks}/{lease}");
        let mut kv = etcd.client.kv_client();
        let put = kv.put(key.as_str(), request.contents(), Some(PutOptions::new().with_lease(lease)));
        let response = failpoint::around(true, etcd.run("Lock", &key, put)).await?;
        let revision = response.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, wait_turn(etcd, &locks, revision)).await {
            Ok(done) => done?,
            Err(_) => return Err(Error::Timeout(locks)),
        }
        fences.push((key, revision));
    }
    Ok(fences)
}

/// Returns when no key of `locks` is older than `revision`.
async fn wait_turn(etcd: &Etcd, locks: &str, revision: i64) -> Result<()> {
    loop {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let holders = etcd.range("LockWait", format!("{locks}/"), Some(options)).await?;
        let before = holders.iter().filter(|kv| kv.mod_revision() < revision).max_by_key(|kv| kv.mod_revision());
        let Some(before) = before else { return Ok(()) };
        let mut watches = etcd.client.watch_client();
        let options = WatchOptions::new().with_start_revision(revision);
        let mut events = watches.watch(before.key(), Some(options)).await.map_err(|e| etcd.convert(&e, locks))?;
        while let Ok(Some(response)) = events.message().await {
            if response.canceled() || response.events().iter().any(|e| e.event_type() == EventType::Delete) {
                break;
            }
        }
    }
}

/// A lease that is kept alive by a task of its own, which ends with it.
struct EtcdLease {
    client: Client,
    id: i64,
    path: String,
    ttl: Duration,
    started: Instant,
    /// Milliseconds after `started` of the newest proof of life.
    seen: Arc<AtomicU64>,
    keeper: JoinHandle<()>,
}

impl EtcdLease {
    fn start(client: Client, id: i64, ttl: Duration, path: String) -> Self {
        let started = Instant::now();
        let seen = Arc::new(AtomicU64::new(0));
        let keeper = tokio::spawn(keep_alive(client.clone(), id, ttl, started, Arc::clone(&seen)));
        Self { client, id, path, ttl, started, seen, keeper }
    }

    fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.seen.load(Ordering::Acquire)))
    }
}

impl Drop for EtcdLease {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[async_trait]
impl Lease for EtcdLease {
    async fn check(&self) -> Result<()> {
        if self.age() < self.ttl / 2 {
            return Ok(());
        }
        let asked = self.started.elapsed();
        let mut leases = self.client.lease_client();
        let once = async {
            let (mut keeper, mut answers) = leases.keep_alive(self.id).await?;
            keeper.keep_alive().await?;
            answers.message().await
        };
        let span = tracing::info_span!(
            traces::TOPO,
            otel.name = "topo CheckLease",
            otel.kind = "client",
            vitess.topo.op = "LeaseCheck",
            vitess.topo.path = self.path
        );
        match tokio::time::timeout(self.ttl, once.instrument(span)).await {
            Ok(Ok(Some(answer))) if answer.ttl() > 0 => {
                self.seen.store(millis(asked), Ordering::Release);
                Ok(())
            }
            _ => Err(Error::LockLost(self.path.clone())),
        }
    }

    async fn release(&self) -> Result<()> {
        self.keeper.abort();
        let mut leases = self.client.lease_client();
        let span = tracing::info_span!(
            traces::TOPO,
            otel.name = "topo Unlock",
            otel.kind = "client",
            vitess.topo.op = "LeaseRevoke",
            vitess.topo.path = self.path
        );
        let revoke = tokio::time::timeout(RELEASE_TIMEOUT, leases.revoke(self.id).instrument(span));
        match failpoint::around(true, revoke).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(etcd_client::Error::GRpcStatus(status))) if status.code() == tonic::Code::NotFound => {
                Err(Error::LockLost(self.path.clone()))
            }
            Ok(Err(error)) => {
                Err(Error::Backend { path: self.path.clone(), detail: format!("cannot revoke the lease: {error}") })
            }
            Err(_) => Err(Error::Timeout(self.path.clone())),
        }
    }
}

/// Renews the lease three times in its lifetime; a broken stream is opened anew until the lease is gone.
async fn keep_alive(client: Client, id: i64, ttl: Duration, started: Instant, seen: Arc<AtomicU64>) {
    let mut pause = tokio::time::interval(ttl / 3);
    pause.tick().await;
    loop {
        pause.tick().await;
        let Ok((mut keeper, mut answers)) = client.lease_client().keep_alive(id).await else { continue };
        loop {
            let asked = started.elapsed();
            if keeper.keep_alive().await.is_err() {
                break;
            }
            match answers.message().await {
                Ok(Some(answer)) if answer.ttl() > 0 => seen.store(millis(asked), Ordering::Release),
                Ok(Some(_)) => return,
                _ => break,
            }
            pause.tick().await;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
