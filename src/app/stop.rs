//! When to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Ends at SIGTERM or SIGINT. They are caught from the call on, not only once somebody waits.
pub fn stop_signal() -> impl Future<Output = ()> + Send {
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    async {
        let Ok((mut term, mut int)) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}
