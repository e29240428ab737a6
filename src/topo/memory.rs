//! Topology in the memory of this process: for trying out, and the second backend of the conformance suite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::conn::{Conn, Expect, Node, Write};
use super::lock::{Lease, Lock, LockRequest};
use super::{Error, Result, paths};

/// All records of one memory server, shared by every connection to it.
#[derive(Default)]
pub(crate) struct Store {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    records: BTreeMap<String, Record>,
    revision: i64,
}

struct Record {
    value: Bytes,
    created: i64,
    modified: i64,
}

/// A connection to a memory server.
pub(crate) struct Memory {
    store: Arc<Store>,
    server: String,
    root: String,
}

impl Memory {
    pub(crate) fn new(store: Arc<Store>, server: &str, root: &str) -> Self {
        Self { store, server: server.to_owned(), root: root.to_owned() }
    }

    fn key(&self, path: &str) -> String {
        paths::join(&self.root, path)
    }

    fn node(&self, key: &str, record: &Record) -> Node {
        let root = paths::join(&self.root, "");
        let path = key.strip_prefix(root.as_str()).unwrap_or(key).trim_start_matches('/').to_owned();
        Node { path, value: record.value.clone(), version: record.modified, created: record.created }
    }

    fn under(&self, dir: &str) -> String {
        format!("{}/", self.key(dir).trim_end_matches('/'))
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, key: String, value: Bytes) -> i64 {
        self.revision += 1;
        let revision = self.revision;
        let created = self.records.get(&key).map_or(revision, |old| old.created);
        self.records.insert(key, Record { value, created, modified: revision });
        revision
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Record)> {
        self.records.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    fn check(&self, key: &str, expect: Expect) -> Result<()> {
        match (expect, self.records.get(key)) {
            (Expect::Absent, Some(_)) => Err(Error::NodeExists(key.to_owned())),
            (Expect::Version(_), None) => Err(Error::NoNode(key.to_owned())),
            (Expect::Version(v), Some(record)) if record.modified != v => Err(Error::BadVersion(key.to_owned())),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Conn for Memory {
    fn endpoint(&self) -> (&str, &str, &str) {
        ("memory", &self.server, &self.root)
    }

    async fn get(&self, path: &str) -> Result<Node> {
        let key = self.key(path);
        let state = self.store.lock();
        state.records.get(&key).map(|record| self.node(&key, record)).ok_or(Error::NoNode(key))
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        let state = self.store.lock();
        let keys = paths.iter().map(|path| self.key(path));
        Ok(keys.map(|key| state.records.get(&key).map(|record| self.node(&key, record))).collect())
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        let prefix = self.under(dir);
        Ok(self.store.lock().scan(&prefix).map(|(key, record)| self.node(key, record)).collect())
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        let prefix = self.under(dir);
        let state = self.store.lock();
        let names = state.scan(&prefix).filter_map(|(key, _)| key.get(prefix.len()..)?.split('/').next());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        let mut state = self.store.lock();
        for (key, revision) in guard.map(|lock| lock.fences.as_slice()).unwrap_or_default() {
            if state.records.get(key).is_none_or(|record| record.created != *revision) {
                return Err(Error::LockLost(key.clone()));
            }
        }
        for write in &writes {
            let (path, expect) = write.parts();
            state.check(&self.key(path), expect)?;
        }
        let mut versions = Vec::with_capacity(writes.len());
        for write in writes {
            versions.push(match write {
                Write::Put { path, value, .. } => state.put(self.key(&path), value),
                Write::Delete { path, .. } => {
                    state.revision += 1;
                    state.records.remove(&self.key(&path));
                    0
                }
            });
        }
        drop(state);
        self.store.changed.notify_waiters();
        Ok(versions)
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        let until = crate::deadline::now() + crate::deadline::remaining(request.wait);
        let mut lease = MemoryLease { store: Arc::clone(&self.store), keys: Vec::new() };
        let mut fences = Vec::new();
        for dir in &request.dirs {
            let base = self.key(&dir.dir);
            let (key, revision) = {
                let mut state = self.store.lock();
                if dir.must_exist && state.scan(&format!("{base}/")).next().is_none() {
                    return Err(Error::NoNode(format!("{base}/")));
                }
                let key = format!("{base}/locks/{}", state.revision + 1);
                let revision = state.put(key.clone(), Bytes::from(request.contents()));
                (key, revision)
            };
            lease.keys.push(key.clone());
            self.wait_turn(&format!("{base}/locks"), revision, until).await?;
            fences.push((key, revision));
        }
        Ok(Lock { fences, lease: Box::new(lease) })
    }

    async fn has_lease(&self, _path: &str) -> Result<bool> {
        Ok(true)
    }

    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}

impl Memory {
    async fn wait_turn(&self, locks: &str, revision: i64, until: Instant) -> Result<()> {
        loop {
            let changed = self.store.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.store.lock().scan(&format!("{locks}/")).all(|(_, record)| record.modified >= revision) {
                return Ok(());
            }
            let left = until.saturating_duration_since(crate::deadline::now());
            if left == Duration::ZERO || tokio::time::timeout(left, changed).await.is_err() {
                return Err(Error::Timeout(locks.to_owned()));
            }
        }
    }
}

/// Keys of held locks; they end with it.
struct MemoryLease {
    store: Arc<Store>,
    keys: Vec<String>,
}

impl MemoryLease {
    fn remove(&self) -> Option<()> {
        let mut state = self.store.lock();
        let mut all_there = Some(());
        for key in &self.keys {
            all_there = all_there.and(state.records.remove(key).map(|_| ()));
        }
        drop(state);
        self.store.changed.notify_waiters();
        all_there
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.remove();
    }
}

#[async_trait]
impl Lease for MemoryLease {
    async fn check(&self) -> Result<()> {
        let state = self.store.lock();
        match self.keys.iter().find(|key| !state.records.contains_key(*key)) {
            Some(key) => Err(Error::LockLost(key.clone())),
            None => Ok(()),
        }
    }

    async fn release(&self) -> Result<()> {
        let lost = self.keys.first().cloned().unwrap_or_default();
        self.remove().ok_or(Error::LockLost(lost))
    }
}
