//! Locks in etcd: a key under a lease; whoever has the oldest key of a directory holds its lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use etcd_client::{
    Compare, CompareOp, EventType, GetOptions, PutOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse, WatchOptions,
};
use opentelemetry::KeyValue;
use tokio_util::task::AbortOnDropHandle;

use super::super::keep_alive::KeepAlive;
use super::super::lock::{Lease, Lock, LockRequest};
use super::super::{Error, Result};
use super::Etcd;
use super::members::{Member, Members};
use crate::failpoint;
use crate::telemetry::traces;

/// A watch is asked anew so often: a member that is cut off tells nothing, and does not say so.
const WATCH: Duration = Duration::from_secs(5);

/// Takes the locks of `request`.
///
/// When nobody holds or waits for any of them, one transaction takes all. Else they are queued for one after the other,
/// each as soon as the one before is held, so that two callers never wait for each other.
pub(super) async fn take(etcd: &Etcd, request: LockRequest) -> Result<Lock> {
    let first = request.dirs.first().map(|d| etcd.key(&d.dir)).unwrap_or_default();
    let waiting_for = format!("{first}/locks");
    let ttl = i64::try_from(request.ttl.as_secs().max(1)).unwrap_or(30);
    // a lease of a try whose answer was lost holds nothing and ends by itself
    let grant = |member: Arc<Member>, _| async move { member.leases().grant(ttl, None).await };
    let keep_alive = KeepAlive::new(request.ttl);
    let granted = failpoint::around(true, etcd.members.ask("LeaseGrant", &waiting_for, grant)).await?;
    let lease = EtcdLease::start(Arc::clone(&etcd.members), granted.id(), keep_alive, waiting_for);
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
    let txn = Txn::new().when(compares).and_then(puts).or_else(reads);
    // when an earlier try was carried out, our own keys are in the way: they are found one after the other then
    let put = |member: Arc<Member>, _| {
        let txn = txn.clone();
        async move { member.kv().txn(txn).await }
    };
    let response = failpoint::around(true, etcd.members.ask("Lock", &first, put)).await?;
    for (dir, answer) in request.dirs.iter().zip(response.op_responses()) {
        let empty = matches!(answer, etcd_client::TxnOpResponse::Get(get) if get.kvs().is_empty());
        if dir.must_exist && empty {
            return Err(Error::NoNode(format!("{}/", etcd.key(&dir.dir))));
        }
    }
    if !response.succeeded() {
        return Ok(None);
    }
    let revision = response.header().map(ResponseHeader::revision).unwrap_or_default();
    Ok(Some(keys.into_iter().map(|key| (key, revision)).collect()))
}

/// One lock after the other, waiting in each queue.
async fn take_in_turn(etcd: &Etcd, request: &LockRequest, lease: i64) -> Result<Vec<(String, i64)>> {
    let until = Instant::now() + crate::deadline::remaining(request.wait);
    let mut fences = Vec::new();
    for dir in &request.dirs {
        let locks = format!("{}/locks", etcd.key(&dir.dir));
        let key = format!("{locks}/{lease}");
        let revision = enter(etcd, &key, request.contents(), lease).await?;
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, wait_turn(etcd, &locks, revision)).await {
            Ok(done) => done?,
            Err(_) => return Err(Error::Timeout(locks)),
        }
        fences.push((key, revision));
    }
    Ok(fences)
}

/// Puts a lock's key, unless it is there already; answers its revision.
async fn enter(etcd: &Etcd, key: &str, contents: Vec<u8>, lease: i64) -> Result<i64> {
    let put = TxnOp::put(key, contents, Some(PutOptions::new().with_lease(lease)));
    let read = TxnOp::get(key, Some(GetOptions::new().with_keys_only()));
    let txn = Txn::new().when([Compare::version(key, CompareOp::Equal, 0)]).and_then([put]).or_else([read]);
    let put = |member: Arc<Member>, _| {
        let txn = txn.clone();
        async move { member.kv().txn(txn).await }
    };
    let response = failpoint::around(true, etcd.members.ask("Lock", key, put)).await?;
    let there = response.op_responses().into_iter().find_map(|answer| match answer {
        TxnOpResponse::Get(get) => get.kvs().first().map(etcd_client::KeyValue::create_revision),
        _ => None,
    });
    let written = response.header().map(ResponseHeader::revision);
    Ok(there.or(written).unwrap_or_default())
}

/// Returns when no key of `locks` is older than `revision`, which must be that of a key still.
async fn wait_turn(etcd: &Etcd, locks: &str, revision: i64) -> Result<()> {
    loop {
        let options = GetOptions::new().with_prefix().with_keys_only();
        let found = etcd.read("LockWait", &format!("{locks}/"), Some(options)).await?;
        let holders = found.kvs();
        if !holders.iter().any(|kv| kv.create_revision() == revision) {
            return Err(Error::LockLost(locks.to_owned()));
        }
        let before = holders.iter().filter(|kv| kv.mod_revision() < revision).max_by_key(|kv| kv.mod_revision());
        let Some(before) = before else { return Ok(()) };
        let (at, mut watches) = etcd.members.current();
        // what came before the list may be compacted, and cannot be watched then
        let next = found.header().map(ResponseHeader::revision).unwrap_or_default() + 1;
        let gone = async {
            let options = WatchOptions::new().with_start_revision(next);
            let mut events = watches.watch(before.key(), Some(options)).await?;
            while let Some(response) = events.message().await? {
                if response.canceled() || response.events().iter().any(|e| e.event_type() == EventType::Delete) {
                    break;
                }
            }
            Ok::<_, etcd_client::Error>(())
        };
        if let Ok(Err(_)) = tokio::time::timeout(WATCH, gone).await {
            etcd.members.leave(at);
        }
    }
}

/// A lease that is kept alive by a task of its own, which ends with it.
struct EtcdLease {
    members: Arc<Members>,
    id: i64,
    path: String,
    keep_alive: Arc<KeepAlive>,
    keeper: AbortOnDropHandle<()>,
}

impl EtcdLease {
    fn start(members: Arc<Members>, id: i64, keep_alive: KeepAlive, path: String) -> Self {
        let keep_alive = Arc::new(keep_alive);
        let (kept, asked) = (Arc::clone(&keep_alive), Arc::clone(&members));
        let keeper = tokio::spawn(async move { kept.keep(|| renew(&asked, id, "")).await });
        Self { members, id, path, keep_alive, keeper: AbortOnDropHandle::new(keeper) }
    }

    /// What traces tell of an operation.
    fn told(&self, name: &'static str, operation: &'static str) -> traces::Child {
        let about =
            || vec![KeyValue::new("vitess.topo.op", operation), KeyValue::new("vitess.topo.path", self.path.clone())];
        traces::child(name, about)
    }
}

#[async_trait]
impl Lease for EtcdLease {
    async fn check(&self) -> Result<()> {
        let ask = || async move {
            let _told = self.told("topo CheckLease", "LeaseCheck");
            renew(&self.members, self.id, &self.path).await
        };
        if self.keep_alive.check(ask).await { Ok(()) } else { Err(Error::LockLost(self.path.clone())) }
    }

    async fn release(&self) -> Result<()> {
        self.keeper.abort();
        let _told = self.told("topo Unlock", "LeaseRevoke");
        let id = self.id;
        // gone after a try whose answer was lost: that try did it
        let revoke = |member: Arc<Member>, again| async move {
            match member.leases().revoke(id).await {
                Err(etcd_client::Error::GRpcStatus(status)) if again && status.code() == tonic::Code::NotFound => {
                    Ok(())
                }
                answer => answer.map(drop),
            }
        };
        let revoked = self.members.ask("LeaseRevoke", &self.path, revoke);
        match failpoint::around(true, revoked).await {
            Err(Error::NoNode(path)) => Err(Error::LockLost(path)),
            Err(Error::Backend { path, detail }) => {
                Err(Error::Backend { path, detail: format!("cannot revoke the lease: {detail}") })
            }
            answer => answer,
        }
    }
}

/// Asks for the lease to live on; false when it is gone.
async fn renew(members: &Members, id: i64, path: &str) -> Result<bool> {
    let once = |member: Arc<Member>, _| async move {
        // the library reads the first answer itself
        match member.leases().keep_alive(id).await {
            Ok(_) => Ok(true),
            Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
            // the stream ended before an answer
            Err(etcd_client::Error::WatchError(text)) => {
                Err(etcd_client::Error::GRpcStatus(tonic::Status::unavailable(text)))
            }
            Err(error) => Err(error),
        }
    };
    members.ask("LeaseKeepAlive", path, once).await
}
