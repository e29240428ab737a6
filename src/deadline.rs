//! The caller's deadline, carried along the task that serves the call.
//!
//! The wire edge sets it from `grpc-timeout`; topology operations and tablet calls bound themselves by it.

use std::time::{Duration, Instant};

tokio::task_local! {
    static DEADLINE: Option<Instant>;
}

/// Runs `work` under `deadline`.
pub async fn scope<F: Future>(deadline: Option<Instant>, work: F) -> F::Output {
    DEADLINE.scope(deadline, work).await
}

/// Runs `work` under `until`, or under the deadline that there is where that comes first.
pub async fn within<F: Future>(until: Option<Instant>, work: F) -> F::Output {
    let until = [current(), until].into_iter().flatten().min();
    scope(until, work).await
}

/// The deadline of this task, if a caller set one.
pub fn current() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok().flatten()
}

/// The time, which stands still where a test has stopped the runtime's clock.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Time left until the caller's deadline, at most `limit`.
pub fn remaining(limit: Duration) -> Duration {
    match current() {
        Some(deadline) => deadline.saturating_duration_since(now()).min(limit),
        None => limit,
    }
}
