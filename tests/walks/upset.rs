//! What happens to one call of an operation, to the topology or to a tablet: it fails, the server dies, others act.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};
use vtmigrated::topo::{Conn, Error, Lock, LockRequest, Node, Result, Write};

use crate::world::World;

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upset {
    KillBefore,
    KillAfter,
    FailBefore,
    /// It is done, and an error is answered.
    FailAfter,
    /// It is done later; nobody can stop it any more.
    Slow,
    LeaseLost,
    SourceWrites,
    ClientWrites,
    SourceDies,
    StreamFails,
    TargetReparents,
}

impl Upset {
    pub const ALL: [Self; 11] = [
        Self::KillBefore,
        Self::KillAfter,
        Self::FailBefore,
        Self::FailAfter,
        Self::Slow,
        Self::LeaseLost,
        Self::SourceWrites,
        Self::ClientWrites,
        Self::SourceDies,
        Self::StreamFails,
        Self::TargetReparents,
    ];
}

/// One run of an operation.
pub struct Run {
    world: Arc<World>,
    upset: Option<(usize, Upset)>,
    calls: AtomicUsize,
    pub upset_happened: AtomicBool,
    killed: Notify,
}

tokio::task_local! {
    static RUN: Arc<Run>;
}

/// How long a slow call takes.
const SLOW: Duration = Duration::from_millis(3);

impl Run {
    pub fn new(world: &Arc<World>, upset: Option<(usize, Upset)>) -> Arc<Self> {
        let (calls, upset_happened, killed) = (AtomicUsize::new(0), AtomicBool::new(false), Notify::new());
        Arc::new(Self { world: Arc::clone(world), upset, calls, upset_happened, killed })
    }

    /// Runs an operation until it ends; `None` when the server died.
    pub async fn of<T>(self: &Arc<Self>, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = RUN.scope(Arc::clone(self), operation) => Some(answer),
            () = self.killed.notified() => {
                // what is under way ends, then the leases
                tokio::time::sleep(SLOW * 2).await;
                None
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.killed.notify_one();
        std::future::pending().await
    }
}

/// What becomes of the next call of this run.
pub async fn next() -> (Option<Arc<Run>>, Option<Upset>) {
    let Ok(run) = RUN.try_with(Arc::clone) else { return (None, None) };
    let number = run.calls.fetch_add(1, Ordering::Relaxed);
    let upset = run.upset.filter(|(at, _)| *at == number).map(|(_, upset)| upset);
    let world = &run.world;
    if upset.is_some() {
        run.upset_happened.store(true, Ordering::Relaxed);
    }
    match upset {
        Some(Upset::LeaseLost) => world.lose_leases().await,
        Some(Upset::TargetReparents) => world.reparent(crate::world::TARGET, 0).await,
        Some(Upset::SourceWrites) => world.state().source_writes(2),
        Some(Upset::ClientWrites) => crate::world::TABLES.iter().for_each(|table| world.state().client_writes(table)),
        Some(Upset::SourceDies) => world.state().source_dies(),
        Some(Upset::StreamFails) => world.state().stream_fails(0),
        _ => return (Some(Arc::clone(&run)), upset),
    }
    (Some(run), None)
}

/// An operation of the topology, with what happens to it.
async fn call<T>(work: impl Future<Output = T> + Send, failed: impl FnOnce() -> T) -> T {
    let (run, upset) = next().await;
    let Some(run) = run else { return work.await };
    match upset {
        Some(Upset::KillBefore) => run.die().await,
        Some(Upset::KillAfter) => {
            work.await;
            run.die().await
        }
        Some(Upset::FailBefore) => failed(),
        Some(Upset::FailAfter) => {
            work.await;
            failed()
        }
        Some(Upset::Slow) => {
            slowly().await;
            work.await
        }
        _ => work.await,
    }
}

/// Waits as long as a slow call takes.
pub async fn slowly() {
    tokio::time::sleep(SLOW).await;
}

/// A connection to a topology whose operations are calls.
pub struct Faulty(pub Arc<dyn Conn>);

impl Faulty {
    fn is_source(&self) -> bool {
        self.0.endpoint().1 == "source"
    }

    async fn call<T: Send + 'static>(&self, path: &str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let down = self.is_source() && RUN.try_with(|run| run.world.state().source_topology_down).unwrap_or_default();
        if down {
            return Err(Error::Timeout(path.to_owned()));
        }
        call(work, || Err(Error::Timeout(path.to_owned()))).await
    }

    fn changes(&self, what: &str) {
        if self.is_source() {
            RUN.try_with(|run| run.world.state().violate(format!("the source's topology is changed: {what}"))).ok();
        }
    }
}

#[async_trait]
impl Conn for Faulty {
    fn endpoint(&self) -> (&str, &str, &str) {
        self.0.endpoint()
    }

    async fn get(&self, path: &str) -> Result<Node> {
        self.call(path, self.0.get(path)).await
    }

    async fn get_many(&self, paths: Vec<String>) -> Result<Vec<Option<Node>>> {
        self.call("many", self.0.get_many(paths)).await
    }

    async fn list(&self, dir: &str) -> Result<Vec<Node>> {
        self.call(dir, self.0.list(dir)).await
    }

    async fn list_dir(&self, dir: &str) -> Result<Vec<String>> {
        self.call(dir, self.0.list_dir(dir)).await
    }

    async fn write(&self, writes: Vec<Write>, guard: Option<&Lock>) -> Result<Vec<i64>> {
        self.changes(&format!("{writes:?}"));
        self.call("write", self.0.write(writes, guard)).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Lock> {
        self.changes("lock");
        self.call("lock", self.0.lock(request)).await
    }

    async fn has_lease(&self, path: &str) -> Result<bool> {
        self.0.has_lease(path).await
    }

    async fn probe(&self) -> Result<()> {
        self.call("", self.0.probe()).await
    }
}

/// The answer of a tablet, which `served` gives once `begin` has told whether it takes its time. A call that has begun
/// goes on, whoever waits.
pub async fn call_of_tablet<T: Send + 'static>(
    begin: oneshot::Sender<bool>,
    served: impl Future<Output = T> + Send,
    failed: impl FnOnce() -> T,
) -> T {
    let (run, upset) = next().await;
    let Some(run) = run else {
        begin.send(false).ok();
        return served.await;
    };
    match upset {
        Some(Upset::KillBefore) => run.die().await,
        Some(Upset::FailBefore) => failed(),
        Some(Upset::KillAfter) => {
            begin.send(false).ok();
            served.await;
            run.die().await
        }
        Some(Upset::FailAfter) => {
            begin.send(false).ok();
            served.await;
            failed()
        }
        upset => {
            begin.send(upset == Some(Upset::Slow)).ok();
            served.await
        }
    }
}
