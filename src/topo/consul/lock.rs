//! Locks in Consul: the key `<dir>/Lock`, held by a session; stock's flags, name and value.
//!
//! Sessions are short and renewed, for named locks too (stock: 24 hours). When one ends with its program, Consul removes
//! its keys and bars them for the lock delay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::StatusCode;
use async_trait::async_trait;
use futures::future::{join_all, try_join};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use super::Consul;
use super::http::Call;
use super::txn::{Operation, Outcome, commit, holder, remove_locks};
use crate::topo::keep_alive::KeepAlive;
use crate::topo::lock::{Lease, Lock, LockRequest};
use crate::topo::{Error, Result, paths};
use crate::{deadline, failpoint};

/// Marks a key as a lock's (`LockFlagValue` of Consul's Go client); with any other, stock says that the key is no lock.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
/// Name of a lock's session (`DefaultLockSessionName`).
const NAME: &str = "Consul API Lock";
/// Consul refuses shorter lifetimes unless its `session_ttl_min` is set.
const MIN_TTL: Duration = Duration::from_secs(10);
const MAX_TTL: Duration = Duration::from_secs(30);
/// Pause between tries at a key that the lock delay bars.
const BARRED: Duration = Duration::from_secs(1);

/// Takes the locks of `request`.
///
/// One transaction takes all when nobody holds any of them. Else they are taken one after the other, each as soon as the
/// one before is held, so that two callers never wait for each other.
pub(super) async fn take(consul: &Arc<Consul>, request: LockRequest) -> Result<Lock> {
    let until = Instant::now() + deadline::remaining(request.wait);
    let ttl = match consul.options.lock_session_ttl {
        Some(ttl) => ttl.min(MAX_TTL),
        None => request.ttl.clamp(MIN_TTL, MAX_TTL),
    };
    let locks: Vec<(String, i64)> = request.dirs.iter().map(|dir| (paths::join(&dir.dir, "Lock"), 0)).collect();
    let first = locks.first().map(|(path, _)| consul.full(path)).unwrap_or_default();
    let start = async {
        let keep_alive = KeepAlive::new(ttl);
        let id = create_session(consul, ttl, &first).await?;
        Ok(ConsulLease::start(Arc::clone(consul), id, keep_alive, locks.clone()))
    };
    let (lease, ()) = try_join(start, must_exist(consul, &request)).await?;
    let mut taking = Taking { consul, lease: &lease, contents: request.contents(), held: 0 };
    match taking.all(&locks, until).await {
        Ok(()) => Ok(Lock { fences: locks, lease: Box::new(lease) }),
        Err(error) => {
            let held = locks.get(..taking.held).unwrap_or_default();
            if !held.is_empty() {
                remove_locks(consul, held, &lease.session).await.ok();
            }
            lease.end().await.ok();
            Err(error)
        }
    }
}

async fn must_exist(consul: &Consul, request: &LockRequest) -> Result<()> {
    let checks = request.dirs.iter().filter(|dir| dir.must_exist).map(|dir| async move {
        if consul.keys("Exists", &dir.dir).await?.is_empty() {
            return Err(Error::NoNode(format!("{}/", consul.full(&dir.dir))));
        }
        Ok(())
    });
    join_all(checks.collect::<Vec<_>>()).await.into_iter().collect()
}

async fn create_session(consul: &Consul, ttl: Duration, path: &str) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Body<'a> {
        name: &'a str,
        #[serde(rename = "TTL")]
        ttl: String,
        lock_delay: String,
        /// Its keys go with it; stock's stay, without a session.
        behavior: &'a str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        checks: &'a [String],
    }
    #[derive(Deserialize)]
    struct Created {
        #[serde(rename = "ID")]
        id: String,
    }
    let millis = |duration: Duration| format!("{}ms", duration.as_millis());
    let body = Body {
        name: NAME,
        ttl: millis(ttl),
        lock_delay: millis(consul.options.lock_delay),
        behavior: "delete",
        checks: &consul.options.lock_session_checks,
    };
    let bad = |e: serde_json::Error| Error::Backend { path: path.to_owned(), detail: e.to_string() };
    let body = serde_json::to_vec(&body).map_err(bad)?;
    // a session of a try whose answer was lost holds nothing and ends by itself
    let send = consul.http.send(Call::put("SessionCreate", "/v1/session/create", body, true));
    let answer = consul.http.good(failpoint::around(true, send).await?, path)?;
    Ok(consul.http.json::<Created>(&answer.body, path)?.id)
}

/// Locks in the making: the first `held` of them are ours.
struct Taking<'a> {
    consul: &'a Consul,
    lease: &'a ConsulLease,
    contents: Vec<u8>,
    held: usize,
}

impl Taking<'_> {
    async fn all(&mut self, locks: &[(String, i64)], until: Instant) -> Result<()> {
        if self.acquire(locks).await? {
            return Ok(());
        }
        for lock in locks.chunks(1) {
            let path = lock.first().map(|(path, _)| path.as_str()).unwrap_or_default();
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.wait_turn(lock, path)).await {
                Ok(done) => done?,
                Err(_) => return Err(Error::Timeout(self.consul.full(path))),
            }
        }
        Ok(())
    }

    /// Takes locks, all or none; false when somebody holds one of them or it is barred.
    async fn acquire(&mut self, locks: &[(String, i64)]) -> Result<bool> {
        let operation = |path: &String| {
            let mut operation =
                Operation::new("lock", self.consul.key(path)).value(&self.contents).session(&self.lease.session);
            operation.flags = FLAGS;
            operation
        };
        let operations: Vec<Operation> = locks.iter().map(|(path, _)| operation(path)).collect();
        let first = locks.first().map(|(path, _)| self.consul.full(path)).unwrap_or_default();
        let taken = matches!(commit(self.consul, ("Lock", true), &operations, &first).await?, Outcome::Done(_));
        self.held += if taken { locks.len() } else { 0 };
        Ok(taken)
    }

    async fn wait_turn(&mut self, lock: &[(String, i64)], path: &str) -> Result<()> {
        while !self.acquire(lock).await? {
            let (mut session, mut index) = holder(self.consul, path, None).await?;
            if session.is_empty() {
                // nobody holds it: it is barred, or nothing can be locked with our session any more
                if !self.lease.keep_alive.prove(|| self.lease.renew()).await {
                    return Err(Error::LockLost(self.consul.full(path)));
                }
                tokio::time::sleep(BARRED).await;
            }
            while !session.is_empty() {
                (session, index) = holder(self.consul, path, Some((index, self.consul.options.poll))).await?;
            }
        }
        Ok(())
    }
}

/// A session that is renewed by a task of its own, which ends with it.
struct ConsulLease {
    consul: Arc<Consul>,
    session: String,
    locks: Vec<(String, i64)>,
    keep_alive: Arc<KeepAlive>,
    keeper: AbortOnDropHandle<()>,
}

impl ConsulLease {
    fn start(consul: Arc<Consul>, session: String, keep_alive: KeepAlive, locks: Vec<(String, i64)>) -> Self {
        let keep_alive = Arc::new(keep_alive);
        let (kept, asked, name) = (Arc::clone(&keep_alive), Arc::clone(&consul), session.clone());
        let keeper = tokio::spawn(async move { kept.keep(|| renew(&asked, &name)).await });
        Self { consul, session, locks, keep_alive, keeper: AbortOnDropHandle::new(keeper) }
    }

    async fn renew(&self) -> Result<bool> {
        renew(&self.consul, &self.session).await
    }

    fn path(&self) -> String {
        self.locks.first().map(|(path, _)| self.consul.full(path)).unwrap_or_default()
    }

    /// Ends the session.
    async fn end(&self) -> Result<()> {
        self.keeper.abort();
        let target = format!("/v1/session/destroy/{}", self.session);
        let send = self.consul.http.send(Call::put("SessionDestroy", &target, Vec::new(), true));
        self.consul.http.good(failpoint::around(true, send).await?, &self.path()).map(|_| ())
    }
}

#[async_trait]
impl Lease for ConsulLease {
    fn name(&self) -> &str {
        &self.session
    }

    async fn check(&self) -> Result<()> {
        if self.keep_alive.check(|| self.renew()).await { Ok(()) } else { Err(Error::LockLost(self.path())) }
    }

    async fn release(&self) -> Result<()> {
        self.keeper.abort();
        // a session that ends while it holds keys leaves them barred for the lock delay
        let held = remove_locks(&self.consul, &self.locks, &self.session).await;
        let ended = self.end().await;
        match held {
            Ok(true) => ended,
            Ok(false) => Err(Error::LockLost(self.path())),
            Err(error) => Err(error),
        }
    }
}

/// Renews a session; false when there is none.
async fn renew(consul: &Consul, session: &str) -> Result<bool> {
    let target = format!("/v1/session/renew/{session}");
    let answer = consul.http.send(Call::put("SessionRenew", &target, Vec::new(), true)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(false);
    }
    consul.http.good(answer, session).map(|_| true)
}
