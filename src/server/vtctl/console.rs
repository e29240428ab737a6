//! What a command prints, as the events that its client shows.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;
use vtmigrated_proto::logutil::{Event, Level};
use vtmigrated_proto::vtctldata::ExecuteVtctlCommandResponse;
use vtmigrated_proto::vttime::Time;

/// What goes to the client: events, at most one failure at the end.
pub type Sent = Result<ExecuteVtctlCommandResponse, Status>;

/// The way to the client. Printing to one that has gone away does nothing.
#[derive(Clone, Debug)]
pub struct Console {
    events: UnboundedSender<Sent>,
    until: Option<Instant>,
}

impl Console {
    /// `until` is when the client stops waiting.
    pub fn new(events: UnboundedSender<Sent>, until: Option<Instant>) -> Self {
        Self { events, until }
    }

    /// When the client stops waiting.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Text as it is, line ends included.
    pub fn print(&self, text: impl Into<String>) {
        self.send(Level::Console, text.into());
    }

    /// A line of the client's log.
    pub fn info(&self, text: impl Into<String>) {
        self.send(Level::Info, text.into());
    }

    /// The same, a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Level::Warning, text.into());
    }

    /// An event that something else made.
    pub fn event(&self, event: Event) {
        self.events.send(Ok(ExecuteVtctlCommandResponse { event: Some(event) })).ok();
    }

    /// Ends the call with a failure.
    pub fn fail(&self, status: Status) {
        self.events.send(Err(status)).ok();
    }

    /// Waits until the client has gone away, or has waited long enough.
    pub async fn gone(&self) {
        match self.until {
            Some(until) => drop(tokio::time::timeout_at(until.into(), self.events.closed()).await),
            None => self.events.closed().await,
        }
    }

    fn send(&self, level: Level, value: String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Time {
            seconds: i64::try_from(now.as_secs()).unwrap_or_default(),
            nanoseconds: i32::try_from(now.subsec_nanos()).unwrap_or_default(),
        };
        self.event(Event { time: Some(time), level: level.into(), file: "vtmigrated".into(), line: 0, value });
    }
}
