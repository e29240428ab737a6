//! What happens to one call of an operation, to the topology or to a tablet: it fails, the server dies, others act.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{Notify, oneshot};
use vtmigrated::topo::{Conn, Error, Lock, LockRequest, Node, Result, Write};

use crate::operations::Server;
use crate::step::Op;
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
    /// It is never done, and nothing is answered.
    Hangs,
    /// It is done when everybody has stopped waiting for the answer.
    Late,
    LeaseLost,
    SourceWrites,
    ClientWrites,
    UserMakesTable,
    SourceDies,
    StreamFails,
    TargetReparents,
    /// At a call of the topology: the server is paused until its leases have ended and another one has done this.
    Overtaken(Op),
    /// Before the call another server begins this, and does all that it can without waiting for this one.
    Beside(Op),
}

impl Upset {
    /// All but those with an operation.
    pub const ALL: [Self; 14] = [
        Self::KillBefore,
        Self::KillAfter,
        Self::FailBefore,
        Self::FailAfter,
        Self::Slow,
        Self::Hangs,
        Self::Late,
        Self::LeaseLost,
        Self::SourceWrites,
        Self::ClientWrites,
        Self::UserMakesTable,
        Self::SourceDies,
        Self::StreamFails,
        Self::TargetReparents,
    ];
}

/// One run of an operation.
pub struct Run {
    world: Arc<World>,
    pub op: Op,
    upset: Option<(usize, Upset)>,
    /// How it takes turns with one that runs at the same time.
    pace: usize,
    calls: AtomicUsize,
    pub upset_happened: AtomicBool,
    killed: Notify,
}

tokio::task_local! {
    static RUN: Arc<Run>;
    /// The operation that a tablet is called by.
    static CALLER: Option<Op>;
}

/// How long a slow call takes.
const SLOW: Duration = Duration::from_secs(1);
/// Past the longest time that anybody waits for a call.
pub const LATE: Duration = Duration::from_secs(5000);
/// How long a topology is waited for.
const TOPOLOGY: Duration = Duration::from_secs(10);

impl Run {
    pub fn new(world: &Arc<World>, op: Op, upset: Option<(usize, Upset)>, pace: usize) -> Arc<Self> {
        let (calls, upset_happened, killed) = (AtomicUsize::new(0), AtomicBool::new(false), Notify::new());
        Arc::new(Self { world: Arc::clone(world), op, upset, pace, calls, upset_happened, killed })
    }

    /// Runs an operation until it has ended; `None` when the server died.
    pub async fn of<T>(self: &Arc<Self>, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = RUN.scope(Arc::clone(self), operation) => Some(answer),
            () = self.killed.notified() => None,
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
    for _ in 0..run.pace.wrapping_mul(number.wrapping_add(7919)) / 64 % 4 {
        tokio::task::yield_now().await;
    }
    let upset = run.upset.filter(|(at, _)| *at == number).map(|(_, upset)| upset);
    let world = &run.world;
    if upset.is_some() {
        run.upset_happened.store(true, Ordering::Relaxed);
    }
    if let Some(Upset::FailBefore | Upset::FailAfter | Upset::Late | Upset::Hangs) = upset {
        world.state().back.call_failed = true;
    }
    match upset {
        Some(Upset::LeaseLost) => world.lose_leases().await,
        Some(Upset::TargetReparents) => world.reparent(crate::world::TARGET, 0).await,
        Some(Upset::SourceWrites) => world.state().source_writes(2),
        Some(Upset::ClientWrites) => crate::world::TABLES.iter().for_each(|table| world.state().client_writes(table)),
        Some(Upset::UserMakesTable) => {
            crate::world::TABLES.iter().for_each(|table| world.state().user_makes_table(table))
        }
        Some(Upset::SourceDies) => world.state().source_dies(),
        Some(Upset::StreamFails) => world.state().stream_fails(0),
        Some(Upset::Beside(op)) => beside(world, op, run.op).await,
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
            tokio::time::sleep(SLOW).await;
            work.await
        }
        Some(Upset::Hangs) => {
            tokio::time::sleep(TOPOLOGY).await;
            failed()
        }
        Some(Upset::Late) => {
            work.await;
            tokio::time::sleep(TOPOLOGY).await;
            failed()
        }
        Some(Upset::Overtaken(op)) => {
            overtake(&run.world, op).await;
            work.await
        }
        _ => work.await,
    }
}

/// The leases of all locks end, and another server does something to its end.
fn overtake(world: &Arc<World>, op: Op) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let world = Arc::clone(world);
    Box::pin(async move {
        world.lose_leases().await;
        let before = world.before().await;
        let (outcome, _) = Server::start(&world).await.run(op, None).await;
        world.after(op, &outcome, &before).await;
    })
}

/// Another server begins something, and is waited for until it has ended, or waits itself.
fn beside(world: &Arc<World>, op: Op, other: Op) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let world = Arc::clone(world);
    Box::pin(async move {
        let of = Arc::clone(&world);
        let running = tokio::spawn(async move { Server::start(&of).await.run_beside(op, other, 0).await });
        let running = running.map(|ended| ended.unwrap()).boxed().shared();
        tokio::time::timeout(SLOW, running.clone()).await.ok();
        world.state().beside = Some((op, running));
    })
}

/// The operation that this call of a tablet is made by.
pub fn caller() -> Option<Op> {
    CALLER.try_with(|op| *op).ok().flatten()
}

/// The operation of this task.
pub fn operation() -> Option<Op> {
    RUN.try_with(|run| run.op).ok()
}

/// Lets a tablet know who calls.
pub async fn called_by<T>(op: Option<Op>, served: impl Future<Output = T>) -> T {
    CALLER.scope(op, served).await
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
            let what = format!("the source's topology is changed: {what}");
            RUN.try_with(|run| run.world.state().source_is_changed(Some(run.op), what)).ok();
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

/// The answer of a tablet, which `served` gives once `begin` has told how long it takes. A call that has begun goes on,
/// whoever waits.
pub async fn call_of_tablet<T: Send + 'static>(
    begin: oneshot::Sender<Duration>,
    served: impl Future<Output = T> + Send,
    failed: impl FnOnce() -> T,
) -> T {
    let (run, upset) = next().await;
    let Some(run) = run else {
        begin.send(Duration::ZERO).ok();
        return served.await;
    };
    match upset {
        Some(Upset::KillBefore) => run.die().await,
        Some(Upset::Hangs) => std::future::pending().await,
        Some(Upset::FailBefore) => failed(),
        Some(Upset::KillAfter) => {
            begin.send(Duration::ZERO).ok();
            served.await;
            run.die().await
        }
        Some(Upset::FailAfter) => {
            begin.send(Duration::ZERO).ok();
            served.await;
            failed()
        }
        upset => {
            let takes = match upset {
                Some(Upset::Slow) => SLOW,
                Some(Upset::Late) => LATE,
                _ => Duration::ZERO,
            };
            begin.send(takes).ok();
            served.await
        }
    }
}
