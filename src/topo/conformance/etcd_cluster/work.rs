//! Every kind of operation, again and again, and what of it failed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::*;

/// What failed, and how much did not.
#[derive(Default)]
pub struct Tally {
    failures: Mutex<Vec<String>>,
    done: AtomicU32,
    /// How many hold the lock that all want.
    inside: AtomicU32,
    enough: AtomicBool,
}

impl Tally {
    fn count<T>(&self, what: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                Some(value)
            }
            Err(error) => {
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{what}: {error}"));
                None
            }
        }
    }
}

/// Reads and writes of one worker, on keys of its own, until it is enough.
async fn read_and_write(conn: Arc<dyn Conn>, tally: Arc<Tally>, name: String) {
    let path = format!("work/{name}/Record");
    let Some(mut version) = tally.count("create", conn.create(&path, b"0".to_vec()).await) else { return };
    let mut round = 0_u32;
    while !tally.enough.load(Ordering::Relaxed) {
        let Some(node) = tally.count("get", conn.get(&path).await) else { continue };
        assert_eq!((node.version, node.value.as_ref()), (version, round.to_string().as_bytes()), "{name}");
        round += 1;
        let put = Write::put(path.clone(), round.to_string(), Expect::Version(version));
        let Some(new) = tally.count("update", conn.write_one(put, None).await) else { return };
        version = new;
        let several = conn.get_many(vec![path.clone(), "work/none".into()]).await;
        if let Some(found) = tally.count("get_many", several) {
            assert_eq!((found[0].as_ref().map(|node| node.version), found[1].is_none()), (Some(version), true));
        }
        tally.count("list", conn.list(&format!("work/{name}")).await);
        tally.count("list_dir", conn.list_dir("work").await);
        tally.count("has_lease", conn.has_lease(&path).await);
        tally.count("probe", conn.probe().await);
        let other = format!("work/{name}/other");
        tally.count("create", conn.create(&other, b"x".to_vec()).await);
        tally.count("delete", conn.remove(&other).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes locks, some of which others want too, and writes under them, until it is enough.
async fn lock(conn: Arc<dyn Conn>, tally: Arc<Tally>, name: String) {
    while !tally.enough.load(Ordering::Relaxed) {
        let ttl = Duration::from_secs(30);
        let wait = Duration::from_secs(120);
        let request = LockRequest { wait, ..LockRequest::new("Test", ttl) };
        let request = request.named(format!("locks-of/{name}")).named("locks-of/all");
        let Some(lock) = tally.count("lock", conn.lock(request).await) else { continue };
        assert_eq!(tally.inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the same lock");
        tally.count("check", lock.check().await);
        let writes = vec![
            Write::put(format!("locked/{name}"), "x", Expect::Any),
            Write::put(format!("locked/{name}-2"), "x", Expect::Any),
        ];
        tally.count("guarded write", conn.write(writes, Some(&lock)).await);
        tally.inside.fetch_sub(1, Ordering::SeqCst);
        tally.count("release", lock.release().await);
    }
}

/// Workers on each of `conns`, until they are told that it is enough.
pub struct Workers {
    tally: Arc<Tally>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    pub fn start(conns: Vec<Arc<dyn Conn>>) -> Self {
        let (tally, mut tasks) = (Arc::new(Tally::default()), Vec::new());
        for (at, conn) in conns.into_iter().enumerate() {
            tasks.push(tokio::spawn(read_and_write(Arc::clone(&conn), Arc::clone(&tally), format!("w{at}"))));
            tasks.push(tokio::spawn(lock(conn, Arc::clone(&tally), format!("l{at}"))));
        }
        Self { tally, tasks }
    }

    /// How many operations were done so far.
    pub fn done(&self) -> u32 {
        self.tally.done.load(Ordering::Relaxed)
    }

    /// Ends the work and fails when an operation has failed.
    pub async fn end(self) {
        self.tally.enough.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let failures = self.tally.failures.lock().unwrap();
        assert!(failures.is_empty(), "{} of {:?}:\n{}", failures.len(), self.tally.done, failures.join("\n"));
    }
}
