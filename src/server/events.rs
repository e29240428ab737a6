//! Calls that tell events while they work.

use tokio::sync::mpsc::Sender;
use tonic::Status;

/// The way of events to a caller. A caller that does not read holds up who sends; one that has gone away does not.
pub struct Events<R>(Sender<Result<R, Status>>);

/// Until when a call works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Its caller goes away.
    WithItsCaller,
    /// It is done, whatever its caller does.
    WhenDone,
}

impl<R> Events<R> {
    pub(super) fn new(sender: Sender<Result<R, Status>>) -> Self {
        Self(sender)
    }

    /// Sends one.
    pub async fn send(&self, event: R) {
        self.0.send(Ok(event)).await.ok();
    }
}
