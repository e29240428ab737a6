//! The suite and what is particular to ZooKeeper and to Consul.

#[cfg(feature = "topo-consul")]
mod consul_agent;
#[cfg(feature = "topo-zk2")]
mod zk2;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::super::access::{Holder, Secret};
use super::super::settings::MountSettings;
use super::*;
use crate::tls::Files;

/// Everything that is logged on this thread while the guard lives, at every level.
#[derive(Clone, Default)]
struct Logged(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let logged = Self::default();
        let writer = logged.clone();
        let format = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        (logged, tracing::subscriber::set_default(format.with_writer(move || writer.clone()).finish()))
    }

    fn hides(&self, secret: &str) {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        assert!(text.contains("vitess.topo.op"), "nothing is logged");
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{line:?}");
    }
}

/// A server that ends is named; `conn` has talked to it.
async fn dead(conn: &Arc<dyn Conn>) {
    let (_, server, _) = conn.endpoint();
    for error in [conn.get("x").await.unwrap_err(), conn.create("x", vec![]).await.unwrap_err()] {
        assert!(error.is_unreachable() && error.to_string().contains(server), "{error}");
    }
}

/// Somebody who counts in a record, and reads it in every way.
struct Counting {
    enough: Arc<AtomicBool>,
    counted: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Counting {
    fn start(conn: &Arc<dyn Conn>) -> Self {
        let (enough, counted) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let task = tokio::spawn(count(Arc::clone(conn), Arc::clone(&enough), Arc::clone(&counted)));
        Self { enough, counted, task }
    }

    /// Waits until it has counted on.
    async fn goes_on(&self) {
        let before = self.counted.load(Ordering::Relaxed);
        for _ in 0..6000 {
            if self.counted.load(Ordering::Relaxed) > before + 3 {
                return;
            }
            assert!(!self.task.is_finished(), "the count has failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was counted for a minute");
    }

    async fn end(self) {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// Counts while a server is restarted twice.
async fn count_over_restarts(conn: &Arc<dyn Conn>, mut restart: impl AsyncFnMut()) {
    let counting = Counting::start(conn);
    for _ in 0..2 {
        counting.goes_on().await;
        restart().await;
    }
    counting.goes_on().await;
    counting.end().await;
}

/// What fails says that the server is out of reach, and what was answered once stays.
async fn count(conn: Arc<dyn Conn>, enough: Arc<AtomicBool>, counted: Arc<AtomicU32>) {
    let away = |error: Error| assert!(error.is_unreachable(), "{error}");
    let path = "count/Record";
    conn.create(path, b"0".to_vec()).await.unwrap();
    let (mut answered, mut tried) = (0, 0);
    while !enough.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let node = match conn.get(path).await {
            Ok(node) => node,
            Err(error) => {
                away(error);
                continue;
            }
        };
        answered = {
            let seen: u32 = String::from_utf8_lossy(&node.value).parse().unwrap();
            assert!((answered..=tried).contains(&seen), "{seen} after {answered}, where {tried} was tried");
            seen
        };
        tried = answered + 1;
        match conn.write_one(Write::put(path, tried.to_string(), Expect::Version(node.version)), None).await {
            Ok(_) => answered = tried,
            // a try whose answer was lost is carried out late
            Err(Error::BadVersion(_)) => {}
            Err(error) => away(error),
        }
        match conn.list("count").await {
            Ok(found) => assert_eq!(found.len(), 1),
            Err(error) => away(error),
        }
        conn.get_many(vec![path.to_owned()]).await.map_or_else(away, |found| assert!(found[0].is_some()));
        counted.store(answered, Ordering::Relaxed);
    }
    let seen: u32 = String::from_utf8_lossy(&conn.get(path).await.unwrap().value).parse().unwrap();
    assert!((answered..=tried).contains(&seen), "{seen} after {answered}, where {tried} was tried");
}
