//! Writes: one multi request for each batch, atomic, with a check of the lock's nodes as its guard.
//!
//! Directories are made before the batch that needs them and removed after the one that empties them, as stock does; a
//! batch that meets others doing so is tried again.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use futures::future::join_all;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, CreateOptions, Error as ZkError, MultiWriteError};
use zookeeper_client::{MultiWriteResult, MultiWriter, Permission};

use super::session::connected;
use super::{Zookeeper, parent};
use crate::failpoint;
use crate::topo::conn::{Expect, Write};
use crate::topo::{Error, Lock, Result};

/// Changes in one request, as the other kinds of topology have it.
const BATCH: usize = 100;
/// Bytes in one request: a server closes the connection over a larger one than its `jute.maxbuffer`, 1 MiB unless set.
const BATCH_BYTES: usize = 900_000;
/// How often a batch is tried whose directories or records come and go meanwhile.
const TRIES: usize = 20;

/// Anyone may do anything but make children: Vitess's mark of a file.
static FILE_ACL: LazyLock<[Acl; 1]> =
    LazyLock::new(|| [Acl::new(Permission::READ | Permission::WRITE | Permission::ADMIN, AuthId::anyone())]);

pub(super) const LOCK_MODE: CreateMode = CreateMode::EphemeralSequential;

/// Options of a node with Vitess's access list for files.
pub(super) fn file(mode: CreateMode) -> CreateOptions<'static> {
    mode.with_acls(Acls::new(&*FILE_ACL))
}

/// Applies all changes; see [`crate::topo::Conn::write`].
pub(super) async fn write(zk: &Zookeeper, writes: &[Write], guard: Option<&Lock>) -> Result<Vec<i64>> {
    let mut versions = Vec::with_capacity(writes.len());
    for batch in batches(writes) {
        versions.extend(Batch::new(zk, batch, guard).apply().await?);
    }
    Ok(versions)
}

fn batches(writes: &[Write]) -> Vec<&[Write]> {
    let mut found = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, write) in writes.iter().enumerate() {
        let size = match write {
            Write::Put { path, value, .. } => path.len() + value.len() + 100,
            Write::Delete { path, .. } => path.len() + 100,
        };
        if at - start == BATCH || (at > start && bytes + size > BATCH_BYTES) {
            found.extend(writes.get(start..at));
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    found.extend(writes.get(start..).filter(|rest| !rest.is_empty()));
    found
}

/// One request in the making.
struct Batch<'a> {
    zk: &'a Zookeeper,
    changes: Vec<Change<'a>>,
    fences: &'a [(String, i64)],
}

struct Change<'a> {
    key: String,
    write: &'a Write,
    /// Whether the record is thought to be there; only asked where the write does not say.
    there: bool,
}

impl<'a> Batch<'a> {
    fn new(zk: &'a Zookeeper, writes: &'a [Write], guard: Option<&'a Lock>) -> Self {
        let changes = writes.iter().map(|write| Change { key: zk.key(write.parts().0), write, there: true });
        let fences = guard.map(|lock| lock.fences.as_slice()).unwrap_or_default();
        Self { zk, changes: changes.collect(), fences }
    }

    async fn apply(mut self) -> Result<Vec<i64>> {
        let first = self.changes.first().map(|change| change.key.clone()).unwrap_or_default();
        for _ in 0..TRIES {
            let client = self.zk.sessions.client().await?;
            let (mut request, operations) = self.request(&client)?;
            let commit = async {
                connected(&client).await?;
                Ok::<_, ZkError>(request.commit().await)
            };
            let answer = failpoint::around(true, self.zk.sessions.run("Write", &first, &client, commit)).await;
            match answer.map_err(|error| self.zk.convert(&first, error))? {
                Ok(results) => {
                    self.prune().await;
                    return Ok(self.versions(&operations, &results));
                }
                // nothing of it was sent
                Err(MultiWriteError::RequestFailed { source: ZkError::SessionExpired | ZkError::ClientClosed }) => {}
                Err(MultiWriteError::RequestFailed { source }) => return Err(self.zk.convert(&first, source)),
                Err(MultiWriteError::OperationFailed { index, source }) => {
                    self.repair(operations.get(index).copied(), source).await?;
                }
            }
        }
        Err(Error::Backend { path: first, detail: "others keep changing it".into() })
    }

    /// The request, and what each of its operations is for.
    fn request<'c>(&self, client: &'c Client) -> Result<(MultiWriter<'c>, Vec<For>)> {
        let mut request = client.new_multi_writer();
        let mut operations = Vec::new();
        for (at, (key, version)) in self.fences.iter().enumerate() {
            let version = i32::try_from(*version).unwrap_or_default();
            request.add_check_version(key, version).map_err(|error| self.zk.convert(key, error))?;
            operations.push(For::Fence(at));
        }
        for (at, change) in self.changes.iter().enumerate() {
            let key = &change.key;
            let (version, there) = match change.write.parts().1 {
                // -1 would mean any
                Expect::Version(v) => {
                    let version = i32::try_from(v).ok().filter(|v| *v >= 0);
                    (Some(version.ok_or_else(|| Error::BadVersion(key.clone()))?), true)
                }
                Expect::Absent => (None, false),
                Expect::Any => (None, change.there),
            };
            let added = match change.write {
                Write::Put { value, .. } if there => request.add_set_data(key, value, version),
                Write::Put { value, .. } => request.add_create(key, value, &file(CreateMode::Persistent)),
                Write::Delete { .. } if there => request.add_delete(key, version),
                // made and deleted in the same request: refused when it is there
                Write::Delete { expect: Expect::Absent, .. } => {
                    let made = request.add_create(key, b"", &file(CreateMode::Persistent));
                    operations.push(For::Change(at));
                    made.and_then(|()| request.add_delete(key, None))
                }
                Write::Delete { .. } => continue,
            };
            added.map_err(|error| self.zk.convert(key, error))?;
            operations.push(For::Change(at));
        }
        Ok((request, operations))
    }

    /// Makes what the refused request lacks.
    ///
    /// # Errors
    /// The refusal itself, when it is the answer.
    async fn repair(&mut self, operation: Option<For>, source: ZkError) -> Result<()> {
        let at = match operation {
            Some(For::Fence(at)) => {
                return Err(Error::LockLost(self.fences.get(at).map(|(key, _)| key.clone()).unwrap_or_default()));
            }
            Some(For::Change(at)) => at,
            None => 0,
        };
        let Some(change) = self.changes.get(at) else { return Ok(()) };
        let (_, expect) = change.write.parts();
        match (&source, expect) {
            (ZkError::NoNode, Expect::Any | Expect::Absent) | (ZkError::NodeExists, Expect::Any) => {}
            _ => return Err(self.zk.convert(&change.key, source)),
        }
        let unsure = |change: &Change<'_>| change.write.parts().1 == Expect::Any;
        let keys: Vec<String> = self.changes.iter().filter(|c| unsure(c)).map(|c| c.key.clone()).collect();
        let stats: Vec<_> =
            keys.iter().map(|key| self.zk.read("Exists", key, |client| client.check_stat(key))).collect();
        let mut stats = join_all(stats).await.into_iter();
        for change in self.changes.iter_mut().filter(|c| unsure(c)) {
            change.there = stats.next().transpose()?.flatten().is_some();
        }
        let created = self.changes.iter().filter(|change| match change.write.parts().1 {
            Expect::Absent => true,
            Expect::Any => !change.there && matches!(change.write, Write::Put { .. }),
            Expect::Version(_) => false,
        });
        let dirs: BTreeSet<&str> = created.filter_map(|change| parent(&change.key)).collect();
        let made: Vec<_> = dirs.into_iter().map(|dir| make_dir(self.zk, dir)).collect();
        join_all(made).await.into_iter().collect()
    }

    fn versions(&self, operations: &[For], results: &[MultiWriteResult]) -> Vec<i64> {
        let mut versions = vec![0; self.changes.len()];
        for (operation, result) in operations.iter().zip(results) {
            // new nodes have version 0
            if let (For::Change(at), MultiWriteResult::SetData { stat }) = (operation, result)
                && let Some(version) = versions.get_mut(*at)
            {
                *version = stat.version.into();
            }
        }
        versions
    }

    /// Removes the directories that the deletes have left empty.
    async fn prune(&self) {
        let deleted = self.changes.iter().filter(|change| matches!(change.write, Write::Delete { .. }));
        let dirs: BTreeSet<&str> = deleted.filter_map(|change| parent(&change.key)).collect();
        if dirs.is_empty() {
            return;
        }
        if let Ok(client) = self.zk.sessions.client().await {
            let pruned: Vec<_> = dirs.into_iter().map(|dir| prune(&client, dir, self.zk.key(""))).collect();
            join_all(pruned).await;
        }
    }
}

#[derive(Clone, Copy)]
enum For {
    Fence(usize),
    Change(usize),
}

/// Makes a directory and those above it.
pub(super) async fn make_dir(zk: &Zookeeper, dir: &str) -> Result<()> {
    let mut missing = vec![dir.to_owned()];
    for _ in 0..TRIES * 10 {
        let Some(dir) = missing.last().cloned() else { return Ok(()) };
        let client = zk.sessions.client().await?;
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let create = async { client.create(&dir, b"", &options).await };
        match zk.sessions.run("MakeDir", &dir, &client, create).await {
            Ok(_) | Err(ZkError::NodeExists) => {
                missing.pop();
            }
            Err(ZkError::NoNode) => match parent(&dir) {
                Some(above) => missing.push(above.to_owned()),
                None => return Err(Error::NoNode(dir)),
            },
            Err(error) => return Err(zk.convert(&dir, error)),
        }
    }
    Err(Error::Backend { path: dir.to_owned(), detail: "others keep removing it".into() })
}

/// Removes a directory and those above it, up to `root`, as far as they are empty. Two requests at most: the first names
/// all, and its refusal says how far it goes.
pub(super) async fn prune(client: &Client, dir: &str, root: String) {
    let below_root = |dir: &&str| dir.len() > root.trim_end_matches('/').len();
    let mut chain: Vec<&str> = std::iter::successors(Some(dir), |dir| parent(dir)).take_while(below_root).collect();
    for _ in 0..3 {
        if chain.is_empty() {
            return;
        }
        let mut request = client.new_multi_writer();
        for dir in &chain {
            if request.add_delete(dir, None).is_err() {
                return;
            }
        }
        match request.commit().await {
            // what another has removed already is skipped
            Err(MultiWriteError::OperationFailed { index, source: ZkError::NoNode }) if index < chain.len() => {
                chain.drain(..=index);
            }
            Err(MultiWriteError::OperationFailed { index, source: ZkError::NotEmpty }) => chain.truncate(index),
            _ => return,
        }
    }
}
