//! Watches mounts and migrations in the background and publishes what it sees, for the pages and for the metrics.
//!
//! Nothing is decided on what is seen here: every operation reads for itself. A round asks what `Migrate status` asks, with
//! what several workflows of a keyspace share read once; keyspaces and mounts are looked at beside each other, at most
//! [`AT_ONCE`], each with a deadline, and so are the sources of ways back. What does not answer keeps its last state, marked stale.

mod history;
mod migration;
mod mounts;
mod round;
mod snapshot;
mod state;
mod way_back;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use snapshot::{
    BackStage, Copy, Migration, Mount, Point, Problem, Snapshot, Stage, Stream, Table, TableStage, UnreadKeyspace,
    VDiff, WayBack,
};

use crate::context::Context;

/// Keyspaces and mounts that are looked at at once.
const AT_ONCE: usize = 8;

/// Settings of the watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Time between two rounds (`--watch-interval`); zero: nobody watches.
    pub interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10) }
    }
}

/// What was seen last, and the news of it.
pub type Receiver = watch::Receiver<Arc<Snapshot>>;

/// Watches until `stopping`. Without an interval the one snapshot stays empty.
pub fn start(context: Arc<Context>, options: &Options, stopping: CancellationToken) -> Receiver {
    let empty = Snapshot { interval: options.interval.as_secs(), ..Snapshot::default() };
    let (sender, receiver) = watch::channel(Arc::new(empty));
    if !options.interval.is_zero() {
        let interval = options.interval;
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = for_ever(context, interval, &sender) => {}
            }
        });
    }
    receiver
}

/// Goes round; a round that panics ends, not those after it.
async fn for_ever(context: Arc<Context>, interval: Duration, sender: &watch::Sender<Arc<Snapshot>>) {
    loop {
        let rounds = AssertUnwindSafe(round::run(Arc::clone(&context), interval, sender)).catch_unwind();
        if rounds.await.is_err() {
            tracing::error!("a round of the watcher failed inside the server: see the log lines before");
        }
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests;
