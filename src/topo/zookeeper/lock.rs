//! Locks in ZooKeeper: an ephemeral node with a sequence number under `<dir>/locks`; whose is the lowest holds the lock.
//!
//! Locks of one request have a session of their own, which is their lease. Numbers begin anew when the last lock of a
//! directory has gone and the directory with it, so a lock's node alone does not prove whose it is: a node named after
//! the session stands in the first directory. It sorts behind all numbers, so stock's queue does not see it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::{join_all, try_join};
use zookeeper_client::{Client, CreateMode, Error as ZkError, MultiWriteError, MultiWriteResult, SessionState};

use super::batch::{LOCK_MODE, file, make_dir, prune};
use super::{Zookeeper, paths};
use crate::topo::lock::{Lease, Lock, LockRequest};
use crate::topo::{Error, Result};
use crate::{deadline, failpoint};

const RELEASE_TIMEOUT: Duration = Duration::from_secs(15);
const TRIES: usize = 20;
/// Beginning of the name of a session's node.
const SESSION: &str = "session-";

/// Takes the locks of `request`.
///
/// One request queues for all; when somebody is ahead at one of them, the later ones are given up until that one is held,
/// so that two callers never wait for each other.
pub(super) async fn take(zk: &Zookeeper, request: LockRequest) -> Result<Lock> {
    let until = Instant::now() + deadline::remaining(request.wait);
    let (client, ()) = try_join(zk.sessions.connect(request.ttl, None), must_exist(zk, &request)).await?;
    let dirs: Vec<String> = request.dirs.iter().map(|dir| zk.key(&paths::join(&dir.dir, "locks"))).collect();
    let mut taking = Taking { zk, client, contents: request.contents(), nodes: Vec::new() };
    match taking.all(&dirs, until).await {
        Ok(()) => {
            let Taking { client, nodes, .. } = taking;
            let fences = nodes.iter().map(|node| (node.clone(), 0)).collect();
            let kept = zk.sessions.client().await?;
            let ttl = client.session_timeout();
            let lease = ZkLease { client, kept, nodes, dirs, root: zk.key(""), ttl };
            Ok(Lock { fences, lease: Box::new(lease) })
        }
        Err(error) => {
            taking.give_up(0).await;
            prune_all(&taking.client, &dirs, &zk.key("")).await;
            Err(error)
        }
    }
}

async fn must_exist(zk: &Zookeeper, request: &LockRequest) -> Result<()> {
    let checks = request.dirs.iter().filter(|dir| dir.must_exist).map(|dir| async move {
        let key = zk.key(&dir.dir);
        match zk.read("Exists", &key, |client| client.check_stat(&key)).await? {
            Some(stat) if stat.num_children > 0 => Ok(()),
            _ => Err(Error::NoNode(format!("{key}/"))),
        }
    });
    join_all(checks.collect::<Vec<_>>()).await.into_iter().collect()
}

/// Locks in the making. The first node is the session's, the others are those of the directories in order.
struct Taking<'a> {
    zk: &'a Zookeeper,
    client: Client,
    contents: Vec<u8>,
    nodes: Vec<String>,
}

impl Taking<'_> {
    async fn all(&mut self, dirs: &[String], until: Instant) -> Result<()> {
        self.queue(dirs).await?;
        let queues: Vec<_> = self.nodes.iter().skip(1).map(|node| self.ahead(node)).collect();
        let mut held = 0;
        for ahead in join_all(queues).await {
            match ahead? {
                None => held += 1,
                Some(_) => break,
            }
        }
        if held == dirs.len() {
            return Ok(());
        }
        self.give_up(held + 2).await;
        for at in held..dirs.len() {
            if at > held {
                self.queue(dirs.get(at..=at).unwrap_or_default()).await?;
            }
            let Some(node) = self.nodes.get(at + 1) else { continue };
            let left = until.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.wait_turn(node)).await {
                Ok(done) => done?,
                Err(_) => return Err(Error::Timeout(node.clone())),
            }
        }
        Ok(())
    }

    /// Adds a node to each queue, all or none; the very first time also the session's node.
    async fn queue(&mut self, dirs: &[String]) -> Result<()> {
        let first = dirs.first().cloned().unwrap_or_default();
        for _ in 0..TRIES {
            let mut request = self.client.new_multi_writer();
            let convert = |error: ZkError| self.zk.convert(&first, error);
            if self.nodes.is_empty() {
                let name = format!("{first}/{SESSION}{:016x}", self.client.session_id().0);
                request.add_create(&name, b"", &file(CreateMode::Ephemeral)).map_err(convert)?;
            }
            for dir in dirs {
                request.add_create(&format!("{dir}/"), &self.contents, &file(LOCK_MODE)).map_err(convert)?;
            }
            let commit = request.commit();
            let commit = async { Ok::<_, ZkError>(commit.await) };
            let answer = failpoint::around(true, self.zk.sessions.run("Lock", &first, &self.client, commit)).await;
            match answer.map_err(convert)? {
                Ok(results) => {
                    self.nodes.extend(results.into_iter().filter_map(|result| match result {
                        MultiWriteResult::Create { path, .. } => Some(path),
                        _ => None,
                    }));
                    return Ok(());
                }
                Err(MultiWriteError::OperationFailed { source: ZkError::NoNode, .. }) => {
                    let made: Vec<_> = dirs.iter().map(|dir| make_dir(self.zk, dir)).collect();
                    join_all(made).await.into_iter().collect::<Result<()>>()?;
                }
                Err(error) => return Err(convert(error.into())),
            }
        }
        Err(Error::Backend { path: first, detail: "others keep removing it".into() })
    }

    /// The node just ahead of ours, if there is one.
    async fn ahead(&self, node: &str) -> Result<Option<String>> {
        let lost = || Error::LockLost(node.to_owned());
        let (dir, name) = node.rsplit_once('/').ok_or_else(lost)?;
        let call = self.client.get_children(dir);
        let names = self.zk.sessions.run("LockWait", dir, &self.client, call).await;
        let (names, _) = names.map_err(|error| self.zk.convert(dir, error))?;
        if !names.iter().any(|other| other == name) {
            return Err(lost());
        }
        let ahead = names.iter().filter(|other| other.as_str() < name && !other.starts_with(SESSION)).max();
        Ok(ahead.map(|other| format!("{dir}/{other}")))
    }

    async fn wait_turn(&self, node: &str) -> Result<()> {
        while let Some(ahead) = self.ahead(node).await? {
            let call = self.client.check_and_watch_stat(&ahead);
            let watched = self.zk.sessions.run("LockWait", &ahead, &self.client, call).await;
            let (stat, watcher) = watched.map_err(|error| self.zk.convert(&ahead, error))?;
            if stat.is_some() {
                watcher.changed().await;
            }
        }
        Ok(())
    }

    /// Removes our nodes from `from` on.
    async fn give_up(&mut self, from: usize) {
        let gone = self.nodes.split_off(from.min(self.nodes.len()));
        let removed: Vec<_> = gone.iter().map(|node| self.client.delete(node, None)).collect();
        tokio::time::timeout(RELEASE_TIMEOUT, join_all(removed)).await.ok();
    }
}

/// A session whose nodes are the locks.
struct ZkLease {
    client: Client,
    /// The connection's own session, for what is done after this one has ended.
    kept: Client,
    nodes: Vec<String>,
    dirs: Vec<String>,
    root: String,
    ttl: Duration,
}

impl ZkLease {
    fn lost(&self) -> Error {
        Error::LockLost(self.nodes.get(1).cloned().unwrap_or_default())
    }
}

#[async_trait]
impl Lease for ZkLease {
    async fn check(&self) -> Result<()> {
        match self.client.state() {
            // the client hears from the server at least each 2/5 of the session's timeout
            SessionState::SyncConnected => return Ok(()),
            SessionState::Disconnected => {}
            _ => return Err(self.lost()),
        }
        let node = self.nodes.first().map(String::as_str).unwrap_or_default();
        match tokio::time::timeout(self.ttl, self.client.check_stat(node)).await {
            Ok(Ok(Some(_))) => Ok(()),
            _ => Err(self.lost()),
        }
    }

    async fn release(&self) -> Result<()> {
        let mut request = self.client.new_multi_writer();
        for node in &self.nodes {
            request.add_delete(node, None).map_err(|_| self.lost())?;
        }
        let commit = tokio::time::timeout(RELEASE_TIMEOUT, request.commit());
        let answer = failpoint::around(true, commit).await;
        prune_all(&self.kept, &self.dirs, &self.root).await;
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(MultiWriteError::OperationFailed { .. })) => Err(self.lost()),
            Ok(Err(MultiWriteError::RequestFailed { source: ZkError::SessionExpired })) => Err(self.lost()),
            Ok(Err(error)) => {
                let path = self.nodes.get(1).cloned().unwrap_or_default();
                Err(Error::Backend { path, detail: format!("cannot remove the lock: {error}") })
            }
            Err(_) => Err(Error::Timeout(self.nodes.get(1).cloned().unwrap_or_default())),
        }
    }
}

/// Removes the directories of locks and those above them, as far as they are empty.
async fn prune_all(client: &Client, dirs: &[String], root: &str) {
    let pruned: Vec<_> = dirs.iter().map(|dir| prune(client, dir, root.to_owned())).collect();
    tokio::time::timeout(RELEASE_TIMEOUT, join_all(pruned)).await.ok();
}
